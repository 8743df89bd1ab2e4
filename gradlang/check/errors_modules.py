"""One function per error about imports, so that each message stands in one place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gradlang.diagnostics import Diagnostic, did_you_mean
from gradlang.source import Span
from gradlang.syntax import ast


# ------------------------------------------------------------------ files
def unreadable(message: str, help: str, span: Span) -> Diagnostic:
    return Diagnostic("G220", message, span, help=help)


def cycle(paths: Sequence[str], spans: Sequence[Span]) -> Diagnostic:
    """`spans[i]` is where `paths[i]` imports the next of the circle; the last one closes it."""
    if len(paths) == 1:
        hint = "the names of a file are known in it without an import"
        return Diagnostic("G221", f"{paths[0]} imports itself", spans[0], help=hint)
    labels = tuple((s, f"imports {p}") for s, p in zip(spans[:-1], paths[1:], strict=True))
    return Diagnostic(
        "G221",
        f"these files import each other: {' -> '.join([*paths, paths[0]])}",
        spans[-1],
        f"imports {paths[0]} again",
        labels[:5],
        help="move what both need into a file of its own, which both import",
    )


def too_many(message: str, span: Span) -> Diagnostic:
    return Diagnostic("G222", message, span, help="put what they define into fewer files")


# ------------------------------------------------------------------ names
def no_prefix(stem: str, path: str, span: Span) -> Diagnostic:
    shown = f"`{stem}` is" if stem else "this is"
    return Diagnostic("G223", f"{shown} no name that formulas could use", span, help=f'give it one: `import "{path}" as name`')


def no_member(prefix: str, name: str, span: Span, known: Iterable[str]) -> Diagnostic:
    public = [k for k in known if not k.startswith("_")]
    shown = ", ".join(f"`{k}`" for k in public[:6])
    hint = did_you_mean(name, public) or (f"it has {shown}" if shown else "it has no public names")
    return Diagnostic("G224", f"`{prefix}` has no `{name}`", span, help=hint)


def private(prefix: str, name: str, span: Span) -> Diagnostic:
    hint = "names that start with `_` are only for the file that defines them"
    return Diagnostic("G225", f"`{name}` is private to `{prefix}`", span, help=hint)


def not_a_value(prefix: str, span: Span, known: Iterable[str]) -> Diagnostic:
    return _bare(prefix, "value", span, known)


def not_a_function(prefix: str, span: Span, known: Iterable[str]) -> Diagnostic:
    return _bare(prefix, "function", span, known)


def _bare(prefix: str, what: str, span: Span, known: Iterable[str]) -> Diagnostic:
    name = next((k for k in known if not k.startswith("_")), "name")
    hint = f"say which of its names you mean, for example `{prefix}.{name}`"
    return Diagnostic("G226", f"`{prefix}` is an imported file, not a {what}", span, help=hint)


def no_file(node: ast.Attribute) -> Diagnostic:
    """A prefix that no import gives."""
    prefix = node.value.id if isinstance(node.value, ast.Name) else ""
    if not prefix:
        return Diagnostic("G202", f"a value has no `.{node.name}`", node.span)
    return Diagnostic("G224", f"no file is imported as `{prefix}`", node.span, help=f'import it: `import "{prefix}.grad"`')


def op_renamed(name: str, span: Span) -> Diagnostic:
    return Diagnostic(
        "G226", f"`{name}` is an op, which keeps its name in every file", span, help=f"write `import {name}` without `as`"
    )
