"""Lines of known shapes as columns: a large text is split at its words piece by piece, and the shapes of all lines of a piece
are found by operations on whole columns of numbers.

What a line means is said by its shape alone (`lines.py`); here it only becomes cheap to have a million of them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import count, islice
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlang.source import Span
from gradlang.syntax import ast
from gradlang.syntax.grammar import tables
from gradlang.syntax.lines import Shape, Written
from gradlang.syntax.tokens import LONG, NOT_FLUSH, SHORT, Key, lexicon

if TYPE_CHECKING:
    import numpy.typing as npt

    from gradlang.syntax.lines import Found, Shapes

    Numbers = npt.NDArray[np.int64]
    Truths = npt.NDArray[np.bool_]

PIECE = 1 << 20  # characters that are split at once
LEAST = 64  # lines of a batch
WIDEST = 64  # words of a line
FLUSH, COMMENT, OTHER = 0, 1, 2  # how a line starts: with a word in the first column, as a comment, otherwise
BLANK = " \t\f\r"
NOTHING = re.compile(r"(?:[ \t\f\r]*(?:#[^\n]*)?\n)*")  # lines without a statement


@cache
def ascii_words() -> re.Pattern[str]:
    """What `lexicon().words` finds, for a text of ASCII characters alone, in half the time."""
    return re.compile(rf"([A-Za-z_]\w*|(?=[\d.]){tables().terminals['NUMBER']})", re.ASCII)


class Table:
    """Texts by number, in the order in which they were met."""

    def __init__(self) -> None:
        self.ids: defaultdict[str, int] = defaultdict(count().__next__)
        self.texts: list[str] = []

    def numbers(self, texts: Sequence[str]) -> Numbers:
        return np.fromiter(map(self.ids.__getitem__, texts), np.int64, len(texts))

    def new(self) -> list[str]:
        """The texts that were met since this was last asked for."""
        some = list(islice(reversed(self.ids), len(self.ids) - len(self.texts)))[::-1]
        self.texts += some
        return some


class Words(Table):
    """The words of a file: their lengths, and the numbers of their kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = ["NAME", "NUMBER", "NAME"]  # the second NAME has other characters than those of ASCII
        self.lengths = self.kinds = np.zeros(0, np.int64)

    def take(self, words: Sequence[str]) -> Numbers:
        ids = self.numbers(words)
        new, literals = self.new(), lexicon().literals
        kinds = [1 if w < "A" else 0 if w.isascii() else 2 for w in new]
        for w in sorted(literals.keys() & set(new)):
            if literals[w] not in self.names:
                self.names.append(literals[w])
            kinds[new.index(w)] = self.names.index(literals[w])
        self.kinds = np.append(self.kinds, np.array(kinds, np.int64))
        self.lengths = np.append(self.lengths, np.fromiter(map(len, new), np.int64, len(new)))
        return ids


class Gaps(Table):
    """What stands between words. A gap with a line end is the `tail` of a line (the number of that text), lines without words,
    of which the language takes no notice unless they are `odd`, and how the next line starts (`lead`)."""

    def __init__(self) -> None:
        super().__init__()
        self.ends = self.odd = np.zeros(0, np.bool_)
        self.lengths = self.tails = self.leads = np.zeros(0, np.int64)

    def take(self, gaps: Sequence[str]) -> Numbers:
        ids = self.numbers(gaps)
        while new := self.new():
            rows = [self.row(gap) for gap in new]
            ends, odd, lengths, tails, leads = (np.array(column) for column in zip(*rows, strict=True))
            self.ends, self.odd = np.append(self.ends, ends), np.append(self.odd, odd)
            self.lengths, self.tails = np.append(self.lengths, lengths), np.append(self.tails, tails)
            self.leads = np.append(self.leads, leads)
        return ids

    def row(self, gap: str) -> tuple[bool, bool, int, int, int]:
        tail, *rest = gap.split("\n")
        odd = any(x.strip(BLANK)[:1] not in ("", "#") for x in rest[:-1])
        lead = rest[-1] if rest else gap
        kind = FLUSH if not lead else COMMENT if lead.lstrip(BLANK).startswith("#") else OTHER
        return bool(rest), odd, len(gap), self.ids[tail], kind


