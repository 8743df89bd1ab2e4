"""The clauses of one op of a program: each in its place, each once, each about an argument that there is."""

from __future__ import annotations

import re

from gradlang.check import errors, statics
from gradlang.check import errors_ops as bad
from gradlang.check.elaborate import Elaborator
from gradlang.check.names import in_order, names_in
from gradlang.check.program import POISON
from gradlang.check.rules import Scratch
from gradlang.check.scope import Env, Home
from gradlang.diagnostics import Diagnostic
from gradlang.ops.op import FLAGS, Op
from gradlang.ops.table import OpTable, builtin, entry
from gradlang.record import changed
from gradlang.source import Source, Span
from gradlang.syntax import ast

OPEN = ("constant", "linear")  # the flags that a program may use
CLOSED_CLAUSES = ("spelling", "shape")
# Ops that formulas and rules are written with: replacing one would change what every other entry means.
CORE = frozenset("add sub mul div neg floordiv mod pow powi zmul".split())


def is_core(op: Op) -> bool:
    return bool(op.shape) or bool(op.flags - {"constant", "rounding"}) or op.name in CORE


def needed_names(op: Op, expr: ast.Expr) -> set[str]:
    """The names that an expression of an entry uses, directly or through shared work."""
    wanted = {n.id for n in names_in([expr])}
    for name, local in reversed(op.locals):
        if name in wanted:
            wanted |= {n.id for n in names_in([local])}
    return wanted


def reference_ops(op: Op, table: OpTable) -> list[Op]:
    """The functions of mpmath that the reference of an entry calls, as primitives; inside it the entry's own name is one."""
    calls = [n for n in ast.walk(op.reference) if isinstance(n, ast.Call)] if op.reference is not None else []
    return [
        Op(n.func.id, tuple(f"x{k}" for k in range(len(n.args))), (), (), "y", source=op.source)
        for n in calls
        if isinstance(n.func, ast.Name) and (n.func.id == op.name or n.func.id not in table)
    ]


def clause_span(op: Op, clause: str) -> Span:
    """Where a clause of an entry stands: its line from the first letter on."""
    word, _, about = clause.partition(" ")
    exprs = {"value": op.value, "reference": op.reference, **{f"d/d{p}": e for p, e in op.partials.items()}}
    expr = op.adjoints.get(about) if word == "adjoint" else exprs.get(clause)
    if op.source is None:
        return op.span
    text, base = op.source.text, op.source.base
    if expr is not None:
        line = text.rfind("\n", 0, expr.span[0] - base) + 1
        return line + len(text[line:]) - len(text[line:].lstrip()) + base, expr.span[1]
    found = re.search(rf"^[ \t]+({re.escape(clause)})\b", op.text(), re.M)
    return (op.span[0] + found.start(1), op.span[0] + found.end(1)) if found else op.span


