"""Formulas of numbers written as arithmetic: `Term`s with operators, for the functions of `functions.py`.

A `Writer` holds the code that is being written and the format of its real numbers; a function of this package takes a
`Writer` and terms, adds operations to the code and gives a term.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

from gradlang.loops.ir import Code, Value
from gradlang.record import record


@record
class Format:
    """A binary floating-point format of IEEE 754."""

    width: str
    digits: int  # of the significand, with the hidden one
    bias: int
    bits: int
    whole: str  # of struct, for the word of the same width
    real: str

    @property
    def shift(self) -> int:
        """How far the exponent stands from the right in the word of a number."""
        return self.digits - 1

    @property
    def magic(self) -> float:
        """What is added so that a number of less than half of it is rounded to a whole number, which then stands in the last
        bits of the word (Muller, Elementary Functions, 3rd ed. 2016, section 11.1)."""
        return 1.5 * 2.0**self.shift

    @property
    def largest(self) -> float:
        return math.ldexp(2.0 - 2.0 ** (1 - self.digits), self.bias)

    @property
    def tiny(self) -> float:
        """The least normal number."""
        return math.ldexp(1.0, 1 - self.bias)

    def word(self, x: float) -> int:
        """The word of a number, as a signed whole number."""
        return int(struct.unpack(self.whole, struct.pack(self.real, x))[0])

    def round(self, x: float) -> float:
        return float(struct.unpack(self.real, struct.pack(self.real, x))[0])


F64 = Format("f64", 53, 1023, 64, "<q", "<d")
F32 = Format("f32", 24, 127, 32, "<i", "<f")
LONG = 12  # from so many coefficients on a polynomial is split in four
FORMATS = {"f64": F64, "f32": F32}


class Term:
    """A value of the code, with the operators of its type: "f" real, "w" word, "b" truth value."""

    __slots__ = ("m", "value")

    def __init__(self, m: Writer, value: Value) -> None:
        self.m = m
        self.value = value

    def _op(self, name: str, other: Term | float | int) -> Term:
        m = self.m
        kind = self.value.type
        prefix = "w" if kind == "w" else ""
        right = other if isinstance(other, Term) else m.real(other) if kind == "f" else m.word(int(other))
        return m.op(prefix + name, self, right)

    def _reversed(self, name: str, other: float | int) -> Term:
        left = self.m.real(other) if self.value.type == "f" else self.m.word(int(other))
        return left._op(name, self)

    def __add__(self, other: Term | float) -> Term:
        return self._op("add", other)

    def __radd__(self, other: float) -> Term:
        return self._reversed("add", other)

    def __sub__(self, other: Term | float) -> Term:
        return self._op("sub", other)

    def __rsub__(self, other: float) -> Term:
        return self._reversed("sub", other)

    def __mul__(self, other: Term | float) -> Term:
        return self._op("mul", other)

    def __rmul__(self, other: float) -> Term:
        return self._reversed("mul", other)

    def __truediv__(self, other: Term | float) -> Term:
        return self._op("div", other)

    def __rtruediv__(self, other: float) -> Term:
        return self._reversed("div", other)

    def __neg__(self) -> Term:
        return self.m.op("neg", self)

    def __lt__(self, other: Term | float) -> Term:
        return self._op("lt", other)

    def __le__(self, other: Term | float) -> Term:
        return self._op("le", other)

    def __gt__(self, other: Term | float) -> Term:
        return self._op("gt", other)

    def __ge__(self, other: Term | float) -> Term:
        return self._op("ge", other)

    def equals(self, other: Term | float) -> Term:
        return self._op("eq", other)

    def __and__(self, other: Term | int) -> Term:
        return self.m.op("and", self, other) if self.value.type == "b" and isinstance(other, Term) else self._op("and", other)

    def __or__(self, other: Term | int) -> Term:
        return self.m.op("or", self, other) if self.value.type == "b" and isinstance(other, Term) else self._op("or", other)

    def __xor__(self, other: Term | int) -> Term:
        return self._op("xor", other)

    def __invert__(self) -> Term:
        return self.m.op("not", self)

    def __lshift__(self, other: int) -> Term:
        return self._op("shl", other)

    def __rshift__(self, other: int) -> Term:
        """Zeros come in from the left."""
        return self._op("shr", other)


class Writer:
    """Writes operations on terms into a code."""

    def __init__(self, code: Code, format: Format) -> None:
        self.code = code
        self.format = format

    # -------------------------------------------------------------- numbers
    def term(self, value: Value) -> Term:
        return Term(self, value)

    def real(self, x: float) -> Term:
        """A constant, rounded to the format."""
        return Term(self, self.code.real(self.format.round(float(x))))

    def word(self, n: int) -> Term:
        """A constant word; numbers from 2**(bits - 1) on are taken as negative ones."""
        half = 1 << (self.format.bits - 1)
        return Term(self, self.code.const((n + half) % (2 * half) - half, "w"))

    def op(self, name: str, *args: Term) -> Term:
        return Term(self, self.code.op(name, *(a.value for a in args)))

    # -------------------------------------------------------------- operations
    def fma(self, a: Term | float, b: Term | float, c: Term | float) -> Term:
        """a b + c, rounded once where the machine can; otherwise twice."""
        return self.op("fma", self._real(a), self._real(b), self._real(c))

    def select(self, condition: Term, then: Term | float, otherwise: Term | float) -> Term:
        """One of two numbers or of two words."""
        a, b = self._real(then), self._real(otherwise)
        return Term(self, self.code.select(condition.value, a.value, b.value))

    def abs(self, x: Term) -> Term:
        return self.op("abs", x)

    def sqrt(self, x: Term) -> Term:
        return self.op("sqrt", x)

    def copysign(self, size: Term, sign: Term) -> Term:
        return self.op("copysign", size, sign)

    def bits(self, x: Term) -> Term:
        return self.op("bits", x)

    def unbits(self, x: Term) -> Term:
        return self.op("unbits", x)

    def at_most(self, x: Term, bound: float) -> Term:
        """The lesser of x and a bound; a nan stays. (In this order it is one instruction of x86.)"""
        limit = self.real(bound)
        return self.select(limit < x, limit, x)

    def at_least(self, x: Term, bound: float) -> Term:
        limit = self.real(bound)
        return self.select(limit > x, limit, x)

    def chop(self, x: Term, zeros: int) -> Term:
        """x with its last bits cleared."""
        return self.unbits(self.bits(x) & -(1 << zeros))

    def _real(self, x: Term | float) -> Term:
        return x if isinstance(x, Term) else self.real(x)

    # -------------------------------------------------------------- formulas
    def power_of_two(self, sum: Term) -> Term:
        """2**k where `sum` is k + magic + bias, 0 < k + bias < 2 bias + 1."""
        return self.unbits(self.bits(sum) << self.format.shift)

    def polynomial(self, x: Term, coefficients: Sequence[float]) -> Term:
        """c[0] + c[1] x + ... as a polynomial in x^2 (long ones: x^4) for every rest of the exponent, each by Horner's
        scheme, so that few steps wait for each other and few powers are needed (Muller, Elementary Functions, section
        5.1)."""
        count = len(coefficients)
        if count < 4:
            return self._horner(x, list(coefficients))
        square = x * x
        if count < LONG:
            even, odd = (self._horner(square, list(coefficients[k::2])) for k in range(2))
            return self.fma(odd, x, even)
        fourth = square * square
        first, second, third, last = (self._horner(fourth, list(coefficients[k::4])) for k in range(4))
        return self.fma(self.fma(last, x, third), square, self.fma(second, x, first))

    def _horner(self, x: Term, coefficients: list[float]) -> Term:
        total: Term | float = coefficients[-1]
        for c in reversed(coefficients[:-1]):
            total = self.fma(total, x, c)
        return self._real(total)
