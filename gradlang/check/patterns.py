"""The rules of a program: a left side that can be found, a right side that is made of what the left side holds."""

from __future__ import annotations

from typing import Any

from gradlang.check import errors, statics
from gradlang.check import errors_ops as bad
from gradlang.check.elaborate import Elaborator
from gradlang.check.errors import Problem
from gradlang.check.names import names_in
from gradlang.check.program import Ref, Value
from gradlang.check.rules import Scratch, home_of, library
from gradlang.check.scope import CONSTANTS, Env, Home
from gradlang.diagnostics import Diagnostic
from gradlang.ops.table import OpTable, Rule
from gradlang.source import Source
from gradlang.syntax import ast
from gradlang.types import BOOL, Type

DEEPEST, LONGEST = 40, 400  # of a side of a rule
SHAPES: tuple[tuple[int, ...], ...] = ((), (3,), (3, 3))  # the sides are tried on arguments of these
SETTINGS: dict[str, Any] = {"axis": (0,), "keepdims": False}


def read_rule(s: ast.Rewrite, table: OpTable, source: Source, broken: frozenset[str]) -> Rule | None:
    """A rule of a program, or None if it is about an op with errors. Raises Problem with what is wrong."""
    if s.kind.id not in bad.KINDS:
        raise Problem(bad.rule_class(s.kind.id, s.kind.span))
    for side in (s.left, s.right):
        if any(isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id in broken for n in ast.walk(side)):
            return None
        if not small(side):
            text = "this side of the rule is too long"
            raise Problem(bad.no_pattern(text, side.span, f"a side has at most {LONGEST} parts, {DEEPEST} deep"))
    left = known_numbers(s.left, table)
    if isinstance(left, (ast.Name, ast.Number)):
        text = "the left side of a rule is a formula, not a single name or number"
        raise Problem(bad.no_pattern(text, s.left.span, "write what is to be replaced, for example `log(exp(x))`"))
    for node in ast.walk(left):
        check_pattern(node, table)
    known = dict.fromkeys(n.id for n in names_in([left]))
    for n in names_in([s.right]):
        if n.id not in known and n.id not in CONSTANTS:
            raise Problem(bad.only_on_the_right(n.id, n.span, known))
    rule = Rule(s.kind.id, s.name.id, left, s.right, source.slice(s.span), s.span)
    fits = arguments(rule, table)
    if isinstance(fits, Diagnostic):
        raise Problem(fits)
    return rule


def small(expr: ast.Expr) -> bool:
    level, count = [expr], 0
    for _ in range(DEEPEST):
        count += len(level)
        level = [c for e in level for c in ast.children(e)]
        if count > LONGEST:
            return False
    return not level


def known_numbers(expr: ast.Expr, table: OpTable) -> ast.Expr:
    """A pattern in which what is a number already stands as that number: `2*pi` is never found as a product.

    Sides of rules are small (`small`), so this may recurse."""
    if isinstance(expr, ast.Apply):
        if not any(isinstance(n, ast.Call) or (isinstance(n, ast.Name) and n.id not in CONSTANTS) for n in ast.walk(expr)):
            e = Elaborator(table, Scratch(table))
            value = e.eval(expr, Env(Home({})))
            if statics.is_number(value) and not e.problems:
                return ast.Number(statics.real(value), value if isinstance(value, int) else None, expr.span)
        return ast.Apply(expr.op, tuple(known_numbers(a, table) for a in expr.args), expr.span)
    if isinstance(expr, ast.Name) and expr.id in CONSTANTS:
        return ast.Number(float(CONSTANTS[expr.id]), None, expr.span)
    if isinstance(expr, ast.Compare):
        return ast.Compare(expr.ops, tuple(known_numbers(a, table) for a in expr.args), expr.span)
    if isinstance(expr, ast.IfElse):
        then, cond, other = (known_numbers(a, table) for a in (expr.then, expr.cond, expr.other))
        return ast.IfElse(then, cond, other, expr.span)
    if isinstance(expr, ast.Call):
        return ast.Call(expr.func, tuple(known_numbers(a, table) for a in expr.args), expr.keywords, expr.span)
    return expr


