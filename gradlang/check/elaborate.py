"""Expressions to typed nodes: the one place that gives syntax its meaning.

The elaborator evaluates an expression with an explicit stack of work, so that the depth of a formula is bounded by memory
only. What it computes is a `Value`: a number, size or list that is known now (`Static`), or a `Ref` to a node that it asked
a sink to make. The same elaborator reads the user's program (the sink is a `Program`) and the rules of the op table (the
sink is a tape under construction).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from gradlang.check import calls, errors, indexing, statics
from gradlang.check.errors import Problem
from gradlang.check.infer import infer
from gradlang.check.program import POISON, Poison, Ref, Value
from gradlang.check.scope import Env
from gradlang.diagnostics import Diagnostic
from gradlang.ops.op import Op
from gradlang.ops.shapes import Misfit
from gradlang.ops.table import OpTable
from gradlang.source import Span
from gradlang.syntax import ast
from gradlang.types import INT, SCALAR, Size, Type


class Sink(Protocol):
    """Where nodes go. `emit` may return a node that exists already."""

    def emit(self, op: Op, args: list[Ref], attrs: tuple[Any, ...], type: Type, span: Span, scope: tuple[str, ...]) -> Ref: ...

    def leaf(self, op: str, attrs: tuple[Any, ...], type: Type, span: Span) -> Ref: ...


INDEXED = ("take_axis", "scatter_add", "take_along", "scatter_along")
Step = tuple[Callable[..., None], tuple[Any, ...]]


class Elaborator:
    def __init__(self, table: OpTable, sink: Sink) -> None:
        self.table, self.sink = table, sink
        self.work: list[Step] = []
        self.values: list[Value] = []
        self.problems: list[Diagnostic] = []
        self.trail: list[tuple[str, Span]] = []  # the calls that the current node stands in
        self.at: Span | None = None  # inside a function of the library, errors point at the call
        self.scope: tuple[str, ...] = ()
        self.guarded = 0
        self.entered = 0
        self.calls: dict[tuple[str, ...], int] = {}

    # -------------------------------------------------------------- the loop
    def eval(self, expr: ast.Expr, env: Env) -> Value:
        """The value of an expression; problems are collected, and their place is taken by `POISON`."""
        base = len(self.work)
        self.push(expr, env)
        work = self.work
        while len(work) > base:
            step, payload = work.pop()
            try:
                step(*payload)
            except Problem as problem:
                self.problems.append(self.placed(problem.diagnostic))
                self.values.append(POISON)
            except Misfit as misfit:
                self.problems.append(self.placed(errors.misfit(misfit.message, payload[0].span, misfit.help)))
                self.values.append(POISON)
        return self.values.pop()

    def abandon(self) -> None:
        """Forgets an evaluation that was given up half-way."""
        self.work.clear()
        self.values.clear()
        self.trail.clear()
        self.at, self.scope, self.guarded = None, (), 0

    def placed(self, diagnostic: Diagnostic) -> Diagnostic:
        """A diagnostic inside a library function, moved to the user's call; inside a user's function, with the calls."""
        span = self.at or diagnostic.span
        trail = tuple((s, f"in this call of `{n}`") for n, s in self.trail if s != span)[-3:]
        return Diagnostic(
            diagnostic.code,
            diagnostic.message,
            span,
            diagnostic.label,
            diagnostic.labels + trail,
            diagnostic.notes,
            diagnostic.help,
            diagnostic.severity,
        )

    def push(self, expr: ast.Expr, env: Env) -> None:
        self.work.append((DISPATCH[expr.__class__], (expr, env, self)))

    def then(self, step: Callable[..., None], *payload: Any) -> None:
        self.work.append((step, payload))

    def pop(self, n: int) -> list[Value]:
        if not n:
            return []
        taken = self.values[-n:]
        del self.values[-n:]
        return taken

    # -------------------------------------------------------------- making nodes
    def apply(self, name: str, args: Iterable[Value], attrs: tuple[Any, ...], span: Span) -> Value:
        """A node for an op of the table over values; raises Misfit where they do not fit."""
        refs = []
        op = self.table[name]
        if "integral" in op.flags:
            args = self.whole(list(args), span)
        elif name in INDEXED:
            x, index = args
            args = (x, indexing.integers(self, index, span) if isinstance(index, tuple) else index)
        for a in args:
            if a.__class__ is not Ref:
                if isinstance(a, Poison):
                    return POISON
                a = self.ref(a, span)
                if isinstance(a, Poison):
                    return POISON
            refs.append(a)
        attrs, type = infer(op, [r.type for r in refs], attrs, self.table)
        return self.sink.emit(op, refs, attrs, type, self.at or span, self.scope)

    def whole(self, args: list[Value], span: Span) -> list[Value]:
        """Literals and sizes next to whole numbers are whole numbers too."""
        refs = [a for a in args if isinstance(a, Ref)]
        if not refs or any(r.type.dtype != "int" for r in refs):
            return args
        known = [a for a in args if not isinstance(a, Ref)]
        if not all(isinstance(a, (int, Size)) and not isinstance(a, bool) for a in known):
            return args
        at = self.at or span
        return [
            a if isinstance(a, Ref) else self.sink.leaf("size" if isinstance(a, Size) else "const", (a,), INT, at) for a in args
        ]

    def ref(self, value: Value, span: Span) -> Ref | Poison:
        """A node for a value that is known now: a number, a size, a list."""
        span = self.at or span
        if isinstance(value, (Ref, Poison)):
            return value
        if isinstance(value, bool):
            return self.sink.leaf("const", (value,), Type((), "bool"), span)
        if isinstance(value, (int, float)):
            return self.sink.leaf("const", (statics.real(value),), SCALAR, span)
        if isinstance(value, Size):
            return self.sink.leaf("size", (value,), SCALAR, span)
        if isinstance(value, tuple):
            return self.array(value, span)
        word = "none" if value is None else f'the text "{value}"'
        raise Problem(errors.kind(f"{word} is not a number", span))

    def array(self, items: tuple[Value, ...], span: Span) -> Ref | Poison:
        if not items:
            return self.sink.leaf("array", ((),), Type((0,)), span)
        flat = statics.nested(items)
        if flat is not None:
            shape, dtype = flat
            if statics.ragged(items):
                raise Problem(errors.ragged(span))
            if len(shape) > statics.MOST_AXES:
                raise Problem(errors.bad_constant(f"an array has at most {statics.MOST_AXES} axes", span))
            return self.sink.leaf("array", (items,), Type(shape, dtype), span)
        refs = [self.ref(i, span) for i in items]
        shapes = {r.type.shape for r in refs if isinstance(r, Ref)}
        if len(shapes) > 1:
            raise Problem(errors.ragged(span))
        made = self.apply("stack", refs, (0,), span)
        assert isinstance(made, (Ref, Poison))
        return made

    def type_of(self, value: Value, span: Span) -> Type:
        made = self.ref(value, span)
        return made.type if isinstance(made, Ref) else SCALAR


# ------------------------------------------------------------------ steps, one per kind of expression
def _number(node: ast.Number, env: Env, e: Elaborator) -> None:
    e.values.append(node.value if node.exact is None else node.exact)


def _literal(node: ast.Bool | ast.String, env: Env, e: Elaborator) -> None:
    e.values.append(node.value)


def _name(node: ast.Name, env: Env, e: Elaborator) -> None:
    e.values.append(env.lookup(node))


def _apply(node: ast.Apply, env: Env, e: Elaborator) -> None:
    e.then(_applied, node, e)
    for arg in reversed(node.args):
        e.push(arg, env)


def _applied(node: ast.Apply, e: Elaborator) -> None:
    args = e.pop(len(node.args))
    known = statics.fold(node.op, args)
    if known is not statics.UNKNOWN:
        e.values.append(known)
    elif node.op == "pow" and (n := statics.whole(args[1])) is not None:
        e.values.append(e.apply("powi", args[:1], (n,), node.span))
    elif node.op == "div" and not isinstance(args[1], Ref) and statics.is_zero(args[1]) and e.at is None:
        raise Problem(errors.bad_constant("this divides by zero", node.args[1].span))
    else:
        e.values.append(e.apply(node.op, args, (), node.span))


def _compare(node: ast.Compare, env: Env, e: Elaborator) -> None:
    e.then(_compared, node, e)
    for arg in reversed(node.args):
        e.push(arg, env)


def _compared(node: ast.Compare, e: Elaborator) -> None:
    args = e.pop(len(node.args))
    parts: list[Value] = []
    for op, a, b in zip(node.ops, args, args[1:], strict=False):
        known = statics.fold(op, [a, b])
        parts.append(e.apply(op, (a, b), (), node.span) if known is statics.UNKNOWN else known)
    out = parts[0]
    for p in parts[1:]:
        known = statics.fold("logical_and", [out, p])
        out = e.apply("logical_and", (out, p), (), node.span) if known is statics.UNKNOWN else known
    e.values.append(out)


def _if_else(node: ast.IfElse, env: Env, e: Elaborator) -> None:
    e.then(_chosen, node, env, e)
    e.push(node.cond, env)


def _chosen(node: ast.IfElse, env: Env, e: Elaborator) -> None:
    cond = e.values.pop()
    if isinstance(cond, bool):
        e.push(node.then if cond else node.other, env)
        return
    if isinstance(cond, Poison) and e.at is not None:  # the library chooses by what it could not find out
        e.values.append(POISON)
        return
    e.then(_selected, node, cond, e)
    e.then(calls.guard, -1, e)
    e.push(node.other, env)
    e.push(node.then, env)
    e.then(calls.guard, 1, e)


def _selected(node: ast.IfElse, cond: Value, e: Elaborator) -> None:
    then, other = e.pop(2)
    e.values.append(e.apply("where", (cond, then, other), (), node.span))


def _array(node: ast.Array, env: Env, e: Elaborator) -> None:
    e.then(_listed, node, e)
    for item in reversed(node.items):
        e.push(item, env)


def _listed(node: ast.Array, e: Elaborator) -> None:
    items = e.pop(len(node.items))
    e.values.append(POISON if any(isinstance(i, Poison) for i in items) else tuple(items))


def _call(node: ast.Call, env: Env, e: Elaborator) -> None:
    calls.call(node, env, e)


def _index(node: ast.Index, env: Env, e: Elaborator) -> None:
    indexing.index(node, env, e)


def _attribute(node: ast.Attribute, env: Env, e: Elaborator) -> None:
    if node.name != "T":
        if isinstance(node.value, ast.Name) and env.home.value(node.value.id) is None:
            raise Problem(errors.dotted(node, e.table))
        raise Problem(errors.bad_constant(f"a value has no `.{node.name}`", node.span, "`.T` is the transpose"))
    e.then(_transposed, node, e)
    e.push(node.value, env)


def _transposed(node: ast.Attribute, e: Elaborator) -> None:
    e.values.append(e.apply("transpose", e.pop(1), (None,), node.span))


def _slice(node: ast.Slice, env: Env, e: Elaborator) -> None:
    raise Problem(errors.bad_constant("a slice stands only inside `[ ]`", node.span))


def _later(what: str) -> Callable[..., None]:
    def step(node: Any, env: Env, e: Elaborator) -> None:
        raise Problem(errors.later(what, node.span))

    return step


def _derive(node: ast.Derive, env: Env, e: Elaborator) -> None:
    raise Problem(errors.later(f"`{node.kind}(y, x)` inside a formula is", node.span))


DISPATCH: dict[type, Callable[..., None]] = {
    ast.Number: _number,
    ast.Bool: _literal,
    ast.String: _literal,
    ast.Name: _name,
    ast.Apply: _apply,
    ast.Compare: _compare,
    ast.IfElse: _if_else,
    ast.Array: _array,
    ast.Call: _call,
    ast.Index: _index,
    ast.Attribute: _attribute,
    ast.Slice: _slice,
    ast.Derive: _derive,
    ast.Implicit: _later("implicit definitions (`solve`) are"),
    ast.Comprehension: _later("comprehensions (`for` inside a formula) are"),
}
