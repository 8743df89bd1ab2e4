"""When the values of a plan are there, and how they lie in memory."""

from __future__ import annotations

from collections.abc import Collection

from gradlang.ir.tape import Tape
from gradlang.plan.reader import LEAVES, VIEWS


def slots(tape: Tape, foreign: Collection[int]) -> list[int]:
    """When each value is there: kernels run at even times, library calls, which make what is `foreign`, at odd ones."""
    out: list[int] = []
    for i, instr in enumerate(tape.instrs):
        if instr.op in LEAVES or instr.op == "array":
            out.append(-1)
            continue
        at = max((out[a] for a in instr.args), default=-1)
        out.append(at if (at % 2 == 1) == (i in foreign) else at + 1)
    return out


def layouts(tape: Tape, foreign: Collection[int], free: Collection[int]) -> dict[int, tuple[int, ...]]:
    """The order of the axes of values that a library reads transposed: they lie in memory as it reads them. `free` are those
    that may lie in any way."""
    found: dict[int, tuple[int, ...]] = {}
    for f in sorted(foreign):
        for a in tape.instrs[f].args:
            last = a
            while tape.instrs[a].op in VIEWS:
                last, a = a, tape.instrs[a].args[0]
            if a in free and tape.instrs[last].op == "transpose":
                axes = tape.instrs[last].attrs[0]
                if axes[:-2] != tuple(range(len(axes) - 2)):  # matrices that are merely turned are read as they are
                    found.setdefault(a, axes)
    return found
