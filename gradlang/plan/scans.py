"""Recurrences as loops: each step weaves the roots of the body."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gradlang.ir.tape import Instr, Scan, Tape
from gradlang.loops.ir import Buffer, Value
from gradlang.plan.pointwise import KINDS
from gradlang.plan.reader import VIEWS, Frame, Index, Place, Reader
from gradlang.plan.roots import Axis, Root, read_part
from gradlang.plan.survey import Access, Survey
from gradlang.plan.temporaries import Temporary
from gradlang.plan.weave import Weaver
from gradlang.record import record
from gradlang.types import Dim, Type, add, sub

STAYS = (2, 3, 4, 8, 16)  # entries of a row that is a vector or two
Choose = Callable[[Tape], list[Root]]  # the roots that a body needs


@record
class Recurrence:
    """Writes one scan. `items` are the instructions of its sequences, by number."""

    tape: Tape
    instr: Instr
    items: dict[int, int]
    choose: Choose
    hints: dict[str, int]
    readers: list[Reader]  # of all bodies: a new one is added

    def __call__(self, weaver: Weaver, root: Root) -> None:
        _Loop(self, weaver, root).write()


class _Loop:
    def __init__(self, of: Recurrence, weaver: Weaver, root: Root) -> None:
        self.of, self.weaver, self.root = of, weaver, root
        self.scan: Scan = of.instr.attrs[0]
        self.frame, self.code = weaver.frame, weaver.code
        many = len(self.scan.names)
        args = of.instr.args
        self.first, self.rows, self.held = args[:many], args[many : many + self.scan.rows], args[many + self.scan.rows :]
        self.places = [self.place(k, self.scan.item_type(k)) for k in range(many)]
        inputs = {i.attrs[0][0] for i in self.scan.body.instrs if i.op == "input"}
        # what reads all rows of a step must be done before the step adds its own
        self.late = "past" in inputs or any(lag is None for _, lag in self.scan.ports)
        self.whole = "past" in inputs
        self.empty = {k for k in range(many) if self.empties(k)}
        self.latest = {k: self.room(k) for k in range(many) if self.stays(k)}

    def place(self, k: int, type: Type) -> Place:
        weaver, item = self.weaver, self.of.items.get(k)
        if item is not None and item in weaver.wanted:
            weaver.reader.places[item] = weaver.wanted[item]
            return weaver.wanted[item]
        buffer = Buffer(f"t{len(weaver.temps)}", KINDS[type.dtype], writable=True)
        weaver.temps.append(Temporary(buffer, type.shape))
        made = Place(buffer, tuple(range(type.rank)), type.shape)
        if item is not None:
            weaver.reader.places[item] = made
        return made

    def empties(self, k: int) -> bool:
        """Whether the rows of a push that its steps add to are zeros until then, and each is added to once: such rows are first
        written then."""
        ports = [lag for to, lag in self.scan.ports if to == k]
        if self.scan.kind != "push" or self.late or len(ports) != 1 or ports[0] is None or self.scan.extra[k] != ports[0]:
            return False
        rows = filled(self.of.tape, self.first[k])
        return rows is not None and isinstance(rows[1], int) and rows[1] <= ports[0]

    def stays(self, k: int) -> bool:
        """Whether the row that a step reads of a sequence is the one that the step before has left, and is so short that it can
        stay in registers. (Its way through memory takes as long as three multiplications.)"""
        scan = self.scan
        shape = self.places[k].shape[1:]
        if not self.frame.turns or not all(isinstance(d, int) for d in shape) or scan.types[k].dtype != "real":
            return False
        lags = [lag for to, lag in scan.ports if to == k]
        if self.late or len(shape) != 1 or shape[0] not in STAYS or (scan.kind == "push" and not lags):
            return False
        rows = {i.attrs[0] for i in scan.body.instrs if i.op == "input"}
        return ("inbox" if scan.kind == "push" else "state", k, None if scan.kind == "push" else 1) in rows

    def room(self, k: int) -> Place:
        shape = self.places[k].shape[1:]
        buffer = Buffer(f"t{len(self.weaver.temps)}", "f", writable=True)
        self.weaver.temps.append(Temporary(buffer, shape))
        return Place(buffer, tuple(range(len(shape))), shape)

    def keep(self, k: int, row: Value) -> None:
        """Puts a row where the next step reads it."""
        place, outer = self.latest[k], self.weaver.reader
        code, frame = self.code, self.frame

        def over(index: tuple[Value, ...]) -> None:
            if len(index) == len(place.shape):
                whole = self.places[k]
                made = code.load(whole.buffer, outer.position(whole, (row, *index)), self.scan.names[k])
                code.store(place.buffer, outer.position(place, index), made)
                return
            with code.loop(code.whole(0), frame.dim(place.shape[len(index)])) as c:
                over((*index, c))

        over(())

    def write(self) -> None:
        for k, place in enumerate(self.places):
            self.begin(k, place)
        for k in self.latest:
            self.keep(k, self.frame.dim(0 if self.scan.kind == "push" else sub(self.scan.extra[k], 1)))
        code, frame, scan = self.code, self.frame, self.scan
        body = scan.body
        places = self.pack(body)
        packed = {i: place.axes for i, place in places.items()}
        with code.loop(code.whole(0), frame.dim(scan.length), hint="t", apart=False) as t:
            reader = Reader(body, frame, dict(places), lambda key, index: self.leaf(key, index, t))
            self.of.readers.append(reader)
            makers = [r for r in self.of.choose(body) if r.at not in places]
            copies = [self.copy(k, i, t) for k, (_, i) in enumerate(body.outputs)]
            roots = [*makers, *copies]
            Survey(body, self.of.hints, packed, self.note)(roots)
            inner = Weaver(body, reader, frame, roots, {}, self.weaver.temps, self.of.hints)
            for part in (makers, copies) if self.late else (roots,):
                inner.weave(part)
            for k in self.latest:
                ahead = 1 if scan.kind == "push" else scan.extra[k]
                self.keep(k, code.op("iadd", t, frame.dim(ahead)))

    def pack(self, body: Tape) -> dict[int, Place]:
        """Matrices that every step multiplies by a vector, copied so that the loop over the result runs along rows: then the
        entries of a result are summed side by side, and not one after the other."""
        constant: list[bool] = []
        for instr in body.instrs:
            fixed = instr.attrs[0][0] == "held" if instr.op == "input" else instr.op != "item"
            constant.append(fixed and all(constant[a] for a in instr.args))
        found: dict[int, Place] = {}
        outer = Reader(body, self.frame, {}, lambda key, index: self.weaver.reader.at(self.held[key[1]], index))
        for instr in body.instrs:
            if instr.op != "matmul" or instr.type.rank != 1:
                continue
            matrix, other = instr.args if body.instrs[instr.args[0]].type.rank == 2 else instr.args[::-1]
            if not constant[matrix] or constant[other] or matrix in found:
                continue
            axes = (1, 0) if matrix == instr.args[0] else (0, 1)
            shape = body.instrs[matrix].type.shape
            buffer = Buffer(f"t{len(self.weaver.temps)}", "f", writable=True)
            self.weaver.temps.append(Temporary(buffer, tuple(shape[k] for k in axes)))
            place = found[matrix] = Place(buffer, axes, shape)
            zero = self.code.whole(0)
            with self.code.loop(zero, self.frame.dim(shape[0])) as a, self.code.loop(zero, self.frame.dim(shape[1])) as b:
                self.code.store(buffer, outer.position(place, (a, b)), outer.at(matrix, (a, b)))
        return found

    def note(self, frame: Frame, key: Any, index: Index, access: Access) -> None:
        """Notes where an input of the body lies: behind the views of what it is outside."""
        kind, k, _ = key
        if kind not in ("row", "held"):
            access(index, self.places[k].shape[len(self.places[k].shape) - len(index) :])
            return

        def plain(i: int, at: Index) -> Value | None:
            instr = self.of.tape.instrs[i]
            if instr.op in VIEWS:
                return None
            access(at, instr.type.shape)
            return Value(KINDS[instr.type.dtype])

        step = (frame.code.let("step", (), "i"),) if kind == "row" else ()
        args = self.rows if kind == "row" else self.held
        Reader(self.of.tape, frame, {}, lambda key, at: Value("f"), plain).at(args[k], (*step, *index))

    def begin(self, k: int, place: Place) -> None:
        """The rows that are known before the first step."""
        scan, code, frame = self.scan, self.code, self.frame
        zero = code.whole(0)
        shape = place.shape
        push = scan.kind == "push"
        if self.whole and not push:
            with code.loop(zero, frame.linear([frame.dim(shape[0]), *[zero] * (len(shape) - 1)], shape)) as at:
                code.store(place.buffer, self.start(place, at), code.real(0.0))
        if not push or k in self.empty:
            shape = (scan.extra[k], *shape[1:])
        if shape[0] == 0:
            return
        index: list[Value] = []

        def over(axis: int) -> None:
            if axis == len(shape):
                at = self.weaver.reader.position(place, tuple(index))
                code.store(place.buffer, at, self.weaver.reader.at(self.first[k], tuple(index)))
                return
            if shape[axis] == 1:
                index.append(zero)
                over(axis + 1)
            else:
                with code.loop(zero, frame.dim(shape[axis])) as c:
                    index.append(c)
                    over(axis + 1)
            index.pop()

        over(0)

    def start(self, place: Place, at: Value) -> Value:
        return at if place.start is None else self.code.op("iadd", place.start, at)

    def leaf(self, key: Any, index: Index, t: Value) -> Value:
        """What the inputs of the body are at step t."""
        kind, k, lag = key
        code, outer = self.code, self.weaver.reader
        if kind == "row":
            return outer.at(self.rows[k], (t, *index))
        if kind == "held":
            return outer.at(self.held[k], index)
        place = self.places[k]
        if k in self.latest and (kind == "inbox" if self.scan.kind == "push" else lag == 1):
            place = self.latest[k]
        elif kind != "past":
            row = t if kind == "inbox" else code.op("iadd", t, self.frame.dim(add(self.scan.extra[k], -lag)))
            index = (row, *index)
        return code.load(place.buffer, outer.position(place, index), self.scan.names[k])

    def copy(self, k: int, i: int, t: Value) -> Root:
        """Puts an output of the body where it belongs."""
        code, frame, scan = self.code, self.frame, self.scan
        body = scan.body
        shape = body.instrs[i].type.shape
        axes = tuple(Axis(d, n) for n, d in enumerate(shape))
        to, lag = (k, scan.extra[k]) if scan.kind == "pull" else scan.ports[k]
        place = self.places[to]
        start = place.start
        if lag is not None:
            row = code.op("iadd", t, frame.dim(lag))
            rows = [row, *[code.whole(0)] * len(shape)]
            start = self.start(place, frame.linear(rows, place.shape))
        onto = Place(place.buffer, tuple(range(len(shape))), shape, start)

        fresh = scan.kind == "push" and to in self.empty

        def entry(r: Reader, counters: Sequence[Value]) -> Value:
            made = read_part(i, r, counters)
            return r.code.op("add", r.code.real(0.0), made) if fresh else made  # for the sign of a zero

        return Root(i, axes, entry, "" if scan.kind == "pull" or fresh else "add", onto=onto)


def filled(tape: Tape, i: int) -> tuple[Dim, Dim] | None:
    """The first row of a value that may be other than zero, and the one behind the last, if that is known."""
    instr = tape.instrs[i]
    if instr.op == "unslice" and instr.attrs[2][0] == 1:
        start = instr.attrs[1][0]
        return start, add(start, tape.instrs[instr.args[0]].type.shape[0])
    if instr.op == "slice" and instr.attrs[2][0] in (1, -1):
        rows, start = filled(tape, instr.args[0]), instr.attrs[0][0]
        if rows is not None and instr.attrs[2][0] == 1:
            return sub(rows[0], start), sub(rows[1], start)
        if rows is not None:
            return add(sub(start, rows[1]), 1), add(sub(start, rows[0]), 1)
    return None
