"""`gradlang check`: a program's own promises, and its gradients against differences in higher precision.

The book's gradient check done right: each derivative is compared on its own, with differences in 60 digits (mpmath), or in
extended precision where a program is too large for that. At a kink the derivative must lie between the one-sided ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlang import pipeline
from gradlang.backend.numpy import spelled
from gradlang.check.program import Program, Promise, unreached
from gradlang.diagnostics import InputError
from gradlang.ir.build import write
from gradlang.ir.evaluate import Functions, evaluate
from gradlang.ir.rebuild import dce
from gradlang.ir.tape import Builder, Tape
from gradlang.ops.op import Op
from gradlang.ops.table import OpTable
from gradlang.runtime.bind import Binder
from gradlang.transform.differentiate import differentiate
from gradlang.transform.expand import expand
from gradlang.transform.partials import Templates
from gradlang.transform.passes import deep
from gradlang.transform.simplify import unmark
from gradlang.types import Size, value

if TYPE_CHECKING:
    from gradlang.api import Model

SMALL = 30_000  # entries of all intermediate values: above, mpmath would take seconds
ENTRIES = {"mpmath": 12, "extended": 5}  # of a large gradient that are compared one by one
CLOSE = {"mpmath": 1e-11, "extended": 1e-6}


@dataclass(frozen=True, slots=True)
class Finding:
    ok: bool
    text: str
    line: int | None = None


@dataclass(slots=True)
class Report:
    """What a check found. `ok` is true if every promise holds and every derivative agrees."""

    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return all(f.ok for f in self.findings)

    def add(self, ok: bool, text: str, line: int | None = None) -> None:
        self.findings.append(Finding(ok, text, line))

    def text(self, name: str = "") -> str:
        lines = [f"{'ok    ' if f.ok else 'FAILED'}  {f.text}" for f in self.findings]
        lines += [f"note    {n}" for n in self.notes]
        bad = sum(not f.ok for f in self.findings)
        tail = (
            f"{len(self.findings)} checked, {bad} failed"
            if bad
            else f"all {len(self.findings)} hold"
            if self.findings
            else "nothing to check"
        )
        return "\n".join([*lines, f"{name}: {tail}" if name else tail])

    def as_json(self) -> dict[str, Any]:
        return {
            "schema": 1,
            "ok": self.ok,
            "findings": [{"ok": f.ok, "text": f.text, "line": f.line} for f in self.findings],
            "notes": self.notes,
        }

    def __str__(self) -> str:
        return self.text()


# ------------------------------------------------------------------ values to check at
def complete(model: Model, given: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """The values given, and for required inputs that are not given fixed numbers that look random."""
    program = model.program
    values = dict(given)
    missing = [leaf for leaf in program.callable_leaves() if leaf.required and leaf.name not in values]
    if not missing:
        return values
    sizes = known_sizes(model, values)
    for name in program.sizes:
        sizes.setdefault(name, 3 + len([s for s in sizes if s in program.sizes]) % 3)
    least = min(
        [d if isinstance(d, int) else value(d, sizes) for leaf in program.leaves.values() for d in leaf.type.shape] or [2]
    )
    for k, leaf in enumerate(missing):
        shape = tuple(value(d, sizes) for d in leaf.type.shape)
        low, high = leaf.range or (0.2, 1.8)
        steps = np.modf(np.arange(1, int(np.prod(shape)) + 1) * 0.6180339887498949 + 0.137 * k)[0].reshape(shape)
        if leaf.type.dtype == "real":
            values[leaf.name] = low + (high - low) * steps
        else:
            values[leaf.name] = (
                np.floor(steps * max(min(least, 10), 1)).astype(int) if leaf.type.dtype == "int" else steps > 0.5
            )
    shown = ", ".join(leaf.name for leaf in missing)
    report.notes.append(
        f"no value is given for {shown}: made-up numbers are used"
        + (f" with {', '.join(f'{n} = {sizes[n]}' for n in program.sizes)}" if program.sizes else "")
    )
    return values


def known_sizes(model: Model, values: Mapping[str, Any]) -> dict[str, int]:
    """The sizes that the values given fix."""
    sizes: dict[str, int] = {}
    for leaf in model.program.callable_leaves():
        data = values.get(leaf.name, leaf.default if isinstance(leaf.default, tuple) else None)
        if data is None:
            continue
        shape = np.shape(data)
        for dim, got in zip(leaf.type.shape, shape, strict=False):
            found = dim.linear() if isinstance(dim, Size) else None
            if found is not None and found[1:] == (1, 0):
                sizes.setdefault(found[0], got)
    return sizes


# ------------------------------------------------------------------ promises
def promises(model: Model, given: Mapping[str, Any], report: Report) -> None:
    for promise in model.program.promises:
        source = model.program.sources.of(promise.span[0])
        line, _ = source.place(promise.span[0])
        text = f"line {line}: {' '.join(source.slice(promise.span).split())}"
        try:
            ok, detail = keep(model, promise, {**given, **promise.given})
        except InputError as error:
            ok, detail = False, error.diagnostics[0].message
        report.add(ok, text + (f": {detail}" if detail else ""), line)


def keep(model: Model, promise: Promise, values: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether a promise holds, and what was found."""
    program = model.program
    nodes = [n for n in (promise.cond, promise.left, promise.right) if n is not None]
    b = Builder(program.language.table)
    made = write(program, nodes, b)
    tape = dce(b.tape((str(n), made[n]) for n in nodes))
    args, sizes = bound(model, values)
    tape = plain_tape(tape, b.table, spelled)
    found = evaluate(tape, b.table, args, sizes)
    if promise.cond is not None:
        return bool(np.all(found[str(promise.cond)])), ""
    left, right = (np.asarray(found[str(n)], float) for n in (promise.left, promise.right))
    tolerance = (promise.tol or 0.0) * np.maximum(1.0, np.abs(right))
    same = (np.abs(left - right) <= tolerance) | (left == right) | (np.isnan(left) & np.isnan(right))
    shown = (
        f"found {float(left)!r}" if left.ndim == 0 else f"off by at most {float(np.max(np.abs(left - right), initial=0.0)):.3g}"
    )
    return bool(np.all(same)), shown


