"""A parsed file to a `Program`, or the list of everything that is wrong with it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gradlang.check import arrays, errors, statics
from gradlang.check.calls import MOST_CALLS, unpack
from gradlang.check.elaborate import Elaborator
from gradlang.check.entries import read_entries
from gradlang.check.errors import Problem, TooLarge
from gradlang.check.leaves import LeafMaker
from gradlang.check.names import in_order, is_literal, names_in
from gradlang.check.program import POISON, Asked, Node, Poison, Program, Promise, Ref, Value
from gradlang.check.rules import library
from gradlang.check.scope import CONSTANTS, Env, Home
from gradlang.diagnostics import Diagnostic
from gradlang.diagnostics import in_order as sorted_by_place
from gradlang.ops.language import Language
from gradlang.ops.op import Op
from gradlang.ops.table import OpTable
from gradlang.source import Sources, Span
from gradlang.syntax import ast
from gradlang.types import Dim, Type

MOST_VALUES = 5_000_000


class ProgramSink:
    """Appends the nodes of the user's formulas, exactly as written, to a program."""

    def __init__(self, program: Program) -> None:
        self.program = program

    def emit(self, op: Op, args: list[Ref], attrs: tuple[Any, ...], type: Type, span: Span, scope: tuple[str, ...]) -> Ref:
        nodes = self.program.nodes
        if len(nodes) > MOST_VALUES:
            raise TooLarge
        nodes.append(Node(op.name, tuple([a.id for a in args]), attrs, type, span, scope))
        return Ref(len(nodes) - 1, type)

    def leaf(self, op: str, attrs: tuple[Any, ...], type: Type, span: Span) -> Ref:
        self.program.nodes.append(Node(op, (), attrs, type, span))
        return Ref(len(self.program.nodes) - 1, type)

    def require(self, dim: Dim, low: int, span: Span) -> None:
        self.program.requirements.append((dim, low, span))


