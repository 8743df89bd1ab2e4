"""Rewrite rules as data: patterns over tapes, read from `rules.grad`.

In a rule a name stands for any value, a number for that constant, `axis`, `keepdims` and the like for settings. The right
side is an ordinary expression, elaborated over what the left side matched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from typing import Any, TypeVar

from gradlang.check.elaborate import Elaborator
from gradlang.check.program import Ref
from gradlang.check.rules import home_of, library
from gradlang.check.scope import CONSTANTS, Env
from gradlang.check.statics import whole
from gradlang.diagnostics import internal
from gradlang.ir.tape import UNIFORM, Builder, Instr, Tape
from gradlang.ops.table import OpTable, Rule, number
from gradlang.record import record
from gradlang.source import NOWHERE, Span
from gradlang.syntax import ast
from gradlang.types import SCALAR, stretches

T = TypeVar("T")


@record
class Var:
    name: str


@record
class Const:
    value: float


@record
class Pattern:
    """An op over patterns; a setting is a Var or a fixed value."""

    op: str
    args: tuple[Any, ...]
    attrs: tuple[Any, ...] = ()


Side = Var | Const | Pattern


def pattern(expr: ast.Expr, table: OpTable) -> Side:
    """The pattern of a rule's left side."""
    match expr:
        case ast.Name(id=name):
            return Const(CONSTANTS[name]) if name in CONSTANTS else Var(name)
        case ast.Number(value=value):
            return Const(value)
        case ast.Apply(op="neg", args=(ast.Number(value=value),)):
            return Const(-value)
    op, args, settings = applied(expr)
    if settings is None:
        assert isinstance(expr, ast.Call)
        given = {k.name: k.value for k in expr.keywords}
        settings = tuple(_setting(given.get(a)) for a in table[op].attrs)
    return Pattern(op, tuple(pattern(a, table) for a in args), settings)


def applied(expr: ast.Expr) -> tuple[str, tuple[ast.Expr, ...], tuple[Any, ...] | None]:
    """The op at the top of a rule's left side, what it is applied to, and its settings; None if these are keywords."""
    match expr:
        case ast.Apply(op="pow", args=(base, ast.Number() as exponent)) if (n := whole(exponent.value)) is not None:
            return "powi", (base,), (n,)
        case ast.Apply(op=op, args=args):
            return op, args, ()
        case ast.Compare(ops=(op,), args=args):
            return op, args, ()
        case ast.IfElse(then=then, cond=cond, other=other):
            return "where", (cond, then, other), ()
        case ast.Call(func=ast.Name(id="max" | "min" as name), args=(a, b), keywords=()):
            return "maximum" if name == "max" else "minimum", (a, b), ()
        case ast.Call(func=ast.Name(id=name), args=args):
            return name, args, None
    raise ValueError(f"a rule cannot start from {type(expr).__name__}")


def _setting(expr: ast.Expr | None) -> Any:
    if expr is None:
        return Var("_")
    return Var(expr.id) if isinstance(expr, ast.Name) else number(expr)


def match(b: Builder, side: Side, i: int, found: dict[str, Any]) -> bool:
    """Whether instruction i has the form of a pattern; fills `found` with what its names stand for.

    Patterns are as deep as the rules of the table, so this recursion is bounded by them."""
    at = b.instrs[i]
    if isinstance(side, Var):
        return bool(found.setdefault(side.name, i) == i)
    if isinstance(side, Const):
        u = b.uniform(i)
        return u is not None and b.instrs[u].op == "const" and _same(b.instrs[u].attrs[0], side.value)
    if at.op != side.op or len(at.args) != len(side.args):
        return False
    return all(_setting_matches(p, v, found) for p, v in zip(side.attrs, at.attrs, strict=True)) and all(
        match(b, p, a, found) for p, a in zip(side.args, at.args, strict=True)
    )


def _same(a: Any, b: float) -> bool:
    return not isinstance(a, bool) and a == b and str(float(a)) == str(float(b))


def _setting_matches(side: Any, value: Any, found: dict[str, Any]) -> bool:
    if isinstance(side, Var):
        return bool(side.name == "_" or found.setdefault("=" + side.name, value) == value)
    return bool(side == value)


