"""The invariants of a tape, checked after every pass in the tests."""

from __future__ import annotations

from gradlang.check.infer import infer
from gradlang.diagnostics import internal
from gradlang.ir.tape import DERIVATIVES, Instr, Tape, constant_key
from gradlang.ops.shapes import Misfit
from gradlang.ops.table import OpTable

LEAVES = ("input", "const", "array", "size")


def verify(tape: Tape, table: OpTable, after: str) -> None:
    """Raises InternalError, naming the pass, where a tape breaks its invariants."""
    seen: dict[object, int] = {}
    for i, instr in enumerate(tape.instrs):
        where = f"after {after}, instruction {i} ({instr.op})"
        if any(not 0 <= a < i for a in instr.args):
            raise internal(f"{where} uses a value before it is made")
        attrs = constant_key(instr.attrs) if instr.op in ("const", "array") else instr.attrs
        key = (instr.op, instr.args, attrs, instr.type)
        if key in seen:
            raise internal(f"{where} computes what instruction {seen[key]} computes")
        seen[key] = i
        if instr.op in LEAVES or instr.op in DERIVATIVES:
            continue
        if instr.op not in table:
            raise internal(f"{where} is no op of the table")
        _verify_op(tape, instr, table, where)
    for name, i in tape.outputs:
        if not 0 <= i < len(tape.instrs):
            raise internal(f"after {after}, the output {name} is no instruction")


def _verify_op(tape: Tape, instr: Instr, table: OpTable, where: str) -> None:
    op = table[instr.op]
    args = [tape.instrs[a] for a in instr.args]
    try:
        _, type = infer(op, [a.type for a in args], instr.attrs, table)
    except Misfit as misfit:
        raise internal(f"{where} does not fit its arguments: {misfit.message}") from None
    if op.pointwise:
        for a in args:
            plain = a.op in ("const", "size") and not a.type.shape
            if a.type.shape != instr.type.shape and not plain:
                raise internal(f"{where} has the shape {instr.type} and an operand of {a.type}")
    elif type != instr.type:
        raise internal(f"{where} is {instr.type}, but its arguments give {type}")
