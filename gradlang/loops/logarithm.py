"""log and its relatives: x = 2**e m with sqrt(1/2) <= m < sqrt 2, f = m - 1, log x = e ln 2 + log(1 + f).

log(1 + f) = 2 artanh(s) with s = f / (2 + f), |s| < 0.172; it is written f - f^2/2 + s (f^2/2 + R(s^2)), where f is exact and
all the rest is small against it (the series of artanh: Cody & Waite 1980, chapter 5; Muller, Elementary Functions, section
11.4). R = 2 artanh(s)/s - 2 is our own minimax polynomial.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from gradlang.loops.coefficients import LN2, LOG, LOG10_OF_2, PER_LN2, PER_LN10
from gradlang.loops.exponential import SHRINK, exp_of_negative
from gradlang.loops.writing import Term, Writer

ROOT_HALF = math.sqrt(0.5)
ROOT_TWO_LESS_ONE = math.sqrt(2.0) - 1.0


class Parts(NamedTuple):
    biased: Term  # the word e + bias
    fraction: Term  # m


def take_apart(m: Writer, x: Term) -> Parts:
    """x = 2**e m for a positive normal x."""
    f = m.format
    start = f.word(f.round(ROOT_HALF))
    moved = m.bits(x) + (f.word(1.0) - start)
    fraction = m.unbits((moved & ((1 << f.shift) - 1)) + start)
    return Parts(moved >> f.shift, fraction)


def real_exponent(m: Writer, biased: Term, bias: Term | float) -> Term:
    """The word of an exponent as a real, less a bias: as the last bits of 2**shift."""
    f = m.format
    whole = 2.0**f.shift
    joined = m.unbits(biased | f.word(whole))
    return joined - (bias + whole)


def log_of_sum(m: Writer, f: Term, high: Term, low: Term) -> Term:
    """high + low + log(1 + f), where high is 0 or larger than f and low is small."""
    s = f / (f + 2.0)
    z = s * s
    half_square = f * f * 0.5
    rest = m.fma(z, m.polynomial(z, LOG[m.format.width]), half_square)
    return (f - (half_square - m.fma(s, rest, low))) + high


def log(m: Writer, x: Term) -> Term:
    """log x. Numbers below the normal ones are multiplied by 2**54 before. Within 1 ulp."""
    f = m.format
    large = f.digits + 1
    small = x < f.tiny
    biased, fraction = take_apart(m, m.select(small, x * 2.0**large, x))
    e = real_exponent(m, biased, m.select(small, float(f.bias + large), float(f.bias)))
    high, low = LN2[f.width]
    result = log_of_sum(m, fraction - 1.0, e * high, e * low)
    return specials(m, x, result, 0.0)


def specials(m: Writer, x: Term, result: Term, pole: float) -> Term:
    """result, but -inf at the pole, nan below it, and inf and nan as they are."""
    ends = m.select(x.equals(pole), -math.inf, m.select(x < pole, math.nan, x))
    return m.select((x > pole) & (x < math.inf), result, ends)


def log_one_plus(m: Writer, y: Term, rest: Term | float = 0.0, far: Term | None = None, x: Term | None = None) -> Term:
    """log(1 + y) for a finite y > -1: what 1 + y loses in rounding (Knuth, The Art of Computer Programming 2, 4.2.2) is added
    to f; for e = 0 that makes f = y exactly. `rest` is what y has lost before. Where `far` holds it is log(x) + log(2)
    instead."""
    f = m.format
    total = y + 1.0
    above = total - 1.0
    lost = (1.0 - (total - above)) + (y - above)
    bias: Term | float = float(f.bias)
    if far is not None and x is not None:
        total = m.select(far, x, total)
        lost = m.select(far, 0.0, lost)
        bias = m.select(far, f.bias - 1.0, bias)
    biased, fraction = take_apart(m, total)
    e = real_exponent(m, biased, bias)
    inverse = m.unbits((m.word(2 * f.bias) - biased) << f.shift)  # 2**-e, where it is a normal number
    scale = m.select(total < 2.0 ** (f.digits + 2), inverse, 0.0)
    high, low = LN2[f.width]
    small = e * low if isinstance(rest, float) else m.fma(e, low, m.select(total < 2.0, rest, 0.0))
    return log_of_sum(m, m.fma(lost, scale, fraction - 1.0), e * high, small)


def log1p(m: Writer, x: Term) -> Term:
    """log(1 + x). Within 1.5 ulp; the sign of a zero stays."""
    return specials(m, x, m.copysign(log_one_plus(m, x), x), -1.0)


def log_in_base(m: Writer, x: Term, per: Sequence[float], of_two: Sequence[float]) -> Term:
    """log x times 1 / log(base), which has the parts `per`; the logarithm of 2 has the parts `of_two`. log(1 + f) is a number
    of half the digits, so that its product with the first part is exact, and the rest."""
    f = m.format
    small = x < f.tiny
    large = f.digits + 1
    biased, fraction = take_apart(m, m.select(small, x * 2.0**large, x))
    e = real_exponent(m, biased, m.select(small, float(f.bias + large), float(f.bias)))
    argument = fraction - 1.0
    s = argument / (argument + 2.0)
    z = s * s
    half_square = argument * argument * 0.5
    high = m.chop(argument - half_square, (f.digits + 1) // 2)
    tail = s * m.fma(z, m.polynomial(z, LOG[f.width]), half_square)
    low = ((argument - high) - half_square) + tail
    product = high * per[0]
    rest = m.fma(low, per[0] + per[1], m.fma(high, per[1], e * of_two[1]))
    whole = e * of_two[0]
    total = whole + product
    result = total + (((whole - total) + product) + rest)
    return specials(m, x, result, 0.0)


def log2(m: Writer, x: Term) -> Term:
    """The logarithm to the base 2, exact for powers of 2. Within 1 ulp."""
    return log_in_base(m, x, PER_LN2[m.format.width], (1.0, 0.0))


def log10(m: Writer, x: Term) -> Term:
    """The logarithm to the base 10. Within 1 ulp."""
    return log_in_base(m, x, PER_LN10[m.format.width], LOG10_OF_2[m.format.width])


def log_one_plus_exp(m: Writer, a: Term) -> Term:
    """log(1 + exp(-a)) for a >= 0: 1 + e lies between 1 and 2, so that e or (e - 1)/2 is the f of above. Within 2 ulp."""
    high, low = LN2[m.format.width]
    e = exp_of_negative(m, a) * 2.0 ** -SHRINK[m.format.width]
    far = e > ROOT_TWO_LESS_ONE
    argument = m.select(far, m.fma(e, 0.5, -0.5), e)
    return log_of_sum(m, argument, m.select(far, high, 0.0), m.select(far, low, 0.0))


def softplus(m: Writer, x: Term) -> Term:
    """log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|)). Within 2 ulp."""
    return m.select(x > 0.0, x, 0.0) + log_one_plus_exp(m, m.abs(x))


def log_sigmoid(m: Writer, x: Term) -> Term:
    """log(1 / (1 + exp(-x))) = min(x, 0) - log(1 + exp(-|x|)). Within 2 ulp."""
    return m.select(x < 0.0, x, -0.0) - log_one_plus_exp(m, m.abs(x))
