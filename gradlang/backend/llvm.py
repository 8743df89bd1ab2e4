"""The loop form as LLVM text.

A kernel becomes `void @name(ptr noalias ..., i64 ..., T ...)`: its buffers, sizes and numbers in order, T being double or
float. Cells are slots on the stack, which LLVM turns into registers. Rounding is that of IEEE 754, operation by operation,
so that results do not depend on the machine; only running sums and products may be taken in another order, and `fma` rounds
twice where the machine cannot do it once. Nothing is printed that LLVM 20 to 22 do not all read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

from gradlang.backend.llvm_aligned import ALONE, line_start
from gradlang.backend.llvm_avx512 import form, in_lanes, written_out
from gradlang.backend.llvm_entry import Entry, entries_text
from gradlang.backend.llvm_ops import FLAGS, Target, Unit, Width, symbol
from gradlang.backend.llvm_parts import in_parts
from gradlang.backend.llvm_product import product_lines
from gradlang.backend.llvm_rows import turn_lines
from gradlang.backend.llvm_side import Lanes, abreast, all_at_once, in_order, side_of
from gradlang.backend.llvm_steps import row_of, straight, wide_text
from gradlang.backend.llvm_widths import SHORT, extent, holds_vectors, preferred, whole
from gradlang.backend.units import Opened, drive, needed, summed_products, with_routines
from gradlang.loops.ir import (
    Buffer,
    Cell,
    Declare,
    Fetch,
    For,
    Function,
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

MANY = 16  # calls outside of loops from which on functions are not written out: LLVM takes long over long texts


class Body:
    """The statements of one function."""

    def __init__(self, unit: Unit, names: dict[Value, str]) -> None:
        self.unit, self.names = unit, names
        self.slots: list[str] = []  # of the entry block
        self.lines: list[str] = []
        self.count = 0
        self.label = "entry"
        self.cells: dict[Cell, str] = {}
        self.buffers: dict[Buffer, str] = {}
        self.free: set[Value] = set()  # products that may melt into a sum
        self.called: set[Value] = set()  # what is called and not written out
        self.most = 1  # steps of a loop that are taken side by side
        self.lanes: Lanes | None = None  # while the steps of a loop are
        self.slow = False  # inside what is left of such a loop
        self.stepping = 0  # recurrences around

    # ------------------------------------------------------------ writing
    def fresh(self, stem: str = "%v") -> str:
        self.count += 1
        return f"{stem}{self.count}"

    def emit(self, text: str) -> str:
        name = self.fresh()
        self.lines.append(f"  {name} = {text}")
        return name

    def at(self, value: Value) -> str:
        return self.unit.literal(value) if value.const is not None else self.names[value]

    def block(self, label: str) -> None:
        self.lines.append(f"{label}:")
        self.label = label

    def intrinsic(self, op: str, *args: str) -> str:
        name, kind, count = self.unit.intrinsics[op]
        self.unit.declared[f"declare {kind} @{name}({', '.join([kind] * count)})"] = None
        return self.emit(f"call {kind} @{name}({', '.join(f'{kind} {a}' for a in args)})")

    def run(self, body: Sequence[Statement]) -> None:
        self.free = summed_products(body)
        drive(body, self.statement)

    # ---------------------------------------------------------- statements
    def statement(self, s: Statement) -> Opened | None:
        if self.lanes is not None and self.lanes.takes(s):
            return None
        if isinstance(s, Let):
            self.names[s.value] = self.let(s)
        elif isinstance(s, Load):
            self.names[s.value] = self.load(s)
        elif isinstance(s, Store):
            self.store(s)
        elif isinstance(s, Declare):
            slot = self.cells[s.cell] = self.fresh("%c")
            kind = self.unit.types[s.cell.type]
            self.slots.append(f"  {slot} = alloca {kind}")
            self.lines.append(f"  store {kind} {self.at(s.start)}, ptr {slot}")
        elif isinstance(s, Read):
            self.names[s.value] = self.emit(f"load {self.unit.types[s.cell.type]}, ptr {self.cells[s.cell]}")
        elif isinstance(s, Update):
            self.update(s)
        elif isinstance(s, Run):
            given = [f"ptr {self.pointer(b, at)}" for b, at in s.buffers] + [f"i64 {self.at(n)}" for n in s.sizes]
            self.lines.append(f"  call void @{s.kernel.name}({', '.join(given)})")
        else:
            if isinstance(s, If):
                return self.branch(s)
            if self.lanes is None and not self.slow:
                if not s.apart and self.most > 1 and stepwise(self, s):
                    return None
                row = row_of(self, s) if self.stepping and self.most > 1 else None
                if row is not None:
                    return abreast(self, s, *row)
                if s in self.unit.written:
                    return all_at_once(self, *self.unit.written[s])
                side = side_of(s) if s.side and self.most > 1 else None
                if side is not None:
                    return abreast(self, s, side)
            return self.loop(s)
        return None

    def loop(self, s: For) -> Opened:
        start, stop = self.at(s.start), self.at(s.stop)
        note = self.unit.note() if self.slow or s.rare or holds_vectors(s) else ""
        first = None if note else line_start(self, s)
        if first is not None:
            yield from self.steps(s, start, first, self.unit.note(ALONE))
        yield from self.steps(s, start if first is None else first, stop, note)

    def steps(self, s: For, start: str, stop: str, note: str) -> Opened:
        """A loop over some of its steps, with a note on it for LLVM."""
        inside, after, before = self.fresh("loop"), self.fresh("done"), self.label
        some = self.emit(f"icmp slt i64 {start}, {stop}")
        self.lines.append(f"  br i1 {some}, label %{inside}, label %{after}")
        self.block(inside)
        counter, following = self.fresh("%i"), self.fresh("%n")
        self.names[s.counter] = counter
        head = len(self.lines)
        self.lines.append("")
        self.stepping += not s.apart
        yield from s.body
        self.stepping -= not s.apart
        self.lines[head] = f"  {counter} = phi i64 [ {start}, %{before} ], [ {following}, %{self.label} ]"
        self.lines.append(f"  {following} = add nsw i64 {counter}, 1")
        more = self.emit(f"icmp slt i64 {following}, {stop}")
        self.lines.append(f"  br i1 {more}, label %{inside}, label %{after}" + (f", !llvm.loop {note}" if note else ""))
        self.block(after)

    def branch(self, s: If) -> Opened:
        then, after = self.fresh("then"), self.fresh("fi")
        other = self.fresh("else") if s.otherwise else after
        self.lines.append(f"  br i1 {self.at(s.condition)}, label %{then}, label %{other}")
        self.block(then)
        yield from s.then
        self.lines.append(f"  br label %{after}")
        if s.otherwise:
            self.block(other)
            yield from s.otherwise
            self.lines.append(f"  br label %{after}")
        self.block(after)

    def pointer(self, buffer: Buffer, index: Value) -> str:
        if buffer not in self.buffers:
            name = self.buffers[buffer] = self.fresh("%local")
            self.slots.append(f"  {name} = alloca [{buffer.local} x {self.unit.stored[buffer.kind]}], align 64")
        return self.emit(
            f"getelementptr inbounds {self.unit.stored[buffer.kind]}, ptr {self.buffers[buffer]}, i64 {self.at(index)}"
        )

    def load(self, s: Load) -> str:
        kind = s.buffer.kind
        if isinstance(s, Fetch):
            self.unit.declared["declare void @llvm.prefetch.p0(ptr, i32, i32, i32)"] = None
            self.lines.append(f"  call void @llvm.prefetch.p0(ptr {self.pointer(s.buffer, s.index)}, i32 0, i32 3, i32 1)")
            return ""
        read = self.emit(f"load {self.unit.stored[kind]}, ptr {self.pointer(s.buffer, s.index)}, align {self.unit.bytes[kind]}")
        if kind == "s":
            return self.emit(f"sext i32 {read} to i64")
        return self.emit(f"icmp ne i8 {read}, 0") if kind == "b" else read

    def store(self, s: Store) -> None:
        kind, value = s.buffer.kind, self.at(s.value)
        if kind == "s":
            value = self.emit(f"trunc i64 {value} to i32")
        elif kind == "b":
            value = self.emit(f"zext i1 {value} to i8")
        stored = self.unit.stored[kind]
        self.lines.append(f"  store {stored} {value}, ptr {self.pointer(s.buffer, s.index)}, align {self.unit.bytes[kind]}")

    def update(self, s: Update) -> None:
        kind, slot, value = self.unit.types[s.cell.type], self.cells[s.cell], self.at(s.value)
        if s.op:
            old = self.emit(f"load {kind}, ptr {slot}")
            if s.op in ("add", "mul"):
                value = self.emit(f"f{s.op} {FLAGS} {kind} {old}, {value}")
            elif s.op in ("maximum", "minimum"):
                value = self.intrinsic(f"running {s.op}", old, value)
            else:
                value = self.emit(self.unit.simple[s.op].format(old, value))
        self.lines.append(f"  store {kind} {value}, ptr {slot}")

    # ---------------------------------------------------------- operations
    def let(self, s: Let) -> str:
        op, args, unit = s.op, [self.at(a) for a in s.args], self.unit
        if op == "mul" and s.value in self.free:
            return self.emit(f"fmul contract {unit.real} {args[0]}, {args[1]}")
        if op in unit.simple:
            return self.emit(unit.simple[op].format(*args))
        if op == "fma" and not unit.target.fma:
            product = self.emit(unit.simple["mul"].format(*args))
            return self.emit(unit.simple["add"].format(product, args[2]))
        if op in unit.intrinsics:
            return self.intrinsic(op, *args)
        if op == "select":
            kind = unit.types[s.value.type]
            return self.emit(f"select i1 {args[0]}, {kind} {args[1]}, {kind} {args[2]}")
        if op == "call":
            given = ", ".join(f"{unit.types[a.type]} {text}" for a, text in zip(s.args, args, strict=True))
            way = " noinline" if s.value in self.called else ""
            return self.emit(f"call {unit.types[s.value.type]} @{symbol(s.function)}({given}){way}")
        if op in (
            "maximum",
            "minimum",
        ):  # a nan on the right passes the first choice, one on the left the second
            larger = self.emit(f"fcmp {'ogt' if op == 'maximum' else 'olt'} {unit.real} {args[0]}, {args[1]}")
            chosen = self.emit(f"select i1 {larger}, {unit.real} {args[0]}, {unit.real} {args[1]}")
            unordered = self.emit(f"fcmp uno {unit.real} {args[0]}, {args[0]}")
            return self.emit(f"select i1 {unordered}, {unit.real} {args[0]}, {unit.real} {chosen}")
        if op in ("idiv", "imod"):
            return self.division(op, args[0], args[1], s.args[1].const)
        if op == "iabs":
            unit.declared["declare i64 @llvm.abs.i64(i64, i1)"] = None
            return self.emit(f"call i64 @llvm.abs.i64(i64 {args[0]}, i1 false)")
        return self.conversion(op, args[0])

    def conversion(self, op: str, x: str) -> str:
        """Between reals and whole numbers. AVX2 has no vectors for 64 bits: there the number is put into the low bits of
        2^52, and 2^52 is taken off again."""
        unit = self.unit
        slow = unit.width == "f64" and not unit.target.converts
        if op in ("itow", "wtoi"):
            if unit.word == "i64":
                return x
            return self.emit(f"trunc i64 {x} to i32" if op == "itow" else f"sext i32 {x} to i64")
        if op in ("itof", "wtof"):
            kind = "i64" if op == "itof" else unit.word
            if not slow:
                return self.emit(f"sitofp {kind} {x} to {unit.real}")
            low = self.emit(f"and i64 {x}, {0xFFFFFFFF}")
            low = self.emit(f"or i64 {low}, {0x4330000000000000}")
            low = self.emit(f"bitcast i64 {low} to double")  # 2^52 + low
            high = self.emit(f"lshr i64 {x}, 32")
            high = self.emit(
                f"bitcast i64 {self.emit(f'xor i64 {high}, {0x4530000080000000}')} to double"
            )  # 2^84 + 2^63 + 2^32 high
            high = self.emit(f"fsub double {high}, 0x4530000080100000")  # less 2^84 + 2^63 + 2^52, exactly
            return self.emit(f"fadd double {high}, {low}")
        if op == "ftow" and slow:
            whole = self.intrinsic("trunc", x)
            shifted = self.emit(f"bitcast double {self.emit(f'fadd double {whole}, 0x4338000000000000')} to i64")
            return self.emit(f"sub i64 {shifted}, {0x4338000000000000}")
        assert op in ("ftoi", "ftow"), op
        kind = "i64" if op == "ftoi" else unit.word
        # What does not fit is some number: without this LLVM may take it that the case does not occur.
        return self.emit(f"freeze {kind} {self.emit(f'fptosi {unit.real} {x} to {kind}')}")

    def division(self, op: str, a: str, b: str, known: float | int | bool | None) -> str:
        """Rounded down. What has no result gives 0, as it does in NumPy, and not a signal that ends the process."""
        if known is not None and known > 0 and int(known) & int(known) - 1 == 0:
            shift = int(known).bit_length() - 1
            return self.emit(f"ashr i64 {a}, {shift}" if op == "idiv" else f"and i64 {a}, {int(known) - 1}")
        safe, zero, minus = b, "", ""
        if known is None or known in (0, -1):
            zero, minus = self.emit(f"icmp eq i64 {b}, 0"), self.emit(f"icmp eq i64 {b}, -1")
            safe = self.emit(f"select i1 {self.emit(f'or i1 {zero}, {minus}')}, i64 1, i64 {b}")
        rest = self.emit(f"srem i64 {a}, {safe}")
        signs = self.emit(f"icmp slt i64 {self.emit(f'xor i64 {rest}, {safe}')}, 0")
        below = self.emit(f"and i1 {signs}, {self.emit(f'icmp ne i64 {rest}, 0')}")
        if op == "imod":
            return self.emit(f"select i1 {below}, i64 {self.emit(f'add i64 {rest}, {safe}')}, i64 {rest}")
        quotient = self.emit(f"sdiv i64 {a}, {safe}")
        quotient = self.emit(f"sub i64 {quotient}, {self.emit(f'zext i1 {below} to i64')}")
        if not zero:
            return quotient
        negated = self.emit(f"sub i64 0, {a}")
        quotient = self.emit(f"select i1 {minus}, i64 {negated}, i64 {quotient}")
        return self.emit(f"select i1 {zero}, i64 0, i64 {quotient}")


def stepwise(body: Body, loop: For) -> bool:
    """Whether a loop whose steps wait for one another is written as one straight line for each."""
    from gradlang.backend.llvm_flat import line_of
    from gradlang.backend.llvm_stepwise import written

    line = line_of(body, loop)
    if line is not None:
        written(body, loop, line)
    return line is not None


def function_text(unit: Unit, name: str, function: Function) -> str:
    names = {p: f"%p{k}" for k, p in enumerate(function.params)}
    body = Body(unit, names)
    body.run(function.body)
    head = ", ".join(f"{unit.types[p.type]} {names[p]}" for p in function.params)
    kind = unit.types[function.result.type]
    lines = [f"define internal {kind} @{symbol(name)}({head}) alwaysinline nounwind {{", "entry:", *body.slots, *body.lines]
    return "\n".join([*lines, f"  ret {kind} {body.at(function.result)}", "}"])


def wide_function_text(unit: Unit, name: str, function: Function, count: int) -> str:
    return wide_text(Body(unit, {p: f"%p{k}" for k, p in enumerate(function.params)}), unit, name, function, count)


def width_of(unit: Unit, kernel: Kernel) -> int:
    """The width of a kernel's vectors; pieces of one have that of the whole."""
    return unit.widths[kernel] if kernel in unit.widths else preferred(kernel, unit.target)


