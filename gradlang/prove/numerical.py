"""The gradient check of a book: backpropagation beside central differences, parameter by parameter; and what tells more.

Differences in double precision with h = 1e-4 agree to about 1e-9 at best, whatever the size of the gradient, and a kink nearer
than h spoils them (Saito, "Deep Learning from Scratch", 4.3.2 and 5.7.4). Beside them stands a relative error, against
differences in higher precision with steps that shrink until they pass no kink.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlang.prove.gradients import Slopes, entry, judge
from gradlang.prove.higher import Higher
from gradlang.prove.values import bound

if TYPE_CHECKING:
    from gradlang.api import Model

STEP = 1e-4
MOST = 2000  # entries of a parameter that are compared
EXACT = 12  # of which are compared in higher precision
GOLDEN = 0.6180339887498949


@dataclass(frozen=True, slots=True)
class Compared:
    """One parameter: how many of its entries were compared, the mean of |central difference - backpropagation|, and the norm of
    the error of backpropagation over that of the gradient, from differences in higher precision at some of them (nan where
    there are none, at kinks)."""

    name: str
    entries: int
    of: int
    difference: float
    relative: float


@dataclass(frozen=True, slots=True)
class Numerical:
    """The gradient check of one value: rows in the order of the program, and the precision of the relative errors."""

    objective: str
    rows: tuple[Compared, ...]
    precision: str
    where: str

    def text(self) -> str:
        head = ["", f"mean difference, h = {STEP:g}", f"relative error, {PRECISION[self.precision]}"]
        lines = [
            [r.name, f"{r.difference:.3g}", f"{r.relative:.2g}" + (f"  ({r.entries} of {r.of} entries)" * (r.entries < r.of))]
            for r in self.rows
        ]
        wide = [max(len(line[k]) for line in [head, *lines]) for k in range(2)]
        shown = ["  " + f"{a:<{wide[0]}}  {b:<{wide[1]}}  {c}".rstrip() for a, b, c in [head, *lines]]
        return "\n".join([f"numerical gradient of {self.objective}{self.where}", *shown])

    def as_json(self) -> list[dict[str, Any]]:
        return [
            {
                "name": r.name,
                "entries": r.entries,
                "difference": r.difference if math.isfinite(r.difference) else repr(r.difference),
                "relative": r.relative if math.isfinite(r.relative) else repr(r.relative),
            }
            for r in self.rows
        ]


PRECISION = {"mpmath": "60 digits", "extended": "extended precision", "double": "double precision"}


def numerical(model: Model, objective: str, names: tuple[str, ...], values: Mapping[str, Any], where: str = "") -> Numerical:
    """Compares the gradient of a scalar by some leaves with differences. Raises InputError if values do not fit the program."""
    if model.dtype != "float64":
        model = type(model)(model.program, "float64", model.seed)
    inputs, sizes = bound(model, values)
    slopes = model.value_and_grad(objective, list(names), backend="numpy")(inputs)[1]
    function = model.function(objective, backend="numpy")
    higher = Higher(model.program, model.program.values[objective], inputs, sizes, np.array(1.0))
    noise = higher.noise()
    rows = []
    for name in names:
        x, found = np.array(inputs[name], float), np.ravel(slopes[name])
        chosen = spread(x.size, MOST)
        off = []
        for flat in chosen:
            ends = []
            for far in (STEP, -STEP):
                moved = x.copy()
                moved.reshape(-1)[flat] += far
                ends.append(float(function({**inputs, name: moved if x.ndim else float(moved)})))
            off.append(abs((ends[0] - ends[1]) / (2 * STEP) - float(found[flat])))
        relative = exact(higher, name, found, noise)
        rows.append(Compared(name, len(chosen), x.size, float(np.mean(off)) if off else 0.0, relative))
    return Numerical(objective, tuple(rows), higher.method, where)


def spread(size: int, most: int) -> list[int]:
    """Some of the entries, one at an irregular place in each of as many parts."""
    return list(range(size)) if size <= most else [int((k + k * GOLDEN % 1) * size / most) for k in range(most)]


def exact(higher: Higher, name: str, found: Any, noise: float) -> float:
    """The norm of the error over that of the gradient, at some entries; those at kinks are left out."""
    largest = float(np.max(np.abs(found), initial=0.0))
    wrong, size = 0.0, 0.0
    for flat in spread(found.size, EXACT):
        verdict = judge(float(found[flat]), Slopes(higher, entry(higher, name, flat), None), 1e-3 * largest, 0.0, noise)
        if verdict.kind in ("ok", "wrong"):
            wrong += (float(found[flat]) - verdict.truth) ** 2
            size += verdict.truth**2
    return math.sqrt(wrong / size) if size else math.nan if wrong or largest else 0.0
