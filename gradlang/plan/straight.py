"""A scalar tape in the order in which machine code runs it, as a few long lists."""

from __future__ import annotations

from collections.abc import Mapping, Set

import numpy as np

from gradlang.ir.columns import WIDTH, Columns, Truths
from gradlang.plan.lanes import NO_GROUPS, Groups, Numbers, groups, in_layers
from gradlang.record import record


@record
class Straight:
    """Step k computes instruction `nodes[k]` of the tape: the op `ops[codes[k]]` of the instructions `operands[.][k]`.

    `chained` says that its first operand is what the step before it computed, `stored` that its result is needed later than
    by the step after it; `kept` are the instructions whose results need a place. A step of an op of TWINS has two results and
    keeps both: its operands are its argument and the two instructions that it computes. If `group[k]` is not -1, the step is
    that call of `groups`. `slots` has room for a place of every instruction of the tape; `aliases` are instructions that are
    another one's value, in order."""

    ops: tuple[str, ...]
    codes: Numbers
    nodes: Numbers
    operands: tuple[Numbers, ...]
    chained: Truths
    stored: Truths
    kept: Numbers
    group: Numbers
    groups: Groups
    slots: Numbers
    leaves: list[int]
    aliases: list[tuple[int, int]]


TWINS = {"sincos": ("sin", "cos"), "tanh_and_exp": ("tanh", "exp")}  # the exp is that of -2 |x|, the other's argument being x


def straight(tape: Columns, swapped: Mapping[str, str], either: Set[str], together: Set[str] = frozenset()) -> Straight:
    """The steps of a tape. Ops of `swapped` become others with their operands exchanged; those of ops in `either` may be. Ops
    that are in `together` are called for several arguments at once, in an order in which that is possible; without such
    calls the order is that of the tape."""
    line = Line(tape, swapped)
    called = np.isin(line.codes, [line.code[op] for op in together if op in line.code])
    twins = line.pair("sincos", *line.same_argument("sin", "cos"))
    if "tanh_and_exp" in together:
        twins = np.append(twins, line.pair_slopes())
    uses = line.uses()
    nodes = np.flatnonzero(line.steps)
    begins, group, found = np.zeros(len(nodes), np.bool_), np.full(len(nodes), -1), NO_GROUPS
    if called.any():
        order, begins, lane = in_layers(tape, nodes, line.codes[nodes], called[nodes], called.tobytes())
        nodes = nodes[order]
        members = called[nodes]
        found = line.grouped(nodes[members], begins[members], lane[members])
        twins = twins[~np.isin(twins, found.rooms)]
        nodes, begins = nodes[begins | ~members], begins[begins | ~members]
        group = np.where(begins, np.cumsum(begins) - 1, -1)
    codes, ops = line.codes[nodes], line.ops
    a, b, c = (line.argument(nodes, k) for k in range(WIDTH))
    turned = codes >= len(ops)
    codes[turned] -= len(ops)
    a, b = np.where(turned, b, a), np.where(turned, a, b)
    silent = begins | line.double(nodes)  # what follows finds nothing in the register
    before = np.where(np.append(False, silent[:-1]), -1, np.append(-1, nodes[:-1]))
    free = np.array([op in either for op in ops] or [False])[codes] & (b == before) & (a != before)
    reads = np.where(free, b, a), np.where(free, a, b), c
    chained = (reads[0] == before) & ~begins
    stored = ~(np.append(chained[1:], False) & (uses[nodes] == 1)) & ~silent
    kept = np.concatenate([nodes[stored], twins])
    slots = np.zeros(len(tape), np.int64)
    return Straight(ops, codes, nodes, reads, chained, stored, kept, group, found, slots, line.leaves, line.aliases)


