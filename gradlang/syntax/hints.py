"""What to write instead of a line that is Python's, or another language's, and not one of a program."""

from __future__ import annotations

from gradlang.source import Span

STATEMENTS = {
    "if": "a choice is a formula: `y = a if condition else b`",
    "else": "a choice is a formula: `y = a if condition else b`",
}
LIBRARIES = ("numpy", "math", "scipy", "torch", "jax", "autograd", "tensorflow", "gradlang")
QUOTES = "“”„‟«»"
APOSTROPHES = "‘’‚‛"


def statement(word: str) -> str:
    """For a line that starts with a word no statement starts with."""
    return STATEMENTS.get(word, "a line is `name = formula`, or starts with input, param, const, def, check, ...")


def imported(word: str) -> str:
    """For a name after `import` or `from`, in place of a file."""
    if word in LIBRARIES:
        return "functions need no import and no prefix: write `exp(x)`"
    return f'a program of yours is imported by its file: `import "{word}.grad"`'


def defining(name: str, operator: str) -> str:
    """For a line that is a name with an operator after it, in place of a definition."""
    if operator == "==":
        return f"to define, write `{name} = ...`; a promise is `check {name} == ...`"
    if operator in ("+", "-", "*", "/", "**", "@", "//", "%"):
        return f"a definition is `{name} = formula`: a name alone stands on the left, and what it names never changes"
    return "give the value a name: `name = formula`; `output name` shows it"


def between(kind: str, before: str, after: str, unclosed: tuple[str, Span] | None) -> str:
    """What else two values in a row may mean: items of a list, or a call."""
    if unclosed is not None and unclosed[0] == "[":
        return "; items of a list have a `,` between them"
    return f"; to call a function, `{before}({after})`" if kind == "NAME" and after.isidentifier() else ""


def quotation(char: str) -> str | None:
    """For quotation marks of typesetting."""
    if char in QUOTES:
        return 'labels and paths stand in `"`'
    return "units stand in `'`" if char in APOSTROPHES else None