class Batch(ast.Lines):
    """Lines k: they start at `at[k]`, their words are `ids[first[k]:]`, as many as their shape `shapes[kinds[k]]` has, and
    `texts` has the words themselves."""

    __slots__ = ("at", "first", "ids", "kinds", "shapes", "words")

    def __init__(self, words: Words, shapes: list[Shape], ids: Numbers, first: Numbers, at: Numbers, kinds: Numbers) -> None:
        self.words, self.shapes, self.ids, self.first, self.at, self.kinds = words, shapes, ids, first, at, kinds

    def __len__(self) -> int:
        return len(self.at)

    def line(self, k: int) -> Written:
        shape = self.shapes[self.kinds[k]]
        first, texts = int(self.first[k]), self.words.texts
        return Written(shape, [texts[i] for i in self.ids[first : first + len(shape.gaps) - 1].tolist()], int(self.at[k]))

    def lines(self) -> Iterator[Written]:
        return map(self.line, range(len(self)))

    def names(self) -> list[str]:
        texts = self.words.texts
        return [texts[i] for i in self.ids[self.first].tolist()]

    def spans(self) -> list[Span]:
        stops = self.at + self.words.lengths[self.ids[self.first]]
        return list(zip(self.at.tolist(), stops.tolist(), strict=True))

    def some(self, which: Truths) -> Batch:
        """The lines for which something holds."""
        return Batch(self.words, self.shapes, self.ids, self.first[which], self.at[which], self.kinds[which])

    def move(self, by: int) -> None:
        self.at = self.at + by

    def found(self) -> list[Found]:
        """The lines one by one."""
        return [(d.shape, d.words, d.at) for d in self.lines()]


def joined(parts: Sequence[Batch]) -> Batch:
    """Batches of one file as one."""
    if len(parts) == 1:
        return parts[0]
    before = np.cumsum([0, *(len(p.ids) for p in parts[:-1])])
    first = np.concatenate([p.first + n for p, n in zip(parts, before, strict=True)])
    ids, at, kinds = (np.concatenate([getattr(p, column) for p in parts]) for column in ("ids", "at", "kinds"))
    return Batch(parts[0].words, parts[0].shapes, ids, first, at, kinds)


