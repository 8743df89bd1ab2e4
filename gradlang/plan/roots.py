"""What a kernel makes: values that are stored or summed up, each with the loops that it takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from gradlang.ir.tape import Instr, Tape
from gradlang.loops.ir import Value
from gradlang.plan.picks import nothing
from gradlang.plan.reader import Index, Place, Reader, checked
from gradlang.record import field, record
from gradlang.types import Dim, Shape, add

SLENDER = 32  # steps of a loop that makes poor vectors
BROAD = 2 * SLENDER  # steps of a loop that is put inside where the long one goes along memory
LONG = 128  # steps of a loop that is worth cutting into blocks
CONTRACTIONS = ("matmul", "einsum", "zmatmul", "zeinsum")
Entry = Callable[[Reader, Sequence[Value]], Value]  # an entry or a summand, at the counters of the loops
Target = Callable[[Reader, Sequence[Value]], Index]  # where it goes


@record
class Axis:
    """A loop of a root, and the axis of the result that it runs over (None: it sums up, or fills a part of an axis)."""

    extent: Dim
    out: int | None


@record(eq=False, frozen=False)
class Root:
    """A value that is made entry by entry (`combine` is ""), or by combining entries, from `start` on.

    Without `target` the entry goes where the counters of the out axes say. With `onto` a value that another root gives is
    put there, or combined with what lies there. `special` writes a root that is no nest of loops over entries: a
    recurrence. `gives` are the values it makes, `needs` those that it reads besides its entries: as they lie in memory, if
    it takes them `whole`."""

    at: int
    axes: tuple[Axis, ...]
    entry: Entry
    combine: str = ""
    start: float | int | bool = 0.0
    target: Target | None = None
    onto: Place | None = None
    gives: tuple[int, ...] = ()
    needs: tuple[int, ...] = ()
    special: Any = None
    whole: bool = False
    # what the survey found
    reads: dict[int, list[tuple[int | None, ...]]] = field(default_factory=dict)  # value -> for each access its loops by axis
    inputs: dict[Any, list[tuple[int | None, ...]]] = field(default_factory=dict)  # the same of inputs
    touches: frozenset[Any] = frozenset()
    order: tuple[int, ...] = ()  # the loops, outermost first
    near: int | None = None  # the loop whose steps move least in memory
    dear: bool = False  # it calls functions
    sided: bool = True  # nothing that lies fixed in memory has the steps of its long loop apart, and others together
    work: int = 0  # operations of an entry


def stored(tape: Tape, i: int) -> list[Root]:
    """A value as it is. What is joined from parts is filled part by part."""
    instr = tape.instrs[i]
    shape = instr.type.shape
    if instr.op in ("concat", "stack"):
        return joined(tape, i, instr)
    axes = tuple(Axis(d, k) for k, d in enumerate(shape))
    return [Root(i, axes, lambda r, c: r.compute(i, tuple(c)))]


def joined(tape: Tape, i: int, instr: Instr) -> list[Root]:
    (axis,) = instr.attrs
    roots = []
    if instr.op == "stack":
        shape = instr.type.shape
        thin = tuple(Axis(d, k) for k, d in enumerate(shape) if k != axis)
        for n, a in enumerate(instr.args):
            roots.append(Root(i, thin, partial(read_part, a), target=partial(stacked, axis, n)))
        return roots
    sizes = [tape.instrs[a].type.shape[axis] for a in instr.args]
    start: Dim = 0
    for a, size in zip(instr.args, sizes, strict=True):
        axes = tuple(Axis(d, None if k == axis else k) for k, d in enumerate(tape.instrs[a].type.shape))
        roots.append(Root(i, axes, partial(read_part, a), target=partial(shifted, axis, start)))
        start = add(start, size)
    return roots


def read_part(a: int, r: Reader, counters: Sequence[Value]) -> Value:
    return r.at(a, tuple(counters))


def stacked(axis: int, n: int, r: Reader, counters: Sequence[Value]) -> Index:
    return (*counters[:axis], r.code.whole(n), *counters[axis:])


def shifted(axis: int, start: Dim, r: Reader, counters: Sequence[Value]) -> Index:
    moved = r.code.op("iadd", counters[axis], r.frame.dim(start))
    return (*counters[:axis], moved, *counters[axis + 1 :])


def slight(r: Root, extents: Sequence[int]) -> bool:
    """Whether loops are worth little inside of a long one."""
    return max(extents, default=0) <= (BROAD if r.sided else SLENDER)


# ------------------------------------------------------------------ reductions
def reduced_axes(source: Shape, gone: Sequence[int], keep: bool) -> tuple[Axis, ...]:
    out, axes = 0, []
    for k, d in enumerate(source):
        if k in gone:
            axes.append(Axis(d, None))
            out += keep
        else:
            axes.append(Axis(d, out))
            out += 1
    return tuple(axes)


def reduction(combine: str, start: float | int | bool) -> Callable[[Tape, int], list[Root]]:
    def roots(tape: Tape, i: int) -> list[Root]:
        instr = tape.instrs[i]
        gone, keep = instr.attrs[:2]
        (a,) = instr.args
        first, how = start, combine
        if len(instr.attrs) > 2 and instr.attrs[2] is not None:
            first = instr.attrs[2]
        if instr.type.dtype == "int":
            how = {"add": "iadd", "maximum": "imax", "minimum": "imin"}[combine]
            first = int(first) if abs(float(first)) < 2**53 else (2**63 - 1 if first > 0 else -(2**63))
        return [Root(i, reduced_axes(tape.instrs[a].type.shape, gone, bool(keep)), partial(read_part, a), how, first)]

    return roots


def sum_to(tape: Tape, i: int) -> list[Root]:
    instr = tape.instrs[i]
    (a,) = instr.args
    source, target = tape.instrs[a].type.shape, instr.type.shape
    extra = len(source) - len(target)
    thin = [k for k, d in enumerate(target) if d == 1 and source[extra + k] != 1]
    axes = tuple(Axis(d, None if k < extra or k - extra in thin else k - extra) for k, d in enumerate(source))
    return [Root(i, axes, partial(read_part, a), "add")]


def product(tape: Tape, i: int) -> list[Root]:
    (a,) = tape.instrs[i].args
    shape = tape.instrs[a].type.shape
    return [Root(i, reduced_axes(shape, [len(shape) - 1], False), partial(read_part, a), "mul", 1.0)]


def letters_of(tape: Tape, i: int) -> tuple[list[str], str]:
    """A product of arrays with sums over some axes as the letters of einsum."""
    instr = tape.instrs[i]
    if instr.op in ("einsum", "zeinsum"):
        left, _, right = instr.attrs[0].partition("->")
        return left.split(","), right
    a, b = (len(tape.instrs[x].type.shape) for x in instr.args)
    batch = "".join(chr(ord("A") + k) for k in range(max(a, b, 2) - 2))
    left = batch[len(batch) - max(a - 2, 0) :] + "ik" if a > 1 else "k"
    other = batch[len(batch) - max(b - 2, 0) :] + "kj" if b > 1 else "k"
    return [left, other], batch + ("i" if a > 1 else "") + ("j" if b > 1 else "")


def contraction(tape: Tape, i: int) -> list[Root]:
    instr = tape.instrs[i]
    parts, right = letters_of(tape, i)
    extents: dict[str, Dim] = {}
    for part, a in zip(parts, instr.args, strict=True):
        for letter, d in zip(part, tape.instrs[a].type.shape, strict=True):
            if extents.get(letter, 1) == 1:
                extents[letter] = d
    order = right + "".join(c for c in extents if c not in right)
    axes = tuple(Axis(extents[c], right.index(c) if c in right else None) for c in order)
    zeros = None if instr.op in ("matmul", "einsum") else (instr.attrs[0] if instr.op == "zmatmul" else 0)

    def summand(r: Reader, counters: Sequence[Value]) -> Value:
        code, at = r.code, dict(zip(order, counters, strict=True))
        factors = []
        for part, a in zip(parts, instr.args, strict=True):
            shape = tape.instrs[a].type.shape
            index = tuple(code.whole(0) if d == 1 else at[c] for c, d in zip(part, shape, strict=True))
            factors.append(r.at(a, index))
        if zeros is None and r.frame.width != "any" and any(f.const == 0.0 for f in factors):
            for f in factors:
                r.finite(f)
            return code.none()
        made = factors[0]
        for f in factors[1:]:
            made = code.op("mul", made, f)
        if zeros is None:
            return made
        if factors[zeros].const == 0.0:
            return code.none()
        zero = nothing(code, made)
        return code.select(code.op("eq", factors[zeros], zero), zero, made)

    return [Root(i, axes, summand, "add")]


# ------------------------------------------------------------------ sums into places
def scatter_add(tape: Tape, i: int) -> list[Root]:
    instr = tape.instrs[i]
    (axis, _), (a, places) = instr.attrs, instr.args
    rank = len(tape.instrs[places].type.shape)
    size = instr.type.shape[axis]

    def target(r: Reader, counters: Sequence[Value]) -> Index:
        at = checked(r, r.at(places, tuple(counters[axis : axis + rank])), size)
        return (*counters[:axis], at, *counters[axis + rank :])

    axes = tuple(Axis(d, None) for d in tape.instrs[a].type.shape)
    return [Root(i, axes, partial(read_part, a), "add", target=target)]


def scatter_along(tape: Tape, i: int) -> list[Root]:
    instr = tape.instrs[i]
    (axis, _), (a, places) = instr.attrs, instr.args
    size = instr.type.shape[axis]

    def target(r: Reader, counters: Sequence[Value]) -> Index:
        at = checked(r, r.at(places, tuple(counters)), size)
        return (*counters[:axis], at, *counters[axis + 1 :])

    axes = tuple(Axis(d, None) for d in tape.instrs[a].type.shape)
    return [Root(i, axes, partial(read_part, a), "add", target=target)]


def unpatches(tape: Tape, i: int) -> list[Root]:
    """Windows, each added where it came from."""
    instr = tape.instrs[i]
    down, across = instr.attrs[1]

    def target(r: Reader, counters: Sequence[Value]) -> Index:
        code, (n, c, down_by, across_by, i, j) = r.code, counters
        row = code.op("iadd", code.op("imul", r.frame.dim(down), i), down_by)
        return n, c, row, code.op("iadd", code.op("imul", r.frame.dim(across), j), across_by)

    (a,) = instr.args
    axes = tuple(Axis(d, None) for d in tape.instrs[a].type.shape)
    return [Root(i, axes, partial(read_part, a), "add", target=target)]


COMBINED: dict[str, Callable[[Tape, int], list[Root]]] = {
    "sum": reduction("add", 0.0),
    "max": reduction("maximum", float("-inf")),
    "min": reduction("minimum", float("inf")),
    "any": reduction("or", False),
    "all": reduction("and", True),
    "sum_to": sum_to,
    "product": product,
    "matmul": contraction,
    "einsum": contraction,
    "zmatmul": contraction,
    "zeinsum": contraction,
    "scatter_add": scatter_add,
    "scatter_along": scatter_along,
    "unpatches": unpatches,
}
