"""sin, cos and tan: |x| = k pi/2 + r with |r| <= pi/4, the quadrant k mod 4 chooses.

pi/2 is a sum of four (f32: five) parts so short that k times a part is exact up to the limit (Cody & Waite 1980; Muller,
Elementary Functions, section 11.2), with a fused multiply-add or without; what the last sum loses in rounding is kept.
sin r = r + r^3 p(r^2) and cos r = 1 - r^2/2 + r^4 q(r^2) are our own minimax polynomials; a loop that needs both sin and cos
of one number does the work once.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from gradlang.loops.coefficients import COS, HALF_PI, SIN
from gradlang.loops.functions import LIMITS
from gradlang.loops.reduction import reduce_any
from gradlang.loops.writing import Term, Writer

LIMIT = LIMITS["sin"]  # up to here k times a part of pi/2 is exact


class Angle(NamedTuple):
    quadrant: Term  # a word whose last two bits are k mod 4
    rest: Term  # rounded
    high: Term  # rest is high + low
    low: Term


def reduce(m: Writer, a: Term) -> Angle:
    """a = k pi/2 + rest for 0 <= a <= LIMIT."""
    total = m.fma(a, 2 / math.pi, m.format.magic)
    k = total - m.format.magic
    *exact, middle, third, fourth = HALF_PI[m.format.width]
    before = a
    for part in exact:
        before = m.fma(k, -part, before)
    high = m.fma(k, -middle, before)
    low = m.fma(k, -fourth, m.fma(k, -third, m.fma(k, -middle, before - high)))
    return Angle(m.bits(total), high + low, high, low)


class Sum(NamedTuple):
    """high + low, where low is small."""

    high: Term
    low: Term


def sine(m: Writer, angle: Angle) -> Sum:
    """r + r^3 p(r^2)."""
    z = angle.rest * angle.rest
    return Sum(angle.high, m.fma(angle.rest * z, m.polynomial(z, SIN[m.format.width]), angle.low))


def cosine(m: Writer, angle: Angle) -> Sum:
    """1 - z/2 + z^2 q(z), z = r^2, with what 1 - z/2 loses in rounding."""
    z = angle.rest * angle.rest
    first = m.fma(z, -0.5, 1.0)
    lost = m.fma(z, -0.5, 1.0 - first)
    return Sum(first, m.fma(z * z, m.polynomial(z, COS[m.format.width]), lost))


def turned(m: Writer, angle: Angle, even: Sum, odd: Sum, sign: Term) -> Term:
    """The one for even or odd quadrants, with the sign bit of a word on top."""
    chosen = m.select((angle.quadrant & 1).equals(0), even.high + even.low, odd.high + odd.low)
    top = 1 << (m.format.bits - 1)
    return m.unbits(m.bits(chosen) ^ (sign & top))


def sin(m: Writer, x: Term) -> Term:
    """sin x for |x| <= LIMIT. Within 1.25 ulp; the sign of a zero stays."""
    return sin_at(m, reduce(m, m.abs(x)), x)


def cos(m: Writer, x: Term) -> Term:
    """cos x for |x| <= LIMIT. Within 1.25 ulp."""
    return cos_at(m, reduce(m, m.abs(x)))


def sin_and_cos(m: Writer, x: Term) -> tuple[Term, Term]:
    """Both for |x| <= LIMIT, with the bits of `sin` and `cos`."""
    angle = reduce(m, m.abs(x))
    return sin_at(m, angle, x), cos_at(m, angle)


def tan(m: Writer, x: Term) -> Term:
    """tan x = sin x / cos x for |x| <= LIMIT, numerator and denominator as sums of two numbers; the quotient is corrected by
    its remainder. Within 1.5 ulp; the sign of a zero stays."""
    return tan_at(m, reduce(m, m.abs(x)), x)


def any_angle(m: Writer, a: Term) -> Angle:
    """a = k pi/2 + rest for every finite a >= 0."""
    near, far = reduce(m, a), reduce_any(m, a)
    small = a <= LIMIT[m.format.width]
    quadrant = m.select(small, near.quadrant, far.quadrant)
    high = m.select(small, near.high, far.high)
    return Angle(quadrant, m.select(small, near.rest, far.high), high, m.select(small, near.low, far.low))


def sin_any(m: Writer, x: Term) -> Term:
    """sin x for every x; nan for infinities. Within 1.25 ulp; the sign of a zero stays."""
    return sin_at(m, any_angle(m, m.abs(x)), x)


def cos_any(m: Writer, x: Term) -> Term:
    """cos x for every x; nan for infinities. Within 1.25 ulp."""
    return cos_at(m, any_angle(m, m.abs(x)))


def tan_any(m: Writer, x: Term) -> Term:
    """tan x for every x; nan for infinities. Within 1.5 ulp; the sign of a zero stays."""
    return tan_at(m, any_angle(m, m.abs(x)), x)


def sin_at(m: Writer, angle: Angle, x: Term) -> Term:
    sign = (angle.quadrant << (m.format.bits - 2)) ^ m.bits(x)
    return turned(m, angle, sine(m, angle), cosine(m, angle), sign)


def cos_at(m: Writer, angle: Angle) -> Term:
    sign = (angle.quadrant + 1) << (m.format.bits - 2)
    return turned(m, angle, cosine(m, angle), sine(m, angle), sign)


def tan_at(m: Writer, angle: Angle, x: Term) -> Term:
    even = (angle.quadrant & 1).equals(0)
    s, c = normalized(sine(m, angle)), normalized(cosine(m, angle))
    top, bottom = m.select(even, s.high, c.high), m.select(even, c.high, s.high)
    top_low, bottom_low = m.select(even, s.low, c.low), m.select(even, c.low, s.low)
    reciprocal = 1.0 / bottom
    quotient = top * reciprocal
    remainder = m.fma(-quotient, bottom, top) + m.fma(-quotient, bottom_low, top_low)
    result = m.fma(remainder, reciprocal, quotient)
    sign = (angle.quadrant << (m.format.bits - 1)) ^ m.bits(x)
    return m.unbits(m.bits(result) ^ (sign & (1 << (m.format.bits - 1))))


def normalized(sum: Sum) -> Sum:
    """The same sum, with the rounded one in front (Dekker, Numerische Mathematik 18 (1971))."""
    high = sum.high + sum.low
    return Sum(high, sum.low - (high - sum.high))
