"""Partials of pointwise ops, elaborated once per op and written wherever they are needed."""

from __future__ import annotations

from typing import Any

from gradlang.check.rules import evaluate
from gradlang.ir.tape import Builder, Instr
from gradlang.ops.op import Op
from gradlang.ops.table import OpTable
from gradlang.source import Span
from gradlang.syntax import ast
from gradlang.types import SCALAR, Type, scalar_of


class Templates:
    """(op, settings, expression) -> a little tape over scalars: arguments first, then the result, then the work."""

    def __init__(self, table: OpTable) -> None:
        self.table = table
        self._made: dict[Any, tuple[list[Instr], int, int]] = {}

    def get(
        self, op: Op, key: str, expr: ast.Expr, attrs: tuple[Any, ...], with_result: bool, kinds: tuple[str, ...]
    ) -> tuple[list[Instr], int, int]:
        """The instructions, how many of them stand for arguments, and which one is the value."""
        found = self._made.get((op.name, key, attrs, kinds))
        if found is None:
            builder = Builder(self.table)
            args = [builder.leaf("input", (p,), scalar_of(k), op.span) for p, k in zip(op.params, kinds, strict=True)]
            result = builder.leaf("input", ("result " + op.result,), SCALAR, op.span) if with_result else None
            out = evaluate(op, expr, args, attrs, builder, result, None, op.span)
            count = len(args) + with_result
            found = self._made[op.name, key, attrs, kinds] = (builder.instrs, count, builder.real(out.id))
        return found

    def write(
        self,
        builder: Builder,
        op: Op,
        key: str,
        expr: ast.Expr,
        attrs: tuple[Any, ...],
        given: list[int],
        with_result: bool,
        type: Type,
        span: Span,
        scope: tuple[str, ...],
    ) -> int:
        """The value of `expr` over the instructions `given` (arguments, then the result if `with_result`)."""
        instrs = builder.instrs
        kinds = tuple([instrs[i].type.dtype for i in given[: len(op.params)]])
        steps, count, out = self.get(op, key, expr, attrs, with_result, kinds)
        if out < count:
            return given[out]
        made = list(given)
        if type is SCALAR:
            return self.scalars(builder, steps, count, out, made, span, scope)
        for step in steps[count:]:
            if step.op == "const":
                made.append(builder.add("const", (), step.attrs, step.type))
                continue
            args = [made[a] for a in step.args]
            kind = Type(type.shape, step.type.dtype) if type.shape else step.type
            if type.shape and not any(instrs[a].type.shape for a in args):  # made of numbers only
                made.append(builder.emit(self.table[step.op], [builder.ref(a) for a in args], step.attrs, step.type, span).id)
                continue
            if type.shape:
                args = [self.fitted(builder, a, type, span, scope) for a in args]
            made.append(builder.add(step.op, tuple(args), step.attrs, kind, span, scope))
        return made[out]

    @staticmethod
    def scalars(
        builder: Builder, steps: list[Instr], count: int, out: int, made: list[int], span: Span, scope: tuple[str, ...]
    ) -> int:
        """The value of a template over single numbers, which fit as they are."""
        add, put = builder.add, made.append
        for k in range(count, len(steps)):
            step = steps[k]
            if step.args:
                put(add(step.op, tuple([made[a] for a in step.args]), step.attrs, step.type, span, scope))
            else:
                put(add("const", (), step.attrs, step.type))
        return made[out]

    def fitted(self, builder: Builder, a: int, type: Type, span: Span, scope: tuple[str, ...]) -> int:
        """An operand of a pointwise op: of its shape, or a plain number."""
        instr = builder.instrs[a]
        plain = instr.type.shape or instr.op in ("const", "size")
        return a if plain else builder.broadcast(a, type.shape, span, scope)
