"""The proof of a program's ops that look at whole arrays: their formulas and adjoints on small examples."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlang.check.calls import default_of
from gradlang.check.clauses import clause_span
from gradlang.check.infer import infer
from gradlang.check.rules import Scratch, evaluate
from gradlang.diagnostics import Diagnostic, InternalError
from gradlang.ir.tape import Builder
from gradlang.ops.language import Language
from gradlang.ops.op import Op
from gradlang.ops.shapes import Misfit
from gradlang.pipeline import optimized
from gradlang.prove.reference import Truth
from gradlang.prove.structural import Check, Example, random
from gradlang.prove.verdicts import other_array, unfit, wrong_adjoint, wrong_linear, wrong_shape
from gradlang.types import Type, show_shape, stretches

if TYPE_CHECKING:
    from gradlang.prove.accuracy import Row

CLOSE = 1e-7  # relative to the largest entry
MOST = 4  # examples that are run
COMMON: tuple[tuple[int, ...], ...] = ((2, 3), (), (3,), (3, 3))
PAIRS = (
    ((2, 3), (3,)),
    ((2, 3), (3, 2)),
    ((3, 3), (3,)),
    ((2, 3), ()),
    ((3,), (2, 3)),
)


def examples(op: Op) -> list[Example]:
    """Arguments of the shapes that formulas have; numbers from the `on` line where there is one."""
    shapes: list[tuple[tuple[int, ...], ...]] = [tuple(s for _ in op.params) for s in COMMON]
    shapes += PAIRS if len(op.params) == 2 else ()
    bounds = op.domains[0].bounds if op.domains else {}
    out = []
    for row in shapes:
        data = {}
        for k, (p, shape) in enumerate(zip(op.params, row, strict=True)):
            low, high = bounds.get(p, (-2.0, 2.0))
            data[k] = low + (high - low) * (random(shape, k) + 2) / 4
        settings = {a: low for a, (low, _) in bounds.items() if a in op.attrs}
        out.append(Example(tuple(Type(s) for s in row), settings, data))
    return out


class OwnCheck(Check):
    """One example of one op; what is wrong becomes a diagnostic."""

    def __init__(self, op: Op, example: Example, language: Language, truth: Truth) -> None:
        super().__init__(op, example, language, truth)
        self.faults: list[Diagnostic] = []
        self.worst = 0.0
        self.shapes = ", ".join(
            f"{p} : {show_shape(t.shape)}" if t.shape else f"a scalar {p}"
            for p, t in zip(op.params, example.types, strict=True)
        )

    def compare(self, row: Row, what: str, got: float, true: float, scale: float) -> None:
        error = abs(got - true) / max(scale, 1e-300)
        if what == "value" and math.isfinite(true):
            self.worst = error / 2**-52
        elif math.isfinite(true) and not error <= CLOSE and not self.faults:
            if what.startswith("dx"):
                self.faults.append(wrong_adjoint(self.op, self.op.params[int(what[2:])], self.shapes, got, true))
            elif what == "forward mode" and "linear" in self.op.flags:
                self.faults.append(wrong_linear(self.op, self.shapes, got, true))
            else:
                self.faults.append(unfit(self.op, f"its {what} comes out as {got!r} and is {true!r} for {self.shapes}"))


def prove_array(op: Op, language: Language, truth: Truth) -> tuple[int, float, list[Diagnostic]]:
    """How many entries were tested, the worst error of a value in units of the last place of the result, what is wrong."""
    from gradlang.prove.accuracy import Row

    points, worst, run = 0, 0.0, 0
    refused: list[Diagnostic] = []
    if op.reference is not None:
        span = clause_span(op, "reference")
        text = f"`{op.name}` looks at whole arrays, and a reference is for ops that work entry by entry"
        return 0, 0.0, [Diagnostic("G133", text, span, help="leave the reference out")]
    for example in examples(op):
        attrs = tuple(example.attrs.get(a, default_of(d)) for a, d in zip(op.attrs, op.defaults, strict=True))
        try:
            attrs, type = infer(op, list(example.types), attrs, language.table)
        except Misfit:
            continue
        unfit_here = _shapes(op, example, attrs, type, language)
        if unfit_here:  # an entry may be meant for other shapes; a use with these is an error of its own
            refused = refused or unfit_here
            continue
        check = OwnCheck(op, example, language, truth)
        check.run(Row(op.name, op.kind))
        check.faults += _replaced(op, example, language, check)
        worst = max(worst, check.worst)
        points += sum(a.size for n, a in check.data.items() if n.startswith("x"))
        run += 1
        if check.faults or run == MOST:
            return points, worst, check.faults
    return points, worst, refused if not run else []


def _replaced(op: Op, example: Example, language: Language, check: Check) -> list[Diagnostic]:
    """Whether an op in the place of a built-in one has its entries."""
    base = language.table.base
    if base is None or op.name not in base:
        return []
    try:
        other = Check(base[op.name], example, Language(base, ()), check.truth)
    except Misfit:
        return []
    said, true = np.asarray(check.compiled()["y"]), np.asarray(other.compiled()["y"])
    shapes = ", ".join(show_shape(t.shape) if t.shape else "a scalar" for t in example.types)
    if said.shape != true.shape:
        return [other_array(op, shapes, f"has the shape {show_shape(said.shape)}", show_shape(true.shape))]
    scale = max(float(np.max(np.abs(true), initial=0.0)), 1e-300)
    for a, b in zip(said.ravel().tolist(), true.ravel().tolist(), strict=True):
        if not abs(a - b) <= CLOSE * scale and not (a == b or (a != a and b != b)):
            return [other_array(op, shapes, f"has an entry {a!r}", repr(b))]
    return []


def _linear_in_cotangent(op: Op, p: str, example: Example, attrs: tuple[Any, ...], type: Type, language: Language) -> bool:
    """Whether the derivative of an adjoint by the cotangent is free of the cotangent."""
    b = Builder(language.table)
    args = [b.leaf("input", (q,), t, op.span) for q, t in zip(op.params, example.types, strict=True)]
    result, g = b.leaf("input", ("result",), type, op.span), b.leaf("input", ("cotangent",), Type(type.shape), op.span)
    made = b.real(evaluate(op, op.adjoints[p], args, attrs, b, result, g, op.span).id)
    u = b.leaf("input", ("above",), b.instrs[made].type, op.span)
    slope = b.add("vjp", (made, u.id, g.id), (), g.type)
    tape, _ = optimized(b.tape([("slope", slope)]), Language(language.table, ()), lambda o: True)
    return all(i.op != "input" or i.attrs[0] != "cotangent" for i in tape)


def _shapes(op: Op, example: Example, attrs: tuple[Any, ...], type: Type, language: Language) -> list[Diagnostic]:
    """Whether the adjoints mean something, and have the shapes of their arguments."""
    for p, t in zip(op.params, example.types, strict=True):
        if p not in op.adjoints:
            continue
        sink = Scratch(language.table)
        args = [sink.param(u) for u in example.types]
        try:
            got = evaluate(op, op.adjoints[p], args, attrs, sink, sink.param(type), sink.param(Type(type.shape)), op.span).type
        except InternalError as error:
            return [unfit(op, error.diagnostics[0].message, p)]
        if not stretches(got.shape, t.shape) and not stretches(t.shape, got.shape):
            return [wrong_shape(op, p, str(got), str(t))]
        if not _linear_in_cotangent(op, p, example, attrs, type, language):
            return [unfit(op, "it is not linear in the cotangent `g`", p)]
    return []