ANYTHING = "anything"


Hint = tuple[frozenset[str], frozenset[float]]


def held(side: Side) -> Iterator[str | float]:
    """The ops and constants in a pattern, which is as deep as the rules of the table."""
    if isinstance(side, Const):
        yield side.value
    elif isinstance(side, Pattern):
        yield side.op
        for arg in side.args:
            yield from held(arg)


def _needed(side: Pattern) -> Hint:
    """Ops and constants of which at least one stands directly under every match of a pattern."""
    ops: set[str] = set()
    constants: set[float] = set()
    for arg in side.args:
        if isinstance(arg, Const):
            ops |= {*UNIFORM}
            constants.add(arg.value)
        elif isinstance(arg, Pattern):
            ops.add(arg.op)
    return frozenset(ops or {ANYTHING}), frozenset(constants)


def candidates(tape: Tape, watched: ByOp[Set[str | float]], folded: bool = False) -> bytearray:
    """A truth value for each instruction: whether one of its arguments is an op, or a constant, that is watched under its op;
    if `folded`, also whether its value may be known because all arguments are constants, or the condition of a choice is."""
    kinds: list[str | float] = [i.attrs[0] if i.op == "const" else i.op for i in tape.instrs]
    found = bytearray(len(kinds))
    for i, instr in enumerate(tape.instrs):
        args = instr.args
        if not args:
            continue
        under = watched[instr.op]
        number = True
        for a in args:
            kind = kinds[a]
            if kind in under:
                found[i] = 1
                break
            if kind.__class__ is str:
                number = False
        else:
            if ANYTHING in under or (folded and (number or (instr.op == "where" and kinds[args[0]].__class__ is not str))):
                found[i] = 1
    return found


class ByOp(dict[str, T]):
    """What belongs to an op, made when it is first asked for."""

    def __init__(self, make: Callable[[str], T]) -> None:
        super().__init__()
        self.make = make

    def __missing__(self, op: str) -> T:
        made = self[op] = self.make(op)
        return made


class Sides:
    """The left sides of rules, by the op at the top. A program pays for those of its own ops, and once for all
    compilations."""

    def __init__(self, rules: Iterable[Rule], table: OpTable) -> None:
        self.table = table
        self.rules: dict[str, list[Rule]] = {}
        for rule in rules:
            self.rules.setdefault(applied(rule.left)[0], []).append(rule)
        self.by_op = ByOp(self.patterns)
        self.hints = ByOp(self.hint)
        self.holding = ByOp(lambda op: [frozenset(held(side)) for side, _ in self.by_op[op]])
        # by op: one of these ops or constants stands directly under an instruction that a rule may fit
        self.under = ByOp(self.watched)
        # by rule: its right side over inputs, which are its names in order, and which instruction is the value
        self.over_scalars: dict[str, tuple[list[Instr], int | None]] = {}

    def patterns(self, op: str) -> list[tuple[Pattern, Rule]]:
        found = []
        for rule in self.rules.get(op, ()):
            side = pattern(rule.left, self.table)
            assert isinstance(side, Pattern)
            found.append((side, rule))
        return found

    def hint(self, op: str) -> Hint | None:
        needed = [_needed(side) for side, _ in self.by_op[op]]
        none: Hint = frozenset(), frozenset()
        return (none[0].union(*(o for o, _ in needed)), none[1].union(*(c for _, c in needed))) if needed else None

    def watched(self, op: str) -> Set[str | float]:
        ops, constants = self.hints[op] or (frozenset(), frozenset())
        return ops | constants


def sides_of(rules: tuple[Rule, ...], kinds: tuple[str, ...], table: OpTable) -> Sides:
    """The sides of the rules of some classes. A table keeps those that it was last used with."""
    kept = table.sides.get(kinds)
    if kept is None or kept[0] is not rules:
        kept = table.sides[kinds] = rules, Sides([r for r in rules if r.kind in kinds], table)
    made: Sides = kept[1]
    return made


