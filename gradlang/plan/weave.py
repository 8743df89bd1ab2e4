"""Roots to nests of loops: what runs over the same entries shares its loops, and what is read once is read once.

Two roots share a loop if neither needs more of the other than the entry at hand. So a row of a matrix is multiplied, its
loss taken and its part of the gradient added up before the next row is read. Values that only members of a loop need
never leave it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod

from gradlang.ir.tape import Tape
from gradlang.loops.ir import Buffer, Value
from gradlang.plan.demand import Demand
from gradlang.plan.pointwise import KINDS, real, truth, whole
from gradlang.plan.products import Tiles, Tiling
from gradlang.plan.reader import Frame, Index, Place, Reader
from gradlang.plan.roots import Root
from gradlang.plan.sharing import BLOCK, FAN, Group, Sharing, State
from gradlang.plan.temporaries import Temporary
from gradlang.plan.unrolled import Unrolled
from gradlang.types import Shape, value

SHORT = 16  # steps of a sum that is written out


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
        sizes: Mapping[str, int],
        tiled: Mapping[Root, Tiling] | None = None,
    ) -> None:
        """`wanted` are the places of values that others read as well; new temporaries are added to `temps`; `sizes` are
        those of a typical call."""
        self.sizes = sizes
        self.tape, self.reader, self.frame, self.code = tape, reader, frame, frame.code
        self.wanted, self.temps = wanted, temps
        zero = self.code.whole(0)
        self.state = {r: State([zero if a.extent == 1 else None for a in r.axes], r.order) for r in roots}
        self.makers: dict[int, list[Root]] = {}
        self.users: dict[int, set[Root]] = {}
        for r in roots:
            for g in r.gives:
                self.makers.setdefault(g, []).append(r)
            for i in r.reads:
                self.users.setdefault(i, set()).add(r)
        self.demand = Demand(tape)
        self.sharing = Sharing(self.state, self.makers, sizes, tiled or {})
        self.in_tiles: set[int] = set()  # the products that were written so

    # -------------------------------------------------------------- loops
    def weave(self, roots: Sequence[Root]) -> None:
        if self.in_lines(roots):
            return
        for group in self.sharing.partition(roots):
            if group.extent is None:
                (r,) = group.members
                if r.special is not None:
                    r.special(self, r)
                    continue
                if self.sharing.tiles(r):
                    Tiles(self, r, self.sharing.tiled[r]).write()
                    block = self.sharing.block(r, self.sharing.tiled[r].long)
                    if len(r.axes) > 3 or (block is not None and block.rows):  # a single product of columns is a library's
                        self.in_tiles.add(r.at)
                    continue
                if r.target is not None and r.combine and self.state[r].into is None:
                    self.begin(r)  # one entry is added to zeros
                self.leaf(r)
            else:
                self.loop(group)

    def loop(self, group: Group) -> None:
        slender = self.sharing.slender(group)
        rows = self.sharing.by_rows(group)
        if slender and not rows and (line := Unrolled(self, group)).fits():
            line.write()
            return
        opened = []
        for r in group.members:
            state = self.state[r]
            adds = r.combine and r.axes[group.axis[r]].out is None
            if adds and state.cell is None and state.into is None:
                self.begin(r)
                opened.append(r)
        assert group.extent is not None
        length = self.frame.dim(group.extent)
        around = self.sharing.block(*next(iter(group.axis.items())))
        if around is not None and around.first is not None and around.last is not None:
            self.steps(group, around.first, around.last)
        elif rows:
            self.blocks(group, length, BLOCK, self.in_rows)
        elif slender:
            self.blocks(group, length, self.sharing.side(group), self.aside)
        elif self.sharing.mixed(group):
            self.blocks(group, length, BLOCK, self.in_layers)
        else:
            self.steps(group, self.code.whole(0), length)
        for r in opened:
            self.end(r)

    def in_lines(self, roots: Sequence[Root]) -> bool:
        """Writes roots inside a loop over blocks as straight lines over the steps of the block, if all of them can be."""
        blocks = [[g for g in self.state[r].path if g.aside] for r in roots]
        if not all(len(of) == 1 and of == blocks[0] for of in blocks) or not roots or any(r.special is not None for r in roots):
            return False
        (block,) = blocks[0]
        before = {r: self.state[r].order for r in roots}
        if any(self.state[r].counters[block.axis[r]] is not None for r in roots):
            return False
        for r in roots:
            mine = block.axis[r]
            self.state[r].order = (mine, *(k for k in before[r] if k != mine))
        lines = [
            Unrolled(self, g) for g in self.sharing.partition(roots) if all(g.axis.get(r) == block.axis[r] for r in g.members)
        ]
        fits = sum(len(line.group.members) for line in lines) == len(roots) and all(line.fits() for line in lines)
        if fits:
            for line in lines:
                line.write()
        for r in roots:
            self.state[r].order = before[r]
        return fits

    def steps(self, group: Group, start: Value, stop: Value) -> None:
        if self.sharing.fans(group):
            self.several(group, start, stop)
            return
        parts = [r for r in group.members if self.sums_up(r, group.axis[r])]
        for r in parts:
            kind = KINDS[self.tape.instrs[r.at].type.dtype]
            self.state[r].part = self.code.cell(self.code.const(r.start, kind), "part")
        with self.code.loop(start, stop, hint=f"i{len(self.code.blocks)}") as counter:
            for r in group.members:
                self.state[r].counters[group.axis[r]] = counter
                self.state[r].path.append(group)
            self.weave(group.members)
        for r in group.members:
            self.state[r].counters[group.axis[r]] = None
            self.state[r].path.pop()
        for r in parts:
            part, into = self.state[r].part, self.state[r].into
            self.state[r].part = None
            assert part is not None and into is not None
            at = self.reader.position(into, self.target(r))
            total = self.combined(r, self.code.load(into.buffer, at), self.code.read(part))
            self.code.store(into.buffer, at, total)

    def several(self, group: Group, start: Value, stop: Value) -> None:
        """The steps of a sum of rows, a few of them at once: they are added up before the sum is taken from memory and put
        back, and do not wait for each other."""
        (r,) = group.members
        state, code, size = self.state[r], self.code, self.code.whole(FAN)
        count = code.op("idiv", code.op("isub", stop, start), size)
        rest = code.op("iadd", start, code.op("imul", count, size))
        for some, first, last in ((FAN, code.whole(0), count), (1, rest, stop)):
            if first.const is not None and first.const == last.const:
                continue
            with code.loop(first, last, hint=f"i{len(code.blocks)}") as counter:
                at = counter if some == 1 else code.op("iadd", start, code.op("imul", counter, size))
                state.fan = tuple(code.op("iadd", at, code.whole(n)) for n in range(some))
                state.counters[group.axis[r]] = at
                state.path.append(group)
                self.weave(group.members)
            state.counters[group.axis[r]], state.fan = None, ()
            state.path.pop()

    def fanned(self, r: Root, axis: int) -> Value:
        """The sum of the summands at the counters of a fan, by pairs."""
        state, code = self.state[r], self.code
        before, values = state.counters[axis], []
        for at in state.fan:
            state.counters[axis] = at
            values.append(self.fit(r, r.entry(self.reader, [c for c in state.counters if c is not None])))
        state.counters[axis] = before
        while len(values) > 1:
            pairs = []
            for a, b in zip(values[::2], values[1::2], strict=True):
                pair = code.cell(a, "pair")
                code.update(pair, "add", b)
                pairs.append(code.read(pair))
            values = pairs
        return values[0]

    def sums_up(self, r: Root, axis: int) -> bool:
        """Whether the loops from here on all add to one entry in memory."""
        state = self.state[r]
        if state.into is None or state.part is not None or r.target is not None or r.axes[axis].out is not None:
            return False
        return all(r.axes[k].out is None for k in self.sharing.free(r))

    def blocks(self, group: Group, length: Value, size: int, inside: Callable[[Group], None]) -> None:
        """A loop over blocks of steps; `inside` writes what is done for a block."""
        code, block = self.code, self.code.whole(size)
        count = code.op("idiv", code.op("iadd", length, code.whole(size - 1)), block)
        with code.loop(code.whole(0), count, hint="block") as k:
            group.first = first = code.op("imul", k, block)
            group.last = code.op("imin", code.op("iadd", first, block), length)
            group.size = size
            for r in group.members:
                self.state[r].path.append(group)
            inside(group)
            for r in group.members:
                self.state[r].path.pop()

    def in_layers(self, group: Group) -> None:
        """The roots with inner loops and those without in loops of their own."""
        assert group.first is not None and group.last is not None
        for members in self.sharing.layers(group):
            self.steps(Group(group.extent, members, {r: group.axis[r] for r in members}), group.first, group.last)

    def in_rows(self, group: Group) -> None:
        """The steps of a block one after another, each over entries side by side, and then the products of their rows."""
        assert group.first is not None and group.last is not None
        group.rows = True
        tiled = [r for r in group.members if r in self.sharing.tiled]
        rest = [r for r in group.members if r not in tiled]
        if rest:
            self.steps(Group(group.extent, rest, {r: group.axis[r] for r in rest}), group.first, group.last)
        self.weave(tiled)

    def aside(self, group: Group) -> None:
        """The steps of a block innermost: what is done for one is done for all of them side by side. Short sums stay inside,
        where they are written out."""
        before = {r: self.state[r].order for r in group.members}
        group.aside = True
        for r in group.members:
            mine = group.axis[r]
            rest = [k for k in before[r] if k != mine]
            sums = [k for k in rest if r.axes[k].out is None and r.combine and r.target is None]
            short = prod(value(r.axes[k].extent, self.sizes) for k in sums) <= SHORT
            inside = sums if short and r.axes[mine].out is not None else []
            self.state[r].order = (*(k for k in rest if k not in inside), mine, *inside)
            if r in self.sharing.tiled:
                axes = self.sharing.tiled[r].axes
                self.state[r].order = (*(k for k in rest if k not in axes), *(k for k in (*rest, mine) if k in axes))
        self.weave(group.members)
        for r in group.members:
            self.state[r].order = before[r]

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

        blocks = {r.axes[g.axis[r]].out: g for g in self.state[r].path if g.first is not None}

        def over(axes: list[int]) -> None:
            if not axes:
                self.code.store(place.buffer, self.reader.position(place, tuple(index)), start)
                return
            group = blocks.get(axes[0])
            whole = self.code.whole(0), self.frame.dim(place.shape[axes[0]])
            first, last = whole if group is None else (group.first or whole[0], group.last or whole[1])
            with self.code.loop(first, last) as k:
                index[axes[0]] = k
                over(axes[1:])

        over([k for k in place.axes if k not in fixed and place.shape[k] != 1])

    def end(self, r: Root) -> None:
        state = self.state[r]
        if state.cell is not None:
            total, state.cell = self.code.read(state.cell), None
            self.settle(r, total)
        state.into = None

    def leaf(self, r: Root) -> None:
        """The innermost work of a root."""
        state, code = self.state[r], self.code
        if len(state.fan) > 1:
            value = self.fanned(r, next(g.axis[r] for g in reversed(state.path) if r.axes[g.axis[r]].out is None))
        else:
            value = self.fit(r, r.entry(self.reader, [c for c in state.counters if c is not None]))
        if r.onto is not None:
            place, at = r.onto, self.reader.position(r.onto, self.target(r))
            code.store(place.buffer, at, self.combined(r, code.load(place.buffer, at), value) if r.combine else value)
        elif not r.combine:
            self.settle(r, value)
        elif (running := state.cell or state.part) is not None:
            code.update(running, r.combine, value)
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

    def settle(self, r: Root, entry: Value, known: bool = False, far: bool = False) -> None:
        """A finished entry: known to what comes in the same block, and stored if others read it. `known` says that those who
        read it at a known place, `far` that they do not."""
        index = self.target(r)
        path = self.state[r].path
        whole = r.target is None or known
        near = whole and not far and (not path or path[-1] in self.common(r.at, r))
        if whole:
            # the value is at hand in this block, whether it depends on its counters or not
            self.code.known[self.code.depth][self.reader.key(r.at, index)] = entry
        if r.at in self.wanted or not near:
            place = self.place(r)
            self.code.store(place.buffer, self.reader.position(place, index), entry)

    def place(self, r: Root) -> Place:
        i = r.at
        if i in self.reader.places:
            return self.reader.places[i]
        shape = self.tape.instrs[i].type.shape
        found = self.wanted.get(i)
        if found is None:
            found = self.temporary(i, r, shape)
        self.reader.places[i] = found
        return found

    def temporary(self, i: int, r: Root, shape: Shape) -> Place:
        """A buffer for a value, without the axes of the loops that all its users are in, and with a block of the axes of
        those that they share the blocks of."""
        common = [g for g in self.common(i, r) if len({m.axes[g.axis[m]].out for m in self.makers[i]}) == 1]
        axis = {id(g): r.axes[g.axis[r]].out for g in common}
        held = {axis[id(g)] for g in common if g.first is None}
        blocked = {axis[id(g)]: g for g in common if g.first is not None and axis[id(g)] not in held}
        last = {k for k, g in blocked.items() if not g.rows}
        axes = tuple(sorted((k for k in range(len(shape)) if k not in held), key=lambda k: k in last))
        lengths = tuple(blocked[k].size if k in blocked else d for k, d in enumerate(shape))
        buffer = Buffer(f"t{len(self.temps)}", KINDS[self.tape.instrs[i].type.dtype], writable=True)
        self.temps.append(Temporary(buffer, tuple(lengths[k] for k in axes)))
        start = None
        if blocked:
            code = self.code
            before = [(blocked[k].first if k in blocked else None) or code.whole(0) for k in axes]
            start = code.op("isub", code.whole(0), self.frame.linear(before, [lengths[k] for k in axes]))
        return Place(buffer, axes, lengths, start)
