"""Replaces ops that a backend does not spell by their values, until only spelled ops are left."""

from __future__ import annotations

from collections.abc import Callable

from gradlang.check.rules import evaluate
from gradlang.diagnostics import internal
from gradlang.ir.rebuild import rebuild
from gradlang.ir.tape import Builder, Instr, Tape
from gradlang.ops.op import Op
from gradlang.ops.table import OpTable
from gradlang.transform.partials import Templates

ROUNDS = 40  # entries that refer to one another in a circle would never end


def expand(tape: Tape, table: OpTable, templates: Templates, spelled: Callable[[Op], bool], own: bool = False) -> Tape:
    """Instructions that no one else holds (`own`) may be changed."""

    def replace(b: Builder, instr: Instr, args: tuple[int, ...]) -> int | None:
        op = wanted.get(instr.op)
        if op is None or op.value is None:
            return None
        if op.pointwise:
            made = templates.write(
                b, op, "value", op.value, instr.attrs, list(args), False, instr.type, instr.span, instr.scope
            )
            return b.broadcast(made, instr.type.shape, instr.span, instr.scope)
        refs = [b.ref(a) for a in args]
        return evaluate(op, op.value, refs, instr.attrs, b, None, None, instr.span, scope=instr.scope).id

    for _ in range(ROUNDS):
        ops = [table[name] for name in {i.op for i in tape.instrs} if name in table]
        wanted = {op.name: op for op in ops if op.value is not None and not spelled(op)}
        if not wanted:
            return tape
        asked = bytes([i.op in wanted for i in tape.instrs])
        tape = rebuild(tape, table, replace, asked.index(1), asked, own)
    raise internal("the values of some ops refer to one another in a circle")
