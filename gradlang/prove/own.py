"""The proof of the ops and rules that a program defines, made when the program is loaded.

It asks one question: is what the entry says true on the reals? Value and reference, each partial and the derivative of the
value, forward and reverse mode and the second order are compared in multi-precision, where a formula that only loses digits
is not mistaken for a wrong one. How many digits it loses on floats is measured beside it, and reported by `gradlang check`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gradlang.check.calls import default_of
from gradlang.check.infer import infer
from gradlang.check.program import Program
from gradlang.diagnostics import Diagnostic, SourceError
from gradlang.ir.evaluate import evaluate
from gradlang.ir.tape import Builder, Tape
from gradlang.ops.language import Language
from gradlang.ops.op import Domain, Op
from gradlang.ops.shapes import Misfit
from gradlang.ops.table import Rule
from gradlang.pipeline import optimized
from gradlang.prove.accuracy import call, compiled
from gradlang.prove.own_arrays import prove_array
from gradlang.prove.points import inside, settings
from gradlang.prove.reference import Truth, ulps
from gradlang.prove.rewrites import prove_own_rule
from gradlang.prove.verdicts import (
    Finding,
    at,
    no_reference,
    other_value,
    undefined,
    wrong_kink,
    wrong_order,
    wrong_partial,
    wrong_rule,
    wrong_value,
)
from gradlang.record import changed
from gradlang.types import SCALAR

POINTS = 12
DIGITS = 130
STEP = 40  # differences are taken over 10**-STEP of the argument
CLOSE = 1e-8  # relative; constants of an entry are doubles, and a difference of them magnifies their rounding
FLOOR = 1e-13  # of |y/x|
MANY = 100.0  # ulps: from here on a report says where they are lost
KEPT = 512  # proofs that a process remembers
BOXES = ((-10.0, 10.0), (0.05, 0.95))  # where an entry without `on` lines is tested


@dataclass(slots=True)
class Proven:
    """What was found for one op or rule: how many points, the worst error on floats in ulps, and what is wrong."""

    kind: str
    name: str
    points: int = 0
    worst: float = 0.0
    where: str = ""  # of the worst error
    faults: list[Diagnostic] = field(default_factory=list)

    def text(self) -> str:
        if not self.points:
            return f"{self.kind} {self.name}: no example fits, it is not tested"
        tested = f"{self.kind} {self.name}: {self.points} point{'s' if self.points != 1 else ''}"
        if self.kind == "rule":
            return tested
        where = f" ({self.where})" if self.worst > MANY and self.where else ""
        return f"{tested}, worst {self.worst:.2g} ulp{where}"


_known: dict[Any, Proven] = {}


def prove_program(program: Program) -> list[Proven]:
    """The proofs of a program's own ops and rules; what this process has proven once is known."""
    language = program.language
    texts = tuple((op.text(), op.span) for op in language.table.own.values())
    truth: list[Truth] = []
    out = []
    items: list[Op | Rule] = [*language.table.own.values(), *language.own_rules]
    for item in items:
        key = (item.name, item.span, item.text if isinstance(item, Rule) else item.text(), texts)
        if key not in _known:
            if not truth:
                truth.append(Truth(language.table))
            if len(_known) >= KEPT:
                _known.clear()
            _known[key] = _rule(item, language, truth[0]) if isinstance(item, Rule) else _op(item, language, truth[0])
        out.append(_known[key])
    return out


def hold(program: Program) -> None:
    """Raises SourceError if an op or a rule of a program is false."""
    faults = [d for proven in prove_program(program) for d in proven.faults]
    if faults:
        raise SourceError(sorted(faults, key=lambda d: d.span or (0, 0)), program.sources)


def _rule(rule: Rule, language: Language, truth: Truth) -> Proven:
    points, failure = prove_own_rule(rule, language.table, truth)
    return Proven("rule", rule.name, points, faults=[wrong_rule(rule, *failure)] if failure else [])


def _op(op: Op, language: Language, truth: Truth) -> Proven:
    out = Proven("op", op.name)
    if op.pointwise or (op.defined and scalar(op, language)):
        try:
            Pointwise(op, language, truth, out).run()
        except (TypeError, NotImplementedError, OverflowError, truth.ctx.NoConvergence) as error:
            if op.reference is None:
                raise
            out.faults.append(no_reference(op, str(error)))
    else:
        out.points, out.worst, out.faults = prove_array(op, language, truth)
    return out