class Reader:
    """Reads one op; `problems` tells why there is none."""

    def __init__(self, node: ast.Operator, source: Source, table: OpTable) -> None:
        self.node, self.source, self.table = node, source, table
        self.name = node.name.id
        self.problems: list[Diagnostic] = []
        self.params = [p.name.id for p in node.params if p.default is None]
        self.attrs = [p.name.id for p in node.params if p.default is not None]
        self.first: dict[str, Span] = {}  # clause -> where it is given

    def report(self, diagnostic: Diagnostic) -> None:
        self.problems.append(diagnostic)

    def read(self) -> Op | None:
        self.signature()
        lines = [made for line in self.node.lines if (made := self.line(line)) is not None]
        self.combination()
        if self.problems:
            return None
        lines = self.sorted_locals(lines)
        params = tuple(ast.Parameter(p.name, None if p.default is None else self.number(p.default)) for p in self.node.params)
        return None if self.problems else entry(changed(self.node, params=params, lines=tuple(lines)), self.source)

    # -------------------------------------------------------------- the first line
    def signature(self) -> None:
        node = self.node
        if self.name in self.table and is_core(self.table[self.name]):
            self.report(bad.core_op(self.name, node.name.span))
        elif self.name in builtin() and self.takes() != self.takes(builtin()[self.name]):
            self.report(bad.other_signature(self.name, ", ".join(self.takes(builtin()[self.name])), node.name.span))
        seen: dict[str, Span] = {}
        settings = False
        for p in (*node.params, ast.Parameter(node.result, None)):
            if p.name.id in seen:
                self.report(errors.duplicate(p.name.id, p.name.span, seen[p.name.id]))
            seen.setdefault(p.name.id, p.name.span)
            if p.default is None and settings and p.name is not node.result:
                text = f"the argument `{p.name.id}` stands after a setting"
                self.report(bad.bad_signature(text, p.name.span, "arguments without a default come first"))
            settings = settings or p.default is not None
        if not self.params:
            self.report(
                bad.bad_signature(
                    f"the op `{self.name}` has no arguments", node.name.span, "a value without arguments is a `const`"
                )
            )

    def takes(self, op: Op | None = None) -> list[str]:
        """What is written between the parentheses of a call: a place for every argument, the names of settings."""
        params, attrs = (self.params, self.attrs) if op is None else (op.params, op.attrs)
        return [*params, *(f"{a}=" for a in attrs)]

    def number(self, expr: ast.Expr) -> ast.Number:
        """A number that is known now, as a literal; reports what is none."""
        e = Elaborator(self.table, Scratch(self.table))
        value = e.eval(expr, Env(Home({})))
        if value is not POISON and statics.is_number(value) and not e.problems:
            exact = value if isinstance(value, int) else None
            return ast.Number(statics.real(value), exact, expr.span)
        self.report(errors.bad_constant("a number is needed here", expr.span, "an op is closed: write the number itself"))
        return ast.Number(0.0, 0, expr.span)

    # -------------------------------------------------------------- the other lines
    def line(self, line: ast.OpLine) -> ast.OpLine | None:
        """A clause with its numbers known, or None if it is none (which is reported)."""
        kind, word = line.kind, line.key[0]
        if word in CLOSED_CLAUSES or (kind == "flag" and word in FLAGS and word not in OPEN):
            self.report(bad.not_yours(word, line.span))
            return None
        fits = {
            "flag": word in OPEN,
            "local": True,
            "partial": word == "d" and len(line.key[-1]) > 1 and line.key[-1].startswith("d"),
            "keyed": word == "adjoint",
            "at": word == "at",
            "domain": word == "on",
        }
        if not fits.get(kind, False):
            shown = "/".join(line.key) if kind == "partial" else " ".join(line.key[: 1 if kind in ("at", "domain") else 2])
            self.report(bad.no_clause(shown, word, line.span))
            return None
        if kind in ("flag", "local", "partial", "keyed"):
            return self.single(line, {"partial": "/".join(line.key), "keyed": " ".join(line.key)}.get(kind, word))
        return self.domain(line) if kind == "domain" else self.kink(line)

    def single(self, line: ast.OpLine, clause: str) -> ast.OpLine | None:
        """A clause that may be given once."""
        if clause in self.first:
            self.report(bad.clause_twice(clause, line.span, self.first[clause]))
            return None
        self.first[clause] = line.span
        if line.kind in ("partial", "keyed"):
            about = line.key[1][1:] if line.kind == "partial" else line.key[1]
            if about in self.attrs:
                self.report(bad.by_setting(about, self.name, line.span))
            elif about not in self.params:
                self.report(bad.no_argument(clause, about, self.name, self.params, line.span))
        elif line.kind == "local":
            other = next((p.name for p in self.node.params if p.name.id == clause), None)
            if other is not None or clause == self.node.result.id:
                span = other.span if other is not None else self.node.result.span
                self.report(errors.duplicate(clause, line.span, span))
        return line

    def domain(self, line: ast.OpLine) -> ast.OpLine | None:
        for name in line.key[1:]:
            if name not in self.params and name not in self.attrs:
                self.report(bad.no_argument("on", name, self.name, [*self.params, *self.attrs], line.span))
        values = tuple(map(self.number, line.values))
        for name, low, high in zip(line.key[1:], values[::2], values[1::2], strict=True):
            if not low.value <= high.value or abs(low.value) == float("inf") or abs(high.value) == float("inf"):
                text = "a range is two finite numbers, the smaller one first"
                self.report(errors.bad_constant(text, low.span, f"for example `on {name} in [0, 1]`"))
            elif name in self.attrs and low.value != high.value:
                text = f"`{name}` is a setting: it is tested at one value"
                self.report(errors.bad_constant(text, low.span, f"for example `{name} in [2, 2]`"))
        return changed(line, values=values)

    def kink(self, line: ast.OpLine) -> ast.OpLine | None:
        given = {n.id for n, _ in line.bindings}
        for n, _ in line.bindings:
            if n.id not in self.params and n.id not in self.attrs:
                self.report(bad.no_argument("at", n.id, self.name, self.params, line.span))
        missing = [p for p in self.params if p not in given]
        if missing or len(line.values) != len(self.params):
            what = f"a value of `{missing[0]}`" if missing else f"{len(self.params)} partials, one for each argument"
            point = ", ".join(f"{p} = 0" for p in self.params)
            hint = f"write `at {point} -> {', '.join('0' for _ in self.params)}`, with the numbers that hold"
            self.report(errors.bad_constant(f"this line needs {what}", line.span, hint))
            return None
        bindings = tuple((n, self.number(e)) for n, e in line.bindings)
        return changed(line, bindings=bindings, values=tuple(map(self.number, line.values)))

    def combination(self) -> None:
        """Which clauses an op needs, and which do not go together."""
        first = self.first
        partials = [c for c in first if c.startswith("d/d")]
        adjoints = [c for c in first if c.startswith("adjoint ")]
        rules = partials + adjoints
        if "value" not in first and not self.problems:
            self.report(bad.no_value(self.name, self.node.name.span))
        pairs = [
            (partials, adjoints),
            (["constant"] if "constant" in first else [], rules + [c for c in first if c == "linear"]),
        ]
        pairs.append((["linear"] if "linear" in first else [], partials))
        for left, right in pairs:
            if left and right:
                self.report(bad.two_kinds(self.name, left[0], first[left[0]], right[0], first[right[0]]))
                return
        if "linear" in first and not adjoints and self.params:
            self.report(
                bad.missing_rule(f"adjoint {self.params[0]}", self.params[0], self.name, first["linear"], first["linear"])
            )
            return
        if adjoints and "reference" in first:
            self.report(bad.two_kinds(self.name, "reference", first["reference"], adjoints[0], first[adjoints[0]]))
        for p in self.params if rules else ():
            clause = f"d/d{p}" if partials else f"adjoint {p}"
            if clause not in first and not self.problems:
                self.report(bad.missing_rule(clause, p, self.name, self.node.name.span, first[rules[0]]))
        if adjoints and "g" in (*self.params, *self.attrs, *first):
            text = "in an op with `adjoint` the name `g` is the cotangent of the result"
            self.report(bad.bad_signature(text, self.node.name.span, "give the argument or line `g` another name"))

    def sorted_locals(self, lines: list[ast.OpLine]) -> list[ast.OpLine]:
        """The lines with shared work in an order in which it can be computed."""
        work = {line.key[0]: line for line in lines if line.kind == "local" and line.key[0] not in ("value", "reference")}
        order, cycles = in_order(work, lambda n: [m.id for m in names_in(work[n].values) if m.id in work])
        if cycles:
            self.report(errors.cycle(cycles[0], [work[n].span for n in cycles[0]]))
        rest = [line for line in lines if line.kind != "local" or line.key[0] not in work]
        return [*(work[n] for n in order), *rest]
