"""sinh, cosh and their inverses. (tanh stands with exp, from which it comes.)

sinh(k ln 2 + r) = sinh(k ln 2) cosh r + cosh(k ln 2) sinh r, where the hyperbolic functions of k ln 2 are half the sum and the
difference of 2**k and 2**-k: no division, and nothing cancels for k = 0. The inverses are logarithms (Muller, Elementary
Functions, chapter 1) of 1 + y with y so written that it does not cancel.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from gradlang.loops.coefficients import ARTANH, COSH, LN2, SINH
from gradlang.loops.logarithm import log_one_plus
from gradlang.loops.writing import Term, Writer

HIGHEST = {"f64": 710.6, "f32": 89.6}  # beyond, sinh and cosh are inf; the exponent of a fourth of them still fits


class Powers(NamedTuple):
    """Of a = k ln 2 + r: (2**k + 2**-k) / 4, (2**k - 2**-k) / 4, sinh r, cosh(r) - 1."""

    plus: Term
    minus: Term
    sinh: Term
    cosh_less_one: Term


def powers(m: Writer, a: Term) -> Powers:
    f = m.format
    high, low = LN2[f.width]
    a = m.at_most(a, HIGHEST[f.width])
    magic = f.magic + f.bias - 2
    total = m.fma(a, 1 / math.log(2), magic)
    k = total - magic
    r = m.fma(k, -low, m.fma(k, -high, a))
    up = m.power_of_two(total)  # 2**k / 4
    inverse = m.unbits(m.word(2 * (f.bias - 2) << f.shift) - m.bits(up))
    down = m.select(a < float(f.digits), inverse, 0.0)  # too small to count, or not a number
    z = r * r
    sinh = m.fma(r * z, m.polynomial(z, SINH[f.width]), r)
    return Powers(up + down, up - down, sinh, z * m.polynomial(z, COSH[f.width]))


def sinh(m: Writer, x: Term) -> Term:
    """sinh x. Within 2 ulp; the sign of a zero stays."""
    p = powers(m, m.abs(x))
    return m.copysign((p.minus + m.fma(p.plus, p.sinh, p.minus * p.cosh_less_one)) * 2.0, x)


def cosh(m: Writer, x: Term) -> Term:
    """cosh x. Within 2 ulp."""
    p = powers(m, m.abs(x))
    return (p.plus + m.fma(p.minus, p.sinh, p.plus * p.cosh_less_one)) * 2.0


def far(m: Writer) -> float:
    """From here on sqrt(x^2 + 1) and sqrt(x^2 - 1) are x."""
    return 2.0 ** (m.format.digits // 2 + 2)


def asinh(m: Writer, x: Term) -> Term:
    """With a = |x|: log(1 + a + a^2 / (1 + sqrt(1 + a^2))); log a + log 2 where a^2 does not count or overflows. Within 2
    ulp; the sign of a zero stays."""
    a = m.abs(x)
    square = a * a
    more = square / (m.sqrt(square + 1.0) + 1.0)
    above = a + more
    result = m.select(a < math.inf, log_one_plus(m, above, more - (above - a), a > far(m), a), a)
    return m.copysign(result, x)


def acosh(m: Writer, x: Term) -> Term:
    """With t = x - 1: log(1 + t + sqrt(2 t + t^2)); log x + log 2 for large x; nan below 1. Within 2 ulp."""
    t = x - 1.0
    root = m.sqrt(m.fma(t, t, t + t))
    above = t + root
    result = log_one_plus(m, above, t - (above - root), x > far(m), x)
    return m.select((x >= 1.0) & (x < math.inf), result, m.select(x < 1.0, math.nan, x))


def atanh(m: Writer, x: Term) -> Term:
    """With a = |x|: log((1 + a) / (1 - a)) / 2 = e ln(2) / 2 + artanh(s), s = ((1 + a) - 2**e (1 - a)) / ((1 + a) + 2**e (1 -
    a)). e is chosen by the difference of the words of 1 + a and 1 - a, which is within 0.09 of their logarithms' one. For e =
    0 that makes s = a. Above 1/2 numerator and denominator are written in 1 - a, which is exact there. Within 2 ulp."""
    f = m.format
    a = m.abs(x)
    q = 1.0 - a
    apart = m.bits(a + 1.0) - m.bits(q) + (1 << (f.shift - 1))
    exponent = apart >> f.shift
    scale = m.unbits((exponent + f.bias) << f.shift)
    whole = 2.0**f.shift
    e = m.unbits(exponent | f.word(whole)) - whole
    near = a < 0.5
    b = m.select(near, a, -q)
    sum, difference = scale + 1.0, 1.0 - scale
    numerator = m.fma(b, sum, m.select(near, difference, 2.0))
    denominator = m.fma(b, difference, m.select(near, sum, 2.0))
    s = numerator / denominator
    z = s * s
    high, low = LN2[f.width]
    rest = m.fma(s * z, m.polynomial(z, ARTANH[f.width]), e * (low / 2))
    inside = m.fma(e, high / 2, s + rest)
    ends = m.select(a.equals(1.0), math.inf, m.select(a < 1.0, a, math.nan))
    return m.copysign(m.select(a < 1.0, inside, ends), x)
