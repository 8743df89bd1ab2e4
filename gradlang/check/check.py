"""Parsed files to a `Program`, or the list of everything that is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import TYPE_CHECKING, Any

from gradlang.check import arrays, errors, imports, units
from gradlang.check.calls import MOST_CALLS, unpack
from gradlang.check.elaborate import Elaborator
from gradlang.check.errors import Problem, TooLarge
from gradlang.check.imports import keep_needed
from gradlang.check.leaves import LeafMaker
from gradlang.check.modules import Unit
from gradlang.check.names import LITERAL_NAMES, closures, is_literal, names_in
from gradlang.check.outline import Many, defined, outline, used
from gradlang.check.program import POISON, Node, Program, Ref, Value
from gradlang.check.replay import Replay
from gradlang.check.requests import ask
from gradlang.check.rules import library
from gradlang.check.scope import CONSTANTS, Env, Home
from gradlang.check.zeros import zero_derivatives
from gradlang.diagnostics import Diagnostic
from gradlang.diagnostics import in_order as sorted_by_place
from gradlang.ops.language import Language
from gradlang.ops.op import Op
from gradlang.source import Sources, Span
from gradlang.syntax import ast
from gradlang.syntax.lines import Written
from gradlang.types import Dim, Type

if TYPE_CHECKING:
    from gradlang.check.entries import Entries

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

    @property
    def nodes(self) -> list[Node]:
        return self.program.nodes

    @property
    def requirements(self) -> list[tuple[Dim, int, Span, str]]:
        return self.program.requirements

    def require(self, dim: Dim, low: int, span: Span, wrong: str) -> None:
        self.program.requirements.append((dim, low, span, wrong))


def declared(module: ast.Module) -> set[str]:
    """The names that the lines of a file define, as far as one can tell without reading other files; of many lines only those
    that are LITERAL_NAMES."""
    out: set[str] = set()
    for s in module.statements:
        if isinstance(s, ast.Leaf):
            out.update(n.id for n in s.names)
        elif isinstance(s, ast.Define):
            out.update(defined(s))
        elif isinstance(s, ast.Lines):
            out.update(LITERAL_NAMES.intersection(s.names()))
        elif isinstance(s, ast.Import) and s.names is not None:
            out.update(ours.id for _, ours in s.names)
    return out


def strangers(d: ast.Define | Many, known: Set[str]) -> Sequence[ast.Define]:
    """The definitions that use other names than those that are known."""
    return d.unknown(known) if isinstance(d, Many) else [d]


class Checker:
    """Checks one file of a program, into which it adds the nodes of that file's formulas."""

    def __init__(self, unit: Unit, program: Program, elaborator: Elaborator) -> None:
        self.unit, self.module, self.table = unit, unit.module, elaborator.table
        self.program, self.elaborator = program, elaborator
        self.sink = ProgramSink(program)
        self.abandoned = False  # the program is too large to go on
        self.demands: list[tuple[list[int], list[tuple[Dim, int, Span, str]]]] = []  # what definitions demand of the sizes
        self.problems: list[Diagnostic] = []
        self.where: dict[str, Span] = {}
        self.defines: dict[str, ast.Define] = {}
        self.plain: list[ast.Define | Many] = []  # what gives names their values that have no index, in order
        self.indexed: dict[str, units.Indexed] = {}
        self.lost: set[str] = set()
        self.places: object = None  # of the names that many lines define (`many.py`)
        self.together: dict[str, set[str]] = {}  # names that are defined entry by entry, with those that recur with them
        self.leaf_lines: dict[str, ast.Leaf | ast.Define] = {}
        self.consts: dict[str, ast.Leaf] = {}
        self.functions: dict[str, ast.Function] = {}
        self.closed: dict[str, frozenset[str]] = {}  # by function: the names of the file that a call of it uses
        self.found: dict[str, Value] = dict.fromkeys(unit.module.broken, POISON)
        self.callables = [*library().functions, *arrays.SPECIAL, *self.table]
        self.replay = Replay(self)
        self.home = unit.home = Home(
            self.functions,
            self.found.get,
            lambda: [*self.where, *self.program.sizes],
            parent=library(),
            callables=lambda: [*self.functions, *self.home.imported, *self.callables],
            ops=frozenset(s.name.id for s in unit.module.statements if isinstance(s, ast.Operator)),
        )
        self.env = Env(self.home)

    def report(self, diagnostic: Diagnostic) -> None:
        self.problems.append(diagnostic)

    # -------------------------------------------------------------- names
    def collect(self) -> None:
        self.shadowed = LITERAL_NAMES & declared(self.module)
        for s in self.module.statements:
            if s.__class__ is Written and self.collect_line(s):
                continue
            if isinstance(s, ast.Lines):
                from gradlang.check import many  # which needs NumPy

                many.collect(self, s)
            else:
                self.collect_statement(s)

    def collect_statement(self, s: ast.Statement) -> None:
        if isinstance(s, ast.Leaf):
            for name in s.names:
                if self.claim(name):
                    (self.consts if s.role == "const" else self.leaf_lines)[name.id] = s
        elif isinstance(s, ast.Define) and units.plain_target(s):
            self.collect_define(s)
        elif isinstance(s, (ast.Define, ast.Loop)):
            self.collect_indexed(s)
        elif isinstance(s, ast.Function):
            if self.claim(s.name):
                self.functions[s.name.id] = s
        elif isinstance(s, ast.Import):
            imports.take(self, s)
        elif isinstance(s, ast.Operator):
            self.claim(s.name)

    def forgive(self, s: ast.Statement) -> None:
        """What a statement with an error would define is known, so that its uses are no errors."""
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

    def collect_line(self, s: Written) -> bool:
        """Collects a line that plainly defines a name by others."""
        found = outline(s)
        if found is None or not found.names or s.words[found.names[0]] in LITERAL_NAMES:
            return False
        name = s.words[found.target]
        span = (s.at, s.at + len(name))
        if name not in self.where:
            self.where[name] = span
            self.defines[name] = s
            self.plain.append(s)
        else:
            self.claim(ast.Name(name, span))
        return True

    def collect_define(self, s: ast.Define) -> None:
        try:
            units.one_value(s)
        except Problem as problem:
            self.report(problem.diagnostic)
            self.forgive(s)
            return
        literal = len(s.targets) == 1 and is_literal(s.value, self.shadowed)
        claimed = [t.name.id for t in s.targets if self.claim(t.name)]
        (self.leaf_lines if literal else self.defines).update(dict.fromkeys(claimed, s))
        if claimed and not literal:
            self.plain.append(s)

    def collect_indexed(self, s: ast.Define | ast.Loop) -> None:
        """Definitions entry by entry: a name may have several lines."""
        try:
            found = units.read([s]).indexed
        except Problem as problem:
            self.report(problem.diagnostic)
            before = set(self.found)
            self.forgive(s)
            self.lost |= set(self.found) - before
            return
        for name, indexed in found.items():
            if name in self.indexed:
                self.indexed[name].pieces.extend(indexed.pieces)
            elif self.claim(indexed.name):
                self.indexed[name] = indexed

    def claim(self, name: ast.Name) -> bool:
        if name.id in self.where:
            self.report(errors.duplicate(name.id, name.span, self.where[name.id]))
            return False
        self.where[name.id] = name.span
        return True

    def open_formula(self) -> None:
        """A file that declares no leaf, and imports none, takes every unknown name as a scalar input."""
        if self.leaf_lines or self.consts or self.module.broken or any(u.leafy for u in self.unit.links.values()):
            return
        pieces = [p for x in self.indexed.values() for p in x.pieces]
        known = {*self.where, *CONSTANTS, "None", *self.found}
        lines = [d for many in self.plain if not known.issuperset(used(many)) for d in strangers(many, known)]
        names = [n for d in lines for n in names_in([d.value])]
        for name in names + [n for p in pieces for n in units.names_of(p)]:
            if name.id not in self.where and name.id not in CONSTANTS and name.id != "None" and name.id not in self.found:
                self.where[name.id] = name.span
                self.leaf_lines[name.id] = ast.Leaf("input", (name,), None, None, None, ast.Tail(), name.span)

    # -------------------------------------------------------------- values
    def go(self) -> None:
        self.collect()
        self.open_formula()
        self.unit.leafy = bool(self.leaf_lines) or any(u.leafy for u in self.unit.links.values())
        leaves = LeafMaker(self)
        leaves.constants()
        leaves.sizes()
        leaves.make()
        self.definitions()
        self.problems += self.elaborator.problems

    def definitions(self) -> None:
        self.closed = closures(self.functions)
        found, circles = units.ordered(units.Lines(self.plain, self.indexed), self.closed)
        for names in circles:
            self.report(errors.cycle([n.id for n in names], [n.span for n in names]))
        if circles:
            in_circle = {n for d in self.plain for n in defined(d)} | set(self.indexed)
            in_circle = in_circle.difference(*(unit.names() for unit in found))
            self.found.update(dict.fromkeys(in_circle, POISON))
        self.together = {n: unit.names() for unit in found if isinstance(unit, units.Group) for n in unit.names()}
        for unit in found:
            try:
                if isinstance(unit, units.Group):
                    self.define_rows(unit)
                else:
                    self.define(unit.define)
            except TooLarge:
                span = unit.members[0].name.span if isinstance(unit, units.Group) else unit.define.span
                self.report(errors.too_large(MOST_VALUES, MOST_CALLS, span))
                self.found.update(dict.fromkeys((n for u in found for n in u.names()), POISON))
                self.elaborator.abandon()
                self.abandoned = True
                return

    def define_rows(self, group: units.Group) -> None:
        before = len(self.program.requirements)
        if group.names() & (self.module.broken | self.lost):  # a line of it has an error
            self.found.update(dict.fromkeys(group.names(), POISON))
            return
        from gradlang.check import recurrence  # which few files need

        values = recurrence.define(self.elaborator, self.env, group)
        for member in group.members:
            self.bind(member.name, values[member.name.id], member.pieces[0].define)
        self.demand(before, [m.name for m in group.members])

    def define(self, d: ast.Define | Many) -> None:
        if isinstance(d, Many):
            d.define(MOST_VALUES)
        elif d.__class__ is not Written or not self.replay.define(d, MOST_VALUES):
            self.elaborated(d)

    def elaborated(self, d: ast.Define) -> None:
        before = len(self.program.requirements)
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
        self.demand(before, [t.name for t in d.targets])

    def demand(self, before: int, names: list[ast.Name]) -> None:
        """What the definition of some names demands of the sizes counts where these names are used."""
        if rows := self.program.requirements[before:]:
            made = [self.found[n.id] for n in names]
            self.demands.append(([v.id for v in made if isinstance(v, Ref)], rows))

    def bind(self, name: ast.Name, value: Value, d: ast.Define) -> None:
        try:
            ref = self.elaborator.ref(value, d.value.span)
        except Problem as problem:
            several = isinstance(value, tuple) and isinstance(d.value, ast.Call)
            self.report(errors.several_values(len(value), d.value.span) if several else problem.diagnostic)
            ref = POISON
        if isinstance(ref, Ref):
            node = self.program.nodes[ref.id]
            if node.name is not None:  # a second name for the same value gets a node of its own
                ref = self.sink.emit(self.table["mark"], [ref], (len(self.program.nodes),), ref.type, d.span, ())
                node = self.program.nodes[ref.id]
            node.name = self.unit.full(name.id)
            self.program.values[node.name] = ref.id
            if d.tail.label is not None:
                self.program.labels[node.name] = d.tail.label
            if d.type is not None:
                self.compare_type(name, ref.type, d.type)
        self.found[name.id] = ref

    def compare_type(self, name: ast.Name, got: Type, wanted: ast.TypeExpr) -> None:
        declared = LeafMaker(self).type(wanted)
        if declared is not None and declared != got:
            self.report(errors.declared(name.id, str(declared), str(got), name.span, wanted.span))


