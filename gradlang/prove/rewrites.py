"""The proof of the rewrites: each rule's two sides on a grid, by its class.

exact: the same bits for every float64 of the grid (signed zeros, infinities, nan, huge, tiny). stable: equal in
multi-precision wherever the left side is defined, and on the machine the right side is never further from the truth.
fast: equal in multi-precision.
"""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gradlang.backend.numpy import spelled
from gradlang.check.elaborate import Elaborator
from gradlang.check.names import names_in
from gradlang.check.patterns import Arguments, arguments
from gradlang.check.program import Ref
from gradlang.check.rules import home_of, library
from gradlang.check.scope import Env
from gradlang.diagnostics import Diagnostic, internal
from gradlang.ir.evaluate import evaluate
from gradlang.ir.tape import Builder, Tape
from gradlang.ops.table import OpTable, Rule
from gradlang.prove.reference import Truth, ulps
from gradlang.prove.structural import random
from gradlang.source import NOWHERE
from gradlang.transform.expand import expand
from gradlang.transform.partials import Templates
from gradlang.types import Type

SPECIAL = (0.0, -0.0, 1.0, -1.0, 0.5, 3.0, -2.5, math.inf, -math.inf, math.nan, 1e308, -1e308, 5e-324, -5e-324, 1e-160)
ORDINARY = (0.3, -0.7, 1.9, 2.6, -3.1, 0.05, 8.0, -12.0, 30.0, -40.0, 1e-9, -1e-5)
MOST = 150  # points of a rule of a program
EQUAL = 1e-14  # its constants are doubles
SETTINGS: dict[str, Any] = {"axis": (0,), "keepdims": False}
ARRAY_RULES = frozenset({"log_softmax", "logsumexp", "square_of_norm", "norm", "norm_of_products"})


@dataclass(slots=True)
class RuleRow:
    name: str
    kind: str
    points: int = 0
    failures: list[str] = field(default_factory=list)


class RuleCheck:
    def __init__(self, rule: Rule, table: OpTable, given: Arguments | None = None) -> None:
        self.rule, self.table = rule, table
        names = dict.fromkeys(n.id for n in names_in([rule.left, rule.right]))
        self.attrs = {n: SETTINGS[n] for n in names if n in SETTINGS}
        self.names = [n for n in names if n not in SETTINGS and n not in ("inf", "nan", "pi", "e")]
        array = rule.name in ARRAY_RULES and rule.span == NOWHERE
        if array and rule.name == "log_softmax":
            self.attrs["axis"] = 0
        self.kinds = {n: Type((3,) if array else (), "bool" if n == "c" else "real") for n in self.names}
        if given is not None:
            self.kinds, self.attrs = given
            self.names = list(self.kinds)
        self.sides = [self.tape(side) for side in (rule.left, rule.right)]
        self._expanded: dict[tuple[int, bool], Tape] = {}

    def tape(self, side: Any) -> Tape:
        b = Builder(self.table)
        home = home_of(self.table) if self.rule.span != NOWHERE else library()
        env = Env(home, {n: b.leaf("input", (n,), t, (0, 0)) for n, t in self.kinds.items()})
        env.names.update(self.attrs)
        e = Elaborator(self.table, b)
        out = e.ref(e.eval(side, env), (0, 0))
        if e.problems or not isinstance(out, Ref):
            raise internal(f"the rule {self.rule.name} has a side that does not fit: {e.problems[:1]}")
        return b.tape([("y", out.id)])

    def expanded(self, side: Tape, exact: bool) -> Tape:
        """A side in the ops of NumPy, or in those of multi-precision."""
        key = (id(side), exact)
        if key not in self._expanded:
            keep = (lambda o: o.pointwise or o.value is None) if exact else spelled
            self._expanded[key] = expand(side, self.table, Templates(self.table), keep)
        return self._expanded[key]

    def machine(self, side: Tape, point: dict[str, Any]) -> np.ndarray[Any, Any]:
        tape = self.expanded(side, False)
        return np.atleast_1d(np.asarray(evaluate(tape, self.table, point, {})["y"]))

    def exact_value(self, side: Tape, point: dict[str, Any], truth: Truth) -> list[Any]:
        tape = self.expanded(side, True)
        mpf = truth.ctx.mpf

        def run() -> Any:
            inputs = {
                n: v if isinstance(v, bool) else mpf(v) if np.ndim(v) == 0 else of_numbers(v, mpf) for n, v in point.items()
            }
            return evaluate(tape, self.table, inputs, {}, truth.functions(), lambda v: mpf(float(v)))["y"]

        if any(t.shape for t in self.kinds.values()):
            truth.ctx.dps = 400
            out = run()
            truth.ctx.dps = 60
            return list(np.ravel(out))
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


