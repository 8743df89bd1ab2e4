"""Comprehensions: `[e for i in range(N)]` is an array, `sum(e for ... if c)` a reduction; neither is ever a loop at a run.

The element is elaborated once, with an `Index` for every variable: what depends on it gets the loop as a leading axis
(`lift.py`), and closing the comprehension turns the loops into axes of the result.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from gradlang.check import derive, errors, indexing, lift, loops
from gradlang.check.errors import Problem
from gradlang.check.loops import Index, Loop, dims, together
from gradlang.check.program import POISON, Poison, Ref, Several, Value
from gradlang.check.scope import Env
from gradlang.ops.shapes import Misfit
from gradlang.record import changed, field, record
from gradlang.source import Span
from gradlang.syntax import ast
from gradlang.types import Dim, Size, Type, product

if TYPE_CHECKING:
    from gradlang.check.elaborate import Elaborator


@record
class Range:
    """`range(start, stop, step)`; without a stop it goes on for as long as what it is zipped with."""

    start: Dim | Index
    stop: Dim | Index | None
    step: int


@record
class Zipped:
    """`zip(a, b)` and `enumerate(a)`."""

    parts: tuple[Value, ...]


@record
class Generated:
    """The argument of `sum(e for ...)`: the element, the loops, and which counts there are (None: all)."""

    element: Value
    loops: tuple[Loop, ...]
    mask: Value
    span: Span


@record(frozen=False)
class Frame:
    """A comprehension under way."""

    env: Env
    loops: list[Loop] = field(default_factory=list)
    mask: Value = None
    guards: int = 0
    poisoned: bool = False


def comprehension(node: ast.Comprehension, env: Env, e: Elaborator) -> None:
    inner = [node.element, *(c.cond for c in node.clauses if isinstance(c, ast.If))]
    frame = Frame(Env(env.home, dict(env.names), derive.wanted(inner)))
    e.then(_finish, node, frame, e)
    e.push(node.element, frame.env)
    for clause in reversed(node.clauses):
        if isinstance(clause, ast.For):
            e.then(_for, clause, frame, e)
            e.push(clause.over, frame.env)
        else:
            e.then(_if, clause, frame, e)
            e.push(clause.cond, frame.env)


# ------------------------------------------------------------------ clauses
def _for(clause: ast.For, frame: Frame, e: Elaborator) -> None:
    over = e.values.pop()
    if isinstance(over, Poison):
        item: Value = POISON
        frame.poisoned = True
    else:
        try:
            item = iterate(over, clause, frame, e)
        except (Problem, Misfit) as problem:
            e.fail(problem, clause.over.span)
            item, frame.poisoned = POISON, True
    try:
        bind_targets(clause.targets, item, frame.env, clause.span, e)
    except (Problem, Misfit) as problem:
        e.fail(problem, clause.span)
        frame.env.names.update(dict.fromkeys(ast.shadowed(clause.targets), POISON))


def _if(clause: ast.If, frame: Frame, e: Elaborator) -> None:
    guard(frame, condition(e.values.pop(), clause.cond.span, e), e, clause.cond.span)


def condition(value: Value, span: Span, e: Elaborator) -> Value:
    kind = e.type_of(value, span) if isinstance(value, (Ref, Index)) else None
    if isinstance(value, (bool, Poison)) or (kind is not None and kind == Type((), "bool")):
        return value
    e.problems.append(e.placed(errors.kind("a condition is needed after `if`", span, "compare, for example `if x[i] > 0`")))
    return POISON


def guard(frame: Frame, mask: Value, e: Elaborator, span: Span) -> None:
    """From here on only the counts of a mask are there."""
    if mask is True:
        return
    if isinstance(mask, Poison):
        frame.poisoned = True
        return
    e.enter(mask, True)
    frame.guards += 1
    frame.mask = mask if frame.mask is None else e.apply("logical_and", (frame.mask, mask), (), span)


def iterate(over: Value, clause: ast.For, frame: Frame, e: Elaborator) -> Value:
    """The item of an iteration at every count of a new loop."""
    name = next(iter(ast.shadowed(clause.targets)), "_")
    span = clause.over.span
    if isinstance(over, Range):
        return _range_item(over, name, frame, e, span)
    length = _length(over, e, span)
    if length is None:
        raise Misfit("an endless range must be zipped with something that ends")
    return item_at(over, e.loop(name, length, span, frame.loops), e, span)


def _length(over: Value, e: Elaborator, span: Span) -> Dim | None:
    if isinstance(over, Range):
        return None if over.stop is None else _plain_length(over)
    if isinstance(over, Zipped):
        found: list[Dim] = []
        for part in over.parts:
            length = _length(part, e, span)
            if length is not None and length not in found:
                found.append(length)
        if len(found) > 1:
            raise Misfit(f"`zip` goes over {found[0]} and {found[1]} items", "all parts must be equally long")
        return found[0] if found else None
    type = e.type_of(over, span)
    if not type.shape:
        raise Misfit(f"this is {type}: there is nothing to go over", "write `range(n)` for the numbers from 0 to n - 1")
    return type.shape[0]


def _plain_length(over: Range) -> Dim:
    if isinstance(over.start, Index) or isinstance(over.stop, Index) or over.stop is None:
        raise Misfit("the bounds of a range that is zipped cannot depend on another loop")
    return _steps(over.start, over.stop, over.step)


def _steps(start: Dim, stop: Dim, step: int) -> Dim:
    """How many steps a range has. Raises Misfit where that is no formula of the sizes."""
    found = loops.steps(start, stop, step)
    if found is None:
        raise Misfit(
            f"range({start}, {stop}, {step}) has no fixed number of steps for every size",
            f"declare the size as a multiple: `[{abs(step)}*M]`",
        )
    return found


def item_at(over: Value, loop: Loop, e: Elaborator, span: Span) -> Value:
    if isinstance(over, Range):
        return loops.plus(over.start, Index(0, ((loop, over.step),)))
    if isinstance(over, Zipped):
        return Several(item_at(part, loop, e, span) for part in over.parts)
    return indexing.get(e, from_zero(e.ref(over, span)), [Index(0, ((loop, 1),))], span)


def from_zero(x: Ref | Poison) -> Ref | Poison:
    """A sequence as an array of its entries, wherever its indices start."""
    return changed(x, origin=x.origin and (0, *x.origin[1:])) if isinstance(x, Ref) else x


def _range_item(over: Range, name: str, frame: Frame, e: Elaborator, span: Span) -> Value:
    """The index of a range. Bounds that depend on outer loops become a box and a mask."""
    start, stop, step = over.start, over.stop, over.step
    if stop is None:
        raise Misfit("an endless range must be zipped with something that ends")
    way = loops.plus(stop, start, -1)
    if not isinstance(way, Index):
        length = _steps(0, way, step) if isinstance(start, Index) or isinstance(stop, Index) else _steps(start, stop, step)
        indexing.require_length(e, length, span)
        return loops.plus(start, Index(0, ((e.loop(name, length, span, frame.loops), step),)))
    if abs(step) != 1:
        raise Misfit(
            "a range whose length depends on another loop goes in steps of 1 or -1", "scale the index instead: `x[2*j]`"
        )
    first = loops.smallest(start) if step > 0 else loops.largest(start)
    last = loops.largest(stop) if step > 0 else loops.smallest(stop)
    length = _steps(first, last, step)
    indexing.require_length(e, length, span)
    item = loops.plus(first, Index(0, ((e.loop(name, length, span, frame.loops), step),)))
    if isinstance(start, Index):
        after = e.apply("greater_equal" if step > 0 else "less_equal", (item, start), (), span)
        imply(after, loops.plus(item, start, -1) if step > 0 else loops.plus(start, item, -1), e)
        guard(frame, after, e, span)
    if isinstance(stop, Index):
        gap = loops.plus(stop, item, -1) if step > 0 else loops.plus(item, stop, -1)
        before = e.apply("less" if step > 0 else "greater", (item, stop), (), span)
        imply(before, loops.plus(gap, -1), e)
        guard(frame, before, e, span)
    return item


def imply(cond: Value, fact: Dim | Index, e: Elaborator) -> None:
    """Notes that an index is 0 or more where a condition holds."""
    if isinstance(cond, Ref):
        e.implied[cond.id] = ([fact], [])


def bind_targets(targets: tuple[Any, ...], item: Value, env: Env, span: Span, e: Elaborator) -> None:
    """Names for an item: one name takes it whole, several take its parts."""
    if (twice := ast.bound_twice(targets)) is not None:
        raise Problem(errors.bound_twice(twice, span))
    stack: list[tuple[Any, Value]] = [(targets[0] if len(targets) == 1 else targets, item)]
    while stack:
        target, value = stack.pop()
        if isinstance(target, str):
            env.names[target] = derive.apart(value, e, span) if target in env.taken else value
        elif isinstance(value, Poison):
            stack.extend((t, POISON) for t in target)
        else:
            stack.extend(zip(target, parts(value, len(target), span, e), strict=True))


def parts(value: Value, count: int, span: Span, e: Elaborator) -> list[Value]:
    if isinstance(value, tuple) and len(value) == count:
        return list(value)
    if isinstance(value, Ref) and value.type.shape and value.type.shape[0] == count:
        return [indexing.get(e, from_zero(value), [k], span) for k in range(count)]
    many = value if isinstance(value, tuple) else value.type.shape if isinstance(value, Ref) else ()
    got = f"{len(value)} values" if isinstance(value, tuple) else f"{many[0]} values" if many else "one value"
    raise Misfit(f"{count} names are given for {got}", "give as many names as there are values")


# ------------------------------------------------------------------ the element, and the result
def _finish(node: ast.Comprehension, frame: Frame, e: Elaborator) -> None:
    element = e.values.pop()
    for _ in range(frame.guards):
        e.leave()
    if frame.poisoned or isinstance(element, Poison):
        e.values.append(POISON)
    elif not node.bracketed:
        e.values.append(Generated(element, tuple(frame.loops), frame.mask, node.span))
    elif frame.mask is not None:
        text = "the length of this list would depend on values or differ from row to row"
        raise Misfit(text, "a condition stands in a reduction (`sum(... if c)`), or write `x if c else 0`")
    else:
        e.values.append(listed(element, tuple(frame.loops), e, node.span))


def listed(element: Value, over: tuple[Loop, ...], e: Elaborator, span: Span) -> Value:
    """The array of a comprehension; several values are several arrays."""
    if isinstance(element, Several):
        return Several(listed(v, over, e, span) for v in element)
    made = close(element, over, e, span)
    if len(over) < 2 or not isinstance(made, Ref):
        return made
    shape = made.type.shape
    return e.apply("reshape", (made,), ((product(shape[: len(over)]), *shape[len(over) :]),), span)


def close(element: Value, over: tuple[Loop, ...], e: Elaborator, span: Span) -> Value:
    """The array of the values for all counts of some loops, which become its first axes."""
    x = e.ref(element, span)
    if isinstance(x, Poison):
        return POISON
    for loop in x.steps:
        if loop in over:
            raise Misfit("the loop of a recurrence cannot be closed inside it")
    return closed(x, over, e, span)


def closed(x: Ref, over: tuple[Loop, ...], e: Elaborator, span: Span) -> Ref:
    axes = together(x.axes, over)
    array = lift.Lift(e.sink, e.table, axes, e.at or span, e.scope).full(x)
    rest = tuple(loop for loop in axes if loop not in over)
    return Ref(array.id, Type(dims(over) + x.type.shape, x.type.dtype), rest, x.steps)


# What a term that is excluded counts as.
NEUTRAL: dict[str, Any] = {
    "sum": 0, "mean": 0, "prod": 1, "max": -math.inf, "min": math.inf, "logsumexp": -math.inf, "norm": 0, "any": False,
    "all": True,
}  # fmt: skip
REDUCTIONS = (*NEUTRAL, "var", "std", "argmax", "argmin")


def reduce(name: str, given: Generated, node: ast.Call, e: Elaborator) -> Value:
    """A reduction over the loops of its argument. The sum of a comprehension of vectors is a vector."""
    element, over, span = given.element, given.loops, node.span
    if node.keywords or len(node.args) > 1:
        raise Problem(errors.generator_alone(name, node.span))
    if given.mask is not None:
        if name not in NEUTRAL:
            takes = ", ".join(f"`{n}`" for n in NEUTRAL)
            raise Misfit(f"`{name}` takes no `if` in its comprehension", f"these do: {takes}")
        element = e.apply("where", (given.mask, element, NEUTRAL[name]), (), span)
    x = close(element, over, e, span)
    if not isinstance(x, Ref):
        return POISON
    axes: Any = tuple(range(len(over)))
    if name in ("argmax", "argmin"):
        if len(over) > 1:
            raise Misfit(f"`{name}` goes over one loop", f"`{name}([... for ... for ...])` counts the entries of a list")
        axes = 0
    if name == "mean" and given.mask is not None:
        total = e.apply("sum", (x,), (axes, False), span)
        there = close(e.apply("real", (given.mask,), (), span), over, e, span)
        return e.apply("div", (total, e.apply("sum", (there,), (axes, False), span)), (), span)
    return Reduction(x, axes)


@record
class Reduction:
    """A reduction that is left to the function of that name, over the first axes."""

    x: Ref
    axes: Any


# ------------------------------------------------------------------ what a `for` goes over
def range_of(args: list[Value], node: ast.Call, e: Elaborator) -> Range:
    for a in args:
        if isinstance(a, bool) or not isinstance(a, (int, Size, Index)):
            hint = "a bound is known before the call: write `const n = ...`, or use a size of an array"
            raise Misfit("the bounds of a range are whole numbers, sizes and indices of outer loops", hint)
    if node.keywords:
        raise Problem(errors.unknown_keyword("range", node.keywords[0].name, node.keywords[0].span, ()))
    if not 1 <= len(args) <= 3:
        raise Problem(errors.arity("range", len(args), "1 to 3 arguments", node.span, "write `range(start, stop, step)`"))
    start, stop, step = (0, args[0], 1) if len(args) == 1 else (args[0], args[1], args[2] if len(args) == 3 else 1)
    if not isinstance(step, int) or step == 0:
        raise Misfit("the step of a range is a whole number other than 0", "for example `range(n - 1, -1, -1)`")
    return Range(start, stop, step)


def enumerated(args: list[Value], node: ast.Call, e: Elaborator) -> Zipped:
    if len(args) not in (1, 2) or node.keywords:
        raise Problem(errors.arity("enumerate", len(args), "1 or 2 arguments", node.span, "write `enumerate(x)`"))
    start = args[1] if len(args) == 2 else 0
    if isinstance(start, bool) or not isinstance(start, (int, Size)):
        raise Misfit("`enumerate` starts from a whole number", "for example `enumerate(x, 1)`")
    return Zipped((Range(start, None, 1), args[0]))


def zipped(args: list[Value], node: ast.Call, e: Elaborator) -> Zipped:
    if not args or node.keywords:
        raise Problem(errors.arity("zip", len(args), "one array or more", node.span, "write `zip(x, y)`"))
    return Zipped(tuple(args))


ITERABLES = {"range": range_of, "enumerate": enumerated, "zip": zipped}
