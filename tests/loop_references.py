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


def tanh_slope(x: Array) -> Array:
    e = np.exp(-2 * np.abs(x))
    return np.asarray(4 * e / (1 + e * (2 + e)))


def log1p(x: mpf) -> mpf:
    return mpmath.log1p(x) if abs(x) < 1e-8 else mpmath.log(1 + x)


def sinh(x: mpf) -> mpf:
    return (mpmath.expm1(x) - mpmath.expm1(-x)) / 2


def asinh(x: mpf) -> mpf:
    return log1p(x + x * x / (1 + mpmath.sqrt(1 + x * x)))


def acosh(x: mpf) -> mpf:
    t = x - 1
    return log1p(t + mpmath.sqrt(t * (t + 2))) if x >= 1 else mpf("nan")


def atanh(x: mpf) -> mpf:
    if x >= 1:
        return mpf("inf") if x == 1 else mpf("nan")
    return log1p(2 * x / (1 - x)) / 2


def within_one(f: Callable[[mpf], mpf]) -> Callable[[mpf], mpf]:
    return lambda x: f(x) if abs(x) <= 1 else mpf("nan")


def positive(f: Callable[[mpf], mpf]) -> Callable[[mpf], mpf]:
    return lambda x: f(x) if x > 0 else mpf("-inf") if x == 0 else mpf("nan")


def log_of_more(x: mpf) -> mpf:
    return log1p(x) if x > -1 else mpf("-inf") if x == -1 else mpf("nan")


def erfc(x: mpf) -> mpf:
    return mpf(0) if x > 1000 else mpmath.erfc(x) if x > -1000 else mpf(2)


def erf(x: mpf) -> mpf:
    # mpmath loses digits of very small numbers
    return (
        2 * x / mpmath.sqrt(mpmath.pi) * (1 - x * x / 3) if abs(x) < 1e-12 else mpmath.erf(max(min(x, mpf(1000)), mpf(-1000)))
    )


def erfcx(x: mpf) -> mpf:
    if x < -1000:
        return mpf("inf")
    if x > 100:
        series = mpmath.fsum(mpf(-1) ** n * mpmath.fac2(2 * n - 1) / (2 * x * x) ** n for n in range(10))
        return series / (x * mpmath.sqrt(mpmath.pi))
    return mpmath.exp(x * x) * mpmath.erfc(x)


def pow(x: mpf, y: mpf) -> mpf:
    if y == 0 or x == 1:
        return mpf(1)
    if x == 0:
        return mpf("inf") if y < 0 else mpf(0)
    if x < 0 and mpmath.floor(y) != y:
        return mpf("nan")
    exponent = y * mpmath.log(abs(x))
    size = mpf("inf") if exponent > 1e5 else mpf(0) if exponent < -1e5 else mpmath.exp(exponent)
    return -size if x < 0 and mpmath.floor(y / 2) * 2 != y else size


def array(f: Callable[..., float]) -> Callable[..., Array]:
    """A function of floats from Python's own mathematics, over arrays."""
    return lambda x: np.array([f(float(v)) for v in x], x.dtype)


def float_erfcx(x: float) -> float:
    return (
        x if math.isnan(x) else math.inf if x < -1e3 else 0.5641895835477563 / x if x > 1e3 else math.exp(x * x) * math.erfc(x)
    )


