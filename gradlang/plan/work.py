"""How long loops take, about: enough to tell what is worth a second thread, or the lock of the interpreter."""

from __future__ import annotations

from collections.abc import Sequence

from gradlang.loops.ir import For, If, Let, Load, Run, Statement, Store
from gradlang.plan.affine import Positions

# Nanoseconds of one step in a vector, measured on one core of a server of 2023 (`tests/bench`). They need to be right within
# a factor of three.
OPERATION, MEMORY, FUNCTION, SLOW, ROUTINE = 0.12, 0.1, 1.0, 0.6, 500.0
UNKNOWN = 8  # steps of a loop whose length is not known


def nanoseconds(body: Sequence[Statement], positions: Positions) -> float:
    """The time of some statements; `positions` know the lengths of their loops."""
    total = 0.0
    waiting: list[tuple[Sequence[Statement], float]] = [(body, 1.0)]
    while waiting:
        block, times = waiting.pop()
        for s in block:
            if isinstance(s, For):
                last = positions.steps(s, positions.of(s.start))
                waiting.append((s.body, times * (UNKNOWN if last is None else last + 1)))
            elif isinstance(s, If):
                waiting += [(s.then, times), (s.otherwise, times)]
            elif isinstance(s, Load | Store):
                total += times * MEMORY
            elif isinstance(s, Run):
                total += times * ROUTINE
            elif isinstance(s, Let) and s.value.type != "i":
                total += times * (FUNCTION if s.op == "call" else SLOW if s.op in ("div", "sqrt") else OPERATION)
    return total
