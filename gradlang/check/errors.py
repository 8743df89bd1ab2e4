"""One function per error of the checker, so that each message stands in one place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gradlang.diagnostics import Diagnostic, did_you_mean
from gradlang.source import Span
from gradlang.syntax import ast


class Problem(Exception):
    """Carries a diagnostic out of a step of the elaborator."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(diagnostic.message)
        self.diagnostic = diagnostic


class TooLarge(Exception):
    """The program has more values than can be held; there is no point in going on."""


def too_large(values: int, calls: int, span: Span) -> Diagnostic:
    text = f"this program has more than {values:,} values or {calls:,} calls of functions"
    hint = "a function is written out at each call: do functions call each other again and again?"
    return Diagnostic("G317", text, span, help=hint)


def later(what: str, span: Span) -> Diagnostic:
    return Diagnostic(
        "G601",
        f"{what} not supported yet",
        span,
        help="this version does not know it; a later one will",
    )


# ------------------------------------------------------------------ names
def unknown_name(name: str, span: Span, known: Iterable[str], functions: Iterable[str] = ()) -> Diagnostic:
    if name in set(functions):
        return Diagnostic("G201", f"`{name}` is a function, not a value", span, help=f"call it: `{name}(...)`")
    return Diagnostic(
        "G201",
        f"no value is named `{name}`",
        span,
        "not defined",
        help=did_you_mean(name, known) or f"define it, for example `{name} = 1`, or declare `input {name}`",
    )


def python_word(name: str, span: Span) -> Diagnostic:
    return Diagnostic("G201", f"`{name}` is Python's spelling", span, help=f"write `{name.lower()}`")


def unknown_function(name: str, span: Span, known: Iterable[str], is_value: bool) -> Diagnostic:
    if is_value:
        return Diagnostic("G202", f"`{name}` is a value, not a function", span, help=f"to multiply, write `{name}*(...)`")
    return Diagnostic(
        "G202", f"no function is named `{name}`", span, help=did_you_mean(name, known) or "`gradlang ops` lists the functions"
    )


def duplicate(name: str, span: Span, first: Span) -> Diagnostic:
    return Diagnostic(
        "G203",
        f"`{name}` is defined twice",
        span,
        "defined again",
        labels=((first, "first defined here"),),
        help="a name has one meaning: give the second one another name",
    )


def cycle(names: Sequence[str], spans: Sequence[Span]) -> Diagnostic:
    path = " -> ".join([*names, names[0]])
    labels = tuple(
        (s, f"`{n}` uses `{names[(i + 1) % len(names)]}`") for i, (n, s) in enumerate(zip(names, spans, strict=True))
    )
    return Diagnostic(
        "G204",
        f"these definitions go in a circle: {path}",
        spans[0],
        labels[0][1],
        labels=labels[1:6],
        help="a value cannot depend on itself; an equation is solved with `solve`",
    )


def size_and_value(name: str, span: Span, other: Span) -> Diagnostic:
    return Diagnostic(
        "G205",
        f"`{name}` is a size in a type and also a definition",
        span,
        labels=((other, "used as a size here"),),
        help=f"write `const {name} = ...` to fix the size, or rename one of them",
    )


def not_a_size(name: str, span: Span, first: Span) -> Diagnostic:
    return Diagnostic(
        "G206",
        f"`{name}` is an input, and a size cannot be",
        span,
        labels=((first, "defined here"),),
        help=f"write `const {name} = ...`",
    )


def recursive(name: str, span: Span) -> Diagnostic:
    return Diagnostic("G207", f"the function `{name}` calls itself", span, help="functions cannot be recursive")


def no_output(span: Span) -> Diagnostic:
    return Diagnostic("G208", "this program defines nothing to compute", span, help="add a formula: `y = 2*x`")


def not_a_leaf(name: str, span: Span, known: Iterable[str], defined: bool = False) -> Diagnostic:
    if defined:
        hint = "only inputs and parameters can be given"
        return Diagnostic("G209", f"`{name}` is a definition, not an input", span, help=hint)
    return Diagnostic("G209", f"no input or parameter is named `{name}`", span, help=did_you_mean(name, known))


