"""Roots and lengths."""

from __future__ import annotations

import math

from gradlang.loops.coefficients import ROOT
from gradlang.loops.logarithm import real_exponent, take_apart
from gradlang.loops.writing import Term, Writer


def cbrt(m: Writer, x: Term) -> Term:
    """|x| = 2**(3 q) w with w between sqrt(1/8) and sqrt 8. w**(-1/3) by a polynomial and two steps of Newton's method
    carried to higher order (Muller, Elementary Functions, section 4.7), v = w**(-1/3)^2 w, and one more step for v. Within
    1.5 ulp; the sign of a zero stays."""
    f = m.format
    a = m.abs(x)
    small = a < f.tiny
    large = f.digits // 3 * 3 + 3
    biased, fraction = take_apart(m, m.select(small, a * 2.0**large, a))
    e = real_exponent(m, biased, float(f.bias))
    q = m.fma(e, 1 / 3, f.magic) - f.magic
    w = fraction * m.power_of_two(m.fma(q, -3.0, e) + (f.magic + f.bias))
    r = m.polynomial(w, ROOT[f.width])
    h = m.fma(-w, r * r * r, 1.0)
    r = m.fma(r * h, m.fma(h, m.fma(h, 14 / 81, 2 / 9), 1 / 3), r)
    h = m.fma(-w, r * r * r, 1.0)
    r = m.fma(r * h, 1 / 3, r)
    v = w * r * r
    v = m.fma(m.fma(-v * v, v, w), r * r * (1 / 3), v)
    scale = m.power_of_two(q + (f.magic + f.bias)) * m.select(small, 2.0 ** -(large // 3), 1.0)
    inside = (a > 0.0) & (a < math.inf)
    return m.copysign(m.select(inside, v * scale, a), x)


def hypot(m: Writer, x: Term, y: Term) -> Term:
    """sqrt(x^2 + y^2), scaled by a power of two where a square would overflow or vanish; inf if one is infinite, even beside
    a nan. Within 1.5 ulp."""
    f = m.format
    a, b = m.abs(x), m.abs(y)
    flat = a < b
    less, more = m.select(flat, a, b), m.select(flat, b, a)
    high, low = 2.0 ** (f.bias // 2 - 3), 2.0 ** -(f.bias // 2 - 3)
    away = 2.0 ** (f.bias * 5 // 8)
    up, down = more < low, more > high
    scale = m.select(up, away, m.select(down, 1 / away, 1.0))
    back = m.select(up, 1 / away, m.select(down, away, 1.0))
    less, more = less * scale, more * scale
    result = m.sqrt(m.fma(more, more, less * less)) * back
    return m.select(a.equals(math.inf) | b.equals(math.inf), math.inf, result)


def sign(m: Writer, x: Term) -> Term:
    """1, -1 or 0; a nan stays. Exact."""
    return m.select(x > 0.0, 1.0, m.select(x < 0.0, -1.0, m.select(x.equals(0.0), 0.0, x)))


def round(m: Writer, x: Term) -> Term:
    """The nearest whole number, halves to the even one. Exact."""
    return m.op("rint", x)
