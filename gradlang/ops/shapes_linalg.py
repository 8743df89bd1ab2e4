"""The shape rules of linear algebra: matrices are the last two axes of an array, the axes before them a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradlang.ops.shapes import Attrs, Inferred, Misfit
from gradlang.types import Dim, Mismatch, Shape, Type, add, broadcast, show_shape


def square_size(t: Type) -> Dim:
    """The size of a square matrix. Raises Misfit."""
    if t.rank < 2:
        raise Misfit(f"a square matrix is needed here, but this is {t}", "a matrix has two axes of one size")
    rows, columns = t.shape[-2:]
    if rows != columns:
        known = isinstance(rows, int) and isinstance(columns, int)
        hint = "the last two sizes must be equal" if known else f"`{rows}` and `{columns}` are different sizes"
        raise Misfit(f"a square matrix is needed here, but this is {t}", hint)
    return rows


def square(types: list[Type], attrs: Attrs) -> Inferred:
    square_size(types[0])
    return attrs, Type(types[0].shape)


def determinant(types: list[Type], attrs: Attrs) -> Inferred:
    square_size(types[0])
    return attrs, Type(types[0].shape[:-2])


def sign_and_log(types: list[Type], attrs: Attrs) -> Inferred:
    square_size(types[0])
    return attrs, Type((2, *types[0].shape[:-2]))


def eigenpairs(types: list[Type], attrs: Attrs) -> Inferred:
    n = square_size(types[0])
    return attrs, Type((*types[0].shape[:-1], add(n, 1)))


def triangle(types: list[Type], attrs: Attrs) -> Inferred:
    (k,) = attrs
    if types[0].rank < 2:
        raise Misfit(f"a matrix is needed here, but this is {types[0]}", "a triangle is a part of a matrix")
    if not isinstance(k, int) or isinstance(k, bool):
        raise Misfit("`k` says which diagonal bounds the triangle: a whole number")
    return attrs, types[0]


def diagonal(types: list[Type], attrs: Attrs) -> Inferred:
    square_size(types[0])
    return attrs, Type(types[0].shape[:-1], types[0].dtype)


def diag_matrix(types: list[Type], attrs: Attrs) -> Inferred:
    if not types[0].rank:
        raise Misfit("a diagonal is made of a vector, but this is a scalar")
    return attrs, Type((*types[0].shape, types[0].shape[-1]), types[0].dtype)


def solve(types: list[Type], attrs: Attrs) -> Inferred:
    a, b = types
    n = square_size(a)
    if not b.rank:
        raise Misfit("the right side of an equation is a vector or a matrix, but this is a scalar")
    rows = b.shape[-2] if b.rank > 1 else b.shape[0]
    if rows != n:
        hint = "the columns are solved for: transpose it, or write `expand_dims(b, -1)` for a batch of vectors"
        raise Misfit(
            f"a matrix {show_shape(a.shape)} and a right side {show_shape(b.shape)} do not fit: {n} meets {rows}",
            hint if b.rank > 1 and b.shape[-1] == n else "the right side has as many rows as the matrix",
        )
    return attrs, Type(_batch(a, b, b.shape[-2:] if b.rank > 1 else b.shape))


def _batch(a: Type, b: Type, tail: Shape) -> Shape:
    try:
        return broadcast(a.shape[:-2], b.shape[:-2]) + tail
    except Mismatch as m:
        raise Misfit(
            f"a matrix {show_shape(a.shape)} and a right side {show_shape(b.shape)} do not fit: the leading sizes "
            f"{m.left} and {m.right} differ"
        ) from None


def triangular_solve(types: list[Type], attrs: Attrs) -> Inferred:
    for name, value in zip(("lower", "trans"), attrs, strict=True):
        if not isinstance(value, bool):
            raise Misfit(f"`{name}` is true or false")
    return solve(types, attrs)


RULES: dict[str, Callable[[list[Type], Any], Inferred]] = {
    "square": square,
    "determinant": determinant,
    "sign_and_log": sign_and_log,
    "eigenpairs": eigenpairs,
    "triangle": triangle,
    "diagonal": diagonal,
    "diag_matrix": diag_matrix,
    "solve": solve,
    "triangular_solve": triangular_solve,
}
