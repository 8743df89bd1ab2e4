"""Derivatives inside formulas: `grad(y, x)`, `jacobian`, `hessian`, `jvp(y, x, v)`, `vjp(y, x, u)`, `hvp(y, x, v)`.

They become nodes that the compiler removes. x is a value by its name: what does not go through it is held fixed. Inside a
comprehension a derivative is taken at every count of the loops; one that goes through values which the counts share needs
a cotangent of its own for every count.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from gradlang.check import errors, lift
from gradlang.check.errors import Problem
from gradlang.check.growing import Growing
from gradlang.check.loops import Loop, dims, together
from gradlang.check.program import POISON, Poison, Ref, Value
from gradlang.check.scope import Env
from gradlang.ops.op import DERIVATIVES
from gradlang.ops.shapes import Misfit
from gradlang.source import Span
from gradlang.syntax import ast
from gradlang.types import SCALAR, Shape, Type

if TYPE_CHECKING:
    from gradlang.check.elaborate import Elaborator

ARITY = {"grad": 2, "jacobian": 2, "hessian": 2, "jvp": 3, "vjp": 3, "hvp": 3}
CALLED = ("jvp", "vjp", "hvp")  # no keywords: a program may have functions of these names


def derive(kind: str, node: ast.Derive | ast.Call, env: Env, e: Elaborator) -> None:
    hint = {"jvp": "jvp(y, x, v)", "vjp": "vjp(y, x, u)", "hvp": "hvp(y, x, v)"}.get(kind, f"{kind}(y, x)")
    for k in node.keywords:
        raise Problem(errors.unknown_keyword(kind, k.name, k.span, ()))
    if len(node.args) != ARITY[kind]:
        wanted = f"{ARITY[kind]} arguments"
        raise Problem(errors.arity(kind, len(node.args), wanted, node.span, f"write `{hint}`"))
    by = node.args[1]
    if not named(by, env):
        raise Problem(errors.not_a_name(kind, by.span))
    e.then(_derived, node, kind, e)
    for expr in reversed(node.args):
        e.push(expr, env)


def named(by: ast.Expr, env: Env) -> bool:
    """Whether an expression is the name of a value: also `file.name`, and an entry of a sequence under way."""
    if isinstance(by, ast.Index) and isinstance(by.value, ast.Name):
        return isinstance(env.names.get(by.value.id), Growing)
    while isinstance(by, ast.Attribute):
        by = by.value
    return isinstance(by, ast.Name)


def _derived(node: ast.Derive | ast.Call, kind: str, e: Elaborator) -> None:
    values = e.pop(ARITY[kind])
    if any(isinstance(v, Poison) for v in values):
        e.values.append(POISON)
        return
    by = node.args[1]
    if not isinstance(values[1], Ref):
        raise Problem(errors.not_differentiable(shown(by), "a constant", by.span))
    refs = [e.ref(v, a.span) for v, a in zip(values, node.args, strict=True)]
    if any(isinstance(r, Poison) for r in refs):
        e.values.append(POISON)
        return
    y, x, *rest = (r for r in refs if isinstance(r, Ref))
    if x.type.dtype != "real":
        raise Problem(errors.not_differentiable(shown(by), f"of type {x.type}", by.span))
    e.derived[e.at or node.span] = (shown(node.args[0]), shown(by))
    maker = Derivative(e, node.span, shown(node.args[0]))
    e.values.append(maker.of(kind, maker.real(y), x, [maker.real(r) for r in rest]))


def shown(expr: ast.Expr) -> str:
    return expr.id if isinstance(expr, ast.Name) else expr.name if isinstance(expr, ast.Attribute) else ""


class Derivative:
    def __init__(self, e: Elaborator, span: Span, name: str) -> None:
        self.e, self.span, self.name = e, span, name

    def real(self, r: Ref) -> Ref:
        if r.type.dtype == "real":
            return r
        made = self.e.apply("real", (r,), (), self.span)
        assert isinstance(made, Ref)
        return made

    def of(self, kind: str, y: Ref, x: Ref, rest: list[Ref]) -> Ref:
        steps = together(y.steps, x.steps, *(r.steps for r in rest))
        for loop in steps:
            y, x, *rest = (self.e.row(r, loop, self.span) if loop in r.axes else r for r in (y, x, *rest))
        if kind in ("grad", "hessian", "hvp") and y.type.shape:
            raise Problem(errors.not_scalar(self.name, str(y.type), self.span, kind))
        if kind == "grad":
            made = self.gradient(y, x)
        elif kind == "jacobian":
            made = self.jacobian(y, x)
        elif kind == "hessian":
            made = self.jacobian(self.gradient(y, x), x)
        elif kind == "jvp":
            made = self.forward(y, x, self.vector(rest[0], x.type, "vector"))
        elif kind == "hvp":
            made = self.forward(self.gradient(y, x), x, self.vector(rest[0], x.type, "vector"))
        else:
            made = self.reverse(y, x, self.vector(rest[0], y.type, "cotangent"), ())
        return Ref(made.id, made.type, made.axes, together(made.steps, steps))

    def node(self, op: str, refs: Sequence[Ref], type: Type, steps: Iterable[Loop]) -> Ref:
        e = self.e
        made = e.sink.emit(DERIVATIVES[op], [lift.plain(r) for r in refs], (), type, e.at or self.span, e.scope)
        return Ref(made.id, type, (), tuple(steps))

    def vector(self, v: Ref, type: Type, what: str) -> Ref:
        if v.type.shape == type.shape:
            return v
        if v.type.shape:
            raise Misfit(f"the {what} is {v.type}, but it must be {type}")
        made = self.e.apply("broadcast_to", (v,), (type.shape,), self.span)
        assert isinstance(made, Ref)
        return made

    def raw(self, op: str, x: Ref, attrs: Shape | tuple[int, ...]) -> Ref:
        return self.e.raw(op, x, (tuple(attrs),), self.span)

    # -------------------------------------------------------------- one derivative at every count of the loops of y
    def gradient(self, y: Ref, x: Ref) -> Ref:
        if any(loop not in x.axes for loop in y.axes):
            one = self.e.sink.leaf("const", (1.0,), SCALAR, self.span)
            return self.reverse(y, x, one, ())
        made = self.node("grad", (y, x), lift.plain(x).type, ())
        return Ref(made.id, x.type, x.axes)

    def jacobian(self, y: Ref, x: Ref) -> Ref:
        if not y.axes and not x.axes:
            return self.node("jacobian", (y, x), Type(y.type.shape + x.type.shape), ())
        own = tuple(Loop("", d, 10**9 + k) for k, d in enumerate(y.type.shape))
        return self.reverse(y, x, self.identity(own, y.type.shape), own)

    def identity(self, own: tuple[Loop, ...], shape: Shape) -> Ref:
        """1 where the counts of `own` are the indices of an entry, one for each axis."""
        e = self.e
        masks = []
        for axis, loop in enumerate(own):
            place = e.raw("reshape", self.iota(loop), ((loop.length, *(1,) * (len(shape) - axis - 1)),), self.span)
            count = Ref(self.iota(loop).id, Type((), "int"), (loop,))
            masks.append(e.apply("equal", (place, count), (), self.span))
        made: Value = e.sink.leaf("const", (1.0,), SCALAR, self.span)
        for k, mask in enumerate(masks):
            made = e.apply("real", (mask,), (), self.span) if not k else e.apply("where", (mask, made, 0.0), (), self.span)
        assert isinstance(made, Ref)
        return made

    def iota(self, loop: Loop) -> Ref:
        e = self.e
        return e.sink.emit(e.table["iota"], [], (loop.length,), Type((loop.length,), "int"), self.span, e.scope)

    def reverse(self, y: Ref, x: Ref, u: Ref, own: tuple[Loop, ...]) -> Ref:
        """The cotangent of x for the cotangent u of y. `own` are loops over several cotangents, which become the first
        axes of the result; so do the loops of y that x does not share, each count of which has a cotangent of its own."""
        e = self.e
        apart = tuple(loop for loop in y.axes if loop not in x.axes)
        # deeper than all loops of the text: loops of one depth would have no order
        twins = {loop: Loop(loop.name, loop.length, 10**6 + loop.depth) for loop in apart}
        for loop, twin in twins.items():
            here, there = Ref(self.iota(loop).id, Type((), "int"), (loop,)), Ref(self.iota(twin).id, Type((), "int"), (twin,))
            made = e.apply("where", (e.apply("equal", (here, there), (), self.span), u, 0.0), (), self.span)
            assert isinstance(made, Ref)
            u = made
        many = tuple(loop for loop in u.axes if loop not in y.axes)
        full = lift.Lift(e.sink, e.table, together(u.axes, y.axes), e.at or self.span, e.scope).full(
            Ref(u.id, u.type, u.axes) if u.type.shape == y.type.shape else self.spread(u, y)
        )
        axes = together(u.axes, y.axes)
        order = [axes.index(loop) for loop in (*many, *y.axes)]
        full = self.raw("transpose", full, (*order, *range(len(axes), full.type.rank))) if order != sorted(order) else full
        whole = lift.plain(x).type
        made_ = self.node("vjp", (y, full, x), Type(dims(many) + whole.shape), ())
        back = {twin: loop for loop, twin in twins.items()}
        found = [back.get(loop, loop) for loop in many]
        outer = [loop for loop in found if loop not in own]
        kept = together(outer, x.axes)
        where = {loop: k for k, loop in enumerate((*found, *x.axes))}
        n = len(found) + len(x.axes)
        rest = range(n, n + x.type.rank)
        moved = (*(where[loop] for loop in kept), *(where[loop] for loop in own), *rest)
        if moved != tuple(range(len(moved))):
            made_ = self.raw("transpose", made_, moved)
        return Ref(made_.id, Type(dims(own) + x.type.shape), kept)

    def spread(self, u: Ref, y: Ref) -> Ref:
        made = self.e.apply("broadcast_to", (u,), (y.type.shape,), self.span)
        assert isinstance(made, Ref)
        return made

    def forward(self, y: Ref, x: Ref, v: Ref) -> Ref:
        """The tangent of y for the tangent v of x; loops that only v has make several tangents.

        A loop that y and v have and x has not gives every count of y all tangents, of which it takes its own."""
        e = self.e
        twins = {loop: Loop(loop.name, loop.length, loop.depth) for loop in v.axes if loop in y.axes and loop not in x.axes}
        v = Ref(v.id, v.type, tuple(twins.get(loop, loop) for loop in v.axes), v.steps)
        axes = together(v.axes, x.axes)
        many = tuple(loop for loop in axes if loop not in x.axes)
        full = lift.Lift(e.sink, e.table, axes, e.at or self.span, e.scope).full(v)
        order = [axes.index(loop) for loop in (*many, *x.axes)]
        full = self.raw("transpose", full, (*order, *range(len(axes), full.type.rank))) if order != sorted(order) else full
        whole = lift.plain(y).type
        made = self.node("jvp", (y, x, full), Type(dims(many) + whole.shape), ())
        kept = together(many, y.axes)
        moved = (*((*many, *y.axes).index(loop) for loop in kept), *range(len(kept), made.type.rank))
        if moved != tuple(range(len(moved))):
            made = self.raw("transpose", made, moved)
        out = Ref(made.id, y.type, kept)
        for loop, twin in twins.items():
            out = self.own(out, loop, twin)
        return out

    def own(self, r: Ref, loop: Loop, twin: Loop) -> Ref:
        """Of the values for all counts of two equal loops those where the counts are equal."""
        from gradlang.check.comprehension import closed  # which knows derivatives by loop variables

        here, there = (Ref(self.iota(at).id, Type((), "int"), (at,)) for at in (loop, twin))
        made = self.e.apply("where", (self.e.apply("equal", (here, there), (), self.span), r, 0.0), (), self.span)
        assert isinstance(made, Ref)
        total = self.e.apply("sum", (closed(made, (twin,), self.e, self.span),), ((0,), False), self.span)
        assert isinstance(total, Ref)
        return total


# ------------------------------------------------------------------ names that derivatives are taken by
def wanted(exprs: Iterable[ast.Expr]) -> frozenset[str]:
    """The names by which derivatives are taken in some expressions."""
    out = set()
    for expr in exprs:
        for node in ast.walk(expr):
            called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLED
            if (isinstance(node, ast.Derive) or called) and len(node.args) > 1:  # type: ignore[union-attr]
                by = node.args[1]  # type: ignore[union-attr]
                if isinstance(by, ast.Name):
                    out.add(by.id)
    return frozenset(out)


def taken_in(fn: ast.Function) -> frozenset[str]:
    """The names by which a function takes derivatives."""
    exprs = list(fn.result)
    stack: list[ast.Define | ast.Loop] = list(fn.body)
    while stack:
        line = stack.pop()
        if isinstance(line, ast.Loop):
            stack.extend(line.body)
        else:
            exprs.append(line.value)
    return wanted(exprs)


def keep_apart(env: Env, e: Elaborator, span: Span) -> None:
    """Makes the arguments of a function by which it takes derivatives nodes of their own, where they are none: numbers,
    and values that another argument has too. Other arguments stay what they are outside: what the caller computed from
    one of them depends on it."""
    given = dict(env.names)
    for name in sorted(env.taken & env.names.keys()):
        value = given[name]
        same = [v for v in given.values() if isinstance(v, Ref) and isinstance(value, Ref) and v.id == value.id]
        if not isinstance(value, Ref) or len(same) > 1:
            env.names[name] = apart(value, e, span)


def apart(value: Value, e: Elaborator, span: Span) -> Value:
    """A value as a node of its own, so that a derivative by it means it alone."""
    if isinstance(value, (Poison, str)) or value is None or isinstance(value, bool):
        return value
    try:
        ref = e.ref(value, span)
    except Problem:
        return value
    if isinstance(ref, Poison) or ref.type.dtype != "real":
        return value
    array = lift.plain(ref)
    made = e.sink.emit(e.table["mark"], [array], (len(e.nodes),), array.type, e.at or span, e.scope)
    return Ref(made.id, ref.type, ref.axes, ref.steps)
