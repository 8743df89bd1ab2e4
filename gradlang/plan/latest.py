"""Sequences of a recurrence of which only the latest row is read are not kept: that row lies in a buffer of its own, too.

This is a rewriting of loops as they stand, after planning, for machine code.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import cached_property

from gradlang.loops.ir import Buffer, For, Let, Load, Run, Statement, Store, Value
from gradlang.loops.walk import statements
from gradlang.plan.affine import Positions, Sum


def reads(body: Iterable[Statement]) -> set[Buffer]:
    return touched(body, Load)


def writes(body: Iterable[Statement]) -> set[Buffer]:
    return touched(body, Store)


def touched(body: Iterable[Statement], kind: type[Load | Store]) -> set[Buffer]:
    """The buffers that statements load from or store to; those of other kernels that are run count as both."""
    out: set[Buffer] = set()
    for s in body:
        if isinstance(s, Run):
            out.update(b for b, _ in s.buffers)
        elif isinstance(s, Load | Store) and isinstance(s, kind):
            out.add(s.buffer)
    return out


def inside(s: Statement) -> list[Statement]:
    return list(statements([s]))


def shortened(body: list[Statement], loop: For, temps: Collection[Buffer], length: int) -> list[Statement]:
    """The statements of a kernel without the sequences that a recurrence makes, and of which only the latest row is read: that
    row lies in a buffer of its own, too. `loop` are the steps, of `length` in all."""
    for copy in loop.body:
        made = _Latest(body, loop, copy, temps, length).made() if isinstance(copy, For) else None
        if made is not None:
            body, loop = made
    return body


class _Latest:
    """A loop at the end of a step that copies the row that the step has made to where the next one reads it."""

    def __init__(self, body: list[Statement], loop: For, copy: For, temps: Collection[Buffer], length: int) -> None:
        self.body, self.loop, self.copy, self.temps, self.length = body, loop, copy, temps, length
        self.instead: dict[Statement, Statement] = {}

    @cached_property
    def positions(self) -> Positions:
        """In which the step is a term by itself, wherever the loop starts."""
        found = Positions()
        for s in statements(self.body):
            if isinstance(s, Let) and s.value.type == "i":
                found.sums[s.value] = found.let(s)
            elif isinstance(s, For) and s.counter is not self.loop.counter:
                found.counter(s)
        return found

    def made(self) -> tuple[list[Statement], For] | None:
        copy = self.copy
        loads, stores = ([s for s in copy.body if isinstance(s, kind)] for kind in (Load, Store))
        if len(loads) != 1 or len(stores) != 1 or copy.start.const != 0 or copy.stop.const is None:
            return None
        (load,), (store,) = loads, stores
        assert isinstance(load, Load) and isinstance(store, Store)
        if store.value is not load.value or store.index is not copy.counter or load.buffer not in self.temps:
            return None
        self.sequence, self.latest, self.count = load.buffer, store.buffer, int(copy.stop.const)
        self.base = self.positions.of(load.index).plus(Sum(0, {copy.counter: -1}))
        self.move = self.base.factors.get(self.loop.counter, 0)
        if not self.move or any(isinstance(s, Run) for s in inside(self.loop)):
            return None
        if not (self.in_step() and self.outside()):
            return None
        steps = For(self.loop.counter, self.loop.start, self.loop.stop, self.renewed(self.loop.body), apart=False)
        self.instead[self.loop] = steps
        return self.renewed(self.body), steps

    def in_step(self) -> bool:
        """Whether a step reads no other row than the one that the step before has made, and writes its own as a whole; what
        stands there instead."""
        stored = False
        for s in self.loop.body:
            if s is self.copy:
                continue
            own = inside(s)
            if self.sequence in writes(own) and not self.apart(s):
                return False
            for x in own:
                if isinstance(x, Store) and x.buffer is self.sequence:
                    at = self.entry(x, self.base, s)
                    if at is None:
                        return False
                    self.instead[x] = Store(self.latest, at, x.value)
                    stored = True
                elif isinstance(x, Load) and x.buffer is self.sequence:
                    at = self.entry(x, self.base.plus(Sum(-self.move, {})), s)
                    if at is None or stored:
                        return False
                    self.instead[x] = Load(x.value, self.latest, at)
                elif isinstance(x, Load | Store) and x.buffer is self.latest and (stored or isinstance(x, Store)):
                    return False
        return stored

    def apart(self, s: Statement) -> bool:
        """Whether what writes a row reads no other entry of the latest one than that which it writes."""
        read = [x for x in inside(s) if isinstance(x, Load) and x.buffer is self.latest]
        return not read or (isinstance(s, For) and all(x in s.body and x.index is s.counter for x in read))

    def entry(self, s: Load | Store, base: Sum, loop: Statement) -> Value | None:
        """The counter of a loop over a whole row, if that is what the index of a statement in it is, counted from the start of
        the row."""
        if not isinstance(loop, For) or loop.start.const != 0 or loop.stop.const != self.count or s not in loop.body:
            return None
        return loop.counter if self.positions.of(s.index) == base.plus(Sum(0, {loop.counter: 1})) else None

    def outside(self) -> bool:
        """Whether what comes behind reads the last row only."""
        last = Sum(self.base.constant + self.move * (self.length - 1), {})
        behind, rows = False, set(self.base.factors) == {self.loop.counter}
        for s in self.body:
            own = inside(s)
            if self.loop in own:
                behind = True
                steps = set(inside(self.loop))
                if any(isinstance(x, Load | Store) and x.buffer is self.sequence for x in own if x not in steps):
                    return False
                continue
            for x in own if behind else ():
                if isinstance(x, Run) and any(b in (self.sequence, self.latest) for b, _ in x.buffers):
                    return False
                if isinstance(x, Store) and x.buffer in (self.sequence, self.latest):
                    return False
                if isinstance(x, Load) and x.buffer is self.sequence:
                    at = self.entry(x, last, s) if rows else None
                    if at is None:
                        return False
                    self.instead[x] = Load(x.value, self.latest, at)
        return behind

    def renewed(self, body: Sequence[Statement]) -> list[Statement]:
        out: list[Statement] = []
        for s in body:
            if s is self.copy:
                continue
            if s in self.instead:
                out.append(self.instead[s])
            elif isinstance(s, For) and any(x in self.instead or x is self.copy for x in inside(s)):
                out.append(For(s.counter, s.start, s.stop, self.renewed(s.body), s.apart, s.side, s.rare))
            else:
                out.append(s)
        return out
