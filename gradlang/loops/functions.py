"""The functions that the loop form calls by name, written for one width of real numbers.

All are straight-line: no branch, no loop and no table, so that a loop around them becomes one over vectors. Values of
infinities, nan and zeros are those of NumPy's functions of the same name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache

from gradlang.loops import arcs, division, error, exponential, hyperbolic, logarithm, power, powers, trigonometric
from gradlang.loops.ir import Code, Function, Value
from gradlang.loops.writing import FORMATS, Term, Writer

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


@cache
def function(name: str, width: str) -> Function:
    """The function of a name in "f64" or "f32". Unknown names and widths raise KeyError."""
    writer = WRITERS[name]
    m = Writer(Code(), FORMATS[width])
    params = tuple(Value("f", hint=p) for p in list(inspect.signature(writer).parameters)[1:])
    result = writer(m, *(m.term(p) for p in params))
    return Function(name, params, m.code.body, result.value, " ".join((writer.__doc__ or "").split()))
