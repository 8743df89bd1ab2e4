"""Reverse mode over single numbers: what `Chain` makes of an op, with the questions about it asked once.

A large program is made of numbers alone, and most of the time of its compilation goes here.
"""

from __future__ import annotations

from typing import Any

from gradlang.ir.tape import Builder, Instr
from gradlang.ops.op import Op
from gradlang.transform.chain import Chain
from gradlang.types import SCALAR, Type

# An argument's position, the steps of its partial over the arguments and the result, and which of all these is its value.
Step = tuple[str, tuple[int, ...], tuple[Any, ...], Type]
Partial = tuple[int, tuple[Step, ...], int]
KNOWN_FACTORS = frozenset({"const", "neg", "where", "div"})  # a product with these may be something simpler


class Numbers:
    """The contributions of one sweep, which go into `adjoints` (instruction -> adjoint)."""

    def __init__(self, chain: Chain, active: bytearray, adjoints: dict[int, int]) -> None:
        self.chain, self.active, self.adjoints = chain, active, adjoints
        self.known: dict[Any, tuple[Partial, ...] | None] = {}

    def partials(self, op: Op, attrs: tuple[Any, ...]) -> tuple[Partial, ...] | None:
        """The partials of an op over real numbers; None if it has rules of another kind."""
        if not op.pointwise or op.name == "zmul" or "variadic" in op.flags or any(p in op.adjoints for p in op.params):
            return None
        out = []
        for position, param in enumerate(op.params):
            if param in op.partials:
                kinds = ("real",) * len(op.params)
                steps, count, value = self.chain.templates.get(op, "d/d" + param, op.partials[param], attrs, True, kinds)
                out.append((position, tuple((s.op, s.args, s.attrs, s.type) for s in steps[count:]), value))
        return tuple(out)

    def add(self, op: Op, instr: Instr, at: int, g: int) -> bool:
        """Adds what the arguments of `instr`, which is instruction `at` and has the cotangent g, get of it. False, and
        nothing is added, if it is not about single numbers."""
        chain = self.chain
        b = chain.b
        args, instrs = instr.args, b.instrs
        if instr.type is not SCALAR or not b.all_scalar(args):
            return False
        key = instr.op, instr.attrs
        try:
            partials = self.known[key]
        except KeyError:
            partials = self.known[key] = self.partials(op, instr.attrs)
        if partials is None:
            return False
        adjoints, span, scope = self.adjoints, instr.span, instr.scope
        for position, steps, value in partials:
            to = args[position]
            if not self.active[to]:
                continue
            p = written(b, steps, [*args, at], instr)[value]
            if instrs[p].op in KNOWN_FACTORS or g in chain.masked:
                part = chain.scale(g, p, span, scope)
            else:
                part = b.add("mul", (g, p), (), SCALAR, span, scope)
            if part is not None:
                before = adjoints.get(to)
                adjoints[to] = part if before is None else chain.plus(before, part, instrs[to].span)  # type: ignore[assignment]
        return True


def written(b: Builder, steps: tuple[Step, ...], made: list[int], instr: Instr) -> list[int]:
    """Writes steps over the values that are `made`; these and the results."""
    memo, instrs = b.memo, b.instrs
    for op, places, attrs, type in steps:
        if not places:
            made.append(b.add(op, (), attrs, type))
            continue
        args = tuple([made[k] for k in places])
        key = op, args, attrs
        new = len(instrs)
        at = memo.setdefault(key, new)
        if at == new:
            instrs.append(Instr(op, args, attrs, type, instr.span, instr.scope))
        made.append(at)
    return made
