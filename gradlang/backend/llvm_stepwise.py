"""The loop of a recurrence whose step is a straight line of whole vectors, in the order of a list schedule.

What a step does is a chain: the next one begins where it ends. So the operations that the others wait for longest come first;
and what the next step does not wait for, such as a slope that only the gradient needs, is done beside the next step, while
that waits.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from gradlang.backend.llvm_avx512 import LANES, in_turn, shuffle
from gradlang.backend.llvm_line import Line, Row, halved, used
from gradlang.backend.llvm_side import Lanes, Side
from gradlang.loops.ir import For, Let, Load, Statement, Value

if TYPE_CHECKING:
    from gradlang.backend.llvm import Body


class Text:
    """Writes a loop whose step is a line."""

    def __init__(self, body: Body, loop: For, line: Line) -> None:
        self.body, self.loop, self.line = body, loop, line
        self.halves = halved(line, loop.counter)
        spread(line, [*self.halves.soon, *self.halves.late], self.halves.carried)
        count = LANES[body.unit.width]
        self.vector = f"<{count} x {body.unit.real}>"
        self.lanes = Lanes(body, Side(frozenset(line.varying), line.strides, frozenset(), {}), count, {})
        kinds = {row: self.vector if row[2] > 1 else body.unit.real for row in {**line.found, **line.left}}
        self.rows: dict[Row, tuple[str, str]] = {row: (self.slot(kind), kind) for row, kind in kinds.items()}
        self.carry = {v: self.kind(v) for v in self.halves.carried}
        self.slots = {v: self.slot(kind) for v, kind in self.carry.items()}

    def kind(self, v: Value) -> str:
        return self.lanes.kind(v.type) if v in self.line.varying and v.type != "i" else self.body.unit.types[v.type]

    def slot(self, kind: str) -> str:
        name = self.body.fresh("%c")
        self.body.slots.append(f"  {name} = alloca {kind}")
        return name

    def write(self) -> None:
        body, s = self.body, self.loop
        start, stop = body.at(s.start), body.at(s.stop)
        first, inside, last, after = (body.fresh(stem) for stem in ("first", "loop", "last", "done"))
        self.places = self.hidden()
        body.lines.append(f"  br i1 {body.emit(f'icmp slt i64 {start}, {stop}')}, label %{first}, label %{after}")
        body.block(first)
        self.load_rows()
        if self.halves.late:
            body.names[s.counter] = start
            self.step(())
            start = body.emit(f"add nsw i64 {start}, 1")
        some, before = body.emit(f"icmp slt i64 {start}, {stop}"), body.label
        body.lines.append(f"  br i1 {some}, label %{inside}, label %{last}")
        body.block(inside)
        counter, following = body.fresh("%i"), body.fresh("%n")
        body.names[s.counter] = counter
        body.lines.append(f"  {counter} = phi i64 [ {start}, %{before} ], [ {following}, %{inside} ]")
        self.step(self.halves.late)
        body.lines.append(f"  {following} = add nsw i64 {counter}, 1")
        more = body.emit(f"icmp slt i64 {following}, {stop}")
        body.lines.append(f"  br i1 {more}, label %{inside}, label %{last}, !llvm.loop {body.unit.note()}")
        body.block(last)
        if self.halves.late:
            self.take()
            self.run(self.halves.late)
        self.store_rows()
        body.lines.append(f"  br label %{after}")
        body.block(after)

    def load_rows(self) -> None:
        body, size = self.body, self.body.unit.bytes["f"]
        for row, (slot, kind) in self.rows.items():
            there = body.emit(f"load {kind}, ptr {body.pointer(row[0], Value('i', row[1]))}, align {size}")
            body.lines.append(f"  store {kind} {there}, ptr {slot}")

    def store_rows(self) -> None:
        body, size = self.body, self.body.unit.bytes["f"]
        for row in self.line.left:
            slot, kind = self.rows[row]
            made = body.emit(f"load {kind}, ptr {slot}")
            body.lines.append(f"  store {kind} {made}, ptr {body.pointer(row[0], Value('i', row[1]))}, align {size}")

    def hidden(self) -> dict[int, str]:
        """Vectors of the numbers of lanes, which LLVM does not know."""
        body, out = self.body, {}
        slot = self.slot("i64")
        body.lines.append(f"  store volatile i64 0, ptr {slot}")
        zero = body.emit(f"load volatile i64, ptr {slot}")
        for k in range(2, 8):
            one = body.emit(f"insertelement <8 x i64> poison, i64 {body.emit(f'add i64 {zero}, {k}')}, i64 0")
            out[k] = body.emit(f"shufflevector <8 x i64> {one}, <8 x i64> poison, <8 x i32> zeroinitializer")
        return out

    def step(self, late: Sequence[Statement]) -> None:
        """A step without what is done late, and that of the step before."""
        body, line = self.body, self.line
        for row, value in line.found.items():
            slot, kind = self.rows[row]
            body.names[value] = body.emit(f"load {kind}, ptr {slot}")
        if late:
            self.take()
        self.run([*late, *self.halves.soon])
        for row, value in line.left.items():
            slot, kind = self.rows[row]
            body.lines.append(f"  store {kind} {self.lanes.wide(value) if row[2] > 1 else body.at(value)}, ptr {slot}")
        for v, kind in self.carry.items():
            body.lines.append(f"  store {kind} {body.at(v)}, ptr {self.slots[v]}")

    def take(self) -> None:
        for v, kind in self.carry.items():
            self.body.names[self.halves.carried[v]] = self.body.emit(f"load {kind}, ptr {self.slots[v]}")

    def run(self, line: Sequence[Statement]) -> None:
        body = self.body
        made = {s.value: s for s in line if isinstance(s, Let | Load)}
        number = {s: k for k, s in enumerate(line)}
        before = self.line.order
        needs = [
            {number[made[a]] for a in used(s) if a in made} | {number[x] for x in before.get(s, ()) if x in number}
            for s in line
        ]
        body.lanes = self.lanes
        for s in in_turn(line, needs):
            if isinstance(s, Let) and s.op == "lane":
                body.names[s.value] = self.lane(s.value)
            elif not self.lanes.takes(s):
                body.statement(s)
        body.lanes = None

    def lane(self, v: Value) -> str:
        """A number of a vector, as one or in all lanes. LLVM takes two instructions for that if it knows which number it is."""
        body, (vector, k) = self.body, self.line.lanes[v]
        if v not in self.line.varying:
            return body.emit(f"extractelement {self.vector} {body.at(vector)}, i64 {k}")
        if k < 2 or body.unit.width != "f64":
            return body.emit(shuffle(self.vector, body.at(vector), [k] * self.lanes.count))
        name = "llvm.x86.avx512.permvar.df.512"
        body.unit.declared[f"declare {self.vector} @{name}({self.vector}, <8 x i64>)"] = None
        return body.emit(f"call {self.vector} @{name}({self.vector} {body.at(vector)}, <8 x i64> {self.places[k]})")


def spread(line: Line, body: Sequence[Statement], carried: Collection[Value]) -> None:
    """Numbers of a vector that only vectors are multiplied by are made in all lanes at once; not those that are `carried` into
    the next step, where they are numbers."""
    single = set(carried) | {v for s in body if not isinstance(s, Let) or s.value not in line.varying for v in used(s)}
    line.varying.update(v for v in line.lanes if v not in single and v not in line.left.values())


def written(body: Body, loop: For, line: Line) -> None:
    """A loop whose step is a line."""
    Text(body, loop, line).write()
