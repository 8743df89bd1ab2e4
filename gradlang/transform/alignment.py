"""How the axes of a result belong to those of its arguments: which entry of an argument an entry of the result needs.

Where entry i of a result, along one axis, needs entry i of each argument along one axis of it, or the whole argument, the
op can be done for a part of that axis at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gradlang.ir.tape import Builder, Instr
from gradlang.ops.op import Op
from gradlang.ops.table import OpTable
from gradlang.types import Dim, Shape, product

Axes = tuple[int | None, ...]  # of each argument: the axis that goes along, None where the whole argument is needed
INDICES = ("within", "nearest")
BATCHED = ("inv", "det", "cofactor", "logdet", "cholesky", "eigh_packed")  # matrices in the last two axes


def rowwise(instr: Instr, shapes: Sequence[Shape], axis: int, table: OpTable) -> Axes | None:
    """The axis of each argument that goes along with an axis of the result; None if the op is no such op."""
    if instr.op in RULES:
        return RULES[instr.op](instr, shapes, axis)
    op = table[instr.op] if instr.op in table else None
    if op is None:
        return None
    if op.pointwise or instr.op in INDICES:
        return tuple(axis if shape == instr.type.shape else None for shape in shapes)
    if instr.op in BATCHED:
        return (axis,) if axis < len(shapes[0]) - 2 else None
    if len(shapes) == 1 and "axis" in op.attrs:
        return _along_others(op, instr, shapes[0], axis)
    return None


def _along_others(op: Op, instr: Instr, shape: Shape, axis: int) -> Axes | None:
    """An op along some axes, for the others."""
    used = instr.attrs[op.attrs.index("axis")]
    used = used if isinstance(used, tuple) else (used,)
    if any(not isinstance(a, int) or a < 0 for a in used):
        return None
    if len(instr.type.shape) == len(shape):
        return None if axis in used else (axis,)
    kept = [a for a in range(len(shape)) if a not in used]
    return (kept[axis],) if len(kept) == len(instr.type.shape) else None


def _broadcast_to(instr: Instr, shapes: Sequence[Shape], axis: int) -> Axes | None:
    before = axis - (len(instr.type.shape) - len(shapes[0]))
    return (before if before >= 0 and shapes[0][before] == instr.type.shape[axis] else None,)


def _reshape(instr: Instr, shapes: Sequence[Shape], axis: int) -> Axes | None:
    before, after = shapes[0], instr.type.shape
    ahead = product(after[:axis])
    for k, d in enumerate(before):
        if d == after[axis] and product(before[:k]) == ahead:
            return (k,)
    return None


def _transpose(instr: Instr, shapes: Sequence[Shape], axis: int) -> Axes | None:
    return (instr.attrs[0][axis],)


def _slice(instr: Instr, shapes: Sequence[Shape], axis: int) -> Axes | None:
    return (axis,) if instr.attrs[2][axis] in (1, -1) else None


def _concat(instr: Instr, shapes: Sequence[Shape], axis: int) -> Axes | None:
    return None if axis == instr.attrs[0] else (axis,) * len(shapes)


def _stack(instr: Instr, shapes: Sequence[Shape], axis: int) -> Axes | None:
    return None if axis == instr.attrs[0] else (axis - (axis > instr.attrs[0]),) * len(shapes)


def _take_axis(instr: Instr, shapes: Sequence[Shape], axis: int) -> Axes | None:
    (taken,), width = instr.attrs, len(shapes[1])
    if axis < taken:
        return (axis, None)
    return (None, axis - taken) if axis < taken + width else (axis - width + 1, None)


def _take_along(instr: Instr, shapes: Sequence[Shape], axis: int) -> Axes | None:
    return None if axis == instr.attrs[0] or shapes[0][axis] != shapes[1][axis] else (axis, axis)


def _matmul(instr: Instr, shapes: Sequence[Shape], axis: int) -> Axes | None:
    ranks, out = [len(s) for s in shapes], len(instr.type.shape)
    rows, columns = int(ranks[0] > 1), int(ranks[1] > 1)
    if columns and axis == out - 1:
        return (None, ranks[1] - 1)
    if rows and axis == out - 1 - columns:
        return (ranks[0] - 2, None)
    found = [axis - (out - rows - columns) + max(r - 2, 0) for r in ranks]  # an axis of the batch
    return tuple(a if a >= 0 and s[a] == instr.type.shape[axis] else None for a, s in zip(found, shapes, strict=True))


def _einsum(instr: Instr, shapes: Sequence[Shape], axis: int) -> Axes | None:
    left, _, right = instr.attrs[0].partition("->")
    return letter_places(left.split(","), right[axis])


def letter_places(parts: Sequence[str], letter: str) -> Axes | None:
    """Where a letter stands in each part of the pattern of an einsum; None if a part has it twice."""
    if any(part.count(letter) > 1 for part in parts):
        return None
    return tuple(part.index(letter) if letter in part else None for part in parts)


def _sign_and_log(instr: Instr, shapes: Sequence[Shape], axis: int) -> Axes | None:
    return (axis - 1,) if axis else None  # the two values are the first axis


RULES: dict[str, Callable[[Instr, Sequence[Shape], int], Axes | None]] = {
    "broadcast_to": _broadcast_to,
    "reshape": _reshape,
    "transpose": _transpose,
    "slice": _slice,
    "concat": _concat,
    "stack": _stack,
    "take_axis": _take_axis,
    "take_along": _take_along,
    "matmul": _matmul,
    "einsum": _einsum,
    "slogdet_packed": _sign_and_log,
}


def summed(instr: Instr, shapes: Sequence[Shape], position: int, axis: int) -> Axes | None:
    """The axes over which an op sums together with one axis of an argument: the result is the sum of the results for the
    parts of this axis. None if it does not sum over it."""
    if instr.op == "sum":
        return (axis,) if axis in instr.attrs[0] else None
    if instr.op == "matmul":
        inner = (len(shapes[0]) - 1, max(len(shapes[1]) - 2, 0))
        return inner if inner[position] == axis else None
    if instr.op == "einsum":
        left, _, right = instr.attrs[0].partition("->")
        parts = left.split(",")
        letter = parts[position][axis]
        return None if letter in right else letter_places(parts, letter)
    return None


def resized(b: Builder, instr: Instr, args: Sequence[int], axis: int | None, length: Dim) -> int:
    """The op over arguments of which an axis has another length, which `axis` of the result then has too."""
    attrs: tuple[Any, ...] = instr.attrs
    if axis is not None and instr.op in ("broadcast_to", "reshape"):
        shape = instr.type.shape
        attrs = ((*shape[:axis], length, *shape[axis + 1 :]),)
    elif axis is not None and instr.op == "slice":
        start, lengths, step = instr.attrs
        attrs = tuple((*old[:axis], new, *old[axis + 1 :]) for old, new in ((start, 0), (lengths, length), (step, 1)))
    return b.apply(instr.op, args, attrs, instr.span, instr.scope)