def check_pattern(node: ast.Expr, table: OpTable) -> None:
    """Raises Problem for a part of a left side that cannot be looked for."""
    if isinstance(node, (ast.Name, ast.Number, ast.Apply, ast.IfElse)):
        return
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        return
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        text = "this cannot stand on the left side of a rule"
        raise Problem(bad.no_pattern(text, node.span, "a left side is made of names, numbers, operators and ops"))
    name = node.func.id
    if name in ("max", "min") and len(node.args) == 2 and not node.keywords:
        return
    if name not in table:
        known = library().functions
        if name in known:
            text = f"`{name}` is a function, not an op: it is written out, so no formula has it"
            raise Problem(bad.no_pattern(text, node.func.span, "write its formula on the left side"))
        raise Problem(errors.unknown_function(name, node.func.span, [*table], False))
    op = table[name]
    if op.defined:
        text = f"`{name}` has no derivative rule and is written out: a formula never has it when rules are applied"
        raise Problem(bad.no_pattern(text, node.func.span, f"give `{name}` its `d/dx`, or write its formula on the left side"))
    wanted = len(op.params)
    if len(node.args) != wanted:
        text = f"{wanted} argument{'s' if wanted != 1 else ''} and settings by name"
        raise Problem(errors.arity(name, len(node.args), text, node.span, f"write `{name}({', '.join(op.params)})`"))
    for k in node.keywords:
        if k.name not in op.attrs:
            raise Problem(errors.unknown_keyword(name, k.name, k.span, op.attrs))
        if not isinstance(k.value, (ast.Name, ast.Number)):
            raise Problem(bad.no_pattern("a setting in a rule is a name or a number", k.span, f"write `{k.name}={k.name}`"))


def conditions(expr: ast.Expr) -> set[str]:
    """The names that stand where a condition is needed."""
    out: set[str] = set()
    for node in ast.walk(expr):
        places: tuple[ast.Expr, ...] = ()
        if isinstance(node, ast.IfElse):
            places = (node.cond,)
        elif isinstance(node, ast.Apply) and node.op.startswith("logical_"):
            places = node.args
        out |= {p.id for p in places if isinstance(p, ast.Name)}
    return out


def settings(expr: ast.Expr) -> dict[str, Any]:
    """The names that stand for settings, with a value to try them with."""
    found = [k for n in ast.walk(expr) if isinstance(n, ast.Call) for k in n.keywords if isinstance(k.value, ast.Name)]
    return {k.value.id: SETTINGS.get(k.name, 2) for k in found if isinstance(k.value, ast.Name)}


Arguments = tuple[dict[str, Type], dict[str, Any]]


def arguments(rule: Rule, table: OpTable) -> list[Arguments] | Diagnostic:
    """Types for the names of a rule under which both of its sides mean something, and its settings; or why there are none."""
    static = settings(rule.left)
    names = [n for n in dict.fromkeys(n.id for n in names_in([rule.left])) if n not in static and n not in CONSTANTS]
    masks = conditions(rule.left) | conditions(rule.right)
    first: Diagnostic | None = None
    fitting: list[Arguments] = []
    for shape in SHAPES:
        types = {n: BOOL if n in masks else Type(shape) for n in names}
        problem, sides = _try(rule, table, types, static)
        if problem is None and sides[0].shape == sides[1].shape:
            fitting.append((types, static))
            continue
        if problem is None:
            problem = errors.misfit(f"the left side is {sides[0]}, the right side {sides[1]}", rule.right.span)
        first = first or problem
    return fitting or first or errors.misfit("no arguments fit this rule", rule.span)


def _try(rule: Rule, table: OpTable, types: dict[str, Type], static: dict[str, Any]) -> tuple[Diagnostic | None, list[Type]]:
    out = []
    for side in (rule.left, rule.right):
        sink = Scratch(table)
        e = Elaborator(table, sink)
        names: dict[str, Value] = {n: sink.param(t) for n, t in types.items()}
        made = e.eval(side, Env(home_of(table), {**names, **static}))
        value = e.ref(made, side.span) if not e.problems else None
        if e.problems or not isinstance(value, Ref):
            return (e.problems[0] if e.problems else errors.kind("this is no number", side.span)), []
        out.append(value.type)
    return None, out