def plain_tape(tape: Tape, table: OpTable, keep: Callable[[Op], bool]) -> Tape:
    """Derivative operators, and ops that are not kept, written out; in the bodies of loops as well."""
    templates = Templates(table)
    tape = deep(lambda t: differentiate(t, table, templates))(tape)
    tape = deep(lambda t: unmark(t, table))(tape)
    return deep(lambda t: expand(t, table, templates, keep))(tape)


def bound(model: Model, values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, int]]:
    binder = Binder(model.program, tuple(model.program.callable_leaves()), (), "float64", model.seed)
    args, sizes = binder.bind(values)
    return dict(zip(binder.types, args, strict=True)), sizes


# ------------------------------------------------------------------ gradients
class Higher:
    """One output in higher precision."""

    def __init__(self, program: Program, output: str, inputs: dict[str, Any], sizes: dict[str, int]) -> None:
        b = Builder(program.language.table)
        made = write(program, [program.values[output]], b)
        self.inputs, self.sizes, self.table = inputs, sizes, b.table
        plain = dce(b.tape([("y", made[program.values[output]])]))
        entries = sum(int(np.prod([value(d, sizes) for d in i.type.shape])) for i in plain.instrs)
        self.method = "mpmath" if entries <= SMALL and have_mpmath() else "extended"
        keep = (lambda o: o.pointwise or o.value is None) if self.method == "mpmath" else spelled
        self.tape: Tape = plain_tape(plain, b.table, keep)
        self.functions: Functions | None = None
        self.number: Any = np.longdouble
        self.step: Any = np.longdouble(1e-6)
        if self.method == "mpmath":
            from gradlang.prove.reference import Truth

            truth = Truth(b.table)
            truth.ctx.dps = 80
            self.functions, self.number = truth.functions(), lambda v: truth.ctx.mpf(float(v))
            self.step = truth.ctx.mpf(10) ** -30

    def at(self, name: str, entry: tuple[int, ...], moved: Any) -> Any:
        inputs = {n: self.array(v) for n, v in self.inputs.items()}
        if moved:
            if np.ndim(inputs[name]):
                inputs[name][entry] += moved
            else:
                inputs[name] = inputs[name] + moved
        out = evaluate(
            self.tape,
            self.table,
            inputs,
            self.sizes,
            self.functions,
            self.number,
            None if self.functions is not None else np.longdouble,
        )["y"]
        return out.item() if isinstance(out, np.ndarray) else out

    def array(self, v: Any) -> Any:
        v = np.asarray(v)
        if v.dtype.kind != "f":
            return v
        if self.functions is None:
            return v.astype(np.longdouble)
        flat = [self.number(x) for x in v.ravel()]
        return np.array([*flat, None], object)[:-1].reshape(v.shape) if v.ndim else flat[0]

    def slopes(self, name: str, entry: tuple[int, ...]) -> tuple[float, float, float, float]:
        """The central difference, the one-sided ones, and the rounding error that they may have."""
        x = float(np.asarray(self.inputs[name])[entry]) if np.ndim(self.inputs[name]) else float(self.inputs[name])
        step = self.step * self.number(max(abs(x), 0.1))
        up, here, down = (self.at(name, entry, d) for d in (step, None, -step))
        # a difference of two rounded values: their last digits, times the number of operations that shaped them
        noise = 0.0 if self.functions is not None else 1e3 * float(abs(here)) * float(np.finfo(np.longdouble).eps) / float(step)
        return float((up - down) / (2 * step)), float((here - down) / step), float((up - here) / step), noise