def in_vectors(unit: Unit, kernel: Kernel, functions: Callable[[str], Function]) -> None:
    """Notes which loops are written as whole vectors, with their functions in them."""
    if width_of(unit, kernel) < 512 or not unit.target.fma:
        return
    for loop in statements(kernel.body):
        if isinstance(loop, For) and (extent(loop) >= SHORT or whole(loop)):
            made = written_out(loop, unit.width, functions)
            side = side_of(made) if made is not None and loop.apart else None
            if made is not None and side is not None and in_order(made, side) and in_lanes(made, side):
                unit.written[loop] = made, side


def kernel_text(unit: Unit, kernel: Kernel, linkage: str) -> str:
    names = {p: f"%s{k}" for k, p in enumerate(kernel.sizes)} | {p: f"%r{k}" for k, p in enumerate(kernel.numbers)}
    body = Body(unit, names)
    body.buffers = {b: f"%b{k}" for k, b in enumerate(kernel.buffers)}
    once = [s.value for s in kernel.body if isinstance(s, Let) and s.op == "call"]
    body.called = set(once[MANY:])
    own = dict(kernel.own)  # on the stack, from where LLVM takes into registers what it can
    given = {b: f"%given{k}" if b in own else body.buffers[b] for k, b in enumerate(kernel.buffers)}
    for b, count in own.items():
        body.slots.append(f"  {body.buffers[b]} = alloca [{count} x {unit.stored[b.kind]}], align 64")
    width = width_of(unit, kernel)
    body.most = width // (8 * unit.bytes["f"])
    turned = turn_lines(unit, kernel, body.buffers, names) or product_lines(unit, kernel, body.buffers, names)
    if turned is None:
        body.run(kernel.body)
    head = [f"ptr noalias {'' if b.writable else 'readonly '}{given[b]}" for b in kernel.buffers]
    head += [f"i64 {names[p]}" for p in kernel.sizes] + [f"{unit.real} {names[p]}" for p in kernel.numbers]
    attributes = f'noinline nounwind "prefer-vector-width"="{width}" "min-legal-vector-width"="0"'
    lines = [f"define {linkage}void @{kernel.name}({', '.join(head)}) {attributes} {{", "entry:"]
    return "\n".join([*lines, *(turned or [*body.slots, *body.lines]), "  ret void", "}"])


