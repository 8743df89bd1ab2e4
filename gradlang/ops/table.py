"""Reads `ops.grad` and `rules.grad`: texts to `Op`s and `Rule`s.

Entries are found by their first line and parsed when they are first asked for, so that a program pays for the ops that it
uses. A table is a value: there is no registry.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from gradlang.diagnostics import Diagnostic, SourceError
from gradlang.ops.op import FLAGS, WORDS, Domain, Kink, Op
from gradlang.record import field, record
from gradlang.source import NOWHERE, Source, Sources, Span
from gradlang.syntax import ast
from gradlang.syntax.grammar import grammar_text
from gradlang.syntax.parse import parse
from gradlang.syntax.trees import ALL, kept, text_of

TABLES, RULES = ("ops.grad", "special.grad", "linalg.grad"), "rules.grad"
HEAD = re.compile(r"^op[ \t]+(\w+)", re.M)


def number(expr: ast.Expr) -> float:
    """The value of a literal of the table (`1e-3`, `-inf`)."""
    match expr:
        case ast.Number(value=value):
            return value
        case ast.Apply(op="neg", args=(arg,)):
            return -number(arg)
        case ast.Name(id="inf"):
            return float("inf")
        case ast.Name(id="nan"):
            return float("nan")
    raise ValueError("a number is expected in the table")


def spelled(expr: ast.Expr) -> str:
    """A dotted name such as `math.exp`."""
    match expr:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, name=name):
            return f"{spelled(value)}.{name}"
    raise ValueError("a spelling is a dotted name")


@record(frozen=False)
class Clauses:
    """What the lines of an entry say, as they are read."""

    flags: set[str] = field(default_factory=set)
    local: list[tuple[str, ast.Expr]] = field(default_factory=list)
    single: dict[str, ast.Expr] = field(default_factory=dict)
    partials: dict[str, ast.Expr] = field(default_factory=dict)
    adjoints: dict[str, ast.Expr] = field(default_factory=dict)
    spelling: dict[str, str] = field(default_factory=dict)
    domains: list[Domain] = field(default_factory=list)
    kinks: list[Kink] = field(default_factory=list)

    def add(self, line: ast.OpLine) -> bool:
        """Whether a line is a clause of an op."""
        first, value = line.key[0], line.values[0] if line.values else None
        if line.kind == "flag" and first in FLAGS:
            self.flags.add(first)
        elif line.kind == "partial" and first == "d" and line.key[1].startswith("d"):
            self.partials[line.key[1][1:]] = line.values[0]
        elif line.kind == "keyed" and first == "adjoint" and value is not None:
            self.adjoints[line.key[1]] = value
        elif line.kind == "keyed" and first == "spelling" and value is not None:
            self.spelling[line.key[1]] = spelled(value)
        elif line.kind == "local" and value is not None:
            if first in WORDS:
                self.single[first] = value
            else:
                self.local.append((first, value))
        elif line.kind == "domain" and first == "on":
            ends = list(map(number, line.values))
            self.domains.append(Domain({n: (ends[2 * i], ends[2 * i + 1]) for i, n in enumerate(line.key[1:])}))
        elif line.kind == "at" and first == "at":
            self.kinks.append(Kink({n.id: number(e) for n, e in line.bindings}, tuple(map(number, line.values))))
        else:
            return False
        return True


def entry(node: ast.Operator, source: Source) -> Op:
    """An `Op` from the syntax of its entry. Raises SourceError for a line that is no clause."""
    c = Clauses()
    for line in node.lines:
        if not c.add(line):
            known = "value, d/dx, adjoint, spelling, reference, shape, on, at, " + ", ".join(sorted(FLAGS))
            text = f"`{' '.join(line.key)}` is no clause of an op"
            raise SourceError([Diagnostic("G130", text, line.span, help=f"clauses are: {known}")], Sources([source]))
    attrs = [p for p in node.params if p.default is not None]
    shape = c.single.get("shape")
    return Op(
        node.name.id,
        tuple(p.name.id for p in node.params if p.default is None),
        tuple(p.name.id for p in attrs),
        tuple(p.default for p in attrs if p.default is not None),
        node.result.id,
        frozenset(c.flags),
        tuple(c.local),
        c.single.get("value"),
        c.partials,
        c.adjoints,
        c.spelling,
        c.single.get("reference"),
        shape.id if isinstance(shape, ast.Name) else "",
        tuple(c.domains),
        tuple(c.kinks),
        node.span,
        source,
    )


class OpTable(dict[str, Op]):
    """name -> Op, over one or more texts of entries; a later text overrides an earlier one.

    Iteration goes over all names, in the order of the texts; an entry is parsed when it is first asked for. `own` holds the
    entries of a program, which lie over those of `base`."""

    def __init__(self, *sources: Source) -> None:
        super().__init__()
        self._sources = sources
        self.base: OpTable | None = None
        self.own: dict[str, Op] = {}
        self.inferred: dict[Any, Any] = {}  # types of formulas that are entries: (op, types, settings) -> (settings, type)
        self.sides: dict[Any, Any] = {}  # left sides of rules over these ops (`transform/rewrite.py`), and of which rules
        self._where: dict[str, tuple[Source, int, int]] = {}
        for source in sources:
            heads = list(HEAD.finditer(source.text))
            stops = [h.start() for h in heads[1:]] + [len(source.text)]
            self._where.update({h[1]: (source, h.start(), stop) for h, stop in zip(heads, stops, strict=True)})

    def extended(self, entries: Iterable[Op]) -> OpTable:
        """This table with further entries; one with a known name takes the place of the known one."""
        made = OpTable()
        made.base, made._where = self.base or self, dict(self._where)
        made.own = {**self.own, **{op.name: op for op in entries}}
        for op in made.own.values():
            made._where[op.name] = (op.source or Source("", ""), *op.span)
        made.update(made.own)
        return made

    def __reduce__(self) -> tuple[object, ...]:
        if self.base is not None:
            return _extended, (self.base, tuple(self.own.values()))
        return (builtin, ()) if self is builtin() else (OpTable, self._sources)

    def __missing__(self, name: str) -> Op:
        if self.base is not None:
            made = self[name] = self.base[name]
            return made
        source, start, stop = self._where[name]
        node = kept(source, name)
        if node is None:
            module, faults = parse(Source(source.path, source.text[start:stop], source.base + start))
            if faults:
                raise SourceError(faults, Sources([source]))
            node = module.statements[0]
        assert isinstance(node, ast.Operator)
        made = self[name] = entry(node, source)
        return made

    def __iter__(self) -> Iterator[str]:
        return iter(self._where)

    def __len__(self) -> int:
        return len(self._where)

    def __contains__(self, name: object) -> bool:
        return name in self._where

    def entries(self) -> list[Op]:
        """Every entry, in the order of the texts."""
        return [self[name] for name in self]


def _extended(base: OpTable, entries: tuple[Op, ...]) -> OpTable:
    return base.extended(entries)


@record
class Rule:
    """A rewrite `left => right` of one class: exact (bit for bit), stable (at least as accurate), fast."""

    kind: str
    name: str
    left: ast.Expr
    right: ast.Expr
    text: str
    span: Span = NOWHERE


@cache
def builtin() -> OpTable:
    return OpTable(*(Source(name, grammar_text(name)) for name in TABLES))


def trees_text() -> str:
    """What `trees.jsonl` holds: the trees of the built-in tables and rules, from their texts."""
    texts = {name: grammar_text(name) for name in (*TABLES, RULES)}
    modules = {name: parse(Source(name, text))[0].statements for name, text in texts.items()}
    ops = {(table, s.name.id): s for table in TABLES for s in modules[table] if isinstance(s, ast.Operator)}
    return text_of(texts, {**ops, (RULES, ALL): modules[RULES]})


def read_rules(source: Source) -> tuple[Rule, ...]:
    statements = kept(source, ALL)
    if statements is None:
        module, faults = parse(source)
        if faults:
            raise SourceError(faults, Sources([source]))
        statements = module.statements
    return tuple(
        Rule(r.kind.id, r.name.id, r.left, r.right, source.slice(r.span)) for r in statements if isinstance(r, ast.Rewrite)
    )


@cache
def rules() -> tuple[Rule, ...]:
    return read_rules(Source(RULES, grammar_text(RULES)))
