"""What can be done segment by segment, together with some recurrences of one length.

The steps are followed forward through the instructions: from the sequences, along one axis of each array, to sums over this
axis and to single entries. What these need is then asked for backwards, for a window of steps at a time; so are rows of
arrays that are made for the recurrences only and would otherwise be as long as the sequences.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gradlang.ir.tape import DERIVATIVES, Instr, Scan, Tape
from gradlang.ops.table import OpTable
from gradlang.record import changed, record
from gradlang.transform.alignment import rowwise, summed
from gradlang.types import Dim, Shape, add, at_least, mul, neg, sub

FEW = 4  # rows that are taken out of a sequence one by one
ALL = 0  # the window of all steps


class Unfit(Exception):
    """Some recurrences cannot be run in segments, as their steps are needed all at once."""

    def __init__(self, scans: int) -> None:
        super().__init__(scans)
        self.scans = scans


@record
class Track:
    """Entry j along `axis` is known as soon as step start + way*j is done."""

    axis: int
    way: int
    start: Dim


@record
class Rows:
    """Entries of an array along `axis`: first, first + way, ..., one for each step of a window."""

    axis: int
    window: int
    first: Dim
    way: int


@record
class Exit:
    """A value that needs no single steps: the last rows of a sequence (`final`: which one, from which on), a few rows
    (`rows`), or a sum over a window, with the rows of each argument (`parts`)."""

    final: tuple[int, Dim] | None = None
    rows: Rows | None = None
    parts: tuple[Rows | None, ...] = ()


class Region:
    """The instructions around the recurrences `scans` that are done for a segment at a time. Raises Unfit."""

    def __init__(self, tape: Tape, table: OpTable, scans: Sequence[int]) -> None:
        self.instrs, self.table, self.scans = tape.instrs, table, list(scans)
        self.bit = {i: 1 << k for k, i in enumerate(self.scans)}
        self.length: Dim = tape.instrs[scans[0]].attrs[0].length
        self.windows: list[tuple[Dim, Dim]] = [(0, self.length)]
        self.reach = [0] * len(tape.instrs)  # the recurrences that an instruction depends on
        self.tracks: dict[int, Track] = {}
        self.exits: dict[int, Exit] = {}
        for i, instr in enumerate(tape.instrs):
            for a in instr.args:
                self.reach[i] |= self.reach[a]
            self.follow(i, instr)
        self.refuse(i for _, i in tape.outputs)
        self.outputs = tape.outputs
        self.asked: dict[int, dict[Rows, None]] = {}
        self.written: set[int] = set()  # what is asked for and made in the segments
        self.ask()

    def scan(self, i: int) -> Scan:
        found: Scan = self.instrs[i].attrs[0]
        return found

    def shapes(self, instr: Instr) -> list[Shape]:
        return [self.instrs[a].type.shape for a in instr.args]

    def refuse(self, values: Iterable[int]) -> None:
        """Values that are needed for all steps at once."""
        found = 0
        for i in values:
            if i in self.tracks or i in self.bit:
                found |= self.reach[i]
        if found:
            raise Unfit(found)

    # -------------------------------------------------------------- forward
    def follow(self, i: int, instr: Instr) -> None:
        if i in self.bit:
            return self.join(i, instr)
        if instr.op == "item" and instr.args[0] in self.bit:
            extra = self.scan(instr.args[0]).extra[instr.attrs[0]]
            self.tracks[i] = Track(0, 1, neg(extra))
            return None
        tracked = [p for p, a in enumerate(instr.args) if a in self.tracks]
        if not tracked:
            return None
        late = any(self.reach[a] and a not in self.tracks for a in instr.args)
        if instr.op in DERIVATIVES or late:
            return self.refuse(instr.args)
        if instr.op == "slice" and self.entries(i, instr):
            return None
        shapes = self.shapes(instr)
        for axis in range(len(instr.type.shape)):
            axes = rowwise(instr, shapes, axis, self.table)
            if axes is not None and all(axes[p] == self.tracks[instr.args[p]].axis for p in tracked):
                self.tracks[i] = self.moved(instr, axis, self.latest(instr, tracked))
                return None
        p, axis = tracked[0], self.tracks[instr.args[tracked[0]]].axis
        over = summed(instr, shapes, p, axis)
        if over is None or any(over[p] != self.tracks[instr.args[p]].axis for p in tracked):
            return self.refuse(instr.args)
        rows = self.whole(self.latest(instr, tracked), shapes[p][axis])
        self.exits[i] = Exit(parts=tuple(None if a is None else changed(rows, axis=a) for a in over))
        return None

    def join(self, i: int, instr: Instr) -> None:
        """A recurrence over the steps of others."""
        scan, bit = self.scan(i), self.bit[i]
        rows = range(len(scan.names), len(scan.names) + scan.rows)
        for p, a in enumerate(instr.args):
            track = self.tracks.get(a)
            if self.reach[a] and (track is None or p not in rows or track.axis or track.way < 0):
                raise Unfit(bit)
        self.reach[i] |= bit

    def latest(self, instr: Instr, positions: Sequence[int]) -> Track:
        """Where arguments that go along with one another are all known."""
        made = self.tracks[instr.args[positions[0]]]
        for p in positions[1:]:
            t = self.tracks[instr.args[p]]
            if at_least(sub(t.start, made.start), 0):
                made, t = t, made
            if t.way != made.way or not at_least(sub(made.start, t.start), 0):
                self.refuse(instr.args)
        return made

    def moved(self, instr: Instr, axis: int, t: Track) -> Track:
        if instr.op != "slice":
            return Track(axis, t.way, t.start)
        first, step = instr.attrs[0][axis], instr.attrs[2][axis]
        return Track(axis, t.way * step, add(t.start, mul(first, t.way)))

    def entries(self, i: int, instr: Instr) -> bool:
        """Whether a slice takes a few rows; then it needs no others."""
        track = self.tracks[instr.args[0]]
        start, length, step = (part[track.axis] for part in instr.attrs)
        if not isinstance(length, int) or length > FEW or step not in (1, -1):
            return False
        source = self.instrs[instr.args[0]]
        if source.op == "item" and step == 1 and at_least(sub(start, self.length), 0):
            self.exits[i] = Exit(final=(instr.args[0], sub(start, self.length)))
            return True
        made = self.moved(instr, track.axis, track)
        self.exits[i] = Exit(rows=self.whole(made, length))
        return True

    def whole(self, track: Track, length: Dim) -> Rows:
        """All entries along the axis of a track, in the order of their steps."""
        if track.way > 0:
            return Rows(track.axis, self.window(track.start, length), 0, 1)
        last = sub(length, 1)
        return Rows(track.axis, self.window(sub(track.start, last), length), last, -1)

    def window(self, start: Dim, length: Dim) -> int:
        if (start, length) not in self.windows:
            self.windows.append((start, length))
        return self.windows.index((start, length))

    # -------------------------------------------------------------- backward
    def ask(self) -> None:
        """What the exits and the recurrences need, from the last instruction on."""
        users = [0] * len(self.instrs)
        inside = [0] * len(self.instrs)  # users that only need rows
        for instr in self.instrs:
            for a in instr.args:
                users[a] += 1
        for _, i in self.outputs:
            users[i] += 1
        for i in range(len(self.instrs) - 1, -1, -1):
            instr = self.instrs[i]
            for p, a in enumerate(instr.args):
                found = self.wanted(i, instr, p, users[i] == inside[i])
                for rows in found:
                    self.asked.setdefault(a, {})[rows] = None
                inside[a] += bool(found)

    def wanted(self, i: int, instr: Instr, p: int, alone: bool) -> list[Rows]:
        """The rows of an argument that are needed."""
        if i in self.bit:
            scan = self.scan(i)
            return [Rows(0, ALL, 0, 1)] if len(scan.names) <= p < len(scan.names) + scan.rows else []
        if i in self.exits:
            found = self.exits[i]
            if found.rows is not None:
                return [self.through(instr, p, found.rows)]
            part = found.parts[p] if found.parts else None
            return [part] if part is not None else []
        if i not in self.asked or (instr.op == "item" and self.known(i)):
            return []
        if not self.reach[i] and not (alone and self.absorbed(instr, self.asked[i])):
            return []
        self.written.add(i)
        out = []
        for rows in self.asked[i]:
            axes = rowwise(instr, self.shapes(instr), rows.axis, self.table)
            assert axes is not None
            if axes[p] is not None:
                out.append(self.through(instr, p, rows))
        return out

    def absorbed(self, instr: Instr, asked: Iterable[Rows]) -> bool:
        """Whether rows of an array that nothing else uses are made in the segments."""
        if instr.op == "mark":
            return False
        return all(rowwise(instr, self.shapes(instr), rows.axis, self.table) is not None for rows in asked)

    def through(self, instr: Instr, p: int, rows: Rows) -> Rows:
        """The rows of an argument that rows of the result need."""
        axes = rowwise(instr, self.shapes(instr), rows.axis, self.table)
        assert axes is not None
        axis = axes[p]
        assert axis is not None
        if instr.op != "slice":
            return Rows(axis, rows.window, rows.first, rows.way)
        start, step = instr.attrs[0][axis], instr.attrs[2][axis]
        return Rows(axis, rows.window, add(start, mul(rows.first, step)), rows.way * step)

    def known(self, i: int) -> bool:
        """Raises Unfit if a sequence is read further back than its first rows reach."""
        if self.instrs[i].args[0] in self.bit:
            for rows in self.asked[i]:
                back = self.back(i, rows)
                extra = self.scan(self.instrs[i].args[0]).extra[self.instrs[i].attrs[0]]
                if rows.way < 0 or not at_least(back, 0) or not at_least(sub(extra, back), 0):
                    raise Unfit(self.reach[i])
        return True

    def back(self, i: int, rows: Rows) -> Dim:
        """How many steps before the step of its window a row of a sequence stands."""
        extra = self.scan(self.instrs[i].args[0]).extra[self.instrs[i].attrs[0]]
        return sub(add(self.windows[rows.window][0], extra), rows.first)
