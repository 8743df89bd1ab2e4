"""The `check` lines of a file: whether they hold, and what was found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlang import pipeline
from gradlang.check.program import Promise
from gradlang.diagnostics import GradlangError
from gradlang.ir.evaluate import value_of
from gradlang.ops.operators import COMPARISONS
from gradlang.prove.values import known_sizes
from gradlang.runtime.bind import Binder
from gradlang.runtime.call import compiled
from gradlang.types import show_shape

if TYPE_CHECKING:
    from gradlang.api import Model
    from gradlang.prove.report import Report

SIGNS = {"less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">=", "equal": "==", "not_equal": "!="}


def promises(model: Model, given: Mapping[str, Any], report: Report) -> None:
    for promise in model.program.promises:
        source = model.program.sources.of(promise.span[0])
        line, _ = source.place(promise.span[0])
        text = f"line {line}: {' '.join(source.slice(promise.span).split())}"
        try:
            ok, detail = keep(model, promise, given)
        except GradlangError as error:
            ok, detail = False, error.diagnostics[0].message
        report.add(ok, text + (f": {detail}" if detail else ""), line)


def keep(model: Model, promise: Promise, given: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether a promise holds, and what was found. Raises InputError if its values do not fit."""
    values = {**given, **promise.given}
    if promise.made:
        sizes = known_sizes(model, values)
        values.update({n: value_of(model.program, node, sizes) for n, node in promise.made.items()})
    if promise.cond is None:
        assert promise.left is not None and promise.right is not None
        left, right = computed(model, [promise.left, promise.right], values)
        return equal(np.asarray(left), np.asarray(right), promise.tol or 0.0)
    return condition(model, promise.cond, values)


def computed(model: Model, nodes: list[int], values: Mapping[str, Any]) -> list[Any]:
    """The values of some nodes as a run computes them."""
    program = model.program
    job = pipeline.plan_nodes(program, nodes, program.language)
    made = compiled(job, Binder(program, tuple(program.callable_leaves()), (), "float64", model.seed))(values)
    return [made[str(n)] for n in nodes]


def equal(left: Any, right: Any, tol: float) -> tuple[bool, str]:
    """Whether two values agree within `tol`, relative to the right one where that is larger than 1."""
    if left.ndim and right.ndim and left.shape != right.shape:
        return False, f"the sides have different shapes: {show_shape(left.shape)} and {show_shape(right.shape)}"
    left, right = np.broadcast_arrays(left.astype(float), right.astype(float))
    with np.errstate(all="ignore"):
        off = np.abs(left - right)
        same = (off <= tol * np.maximum(1.0, np.abs(right))) | (left == right) | (np.isnan(left) & np.isnan(right))
    if np.all(same):
        if left.ndim == 0:
            return True, f"found {float(left)!r}"
        return True, f"off by at most {float(np.max(off[left != right], initial=0.0)):.3g}"
    at = np.unravel_index(int(np.argmax(np.where(same, -1.0, np.where(np.isnan(off), np.inf, off)))), left.shape)
    a, b, by = float(left[at]), float(right[at]), float(off[at])
    text = f"found {a!r}, not {b!r}: off by {by:.3g}"
    if tol:
        text += f", more than {tol * max(1.0, abs(b)):.3g}"
    return False, where(at, same) + text


def where(at: Any, same: Any) -> str:
    """In which entry of an array something is found, and how many are like it."""
    if not np.ndim(same):
        return ""
    wrong = int(np.sum(~same))
    return f"{wrong} of {same.size} entries fail; at index [{', '.join(str(int(i)) for i in at)}] "


def condition(model: Model, node: int, values: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether a condition is true everywhere; of a comparison that is not, both sides are shown."""
    program = model.program
    at = program.nodes[node]
    sides = list(at.args) if at.op in COMPARISONS else []
    made, *parts = computed(model, [node, *(n for n in sides if n != node)], values)
    truth = np.asarray(made, bool)
    if np.all(truth):
        return True, ""
    first = np.unravel_index(int(np.argmin(truth)), truth.shape)
    if len(parts) != len(sides) or not parts:
        return False, where(first, truth) + "it is false"
    left, right = (np.broadcast_to(np.asarray(p, float), truth.shape)[first] for p in parts)
    return False, where(
        first, truth
    ) + f"found {float(left)!r}, not {SIGNS[at.op]} {float(right)!r}: off by {abs(left - right):.3g}"
