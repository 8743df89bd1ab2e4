"""The functions that build, cut and join arrays. All of them become a few structural ops of the table."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gradlang.check import matrices, statics, windows
from gradlang.check.indexing import Cut, get
from gradlang.check.program import Ref, Value
from gradlang.ops.shapes import Misfit, axes_of, axis_of, reduced, shape_of
from gradlang.record import record
from gradlang.source import Span
from gradlang.types import INT, Dim, Size, Type, add, at_least, exact_quotient, mul, product, sub

if TYPE_CHECKING:
    from gradlang.check.elaborate import Elaborator


# ------------------------------------------------------------------ functions over shapes
def _type(e: Elaborator, x: Value, span: Span) -> Type:
    return e.type_of(x, span)


def shape(e: Elaborator, span: Span, x: Value) -> Value:
    return _type(e, x, span).shape


def rank(e: Elaborator, span: Span, x: Value) -> Value:
    return _type(e, x, span).rank


def size(e: Elaborator, span: Span, x: Value, axis: Value = None) -> Value:
    dims = _type(e, x, span).shape
    return product(dims) if axis is None else dims[axis_of(axis, len(dims))]


def count(e: Elaborator, span: Span, x: Value, axis: Value = None) -> Value:
    dims = _type(e, x, span).shape
    return product(dims[a] for a in axes_of(axis, len(dims)))


def kept_shape(e: Elaborator, span: Span, x: Value, axis: Value = None) -> Value:
    dims = _type(e, x, span).shape
    return reduced(dims, axes_of(axis, len(dims)), True)


def reduced_shape(e: Elaborator, span: Span, x: Value, axis: Value = None, keepdims: Value = False) -> Value:
    dims = _type(e, x, span).shape
    return reduced(dims, axes_of(axis, len(dims)), bool(keepdims))


def reduced_last(e: Elaborator, span: Span, x: Value, axis: Value = None) -> Value:
    """x with the axes of a reduction merged into the last one."""
    x = e.ref(x, span)
    dims = _type(e, x, span).shape
    axes = axes_of(axis, len(dims))
    rest = [a for a in range(len(dims)) if a not in axes]
    if rest + list(axes) != list(range(len(dims))):
        x = e.apply("transpose", (x,), (tuple(rest) + axes,), span)
    merged = (*(dims[a] for a in rest), product(dims[a] for a in axes))
    return _reshape(e, x, merged, span)


def axis_shape(e: Elaborator, span: Span, x: Value, axis: Value) -> Value:
    """The shape of an array that has only one of the axes of x."""
    dims = _type(e, x, span).shape
    return tuple(d if a == axis % len(dims) else 1 for a, d in enumerate(dims))


def swapped(e: Elaborator, span: Span, rank: Value) -> Value:
    return (*range(rank - 2), rank - 1, rank - 2)


def inverse_permutation(e: Elaborator, span: Span, axes: Value) -> Value:
    return tuple(sorted(range(len(axes)), key=lambda i: axes[i]))


def is_none(e: Elaborator, span: Span, x: Value) -> Value:
    return x is None


def is_integer(e: Elaborator, span: Span, x: Value) -> Value:
    return isinstance(x, Ref) and x.type.dtype == "int"


# ------------------------------------------------------------------ functions that reorder and join
def _reshape(e: Elaborator, x: Value, shape: tuple[Dim, ...], span: Span) -> Value:
    if isinstance(x, Ref) and x.type.shape == shape:
        return x
    return e.apply("reshape", (x,), (shape,), span)


def flatten(e: Elaborator, span: Span, x: Value) -> Value:
    return _reshape(e, x, (product(_type(e, x, span).shape),), span)


def squeeze(e: Elaborator, span: Span, x: Value, axis: Value = None) -> Value:
    dims = _type(e, x, span).shape
    axes = tuple(i for i, d in enumerate(dims) if d == 1) if axis is None else axes_of(axis, len(dims))
    for a in axes:
        if dims[a] != 1:
            raise Misfit(f"axis {a} has length {dims[a]}: only an axis of length 1 can be dropped")
    return _reshape(e, x, reduced(dims, axes, False), span)


def expand_dims(e: Elaborator, span: Span, x: Value, axis: Value) -> Value:
    dims = list(_type(e, x, span).shape)
    axes = axis if isinstance(axis, tuple) else (axis,)
    total = len(dims) + len(axes)
    for a in sorted(axis_of(a, total) for a in axes):
        dims.insert(a, 1)
    return _reshape(e, x, tuple(dims), span)


def _slice_axis(e: Elaborator, x: Value, axis: int, cut: Cut, span: Span) -> Value:
    return get(e, e.ref(x, span), [*[Cut(None, None, None)] * axis, cut], span)


def flip(e: Elaborator, span: Span, x: Value, axis: Value = None) -> Value:
    dims = _type(e, x, span).shape
    for a in axes_of(axis, len(dims)):
        x = _slice_axis(e, x, a, Cut(None, None, -1), span)
    return x


def roll(e: Elaborator, span: Span, x: Value, shift: Value, axis: Value = None) -> Value:
    dims = _type(e, x, span).shape
    if axis is None:
        return _reshape(e, roll(e, span, flatten(e, span, x), shift, 0), dims, span)
    a = axis_of(axis, len(dims))
    length = dims[a]
    by = shift % max(length, 1) if isinstance(length, int) and isinstance(shift, int) else shift
    if by == 0:
        return x
    cut: Value = sub(0, by)
    return e.apply(
        "concat",
        (_slice_axis(e, x, a, Cut(cut, None, None), span), _slice_axis(e, x, a, Cut(None, cut, None), span)),
        (a,),
        span,
    )


def pad(e: Elaborator, span: Span, x: Value, pad_width: Value, value: Value = 0) -> Value:
    dims = _type(e, x, span).shape
    widths = pad_width if isinstance(pad_width, tuple) else ((pad_width, pad_width),) * len(dims)
    if len(widths) == 2 and not any(isinstance(w, tuple) for w in widths):
        widths = (widths,) * len(dims)
    if len(widths) != len(dims) or any(not isinstance(w, tuple) or len(w) != 2 for w in widths):
        raise Misfit(f"the widths of a pad of {len(dims)} axes are one number, a pair, or a pair an axis")
    shape = shape_of(tuple(add(add(d, lo), hi) for d, (lo, hi) in zip(dims, widths, strict=True)))
    starts, steps = tuple(w[0] for w in widths), (1,) * len(dims)
    out = e.apply("unslice", (x,), (shape, starts, steps), span)
    if statics.is_zero(value):
        return out
    inside = e.apply("unslice", (full(e, span, dims, 1),), (shape, starts, steps), span)
    return e.apply("where", (e.apply("equal", (inside, 1), (), span), out, value), (), span)


def shift(e: Elaborator, span: Span, x: Value, by: Value, axis: Value, fill: Value = 0) -> Value:
    """x moved by `by` places along an axis; what moves in is `fill`, what moves out is lost."""
    dims = _type(e, x, span).shape
    a = axis_of(axis, len(dims))
    forward = by > 0 if isinstance(by, int) else at_least(by, 0)
    if by == 0:
        return x
    width = by if forward else sub(0, by)
    length = dims[a]
    if isinstance(width, int) and isinstance(length, int):
        width = min(width, length)
    filler = full(e, span, (*dims[:a], width, *dims[a + 1 :]), fill)
    if forward:
        return e.apply("concat", (filler, _slice_axis(e, x, a, Cut(0, sub(dims[a], width), None), span)), (a,), span)
    return e.apply("concat", (_slice_axis(e, x, a, Cut(width, None, None), span), filler), (a,), span)


def repeat(e: Elaborator, span: Span, x: Value, repeats: Value, axis: Value = None) -> Value:
    if axis is None:
        x, axis = flatten(e, span, x), 0
    dims = _type(e, x, span).shape
    a = axis_of(axis, len(dims))
    (n,) = shape_of(repeats)
    wide = e.apply("broadcast_to", (expand_dims(e, span, x, a + 1),), ((*dims[: a + 1], n, *dims[a + 1 :]),), span)
    return _reshape(e, wide, (*dims[:a], mul(dims[a], n), *dims[a + 1 :]), span)


def tile(e: Elaborator, span: Span, x: Value, reps: Value) -> Value:
    reps = shape_of(reps)
    dims = _type(e, x, span).shape
    dims = (1,) * (len(reps) - len(dims)) + dims
    reps = (1,) * (len(dims) - len(reps)) + reps
    thin = _reshape(e, e.ref(x, span), tuple(d for pair in dims for d in (1, pair)), span)
    wide = e.apply("broadcast_to", (thin,), (tuple(d for r, s in zip(reps, dims, strict=True) for d in (r, s)),), span)
    return _reshape(e, wide, tuple(mul(r, s) for r, s in zip(reps, dims, strict=True)), span)


def split(e: Elaborator, span: Span, x: Value, sections: Value, axis: Value = 0) -> Value:
    dims = _type(e, x, span).shape
    a = axis_of(axis, len(dims))
    if isinstance(sections, tuple):
        edges: list[Value] = [0, *sections, dims[a]]
    else:
        width = exact_quotient(dims[a], sections) if isinstance(sections, int) and sections > 0 else None
        if width is None:
            raise Misfit(f"an axis of {dims[a]} entries cannot be split into {sections} equal parts")
        edges = [mul(width, i) for i in range(sections + 1)]
    return tuple(_slice_axis(e, x, a, Cut(lo, hi, None), span) for lo, hi in zip(edges, edges[1:], strict=False))


def full(e: Elaborator, span: Span, shape: Value, fill_value: Value) -> Value:
    return e.apply("broadcast_to", (fill_value,), (shape_of(shape),), span)


def zeros(e: Elaborator, span: Span, shape: Value) -> Value:
    return full(e, span, shape, 0)


def ones(e: Elaborator, span: Span, shape: Value) -> Value:
    return full(e, span, shape, 1)


def arange(e: Elaborator, span: Span, start: Value, stop: Value = None, step: Value = 1) -> Value:
    if stop is None:
        start, stop = 0, start
    for bound in (start, stop, step):
        if isinstance(bound, bool) or not isinstance(bound, (int, Size)):
            raise Misfit("the bounds of arange are whole numbers and sizes", "`linspace(a, b, n)` gives n steps from a to b")
    if step == 0:
        raise Misfit("the step of arange cannot be 0")
    if isinstance(start, int) and isinstance(stop, int) and isinstance(step, int):
        length: Dim | None = len(range(start, stop, step))
    else:
        length = exact_quotient(sub(stop, start), step)
    if length is None:
        raise Misfit(f"arange({start}, {stop}, {step}) is not a whole number of entries for every size")
    out = e.apply("iota", (), (length,), span)
    if step != 1:
        out = e.apply("mul", (out, e.sink.leaf("const", (step,), INT, span)), (), span)
    if start != 0:
        kind = "size" if isinstance(start, Size) else "const"
        out = e.apply("add", (out, e.sink.leaf(kind, (start,), INT, span)), (), span)
    return out


def einsum(e: Elaborator, span: Span, spec: Value, *arrays: Value) -> Value:
    return e.apply("einsum", arrays, (spec,), span)


@record
class Special:
    params: tuple[str, ...]
    required: int
    run: Callable[..., Any]


def zeinsum(e: Elaborator, span: Span, **given: Value) -> Value:
    return e.apply("zeinsum", tuple(given[k] for k in "abcdefgh" if k in given), (given["spec"],), span)


def _einsum(e: Elaborator, span: Span, **given: Value) -> Value:
    return einsum(e, span, given["spec"], *(given[k] for k in "abcdefgh" if k in given))


def _special(run: Callable[..., Any], text: str) -> Special:
    words = text.split()
    return Special(tuple(w.rstrip("?") for w in words), sum(not w.endswith("?") for w in words), run)


# Parameters that must be known before the program runs.
STATIC = frozenset("axis shift by pad_width repeats reps sections shape start stop step k offset axis1 axis2".split())
SPECIAL: dict[str, Special] = {
    "shape": _special(shape, "x"),
    "rank": _special(rank, "x"),
    "size": _special(size, "x axis?"),
    "count": _special(count, "x axis?"),
    "kept_shape": _special(kept_shape, "x axis?"),
    "reduced_shape": _special(reduced_shape, "x axis? keepdims?"),
    "reduced_last": _special(reduced_last, "x axis?"),
    "axis_shape": _special(axis_shape, "x axis"),
    "swapped": _special(swapped, "rank"),
    "inverse_permutation": _special(inverse_permutation, "axes"),
    "is_none": _special(is_none, "x"),
    "is_integer": _special(is_integer, "x"),
    "flatten": _special(flatten, "x"),
    "squeeze": _special(squeeze, "x axis?"),
    "expand_dims": _special(expand_dims, "x axis"),
    "flip": _special(flip, "x axis?"),
    "roll": _special(roll, "x shift axis?"),
    "pad": _special(pad, "x pad_width value?"),
    "shift": _special(shift, "x by axis fill?"),
    "repeat": _special(repeat, "x repeats axis?"),
    "tile": _special(tile, "x reps"),
    "split": _special(split, "x sections axis?"),
    "full": _special(full, "shape fill_value"),
    "zeros": _special(zeros, "shape"),
    "ones": _special(ones, "shape"),
    "arange": _special(arange, "start stop? step?"),
    **{name: _special(run, text) for name, (run, text) in windows.FUNCTIONS.items()},
    "einsum": _special(_einsum, "spec a b? c? d? e? f? g? h?"),
    "zeinsum": _special(zeinsum, "spec a b? c? d? e? f? g? h?"),
    **{name: _special(run, text) for name, (run, text) in matrices.FUNCTIONS.items()},
}
