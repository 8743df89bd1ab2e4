"""The ops whose values are no nests of loops over entries, and what writes them."""

from __future__ import annotations

from collections.abc import Mapping

from gradlang.ir.tape import Tape
from gradlang.loops.ir import Value
from gradlang.plan import along, matrices
from gradlang.plan.blocks import Block, Writer
from gradlang.plan.reader import Reader
from gradlang.plan.roots import Root
from gradlang.plan.weave import Weaver
from gradlang.types import value

WRITERS: dict[str, Writer] = {**along.WRITERS, **matrices.WRITERS}


def nothing_read(r: Reader, counters: object) -> Value:
    """The entry of a root that is no nest of loops."""
    return r.code.real(0.0)


def special_root(tape: Tape, i: int, needs: tuple[int, ...]) -> Root:
    """The root of a value of these ops. `needs` are the values that it reads."""
    write = WRITERS[tape.instrs[i].op]

    def run(weaver: Weaver, root: Root) -> None:
        write(Block(weaver, root))

    return Root(i, (), nothing_read, gives=(i,), needs=needs, special=run)


def library_better(tape: Tape, i: int, sizes: Mapping[str, int]) -> bool:
    """Whether matrices are so large that LAPACK is faster than loops."""
    instr = tape.instrs[i]
    if instr.op not in matrices.WRITERS:
        return False
    size = value(tape.instrs[instr.args[0]].type.shape[-1], sizes)
    return size > matrices.LARGEST.get(instr.op, matrices.OTHERS)