def have_mpmath() -> bool:
    from importlib.util import find_spec

    return find_spec("mpmath") is not None


def requested(program: Program, output: str) -> list[str]:
    """The leaves that an output is differentiated by: those of its requests, or all."""
    asked = [a for a in program.asked if a.name == output and a.kind != "output"]
    named = dict.fromkeys(n for a in asked for n in a.wrt or ())
    return [n for n in named or program.differentiable() if n in program.leaves]


def gradients(model: Model, values: Mapping[str, Any], report: Report) -> None:
    program = model.program
    for output in program.outputs:
        type = program.nodes[program.values[output]].type
        names = requested(program, output)
        if type.shape or type.dtype != "real" or not names:
            continue
        _, found = model.value_and_grad(output, names)(values)
        inputs, sizes = bound(model, values)
        higher = Higher(program, output, inputs, sizes)
        compare(output, {n: np.asarray(found[n], float) for n in names}, higher, report)


def compare(output: str, found: dict[str, Any], higher: Higher, report: Report) -> None:
    """Each derivative against the central difference; at a kink against the one-sided ones."""
    worst, count, bad = 0.0, 0, 0
    for name, gradient in found.items():
        largest = float(np.max(np.abs(gradient), initial=0.0))
        for entry in chosen(gradient.shape, higher.method):
            count += 1
            got = float(gradient[entry])
            central, left, right, noise = higher.slopes(name, entry)
            allowed = CLOSE[higher.method] * max(abs(central), largest * 1e-3) + noise
            kink = abs(left - right) > 1e-3 * max(abs(left), abs(right)) + 100 * noise and math.isfinite(left + right)
            if kink and min(left, right) - noise <= got <= max(left, right) + noise:
                text = f"d {output}/d {label(name, entry)} is taken at a kink: {got!r}, between {left!r} and {right!r}"
                report.notes.append(text)
            elif not (abs(got - central) <= allowed or got == central or (got != got and central != central)):
                bad += 1
                text = f"d {output}/d {label(name, entry)} is {got!r}, but differences in higher precision give {central!r}"
                report.add(False, text)
            elif central:
                worst = max(worst, abs(got - central) / max(abs(central), largest * 1e-3))
    how = "60-digit differences" if higher.method == "mpmath" else "differences in extended precision"
    if not bad:
        report.add(True, f"{count} derivatives of {output} agree with {how} (worst relative error {worst:.2g})")


def label(name: str, entry: tuple[int, ...]) -> str:
    return name + (f"[{', '.join(map(str, entry))}]" if entry else "")


def chosen(shape: tuple[int, ...], method: str) -> list[tuple[int, ...]]:
    """All entries of a small array; of a large one some, spread over it."""
    total = int(np.prod(shape, dtype=int))
    most = ENTRIES[method]
    flat = range(total) if total <= most else sorted({int(total * ((k * 0.6180339887498949) % 1)) for k in range(most)})
    return [tuple(int(i) for i in np.unravel_index(k, shape)) for k in flat] if shape else [()]


def entries(program: Program, report: Report) -> None:
    """The proofs of the program's own ops and rules."""
    if program.language.plain or not have_mpmath():
        return
    from gradlang.prove.own import prove_program

    for proven in prove_program(program):
        report.add(not proven.faults, proven.text())


def check_model(model: Model, given: Mapping[str, Any] | None = None) -> Report:
    """The promises of a file and its gradients. Inputs that are not given get made-up values, which the report says."""
    report = Report()
    values = complete(model, given or {}, report)
    entries(model.program, report)
    promises(model, values, report)
    gradients(model, values, report)
    for rule, span in pipeline.rewritten(model.program, model.program.language):
        source = model.program.sources.of(span[0])
        shown = " ".join(source.slice(span).split())
        where = f"line {source.place(span[0])[0]}" + (f" of {source.path}" if source.base else "")
        report.notes.append(f"{where}: `{shown}` is computed in the form of the rule `{rule}`")
    for output in model.program.outputs:
        for name in unreached(model.program, output):
            if name not in requested(model.program, output):
                continue
            report.notes.append(f"{name} does not reach {output}: its gradient is exactly zero")
    return report
