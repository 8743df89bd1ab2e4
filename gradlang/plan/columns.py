"""Rows of short axes that the steps of a long loop read and write, by way of tiles.

The steps of such a loop are the lanes of vectors, and what a lane finds in memory is a row: the same entry of two steps lies a
row apart, or, gathered, anywhere. So the steps are done in blocks. Before a block the rows that it reads are turned into the
columns of a tile on the stack, in which steps lie side by side; what it makes goes into columns, and these are turned into
rows behind it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from gradlang.loops.ir import (
    FOLDS,
    RESULTS,
    Buffer,
    Cell,
    Declare,
    For,
    If,
    Kernel,
    Let,
    Load,
    Read,
    Run,
    Statement,
    Store,
    Update,
    Value,
)
from gradlang.plan.affine import Positions, positions_of
from gradlang.plan.plan import Loops, Plan
from gradlang.plan.turning import to_columns, to_rows
from gradlang.plan.unrolled import COLUMNS
from gradlang.record import changed, field, record
from gradlang.types import product, value

STEPS = 64  # of a loop that is worth it
BLOCKS = (32, 16)  # steps; more of them are slower, since tiles then leave the first cache
SUMMED = (128, 64)  # steps where the loop adds up: every block adds its lanes together
ENTRIES = COLUMNS * BLOCKS[-1]  # of the tiles of a loop
BYTES = {"f64": 8, "f32": 4}
NARROW = {"f64": 6, "f32": 8}  # entries of a row from which on vectors of steps do not write or read it together
GATHERED = 3  # entries that are read of rows which lie anywhere
GAP = 2  # from one entry of a row to the next that is read
SLICE = 40  # statements that say where a row lies
LARGE = 1 << 19  # bytes of an array of rows that has left the second cache until it is written again
AHEAD = 64  # rows that a large array is fetched before it is written
FLAGS = ("or", "and")


@record(eq=False, frozen=False)
class Rows:
    """Entries of a row that every step of a loop touches: the columns are those of `Load`s or `Store`s."""

    buffer: Buffer
    first: Value  # the position of the first column
    columns: dict[Load | Store, int]
    width: int
    stride: int = 0
    gathered: bool = False
    tile: Buffer = field(default_factory=lambda: Buffer("", "f"))


def turned(plan: Plan, width: str, sizes: Mapping[str, int]) -> Plan:
    """A plan for machine code, in which long loops read and write rows by way of tiles. Its sizes must be fixed, as numbers."""
    steps = list(plan.steps)
    for k, s in enumerate(steps):
        if isinstance(s, Loops):
            pairs = zip(s.kernel.buffers, s.sources, strict=False)
            lengths = {b: value(product(of.shape), sizes) * BYTES[width] for b, of in pairs}
            steps[k] = changed(s, kernel=in_tiles(s.kernel, width, lengths))
    return changed(plan, steps=tuple(steps))


def in_tiles(kernel: Kernel, width: str = "f64", lengths: Mapping[Buffer, int] | None = None) -> Kernel:
    """A kernel that does the same, in which long loops read and write rows by way of tiles. `width` is that of the reals,
    `lengths` are the bytes of arrays of reals, where they are known."""
    positions, room = positions_of(kernel.body), Room()
    body, found = list(kernel.body), False
    blocks = [body]
    for block in blocks:  # grows while it is walked
        for s in list(block):
            made: Sequence[Statement] | None = None
            if isinstance(s, If):
                branch = If(s.condition, list(s.then), list(s.otherwise))
                made = [branch]
                blocks += [branch.then, branch.otherwise]
            elif isinstance(s, For) and straight(s):
                made = _Tiles(s, positions, NARROW[width], lengths or {}).written(room)
                found = found or made is not None
            elif isinstance(s, For) and not s.side:  # whose steps are vectors as they are
                loop = changed(s, body=list(s.body))
                made = [loop]
                blocks.append(loop.body)
            if made is not None:
                block[block.index(s) : block.index(s) + 1] = made
    return changed(kernel, body=body) if found else kernel


class Room:
    """The local buffers of a kernel. Its loops run one after another, so that all of them may use the same."""

    def __init__(self) -> None:
        self.buffers: dict[tuple[str, int], Buffer] = {}

    def buffer(self, kind: str, number: int, entries: int) -> Buffer:
        name = ("tile" if kind == "f" else "places") + str(number)
        found = self.buffers.setdefault((kind, number), Buffer(name, kind, writable=True))
        found.local = max(found.local, entries)
        return found


def straight(loop: For) -> bool:
    return loop.apart and not any(isinstance(s, For | If | Run) for s in loop.body)


class _Tiles:
    """One loop."""

    def __init__(self, loop: For, positions: Positions, narrow: int, lengths: Mapping[Buffer, int]) -> None:
        self.loop, self.positions, self.narrow, self.lengths = loop, positions, narrow, lengths
        self.made: dict[Value, Let | Load | Read] = {s.value: s for s in loop.body if isinstance(s, Let | Load | Read)}
        self.changing = {s.buffer for s in loop.body if isinstance(s, Store)}
        sums = positions.of(loop.counter).factors
        self.term = next((v for v in sums if positions.loops.get(v) is loop), loop.counter)

    def written(self, room: Room) -> list[Statement] | None:
        """The loop over blocks, or None if it is not worth it."""
        loop = self.loop
        length = self.positions.of(loop.stop).plus(self.positions.of(loop.start), -1)
        if not length.factors and length.constant < STEPS:
            return None
        out, into = self.stored(), self.loaded()
        if not out and not into:
            return None
        own = {s.cell for s in loop.body if isinstance(s, Declare)}
        summed = any(isinstance(s, Update) and s.cell not in own and s.op not in FLAGS for s in loop.body)
        most = ENTRIES // sum(r.width for r in (*out, *into))
        size = next((n for n in (*(SUMMED if summed else ()), *BLOCKS) if n <= most), None)
        return None if size is None else _Writer(self, out, into, size, room).write()

    # -------------------------------------------------------------- what is worth it
    def stored(self) -> list[Rows]:
        """Rows that the loop writes, each step its own, and does not read."""
        found: list[Rows] = []
        stores: dict[Buffer, list[Store]] = {}
        for s in self.loop.body:
            if isinstance(s, Store):
                stores.setdefault(s.buffer, []).append(s)
        read = {s.buffer for s in self.loop.body if isinstance(s, Load)}
        for buffer, of in stores.items():
            forms = [self.positions.of(s.index) for s in of]
            stride, ends = forms[0].factors.get(self.term, 0), [f.constant for f in forms]
            if buffer in read or buffer.local or buffer.kind != "f" or any(f.factors != forms[0].factors for f in forms):
                continue
            if len(set(ends)) < len(ends) or max(ends) - min(ends) >= stride:
                continue
            for rows in self.runs(buffer, zip(of, ends, strict=True), 1):
                if rows.width >= self.narrow and self.slice(rows.first, loads=False) is not None:
                    rows.stride = stride
                    found.append(rows)
        return found

    def loaded(self) -> list[Rows]:
        """Rows that the loop reads, at places that are gathered or far from one another."""
        found: list[Rows] = []
        loads: dict[tuple[Buffer, frozenset[tuple[Value, int]]], list[tuple[Load | Store, int]]] = {}
        for s in self.loop.body:
            if isinstance(s, Load) and s.buffer not in self.changing and s.buffer.kind == "f":
                form = self.positions.of(s.index)
                loads.setdefault((s.buffer, frozenset(form.factors.items())), []).append((s, form.constant))
        for (buffer, factors), of in loads.items():
            gathered = any(v in self.made for v, _ in factors)
            if not gathered and abs(dict(factors).get(self.term, 0)) < self.narrow:
                continue
            for rows in self.runs(buffer, of, GAP):
                enough = len(set(rows.columns.values())) >= GATHERED
                if enough and (steps := self.slice(rows.first)) is not None and len(steps) <= SLICE:
                    rows.gathered = gathered
                    found.append(rows)
        return found

    def runs(self, buffer: Buffer, of: Iterable[tuple[Load | Store, int]], gap: int) -> Iterator[Rows]:
        """Accesses at neighbouring entries together."""
        found: Rows | None = None
        start = 0
        for s, at in sorted(of, key=lambda pair: pair[1]):
            if found is None or at - start >= found.width + gap:
                if found is not None:
                    yield found
                found, start = Rows(buffer, s.index, {}, 1), at
            found.columns[s] = at - start
            found.width = at - start + 1
        if found is not None:
            yield found

    def slice(self, v: Value, loads: bool = True) -> list[Let | Load] | None:
        """The statements of the loop that make a value, in order; None if it cannot be made by itself."""
        found: set[Let | Load] = set()
        waiting = [v]
        for v in waiting:  # grows while it is walked
            s = self.made.get(v)
            if s is None or s in found:
                continue
            if isinstance(s, Read) or (isinstance(s, Let) and s.op == "call"):
                return None
            if isinstance(s, Load) and (not loads or s.buffer in self.changing):
                return None
            found.add(s)
            waiting += s.args if isinstance(s, Let) else [s.index]
        return [s for s in self.loop.body if isinstance(s, Let | Load) and s in found]


class Lines(list[Statement]):
    """Statements, with arithmetic of positions added at the end."""

    def op(self, op: str, *args: Value | int) -> Value:
        values = [whole(a) if isinstance(a, int) else a for a in args]
        if all(a.const is not None for a in values):
            return whole(int(FOLDS[op](*(int(a.const or 0) for a in values))))
        return self.let(op, *values)

    def let(self, op: str, *args: Value) -> Value:
        made = Value(RESULTS[op])
        self.append(Let(made, op, args))
        return made

    def copies(self, steps: Sequence[Let | Load], of: dict[Value, Value]) -> None:
        """Statements once more, for other counters; `of` says which values are there."""
        for s in steps:
            if s.value in of:
                continue
            made = of[s.value] = Value(s.value.type)
            if isinstance(s, Let):
                self.append(Let(made, s.op, tuple(of.get(a, a) for a in s.args), s.function))
            else:
                self.append(Load(made, s.buffer, of.get(s.index, s.index)))


def whole(n: int) -> Value:
    return Value("i", n)


class _Writer:
    """Writes the loop over blocks."""

    def __init__(self, of: _Tiles, out: Sequence[Rows], into: Sequence[Rows], size: int, room: Room) -> None:
        self.of, self.loop, self.out, self.into, self.size = of, of.loop, out, into, size
        for k, rows in enumerate(sorted((*into, *out), key=lambda rows: -rows.width)):
            rows.tile = room.buffer("f", k, size * rows.width)
        self.found = [room.buffer("i", k, size) for k in range(len(into))]  # places of rows
        self.before: set[Statement] = set()  # flags that are set where places are computed

    def write(self) -> list[Statement]:
        loop, lines, body = self.loop, Lines(), Lines()
        steps = lines.op("iadd", lines.op("isub", loop.stop, loop.start), self.size - 1)
        block = For(Value("i", hint="block"), whole(0), lines.op("idiv", steps, self.size), body)
        self.first = body.op("iadd", loop.start, body.op("imul", block.counter, self.size))
        self.last = body.op("imin", body.op("iadd", self.first, self.size), loop.stop)
        count = body.op("isub", self.last, self.first)
        if self.into:
            body += self.places()
        for rows, places in zip(self.into, self.found, strict=True):
            gathered = (rows.buffer, whole(0)), (places, whole(0)), (rows.tile, whole(0))
            body.append(Run(to_columns(rows.width, self.size), gathered, (count,)))
        body.append(self.steps())
        for rows in self.out:
            at = {loop.counter: self.first}
            body.copies(self.of.slice(rows.first) or [], at)
            to = (rows.tile, whole(0)), (rows.buffer, at.get(rows.first, rows.first))
            body.append(Run(to_rows(rows.width, self.size, self.ahead(rows)), to, (count, whole(rows.stride))))
        return [*lines, block]

    def ahead(self, rows: Rows) -> int:
        """How many rows later those lie that are fetched while rows are written. A processor fetches by itself what is written
        one after another, also in bursts; but not beside rows that are gathered, as was measured. Where rows are read in order,
        it is only in the way."""
        large = self.of.lengths.get(rows.buffer, 0) > LARGE
        return AHEAD if large and any(r.gathered for r in self.into) else 0

    def places(self) -> list[Statement]:
        """Where the rows lie that the steps of a block read, and the flags that only depend on this."""
        body, at = Lines(), Value("i", hint="i")
        own = {self.loop.counter: at}
        offset = body.op("isub", at, self.first)
        for rows, places in zip(self.into, self.found, strict=True):
            body.copies(self.of.slice(rows.first) or [], own)
            body.append(Store(places, offset, own.get(rows.first, rows.first)))
        declared = {s.cell for s in self.loop.body if isinstance(s, Declare)}
        flags: dict[tuple[Cell, Value], None] = {}
        for s in self.loop.body:
            if isinstance(s, Update) and s.op in FLAGS and s.cell not in declared:
                steps = self.of.slice(s.value)
                if steps is None or not all(x.value in own or known(x) for x in steps):
                    continue
                self.before.add(s)
                if (s.cell, s.value) not in flags:
                    flags[s.cell, s.value] = None
                    body.copies(steps, own)
                    body.append(Update(s.cell, s.op, own.get(s.value, s.value)))
        return [For(at, self.first, self.last, body)]

    def steps(self) -> For:
        """The loop itself, over tiles. What is made is put into its column at once: registers are few."""
        loop, body = self.loop, Lines()
        offset = body.op("isub", loop.counter, self.first)
        read = {s: (rows, k) for rows in self.into for s, k in rows.columns.items()}
        put: dict[Value, list[tuple[Rows, int]]] = {}
        for rows in self.out:
            for access, k in rows.columns.items():
                assert isinstance(access, Store)
                put.setdefault(access.value, []).append((rows, k))
        moved = {s for rows in self.out for s in rows.columns}
        for v in [v for v in put if v not in self.of.made]:
            self.put(body, offset, v, put[v])
        for s in loop.body:
            if s in moved or s in self.before:
                continue
            if isinstance(s, Load) and s in read:
                rows, k = read[s]
                body.append(Load(s.value, rows.tile, body.op("iadd", offset, k * self.size)))
            else:
                body.append(s)
            if isinstance(s, Let | Load | Read) and s.value in put:
                self.put(body, offset, s.value, put[s.value])
        return For(loop.counter, self.first, self.last, body)

    def put(self, body: Lines, offset: Value, v: Value, places: Sequence[tuple[Rows, int]]) -> None:
        for rows, k in places:
            body.append(Store(rows.tile, body.op("iadd", offset, k * self.size), v))


def known(s: Let | Load) -> bool:
    """Whether a statement is arithmetic of whole numbers or of truth values."""
    return isinstance(s, Let) and s.value.type in "ib" and all(a.type in "ib" for a in s.args)
