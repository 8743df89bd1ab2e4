"""The expressions of an op's entry (value, partials, adjoints), elaborated over given arguments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from gradlang.check.elaborate import Elaborator, Sink
from gradlang.check.program import Ref
from gradlang.check.scope import Env, Home
from gradlang.diagnostics import InternalError, SourceError
from gradlang.ops.op import Op
from gradlang.ops.table import OpTable
from gradlang.source import Source, Sources, Span
from gradlang.syntax import ast
from gradlang.syntax.grammar import grammar_text
from gradlang.syntax.parse import parse
from gradlang.types import Type

HEAD = re.compile(r"^def[ \t]+(\w+)", re.M)


class Functions(dict[str, ast.Function]):
    """The functions of some texts, found by their first lines and parsed when they are first asked for."""

    def __init__(self, *sources: Source) -> None:
        super().__init__()
        self.where: dict[str, tuple[Source, int, int]] = {}
        for source in sources:
            heads = list(HEAD.finditer(source.text))
            stops = [h.start() for h in heads[1:]] + [len(source.text)]
            self.where.update({h[1]: (source, h.start(), stop) for h, stop in zip(heads, stops, strict=True)})

    def __missing__(self, name: str) -> ast.Function:
        source, start, stop = self.where[name]
        module, faults = parse(Source(source.path, source.text[start:stop], source.base + start))
        if faults:
            raise SourceError(faults, Sources([source]))
        made = module.statements[0]
        assert isinstance(made, ast.Function)
        self[name] = made
        return made

    def text(self, name: str) -> str:
        """A function as it stands in its file."""
        span = self[name].span
        return self.where[name][0].slice(span).rstrip()

    def __contains__(self, name: object) -> bool:
        return name in self.where

    def __iter__(self) -> Iterator[str]:
        return iter(self.where)

    def __len__(self) -> int:
        return len(self.where)


LIBRARY = ("std.grad", "densities.grad")


def home_of(table: OpTable, op: Op | None = None) -> Home:
    """Where the names of an entry (or, without one, of a program's own entries) are looked up: a program's entries see its
    ops before the functions of the library."""
    return Home({}, parent=library(), ops=frozenset(table.own)) if op is None or op.name in table.own else library()


@cache
def library() -> Home:
    """The functions that are plain formulas of the language."""
    return Home(Functions(*(Source(name, grammar_text(name)) for name in LIBRARY)), shipped=True)


class Scratch:
    """A sink that keeps nothing but types."""

    def __init__(self, table: OpTable) -> None:
        self.table = table
        self.count = 0

    def param(self, type: Type) -> Ref:
        self.count += 1
        return Ref(self.count, type)

    def emit(self, op: Op, args: list[Ref], attrs: tuple[Any, ...], type: Type, span: Span, scope: tuple[str, ...]) -> Ref:
        return self.param(type)

    def leaf(self, op: str, attrs: tuple[Any, ...], type: Type, span: Span) -> Ref:
        return self.param(type)


def evaluate(
    op: Op,
    expr: ast.Expr,
    args: list[Ref],
    attrs: tuple[Any, ...],
    sink: Sink,
    result: Ref | None,
    cotangent: Ref | None,
    span: Span,
    table: OpTable | None = None,
    scope: tuple[str, ...] = (),
) -> Ref:
    """The value of one expression of an entry. `result` is bound to the entry's result name, `cotangent` to `g`.

    Raises InternalError if the entry does not fit its arguments: a fault of the table, not of the program."""
    made = Elaborator(table if table is not None else sink.table, sink)  # type: ignore[attr-defined]
    made.at, made.scope = span, scope
    env = Env(home_of(made.table, op), dict(zip(op.params, args, strict=False)))
    env.names.update(zip(op.attrs, attrs, strict=True))
    if result is not None:
        env.names[op.result] = result
    if cotangent is not None:
        env.names["g"] = cotangent
    used = _names(expr)
    for name, local in reversed(op.locals):
        if name in used:
            used |= _names(local)
    for name, local in op.locals:
        if name in used:
            env.names[name] = made.eval(local, env)
    out = made.eval(expr, env)
    value = made.ref(out, span)
    if made.problems or not isinstance(value, Ref):
        raise InternalError(made.problems, Sources([op.source] if op.source else []))
    return value


def _names(expr: ast.Expr) -> set[str]:
    return {n.id for n in ast.walk(expr) if isinstance(n, ast.Name)}
