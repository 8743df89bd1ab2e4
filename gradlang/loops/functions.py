"""The functions that the loop form calls by name, written for one width of real numbers.

All are straight-line: no branch, no loop and no table, so that a loop around them becomes one over vectors. Values of
infinities, nan and zeros are those of NumPy's functions of the same name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache

from gradlang.loops import exponential, logarithm, trigonometric
from gradlang.loops.ir import Code, Function, Value
from gradlang.loops.writing import FORMATS, Term, Writer

WRITERS: dict[str, Callable[..., Term]] = {
    "exp": exponential.exp,
    "expm1": exponential.expm1,
    "sigmoid": exponential.sigmoid,
    "tanh": exponential.tanh,
    "log": logarithm.log,
    "log1p": logarithm.log1p,
    "softplus": logarithm.softplus,
    "log_sigmoid": logarithm.log_sigmoid,
    "sin": trigonometric.sin,
    "cos": trigonometric.cos,
}
NAMES = tuple(WRITERS)
# The greatest |x| for which a function holds what it promises; functions that are not here hold it everywhere.
LIMITS: dict[str, dict[str, float]] = {"sin": trigonometric.LIMIT, "cos": trigonometric.LIMIT}


@cache
def function(name: str, width: str) -> Function:
    """The function of a name in "f64" or "f32". Unknown names and widths raise KeyError."""
    writer = WRITERS[name]
    m = Writer(Code(), FORMATS[width])
    params = tuple(Value("f", hint=p) for p in list(inspect.signature(writer).parameters)[1:])
    result = writer(m, *(m.term(p) for p in params))
    return Function(name, params, m.code.body, result.value, " ".join((writer.__doc__ or "").split()))
