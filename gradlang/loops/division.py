"""Division with a remainder, as Python and NumPy define it: the quotient rounds down, the remainder has the divisor's sign.

The remainder of sizes is exact: of the quotient the first half of the digits is taken, its products with the halves of the
divisor are exact and so are the differences; what is left is divided again (long division, Knuth, The Art of Computer
Programming 2, 4.3.1). Three such steps serve quotients up to QUOTIENT.
"""

from __future__ import annotations

from gradlang.loops.writing import Term, Writer

STEPS = 3
# The greatest |a / b| for which the results hold.
QUOTIENT = {"f64": 2.0**72, "f32": 2.0**30}


def remainder(m: Writer, a: Term, b: Term) -> Term:
    """a mod b for a >= 0 and b > 0, exact."""
    zeros = (m.format.digits + 1) // 2
    high = m.chop(b, zeros)
    low = b - high
    rest = a
    for _ in range(STEPS):
        q = m.op("floor", m.chop(rest / b, zeros))
        rest = m.fma(-q, low, m.fma(-q, high, rest))
    rest = m.select(rest < 0.0, rest + b, rest)
    rest = m.select(rest < b, rest, rest - b)
    return m.select(a < b, a, rest)


def unlike(m: Writer, a: Term, b: Term) -> Term:
    """Whether the sign bits differ."""
    one = m.real(1.0)
    return ~m.copysign(one, a).equals(m.copysign(one, b))


def mod(m: Writer, a: Term, b: Term) -> Term:
    """a - b floor(a / b), exact but for the sum where the signs differ. A zero has the sign of b; mod(a, inf) is a or inf.
    nan for b = 0 and for an infinite a."""
    size = m.abs(b)
    rest = remainder(m, m.abs(a), size)
    turned = m.select(unlike(m, a, b), size - rest, rest)
    return m.copysign(m.select(rest.equals(0.0), 0.0, turned), b)


def floordiv(m: Writer, a: Term, b: Term) -> Term:
    """floor(a / b), from the quotient of a less its remainder, rounded to the nearest whole number; a / b for b = 0, nan for
    an infinite a. A quotient too large for whole numbers is as near as that quotient."""
    size = m.abs(b)
    rest = remainder(m, m.abs(a), size)
    quotient = (m.abs(a) - rest) / size
    apart = unlike(m, a, b)
    signed = m.select(apart, -quotient, quotient) - m.select(apart & ~rest.equals(0.0), 1.0, 0.0)
    below = m.op("floor", signed)
    result = m.select(signed - below > 0.5, below + 1.0, below)
    zero = m.select(apart, -0.0, 0.0)
    return m.select(b.equals(0.0), a / b, m.select(signed.equals(0.0), zero, result))
