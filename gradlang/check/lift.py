"""Ops over values that are one per count of some loops: the loops become leading axes of the arrays.

A value keeps only the loops that it depends on, so nothing is repeated before it has to be. The same rules serve
comprehensions, which are elaborated with them, and Jacobians, whose many cotangents go through one sweep.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from gradlang.check.infer import infer
from gradlang.check.loops import Loop, dims, together
from gradlang.check.program import Ref
from gradlang.ops.op import Op
from gradlang.ops.shapes import Misfit
from gradlang.ops.table import OpTable
from gradlang.source import Span
from gradlang.types import INT, Dim, Shape, Size, Type, mul, product

if TYPE_CHECKING:
    from gradlang.check.elaborate import Sink

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def plain(r: Ref) -> Ref:
    """The array that holds a value for all counts."""
    return Ref(r.id, Type(dims(r.axes) + r.type.shape, r.type.dtype)) if r.axes else r


class Lift:
    """One op under way, over the union of the loops of its arguments."""

    def __init__(self, sink: Sink, table: OpTable, axes: tuple[Loop, ...], span: Span, scope: tuple[str, ...]) -> None:
        self.sink, self.table, self.axes, self.span, self.scope = sink, table, axes, span, scope
        self.loops = dims(axes)

    def make(self, name: str, args: Sequence[Ref], attrs: tuple[Any, ...] = ()) -> Ref:
        op = self.table[name]
        attrs, type = infer(op, [a.type for a in args], attrs, self.table)
        return self.sink.emit(op, list(args), attrs, type, self.span, self.scope)

    def whole(self, dim: Dim) -> Ref:
        return self.sink.leaf("size" if isinstance(dim, Size) else "const", (dim,), INT, self.span)

    def reshape(self, r: Ref, shape: Shape) -> Ref:
        return r if r.type.shape == shape else self.make("reshape", (r,), (shape,))

    def transpose(self, r: Ref, order: Sequence[int]) -> Ref:
        return r if list(order) == list(range(len(order))) else self.make("transpose", (r,), (tuple(order),))

    def thin(self, r: Ref, rank: int) -> Ref:
        """A value aligned with others of `rank` axes: the loops that it lacks have length 1, and leading ones are left out."""
        missing = [loop not in r.axes for loop in self.axes] + [True] * (rank - r.type.rank)
        shape: list[Dim] = [1 if m else loop.length for m, loop in zip(missing, self.axes, strict=False)]
        shape += [1] * (rank - r.type.rank)
        lead = next((k for k, m in enumerate(missing) if not m), len(missing))
        return self.reshape(plain(r), (*shape[lead:], *r.type.shape))

    def full(self, r: Ref, rank: int = 0) -> Ref:
        """A value for every count of all loops, aligned with others of `rank` axes."""
        rank = max(rank, r.type.rank)
        shape = (*self.loops, *(1,) * (rank - r.type.rank), *r.type.shape)
        thin = self.thin(r, rank)
        return thin if thin.type.shape == shape else self.make("broadcast_to", (thin,), (shape,))


def emit(
    sink: Sink,
    table: OpTable,
    op: Op,
    refs: list[Ref],
    attrs: tuple[Any, ...],
    type: Type,
    span: Span,
    scope: tuple[str, ...],
) -> Ref:
    """The op for every count. `attrs` and `type` are those of one count. Raises Misfit for an op that cannot be lifted."""
    axes = together(*(r.axes for r in refs))
    lift = Lift(sink, table, axes, span, scope)
    whole = Type(lift.loops + type.shape, type.dtype)
    if op.pointwise:
        made = sink.emit(op, [lift.thin(r, type.rank) for r in refs], attrs, whole, span, scope)
        return Ref(made.id, type, axes)
    rule = RULES.get(op.name)
    if rule is not None:
        made = rule(lift, refs, attrs, type)
    elif "axis" in op.attrs:
        at = op.attrs.index("axis")
        shifted = (*attrs[:at], _shifted(attrs[at], len(axes)), *attrs[at + 1 :])
        made = lift.make(op.name, [lift.full(r) for r in refs], shifted)
    else:
        try:
            made = lift.make(op.name, [lift.full(r) for r in refs], attrs)
        except Misfit:
            made = Ref(-1, type)
    if made.type.shape != whole.shape:
        return _by_value(lift, op, refs, attrs, span)
    return Ref(made.id, type, axes)


def _by_value(lift: Lift, op: Op, refs: list[Ref], attrs: tuple[Any, ...], span: Span) -> Ref:
    from gradlang.check.rules import evaluate  # the value of an entry is an elaborated expression itself

    if op.value is None:
        raise Misfit(f"`{op.name}` cannot be used inside a comprehension")
    return evaluate(op, op.value, refs, attrs, lift.sink, None, None, span, lift.table, lift.scope)


def _shifted(axis: Any, by: int) -> Any:
    return tuple(a + by for a in axis) if isinstance(axis, tuple) else axis + by


# ------------------------------------------------------------------ one rule per structural op
def _broadcast_to(on: Lift, refs: list[Ref], attrs: tuple[Any, ...], type: Type) -> Ref:
    return on.make("broadcast_to", (on.thin(refs[0], type.rank),), (on.loops + type.shape,))


def _sum_to(on: Lift, refs: list[Ref], attrs: tuple[Any, ...], type: Type) -> Ref:
    x, n = refs[0], len(on.axes)
    made = plain(x)
    extra = x.type.rank - type.rank
    if extra:
        made = on.make("sum", (made,), (tuple(range(n, n + extra)), False))
    return on.make("sum_to", (made,), (on.loops + type.shape,))


def _reshape(on: Lift, refs: list[Ref], attrs: tuple[Any, ...], type: Type) -> Ref:
    return on.reshape(plain(refs[0]), on.loops + type.shape)


def _transpose(on: Lift, refs: list[Ref], attrs: tuple[Any, ...], type: Type) -> Ref:
    n = len(on.axes)
    return on.transpose(plain(refs[0]), (*range(n), *(a + n for a in attrs[0])))


def _slice(on: Lift, refs: list[Ref], attrs: tuple[Any, ...], type: Type) -> Ref:
    start, length, step = attrs
    n = len(on.axes)
    return on.make("slice", (plain(refs[0]),), ((0,) * n + start, on.loops + length, (1,) * n + step))


def _unslice(on: Lift, refs: list[Ref], attrs: tuple[Any, ...], type: Type) -> Ref:
    shape, start, step = attrs
    n = len(on.axes)
    return on.make("unslice", (plain(refs[0]),), (on.loops + shape, (0,) * n + start, (1,) * n + step))


def _variadic(on: Lift, refs: list[Ref], attrs: tuple[Any, ...], type: Type) -> Ref:
    op = "stack" if refs[0].type.rank < type.rank else "concat"
    return on.make(op, [on.full(r) for r in refs], (attrs[0] + len(on.axes),))


def _einsum(on: Lift, refs: list[Ref], attrs: tuple[Any, ...], type: Type, name: str = "einsum") -> Ref:
    left, _, right = attrs[0].partition("->")
    spare = iter(c for c in LETTERS if c not in attrs[0])
    names = {loop: next(spare) for loop in on.axes}
    parts = ["".join(names[a] for a in r.axes) + p for r, p in zip(refs, left.split(","), strict=True)]
    spec = ",".join(parts) + "->" + "".join(names.values()) + right
    return on.make(name, [plain(r) for r in refs], (spec,))


def _zeinsum(on: Lift, refs: list[Ref], attrs: tuple[Any, ...], type: Type) -> Ref:
    return _einsum(on, refs, attrs, type, "zeinsum")


def _matmul(on: Lift, refs: list[Ref], attrs: tuple[Any, ...], type: Type) -> Ref:
    a, b = refs
    if a.type.rank == 1 and b.type.rank == 1:
        return _einsum(on, refs, ("k,k->",), type)
    if not b.axes and (a.type.rank > 1 or b.type.rank == 2) and b.type.rank <= 2:
        return on.make("matmul", (plain(a), b))  # the loops of a are rows among its rows
    if not a.axes and a.type.rank == 2 and b.type.rank == 1:
        return on.make("matmul", (plain(b), on.transpose(a, (1, 0))))
    if a.type.rank == 2 and b.type.rank == 1 and set(a.axes) < set(b.axes):
        return _by_columns(on, a, b)
    rank = max(a.type.rank, b.type.rank, 2)
    left = a if a.type.rank > 1 else _stretched(on, a, -2)
    right = b if b.type.rank > 1 else _stretched(on, b, -1)
    made = on.make("matmul", (on.thin(left, rank), on.thin(right, rank)))
    return on.reshape(made, on.loops + type.shape)


def _zmatmul(on: Lift, refs: list[Ref], attrs: tuple[Any, ...], type: Type) -> Ref:
    a, b = refs
    if not b.axes and b.type.rank == 2:
        return on.make("zmatmul", (plain(a), b), attrs)
    if not a.axes and a.type.rank == 2 and b.type.rank == 2 and b.type.shape[1] == 1:
        rows = on.reshape(plain(b), on.loops + b.type.shape[:1])
        if len(on.loops) == 1:  # the columns of all counts are rows of one matrix
            made = on.make("zmatmul", (rows, on.transpose(a, (1, 0))), (1 - attrs[0],))
            return on.reshape(made, on.loops + type.shape)
    rank = max(a.type.rank, b.type.rank)
    made = on.make("zmatmul", (on.thin(a, rank), on.thin(b, rank)), attrs)
    return on.reshape(made, on.loops + type.shape)


def _by_columns(on: Lift, a: Ref, b: Ref) -> Ref:
    """A matrix times vectors of more loops than it has: these are the columns of one matrix for each matrix."""
    others = [loop for loop in b.axes if loop not in a.axes]
    shared = [b.axes.index(loop) for loop in a.axes]
    n = len(b.axes)
    columns = on.transpose(plain(b), (*shared, n, *(b.axes.index(loop) for loop in others)))
    lead = dims(a.axes)
    columns = on.reshape(columns, (*lead, b.type.shape[0], product(dims(tuple(others)))))
    made = on.make("matmul", (plain(a), columns))
    made = on.reshape(made, (*lead, a.type.shape[0], *dims(tuple(others))))
    at = {loop: k for k, loop in enumerate(a.axes)} | {loop: len(lead) + 1 + k for k, loop in enumerate(others)}
    return on.transpose(made, [*(at[loop] for loop in on.axes), len(lead)])


def _stretched(on: Lift, r: Ref, at: int) -> Ref:
    """A vector as a matrix of one row (-2) or one column (-1), for the same counts."""
    shape = (1, *r.type.shape) if at == -2 else (*r.type.shape, 1)
    made = on.reshape(plain(r), dims(r.axes) + shape)
    return Ref(made.id, Type(shape, r.type.dtype), r.axes)


def _solve(name: str) -> Callable[[Lift, list[Ref], tuple[Any, ...], Type], Ref]:
    def rule(on: Lift, refs: list[Ref], attrs: tuple[Any, ...], type: Type) -> Ref:
        a, b = refs
        column = _stretched(on, b, -1) if b.type.rank == 1 else b
        rank = max(a.type.rank, column.type.rank)
        made = on.make(name, (on.full(a, rank), on.full(column, rank)), attrs)
        return on.reshape(made, on.loops + type.shape)

    return rule


def _sign_and_log(on: Lift, refs: list[Ref], attrs: tuple[Any, ...], type: Type) -> Ref:
    made = on.make("slogdet_packed", (on.full(refs[0]),))  # the two values are the first axis
    n = len(on.axes)
    return on.transpose(made, (*range(1, n + 1), 0, *range(n + 1, made.type.rank)))


def _take_axis(on: Lift, refs: list[Ref], attrs: tuple[Any, ...], type: Type) -> Ref:
    (x, index), (axis,), n = refs, attrs, len(on.axes)
    if not index.axes:
        return on.make("take_axis", (plain(x), index), (axis + n,))
    if not x.axes:
        made = on.make("take_axis", (x, plain(index)), (axis,))
        return on.transpose(made, (*range(axis, axis + n), *range(axis), *range(axis + n, made.type.rank)))
    shared = [loop for loop in on.axes if loop in x.axes and loop in index.axes]
    mine = [loop for loop in on.axes if loop not in index.axes]
    others = [loop for loop in on.axes if loop not in x.axes]
    width, nx, rank, k = x.type.shape[axis], len(x.axes), x.type.rank, index.type.rank
    outside = [nx + j for j in range(rank) if j != axis]
    rows = on.transpose(plain(x), (*map(x.axes.index, shared), nx + axis, *map(x.axes.index, mine), *outside))
    rows = on.reshape(rows, (mul(product(dims(tuple(shared))), width), *rows.type.shape[len(shared) + 1 :]))
    first = [index.axes.index(loop) for loop in (*shared, *others)]
    where = on.transpose(plain(index), (*first, *range(len(first), len(first) + k)))
    if shared:
        where = _offset(on, where, tuple(shared), width)
    made = on.make("take_axis", (rows, where), (0,))
    at = {loop: j for j, loop in enumerate((*shared, *others))}
    at |= {loop: len(first) + k + j for j, loop in enumerate(mine)}
    after = len(first) + k + len(mine)
    order = [at[loop] for loop in on.axes] + [after + j for j in range(axis)]
    order += [len(first) + j for j in range(k)] + [after + j for j in range(axis, rank - 1)]
    return on.transpose(made, order)


def _scatter_add(on: Lift, refs: list[Ref], attrs: tuple[Any, ...], type: Type) -> Ref:
    (x, index), (axis, width), n = refs, attrs, len(on.axes)
    if not index.axes:
        return on.make("scatter_add", (plain(x), index), (axis + n, width))
    k = index.type.rank
    rows = on.full(x)
    order = (*range(n), *range(n + axis, n + axis + k), *range(n, n + axis), *range(n + axis + k, rows.type.rank))
    rows = on.transpose(rows, order)
    rest = rows.type.shape[n + k :]
    count = product((*on.loops, *index.type.shape))
    where = on.reshape(_offset(on, on.full(index), on.axes, width), (count,))
    made = on.make("scatter_add", (on.reshape(rows, (count, *rest)), where), (0, mul(product(on.loops), width)))
    made = on.reshape(made, (*on.loops, width, *rest))
    return on.transpose(made, (*range(n), *range(n + 1, n + 1 + axis), n, *range(n + 1 + axis, made.type.rank)))


def _offset(on: Lift, index: Ref, loops: tuple[Loop, ...], width: Dim) -> Ref:
    """Indices, whose first axes are the loops, into the rows of all counts of these, one count after the other."""
    starts = on.make("mul", (on.make("iota", (), (product(dims(loops)),)), on.whole(width)))
    starts = on.reshape(starts, dims(loops) + (1,) * (index.type.rank - len(loops)))
    return on.make("add", (on.make("within", (index,), (width,)), starts))


def _patches(on: Lift, refs: list[Ref], attrs: tuple[Any, ...], type: Type) -> Ref:
    x = on.full(refs[0])
    images = on.reshape(x, (product((*on.loops, refs[0].type.shape[0])), *refs[0].type.shape[1:]))
    return on.reshape(on.make("patches", (images,), attrs), on.loops + type.shape)


def _unpatches(on: Lift, refs: list[Ref], attrs: tuple[Any, ...], type: Type) -> Ref:
    count = product((*on.loops, type.shape[0]))
    windows = on.reshape(on.full(refs[0]), (count, *refs[0].type.shape[1:]))
    made = on.make("unpatches", (windows,), ((count, *type.shape[1:]), *attrs[1:]))
    return on.reshape(made, on.loops + type.shape)


def _searchsorted(on: Lift, refs: list[Ref], attrs: tuple[Any, ...], type: Type) -> Ref:
    points, x = refs
    if not points.axes:
        return on.make("searchsorted", (points, plain(x)), attrs)
    # points of its own for every count: the place is that of the first point that x is not beyond, or the end
    wide = on.reshape(on.full(x), (*on.loops, *type.shape, 1))
    near = on.reshape(on.full(points), (*on.loops, *(1,) * type.rank, points.type.shape[0]))
    beyond = on.make("real", (on.make("less_equal" if attrs[0] else "less", (near, wide)),))
    axis = len(on.loops) + type.rank
    end = on.make("broadcast_to", (on.sink.leaf("const", (0.0,), Type(()), on.span),), ((*on.loops, *type.shape, 1),))
    return on.make("argmin_along", (on.make("concat", (beyond, end), (axis,)),), (axis,))


RULES: dict[str, Callable[[Lift, list[Ref], tuple[Any, ...], Type], Ref]] = {
    "broadcast_to": _broadcast_to,
    "sum_to": _sum_to,
    "reshape": _reshape,
    "transpose": _transpose,
    "slice": _slice,
    "unslice": _unslice,
    "concat": _variadic,
    "stack": _variadic,
    "einsum": _einsum,
    "zeinsum": _zeinsum,
    "matmul": _matmul,
    "zmatmul": _zmatmul,
    "solve": _solve("solve"),
    "triangular_solve": _solve("triangular_solve"),
    "slogdet_packed": _sign_and_log,
    "take_axis": _take_axis,
    "scatter_add": _scatter_add,
    "patches": _patches,
    "unpatches": _unpatches,
    "searchsorted": _searchsorted,
}