class Rewriter:
    """The rules of some classes, found by the op at the top of their left side."""

    def __init__(self, rules: tuple[Rule, ...], kinds: tuple[str, ...], table: OpTable) -> None:
        self.table = table
        sides = sides_of(rules, kinds, table)
        self.rules, self.by_op, self.hints, self.under = sides.rules, sides.by_op, sides.hints, sides.under
        self.holding = sides.holding
        self.over_scalars = sides.over_scalars
        self.used: list[tuple[str, Span]] = []

    def may_apply(self, instrs: Sequence[Instr], op: str, args: tuple[int, ...]) -> bool:
        """Whether the arguments of an op are such that some rule might fit: a quick look, made for every instruction."""
        hint = self.hints[op]
        if hint is None:
            return False
        ops, constants = hint
        if ANYTHING in ops:
            return True
        for a in args:
            at = instrs[a]
            if at.op in ops or (at.op == "const" and at.attrs[0] in constants):
                return True
        return False

    def first(self, tape: Tape, asked: Sequence[int]) -> int | None:
        """The first instruction that a rule fits, of those that are `asked`."""
        b = Builder(self.table)
        b.instrs = list(tape.instrs)
        for i, instr in enumerate(tape.instrs):
            if asked[i] and self.fitting(b, instr, instr.args) is not None:
                return i
        return None

    def fitting(self, b: Builder, instr: Instr, args: tuple[int, ...], after: int = 0) -> tuple[int, dict[str, Any]] | None:
        """The number of the first rule, from `after` on, that fits `instr` over `args`, and what its names stand for."""
        if not self.may_apply(b.instrs, instr.op, args):
            return None
        rules = self.by_op[instr.op]
        for k in range(after, len(rules)):
            side, _ = rules[k]
            found: dict[str, Any] = {}
            if all(_setting_matches(p, v, found) for p, v in zip(side.attrs, instr.attrs, strict=True)) and all(
                match(b, p, a, found) for p, a in zip(side.args, args, strict=True)
            ):
                return k, found
        return None

    def apply(self, b: Builder, instr: Instr, args: tuple[int, ...]) -> int | None:
        """The instruction that takes the place of `instr` over `args`, or None if no rule fits."""
        fits = self.fitting(b, instr, args)
        while fits is not None:
            k, found = fits
            rule = self.by_op[instr.op][k][1]
            made = self.write(b, rule, found, instr)
            if made is not None:
                self.used.append((rule.name, instr.span))
                return made
            fits = self.fitting(b, instr, args, k + 1)
        return None

    def write(self, b: Builder, rule: Rule, found: dict[str, Any], instr: Instr) -> int | None:
        """The right side of a rule; over single numbers it is elaborated once."""
        if instr.type is not SCALAR or any(k.startswith("=") for k in found) or not b.all_scalar(found.values()):
            return self.elaborated(b, rule, found, instr)
        names = sorted(found)
        if rule.name not in self.over_scalars:
            own = Builder(self.table)
            given = {n: own.leaf("input", (n,), SCALAR, NOWHERE).id for n in names}
            self.over_scalars[rule.name] = own.instrs, self.elaborated(own, rule, given, instr)
        steps, out = self.over_scalars[rule.name]
        made = [found[n] for n in names]
        for step in steps[len(names) :] if out is not None else ():
            args = tuple([made[a] for a in step.args])
            made.append(b.add(step.op, args, step.attrs, step.type, instr.span, instr.scope if args else ()))
        return None if out is None else made[out]

    def elaborated(self, b: Builder, rule: Rule, found: dict[str, Any], instr: Instr) -> int | None:
        e = Elaborator(self.table, b)
        e.at, e.scope = instr.span, instr.scope
        own = rule.span != NOWHERE
        env = Env(
            home_of(self.table) if own else library(),
            {k.removeprefix("="): v if k.startswith("=") else b.ref(v) for k, v in found.items()},
        )
        value = e.ref(e.eval(rule.right, env), instr.span)
        if own and (not isinstance(value, Ref) or not stretches(value.type.shape, instr.type.shape)):
            return None  # proven on scalars, and of no use for these shapes
        if e.problems or not isinstance(value, Ref):
            raise internal(f"the rule {rule.name} does not fit: {e.problems[0].message if e.problems else 'no value'}")
        if value.type != instr.type:
            if value.type.dtype != instr.type.dtype:
                return None
            return b.broadcast(value.id, instr.type.shape, instr.span, instr.scope)
        return value.id
