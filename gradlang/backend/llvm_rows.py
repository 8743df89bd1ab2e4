"""Kernels that turn rows into columns, or columns into rows, as LLVM text: square blocks of numbers, in registers.

A block is transposed as in Eklundh, A Fast Computer Method for Matrix Transposing, IEEE Trans. Computers C-21 (1972): for each
bit of the places, the pairs of vectors whose places differ in it exchange halves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from gradlang.backend.llvm_ops import Unit
from gradlang.loops.ir import Buffer, Kernel, Turn, Value

WIDEST = 256  # bits: blocks of wider vectors are no faster, since memory is what they wait for
LINE = 64  # bytes of a line of the cache
FETCH = "call void @llvm.prefetch.p0(ptr {}, i32 0, i32 2, i32 1)"  # into the second cache
HELD = 16  # vectors that are written together, row by row: what lies in memory one after another is written so


class _Lines:
    """The body of one kernel of this kind: blocks of `side` rows, then what is left, row by row."""

    def __init__(self, unit: Unit, turn: Turn) -> None:
        self.unit, self.kind, self.bytes, self.turn = unit, unit.real, unit.bytes["f"], turn
        lanes = min(WIDEST, unit.target.vector) // (8 * self.bytes)
        self.side = min(lanes, 1 << (turn.columns.bit_length() - 1))
        self.vector = f"<{self.side} x {self.kind}>"
        self.lines: list[str] = []
        self.count = 0

    def emit(self, text: str) -> str:
        self.count += 1
        self.lines.append(f"  %x{self.count} = {text}")
        return f"%x{self.count}"

    def entry(self, base: str, at: int | str, kind: str = "") -> str:
        return self.emit(f"getelementptr inbounds {kind or self.kind}, ptr {base}, i64 {at}")

    def read(self, at: str) -> str:
        return self.emit(f"load {self.vector}, ptr {at}, align {self.bytes}")

    def starts(self) -> Iterator[int]:
        """The first columns of blocks. The last block may share columns with the one before."""
        columns, side = self.turn.columns, self.side
        yield from range(0, columns - side + 1, side)
        if columns % side:
            yield columns - side

    def together(self) -> Iterator[list[int]]:
        """Blocks of which rows are written as a whole, in groups of about one size."""
        starts = list(self.starts())
        groups = len(starts) if self.turn.gathers else -(-len(starts) * self.side // HELD)
        size = -(-len(starts) // groups)
        yield from (starts[k : k + size] for k in range(0, len(starts), size))

    def block(self, base: Sequence[str], tile: str, first: int) -> list[tuple[str, str]]:
        """A block that begins with a column: its vectors, and where they go."""
        ends = [self.entry(b, first) for b in base], [self.entry(tile, (first + k) * self.turn.room) for k in range(self.side)]
        sources, targets = ends if self.turn.gathers else ends[::-1]
        return list(zip(self.transposed([self.read(source) for source in sources]), targets, strict=True))

    def transposed(self, block: Sequence[str]) -> list[str]:
        side, found, bit = self.side, list(block), 1
        while bit < side:
            for a in (k for k in range(side) if not k & bit):
                low = [k + side - bit if k & bit else k for k in range(side)]
                high = [k + side if k & bit else k + bit for k in range(side)]
                found[a], found[a + bit] = (self.shuffled(found[a], found[a + bit], places) for places in (low, high))
            bit *= 2
        return found

    def shuffled(self, a: str, b: str, places: Sequence[int]) -> str:
        kind, mask = self.vector, ", ".join(f"i32 {k}" for k in places)
        return self.emit(f"shufflevector {kind} {a}, {kind} {b}, <{self.side} x i32> <{mask}>")

    def loop(self, name: str, start: str, step: int, count: str, before: str) -> Iterator[str]:
        """Gives the counter, once: what is written then is the body. Its last block is `name`.end."""
        last = self.emit(f"sub i64 {count}, {step}")
        self.lines += [f"  %{name}.some = icmp sle i64 {start}, {last}"]
        self.lines += [f"  br i1 %{name}.some, label %{name}, label %{name}.done", f"{name}:"]
        self.lines += [f"  %{name}.i = phi i64 [ {start}, %{before} ], [ %{name}.next, %{name}.end ]"]
        yield f"%{name}.i"
        self.lines += [f"  br label %{name}.end", f"{name}.end:", f"  %{name}.next = add nsw i64 %{name}.i, {step}"]
        self.lines += [f"  %{name}.more = icmp sle i64 %{name}.next, {last}"]
        self.lines += [f"  br i1 %{name}.more, label %{name}, label %{name}.done, !llvm.loop {self.unit.note()}"]
        self.lines += [f"{name}.done:"]

    def write(self, tile: str, rows: str, places: str, count: str) -> list[str]:
        """`places` are the positions of rows in memory, if they are gathered, and else the distance between them."""
        side, room = self.side, self.turn.room
        done = self.emit(f"and i64 {count}, {-side}")
        for at in self.loop("rows", "0", side, count, "entry"):
            base, here = [self.row(rows, places, at, k) for k in range(side)], self.entry(tile, at)
            later = self.fetched(rows, places, at)
            stores = side * len(list(self.starts()))
            for starts in self.together():
                made = [self.block(base, here, first) for first in starts]
                for value, to in (pair for row in zip(*made, strict=True) for pair in row):
                    self.lines.append(f"  store {self.vector} {value}, ptr {to}, align {self.bytes}")
                    for _ in range(-(-len(later) // stores)):
                        self.lines.append(f"  {FETCH.format(later.pop(0))}")
                    stores -= 1
        for at in self.loop("rest", done, 1, count, "rows.done"):
            row, here = self.row(rows, places, at, 0), self.entry(tile, at)
            for k in self.loop("entries", "0", 1, str(self.turn.columns), "rest"):
                source, to = self.entry(row, k), self.entry(here, self.emit(f"mul nsw i64 {k}, {room}"))
                if not self.turn.gathers:
                    source, to = to, source
                value = self.emit(f"load {self.kind}, ptr {source}, align {self.bytes}")
                self.lines.append(f"  store {self.kind} {value}, ptr {to}, align {self.bytes}")
        return self.lines

    def fetched(self, rows: str, stride: str, at: str) -> list[str]:
        """The lines of the cache that are fetched while `side` rows are written: where rows lie that are written later."""
        if not self.turn.ahead:
            return []
        self.unit.declared["declare void @llvm.prefetch.p0(ptr, i32, i32, i32)"] = None
        later = self.emit(f"add nsw i64 {at}, {self.turn.ahead}")
        steps = range(0, self.turn.columns, LINE // self.bytes)
        return [self.entry(self.row(rows, stride, later, k), first) for k in range(self.side) for first in steps]

    def row(self, rows: str, places: str, at: str, k: int) -> str:
        if not self.turn.gathers:
            return self.entry(rows, self.emit(f"mul nsw i64 {self.emit(f'add nsw i64 {at}, {k}')}, {places}"))
        return self.entry(rows, self.emit(f"load i64, ptr {self.entry(self.entry(places, at, 'i64'), k, 'i64')}, align 8"))


def turn_lines(unit: Unit, kernel: Kernel, buffers: Mapping[Buffer, str], sizes: Mapping[Value, str]) -> list[str] | None:
    """The body of a kernel that turns rows; None for other kernels."""
    turn = kernel.turn
    if not isinstance(turn, Turn):
        return None
    given = [buffers[b] for b in kernel.buffers]
    count, *stride = (sizes[n] for n in kernel.sizes)
    tile, rows, places = (given[2], *given[:2]) if turn.gathers else (*given, *stride)
    return _Lines(unit, turn).write(tile, rows, places, count)
