"""What earlier runs learned of the grammar: its terminals, and the postfix programs of statement shapes.

They are kept beside the tables of the parser in the user's cache folder, as plain data too. A run that meets no new shape
then needs no parser, and lark, which takes a quarter of such a run to import, is not imported.
"""

from __future__ import annotations

import atexit
import marshal
import sys
import zlib
from functools import cache
from pathlib import Path
from typing import Any

from gradlang._version import __version__
from gradlang.syntax import grammar

# One step of a postfix program: a token's index, None for an absent part, or (rule, arity, first and last token).
Plain = int | None | tuple[str, int, int, int]
MOST = 500  # shapes that are kept
LONGEST = 1000  # tokens of such a shape


class Known:
    """The terminals (name -> pattern), the literals (text -> name) and the shapes (kinds of tokens -> program)."""

    def __init__(self) -> None:
        self.terminals: dict[str, str] = {}
        self.literals: dict[str, str] = {}
        self.shapes: dict[tuple[str, ...], tuple[Plain, ...]] = {}
        self.path: Path | None = None
        self.key = (grammar.grammar_text("grad.lark"), __version__, sys.version)
        self.changed = False
        folder = grammar.cache_dir()
        if folder is not None:
            self.path = folder / f"shapes-{zlib.crc32(repr(self.key).encode()):08x}.marshal"
        if not self.load():
            made = grammar.parser().terminals
            self.terminals = {t.name: t.pattern.value for t in made if t.pattern.type == "re"}
            self.literals = {t.pattern.value: t.name for t in made if t.pattern.type == "str"}
            self.touch()

    def load(self) -> bool:
        """Whether there was a file for this grammar that can be used."""
        try:
            key, terminals, literals, shapes = marshal.loads(self.path.read_bytes()) if self.path else ((), {}, {}, {})
            fits = key == self.key and all(map(self.program, shapes.values())) and all(map(texts, shapes))
            if not (fits and texts({*terminals, *terminals.values()}) and texts({*literals, *literals.values()})):
                return False
        except (OSError, ValueError, EOFError, TypeError, AttributeError):
            return False
        self.terminals, self.literals, self.shapes = terminals, literals, shapes
        return True

    @staticmethod
    def program(steps: Any) -> bool:
        return isinstance(steps, tuple) and all(
            s is None or isinstance(s, int) or [type(x) for x in s] == [str, int, int, int] for s in steps
        )

    def learn(self, kinds: tuple[str, ...], program: tuple[Plain, ...]) -> None:
        if len(self.shapes) < MOST and len(kinds) <= LONGEST:
            self.shapes[tuple(map(str, kinds))] = program
            self.touch()

    def touch(self) -> None:
        if not self.changed and self.path is not None:
            self.changed = True
            atexit.register(self.save)

    def save(self) -> None:
        """Writes the file anew; a run that stands in the way, or a full disk, costs the next run some time."""
        if self.path is None:
            return
        data: Any = (self.key, plain(self.terminals), plain(self.literals), self.shapes)
        grammar.keep(self.path, data)


def texts(items: Any) -> bool:
    return isinstance(items, (tuple, set)) and all(isinstance(t, str) for t in items)


def plain(words: dict[str, str]) -> dict[str, str]:
    """Without subclasses of str, which marshal does not take."""
    return {str(k): str(v) for k, v in words.items()}


@cache
def known() -> Known:
    return Known()
