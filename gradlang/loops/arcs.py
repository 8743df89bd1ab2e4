"""The inverses of sin, cos and tan.

arctan of the lesser over the greater of two numbers, of (p - q) / (p + q) where they are near each other (arctan u = pi/4 -
arctan((1 - u) / (1 + u)); Muller, Elementary Functions, section 11.3), and arcsin by sqrt((1 - a) / 2) for a > 1/2 (Cody &
Waite 1980, chapter 10), each with our own minimax polynomial of the square.
"""

from __future__ import annotations

import math

from gradlang.loops.coefficients import ASIN, ATAN, QUARTER_PI
from gradlang.loops.writing import Term, Writer

TAN_EIGHTH_PI = math.sqrt(2.0) - 1.0


def arc(m: Writer, y: Term, x: Term | float, side: Term | None = None) -> Term:
    """The angle of the point (x, y) for y >= 0, where x >= 0 is the size of the first coordinate and `side` is 1 or -1, its sign:
    j pi/4 + or - arctan(t) with |t| <= tan(pi/8), j a whole number. Not both may be 0 or infinite."""
    if not isinstance(x, Term):
        x = m.real(x)
    flat = y < x
    lesser, greater = m.select(flat, y, x), m.select(flat, x, y)
    middle = lesser > greater * TAN_EIGHTH_PI
    numerator = m.select(middle, lesser - greater, lesser)
    t = numerator / m.select(middle, lesser + greater, greater)
    z = t * t
    # Mirrored at the diagonal the angle is pi/2 less itself, mirrored at the axis pi less itself.
    sign = m.select(flat, 1.0, -1.0)
    j = m.fma(sign, m.select(middle, 0.0, -1.0), 1.0)
    if side is not None:
        j = m.fma(side, j - 2.0, 2.0)
        sign = sign * side
    high, low = QUARTER_PI[m.format.width]
    t = t * sign
    return m.fma(j, high, t + m.fma(t * z, m.polynomial(z, ATAN[m.format.width]), j * low))


def atan(m: Writer, x: Term) -> Term:
    """arctan x. Within 2 ulp; the sign of a zero stays."""
    return m.copysign(arc(m, m.abs(x), 1.0), x)


def atan2(m: Writer, y: Term, x: Term) -> Term:
    """The angle of the point (x, y), from -pi to pi, with the values of C99 at zeros and infinities. Large coordinates are
    scaled, so that their sum does not overflow. Within 2 ulp."""
    f = m.format
    a, b = m.abs(y), m.abs(x)
    zero = a.equals(0.0) & b.equals(0.0)
    infinite = a.equals(math.inf) & b.equals(math.inf)
    a = m.select(infinite, 1.0, a)
    b = m.select(infinite | zero, 1.0, b)
    large = (a > f.largest / 4) | (b > f.largest / 4)
    scale = m.select(large, 0.25, 1.0)
    return m.copysign(arc(m, a * scale, b * scale, m.copysign(m.real(1.0), x)), y)


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
    result = m.fma(factor, s, base) + m.fma(factor, rest, m.select(far, 2 * low, 0.0))
    return m.copysign(result, x)


def acos(m: Writer, x: Term) -> Term:
    """arccos x; nan outside [-1, 1]. Within 2 ulp."""
    high, low = QUARTER_PI[m.format.width]
    far, s, rest = half_arc(m, m.abs(x))
    positive = x > 0.0
    factor = m.select(far, m.select(positive, 2.0, -2.0), m.select(positive, -1.0, 1.0))
    j = m.select(far, m.select(positive, 0.0, 4.0), 2.0)
    return m.fma(j, high, m.fma(factor, s, m.fma(factor, rest, j * low)))
