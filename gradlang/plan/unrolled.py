"""A long loop around short ones, with the short ones written out: one straight line of operations for each of its steps.

Entries at known places fold away (zeros around a slice, parts of a joined array, the unit matrix), and what one root makes
and another one reads never leaves the registers: there are no temporaries inside such a loop, and its steps run side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product as every
from math import prod
from typing import TYPE_CHECKING, Any

from gradlang.loops.ir import Cell, Code, Let, Value
from gradlang.plan.pointwise import KINDS
from gradlang.plan.reader import Frame, Index, Reader
from gradlang.plan.roots import Root
from gradlang.plan.sharing import Group
from gradlang.types import Shape, product, value

if TYPE_CHECKING:
    from gradlang.plan.weave import Weaver

ENTRIES = 1024  # that are written out at most
STATEMENTS = 4000  # above, machine code takes long to make
CALL = 40  # statements of a function
TOGETHER = 8  # entries of a row that vectors of steps read and write together; those of longer rows they do one by one
CHEAP = 2  # operations that are done again sooner than their result is written and read
SUMS = 24  # running sums of a loop at most, which should stay in registers
SPILLED = 3  # what a sum beyond these costs, in operations; about as much as writing and reading a value
REDONE = 6  # operations that are done again for every share of the sums
APART = 12  # what that costs, in statements
TURNED = 2  # the same where rows are turned into columns (`gradlang/plan/columns.py`)
COLUMNS = 128  # that are turned at most: more of them leave the first cache


class _TooMuch(Exception):
    """A group is better left in loops."""


class Unrolled:
    """Writes the loop of one group."""

    def __init__(self, weaver: Weaver, group: Group) -> None:
        self.weaver, self.group = weaver, group
        self.code: Code = weaver.code
        self.lengths = {r: self.inner(r) for r in group.members}

    def inner(self, r: Root) -> dict[int, int | None]:
        """The loops of a root inside this one, with their lengths as far as they are known."""
        found: dict[int, int | None] = {}
        for k in self.weaver.sharing.free(r):
            if k != self.group.axis[r]:
                length = self.weaver.frame.dim(r.axes[k].extent).const
                found[k] = None if length is None else int(length)
        return found

    def sums(self, r: Root) -> list[int]:
        return [k for k in self.lengths[r] if r.combine and r.axes[k].out is None]

    def across(self, r: Root) -> bool:
        """Whether a root combines the steps of the loop."""
        return bool(r.combine) and r.axes[self.group.axis[r]].out is None

    # -------------------------------------------------------------- whether
    def fits(self) -> bool:
        """Whether the straight line is possible, and short."""
        for r in self.group.members:
            state = self.weaver.state[r]
            plain = r.special is None and r.onto is None and not (r.target is not None and r.combine)
            if not plain or state.part is not None:
                return False
        lengths = [tuple(n.values()) for n in self.lengths.values()]
        if any(n is None for of in lengths for n in of):
            return False
        if sum(prod(n or 0 for n in of) for of in lengths) > ENTRIES:
            return False
        if not all(prod(n or 0 for n in of) for of in lengths):
            return False
        try:
            _Trial(self).write()
        except _TooMuch:
            return False
        return True

    # -------------------------------------------------------------- the loop
    def write(self) -> None:
        code, weaver, members = self.code, self.weaver, self.group.members
        passes = self.passes()
        for r in members if len(passes) > 1 else ():
            if not self.gathers(r) and not self.redone(r):
                weaver.place(r)  # before the first loop, since later ones read it
        for some in passes:
            totals = {(r, at): self.cell(r) for r in members if self.gathers(r) for at in some[r]}
            with code.loop(*self.bounds(), hint=f"i{len(code.blocks)}") as counter:
                for r in members:
                    weaver.state[r].counters[self.group.axis[r]] = counter
                    weaver.state[r].path.append(self.group)
                for r in members:
                    for at in some[r]:
                        self.entry(r, at, totals.get((r, at), weaver.state[r].cell), len(passes) > 1 and not self.redone(r))
            for r in members:
                weaver.state[r].counters[self.group.axis[r]] = None
                weaver.state[r].path.pop()
            for (r, at), cell in totals.items():
                with self.at(r, self.outs(r), at):
                    self.total(r, code.read(cell), far=bool(at))

    def divided(self, needed: dict[Root, list[tuple[int, ...]]], sums: int, count: int) -> bool:
        """Whether `count` loops over a block, each for some of the sums, take less than one whose sums go through memory."""
        rest = [r for r in needed if not self.gathers(r)]
        again = sum(r.work * len(needed[r]) for r in rest if self.redone(r))
        kept = sum(len(needed[r]) for r in rest if not self.redone(r))
        blocked = any(g.first is not None for r in needed for g in self.weaver.state[r].path)
        return (blocked or not kept) and SPILLED * (sums - SUMS - kept) > again * (count - 1) / 2

    def redone(self, r: Root) -> bool:
        """Whether a value is computed again in a later pass, and not kept."""
        weaver = self.weaver
        here = weaver.users.get(r.at, set()) <= set(self.group.members) and r.at not in weaver.wanted
        return here and not r.combine and not r.dear and r.target is None and r.work <= REDONE

    def gathers(self, r: Root) -> bool:
        """Whether a root adds up the steps of this loop in cells of its own."""
        return self.across(r) and self.weaver.state[r].cell is None

    def passes(self) -> list[dict[Root, list[tuple[int, ...]]]]:
        """The entries that one loop after another makes. More running sums than there are registers would go through memory
        in every step: then some of them are taken after the others."""
        needed = {r: self.needed(r) for r in self.group.members}
        sums = [(at, k) for k, r in enumerate(needed) if self.gathers(r) for at in needed[r]]
        count = -(-len(sums) // SUMS)
        if any(self.across(r) and not self.gathers(r) for r in needed) or not self.divided(needed, len(sums), count):
            return [needed]
        size, roots, out = -(-len(sums) // count), list(needed), []
        sums.sort()
        for start in range(0, len(sums), size):
            some = {r: list[tuple[int, ...]]() if self.gathers(r) or start else needed[r] for r in needed}
            for at, k in sums[start : start + size]:
                some[roots[k]].append(at)
            out.append(some)
        return out

    def bounds(self) -> tuple[Value, Value]:
        assert self.group.extent is not None
        block = self.weaver.sharing.block(*next(iter(self.group.axis.items())))
        if block is not None and block.first is not None and block.last is not None:
            return block.first, block.last
        return self.code.whole(0), self.weaver.frame.dim(self.group.extent)

    def total(self, r: Root, entry: Value, known: bool = False, far: bool = False) -> None:
        """A finished sum, or a part of one that lies in memory."""
        weaver, into = self.weaver, self.weaver.state[r].into
        if into is None:
            weaver.settle(r, entry, known, far)
            return
        at = weaver.reader.position(into, weaver.target(r))
        self.code.store(into.buffer, at, weaver.combined(r, self.code.load(into.buffer, at), entry))

    def outs(self, r: Root) -> list[int]:
        sums = self.sums(r)
        return [k for k in self.lengths[r] if k not in sums]

    def entries(self, r: Root) -> Iterator[tuple[int, ...]]:
        return self.places(r, self.outs(r))

    def needed(self, r: Root) -> list[tuple[int, ...]]:
        """The entries without those of a sum in memory that nobody needs."""
        found = list(self.entries(r))
        if not self.across(r) or self.weaver.state[r].into is None or len(r.gives) != 1:
            return found
        kept = []
        for at in found:
            with self.at(r, self.outs(r), at):
                if self.weaver.demand.needs(self.weaver.reader, r.at, self.weaver.target(r)):
                    kept.append(at)
        return kept

    def places(self, r: Root, axes: Sequence[int]) -> Iterator[tuple[int, ...]]:
        return every(*(range(self.lengths[r][k] or 0) for k in axes))

    @contextmanager
    def at(self, r: Root, axes: Sequence[int], places: Sequence[int]) -> Iterator[None]:
        """A root at known places of some of its loops."""
        counters = self.weaver.state[r].counters
        for k, n in zip(axes, places, strict=True):
            counters[k] = self.code.whole(n)
        yield
        for k in axes:
            counters[k] = None

    def cell(self, r: Root) -> Cell:
        return self.code.cell(self.code.const(r.start, KINDS[self.weaver.tape.instrs[r.at].type.dtype]), "total")

    def entry(self, r: Root, at: tuple[int, ...], total: Cell | None, far: bool = False) -> None:
        code, sums = self.code, self.sums(r)
        with self.at(r, self.outs(r), at):
            if not r.combine:
                if self.again(r):
                    index = self.weaver.target(r)
                    code.known[code.depth][self.weaver.reader.key(r.at, index)] = self.value(r)
                else:
                    self.weaver.settle(r, self.value(r), known=True, far=far)
                return
            running = total or self.cell(r)
            for places in self.places(r, sums):
                with self.at(r, sums, places):
                    value = self.value(r)
                    if value is not code.none() or r.combine != "add":
                        code.update(running, r.combine, value)
            if total is None:
                self.total(r, code.read(running), known=True, far=far)

    def again(self, r: Root) -> bool:
        """Whether others rather compute an entry again than read it."""
        places, makers = self.weaver.reader.places, self.weaver.makers
        here = r.at in self.weaver.wanted or r.at in places or r.target is not None
        there = all(i not in makers or (i in places and self.reach(i, r)) for i in r.reads)
        kept = any(r.at in user.reads for user in self.weaver.sharing.tiled) or any(
            user.whole for user in self.weaver.users.get(r.at, ())
        )
        return there and not here and not kept and 0 < r.work <= CHEAP and not r.dear

    def reach(self, i: int, r: Root) -> bool:
        """Whether those who read a root can read what it reads: a value may lie in memory of a loop or of its blocks."""
        users = self.weaver.users.get(r.at, set())
        return i in self.weaver.wanted or all(users <= set(g.members) for g in self.weaver.common(i, r))

    def value(self, r: Root) -> Value:
        counters = [c for c in self.weaver.state[r].counters if c is not None]
        return self.weaver.fit(r, r.entry(self.weaver.reader, counters))


class _Trial:
    """The straight line, written into code that is thrown away."""

    def __init__(self, of: Unrolled) -> None:
        self.of, self.weaver = of, of.weaver
        self.code = Code()
        self.sizes = {n: self.stub(v) for n, v in self.weaver.frame.sizes.items()}
        self.frame = Frame(self.code, self.sizes, Cell("b"), self.weaver.frame.width)
        self.counter = Value("i")
        self.outer: dict[int, Value] = {}
        self.own = {g for r in of.group.members for g in r.gives}
        self.made: dict[tuple[int, ...], Value] = {}
        self.apart = self.updates = 0
        self.blocked = any(g.first is not None for g in self.weaver.state[of.group.members[0]].path)
        self.now: Root = of.group.members[0]

    def stub(self, v: Value) -> Value:
        return Value(v.type) if v.const is None else self.code.const(v.const, v.type)

    def write(self) -> None:
        reader = Reader(self.weaver.tape, self.frame, {}, self.input, self.seen)
        for r in self.of.group.members:
            self.now = r
            outs, sums = self.of.outs(r), self.of.sums(r)
            counters = [self.opened(c) for c in self.weaver.state[r].counters]
            counters[self.of.group.axis[r]] = self.counter
            for at in self.of.needed(r):
                for places in self.of.places(r, sums):
                    for k, n in zip([*outs, *sums], [*at, *places], strict=True):
                        counters[k] = self.code.whole(n)
                    made = r.entry(reader, counters)
                    self.updates += bool(r.combine) and made is not self.code.none()
                    if len(self.code.body) > STATEMENTS:
                        raise _TooMuch
                self.keep(r, counters, made)
        calls = sum(isinstance(s, Let) and s.op == "call" for s in self.code.body)
        turned = self.weaver.frame.turns and self.apart <= COLUMNS
        if (TURNED if turned else APART) * self.apart > len(self.code.body) + self.updates + CALL * calls:
            raise _TooMuch

    def opened(self, counter: Value | None) -> Value:
        """What stands for the counter of a loop around this one."""
        if counter is None:
            return self.counter
        return self.outer.setdefault(id(counter), self.stub(counter))

    def keep(self, r: Root, counters: Sequence[Value], made: Value) -> None:
        if self.weaver.state[r].into is not None:
            return
        reader = Reader(self.weaver.tape, self.frame, {}, self.input, self.seen)
        if r.target is not None:
            index = r.target(reader, counters)
        else:
            outs = {a.out: c for a, c in zip(r.axes, counters, strict=True)}
            index = tuple(outs.get(k, self.code.whole(0)) for k in range(self.weaver.tape.instrs[r.at].type.rank))
        self.made[r.at, *map(id, index)] = made
        users = self.weaver.users.get(r.at, set())
        if r.at in self.weaver.wanted or not users <= set(self.of.group.members):
            self.access(r.at, index, self.weaver.tape.instrs[r.at].type.shape)

    def access(self, i: int, index: Index, shape: Shape) -> None:
        """Notes an entry in memory that lies in a long row. In temporaries of a block its steps lie side by side."""
        if self.blocked and i in self.weaver.makers and i not in self.weaver.wanted:
            return
        for k, at in enumerate(index):
            if at is self.counter and value(product(shape[k + 1 :]), self.weaver.sizes) > TOGETHER:
                self.apart += 1

    def seen(self, i: int, index: Index) -> Value | None:
        kind = KINDS[self.weaver.tape.instrs[i].type.dtype]
        if i in self.own:
            found = self.made.get((i, *map(id, index)))
            if found is None:
                raise _TooMuch  # at a place that is not known
            return found
        if i not in self.now.reads:
            return None
        key = (i, *map(id, index))
        if key not in self.made:
            self.made[key] = Value(kind)
            self.access(i, index, self.weaver.tape.instrs[i].type.shape)
        return self.made[key]

    def input(self, key: Any, index: Index) -> Value:
        instr = next(i for i in self.weaver.tape.instrs if i.op == "input" and i.attrs[0] == key)
        self.access(-1, index, instr.type.shape)
        return Value(KINDS[instr.type.dtype])
