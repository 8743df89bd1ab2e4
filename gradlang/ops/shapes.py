"""The shape rules that entries of the table name: from the types of the arguments to the type of the result.

A rule also brings the settings into their normal form: axes count from 0, shapes are tuples. It raises `Misfit` with a
sentence for the user where the arguments do not fit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradlang.ops.op import Op
from gradlang.types import (
    BOOL,
    SCALAR,
    Dim,
    Mismatch,
    Shape,
    Size,
    Type,
    broadcast,
    exact_quotient,
    join_dtype,
    product,
    scalar_of,
    show_shape,
)
from gradlang.types import add as dim_add

Attrs = tuple[Any, ...]
Inferred = tuple[Attrs, Type]


LARGEST = 2**40


class Misfit(Exception):
    """Arguments that do not fit an op: a sentence, and a hint."""

    def __init__(self, message: str, help: str = "") -> None:
        super().__init__(message)
        self.message, self.help = message, help


def axis_of(axis: Any, rank: int, what: str = "axis") -> int:
    if not isinstance(axis, int) or isinstance(axis, bool):
        raise Misfit(f"an {what} is a whole number")
    if not -rank <= axis < rank:
        if not rank:
            raise Misfit(f"a scalar has no {what} {axis}")
        many = (
            "one axis: it is axis 0, or -1" if rank == 1 else f"{rank} axes: they count from 0 to {rank - 1}, or from the end"
        )
        raise Misfit(f"there is no {what} {axis}", f"the array has {many}")
    return axis % rank


def axes_of(axis: Any, rank: int) -> tuple[int, ...]:
    """The sorted axes that `axis` (None, a number or several) names."""
    if axis is None:
        return tuple(range(rank))
    found = [axis_of(a, rank) for a in (axis if isinstance(axis, tuple) else (axis,))]
    if len(set(found)) < len(found):
        raise Misfit("an axis is named twice")
    return tuple(sorted(found))


def shape_of(value: Any) -> Shape:
    dims = value if isinstance(value, tuple) else (value,)
    for d in dims:
        if isinstance(d, bool) or not isinstance(d, (int, Size)):
            raise Misfit("a shape is made of whole numbers and sizes", "for example `[N, 3]`")
        if isinstance(d, int) and d > LARGEST:
            raise Misfit(f"a size of {d} is more than any memory holds")
        if isinstance(d, int) and d < 0:
            raise Misfit(f"a size cannot be negative, but this is {d}")
    if len(dims) > 32:
        raise Misfit("an array has at most 32 axes")
    return tuple(dims)


def reduced(shape: Shape, axes: tuple[int, ...], keepdims: bool) -> Shape:
    if keepdims:
        return tuple(1 if i in axes else d for i, d in enumerate(shape))
    return tuple(d for i, d in enumerate(shape) if i not in axes)


def given(types: list[Type], attrs: Attrs) -> Inferred:
    shape = shape_of(attrs[0])
    return (shape, *attrs[1:]), Type(shape, types[0].dtype)


def broadcast_given(types: list[Type], attrs: Attrs) -> Inferred:
    made = given(types, attrs)
    try:
        fits = broadcast(types[0].shape, made[1].shape) == made[1].shape
    except Mismatch:
        fits = False
    if not fits:
        raise Misfit(
            f"an array {show_shape(types[0].shape)} cannot be stretched to {show_shape(made[1].shape)}",
            "only an axis of length 1 stretches, and new axes come in front",
        )
    return made


def reshape(types: list[Type], attrs: Attrs) -> Inferred:
    raw = attrs[0] if isinstance(attrs[0], tuple) else (attrs[0],)
    shape, total = list(raw), product(types[0].shape)
    if sum(d == -1 for d in raw) == 1:
        rest = product(d for d in raw if d != -1)
        missing = exact_quotient(total, rest)
        if missing is None:
            raise Misfit(f"an array {show_shape(types[0].shape)} has {total} entries, which {rest} does not divide")
        shape[raw.index(-1)] = missing
    made = shape_of(tuple(shape))
    if product(made) != total:
        raise Misfit(
            f"an array {show_shape(types[0].shape)} of {total} entries cannot become {show_shape(made)} of {product(made)}"
        )
    return (made,), Type(made, types[0].dtype)


def transpose(types: list[Type], attrs: Attrs) -> Inferred:
    rank = types[0].rank
    axes = tuple(reversed(range(rank))) if attrs[0] is None else attrs[0]
    if not isinstance(axes, tuple) or sorted(axis_of(a, rank) for a in axes) != list(range(rank)):
        raise Misfit(f"the axes of a transpose of {types[0]} are 0 to {rank - 1}, each once")
    order = tuple(axis_of(a, rank) for a in axes)
    return (order,), Type(tuple(types[0].shape[a] for a in order), types[0].dtype)


def slice_(types: list[Type], attrs: Attrs) -> Inferred:
    start, length, step = attrs
    if any(not isinstance(a, tuple) or len(a) != types[0].rank for a in attrs):
        raise Misfit("a slice has a start, a length and a step for each axis", "write it as `x[1:3]`")
    return (start, length, step), Type(shape_of(length), types[0].dtype)


def take(types: list[Type], attrs: Attrs) -> Inferred:
    x, index = types
    axis = axis_of(attrs[0], x.rank)
    if index.dtype != "int":
        raise Misfit(f"an index must be whole numbers, but this is {index}", "declare it as `int` or `int[N]`")
    return (axis,), Type(x.shape[:axis] + index.shape + x.shape[axis + 1 :], x.dtype)


def scatter_add(types: list[Type], attrs: Attrs) -> Inferred:
    x, index = types
    axis, (n,) = attrs[0], shape_of(attrs[1])
    rank = x.rank - index.rank + 1
    axis = axis_of(axis, rank)
    if x.shape[axis : axis + index.rank] != index.shape:
        raise Misfit(
            f"{index} does not say where each entry of {x} goes", "one whole number for each, so the sizes are the same"
        )
    return (axis, n), Type((*x.shape[:axis], n, *x.shape[axis + index.rank :]), x.dtype)


def take_along(types: list[Type], attrs: Attrs) -> Inferred:
    axis = axis_of(attrs[0], types[0].rank)
    return (axis,), Type(types[1].shape, types[0].dtype)


def scatter_along(types: list[Type], attrs: Attrs) -> Inferred:
    axis = axis_of(attrs[0], types[0].rank)
    shape = types[0].shape
    return (axis, attrs[1]), Type((*shape[:axis], attrs[1], *shape[axis + 1 :]), types[0].dtype)


def concat(types: list[Type], attrs: Attrs) -> Inferred:
    rank = types[0].rank
    axis = axis_of(attrs[0], rank)
    total: Dim = 0
    for t in types:
        if t.rank != rank or any(a != b for i, (a, b) in enumerate(zip(t.shape, types[0].shape, strict=True)) if i != axis):
            raise Misfit(
                f"arrays {types[0]} and {t} cannot be joined along axis {axis}", "all other axes must have the same sizes"
            )
        total = dim_add(total, t.shape[axis])
    shape = (*types[0].shape[:axis], total, *types[0].shape[axis + 1 :])
    return (axis,), Type(shape, join_dtype(t.dtype for t in types))


def stack(types: list[Type], attrs: Attrs) -> Inferred:
    axis = axis_of(attrs[0], types[0].rank + 1)
    for t in types:
        if t.shape != types[0].shape:
            raise Misfit(f"{types[0]} and {t} cannot be stacked: their shapes differ")
    shape = (*types[0].shape[:axis], len(types), *types[0].shape[axis:])
    return (axis,), Type(shape, join_dtype(t.dtype for t in types))


def iota(types: list[Type], attrs: Attrs) -> Inferred:
    return (shape_of(attrs[0])[0],), Type(shape_of(attrs[0]), "int")


def reduce(types: list[Type], attrs: Attrs) -> Inferred:
    axes = axes_of(attrs[0], types[0].rank)
    return (axes, *attrs[1:]), Type(reduced(types[0].shape, axes, bool(attrs[1])), types[0].dtype)


def reduce_nonempty(types: list[Type], attrs: Attrs) -> Inferred:
    made = reduce(types, attrs)
    for a in made[0][0]:
        if types[0].shape[a] == 0 and attrs[2] is None:
            raise Misfit("the maximum or minimum of no entries is not defined")
    return made


def product_last(types: list[Type], attrs: Attrs) -> Inferred:
    return attrs, Type(types[0].shape[:-1], types[0].dtype)


def argreduce(types: list[Type], attrs: Attrs) -> Inferred:
    axis = axis_of(attrs[0], types[0].rank)
    if types[0].shape[axis] == 0:
        raise Misfit("no entries have no largest or smallest one")
    return (axis,), Type(reduced(types[0].shape, (axis,), False), "int")


def same(types: list[Type], attrs: Attrs) -> Inferred:
    return (axis_of(attrs[0], types[0].rank),), types[0]


def within(types: list[Type], attrs: Attrs) -> Inferred:
    if types[0].dtype != "int":
        raise Misfit(f"whole numbers are needed here, but this is {types[0]}")
    return (*shape_of(attrs[0]),), types[0]


def earlier(types: list[Type], attrs: Attrs) -> Inferred:
    if any(t.dtype != "int" for t in types):
        raise Misfit("an index must be whole numbers", "declare it as `int` or `int[N]`")
    return (*shape_of(attrs[0]), attrs[1]), Type(broadcast(types[0].shape, types[1].shape), "int")


def matmul(types: list[Type], attrs: Attrs) -> Inferred:
    a, b = types
    if not a.rank or not b.rank:
        raise Misfit("`@` multiplies arrays, and one of these is a scalar", "write `*`")
    inner, other = a.shape[-1], b.shape[-2] if b.rank > 1 else b.shape[0]
    if inner != other:
        raise Misfit(
            f"shapes {show_shape(a.shape)} and {show_shape(b.shape)} cannot be multiplied: {inner} meets {other}",
            "in `a @ b` the last size of a must be the first of b (the last but one, if b has more axes)",
        )
    try:
        batch = broadcast(a.shape[:-2], b.shape[:-2])
    except Mismatch as m:
        raise Misfit(
            f"shapes {show_shape(a.shape)} and {show_shape(b.shape)} cannot be multiplied: the leading sizes "
            f"{m.left} and {m.right} differ"
        ) from None
    tail = (a.shape[-2:-1] if a.rank > 1 else ()) + (b.shape[-1:] if b.rank > 1 else ())
    return attrs, Type(batch + tail)


def einsum(types: list[Type], attrs: Attrs) -> Inferred:
    spec = attrs[0]
    if not isinstance(spec, str):
        raise Misfit('the first argument of einsum is a text such as "ij,jk->ik"')
    spec = spec.replace(" ", "")
    left, arrow, right = spec.partition("->")
    parts = left.split(",")
    if not all(c.isascii() and c.isalpha() for c in "".join(parts) + right):
        raise Misfit(f'"{attrs[0]}" is not an einsum that is understood here', "use letters, `,` and `->`")
    if not arrow:
        letters = "".join(parts)
        right = "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    if len(parts) != len(types):
        raise Misfit(f'"{attrs[0]}" describes {len(parts)} arrays, but {len(types)} are given')
    sizes: dict[str, Dim] = {}
    for part, t in zip(parts, types, strict=True):
        if len(part) != t.rank:
            raise Misfit(f'"{part}" names {len(part)} axes, but the array is {t}')
        for letter, d in zip(part, t.shape, strict=True):
            if sizes.setdefault(letter, d) != d:
                raise Misfit(f"axis `{letter}` is {sizes[letter]} and also {d}")
    for letter in right:
        if letter not in sizes or right.count(letter) > 1:
            raise Misfit(f'`{letter}` in the result of "{attrs[0]}" names no single axis of the arguments')
    return (f"{','.join(parts)}->{right}",), Type(tuple(sizes[c] for c in right))


RULES: dict[str, Callable[[list[Type], Attrs], Inferred]] = {
    "given": given,
    "broadcast": broadcast_given,
    "reshape": reshape,
    "transpose": transpose,
    "slice": slice_,
    "take": take,
    "scatter_add": scatter_add,
    "take_along": take_along,
    "scatter_along": scatter_along,
    "concat": concat,
    "stack": stack,
    "iota": iota,
    "reduce": reduce,
    "extremum": reduce_nonempty,
    "product": product_last,
    "argreduce": argreduce,
    "same": same,
    "within": within,
    "earlier": earlier,
    "matmul": matmul,
    "einsum": einsum,
}


def pointwise(op: Op, types: list[Type]) -> Type:
    """The type of a pointwise op over operands that NumPy would broadcast."""
    shape: Shape = ()
    for t in types:
        try:
            shape = broadcast(shape, t.shape)
        except Mismatch as m:
            first = next(u for u in types if u.shape)
            raise Misfit(
                f"shapes {show_shape(first.shape)} and {show_shape(t.shape)} do not fit: {m.left} meets {m.right}",
                nominal_help(m.left, m.right),
            ) from None
    flags = op.flags
    if flags & {"predicate", "logical"}:
        return Type(shape, "bool") if shape else BOOL
    if "integral" in flags and all(t.dtype == "int" for t in types):
        return Type(shape, "int")
    if "choice" in flags:
        kind = join_dtype(t.dtype for t in types[1:])
        return Type(shape, kind) if shape else scalar_of(kind)
    return Type(shape) if shape else SCALAR


def nominal_help(a: Dim, b: Dim) -> str:
    if isinstance(a, Size) or isinstance(b, Size):
        return (
            f"`{a}` and `{b}` are different sizes, even if they are equal at a call; only an axis written as 1 "
            "stretches (`x[:, None]`)"
        )
    return "sizes must be equal, or one of them written as 1 (`x[:, None]`)"
