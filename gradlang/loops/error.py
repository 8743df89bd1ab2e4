"""The error function and what remains of it.

exp(x^2) erfc(x) for x >= 0 is smooth in t = (x - 4) / (x + 4) from -1 to 1 (the variable of J. L. Schonfelder, Math. Comp. 32
(1978)); (x + 4) times it is 1 / sqrt(pi) at t = 1, and the polynomial of the rest in t is our own minimax one. x^2 is taken
as an exact square and a rest, so that exp(-x^2) keeps its digits.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from gradlang.loops.coefficients import ERF, ERFCX, EXP, LN2
from gradlang.loops.exponential import SHRINK, exp_of_negative
from gradlang.loops.writing import Term, Writer

BY_ERF = 0.75  # up to here erfc is 1 - erf
CORRECTED = 64.0  # where the polynomial is no longer steep
LAST = {"f64": 27.3, "f32": 10.3}  # erfc is 0 from here on
FIRST = {"f64": 26.64, "f32": 9.41}  # erfcx is inf below minus this


def factors(m: Writer, a: Term) -> tuple[Term, Term]:
    """Two factors of exp(a^2) erfc(a) for a >= 0; the first is 1 / (a + 4)."""
    w = 1.0 / (a + 4.0)
    v = w * 8.0
    return w, m.fma(v, m.polynomial(1.0 - v, ERFCX[m.format.width]), 1 / math.sqrt(math.pi))


def scaled(m: Writer, a: Term) -> tuple[Term, Term]:
    """exp(a^2) erfc(a) for a >= 0, and what its last rounding has lost. What w = 1 / (a + 4) loses in rounding would show, as
    the polynomial is steep: the value is that at b = 1 / w - 4, from which g(a) = g(b) - (b - a) g'(b) with g'(b) = 2 b g(b)
    - 2 / sqrt(pi)."""
    sum = a + 4.0
    w, factor = factors(m, a)
    g = w * factor
    # 1 - w (a + 4), by parts whose products are exact
    half = (m.format.digits + 1) // 2
    front, sum_front = m.chop(w, half), m.chop(sum, half)
    back, sum_back = w - front, a - (sum_front - 4.0)
    off = m.fma(-front, sum_back, m.fma(-front, sum_front, 1.0)) - m.fma(back, sum_back, back * sum_front)
    slope = m.fma(a * 2.0, g, -2 / math.sqrt(math.pi))
    shift = m.select(a < CORRECTED, off * sum * slope, 0.0)
    result = m.fma(w, factor, -shift)
    return result, m.fma(w, factor, -result) - shift


class Product(NamedTuple):
    """A number, as power (high + low) / room."""

    power: Term
    high: Term
    low: Term
    room: float


def exp_of_square(m: Writer, a: Term, sign: int) -> Product:
    """exp(a^2) or exp(-a^2) for a limited a >= 0; `room` is a power of two so that `power` is a normal number."""
    f = m.format
    high, low = LN2[f.width]
    front = m.chop(a, (f.digits + 1) // 2)
    square = front * front
    rest = (a - front) * (a + front)
    room = SHRINK[f.width] if sign < 0 else -1
    magic = f.magic + f.bias + room
    total = m.fma(square, sign / math.log(2), magic)
    k = total - magic
    r = m.fma(k, -low, m.fma(k, -high, square if sign > 0 else -square)) + (rest if sign > 0 else -rest)
    small = m.fma(r * r, m.polynomial(r, EXP[f.width]), r)
    front = small + 1.0
    return Product(m.power_of_two(total), front, small - (front - 1.0), 2.0**room)


def tail(m: Writer, a: Term) -> tuple[Term, float]:
    """erfc(a) for a >= 0, times a power of two."""
    a = m.at_most(a, LAST[m.format.width])
    e = exp_of_square(m, a, -1)
    g, lost = scaled(m, a)
    return m.fma(e.high, g, m.fma(e.low, g, lost)) * e.power, 1 / e.room


def near(m: Writer, x: Term) -> Term:
    """erf x for |x| < 1."""
    return m.fma(x, m.polynomial(x * x, ERF[m.format.width]), x)


def erf(m: Writer, x: Term) -> Term:
    """x + x p(x^2) up to 1, then 1 - erfc(|x|), of which a few digits less are needed. Within 2 ulp; the sign of a zero
    stays."""
    a = m.abs(x)
    e = exp_of_negative(m, a * a) * 2.0 ** -SHRINK[m.format.width]
    w, factor = factors(m, a)
    return m.copysign(m.select(a < 1.0, near(m, a), m.fma(e, -(w * factor), 1.0)), x)


def erfc(m: Writer, x: Term) -> Term:
    """1 - erf x, from erf up to 0.75. Within 4 ulp."""
    a = m.abs(x)
    e, room = tail(m, a)
    far = m.select(x < 0.0, 2.0 - e * room, e * room)
    return m.select(a < BY_ERF, 1.0 - near(m, x), far)


def erfcx(m: Writer, x: Term) -> Term:
    """exp(x^2) erfc(x); for negative x it is 2 exp(x^2) - erfcx(-x). Within 4 ulp."""
    a = m.abs(x)
    e = exp_of_square(m, m.at_most(a, FIRST[m.format.width]), 1)
    positive, _ = scaled(m, a)
    return m.select(x < 0.0, e.high * e.power * (2 / e.room) - positive, positive)
