"""The pieces of an indexed definition: what each axis of a target runs over, and how known rows fit together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradlang.check import comprehension, errors, indexing, loops
from gradlang.check.errors import Problem
from gradlang.check.growing import Block
from gradlang.check.indexing import Cut
from gradlang.check.loops import Index, Loop
from gradlang.check.names import in_order
from gradlang.check.program import Ref, Value
from gradlang.check.scope import Env
from gradlang.check.units import Piece
from gradlang.diagnostics import Diagnostic
from gradlang.record import changed, record
from gradlang.source import Span
from gradlang.types import Dim, Type, add, at_least, mul, show_shape, sub

if TYPE_CHECKING:
    from gradlang.check.elaborate import Elaborator


@record
class Run:
    """An axis that a loop of the piece runs along: index base + way*counter of `loops[clause]`."""

    clause: int
    base: Dim
    way: int
    length: Dim

    @property
    def low(self) -> Dim:
        return loops.smallest(Index(self.base, ((Loop("", self.length, 0), self.way),)))


@record
class Part:
    """A piece, its names so far, and what each axis of its target is."""

    piece: Piece
    env: Env
    overs: tuple[Value, ...]
    axes: tuple[Dim | Run, ...]

    @property
    def span(self) -> Span:
        return self.piece.target.span

    def only(self, axis: int, offset: Dim, length: Dim, e: Elaborator) -> Part:
        """The piece for some steps of the loop along an axis: `length` of them from step `offset` on."""
        run = self.axes[axis]
        assert isinstance(run, Run)
        over, clause = self.overs[run.clause], self.piece.loops[run.clause]
        if not isinstance(over, comprehension.Range):
            raise Problem(errors.no_block(self.piece.name, clause.over.span))
        start, base = at_step(over.start, over.step, offset), at_step(run.base, run.way, offset)
        if length == 1:
            env = Env(self.env.home, dict(self.env.names))
            comprehension.bind_targets(clause.targets, start, env, clause.span, e)
            return changed(self, env=env, axes=(*self.axes[:axis], base, *self.axes[axis + 1 :]))
        stop = at_step(start, over.step, length)
        overs = (*self.overs[: run.clause], comprehension.Range(start, stop, over.step), *self.overs[run.clause + 1 :])
        axes = (*self.axes[:axis], changed(run, base=base, length=length), *self.axes[axis + 1 :])
        return changed(self, overs=overs, axes=axes)

    def along(self, run: Run, loop: Loop, e: Elaborator) -> Part:
        """The piece at every count of a loop."""
        clause = self.piece.loops[run.clause]
        env = Env(self.env.home, dict(self.env.names))
        item = comprehension.item_at(self.overs[run.clause], loop, e, clause.over.span)
        comprehension.bind_targets(clause.targets, item, env, clause.span, e)
        return changed(self, env=env)


def at_step(start: Dim | Index, step: int, count: Dim) -> Dim:
    made = loops.plus(start, mul(step, count))
    assert not isinstance(made, Index)
    return made


def split(parts: list[Part], axis: int, e: Elaborator) -> list[Part]:
    """The pieces of a name, cut so that along an axis any two have the same rows or none in common."""
    edges: list[Dim] = []
    for p in parts:
        at = p.axes[axis]
        edges += [at.low, add(at.low, at.length)] if isinstance(at, Run) else [at, add(at, 1)]
    todo, out = list(reversed(parts)), []
    while todo:
        p = todo.pop()
        at = p.axes[axis]
        cut = None
        if isinstance(at, Run):
            stop = add(at.low, at.length)
            cut = next((b for b in edges if at_least(sub(b, at.low), 1) and at_least(sub(stop, b), 1)), None)
        if cut is None or not isinstance(at, Run):
            out.append(p)
            continue
        first = sub(cut, at.low) if at.way > 0 else sub(add(at.low, at.length), cut)
        todo += [p.only(axis, first, sub(at.length, first), e), p.only(axis, 0, first, e)]
    return out


# ------------------------------------------------------------------ blocks of rows
def before(blocks: list[Block], run: Run) -> list[Block]:
    """The blocks that touch the first step, the nearest one first."""
    chain: list[Block] = []
    edge = run.base if run.way > 0 else add(run.base, 1)
    while True:
        found = next((b for b in blocks if (b.stop if run.way > 0 else b.low) == edge and b not in chain), None)
        if found is None:
            return chain
        chain.append(found)
        edge = found.low if run.way > 0 else found.stop


def known_before(e: Elaborator, blocks: list[Block], run: Run, span: Span) -> Block | None:
    """The known rows next to the first step, in the order of the steps."""
    chain = before(blocks, run)
    if not chain:
        return None
    made = join(e, "", chain, span)
    if run.way < 0:
        rows = indexing.get(e, made.rows, [Cut(None, None, -1)], span)
        assert isinstance(rows, Ref)
        made = Block(made.low, made.length, rows)
    return made


def padded(e: Elaborator, known: Ref | None, type: Type, rows: Dim, by: int, span: Span) -> tuple[Ref, Dim]:
    """Known rows after zeros, which stand for what only branches that are not taken read."""
    zeros = e.apply("broadcast_to", (0.0,), ((by, *type.shape),), span)
    made = zeros if known is None else e.apply("concat", (zeros, known), (0,), span)
    assert isinstance(made, Ref)
    return made, add(rows, by)


def _apart(name: str, blocks: list[Block], order: list[Block]) -> Diagnostic:
    """Why blocks are no single one, of which some in `order` touch."""
    for k, a in enumerate(blocks):
        for b in blocks[:k]:
            if at_least(sub(a.stop, b.low), 1) and at_least(sub(b.stop, a.low), 1):
                return errors.entry_twice(name, a.span, b.span)
    left = next(b for b in blocks if b not in order)
    first, other = (order[-1], left) if order else (blocks[0], blocks[-1])
    if at_least(sub(first.low, other.stop), 1):
        first, other = other, first
    sure = at_least(sub(other.low, first.stop), 1)
    return errors.rows_missing(name, sub(first.stop, 1), other.low, other.span, first.span, sure)


def join(e: Elaborator, name: str, blocks: list[Block], span: Span) -> Block:
    """Blocks that touch as one. Raises Problem where rows are missing or defined twice."""
    stops = [b.stop for b in blocks]
    heads = [b for b in blocks if b.low not in stops]
    order = heads[:1]
    while order:
        following = [b for b in blocks if b.low == order[-1].stop and b not in order]
        if len(following) != 1:
            break
        order.append(following[0])
    if len(order) < len(blocks):
        raise Problem(_apart(name, blocks, order))
    if len(order) == 1:
        return order[0]
    shapes = {b.rows.type.shape[1:] for b in order}
    if len(shapes) > 1:
        shown = ["a scalar" if not s else show_shape(s) for s in dict.fromkeys(b.rows.type.shape[1:] for b in order)]
        raise Problem(errors.rows_differ(name, shown[0], shown[1], span))
    rows = e.apply("concat", tuple(b.rows for b in order), (0,), span)
    assert isinstance(rows, Ref)
    return Block(order[0].low, rows.type.shape[0], rows)


Task = list[tuple[str, list[Part]]]


def in_turn(tasks: list[Task], axis: int) -> list[Task]:
    """Rows with an index of their own first, since the steps of a loop start from them; then the loops, each after those
    that make rows of the same names before its own."""
    rows = [t for t in tasks if not isinstance(t[0][1][0].axes[axis], Run)]
    runs = [t for t in tasks if isinstance(t[0][1][0].axes[axis], Run)]
    starts = [{name: found[0].axes[axis] for name, found in t} for t in runs]

    def needed(k: int) -> list[int]:
        ahead = [j for j in range(len(runs)) if j != k and comes_before(starts[j], starts[k])]
        # two that run towards each other: what several names share reads the rows of the other one
        return [j for j in ahead if not comes_before(starts[k], starts[j]) or len(starts[j]) < len(starts[k])]

    order, cycles = in_order(range(len(runs)), needed)
    return rows + (runs if cycles else [runs[k] for k in order])


def comes_before(one: dict[str, Dim | Run], other: dict[str, Dim | Run]) -> bool:
    for name in one.keys() & other.keys():
        a, b = one[name], other[name]
        if isinstance(a, Run) and isinstance(b, Run) and at_least(mul(sub(b.low, a.low), b.way), 1):
            return True
    return False
