"""sin and cos: |x| = k pi/2 + r with |r| <= pi/4, the quadrant k mod 4 chooses.

pi/2 is a sum of four (f32: five) parts so short that k times a part is exact up to the limit (Cody & Waite 1980; Muller,
Elementary Functions, section 11.2), with a fused multiply-add or without; what the last sum loses in rounding is kept.
sin r = r + r^3 p(r^2) and cos r = 1 - r^2/2 + r^4 q(r^2) are our own minimax polynomials; a loop that needs both sin and cos
of one number does the work once.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from gradlang.loops.coefficients import COS, HALF_PI, SIN
from gradlang.loops.writing import Term, Writer

# The greatest |x| for which k times a part of pi/2 is exact.
LIMIT = {"f64": 1e6, "f32": 1e4}


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


def sine(m: Writer, angle: Angle) -> Term:
    """r + r^3 p(r^2)."""
    z = angle.rest * angle.rest
    return angle.high + m.fma(angle.rest * z, m.polynomial(z, SIN[m.format.width]), angle.low)


def cosine(m: Writer, angle: Angle) -> Term:
    """1 - z/2 + z^2 q(z), z = r^2, with what 1 - z/2 loses in rounding."""
    z = angle.rest * angle.rest
    first = m.fma(z, -0.5, 1.0)
    lost = m.fma(z, -0.5, 1.0 - first)
    return first + m.fma(z * z, m.polynomial(z, COS[m.format.width]), lost)


def turned(m: Writer, angle: Angle, even: Term, odd: Term, sign: Term) -> Term:
    """The one for even or odd quadrants, with the sign bit of a word on top."""
    chosen = m.select((angle.quadrant & 1).equals(0), even, odd)
    top = 1 << (m.format.bits - 1)
    return m.unbits(m.bits(chosen) ^ (sign & top))


def sin(m: Writer, x: Term) -> Term:
    """sin x for |x| <= LIMIT. Within 1.5 ulp; the sign of a zero stays."""
    angle = reduce(m, m.abs(x))
    sign = (angle.quadrant << (m.format.bits - 2)) ^ m.bits(x)
    return turned(m, angle, sine(m, angle), cosine(m, angle), sign)


def cos(m: Writer, x: Term) -> Term:
    """cos x for |x| <= LIMIT. Within 1.5 ulp."""
    angle = reduce(m, m.abs(x))
    sign = (angle.quadrant + 1) << (m.format.bits - 2)
    return turned(m, angle, cosine(m, angle), sine(m, angle), sign)
