"""The meaning of the loop form, statement by statement: what the printed texts are compared with."""

import math
from fractions import Fraction

import numpy as np

from gradlang.backend.units import drive
from gradlang.loops.ir import Declare, For, If, Let, Load, Read, Run, Store, Update
from gradlang.loops.walk import statements

MASK = {"f64": (1 << 64) - 1, "f32": (1 << 32) - 1}


def signed(n, bits=64):
    n &= (1 << bits) - 1
    return n - (1 << bits) if n >> (bits - 1) else n


def fused(a, b, c):
    if not all(map(math.isfinite, (a, b, c))):
        return a * b + c
    exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
    if exact == 0:
        return a * b + c
    try:
        return type(a)(exact.numerator / exact.denominator)
    except OverflowError:
        return a * b + c


class Machine:
    """Runs one kernel on arrays, with numbers of one width. `fma` says whether it rounds once."""

    def __init__(self, width, functions, fma=True):
        self.real = np.float64 if width == "f64" else np.float32
        self.bits = 64 if width == "f64" else 32
        self.unsigned = np.uint64 if width == "f64" else np.uint32
        self.functions, self.fma = functions, fma
        self.ops = self.table()

    def table(self):
        bits, mask, real = self.bits, (1 << self.bits) - 1, self.real
        same = {n: getattr(np, n) for n in ("sqrt", "floor", "ceil", "rint", "copysign", "maximum", "minimum", "abs")}
        return same | {
            "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b, "div": lambda a, b: a / b,
            "neg": lambda a: -a, "fma": fused if self.fma else lambda a, b, c: a * b + c,
            "iadd": lambda a, b: signed(a + b), "isub": lambda a, b: signed(a - b), "imul": lambda a, b: signed(a * b),
            "idiv": lambda a, b: signed(a // b) if b else 0, "imod": lambda a, b: a % b if b else 0,
            "ineg": lambda a: signed(-a), "iabs": lambda a: signed(abs(a)), "imax": max, "imin": min,
            "wadd": lambda a, b: a + b & mask, "wsub": lambda a, b: a - b & mask, "wand": lambda a, b: a & b,
            "wor": lambda a, b: a | b, "wxor": lambda a, b: a ^ b, "wshl": lambda a, b: a << b & mask,
            "wshr": lambda a, b: a >> b, "wsar": lambda a, b: (signed(a, bits) >> b) & mask,
            "lt": lambda a, b: bool(a < b), "le": lambda a, b: bool(a <= b), "gt": lambda a, b: bool(a > b),
            "ge": lambda a, b: bool(a >= b), "eq": lambda a, b: bool(a == b), "ne": lambda a, b: bool(a != b),
            "ilt": lambda a, b: a < b, "ile": lambda a, b: a <= b, "igt": lambda a, b: a > b, "ige": lambda a, b: a >= b,
            "ieq": lambda a, b: a == b, "ine": lambda a, b: a != b,
            "wlt": lambda a, b: signed(a, bits) < signed(b, bits), "weq": lambda a, b: a == b,
            "and": lambda a, b: a and b, "or": lambda a, b: a or b, "not": lambda a: not a,
            "bits": lambda a: int(real(a).view(self.unsigned)), "unbits": lambda w: self.unsigned(w).view(real),
            "itof": lambda a: real(np.int64(a)), "ftoi": lambda a: math.trunc(float(a)), "btof": lambda a: real(a),
            "btoi": int, "itob": bool, "wtof": lambda w: real(np.int64(signed(w, bits))),
            "ftow": lambda a: math.trunc(float(a)) & mask, "itow": lambda a: a & mask, "wtoi": lambda w: signed(w, bits),
            "select": lambda c, a, b: a if c else b,
        }  # fmt: skip

    def number(self, value, kind=""):
        kind = kind or value.type
        known = value.const
        if kind == "f":
            return self.real(known)
        return bool(known) if kind == "b" else int(known) & ((1 << self.bits) - 1) if kind == "w" else int(known)

    def kernel(self, kernel, arrays, sizes=(), numbers=()):
        """Writes into `arrays`, which are given by buffer and flat."""
        values = dict(zip(kernel.sizes, sizes, strict=True))
        values |= {p: self.real(x) for p, x in zip(kernel.numbers, numbers, strict=True)}
        with np.errstate(all="ignore"):
            self.run(kernel.body, values, dict(arrays))

    def function(self, name, args):
        function = self.functions(name)
        values = dict(zip(function.params, args, strict=True))
        self.run(function.body, values, {})
        return self.number(function.result) if function.result.const is not None else values[function.result]

    def run(self, body, values, arrays):
        cells = {}
        for s in statements(body):
            if isinstance(s, Load | Store) and s.buffer.local and s.buffer not in arrays:
                arrays[s.buffer] = np.zeros(s.buffer.local, self.real if s.buffer.kind == "f" else np.int64)

        def at(value):
            return self.number(value) if value.const is not None else values[value]

        def one(s):
            match s:
                case Let(op="call"):
                    values[s.value] = self.function(s.function, [at(a) for a in s.args])
                case Let():
                    values[s.value] = self.ops[s.op](*(at(a) for a in s.args))
                case Load():
                    entry = arrays[s.buffer][at(s.index)]
                    values[s.value] = entry if s.buffer.kind == "f" else entry.item()
                case Store():
                    arrays[s.buffer][at(s.index)] = at(s.value)
                case Declare():
                    cells[s.cell] = at(s.start)
                case Read():
                    values[s.value] = cells[s.cell]
                case Update():
                    cells[s.cell] = self.ops[s.op](cells[s.cell], at(s.value)) if s.op else at(s.value)
                case Run():
                    given = {to: arrays[b][at(k) :] for to, (b, k) in zip(s.kernel.buffers, s.buffers, strict=True)}
                    self.run(s.kernel.body, dict(zip(s.kernel.sizes, map(at, s.sizes), strict=True)), given)
                case For():
                    return steps(s)
                case If():
                    return iter(s.then if at(s.condition) else s.otherwise)
            return None

        def steps(s):
            for k in range(at(s.start), at(s.stop)):
                values[s.counter] = k
                yield from s.body

        drive(body, one)
