"""Recurrences that keep their states at some steps only, and compute the others again where the derivative needs them.

With about sqrt(n) segments of sqrt(n) steps the memory is that of sqrt(n) states, and the price one more evaluation
(Chen, Xu, Zhang and Guestrin, "Training deep nets with sublinear memory cost", 2016; Griewank, Optim. Methods Softw. 1,
1992). The recurrence and the code around it that works step by step become one `segments` instruction.
"""

from __future__ import annotations

from gradlang.check.program import AT, BEGIN, Segments, steps_in
from gradlang.ir.rebuild import copy, dce
from gradlang.ir.tape import DERIVATIVES, Builder, Instr, Scan, Tape
from gradlang.ops.table import OpTable
from gradlang.record import changed
from gradlang.transform.alignment import resized, rowwise
from gradlang.transform.regions import ALL, Region, Rows, Unfit
from gradlang.types import BUNDLE, INT, Dim, Size, Type, add, mul, size, sub


def checkpoint(tape: Tape, table: OpTable) -> Tape:
    """The tape with its recurrences in segments, where their states are needed one after the other only and the derivatives
    are first ones in reverse mode."""
    groups: dict[Dim, list[Scan]] = {}
    for scan in candidates(tape):
        groups.setdefault(scan.length, []).append(scan)
    waiting = list(groups.values())
    while waiting:
        scans = waiting.pop()
        at = [i for i, instr in enumerate(tape.instrs) if instr.op == "scan" and instr.attrs[0] in scans]
        try:
            tape = Writer(Region(tape, table, at)).tape()
        except Unfit as unfit:
            misfits = [tape.instrs[i].attrs[0] for k, i in enumerate(at) if unfit.scans >> k & 1]
            rest = [s for s in scans if s not in misfits]
            waiting += [misfits, rest] if rest else []
    return tape


def candidates(tape: Tape) -> list[Scan]:
    """The recurrences that look back a fixed number of steps and that no second or forward derivative goes through."""
    found: list[Scan] = []
    through = [0] * len(tape.instrs)  # recurrences that a value depends on
    under = [0] * len(tape.instrs)  # those that a derivative among its arguments goes through
    barred = 0
    for i, instr in enumerate(tape.instrs):
        for a in instr.args:
            through[i] |= through[a]
            under[i] |= under[a]
        if instr.op == "scan":
            through[i] |= 1 << len(found)
            found.append(instr.attrs[0])
        if instr.op in DERIVATIVES:
            y, rank = instr.args[0], tape.instrs[instr.args[0]].type.rank
            reverse = instr.op == "grad" or (instr.op == "vjp" and tape.instrs[instr.args[1]].type.rank == rank)
            barred |= under[y] | (0 if reverse else through[y])
            under[i] |= through[i]
    return [s for k, s in enumerate(found) if not barred >> k & 1 and s.kind == "pull" and not reads_all(s)]


def reads_all(scan: Scan) -> bool:
    return any(i.op == "input" and i.attrs[0][0] == "past" for i in scan.body.instrs)


