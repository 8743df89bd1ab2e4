"""exp and its relatives: x = k ln 2 + r with |r| <= (ln 2) / 2, then exp(x) = 2**k exp(r).

k is the nearest whole number, by adding a magic number, which also puts k + bias where the exponent of 2**k is taken from.
ln 2 has two parts (Cody & Waite, Software Manual for the Elementary Functions, 1980): k times the first one is exact and so
is x minus that product, with a fused multiply-add or without. exp(r) = 1 + r + r^2 p(r) with our own minimax polynomial.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from gradlang.loops.coefficients import EXP, EXP2, LN2
from gradlang.loops.writing import Term, Writer

# Beyond these exp is inf or 0; a little further k + bias would not fit. 2**shrink makes room for results below normal ones.
HIGHEST = {"f64": 710.0, "f32": 89.0}
LOWEST = {"f64": -746.0, "f32": -105.0}
SHRINK = {"f64": 64, "f32": 32}
SLOPE_ZERO = {"f64": 374.0, "f32": 53.0}  # where 1 - tanh^2 has become 0


class Reduced(NamedTuple):
    sum: Term  # k + magic + offset
    k: Term
    r: Term


def reduce(m: Writer, x: Term, magic: Term) -> Reduced:
    """x = k ln 2 + r."""
    high, low = LN2[m.format.width]
    total = m.fma(x, 1 / math.log(2), magic)
    k = total - magic
    return Reduced(total, k, m.fma(k, -low, m.fma(k, -high, x)))


def exp_of_rest(m: Writer, r: Term, scale: Term) -> Term:
    """exp(r) scale for |r| <= (ln 2) / 2 and a power of two, within 0.5 units in the last place and the error of r."""
    return m.fma(m.fma(r * r, m.polynomial(r, EXP[m.format.width]), r), scale, scale)


def exp(m: Writer, x: Term) -> Term:
    """exp(x): 2**k is made 2**shrink too large for x < 0 and 2 too small for others, and the last product mends that, so that
    results below the normal numbers are rounded once and 2**1024 is not needed. Within 1.1 ulp."""
    f = m.format
    x = m.at_least(m.at_most(x, HIGHEST[f.width]), LOWEST[f.width])
    negative = x < 0.0
    shrink = SHRINK[f.width]
    magic = m.select(negative, f.magic + f.bias + shrink, f.magic + f.bias - 1)
    total, _, r = reduce(m, x, magic)
    return exp_of_rest(m, r, m.power_of_two(total)) * m.select(negative, 2.0**-shrink, 2.0)


def exp2_of_rest(m: Writer, high: Term, low: Term | None = None) -> Term:
    """2**(high + low) for a sum of at most 1/2, the second number being small."""
    log2, *others = EXP2[m.format.width]
    r = high if low is None else high + low
    bent = r * r * m.polynomial(r, others)
    return m.fma(high, log2, bent if low is None else m.fma(low, log2, bent)) + 1.0


def exp2(m: Writer, x: Term) -> Term:
    """2**x: here r = x - k is exact, and 2**r = 1 + r p(r); scaled as in `exp`. Within 1.1 ulp."""
    f = m.format
    x = m.at_least(m.at_most(x, f.bias + 2.0), -float(f.bias + f.digits + 1))
    negative = x < 0.0
    shrink = SHRINK[f.width]
    magic = m.select(negative, f.magic + f.bias + shrink, f.magic + f.bias - 1)
    total = x + magic
    r = x - (total - magic)
    return exp2_of_rest(m, r) * m.power_of_two(total) * m.select(negative, 2.0**-shrink, 2.0)


def exp_of_negative(m: Writer, a: Term) -> Term:
    """2**shrink exp(-a) for a >= 0."""
    f = m.format
    high, low = LN2[f.width]
    a = m.at_most(a, -LOWEST[f.width])
    magic = f.magic + f.bias + SHRINK[f.width]
    total = m.fma(a, -1 / math.log(2), magic)
    k = total - magic
    r = m.fma(-k, low, -m.fma(k, high, a))
    return exp_of_rest(m, r, m.power_of_two(total))


def exp_less(m: Writer, x: Term) -> Term:
    """exp(-|x|): without the choices that `exp` makes for large results. Within 1.1 ulp."""
    return exp_of_negative(m, m.abs(x)) * 2.0 ** -SHRINK[m.format.width]


def sigmoid(m: Writer, x: Term) -> Term:
    """1 / (1 + exp(-x)), for x < 0 as e / (1 + e) with e = exp(-|x|), which does not overflow; for x < -1 as e - e e / (1 +
    e), where the error of the quotient counts little. Within 2 ulp."""
    large = 2.0 ** SHRINK[m.format.width]
    e = exp_of_negative(m, m.abs(x))  # times large, as all until the end
    true = e * (1 / large)
    quotient = m.select(x < 0.0, e, large) / (true + 1.0)
    return m.select(x < -1.0, m.fma(-quotient, true, e), quotient) * (1 / large)


def expm1(m: Writer, x: Term) -> Term:
    """exp(x) - 1 = 2**k (q + 1 - 2**-k) with q = exp(r) - 1. The sum 1 - 2**-k + r is exact where it cancels, and the rest of
    q is small against it. Within 1.5 ulp; the sign of a zero stays."""
    f = m.format
    high, low = LN2[f.width]
    limited = m.at_least(m.at_most(x, HIGHEST[f.width]), -float(f.digits))
    magic = m.real(f.magic + f.bias - 1)
    total = m.fma(limited, 1 / math.log(2), magic)
    k = total - magic
    first = m.fma(k, -high, limited)
    r = m.fma(k, -low, first)
    half = m.power_of_two(total)  # 2**(k - 1)
    twice = m.unbits(m.word(2 * f.bias << f.shift) - m.bits(half))  # 2**(1 - k)
    small = m.fma(k, -low, r * r * m.polynomial(r, EXP[f.width]))
    q = (m.fma(twice, -0.5, 1.0) + first) + small
    return m.copysign(q * half * 2.0, x)


class Quotient(NamedTuple):
    """The parts of tanh |x| = (E - 1) / (E + 1) with E = exp(2 |x|) = 2**k exp(r), all divided by 2**k."""

    large: Term  # 2**(shrink - k)
    scale: Term  # 2**-k
    above: Term  # E - 1
    below: Term  # E + 1, rounded
    lost: Term  # what `below` lost in rounding
    reciprocal: Term  # 1 / below


def quotient(m: Writer, x: Term) -> Quotient:
    """E - 1 is a sum as in `expm1`."""
    f = m.format
    high, low = LN2[f.width]
    a = m.at_most(m.abs(x), SLOPE_ZERO[f.width])
    twice = a + a
    magic = f.magic + f.bias + SHRINK[f.width]
    total = m.fma(twice, -1 / math.log(2), magic)
    k = total - magic  # -k of above
    first = m.fma(k, high, twice)
    r = m.fma(k, low, first)
    large = m.power_of_two(total)
    scale = large * 2.0 ** -SHRINK[f.width]
    small = m.fma(k, low, r * r * m.polynomial(r, EXP[f.width]))
    above = ((1.0 - scale) + first) + small
    both = scale + scale
    below = above + both
    return Quotient(large, scale, above, below, above - (below - both), 1.0 / below)


def tanh(m: Writer, x: Term) -> Term:
    """(E - 1) / (E + 1) with E = exp(2 |x|): the quotient comes from the reciprocal of the denominator and one correction by
    the remainder, which also holds what the denominator lost in rounding. Within 1.75 ulp; the sign of a zero stays."""
    q = quotient(m, x)
    near = q.above * q.reciprocal
    remainder = m.fma(-near, q.lost, m.fma(-near, q.below, q.above))
    return m.copysign(m.fma(remainder, q.reciprocal, near), x)


def tanh_slope(m: Writer, x: Term) -> Term:
    """1 - tanh(x)^2 = 4 / (E + 1) (1 - 1 / (E + 1)) with E = exp(2 |x|), all digits of which are there for large |x|, too.
    Within 3 ulp."""
    q = quotient(m, x)
    rest = m.fma(-q.scale, q.reciprocal, 1.0)
    return q.large * q.reciprocal * rest * 2.0 ** (2 - SHRINK[m.format.width])


def tanh_and_exp(m: Writer, x: Term) -> tuple[Term, Term]:
    """tanh x and e = exp(-2 |x|), of which the slope of tanh is made: tanh |x| = n / (2 - n) with n = 1 - e. With e = 2**k (1 +
    q), q = exp(r) - 1, n is the sum (1 - 2**k) - 2**k q as in `expm1`, and the quotient is corrected as in `tanh`. tanh is
    within 2 ulp, and the sign of a zero stays; e has the bits of `exp`'s way, within 1.1 ulp."""
    f = m.format
    high, low = LN2[f.width]
    limited = m.at_least(m.abs(x) * -2.0, LOWEST[f.width])
    total = m.fma(limited, 1 / math.log(2), m.real(f.magic + f.bias + SHRINK[f.width]))
    k = total - (f.magic + f.bias + SHRINK[f.width])
    first = m.fma(k, -high, limited)
    r = m.fma(k, -low, first)
    bent = r * r * m.polynomial(r, EXP[f.width])
    large = m.power_of_two(total)  # 2**(k + shrink)
    scale = large * 2.0 ** -SHRINK[f.width]
    e = ((bent + r) + 1.0) * large * 2.0 ** -SHRINK[f.width]
    whole = 1.0 - scale
    rounded = m.fma(-scale, first, whole)
    n = rounded + m.fma(-scale, m.fma(k, -low, bent), m.fma(-scale, first, whole - rounded))
    bottom = 2.0 - n
    lost = (2.0 - bottom) - n
    reciprocal = 1.0 / bottom
    quotient = n * reciprocal
    remainder = m.fma(-quotient, lost, m.fma(-quotient, bottom, n))
    return m.copysign(m.fma(remainder, reciprocal, quotient), x), e
