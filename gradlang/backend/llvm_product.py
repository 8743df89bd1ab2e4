"""Kernels that multiply matrices, as LLVM text.

A tile of the result is summed up in registers: some rows, and a panel of columns that is a few vectors wide. For each step
of the sum the vectors of the second matrix are read once for all rows of the tile, and each row's entry of the first matrix
is multiplied with all of them, as in Goto & van de Geijn, Anatomy of High-Performance Matrix Multiplication, ACM Trans. Math.
Softw. 34 (2008). Nothing is copied before: the matrices are small enough to stay in the second cache.

What is left of the rows or columns is done by a tile or vector that begins earlier, over entries that are made once more, of
the same summands in the same order.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate

from gradlang.backend.llvm_ops import Unit
from gradlang.loops.ir import Buffer, Kernel, Multiply, Value

ROWS = {16: {1: 8, 2: 6, 3: 4}, 32: {1: 12, 2: 12, 3: 6, 4: 6}}  # of a tile at most, by registers and vectors of a panel
GIVEN = ("rows", "summed", "a_row", "a_step", "b_step", "c_row")  # what a panel is told: lengths, and distances in memory
Panel = tuple[tuple[int, int], ...]  # its vectors: the first column of each, and the lanes


def vectors(columns: int, lanes: int) -> Panel:
    """Columns as vectors of powers of two of lanes; the last one may share columns with others."""
    found: list[tuple[int, int]] = []
    at = 0
    while at < columns:
        rest = columns - at
        wide = min(lanes, 1 << (rest - 1).bit_length())
        if wide > columns:
            wide //= 2
        found.append((min(at, columns - wide), wide))
        at += wide
    return tuple(found)


def panels(columns: int, lanes: int, most: int) -> list[Panel]:
    """Vectors in panels of about as many, at most `most`."""
    every = vectors(columns, lanes)
    count = -(-len(every) // most)
    ends = list(accumulate((len(every) + k) // count for k in range(count)))
    return [every[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def height(rows: int, most: int) -> int:
    """The rows of a tile with which fewest are made twice, and of those the larger ones, that read the second matrix least."""
    return min(range(min(rows, most), 0, -1), key=lambda n: -(-rows // n) * (n + 1))


class _Function:
    """A function that multiplies all rows with one panel."""

    def __init__(self, unit: Unit, panel: Panel, rows: int) -> None:
        self.unit, self.rows, self.kind, self.bytes = unit, rows, unit.real, unit.bytes["f"]
        self.panel = [(at - panel[0][0], lanes) for at, lanes in panel]
        self.lines: list[str] = []
        self.count = 0

    @property
    def name(self) -> str:
        return "_".join(["gl_panel", str(self.rows), *(f"{at}x{lanes}" for at, lanes in self.panel)])

    def emit(self, text: str) -> str:
        self.count += 1
        self.lines.append(f"  %x{self.count} = {text}")
        return f"%x{self.count}"

    def entry(self, base: str, at: int | str) -> str:
        return base if at == 0 else self.emit(f"getelementptr inbounds {self.kind}, ptr {base}, i64 {at}")

    def vector(self, lanes: int) -> str:
        return f"<{lanes} x {self.kind}>"

    def sums(self) -> list[tuple[int, int, str]]:
        return [(r, p, f"%s{r}.{p}") for r in range(self.rows) for p in range(len(self.panel))]

    def text(self) -> str:
        places = ["ptr noalias readonly %a", "ptr noalias readonly %b", "ptr noalias %c"]
        head = ", ".join([*places, *(f"i64 %{n}" for n in GIVEN)])
        width = self.unit.target.vector
        attributes = f'noinline nounwind "prefer-vector-width"="{width}" "min-legal-vector-width"="{width}"'
        self.lines += [f"define internal void @{self.name}({head}) {attributes} {{", "entry:"]
        last = self.emit(f"sub i64 %rows, {self.rows}")
        self.lines += ["  br label %tile", "tile:", "  %i = phi i64 [ 0, %entry ], [ %next, %put ]"]
        inside = self.emit(f"icmp slt i64 %i, {last}")
        at = self.emit(f"select i1 {inside}, i64 %i, i64 {last}")
        first = self.entry("%a", self.emit(f"mul i64 {at}, %a_row"))
        starts = [self.entry(first, self.emit(f"mul i64 %a_row, {r}") if r else 0) for r in range(self.rows)]
        self.lines += ["  br label %sum", "sum:"]
        self.step(starts)
        self.lines += ["put:"]
        to = self.entry("%c", self.emit(f"mul i64 {at}, %c_row"))
        for r in range(self.rows):
            row = self.entry(to, self.emit(f"mul i64 %c_row, {r}") if r else 0)
            for p, (start, lanes) in enumerate(self.panel):
                place = self.entry(row, start)
                self.lines.append(f"  store {self.vector(lanes)} %n{r}.{p}, ptr {place}, align {self.bytes}")
        self.lines += [f"  %next = add nsw i64 %i, {self.rows}"]
        more = self.emit("icmp slt i64 %next, %rows")
        self.lines += [f"  br i1 {more}, label %tile, label %done, !llvm.loop {self.unit.note()}", "done:", "  ret void", "}"]
        return "\n".join(self.lines)

    def step(self, starts: list[str]) -> None:
        """One step of the sums of a tile."""
        self.lines += ["  %k = phi i64 [ 0, %tile ], [ %further, %sum ]", "  %o = phi i64 [ 0, %tile ], [ %moved, %sum ]"]
        self.lines += ["  %q = phi ptr [ %b, %tile ], [ %below, %sum ]"]
        for r, p, name in self.sums():
            kind = self.vector(self.panel[p][1])
            self.lines.append(f"  {name} = phi {kind} [ zeroinitializer, %tile ], [ %n{r}.{p}, %sum ]")
        right = [
            self.emit(f"load {self.vector(lanes)}, ptr {self.entry('%q', start)}, align {self.bytes}")
            for start, lanes in self.panel
        ]
        for r, start in enumerate(starts):
            left = self.emit(f"load {self.kind}, ptr {self.entry(start, '%o')}, align {self.bytes}")
            spread = {lanes: self.spread(left, lanes) for _, lanes in self.panel}
            for p, (_, lanes) in enumerate(self.panel):
                self.lines.append(f"  %n{r}.{p} = {self.added(spread[lanes], right[p], f'%s{r}.{p}', lanes)}")
        self.lines += ["  %further = add nsw i64 %k, 1", "  %moved = add nsw i64 %o, %a_step"]
        self.lines += [f"  %below = getelementptr inbounds {self.kind}, ptr %q, i64 %b_step"]
        more = self.emit("icmp slt i64 %further, %summed")
        # taken twice at once the sums do not all stay in registers
        note = self.unit.note('!"llvm.loop.unroll.disable"')
        self.lines += [f"  br i1 {more}, label %sum, label %put, !llvm.loop {note}"]

    def spread(self, x: str, lanes: int) -> str:
        """A vector of equal entries."""
        kind = self.vector(lanes)
        one = self.emit(f"insertelement {kind} poison, {self.kind} {x}, i64 0")
        return self.emit(f"shufflevector {kind} {one}, {kind} poison, <{lanes} x i32> zeroinitializer")

    def added(self, a: str, b: str, total: str, lanes: int) -> str:
        kind = self.vector(lanes)
        if not self.unit.target.fma:
            return f"fadd {kind} {total}, {self.emit(f'fmul {kind} {a}, {b}')}"
        name = f"llvm.fma.v{lanes}{self.unit.width}"
        self.unit.declared[f"declare {kind} @{name}({kind}, {kind}, {kind})"] = None
        return f"call {kind} @{name}({kind} {a}, {kind} {b}, {kind} {total})"


def product_lines(unit: Unit, kernel: Kernel, buffers: Mapping[Buffer, str], sizes: Mapping[Value, str]) -> list[str] | None:
    """The body of a kernel that multiplies matrices; None for other kernels."""
    told = kernel.turn
    if not isinstance(told, Multiply):
        return None
    a, b, c = (buffers[x] for x in kernel.buffers)
    summed, a_row, a_step, b_step = (sizes[n] for n in kernel.sizes)
    most, kind = ROWS[unit.target.registers], unit.real
    lines = ["  br label %block", "block:", "  %start = phi i64 [ 0, %entry ], [ %next, %block ]"]
    lines += [f"  %next = add nsw i64 %start, {told.block}", f"  %rest = sub nsw i64 {told.rows}, %start"]
    lines += [f"  %some = icmp slt i64 %rest, {told.block}", f"  %rows = select i1 %some, i64 %rest, i64 {told.block}"]
    for matrix, base, distance in (("a", a, a_row), ("c", c, str(told.columns))):
        lines += [f"  %{matrix}.at = mul nsw i64 %start, {distance}"]
        lines += [f"  %{matrix} = getelementptr inbounds {kind}, ptr {base}, i64 %{matrix}.at"]
    given = ["%rows", summed, a_row, a_step, b_step, str(told.columns)]
    for n, panel in enumerate(panels(told.columns, unit.target.vector // (8 * unit.bytes["f"]), max(most))):
        made = _Function(unit, panel, height(told.rows, most[len(panel)]))
        if made.name not in unit.shared:
            unit.shared[made.name] = made.text()
        for matrix, base in (("b", b), ("c", "%c")):
            lines.append(f"  %{matrix}.{n} = getelementptr inbounds {kind}, ptr {base}, i64 {panel[0][0]}")
        places = ["ptr %a", f"ptr %b.{n}", f"ptr %c.{n}", *(f"i64 {s}" for s in given)]
        lines.append(f"  call void @{made.name}({', '.join(places)})")
    return [*lines, f"  %more = icmp slt i64 %next, {told.rows}", "  br i1 %more, label %block, label %done", "done:"]
