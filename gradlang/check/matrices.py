"""The functions of matrices that are a few structural ops, and products of which the shapes must be known."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gradlang.check.indexing import Cut, get
from gradlang.check.program import Ref, Value
from gradlang.ops.shapes import Misfit, axis_of
from gradlang.source import Span
from gradlang.types import Dim, Shape, add, mul, sub

if TYPE_CHECKING:
    from gradlang.check.elaborate import Elaborator


def _reshape(e: Elaborator, x: Ref, shape: Shape, span: Span) -> Value:
    return x if x.type.shape == shape else e.apply("reshape", (x,), (shape,), span)


def _array(e: Elaborator, x: Value, span: Span) -> Ref:
    made = e.ref(x, span)
    assert isinstance(made, Ref)  # arguments that hold an error never come here
    return made


def _whole(name: str, value: Value) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise Misfit(f"`{name}` says which diagonal is meant: a whole number")
    return value


def diag(e: Elaborator, span: Span, v: Value, k: Value = 0) -> Value:
    """A vector on the k-th diagonal of a matrix of zeros; of a matrix (or a batch of them), its k-th diagonal."""
    x, k = _array(e, v, span), _whole("k", k)
    if x.type.rank > 1:
        return diagonal(e, span, x, k)
    out = e.apply("diag_matrix", (x,), (), span)
    if k == 0:
        return out
    n = add(x.type.shape[0], abs(k))
    return e.apply("unslice", (out,), ((n, n), (max(-k, 0), max(k, 0)), (1, 1)), span)


def diagonal(e: Elaborator, span: Span, x: Ref, k: int) -> Value:
    *lead, rows, columns = x.type.shape
    down, right = max(-k, 0), max(k, 0)
    length: Dim
    if isinstance(rows, int) and isinstance(columns, int):
        length = max(min(rows - down, columns - right), 0)
    elif rows == columns:
        length = sub(rows, abs(k))
    else:
        raise Misfit(f"the diagonal of a matrix [{rows}, {columns}] has no size that is known", "cut out a square part of it")
    cuts = [Cut(None, None, None)] * len(lead)
    part = get(e, x, [*cuts, Cut(down, add(length, down), None), Cut(right, add(length, right), None)], span)
    return e.apply("diagonal", (part,), (), span)


def trace(e: Elaborator, span: Span, a: Value, offset: Value = 0, axis1: Value = 0, axis2: Value = 1) -> Value:
    """The sum over a diagonal of two axes, the first two unless others are named."""
    x, k = _array(e, a, span), _whole("offset", offset)
    if x.type.rank < 2:
        raise Misfit(f"the trace is that of a matrix, but this is {x.type}")
    one, two = axis_of(axis1, x.type.rank), axis_of(axis2, x.type.rank)
    if one == two:
        raise Misfit("an axis is named twice")
    order = (*(i for i in range(x.type.rank) if i not in (one, two)), one, two)
    if order != tuple(range(x.type.rank)):
        x = _array(e, e.apply("transpose", (x,), (order,), span), span)
    return e.apply("sum", (diagonal(e, span, x, k),), (-1, False), span)


def kron(e: Elaborator, span: Span, a: Value, b: Value) -> Value:
    """Every entry of a times the whole of b, in blocks."""
    x, y = _array(e, a, span), _array(e, b, span)
    rank = max(x.type.rank, y.type.rank)
    left, right = ((1,) * (rank - t.type.rank) + t.type.shape for t in (x, y))
    outside = _reshape(e, x, tuple(d for n in left for d in (n, 1)), span)
    inside = _reshape(e, y, tuple(d for n in right for d in (1, n)), span)
    product = _array(e, e.apply("mul", (outside, inside), (), span), span)
    return _reshape(e, product, tuple(mul(n, m) for n, m in zip(left, right, strict=True)), span)


def cross(e: Elaborator, span: Span, a: Value, b: Value) -> Value:
    """The vector product over the last axis, which has three entries."""
    x, y = _array(e, a, span), _array(e, b, span)
    for t in (x.type, y.type):
        if not t.rank or t.shape[-1] != 3:
            raise Misfit(f"`cross` multiplies vectors of 3 entries along the last axis, but this is {t}")

    def turned(v: Ref) -> Value:
        ahead = [Cut(None, None, None)] * (v.type.rank - 1)
        parts = [get(e, v, [*ahead, cut], span) for cut in (Cut(1, None, None), Cut(None, 1, None))]
        return e.apply("concat", parts, (-1,), span)

    first = e.apply("mul", (x, turned(y)), (), span)
    second = e.apply("mul", (turned(x), y), (), span)
    return turned(_array(e, e.apply("sub", (first, second), (), span), span))


def block(e: Elaborator, span: Span, arrays: Value) -> Value:
    """Rows of arrays side by side, one below the other; what has too few axes gets axes of length 1 in front."""
    nested = isinstance(arrays, tuple) and any(isinstance(r, tuple) for r in arrays)
    rows = arrays if nested else (arrays,)
    if not isinstance(arrays, tuple) or not all(isinstance(r, tuple) and r for r in rows):
        raise Misfit("block takes a list of rows, each a list of arrays")
    items = [[_array(e, x, span) for x in row] for row in rows]
    rank = max(1 + nested, *(x.type.rank for row in items for x in row))
    full = [[_reshape(e, x, (1,) * (rank - x.type.rank) + x.type.shape, span) for x in row] for row in items]
    joined = [e.apply("concat", row, (-1,), span) if len(row) > 1 else row[0] for row in full]
    return joined[0] if len(joined) == 1 else e.apply("concat", joined, (-2,), span)


def of_matrix(e: Elaborator, span: Span, x: Value, order: Value = None, axis: Value = None) -> Value:
    """Whether `norm` means that of a matrix: an order is given, for two axes or for a matrix without naming axes."""
    rank = e.type_of(x, span).rank
    axes = (axis if isinstance(axis, tuple) else (axis,)) if axis is not None else tuple(range(rank))
    if order is None:
        return False
    if len(axes) < 2:
        if isinstance(order, str):
            raise Misfit(f'the order "{order}" is that of a matrix', "the norm of a vector is of order 2 unless it is a number")
        return False
    if len(axes) > 2:
        raise Misfit("a norm with an order is taken over one axis, or over the two axes of a matrix", "name them: `axis=-1`")
    if isinstance(order, Ref) or order not in ("fro", 1, -1, math.inf, -math.inf):
        shown = "this" if isinstance(order, Ref) else f'"{order}"' if isinstance(order, str) else str(order)
        raise Misfit(
            f'the norm of a matrix has the orders "fro", 1, -1, inf and -inf, but not {shown}',
            "`norm(flatten(x), p)` is the norm of its entries",
        )
    return True


def is_text(e: Elaborator, span: Span, x: Value) -> Value:
    return isinstance(x, str)


# name -> (function, its parameters; those with a question mark may be left out)
FUNCTIONS: dict[str, tuple[Callable[..., Any], str]] = {
    "diag": (diag, "v k?"),
    "trace": (trace, "a offset? axis1? axis2?"),
    "kron": (kron, "a b"),
    "cross": (cross, "a b"),
    "block": (block, "arrays"),
    "of_matrix": (of_matrix, "x order? axis?"),
    "is_text": (is_text, "x"),
}
