"""Functions whose result is waited for: those of `tables.py` with fewer operations that wait for each other, and more in all.

A step of a recurrence begins where the one before ends. There it counts how long one result takes, and not how many are made
in a time. The division is of the quotient itself; what its parts have lost in rounding is found while it runs, and what comes
of that is so small that it needs but a rough reciprocal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from gradlang.loops.coefficients import EXPM1_SHORT, LN2
from gradlang.loops.exponential import SLOPE_ZERO
from gradlang.loops.tables import pick, polynomial, scaled, sixteenths
from gradlang.loops.writing import Term, Writer

ROUGH = (1.923, 0.76)  # 1 / x to a fifth for 1/2 <= x <= 2 is the first less x times the second


class Parts(NamedTuple):
    """Of tanh |x| = (E - 1) / (E + 1) with E = exp(2 |x|), all divided by 2**k, and -n: 2 |x| is n ln 2 + r, n = k - j/16."""

    n: Term
    scale: Term  # 2**-k
    above: Term  # E - 1, rounded
    below: Term  # E + 1, rounded
    lost_above: Term  # what rounding took
    lost_below: Term
    rough: Term  # about 1 / below
    near: Term  # about the quotient


def parts(m: Writer, x: Term) -> Parts:
    """ln 2 is the nearest number and what that lacks: n times the first one leaves r exactly, with a fused multiply-add; by the
    small rest exp changes as by a differential. What the larger summands of E - 1 and E + 1 have is known early."""
    f = m.format
    high, low = LN2[f.width]
    nearest = f.round(high + low)
    a = m.at_most(m.abs(x), SLOPE_ZERO[f.width])
    n, word = sixteenths(m, a, -2.0)
    r = m.fma(n, nearest, a + a)
    small = m.fma(n, (high - nearest) + low, pick(m, "SIXTEENTHS_DOWN_LOST", word))
    power = pick(m, "SIXTEENTHS_DOWN", word)
    scale = scaled(m, m.real(1.0), n)
    base = power - scale
    front = m.fma(power, r, base)
    lost = m.fma(power, r, base - front)
    both = scale + scale
    back = front + both
    square = r * r
    bent = m.fma(square, polynomial(m, r, square, EXPM1_SHORT[f.width]), m.fma(small, r, small))
    tail = m.fma(power, bent, lost)
    above, below = front + tail, back + tail
    lost_above = tail - (above - front)
    lost_below = (tail - (below - back)) + (front - (back - both))
    rough = m.fma(back, -ROUGH[1], ROUGH[0])
    return Parts(n, scale, above, below, lost_above, lost_below, rough, front * rough)


def tanh(m: Writer, x: Term) -> Term:
    """(E - 1) / (E + 1) and what the two lost in rounding. Within 2 ulp; the sign of a zero stays."""
    p = parts(m, x)
    lacking = m.fma(-p.near, p.lost_below, p.lost_above) * p.rough
    return m.copysign(p.above / p.below + lacking, x)


def tanh_slope(m: Writer, x: Term) -> Term:
    """1 - tanh(x)^2 = 4 / (E + 1) (1 - 1 / (E + 1)). Within 3 ulp."""
    p = parts(m, x)
    reciprocal = 1.0 / p.below
    return scaled(m, reciprocal * m.fma(-p.scale, reciprocal, 1.0), p.n + 2.0)


WRITERS: dict[str, Callable[[Writer, Term], Term]] = {f.__name__: f for f in (tanh, tanh_slope)}
