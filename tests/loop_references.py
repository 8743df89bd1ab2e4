"""What the functions of the loop form should give: in mpmath, and NumPy's values at infinities, nan and zeros."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np
from mpmath import mpf

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Reference:
    """`value` of numbers in mpmath; `numpy` for arrays; `bound` in units in the last place; `ranges` where most happens, the same
    for every argument."""

    value: Callable[..., Any]
    numpy: Callable[..., Array]
    bound: float
    ranges: tuple[tuple[float, float], ...]


def softplus(x: mpf) -> mpf:
    return max(x, mpf(0)) + mpmath.log1p(mpmath.exp(-abs(x)))


def odd(f: Callable[[mpf], mpf]) -> Callable[[mpf], mpf]:
    return lambda x: mpmath.sign(x) * f(abs(x))


def tanh(x: mpf) -> mpf:
    e = mpmath.expm1(-2 * x)
    return -e / (2 + e)


def log1p(x: mpf) -> mpf:
    return mpmath.log1p(x) if abs(x) < 1e-8 else mpmath.log(1 + x)


EXP = ((-746.0, 711.0), (-1.0, 1.0))
NEAR = ((-3.0, 3.0), (-0.1, 0.1))
ANGLES = ((-7.0, 7.0), (-1e6, 1e6))
REFERENCES: dict[str, Reference] = {
    "exp": Reference(mpmath.exp, np.exp, 1.1, EXP),
    "expm1": Reference(mpmath.expm1, np.expm1, 1.5, (*EXP, (-40.0, 2.0))),
    "sigmoid": Reference(lambda x: 1 / (1 + mpmath.exp(-x)), lambda x: 1 / (1 + np.exp(-x)), 2, (*EXP, (-40.0, 40.0))),
    "tanh": Reference(odd(tanh), np.tanh, 1.75, (*NEAR, (-22.0, 22.0))),
    "log": Reference(mpmath.log, np.log, 1, ((0.5, 2.0), (0.0, 1e3))),
    "log1p": Reference(log1p, np.log1p, 1.75, ((-1.0, 2.0), (-0.1, 0.1), (0.0, 1e6))),
    "softplus": Reference(softplus, lambda x: np.logaddexp(0, x), 2, (*NEAR, (-750.0, 40.0))),
    "log_sigmoid": Reference(lambda x: -softplus(-x), lambda x: -np.logaddexp(0, -x), 2, (*NEAR, (-40.0, 750.0))),
    "sin": Reference(mpmath.sin, np.sin, 1.25, ANGLES),
    "cos": Reference(mpmath.cos, np.cos, 1.25, ANGLES),
}
WITHOUT_FMA = 4.0  # the bound on machines whose fused multiply-adds are products and sums


def ulps(got: float, wanted: mpf, digits: int, least: int) -> float:
    """The distance of a finite number from the true value, in units in the last place of the true value."""
    exponent = int(mpmath.frexp(wanted)[1]) - digits if wanted else least
    return float(abs(mpf(got) - wanted) / mpf(2) ** max(exponent, least))


def error(got: float, wanted: Any, width: str) -> float:
    """In ulps. A result out of range has to be inf, or the greatest number if the true value is that near."""
    digits, least, largest = (
        (53, -1074, math.ldexp(2 - 2**-52, 1023)) if width == "f64" else (24, -149, math.ldexp(2 - 2**-23, 127))
    )
    if isinstance(wanted, mpmath.mpc) or mpmath.isnan(wanted):
        return 0.0 if math.isnan(got) else math.inf
    if math.isnan(got):
        return math.inf
    if math.isinf(got):
        return 0.0 if abs(wanted) > largest * (1 - 2.0 ** (2 - digits)) and (wanted > 0) == (got > 0) else math.inf
    if mpmath.isinf(wanted):
        return math.inf
    return ulps(got, wanted, digits, least)
