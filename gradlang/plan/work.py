"""How long loops take, about: enough to tell what is worth a second thread, or the lock of the interpreter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from gradlang.ir.tape import Tape
from gradlang.loops.ir import For, If, Let, Load, Multiply, Run, Statement, Store
from gradlang.plan.affine import Positions
from gradlang.plan.roots import letters_of
from gradlang.types import value

# Nanoseconds of one step in a vector, measured on one core of a server of 2023 (`tests/bench`). They need to be right within
# a factor of three.
OPERATION, MEMORY, FUNCTION, SLOW, ROUTINE = 0.12, 0.1, 1.0, 0.6, 500.0
TILED = 0.03  # of an operation in loops whose steps are taken side by side, and whose values stay in registers
MULTIPLY_ADD = 0.04  # of a BLAS
OWN_ADD = 0.036  # of a kernel that multiplies matrices
MADE = 1.0  # an entry of a factor or of a product of a library, which is written and read again
UNKNOWN = 8  # steps of a loop whose length is not known


def nanoseconds(body: Sequence[Statement], positions: Positions) -> float:
    """The time of some statements; `positions` know the lengths of their loops."""
    total = 0.0
    waiting: list[tuple[Sequence[Statement], float, bool]] = [(body, 1.0, False)]
    while waiting:
        block, times, side = waiting.pop()
        for s in block:
            if isinstance(s, For):
                last = positions.steps(s, positions.of(s.start))
                waiting.append((s.body, times * (UNKNOWN if last is None else last + 1), side or s.side))
            elif isinstance(s, If):
                waiting += [(s.then, times, side), (s.otherwise, times, side)]
            elif side:
                total += times * TILED if isinstance(s, Let) and s.value.type == "f" else 0.0
            elif isinstance(s, Load | Store):
                total += times * MEMORY
            elif isinstance(s, Run):
                total += times * (routine(s) or ROUTINE)
            elif isinstance(s, Let) and s.value.type != "i":
                total += times * (FUNCTION if s.op == "call" else SLOW if s.op in ("div", "sqrt") else OPERATION)
    return total


def routine(s: Run) -> float:
    """The time of a kernel that multiplies matrices; 0 of another one."""
    told, summed = s.kernel.turn, s.sizes[0].const if s.sizes else None
    return OWN_ADD * told.rows * told.columns * summed if isinstance(told, Multiply) and summed is not None else 0.0


def product_nanoseconds(tape: Tape, i: int, sizes: Mapping[str, int]) -> float:
    """The time of a product of matrices in a library, and of what it reads and writes in memory."""
    instr = tape.instrs[i]
    shapes = [tape.instrs[a].type.shape for a in instr.args]
    parts, right = letters_of(tape, i)
    extent = {c: value(d, sizes) for part, shape in zip(parts, shapes, strict=True) for c, d in zip(part, shape, strict=True)}
    entries = sum(prod(extent[c] for c in part) for part in (*parts, right))
    return MULTIPLY_ADD * prod(extent.values()) + MADE * entries
