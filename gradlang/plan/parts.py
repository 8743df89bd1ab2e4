"""Kernels whose loops run in parts, so that several threads can share the work.

How many parts a loop has depends on its length and work alone. Every part adds up for itself, and what the parts have
added up is combined in their order: so a result has the same bits on however many threads it was made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import ceil

from gradlang.loops.ir import Buffer, Cell, Declare, For, Kernel, Let, Load, Read, Run, Statement, Store, Update, Value
from gradlang.loops.walk import operands, statements
from gradlang.plan.affine import positions_of
from gradlang.plan.apart import apart
from gradlang.plan.plan import Library, Loops, Plan, Source
from gradlang.plan.segments import Memory, Parted, Segment, Writer
from gradlang.plan.work import nanoseconds
from gradlang.record import changed
from gradlang.types import Shape, product, value

PIECE = 50_000.0  # nanoseconds of work that are worth a part
MOST = 16  # parts of a loop
ROOM = 1 << 22  # entries that the parts of a loop may have for themselves, altogether
COPIED = 0.25  # of the work of a loop, which may be added for copies
EVEN = 16  # steps; parts of long loops are multiples
DTYPES = {"f": "real", "i": "int", "b": "bool"}
TOLD = 64  # statements that are written again where another kernel needs what they make


def in_parts(plan: Plan, sizes: Mapping[str, int]) -> Plan:
    """A plan in which the long loops of kernels run in parts. Its sizes must be fixed, as numbers."""
    counts = Counter(kind for kind, _ in plan.scalars.values())
    steps: list[Loops | Library] = []
    for step in plan.steps:
        steps += _Cut(step, sizes, counts).steps() if isinstance(step, Loops) else [step]
    return changed(plan, steps=tuple(steps))


class _Cut:
    """Cuts one kernel."""

    def __init__(self, step: Loops, sizes: Mapping[str, int], counts: Mapping[str, int]) -> None:
        self.step, self.kernel, self.sizes, self.counts = step, step.kernel, sizes, counts
        kernel = step.kernel
        self.sources: dict[Buffer | Value, Source] = dict(
            zip([*kernel.buffers, *kernel.sizes, *kernel.numbers], step.sources, strict=True)
        )
        self.positions = positions_of(kernel.body)
        self.made = {s.value: s for s in kernel.body if isinstance(s, Let | Load | Read)}
        self.declared = {s.cell: s for s in kernel.body if isinstance(s, Declare)}
        self.memory = Memory()

    def steps(self) -> Sequence[Loops]:
        segments = self.segments()
        if len(segments) == 1:
            return [self.step]
        home = {v: k for k, s in enumerate(segments) for v in self.made if self.made[v] in s.body}
        for k, s in enumerate(segments):
            s.told, s.kept = self.told(s.uses, home, k)
        kept = {v for s in segments for v in s.kept}
        made = []
        for k, s in enumerate(segments):
            later = {c for other in segments[k + 1 :] for c in other.cells}
            leaves = [v for v in self.made if v in kept and home[v] == k]
            writer = Writer(self.memory, self.declared, s, segments[k - 1].parted if k else None)
            kernel = writer.write(f"{self.kernel.name}_{k}", self.kernel, leaves, later)
            if s.parted is not None:
                self.sources[writer.part] = Source("part", k, (), "int")
                self.own_entries(s.parted)
            if stores(kernel):
                made.append((kernel, s.parted.parts if s.parted is not None else 0))
        for name, room in self.memory.rooms.items():
            self.sources[room.buffer] = self.temporary(name, room.shape, room.buffer)
        return [self.loops(kernel, parts) for kernel, parts in made]

    def temporary(self, name: str, shape: Shape, buffer: Buffer) -> Source:
        return Source("temp", f"{self.kernel.name}_{name}", shape, DTYPES[buffer.kind])

    def own_entries(self, parted: Parted) -> None:
        """The buffers that the parts of a loop have for themselves have room for all of them."""
        for buffer, many in parted.entries.items():
            own = self.memory.copy(parted.loop, buffer) if buffer in parted.how.summed else buffer
            name = own.name if own is not buffer else self.sources[buffer].key.removeprefix(f"{self.kernel.name}_")
            self.sources[own] = self.temporary(name, (parted.parts, many), buffer)

    def loops(self, kernel: Kernel, parts: int) -> Loops:
        taken: tuple[Buffer | Value, ...] = (*kernel.buffers, *kernel.sizes, *kernel.numbers)
        work = int(nanoseconds(kernel.body, positions_of(kernel.body)))
        return Loops(kernel, tuple(self.sources[x] for x in taken), work, parts)

    # -------------------------------------------------------------- what is cut
    def segments(self) -> list[Segment]:
        found = [Segment([])]
        for s in self.kernel.body:
            parted = self.parted(s) if isinstance(s, For) else None
            if parted is None:
                found[-1].body.append(s)
            else:
                found += [Segment([s], parted), Segment([])]
        before: set[Cell] = set()
        for k, segment in enumerate(found):
            segment.uses = free(segment.body)
            inside = list(statements(segment.body))
            segment.cells = {s.cell for s in inside if isinstance(s, Declare | Read | Update)} & set(self.declared)
            if k and (parted := found[k - 1].parted):
                segment.cells |= set(parted.how.cells)
            segment.uses |= {self.declared[c].start for c in segment.cells & before}
            before |= segment.cells
        return found

    def parted(self, loop: For) -> Parted | None:
        """How a loop is cut, if it is worth it."""
        work = nanoseconds([loop], self.positions)
        if work < 2 * PIECE:
            return None
        temporary = {b for b in self.kernel.buffers if self.sources[b].kind == "temp"}
        how = apart(self.kernel.body, loop, self.positions, temporary)
        if how is None or loop.stop.const is None:
            return None
        steps = int(loop.stop.const)
        parts = min(MOST, int(work / PIECE), steps)
        entries = {b: self.entries(b) for b in self.kernel.buffers if b in how.summed or b in how.private}
        summed = sum(self.entries(b) for b in how.summed)
        if summed:
            parts = min(parts, int(COPIED * work / summed))  # an entry of a copy costs about a nanosecond
        if entries:
            parts = min(parts, ROOM // max(1, sum(entries.values())))
        if parts < 2:
            return None
        length = ceil(steps / parts)
        if length >= 4 * EVEN:
            length = ceil(length / EVEN) * EVEN
        return Parted(loop, how, ceil(steps / length), length, entries)

    def entries(self, buffer: Buffer) -> int:
        source = self.sources[buffer]
        return self.counts[source.key] if source.kind == "scalars" else value(product(source.shape), self.sizes)

    def told(self, wanted: Iterable[Value], home: Mapping[Value, int], k: int) -> tuple[list[Let], list[Value]]:
        """What a segment needs of earlier ones: statements that it repeats, and values that are kept in memory for it."""
        order = {v: n for n, v in enumerate(self.made)}
        first = sorted((v for v in wanted if home.get(v, k) < k), key=lambda v: order[v])
        for whole_only in (False, True):
            again: dict[Value, Let] = {}
            kept: set[Value] = set()
            stack = list(first)
            while stack:
                v = stack.pop()
                s = self.made.get(v)
                if s is None or v in again or v in kept:
                    continue
                if isinstance(s, Let) and s.op != "call" and (v.type == "i" or not whole_only):
                    again[v] = s
                    stack += s.args
                else:
                    kept.add(v)
            if len(again) <= TOLD:
                break
        return sorted(again.values(), key=lambda s: order[s.value]), sorted(kept, key=lambda v: order[v])


def free(body: Sequence[Statement]) -> set[Value]:
    """What statements use and do not make."""
    inside = list(statements(body))
    own = {s.value for s in inside if isinstance(s, Let | Load | Read)} | {s.counter for s in inside if isinstance(s, For)}
    return {v for s in inside for v in operands(s)} - own


def stores(kernel: Kernel) -> bool:
    return any(isinstance(s, Store | Run) for s in statements(kernel.body))
