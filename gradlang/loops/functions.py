"""The functions that the loop form calls by name, written for one width of real numbers.

All are straight-line: no branch and no loop, so that a loop around them becomes one over vectors, and without tables but for
the second forms of `tables.py`. Values of
infinities, nan and zeros are those of NumPy's functions of the same name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache

from gradlang.loops import arcs, division, error, exponential, hyperbolic, logarithm, power, powers, tables, trigonometric
from gradlang.loops import waited as waits
from gradlang.loops.ir import Code, Function, Statement, Value
from gradlang.loops.writing import FORMATS, Term, Writer
from gradlang.record import record

WRITERS: dict[str, Callable[..., Term]] = {
    f.__name__: f
    for f in (
        *(exponential.exp, exponential.exp_less, exponential.expm1, exponential.exp2, exponential.sigmoid),
        *(exponential.tanh, exponential.tanh_slope),
        *(logarithm.log, logarithm.log1p, logarithm.log2, logarithm.log10, logarithm.softplus, logarithm.log_sigmoid),
        *(trigonometric.sin, trigonometric.cos, trigonometric.tan, arcs.asin, arcs.acos, arcs.atan, arcs.atan2),
        *(trigonometric.sin_any, trigonometric.cos_any, trigonometric.tan_any),
        *(hyperbolic.sinh, hyperbolic.cosh, hyperbolic.asinh, hyperbolic.acosh, hyperbolic.atanh),
        *(error.erf, error.erfc, error.erfcx, powers.cbrt, powers.hypot, powers.sign, powers.round),
        *(power.pow, division.mod, division.floordiv),
    )
}
NAMES = tuple(WRITERS)
# The greatest |x| for which a function holds what it promises; functions that are not here hold it everywhere.
LIMITS: dict[str, dict[str, float]] = dict.fromkeys(("sin", "cos", "tan"), trigonometric.LIMIT)


# Two functions of one number whose work is the same for the most part.
PAIRS: dict[str, Callable[[Writer, Term], tuple[Term, Term]]] = {
    "sincos": trigonometric.sin_and_cos,
    "tanh_and_exp": exponential.tanh_and_exp,
}


@record(eq=False)
class Line:
    """A straight line over one number, with one or two results, which hold for |x| <= `limit`."""

    param: Value
    body: list[Statement]
    results: tuple[Value, ...]
    limit: float | None


@cache
def line(name: str) -> Line:
    """A function of one number, or two of PAIRS, in "f64". Unknown names raise KeyError."""
    if name not in PAIRS:
        made = function(name, "f64")
        return Line(made.params[0], made.body, (made.result,), LIMITS.get(name, {}).get("f64"))
    m = Writer(Code(), FORMATS["f64"])
    param = Value("f", hint="x")
    results = PAIRS[name](m, m.term(param))
    limit = trigonometric.LIMIT["f64"] if name == "sincos" else None
    return Line(param, m.code.body, tuple(r.value for r in results), limit)


@cache
def function(name: str, width: str, tabled: bool = False, waited: bool = False) -> Function:
    """The function of a name in "f64" or "f32", with `tabled` in the form of `tables.py` if it has one, with `waited` rather in
    that of `waited.py`. Unknown names and widths raise KeyError."""
    writer = (tabled and ((waited and waits.WRITERS.get(name)) or tables.WRITERS.get(name))) or WRITERS[name]
    m = Writer(Code(), FORMATS[width])
    params = tuple(Value("f", hint=p) for p in list(inspect.signature(writer).parameters)[1:])
    result = writer(m, *(m.term(p) for p in params))
    return Function(name, params, m.code.body, result.value, " ".join((writer.__doc__ or "").split()))
