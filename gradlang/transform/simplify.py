"""Exact simplification: rules that hold bit for bit, and constant folding in IEEE arithmetic.

Folding is done for operations that IEEE 754 rounds correctly, so that the number is the one that any backend would get.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from gradlang.ir.rebuild import rebuild
from gradlang.ir.tape import BEYOND, Builder, Instr, Tape
from gradlang.ops.table import OpTable
from gradlang.transform.rewrite import Rewriter, candidates
from gradlang.transform.scaled import scaled
from gradlang.types import BOOL, SCALAR

FOLD: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "neg": lambda a: -a,
    "abs": abs,
    "sqrt": math.sqrt,
    "less": lambda a, b: a < b,
    "less_equal": lambda a, b: a <= b,
    "greater": lambda a, b: a > b,
    "greater_equal": lambda a, b: a >= b,
    "equal": lambda a, b: a == b,
    "not_equal": lambda a, b: a != b,
    "logical_and": lambda a, b: a and b,
    "logical_or": lambda a, b: a or b,
    "logical_not": lambda a: not a,
    "real": float,
    "zmul": lambda g, p: 0.0 if g == 0 else g * p,
    "relu": lambda x: x if x > 0 else 0.0,
    "maximum": max,
    "minimum": min,
}


PLAIN = BEYOND | {"mark"}
MOVED = frozenset({"sum_to", "sum", "reshape", "slice", "broadcast_to"})


def fold(b: Builder, instr: Instr, args: tuple[int, ...]) -> int | None:
    """The constant that an operation on constants gives, if it is a finite number."""
    if instr.op == "where":
        c = b.instrs[args[0]]
        if c.op == "const":
            return b.broadcast(args[1] if c.attrs[0] else args[2], instr.type.shape, instr.span, instr.scope)
        return None
    instrs = b.instrs
    for a in args:
        if instrs[a].op != "const":
            return None
    run = FOLD.get(instr.op) if instr.op not in b.table.own else None
    if run is None or instr.type.shape:
        return None
    try:
        value = run(*(b.instrs[a].attrs[0] for a in args))
    except (ArithmeticError, ValueError):
        return None
    if instr.type.dtype == "bool":
        return b.add("const", (), (bool(value),), BOOL, instr.span)
    if instr.type.dtype != "real" or not math.isfinite(value):
        return None
    return b.add("const", (), (float(value),), SCALAR, instr.span)


def folded(b: Builder, i: int) -> int:
    """The array of one number of an array that an operation on numbers fills."""
    at = b.instrs[i]
    if at.op != "broadcast_to" or not b.instrs[at.args[0]].args:
        return i
    one = b.instrs[at.args[0]]
    number = fold(b, one, one.args)
    return i if number is None else b.broadcast(number, at.type.shape, at.span, at.scope)


def reduce_uniform(b: Builder, instr: Instr, args: tuple[int, ...]) -> int | None:
    """A sum over an array of one repeated constant is a product with the number of its entries."""
    u = b.uniform(args[0])
    if u is None or b.instrs[u].op != "const":
        return None
    shape = b.instrs[args[0]].type.shape
    total: Any = 1
    if instr.op == "sum":
        from gradlang.types import product

        total = product(shape[a] for a in instr.attrs[0])
        if b.instrs[u].attrs[0] in (0.0, 1.0) and isinstance(total, int):
            return b.broadcast(b.const(b.instrs[u].attrs[0] * total), instr.type.shape, instr.span, instr.scope)
    return None


def concerned(tape: Tape, rewriter: Rewriter) -> bytearray:
    """A truth value for each instruction: whether simplification has to look at it as long as its arguments stay what they
    are."""
    found = candidates(tape, rewriter.under, folded=True)
    for i, instr in enumerate(tape.instrs):
        if instr.args and (instr.type.shape or instr.op in MOVED):
            found[i] = 1
    return found


def touched(tape: Tape, table: OpTable, rewriter: Rewriter, asked: bytearray, start: int) -> int | None:
    """The first instruction, from `start` on, that simplification may change."""
    b = Builder(table)
    b.instrs = list(tape.instrs)
    i = asked.find(1, start)
    while i >= 0:
        instr = tape.instrs[i]
        if instr.type.shape or instr.op in MOVED:
            return i
        if fold(b, instr, instr.args) is not None or rewriter.fitting(b, instr, instr.args) is not None:
            return i
        i = asked.find(1, i + 1)
    return None


def simplify(tape: Tape, table: OpTable, rewriter: Rewriter, start: int = 0, own: bool = False) -> Tape:
    """A tape that a builder made; its equal instructions are one already. Nothing is to be done before `start`. Instructions
    that no one else holds (`own`) may be changed."""

    def replace(b: Builder, instr: Instr, args: tuple[int, ...]) -> int | None:
        if not args:
            return None
        made = fold(b, instr, args)
        if made is None:
            made = rewriter.apply(b, instr, args)
        if made is None and instr.op in ("sum", "sum_to"):
            made = reduce_uniform(b, instr, args)
        if made is None and (instr.type.shape or instr.op in MOVED) and instr.op not in PLAIN:
            op = table[instr.op]
            if "moves" in op.flags or instr.op in MOVED or op.pointwise:
                made = b.emit(op, [b.ref(a) for a in args], instr.attrs, instr.type, instr.span, instr.scope).id
        if not instr.type.shape:
            return made
        if made is None:
            return scaled(b, instr, args)
        again = scaled(b, b.instrs[made], b.instrs[made].args)
        return folded(b, made if again is None else again)

    asked = concerned(tape, rewriter)
    first = touched(tape, table, rewriter, asked, start)
    return tape if first is None else rebuild(tape, table, replace, first, asked, own)


def unmark(tape: Tape, table: OpTable, own: bool = False) -> Tape:
    """Without the marks that kept equal values apart for a derivative."""
    marks = bytes([i.op == "mark" for i in tape.instrs])
    if not any(marks):
        return tape
    return rebuild(tape, table, lambda b, instr, args: args[0] if instr.op == "mark" else None, asked=marks, own=own)
