"""Whether machine code pays: what NumPy would take, what loops would take, and what it costs to make them.

The figures are seconds, measured on one core of a server of 2023 (`tests/bench`); they need to be right within a factor of
two, since most programs are far from the point where it makes no difference.
"""

from __future__ import annotations

from collections.abc import Mapping

from gradlang.ir.tape import Tape
from gradlang.plan.pointwise import HEAVY
from gradlang.types import product, value

CALL = 1e-6  # of a NumPy function
ENTRY = 1e-9  # of one entry in NumPy, which writes it to memory
DEAR_ENTRY = 5e-9  # if it is an exp or the like
LOOPED = 0.25e-9  # of one entry of one operation in a loop
START = 0.03  # making any machine code
EACH = 2e-3  # machine code of one operation


def numpy_seconds(tape: Tape, sizes: Mapping[str, int]) -> float:
    """What a call of the NumPy code takes, about."""
    total = 0.0
    for instr in tape.instrs:
        if instr.op == "scan":
            scan = instr.attrs[0]
            total += value(scan.length, sizes) * numpy_seconds(scan.body, sizes)
        elif instr.args:
            entry = DEAR_ENTRY if HEAVY.get(instr.op, 1) >= 12 else ENTRY
            total += CALL + entry * value(product(instr.type.shape), sizes)
    return total


def operations(tape: Tape) -> int:
    return sum(operations(i.attrs[0].body) if i.op == "scan" else bool(i.args) for i in tape.instrs)


def pays(tape: Tape, sizes: Mapping[str, int], calls: int) -> bool:
    """Whether so many calls win what machine code costs."""
    today = numpy_seconds(tape, sizes)
    won = today * (1 - LOOPED / ENTRY)
    return won * calls > START + EACH * operations(tape)
