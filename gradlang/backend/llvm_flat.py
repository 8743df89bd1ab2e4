"""The steps of a recurrence written out: short loops a vector of each row at a time, rows that every step finds at the same
place as values, functions with their operations in the line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gradlang.backend.llvm_avx512 import LANES
from gradlang.backend.llvm_line import Line, chained
from gradlang.backend.llvm_side import spelled
from gradlang.backend.llvm_steps import row_of
from gradlang.loops.ir import Buffer, Cell, Declare, Fetch, For, Let, Load, Read, Statement, Store, Update, Value
from gradlang.plan.affine import Positions, Sum
from gradlang.record import record

if TYPE_CHECKING:
    from gradlang.backend.llvm import Body

MOST = 1500  # statements of a line
FEW = 4  # steps of a loop that is written out number by number
Base = frozenset[tuple[Value, int]]  # the terms of a position, without the constant


class Unfit(Exception):
    """A step is no such line."""


@record(eq=False, frozen=False)
class Known:
    """What lies in memory at a place, as far as the line knows: entries from `start` on."""

    base: Base
    start: int
    value: Value
    count: int


class Flat:
    """Writes out the loops of a step."""

    def __init__(self, body: Body, loop: For, kept: set[Buffer], whole: set[tuple[Buffer, int]], waited: bool = True) -> None:
        self.of, self.kept, self.whole, self.waited = body, kept, whole, waited
        self.width = LANES[body.unit.width]
        self.line = Line()
        self.places = Positions()
        self.cells: dict[Cell, Value] = {}
        self.known: dict[object, Value] = {}
        self.memory: dict[Buffer, list[Known]] = {}
        self.touched: dict[Buffer, list[tuple[Statement, Base, int, int]]] = {}
        self.moving: set[Buffer] = set()  # buffers of which a step touches entries that go by the step
        self.still: set[tuple[Buffer, int]] = set()  # whole vectors that lie at the same place in every step
        self.rows = 0
        self.outer: set[Cell] | None = None  # what lives longer than the loop over a row that is being written out
        self.counter = loop.counter
        self.run(loop.body, {})
        for buffer, of in self.memory.items():
            if buffer in kept:
                for k in of:
                    key = (buffer, k.start, k.count)
                    if self.line.found.get(key) is not k.value:
                        self.line.left[key] = k.value

    # -------------------------------------------------------------- statements
    def run(self, body: Sequence[Statement], names: dict[Value, Value]) -> None:
        for s in body:
            if len(self.line.body) > MOST:
                raise Unfit
            if isinstance(s, Let):
                names[s.value] = self.let(s, [self.at(a, names) for a in s.args])
            elif isinstance(s, Fetch):
                self.line.body.append(Fetch(Value("f"), s.buffer, self.at(s.index, names)))
            elif isinstance(s, Load):
                names[s.value] = self.load(s.buffer, self.at(s.index, names))
            elif isinstance(s, Store):
                self.store(s.buffer, self.at(s.index, names), self.at(s.value, names))
            elif isinstance(s, Declare):
                self.cells[s.cell] = self.at(s.start, names)
                if self.outer is not None:
                    self.outer.discard(s.cell)
            elif isinstance(s, Read):
                names[s.value] = self.cell(s.cell)
            elif isinstance(s, Update):
                self.update(s, self.at(s.value, names))
            elif isinstance(s, For):
                self.loop(s, names)
            else:
                raise Unfit

    def loop(self, s: For, names: dict[Value, Value]) -> None:
        if s.start.const is None or s.stop.const is None:
            raise Unfit
        start, stop, step = int(s.start.const), int(s.stop.const), 1
        row = row_of(self.of, s) is not None
        if row:
            step, self.rows, self.outer = self.width, self.rows + 1, set(self.cells)
        elif stop - start > FEW and not any(isinstance(x, For) for x in s.body):
            raise Unfit
        for k in range(start, stop, step):
            inside = names
            inside[s.counter] = at = Value("i", k)
            if step > 1:
                self.line.varying.add(at)
                self.line.strides[at] = 1
            self.run(s.body, inside)
        if row:
            self.outer = None

    def at(self, value: Value, names: dict[Value, Value]) -> Value:
        if value.const is not None:
            return self.known.setdefault((value.type, repr(value.const)), Value(value.type, value.const))
        return names.get(value, value)

    def cell(self, cell: Cell) -> Value:
        if cell not in self.cells:
            raise Unfit
        return self.cells[cell]

    def update(self, s: Update, value: Value) -> None:
        old = self.cell(s.cell)
        if s.op not in ("", "add") or (self.outer is not None and s.cell in self.outer):
            raise Unfit  # sums over the entries of a vector are not written
        if s.op:
            value = self.let(Let(s.value, "add", ()), [old, value])
            self.line.sums.add(value)
        self.cells[s.cell] = value

    # -------------------------------------------------------------- operations
    def let(self, s: Let, args: Sequence[Value]) -> Value:
        if s.op == "call" and any(a in self.line.varying for a in args):
            return self.called(s.function, args)
        key = (s.op, s.function, *args)
        if key not in self.known:
            self.known[key] = self.operation(s, tuple(args))
        return self.known[key]

    def operation(self, s: Let, args: tuple[Value, ...]) -> Value:
        varying, made = self.line.varying, Value(s.value.type)
        if any(a in varying for a in args):
            varying.add(made)
        new = Let(made, s.op, args, s.function)
        if made in varying and not spelled(new, varying, self.line.strides):
            raise Unfit
        if made.type == "i":
            place = self.places.let(new)
            if not place.factors:
                known = Value("i", place.constant)
                if made in varying:
                    varying.add(known)
                    self.line.strides[known] = self.line.strides[made]
                return known
            self.places.sums[made] = place
        self.line.body.append(new)
        return made

    def called(self, name: str, args: Sequence[Value]) -> Value:
        if not self.of.unit.is_wide(name):
            raise Unfit
        function = self.of.unit.form(name, self.waited)
        names = dict(zip(function.params, args, strict=True))
        for s in function.body:
            assert isinstance(s, Let)
            names[s.value] = self.let(s, [self.at(a, names) for a in s.args])
        return self.at(function.result, names)

    # -------------------------------------------------------------- memory
    def place(self, buffer: Buffer, index: Value) -> tuple[Base, int, int]:
        many = index in self.line.varying and self.line.strides[index] != 0
        if many and (self.line.strides[index] != 1 or buffer.kind != "f"):
            raise Unfit
        place: Sum = self.places.of(index)
        base, count = frozenset(place.factors.items()), self.width if many else 1
        if base:
            self.moving.add(buffer)
        elif many:
            self.still.add((buffer, place.constant))
        return base, place.constant, count

    def load(self, buffer: Buffer, index: Value) -> Value:
        base, start, count = self.place(buffer, index)
        found = self.lies(buffer, base, start, count)
        if found is not None:
            return found
        if buffer in self.kept:
            first = start // self.width * self.width
            if count == 1 and (buffer, first) in self.whole:
                self.found(buffer, first, self.width)
                return self.load(buffer, index)
            return self.found(buffer, start, count)
        made = Value("i" if buffer.kind == "s" else buffer.kind)
        if count > 1:
            self.line.varying.add(made)
        self.touch(Load(made, buffer, index), buffer, base, start, count, False)
        self.memory.setdefault(buffer, []).append(Known(base, start, made, count))
        return made

    def lies(self, buffer: Buffer, base: Base, start: int, count: int) -> Value | None:
        for k in self.memory.get(buffer, ()):
            if k.base == base and k.start < start + count and start < k.start + k.count:
                if k.start == start and k.count == count:
                    return k.value
                if count == 1:
                    return self.lane(k.value, start - k.start)
                if buffer in self.kept:
                    raise Unfit
        return None

    def lane(self, vector: Value, k: int) -> Value:
        if vector not in self.line.varying:
            return vector
        key = ("lane", vector, k)
        if key not in self.known:
            made = self.known[key] = Value("f")
            self.line.lanes[made] = vector, k
            self.line.body.append(Let(made, "lane", (vector,)))
        return self.known[key]

    def found(self, buffer: Buffer, start: int, count: int) -> Value:
        """What the step before has left."""
        made = self.line.found[buffer, start, count] = Value("f")
        if buffer.kind != "f":
            raise Unfit
        if count > 1:
            self.line.varying.add(made)
        self.memory.setdefault(buffer, []).append(Known(frozenset(), start, made, count))
        return made

    def store(self, buffer: Buffer, index: Value, value: Value) -> None:
        base, start, count = self.place(buffer, index)
        if count == 1 and (value in self.line.varying or self.outer is not None):
            raise Unfit
        of = self.memory.setdefault(buffer, [])
        over = [k for k in of if k.base == base and k.start < start + count and start < k.start + k.count]
        for k in over:
            if (k.start, k.count) == (start, count):
                self.running(k.value, value)
            elif buffer in self.kept:
                raise Unfit
        of[:] = [k for k in of if k.base == base and k not in over]
        of.append(Known(base, start, value, count))
        if buffer not in self.kept:
            self.touch(Store(buffer, index, value), buffer, base, start, count, True)

    def running(self, old: Value, new: Value) -> None:
        """A sum in memory: its order is as free as that of one in a cell."""
        for s in reversed(self.line.body):
            if isinstance(s, Let) and s.value is new:
                if s.op == "add" and old in s.args and (old in self.line.sums or old.const == 0.0):
                    self.line.sums.add(new)
                return

    def touch(self, s: Load | Store, buffer: Buffer, base: Base, start: int, count: int, stores: bool) -> None:
        of = self.touched.setdefault(buffer, [])
        self.line.order[s] = [
            other
            for other, at, first, many in of
            if (stores or isinstance(other, Store)) and (at != base or (first < start + count and start < first + many))
        ]
        of.append((s, base, start, count))
        self.line.body.append(s)


def line_of(body: Body, loop: For) -> Line | None:
    """The step of a recurrence as a line, or None if it is none."""
    if loop.apart or body.most != LANES[body.unit.width] or not body.unit.tabled:
        return None
    try:
        first = Flat(body, loop, set(), set())
        kept = set(first.memory) - first.moving
        if not first.rows:
            return None
        line = chained(Flat(body, loop, kept, first.still).line)
        if not line.left:  # no row is passed on from step to step
            return None
        if line.waits():
            return line
        line = chained(Flat(body, loop, kept, first.still, waited=False).line)
        line.crowded = True
        return line
    except Unfit:
        return None
