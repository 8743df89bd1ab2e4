"""Writes a tape into a new builder, instruction by instruction: the skeleton of most passes."""

from __future__ import annotations

from collections.abc import Callable

from gradlang.ir.tape import Builder, Instr, Tape
from gradlang.ops.table import OpTable

Replace = Callable[[Builder, Instr, tuple[int, ...]], int | None]


def rebuild(tape: Tape, table: OpTable, replace: Replace | None = None) -> Tape:
    """The tape anew. `replace(builder, instr, args)` may give the instruction that takes an instruction's place."""
    builder = Builder(table)
    made: list[int] = []
    for instr in tape.instrs:
        args = tuple([made[a] for a in instr.args])
        at = replace(builder, instr, args) if replace is not None else None
        if at is None:
            at = copy(builder, instr, args)
        elif instr.name is not None and builder.instrs[at].name is None and builder.instrs[at].op not in ("const", "size"):
            builder.instrs[at].name = instr.name
        made.append(at)
    return dce(builder.tape((n, made[i]) for n, i in tape.outputs))


def copy(builder: Builder, instr: Instr, args: tuple[int, ...]) -> int:
    return builder.add(instr.op, args, instr.attrs, instr.type, instr.span, instr.scope, instr.name)


def dce(tape: Tape) -> Tape:
    """Only what the outputs need. Inputs that nothing needs go too."""
    n = len(tape.instrs)
    live = bytearray(n)
    for _, i in tape.outputs:
        live[i] = 1
    for i in range(n - 1, -1, -1):
        if live[i]:
            for a in tape.instrs[i].args:
                live[a] = 1
    if all(live):
        return tape
    where, kept = [0] * n, list[Instr]()
    for i, instr in enumerate(tape.instrs):
        if live[i]:
            where[i] = len(kept)
            args = tuple([where[a] for a in instr.args])
            kept.append(Instr(instr.op, args, instr.attrs, instr.type, instr.span, instr.scope, instr.name))
    return Tape(tuple(kept), tuple((name, where[i]) for name, i in tape.outputs))
