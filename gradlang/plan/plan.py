"""The plan of a program: kernels of fused loops, calls of a library between them, and where every value lies."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gradlang.ir.tape import Instr, Tape
from gradlang.loops.ir import Buffer, Cell, Code, Declare, Kernel, Value
from gradlang.ops.table import OpTable
from gradlang.plan.affine import positions_of
from gradlang.plan.choose import batches, beneath, inline, library_does, loops_do, made, reached, roots_of
from gradlang.plan.empty import every_dim
from gradlang.plan.memory import layouts, slots
from gradlang.plan.multiply import factors_of, multiplied, product_root
from gradlang.plan.newton import Newton
from gradlang.plan.packing import packed
from gradlang.plan.pointwise import KINDS
from gradlang.plan.products import Known, with_tiles
from gradlang.plan.reader import LEAVES, Frame, Index, Place, Reader
from gradlang.plan.roots import CONTRACTIONS, Root
from gradlang.plan.scans import Recurrence
from gradlang.plan.specials import WRITERS, nothing_read, special_root
from gradlang.plan.survey import Survey
from gradlang.plan.temporaries import Temporary, small
from gradlang.plan.weave import Weaver
from gradlang.plan.weights import HEAVY
from gradlang.plan.work import nanoseconds, product_nanoseconds
from gradlang.record import record
from gradlang.types import Shape, value

ROUNDS = 3


@record
class Source:
    """What a buffer or number of a kernel is, for the caller: an "input" (by name), a "value" (by instruction), a "temp",
    the "scalars" of a kind, the "flag" that is set where an index is outside, or a "size" (by name)."""

    kind: str
    key: Any
    shape: Shape = ()
    dtype: str = "real"


@record
class Loops:
    """A step of compiled loops. `sources` are those of the buffers, the sizes and the numbers of the kernel, in order. With
    `parts` the kernel is run so many times, in any order or at once, each time with the number of the part."""

    kernel: Kernel
    sources: tuple[Source, ...]
    work: int  # nanoseconds, roughly
    parts: int = 0

    @property
    def faults(self) -> bool:
        return any(s.kind == "flag" for s in self.sources)


@record
class Library:
    """A step of library calls: instructions of the tape, in order."""

    instrs: tuple[int, ...]


@record
class Plan:
    tape: Tape
    steps: tuple[Loops | Library, ...]
    arrays: dict[int, Shape]  # values of loops that lie in arrays which the caller makes
    scalars: dict[int, tuple[str, int]]  # values of loops that are numbers: kind and position among the scalars
    layout: dict[int, tuple[int, ...]]  # the order of the axes in memory, where it is not the usual one


def plan(
    tape: Tape,
    table: OpTable,
    sizes: Mapping[str, int],
    fixed: Collection[str],
    library: bool = True,
    width: str = "f64",
    cores: int | None = None,
) -> Plan:
    """`sizes` are those of a call, from which loops and library calls are chosen; those in `fixed` are written as numbers.
    `width` is that of the reals: functions have their limits in it ("any": those that are called have none). With `cores`, the
    threads of the library, kernels make products of matrices themselves where that is no slower."""

    def planned(tiled: Collection[int]) -> Plan | None:
        """The plan with some products in tiles, or None if there is no way to write them so."""
        extra: dict[int, set[int]] = {}
        known: Known = {}
        for _ in range(ROUNDS):
            planner = Planner(tape, table, sizes, fixed, extra, library, width, tiled, known, own=own - set(tiled))
            found = planner.plan()
            dear = planner.twice()
            if not dear:
                break
            for key, more in dear.items():
                extra.setdefault(key, set()).update(more)
        return found if planner.in_tiles == set(tiled) else None

    numbers = library and set(sizes) <= set(fixed)
    own = multiplied(tape, table, sizes, cores) if numbers and cores is not None else set()
    usual = planned(())
    assert usual is not None
    tiled = batches(tape, table, sizes) if numbers else ()
    other = planned(tiled) if tiled else None
    return usual if other is None or time_of(usual, sizes) <= time_of(other, sizes) else other


def time_of(plan: Plan, sizes: Mapping[str, int]) -> float:
    """Nanoseconds of the loops and of the products between them, about."""
    total = 0.0
    for step in plan.steps:
        if isinstance(step, Loops):
            total += step.work
        else:
            total += sum(
                product_nanoseconds(plan.tape, i, sizes) for i in step.instrs if plan.tape.instrs[i].op in CONTRACTIONS
            )
    return total


@dataclass(eq=False)
class Planner:
    tape: Tape
    table: OpTable
    sizes: Mapping[str, int]
    fixed: Collection[str]
    extra: dict[int, set[int]]
    library: bool
    width: str
    tiled: Collection[int] = ()  # products that loops do in tiles
    known: Known = field(default_factory=dict)
    readers: list[Reader] = field(default_factory=list)
    in_tiles: set[int] = field(default_factory=set)  # those of them that were written so
    own: Collection[int] = ()  # products that kernels make, each as a whole

    def __post_init__(self) -> None:
        tape, table = self.tape, self.table
        looped = {*self.tiled, *self.own}
        self.foreign = {
            i
            for i, instr in enumerate(tape.instrs)
            if not (instr.op in LEAVES or instr.op == "array" or instr.op == "item")
            and (not loops_do(tape, i, table) or (self.library and i not in looped and library_does(tape, i, self.sizes)))
        }
        self.foreign.update(i for i, n in enumerate(tape.instrs) if n.op == "item" and n.args[0] in self.foreign)
        open_sizes = not set(self.sizes) <= set(self.fixed)
        self.careful = open_sizes or any(value(d, self.sizes) == 0 for d in every_dim(tape))
        self.slot = slots(tape, self.foreign)
        self.items: dict[int, dict[int, int]] = {}
        for i, instr in enumerate(tape.instrs):
            if instr.op == "item" and i not in self.foreign:
                self.items.setdefault(instr.args[0], {})[instr.attrs[0]] = i
        self.results = outputs = {i for _, i in tape.outputs}
        needs = {beneath(tape, a) for f in self.foreign for a in tape.instrs[f].args}
        wanted = {i for i in (*outputs, *needs) if i not in self.foreign and tape.instrs[i].op not in (*LEAVES, "array")}
        loops = [i for i in range(len(tape.instrs)) if i not in self.foreign]
        factors = {
            i for i in factors_of(tape, self.own) if i not in self.foreign and tape.instrs[i].op not in (*LEAVES, "array")
        }
        wholes = {i for i in wanted | factors if tape.instrs[i].op != "item"}
        self.chosen = made(tape, loops, wholes, self.extra.get(id(tape), ()))
        self.crossing = wanted | self.crossings(set(self.chosen) | {i for of in self.items.values() for i in of.values()})
        self.scalars: dict[int, tuple[str, int]] = {}
        self.arrays: dict[int, Shape] = {}
        count: dict[str, int] = {}
        for i in sorted(self.crossing):
            type = tape.instrs[i].type
            if type.shape:
                self.arrays[i] = type.shape
            else:
                position = count.get(type.dtype, 0)
                count[type.dtype] = position + 1
                self.scalars[i] = (type.dtype, position)
        self.layout = layouts(tape, self.foreign, {i for i in self.arrays if i not in self.results})

    def crossings(self, whole: set[int]) -> set[int]:
        """Values that a kernel makes and a later one reads."""
        found: set[int] = set()
        for i in self.chosen:
            stack, seen = [i], {i}
            while stack:
                for a in self.tape.instrs[stack.pop()].args:
                    if a in seen or a in self.foreign:
                        continue
                    seen.add(a)
                    if a in whole:
                        if self.slot[a] != self.slot[i]:
                            found.add(a)
                        continue
                    stack.append(a)
        return found

    # -------------------------------------------------------------- steps
    def plan(self) -> Plan:
        steps: list[Loops | Library] = []
        times = sorted({self.slot[i] for i in self.chosen} | {self.slot[i] for i in self.foreign})
        for time in times:
            if time % 2:
                steps.append(Library(tuple(i for i in sorted(self.foreign) if self.slot[i] == time)))
            else:
                steps.append(self.loops([i for i in self.chosen if self.slot[i] == time], f"k{len(steps)}"))
        return Plan(self.tape, tuple(steps), self.arrays, self.scalars, self.layout)

    def loops(self, values: Sequence[int], name: str) -> Loops:
        return _KernelMaker(self, values, name).make()

    def twice(self) -> dict[int, set[int]]:
        """What is dear and was nevertheless written more than once, by tape."""
        out: dict[int, set[int]] = {}
        counts: dict[tuple[int, int], int] = {}
        for reader in self.readers:
            for i, n in reader.count.items():
                counts[id(reader.tape), i] = counts.get((id(reader.tape), i), 0) + n
        tapes = {id(r.tape): r.tape for r in self.readers}
        for (tape, i), n in counts.items():
            instr = tapes[tape].instrs[i]
            if n > 1 and HEAVY.get(instr.op, 1) > 1 and instr.type.shape and i not in self.extra.get(tape, ()):
                out.setdefault(tape, set()).add(i)
        return out


class _KernelMaker:
    """One kernel: the loops of the values that are made at the same time."""

    def __init__(self, planner: Planner, values: Sequence[int], name: str) -> None:
        self.planner, self.values, self.name = planner, values, name
        self.tape = planner.tape
        self.code = Code(planner.careful)
        self.names = sorted(set(planner.sizes) - set(planner.fixed))
        held = {n: Value("i", hint=n) for n in self.names}
        self.size_values = list(held.values())
        held |= {n: self.code.whole(planner.sizes[n]) for n in planner.sizes if n in planner.fixed}
        self.flag = Buffer("flag", "i", writable=True)
        trouble = self.code.cell(self.code.const(False, "b"), "trouble")
        self.frame = Frame(self.code, held, trouble, planner.width, turns=planner.library)
        self.buffers: dict[Any, tuple[Buffer, Source]] = {}
        self.numbers: dict[Any, tuple[Value, Source]] = {}
        self.wholes: dict[Any, tuple[Value, Source]] = {}
        self.params = {i.attrs[0]: i for i in self.tape.instrs if i.op == "input"}

    def buffer(self, source: Source, writable: bool) -> Buffer:
        key = (source.kind, source.key)
        if key not in self.buffers:
            made = Buffer(f"b{len(self.buffers)}", KINDS[source.dtype], writable)
            self.buffers[key] = made, source
        return self.buffers[key][0]

    def input(self, key: Any, index: Index) -> Value:
        instr = self.params[key]
        type = instr.type
        if type.shape:
            place = self.buffer(Source("input", key, type.shape, type.dtype), False)
            return self.code.load(place, self.frame.linear(index, type.shape), str(key))
        return self.number(Source("input", key, (), type.dtype), str(key))

    def number(self, source: Source, hint: str) -> Value:
        """A single number that the caller has."""
        key = (source.kind, source.key)
        real = source.dtype == "real"
        numbers = self.numbers if real else self.wholes
        if key not in numbers:
            numbers[key] = Value("f" if real else "i", hint=hint), source
        value = numbers[key][0]
        return self.code.op("itob", value) if source.dtype == "bool" else value

    def outside(self, i: int, index: Index) -> Value | None:
        """A value that another step has made."""
        planner, instr = self.planner, self.tape.instrs[i]
        if i in planner.foreign and not instr.type.shape:
            return self.number(Source("value", i, (), instr.type.dtype), instr.name or "")
        if i in planner.foreign or instr.op == "array":
            where = self.buffer(Source("value", i, instr.type.shape, instr.type.dtype), False)
            return self.code.load(where, self.frame.linear(index, instr.type.shape), instr.name or "")
        if i in planner.crossing and planner.slot[i] != self.time:
            place = self.place(i, False)
            shape = instr.type.shape
            at = self.frame.linear([index[k] for k in place.axes], [shape[k] for k in place.axes])
            at = at if place.start is None else place.start
            return self.code.load(place.buffer, at, instr.name or "")
        return None

    def place(self, i: int, writable: bool) -> Place:
        planner, type = self.planner, self.tape.instrs[i].type
        if i in planner.scalars:
            kind, position = planner.scalars[i]
            return Place(self.buffer(Source("scalars", kind, (), kind), True), (), (), self.code.whole(position))
        made = self.buffer(Source("value", i, type.shape, type.dtype), writable)
        return Place(made, planner.layout.get(i, tuple(range(type.rank))), type.shape)

    def whole(self, i: int) -> Place | None:
        """Where a value lies that this kernel does not make."""
        planner, instr = self.planner, self.tape.instrs[i]
        usual = tuple(range(instr.type.rank))
        if instr.op == "input":
            return Place(self.buffer(Source("input", instr.attrs[0], instr.type.shape), False), usual, instr.type.shape)
        if i in planner.foreign or instr.op == "array":
            return Place(self.buffer(Source("value", i, instr.type.shape), False), usual, instr.type.shape)
        return self.place(i, False) if i in planner.crossing and planner.slot[i] != self.time else None

    def body_roots(self, body: Tape, outputs: Sequence[int] | None = None) -> list[Root]:
        planner = self.planner
        needed = range(len(body.instrs)) if outputs is None else reached(body, outputs)
        found = made(body, needed, (), planner.extra.get(id(body), ()))
        return self.with_recurrences(body, found)

    def with_recurrences(self, tape: Tape, values: Sequence[int]) -> list[Root]:
        roots: list[Root] = []
        items: dict[int, dict[int, int]] = {}
        for i, instr in enumerate(tape.instrs):
            if instr.op == "item":
                items.setdefault(instr.args[0], {})[instr.attrs[0]] = i
        for i in values:
            instr = tape.instrs[i]
            if i in self.planner.own and tape is self.tape:
                roots.append(product_root(tape, i, self.whole))
                continue
            if instr.op in WRITERS:
                roots.append(special_root(tape, i, tuple(self.behind(tape, instr))))
                continue
            if instr.op == "root":
                search = Newton(tape, instr, self.body_roots, dict(self.planner.sizes), self.planner.readers)
                roots.append(Root(i, (), nothing_read, gives=(i,), needs=tuple(self.behind(tape, instr)), special=search))
                continue
            if instr.op != "scan":
                roots.extend(roots_of(tape, i))
                continue
            of = items.get(i, {})
            special = Recurrence(tape, instr, of, self.body_roots, dict(self.planner.sizes), self.planner.readers)
            needs = tuple(self.behind(tape, instr))
            roots.append(Root(i, (), nothing_read, gives=tuple(of.values()), needs=needs, special=special))
        return roots

    def behind(self, tape: Tape, instr: Instr) -> list[int]:
        """The values of this kernel that a recurrence reads through what is computed at the spot."""
        stack, seen = [*instr.args], set(instr.args)
        for i in stack:
            if inline(tape.instrs[i]) or tape.instrs[i].op == "item":
                for a in tape.instrs[i].args:
                    if a not in seen:
                        seen.add(a)
                        stack.append(a)
        return stack

    def make(self) -> Loops:
        planner, code = self.planner, self.code
        self.time = planner.slot[self.values[0]]
        reader = Reader(self.tape, self.frame, {}, self.input, self.outside)
        planner.readers.append(reader)
        roots = self.with_recurrences(self.tape, self.values)
        before = {i for i in planner.crossing if planner.slot[i] != self.time}
        arrays = {i for i, n in enumerate(self.tape.instrs) if n.op == "array"}
        outside = {i: planner.layout.get(i) for i in planner.foreign | before | arrays}
        survey = Survey(self.tape, planner.sizes, outside, rigid={*planner.own, *factors_of(self.tape, planner.own)})
        survey(roots)
        roots, tiled = with_tiles(self.tape, roots, planner.tiled, planner.crossing, survey, planner.known)
        copies = packed(self.tape, roots, planner.sizes)
        if copies:
            roots = [*copies, *roots]
            survey(roots)
            for r in copies:
                r.sided = True  # its steps are moved together so that those of its users are
        temps: list[Temporary] = []
        wanted = {i: self.place(i, True) for r in roots for i in r.gives if i in planner.crossing}
        weaver = Weaver(self.tape, reader, self.frame, roots, wanted, temps, planner.sizes, tiled)
        weaver.weave(roots)
        planner.in_tiles |= weaver.in_tiles
        sources = [(b, s) for b, s in self.buffers.values()]
        sources += [(t.buffer, Source("temp", f"{self.name}_{t.buffer.name}", t.shape, _dtype(t.buffer))) for t in temps]
        if self.frame.faulted:
            flag = Buffer("flag", "i", writable=True)
            assert isinstance(self.frame.trouble, Cell)
            if self.frame.doubted:
                code.body.insert(0, Declare(self.frame.zeros, code.real(0.0)))
                self.frame.fault(code.op("ne", code.read(self.frame.zeros), code.real(0.0)))
            code.store(flag, code.whole(0), code.op("btoi", code.read(self.frame.trouble)))
            sources.append((flag, Source("flag", self.name, (), "int")))
        wholes = [*zip(self.size_values, (Source("size", n) for n in self.names), strict=True), *self.wholes.values()]
        kernel = Kernel(
            self.name,
            tuple(b for b, _ in sources),
            tuple(v for v, _ in wholes),
            code.body,
            tuple(v for v, _ in self.numbers.values()),
            own=small(temps, planner.fixed, planner.sizes),
        )
        order = (*(s for _, s in sources), *(s for _, s in wholes), *(s for _, s in self.numbers.values()))
        return Loops(kernel, order, int(nanoseconds(kernel.body, positions_of(kernel.body))))


def _dtype(buffer: Buffer) -> str:
    return {"f": "real", "i": "int", "b": "bool"}[buffer.kind]
