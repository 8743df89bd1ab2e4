"""The shape rules of windows that slide over images, and of places in an increasing list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradlang.ops.shapes import Attrs, Inferred, Misfit, given
from gradlang.types import Dim, Size, Type, add, exact_quotient, show_shape, sub


def pair_of(value: Any, what: str) -> tuple[Dim, Dim]:
    """(down, across) from one whole number of 1 or more, or from two."""
    both = value if isinstance(value, tuple) else (value, value)
    for v in both:
        if isinstance(v, bool) or not isinstance(v, (int, Size)) or (isinstance(v, int) and v < 1):
            raise Misfit(f"the {what} is a whole number of 1 or more, or two of them: down and across")
    if len(both) != 2:
        raise Misfit(f"the {what} is one number or two, down and across, but these are {len(both)}")
    return both


def positions(dim: Dim, window: Dim, stride: Dim) -> Dim:
    """How many windows fit on an axis: (dim - window) // stride + 1."""
    room = sub(dim, window)
    if isinstance(room, int) and room < 0:
        raise Misfit(f"a window of {window} does not fit on an axis of {dim} entries")
    if isinstance(room, int) and isinstance(stride, int):
        return room // stride + 1
    steps = range(stride) if isinstance(stride, int) else (0,)
    whole = next((q for r in steps if (q := exact_quotient(sub(room, r), stride)) is not None), None)
    if whole is None:
        raise Misfit(
            f"a window of {window} with a stride of {stride} on an axis of {dim} entries does not have a whole number of "
            "places for every size",
            f"write the size as a number, or as a multiple: `{stride}*M`",
        )
    return add(whole, 1)


def patches(types: list[Type], attrs: Attrs) -> Inferred:
    """[N, C, H, W] to [N, C, KH, KW, OH, OW]: entry (k, l, i, j) is the one at (i*down + k, j*across + l)."""
    shape = types[0].shape
    if len(shape) != 4:
        raise Misfit(f"an image is [N, C, H, W], but this is {types[0]}")
    window, stride = pair_of(attrs[0], "window"), pair_of(attrs[1], "stride")
    places = tuple(positions(d, k, s) for d, k, s in zip(shape[2:], window, stride, strict=True))
    return (window, stride), Type((*shape[:2], *window, *places), types[0].dtype)


def unpatches(types: list[Type], attrs: Attrs) -> Inferred:
    (shape, stride), made = given(types, attrs)
    x = types[0].shape
    window, stride = x[2:4], pair_of(stride, "stride")
    if len(x) != 6 or patches([made], (window, stride))[1].shape != x:
        raise Misfit(f"windows {types[0]} do not come from an image {show_shape(shape)}")
    return (shape, stride), made


def searchsorted(types: list[Type], attrs: Attrs) -> Inferred:
    if types[0].rank != 1:
        raise Misfit(f"places are searched in a list, but this is {types[0]}")
    return (bool(attrs[0]),), Type(types[1].shape, "int")


RULES: dict[str, Callable[[list[Type], Attrs], Inferred]] = {
    "patches": patches,
    "unpatches": unpatches,
    "searchsorted": searchsorted,
}
