"""Indexing: `x[1:, -1]`, `x[:, None]`, `x[idx]` become a slice, a reshape and a take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradlang.check import errors, lift, statics
from gradlang.check.errors import Problem
from gradlang.check.loops import Index, Loop, dims, inside, largest, plus, smallest, together
from gradlang.check.program import POISON, Poison, Ref, Value
from gradlang.ops.shapes import Misfit
from gradlang.record import record
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


@record
class Cut:
    """A slice with known bounds, each None where it was left out."""

    start: Value
    stop: Value
    step: Value


def _indexed(node: ast.Index, e: Elaborator) -> None:
    from gradlang.check import growing  # which indexes the rows it knows

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
    elif isinstance(value, growing.Growing):
        e.values.append(value.read(e, items, node.span))
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
    """x[items]: slices, whole numbers and indices of loops first (one `slice`), then new axes and the order of the loops (a
    `transpose`, a `reshape`), then index arrays."""
    if isinstance(x, Poison):
        return x
    used = sum(i is not None for i in items)
    if used > x.type.rank:
        raise Misfit(too_many(used, x.type))
    look = Look(e, x, span)
    seen = [loop for item in items if isinstance(item, Index) for loop in item.loops]
    look.shared = {loop for loop in seen if seen.count(loop) > 1}
    dims = iter(enumerate(x.type.shape))
    for item in [*items, *[Cut(None, None, None)] * (x.type.rank - used)]:
        if item is None:
            look.shape.append(1)
        else:
            look.item(item, *next(dims))
    made = look.cut()
    for axis, where in look.windows:
        at = _held(e, where, look.shape[axis], "within", span) if e.guards else where
        made = e.apply("take_axis", (made, at), (axis,), span)
    return _take(e, made, look.takes, span)


class Look:
    """One look into an array: what becomes of each of its axes."""

    def __init__(self, e: Elaborator, x: Ref, span: Span) -> None:
        self.e, self.x, self.span = e, x, span
        self.starts: list[Dim] = []
        self.lengths: list[Dim] = []
        self.steps: list[int] = []
        self.origin: Dim = 0  # the first index of the axis
        self.origins: list[tuple[int, Dim]] = []  # the first index of the axes that stay, by their place in `shape`
        self.shape: list[Dim] = []  # of the result, but for index arrays: they still have the whole axis
        self.loops: list[tuple[Loop, int]] = []  # loops that take the place of an axis
        self.shared: set[Loop] = set()  # loops that more than one axis runs along: a diagonal is no slice
        # (place in `shape`, index, how it is held inside: None if it is known to be, "" if the op sees to it)
        self.takes: list[tuple[int, Ref, str | None]] = []
        self.windows: list[tuple[int, Ref]] = []  # slices that move with a loop: each on its own axis, as slices are

    def item(self, item: Value, axis: int, dim: Dim) -> None:
        self.origin = self.x.origin[axis] if self.x.origin else 0
        if self.origin != 0:
            item = _moved(self.e, item, self.origin, dim, self.span)
        if isinstance(item, tuple):
            item = integers(self.e, item, self.span)
        if isinstance(item, Cut) and (isinstance(item.start, Index) or isinstance(item.stop, Index)):
            self.windows.append((len(self.shape), self.window(item, dim)))
            item = Cut(None, None, None)
        if isinstance(item, Index):
            loop = item.loops[0]
            plain = len(item.terms) == 1 and loop not in (*self.x.axes, *self.x.steps, *self.shared)
            check = None if inside(item, dim) else "nearest" if self.proved(item, dim) else "within"
            if check and not self.e.guards:
                self.require(item, dim)
                check = None
            if check is None and plain:
                self.put(item.base, loop.length, item.factor(loop))
                self.loops.append((loop, axis))
                return
            self.array(self.e.index_array(item, self.span), axis, dim, check)
        elif isinstance(item, Ref):
            self.array(_whole(item), axis, dim, "within" if self.e.guards else "")
        else:
            start, length, step = _bounds(self.e, item, dim, self.span, self.origin)
            self.put(start, length, step)
            if isinstance(item, Cut):
                whole = item.start is None and item.stop is None and step == 1
                self.origins.append((len(self.shape), self.origin if whole else 0))
                self.shape.append(length)

    def proved(self, item: Index, dim: Dim) -> bool:
        """Whether the conditions around say that an index is inside."""
        return self.e.proves(item) and self.e.proves(plus(sub(dim, 1), item, -1))

    def array(self, index: Ref, axis: int, dim: Dim, check: str | None) -> None:
        self.takes.append((len(self.shape), index, check))
        self.put(0, dim, 1)
        self.shape.append(dim)

    def put(self, start: Dim, length: Dim, step: int) -> None:
        self.starts.append(start)
        self.lengths.append(length)
        self.steps.append(step)

    def require(self, item: Index, dim: Dim, last: int = 1) -> None:
        """An index is in 0 to dim - last for every count."""
        low, high = smallest(item), largest(item)
        room = sub(sub(dim, last), high)
        for bound, left in ((low, low), (high, room)):
            # a negative number: wrong for every size for which the loops run at all
            if isinstance(left, int) and left < 0:
                names = [at.name for at in item.loops]
                raise Problem(errors.reaches(add(bound, self.origin), self.origin, dim, names, self.span, bool(last)))
        require(self.e, low, 0, self.span)
        require(self.e, room, 0, self.span)

    def window(self, item: Cut, dim: Dim) -> Ref:
        """`x[i:i + 3]`: as many entries at every count, from a place that moves."""
        start = 0 if item.start is None else item.start
        stop = dim if item.stop is None else item.stop
        length = plus(stop, start, -1) if all(isinstance(b, (int, Size, Index)) for b in (start, stop)) else None
        if length is None or isinstance(length, Index) or item.step is not None:
            raise Misfit("the length of a slice must be the same at every count of a loop", "for example `x[i:i + 3]`")
        if not self.e.guards:
            self.require(simple_index(start), dim, 0)
            self.require(simple_index(stop), dim, 0)
        iota = self.e.apply("iota", (), (length,), self.span)
        made = self.e.apply("add", (iota, start), (), self.span)
        assert isinstance(made, Ref)
        return made

    def cut(self) -> Value:
        """The array after the slice: loops in front, then the axes that stay and the new ones."""
        e, x, n = self.e, self.x, len(self.x.axes)
        lengths = dims(x.axes) + tuple(self.lengths)
        out = lift.plain(x)
        if any(s != 0 for s in self.starts) or lengths != out.type.shape or any(s != 1 for s in self.steps):
            starts, steps = (0,) * n + tuple(self.starts), (1,) * n + tuple(self.steps)
            out = e.raw("slice", out, (starts, lengths, steps), self.span)
        axes = together(x.axes, (loop for loop, _ in self.loops))
        if self.loops:
            where = {**{loop: k for k, loop in enumerate(x.axes)}, **{loop: n + axis for loop, axis in self.loops}}
            rest = [n + a for a in range(x.type.rank) if n + a not in where.values()]
            order = (*(where[loop] for loop in axes), *rest)
            if order != tuple(range(len(order))):
                out = e.raw("transpose", out, (order,), self.span)
        shape = dims(axes) + tuple(self.shape)
        if shape != out.type.shape:
            out = e.raw("reshape", out, (shape,), self.span)
        first = dict(self.origins) if not self.takes and not self.windows else {}
        origin = tuple(first.get(k, 0) for k in range(len(self.shape)))
        return Ref(out.id, Type(tuple(self.shape), x.type.dtype), axes, x.steps, origin if any(o != 0 for o in origin) else ())


def simple_index(at: Dim | Index) -> Index:
    return at if isinstance(at, Index) else Index(at, ())


def _moved(e: Elaborator, item: Value, origin: Dim, dim: Dim, span: Span) -> Value:
    """An index of an indexed definition that does not start at 0. From the end it is what it was."""
    if isinstance(item, Cut):
        start, stop = (b if b is None else _moved(e, b, origin, dim, span) for b in (item.start, item.stop))
        return Cut(start, stop, item.step)
    if isinstance(item, tuple):
        item = integers(e, item, span)
    if isinstance(item, Ref):
        item = _whole(item)
        stop = add(origin, dim)
        end = e.sink.leaf("size" if isinstance(stop, Size) else "const", (stop,), INT, e.at or span)
        held = _where_taken(e, item, origin, span)
        if held is not None:
            item = e.apply("earlier", (held, end), (origin, 1), span)
        return e.apply("sub", (item, origin), (), span)
    if isinstance(item, bool) or not isinstance(item, (int, Size, Index)) or (isinstance(item, int) and item < 0):
        return item
    made = plus(item, origin, -1)
    if not isinstance(made, Index) and not at_least(made, 0):
        if _negative(made):
            raise Problem(errors.before_first(item, origin, span))
        require(e, made, 0, span)
    return made


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
        raise Misfit(
            f"an index must be whole numbers, but this is {item.type}",
            "declare it as `input i : int` or `int[N]`; `//` divides whole numbers",
        )
    return item


def _bounds(e: Elaborator, item: Value, dim: Dim, span: Span, origin: Dim = 0) -> tuple[Dim, Dim, int]:
    """(start, length, step) of a slice or of one index on an axis of `dim` entries."""
    if not isinstance(item, Cut):
        if isinstance(item, bool) or not isinstance(item, (int, Size)):
            raise Misfit("an index is a whole number, a slice or an array of whole numbers")
        at = _from_end(item, dim)
        room = sub(sub(dim, at), 1)
        if any(isinstance(bound, int) and bound < 0 for bound in (at, room)):
            raise Problem(
                errors.out_of_range(item if isinstance(item, int) and item < 0 else add(item, origin), origin, dim, span)
            )
        require(e, at, 0, span)
        require(e, room, 0, span)
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
    return add(dim, at) if _negative(at) else at


def _negative(at: Dim) -> bool:
    return at < 0 if isinstance(at, int) else all(c < 0 for _, c in at.terms)


def require_length(e: Elaborator, length: Dim, span: Span) -> None:
    """Have the number of steps of a loop checked: a formula of sizes must not be negative."""
    require(e, length, 0, span, f"this range has {length} steps,")


def require(e: Elaborator, dim: Dim, low: int, span: Span, wrong: str = "this index is outside the array,") -> None:
    """Have a size checked at the call where it is not plain from its form."""
    if not at_least(dim, low):
        check = getattr(e.sink, "require", None)
        if check is not None:
            check(dim, low, e.at or span, wrong)


def _held(e: Elaborator, index: Ref, dim: Dim, check: str | None, span: Span) -> Value:
    """An index that is checked when its values are known. Where what it reads is not taken, it does not matter."""
    if not check:
        return index
    held = _where_taken(e, index, 0, span) if check == "within" else index
    return e.apply("nearest" if held is None else check, (index if held is None else held,), (dim,), span)


def _where_taken(e: Elaborator, index: Ref, other: Dim, span: Span) -> Ref | None:
    """An index where the current expression counts, another one elsewhere; None if a condition has an error."""
    here = e.taken_here(span)
    if here is None or here is True:
        return None if here is None else index
    spare = e.sink.leaf("size" if isinstance(other, Size) else "const", (other,), INT, e.at or span)
    made = e.apply("where", (here, index, spare), (), span)
    assert isinstance(made, Ref)
    return made


def _take(e: Elaborator, x: Value, takes: list[tuple[int, Ref, str | None]], span: Span) -> Value:
    """Index arrays on one axis or on neighbouring axes (which are flattened into one)."""
    if not takes or not isinstance(x, Ref):
        return x
    first = takes[0][0]
    shape = x.type.shape
    many = len(takes) > 1
    checked: list[Value] = []
    for axis, index, check in takes:
        checked.append(_held(e, index, shape[axis], "within" if check == "" and many else check, span))
    if [axis for axis, _, _ in takes] != list(range(first, first + len(takes))):
        if any(index.type.rank for _, index, _ in takes):
            raise Misfit("index arrays must stand on neighbouring axes")
        out: Value = x
        for (axis, _, _), index in reversed(list(zip(takes, checked, strict=True))):
            out = e.apply("take_axis", (out, index), (axis,), span)
        return out
    where: Value = checked[0]
    for (axis, _, _), index in zip(takes[1:], checked[1:], strict=True):
        width = e.sink.leaf("size" if isinstance(x.type.shape[axis], Size) else "const", (x.type.shape[axis],), INT, span)
        where = e.apply("add", (e.apply("mul", (where, width), (), span), index), (), span)
    if many:
        merged = (*shape[:first], product(shape[first : first + len(takes)]), *shape[first + len(takes) :])
        x = e.apply("reshape", (x,), (merged,), span)
    return e.apply("take_axis", (x, where), (first,), span)
