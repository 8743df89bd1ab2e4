"""The functions that the loop form calls by name, written for one width of real numbers.

All are straight-line: no branch and no loop, so that a loop around them becomes one over vectors, and without tables but for
the second forms of `tables.py`. Values of
infinities, nan and zeros are those of NumPy's functions of the same name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module
from typing import Any

from gradlang.loops.ir import Code, Function, Statement, Value
from gradlang.loops.writing import FORMATS, Term, Writer
from gradlang.once import once
from gradlang.record import record

# Where a function is written. A module is imported when one of its functions is asked for.
MODULES = {
    "exponential": ("exp", "exp_less", "expm1", "exp2", "sigmoid", "tanh", "tanh_slope"),
    "logarithm": ("log", "log1p", "log2", "log10", "softplus", "log_sigmoid"),
    "trigonometric": ("sin", "cos", "tan", "sin_any", "cos_any", "tan_any"),
    "arcs": ("asin", "acos", "atan", "atan2"),
    "hyperbolic": ("sinh", "cosh", "asinh", "acosh", "atanh"),
    "error": ("erf", "erfc", "erfcx"),
    "powers": ("cbrt", "hypot", "sign", "round"),
    "power": ("pow",),
    "division": ("mod", "floordiv"),
}
WHERE = {name: module for module, names in MODULES.items() for name in names}
NAMES = tuple(WHERE)
# The greatest |x| for which a function holds what it promises; functions that are not here hold it everywhere.
REDUCED = {"f64": 1e6, "f32": 1e4}
LIMITS = dict.fromkeys(("sin", "cos", "tan"), REDUCED)
# Two functions of one number whose work is the same for the most part: where both are written, and as what.
PAIRS = {"sincos": ("trigonometric", "sin_and_cos"), "tanh_and_exp": ("exponential", "tanh_and_exp")}


def written(module: str, name: str) -> Callable[..., Any]:
    made: Callable[..., Any] = getattr(import_module(f"gradlang.loops.{module}"), name)
    return made


def tabled_form(name: str, waited: bool) -> Callable[..., Term] | None:
    from gradlang.loops import tables
    from gradlang.loops import waited as waits

    return (waits.WRITERS.get(name) if waited else None) or tables.WRITERS.get(name)


@record(eq=False)
class Line:
    """A straight line over one number, with one or two results, which hold for |x| <= `limit`."""

    param: Value
    body: list[Statement]
    results: tuple[Value, ...]
    limit: float | None


@once
def line(name: str) -> Line:
    """A function of one number, or two of PAIRS, in "f64". Unknown names raise KeyError."""
    if name not in PAIRS:
        made = function(name, "f64")
        return Line(made.params[0], made.body, (made.result,), LIMITS.get(name, {}).get("f64"))
    m = Writer(Code(), FORMATS["f64"])
    param = Value("f", hint="x")
    results = written(*PAIRS[name])(m, m.term(param))
    limit = LIMITS["sin"]["f64"] if name == "sincos" else None
    return Line(param, m.code.body, tuple(r.value for r in results), limit)


@once
def function(name: str, width: str, tabled: bool = False, waited: bool = False) -> Function:
    """The function of a name in "f64" or "f32", with `tabled` in the form of `tables.py` if it has one, with `waited` rather in
    that of `waited.py`. Unknown names and widths raise KeyError."""
    writer = (tabled_form(name, waited) if tabled else None) or written(WHERE[name], name)
    m = Writer(Code(), FORMATS[width])
    params = tuple(Value("f", hint=p) for p in list(inspect.signature(writer).parameters)[1:])
    result = writer(m, *(m.term(p) for p in params))
    return Function(name, params, m.code.body, result.value, " ".join((writer.__doc__ or "").split()))
