"""Long kernels as several functions.

LLVM takes four times as long, and more, over a function of twice the length. A body that is too long is cut into pieces, each
a kernel of its own that runs after the one before it. What a piece makes and a later one uses lies between them in an array
that is `kept`; indices, and what is read from arrays that nobody writes, are made again instead. The steps of a loop that are
apart are taken by blocks: a piece makes all steps of a block before the next piece begins, so that its steps are vectors as
those of the whole loop were, and what is kept is small.
"""

from __future__ import annotations

from collections.abc import Iterable

from gradlang.backend.pieces import PIECE, Division, Piece, length
from gradlang.loops.ir import (
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
from gradlang.loops.walk import statements
from gradlang.record import changed

LONG = 2500  # statements of a body that is cut
STEP = 5000  # of a step of a loop whose steps are apart: what it keeps costs time
ROOM = 1 << 14  # numbers that a block keeps, about
LARGEST = 1 << 16  # that are ever kept on the stack
ACCESSES = 200  # to memory in a step: LLVM tells 250 apart, and makes no vectors of steps with more
STEPS = 512  # of a block, at most
LANES = 8
# Types of numbers, and of the arrays in which they are kept. (LLVM makes no vectors of steps that store truth values.)
KINDS = {"f": "f", "i": "i", "b": "f", "w": "i"}

Slot = tuple[str, int]  # the kind of an array, and a place in it


def in_parts(kernel: Kernel) -> tuple[Kernel, list[Kernel]]:
    """The kernel, with bodies of no great length, and its pieces."""
    if kernel.turn is not None or length(kernel.body) <= LONG:
        return kernel, []
    cutter = Cutter(kernel)
    return cutter.kernel(), cutter.pieces


def too_long(body: list[Statement], most: int) -> bool:
    return len(body) > 1 and length(body) > most


def number(value: int) -> Value:
    return Value("i", value)


class Cutter:
    """Cuts the bodies in a kernel, the innermost ones first."""

    def __init__(self, kernel: Kernel) -> None:
        self.whole = kernel
        self.pieces: list[Kernel] = []
        self.kept: list[dict[str, Buffer]] = []  # the arrays of cuts that hold no others, of those that hold these, and so on

    def kernel(self) -> Kernel:
        blocks = [(self.whole.body, True)]  # and whether a block runs as a whole, not step by step
        for s in statements(self.whole.body):
            blocks += (
                [(s.body, False)] if isinstance(s, For) else [(s.then, True), (s.otherwise, True)] if isinstance(s, If) else []
            )
        made: dict[int, list[Statement]] = {}  # by what they take the place of
        for block, once in reversed(blocks):
            inside = [x for s in block for x in self.rebuilt(s, made)]
            made[id(block)] = Cut(self, inside).in_place() if once and too_long(inside, LONG) else inside
        return changed(self.whole, body=made[id(self.whole.body)])

    def rebuilt(self, s: Statement, made: dict[int, list[Statement]]) -> list[Statement]:
        """A statement with the bodies that its blocks have now; a loop with a long one in pieces."""
        if isinstance(s, If):
            then, otherwise = made[id(s.then)], made[id(s.otherwise)]
            same = list(map(id, (*then, *otherwise))) == list(map(id, (*s.then, *s.otherwise)))
            return [s if same else changed(s, then=then, otherwise=otherwise)]
        if not isinstance(s, For):
            return [s]
        body = made[id(s.body)]
        loop = s if list(map(id, body)) == list(map(id, s.body)) else changed(s, body=body)
        if not too_long(body, STEP if s.apart else LONG):
            return [loop]
        if s.apart:
            for size in (PIECE, PIECE // 2, PIECE // 4, PIECE // 8, PIECE // 16):
                cut = Cut(self, body, loop, size)
                if cut.accesses <= ACCESSES:
                    break
            if cut.each_its_own():
                return cut.by_blocks()
        return [changed(loop, body=Cut(self, body).in_place())]

    def room(self, body: list[Statement]) -> dict[str, Buffer]:
        """The arrays of a cut: none that a cut inside it uses."""
        used = Piece(body).buffers
        height = max((k + 1 for k, kept in enumerate(self.kept) if any(b in used for b in kept.values())), default=0)
        if height == len(self.kept):
            self.kept.append({kind: Buffer(f"kept{height}_{kind}", kind, True) for kind in ("f", "i")})
        return self.kept[height]

    def piece(self, buffers: Iterable[Buffer], sizes: Iterable[Value], body: list[Statement]) -> Kernel:
        made = Kernel(f"{self.whole.name}_part{len(self.pieces)}", tuple(buffers), tuple(sizes), body)
        self.pieces.append(made)
        return made


class Cut(Division):
    """One body in pieces. With a `loop` they make the steps of a block each."""

    def __init__(self, cutter: Cutter, body: list[Statement], loop: For | None = None, size: int | None = None) -> None:
        super().__init__(body, loop, size)
        self.cutter = cutter
        self.kept = cutter.room(body)
        self.filled = dict.fromkeys(self.kept, 0)
        self.slots: dict[Value | Cell, Slot] = {}  # where each is found, of a cell the newest
        self.outer: dict[Value | Cell, Slot] = {}  # of what is made outside of the body
        self.before: list[Statement] = []  # runs before the pieces
        self.lines: list[Statement] = []  # runs them
        self.steps = 1

    # -------------------------------------------------------------- what is cut
    def in_place(self) -> list[Statement]:
        """The pieces one after another."""
        sizes = self.outside()
        if self.crossing > LARGEST:
            return self.body
        for k, piece in enumerate(self.pieces):
            self.run(k, piece, sizes, None)
        return self.settled([*self.before, *self.lines])

    def by_blocks(self) -> list[Statement]:
        loop = self.loop
        assert loop is not None
        sizes = self.outside()
        self.steps = min(STEPS, max(LANES, ROOM // max(self.crossing, 1) // LANES * LANES))
        if self.crossing * self.steps > LARGEST:
            return [loop]
        block, low, high, size = (Value("i", hint=hint) for hint in ("block", "low", "high", "size"))
        first, left, rounded, count = (Value("i") for _ in range(4))
        steps = number(self.steps)
        for k, piece in enumerate(self.pieces):
            self.run(k, piece, [*sizes, low, size], (low, size))
        end = Value("i")
        bounds = [
            Let(first, "imul", (block, steps)),
            Let(low, "iadd", (loop.start, first)),
            Let(end, "iadd", (low, steps)),
            Let(high, "imin", (end, loop.stop)),
            Let(size, "isub", (high, low)),
        ]
        back = [s for cell, slot in self.outer.items() if isinstance(cell, Cell) for s in self.moved(self.slots[cell], slot)]
        counted = [
            Let(left, "isub", (loop.stop, loop.start)),
            Let(rounded, "iadd", (left, number(self.steps - 1))),
            Let(count, "idiv", (rounded, steps)),
        ]
        blocks = For(block, number(0), count, [*bounds, *self.lines, *back], apart=False)
        self.slots.update(self.outer)
        return self.settled([*self.before, *counted, blocks])

    # -------------------------------------------------------------- what is made outside
    def outside(self) -> list[Value]:
        """Keeps the numbers and cells of the surroundings that pieces use. Gives the whole numbers, which they are passed."""
        sizes: dict[Value, None] = {}
        counter = self.loop.counter if self.loop else None
        changed_ones = {c for p in self.pieces for c, new in p.cells.items() if new}
        for piece in self.pieces:
            for v in piece.values:
                if v in self.at or v is counter:
                    continue
                if v.type == "i":
                    sizes[v] = None
                elif v not in self.outer:
                    slot = self.outer[v] = self.room(v.type, 1)
                    self.before += self.stored(v, self.kept[slot[0]], number(slot[1]))
            for c in piece.cells:
                if c in self.declared or c in self.outer:
                    continue
                slot, old = self.room(c.type, 1), Value(c.type)
                self.outer[c] = slot
                self.before += [Read(old, c), *self.stored(old, self.kept[slot[0]], number(slot[1]))]
        self.slots.update(self.outer)
        self.changing = [c for c in self.outer if isinstance(c, Cell) and c in changed_ones]
        return list(sizes)

    def settled(self, lines: list[Statement]) -> list[Statement]:
        """With the cells of the surroundings as the pieces leave them."""
        for cell in self.changing:
            kind, place = self.slots[cell]
            new = Value(cell.type)
            lines += [*self.loaded(new, self.kept[kind], number(place)), Update(cell, "", new)]
        for kind, buffer in self.kept.items():
            buffer.local = max(buffer.local, self.filled[kind])
        return lines

    # -------------------------------------------------------------- pieces
    def run(self, k: int, piece: Piece, sizes: list[Value], block: tuple[Value, Value] | None) -> None:
        """Writes the kernel of a piece, and the statement that runs it."""
        given = {kind: Buffer(f"given_{kind}", kind) for kind in self.kept}
        made = {kind: Buffer(f"made_{kind}", kind, True) for kind in self.kept}
        base = dict(self.filled)
        head: list[Statement] = []
        body: list[Statement] = []
        tail: list[Statement] = []
        close: list[Statement] = []
        offset = Value("i", hint="step")
        needed, again = self.needs(piece)
        cells = [c for c in piece.cells if c not in piece.declared]
        things: list[Value | Cell] = [*needed, *cells]
        for thing in things:
            kind, place = self.slots[thing]
            once = thing in self.outer
            lines, index = (head, number(place)) if once or not block else (body, Value("i"))
            if index.const is None:
                lines.append(Let(index, "iadd", (offset, number(place))))
            if isinstance(thing, Value):
                lines += self.loaded(thing, given[kind], index)
            else:
                start = Value(thing.type)
                lines += [*self.loaded(start, given[kind], index), Declare(thing, start)]
        body += [*again, *piece.body]
        for thing in self.gives(k):
            once = thing in self.outer
            kind, place = self.room(thing.type, 1 if once else self.steps)
            place -= base[kind]
            lines, index = (close, number(place)) if once or not block else (tail, Value("i"))
            if index.const is None:
                lines.append(Let(index, "iadd", (offset, number(place))))
            value = thing if isinstance(thing, Value) else Value(thing.type)
            lines += [] if isinstance(thing, Value) else [Read(value, thing)]
            lines += self.stored(value, made[kind], index)
            self.slots[thing] = kind, place + base[kind]
        if block:
            assert self.loop is not None
            low, count = block
            inside = [Let(self.loop.counter, "iadd", (low, offset)), *body, *tail]
            body, tail = [changed(self.loop, counter=offset, start=number(0), stop=count, body=inside)], []
        everything = [*head, *body, *tail, *close]
        self.lines.append(self.call(everything, sizes, given, made, base))

    def call(
        self, body: list[Statement], sizes: list[Value], given: dict[str, Buffer], made: dict[str, Buffer], base: dict[str, int]
    ) -> Run:
        used = Piece(body).buffers
        places: list[tuple[Buffer, Buffer, int]] = []  # of the kernel, of the surroundings, and where in that
        for b in used:
            if b not in (*given.values(), *made.values()):
                places.append((b, b, 0))
        places += [(b, self.kept[kind], 0) for kind, b in given.items() if b in used]
        places += [(b, self.kept[kind], base[kind]) for kind, b in made.items() if b in used]
        kernel = self.cutter.piece((b for b, _, _ in places), sizes, body)
        return Run(kernel, tuple((b, number(place)) for _, b, place in places), tuple(sizes))

    # -------------------------------------------------------------- memory
    def room(self, type: str, count: int) -> Slot:
        kind = KINDS[type]
        place = self.filled[kind]
        self.filled[kind] += count
        return kind, place

    def stored(self, value: Value, buffer: Buffer, index: Value) -> list[Statement]:
        if value.type == buffer.kind:
            return [Store(buffer, index, value)]
        other = Value(buffer.kind)
        return [Let(other, "btof" if value.type == "b" else "wtoi", (value,)), Store(buffer, index, other)]

    def loaded(self, value: Value, buffer: Buffer, index: Value) -> list[Statement]:
        if value.type == buffer.kind:
            return [Load(value, buffer, index)]
        other = Value(buffer.kind)
        back = Let(value, "ne", (other, Value("f", 0.0))) if value.type == "b" else Let(value, "itow", (other,))
        return [Load(other, buffer, index), back]

    def moved(self, source: Slot, target: Slot) -> list[Statement]:
        if source == target:
            return []
        (kind, a), (_, b) = source, target
        value = Value(kind)
        return [Load(value, self.kept[kind], number(a)), Store(self.kept[kind], number(b), value)]
