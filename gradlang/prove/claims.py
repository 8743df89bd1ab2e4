"""What a program says about its derivatives: gradients, Jacobians and Hessians, as numbers that can be compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlang import pipeline
from gradlang.backend.artifact import Returns
from gradlang.backend.numpy import spelled
from gradlang.check.program import Program
from gradlang.diagnostics import InputError
from gradlang.prove.gradients import Claim, compare, signs
from gradlang.prove.higher import Higher, Line, work
from gradlang.prove.rounding import SEEDS, Shaken
from gradlang.prove.values import bound, inside
from gradlang.types import value

if TYPE_CHECKING:
    from gradlang.api import Model
    from gradlang.prove.report import Report

MATRICES = ("jacobian", "hessian")
MOST = 30_000_000  # operations on numbers that looking for rounding may take, about half a second
SHAKEN = 1000  # what an instruction costs then beside them


def wanted(program: Program) -> dict[tuple[str, str], list[str]]:
    """(output, kind) -> leaves, for the derivatives that a program asks for; without a request, of every output."""
    out: dict[tuple[str, str], list[str]] = {}
    asked = [a for a in program.asked if a.kind != "output"]
    for a in asked:
        names = out.setdefault((a.name, a.kind if a.kind in MATRICES else "grad"), [])
        names += [n for n in a.wrt or program.differentiable() if n in program.leaves and n not in names]
    if not asked:
        out = {(name, "grad"): program.differentiable() for name in program.outputs}
    return {
        (y, kind): names for (y, kind), names in out.items() if names and program.nodes[program.values[y]].type.dtype == "real"
    }


def derivatives(model: Model, values: Mapping[str, Any], made_up: bool, report: Report) -> None:
    """Compares all derivatives that a program asks for at the values given, and inside the ranges of its inputs."""
    goals = wanted(model.program)
    if not goals:
        return
    points: list[tuple[str, Mapping[str, Any]]] = [("", values)]
    try:
        points += inside(model, values)
    except InputError as error:
        refuse(error.diagnostics[0].message, "", made_up, report)
        return
    share = 1 / (len(points) * len(goals))
    ranged = ", ".join(leaf.name for leaf in model.program.callable_leaves() if leaf.range is not None)
    for (name, kind), names in goals.items():
        held = 0
        for where, at in points:
            try:
                claim, higher = claimed(model, name, kind, names, at)
                agreed = compare(claim, higher, report, share, where, quiet=bool(where))
                held += agreed if where else 0
            except InputError as error:
                refuse(error.diagnostics[0].message, where, made_up or bool(where), report)
            except (ArithmeticError, IndexError) as error:
                refuse(f"{name} cannot be computed in higher precision: {error}", where, True, report)
        if held:
            report.add(True, f"{held} derivatives of {name} agree at the middle and the ends of the range of {ranged}")


def refuse(message: str, where: str, note: bool, report: Report) -> None:
    if note:
        report.notes.append(f"nothing is compared{where}: {message}")
    else:
        report.add(False, message + where)


def claimed(model: Model, name: str, kind: str, names: list[str], values: Mapping[str, Any]) -> tuple[Claim, Higher]:
    """The derivatives of one output by some leaves, and that output in higher precision."""
    inputs, sizes = bound(model, values)
    program = model.program
    node = program.values[name]
    shape = tuple(value(d, sizes) for d in program.nodes[node].type.shape)
    weights = signs(shape, 0.37) if shape else np.array(1.0)
    higher = Higher(program, node, inputs, sizes, weights)
    found: dict[str, Any]
    along: Line | None = None
    if kind == "hessian":
        along = {n: signs(np.shape(inputs[n]), 0.2 + 0.1 * k) for k, n in enumerate(names)}
        rows = model.hessian(name, names)(values)
        found = {x: sum(np.tensordot(m, along[z], np.ndim(along[z])) for z, m in row.items()) for x, row in rows.items()}
        vectors = {f"v_{n}": v for n, v in along.items()}
    else:
        if kind == "jacobian":
            found = {x: np.tensordot(weights, m, len(shape)) for x, m in model.jacobian(name, names)(values).items()}
        elif shape:
            found = model.vjp(name, names)(weights, values)[1]
        else:
            found = model.value_and_grad(name, names)(values)[1]
        vectors = {f"upstream_{name}": weights}
    found = {n: np.asarray(g, float) for n, g in found.items()}
    goal = pipeline.Goal("hvp" if kind == "hessian" else "vjp", (name,), tuple(names))
    return Claim(name, found, shaken(model, goal, values, list(vectors.values())), along), higher


def shaken(model: Model, goal: pipeline.Goal, values: Mapping[str, Any], vectors: list[Any]) -> tuple[dict[str, Any], ...]:
    """The derivatives with every operation off by a last digit, a few times."""
    program = model.program
    tape, returns, extra = pipeline.goal_tape(program, goal, program.language.table)
    with pipeline.sources_of(program):
        tape, _ = pipeline.optimized(tape, program.language, spelled)
    inputs, sizes = bound(model, {**values, **{n: v for (n, _), v in zip(extra, vectors, strict=True)}}, extra)
    once = work(tape, sizes, SHAKEN)
    _, rows = returns.parts
    assert isinstance(rows, Returns)
    out = []
    for seed in SEEDS[: MOST // once]:
        machine = Shaken(program.language.table, inputs, sizes, 2.0**-53, seed, np.float64)
        with np.errstate(all="ignore"):
            made = machine.run(tape)
        at = dict(tape.outputs)
        out.append({x: np.asarray(made[at[n]], float) for x, n in rows.parts})
    return tuple(out)
