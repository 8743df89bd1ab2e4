"""The inverses of sin, cos and tan.

arctan of the lesser over the greater of two numbers, of (p - q) / (p + q) where they are near each other (arctan u = pi/4 -
arctan((1 - u) / (1 + u)); Muller, Elementary Functions, section 11.3), and arcsin by sqrt((1 - a) / 2) for a > 1/2 (Cody &
Waite 1980, chapter 10), each with our own minimax polynomial of the square.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from gradlang.loops.coefficients import ASIN, ATAN, QUARTER_PI
from gradlang.loops.writing import Term, Writer

TAN_EIGHTH_PI = math.sqrt(2.0) - 1.0


class Octant(NamedTuple):
    """The sizes of the coordinates of a point in order, and whether the first coordinate is the greater one."""

    flat: Term
    lesser: Term
    greater: Term


def octant(m: Writer, y: Term, x: Term) -> Octant:
    flat = y <= x
    return Octant(flat, m.select(flat, y, x), m.select(flat, x, y))


def arc(m: Writer, at: Octant, side: Term | None = None) -> Term:
    """The angle of a point with a second coordinate >= 0; `side` is 1 or -1, the sign of the first one. It is j pi/4 + or -
    arctan(t) with |t| <= tan(pi/8), j a whole number. The greater coordinate may not be 0, nor both infinite."""
    middle = at.lesser > at.greater * TAN_EIGHTH_PI
    numerator = m.select(middle, at.lesser - at.greater, at.lesser)
    t = numerator / m.select(middle, at.lesser + at.greater, at.greater)
    z = t * t
    # Mirrored at the diagonal the angle is pi/2 less itself, mirrored at the axis pi less itself.
    sign = m.select(at.flat, 1.0, -1.0)
    j = m.fma(sign, m.select(middle, 0.0, -1.0), 1.0)
    if side is not None:
        j = m.fma(side, j - 2.0, 2.0)
        sign = sign * side
    high, low = QUARTER_PI[m.format.width]
    t = t * sign
    return m.fma(j, high, t + m.fma(t * z, m.polynomial(z, ATAN[m.format.width]), j * low))


def atan(m: Writer, x: Term) -> Term:
    """arctan x. Within 2 ulp; the sign of a zero stays."""
    return m.copysign(arc(m, octant(m, m.abs(x), m.real(1.0))), x)


def atan2(m: Writer, y: Term, x: Term) -> Term:
    """The angle of the point (x, y), from -pi to pi, with the values of C99 at zeros and infinities. Large coordinates are
    scaled, so that their sum does not overflow. Within 2 ulp."""
    flat, lesser, greater = octant(m, m.abs(y), m.abs(x))
    infinite = lesser.equals(math.inf)
    lesser = m.select(infinite, 1.0, lesser)
    greater = m.select(greater.equals(math.inf), m.select(infinite, 1.0, math.inf), greater)  # a nan stays
    greater = m.select(greater.equals(0.0), 1.0, greater)
    scale = m.select(greater > m.format.largest / 4, 0.25, 1.0)
    side = m.copysign(m.real(1.0), x)
    return m.copysign(arc(m, Octant(flat, lesser * scale, greater * scale), side), y)


def half_arc(m: Writer, a: Term) -> tuple[Term, Term, Term]:
    """(a > 1/2, s, the rest r): arcsin(a) is s + r, or pi/2 - 2 (s + r) if a > 1/2."""
    far = a > 0.5
    z = m.select(far, m.fma(a, -0.5, 0.5), a * a)
    s = m.select(far, m.sqrt(z), a)
    return far, s, s * z * m.polynomial(z, ASIN[m.format.width])


def asin(m: Writer, x: Term) -> Term:
    """arcsin x; nan outside [-1, 1]. Within 2 ulp; the sign of a zero stays."""
    high, low = QUARTER_PI[m.format.width]
    far, s, rest = half_arc(m, m.abs(x))
    factor = m.select(far, -2.0, 1.0)
    base = m.select(far, 2 * high, 0.0)
    small = m.fma(factor, rest, m.select(far, 2 * low, 0.0))
    return m.copysign(base + m.fma(factor, s, small), x)


def acos(m: Writer, x: Term) -> Term:
    """arccos x; nan outside [-1, 1]. Within 2 ulp."""
    high, low = QUARTER_PI[m.format.width]
    far, s, rest = half_arc(m, m.abs(x))
    positive = x > 0.0
    factor = m.select(far, m.select(positive, 2.0, -2.0), m.select(positive, -1.0, 1.0))
    j = m.select(far, m.select(positive, 0.0, 4.0), 2.0)
    return m.fma(j, high, m.fma(factor, s, m.fma(factor, rest, j * low)))
