"""Angles of every size less multiples of pi/2, exactly enough for the number that is nearest to one.

M. H. Payne & R. N. Hanek, Radian reduction for trigonometric functions, SIGNUM Newsletter 18 (1983): of x (2/pi) only the
part below 4 counts, so that the first digits of 2/pi need not be multiplied when x is large, and the last ones when it is
small. The digits that are needed are chosen by a row of selects, one for every bit of how many are left out. Their products
with the halves of x are exact; they are added on grids, coarse to fine, on which sums are exact.
"""

from __future__ import annotations

from typing import NamedTuple

from gradlang.loops.coefficients import HALF_PI_SHORT, TWO_PER_PI
from gradlang.loops.writing import Term, Writer


class Shape(NamedTuple):
    bits: int  # of a digit of 2/pi
    used: int  # digits that are multiplied
    steps: tuple[int, ...]  # bits of the number of digits that are left out
    grids: int


SHAPES = {"f64": Shape(26, 8, (32, 16, 8, 4, 2, 1), 2), "f32": Shape(12, 9, (8, 4, 2, 1), 3)}


class Rest(NamedTuple):
    """x = k pi/2 + high + low; the last two bits of the word are k mod 4."""

    quadrant: Term
    high: Term
    low: Term


def reduce_any(m: Writer, a: Term) -> Rest:
    """Of a >= 0. The sum of the rest has an error below 2**-60 (f32: 2**-30) of itself."""
    scaled, digits = window(m, a)
    return in_radians(m, *turns(m, scaled, digits))


def window(m: Writer, a: Term) -> tuple[Term, list[Term]]:
    """a 2**(-bits n) and the digits of 2/pi from the n-th on, so that all before would be multiplied to multiples of 4."""
    shape = SHAPES[m.format.width]
    digits = [m.real(d) for d in TWO_PER_PI[m.format.width]]
    for step in shape.steps:
        far = a >= 2.0 ** (m.format.digits + 1 + shape.bits * step)
        a = m.select(far, a * 2.0 ** (-shape.bits * step), a)
        later = [*digits[step:], *[m.real(0.0)] * step]
        digits = [m.select(far, b, d) for d, b in zip(digits, later, strict=True)][: shape.used + step - 1]
    return a, digits


def turns(m: Writer, x: Term, digits: list[Term]) -> tuple[Term, list[Term]]:
    """x (2/pi) mod 4 in parts: the one on the coarsest grid, the others."""
    f, shape = m.format, SHAPES[m.format.width]
    high = m.chop(x, (f.digits + 1) // 2)
    low = x - high
    top = f.digits + 1 + shape.bits  # x is below 2**top
    terms: list[tuple[int, Term]] = []  # with the exponent of a bound
    for k, digit in enumerate(digits):
        scaled = digit * 2.0 ** (-shape.bits * (k + 1))
        for half, below in ((high, top), (low, top - shape.bits)):
            terms.append((below - shape.bits * k, half * scaled))
    terms = [(2, below_four(m, term, bound)) if bound > 2 else (bound, term) for bound, term in terms]
    parts: list[Term] = []
    size = 6  # the sum of all is below 2**5
    for _ in range(shape.grids):
        magic = m.real(1.5 * 2.0**size)
        grid = size - (f.digits - 1)
        total, left = magic, []
        for bound, term in terms:
            if bound < grid:
                left.append((bound, term))
                continue
            more = total + term
            left.append((grid, term - (more - total)))
            total = more
        parts.append(total - magic)
        terms, size = left, grid + 5
    rest = terms[-1][1]
    for _, term in reversed(terms[:-1]):
        rest = rest + term
    return parts[0], [*parts[1:], rest]


def below_four(m: Writer, x: Term, bound: int) -> Term:
    """x >= 0 less a multiple of 4: numbers from 2**(digits + 2) on are multiples of 8."""
    digits = m.format.digits
    if bound > digits + 2:
        x = m.select(x < 2.0 ** (digits + 2), x, 0.0)
    magic = m.real(1.5 * 2.0 ** (digits + 1))
    return x - ((x + magic) - magic)


def in_radians(m: Writer, coarse: Term, others: list[Term]) -> Rest:
    """The sum of the parts less a whole number, times pi/2."""
    f = m.format
    total = coarse + f.magic
    high, low = coarse - (total - f.magic), m.real(0.0)
    for other in others:
        sum = high + other
        back = sum - high
        low = low + ((high - (sum - back)) + (other - back))
        high = sum
    sum = high + low
    low = low - (sum - high)
    front = m.chop(sum, (f.digits + 1) // 2)
    long, short = HALF_PI_SHORT[f.width]
    product = front * long
    small = m.fma(front, short, m.fma(sum - front, long + short, low * (long + short)))
    result = product + small
    return Rest(m.bits(total), result, small - (result - product))
