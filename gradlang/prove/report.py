"""`gradlang check`: a program's own promises, and its gradients against differences in higher precision.

How promises are kept is in `promises.py`, how derivatives are compared in `claims.py` and `gradients.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gradlang import pipeline
from gradlang.check.program import Program, unreached
from gradlang.prove.claims import derivatives, wanted
from gradlang.prove.higher import have_mpmath
from gradlang.prove.promises import promises
from gradlang.prove.values import bound, complete
from gradlang.runtime.bind import outside
from gradlang.source import Span

if TYPE_CHECKING:
    from gradlang.api import Model


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
            if len(self.findings) > 1
            else "it holds"
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


def entries(program: Program, report: Report) -> None:
    """The proofs of the program's own ops and rules."""
    if program.language.plain or not have_mpmath():
        return
    from gradlang.prove.own import prove_program

    for proven in prove_program(program):
        report.add(not proven.faults, proven.text())


def check_model(model: Model, given: Mapping[str, Any] | None = None) -> Report:
    """The promises of a file and its derivatives. Inputs that are not given get made-up values, which the report says.
    Derivatives are those of double precision, whatever the model computes in. Raises InputError if the values given do not
    fit the program."""
    report = Report()
    if model.dtype != "float64":
        model = type(model)(model.program, "float64", model.seed)
    values = complete(model, given or {}, report)
    made_up = bool(report.notes)
    if given:
        bound(model, values)
    entries(model.program, report)
    promises(model, values, report)
    derivatives(model, values, made_up, report)
    rewritten(model.program, report)
    warnings(model.program, given or {}, report)
    return report


def rewritten(program: Program, report: Report) -> None:
    for rule, span in pipeline.rewritten(program, program.language):
        report.notes.append(f"{place(program, span)}: `{shown(program, span)}` is computed in the form of the rule `{rule}`")


def warnings(program: Program, given: Mapping[str, Any], report: Report) -> None:
    """What the text and the values given are warned of, and which leaves do not reach an output."""
    for found in (*program.warnings, *outside(program, given)):
        report.notes.append((f"{place(program, found.span)}: " if found.span else "") + found.message)
    named = {(a.name, x) for a in program.asked for x in a.wrt or ()}
    for (output, _), names in wanted(program).items():
        for name in unreached(program, output):
            if name in names and (output, name) not in named:
                report.notes.append(f"{name} does not reach {output}: its gradient is exactly zero")


def place(program: Program, span: Span) -> str:
    source = program.sources.of(span[0])
    return f"line {source.place(span[0])[0]}" + (f" of {source.path}" if source.base else "")


def shown(program: Program, span: Span) -> str:
    return " ".join(program.sources.of(span[0]).slice(span).split())
