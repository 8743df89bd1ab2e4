"""One function per error of an op or a rule that a program defines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gradlang.diagnostics import Diagnostic, did_you_mean
from gradlang.source import NOWHERE, Span

CLAUSES = ("value", "d/dx", "adjoint", "reference", "on", "at", "constant", "linear")


# ------------------------------------------------------------------ clauses of an op
def no_clause(text: str, word: str, span: Span) -> Diagnostic:
    return Diagnostic(
        "G130",
        f"`{text}` is no clause of an op",
        span,
        help=did_you_mean(word, CLAUSES) or f"clauses are {', '.join(CLAUSES)}, and `name = ...` for shared work",
    )


def no_argument(clause: str, name: str, op: str, arguments: Sequence[str], span: Span) -> Diagnostic:
    return Diagnostic(
        "G131",
        f"`{clause}` is about `{name}`, which is no argument of `{op}`",
        span,
        help=did_you_mean(name, arguments) or "its arguments are " + ", ".join(f"`{a}`" for a in arguments),
    )


def by_setting(name: str, op: str, span: Span) -> Diagnostic:
    return Diagnostic(
        "G131",
        f"`{name}` of `{op}` has a default value: it is a setting, and there is no derivative by a setting",
        span,
        help=f"leave the clause out, or write `{name}` without a default",
    )


def missing_rule(clause: str, name: str, op: str, span: Span, other: Span) -> Diagnostic:
    return Diagnostic(
        "G132",
        f"`{op}` does not say how its result changes with `{name}`",
        span,
        labels=((other, "the rule of another argument"),),
        help=f"add `{clause} = ...` (perhaps 0), or give no rule at all: the derivative is then that of `value`",
    )


def two_kinds(op: str, first: str, span: Span, second: str, other: Span) -> Diagnostic:
    hints = {
        "d/dx": "`d/dx` is for ops that work entry by entry, `adjoint x` for ops that look at whole arrays",
        "constant": "a constant op has derivative zero: keep `constant` or the rules",
        "reference": "a reference is for ops that work entry by entry",
        "linear": "`linear` is for ops with `adjoint`: an op with `d/dx` needs no such word",
    }
    key = next(k for k in ("constant", "linear", "reference", "d/dx") if k in (first, second) or k == "d/dx")
    return Diagnostic(
        "G133", f"`{op}` has both `{first}` and `{second}`", span, labels=((other, f"`{second}` here"),), help=hints[key]
    )


def clause_twice(clause: str, span: Span, first: Span) -> Diagnostic:
    return Diagnostic(
        "G133", f"`{clause}` is given twice", span, labels=((first, "first given here"),), help="keep one of the two"
    )


def whole_array(what: str, op: str, span: Span) -> Diagnostic:
    return Diagnostic(
        "G133",
        f"`{what}` looks at a whole array, and an op with `d/dx` works entry by entry",
        span,
        help=f"give `adjoint x = ...` for each argument of `{op}` instead, or no rule at all",
    )


def no_value(op: str, span: Span) -> Diagnostic:
    return Diagnostic(
        "G134", f"the op `{op}` has no value", span, help="add `value = ...`: the formula that computes it from its arguments"
    )


def not_yours(clause: str, span: Span) -> Diagnostic:
    return Diagnostic(
        "G135",
        f"`{clause}` belongs to the built-in table",
        span,
        help="leave it out: an op of a program is computed by its `value`, which also gives its shape",
    )


def core_op(name: str, span: Span) -> Diagnostic:
    return Diagnostic(
        "G135",
        f"`{name}` is a part of the language, and no op of a program can take its place",
        span,
        help=f"choose another name, for example `my_{name}`",
    )


def other_signature(name: str, takes: str, span: Span) -> Diagnostic:
    return Diagnostic(
        "G135",
        f"`{name}` is a built-in op, `{name}({takes})`, and one that takes its place takes the same arguments",
        span,
        help=f"give it these arguments, or choose another name, for example `my_{name}`",
    )


def bad_signature(message: str, span: Span, help: str) -> Diagnostic:
    return Diagnostic("G135", message, span, help=help)


def taken(name: str, what: str, span: Span) -> Diagnostic:
    return Diagnostic("G135", f"`{name}` is {what}", span, help="choose another name")


# ------------------------------------------------------------------ what the clauses may use
def not_closed(name: str, op: str, span: Span, elsewhere: Span | None, known: Iterable[str]) -> Diagnostic:
    if elsewhere is not None:
        return Diagnostic(
            "G136",
            f"`{name}` is defined outside the op `{op}`, and an op is closed",
            span,
            labels=((elsewhere, "defined here"),),
            help=f"make it an argument, `op {op}(..., {name})`, or write its number here",
        )
    return Diagnostic(
        "G136",
        f"the op `{op}` has no argument and no line named `{name}`",
        span,
        help=did_you_mean(name, known) or f"make it an argument, or add a line `{name} = ...` to the op",
    )


def result_in_value(name: str, op: str, span: Span) -> Diagnostic:
    return Diagnostic(
        "G136",
        f"`{name}` is the result of `{op}`, and its value cannot be made of itself",
        span,
        help=f"`{name}` may be used in the rules (`d/dx`, `adjoint`), not in the value",
    )


def own_function(name: str, op: str, span: Span, elsewhere: Span) -> Diagnostic:
    return Diagnostic(
        "G136",
        f"`{name}` is a function of this file, and the op `{op}` is closed: it may use ops only",
        span,
        labels=((elsewhere, "defined here"),),
        help=f"write `{name}` as an op, or write its formula out",
    )


def unknown_reference(name: str, span: Span, known: Iterable[str]) -> Diagnostic:
    return Diagnostic(
        "G136",
        f"no function named `{name}` is known to a reference",
        span,
        help=did_you_mean(name, known) or "a reference is made of ops and of mpmath's special functions",
    )


def recursion(names: Sequence[str], spans: Sequence[Span], direct: bool = True) -> Diagnostic:
    if len(names) == 1:
        return Diagnostic(
            "G137",
            f"the op `{names[0]}` uses itself" + ("" if direct else ", through a built-in op that is made of it"),
            spans[0],
            help="an op is a formula of other ops; inside its own entry a built-in op of this name cannot be reached",
        )
    path = " -> ".join([*names, names[0]])
    labels = tuple(
        (s, f"`{n}` uses `{names[(i + 1) % len(names)]}`") for i, (n, s) in enumerate(zip(names, spans, strict=True))
    )
    return Diagnostic(
        "G137", f"these ops use one another in a circle: {path}", spans[0], labels[0][1], labels=labels[1:6],
        help="write one of them without the others",
    )  # fmt: skip


def too_long(op: str, count: int, span: Span) -> Diagnostic:
    return Diagnostic(
        "G137",
        f"written out, the op `{op}` has more than {count:,} operations",
        span,
        help="an op is written out wherever it is used: write a shorter formula, or a function",
    )


def adjoint_unfit(op: str, argument: str, message: str, span: Span) -> Diagnostic:
    return Diagnostic(
        "G145",
        f"`adjoint {argument}` of `{op}` does not fit the arguments of this call: {message}",
        span,
        help=f"write the adjoint so that it has the shape of `{argument}` here too, or leave out all rules",
    )


# ------------------------------------------------------------------ rules
KINDS = ("exact", "stable", "fast")


def rule_class(kind: str, span: Span) -> Diagnostic:
    return Diagnostic(
        "G140",
        f"`{kind}` is no class of rules",
        span,
        help=did_you_mean(kind, KINDS)
        or "write `exact` (equal bit for bit), `stable` (at least as accurate) or `fast` (equal on the reals)",
    )


def no_pattern(message: str, span: Span, help: str) -> Diagnostic:
    return Diagnostic("G141", message, span, help=help)


def only_on_the_right(name: str, span: Span, known: Iterable[str]) -> Diagnostic:
    return Diagnostic(
        "G142",
        f"`{name}` stands on the right side only: nothing says what it is",
        span,
        help=did_you_mean(name, known) or f"the left side must have `{name}` too",
    )


def rule_twice(name: str, span: Span, first: Span | None) -> Diagnostic:
    if first is None:
        return Diagnostic("G143", f"a built-in rule is named `{name}`", span, help="give the rule another name")
    return Diagnostic(
        "G143",
        f"two rules are named `{name}`",
        span,
        labels=((first, "the first one"),),
        help="reports call a rule by its name: give the second one another name",
    )


def not_in_js(op: str, span: Span) -> Diagnostic:
    """What a JavaScript module cannot compute yet."""
    return not_in_c(op, span, "JavaScript")


def not_in_c(op: str, span: Span, language: str = "C") -> Diagnostic:
    """What a program in C cannot compute yet."""
    what = {"segments": "a recurrence with checkpoints", "item": "this recurrence"}.get(op, f"`{op}`")
    place = span if span != NOWHERE else None
    return Diagnostic("G601", f"{what} is not supported in {language} yet", place, help="`--target numpy` has it")
