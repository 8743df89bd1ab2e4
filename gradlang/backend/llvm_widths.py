"""How wide the vectors of a kernel are, by where its work is."""

from __future__ import annotations

from collections.abc import Sequence

from gradlang.backend.llvm_ops import Target
from gradlang.loops.ir import For, If, Kernel, Let, Statement
from gradlang.loops.walk import statements

SHORT = 128  # steps; in loops known to be shorter, wide vectors lose
UNROLLED = 16  # steps of a loop that is written out inside another
LANES = 8  # of a vector
WRITTEN_OUT = 32  # steps of a loop that LLVM writes out
LONG = 1e3
CALL = 20  # operations of a function


def preferred(kernel: Kernel, target: Target) -> int:
    """The width of vectors for a kernel: 512 bits win where most of the work is in long loops, and lose in short ones."""
    if target.vector < 512:
        return target.vector
    work = {True: 0.0, False: 0.0}
    waiting: list[tuple[Sequence[Statement], float]] = [(kernel.body, 1.0)]
    while waiting:
        body, times = waiting.pop()
        for s in body:
            if isinstance(s, If):
                waiting += [(s.then, times), (s.otherwise, times)]
            elif isinstance(s, For):
                steps = extent(s)
                if s.side:
                    work[True] += times * steps * steps_of(s.body)
                elif s.apart and all(extent(inner) <= UNROLLED for inner in statements(s.body) if isinstance(inner, For)):
                    size = sum(CALL if isinstance(x, Let) and x.op == "call" else 1 for x in statements(s.body))
                    work[steps >= SHORT or whole(s)] += times * steps * size
                else:
                    waiting.append((s.body, times * steps))
    return 512 if work[True] > work[False] else 256


def steps_of(body: Sequence[Statement]) -> float:
    """How many statements are run, about."""
    total = 0.0
    waiting: list[tuple[Sequence[Statement], float]] = [(body, 1.0)]
    while waiting:
        inside, times = waiting.pop()
        total += times * len(inside)
        waiting += [(s.body, times * extent(s)) for s in inside if isinstance(s, For)]
    return total


def whole(loop: For) -> bool:
    """Whether a short loop makes whole vectors."""
    steps = extent(loop)
    return loop.apart and 0 < steps <= WRITTEN_OUT and steps % LANES == 0 and not any(isinstance(s, For) for s in loop.body)


def holds_vectors(loop: For) -> bool:
    """Whether the loops in a loop are vectors when their steps are written out. LLVM would rather take entries of several
    steps of the loop around them for a vector, which lie far apart in memory."""
    inner = [s for s in loop.body if isinstance(s, For)]
    return bool(inner) and all(map(whole, inner))


def extent(loop: For) -> float:
    """How many steps a loop has; one that is not known is a long one."""
    if loop.start.const is None or loop.stop.const is None:
        return LONG
    return float(loop.stop.const - loop.start.const)
