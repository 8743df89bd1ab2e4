"""Values that are written as text: `x=2`, `x=[1, 2, 3]`. They are read by the language's own parser, never evaluated."""

from __future__ import annotations

from typing import Any

from gradlang.check.elaborate import Elaborator
from gradlang.check.names import is_literal
from gradlang.check.program import Ref
from gradlang.check.rules import Scratch
from gradlang.check.scope import Env, Home
from gradlang.check.statics import nested, ragged
from gradlang.diagnostics import Diagnostic, InputError
from gradlang.ops.table import builtin
from gradlang.source import Source
from gradlang.syntax import ast
from gradlang.syntax.parse import parse


def literal(text: str, name: str) -> Any:
    """The number or the nested tuples of numbers that a text means. Raises InputError for anything else."""
    module, faults = parse(Source("<value>", "v = " + text))
    bad = InputError(
        [
            Diagnostic(
                "G515",
                f"the value of `{name}` is not a number or a list of numbers: {text!r}",
                help=f"write `{name}=2.5` or `{name}=[1, 2, 3]`; arrays in files come with `--data`",
            )
        ]
    )
    if faults or len(module.statements) != 1:
        raise bad
    define = module.statements[0]
    if (
        not isinstance(define, ast.Define)
        or define.targets[0].name.id != "v"
        or define.clauses
        or not (is_literal(define.value) or isinstance(define.value, ast.Name))
    ):
        raise bad
    elaborator = Elaborator(builtin(), Scratch(builtin()))
    value = elaborator.eval(define.value, Env(Home({})))
    if elaborator.problems or isinstance(value, Ref):
        raise bad
    if isinstance(value, tuple) and (nested(value) is None or ragged(value)):
        raise bad
    if not isinstance(value, (int, float, tuple)):
        raise bad
    return value