def unit_text(
    kernels: Sequence[Kernel],
    width: Width,
    target: Target,
    functions: Callable[[str], Function],
    entries: Sequence[Entry] = (),
) -> str:
    """Kernels, all functions that they need and the entries through which Python calls them, as one LLVM text; `functions`
    gives a function by its name. The kernels of the entries need not be among `kernels`.

    Raises ValueError if functions call each other in a circle.
    """
    unit = Unit(width, target)
    unit.form = lambda name, waited: form(unit, name, functions, waited)
    unit.is_wide = cache(lambda name: straight(form(unit, name, functions)))
    wanted = list(kernels)
    for long in dict.fromkeys(e.kernel for e in entries if e.kernel not in kernels):
        kernel, pieces = in_parts(long)
        unit.widths |= dict.fromkeys([kernel, *pieces], preferred(long, target))
        wanted.append(kernel)
    every = with_routines(wanted)
    unit.tabled = target.fma and all(width_of(unit, kernel) >= 512 for kernel in every)
    for kernel in every:
        in_vectors(unit, kernel, functions)
    parts = [function_text(unit, name, f) for name, f in needed(every, functions, unit.written)]
    parts += [kernel_text(unit, kernel, "dso_local " if kernel in wanted else "internal ") for kernel in every]
    parts += [wide_function_text(unit, name, form(unit, name, functions), count) for name, count in list(unit.widened)]
    parts.append(entries_text(unit, entries))
    return "\n\n".join(["\n".join(unit.declared), *unit.shared.values(), *parts, "\n".join(unit.notes)]) + "\n"