def entries_of(module: ast.Module, sources: Sources, language: Language) -> Entries | None:
    """A file's ops and rules over a language, if it has any."""
    if not any(isinstance(s, (ast.Operator, ast.Rewrite)) for s in module.statements):
        return None
    from gradlang.check.entries import read_entries

    return read_entries(module, sources, language)


def check(files: Sequence[Unit], sources: Sources, language: Language) -> tuple[Program, list[Diagnostic]]:
    """The program of some files, each after those that it imports, and their errors in the order of the texts."""
    program = Program(sources)
    elaborator = Elaborator(language.table, ProgramSink(program))
    done: list[Checker] = []
    problems: list[Diagnostic] = []
    for unit in files:
        entries = entries_of(unit.module, sources, language)
        program.language = language = entries.language if entries else language
        elaborator.table = language.table
        checker = Checker(unit, program, elaborator)
        if entries:
            checker.problems += entries.problems
            for broken in entries.broken:
                checker.forgive(broken)
        done.append(checker)
        checker.go()
        problems += checker.problems
        if checker.abandoned and unit is not files[-1]:
            break
    else:
        ask(checker)
        problems += checker.problems
        if len(done) > 1:
            keep_needed(checker, done[:-1])
    if not problems:
        program.warnings += zero_derivatives(program, elaborator.derived)
    return program, sorted_by_place(dict.fromkeys(problems))
