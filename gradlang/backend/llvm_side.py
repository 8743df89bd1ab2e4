"""Loops whose steps are taken side by side: what differs from step to step is a vector, and all else one number for all.

Unlike the vectors that LLVM makes of innermost loops, these reach over loops inside: running sums of such a loop stay in
registers. What is left of the steps is done by vectors of half the length, and so on.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

from gradlang.backend.llvm_avx512 import instruction
from gradlang.backend.llvm_ops import FLAGS, SIMPLE, Unit
from gradlang.backend.units import Opened
from gradlang.loops.ir import COMPARISONS, TABLED, Cell, Declare, For, Let, Load, Read, Statement, Store, Update, Value
from gradlang.loops.walk import operands, statements
from gradlang.record import record

if TYPE_CHECKING:
    from gradlang.backend.llvm import Body

REALS = {"add", "sub", "mul", "div", "neg"}
LOGIC = {"and", "or", "not"}
INTRINSICS = {"abs", "sqrt", "floor", "ceil", "rint", "copysign", "fma"}
WORDS = {"bits", "unbits", "wadd", "wsub", "wand", "wor", "wxor", "wshl", "wshr", "wsar", "wlt", "weq"}
STARTS = {"add": "-0.0", "or": "false"}  # of cells outside that the steps update: what changes nothing


@record
class Side:
    """What differs between the steps of a loop: values, how far whole numbers move in a step, cells inside, and cells outside
    that the steps add to, with the op."""

    varying: frozenset[Value]
    strides: dict[Value, int]
    cells: frozenset[Cell]
    outer: dict[Cell, str]


def side_of(loop: For, wide: Callable[[str], bool] = lambda name: False) -> Side | None:
    """How the steps of a loop differ, or None if they cannot be taken side by side. `wide` tells which functions there are for
    vectors."""
    varying, strides = {loop.counter}, {loop.counter: 1}
    inside = list(statements(loop.body))
    declared = {s.cell for s in inside if isinstance(s, Declare)}
    cells: set[Cell] = set()
    known = -1
    while known != len(varying) + len(cells):  # a cell may be read before it is seen that its steps differ
        known = len(varying) + len(cells)
        for s in inside:
            if isinstance(s, Declare | Update) and s.cell in declared and any(v in varying for v in operands(s)):
                cells.add(s.cell)
            elif (isinstance(s, Let | Load) and any(v in varying for v in operands(s))) or (
                isinstance(s, Read) and s.cell in cells
            ):
                varying.add(s.value)
    outer: dict[Cell, str] = {}
    for s in inside:
        if isinstance(s, Let) and s.value in varying:
            if not (wide(s.function) if s.op == "call" else spelled(s, varying, strides)):
                return None
        elif isinstance(s, Load | Store) and any(v in varying for v in operands(s)):
            if s.buffer.kind != "f" or s.index.type != "i" or (isinstance(s, Store) and s.index not in varying):
                return None
        elif isinstance(s, Update) and s.cell in cells:
            if s.op not in ("", *STARTS):
                return None
        elif isinstance(s, Update) and s.cell not in declared:
            if s.op not in STARTS or outer.setdefault(s.cell, s.op) != s.op:
                return None
        elif not isinstance(s, Let | Load | Store | Update | Declare | Read | For) or (
            isinstance(s, For) and any(v in varying for v in operands(s))
        ):
            return None
    if any(isinstance(s, Read) and s.cell in outer for s in inside):
        return None
    return Side(frozenset(varying), strides, frozenset(cells), outer)


def spelled(s: Let, varying: set[Value], strides: dict[Value, int]) -> bool:
    """Whether there is an operation of vectors; that of a whole number is to be one step after another."""
    if s.value.type == "i":
        moved = [strides.get(a, 0) for a in s.args]
        if s.op in ("iadd", "isub"):
            strides[s.value] = moved[0] + moved[1] if s.op == "iadd" else moved[0] - moved[1]
            return True
        number = next((a.const for a in s.args if a.const is not None), None)
        if s.op != "imul" or number is None:
            return False
        strides[s.value] = sum(moved) * int(number)
        return True
    return s.op in REALS | COMPARISONS | LOGIC | INTRINSICS | WORDS or s.op in ("select", *TABLED)


def in_order(loop: For, side: Side) -> bool:
    """Whether the steps read and write entries that lie one behind the other."""
    return all(
        side.strides.get(s.index, 0) == 1
        for s in statements(loop.body)
        if isinstance(s, Load | Store) and s.index in side.varying
    )


class Lanes:
    """Writes the statements of a loop for `count` of its steps at once."""

    def __init__(self, body: Body, side: Side, count: int, outer: dict[Cell, str]) -> None:
        self.body, self.unit, self.side, self.count = body, body.unit, side, count
        self.outer = outer  # the slots of the cells outside
        self.slots: dict[Cell, str] = {}

    def kind(self, type: str) -> str:
        return vector(self.unit, type, self.count)

    def wide(self, v: Value) -> str:
        """A value as a vector."""
        text = self.body.at(v)
        if v in self.side.varying:
            return text
        one, kind = self.unit.types[v.type], self.kind(v.type)
        if v.const is not None:
            return f"<{', '.join([f'{one} {text}'] * self.count)}>"
        first = self.body.emit(f"insertelement {kind} poison, {one} {text}, i64 0")
        return self.body.emit(f"shufflevector {kind} {first}, {kind} poison, <{self.count} x i32> zeroinitializer")

    def takes(self, s: object) -> bool:
        """Writes a statement whose steps differ; others are as they are everywhere."""
        side, body = self.side, self.body
        if isinstance(s, Let) and s.value in side.varying:
            body.names[s.value] = self.whole(s) if s.value.type == "i" else self.let(s)
        elif isinstance(s, Load) and s.value in side.varying:
            body.names[s.value] = self.load(s)
        elif isinstance(s, Store) and s.index in side.varying:
            self.store(s)
        elif isinstance(s, Declare) and s.cell in side.cells:
            slot = self.slots[s.cell] = body.fresh("%c")
            body.slots.append(f"  {slot} = alloca {self.kind(s.cell.type)}")
            body.lines.append(f"  store {self.kind(s.cell.type)} {self.wide(s.start)}, ptr {slot}")
        elif isinstance(s, Read) and s.cell in side.cells:
            body.names[s.value] = body.emit(f"load {self.kind(s.cell.type)}, ptr {self.slots[s.cell]}")
        elif isinstance(s, Update) and (s.cell in side.cells or s.cell in self.outer):
            self.update(s)
        else:
            return False
        return True

    def whole(self, s: Let) -> str:
        """Of whole numbers that of the first step stands for all."""
        return self.body.emit(self.unit.simple[s.op].format(*(self.body.at(a) for a in s.args)))

    def let(self, s: Let) -> str:
        args, real = [self.wide(a) for a in s.args], self.kind("f")
        if s.op == "select":
            kind = self.kind(s.value.type)
            return self.body.emit(f"select {self.kind('b')} {args[0]}, {kind} {args[1]}, {kind} {args[2]}")
        if s.op in TABLED:
            return instruction(self.body, s, args, self.count)
        if s.op == "call":
            given = ", ".join(f"{self.kind(a.type)} {text}" for a, text in zip(s.args, args, strict=True))
            return self.body.emit(f"call {real} @{self.unit.wide(s.function, self.count)}({given})")
        if s.op == "fma" and not self.unit.target.fma:
            product = self.body.emit(f"fmul {real} {args[0]}, {args[1]}")
            return self.body.emit(f"fadd {real} {product}, {args[2]}")
        if s.op in INTRINSICS:
            name, _, count = self.unit.intrinsics[s.op]
            name = f"{name.removesuffix(self.unit.width)}v{self.count}{self.unit.width}"
            self.unit.declared[f"declare {real} @{name}({', '.join([real] * count)})"] = None
            return self.body.emit(f"call {real} @{name}({', '.join(f'{real} {a}' for a in args)})")
        if s.op in LOGIC:
            other = f"<{', '.join(['i1 true'] * self.count)}>" if s.op == "not" else args[1]
            return self.body.emit(f"{'xor' if s.op == 'not' else s.op} {self.kind('b')} {args[0]}, {other}")
        text = SIMPLE[s.op].replace("{T}", real).replace("{W}", self.kind("w")).format(*args)
        return self.body.emit(text.replace("fmul", "fmul contract") if s.value in self.body.free else text)

    def load(self, s: Load) -> str:
        step, size = self.side.strides[s.index], self.unit.bytes["f"]
        one, kind, start = self.unit.real, self.kind("f"), self.body.pointer(s.buffer, s.index)
        if step == 1:
            return self.body.emit(f"load {kind}, ptr {start}, align {size}")
        made = "poison"
        for n in range(self.count):
            at = self.body.emit(f"getelementptr {one}, ptr {start}, i64 {n * step}")
            part = self.body.emit(f"load {one}, ptr {at}, align {size}")
            made = self.body.emit(f"insertelement {kind} {made}, {one} {part}, i64 {n}")
        return made

    def store(self, s: Store) -> None:
        step, size = self.side.strides[s.index], self.unit.bytes["f"]
        one, kind, value = self.unit.real, self.kind("f"), self.wide(s.value)
        start = self.body.pointer(s.buffer, s.index)
        if step == 1:
            self.body.lines.append(f"  store {kind} {value}, ptr {start}, align {size}")
            return
        for n in range(self.count):
            at = self.body.emit(f"getelementptr {one}, ptr {start}, i64 {n * step}")
            part = self.body.emit(f"extractelement {kind} {value}, i64 {n}")
            self.body.lines.append(f"  store {one} {part}, ptr {at}, align {size}")

    def update(self, s: Update) -> None:
        kind, slot, value = self.kind(s.cell.type), self.slots.get(s.cell) or self.outer[s.cell], self.wide(s.value)
        if s.op:
            value = combined(self.body, s.op, kind, self.body.emit(f"load {kind}, ptr {slot}"), value)
        self.body.lines.append(f"  store {kind} {value}, ptr {slot}")


class Filled(Lanes):
    """The same for the last steps, which are `left`, fewer than the lanes: arrays are read and written by way of the stack."""

    def __init__(self, body: Body, side: Side, count: int, outer: dict[Cell, str], left: str) -> None:
        super().__init__(body, side, count, outer)
        first = body.emit(f"insertelement <{count} x i64> poison, i64 {left}, i64 0")
        every = body.emit(f"shufflevector <{count} x i64> {first}, <{count} x i64> poison, <{count} x i32> zeroinitializer")
        lanes = ", ".join(f"i64 {k}" for k in range(count))
        self.there = body.emit(f"icmp ult <{count} x i64> <{lanes}>, {every}")
        self.bytes = body.emit(f"mul i64 {left}, {self.unit.bytes['f']}")
        self.unit.declared["declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)"] = None

    def room(self) -> str:
        slot = self.body.fresh("%c")
        self.body.slots.append(f"  {slot} = alloca {self.kind('f')}, align 64")
        return slot

    def copy(self, to: str, start: str) -> None:
        self.body.lines.append(f"  call void @llvm.memcpy.p0.p0.i64(ptr {to}, ptr {start}, i64 {self.bytes}, i1 false)")

    def load(self, s: Load) -> str:
        slot, kind = self.room(), self.kind("f")
        self.body.lines.append(f"  store {kind} zeroinitializer, ptr {slot}")
        self.copy(slot, self.body.pointer(s.buffer, s.index))
        return self.body.emit(f"load {kind}, ptr {slot}")

    def store(self, s: Store) -> None:
        slot = self.room()
        self.body.lines.append(f"  store {self.kind('f')} {self.wide(s.value)}, ptr {slot}")
        self.copy(self.body.pointer(s.buffer, s.index), slot)

    def update(self, s: Update) -> None:
        kind, one = self.kind(s.cell.type), self.unit.types[s.cell.type]
        nothing = f"<{', '.join([f'{one} {STARTS[s.op]}'] * self.count)}>"
        value = self.body.emit(f"select {self.kind('b')} {self.there}, {kind} {self.wide(s.value)}, {kind} {nothing}")
        old = self.body.emit(f"load {kind}, ptr {self.outer[s.cell]}")
        self.body.lines.append(f"  store {kind} {combined(self.body, s.op, kind, old, value)}, ptr {self.outer[s.cell]}")


def abreast(body: Body, s: For, side: Side, most: int = 0) -> Opened:
    """A loop whose steps are taken side by side, as many as fill a vector (or `most`), and the rest by fewer and fewer."""
    at = body.at(s.start)
    for count in widths(s, most or body.most):
        at = yield from some_at_once(body, s, side, count, at)


def some_at_once(body: Body, s: For, side: Side, count: int, at: str) -> Generator[Statement, None, str]:
    """As many steps as can be taken `count` at once. Gives the place of the first one that is left."""
    outer = started(body, side, count) if count > 1 else {}
    limit = body.emit(f"sub i64 {body.at(s.stop)}, {count - 1}")
    inside, after, before = body.fresh("loop"), body.fresh("done"), body.label
    some = body.emit(f"icmp slt i64 {at}, {limit}")
    body.lines.append(f"  br i1 {some}, label %{inside}, label %{after}")
    body.block(inside)
    counter, following = body.fresh("%i"), body.fresh("%n")
    body.names[s.counter] = counter
    head = len(body.lines)
    body.lines.append("")
    body.lanes, body.slow = Lanes(body, side, count, outer) if count > 1 else None, True
    yield from s.body
    body.lanes, body.slow = None, False
    body.lines[head] = f"  {counter} = phi i64 [ {at}, %{before} ], [ {following}, %{body.label} ]"
    body.lines.append(f"  {following} = add nsw i64 {counter}, {count}")
    more, ended = body.emit(f"icmp slt i64 {following}, {limit}"), body.label
    body.lines.append(f"  br i1 {more}, label %{inside}, label %{after}, !llvm.loop {body.unit.note()}")
    body.block(after)
    left = body.emit(f"phi i64 [ {at}, %{before} ], [ {following}, %{ended} ]")
    for cell, slot in outer.items():
        gathered(body, cell, side.outer[cell], slot, count, body.cells[cell])
    return left


def all_at_once(body: Body, s: For, side: Side) -> Opened:
    """A loop over entries that lie one behind the other, in whole vectors: the last one is filled up with zeros, and what comes
    of these is left out."""
    count = body.most
    at = yield from some_at_once(body, s, side, count, body.at(s.start))
    if s.start.const is not None and s.stop.const is not None and (int(s.stop.const) - int(s.start.const)) % count == 0:
        return
    rest, after = body.fresh("rest"), body.fresh("done")
    left = body.emit(f"sub i64 {body.at(s.stop)}, {at}")
    some = body.emit(f"icmp sgt i64 {left}, 0")
    body.lines.append(f"  br i1 {some}, label %{rest}, label %{after}")
    body.block(rest)
    outer = started(body, side, count)
    body.names[s.counter] = at
    body.lanes, body.slow = Filled(body, side, count, outer, left), True
    yield from s.body
    body.lanes, body.slow = None, False
    for cell, slot in outer.items():
        gathered(body, cell, side.outer[cell], slot, count, body.cells[cell])
    body.lines.append(f"  br label %{after}")
    body.block(after)


def started(body: Body, side: Side, count: int) -> dict[Cell, str]:
    """Slots for what the lanes add up for cells outside."""
    slots = {}
    for cell, op in side.outer.items():
        kind, one = vector(body.unit, cell.type, count), body.unit.types[cell.type]
        slot = slots[cell] = body.fresh("%c")
        body.slots.append(f"  {slot} = alloca {kind}")
        body.lines.append(f"  store {kind} <{', '.join([f'{one} {STARTS[op]}'] * count)}>, ptr {slot}")
    return slots


def vector(unit: Unit, type: str, count: int) -> str:
    return f"<{count} x {unit.types[type]}>"


def combined(body: Body, op: str, kind: str, old: str, value: str) -> str:
    return body.emit(f"fadd {FLAGS} {kind} {old}, {value}" if op == "add" else f"or {kind} {old}, {value}")


def gathered(body: Body, cell: Cell, op: str, slot: str, count: int, into: str) -> None:
    """Adds what the lanes have added up to a cell outside."""
    unit = body.unit
    one, kind = unit.types[cell.type], vector(unit, cell.type, count)
    value = body.emit(f"load {kind}, ptr {slot}")
    width = f"v{count}{unit.width if cell.type == 'f' else 'i1'}"
    if op == "add":
        name, given, how = f"llvm.vector.reduce.fadd.{width}", f"{one} -0.0, {kind} {value}", f"{FLAGS} "
        unit.declared[f"declare {one} @{name}({one}, {kind})"] = None
    else:
        name, given, how = f"llvm.vector.reduce.or.{width}", f"{kind} {value}", ""
        unit.declared[f"declare {one} @{name}({kind})"] = None
    total = body.emit(f"call {how}{one} @{name}({given})")
    total = combined(body, op, one, body.emit(f"load {one}, ptr {into}"), total)
    body.lines.append(f"  store {one} {total}, ptr {into}")


def widths(loop: For, most: int) -> list[int]:
    """How many steps are taken at once, those of the longest vectors first."""
    steps = None if loop.start.const is None or loop.stop.const is None else int(loop.stop.const) - int(loop.start.const)
    out, count = [], most
    while count:
        if steps is None or steps >= count:
            out.append(count)
            steps = None if steps is None else steps % count
        count //= 2
    return out
