"""One function per error of the checker, so that each message stands in one place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gradlang.check import synonyms
from gradlang.check.errors_modules import no_file
from gradlang.diagnostics import Diagnostic, did_you_mean
from gradlang.source import Span
from gradlang.syntax import ast
from gradlang.types import Dim


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
    known = list(known)
    hint, kind = synonyms.hint(name, known) or did_you_mean(name, known), name[name.rfind("_") :]
    if not hint and kind in ("_lpdf", "_lpmf"):
        hint = "there are " + ", ".join(sorted(k for k in known if k.endswith(kind)))
    return Diagnostic("G202", f"no function is named `{name}`", span, help=hint or "`gradlang ops` lists the functions")


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
def dotted(node: ast.Attribute, known: Iterable[str], of_value: bool = False) -> Diagnostic:
    """`np.exp(x)`: a prefix of Python, a method of a value, or the prefix of a file that is not imported."""
    prefix = node.value.id if isinstance(node.value, ast.Name) else ""
    if prefix in ("np", "numpy", "math", "jnp", "torch", "scipy"):
        hint = f"write `{node.name}(...)`" if node.name in set(known) else "`gradlang ops` lists the functions"
        return Diagnostic("G202", f"functions have no prefix here: `{prefix}.{node.name}`", node.span, help=hint)
    return no_attribute(node) if of_value or node.name in METHODS else no_file(node)


METHODS = ("shape", "size", "mean", "sum", "max", "min", "reshape", "dot")  # of NumPy's arrays


def no_attribute(node: ast.Attribute) -> Diagnostic:
    if node.name in METHODS:
        return Diagnostic("G202", f"a value has no `.{node.name}`", node.span, help=f"write `{node.name}(x)`")
    return bad_constant(f"a value has no `.{node.name}`", node.span, "`.T` is the transpose")


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


def generator_alone(name: str, span: Span) -> Diagnostic:
    hint = f"write `{name}([...], ...)` with a list"
    return Diagnostic("G302", f"`{name}` of a comprehension takes no other argument", span, help=hint)


def generator(name: str, span: Span) -> Diagnostic:
    return Diagnostic(
        "G303", f"`{name}` is no reduction: it takes a list, not a bare `for`", span, help="write `[... for ...]`"
    )


def iterable(span: Span) -> Diagnostic:
    hint = "for example `sum(x[i] for i in range(n))`; `arange(n)` is an array"
    return Diagnostic("G303", "this stands only after `in`", span, help=hint)


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


def out_of_range(index: Dim, first: Dim, dim: Dim, span: Span) -> Diagnostic:
    hint = f"indices count from {first}"
    return Diagnostic("G314", f"index {index} is outside an axis of length {dim}", span, help=hint)


def reaches(index: Dim, first: Dim, dim: Dim, loops: Sequence[str], span: Span, entry: bool) -> Diagnostic:
    names = " and ".join(f"`{n}`" for n in dict.fromkeys(loops))
    run = "run" if len(set(loops)) > 1 else "runs"
    axis = f"an axis of length {dim}" + (f" that starts at {first}" if first != 0 else "")
    text = f"this {'index' if entry else 'slice'} reaches {index} as {names} {run}, outside {axis}"
    hint = "indices count from 0 to one less than the length: mend the range, or guard it: `x[i - 1] if i > 0 else 0`"
    if first != 0 or not entry:
        hint = "mend the range of the loop"
    return Diagnostic("G314", text, span, help=hint)


def before_first(index: object, first: Dim, span: Span) -> Diagnostic:
    text = f"index {index} is before the first one, which is {first}"
    return Diagnostic("G314", text, span, help="this sequence is defined from there on")


def bad_constant(message: str, span: Span, help: str = "") -> Diagnostic:
    return Diagnostic("G315", message, span, help=help)


# ------------------------------------------------------------------ indexed definitions
def not_earlier(name: str, loop: str, span: Span) -> Diagnostic:
    hint = f"each step may use entries of earlier steps only; the order in which `{loop}` runs decides what is earlier"
    return Diagnostic("G320", f"this entry of `{name}` is not made by an earlier step for every `{loop}`", span, help=hint)


def no_first(name: str, lag: int, known: int, loop: str, guarded: bool, span: Span) -> Diagnostic:
    have = "none is defined" if not known else "only one is defined" if known == 1 else f"only {known} are defined"
    hint = f"define the first entries on lines of their own, for example `{name}[0] = ...`"
    if guarded:
        hint += f", or guard the look back by a condition on `{loop}` alone (`if {loop} > 0`)"
    steps = "one entry" if lag == 1 else f"{lag} entries"
    return Diagnostic("G321", f"the first step of `{name}` looks back {steps}, but {have} before it", span, help=hint)


def whole_sequence(name: str, span: Span) -> Diagnostic:
    hint = f"inside its own definition `{name}` is read entry by entry: `{name}[t-1]`"
    return Diagnostic("G322", f"`{name}` as a whole is not known while it is being defined", span, help=hint)


def circular_rows(name: str, span: Span) -> Diagnostic:
    hint = "an entry may use entries of earlier steps, and entries of the same step that do not use it"
    return Diagnostic("G320", f"this entry of `{name}` is not known when it is needed", span, help=hint)


def entry_twice(name: str, span: Span, first: Span) -> Diagnostic:
    labels = ((first, "and here"),)
    return Diagnostic("G323", f"an entry of `{name}` is defined twice", span, "here", labels=labels, help="keep one of them")


def rows_missing(name: str, last: Dim, other: Dim, span: Span, first: Span, sure: bool) -> Diagnostic:
    text = f"the entries of `{name}` up to index {last} and those from {other} on do not touch"
    labels = ((first, f"up to index {last}"),)
    hint = "the entries that are defined form one block, without gaps and overlaps"
    return Diagnostic("G323", text if sure else f"{text} for every size", span, f"from {other} on", labels=labels, help=hint)


def rows_differ(name: str, first: str, other: str, span: Span) -> Diagnostic:
    hint = "all entries of one name have the same shape: for example start from `zeros(D)` instead of 0"
    return Diagnostic("G324", f"the entries of `{name}` have different shapes: {first} and {other}", span, help=hint)


def no_shape(name: str, span: Span) -> Diagnostic:
    hint = f"define the first entry on a line of its own: `{name}[0] = ...`"
    return Diagnostic("G324", f"the shape of the entries of `{name}` cannot be found", span, help=hint)


def ranks_differ(name: str, span: Span, first: Span) -> Diagnostic:
    labels = ((first, "first defined here"),)
    return Diagnostic("G323", f"`{name}` is defined with different numbers of indices", span, labels=labels)


def no_block(name: str, span: Span) -> Diagnostic:
    hint = "the bounds of these loops are sizes and numbers; write `e if c else 0` for entries that are not there"
    return Diagnostic("G323", f"the indices of `{name}` do not form a block: a bound depends on another loop", span, help=hint)


def target_index(name: str, span: Span) -> Diagnostic:
    hint = "an index on the left is a number, a size, or a loop's variable plus or minus one of these"
    return Diagnostic("G323", f"this is no index at which `{name}` can be defined", span, help=hint)


def loop_of_target(name: str, targets: tuple[object, ...], span: Span) -> Diagnostic:
    shown = ", ".join(map(str, targets))
    hint = f"write `{name}[{shown}] = ...`; a sum over a loop is `sum(... for ...)`"
    return Diagnostic("G323", f"`{name}` must be indexed by `{shown}` exactly once", span, help=hint)


def several_for_one(name: str, span: Span) -> Diagnostic:
    hint = f"a number has a decimal point: `3.14`; a list stands in brackets: `{name} = [1, 2]`"
    return Diagnostic("G326", f"`{name}` is one name, but several values follow", span, help=hint)


def mixed_targets(name: str, span: Span) -> Diagnostic:
    hint = f"give `{name}` an index too, or a line of its own"
    return Diagnostic("G323", f"`{name}` has no index, but another target of this line has", span, help=hint)


def conditional_definition(span: Span) -> Diagnostic:
    hint = "write `y[i] = e if c else other for i in ...`"
    return Diagnostic("G323", "an indexed definition takes no `if`: every entry must be defined", span, help=hint)


def bound_twice(name: str, span: Span) -> Diagnostic:
    return Diagnostic("G203", f"this `for` gives `{name}` two meanings", span, help="use two names")


def below_zero(name: str, low: Dim, span: Span) -> Diagnostic:
    text = f"the first index at which `{name}` is defined here is {low}"
    return Diagnostic("G323", text, span, help="indices are 0 or more: mend the range of the loop")


def unindexed_loop(name: str, span: Span) -> Diagnostic:
    hint = f"write `{name}[i] = ... for i in ...`, or `{name} = [... for i in ...]`"
    return Diagnostic("G323", f"`{name}` is defined once for every count of a loop", span, help=hint)


def only_in_solve(span: Span) -> Diagnostic:
    return bad_constant("`for x from start` stands in `solve` only", span, "write `solve(f(x) for x from x0)`")


def no_unknown(name: str, span: Span) -> Diagnostic:
    hint = "the equation is residual = 0 for the unknown: `solve(x**2 - a for x from 1)`"
    return Diagnostic("G325", f"this does not depend on the unknown `{name}`", span, help=hint)


def residual_shape(name: str, got: str, wanted: str, span: Span) -> Diagnostic:
    hint = "there must be as many equations as unknowns, in the shape of the start"
    return Diagnostic("G325", f"the residual is {got}, but the unknown `{name}` is {wanted}", span, help=hint)


def residual_is_condition(span: Span) -> Diagnostic:
    hint = "write the difference of both sides, which is to be zero: `solve(x**2 - a for x from 1)`"
    return Diagnostic("G325", "the equation is a condition, not a residual", span, help=hint)


def empty_loop(span: Span) -> Diagnostic:
    hint = "names without an index are known inside the block only"
    return Diagnostic("G323", "this block defines no entry: nothing on its left sides has an index", span, help=hint)


# ------------------------------------------------------------------ derivatives
def not_scalar(name: str, got: str, span: Span, kind: str = "grad") -> Diagnostic:
    hint = f"sum it, or ask for one entry: `{kind}(sum(y), x)`" + ("; `jacobian(y, x)` takes arrays" if kind == "grad" else "")
    what = f"`{name}`" if name else "its first argument"
    return Diagnostic("G401", f"`{kind}` needs a scalar, but {what} is {got}", span, help=hint)


def not_differentiated(name: str, got: str, span: Span) -> Diagnostic:
    return Diagnostic("G401", f"`{name}` is {got}, which has no derivative", span, help="only reals are differentiated")


def not_a_name(kind: str, span: Span) -> Diagnostic:
    hint = "give the value a name first: `z = x[0]`, use z in y, and write the name here"
    return Diagnostic("G404", f"`{kind}` differentiates with respect to a name, and this is none", span, help=hint)


def not_differentiable(name: str, why: str, span: Span) -> Diagnostic:
    what = f"`{name}`" if name else "this"
    return Diagnostic("G402", f"there is no derivative with respect to {what}: it is {why}", span)


def unreached(name: str, output: str, span: Span) -> Diagnostic:
    return Diagnostic("G403", f"`{name}` does not reach `{output}`: its gradient is exactly zero", span, severity="warning")
