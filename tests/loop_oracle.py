"""Runs a `Function` of the loop form over NumPy arrays, one operation after the other, with every rounding as it should be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradlang.loops import coefficients
from gradlang.loops.ir import Function, Let, Value

Array = np.ndarray[Any, Any]
REALS = {"f64": np.float64, "f32": np.float32}
WORDS = {"f64": np.int64, "f32": np.int32}
UNSIGNED = {"f64": np.uint64, "f32": np.uint32}


def two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def two_product(a: Array, b: Array) -> tuple[Array, Array]:
    """a b as a sum of two numbers, by Dekker's splitting (1971)."""
    p = a * b
    parts = []
    for x in (a, b):
        c = x * 134217729.0
        high = c - (c - x)
        parts.append((high, x - high))
    (ah, al), (bh, bl) = parts
    return p, al * bl - (((p - ah * bh) - al * bh) - ah * bl)


def odd_sum(a: Array, b: Array) -> Array:
    """a + b rounded to odd: what is rounded once more later is as if it had been rounded once (Boldo & Melquiond 2008)."""
    s, rest = two_sum(a, b)
    bits = s.view(np.int64)
    inexact = (rest != 0) & (bits & 1 == 0) & np.isfinite(s)
    step = np.where((rest > 0) == (s > 0), 1, -1)
    return np.where(inexact, bits + step, bits).view(np.float64)


def below_normal(high: Array, rest: Array, shift: Array) -> Array:
    """(high + rest) 2**shift rounded to a multiple of the least number, for a rest below half a unit of high."""
    units = np.ldexp(high, shift + 1074)
    down = np.floor(units)
    fraction = units - down
    up = (fraction > 0.5) | ((fraction == 0.5) & ((rest > 0) | ((rest == 0) & (down % 2 == 1))))
    return np.copysign(np.ldexp(down + up, -1074), high)


def fma64(x: Array, y: Array, z: Array) -> Array:
    """x y + z rounded once (Boldo & Melquiond, Emulation of FMA and correctly rounded sums, IEEE TC 57 (2008)). The significands
    are multiplied apart from their exponents, so that nothing overflows on the way."""
    with np.errstate(all="ignore"):
        return _fma64(*np.broadcast_arrays(x, y, z))


def _fma64(x: Array, y: Array, z: Array) -> Array:
    plain = x * y + z
    usual = np.isfinite(x) & np.isfinite(y) & np.isfinite(z) & (x != 0) & (y != 0)
    (mx, ex), (my, ey) = np.frexp(np.where(usual, x, 1.0)), np.frexp(np.where(usual, y, 1.0))
    mz, ez = np.frexp(np.where(usual, z, 1.0))
    scale = ex + ey
    # A term that is far too small or too large is replaced by one that rounds alike.
    third = np.ldexp(mz, np.clip(ez - scale, -300, 300))
    uh, ul = two_product(mx, my)
    th, tl = two_sum(third, ul)
    vh, vl = two_sum(uh, th)
    rest = odd_sum(tl, vl)
    shift = np.where((ez - scale > 300) & (z != 0), ez - 300, scale)
    below = np.frexp(vh)[1] + shift < -1021
    result = np.where(below, below_normal(vh, rest, np.where(below, shift, 0)), np.ldexp(vh + rest, shift))
    return np.where(usual, result, plain)


def fma32(x: Array, y: Array, z: Array) -> Array:
    """The product is exact in binary64, and the sum is rounded to odd there."""
    total = odd_sum(*np.broadcast_arrays(x.astype(np.float64) * y.astype(np.float64), z.astype(np.float64)))
    plain = x.astype(np.float64) * y.astype(np.float64) + z.astype(np.float64)
    return np.where(np.isfinite(plain) & (plain != 0), total, plain).astype(np.float32)


REAL_OPS: dict[str, Callable[..., Any]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "neg": np.negative, "abs": np.abs,
    "sqrt": np.sqrt, "floor": np.floor, "ceil": np.ceil, "rint": np.rint, "copysign": np.copysign,
    "maximum": np.maximum, "minimum": np.minimum,
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal,
    "wand": np.bitwise_and, "wor": np.bitwise_or, "wxor": np.bitwise_xor, "wadd": np.add, "wsub": np.subtract,
    "weq": np.equal, "wlt": np.less, "and": np.logical_and, "or": np.logical_or, "not": np.logical_not,
    "wsar": np.right_shift, "select": np.where,
}  # fmt: skip


def constant(value: Value, width: str) -> Array:
    kind = {"f": REALS[width], "w": WORDS[width], "b": np.bool_, "i": np.int64}[value.type]
    return np.array(value.const, dtype=kind)


def scaled(x: Array, n: Array) -> Array:
    """x 2**floor(n), as AVX-512 has it."""
    known = ~np.isnan(n)
    power = np.where(known, np.clip(np.floor(n), -9999, 9999), 0).astype(np.int32)
    return np.where(known, np.ldexp(x, power), n).astype(x.dtype)


def apply(op: str, args: list[Array], width: str, fma: bool) -> Array:
    real, word, unsigned = REALS[width], WORDS[width], UNSIGNED[width]
    if op == "fma":
        if not fma:
            return np.asarray(args[0] * args[1] + args[2])
        return fma64(*args) if width == "f64" else fma32(*args)
    if op == "bits":
        return np.ascontiguousarray(args[0]).view(word)
    if op == "unbits":
        return np.ascontiguousarray(args[0]).view(real)
    if op == "scale":
        return scaled(*np.broadcast_arrays(*args))
    if op in ("wshl", "wshr"):
        shift = np.left_shift if op == "wshl" else np.right_shift
        return np.asarray(shift(args[0].astype(unsigned), args[1].astype(unsigned)).astype(word))
    return np.asarray(REAL_OPS[op](*args))


def run(function: Function, width: str, *arguments: Array, fma: bool = True) -> Array:
    """The values of a function at every entry of the arguments, arrays of one shape (n,) of the width's type. Without `fma` every
    fused multiply-add is a product and a sum, as on machines that have none."""
    arrays = {id(p): np.asarray(a, REALS[width]) for p, a in zip(function.params, arguments, strict=True)}
    length = max(a.size for a in arrays.values())

    def get(value: Value) -> Array:
        return arrays[id(value)] if id(value) in arrays else constant(value, width)

    with np.errstate(all="ignore"):
        for statement in function.body:
            assert isinstance(statement, Let)
            arguments = [get(a) for a in statement.args]
            if statement.op == "pick":
                made = np.array(getattr(coefficients, statement.function)[width], REALS[width])[arguments[0] & 15]
            else:
                made = apply(statement.op, arguments, width, fma)
            arrays[id(statement.value)] = made
        return np.broadcast_to(get(function.result), (length,))