def scalar(op: Op, language: Language) -> bool:
    """Whether a formula means something over single numbers."""
    try:
        return infer(op, [SCALAR] * len(op.params), tuple(map(default_of, op.defaults)), language.table)[1] == SCALAR
    except Misfit:
        return False


@dataclass(frozen=True, slots=True)
class Slopes:
    """The true value at a point, and its slopes by one argument: central, from the left, from the right, and the second."""

    value: Any
    central: Any
    left: Any
    right: Any
    second: Any

    @property
    def kink(self) -> bool:
        return bool(abs(self.left - self.right) > 1e-9 * max(abs(self.left), abs(self.right)))


class Pointwise:
    """One op that works entry by entry."""

    def __init__(self, op: Op, language: Language, truth: Truth, out: Proven) -> None:
        self.op, self.language, self.truth, self.out = op, language, truth, out
        self.formula = changed(op, reference=None)
        base = language.table.base
        self.replaced: tuple[Truth, Op] | None = None  # the built-in op of this name, among built-in ones
        if base is not None and op.name in base:
            self.replaced = Truth(base), base[op.name]
            self.replaced[0].ctx = truth.ctx
        self._tapes: dict[Any, Tape] = {}
        self._runs: dict[Any, Callable[..., Any]] = {}

    def fault(self, diagnostic: Diagnostic) -> None:
        """One fault of each clause is enough."""
        if all((d.code, d.span) != (diagnostic.code, diagnostic.span) for d in self.out.faults):
            self.out.faults.append(diagnostic)

    def run(self) -> None:
        op = self.op
        defaults = tuple(default_of(d) for d in op.defaults)
        boxes = op.domains or tuple(Domain(dict.fromkeys(op.params, box)) for box in BOXES)
        for box in boxes:
            attrs = settings(op, box, defaults)
            for point in inside(box, op.params, POINTS):
                self.point(point, attrs)
        if not self.out.points:
            self.fault(undefined(op, boxes[0]))
        self.kinks(defaults)
        self.truth.ctx.dps = 60

    # -------------------------------------------------------------- on the reals
    def tape(self, attrs: tuple[Any, ...]) -> Tape:
        """Value, derivatives in both modes and second derivatives, as the compiler makes them from the entry."""
        if attrs not in self._tapes:
            op, b = self.op, Builder(self.language.table)
            args = [b.leaf("input", (p,), SCALAR, op.span) for p in op.params]
            y = b.emit(op, args, attrs, SCALAR, op.span).id
            outputs = [("value", y)]
            if op.partials:
                one = b.const(1.0)
                pairs = [i for p, a in zip(op.params, args, strict=True) for i in (a.id, b.const(_direction(op, p)))]
                for p, a in zip(op.params, args, strict=True):
                    slope = b.add("vjp", (y, one, a.id), (), SCALAR)
                    outputs += [(f"d{p}", slope), (f"dd{p}", b.add("vjp", (slope, one, a.id), (), SCALAR))]
                outputs.append(("tangent", b.add("jvp", (y, *pairs), (), SCALAR)))
            tape, _ = optimized(b.tape(outputs), Language(self.language.table, ()), self.truth.keeps)
            self._tapes[attrs] = tape
        return self._tapes[attrs]

    def said(self, point: tuple[float, ...], attrs: tuple[Any, ...]) -> dict[str, Any]:
        """What the entry says at a point."""
        mpf = self.truth.ctx.mpf
        inputs = dict(zip(self.op.params, map(mpf, point), strict=True))
        return evaluate(self.tape(attrs), self.language.table, inputs, {}, self.truth.functions(), lambda v: mpf(float(v)))

    def slopes(self, point: tuple[float, ...], at: int, attrs: tuple[Any, ...]) -> Slopes:
        ctx = self.truth.ctx
        xs = [ctx.mpf(x) for x in point]
        step = (abs(xs[at]) if xs[at] else ctx.mpf(1)) * ctx.mpf(10) ** -STEP

        def f(k: int) -> Any:
            moved = [x + k * step if i == at else x for i, x in enumerate(xs)]
            return ctx.mpf(self.truth.own(self.op, moved, attrs))

        low, here, high = f(-1), f(0), f(1)
        left, right = (here - low) / step, (high - here) / step
        return Slopes(here, (left + right) / 2, left, right, (right - left) / step)

    def point(self, point: tuple[float, ...], attrs: tuple[Any, ...]) -> None:
        op, ctx = self.op, self.truth.ctx
        ctx.dps = DIGITS
        truths = {p: self.slopes(point, i, attrs) for i, p in enumerate(op.params)}
        value = truths[op.params[0]].value
        if not ctx.isfinite(value):
            return
        if self.replaced is not None:
            before, built_in = self.replaced
            meant = before.op(built_in, [ctx.mpf(x) for x in point], attrs)
            if ctx.isfinite(meant) and not self.close(value, meant, FLOOR * abs(meant)):
                self.fault(other_value(op, Finding(point, attrs, value, meant)))
        said = self.said(point, attrs)
        floor = {p: FLOOR * abs(value) / max(abs(x), 1.0) for p, x in zip(op.params, point, strict=True)}
        if op.reference is not None and not self.close(said["value"], value, 0):
            self.fault(wrong_value(op, Finding(point, attrs, said["value"], value)))
        for p, t in truths.items():
            if not ctx.isfinite(t.central):
                continue
            if t.kink or any(k.point.get(p) == point[op.params.index(p)] for k in op.kinks):
                low, high = min(t.left, t.right), max(t.left, t.right)
                if p in op.partials and not (low - floor[p] <= said["d" + p] <= high + floor[p]):
                    self.fault(wrong_partial(op, p, Finding(point, attrs, said["d" + p], low, high)))
                continue
            found = said["d" + p] if p in op.partials else ctx.mpf(0) if "constant" in op.flags else t.central
            if not self.close(found, t.central, floor[p]):
                self.fault(wrong_partial(op, p, Finding(point, attrs, found, t.central)))
            elif p in op.partials and ctx.isfinite(t.second):
                scale = max(abs(t.central), abs(value)) / max(abs(point[op.params.index(p)]), 1e-3)
                if not self.close(said["dd" + p], t.second, 1e-6 * scale):
                    self.fault(wrong_order(op, p, Finding(point, attrs, said["dd" + p], t.second)))
        self.out.points += 1
        if not self.out.faults:
            self.modes(point, said)
            self.floats(point, attrs, said, truths)

    def close(self, a: Any, b: Any, floor: Any) -> bool:
        return bool(abs(a - b) <= CLOSE * max(abs(a), abs(b)) + floor)

    def modes(self, point: tuple[float, ...], said: dict[str, Any]) -> None:
        """Forward mode gives what reverse mode gives."""
        op = self.op
        if op.partials:
            total = sum(said["d" + p] * _direction(op, p) for p in op.partials)
            size = sum(abs(said["d" + p]) for p in op.partials)
            if not abs(said["tangent"] - total) <= 1e-20 * size and self.truth.ctx.isfinite(total):
                self.fault(wrong_order(op, op.params[0], Finding(point, (), said["tangent"], total)))

    # -------------------------------------------------------------- on floats
    def floats(self, point: tuple[float, ...], attrs: tuple[Any, ...], said: dict[str, Any], truths: dict[str, Slopes]) -> None:
        if attrs not in self._runs:
            self._runs[attrs] = compiled(self.op, attrs, self.language, True)
        got = call(self._runs[attrs], self.op, point, 1.0, dict.fromkeys(self.op.partials, 1.0), True)
        errors = {"value": ulps(got["value"], truths[self.op.params[0]].value)}
        errors.update((f"d/d{p}", ulps(got["d" + p], said["d" + p])) for p in self.op.partials)
        what = max(errors, key=errors.__getitem__)
        if errors[what] > self.out.worst:
            self.out.worst, self.out.where = errors[what], f"{what} at {at(self.op, Finding(point, attrs, 0, 0))}"

    def kinks(self, defaults: tuple[Any, ...]) -> None:
        """The rules give at the points of the `at` lines what these say."""
        op = self.op
        for kink in op.kinks:
            point = tuple(kink.point[p] for p in op.params)
            attrs = tuple(kink.point.get(a, v) for a, v in zip(op.attrs, defaults, strict=True))
            attrs = tuple(int(v) if isinstance(v, float) and v.is_integer() else v for v in attrs)
            self.out.points += 1
            if op.partials:
                got = call(compiled(op, attrs, self.language, True), op, point, 1.0, dict.fromkeys(op.partials, 1.0), True)
                for p, agreed in zip(op.params, kink.partials, strict=True):
                    if got["d" + p] != agreed and not (math.isnan(agreed) and math.isnan(got["d" + p])):
                        self.fault(wrong_kink(op, p, kink, got["d" + p], agreed))


def _direction(op: Op, p: str) -> float:
    return 0.75 - 0.5 * op.params.index(p)
