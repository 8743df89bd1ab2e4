"""Lines that are statements of their own, told by their shapes: what stands between their names, keywords and numbers.

A generated file has a million lines of a few shapes. Of each shape one line is cut into tokens and parsed; another line is
known by splitting it at its words, and its tokens and its tree are made only if somebody looks at them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradlang.record import record
from gradlang.syntax import ast, tokens
from gradlang.syntax.messages import Fault
from gradlang.syntax.tokens import LAYOUT, Key, Run

KEPT = 4096  # shapes; a text whose lines have more of them is read line by line
TEXTS = frozenset({"STRING", "UNIT"})
SEEN = 3  # lines of a shape before it is learned


@record(eq=False)
class Shape:
    """A shape of lines. A token is a word (its number, -1, 0, "") or stands in a gap (-1, the gap, where in it, its text).
    `build` makes the statement from the tokens of a line; it is a `definition`, a `plain` one if it gives one name without an
    index one value, once."""

    kinds: tuple[str, ...]
    tokens: tuple[tuple[int, int, int, str], ...]
    gaps: tuple[int, ...]
    build: Callable[[Run], Any]
    definition: bool
    plain: bool


Found = tuple[Shape, list[str], int]  # a line of a known shape: its words, and where it starts


def run_of(shape: Shape, words: list[str], at: int) -> Run:
    """The tokens of a line of a known shape."""
    places = edges(words, shape.gaps, at)
    out = Run(list(shape.kinds))
    for word, gap, offset, text in shape.tokens:
        start = places[2 * word + 1] if word >= 0 else places[2 * gap] + offset
        out.texts.append(text if word < 0 else words[word])
        out.starts.append(start)
        out.ends.append(start + len(out.texts[-1]))
    return out


def edges(words: list[str], gaps: tuple[int, ...], at: int) -> list[int]:
    """Where gaps and words begin, in turns, and where the line ends: edges[2*k] is the start of gap k, edges[2*k + 1] that
    of word k."""
    out = [at]
    put = out.append
    for gap, word in zip(gaps, words, strict=False):
        at += gap
        put(at)
        at += len(word)
        put(at)
    put(at + gaps[-1])
    return out


class Written(ast.Define):
    """A definition that is a line of a known shape. Its tree is made when it is first looked at."""

    __slots__ = ("at", "shape", "words")

    def __init__(self, shape: Shape, words: list[str], at: int) -> None:
        self.shape, self.words, self.at = shape, words, at

    def __getattr__(self, name: str) -> Any:
        if name not in ast.Define.__match_args__:
            raise AttributeError(name)
        made = self.tree()
        for part in ast.Define.__match_args__:
            setattr(self, part, getattr(made, part))
        return getattr(made, name)

    def starts(self) -> list[int]:
        """Where the words start."""
        return edges(self.words, self.shape.gaps, self.at)[1:-1:2]

    def tree(self) -> ast.Define:
        made: ast.Define = self.shape.build(run_of(self.shape, self.words, self.at))
        return made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ast.Define) and self.tree() == (other.tree() if isinstance(other, Written) else other)

    def __hash__(self) -> int:
        return hash(self.tree())


class Shapes:
    """The shapes that were seen so far. `builder` gives what makes a statement from tokens of some kinds, or None for what
    is no statement."""

    def __init__(self, builder: Callable[[tuple[str, ...]], Callable[[Run], Any] | None]) -> None:
        self.builder = builder
        self.known: dict[Key, Shape | int | None] = {}

    def find(self, key: Key, line: str, words: list[str], count: int = 1) -> Shape | None:
        """The shape of a line, the first of so many of the shape, if that is known."""
        found = self.known.get(key, 0)
        if found is None or found.__class__ is Shape:
            return found
        assert isinstance(found, int)
        if found + count <= SEEN or (not found and len(self.known) >= KEPT):
            if found or len(self.known) < KEPT:
                self.known[key] = found + count
            return None
        made = self.known[key] = self.learn(key, line, words)
        return made

    def learn(self, key: Key, line: str, words: list[str]) -> Shape | None:
        """The shape of a line that is one statement and holds no comment or text; None for any other line."""
        made = tokens.cut(line + "\n")
        if len(made.runs) != 1 or made.faults or made.comments:
            return None
        (run,) = made.runs
        kinds = tuple(run.kinds)
        if TEXTS.intersection(kinds) or LAYOUT.intersection(kinds[:-1]) or run.starts[-1] > len(line) or kinds[-2] == "COLON":
            return None  # it may go on in the next line
        lengths = tuple(map(len, key[0]))
        places = edges(words, lengths, 0)
        at = {places[2 * k + 1]: k for k in range(len(words))}
        found: list[tuple[int, int, int, str]] = []
        for text, start in zip(run.texts, run.starts, strict=True):
            word = at.pop(start, -1) if text else -1
            gap = max(k for k in range(len(lengths)) if places[2 * k] <= start)
            if word >= 0 and words[word] != text:
                return None
            if word < 0 and key[0][gap][start - places[2 * gap] :][: len(text)] != text:
                return None
            found.append((word, -1, 0, "") if word >= 0 else (-1, gap, start - places[2 * gap], text))
        build = self.builder(kinds)
        if at or build is None:
            return None
        try:
            tree = build(run)
        except Fault:
            return None
        plain = isinstance(tree, ast.Define) and len(tree.targets) == 1 and tree.targets[0].index is None
        plain = plain and not tree.clauses and not isinstance(tree.value, ast.Several)
        return Shape(kinds, tuple(found), lengths, build, isinstance(tree, ast.Define), plain)
