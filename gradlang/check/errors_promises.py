"""The errors of `check` lines, ranges and requests, one function each; and what a program is warned of."""

from __future__ import annotations

from gradlang.diagnostics import Diagnostic
from gradlang.source import Span

EXAMPLE = "a check is `check a == b tol 1e-12 given x = 2, y = 3`"


# ------------------------------------------------------------------ check lines
def given_twice(name: str, span: Span, first: Span) -> Diagnostic:
    labels = ((first, "first given here"),)
    return Diagnostic("G230", f"`{name}` is given twice in this check", span, labels=labels, help="keep one of the two values")


def given_constant(name: str, span: Span, where: Span) -> Diagnostic:
    labels = ((where, "defined here"),)
    hint = f"write `input {name} = ...` where it is defined to let it vary"
    return Diagnostic("G230", f"`{name}` is a constant: it cannot be given", span, labels=labels, help=hint)


def given_depends(name: str, span: Span) -> Diagnostic:
    hint = "a given value is made of numbers and constants: `given x = 2*pi, v = [1, 2]`"
    return Diagnostic("G230", f"the value given for `{name}` depends on an input", span, help=hint)


def given_misfit(name: str, wanted: str, got: str, span: Span, where: Span, hint: str) -> Diagnostic:
    labels = ((where, "declared here"),)
    return Diagnostic("G230", f"`{name}` is {wanted}, but {got} is given for it", span, labels=labels, help=hint)


def given_unused(name: str, span: Span) -> Diagnostic:
    hint = "leave it out, or check a value that it changes"
    text = f"`{name}` is given, but nothing in this check depends on it"
    return Diagnostic("G231", text, span, help=hint, severity="warning")


def no_condition(text: str, got: str, span: Span) -> Diagnostic:
    said = f"this is {'an array ' + got if got.startswith('[') else got}, not a condition"
    return Diagnostic("G232", said, span, help=f"compare it with something: `check {text} == ...`; {EXAMPLE}")


def tolerance_alone(span: Span) -> Diagnostic:
    return Diagnostic("G232", "a tolerance belongs to a single `==`", span, help=EXAMPLE)


def bad_tolerance(span: Span) -> Diagnostic:
    return Diagnostic("G232", "a tolerance is a number from 0 on", span, help=EXAMPLE)


def sides_differ(left: str, right: str, span: Span) -> Diagnostic:
    hint = "both sides have the same shape, or one of them is a scalar"
    return Diagnostic("G232", f"the sides of this check have different shapes: {left} and {right}", span, help=hint)


# ------------------------------------------------------------------ ranges
def outside_range(name: str, value: float, low: float, high: float, span: Span, where: Span) -> Diagnostic:
    labels = ((where, "the range"),)
    text = f"the default of `{name}` is {value:g}, outside its range [{low:g}, {high:g}]"
    return Diagnostic("G318", text, span, labels=labels, help="correct one of the two")


def range_of_kind(name: str, kind: str, span: Span) -> Diagnostic:
    return Diagnostic("G318", f"`{name}` is {kind}, which has no range", span, help="a range is for numbers")


def given_outside(name: str, value: float, low: float, high: float, span: Span) -> Diagnostic:
    text = f"`{name}` is {value:g}, outside its range [{low:g}, {high:g}]"
    return Diagnostic("G519", text, span, severity="warning")


# ------------------------------------------------------------------ requests and derivatives
def second_objective(kind: str, span: Span, first: Span) -> Diagnostic:
    labels = ((first, "the first one"),)
    hint = "a program has one objective: add the two, or ask for the derivatives of one with `grad`"
    return Diagnostic("G233", f"a second objective: `{kind}` stands here too", span, labels=labels, help=hint)


def zero_derivative(y: str, x: str, span: Span) -> Diagnostic:
    text = f"{y} does not depend on {x}: this derivative is exactly zero"
    return Diagnostic("G403", text, span, severity="warning")
