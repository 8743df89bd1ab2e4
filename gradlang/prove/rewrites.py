"""The proof of the rewrites: each rule's two sides on a grid, by its class.

exact: the same bits for every float64 of the grid (signed zeros, infinities, nan, huge, tiny). stable: equal in
multi-precision wherever the left side is defined, and on the machine the right side is never further from the truth.
fast: equal in multi-precision.
"""

from __future__ import annotations

import itertools
import math
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradlang.backend.numpy import spelled
from gradlang.check.elaborate import Elaborator
from gradlang.check.names import names_in
from gradlang.check.program import Ref
from gradlang.check.rules import library
from gradlang.check.scope import Env
from gradlang.diagnostics import internal
from gradlang.ir.evaluate import evaluate
from gradlang.ir.tape import Builder, Tape
from gradlang.ops.table import OpTable, Rule
from gradlang.prove.reference import Truth, ulps
from gradlang.transform.expand import expand
from gradlang.transform.partials import Templates
from gradlang.types import Type

SPECIAL = (0.0, -0.0, 1.0, -1.0, 0.5, 3.0, -2.5, math.inf, -math.inf, math.nan, 1e308, -1e308, 5e-324, -5e-324, 1e-160)
ORDINARY = (0.3, -0.7, 1.9, 2.6, -3.1, 0.05, 8.0, -12.0, 30.0, -40.0, 1e-9, -1e-5)
SETTINGS: dict[str, Any] = {"axis": (0,), "keepdims": False}
ARRAY_RULES = frozenset({"log_softmax", "logsumexp", "square_of_norm", "norm", "norm_of_products"})


@dataclass(slots=True)
class RuleRow:
    name: str
    kind: str
    points: int = 0
    failures: list[str] = field(default_factory=list)


class RuleCheck:
    def __init__(self, rule: Rule, table: OpTable) -> None:
        self.rule, self.table = rule, table
        names = dict.fromkeys(n.id for n in names_in([rule.left, rule.right]))
        self.attrs = {n: SETTINGS[n] for n in names if n in SETTINGS}
        self.names = [n for n in names if n not in SETTINGS and n not in ("inf", "nan", "pi", "e")]
        array = rule.name in ARRAY_RULES
        if array and rule.name == "log_softmax":
            self.attrs["axis"] = 0
        self.kinds = {n: Type((3,) if array else (), "bool" if n == "c" else "real") for n in self.names}
        self.sides = [self.tape(side) for side in (rule.left, rule.right)]

    def tape(self, side: Any) -> Tape:
        b = Builder(self.table)
        env = Env(library(), {n: b.leaf("input", (n,), t, (0, 0)) for n, t in self.kinds.items()})
        env.names.update(self.attrs)
        e = Elaborator(self.table, b)
        out = e.ref(e.eval(side, env), (0, 0))
        if e.problems or not isinstance(out, Ref):
            raise internal(f"the rule {self.rule.name} has a side that does not fit: {e.problems[:1]}")
        return b.tape([("y", out.id)])

    def machine(self, side: Tape, point: dict[str, Any]) -> np.ndarray[Any, Any]:
        tape = expand(side, self.table, Templates(self.table), spelled)
        return np.atleast_1d(np.asarray(evaluate(tape, self.table, point, {})["y"]))

    def exact_value(self, side: Tape, point: dict[str, Any], truth: Truth) -> list[Any]:
        tape = expand(side, self.table, Templates(self.table), lambda o: o.pointwise or o.value is None)
        mpf = truth.ctx.mpf

        def run() -> Any:
            inputs = {
                n: v if isinstance(v, bool) else mpf(v) if np.ndim(v) == 0 else np.array([mpf(x) for x in v], object)
                for n, v in point.items()
            }
            return evaluate(tape, self.table, inputs, {}, truth.functions(), lambda v: mpf(float(v)))["y"]

        if any(t.shape for t in self.kinds.values()):
            truth.ctx.dps = 400
            out = run()
            truth.ctx.dps = 60
            return list(np.atleast_1d(out))
        return [truth.settled(run)]

    def points(self) -> list[dict[str, Any]]:
        values = [SPECIAL if self.rule.kind == "exact" else ORDINARY if t.dtype == "real" else () for t in self.kinds.values()]
        columns = [(True, False) if t.dtype == "bool" else v for v, t in zip(values, self.kinds.values(), strict=True)]
        if any(t.shape for t in self.kinds.values()):
            return [{self.names[0]: np.array(row)} for row in ((0.3, -0.7, 1.9), (30.0, -40.0, 8.0), (1e-9, 2.6, -12.0))]
        return [dict(zip(self.names, p, strict=True)) for p in itertools.product(*columns)]

    def run(self, truth: Truth) -> RuleRow:
        row = RuleRow(self.rule.name, self.rule.kind)
        for point in self.points():
            row.points += 1
            left, right = (self.machine(side, point) for side in self.sides)
            if self.rule.kind == "exact":
                if any(bits(a) != bits(b) for a, b in zip(left.ravel(), right.ravel(), strict=True)):
                    row.failures.append(f"at {point}: {left.tolist()} and {right.tolist()}")
                continue
            self.compare(row, point, left, right, truth)
        return row

    def compare(self, row: RuleRow, point: dict[str, Any], left: Any, right: Any, truth: Truth) -> None:
        meant = self.exact_value(self.sides[0], point, truth)
        given = self.exact_value(self.sides[1], point, truth)
        # near a zero of the result the rounding of the arguments is all that can be asked for
        floor = max(math.ulp(float(np.max(np.abs(v)))) for v in point.values())
        for t, s, a, b in zip(meant, given, left.ravel(), right.ravel(), strict=True):
            if t != t or abs(t) == truth.ctx.inf:
                continue
            if not abs(t - s) <= abs(t) * truth.ctx.mpf(10) ** -20:
                row.failures.append(f"at {point} the sides differ: {float(t)!r} and {float(s)!r}")
            elif (
                self.rule.kind == "stable"
                and not ulps(float(b), t) <= max(ulps(float(a), t), 4.0)
                and not abs(truth.ctx.mpf(float(b)) - t) <= floor
            ):
                row.failures.append(
                    f"at {point} the right side is less accurate: {float(a)!r}, {float(b)!r}, true {float(t)!r}"
                )


def bits(value: Any) -> bytes:
    """The bits of a float, one nan for all."""
    if isinstance(value, (bool, np.bool_)):
        return bytes([bool(value)])
    return b"nan" if value != value else struct.pack("<d", float(value))


def prove_rules(found: tuple[Rule, ...], table: OpTable) -> list[RuleRow]:
    truth = Truth(table)
    return [RuleCheck(rule, table).run(truth) for rule in found]
