"""The ops and rules of a program: read, held to what an entry may say, and laid over the built-in tables.

Whether they are true is another question, which `prove/own.py` answers when a program is loaded.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gradlang.check import arrays, errors, statics
from gradlang.check import errors_ops as bad
from gradlang.check.clauses import Reader, needed_names, reference_ops
from gradlang.check.comprehension import ITERABLES
from gradlang.check.derive import CALLED
from gradlang.check.elaborate import Elaborator
from gradlang.check.errors import Problem
from gradlang.check.names import in_order, names_in
from gradlang.check.patterns import read_rule
from gradlang.check.program import Ref, Value
from gradlang.check.rules import Scratch, evaluate, home_of, library
from gradlang.check.scope import CONSTANTS, Env
from gradlang.diagnostics import Diagnostic
from gradlang.ops.language import Language
from gradlang.ops.op import Op
from gradlang.ops.table import OpTable
from gradlang.record import changed, field, record
from gradlang.source import Sources, Span
from gradlang.syntax import ast
from gradlang.types import SCALAR, Type

MOST = 20_000  # operations of an entry that is written out
DEEPEST = 30  # ops that use ops that use ops
# What a reference may call beside the ops of the table: functions of mpmath that compute and do nothing else.
REFERENCES = frozenset(
    "erf erfc erfi erfinv gamma rgamma loggamma factorial beta psi digamma harmonic zeta altzeta lambertw besselj bessely "
    "besseli besselk airyai airybi ellipk ellipe expint ei e1 li si ci shi chi fresnels fresnelc gammainc betainc polylog "
    "hyp0f1 hyp1f1 hyp2f1 exp expm1 log log1p log2 log10 ln sqrt cbrt sin cos tan sec csc cot asin acos atan atan2 sinh cosh "
    "tanh sech csch coth asinh acosh atanh sinc sinpi cospi floor ceil nint sign abs fabs hypot power binomial agm npdf ncdf"
    .split()
)  # fmt: skip


WORDS = frozenset({"solve", *ITERABLES, *CALLED})  # what the elaborator knows by name


@record(frozen=False)
class Entries:
    """The language of a program, what is wrong with its entries, and the ops that are not understood."""

    language: Language
    problems: list[Diagnostic] = field(default_factory=list)
    broken: list[ast.Operator] = field(default_factory=list)


def read_entries(module: ast.Module, sources: Sources, language: Language) -> Entries:
    """A file's ops and rules over a language. Ops with errors are left out, and named in `broken`."""
    out = Entries(language)
    nodes = [s for s in module.statements if isinstance(s, ast.Operator)]
    rewrites = [s for s in module.statements if isinstance(s, ast.Rewrite)]
    if nodes:
        out.language = language.extended(_Ops(module, sources, language.table, out).read(nodes), ())
    if rewrites:
        broken = {s.name.id for s in out.broken} | module.broken
        rules, problems = read_rules(rewrites, sources, out.language, broken)
        out.language = out.language.extended((), rules)
        out.problems += problems
    return out


def read_rules(rewrites: list[ast.Rewrite], sources: Sources, language: Language, broken: Iterable[str]) -> Any:
    rules, problems = [], []
    taken: dict[str, Span | None] = {r.name: None for r in language.rules}
    for s in rewrites:
        try:
            if s.name.id in taken:
                raise Problem(bad.rule_twice(s.name.id, s.name.span, taken[s.name.id]))
            taken[s.name.id] = s.name.span
            rule = read_rule(s, language.table, sources.of(s.span[0]), frozenset(broken))
            rules += [] if rule is None else [rule]
        except Problem as problem:
            problems.append(problem.diagnostic)
    return rules, problems


class Witness(Scratch):
    """A sink that notes the first op that looks at whole arrays."""

    def __init__(self, table: OpTable) -> None:
        super().__init__(table)
        self.whole: tuple[str, Span] | None = None
        self.seen: set[Any] = set()

    def emit(self, op: Op, args: list[Ref], attrs: tuple[Any, ...], type: Type, span: Span, scope: tuple[str, ...]) -> Ref:
        if op.defined:
            key = (op.name, tuple(a.type for a in args), attrs)
            if key not in self.seen and op.value is not None:
                self.seen.add(key)
                before = self.whole
                evaluate(op, op.value, args, attrs, self, None, None, span)
                self.whole = before or (self.whole and (op.name, span))
        elif not op.pointwise and op.name != "broadcast_to" and self.whole is None:
            self.whole = (op.name, span)
        return super().emit(op, args, attrs, type, span, scope)


