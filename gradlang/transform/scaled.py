"""Products of arrays with known numbers that are one product, bit for bit: 2*(100*(2*x)) is 400*x.

Multiplying by a power of two rounds nothing but where a result is subnormal or overflows. With p = 2^k, k >= 0, two products
round as one does for every x, whatever the width of numbers is:

- c*(p*x) = (c*p)*x where |c| >= 1: p*x is exact, or it overflows, and then so does (c*p)*x.
- p*(c*x) = (p*c)*x where c is a whole number, not 0: c*x is a multiple of the least subnormal number, of which all those below
  twice the least normal number are numbers, so that only normal results round, and those as their multiples by p do. What
  overflows on the left, first or second, does on the right.

Signs of factors change nothing but signs. Programs of numbers are left as they are written: there a product costs little, and
large ones go through other passes (`column_rules.py`).
"""

from __future__ import annotations

from math import frexp

from gradlang.ir.tape import Builder, Instr

LARGEST = 2.0**100  # of a factor, so that it is a number in every width
OPS = frozenset({"mul", "add", "sub"})


def scaled(b: Builder, instr: Instr, args: tuple[int, ...]) -> int | None:
    """The instruction that takes the place of a product, a sum or a difference of an array with a number."""
    if instr.op not in OPS or not instr.type.shape:
        return None
    if instr.op != "mul":
        return signed(b, instr, args)
    made: int | None = None
    while (found := factors(b, args) or turned(b, args)) is not None:
        args = found
        made = b.add("mul", args, (), instr.type, instr.span, instr.scope)
    return made


def constant(b: Builder, i: int) -> float | None:
    at = b.instrs[i]
    return float(at.attrs[0]) if at.op == "const" and at.type.dtype == "real" else None


def parts(b: Builder, args: tuple[int, ...]) -> tuple[float, int] | None:
    """The number and the array of a product of both."""
    for k in (0, 1):
        number = constant(b, args[k])
        if number is not None and b.instrs[args[1 - k]].type.shape:
            return number, args[1 - k]
    return None


def factors(b: Builder, args: tuple[int, ...]) -> tuple[int, int] | None:
    """c and x of c*x, for a product of a number with a negative, or with a product with a number."""
    outer = parts(b, args)
    if outer is None:
        return None
    number, x = outer
    within = b.instrs[x]
    if within.op == "neg":
        return b.const(-number, within.span), within.args[0]
    inner = parts(b, within.args) if within.op == "mul" else None
    if inner is None:
        return None
    first, x = inner
    both = first * number
    exact = (power(first) and abs(number) >= 1.0) or (power(number) and first != 0.0 and first.is_integer())
    return (b.const(both, within.span), x) if exact and abs(both) <= LARGEST else None


def power(c: float) -> bool:
    """Whether |c| is 1, 2, 4 and so on."""
    return abs(c) >= 1.0 and abs(frexp(c)[0]) == 0.5


def turned(b: Builder, args: tuple[int, ...]) -> tuple[int, int] | None:
    """a and (-c)*x for a product of -a with c*x."""
    for k in (0, 1):
        one, other = b.instrs[args[k]], b.instrs[args[1 - k]]
        inner = parts(b, other.args) if one.op == "neg" and other.op == "mul" and other.type.shape == one.type.shape else None
        if inner is not None:
            number, x = inner
            factor = b.const(-number, other.span)
            return one.args[0], b.add("mul", (factor, x), (), other.type, other.span, other.scope)
    return None


def signed(b: Builder, instr: Instr, args: tuple[int, ...]) -> int | None:
    """x + c for x - (-c), and x - c for x + (-c)."""
    places = (0, 1) if instr.op == "add" else (1,)
    for k in places:
        number = constant(b, args[k])
        if number is not None and number < 0.0:
            op = "sub" if instr.op == "add" else "add"
            return b.add(op, (args[1 - k], b.const(-number, instr.span)), (), instr.type, instr.span, instr.scope)
    return None
