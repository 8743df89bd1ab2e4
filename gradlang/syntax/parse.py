"""Text to `Module`, statement by statement.

Each distinct sequence of token kinds is parsed once; its tree is kept as a postfix program, and every other statement of the
same shape runs that program over its own tokens. A file of 100,000 similar lines costs a few parses.
A statement with a fault leaves the others whole; if it swallowed lines (an unclosed bracket), it is cut again where the
next line plainly starts a statement.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from gradlang.diagnostics import Diagnostic
from gradlang.source import Source
from gradlang.syntax import ast, messages
from gradlang.syntax.build import BUILDERS, Build, Text
from gradlang.syntax.grammar import Unexpected, postfix
from gradlang.syntax.lines import Found, Shapes, Written, run_of
from gradlang.syntax.tokens import Run, cut

# One step of a postfix program: a token's index, None for an absent part, or (builder, arity, first and last token).
Step = int | None | tuple[Build, int, int, int]
KEPT = 4096  # shapes of statements; the longest texts are rarely seen twice
LONG = 2000


def _parse(kinds: tuple[str, ...]) -> tuple[Step, ...]:
    return runnable(postfix(kinds))


def runnable(program: tuple[Any, ...]) -> tuple[Step, ...]:
    """A program with the builders in place of the names of rules."""
    return tuple([s if s is None or s.__class__ is int else (BUILDERS[s[0]], *s[1:]) for s in program])


_shape = cache(_parse)


def _run(program: tuple[Step, ...], run: Run, base: int) -> Any:
    stack: list[Any] = []
    texts, starts, ends = run.texts, run.starts, run.ends
    for step in program:
        if step.__class__ is int:
            text = Text(texts[step])
            text.span = (starts[step] + base, ends[step] + base)
            stack.append(text)
        elif step is None:
            stack.append(None)
        else:
            build, arity, first, last = step  # type: ignore[misc]
            children = stack[len(stack) - arity :] if arity else []
            if arity:
                del stack[len(stack) - arity :]
            stack.append(build(children, (starts[first] + base, ends[last] + base)))
    return stack[-1]


def _builder(kinds: tuple[str, ...]) -> Callable[[Run], Any] | None:
    """What makes a statement of tokens of these kinds; None if they are none."""
    try:
        program = _shape(kinds)
    except Unexpected:
        return None
    return lambda run: _run(program, run, 0)


SHAPES = Shapes(_builder)


def _stop(run: Run, error: Unexpected, base: int) -> messages.Stop:
    i = len(run.kinds) - 1 if error.at is None else error.at
    opened: list[tuple[str, tuple[int, int]]] = []
    for text, start, end in zip(run.texts[:i], run.starts, run.ends, strict=False):
        if text in ("(", "["):
            opened.append((text, (start + base, end + base)))
        elif text in (")", "]") and opened:
            opened.pop()
    before = i - 1
    while before >= 0 and run.kinds[before] in ("_DEDENT",):
        before -= 1
    seen = (
        (run.kinds[before], run.texts[before], (run.starts[before] + base, run.ends[before] + base))
        if before >= 0
        else ("", "", (0, 0))
    )
    return messages.Stop(
        run.kinds[i],
        run.texts[i],
        (run.starts[i] + base, run.ends[i] + base),
        *seen,
        error.accepts,
        tuple(run.texts[: i + 1]),
        opened[-1] if opened else None,
    )


class Parser:
    def __init__(self, source: Source) -> None:
        self.source = source
        self.statements: list[Any] = []
        self.faults: list[Diagnostic] = []
        self.broken: set[str] = set()

    def take_lines(self, lines: list[Found | ast.Lines]) -> None:
        """Lines that are statements of known shapes."""
        base = self.source.base
        for line in lines:
            if isinstance(line, ast.Lines):
                line.move(base)
                self.statements.append(line)
                continue
            shape, words, at = line
            if shape.definition:
                self.statements.append(Written(shape, words, at + base))
            else:
                self.take(run_of(shape, words, at), recovering=False)

    def take(self, run: Run, recovering: bool) -> None:
        base = self.source.base
        kinds = tuple(run.kinds)
        try:
            if "ERROR" in kinds:
                return None if self.recover(run, recovering) else self.break_(run)
            program = _shape(kinds) if len(kinds) < LONG else _parse(kinds)
            self.statements.append(_run(program, run, base))
        except Unexpected as error:
            if not self.recover(run, recovering):
                self.faults.append(messages.explain(_stop(run, error, base)))
                self.break_(run)
        except messages.Fault as fault:
            self.faults.append(fault.diagnostic)
            self.break_(run)

    def recover(self, run: Run, recovering: bool) -> bool:
        """Whether a faulty run fell into several statements when cut where the next line plainly starts one."""
        pieces = [] if recovering else cut(self.source.text, run.starts[0], run.ends[-1], recover=True).runs
        if len(pieces) < 2:
            return False
        if run.kinds[0] == "FOR":
            self.break_(run)
        for piece in pieces:
            self.take(piece, recovering=True)
        return True

    def break_(self, run: Run) -> None:
        """Remember the names that a faulty statement would have defined, so that their uses are no errors."""
        stop = next((i for i, k in enumerate(run.kinds) if k in ("EQUAL", "COLON", "_NL")), len(run.kinds))
        self.broken.update(t for t, k in zip(run.texts[:stop], run.kinds, strict=False) if k == "NAME")
        if "_INDENT" in run.kinds and run.kinds[0] == "FOR":  # the lines of the block define names, too
            heads = [i for i, k in enumerate(run.kinds) if k in ("_NL", "_INDENT", "_DEDENT", "RPAR", "RSQB")]
            self.broken.update(
                run.texts[i + 1] for i in heads if run.kinds[i + 1 : i + 2] == ["NAME"] and self.defines(run, i + 1)
            )

    def defines(self, run: Run, i: int) -> bool:
        """Whether a name is that of an entry which is defined: `h[...] =`."""
        depth = 0
        for k in run.kinds[i + 1 :]:
            depth += (k == "LSQB") - (k == "RSQB")
            if depth == 0 and k != "RSQB":
                return k in ("EQUAL", "COMMA")
        return False


def parse(source: Source) -> tuple[ast.Module, list[Diagnostic]]:
    """The statements of a text and all its syntax errors, at most one a statement."""
    pieces = cut(source.text, shapes=SHAPES)
    made = Parser(source)
    base = source.base
    for k, run in enumerate(pieces.runs):
        made.take_lines(pieces.lines.pop(k, []))
        made.take(run, recovering=False)
    made.take_lines(pieces.lines.pop(len(pieces.runs), []))
    moved = [
        Diagnostic(
            d.code,
            d.message,
            (d.span[0] + base, d.span[1] + base) if d.span else None,
            d.label,
            d.labels,
            d.notes,
            d.help,
            d.severity,
            d.fix,
        )
        for d in pieces.faults
    ]
    return ast.Module(tuple(made.statements), frozenset(made.broken)), moved + made.faults
