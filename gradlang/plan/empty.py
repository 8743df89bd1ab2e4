"""What has no value for arrays without entries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gradlang.ir.tape import Tape
from gradlang.types import Dim, Shape, product, value


def needs_entries(tape: Tape) -> Iterator[tuple[Dim, Shape]]:
    """Numbers of entries that must not be 0 where a shape has entries: what a largest entry is looked for in, what indices
    point into, or what windows move over. Those of recurrences are looked at as if every one had a step."""
    tapes = [tape]
    for tape in tapes:
        for instr in tape.instrs:
            shapes = [tape.instrs[a].type.shape for a in instr.args]
            if instr.op in ("scan", "root"):
                tapes.append(instr.attrs[0].body)
            elif instr.op in ("max", "min") and (len(instr.attrs) < 3 or instr.attrs[2] is None):
                yield product(shapes[0][k] for k in instr.attrs[0]), instr.type.shape
            elif instr.op in ("argmax_along", "argmin_along", "take_axis", "take_along"):
                yield shapes[0][instr.attrs[0]], instr.type.shape
            elif instr.op in ("scatter_add", "scatter_along"):
                yield instr.type.shape[instr.attrs[0]], shapes[0]
            elif instr.op == "patches":
                yield product(shapes[0][-2:]), instr.type.shape
            elif instr.op in ("within", "nearest"):
                yield instr.attrs[0], instr.type.shape


def every_dim(tape: Tape) -> set[Dim]:
    found: set[Dim] = set()
    tapes = [tape]
    for tape in tapes:
        for instr in tape.instrs:
            found.update(instr.type.shape)
            if instr.op in ("scan", "root"):
                tapes.append(instr.attrs[0].body)
            if instr.op == "scan":
                scan = instr.attrs[0]
                found.add(scan.length)
                found.update(d for k in range(len(scan.names)) for d in scan.item_type(k).shape)
    return found


def has_values(tape: Tape, sizes: Mapping[str, int]) -> bool:
    """Whether all that loops make of a program has a value for these sizes, and NumPy thinks so too: it finds fault with the
    largest of no entries even where no result depends on it."""
    if any(value(d, sizes) < 0 for d in every_dim(tape)) or not slices_fit(tape, sizes):
        return False
    return not any(value(n, sizes) == 0 for n, _ in needs_entries(tape))


def slices_fit(tape: Tape, sizes: Mapping[str, int]) -> bool:
    """Whether slices take no entry that is not there, as the first one of an array without entries."""
    tapes = [tape]
    for tape in tapes:
        for instr in tape.instrs:
            if instr.op in ("scan", "root"):
                tapes.append(instr.attrs[0].body)
            elif instr.op == "slice":
                source = tape.instrs[instr.args[0]].type.shape
                for start, length, step, whole in zip(*instr.attrs, source, strict=True):
                    first, steps, end = value(start, sizes), value(length, sizes) - 1, value(whole, sizes)
                    if steps >= 0 and not (0 <= first < end and 0 <= first + step * steps < end):
                        return False
    return True