class Line:
    """The instructions of a tape as columns; `steps` says which of them are computed by a step of their own."""

    def __init__(self, tape: Columns, swapped: Mapping[str, str]) -> None:
        rows, size = tape.kinds.rows, len(tape)
        names = [op for op, _, _ in tape.occurring()]
        self.ops = tuple(dict.fromkeys([*(swapped.get(n, n) for n in names), *TWINS]))
        self.code = {op: k for k, op in enumerate(self.ops)}
        turned = {op: self.code[other] + len(self.ops) for op, other in swapped.items() if other in self.code}
        of_op = {**self.code, **turned}
        self.codes: Numbers = np.array([of_op.get(op, -1) for op, _, _ in rows])[tape.kind]
        self.counts: Numbers = (tape.args >= 0).sum(0)
        self.columns = [np.maximum(column, 0) for column in tape.args]
        marks = self.every("mark").tolist()
        self.aliases = [(i, int(tape.args[0, i])) for i in marks]
        self.root: Numbers = np.arange(size)
        for i, value in self.aliases:
            self.root[i] = self.root[value]
        self.steps: Truths = self.counts > 0
        self.leaves: list[int] = np.flatnonzero(~self.steps).tolist()
        self.steps[marks] = False
        self.outputs = self.root[[i for _, i in tape.outputs]]
        self.minus_two = tape.kinds.about().numbers[tape.kind] == -2.0

    def every(self, op: str) -> Numbers:
        return np.flatnonzero(self.codes == self.code.get(op, -1))

    def argument(self, nodes: Numbers, k: int = 0) -> Numbers:
        found: Numbers = self.root[self.columns[k][nodes]]
        return found

    def same_argument(self, one: str, other: str) -> tuple[Numbers, Numbers, Numbers, Numbers]:
        """The instructions of two ops, and their arguments."""
        a, b = self.every(one), self.every(other)
        return a, b, self.argument(a), self.argument(b)

    def double(self, nodes: Numbers) -> Truths:
        """Whether steps are of ops of TWINS."""
        return np.isin(self.codes[nodes], [self.code[t] for t in TWINS])

    def grouped(self, calls: Numbers, begins: Truths, lane: Numbers) -> Groups:
        """Calls in their order as groups."""
        double = self.double(calls)
        first, second = (self.argument(calls, k) for k in (1, 2))
        return groups(self.argument(calls), [np.where(double, first, calls), second], double, begins, lane)

    def pair(self, twin: str, one: Numbers, other: Numbers, x: Numbers, y: Numbers) -> Numbers:
        """Makes one step, where the first of them stands, of two ops of TWINS with equal arguments x and y. What such steps
        compute."""
        common, i, j = shared(x, y)
        one, other = one[i], other[j]
        first = np.minimum(one, other)
        self.codes[first] = self.code[twin]
        self.columns[0][first], self.columns[1][first], self.columns[2][first] = common, one, other
        self.steps[np.maximum(one, other)] = False
        return np.concatenate([one, other])

    def pair_slopes(self) -> Numbers:
        """Makes one step of tanh x and of exp(-2 |x|), of which the slope of tanh is made."""
        exps = self.every("exp")
        products = self.argument(exps)
        left, right = self.argument(products), self.argument(products, 1)
        sizes = np.where(self.minus_two[left], right, left)
        fits = self.codes[products] == self.code.get("mul", -1)
        fits &= (self.minus_two[left] | self.minus_two[right]) & (self.codes[sizes] == self.code.get("abs", -1))
        exps, products, sizes = exps[fits], products[fits], sizes[fits]
        tanhs = self.every("tanh")
        made = self.pair("tanh_and_exp", tanhs, exps, self.argument(tanhs), self.argument(sizes))
        for helpers in (products, sizes):  # they go where nothing else reads them
            self.steps[helpers[self.uses()[helpers] == 0]] = False
        return made

    def uses(self) -> Numbers:
        """How often steps, and whoever wants the outputs, read each instruction."""
        read = [self.argument(np.flatnonzero(self.steps & (self.counts > k)), k) for k in range(WIDTH)]
        return np.bincount(np.concatenate([*read, self.outputs]), minlength=len(self.root))


def shared(x: Numbers, y: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """The numbers that stand in both, and where each stands first."""
    (a, i), (b, j) = first_places(x), first_places(y)
    at = np.searchsorted(a, b)
    both = np.append(a, -1)[at] == b
    return b[both], i[at[both]], j[both]


def first_places(x: Numbers) -> tuple[Numbers, Numbers]:
    """The different numbers in order, and where each stands first."""
    order = np.argsort(x, kind="stable")
    found = x[order]
    heads = np.append(True, found[1:] != found[:-1])[: len(x)]
    return found[heads], order[heads]
