"""Quotients by one number as products with its inverse, to the last bit but in the rarest cases.

The correction is Markstein's (Computation of elementary functions on the IBM RISC System/6000 processor, IBM J. Res. Dev. 34
(1990)): with y = 1/c and q = x y, both rounded, x - q c is a number that a fused multiply-add finds exactly, and
q + (x - q c) y, rounded once, differs from the rounded quotient only if x/c lies within 2^-53 units in the last place of the
middle between two numbers. Where the quotient is a number it is that number. This holds where nothing overflows or becomes
subnormal: c must be of usual size, and the quotient finite; of an x below 2^-960 the last bit may be wrong.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from gradlang.loops.ir import Let, Statement, Value

LARGEST = {"f64": 2.0**1000, "f32": 2.0**100}  # divisors beyond, and below its inverse, are unusual
WORTH = 3  # quotients from which on an inverse and its corrections take less time


def multiplied(lines: Sequence[Statement]) -> tuple[list[Statement], list[Value], list[Value]]:
    """Statements with products in the place of quotients by the same number, these numbers, and the new quotients."""
    quotients = [s for s in lines if isinstance(s, Let) and s.op == "div" and s.args[1].const is None]
    count = Counter(s.args[1] for s in quotients if s.args[0].const != 1.0)
    inverses = {s.args[1]: s.value for s in quotients if s.args[0].const == 1.0}
    shared: dict[Value, Value] = {}
    out: list[Statement] = []
    made: list[Value] = []
    one = Value("f", 1.0)
    for s in lines:
        if not isinstance(s, Let) or s.op != "div" or count[s.args[1]] < WORTH:
            out.append(s)
            continue
        x, c = s.args
        if c not in shared:
            shared[c] = inverses.get(c) or Value("f")
            out.append(Let(shared[c], "div", (one, c)))
        if x.const == 1.0:
            continue
        first, minus, rest = Value("f"), Value("f"), Value("f")
        out += [Let(first, "mul", (x, shared[c])), Let(minus, "neg", (first,)), Let(rest, "fma", (minus, c, x))]
        out.append(Let(s.value, "fma", (rest, shared[c], first)))
        made.append(s.value)
    return out, list(shared), made