# ------------------------------------------------------------------ calls
def dotted(node: ast.Attribute, known: Iterable[str]) -> Diagnostic:
    """`np.exp(x)`: a prefix of Python, or the prefix of an imported file."""
    prefix = node.value.id if isinstance(node.value, ast.Name) else ""
    if prefix in ("np", "numpy", "math", "jnp", "torch", "scipy"):
        hint = f"write `{node.name}(...)`" if node.name in set(known) else "`gradlang ops` lists the functions"
        return Diagnostic("G202", f"functions have no prefix here: `{prefix}.{node.name}`", node.span, help=hint)
    if node.name in ("shape", "size", "mean", "sum", "max", "min", "reshape", "dot"):
        return Diagnostic("G202", f"a value has no `.{node.name}`", node.span, help=f"write `{node.name}(x)`")
    return later("names of an imported file (`file.name`) are", node.span)


def not_callable(span: Span) -> Diagnostic:
    return Diagnostic("G202", "this is a value, not a function", span, help="to multiply, write `*` before the parenthesis")


def arity(name: str, got: int, wanted: str, span: Span, signature: str) -> Diagnostic:
    return Diagnostic("G301", f"`{name}` takes {wanted}, but {got} {'is' if got == 1 else 'are'} given", span, help=signature)


def missing_argument(name: str, parameter: str, span: Span, signature: str) -> Diagnostic:
    return Diagnostic("G301", f"`{name}` needs a value for `{parameter}`", span, help=signature)


def unknown_keyword(name: str, keyword: str, span: Span, known: Sequence[str]) -> Diagnostic:
    hint = did_you_mean(keyword, known) or (
        f"`{name}` knows " + ", ".join(f"`{k}`" for k in known) if known else f"`{name}` takes no keyword arguments"
    )
    return Diagnostic("G302", f"`{name}` has no argument `{keyword}`", span, help=hint)


def argument_twice(name: str, parameter: str, span: Span) -> Diagnostic:
    return Diagnostic("G302", f"`{name}` is given `{parameter}` twice", span, help="keep one of the two values")


# ------------------------------------------------------------------ shapes and kinds
def misfit(message: str, span: Span, help: str = "") -> Diagnostic:
    return Diagnostic("G310", message, span, help=help)


def kind(message: str, span: Span, help: str = "") -> Diagnostic:
    return Diagnostic("G311", message, span, help=help)


def declared(name: str, wanted: str, got: str, span: Span, where: Span) -> Diagnostic:
    return Diagnostic(
        "G312", f"`{name}` is declared as {wanted}, but its value is {got}", span, labels=((where, "declared here"),)
    )


def ragged(span: Span) -> Diagnostic:
    return Diagnostic("G313", "the rows of this array have different lengths", span, help="all rows must be equally long")


def several_values(count: int, span: Span) -> Diagnostic:
    names = ", ".join("abcdefgh"[:count])
    return Diagnostic(
        "G313", f"this call gives {count} values of different shapes", span, help=f"name each of them: `{names} = ...`"
    )


def out_of_range(index: int, dim: str, span: Span) -> Diagnostic:
    return Diagnostic("G314", f"index {index} is outside an axis of length {dim}", span, help="indices count from 0")


def bad_constant(message: str, span: Span, help: str = "") -> Diagnostic:
    return Diagnostic("G315", message, span, help=help)


# ------------------------------------------------------------------ derivatives
def not_scalar(name: str, got: str, span: Span) -> Diagnostic:
    return Diagnostic(
        "G401", f"`grad` needs a scalar, but `{name}` is {got}", span, help="sum it, or ask for one entry: `grad(sum(y), x)`"
    )


def not_differentiable(name: str, why: str, span: Span) -> Diagnostic:
    return Diagnostic("G402", f"there is no derivative with respect to `{name}`: it is {why}", span)


def unreached(name: str, output: str, span: Span) -> Diagnostic:
    return Diagnostic("G403", f"`{name}` does not reach `{output}`: its gradient is exactly zero", span, severity="warning")
