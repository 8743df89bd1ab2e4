"""The proof of the table: every entry against multi-precision, forward against reverse mode, second order, linearity.

Both backends are run: plain floats and NumPy. `gradlang ops --check` prints what is found.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from gradlang.backend import numpy as array_backend
from gradlang.backend import python as scalar_backend
from gradlang.backend.artifact import Job, Param, Returns
from gradlang.backend.module import generate
from gradlang.check.calls import default_of
from gradlang.ir.tape import Builder
from gradlang.ops.op import Op
from gradlang.ops.table import OpTable, rules
from gradlang.pipeline import Language, optimized
from gradlang.prove.points import domains, inside, settings
from gradlang.prove.reference import Truth, ulps
from gradlang.prove.rewrites import RuleRow, prove_rules
from gradlang.runtime.load import load
from gradlang.types import Type

LIMIT = 4.0  # ulps
SECOND_ORDER = 1e-9  # relative
POINTS = 24

INF = math.inf
# Entries that are not within LIMIT: (what they are held to instead, in ulps; infinite: not checked by points; the reason).
EXEMPT: dict[str, tuple[float, str]] = {
    "mark": (INF, "has no value of its own"),
    "where": (INF, "a choice: its partials are the branches, checked through every entry that chooses"),
    "real": (INF, "turns truth values and whole numbers into reals"),
    "polygamma/n": (INF, "the order is a whole number: there is no derivative by it"),
    "erfcx/x": (200, "helper: its own slope cancels between 1 and 6 (1.5 eps absolute); no entry's first partial uses it"),
    "norm_tail/x": (200, "helper: its own slope cancels below 8; no entry's first partial uses it"),
    "digamma_rest/x": (1e7, "helper: its own slope cancels below 8 (16 eps absolute); no entry's first partial uses it"),
    "digamma_gap/a": (1e8, "helper: a plain difference of trigammas; betaln's second derivative, not its gradient"),
    "digamma_gap/second": (INF, "helper: cancels, as its slope by a does"),
    "betaln/value": (1e4, "near B(a, b) = 1 the logarithm is near 0: accurate to 2 eps absolutely, not in ulps"),
    "betaln/second": (INF, "the second derivative is a difference of trigammas: it cancels where a << b"),
    "logaddexp/value": (1e4, "where exp(a) + exp(b) is near 1 the result is near 0: accurate to 1 eps absolutely, not in ulps"),
    "student_t_log/nu": (1e3, "passes 0 where the density does not change with nu: accurate to the size of its terms"),
    **dict.fromkeys(
        "gamma_log/value gamma_log/y gamma_log/a gamma_log/b poisson_log/value poisson_log/t binomial_log/t "
        "beta_log/value beta_log/y beta_log/a beta_log/b".split(),
        (1e4, "a log density or its slope passes 0: accurate to a few eps of its largest term, not in ulps"),
    ),
    "powi/value": (6, "a reciprocal of a short product for negative powers"),
}


@dataclass(slots=True)
class Row:
    """What was found for one entry: the worst error of its value and of each partial, and what is wrong."""

    op: str
    kind: str
    points: int = 0
    value: float = 0.0
    partials: dict[str, float] = field(default_factory=dict)
    worst: dict[str, tuple[float, ...]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    exempt: str = ""


@dataclass(slots=True)
class Proof:
    rows: list[Row]
    rewrites: list[RuleRow] = field(default_factory=list)

    def failures(self) -> list[list[str]]:
        return [*(r.failures for r in self.rows), *(r.failures for r in self.rewrites)]

    @property
    def ok(self) -> bool:
        return not any(self.failures())

    def summary(self) -> str:
        checked = [r for r in self.rows if r.points]
        worst = max((max([r.value, *r.partials.values()]) for r in checked if not r.exempt), default=0.0)
        return (
            f"{len(self.rows)} entries, {sum(r.points for r in checked)} points, worst {worst:.2f} ulp, "
            f"{sum(bool(r.exempt) for r in self.rows)} with a listed exemption, "
            f"{len(self.rewrites)} rewrites on {sum(r.points for r in self.rewrites)} points, "
            f"{sum(map(len, self.failures()))} failures"
        )

    def text(self) -> str:
        lines = [f"{'entry':<22}{'kind':<11}{'points':>7}{'value':>9}  partials (worst ulp)"]
        for r in self.rows:
            parts = "  ".join(f"d/d{p} {v:.2f}" for p, v in r.partials.items())
            lines.append(f"{r.op:<22}{r.kind:<11}{r.points:>7}{r.value:>9.2f}  {parts}".rstrip())
            lines += [f"    FAILED {f}" for f in r.failures]
        exempt = [f"  {r.op}: {r.exempt}" for r in self.rows if r.exempt]
        lines += [f"rewrite {r.name} ({r.kind}) FAILED {f}" for r in self.rewrites for f in r.failures]
        return "\n".join([*lines, "", "exemptions", *exempt, "", self.summary()])

    def as_json(self) -> dict[str, Any]:
        return {
            "schema": 1,
            "ok": self.ok,
            "entries": [
                {
                    "op": r.op,
                    "kind": r.kind,
                    "points": r.points,
                    "value_ulp": r.value,
                    "partial_ulp": r.partials,
                    "failures": r.failures,
                    "exempt": r.exempt,
                }
                for r in self.rows
            ],
        }


# ------------------------------------------------------------------ an entry, compiled
Run = Callable[..., dict[str, float]]


def compiled(op: Op, attrs: tuple[Any, ...], language: Language, scalar: bool) -> Run:
    """A function of the arguments (and of tangents `t_x`, cotangent `g`): value, partials, tangent, second derivatives."""
    b = Builder(language.table)
    shape = Type(()) if scalar else Type((1,))
    args = [b.leaf("input", (p,), shape, op.span) for p in op.params]
    y = b.emit(op, args, attrs, shape, op.span).id
    outputs: list[tuple[str, int]] = [("value", y)]
    params = list(op.params)
    if op.partials:
        g = b.leaf("input", ("g " + op.name,), shape, op.span).id
        params.append("g " + op.name)
        pairs = []
        for p, a in zip(op.params, args, strict=True):
            if p not in op.partials:
                continue
            slope = b.add("vjp", (y, g, a.id), (), shape)
            t = b.leaf("input", ("t " + p,), shape, op.span).id
            params.append("t " + p)
            pairs += [a.id, t]
            outputs += [(f"d{p}", slope), (f"dd{p}", b.add("vjp", (slope, g, a.id), (), shape))]
        outputs.append(("tangent", b.add("jvp", (y, *pairs), (), shape)))
    spelled = scalar_backend.spelled if scalar else array_backend.spelled
    tape, _ = optimized(b.tape(outputs), Language(language.table, ()), spelled)
    returns = Returns("dict", tuple((n, n) for n, _ in outputs))
    job = Job(tape, tuple(Param(p, "", shape) for p in params), returns, "entry", "the table", scalar=scalar)
    return load(generate(job, language.table))


def call(run: Run, op: Op, point: tuple[float, ...], g: float, tangents: dict[str, float], scalar: bool) -> dict[str, float]:
    values = [*point, *([g, *tangents.values()] if op.partials else [])]
    if scalar:
        return {k: float(v) for k, v in run(*values).items()}
    import numpy as np

    return {k: float(np.asarray(v).ravel()[0]) for k, v in run(*(np.array([float(v)]) for v in values)).items()}


# ------------------------------------------------------------------ the checks of one entry
@dataclass(slots=True)
class Case:
    """One point of an entry with its true value, partials and second partials."""

    point: tuple[float, ...]
    attrs: tuple[Any, ...]
    value: Any
    partials: dict[str, Any]
    seconds: dict[str, Any]


def cases(op: Op, truth: Truth, count: int) -> Iterable[Case]:
    defaults = tuple(default_of(d) for d in op.defaults)
    for domain in domains(op):
        attrs = settings(op, domain, defaults)
        for point in inside(domain, op.params, count):
            value = truth.value(op, point, attrs)
            partials, seconds = {}, {}
            for i, p in enumerate(op.params):
                if p in op.partials and EXEMPT.get(f"{op.name}/{p}", (0, ""))[0] < INF:
                    partials[p] = truth.partial(op, point, i, attrs)
                    seconds[p] = truth.second(op, point, i, attrs)
            yield Case(point, attrs, value, partials, seconds)


class Prover:
    def __init__(self, op: Op, language: Language) -> None:
        self.op, self.language = op, language
        self.row = Row(op.name, op.kind, exempt=_exemption(op))
        self._runs: dict[Any, Run] = {}

    def run(self, attrs: tuple[Any, ...], scalar: bool) -> Run:
        key = (attrs, scalar)
        if key not in self._runs:
            self._runs[key] = compiled(self.op, attrs, self.language, scalar)
        return self._runs[key]

    def note(self, what: str, error: float, limit: float, case: Case, got: float, truth: Any) -> None:
        row = self.row
        if what == "value":
            row.value = max(row.value, error)
        elif what.startswith("d/d"):
            row.partials[what[3:]] = max(row.partials.get(what[3:], 0.0), error)
        if error == max([row.value, *row.partials.values()]):
            row.worst[what] = case.point
        limit = EXEMPT.get(f"{self.op.name}/{what.removeprefix('d/d')}", (limit, ""))[0]
        if not error <= limit:
            row.failures.append(f"{what} at {case.point} {case.attrs or ''}: {got!r}, true {float(truth)!r} ({error:.3g} ulp)")

    def check(self, case: Case) -> None:
        op = self.op
        tangents = {p: 0.75 - 0.5 * k for k, p in enumerate(op.partials)}
        for scalar in (True, False):
            run = self.run(case.attrs, scalar)
            got = call(run, op, case.point, 1.0, tangents, scalar)
            self.note("value", ulps(got["value"], case.value), LIMIT, case, got["value"], case.value)
            for p, true in case.partials.items():
                self.note("d/d" + p, ulps(got["d" + p], true), LIMIT, case, got["d" + p], true)
                self.second_order(case, p, got["dd" + p], case.seconds[p])
            if op.partials:
                self.modes(case, got, tangents)
                self.linear(case, run, got, tangents, scalar)
        self.row.points += 1

    def second_order(self, case: Case, p: str, got: float, true: Any) -> None:
        nearest, scale = float(true), abs(float(case.partials[p])) + abs(float(true))
        if not math.isfinite(nearest) or not math.isfinite(scale) or abs(nearest) > 1e290 or 0 < abs(nearest) < 1e-290:
            return
        if not abs(got - nearest) <= SECOND_ORDER * scale and f"{self.op.name}/second" not in EXEMPT:
            self.row.failures.append(f"second derivative by {p} at {case.point}: {got!r}, true {nearest!r}")

    def modes(self, case: Case, got: dict[str, float], tangents: dict[str, float]) -> None:
        """Forward = reverse."""
        parts = [got["d" + p] * t for p, t in tangents.items()]
        total, size = math.fsum(parts) if all(map(math.isfinite, parts)) else sum(parts), sum(map(abs, parts))
        if math.isfinite(size) and not abs(got["tangent"] - total) <= 4 * math.ulp(size) + 5e-324 * 4:
            self.row.failures.append(f"forward and reverse mode differ at {case.point}: {got['tangent']!r} and {total!r}")

    def linear(self, case: Case, run: Run, got: dict[str, float], tangents: dict[str, float], scalar: bool) -> None:
        """The reverse pass is linear in the cotangent."""
        doubled = call(run, self.op, case.point, 2.0, tangents, scalar)
        third = call(run, self.op, case.point, -0.75, tangents, scalar)
        for p in self.op.partials:
            one = got["d" + p]
            if not math.isfinite(one) or not math.isfinite(2 * one) or 0 < abs(one) < 1e-300:
                continue
            if doubled["d" + p] != 2 * one or not abs(third["d" + p] + 0.75 * one) <= 4 * math.ulp(one):
                self.row.failures.append(f"d/d{p} at {case.point} is not linear in the cotangent")

    def kinks(self) -> None:
        op = self.op
        attrs = tuple(default_of(d) for d in op.defaults)
        for kink in op.kinks:
            point = tuple(kink.point[p] for p in op.params)
            if any(a in kink.point for a in op.attrs):
                attrs = tuple(int(kink.point[a]) if a in kink.point else v for a, v in zip(op.attrs, attrs, strict=True))
            if not op.partials:
                continue
            for scalar in (True, False):
                got = call(self.run(attrs, scalar), op, point, 1.0, dict.fromkeys(op.partials, 1.0), scalar)
                for p, agreed in zip(op.partials, kink.partials, strict=True):
                    if got["d" + p] != agreed:
                        self.row.failures.append(f"d/d{p} at {kink.point} is {got['d' + p]!r}, agreed is {agreed!r}")
            self.row.points += 1


def _exemption(op: Op) -> str:
    return "; ".join(
        f"{k.partition('/')[2] or 'all'}: {reason}" for k, (_, reason) in EXEMPT.items() if k.partition("/")[0] == op.name
    )


def prove_op(op: Op, language: Language, truth: Truth, count: int = POINTS, known: Iterable[Case] | None = None) -> Row:
    """Checks one pointwise entry; `known` are cases whose truth was already computed."""
    prover = Prover(op, language)
    for case in cases(op, truth, count) if known is None else known:
        prover.check(case)
    prover.kinks()
    return prover.row


def prove_table(table: OpTable, count: int = POINTS) -> Proof:
    """Every entry of a table."""
    from gradlang.prove.structural import prove_array_op

    language, truth = Language(table, rules()), Truth(table)
    rows = []
    for name in table:
        op = table[name]
        if op.pointwise and not op.flags & {"predicate", "logical", "choice", "cast", "marker"}:
            rows.append(prove_op(op, language, truth, count))
        elif not op.pointwise:
            rows.append(prove_array_op(op, language, truth))
        else:
            rows.append(Row(op.name, op.kind, exempt=_exemption(op)))
    return Proof(rows, prove_rules(language.rules, table))
