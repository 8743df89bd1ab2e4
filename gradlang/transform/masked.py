"""Adjoint rules over a cotangent whose exact zeros mean that nothing depends on an entry.

A rule is an ordinary expression; read with this sink, its products with such a cotangent let the zeros win over infinite
and undefined values of the other factor, as `zmul` does.
"""

from __future__ import annotations

from typing import Any

from gradlang.check.program import Ref
from gradlang.ir.tape import Builder
from gradlang.ops.op import Op
from gradlang.source import Span
from gradlang.types import Type

KEEPS = frozenset({"sum", "sum_to", "neg", "cumsum_along", "stack", "concat", "scatter_add", "scatter_along", "unslice"})
SYSTEMS = frozenset({"solve", "triangular_solve", "scan_affine"})
TOGETHER = frozenset({"add", "sub", "mul"})


class MaskedSink:
    """Writes into a builder; `masked` are the values whose zeros are exact."""

    def __init__(self, b: Builder, masked: set[int]) -> None:
        self.b, self.table, self.masked = b, b.table, set(masked)

    def leaf(self, op: str, attrs: tuple[Any, ...], type: Type, span: Span) -> Ref:
        return self.b.leaf(op, attrs, type, span)

    def emit(self, op: Op, args: list[Ref], attrs: tuple[Any, ...], type: Type, span: Span, scope: tuple[str, ...] = ()) -> Ref:
        masked = [a.id in self.masked for a in args]
        if not any(masked):
            return self.b.emit(op, args, attrs, type, span, scope)
        if op.name == "mul" and not all(masked) and self.may_be_infinite(args[masked.index(False)]):
            made = self.b.emit(self.table["zmul"], args if masked[0] else [args[1], args[0]], (), type, span, scope)
        elif op.name == "div" and masked[0]:
            whole = self.b.emit(op, args, attrs, type, span, scope)
            zero = self.b.ref(self.b.const(0.0))
            none = Ref(self.b.apply("equal", (args[0].id, zero.id), (), span, scope), Type(args[0].type.shape, "bool"))
            made = self.b.emit(self.table["where"], [none, zero, whole], (), type, span, scope)
        elif op.name in SYSTEMS and masked[1]:
            made = self.solved(op, args, attrs, type, span, scope)
        elif op.name == "matmul" and not all(masked):
            made = self.matmul(args, 0 if masked[0] else 1, type, span, scope)
        else:
            made = self.b.emit(op, args, attrs, type, span, scope)
            if not self.keeps(op, args, masked):
                return made
        self.masked.add(made.id)
        return made

    def may_be_infinite(self, r: Ref) -> bool:
        return self.b.uniform(r.id) is None

    def keeps(self, op: Op, args: list[Ref], masked: list[bool]) -> bool:
        if op.name == "where":
            sides = zip(args[1:], masked[1:], strict=True)
            return all(m or self.b.is_const(a.id, 0) for a, m in sides)
        if op.name in TOGETHER:
            return all(masked) or op.name == "mul"
        return masked[0] and ("moves" in op.flags or op.name in KEEPS)

    def solved(self, op: Op, args: list[Ref], attrs: tuple[Any, ...], type: Type, span: Span, scope: tuple[str, ...]) -> Ref:
        """The solution of linear systems, or of linear recurrences, of which those with an exact zero on the right have an
        exact zero, whatever the matrix or the factors are."""
        b, right = self.b, args[1]
        made = b.emit(op, args, attrs, type, span, scope)
        axis = (attrs[0] if op.name == "scan_affine" else max(right.type.rank - 2, 0),)
        zero = b.const(0.0)
        none = b.apply("all", (b.apply("equal", (right.id, zero), (), span, scope),), (axis, True), span, scope)
        return b.ref(b.apply("where", (none, zero, made.id), (), span, scope))

    def matmul(self, args: list[Ref], zeros: int, type: Type, span: Span, scope: tuple[str, ...]) -> Ref:
        b = self.b
        left, right = args
        if left.type.rank == 1:
            left = b.ref(b.apply("reshape", (left.id,), ((1, *left.type.shape),)))
        if right.type.rank == 1:
            right = b.ref(b.apply("reshape", (right.id,), ((*right.type.shape, 1),)))
        made = b.apply("zmatmul", (left.id, right.id), (zeros,), span, scope)
        return b.ref(made if b.instrs[made].type.shape == type.shape else b.apply("reshape", (made,), (type.shape,)))