class Writer:
    """Writes a region as one instruction and what is outside of it around it."""

    def __init__(self, region: Region) -> None:
        self.region, self.instrs = region, region.instrs
        self.b, self.body = Builder(region.table), Builder(region.table)
        self.outer: dict[int, int] = {}  # what does not depend on the recurrences
        self.inner: dict[tuple[int, Rows], int] = {}
        self.holds: dict[int, int] = {}
        self.held: list[int] = []
        self.rows: list[tuple[int, int]] = []  # (array, window)
        self.first: list[int] = []
        self.sequences: dict[tuple[int, int], int] = {}  # (recurrence, which) -> in the body
        self.place: dict[tuple[int, int], int] = {}  # (recurrence, which) -> which carried value

    def tape(self) -> Tape:
        r = self.region
        for i, instr in enumerate(self.instrs):
            if not r.reach[i]:
                self.outer[i] = copy(self.b, instr, tuple([self.outer[a] for a in instr.args]))
        results = self.inside()
        made = self.b.add("segments", (*self.first, *(a for a, _ in self.rows), *self.held), (results,), BUNDLE)
        for k, i in enumerate(i for i in r.exits if r.exits[i].final is None):
            self.outer[i] = self.result(made, len(self.first) + k, i)
        for i, instr in enumerate(self.instrs):
            if i in r.exits and r.exits[i].final is not None:
                self.outer[i] = self.last_rows(made, i)
            elif i not in self.outer and i not in r.bit and all(a in self.outer for a in instr.args):
                self.outer[i] = copy(self.b, instr, tuple([self.outer[a] for a in instr.args]))
        return dce(self.b.tape((name, self.outer[i]) for name, i in r.outputs))

    # -------------------------------------------------------------- after the segments
    def item(self, made: int, k: int, type: Type, like: Instr) -> int:
        return self.b.add("item", (made,), (k,), type, like.span, like.scope, like.name)

    def last_rows(self, made: int, i: int) -> int:
        """The last rows of a sequence, from what was carried to its end."""
        instr, found = self.instrs[i], self.region.exits[i].final
        assert found is not None
        sequence = self.instrs[found[0]]
        k = self.place[sequence.args[0], sequence.attrs[0]]
        carried = self.item(made, k, self.b.instrs[self.first[k]].type, sequence)
        start, length, step = instr.attrs
        return self.b.apply("slice", (carried,), ((found[1], *start[1:]), length, step), instr.span, instr.scope)

    def result(self, made: int, k: int, i: int) -> int:
        """A sum, or a few rows in the order and along the axis of the program."""
        instr, rows = self.instrs[i], self.region.exits[i].rows
        if rows is None:
            return self.item(made, k, instr.type, instr)
        out = self.item(made, k, Type(front(instr.type.shape, rows.axis), instr.type.dtype), instr)
        out = moved_back(self.b, out, rows.axis)
        length = instr.type.shape[rows.axis]
        return out if rows.way > 0 else along(self.b, out, rows.axis, sub(length, 1), length, -1)

    # -------------------------------------------------------------- the body
    def inside(self) -> Segments:
        r = self.region
        for i, instr in enumerate(self.instrs):
            if i in r.bit:
                self.recurrence(i, instr)
            for part in r.asked.get(i, ()):
                if r.reach[i] or i in r.written or instr.op == "iota":
                    self.inner[i, part] = self.part(i, instr, part)
        names, types, outs, windows = [], [], [], []
        for (i, k), at in self.sequences.items():
            scan = r.scan(i)
            many = scan.extra[k]
            names.append(scan.names[k])
            types.append(Type((many, *scan.types[k].shape)))
            outs.append(along(self.body, at, 0, self.count(ALL), many))
        for i, found in r.exits.items():
            if found.final is None:
                instr, rows = self.instrs[i], found.rows
                names.append(instr.name or "total")
                shape = instr.type.shape if rows is None else front(instr.type.shape, rows.axis)
                types.append(Type(shape, instr.type.dtype))
                windows.append(None if rows is None else rows.window)
                outs.append(self.leaving(instr, found.parts) if rows is None else self.fronted(i, instr, rows))
        body = self.body.tape((f"{k} {name}", at) for k, (name, at) in enumerate(zip(names, outs, strict=True)))
        rows_of = tuple(w for _, w in self.rows)
        return Segments(r.length, tuple(names), tuple(types), len(self.first), tuple(r.windows), rows_of, tuple(windows), body)

    def count(self, window: int) -> Dim:
        """How many steps of a window are in the segment."""
        return steps_in(self.region.windows, window)

    def offset(self, window: int) -> Dim:
        return 0 if window == ALL else size(AT.format(window))

    def recurrence(self, i: int, instr: Instr) -> None:
        scan, span = self.region.scan(i), instr.span
        many = len(scan.names)
        args = []
        for k, a in enumerate(instr.args[:many]):
            self.place[i, k] = len(self.first)
            args.append(self.body.leaf("input", (("carry", len(self.first), None),), self.instrs[a].type, span).id)
            self.first.append(self.outer[a])
        args += [self.row(a, Rows(0, ALL, 0, 1)) for a in instr.args[many : many + scan.rows]]
        args += [self.whole(a) for a in instr.args[many + scan.rows :]]
        part = changed(scan, length=self.count(ALL))
        made = self.body.add("scan", tuple(args), (part,), BUNDLE, span, instr.scope)
        for k in range(many):
            type = part.item_type(k)
            self.sequences[i, k] = self.body.add("item", (made,), (k,), type, span, instr.scope)

    def part(self, i: int, instr: Instr, rows: Rows) -> int:
        """Rows of a value."""
        r, length = self.region, self.count(rows.window)
        if instr.op == "item":
            at, extra = self.sequences[instr.args[0], instr.attrs[0]], r.scan(instr.args[0]).extra[instr.attrs[0]]
            return along(self.body, at, 0, sub(add(extra, self.offset(rows.window)), r.back(i, rows)), length)
        if instr.op == "iota":
            return self.counter(rows)
        axes = rowwise(instr, r.shapes(instr), rows.axis, r.table)
        assert axes is not None
        args = [
            self.whole(a) if axis is None else self.row(a, r.through(instr, p, rows))
            for p, (a, axis) in enumerate(zip(instr.args, axes, strict=True))
        ]
        return resized(self.body, instr, args, rows.axis, length)

    def counter(self, rows: Rows) -> int:
        """Rows of 0, 1, 2, ...: the step that the segment starts from is a size."""
        b, length = self.body, self.count(rows.window)
        here = b.leaf("iota", (length,), Type((length,), "int"), (0, 0)).id
        begin = sub(add(size(BEGIN), self.offset(rows.window)), self.region.windows[rows.window][0])
        first = self.number(add(rows.first, mul(begin, rows.way)))
        return b.apply("add" if rows.way > 0 else "sub", (first, here))

    def number(self, dim: Dim) -> int:
        return self.body.leaf("size" if isinstance(dim, Size) else "const", (dim,), INT, (0, 0)).id

    def leaving(self, instr: Instr, parts: tuple[Rows | None, ...]) -> int:
        args = [self.whole(a) if rows is None else self.row(a, rows) for a, rows in zip(instr.args, parts, strict=True)]
        return resized(self.body, instr, args, None, 0)

    def fronted(self, i: int, instr: Instr, rows: Rows) -> int:
        """A few rows, as many of them as the segment has, along the first axis."""
        return moved_front(self.body, self.part(i, instr, rows), rows.axis)

    def whole(self, i: int) -> int:
        """A value that all segments share."""
        if i not in self.holds:
            instr = self.instrs[i]
            key = ("held", len(self.held), None)
            if instr.op in ("const", "size"):
                self.holds[i] = self.body.leaf(instr.op, instr.attrs, instr.type, instr.span).id
            else:
                self.holds[i] = self.body.leaf("input", (key,), instr.type, instr.span).id
                self.held.append(self.outer[i])
        return self.holds[i]

    def row(self, i: int, rows: Rows) -> int:
        """Rows of a value that is made in the segments, or of an array outside."""
        if (i, rows) not in self.inner:
            instr, (_, length) = self.instrs[i], self.region.windows[rows.window]
            array = along(self.b, self.outer[i], rows.axis, rows.first, length, rows.way)
            array = moved_front(self.b, array, rows.axis)
            shape = (self.count(rows.window), *self.b.instrs[array].type.shape[1:])
            key = ("row", len(self.rows), None)
            made = self.body.leaf("input", (key,), Type(shape, instr.type.dtype), instr.span).id
            self.rows.append((array, rows.window))
            self.inner[i, rows] = moved_back(self.body, made, rows.axis)
        return self.inner[i, rows]


# ------------------------------------------------------------------ axes
def front(shape: tuple[Dim, ...], axis: int) -> tuple[Dim, ...]:
    return (shape[axis], *shape[:axis], *shape[axis + 1 :])


def along(b: Builder, x: int, axis: int, start: Dim, length: Dim, step: int = 1) -> int:
    """Entries of an array along one axis."""
    shape = b.instrs[x].type.shape
    settings = (
        tuple(start if k == axis else 0 for k in range(len(shape))),
        tuple(length if k == axis else d for k, d in enumerate(shape)),
        tuple(step if k == axis else 1 for k in range(len(shape))),
    )
    return b.apply("slice", (x,), settings)


def moved_front(b: Builder, x: int, axis: int) -> int:
    rank = b.instrs[x].type.rank
    return b.apply("transpose", (x,), ((axis, *range(axis), *range(axis + 1, rank)),)) if axis else x


def moved_back(b: Builder, x: int, axis: int) -> int:
    rank = b.instrs[x].type.rank
    return b.apply("transpose", (x,), ((*range(1, axis + 1), 0, *range(axis + 1, rank)),)) if axis else x
