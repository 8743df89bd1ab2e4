"""Segments of a kernel as kernels of their own: what they take over from earlier ones, what they leave to later ones."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from gradlang.loops.ir import (
    Buffer,
    Cell,
    Code,
    Declare,
    For,
    If,
    Kernel,
    Let,
    Load,
    Run,
    Statement,
    Store,
    Update,
    Value,
)
from gradlang.loops.walk import operands, statements
from gradlang.plan.apart import NEUTRAL, Apart
from gradlang.record import changed, field, record

Copies = Mapping[Buffer, tuple[Buffer, Value]]  # the buffer that is used instead, and where in it


@record
class Parted:
    """A loop that runs in so many parts, each of so many steps; the last may have fewer."""

    loop: For
    how: Apart
    parts: int
    length: int
    entries: Mapping[Buffer, int]  # of the buffers that parts have for themselves


@record(eq=False, frozen=False)
class Segment:
    """Statements of a kernel that become one: some between loops, or a loop that runs in parts. `uses` are the values and
    `cells` the cells of the kernel that occur in it; of those of earlier segments, `told` are computed again and `kept` are
    in memory."""

    body: list[Statement]
    parted: Parted | None = None
    uses: set[Value] = field(default_factory=set)
    cells: set[Cell] = field(default_factory=set)
    told: list[Let] = field(default_factory=list)
    kept: list[Value] = field(default_factory=list)


@record(eq=False, frozen=False)
class Room:
    """A buffer for values and cells, with a row for each part of a loop."""

    buffer: Buffer
    rows: int
    places: dict[Value | Cell, int] = field(default_factory=dict)

    def place(self, what: Value | Cell) -> int:
        return self.places.setdefault(what, len(self.places))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.rows, len(self.places)


@record(eq=False, frozen=False)
class Memory:
    """What lies between the kernels: rooms, the copies of buffers that parts of loops add to, and the cells that are in the
    rooms because they have changed."""

    rooms: dict[str, Room] = field(default_factory=dict)
    copies: dict[tuple[For, Buffer], Buffer] = field(default_factory=dict)
    changed: set[Cell] = field(default_factory=set)
    loops: dict[For, int] = field(default_factory=dict)

    def room(self, name: str, kind: str, rows: int = 1) -> Room:
        name = f"{name}_{kind}"
        if name not in self.rooms:
            self.rooms[name] = Room(Buffer(name, kind, writable=True), rows)
        return self.rooms[name]

    def number(self, loop: For) -> int:
        return self.loops.setdefault(loop, len(self.loops))

    def keep(self, code: Code, what: Value | Cell, value: Value) -> None:
        room = self.room("kept", what.type)
        code.store(room.buffer, code.whole(room.place(what)), value)

    def copy(self, loop: For, buffer: Buffer) -> Buffer:
        return self.copies.setdefault(
            (loop, buffer), Buffer(f"{buffer.name}_parts{len(self.copies)}", buffer.kind, writable=True)
        )


@record(eq=False, frozen=False)
class Writer:
    """Writes the kernel of one segment. `before` is the loop in parts that ran just before it."""

    memory: Memory
    declared: Mapping[Cell, Declare]
    segment: Segment
    before: Parted | None
    code: Code = field(default_factory=Code)
    part: Value = field(default_factory=lambda: Value("i", hint="part"))

    def write(self, name: str, of: Kernel, leaves: Sequence[Value], cells: Collection[Cell]) -> Kernel:
        """The segment as a kernel, which leaves some of its values and cells to later ones."""
        code = self.code
        for v in self.segment.kept:
            room = self.memory.room("kept", v.type)
            code.body.append(Load(v, room.buffer, code.whole(room.place(v))))
        code.body += self.segment.told
        if self.segment.parted is not None:
            self.parts(self.segment.parted)
        else:
            self.between(cells)
            for v in leaves:
                self.memory.keep(code, v, v)
        return finished(name, code.body, of, self.part)

    # -------------------------------------------------------------- between loops
    def between(self, later: Collection[Cell]) -> None:
        code, memory = self.code, self.memory
        own = {s.cell for s in self.segment.body if isinstance(s, Declare)}
        self.resume(self.segment.cells - own)
        if self.before is not None:
            self.combine(self.before)
        code.body += self.segment.body
        updated = {s.cell for s in statements(self.segment.body) if isinstance(s, Update)}
        updated |= set(self.before.how.cells) if self.before is not None else set()
        for cell in in_order(self.declared, updated & set(later)):
            memory.changed.add(cell)
            memory.keep(code, cell, code.read(cell))

    def resume(self, cells: Collection[Cell]) -> None:
        """Cells of earlier segments, as those have left them."""
        for cell in in_order(self.declared, cells):
            start = self.declared[cell].start
            if cell in self.memory.changed:
                room = self.memory.room("kept", cell.type)
                start = self.code.load(room.buffer, self.code.whole(room.place(cell)))
            self.code.body.append(Declare(cell, start))

    def combine(self, parted: Parted) -> None:
        """What the parts of a loop have added up, in their order."""
        code, memory = self.code, self.memory
        zero, parts = code.whole(0), code.whole(parted.parts)
        for buffer, op in parted.how.summed.items():
            copy, many = memory.copy(parted.loop, buffer), code.whole(parted.entries[buffer])
            with code.loop(zero, parts, "part", apart=False) as p, code.loop(zero, many) as k:
                new = code.load(copy, code.op("iadd", code.op("imul", p, many), k))
                code.store(buffer, k, code.op(op, code.load(buffer, k), new))
        for cell, op in parted.how.cells.items():
            room = partial(memory, parted, cell)
            with code.loop(zero, parts, "part", apart=False) as p:
                at = code.op("iadd", code.op("imul", p, code.whole(len(room.places))), code.whole(room.place(cell)))
                code.update(cell, op, code.load(room.buffer, at))

    # -------------------------------------------------------------- parts
    def parts(self, parted: Parted) -> None:
        """One part of a loop: the number of the part is a size of the kernel."""
        code, memory, loop, how = self.code, self.memory, parted.loop, parted.how
        self.resume(self.segment.cells - set(how.cells))
        for cell, op in how.cells.items():
            code.body.append(Declare(cell, code.const(NEUTRAL[op], cell.type)))
        copies: dict[Buffer, tuple[Buffer, Value]] = {}
        for buffer, many in parted.entries.items():
            start = code.op("imul", self.part, code.whole(many))
            copies[buffer] = buffer, start
            if buffer in how.summed:
                copies[buffer] = copy, _ = memory.copy(loop, buffer), start
                with code.loop(code.whole(0), code.whole(many)) as k:
                    code.store(copy, code.op("iadd", start, k), code.const(NEUTRAL[how.summed[buffer]], buffer.kind))
        first = code.op("imul", self.part, code.whole(parted.length))
        last = code.op("imin", code.op("iadd", first, code.whole(parted.length)), loop.stop)
        code.body.append(changed(loop, start=first, stop=last, body=moved(loop.body, copies)))
        for cell in how.cells:
            partial(memory, parted, cell)  # all have their places before one is stored
        for cell in how.cells:
            room = partial(memory, parted, cell)
            at = code.op("imul", self.part, code.whole(len(room.places)))
            code.store(room.buffer, code.op("iadd", at, code.whole(room.place(cell))), code.read(cell))


def partial(memory: Memory, parted: Parted, cell: Cell) -> Room:
    """The room in which the parts of a loop leave what they have added up."""
    room = memory.room(f"sums{memory.number(parted.loop)}", cell.type, parted.parts)
    room.place(cell)
    return room


def in_order(order: Mapping[Cell, Declare], cells: Collection[Cell]) -> list[Cell]:
    return [c for c in order if c in cells]


def moved(body: Sequence[Statement], copies: Copies) -> list[Statement]:
    """Statements that use copies of some buffers instead of these."""
    whole: list[Statement] = []
    waiting: list[tuple[Sequence[Statement], list[Statement]]] = [(body, whole)]
    while waiting:
        source, target = waiting.pop()
        for s in source:
            if isinstance(s, For):
                target.append(made := changed(s, body=[]))
                waiting.append((s.body, made.body))
            elif isinstance(s, If):
                target.append(choice := If(s.condition))
                waiting += [(s.then, choice.then), (s.otherwise, choice.otherwise)]
            elif isinstance(s, Load | Store) and s.buffer in copies:
                buffer, start = copies[s.buffer]
                at = Value("i")
                target.append(Let(at, "iadd", (start, s.index)))
                target.append(Load(s.value, buffer, at) if isinstance(s, Load) else Store(buffer, at, s.value))
            else:
                target.append(s)
    return whole


def finished(name: str, body: list[Statement], of: Kernel, part: Value) -> Kernel:
    """A kernel with the buffers, sizes and numbers that its statements use."""
    inside = list(statements(body))
    used = {v for s in inside for v in operands(s)}
    buffers = dict.fromkeys(b for s in inside for b in touched(s) if not b.local)
    own = [b for b in of.buffers if b in buffers]
    return Kernel(
        name,
        (*own, *(b for b in buffers if b not in own)),
        (*(v for v in of.sizes if v in used), *([part] if part in used else [])),
        body,
        tuple(v for v in of.numbers if v in used),
    )


def touched(s: Statement) -> list[Buffer]:
    return [s.buffer] if isinstance(s, Load | Store) else [b for b, _ in s.buffers] if isinstance(s, Run) else []
