"""pow: x**y = 2**(y log2 x), with the logarithm and the product as sums of two numbers.

The factors are split into halves of few digits, so that products of halves are exact with a fused multiply-add or without
(Dekker, Numerische Mathematik 18 (1971)). The logarithm has about 65 (f32: 34) right digits, so that what remains is the
error of 2**r (Muller, Elementary Functions, section 11.5).
"""

from __future__ import annotations

import math
from typing import NamedTuple

from gradlang.loops.coefficients import ARTANH_TAIL, THIRD, TWO_PER_LN2
from gradlang.loops.exponential import SHRINK, exp2_of_rest
from gradlang.loops.logarithm import real_exponent, take_apart
from gradlang.loops.writing import Term, Writer

LARGEST_EXPONENT = {"f64": 2.0**66, "f32": 2.0**35}  # with it x**y is inf, 0 or 1


class Halves(NamedTuple):
    """A number as the sum of one with half of the digits and a small one."""

    high: Term
    low: Term


def half(m: Writer) -> int:
    return (m.format.digits + 1) // 2


def split(m: Writer, sum: Term, rest: Term | None = None) -> Halves:
    high = m.chop(sum, half(m))
    low = sum - high
    return Halves(high, low if rest is None else low + rest)


def half_log(m: Writer, x: Term) -> Halves:
    """log(x) / 2 = artanh(s) for sqrt(1/2) <= x < sqrt 2, s = (x - 1) / (x + 1)."""
    f = x - 1.0
    sum = x + 1.0
    reciprocal = 1.0 / sum
    s = m.chop(f * reciprocal, half(m))
    sum_high = m.chop(sum, half(m))
    sum_low = x - (sum_high - 1.0)
    s_low = m.fma(-s, sum_low, m.fma(-s, sum_high, f)) * reciprocal
    square = s * s
    square_low = m.fma(s, 2.0, s_low) * s_low
    z = square + square_low
    # artanh(s) = s (1 + q), q = z/3 + z^2 p(z)
    z_half = split(m, square, square_low)
    third, third_low = THIRD[m.format.width]
    tail = z * z * m.polynomial(z, ARTANH_TAIL[m.format.width])
    q_low = m.fma(z_half.high, third_low, m.fma(z_half.low, third, tail)) + z_half.low * third_low
    q_high = z_half.high * third
    whole = m.chop(q_high + q_low, half(m))
    q_rest = (q_high - whole) + q_low
    product = s * whole
    small = s_low + m.fma(s, q_rest, s_low * (whole + q_rest))
    front = s + product
    return split(m, front, (product - (front - s)) + small)


def log2_parts(m: Writer, a: Term) -> Halves:
    """log2 a for a finite a > 0."""
    f = m.format
    large = f.digits + 1
    below = a < f.tiny
    biased, fraction = take_apart(m, m.select(below, a * 2.0**large, a))
    e = real_exponent(m, biased, m.select(below, float(f.bias + large), float(f.bias)))
    log = half_log(m, fraction)
    factor, factor_low = TWO_PER_LN2[f.width]
    product = log.high * factor
    product_low = m.fma(log.high, factor_low, log.low * (factor + factor_low))
    sum = e + product
    return split(m, sum, ((e - sum) + product) + product_low)


def power_of_positive(m: Writer, a: Term, y: Term) -> Term:
    """a**y for a finite a > 0."""
    f = m.format
    y = m.at_least(m.at_most(y, LARGEST_EXPONENT[f.width]), -LARGEST_EXPONENT[f.width])
    log = log2_parts(m, a)
    y_half = split(m, y)
    product = y_half.high * log.high
    rest = m.fma(y_half.low, log.high, y * log.low)
    edge = f.bias + 2.0
    inside = m.abs(product) < 2 * edge
    rest = m.select(inside, rest, 0.0)
    product = m.at_least(m.at_most(product, edge), -float(f.bias + f.digits + 2))
    negative = product < 0.0
    shrink = SHRINK[f.width]
    magic = m.select(negative, f.magic + f.bias + shrink, f.magic + f.bias - 1)
    total = product + rest + magic
    return exp2_of_rest(m, product - (total - magic), rest) * m.power_of_two(total) * m.select(negative, 2.0**-shrink, 2.0)


def pow(m: Writer, x: Term, y: Term) -> Term:
    """x**y with the values of C99 (annex F.9.4.4) at zeros and infinities: 1 for y = 0 and for x = 1 even beside a nan, nan
    for a finite negative x unless y is whole. Within 2 ulp."""
    a = m.abs(x)
    inside = power_of_positive(m, a, y)
    grows = ((a > 1.0) & (y > 0.0)) | ((a < 1.0) & (y < 0.0))
    end = a.equals(0.0) | a.equals(math.inf)
    size = m.select(end, m.select(grows, math.inf, 0.0), inside)
    whole = m.op("rint", y).equals(y)
    middle = y * 0.5
    odd = whole & ~m.op("rint", middle).equals(middle)
    signed = m.select(odd, m.copysign(size, x), size)
    bad = (x < 0.0) & (a < math.inf) & ~whole
    known = x.equals(x) & y.equals(y) & ~bad
    return m.select(y.equals(0.0) | x.equals(1.0), 1.0, m.select(known, signed, math.nan))
