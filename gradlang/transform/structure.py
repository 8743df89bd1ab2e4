"""Which entries of a Jacobian can be other than zero: y[i] that depends on x[i + o] for a few offsets o only.

The first axis of x is followed through the instructions. A diagonal is the offset 0, a band a few offsets, and an
independent row of a batch the offset 0 with blocks. `diagonals.py` writes them as formulas. Where it cannot, w tangents give
all entries of w neighbouring offsets: entry j of x moves with tangent j mod w, and no y[i] sees two of them (Curtis, Powell and
Reid, J. Inst. Math. Appl. 13, 1974).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from gradlang.check.program import needed
from gradlang.ir.tape import Instr
from gradlang.ops.table import OpTable
from gradlang.record import record
from gradlang.types import Shape, product

WIDEST = 16


@record
class Track:
    """Entry i along `axis` of a value depends on the entries i + o of x, for the offsets o."""

    axis: int
    offsets: frozenset[int]

    def moved(self, axis: int, by: int = 0) -> Track:
        return Track(axis, frozenset(o + by for o in self.offsets) if by else self.offsets)


class Lost(Exception):
    """The first axis of x cannot be followed."""


def band(instrs: Sequence[Instr], y: int, x: int, table: OpTable) -> tuple[int, ...] | None:
    """The sorted offsets of y by x, along the first axis of both; None if it has no such structure."""
    if not instrs[x].type.shape or not instrs[y].type.shape:
        return None
    found: dict[int, Track] = {x: Track(0, frozenset({0}))}
    try:
        for i in needed(instrs[: y + 1], [y]):
            instr = instrs[i]
            if i <= x:
                continue
            tracks = [found.get(a) for a in instr.args]
            if any(t is not None for t in tracks) and instr.type.dtype not in ("int", "bool"):
                found[i] = follow(instr, tracks, instrs, table)  # the sequences of a recurrence are lost here too
    except Lost:
        return None
    track = found.get(y)
    if track is None or track.axis != 0:
        return None
    offsets = tuple(sorted(track.offsets))
    width = offsets[-1] - offsets[0] + 1
    long = instrs[x].type.shape[0]
    if width > WIDEST or (isinstance(long, int) and long <= width):
        return None
    return offsets


def follow(instr: Instr, tracks: list[Track | None], instrs: Sequence[Instr], table: OpTable) -> Track:
    shapes = [instrs[a].type.shape for a in instr.args]
    rule = RULES.get(instr.op)
    if rule is not None:
        return rule(instr, tracks, shapes)
    op = table[instr.op] if instr.op in table else None
    if op is None:
        raise Lost
    if op.pointwise:
        return union(tracks)
    (track, *others) = tracks
    if track is None or any(t is not None for t in others) or "axis" not in op.attrs:
        raise Lost
    axis = instr.attrs[op.attrs.index("axis")]
    axes = axis if isinstance(axis, tuple) else (axis,)
    if track.axis in axes:
        raise Lost
    if instr.type.shape == shapes[0] or len(instr.type.shape) == len(shapes[0]):
        return track
    return track.moved(track.axis - sum(a < track.axis for a in axes))


def union(tracks: Iterable[Track | None]) -> Track:
    known = [t for t in tracks if t is not None]
    if len({t.axis for t in known}) != 1:
        raise Lost
    return Track(known[0].axis, frozenset().union(*(t.offsets for t in known)))


def only(tracks: list[Track | None]) -> Track:
    if tracks[0] is None or any(t is not None for t in tracks[1:]):
        raise Lost
    return tracks[0]


# ------------------------------------------------------------------ one rule per structural op
def _broadcast_to(instr: Instr, tracks: list[Track | None], shapes: list[Shape]) -> Track:
    t = only(tracks)
    axis = t.axis + len(instr.type.shape) - len(shapes[0])
    if instr.type.shape[axis] != shapes[0][t.axis]:
        raise Lost
    return t.moved(axis)


def _sum_to(instr: Instr, tracks: list[Track | None], shapes: list[Shape]) -> Track:
    t = only(tracks)
    axis = t.axis - (len(shapes[0]) - len(instr.type.shape))
    if axis < 0 or instr.type.shape[axis] != shapes[0][t.axis]:
        raise Lost
    return t.moved(axis)


def _reshape(instr: Instr, tracks: list[Track | None], shapes: list[Shape]) -> Track:
    t, before, after = only(tracks), shapes[0], instr.type.shape
    ahead = product(before[: t.axis])
    for axis, d in enumerate(after):
        if d == before[t.axis] and product(after[:axis]) == ahead:
            return t.moved(axis)
    raise Lost


def _transpose(instr: Instr, tracks: list[Track | None], shapes: list[Shape]) -> Track:
    t = only(tracks)
    return t.moved(instr.attrs[0].index(t.axis))


def _slice(instr: Instr, tracks: list[Track | None], shapes: list[Shape]) -> Track:
    t = only(tracks)
    start, step = instr.attrs[0][t.axis], instr.attrs[2][t.axis]
    if step != 1 or not isinstance(start, int):
        raise Lost
    return t.moved(t.axis, start)


def _unslice(instr: Instr, tracks: list[Track | None], shapes: list[Shape]) -> Track:
    t = only(tracks)
    start, step = instr.attrs[1][t.axis], instr.attrs[2][t.axis]
    if step != 1 or not isinstance(start, int):
        raise Lost
    return t.moved(t.axis, -start)


def _concat(instr: Instr, tracks: list[Track | None], shapes: list[Shape]) -> Track:
    (axis,) = instr.attrs
    out: list[Track | None] = []
    place: int | None = 0
    for t, shape in zip(tracks, shapes, strict=True):
        if t is not None and t.axis == axis:
            if place is None:
                raise Lost
            out.append(t.moved(axis, -place))
        else:
            out.append(t)
        length = shape[axis]
        place = place + length if place is not None and isinstance(length, int) else None
    return union(out)


def _stack(instr: Instr, tracks: list[Track | None], shapes: list[Shape]) -> Track:
    t = union(tracks)
    return t.moved(t.axis + (t.axis >= instr.attrs[0]))


def _matmul(instr: Instr, tracks: list[Track | None], shapes: list[Shape]) -> Track:
    out: list[Track | None] = []
    rank = len(instr.type.shape)
    for k, (t, shape) in enumerate(zip(tracks, shapes, strict=True)):
        if t is None:
            continue
        summed = len(shape) - 1 if k == 0 else max(len(shape) - 2, 0)
        if t.axis == summed or len(shapes[0]) < 2 or len(shapes[1]) < 2:
            if t.axis == summed or k == 1 or len(shapes[0]) < 2:
                raise Lost
            out.append(t)  # the rows of a matrix times a vector
            continue
        axis = t.axis + rank - len(shape)
        if axis < rank - 2 and shape[t.axis] != instr.type.shape[axis]:
            raise Lost
        out.append(t.moved(axis))
    return union(out)


def _einsum(instr: Instr, tracks: list[Track | None], shapes: list[Shape]) -> Track:
    left, _, right = instr.attrs[0].partition("->")
    out: list[Track | None] = []
    for t, part in zip(tracks, left.split(","), strict=True):
        if t is not None:
            letter = part[t.axis]
            if letter not in right:
                raise Lost
            out.append(t.moved(right.index(letter)))
    return union(out)


def _take_axis(instr: Instr, tracks: list[Track | None], shapes: list[Shape]) -> Track:
    t, (axis,) = only(tracks), instr.attrs
    if t.axis == axis:
        raise Lost
    return t.moved(t.axis + (len(shapes[1]) - 1 if t.axis > axis else 0))


def _scatter_add(instr: Instr, tracks: list[Track | None], shapes: list[Shape]) -> Track:
    t, (axis, _), width = only(tracks), instr.attrs, len(shapes[1])
    if axis <= t.axis < axis + width:
        raise Lost
    return t.moved(t.axis - (width - 1 if t.axis >= axis + width else 0))


RULES: dict[str, Callable[[Instr, list[Track | None], list[Shape]], Track]] = {
    "broadcast_to": _broadcast_to,
    "sum_to": _sum_to,
    "reshape": _reshape,
    "transpose": _transpose,
    "slice": _slice,
    "unslice": _unslice,
    "concat": _concat,
    "stack": _stack,
    "matmul": _matmul,
    "zmatmul": _matmul,
    "einsum": _einsum,
    "zeinsum": _einsum,
    "take_axis": _take_axis,
    "scatter_add": _scatter_add,
}
