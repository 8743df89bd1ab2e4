"""A sequence while it is being defined: what of it is known, and what reading an entry of it means at the current step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradlang.check import errors, indexing, loops
from gradlang.check.errors import Problem
from gradlang.check.indexing import Cut
from gradlang.check.loops import Index, Loop
from gradlang.check.program import Ref, Value
from gradlang.check.scan import State
from gradlang.ops.shapes import Misfit
from gradlang.record import field, record
from gradlang.source import NOWHERE, Span
from gradlang.types import Dim, Size, add, at_least, sub

if TYPE_CHECKING:
    from gradlang.check.elaborate import Elaborator


class NotYet(Exception):
    """An entry is read that is not computed yet; what reads it has to wait."""

    def __init__(self, name: str, span: Span) -> None:
        super().__init__(name)
        self.name, self.span = name, span


@record
class Block:
    """Known rows: `length` of them from index `low` on."""

    low: Dim
    length: Dim
    rows: Ref
    span: Span = NOWHERE

    @property
    def stop(self) -> Dim:
        return add(self.low, self.length)

    def holds(self, item: Dim | Index) -> bool:
        return at_least(sub(loops.smallest(item), self.low), 0) and at_least(sub(sub(self.stop, 1), loops.largest(item)), 0)


@record(eq=False, frozen=False)
class Level:
    """One axis of a sequence. `now` is the index of the row that is being made; in a run it is base + way*counter."""

    blocks: list[Block] = field(default_factory=list)
    now: Dim | Index | None = None
    loop: Loop | None = None
    base: Dim = 0
    way: int = 1
    state: State | None = None
    value: Ref | None = None
    short: int = 0  # rows that steps read before the first known one, in branches that are not taken


class Growing:
    """The value of a name inside its own definition."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.levels: list[Level] = []

    def read(self, e: Elaborator, items: list[Value], span: Span) -> Value:
        if not self.levels:
            raise NotYet(self.name, span)
        for level in self.levels:
            item, items = items[0], items[1:]
            row = self.row(e, level, item, span)
            if row is not None:
                return indexing.get(e, row, items, span) if items else row
            if level.value is not None:
                return indexing.get(e, level.value, items, span) if items else level.value
            if not items and level is not self.levels[-1]:
                break
            if not items:
                raise NotYet(self.name, span)
        raise NotYet(self.name, span)

    def row(self, e: Elaborator, level: Level, item: Value, span: Span) -> Ref | None:
        """The row that an index means, or None for the row that is being made."""
        if isinstance(item, Cut):
            return self.rows(e, level, item, span)
        if isinstance(item, bool) or not isinstance(item, (int, Size, Index, Ref)):
            raise Misfit("an index is a whole number or an array of whole numbers")
        if not isinstance(item, Ref) and level.now is not None:
            ahead = loops.plus(item, level.now, -1)
            if ahead == 0:
                return None
            if level.loop is not None and isinstance(ahead, int):
                return self.back(e, level, -ahead * level.way, span)
        if not isinstance(item, Ref):
            for block in level.blocks:
                if block.holds(item):
                    return self.known(e, block, item, span)
        if level.loop is None or level.state is None:
            raise NotYet(self.name, span)
        if not isinstance(item, (Index, Ref)):
            raise NotYet(self.name, span)
        return self.past(e, level, item, span)

    def known(self, e: Elaborator, block: Block, item: Value, span: Span) -> Ref:
        moved = item if isinstance(item, Cut) else loops.plus(item, block.low, -1)
        made = indexing.get(e, block.rows, [moved], span)
        assert isinstance(made, Ref)
        return made

    def back(self, e: Elaborator, level: Level, lag: int, span: Span) -> Ref:
        """The row `lag` steps back."""
        assert level.loop is not None and level.state is not None
        state = level.state
        if lag < 0:
            raise Problem(errors.not_earlier(self.name, level.loop.name, span))
        if not at_least(sub(state.rows, lag), 0):
            if isinstance(state.rows, int):
                if not e.proves(Index(state.rows - lag, ((level.loop, 1),))):
                    raise Problem(errors.no_first(self.name, lag, state.rows, level.loop.name, bool(e.guards), span))
                level.short = max(level.short, lag - state.rows)
            else:
                indexing.require(e, sub(state.rows, lag), 0, span)
        return state.leaf(e, level.loop, lag, span)

    def rows(self, e: Elaborator, level: Level, item: Cut, span: Span) -> Ref:
        """Several rows: of the known ones, or a window of the last ones."""
        start, stop = item.start, item.stop
        if isinstance(start, (int, Size)) and isinstance(stop, (int, Size)) and item.step is None:
            for block in level.blocks:
                if block.holds(start) and block.holds(sub(stop, 1)):
                    moved = Cut(sub(start, block.low), sub(stop, block.low), None)
                    return self.known(e, block, moved, span)
        if isinstance(start, Index) and isinstance(stop, Index) and level.now is not None and item.step is None:
            first, length = loops.plus(start, level.now, -1), loops.plus(stop, start, -1)
            if isinstance(first, int) and isinstance(length, int) and length > 0 and level.loop is not None:
                found = [self.back(e, level, -(first + k) * level.way, span) for k in range(length)]
                made = e.apply("stack", found, (0,), span)
                assert isinstance(made, Ref)
                return made
        raise Problem(errors.whole_sequence(self.name, span))

    def past(self, e: Elaborator, level: Level, item: Index | Ref, span: Span) -> Ref:
        """A row that an index names which is known at the step only; it must be one of an earlier step."""
        state, loop = level.state, level.loop
        assert state is not None and loop is not None and isinstance(level.now, Index)
        place: Value
        if isinstance(item, Index):
            ahead = loops.plus(item, level.now, -1)
            behind = loops.plus(-1, ahead if level.way > 0 else loops.plus(0, ahead, -1), -1)
            if not e.proves(behind):
                raise Problem(errors.not_earlier(self.name, loop.name, span))
            offset = loops.plus(item, level.base, -1)
            place = loops.plus(state.rows, offset, level.way)
        else:
            at = e.index_array(level.now, span)
            low = sub(level.base, state.rows) if level.way > 0 else add(level.base, state.rows)
            checked = e.apply("earlier", (item, at), (low, level.way), span)
            offset = e.apply("sub", (checked, level.base), (), span)
            offset = offset if level.way > 0 else e.apply("neg", (offset,), (), span)
            place = e.apply("add", (offset, state.rows), (), span)
        made = indexing.get(e, state.leaf(e, loop, None, span), [place], span)
        assert isinstance(made, Ref)
        return made
