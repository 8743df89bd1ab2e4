"""Implicit definitions: `E = solve(E - e*sin(E) - M for E from M)`.

The residual and its derivative by the unknown become the body of one `root` node; what they take from outside are its
arguments. Inside a comprehension there is one unknown for every count, and they are found together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradlang.check import errors, lift
from gradlang.check.comprehension import closed
from gradlang.check.derive import Derivative
from gradlang.check.errors import Problem
from gradlang.check.loops import Loop, dims, together
from gradlang.check.program import POISON, Node, Poison, Ref, Root, Tape, Value
from gradlang.check.scan import Cut
from gradlang.check.scope import Env
from gradlang.ops.op import ROOT
from gradlang.source import Span
from gradlang.syntax import ast
from gradlang.types import SCALAR, Type, product, show_shape

if TYPE_CHECKING:
    from gradlang.check.elaborate import Elaborator

GUESSES = 8


def solve(node: ast.Call, env: Env, e: Elaborator) -> None:
    given = node.args[0]
    for k in node.keywords:
        raise Problem(errors.unknown_keyword("solve", k.name, k.span, ()))
    if len(node.args) != 1 or not isinstance(given, ast.Implicit):
        raise Problem(errors.arity("solve", len(node.args), "one equation", node.span, "write `solve(f(x) for x from x0)`"))
    e.then(_solved, node, given, env, e)
    e.push(given.start, env)


def _solved(node: ast.Call, given: ast.Implicit, env: Env, e: Elaborator) -> None:
    start = e.ref(e.values.pop(), given.start.span)
    if isinstance(start, Poison):
        e.values.append(POISON)
        return
    made = e.apply("real", (start,), (), given.start.span) if start.type.dtype != "real" else start
    assert isinstance(made, Ref)
    e.values.append(Unknown(e, env, given, made, node.span).root())


class Unknown:
    def __init__(self, e: Elaborator, env: Env, given: ast.Implicit, start: Ref, span: Span) -> None:
        self.e, self.env, self.given, self.start, self.span = e, env, given, start, span
        self.taken = self.where_taken()
        if self.taken is not None:
            self.start = self.chosen(start, e.sink.leaf("const", (0.0,), SCALAR, span))

    def where_taken(self) -> Ref | None:
        """Whether the conditions around have the solution count; None if it always does."""
        here = self.e.taken_here(self.span) if self.e.guards else None
        if isinstance(here, Ref) and here.type.shape:
            here = self.e.apply("any", (here,), (None, False), self.span)
        return here if isinstance(here, Ref) else None

    def chosen(self, value: Ref, other: Ref) -> Ref:
        """A value where the solution counts; elsewhere another, so that there 0 solves the equation."""
        if self.taken is None:
            return value
        made = self.e.apply("where", (self.taken, value, other), (), self.span)
        assert isinstance(made, Ref)
        return made

    def root(self) -> Value:
        """The node of the solution. What loops the unknown runs along is found by trying."""
        e, axes = self.e, self.start.axes
        mark = e.mark()
        for _ in range(GUESSES):
            e.recover(mark)
            base = len(e.nodes)
            loop = e.loop(self.given.name.id, 1, self.span, [], scan=True)
            x = self.leaf(loop, axes)
            env = Env(self.env.home, {**self.env.names, self.given.name.id: x})
            value = e.eval(self.given.residual, env)
            residual = e.ref(value, self.given.residual.span)
            if isinstance(residual, Poison):
                return POISON
            self.compare(residual)
            if loop not in residual.steps:
                raise Problem(errors.no_unknown(self.given.name.id, self.given.residual.span))
            residual = self.chosen(residual, x)
            slope = Derivative(e, self.span, "").of("jacobian", residual, x, [])
            found = together(axes, residual.axes, slope.axes)
            if found == axes:
                return self.extract(base, loop, axes, residual, slope)
            axes = found
        raise Problem(errors.no_unknown(self.given.name.id, self.span))

    def leaf(self, loop: Loop, axes: tuple[Loop, ...]) -> Ref:
        type = Type(dims(axes) + self.start.type.shape)
        made = self.e.sink.leaf("input", (("unknown", 0, None, loop),), type, self.given.name.span)
        return Ref(made.id, self.start.type, axes, (loop,))

    def compare(self, residual: Ref) -> None:
        if residual.type.dtype == "bool":
            raise Problem(errors.residual_is_condition(self.given.residual.span))
        wanted, got = self.start.type.shape, residual.type.shape
        if wanted != got:
            shapes = ["a scalar" if not s else show_shape(s) for s in (got, wanted)]
            raise Problem(errors.residual_shape(self.given.name.id, shapes[0], shapes[1], self.given.residual.span))

    def newton(self, residual: Ref, slope: Ref) -> Ref:
        """The step of Newton's method."""
        e, shape = self.e, residual.type.shape
        if not shape:
            made = e.apply("div", (residual, slope), (), self.span)
        else:
            n = product(shape)
            matrix = e.apply("reshape", (slope,), ((n, n),), self.span)
            made = e.apply("solve", (matrix, e.apply("reshape", (residual,), ((n,),), self.span)), (), self.span)
            made = e.apply("reshape", (made,), (shape,), self.span)
        assert isinstance(made, Ref)
        return made

    def extract(self, base: int, loop: Loop, axes: tuple[Loop, ...], residual: Ref, slope: Ref) -> Ref:
        e = self.e
        step = self.newton(residual, slope)
        outputs = [closed_over(r, axes, e, self.span) for r in (residual, slope, step)]
        nodes: list[Node] = e.nodes
        tail = nodes[base:]
        del nodes[base:]
        cut = Cut(nodes, tail, base, loop)
        places = [cut.place_of(r.id) for r in outputs]
        body = Tape(tuple(cut.body), tuple(zip(("residual", "slope", "step"), places, strict=True)))
        start = closed(self.start, axes, e, self.span)
        type = Type(dims(axes) + self.start.type.shape)
        args = [start, *(Ref(i, nodes[i].type) for i in cut.held.values())]
        made = e.sink.emit(ROOT, args, (Root(self.given.name.id, len(axes), body),), type, e.at or self.span, e.scope)
        steps = tuple(at for at in together(residual.steps, slope.steps, self.start.steps) if at is not loop)
        return Ref(made.id, self.start.type, axes, steps)


def closed_over(r: Ref, axes: tuple[Loop, ...], e: Elaborator, span: Span) -> Ref:
    """A value for every count of some loops."""
    if r.axes == axes:
        return r
    made = lift.Lift(e.sink, e.table, axes, e.at or span, e.scope).full(r)
    return Ref(made.id, r.type, axes, r.steps)