class Scanner:
    """Reads ahead in a text and says which lines from some place on are of known shapes, definitions of one plain name each."""

    def __init__(self, text: str, end: int, shapes: Shapes) -> None:
        self.text, self.end, self.known = text, end, shapes
        self.words, self.gaps = Words(), Gaps()
        self.shapes: list[Shape] = []
        self.number: dict[Shape, int] = {}
        self.upto = 0  # what stands before was read
        self.after = 0  # where the line behind the last one starts
        self.starts: Numbers = np.zeros(0, np.int64)  # where lines start
        self.stops: Numbers = np.zeros(0, np.int64)  # the lines that are not known, and the number of all
        self.piece = Batch(self.words, self.shapes, *[np.zeros(0, np.int64)] * 4)

    def take(self, at: int) -> tuple[list[Found | ast.Lines], int]:
        """The known lines from `at` on, and where the first other line starts."""
        parts: list[Batch] = []
        while at < self.upto or self.read(at):
            k = int(np.searchsorted(self.starts, at))
            if k == len(self.starts) or self.starts[k] != at:
                break
            stop = int(self.stops[np.searchsorted(self.stops, k)])
            if stop == k:
                break
            p = self.piece
            parts.append(Batch(p.words, p.shapes, p.ids, p.first[k:stop], p.at[k:stop], p.kinds[k:stop]))
            at = int(p.at[stop]) if stop < len(p) else self.after
            if stop < len(p):
                break
        if not parts:
            return [], at
        made = joined(parts)
        return ([made] if len(made) >= LEAST else [*made.found()]), at

    # -------------------------------------------------------------- a piece of the text
    def read(self, at: int) -> bool:
        """Reads the piece that starts at `at`, where a line starts, if it is one of many short lines."""
        text = self.text
        stop = text.rfind("\n", at, min(at + PIECE, self.end)) + 1
        if stop <= at:
            return False
        self.upto = stop
        self.starts = self.starts[:0]
        if text.count("\n", at, stop) * SHORT < stop - at:
            return True
        piece = text[at:stop]
        parts = (ascii_words() if piece.isascii() else lexicon().words).split(piece)
        words, gaps = self.words.take(parts[1::2]), self.gaps.take(parts[::2])
        if len(words):
            self.lines(at, words, gaps, piece.isascii())
        return True

    def lines(self, at: int, words: Numbers, gaps: Numbers, plain: bool) -> None:
        known = self.gaps
        edges = at + np.cumsum(known.lengths[gaps] + np.append(0, self.words.lengths[words]))  # of words, and the end
        first = np.append(0, np.flatnonzero(known.ends[gaps[1:-1]]) + 1)
        behind = np.append(first[1:], len(words))  # the numbers of the words, and of the gaps, behind lines
        lead = known.leads[gaps[first]]
        real = np.flatnonzero(lead != COMMENT)
        if not len(real):
            return
        odd = np.append(0, np.cumsum(known.odd[gaps[behind]]))
        nothing = NOTHING.match(self.text, self.upto, self.end)
        assert nothing is not None
        self.after = nothing.end()
        flush = np.append(lead[real] == FLUSH, self.text[self.after : self.after + 1] not in NOT_FLUSH)
        odd = np.append(odd[real], odd[-1])
        first, behind, starts = first[real], behind[real], edges[first[real]]
        stops = edges[behind] - known.lengths[gaps[behind]] + known.lengths[known.tails[gaps[behind]]]
        good = flush[:-1] & flush[1:] & (odd[:-1] == odd[1:]) & (stops - starts <= LONG)
        kinds = self.shapes_of(words, gaps, first, behind, np.flatnonzero(good), starts)
        self.starts = starts
        self.stops = np.append(np.flatnonzero(kinds < 0), len(starts))
        self.piece = Batch(self.words, self.shapes, words, first, starts, kinds)

    def shapes_of(
        self, words: Numbers, gaps: Numbers, first: Numbers, behind: Numbers, rows: Numbers, starts: Numbers
    ) -> Numbers:
        """The number of the shape of each line, -1 for those that have none; of some lines only (`rows`)."""
        out = np.full(len(first), -1)
        lengths = behind[rows] - first[rows]
        for n in np.flatnonzero(np.bincount(lengths)).tolist():
            if n > WIDEST:
                break
            lines = rows[lengths == n]
            at = first[lines]
            codes: list[Numbers] = [self.gaps.tails[gaps[at + n]]]
            for k in range(n):
                codes += [self.words.kinds[words[at + k]], *([gaps[at + k]] if k else [])]
            code, one, many = distinct(codes)
            found = [self.shape_of(words, gaps, at[k], n, int(starts[lines[k]]), m) for k, m in zip(one, many, strict=True)]
            out[lines] = np.array(found)[code]
        return out

    def shape_of(self, words: Numbers, gaps: Numbers, first: int, n: int, start: int, many: int) -> int:
        known, texts = self.words, [self.words.texts[i] for i in words[first : first + n]]
        tail = self.gaps.texts[self.gaps.tails[gaps[first + n]]]
        between = ("", *(self.gaps.texts[i] for i in gaps[first + 1 : first + n]), tail)
        key: Key = between, tuple([known.names[k] for k in known.kinds[words[first : first + n]]])
        line = "".join([x for pair in zip(between, [*texts, ""], strict=True) for x in pair])
        shape = self.known.find(key, line, texts, many) if line.isascii() else None
        if shape is None or not shape.plain:
            return -1
        if shape not in self.number:
            self.number[shape] = len(self.shapes)
            self.shapes.append(shape)
        return self.number[shape]


def distinct(columns: Sequence[Numbers]) -> tuple[Numbers, list[Any], list[int]]:
    """For rows of numbers from 0 on: the number of each among the different ones; for each of those the first row that is so,
    and how many are."""
    code, base = columns[0], int(columns[0].max(initial=0)) + 1
    for column in columns[1:]:
        size = int(column.max(initial=0)) + 1
        if base * size >= 1 << 62:
            code, base = dense(code)
        code, base = code * size + column, base * size
    if base > 4 * len(code) + 1024:
        code, base = dense(code)
    many = np.bincount(code, minlength=base)
    first = np.zeros(base, np.int64)
    first[code[::-1]] = np.arange(len(code) - 1, -1, -1)
    kept = np.flatnonzero(many)
    number = np.zeros(base, np.int64)
    number[kept] = np.arange(len(kept))
    return number[code], first[kept].tolist(), many[kept].tolist()


def dense(code: Numbers) -> tuple[Numbers, int]:
    """The number of each value among the different ones, and how many these are. (`np.unique` would import much.)"""
    order = np.argsort(code)
    values = code[order]
    new = np.append(False, values[1:] != values[:-1])
    out = np.empty_like(code)
    out[order] = np.cumsum(new)
    return out, int(np.count_nonzero(new)) + 1
