"""Arrays with one 1 in each row and zeros elsewhere, as labels give them: only the places of the ones are looked at.

Labels are held within the length of a row, so that every row has its 1. The sum of a row is then 1, and a sum over rows of
products in which exact zeros win is a sum of the entries at those places. All bits stay but for the order in which a sum adds.
"""

from __future__ import annotations

from collections.abc import Mapping

from gradlang.ir.rebuild import copy, dce
from gradlang.ir.tape import Builder, Tape
from gradlang.ops.table import OpTable
from gradlang.types import value

DEEPEST = 8  # operations in a row that are done at the places alone


def unstretched(tape: Tape, i: int) -> int:
    """A value before it was broadcast."""
    while tape.instrs[i].op == "broadcast_to":
        i = tape.instrs[i].args[0]
    return i


def places(tape: Tape, i: int) -> int | None:
    """Where the ones of an array [..., n] are: an index [..., 1] that is within n. None for any other array."""
    at = tape.instrs[i]
    if at.op != "real" or not at.type.shape or tape.instrs[at.args[0]].op != "equal":
        return None
    *rows, n = at.type.shape
    one, two = (unstretched(tape, a) for a in tape.instrs[at.args[0]].args)
    for index, counts in ((one, two), (two, one)):
        c = tape.instrs[counts]
        if c.op == "iota" and c.attrs[0] == n and tape.instrs[index].type.shape == (*rows, 1) and within(tape, index, n):
            return index
    return None


def within(tape: Tape, index: int, n: object) -> bool:
    """Whether whole numbers are known to be 0 to n - 1."""
    while tape.instrs[index].op == "reshape":
        index = tape.instrs[index].args[0]
    return tape.instrs[index].op == "within" and tape.instrs[index].attrs[0] == n


class Placing:
    """Writes a tape anew, with sums over such arrays by the places of their ones."""

    def __init__(self, tape: Tape, table: OpTable, hot: Mapping[int, int]) -> None:
        """`hot` are the arrays, with the places of their ones."""
        self.tape, self.table, self.hot, self.b = tape, table, hot, Builder(table)
        self.made: list[int] = []
        self.ones: set[int] = set()  # sums of their rows
        self.uses = [0] * len(tape)
        for a in [a for instr in tape.instrs for a in instr.args] + [i for _, i in tape.outputs]:
            self.uses[a] += 1

    def run(self) -> Tape:
        for i, instr in enumerate(self.tape.instrs):
            new = self.total(i) if instr.op == "sum" else self.factor(i) if instr.op == "mul" else None
            self.made.append(copy(self.b, instr, tuple(self.made[a] for a in instr.args)) if new is None else new)
        return dce(self.b.tape((n, self.made[i]) for n, i in self.tape.outputs))

    def total(self, i: int) -> int | None:
        """A sum of products with such an array, or of its rows."""
        instr, shape = self.tape.instrs[i], self.tape.instrs[self.tape.instrs[i].args[0]].type.shape
        axes, last = instr.attrs[0], len(shape) - 1
        if last not in axes:
            return None
        if instr.args[0] in self.hot:
            if axes != (last,):
                return None
            self.ones.add(i)
            return self.b.broadcast(self.b.const(1.0), instr.type.shape, instr.span, instr.scope)
        found = self.product(instr.args[0])
        if found is None:
            return None
        index = self.hot[found[0]]
        picked = self.picked(found[1], index)
        picked = self.b.broadcast(picked, self.tape.instrs[index].type.shape, instr.span, instr.scope)
        total = self.b.apply("sum", (picked,), instr.attrs, instr.span, instr.scope)
        # what was added besides were zeros, which a -0.0 does not outlast
        return self.b.apply("add", (total, self.b.const(0.0)), (), instr.span, instr.scope)

    def product(self, i: int) -> tuple[int, int] | None:
        """The array and the other factor of a product in which the exact zeros of the array win."""
        instrs = self.tape.instrs
        at = instrs[i]
        if at.op == "zmul" and at.args[0] in self.hot:
            return at.args[0], at.args[1]
        if at.op != "where" or not self.zero(at.args[1]):
            return None
        test, times = instrs[at.args[0]], instrs[at.args[2]]
        if test.op != "equal" or not self.zero(test.args[1]) or times.op != "mul":
            return None
        hot, (a, b) = test.args[0], times.args
        return None if hot not in self.hot or a == b or hot not in (a, b) else (hot, b if a == hot else a)

    def zero(self, i: int) -> bool:
        at = self.tape.instrs[i]
        return at.op == "const" and repr(at.attrs[0]) == "0.0"

    def picked(self, i: int, index: int, depth: int = 0) -> int:
        """The entries [..., 1] of a value [..., n] at some places of its rows, with operations that only they need done there
        alone."""
        at, b = self.tape.instrs[i], self.b
        rows = self.tape.instrs[index].type.shape
        source = unstretched(self.tape, i)
        shape = self.tape.instrs[source].type.shape
        if shape in ((), rows):
            return self.made[source]
        if self.uses[i] == 1 and depth < DEEPEST and at.op in self.table and self.table[at.op].pointwise and at.op != "mark":
            args = [self.picked(a, index, depth + 1) for a in at.args]
            return b.apply(at.op, args, at.attrs, at.span, at.scope)
        return b.apply("take_along", (self.made[i], self.made[index]), (len(rows) - 1,), at.span, at.scope)

    def factor(self, i: int) -> int | None:
        """A product with ones is the other factor."""
        for one, other in (self.tape.instrs[i].args, self.tape.instrs[i].args[::-1]):
            if (
                unstretched(self.tape, one) in self.ones
                and self.tape.instrs[other].type.shape == self.tape.instrs[i].type.shape
            ):
                return self.made[other]
        return None


def placed(tape: Tape, table: OpTable, sizes: Mapping[str, int]) -> Tape:
    """The tape with sums over rows with one 1 by the places of the ones, for rows of two entries and more."""
    hot = {i: at for i in range(len(tape)) if (at := places(tape, i)) is not None}
    hot = {i: at for i, at in hot.items() if value(tape.instrs[i].type.shape[-1], sizes) > 1}
    return Placing(tape, table, hot).run() if hot else tape