def of_numbers(array: np.ndarray[Any, Any], number: Callable[[Any], Any]) -> np.ndarray[Any, Any]:
    """An array of other numbers; the last entry keeps NumPy from looking into them."""
    return np.array([*map(number, array.ravel()), None], object)[:-1].reshape(array.shape)


def own_points(check: RuleCheck) -> Iterator[dict[str, Any]]:
    """Points for a rule of a program: the whole grid, or MOST of it, evenly spread."""
    if any(t.shape for t in check.kinds.values()):
        for scale in (1.0, 20.0, 0.01):
            point: dict[str, Any] = {}
            for k, (n, type) in enumerate(check.kinds.items()):
                shape = tuple(d for d in type.shape if isinstance(d, int))
                point[n] = True if type.dtype == "bool" else np.round(scale * random(shape, k), 4)
            yield point
        return
    grid = SPECIAL if check.rule.kind == "exact" else ORDINARY
    columns: list[tuple[Any, ...]] = [(True, False) if t.dtype == "bool" else grid for t in check.kinds.values()]
    total = math.prod(map(len, columns))
    stride = next(s for s in itertools.count(max(total // MOST, 1)) if total <= MOST or math.gcd(s, 30) == 1)
    for k in range(min(total, MOST)):
        at, point = k * stride % total, dict[str, Any]()
        for name, column in zip(check.names, columns, strict=True):
            at, digit = divmod(at, len(column))
            point[name] = column[digit]
        yield point


Failure = tuple[str, str, str, str]  # the point, the two sides, and the way in which they differ


def prove_own_rule(rule: Rule, table: OpTable, truth: Truth) -> tuple[int, Failure | None]:
    """How many points a rule of a program was tested at, and the first one at which it is false."""
    found = arguments(rule, table)
    assert not isinstance(found, Diagnostic)
    count = 0
    checks = [RuleCheck(rule, table, given) for given in found]
    for check, point in ((c, p) for c in checks for p in own_points(c)):
        left, right = (check.machine(side, point) for side in check.sides)
        where = ", ".join(f"{n} = {v.tolist() if isinstance(v, np.ndarray) else v}" for n, v in point.items())
        count += 1
        if rule.kind == "exact":
            if any(bits(a) != bits(b) for a, b in zip(left.ravel(), right.ravel(), strict=True)):
                return count, (where, shown(left), shown(right), "exact")
            continue
        meant, given = (check.exact_value(side, point, truth) for side in check.sides)
        floor = max((math.ulp(float(np.max(np.abs(v)))) for v in point.values()), default=0.0)
        for t, s, a, b in zip(meant, given, left.ravel(), right.ravel(), strict=True):
            if isinstance(t, (bool, np.bool_)):
                if t != s:
                    return count, (where, str(t), str(s), rule.kind)
                continue
            if t != t or abs(t) == truth.ctx.inf:
                continue
            if not abs(t - s) <= abs(t) * EQUAL + 1e-40:
                return count, (where, repr(float(t)), repr(float(s)), rule.kind)
            exact = abs(truth.ctx.mpf(float(b)) - t) <= floor
            if rule.kind == "stable" and not exact and not ulps(float(b), t) <= max(ulps(float(a), t), 4.0):
                return count, (where, repr(float(a)), repr(float(b)), "accuracy")
    return count, None


def shown(side: np.ndarray[Any, Any]) -> str:
    return repr(side.ravel()[0].item()) if side.size == 1 else str(side.tolist())


def prove_rules(found: tuple[Rule, ...], table: OpTable) -> list[RuleRow]:
    truth = Truth(table)
    return [RuleCheck(rule, table).run(truth) for rule in found]
