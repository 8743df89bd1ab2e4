"""Indexing: `x[1:, -1]`, `x[:, None]`, `x[idx]` become a slice, a reshape and a take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradlang.check import errors, statics
from gradlang.check.errors import Problem
from gradlang.check.program import POISON, Poison, Ref, Value
from gradlang.ops.shapes import Misfit
from gradlang.source import Span
from gradlang.syntax import ast
from gradlang.types import INT, Dim, Size, Type, add, at_least, exact_quotient, product, sub

if TYPE_CHECKING:
    from gradlang.check.elaborate import Elaborator
    from gradlang.check.scope import Env


def index(node: ast.Index, env: Env, e: Elaborator) -> None:
    e.then(_indexed, node, e)
    for item in reversed(node.items):
        parts = (item.start, item.stop, item.step) if isinstance(item, ast.Slice) else (item,)
        for part in reversed(parts):
            if part is not None:
                e.push(part, env)
    e.push(node.value, env)


@dataclass(frozen=True, slots=True)
class Cut:
    """A slice with known bounds, each None where it was left out."""

    start: Value
    stop: Value
    step: Value


def _indexed(node: ast.Index, e: Elaborator) -> None:
    count = sum(sum(p is not None for p in (i.start, i.stop, i.step)) if isinstance(i, ast.Slice) else 1 for i in node.items)
    parts = iter(e.pop(count))
    items: list[Value] = []
    for i in node.items:
        if isinstance(i, ast.Slice):
            items.append(Cut(*(None if p is None else next(parts) for p in (i.start, i.stop, i.step))))
        else:
            items.append(next(parts))
    value = e.values.pop()
    if any(isinstance(v, Poison) for v in (value, *items)):
        e.values.append(POISON)
    elif isinstance(value, tuple) and len(items) == 1 and (picked := _static_index(value, items[0])) is not None:
        e.values.append(picked)
    else:
        e.values.append(get(e, e.ref(value, node.span), items, node.span))


def _static_index(value: tuple[Value, ...], item: Value) -> Value | None:
    if isinstance(item, int) and not isinstance(item, bool) and -len(value) <= item < len(value):
        return value[item]
    if isinstance(item, Cut) and all(p is None or isinstance(p, int) for p in (item.start, item.stop, item.step)):
        return value[slice(item.start, item.stop, item.step)]
    return None


def get(e: Elaborator, x: Ref | Poison, items: list[Value], span: Span) -> Value:
    """x[items]: slices and whole numbers first (one `slice`), then new axes (one `reshape`), then index arrays."""
    if isinstance(x, Poison):
        return x
    used = sum(i is not None for i in items)
    if used > x.type.rank:
        raise Misfit(too_many(used, x.type))
    starts: list[Dim] = []
    lengths: list[Dim] = []
    steps: list[int] = []
    shape: list[Dim] = []
    takes: list[tuple[int, Ref]] = []
    dims = iter(x.type.shape)
    for item in [*items, *[Cut(None, None, None)] * (x.type.rank - used)]:
        if item is None:
            shape.append(1)
            continue
        dim = next(dims)
        if isinstance(item, tuple):
            item = integers(e, item, span)
        if isinstance(item, Ref):
            takes.append((len(shape), _whole(item)))
            item = Cut(None, None, None)
        start, length, step = _bounds(e, item, dim, span)
        starts.append(start)
        lengths.append(length)
        steps.append(step)
        if isinstance(item, Cut):
            shape.append(length)
    out: Value = x
    if any(s != 0 for s in starts) or tuple(lengths) != x.type.shape or any(s != 1 for s in steps):
        out = e.apply("slice", (out,), (tuple(starts), tuple(lengths), tuple(steps)), span)
    if tuple(shape) != tuple(lengths):
        out = e.apply("reshape", (out,), (tuple(shape),), span)
    return _take(e, out, takes, span)


def too_many(used: int, type: Type) -> str:
    given = "one index is" if used == 1 else f"{used} indices are"
    if not type.rank:
        return f"{given} given for a scalar, which has no axes"
    return f"{given} given for {type}, which has {type.rank} {'axis' if type.rank == 1 else 'axes'}"


def integers(e: Elaborator, items: tuple[Value, ...], span: Span) -> Ref:
    """A list of whole numbers, written as a literal, as an array of indices."""
    if statics.nested(items) is None or statics.ragged(items):
        raise Misfit("a list of indices must hold whole numbers")
    stack: list[Value] = [items]
    while stack:
        item = stack.pop()
        if isinstance(item, tuple):
            stack.extend(item)
        elif isinstance(item, bool):
            raise Misfit(MASK, MASK_HELP)
        elif not isinstance(item, int):
            raise Misfit(f"an index must be a whole number, but this is {item}")
    return e.sink.leaf("array", (items,), Type(statics.static_shape(items), "int"), e.at or span)


MASK = "a mask cannot pick entries: the size of the result would depend on its values"
MASK_HELP = "multiply by the mask, or use `where(mask, x, 0)`"


def _whole(item: Ref) -> Ref:
    if item.type.dtype == "bool":
        raise Misfit(MASK, MASK_HELP)
    if item.type.dtype != "int":
        raise Misfit(f"an index must be whole numbers, but this is {item.type}", "declare it as `input i : int` or `int[N]`")
    return item


def _bounds(e: Elaborator, item: Value, dim: Dim, span: Span) -> tuple[Dim, Dim, int]:
    """(start, length, step) of a slice or of one index on an axis of `dim` entries."""
    if not isinstance(item, Cut):
        if isinstance(item, bool) or not isinstance(item, (int, Size)):
            raise Misfit("an index is a whole number, a slice or an array of whole numbers")
        at = _from_end(item, dim)
        if isinstance(at, int) and isinstance(dim, int) and not 0 <= at < dim:
            raise Problem(errors.out_of_range(item if isinstance(item, int) else at, str(dim), span))
        require(e, at, 0, span)
        require(e, sub(sub(dim, at), 1), 0, span)
        return at, 1, 1
    step = 1 if item.step is None else item.step
    if isinstance(step, bool) or not isinstance(step, int) or step == 0:
        raise Misfit("the step of a slice is a whole number other than 0")
    for bound in (item.start, item.stop):
        if bound is not None and (isinstance(bound, bool) or not isinstance(bound, (int, Size))):
            raise Misfit("the bounds of a slice are whole numbers and sizes")
    if isinstance(dim, int) and not isinstance(item.start, Size) and not isinstance(item.stop, Size):
        found = range(dim)[item.start : item.stop : step]
        return (found.start if len(found) else 0), len(found), step
    if step < 0:
        if item.start is None and item.stop is None and step == -1:
            return sub(dim, 1), dim, -1
        raise Misfit("a slice that runs backwards over a size of unknown length must be `[::-1]`")
    start: Dim = 0 if item.start is None else _from_end(item.start, dim)
    stop: Dim = dim if item.stop is None else _from_end(item.stop, dim)
    require(e, start, 0, span)
    require(e, sub(dim, stop), 0, span)
    length = sub(stop, start)
    require(e, length, 0, span)
    if step > 1:
        # every step-th entry: the number of entries rounded up, where that is a whole number for every size
        whole = next((q for r in range(step) if (q := exact_quotient(add(length, r), step)) is not None), None)
        if whole is None:
            raise Misfit(
                f"a step of {step} over {length} entries does not give a whole number of entries for every size",
                f"declare the size as a multiple: `[{step}*M]`",
            )
        length = whole
    return start, length, step


def _from_end(at: Dim, dim: Dim) -> Dim:
    negative = at < 0 if isinstance(at, int) else all(c < 0 for _, c in at.terms)
    return add(dim, at) if negative else at


def require(e: Elaborator, dim: Dim, low: int, span: Span) -> None:
    """Have a size checked at the call where it is not plain from its form."""
    if not at_least(dim, low):
        check = getattr(e.sink, "require", None)
        if check is not None:
            check(dim, low, e.at or span)


def _take(e: Elaborator, x: Value, takes: list[tuple[int, Ref]], span: Span) -> Value:
    """Index arrays on one axis or on neighbouring axes (which are flattened into one)."""
    if not takes or not isinstance(x, Ref):
        return x
    first = takes[0][0]
    if [axis for axis, _ in takes] != list(range(first, first + len(takes))):
        raise Misfit("index arrays must stand on neighbouring axes")
    many = len(takes) > 1
    shape = x.type.shape
    check = "nearest" if e.guarded else "within" if many else None
    checked = [e.apply(check, (index,), (shape[axis],), span) if check else index for axis, index in takes]
    where: Value = checked[0]
    for (axis, _), index in zip(takes[1:], checked[1:], strict=True):
        width = e.sink.leaf("size" if isinstance(x.type.shape[axis], Size) else "const", (x.type.shape[axis],), INT, span)
        where = e.apply("add", (e.apply("mul", (where, width), (), span), index), (), span)
    if many:
        merged = (*shape[:first], product(shape[first : first + len(takes)]), *shape[first + len(takes) :])
        x = e.apply("reshape", (x,), (merged,), span)
    return e.apply("take_axis", (x, where), (first,), span)
