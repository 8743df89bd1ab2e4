"""The test of the test: every rule of the table, made wrong in small ways, and whether the proof notices.

A mutant flips a sign, swaps the operands of an operator that does not commute, or drops a factor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gradlang.diagnostics import GradlangError
from gradlang.ops.op import Op
from gradlang.ops.shapes import Misfit
from gradlang.ops.table import OpTable
from gradlang.pipeline import Language
from gradlang.prove.accuracy import Case, cases, prove_op
from gradlang.prove.reference import Truth
from gradlang.prove.structural import prove_array_op
from gradlang.record import changed
from gradlang.syntax import ast

SWAPPED = ("sub", "div", "pow")


@dataclass(frozen=True, slots=True)
class Mutant:
    op: str
    clause: str
    what: str
    made: Op


class OneChanged(OpTable):
    """A table in which one entry is another."""

    def __init__(self, table: OpTable, op: Op) -> None:
        super().__init__()
        self._table, self._where, self.own = table, table._where, table.own
        self[op.name] = op

    def __missing__(self, name: str) -> Op:
        made = self[name] = self._table[name]
        return made


def variants(expr: ast.Expr) -> Iterator[tuple[str, ast.Expr]]:
    """Wrong versions of an expression of the table. Entries are small, so this may recurse."""
    if isinstance(expr, ast.Number) and expr.value != 0:
        yield "sign", ast.Apply("neg", (expr,), expr.span)
    if isinstance(expr, ast.Name):
        return
    if isinstance(expr, ast.Apply):
        if expr.op == "neg":
            yield "sign", expr.args[0]
        elif expr.op in ("add", "sub"):
            yield "sign", ast.Apply("sub" if expr.op == "add" else "add", expr.args, expr.span)
        elif expr.op == "mul":
            yield "factor", expr.args[0]
            yield "factor", expr.args[1]
        if expr.op in SWAPPED:
            yield "swap", ast.Apply(expr.op, expr.args[::-1], expr.span)
        for i, arg in enumerate(expr.args):
            for what, made in variants(arg):
                yield what, ast.Apply(expr.op, (*expr.args[:i], made, *expr.args[i + 1 :]), expr.span)
    elif isinstance(expr, ast.IfElse):
        yield "swap", ast.IfElse(expr.other, expr.cond, expr.then, expr.span)
        for what, made in variants(expr.then):
            yield what, ast.IfElse(made, expr.cond, expr.other, expr.span)
        for what, made in variants(expr.other):
            yield what, ast.IfElse(expr.then, expr.cond, made, expr.span)
    elif isinstance(expr, ast.Call):
        for i, arg in enumerate(expr.args):
            for what, made in variants(arg):
                yield what, ast.Call(expr.func, (*expr.args[:i], made, *expr.args[i + 1 :]), expr.keywords, expr.span)


def mutants(op: Op) -> Iterator[Mutant]:
    """Every mutant of an entry's partials and adjoints."""
    for name, expr in op.partials.items():
        if isinstance(expr, ast.Name) and expr.id not in ("inf", "nan"):
            yield Mutant(
                op.name, "d/d" + name, "sign", changed(op, partials={**op.partials, name: ast.Apply("neg", (expr,), expr.span)})
            )
        for what, made in variants(expr):
            yield Mutant(op.name, "d/d" + name, what, changed(op, partials={**op.partials, name: made}))
    for name, expr in op.adjoints.items():
        yield Mutant(
            op.name,
            "adjoint " + name,
            "sign",
            changed(op, adjoints={**op.adjoints, name: ast.Apply("neg", (expr,), expr.span)}),
        )
        for what, made in variants(expr):
            yield Mutant(op.name, "adjoint " + name, what, changed(op, adjoints={**op.adjoints, name: made}))


def caught(mutant: Mutant, language: Language, truth: Truth, known: list[Case]) -> bool:
    """Whether the proof fails for a mutant: it finds a failure, or the entry no longer compiles."""
    changed = Language(OneChanged(language.table, mutant.made), language.rules)
    try:
        if mutant.made.pointwise:
            return bool(prove_op(mutant.made, changed, truth, known=known).failures)
        return bool(prove_array_op(mutant.made, changed, truth).failures)
    except (GradlangError, ArithmeticError, ValueError, TypeError, KeyError, AssertionError, Misfit):
        return True


def survivors(
    language: Language,
    equivalent: Mapping[tuple[str, str, str], str],
    names: list[str] | None = None,
) -> tuple[int, list[Mutant]]:
    """How many mutants there are, and those that the proof does not notice."""
    truth = Truth(language.table)
    total, alive = 0, []
    for name in language.table if names is None else names:
        op = language.table[name]
        made = list(mutants(op))
        if not made or op.flags & {"choice", "marker"}:
            continue
        known: list[Case] = list(cases(op, truth, 12)) if op.pointwise else []
        for mutant in made:
            total += 1
            if not caught(mutant, language, truth, known):
                alive.append(mutant)
    return total, alive