class _Ops:
    """Reads the ops of one file."""

    def __init__(self, module: ast.Module, sources: Sources, table: OpTable, out: Entries) -> None:
        self.sources, self.table, self.out = sources, table, out
        self.functions = {s.name.id: s.name.span for s in module.statements if isinstance(s, ast.Function)}
        self.elsewhere: dict[str, Span] = dict(self.functions)
        for s in module.statements:
            if isinstance(s, ast.Leaf):
                self.elsewhere.update((n.id, n.span) for n in s.names)
            elif isinstance(s, ast.Define):
                self.elsewhere.update((t.name.id, t.name.span) for t in s.targets)
            elif isinstance(s, ast.Lines):
                self.elsewhere.update(zip(s.names(), s.spans(), strict=True))
        self.lost = set(module.broken)

    def read(self, nodes: list[ast.Operator]) -> list[Op]:
        ops: dict[str, Op] = {}
        at: dict[str, ast.Operator] = {}
        for node in nodes:
            if node.name.id in at:
                continue  # the checker reports names that are defined twice
            at[node.name.id] = node
            reader = Reader(node, self.sources.of(node.span[0]), self.table)
            made = reader.read()
            problems = reader.problems or [p for op in [made] if op for p in self.closed(op, {n.name.id for n in nodes})]
            self.out.problems += problems
            if made is None or problems:
                self.lose(node)
            else:
                ops[node.name.id] = made
        self.circles(ops, at)
        table = self.table.extended(ops.values())
        for name in list(ops):
            if name in ops and ops[name].calls() & self.lost:
                self.lose(at[name])
                del ops[name]
            elif (found := self.meaning(ops[name], table)) is not None:
                self.out.problems.append(found)
                self.lose(at[name])
                del ops[name]
        return list(ops.values())

    def lose(self, node: ast.Operator) -> None:
        self.lost.add(node.name.id)
        self.out.broken.append(node)

    # -------------------------------------------------------------- names
    def closed(self, op: Op, own: set[str]) -> list[Diagnostic]:
        """Names that an entry does not have, and calls of what is no op."""
        inside = {*op.params, *op.attrs, *(n for n, _ in op.locals)}
        later = {op.result, *(n for n, e in op.locals if {m.id for m in names_in([e])} & {op.result, "g"})}
        clauses: list[tuple[ast.Expr, set[str]]] = [(e, inside | {op.result, "g"}) for _, e in op.locals]
        clauses += [(e, inside | {op.result}) for e in op.partials.values()]
        clauses += [(e, inside | {op.result, "g"}) for e in op.adjoints.values()]
        clauses += [(op.value, inside - later)] if op.value is not None else []
        clauses += [(op.reference, {*op.params, *op.attrs})] if op.reference is not None else []
        out: list[Diagnostic] = []
        for expr, names in clauses:
            for n in names_in([expr]):
                if n.id in names or n.id in CONSTANTS:
                    continue
                if n.id in later and expr is op.value:
                    out.append(bad.result_in_value(n.id, op.name, n.span))
                else:
                    out.append(bad.not_closed(n.id, op.name, n.span, self.elsewhere.get(n.id), names))
            out += self.callees(op, expr, own)
        return list(dict.fromkeys(out))

    def callees(self, op: Op, expr: ast.Expr, own: set[str]) -> list[Diagnostic]:
        out = []
        for node in ast.walk(expr):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            name, span = node.func.id, node.func.span
            if name in own or name in self.table or name in self.lost:
                continue
            if name in self.functions:
                out.append(bad.own_function(name, op.name, span, self.functions[name]))
            elif expr is op.reference:
                if name not in REFERENCES:
                    out.append(bad.unknown_reference(name, span, [*self.table, *REFERENCES]))
            elif name not in library().functions and name not in arrays.SPECIAL and name not in WORDS:
                known = [*own, *self.table, *library().functions, *arrays.SPECIAL]
                out.append(errors.unknown_function(name, span, known, False))
        return out

    @staticmethod
    def expressions(op: Op) -> list[ast.Expr]:
        out = [*(e for _, e in op.locals), *op.partials.values(), *op.adjoints.values()]
        return [op.value, *out] if op.value is not None else out

    # -------------------------------------------------------------- ops that use ops
    def through(self, ops: dict[str, Op]) -> dict[str, set[str]]:
        """Which of the file's ops each of them uses, through built-in entries and functions of the library too."""
        out: dict[str, set[str]] = {}
        for name, op in ops.items():
            seen, stack = set[str](), list(self.value_calls(op))
            found = out[name] = set()
            while stack:
                used = stack.pop()
                if used in seen:
                    continue
                seen.add(used)
                if used in ops:
                    found.add(used)
                elif used in self.table:
                    stack += self.value_calls(self.table[used])
                elif used in library().functions:
                    fn = library().functions[used]
                    for expr in (*fn.result, *(d.value for d in fn.body if isinstance(d, ast.Define))):
                        stack += [n.func.id for n in ast.walk(expr) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
        return out

    def value_calls(self, op: Op) -> set[str]:
        """What the value of an entry uses; its rules may use the op itself."""
        if op.value is None:
            return set()
        needed = needed_names(op, op.value)
        return changed(op, locals=tuple((n, e) for n, e in op.locals if n in needed)).calls(rules=False)

    def circles(self, ops: dict[str, Op], at: dict[str, ast.Operator]) -> None:
        """Reports ops that use one another in a circle, and those that are too long when they are written out."""
        uses = self.through(ops)
        order, cycles = in_order(ops, uses.__getitem__)
        for path in cycles:
            if all(n in ops for n in path):
                direct = path[0] in ops[path[0]].calls()
                self.out.problems.append(bad.recursion(path, [at[n].name.span for n in path], direct))
                for n in path:
                    self.lose(at[n])
                    del ops[n]
        size: dict[str, int] = {}
        depth: dict[str, int] = {}
        for name in order:
            if name in ops:
                counts = [n.func.id for e in self.expressions(ops[name]) for n in ast.walk(e)
                          if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]  # fmt: skip
                size[name] = sum(len(ast.walk(e)) for e in self.expressions(ops[name])) + sum(size.get(c, 0) for c in counts)
                depth[name] = 1 + max((depth.get(c, 0) for c in uses[name]), default=0)
                if size[name] > MOST or depth[name] > DEEPEST:
                    self.out.problems.append(bad.too_long(name, MOST, at[name].name.span))
                    self.lose(at[name])
                    del ops[name]

    # -------------------------------------------------------------- what the formulas mean
    def meaning(self, op: Op, table: OpTable) -> Diagnostic | None:
        """The first thing that is wrong with the formulas of an entry that works entry by entry."""
        if op.reference is not None:
            more = table.extended(reference_ops(op, table))
            sink, e = Scratch(more), Elaborator(more, Scratch(more))
            names: dict[str, Value] = {**{p: sink.param(SCALAR) for p in op.params}, **dict.fromkeys(op.attrs, 1.5)}
            value = e.eval(op.reference, Env(home_of(more), names))
            if e.problems or (not isinstance(value, Ref) and not statics.is_number(value)):
                return e.problems[0] if e.problems else errors.kind("a number is needed here", op.reference.span)
        if not op.pointwise:
            return None
        assert op.value is not None
        for type in (SCALAR, Type((7,))):
            sink = Witness(table)
            env = Env(home_of(table), {p: sink.param(type) for p in op.params})
            env.names.update((a, 1.5) for a in op.attrs)
            e = Elaborator(table, sink)
            for clause in (op.value, *op.partials.values()):
                inner = Env(env.home, dict(env.names))
                if clause is not op.value:
                    inner.names[op.result] = sink.param(type)
                needed = needed_names(op, clause)
                for name, local in op.locals:
                    if name in needed:
                        inner.names[name] = e.eval(local, inner)
                value = e.eval(clause, inner)
                if not e.problems and not isinstance(value, Ref) and not statics.is_number(value):
                    return errors.kind("a number is needed here", clause.span, "an op with `d/dx` gives one number")
            if type is SCALAR and e.problems:
                return e.problems[0]
            if sink.whole is not None:
                return bad.whole_array(sink.whole[0], op.name, sink.whole[1])
        return None