class Checker:
    def __init__(self, module: ast.Module, sources: Sources, table: OpTable) -> None:
        self.module, self.table = module, table
        self.program = Program(sources)
        self.sink = ProgramSink(self.program)
        self.problems: list[Diagnostic] = []
        self.where: dict[str, Span] = {}
        self.defines: dict[str, ast.Define] = {}
        self.leaf_lines: dict[str, ast.Leaf | ast.Define] = {}
        self.consts: dict[str, ast.Leaf] = {}
        self.functions: dict[str, ast.Function] = {}
        self.found: dict[str, Value] = dict.fromkeys(module.broken, POISON)
        self.callables = [*library().functions, *arrays.SPECIAL, *table]
        home = Home(
            self.functions,
            self.found.get,
            lambda: [*self.where, *self.program.sizes],
            parent=library(),
            callables=lambda: [*self.functions, *self.callables],
            ops=frozenset(table.own),
        )
        self.env = Env(home)
        self.elaborator = Elaborator(table, self.sink)

    def report(self, diagnostic: Diagnostic) -> None:
        self.problems.append(diagnostic)

    # -------------------------------------------------------------- names
    def collect(self) -> None:
        for s in self.module.statements:
            if isinstance(s, ast.Leaf):
                for name in s.names:
                    if self.claim(name):
                        (self.consts if s.role == "const" else self.leaf_lines)[name.id] = s
            elif isinstance(s, ast.Define):
                self.collect_define(s)
            elif isinstance(s, ast.Function):
                if self.claim(s.name):
                    self.functions[s.name.id] = s
            elif isinstance(s, ast.Operator):
                self.claim(s.name)
            elif isinstance(s, (ast.Loop, ast.Import)):
                what = {ast.Loop: "recurrences (`for` blocks) are", ast.Import: "imports are"}[type(s)]
                self.report(errors.later(what, s.span))
                self.forgive(s)

    def forgive(self, s: ast.Statement) -> None:
        """What a statement that is not supported yet would define is known, so that its uses are no errors."""
        stack: list[Any] = [s]
        while stack:
            item = stack.pop()
            if isinstance(item, ast.Loop):
                stack.extend(item.body)
            elif isinstance(item, ast.Define):
                self.found.update((t.name.id, POISON) for t in item.targets)
            elif isinstance(item, ast.Operator):
                nan = ast.Name("nan", item.span)
                params = tuple(ast.Parameter(p.name, None if p.default is None else nan) for p in item.params)
                self.functions[item.name.id] = ast.Function(item.name, params, (), (nan,), item.span)

    def collect_define(self, s: ast.Define) -> None:
        indexed = next((t for t in s.targets if t.index is not None), None)
        if indexed is not None or s.clauses:
            span = indexed.span if indexed else s.clauses[0].span
            if indexed is None or indexed.name.id not in self.found:
                self.report(errors.later("indexed definitions and recurrences (`y[i] = ...`) are", span))
            self.forgive(s)
            return
        literal = len(s.targets) == 1 and is_literal(s.value)
        for t in s.targets:
            if self.claim(t.name):
                if literal:
                    self.leaf_lines[t.name.id] = s
                else:
                    self.defines[t.name.id] = s

    def claim(self, name: ast.Name) -> bool:
        if name.id in self.where:
            self.report(errors.duplicate(name.id, name.span, self.where[name.id]))
            return False
        self.where[name.id] = name.span
        return True

    def open_formula(self) -> None:
        """A file that declares no leaf takes every unknown name as a scalar input."""
        if self.leaf_lines or self.consts or self.module.broken:
            return
        for define in self.defines.values():
            for name in names_in([define.value]):
                if name.id not in self.where and name.id not in CONSTANTS and name.id != "None" and name.id not in self.found:
                    self.where[name.id] = name.span
                    self.leaf_lines[name.id] = ast.Leaf("input", (name,), None, None, None, ast.Tail(), name.span)

    # -------------------------------------------------------------- values
    def go(self) -> None:
        self.collect()
        self.open_formula()
        leaves = LeafMaker(self)
        leaves.constants()
        leaves.sizes()
        leaves.make()
        self.definitions()
        self.problems += self.elaborator.problems
        self.requests()
        self.outputs()

    def definitions(self) -> None:
        by_id = {id(d): d for d in self.defines.values()}
        uses: dict[int, list[int]] = {}
        for k, d in by_id.items():
            row = uses[k] = []
            for n in names_in([d.value]):
                if n.id in self.defines:
                    row.append(id(self.defines[n.id]))
        order, cycles = in_order(by_id, uses.__getitem__)
        circular: set[int] = set()
        for path in cycles:
            if circular.isdisjoint(path):
                names = [by_id[k].targets[0].name for k in path]
                self.report(errors.cycle([n.id for n in names], [n.span for n in names]))
            circular.update(path)
        for k in circular:
            self.found.update((t.name.id, POISON) for t in by_id[k].targets)
        for k in order:
            if k not in circular:
                try:
                    self.define(by_id[k])
                except TooLarge:
                    self.report(errors.too_large(MOST_VALUES, MOST_CALLS, by_id[k].span))
                    self.found.update((t.name.id, POISON) for d in by_id.values() for t in d.targets)
                    self.elaborator.abandon()
                    return

    def define(self, d: ast.Define) -> None:
        value = self.elaborator.eval(d.value, self.env)
        if d.tail.unit is not None or d.tail.deviation is not None:
            self.report(errors.later("units and uncertainties are", d.span))
        try:
            values = unpack(value, [t.name for t in d.targets], d.span)
        except Problem as problem:
            self.report(problem.diagnostic)
            values = [POISON] * len(d.targets)
        for target, v in zip(d.targets, values, strict=True):
            self.bind(target.name, v, d)

    def bind(self, name: ast.Name, value: Value, d: ast.Define) -> None:
        try:
            ref = self.elaborator.ref(value, d.value.span)
        except Problem as problem:
            self.report(problem.diagnostic)
            ref = POISON
        if isinstance(ref, Ref):
            node = self.program.nodes[ref.id]
            if node.name is not None:  # a second name for the same value gets a node of its own
                ref = self.sink.emit(self.table["mark"], [ref], (len(self.program.nodes),), ref.type, d.span, ())
                node = self.program.nodes[ref.id]
            node.name = name.id
            self.program.values[name.id] = ref.id
            if d.tail.label is not None:
                self.program.labels[name.id] = d.tail.label
            if d.type is not None:
                self.compare_type(name, ref.type, d.type)
        self.found[name.id] = ref

    def compare_type(self, name: ast.Name, got: Type, wanted: ast.TypeExpr) -> None:
        declared = LeafMaker(self).type(wanted)
        if declared is not None and declared != got:
            self.report(errors.declared(name.id, str(declared), str(got), name.span, wanted.span))

    # -------------------------------------------------------------- requests and checks
    def requests(self) -> None:
        asked: list[Asked] = []
        promises: list[Promise] = []
        for s in self.module.statements:
            try:
                if isinstance(s, ast.Request):
                    asked += self.request(s)
                elif isinstance(s, ast.Check):
                    promises.append(self.promise(s))
            except Problem as problem:
                self.report(problem.diagnostic)
        self.program.asked, self.program.promises = tuple(asked), tuple(promises)

    def evaluated(self, expr: ast.Expr) -> Ref | Poison:
        before = len(self.elaborator.problems)
        ref = self.elaborator.ref(self.elaborator.eval(expr, self.env), expr.span)
        self.problems += self.elaborator.problems[before:]
        return ref

    def request(self, s: ast.Request) -> list[Asked]:
        if s.kind in ("jacobian", "hessian"):
            raise Problem(errors.later(f"the request `{s.kind}` is", s.span))
        if s.of is None:
            out = []
            for name in s.names:
                ref = self.evaluated(ast.Name(name.id, name.span))
                if isinstance(ref, Ref):
                    out.append(Asked("output", ref.id, name.id, None, name.span))
            return out
        ref = self.evaluated(s.of)
        shown = self.program.sources.of(s.of.span[0]).slice(s.of.span)
        wrt = tuple(n.id for n in s.names) if s.names else None
        for n in s.names:
            leaf = self.program.leaves.get(n.id)
            if n.id not in self.program.values:
                raise Problem(errors.not_a_leaf(n.id, n.span, self.program.differentiable()))
            if leaf is not None and not leaf.differentiable:
                why = "a constant" if leaf.role == "const" else f"of type {leaf.type}"
                raise Problem(errors.not_differentiable(n.id, why, n.span))
        if not isinstance(ref, Ref):
            return []
        if ref.type.shape:
            raise Problem(errors.not_scalar(shown, str(ref.type), s.of.span))
        return [Asked(s.kind, ref.id, shown, wrt, s.span)]

    def promise(self, s: ast.Check) -> Promise:
        given = {}
        for name, expr in s.given:
            if name.id not in self.program.leaves:
                raise Problem(errors.not_a_leaf(name.id, name.span, self.program.leaves, name.id in self.program.values))
            given[name.id] = self.literal(expr)
        tol = self.literal(s.tol) if s.tol is not None else None
        match s.cond:
            case ast.Compare(ops=("equal",), args=(a, b)):
                sides: tuple[Ref | Poison | None, ...] = (None, self.evaluated(a), self.evaluated(b))
            case _:
                sides = (self.evaluated(s.cond), None, None)
        ids = [r.id if isinstance(r, Ref) else None for r in sides]
        return Promise(ids[0], ids[1], ids[2], tol, given, s.span)

    def literal(self, expr: ast.Expr) -> Any:
        value = self.elaborator.eval(expr, Env(Home({})))
        if not statics.is_number(value) and not (isinstance(value, tuple) and statics.nested(value)):
            raise Problem(errors.bad_constant("a number is needed here", expr.span))
        return value

    def outputs(self) -> None:
        """The outputs that are asked for; without a request, the definitions that nothing else uses."""
        program = self.program
        if program.asked:
            named = [a if program.values.get(a.name) == a.node else replace(a, name=f"({a.name})") for a in program.asked]
            for a in named:
                program.values.setdefault(a.name, a.node)
            program.asked = tuple(named)
            program.outputs = tuple(dict.fromkeys(a.name for a in named))
            return
        used = {n.id for d in self.defines.values() for n in names_in([d.value])}
        program.outputs = tuple(n for n in self.defines if n not in used and n in program.values)
        if not program.outputs and not self.problems and not self.elaborator.problems:
            start = program.sources.files[0].base if program.sources.files else 0
            if not self.module.statements or not self.defines:
                self.report(errors.no_output((start, start)))


def check(module: ast.Module, sources: Sources, language: Language) -> tuple[Program, list[Diagnostic]]:
    """The program of a file, and its errors in the order of the text."""
    entries = read_entries(module, sources, language)
    checker = Checker(module, sources, entries.language.table)
    checker.program.language = entries.language
    checker.problems += entries.problems
    for broken in entries.broken:
        checker.forgive(broken)
    checker.go()
    unique = dict.fromkeys(checker.problems)
    return checker.program, sorted_by_place(unique)
