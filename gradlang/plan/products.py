"""Products of many small matrices over a long axis, in tiles whose sums stay in registers.

Inside a loop over blocks of the long axis, a product is either `along` it (each of its steps has sums of its own: the sum
over j of A[i, j]*x[n, j]), or `across` it (it is what is summed over: the sum over n of w[n, i]*x[n, j]). Some rows i are taken
at once, so that what does not depend on the row is read once for all of them, and the steps of the long axis, or those of j,
are taken side by side. So are gradients of small weights made, which are sums over the steps of a recurrence: there the rows of
a block lie as the recurrence has made them. Of triangles only the tiles are multiplied that are not known to be zero, or that
somebody needs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gradlang.ir.tape import Tape
from gradlang.loops.ir import Cell, Code, Value
from gradlang.plan.pointwise import KINDS
from gradlang.plan.reader import Frame, Reader
from gradlang.plan.roots import BROAD, CONTRACTIONS, LONG, Root
from gradlang.plan.survey import Survey
from gradlang.record import changed, record
from gradlang.types import value

if TYPE_CHECKING:
    from gradlang.plan.weave import Weaver

ROWS = 8  # of a tile: so many vectors of sums, what they share, and a factor at a time fit into sixteen registers
LEAST = 8  # steps of the axes of a tile
CHEAP = 2  # operations of a factor that are done again in every tile


@record
class Tiling:
    """The loops of a root by what they are for its tiles; all others are outside. `across` tells whether the long axis is what
    is summed over; `other` is the axis of the sum, or, across, that of the vectors. `ranges` is what Tiles.ranges found."""

    long: int
    rows: int
    other: int
    across: bool
    ranges: list[tuple[int, int]]

    @property
    def axes(self) -> frozenset[int]:
        return frozenset((self.long, self.rows, self.other))


Known = dict[tuple[int, ...], list[tuple[int, int]]]  # ranges by product, rows and other axis: they are looked up but once


def tilings(
    tape: Tape, roots: Sequence[Root], wanted: Collection[int], sizes: Mapping[str, int], known: Known
) -> dict[Root, Tiling]:
    """The products among some roots that can be made in tiles. `roots` have been surveyed; only those at `wanted` are asked."""
    asked = ((r, tiling(tape, r, sizes, known)) for r in roots if r.at in wanted)
    return {r: found for r, found in asked if found is not None}


def tiling(tape: Tape, r: Root, sizes: Mapping[str, int], known: Known) -> Tiling | None:
    if tape.instrs[r.at].op not in CONTRACTIONS or r.dear or r.target is not None or r.onto is not None:
        return None
    extents = [value(a.extent, sizes) for a in r.axes]
    sums = [k for k, a in enumerate(r.axes) if a.out is None]
    long = [k for k, n in enumerate(extents) if n >= LONG] or [k for k in sums if extents[k] == max(extents)]
    if len(long) != 1 or len(sums) != 1 or max(n for k, n in enumerate(extents) if k != long[0]) > BROAD:
        return None
    (n,), (gone,) = long, sums
    reads = [set(axes) for of in (*r.reads.values(), *r.inputs.values()) for axes in of]
    for rows in sorted(range(len(r.axes)), key=lambda k: sum(k in of for of in reads)):  # what has it is read for every row
        others = [k for k in range(len(r.axes)) if k not in (n, rows)] if gone == n else [gone]
        for other in others:
            parted = {rows, other} if gone == n else {rows, n}
            if rows in (n, gone) or min(extents[rows], extents[other]) < LEAST or any(parted <= of for of in reads):
                continue
            used = all(any(k in of for of in reads) for k in (n, rows, other))
            if used and (gone != n or lies_last(tape, r, other)):
                return Tiling(n, rows, other, gone == n, known.setdefault((r.at, rows, other), []))
    return None


def lies_last(tape: Tape, r: Root, axis: int) -> bool:
    """Whether entries of an axis lie side by side in what is given, or in a sequence. What other loops make has the steps of a
    block so."""
    sequences = [axes for i, of in r.reads.items() if tape.instrs[i].op == "item" for axes in of]
    made = [axes for i, of in r.reads.items() if tape.instrs[i].op != "item" for axes in of]
    given = [axes for of in r.inputs.values() for axes in of] + sequences
    return not any(axis in axes for axes in made) and all(axes[-1] == axis for axes in given if axis in axes)


def not_kept(roots: Sequence[Root], tiled: Collection[int], kept: Collection[int]) -> set[Root]:
    """Factors of tiled products that may be computed where they are read."""
    users: dict[int, set[int]] = {}
    for r in roots:
        for i in r.reads:
            users.setdefault(i, set()).add(r.at)
    return {
        r
        for r in roots
        if not r.combine and r.special is None and r.target is None and not r.dear and 0 < r.work <= CHEAP
        and r.at not in kept and r.at in users and users[r.at] <= set(tiled)
    }  # fmt: skip


def with_tiles(
    tape: Tape, roots: list[Root], wanted: Collection[int], kept: Collection[int], survey: Survey, known: Known
) -> tuple[list[Root], dict[Root, Tiling]]:
    """The wanted products that can be made in tiles, and the roots without those that these compute themselves; `kept` are
    needed elsewhere."""
    here = [r.at for r in roots if r.at in wanted]
    if not here:
        return roots, {}
    reads = {r: r.reads for r in roots if r.at in here}
    less = not_kept(roots, here, kept)
    few = [r for r in roots if r not in less]
    survey(few)
    found = tilings(tape, few, here, survey.sizes, known)
    # what goes by the rows of a tile is a number for all steps of a vector, and had better be there
    less = {m for m in less if not any(t.rows in of for r, t in found.items() for of in reads[r].get(m.at, ()))}
    roots = [r for r in roots if r not in less]
    survey(roots)
    return roots, tilings(tape, roots, here, survey.sizes, known)


class Tiles:
    """Writes the tiles of one product, for the block that is open."""

    def __init__(self, weaver: Weaver, r: Root, tiling: Tiling) -> None:
        self.weaver, self.r, self.tiling = weaver, r, tiling
        self.code: Code = weaver.code
        self.counters = weaver.state[r].counters
        self.zero = self.code.whole(0)
        block = weaver.sharing.block(r, tiling.long)
        assert block is not None and block.first is not None and block.last is not None
        self.first, self.last = block.first, block.last
        self.rows, self.others = (int(weaver.frame.dim(r.axes[k].extent).const or 0) for k in (tiling.rows, tiling.other))
        self.partly = False

    def write(self) -> None:
        ranges = self.ranges()
        full = self.rows // ROWS
        with self.open():
            if full:
                self.several(full, ranges[:full])
            if self.rows % ROWS:
                low, high = ranges[-1]
                self.tile(self.code.whole(full * ROWS), self.rows % ROWS, self.code.whole(low), self.code.whole(high))

    @contextmanager
    def open(self) -> Iterator[None]:
        """Across a block inputs are read as they are given, not from copies whose steps of the block lie side by side."""
        places = self.weaver.reader.places
        inputs = [i for i in places if self.weaver.tape.instrs[i].op == "input"] if self.tiling.across else []
        hidden = {i: places.pop(i) for i in inputs}
        yield
        places.update(hidden)
        for k in self.tiling.axes:
            self.counters[k] = None

    def several(self, count: int, ranges: Sequence[tuple[int, int]]) -> None:
        """Whole tiles, in a loop whose bounds inside go by the tile."""
        code = self.code
        low, high = ranges[0]
        down, up = (ranges[1][0] - low, ranges[1][1] - high) if count > 1 else (0, 0)
        if any(of != (low + k * down, high + k * up) for k, of in enumerate(ranges)):
            low, high, down, up = min(a for a, _ in ranges), max(b for _, b in ranges), 0, 0
        with code.loop(self.zero, code.whole(count), hint="tile") as k:
            start = code.op("imul", k, code.whole(ROWS))
            bounds = [code.op("iadd", code.op("imul", k, code.whole(n)), code.whole(m)) for n, m in ((down, low), (up, high))]
            self.tile(start, ROWS, *bounds)

    def tile(self, start: Value, count: int, low: Value, high: Value) -> None:
        code, counters, tiling, r = self.code, self.counters, self.tiling, self.r
        rows = [code.op("iadd", start, code.whole(n)) for n in range(count)]
        outer, inner = (tiling.other, tiling.long) if tiling.across else (tiling.long, tiling.other)
        bounds = [(low, high), (self.first, self.last)]
        (a, b), (c, d) = bounds if tiling.across else bounds[::-1]
        with code.loop(a, b, hint=f"i{len(code.blocks)}", side=True) as counters[outer]:
            cells = [code.cell(code.real(0.0), "total") for _ in rows]
            with code.loop(c, d, hint=f"i{len(code.blocks)}") as counters[inner]:
                for counters[tiling.rows], cell in zip(rows, cells, strict=True):
                    made = r.entry(self.weaver.reader, [c for c in counters if c is not None])
                    code.update(cell, "add", self.weaver.fit(r, made))
            counters[inner] = None
            for counters[tiling.rows], cell in zip(rows, cells, strict=True):
                self.put(code.read(cell))

    def put(self, total: Value) -> None:
        """The sum of a row: an entry of the product, or a part of one."""
        weaver, r, code = self.weaver, self.r, self.code
        into = weaver.state[r].into if self.tiling.across else None
        place = into or weaver.place(r)
        at = weaver.reader.position(place, weaver.target(r))
        code.store(place.buffer, at, total if into is None else code.op("add", code.load(place.buffer, at), total))
        if self.partly:
            weaver.frame.doubt(total)

    # -------------------------------------------------------------- what is not zero
    def ranges(self) -> list[tuple[int, int]]:
        """For the rows of each tile the first and the last column, and one more, that are not known to be zero (along), or that
        somebody needs (across).

        A column that is left out may hold what is not finite, of which zero times is no zero. If all columns are multiplied
        for some row, the sum of that row is not finite either, which is looked at."""
        tiles, found = [range(k, min(k + ROWS, self.rows)) for k in range(0, self.rows, ROWS)], self.tiling.ranges
        if not found:
            look = _Look(self)
            found += [look.range(rows) for rows in tiles]
        if not self.tiling.across:
            covered = {j for low, high in found for j in range(low, high)}
            if len(covered) < self.others:
                return [(0, self.others)] * len(tiles)
            self.partly = any(of != (0, self.others) for of in found)
        return found


class _Look:
    """Which entries are there, by reading them into code that is thrown away."""

    def __init__(self, of: Tiles) -> None:
        self.of, self.weaver = of, of.weaver
        weaver = of.weaver
        self.code = Code()
        sizes = {n: Value("i") if v.const is None else self.code.whole(int(v.const)) for n, v in weaver.frame.sizes.items()}
        self.frame = Frame(self.code, sizes, Cell("b"), weaver.frame.width)
        places = {i: changed(p, start=None) for i, p in weaver.reader.places.items()}
        self.reader = Reader(weaver.tape, self.frame, places, self.input, self.seen)
        self.inputs = {n.attrs[0]: n for n in weaver.tape.instrs if n.op == "input"}
        self.counters = [Value("i") if c is None or c.const is None else c for c in of.counters]

    def input(self, key: object, index: object) -> Value:
        return Value(KINDS[self.inputs[key].type.dtype])

    def seen(self, i: int, index: object) -> Value | None:
        """What stands for a value that lies elsewhere."""
        elsewhere = i in self.of.r.reads and i not in self.reader.places
        return Value(KINDS[self.weaver.tape.instrs[i].type.dtype]) if elsewhere else None

    def there(self, row: int, other: int) -> bool:
        r, tiling, whole = self.of.r, self.of.tiling, self.code.whole
        self.counters[tiling.rows], self.counters[tiling.other] = whole(row), whole(other)
        if not tiling.across:
            return r.entry(self.reader, self.counters) is not self.code.none()
        outs = {a.out: c for a, c in zip(r.axes, self.counters, strict=True) if a.out is not None}
        index = tuple(outs[k] for k in range(len(outs)))
        return self.weaver.demand.needs(self.reader, r.at, index)

    def range(self, rows: range) -> tuple[int, int]:
        columns = range(self.of.others)
        first = next((j for j in columns if any(self.there(i, j) for i in rows)), None)
        if first is None:
            return 0, 0
        last = next(j for j in reversed(columns) if any(self.there(i, j) for i in reversed(rows)))
        return first, last + 1
