"""exp, tanh and others by a table: for machines whose vectors look up sixteen numbers at once and multiply by powers of two.

x = (k + j/16) ln 2 + r with |r| <= (ln 2) / 32, from which exp(x) = 2**k 2**(j/16) exp(r) (P. T. P. Tang, Table-driven
implementation of the exponential function in IEEE floating-point arithmetic, ACM TOMS 15 (1989)). So short an interval needs
half the polynomial. The magic number is such that the last bits of the sum are sixteenths: its last four are j. With the
instruction that multiplies by 2**floor(n) no room is made for small results: it rounds once what is below the normal numbers.

All functions need a fused multiply-add, and the operations `TABLED` of the loop form.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from gradlang.loops.coefficients import EXP_SHORT, EXPM1_SHORT, LN2
from gradlang.loops.exponential import HIGHEST, LOWEST, SLOPE_ZERO
from gradlang.loops.writing import Term, Writer


def pick(m: Writer, table: str, word: Term) -> Term:
    """The entry of a table of `coefficients.py` that the last four bits of a word say."""
    return m.term(m.code.let("pick", (word.value,), "f", function=table))


def scaled(m: Writer, x: Term, n: Term) -> Term:
    """x 2**floor(n), rounded once."""
    return m.term(m.code.let("scale", (x.value, n.value), "f"))


def polynomial(m: Writer, x: Term, square: Term, coefficients: tuple[float, ...]) -> Term:
    """Pairs of coefficients first: few steps wait for each other (G. Estrin, Organization of computer systems, 1960)."""
    pairs = [coefficients[k : k + 2] for k in range(0, len(coefficients), 2)]
    terms = [m.fma(x, p[1], p[0]) if len(p) == 2 else m.real(p[0]) for p in pairs]
    total = terms.pop()
    while terms:
        total = m.fma(total, square, terms.pop())
    return total


def sixteenths(m: Writer, x: Term, factor: float) -> tuple[Term, Term]:
    """factor x / ln 2, rounded to sixteenths; and the sum that holds them in its last bits."""
    magic = m.format.magic / 16
    total = m.fma(x, factor / math.log(2), magic)
    return total - magic, m.bits(total)


def exp_of(m: Writer, x: Term, sign: float, careful: bool = False) -> Term:
    """exp(sign x) of a limited x, within 1.25 ulp; if `careful`, what rounding took from the table's numbers is given back as a
    part of r, and it is within 0.75 ulp."""
    width = m.format.width
    high, low = LN2[width]
    n, word = sixteenths(m, x, sign)
    first = m.fma(n, -high, x) if sign > 0 else -m.fma(n, high, x)
    r = first + m.fma(n, -low, pick(m, "SIXTEENTHS_UP_LOST", word)) if careful else m.fma(n, -low, first)
    square = r * r
    power = pick(m, "SIXTEENTHS_UP", word)
    rest = m.fma(square, polynomial(m, r, square, EXP_SHORT[width]), r)
    return scaled(m, m.fma(power, rest, power), n)


def exp(m: Writer, x: Term) -> Term:
    """exp(x). Within 1.25 ulp."""
    width = m.format.width
    return exp_of(m, m.at_least(m.at_most(x, HIGHEST[width]), LOWEST[width]), 1.0)


def exp_less(m: Writer, x: Term) -> Term:
    """exp(-|x|). Within 1.25 ulp."""
    return exp_of(m, m.at_most(m.abs(x), -LOWEST[m.format.width]), -1.0)


def sigmoid(m: Writer, x: Term) -> Term:
    """1 / (1 + exp(-x)), for x < 0 by e = exp(-|x|) as e / (1 + e), for x < -1 as e - e e / (1 + e), where the error of the
    quotient counts little. Within 2 ulp."""
    e = exp_of(m, m.at_most(m.abs(x), -LOWEST[m.format.width]), -1.0, careful=True)
    quotient = m.select(x < 0.0, e, 1.0) / (e + 1.0)
    return m.select(x < -1.0, m.fma(-quotient, e, e), quotient)


class Quotient(NamedTuple):
    """The parts of tanh |x| = (E - 1) / (E + 1) with E = exp(2 |x|), all divided by 2**k, and -n: 2 |x| is n ln 2 + r with n =
    k - j/16."""

    n: Term
    scale: Term  # 2**-k
    above: Term  # E - 1
    below: Term  # E + 1, rounded
    lost: Term  # what `below` lost in rounding
    reciprocal: Term  # 1 / below


def quotient(m: Writer, x: Term) -> Quotient:
    """2**(-j/16) - 2**-k is exact. Its sum with the first part of r is rounded, and what is lost added to the small rest."""
    width = m.format.width
    high, low = LN2[width]
    a = m.abs(x)
    twice = m.at_most(a + a, 2 * SLOPE_ZERO[width])
    n, word = sixteenths(m, twice, -1.0)
    first = m.fma(n, high, twice)
    small = m.fma(n, low, pick(m, "SIXTEENTHS_DOWN_LOST", word))
    power = pick(m, "SIXTEENTHS_DOWN", word)
    scale = scaled(m, m.real(1.0), n)
    r = first + small
    square = r * r
    rest = m.fma(square, polynomial(m, r, square, EXPM1_SHORT[width]), small)
    base = power - scale
    front = m.fma(power, first, base)
    above = front + m.fma(power, rest, m.fma(power, first, base - front))
    both = scale + scale
    below = above + both
    return Quotient(n, scale, above, below, above - (below - both), 1.0 / below)


def tanh(m: Writer, x: Term) -> Term:
    """(E - 1) / (E + 1), from the reciprocal of the denominator and one correction by the remainder, which also holds what the
    denominator lost in rounding. Within 1.75 ulp; the sign of a zero stays."""
    q = quotient(m, x)
    near = q.above * q.reciprocal
    remainder = m.fma(-near, q.lost, m.fma(-near, q.below, q.above))
    return m.copysign(m.fma(remainder, q.reciprocal, near), x)


def tanh_slope(m: Writer, x: Term) -> Term:
    """1 - tanh(x)^2 = 4 / (E + 1) (1 - 1 / (E + 1)). Within 3 ulp."""
    q = quotient(m, x)
    return scaled(m, q.reciprocal * m.fma(-q.scale, q.reciprocal, 1.0), q.n + 2.0)


WRITERS: dict[str, Callable[[Writer, Term], Term]] = {f.__name__: f for f in (exp, exp_less, sigmoid, tanh, tanh_slope)}
