"""What is said about an op or a rule of a program that is not true: one function for each way to be wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from gradlang.check.clauses import clause_span
from gradlang.diagnostics import Diagnostic
from gradlang.ops.op import Domain, Kink, Op
from gradlang.ops.table import Rule


@dataclass(frozen=True, slots=True)
class Finding:
    """A point, what the entry says there, and the truth: one number, or at a kink two slopes."""

    point: tuple[float, ...]
    attrs: tuple[Any, ...]
    said: Any
    true: Any
    upper: Any = None


def at(op: Op, finding: Finding) -> str:
    """`x = 2, n = 3`"""
    pairs = [*zip(op.params, finding.point, strict=True), *zip(op.attrs, finding.attrs, strict=False)]
    return ", ".join(f"{n} = {shown(v)}" for n, v in pairs)


def shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, (int, float)) and float(f"{value:g}") == value else repr(float(value))


def wrong_value(op: Op, f: Finding) -> Diagnostic:
    return Diagnostic(
        "G138",
        f"the value of `{op.name}` is not its reference: at {at(op, f)} the value is {shown(f.said)}, "
        f"the reference {shown(f.true)}",
        clause_span(op, "value"),
        labels=((clause_span(op, "reference"), "the reference"),),
        help="correct one of the two, or limit the test to where both hold with `on`",
    )


def other_value(op: Op, f: Finding) -> Diagnostic:
    return _other(op, f"at {at(op, f)} it is {shown(f.said)}", f"the built-in one {shown(f.true)}")


def other_array(op: Op, shapes: str, said: str, true: str) -> Diagnostic:
    return _other(op, f"for arguments {shapes} it {said}", f"the built-in one {true}")


def _other(op: Op, said: str, true: str) -> Diagnostic:
    return Diagnostic(
        "G138",
        f"`{op.name}` takes the place of a built-in op of another value: {said}, {true}",
        clause_span(op, "value"),
        help="choose another name: what the compiler writes as this op, in other formulas too, would change its value",
    )


def wrong_partial(op: Op, p: str, f: Finding) -> Diagnostic:
    if "constant" in op.flags:
        return Diagnostic(
            "G138",
            f"`{op.name}` is not constant: its derivative by `{p}` at {at(op, f)} is {shown(f.true)}",
            clause_span(op, "constant"),
            help=f"give `d/d{p} = ...`, or no rule at all: the derivative is then that of `value`",
        )
    truth = f"is {shown(f.true)}"
    if f.upper is not None:
        truth = f"jumps from {shown(f.true)} to {shown(f.upper)}"
    return Diagnostic(
        "G138",
        f"`d/d{p}` of `{op.name}` is wrong: at {at(op, f)} it says {shown(f.said)}, but the derivative of the value {truth}",
        clause_span(op, f"d/d{p}"),
        help="correct it, or leave out all rules: the derivative is then that of `value`",
    )


def wrong_adjoint(op: Op, p: str, shapes: str, said: float, true: float) -> Diagnostic:
    return Diagnostic(
        "G138",
        f"`adjoint {p}` of `{op.name}` is wrong: for {shapes} it says {shown(said)}, but the derivative is {shown(true)}",
        clause_span(op, f"adjoint {p}"),
        help="an adjoint is the derivative of `sum(g * value)` by its argument; or leave out all rules",
    )


def wrong_shape(op: Op, p: str, got: str, wanted: str) -> Diagnostic:
    return Diagnostic(
        "G138",
        f"`adjoint {p}` of `{op.name}` is {got} where `{p}` is {wanted}",
        clause_span(op, f"adjoint {p}"),
        help=f"an adjoint has the shape of its argument: `reshape`, `sum` or `broadcast_to` to `shape({p})`",
    )


def wrong_linear(op: Op, shapes: str, said: float, true: float) -> Diagnostic:
    return Diagnostic(
        "G138",
        f"`{op.name}` is not linear: for {shapes} its forward derivative would be {shown(said)}, and is {shown(true)}",
        clause_span(op, "linear"),
        help="leave `linear` out: the forward rule then follows from the adjoints",
    )


def wrong_order(op: Op, p: str, f: Finding) -> Diagnostic:
    return Diagnostic(
        "G138",
        f"`d/d{p}` of `{op.name}` does not differentiate again: at {at(op, f)} its second derivative comes out as "
        f"{shown(f.said)} and is {shown(f.true)}",
        clause_span(op, f"d/d{p}"),
        help="the rule must be the derivative everywhere near a point, not only at it",
    )


def wrong_kink(op: Op, p: str, kink: Kink, got: float, agreed: float) -> Diagnostic:
    point = ", ".join(f"{n} = {shown(v)}" for n, v in kink.point.items())
    return Diagnostic(
        "G138",
        f"`d/d{p}` of `{op.name}` is {shown(got)} at {point}, where its `at` line says {shown(agreed)}",
        clause_span(op, f"d/d{p}"),
        help="the rule decides: correct it, for example with `... if x > 0 else ...`, or correct the `at` line",
    )


def no_reference(op: Op, why: str) -> Diagnostic:
    return Diagnostic(
        "G138",
        f"the reference of `{op.name}` cannot be computed: {why.splitlines()[0] if why else 'mpmath gives up'}",
        clause_span(op, "reference"),
        help="its functions are mpmath's, with mpmath's arguments; or limit the test with `on`",
    )


def undefined(op: Op, box: Domain) -> Diagnostic:
    where = ", ".join(f"{n} in [{shown(a)}, {shown(b)}]" for n, (a, b) in box.bounds.items())
    return Diagnostic(
        "G138",
        f"the value of `{op.name}` is no finite number at any point that it was tested at ({where})",
        clause_span(op, "value"),
        help="say where it is defined: " + ", ".join(f"`on {p} in [1, 2]`" for p in op.params[:1]),
    )


def wrong_rule(rule: Rule, point: str, left: str, right: str, how: str) -> Diagnostic:
    what = {"exact": "not exact", "accuracy": "less accurate on its right side"}
    hints = {
        "exact": "an exact rule holds bit for bit, for zeros, infinities and nan too: `stable` is for what holds on the reals",
        "stable": "correct it: a rule must hold wherever its left side is defined",
        "fast": "correct it: a rule must hold wherever its left side is defined",
        "accuracy": "a stable rule is at least as accurate as what it replaces: call it `fast`, or turn it round",
    }
    return Diagnostic(
        "G144",
        f"the rule `{rule.name}` is {what.get(how, 'false')}: at {point} the left side is {left}, the right side {right}",
        rule.span,
        help=hints[how],
    )


def unfit(op: Op, message: str, p: str | None = None) -> Diagnostic:
    clause = f"adjoint {p or op.params[0]}"
    return Diagnostic(
        "G138",
        f"`{clause}` of `{op.name}` is wrong: {message}",
        clause_span(op, clause),
        help="an adjoint is the derivative of `sum(g * value)` by its argument; or leave out all rules",
    )
