"""The array functions behind convolutions, pools, batch statistics and tables: checks of their arguments, and windows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gradlang.check.indexing import require
from gradlang.check.program import Value
from gradlang.ops.shapes import Misfit
from gradlang.ops.shapes_windows import pair_of
from gradlang.source import Span
from gradlang.types import Type, add, sub

if TYPE_CHECKING:
    from gradlang.check.elaborate import Elaborator


def windows(e: Elaborator, span: Span, x: Value, window: Value, stride: Value = None) -> Value:
    """The windows of an image [N, C, H, W] as [N, C, KH, KW, OH, OW]; without a stride they stand side by side."""
    image = e.type_of(x, span)
    if image.rank != 4:
        raise Misfit(f"an image is [N, C, H, W], but this is {image}")
    size = pair_of(window, "window")
    step = size if stride is None else pair_of(stride, "stride")
    for dim, k in zip(image.shape[2:], size, strict=True):
        require(e, sub(dim, k), 0, span)
    return e.apply("patches", (x,), (size, step), span)


def filter_windows(e: Elaborator, span: Span, x: Value, w: Value, b: Value, stride: Value, padding: Value) -> Value:
    """The windows of an image with zeros around it that filters [O, C, KH, KW] and shifts [O] go over."""
    image, filters, shift = (e.type_of(v, span) for v in (x, w, b))
    if image.rank != 4 or filters.rank != 4:
        raise Misfit(f"conv2d takes an image [N, C, H, W] and filters [O, C, KH, KW], but these are {image} and {filters}")
    if image.shape[1] != filters.shape[1]:
        raise Misfit(f"an image {image} has {image.shape[1]} channels, but the filters {filters} take {filters.shape[1]}")
    if shift not in (Type(()), Type((filters.shape[0],))):
        raise Misfit(f"filters {filters} add a number to each of their {filters.shape[0]} results, but b is {shift}")
    edge = padding if isinstance(padding, tuple) else (padding, padding)
    if len(edge) != 2 or not all(isinstance(p, int) and not isinstance(p, bool) and p >= 0 for p in edge):
        raise Misfit("the padding is a whole number of 0 or more, or two of them: down and across")
    around = (0, 0, *edge)
    if any(edge):
        shape = tuple(add(d, 2 * p) for d, p in zip(image.shape, around, strict=True))
        x = e.apply("unslice", (x,), (shape, around, (1, 1, 1, 1)), span)
    return windows(e, span, x, filters.shape[2:], stride)


def batch_axes(e: Elaborator, span: Span, x: Value) -> Value:
    """All axes but the channels, which are axis 1."""
    rank = e.type_of(x, span).rank
    if rank < 2:
        raise Misfit("batch_norm takes [N, D] or [N, C, ...]: an axis of the batch, then one of the channels")
    return (0, *range(2, rank))


def channel_shape(e: Elaborator, span: Span, a: Value, x: Value) -> Value:
    """The shape of an array [C] beside the axes of x after the channels."""
    own = e.type_of(a, span).shape
    return (*own, *(1,) * (e.type_of(x, span).rank - 2)) if own else ()


def piece(e: Elaborator, span: Span, x: Value, xs: Value, ys: Value) -> Value:
    """Which piece of the line through the points (xs, ys) each x is on; the outer ones go on for ever."""
    a, b = e.type_of(xs, span), e.type_of(ys, span)
    if a.rank != 1 or a.shape != b.shape:
        raise Misfit(f"interp takes two lists of one length, but these are {a} and {b}", "write `interp(x, xs, ys)`")
    if a.shape[0] in (0, 1):
        raise Misfit("a table needs two points or more: a line goes from one to the next")
    between = sub(a.shape[0], 2)
    require(e, between, 0, span)
    return e.apply("searchsorted", (e.apply("slice", (xs,), ((1,), (between,), (1,)), span), x), (True,), span)


FUNCTIONS: dict[str, tuple[Callable[..., Any], str]] = {
    "windows": (windows, "x window stride?"),
    "filter_windows": (filter_windows, "x w b stride padding"),
    "batch_axes": (batch_axes, "x"),
    "channel_shape": (channel_shape, "a x"),
    "piece": (piece, "x xs ys"),
}
