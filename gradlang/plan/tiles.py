"""Array programs for NumPy in steps: groups of pointwise ops that run over tiles of their arrays, and runs of all else.

A tile is small enough that its intermediate values stay in the cache. The members of a group have one shape, or are narrower
values of the same rows (a largest entry of each row, its logarithm), so that a tile of rows needs nothing of other tiles;
sums over all tiles are its results.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set

from gradlang.ir.tape import Tape
from gradlang.plan.labels import places, unstretched, within
from gradlang.record import field, record
from gradlang.types import value

LEAST = 10_000  # entries from which on a tile pays
INNER = 3  # values that need no memory of their own from which on a group pays
OFTEN = 200, 0  # both for a function that is called so often that its planning costs nothing
LEAVES = ("input", "const", "size")
THROUGH = ("broadcast_to", "mark")  # what NumPy's own broadcasting does, and what does nothing
Extents = tuple[int, ...]


@record(eq=False, frozen=False)
class Group:
    """`members` are instructions in order. `flat`: the arrays may be seen as one long axis."""

    shape: Extents
    members: list[int] = field(default_factory=list)
    flat: bool = True


@record(eq=False, frozen=False)
class Run:
    members: list[int] = field(default_factory=list)


Step = Group | Run


@record(eq=False, frozen=False)
class Tiles:
    """The steps in order; `used` says which steps need a value: their numbers, and that after the last one for results.
    `lessened` are differences with an array with one 1 in each row, whose second source is where the ones are."""

    steps: list[Step]
    sources: list[tuple[int, ...]]
    used: dict[int, set[int]]
    lessened: set[int]


class Grouping:
    """Levels: a group of level k needs what groups and runs below it made, the run of level k what groups up to k made."""

    def __init__(self, tape: Tape, shapes: Sequence[Extents], entrywise: Callable[[int], bool], least: int) -> None:
        self.tape, self.shapes, self.entrywise, self.least = tape, shapes, entrywise, least
        self.level = [-1] * len(tape.instrs)
        self.group: dict[int, Group] = {}
        self.tiled: set[int] = set()  # members whose entries of a tile come from that tile
        self.groups: dict[tuple[int, Extents], Group] = {}
        self.lessened: set[int] = set()
        self.sources = [self.through(i) for i in range(len(tape.instrs))]
        for i, instr in enumerate(tape.instrs):
            if instr.op in LEAVES:
                continue
            if not self.joined(i):
                self.level[i] = max((self.level[a] for a in instr.args), default=-1)

    def through(self, i: int) -> tuple[int, ...]:
        instrs = self.tape.instrs
        found = []
        for a in instrs[i].args:
            while instrs[a].op in THROUGH:
                a = instrs[a].args[0]
            found.append(a)
        if instrs[i].op == "sub" and (index := places(self.tape, instrs[i].args[1])) is not None:
            self.lessened.add(i)
            found[1] = index
        return tuple(found)

    def joined(self, i: int) -> bool:
        """Puts an instruction into a group, if it fits into one."""
        op, shape = self.tape.instrs[i].op, self.shapes[i]
        if op in ("sum", "sum_to", "max", "min"):
            return self.reduction(i)
        if op == "take_along":
            return self.picked(i)
        if not shape or not self.entrywise(i):
            return False
        entries = 1
        for d in shape:
            entries *= d
        if (entries < self.least or 1 in shape[1:]) and self.narrow(i):
            return True
        if entries < self.least:
            return False
        level = 0
        for a in self.sources[i]:
            if self.beside(a, shape):
                level = max(level, self.level[a])
            elif self.tape.instrs[a].op not in LEAVES:
                level = max(level, self.level[a] + 1)
        group = self.groups.setdefault((level, shape), Group(shape))
        if any(self.shapes[a] not in ((), shape) for a in self.sources[i]):
            group.flat = False
        self.put(i, group, level)
        return True

    def arguments(self, i: int, single: Set[int]) -> tuple[int, ...]:
        """What an instruction reads, if those in `single` are no members of their groups."""
        return self.sources[i] if i in self.group and i not in single else self.tape.instrs[i].args

    def needed(self, single: Set[int]) -> set[int]:
        found = {i for _, i in self.tape.outputs}
        for i in range(len(self.tape) - 1, -1, -1):
            if i in found:
                found.update(self.arguments(i, single))
        return found

    def outside(self, needed: Set[int]) -> set[int]:
        """Values that more than their own group needs."""
        found = {i for _, i in self.tape.outputs}
        for i in needed:
            found.update(a for a in self.arguments(i, set()) if self.group.get(a) is not self.group.get(i))
        return found

    def beside(self, a: int, shape: Extents) -> bool:
        """Whether a value is made tile by tile in a group of a shape."""
        if a not in self.tiled or self.group[a].shape != shape:
            return False
        mine = self.shapes[a]
        return mine == shape or (len(mine) == len(shape) and mine[0] == shape[0])

    def put(self, i: int, group: Group, level: int, tiled: bool = True) -> None:
        group.members.append(i)
        self.group[i], self.level[i] = group, level
        if tiled:
            self.tiled.add(i)

    def narrow(self, i: int) -> bool:
        """A value of few entries in each row joins what it is made of, if no other value comes later."""
        last = max((self.level[a] for a in self.sources[i]), default=-1)
        near = [a for a in self.sources[i] if self.level[a] == last and self.tape.instrs[a].op not in LEAVES]
        if not near or any(a not in self.tiled for a in near):
            return False
        group, shape = self.group[near[0]], self.shapes[i]
        if any(self.group[a] is not group for a in near) or len(shape) != len(group.shape) or shape[0] != group.shape[0]:
            return False
        if any(s != t and s != 1 for s, t in zip(shape, group.shape, strict=True)):
            return False
        self.put(i, group, last)
        return True

    def picked(self, i: int) -> bool:
        """One entry of each row, at places that are known to be within it."""
        tape, (a, index) = self.tape, self.tape.instrs[i].args
        (axis,), index = tape.instrs[i].attrs, unstretched(tape, index)
        if a not in self.tiled or tape.instrs[i].type.dtype != "real" or axis == 0:
            return False
        group, shape = self.group[a], tape.instrs[a].type.shape
        if self.shapes[a] != group.shape or axis != len(shape) - 1 or tape.instrs[index].type.shape != (*shape[:-1], 1):
            return False
        if not within(tape, index, shape[-1]) or self.level[index] >= self.level[a]:
            return False
        group.flat = False
        self.sources[i] = (a, index)
        self.put(i, group, self.level[a])
        return True

    def reduction(self, i: int) -> bool:
        """Sums of a group; largest entries only within rows, where zeros of both signs meet in the same order as elsewhere."""
        instr, (a,) = self.tape.instrs[i], self.tape.instrs[i].args
        if a not in self.tiled or instr.type.dtype != "real":
            return False
        axes = reduced(self.tape, i)
        if self.shapes[a] != self.group[a].shape and (instr.op in ("max", "min") or len(axes) < len(self.shapes[a])):
            return False
        rows = 0 not in axes
        if instr.op in ("max", "min") and (not rows or (len(instr.attrs) > 2 and instr.attrs[2] is not None)):
            return False
        group = self.group[a]
        if len(axes) < len(self.shapes[a]):
            group.flat = False
        self.put(i, group, self.level[a], tiled=rows)
        return True


def reduced(tape: Tape, i: int) -> tuple[int, ...]:
    """The axes that a sum or a largest entry is taken over."""
    instr = tape.instrs[i]
    source, target = tape.instrs[instr.args[0]].type.shape, instr.type.shape
    if instr.op != "sum_to":
        return tuple(instr.attrs[0])
    extra = len(source) - len(target)
    return (*range(extra), *(extra + k for k, d in enumerate(target) if d == 1 and source[extra + k] != 1))


def hands_on(tape: Tape) -> bool:
    """Whether one recurrence in segments hands its states to another: they are names in one text of NumPy code, which cannot
    be parted."""
    return any(i.op != "item" and tape.instrs[a].type.dtype == "bundle" for i in tape.instrs for a in i.args)


def tiles(
    tape: Tape, sizes: Mapping[str, int], entrywise: Callable[[int], bool], least: int = LEAST, inner: int = INNER
) -> Tiles | None:
    """The steps of a tape; None if there is no group. `entrywise` says whether a backend does an instruction entry by entry
    into memory that it is given. A group has at least `inner` values that nothing else needs."""
    if hands_on(tape):
        return None
    shapes = [tuple(value(d, sizes) for d in instr.type.shape) for instr in tape.instrs]
    made = Grouping(tape, shapes, entrywise, least)
    single: set[int] = set()
    needed = made.needed(single)
    outside = made.outside(needed)
    for group in made.groups.values():
        if sum(i in needed and i not in outside and i in made.tiled for i in group.members) < inner:
            single.update(group.members)
    if all(i in single for i in made.group):
        return None
    needed = made.needed(single)
    large: dict[int, list[Group]] = {}
    for (level, _), group in made.groups.items():
        group.members = [i for i in group.members if i in needed and i not in single]
        if group.members:
            large.setdefault(level, []).append(group)
    runs: dict[int, Run] = {}
    for i, instr in enumerate(tape.instrs):
        if i in needed and instr.op not in LEAVES and (i not in made.group or i in single):
            runs.setdefault(made.level[i], Run()).members.append(i)
    steps: list[Step] = []
    for level in range(-1, max(*large, *runs, 0) + 1):
        steps += large.get(level, [])
        steps += [runs[level]] if level in runs else []
    return Tiles(steps, made.sources, uses(tape, steps, made.sources), made.lessened - single)


def uses(tape: Tape, steps: Sequence[Step], sources: Sequence[tuple[int, ...]]) -> dict[int, set[int]]:
    found: dict[int, set[int]] = {}
    for k, step in enumerate(steps):
        for i in step.members:
            for a in sources[i] if isinstance(step, Group) else tape.instrs[i].args:
                found.setdefault(a, set()).add(k)
    for _, i in tape.outputs:
        found.setdefault(i, set()).add(len(steps))
    return found
