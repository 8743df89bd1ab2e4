"""What a file asks for and what it promises: requests, `check` lines, and the outputs of a program."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gradlang.check import errors, statics, units
from gradlang.check.errors import Problem
from gradlang.check.imports import dotted
from gradlang.check.names import closures, heads_in, names_in
from gradlang.check.program import Asked, Poison, Promise, Ref
from gradlang.check.scope import Env, Home
from gradlang.syntax import ast

if TYPE_CHECKING:
    from gradlang.check.check import Checker


def ask(c: Checker) -> None:
    """The requests and promises of the file that is run, which may ask for values of the files that it imports."""
    asked: list[Asked] = []
    promises: list[Promise] = []
    for s in c.module.statements:
        try:
            if isinstance(s, ast.Request):
                asked += request(c, s)
            elif isinstance(s, ast.Check):
                promises.append(promise(c, s))
        except Problem as problem:
            c.report(problem.diagnostic)
    c.program.asked, c.program.promises = tuple(asked), tuple(promises)
    outputs(c)


def evaluated(c: Checker, expr: ast.Expr) -> Ref | Poison:
    before = len(c.elaborator.problems)
    ref = c.elaborator.ref(c.elaborator.eval(expr, c.env), expr.span)
    c.problems += c.elaborator.problems[before:]
    return ref


def title(c: Checker, name: ast.Name) -> str:
    """What a name (dotted or not) of a request is called in the program."""
    found = c.unit.origin(name.id)
    return found[0].full(found[1]) if found is not None else name.id


def request(c: Checker, s: ast.Request) -> list[Asked]:
    if s.of is None:
        out = []
        for name in s.names:
            ref = evaluated(c, dotted(name))
            if isinstance(ref, Ref):
                out.append(Asked("output", ref.id, title(c, name), None, name.span))
        return out
    ref = evaluated(c, s.of)
    shown = c.program.sources.of(s.of.span[0]).slice(s.of.span)
    if isinstance(ref, Ref) and isinstance(s.of, (ast.Name, ast.Attribute)):
        shown = c.program.nodes[ref.id].name or shown
    wrt = tuple(title(c, n) for n in s.names) if s.names else None
    for n, full in zip(s.names, wrt or (), strict=True):
        leaf = c.program.leaves.get(full)
        if full not in c.program.values:
            raise Problem(errors.not_a_leaf(n.id, n.span, c.program.differentiable()))
        if leaf is not None and not leaf.differentiable:
            why = "a constant" if leaf.role == "const" else f"of type {leaf.type}"
            raise Problem(errors.not_differentiable(n.id, why, n.span))
    if not isinstance(ref, Ref):
        return []
    if ref.type.dtype != "real":
        raise Problem(errors.not_differentiated(shown, str(ref.type), s.of.span))
    if ref.type.shape and s.kind != "jacobian":
        kind = s.kind if s.kind in ("grad", "hessian") else "grad"
        raise Problem(errors.not_scalar(shown, str(ref.type), s.of.span, kind))
    return [Asked(s.kind, ref.id, shown, wrt, s.span)]


def promise(c: Checker, s: ast.Check) -> Promise:
    given = {}
    for name, expr in s.given:
        full = title(c, name)
        if full not in c.program.leaves:
            raise Problem(errors.not_a_leaf(name.id, name.span, c.program.leaves, full in c.program.values))
        given[full] = literal(c, expr)
    tol = literal(c, s.tol) if s.tol is not None else None
    match s.cond:
        case ast.Compare(ops=("equal",), args=(a, b)):
            sides: tuple[Ref | Poison | None, ...] = (None, evaluated(c, a), evaluated(c, b))
        case _:
            sides = (evaluated(c, s.cond), None, None)
    ids = [r.id if isinstance(r, Ref) else None for r in sides]
    return Promise(ids[0], ids[1], ids[2], tol, given, s.span)


def literal(c: Checker, expr: ast.Expr) -> Any:
    value = c.elaborator.eval(expr, Env(Home({})))
    if not statics.is_number(value) and not (isinstance(value, tuple) and statics.nested(value)):
        raise Problem(errors.bad_constant("a number is needed here", expr.span))
    return value


def outputs(c: Checker) -> None:
    """The outputs that are asked for; without a request, the definitions of the file that nothing else uses."""
    program = c.program
    if program.asked:
        named = [a if program.values.get(a.name) == a.node else replace(a, name=f"({a.name})") for a in program.asked]
        for a in named:
            program.values.setdefault(a.name, a.node)
        program.asked = tuple(named)
        program.outputs = tuple(dict.fromkeys(a.name for a in named))
        return
    used = {n.id for d in c.defines.values() for n in names_in([d.value])}
    for name, indexed in c.indexed.items():
        used.update(n for piece in indexed.pieces for n in units.uses(piece) if n != name)
    closed = closures(c.functions)
    for item in (*c.defines.values(), *c.indexed.values()) if closed else ():
        used.update(n for f in heads_in(units.formulas(item)) for n in closed.get(f, ()))
    defined = [n for n in c.where if n in c.defines or n in c.indexed]
    program.outputs = tuple(n for n in defined if n not in used and n in program.values)
    if not program.outputs and not c.problems and not c.elaborator.problems:
        start = program.sources.files[0].base if program.sources.files else 0
        if not c.module.statements or not (c.defines or c.indexed):
            c.report(errors.no_output((start, start)))
