"""Expressions to typed nodes: the one place that gives syntax its meaning.

The elaborator evaluates an expression with an explicit stack of work, so that the depth of a formula is bounded by memory
only. What it computes is a `Value`: a number, size or list that is known now (`Static`), or a `Ref` to a node that it asked
a sink to make. The same elaborator reads the user's program (the sink is a `Program`) and the rules of the op table (the
sink is a tape under construction).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from gradlang.check import comprehension, errors, growing, indexing, lift, statics
from gradlang.check.errors import Problem
from gradlang.check.infer import infer
from gradlang.check.loops import Index, Loop, dims, plus, smallest, together
from gradlang.check.program import POISON, Node, Poison, Ref, Value
from gradlang.check.scope import Env
from gradlang.diagnostics import Diagnostic
from gradlang.ops.op import ROW, Op
from gradlang.ops.shapes import Misfit
from gradlang.ops.table import OpTable
from gradlang.record import record
from gradlang.source import Span
from gradlang.syntax import ast
from gradlang.types import BOOL, INT, SCALAR, Dim, Size, Type, at_least


class Sink(Protocol):
    """Where nodes go. `emit` may return a node that exists already."""

    def emit(self, op: Op, args: list[Ref], attrs: tuple[Any, ...], type: Type, span: Span, scope: tuple[str, ...]) -> Ref: ...

    def leaf(self, op: str, attrs: tuple[Any, ...], type: Type, span: Span) -> Ref: ...


@record
class Mark:
    lengths: tuple[int, ...]
    required: int
    at: Span | None
    scope: tuple[str, ...]
    guards: int
    calls: dict[tuple[str, ...], int]


INDEXED = ("take_axis", "scatter_add", "take_along", "scatter_along")
Step = tuple[Callable[..., None], tuple[Any, ...]]


class Elaborator:
    def __init__(self, table: OpTable, sink: Sink) -> None:
        from gradlang.check.forms import DISPATCH  # whose steps call back

        self.table, self.sink = table, sink
        self.dispatch = DISPATCH
        self.work: list[Step] = []
        self.values: list[Value] = []
        self.problems: list[Diagnostic] = []
        self.trail: list[tuple[str, Span, ast.Function]] = []  # the calls that the current node stands in
        self.derived: dict[Span, tuple[str, str]] = {}  # where derivatives stand: of what, by what
        self.at: Span | None = None  # inside a function of the library, errors point at the call
        self.scope: tuple[str, ...] = ()
        self.guards: list[tuple[Value, bool, int]] = []  # conditions, what they must be, and how many facts follow
        self.implied: dict[int, tuple[list[Dim | Index], list[Dim | Index]]] = {}  # by condition: if true, if false
        self.entered = 0
        self.depth = 0
        self.taken: dict[int, frozenset[str]] = {}  # by function: the names by which it takes derivatives
        self.facts: list[Dim | Index] = []  # indices that are 0 or more wherever the current expression counts
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
            except (Problem, Misfit) as problem:
                self.fail(problem, payload[0].span)
                self.values.append(POISON)
        return self.values.pop()

    def fail(self, problem: Problem | Misfit, span: Span) -> None:
        """Reports what went wrong in a step that stands at `span`."""
        found = problem.diagnostic if isinstance(problem, Problem) else errors.misfit(problem.message, span, problem.help)
        self.problems.append(self.placed(found))

    def loop(self, name: str, length: Dim, span: Span, nest: list[Loop], scan: bool = False) -> Loop:
        """A new loop, inside all that were made before it."""
        self.depth += 1
        made = Loop(name, length, self.depth, span, scan)
        nest.append(made)
        return made

    @property
    def nodes(self) -> list[Node]:
        """The nodes of the program. Raises Problem where formulas are not those of a program."""
        found = getattr(self.sink, "nodes", None)
        if found is None:
            raise Problem(errors.bad_constant("a recurrence cannot stand here", self.at or (0, 0)))
        return found  # type: ignore[no-any-return]

    def lists(self) -> list[list[Any]]:
        return [self.nodes, self.problems, self.work, self.values, self.trail, self.facts]

    def mark(self) -> Mark:
        """Where the elaboration stands, for `recover`."""
        required = len(getattr(self.sink, "requirements", ()))
        lengths = tuple(len(items) for items in self.lists())
        return Mark(lengths, required, self.at, self.scope, len(self.guards), dict(self.calls))

    def recover(self, mark: Mark, keep_problems: bool = False) -> None:
        """Forgets all that was made since a mark; problems are kept on request."""
        for k, (items, length) in enumerate(zip(self.lists(), mark.lengths, strict=True)):
            if k != 1 or not keep_problems:
                del items[length:]
        del getattr(self.sink, "requirements", [])[mark.required :]
        self.at, self.scope, self.calls = mark.at, mark.scope, dict(mark.calls)
        del self.guards[mark.guards :]
        known = len(self.nodes)
        self.implied = {i: facts for i, facts in self.implied.items() if i < known}

    def enter(self, cond: Value, wanted: bool) -> None:
        """From here on only the counts and entries matter where a condition is as wanted."""
        facts = self.implied.get(cond.id, ([], []))[0 if wanted else 1] if isinstance(cond, Ref) else []
        self.guards.append((cond, wanted, len(facts)))
        self.facts.extend(facts)

    def leave(self) -> None:
        _, _, facts = self.guards.pop()
        del self.facts[len(self.facts) - facts :]

    def taken_here(self, span: Span) -> Value:
        """Where the current expression counts, as a truth value; None if that is not known."""
        out: Value = True
        for cond, wanted, _ in self.guards:
            if not isinstance(cond, Ref):
                return None
            here = cond if wanted else self.apply("logical_not", (cond,), (), span)
            out = here if out is True else self.apply("logical_and", (out, here), (), span)
        return out

    def proves(self, index: Dim | Index) -> bool:
        """Whether an index is plainly 0 or more at every count that the bounds of the loops around allow."""
        return any(at_least(smallest(plus(index, fact, -1)), 0) for fact in (0, *self.facts))

    def abandon(self) -> None:
        """Forgets an evaluation that was given up half-way."""
        self.work.clear()
        self.values.clear()
        self.trail.clear()
        self.at, self.scope = None, ()
        self.guards.clear()

    def placed(self, diagnostic: Diagnostic) -> Diagnostic:
        """A diagnostic inside a library function, moved to the user's call; inside a user's function, with the calls."""
        span = self.at or diagnostic.span
        trail = tuple((s, f"in this call of `{n}`") for n, s, _ in self.trail if s != span)[-3:]
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
        self.work.append((self.dispatch[expr.__class__], (expr, env, self)))

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
        args = [self.index_array(a, span) if a.__class__ is Index else a for a in args]
        if "integral" in op.flags or "predicate" in op.flags:
            args = self.whole(args, span)
        elif name == "where":
            args = [args[0], *self.whole(args[1:], span)]
        elif name in INDEXED:
            x, index = args
            args = [x, indexing.integers(self, index, span) if isinstance(index, tuple) else index]
        elif name in ("within", "nearest"):
            args = [indexing.integers(self, a, span) if isinstance(a, tuple) else a for a in args]
        for a in args:
            if a.__class__ is not Ref:
                if isinstance(a, Poison):
                    return POISON
                a = self.ref(a, span)
                if isinstance(a, Poison):
                    return POISON
            refs.append(a)
        attrs, type = infer(op, [r.type for r in refs], attrs, self.table)
        for r in refs:
            if r.axes or r.steps:
                return self.lifted(op, refs, attrs, type, self.at or span)
        return self.sink.emit(op, refs, attrs, type, self.at or span, self.scope)

    def lifted(self, op: Op, refs: list[Ref], attrs: tuple[Any, ...], type: Type, span: Span) -> Ref:
        """An op over values of which some are one per count of a loop, or made by the step of a recurrence."""
        steps = together(*(r.steps for r in refs))
        for loop in steps:
            refs = [self.row(r, loop, span) if loop in r.axes else r for r in refs]
        if any(r.axes for r in refs):
            made = lift.emit(self.sink, self.table, op, refs, attrs, type, span, self.scope)
        else:
            made = self.sink.emit(op, refs, attrs, type, span, self.scope)
        return Ref(made.id, type, made.axes, steps)

    def row(self, r: Ref, loop: Loop, span: Span) -> Ref:
        """The value at the current step of a recurrence."""
        at = r.axes.index(loop)
        axes = (*r.axes[:at], *r.axes[at + 1 :])
        type = Type(dims(axes) + r.type.shape, r.type.dtype)
        made = self.sink.emit(ROW, [lift.plain(r)], (loop, at), type, span, self.scope)
        return Ref(made.id, r.type, axes, together(r.steps, (loop,)))

    def raw(self, name: str, x: Ref, attrs: tuple[Any, ...], span: Span) -> Ref:
        """An op over the array that holds a value for all counts."""
        op = self.table[name]
        attrs, type = infer(op, [x.type], attrs, self.table)
        return self.sink.emit(op, [x], attrs, type, self.at or span, self.scope)

    def index_array(self, index: Index, span: Span) -> Ref:
        """An index as whole numbers, one per count of its loops."""
        total: Value = index.base
        for loop, factor in index.terms:
            made = self.sink.emit(
                self.table["iota"], [], (loop.length,), Type((loop.length,), "int"), self.at or span, self.scope
            )
            count: Value = Ref(made.id, INT, (loop,))
            count = count if factor == 1 else self.apply("mul", (count, factor), (), span)
            total = count if total == 0 else self.apply("add", (count, total), (), span)
        assert isinstance(total, Ref)
        return total

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
            return self.sink.leaf("const", (value,), BOOL, span)
        if isinstance(value, (int, float)):
            return self.sink.leaf("const", (statics.real(value),), SCALAR, span)
        if isinstance(value, Size):
            return self.sink.leaf("size", (value,), SCALAR, span)
        if isinstance(value, Index):
            return self.index_array(value, span)
        if isinstance(value, tuple):
            return self.array(value, span)
        if isinstance(value, growing.Growing):
            raise Problem(errors.whole_sequence(value.name, span))
        if isinstance(value, (comprehension.Generated, comprehension.Range, comprehension.Zipped)):
            raise Problem(errors.iterable(span))
        word = "none" if value is None else f'the text "{value}"'
        raise Problem(errors.kind(f"{word} is not a number", span))

    def array(self, items: tuple[Value, ...], span: Span) -> Ref | Poison:
        if not items:
            return self.sink.leaf("array", ((),), Type((0,)), span)
        if statics.deep(items):
            raise Problem(errors.bad_constant(f"an array has at most {statics.MOST_AXES} axes", span))
        flat = statics.nested(items)
        if flat is not None:
            shape, dtype = flat
            if statics.ragged(items):
                raise Problem(errors.ragged(span))
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
