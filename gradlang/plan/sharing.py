"""Which roots share a loop, and what kind of loop that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from gradlang.loops.ir import Cell, Value
from gradlang.plan.products import Tiling
from gradlang.plan.reader import Place
from gradlang.plan.roots import LONG, SLENDER, Root, slight
from gradlang.record import field, record
from gradlang.types import Dim, value

BLOCK = 128  # steps; the rows that a block reads should stay in the second cache
FAN = 4  # rows that are added up at once; a power of two
LANES = 8  # a loop of a multiple of it makes good vectors
CACHED = 1 << 16  # entries that stay in the second cache while a block is gone over
SIDE = 64  # steps that are done side by side; their values should stay in the first caches


@record(eq=False, frozen=False)
class Group:
    """Roots that share a loop, each with the axis that the loop is for it. Without an extent: one root, no loop left. With
    `first` and `last` the loop is one over blocks of the axis, and inner groups run over the steps of a block."""

    extent: Dim | None
    members: list[Root] = field(default_factory=list)
    axis: dict[Root, int] = field(default_factory=dict)
    touches: set[Any] = field(default_factory=set)
    first: Value | None = None
    last: Value | None = None
    size: int = 0
    aside: bool = False  # the steps of a block are innermost
    rows: bool = False  # the steps of a block are rows that lie one after another


@record(eq=False, frozen=False)
class State:
    """How far a root is: its open loops, where it adds up."""

    counters: list[Value | None]
    order: tuple[int, ...]
    path: list[Group] = field(default_factory=list)
    cell: Cell | None = None
    into: Place | None = None
    fan: tuple[Value, ...] = ()  # the counters of the steps that are added up at once
    part: Cell | None = None  # what the innermost loops add up before it is added to `into`


@record
class Sharing:
    """Groups the roots of a kernel. `state` says how far each is, `makers` who makes a value, `sizes` are those of a typical
    call."""

    state: Mapping[Root, State]
    makers: Mapping[int, Sequence[Root]]
    sizes: Mapping[str, int]
    tiled: Mapping[Root, Tiling] = field(default_factory=dict)

    def tiles(self, r: Root) -> bool:
        """Whether what is left of a root are its tiles."""
        return r in self.tiled and set(self.free(r)) == self.tiled[r].axes and self.block(r, self.tiled[r].long) is not None

    def partition(self, roots: Sequence[Root]) -> list[Group]:
        groups: list[Group] = []
        home: dict[Root, Group] = {}
        here = set(roots)
        for r in roots:
            deps = [m for i in r.reads for m in self.makers.get(i, ()) if m in here and m is not r]
            behind = {id(home[m]) for m in deps}
            after = next((k + 1 for k in range(len(groups) - 1, -1, -1) if id(groups[k]) in behind), 0)
            free = self.free(r)
            group, axis = None, None
            if r.special is None and free and not self.tiles(r):
                for candidate in groups[max(after - 1, 0) :]:
                    axis = self.shared(r, candidate, [m for m in deps if home[m] is candidate])
                    if axis is not None:
                        group = candidate
                        break
                else:
                    group, axis = self.later(r, groups[:after], home, deps)
            if group is not None and group in groups[: max(after - 1, 0)]:
                groups.remove(group)
                groups.insert(after - 1, group)
            if group is None:  # right after what it needs, so that what needs it has all groups behind to choose from
                group = Group(None)
                if r.special is None and free and not self.tiles(r):
                    group.extent, axis = r.axes[free[0]].extent, free[0]
                groups.insert(after, group)
            group.members.append(r)
            group.touches |= r.touches | set(r.gives)
            if axis is not None:
                group.axis[r] = axis
            home[r] = group
        return groups

    def later(
        self, r: Root, groups: Sequence[Group], home: Mapping[Root, Group], deps: Sequence[Root]
    ) -> tuple[Group | None, int | None]:
        """A group that a root can join if it is moved behind all that the root needs: no group in between waits for it."""
        own: dict[int, list[Root]] = {}
        for m in deps:
            own.setdefault(id(home[m]), []).append(m)
        for k, group in enumerate(groups):
            axis = self.shared(r, group, own[id(group)]) if id(group) in own else None
            if axis is None:
                continue
            made = {i for m in group.members for i in m.gives}
            if not any(not made.isdisjoint(m.reads) for g in groups[k + 1 :] for m in g.members):
                return group, axis
        return None, None

    def free(self, r: Root) -> list[int]:
        """The loops that are not open, those that go outside first."""
        return [k for k in self.state[r].order if self.state[r].counters[k] is None]

    def block(self, r: Root, axis: int) -> Group | None:
        """The loop over blocks of an axis that is open."""
        return next((g for g in self.state[r].path if g.first is not None and g.axis[r] == axis), None)

    def shared(self, r: Root, group: Group, deps: Sequence[Root]) -> int | None:
        """The loop of a root that can be the loop of a group."""
        if group.extent is None or not (deps or (r.touches | set(r.gives)) & group.touches):
            return None
        free = self.free(r)
        if any(g.first is not None for g in self.state[r].path):
            free = free[:1]  # in a block the order is set
        if self.leads(r, free[0]):
            free = free[:1]
        for k in free:
            if r.axes[k].extent != group.extent or (not deps and k != free[0]):
                continue
            if (self.block(r, k) is None) != (self.block(*next(iter(group.axis.items()))) is None):
                continue
            if self.rows(r, k) and self.vector(group):
                continue
            if all(self.in_step(r, k, m, group.axis[m]) for m in deps):
                return k
        return None

    def leads(self, r: Root, axis: int) -> bool:
        """Whether a loop is the one long one among short ones: it goes outside, whoever is there to share the others."""
        if value(r.axes[axis].extent, self.sizes) < LONG or len(r.axes) < 2:
            return False
        return slight(r, [value(a.extent, self.sizes) for k, a in enumerate(r.axes) if k != axis])

    def rows(self, r: Root, axis: int) -> bool:
        """Whether a loop of a root adds up rows."""
        others = [k for k in self.free(r) if k != axis]
        return (
            r.combine == "add" and r.axes[axis].out is None and bool(others) and all(r.axes[k].out is not None for k in others)
        )

    def vector(self, group: Group) -> bool:
        """Whether a group is a short loop that makes whole vectors, as long as it holds nothing else."""
        extent = 0 if group.extent is None else value(group.extent, self.sizes)
        alone = all(not r.combine and not self.looped(r) for r in group.members)
        return alone and 0 < extent <= SLENDER and extent % LANES == 0

    def in_step(self, r: Root, axis: int, m: Root, theirs: int) -> bool:
        """Whether all that a root reads of another one at a step of a shared loop is made by then in this step."""
        out = m.axes[theirs].out
        if out is None:
            return False
        return all(p[out] == axis for i in m.gives for p in r.reads.get(i, ()))

    def fans(self, group: Group) -> bool:
        """Whether a loop adds rows up in memory, and does nothing else."""
        if len(group.members) > 1 or group.extent is None or value(group.extent, self.sizes) < 2 * FAN:
            return False
        (r,) = group.members
        axis, state = group.axis[r], self.state[r]
        into = state.into is not None and r.target is None and r.onto is None
        if any(g.aside for g in state.path):  # where steps are side by side, each adds up for itself
            return False
        return into and r.special is None and self.rows(r, axis)

    def looped(self, r: Root) -> bool:
        """Whether a root has loops inside the one that is next."""
        return sum(c is None for c in self.state[r].counters) > 1

    def mixed(self, group: Group) -> bool:
        """Whether a long loop holds single calls of functions beside inner loops. Such calls are a chain of operations that
        wait for each other; over a block of steps they run side by side."""
        loops = [self.looped(r) for r in group.members]
        single = any(r.dear for r, looped in zip(group.members, loops, strict=True) if not looped)
        length = value(group.extent, self.sizes) if group.extent is not None else 0
        return single and any(loops) and length >= 2 * BLOCK

    def slender(self, group: Group) -> bool:
        """Whether a long loop is around short ones only, which are worth little as vectors (unless each is one over entries
        side by side, and makes whole vectors)."""
        if group.extent is None or value(group.extent, self.sizes) < 2 * SIDE:
            return False
        inner = {r: [value(r.axes[k].extent, self.sizes) for k in self.free(r) if k != group.axis[r]] for r in group.members}
        if all(self.rowwise(r, group) for r in group.members):
            return False
        ends = any(r.axes[group.axis[r]].out is not None for r in group.members) or len(group.members) > 1
        return any(inner.values()) and ends and all(slight(r, of) for r, of in inner.items())

    def rowwise(self, r: Root, group: Group) -> bool:
        """Whether a step of a root in the loop of a group is one loop over entries side by side that makes whole vectors."""
        inner = [k for k in self.free(r) if k != group.axis[r]]
        if len(inner) != 1 or r.near != inner[0] or r.axes[inner[0]].out is None:
            return False
        return value(r.axes[inner[0]].extent, self.sizes) % LANES == 0

    def by_rows(self, group: Group) -> bool:
        """Whether products in tiles are summed over the steps of a loop whose other work goes row by row."""
        tiled = [r for r in group.members if r in self.tiled]
        rest = [r for r in group.members if r not in self.tiled]
        across = all(self.tiled[r].across and self.tiled[r].long == group.axis[r] for r in tiled)
        return bool(tiled) and across and all(self.rowwise(r, group) for r in rest)

    def side(self, group: Group) -> int:
        """The size of blocks whose steps are done side by side. Where many sums go over the steps, each adds up its lanes at
        the end of a block: then blocks are longer. So they are where products are made in tiles, and longer still where what
        these add to does not stay in the second cache."""
        sums = [r for r in group.members if r.combine and r.axes[group.axis[r]].out is None]
        many = sum(prod(value(a.extent, self.sizes) for a in r.axes if a.out is not None) for r in sums)
        if any(r in self.tiled for r in group.members):
            return BLOCK if many <= CACHED else 2 * BLOCK
        return BLOCK if many >= SIDE else SIDE

    def layers(self, group: Group) -> list[list[Root]]:
        """The roots of a group in loops that hold only roots with inner loops, or only such without."""
        level: dict[Root, int] = {}
        looped = {r: self.looped(r) for r in group.members}
        for r in group.members:
            deps = [m for i in r.reads for m in self.makers.get(i, ()) if m in level and m is not r]
            level[r] = max((level[m] + (looped[m] != looped[r]) for m in deps), default=0)
        keys = sorted({(level[r], not looped[r]) for r in group.members})
        return [[r for r in group.members if (level[r], not looped[r]) == k] for k in keys]
