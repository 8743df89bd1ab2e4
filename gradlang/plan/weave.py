"""Roots to nests of loops: what runs over the same entries shares its loops, and what is read once is read once.

Two roots share a loop if neither needs more of the other than the entry at hand. So a row of a matrix is multiplied, its
loss taken and its part of the gradient added up before the next row is read. Values that only members of a loop need
never leave it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gradlang.ir.tape import Instr, Tape
from gradlang.loops.ir import Buffer, Cell, Code, Value
from gradlang.plan.pointwise import KINDS, real, truth, whole
from gradlang.plan.reader import Frame, Index, Place, Reader
from gradlang.plan.roots import Axis, Root, strides
from gradlang.types import Dim, Shape


@dataclass(eq=False, slots=True)
class Group:
    """Roots that share a loop, each with the axis that the loop is for it. Without an extent: one root, no loop left."""

    extent: Dim | None
    members: list[Root] = field(default_factory=list)
    axis: dict[Root, int] = field(default_factory=dict)
    touches: set[Any] = field(default_factory=set)


@dataclass(eq=False, slots=True)
class State:
    """How far a root is: its open loops, where it adds up."""

    counters: list[Value | None]
    path: list[Group] = field(default_factory=list)
    cell: Cell | None = None
    into: Place | None = None


@dataclass(frozen=True, slots=True)
class Temporary:
    """A buffer of a kernel that holds a value between its loops."""

    buffer: Buffer
    shape: Shape


def survey(
    roots: Iterable[Root], tape: Tape, sizes: Mapping[str, int], names: Iterable[str], outside: Collection[int] = ()
) -> None:
    """What each root reads, at which of its loops, and the order of the loops that reads memory best. Values in `outside`
    are made by somebody else."""
    roots = list(roots)
    inputs = {i.attrs[0]: i for i in tape.instrs if i.op == "input"}
    known = {g for r in roots for g in r.gives}.union(outside)
    for root in roots:
        _Survey(root, tape, inputs, known, {n: sizes[n] for n in names}).run()


class _Survey:
    """Writes the innermost work of one root into code that is thrown away, and looks at what it reads and stores."""

    def __init__(
        self, root: Root, tape: Tape, inputs: Mapping[Any, Instr], known: Collection[int], sizes: Mapping[str, int]
    ) -> None:
        self.root, self.tape, self.inputs, self.known = root, tape, inputs, known
        code = Code()
        held = {n: Value("i", hint=n) for n in sizes}
        self.frame = Frame(code, held, Cell("b"))
        self.hints = {held[n]: size for n, size in sizes.items()}
        self.counters = [code.whole(0) if a.extent == 1 else Value("i", hint=f"i{k}") for k, a in enumerate(root.axes)]
        self.loops = {id(c): k for k, c in enumerate(self.counters) if c.const is None}
        self.reads: dict[int, list[tuple[int | None, ...]]] = {n: [()] for n in root.needs}
        self.touched: set[Any] = set()
        self.steps = [0.0] * len(self.counters)

    def run(self) -> None:
        root = self.root
        if root.special is None:
            reader = Reader(self.tape, self.frame, {}, self.leaf, self.seen)
            root.entry(reader, self.counters)
            self.weigh(self.target(reader), self.tape.instrs[root.at].type.shape)
        root.reads, root.touches = self.reads, frozenset(self.touched)
        root.order = tuple(sorted(range(len(self.counters)), key=lambda k: (-self.steps[k], k)))

    def target(self, reader: Reader) -> Index:
        root = self.root
        if root.target is not None:
            return root.target(reader, self.counters)
        outs = {a.out: c for a, c in zip(root.axes, self.counters, strict=True) if a.out is not None}
        zero = self.frame.code.whole(0)
        return tuple(outs.get(k, zero) for k in range(len(self.tape.instrs[root.at].type.shape)))

    def seen(self, i: int, index: Index) -> Value | None:
        """An entry of a value that lies in memory or is made by another root."""
        if i in self.root.gives or i not in self.known:
            return None
        type = self.tape.instrs[i].type
        self.reads.setdefault(i, []).append(tuple(self.loops.get(id(v)) for v in index))
        if type.shape:
            self.touched.add(i)
        self.weigh(index, type.shape)
        return Value(KINDS[type.dtype])

    def leaf(self, key: Any, index: Index) -> Value:
        type = self.inputs[key].type
        if index:
            self.touched.add(key)
            self.weigh(index, type.shape)
        return Value(KINDS[type.dtype])

    def weigh(self, index: Index, shape: Shape) -> None:
        """Adds how far one step of each loop moves this access."""
        at = self.frame.linear(index, shape)
        for k, s in enumerate(strides(self.frame.code, at, self.counters, self.hints)):
            self.steps[k] += s if self.counters[k].const is None else 0.0


class Weaver:
    """Writes the loops of a kernel."""

    def __init__(
        self,
        tape: Tape,
        reader: Reader,
        frame: Frame,
        roots: Sequence[Root],
        wanted: Mapping[int, Place],
        temps: list[Temporary],
    ) -> None:
        """`wanted` are the places of values that others read as well; new temporaries are added to `temps`."""
        self.tape, self.reader, self.frame, self.code = tape, reader, frame, frame.code
        self.wanted, self.temps = wanted, temps
        zero = self.code.whole(0)
        self.state = {r: State([zero if a.extent == 1 else None for a in r.axes]) for r in roots}
        self.makers: dict[int, list[Root]] = {}
        self.users: dict[int, set[Root]] = {}
        for r in roots:
            for g in r.gives:
                self.makers.setdefault(g, []).append(r)
            for i in r.reads:
                self.users.setdefault(i, set()).add(r)

    # -------------------------------------------------------------- which roots share a loop
    def partition(self, roots: Sequence[Root]) -> list[Group]:
        groups: list[Group] = []
        place: dict[Root, int] = {}
        here = set(roots)
        for r in roots:
            deps = [m for i in r.reads for m in self.makers.get(i, ()) if m in here and m is not r]
            low = max((place[m] for m in deps), default=0)
            found = None
            if r.special is None and any(c is None for c in self.state[r].counters):
                for g in range(low, len(groups)):
                    axis = self.shared(r, groups[g], [m for m in deps if place[m] == g])
                    if axis is not None:
                        found, chosen = g, axis
                        break
            if found is None:
                made = Group(None)
                free = [k for k in r.order if self.state[r].counters[k] is None]
                if r.special is None and free:
                    made.extent, chosen = r.axes[free[0]].extent, free[0]
                groups.append(made)
                found = len(groups) - 1
            group = groups[found]
            group.members.append(r)
            group.touches |= r.touches | set(r.gives)
            if group.extent is not None:
                group.axis[r] = chosen
            place[r] = found
        return groups

    def shared(self, r: Root, group: Group, deps: Sequence[Root]) -> int | None:
        """The loop of a root that can be the loop of a group."""
        if group.extent is None or not (deps or r.touches & group.touches):
            return None
        free = [k for k in r.order if self.state[r].counters[k] is None]
        for k in free:
            if r.axes[k].extent != group.extent or (not deps and k != free[0]):
                continue
            if all(self.in_step(r, k, m, group.axis[m]) for m in deps):
                return k
        return None

    def in_step(self, r: Root, axis: int, m: Root, theirs: int) -> bool:
        """Whether all that a root reads of another one at a step of a shared loop is made by then in this step."""
        out = m.axes[theirs].out
        if out is None:
            return False
        return all(p[out] == axis for i in m.gives for p in r.reads.get(i, ()))

    # -------------------------------------------------------------- loops
    def weave(self, roots: Sequence[Root]) -> None:
        for group in self.partition(roots):
            if group.extent is None:
                (r,) = group.members
                if r.special is not None:
                    r.special(self, r)
                    continue
                if r.target is not None and r.combine and self.state[r].into is None:
                    self.begin(r)  # one entry is added to zeros
                self.leaf(r)
            else:
                self.loop(group)

    def loop(self, group: Group) -> None:
        opened = []
        for r in group.members:
            state = self.state[r]
            adds = r.combine and r.axes[group.axis[r]].out is None
            if adds and state.cell is None and state.into is None:
                self.begin(r)
                opened.append(r)
        assert group.extent is not None
        with self.code.loop(self.code.whole(0), self.frame.dim(group.extent), hint=f"i{len(self.code.blocks)}") as counter:
            for r in group.members:
                self.state[r].counters[group.axis[r]] = counter
                self.state[r].path.append(group)
            self.weave(group.members)
        for r in group.members:
            self.state[r].counters[group.axis[r]] = None
            self.state[r].path.pop()
        for r in opened:
            self.end(r)

    def begin(self, r: Root) -> None:
        """Before the first loop that a root sums over."""
        state, code = self.state[r], self.code
        free = [k for k, a in enumerate(r.axes) if a.out is not None and state.counters[k] is None]
        start = code.const(r.start, KINDS[self.tape.instrs[r.at].type.dtype])
        if r.onto is not None:
            state.into = r.onto
        elif r.target is None and not free:
            state.cell = code.cell(start, "total")
        else:
            state.into = self.place(r)
            self.fill(r, state.into, start)

    def fill(self, r: Root, place: Place, start: Value) -> None:
        """Sets the entries that will be added to."""
        fixed = {a.out: c for a, c in zip(r.axes, self.state[r].counters, strict=True) if a.out is not None and c is not None}
        index: list[Value] = [fixed.get(k, self.code.whole(0)) for k in range(len(place.shape))]

        def over(axes: list[int]) -> None:
            if not axes:
                self.code.store(place.buffer, self.reader.position(place, tuple(index)), start)
                return
            with self.code.loop(self.code.whole(0), self.frame.dim(place.shape[axes[0]])) as k:
                index[axes[0]] = k
                over(axes[1:])

        over([k for k in range(len(place.shape)) if k not in fixed])

    def end(self, r: Root) -> None:
        state = self.state[r]
        if state.cell is not None:
            total, state.cell = self.code.read(state.cell), None
            self.settle(r, total)
        state.into = None

    def leaf(self, r: Root) -> None:
        """The innermost work of a root."""
        state, code = self.state[r], self.code
        counters = [c for c in state.counters if c is not None]
        value = self.fit(r, r.entry(self.reader, counters))
        if r.onto is not None:
            place, at = r.onto, self.reader.position(r.onto, self.target(r))
            code.store(place.buffer, at, self.combined(r, code.load(place.buffer, at), value) if r.combine else value)
        elif not r.combine:
            self.settle(r, value)
        elif state.cell is not None:
            code.update(state.cell, r.combine, value)
        elif state.into is not None:
            at = self.reader.position(state.into, self.target(r))
            code.store(state.into.buffer, at, self.combined(r, code.load(state.into.buffer, at), value))
        else:  # no loop to combine over
            first = code.const(r.start, value.type)
            self.settle(r, value if r.combine in ("add", "iadd") else self.combined(r, first, value))

    def fit(self, r: Root, value: Value) -> Value:
        """The value in the kind that the root has."""
        kind = KINDS[self.tape.instrs[r.at].type.dtype]
        return value if value.type == kind else {"f": real, "i": whole, "b": truth}[kind](self.code, value)

    def combined(self, r: Root, old: Value, new: Value) -> Value:
        return self.code.op(r.combine, old, new)

    def target(self, r: Root) -> Index:
        counters = self.state[r].counters
        if r.target is not None:
            return r.target(self.reader, [c for c in counters if c is not None])
        outs = {a.out: c for a, c in zip(r.axes, counters, strict=True) if a.out is not None and c is not None}
        rank = len(self.tape.instrs[r.at].type.shape)
        return tuple(outs.get(k, self.code.whole(0)) for k in range(rank))

    # -------------------------------------------------------------- where values stay
    def common(self, i: int, r: Root) -> list[Group]:
        """The open loops of a root that hold all users of a value."""
        users = self.users.get(i, set()) | set(self.makers[i])
        return [g for g in self.state[r].path if users <= set(g.members)]

    def settle(self, r: Root, value: Value) -> None:
        """A finished entry: known to what comes in the same block, and stored if others read it."""
        index = self.target(r)
        path = self.state[r].path
        whole = r.target is None
        near = whole and (not path or len(self.common(r.at, r)) == len(path))
        if whole:
            # the value is at hand in this block, whether it depends on its counters or not
            self.code.known[self.code.depth][self.reader.key(r.at, index)] = value
        if r.at in self.wanted or not near:
            place = self.place(r)
            self.code.store(place.buffer, self.reader.position(place, index), value)

    def place(self, r: Root) -> Place:
        i = r.at
        if i in self.reader.places:
            return self.reader.places[i]
        shape = self.tape.instrs[i].type.shape
        found = self.wanted.get(i)
        if found is None:
            held = {r.axes[g.axis[r]].out for g in self.common(i, r)} if len(self.makers[i]) == 1 else set()
            axes = tuple(k for k in range(len(shape)) if k not in held)
            buffer = Buffer(f"t{len(self.temps)}", KINDS[self.tape.instrs[i].type.dtype], writable=True)
            self.temps.append(Temporary(buffer, tuple(shape[k] for k in axes)))
            found = Place(buffer, axes, shape)
        self.reader.places[i] = found
        return found


__all__ = ["Axis", "Code", "Group", "Root", "State", "Temporary", "Weaver", "survey"]