EXP = ((-746.0, 711.0), (-1.0, 1.0))
NEAR = ((-3.0, 3.0), (-0.1, 0.1))
ANGLES = ((-7.0, 7.0), (-1e6, 1e6))
ONE = ((-1.0, 1.0), (0.4, 0.6), (0.9, 1.0), (-0.1, 0.1))
REFERENCES: dict[str, Reference] = {
    "exp": Reference(mpmath.exp, np.exp, 1.1, EXP),
    "exp_less": Reference(lambda x: mpmath.exp(-abs(x)), lambda x: np.exp(-np.abs(x)), 2, (*EXP, (-40.0, 40.0))),
    "exp2": Reference(lambda x: mpf(2) ** x if abs(x) < 1e5 else mpf("inf") if x > 0 else mpf(0), np.exp2, 1.1, EXP),
    "expm1": Reference(mpmath.expm1, np.expm1, 1.5, (*EXP, (-40.0, 2.0))),
    "sigmoid": Reference(lambda x: 1 / (1 + mpmath.exp(-x)), lambda x: 1 / (1 + np.exp(-x)), 2, (*EXP, (-40.0, 40.0))),
    "tanh": Reference(odd(tanh), np.tanh, 1.75, (*NEAR, (-22.0, 22.0))),
    "sinh": Reference(odd(sinh), np.sinh, 2, (*EXP, *NEAR)),
    "cosh": Reference(mpmath.cosh, np.cosh, 2, (*EXP, *NEAR)),
    "asinh": Reference(odd(asinh), np.arcsinh, 2, (*NEAR, (-100.0, 100.0))),
    "acosh": Reference(acosh, np.arccosh, 2, ((1.0, 1.1), (1.0, 3.0), (1.0, 1e3))),
    "tanh_slope": Reference(lambda x: 1 / mpmath.cosh(x) ** 2, tanh_slope, 3, (*NEAR, (-22.0, 22.0), (-374.0, 374.0))),
    "atanh": Reference(odd(atanh), np.arctanh, 2, ONE),
    "log": Reference(positive(mpmath.log), np.log, 1, ((0.5, 2.0), (0.0, 1e3))),
    "log1p": Reference(log_of_more, np.log1p, 1.5, ((-1.0, 2.0), (-0.1, 0.1), (0.0, 1e6))),
    "log2": Reference(positive(lambda x: mpmath.log(x, 2)), np.log2, 1, ((0.5, 2.0), (0.0, 1e3))),
    "log10": Reference(positive(mpmath.log10), np.log10, 1, ((0.5, 2.0), (0.0, 1e3))),
    "softplus": Reference(softplus, lambda x: np.logaddexp(0, x), 2, (*NEAR, (-750.0, 40.0))),
    "log_sigmoid": Reference(lambda x: -softplus(-x), lambda x: -np.logaddexp(0, -x), 2, (*NEAR, (-40.0, 750.0))),
    "sin": Reference(mpmath.sin, np.sin, 1.25, ANGLES),
    "cos": Reference(mpmath.cos, np.cos, 1.25, ANGLES),
    "tan": Reference(mpmath.tan, np.tan, 1.5, ANGLES),
    "sin_any": Reference(mpmath.sin, np.sin, 1.25, (*ANGLES, (-1e22, 1e22))),
    "cos_any": Reference(mpmath.cos, np.cos, 1.25, (*ANGLES, (-1e22, 1e22))),
    "tan_any": Reference(mpmath.tan, np.tan, 1.5, (*ANGLES, (-1e22, 1e22))),
    "asin": Reference(within_one(mpmath.asin), np.arcsin, 2, ONE),
    "acos": Reference(within_one(mpmath.acos), np.arccos, 2, ONE),
    "atan": Reference(mpmath.atan, np.arctan, 2, (*NEAR, (-100.0, 100.0))),
    "atan2": Reference(mpmath.atan2, np.arctan2, 2, NEAR),
    "erf": Reference(erf, array(math.erf), 2, ((-6.1, 6.1), (-1.2, 1.2))),
    "erfc": Reference(erfc, array(math.erfc), 4, ((-6.1, 27.3), (-1.0, 2.0))),
    "erfcx": Reference(erfcx, array(float_erfcx), 4, ((-26.7, 30.0), (-1.0, 2.0))),
    "cbrt": Reference(odd(mpmath.cbrt), np.cbrt, 1.5, ((-10.0, 10.0), (1.0, 8.0))),
    "hypot": Reference(mpmath.hypot, np.hypot, 1.5, NEAR),
    "pow": Reference(pow, np.power, 1.25, ((0.0, 10.0), (-20.0, 20.0), (0.9, 1.1))),
    "sign": Reference(mpmath.sign, np.sign, 0, NEAR),
    "round": Reference(mpmath.nint, np.rint, 0, ((-20.0, 20.0),)),
}
EXACTLY_NUMPYS = {"mod": np.mod, "floordiv": np.floor_divide}
WITHOUT_FMA = 4.0  # the bound where fused multiply-adds are products and sums, but for those of 4 with it: 1 more


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
