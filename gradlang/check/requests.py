"""What a file asks for: requests, its objective, and the outputs of a program."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradlang.check import errors, errors_promises, outline, units
from gradlang.check.errors import Problem
from gradlang.check.imports import dotted
from gradlang.check.names import heads_in
from gradlang.check.program import Asked, Promise, Ref
from gradlang.check.promises import evaluated, promise, title
from gradlang.record import changed
from gradlang.source import Span
from gradlang.syntax import ast

if TYPE_CHECKING:
    from gradlang.check.check import Checker

OBJECTIVES = ("minimize", "maximize")


def ask(c: Checker) -> None:
    """The requests and promises of the file that is run, which may ask for values of the files that it imports."""
    asked: list[Asked] = []
    promises: list[Promise] = []
    first: Span | None = None
    for s in c.module.statements:
        try:
            if isinstance(s, ast.Request):
                asked += request(c, s)
                first = objective(s, first)
            elif isinstance(s, ast.Check) and (made := promise(c, s)) is not None:
                promises.append(made)
        except Problem as problem:
            c.report(problem.diagnostic)
    c.program.asked, c.program.promises = tuple(asked), tuple(promises)
    outputs(c)


def objective(s: ast.Request, first: Span | None) -> Span | None:
    """Where the objective stands; a program has one."""
    if s.kind not in OBJECTIVES:
        return first
    if first is not None:
        raise Problem(errors_promises.second_objective(s.kind, s.span, first))
    return s.span


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


def outputs(c: Checker) -> None:
    """The outputs that are asked for; without a request, the definitions of the file that nothing else uses."""
    program = c.program
    if program.asked:
        named = [a if program.values.get(a.name) == a.node else changed(a, name=f"({a.name})") for a in program.asked]
        for a in named:
            program.values.setdefault(a.name, a.node)
        program.asked = tuple(named)
        program.outputs = tuple(dict.fromkeys(a.name for a in named))
        return
    used = {n for d in c.plain for n in outline.used(d)}
    for name, indexed in c.indexed.items():
        used.update(n for piece in indexed.pieces for n in units.uses(piece) if n not in c.together.get(name, ()))
    for item in (*c.plain, *c.indexed.values()) if c.closed else ():
        heads = heads_in(units.formulas(item)) if isinstance(item, units.Indexed) else outline.called(item)
        used.update(n for f in heads for n in c.closed.get(f, ()))
    many = [n for d in c.plain if isinstance(d, outline.Many) for n in d.unused()]
    defined = {*c.defines, *c.indexed, *many}.difference(used)
    program.outputs = tuple(n for n in c.where if n in defined and n in program.values)
    if not program.outputs and not c.problems and not c.elaborator.problems:
        start = program.sources.files[0].base if program.sources.files else 0
        if not c.module.statements or not (c.plain or c.indexed):
            c.report(errors.no_output((start, start)))
