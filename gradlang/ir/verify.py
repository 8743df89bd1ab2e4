"""The invariants of a tape, checked after every pass in the tests."""

from __future__ import annotations

from gradlang.check.infer import infer
from gradlang.diagnostics import internal
from gradlang.ir.tape import BEYOND, Instr, Tape, constant_key
from gradlang.ops.shapes import Misfit
from gradlang.ops.table import OpTable
from gradlang.types import Type

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
        if instr.op == "scan":
            _verify_scan(tape, instr, table, where)
        if instr.op == "segments":
            _verify_segments(tape, instr, table, where)
        if instr.op == "root":
            verify(instr.attrs[0].body, table, f"{where}, in its body")
        if instr.op in LEAVES or instr.op in BEYOND:
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


def _verify_scan(tape: Tape, instr: Instr, table: OpTable, where: str) -> None:
    (scan,) = instr.attrs
    verify(scan.body, table, f"{where}, in its body")
    args = [tape.instrs[a].type for a in instr.args]
    for k in range(len(scan.names)):
        rows = scan.extra[k] if scan.kind == "pull" else scan.item_type(k).shape[0]
        if args[k].shape != (rows, *scan.types[k].shape):
            raise internal(f"{where} has the sequence {scan.names[k]} of {scan.types[k]}, but its rows are {args[k]}")
    for i in scan.body.instrs:
        if i.op != "input":
            continue
        kind, k, _ = i.attrs[0]
        held = {
            "row": lambda k: args[len(scan.names) + k].shape[1:],
            "held": lambda k: args[len(scan.names) + scan.rows + k].shape,
            "past": lambda k: scan.item_type(k).shape,
        }.get(kind, lambda k: scan.types[k].shape)(k)
        if held != i.type.shape:
            raise internal(f"{where} reads {kind} {k} as {i.type}, but its shape is {held}")
    for p, (name, i) in enumerate(scan.body.outputs):
        k, lag = scan.ports[p] if scan.kind == "push" else (p, 1)
        shape = scan.item_type(k).shape if lag is None else scan.types[k].shape
        if scan.body.instrs[i].type.shape != shape:
            raise internal(f"{where} makes {name} as {scan.body.instrs[i].type}, but its shape is {shape}")


def _verify_segments(tape: Tape, instr: Instr, table: OpTable, where: str) -> None:
    (held,) = instr.attrs
    verify(held.body, table, f"{where}, in its body")
    args = [tape.instrs[a].type for a in instr.args]
    known = held.carried + len(held.rows)
    for leaf in held.body.instrs:
        if leaf.op != "input":
            continue
        kind, k, _ = leaf.attrs[0]
        source = tape.instrs[instr.args[-1]].attrs[0].types if kind == "start" else args
        shape = source[{"carry": 0, "start": 0, "row": held.carried, "held": known}[kind] + k].shape
        if kind == "row":
            length = held.windows[held.rows[k]][1]
            if shape[0] != length:
                raise internal(f"{where} has {shape[0]} rows for a window of {length} steps")
            shape = (held.count(held.rows[k]), *shape[1:])
        if shape != leaf.type.shape:
            raise internal(f"{where} reads {kind} {k} as {leaf.type}, but its shape is {Type(shape)}")
    for k, (_, i) in enumerate(held.body.outputs):
        window = held.outs[k - held.carried] if k >= held.carried else None
        shape = held.types[k].shape if window is None else (held.count(window), *held.types[k].shape[1:])
        if held.body.instrs[i].type.shape != shape:
            raise internal(f"{where} makes {held.names[k]} as {held.body.instrs[i].type}, but its shape is {Type(shape)}")
