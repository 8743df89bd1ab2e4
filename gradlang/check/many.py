"""The definitions of a large file, checked as columns of numbers.

Here are the names: what lines define and use, and in which order they stand. `many_nodes.py` writes the nodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from typing import TYPE_CHECKING

import numpy as np

from gradlang.check import outline
from gradlang.check.many_nodes import Writer
from gradlang.check.names import LITERAL_NAMES, is_literal
from gradlang.check.outline import Many, Outline
from gradlang.record import record
from gradlang.source import Span
from gradlang.syntax import ast
from gradlang.syntax.batch import Batch, Words, distinct
from gradlang.syntax.lines import Written

if TYPE_CHECKING:
    import numpy.typing as npt

    from gradlang.check.check import Checker

    Numbers = npt.NDArray[np.int64]

WIDEST = 12  # names of a formula; longer ones are taken line by line


def collect(c: Checker, batch: ast.Lines) -> None:
    """Takes the names of many lines, as `Checker.collect` does line by line."""
    assert isinstance(batch, Batch)
    places = c.places = c.places or Places(batch.words)
    assert isinstance(places, Places)
    targets = batch.ids[batch.first]
    if places.taken(targets, c.where):
        for d in batch.lines():
            if not c.collect_line(d):
                c.collect_statement(d)
        return
    names = batch.names()
    c.where.update(zip(names, batch.spans(), strict=True))
    literals = [i for n in LITERAL_NAMES if (i := batch.words.ids.get(n)) is not None]
    perhaps: list[int] = []  # lines that may be numbers
    for s in distinct([batch.kinds])[1]:
        rows = np.flatnonzero(batch.kinds == batch.kinds[s])
        found = outline.outline(batch.line(s))
        if found is not None and found.names:
            rows = rows[np.isin(batch.ids[batch.first[rows] + found.names[0]], literals)] if literals else rows[:0]
        perhaps += rows.tolist()
    computed = np.ones(len(batch), np.bool_)
    for k in sorted(perhaps):
        d = batch.line(k)
        if is_literal(d.value, c.shadowed):
            computed[k] = False
            c.leaf_lines[names[k]] = d
    if computed.any():
        c.plain.append(Definitions(c, batch if computed.all() else batch.some(computed), places))


class Places:
    """Which line of many defines a word, of all such lines of a file, or -1; and which words such lines use."""

    def __init__(self, words: Words) -> None:
        self.words = words
        self.at = np.full(len(words.texts), -1)
        self.used = np.zeros(len(words.texts), np.bool_)
        self.count = 0

    def taken(self, targets: Numbers, known: Mapping[str, Span]) -> bool:
        """Whether some of the words that lines define are known, or are defined twice."""
        here = np.zeros(len(self.at), np.bool_)
        here[targets] = True
        if np.count_nonzero(here) < len(targets):
            return True
        if len(known) > len(targets):
            return not known.keys().isdisjoint([self.words.texts[i] for i in targets.tolist()])
        ids = self.words.ids
        return any(n in ids and here[ids[n]] for n in known)

    def of(self, name: str) -> int:
        return int(self.at[self.words.ids[name]]) if name in self.words.ids else -1


@record(eq=False)
class Group:
    """The lines of one shape: their numbers and their words, a row each."""

    found: Outline
    lines: Numbers
    words: Numbers
    names: Numbers  # which of the words are names of the formula


class Definitions(Many):
    def __init__(self, c: Checker, batch: Batch, places: Places) -> None:
        self.c, self.batch, self.places = c, batch, places
        self.texts = batch.words.texts
        self.targets = batch.ids[batch.first]
        self.first, places.count = places.count, places.count + len(batch)
        places.at[self.targets] = np.arange(self.first, places.count)
        self.current = 0
        self.groups: list[Group] = []
        self.group, self.row = np.full(len(batch), -1), np.zeros(len(batch), np.int64)
        self.single: dict[int, Written] = {}  # lines whose formulas are looked at one by one
        for s in distinct([batch.kinds])[1]:
            rows = np.flatnonzero(batch.kinds == batch.kinds[s])
            found = outline.outline(batch.line(s))
            if found is None or not 0 < len(found.names) <= WIDEST:
                self.single.update((k, batch.line(k)) for k in rows.tolist())
                continue
            count = len(batch.shapes[batch.kinds[s]].gaps) - 1
            self.group[rows], self.row[rows] = len(self.groups), np.arange(len(rows))
            words = batch.ids[batch.first[rows][:, None] + np.arange(count)]
            self.groups.append(Group(found, rows, words, np.array(found.names)))
        self.single = dict(sorted(self.single.items()))
        none = [np.zeros(0, np.int64)]  # which line uses which word as a name
        self.lines_of_uses = np.concatenate([np.repeat(g.lines, len(g.found.names)) for g in self.groups] or none)
        self.uses = np.concatenate([g.words[:, g.found.names].ravel() for g in self.groups] or none)
        places.used[self.uses] = True
        for n in (n for d in self.single.values() for n in outline.used(d)):
            if n in batch.words.ids:
                places.used[batch.words.ids[n]] = True

    # -------------------------------------------------------------- what the others know of them
    @property
    def span(self) -> Span:
        return self.line(self.current).span

    def line(self, k: int) -> Written:
        return self.single.get(k) or self.batch.line(k)

    def lines(self) -> Iterator[Written]:
        return map(self.line, range(len(self.batch)))

    def names(self) -> list[str]:
        return self.batch.names()

    def used(self) -> list[str]:
        out = self.met(self.uses[self.places.at[self.uses] < 0])
        singly = [n for d in self.single.values() for n in outline.used(d)]
        return list(dict.fromkeys(out + [n for n in singly if self.places.of(n) < 0]))

    def unused(self) -> list[str]:
        return [self.texts[i] for i in self.targets[~self.places.used[self.targets]].tolist()]

    def called(self) -> list[str]:
        heads = [n for g in self.groups for n in self.met(g.words[:, g.found.heads])]
        return list(dict.fromkeys(heads + [n for d in self.single.values() for n in outline.called(d)]))

    def met(self, ids: Numbers) -> list[str]:
        """Some words, each once."""
        here = np.zeros(len(self.texts), np.bool_)
        here[ids] = True
        return [self.texts[i] for i in np.flatnonzero(here).tolist()]

    def later(self, names: Iterable[str]) -> bool:
        return any(self.places.of(n) >= self.first for n in names)

    def in_sequence(self, closed: Mapping[str, frozenset[str]]) -> bool:
        if (self.places.at[self.uses] >= self.lines_of_uses + self.first).any():
            return False
        names = {n for f in self.called() for n in closed.get(f, ())} if closed else set()
        if self.later(names):
            return False
        return all(self.places.of(n) < self.first + k for k, d in self.single.items() for n in outline.used(d))

    def unknown(self, known: Set[str]) -> list[Written]:
        outside = self.places.at[self.uses] < 0
        words = self.uses[outside]
        strange = [self.texts[i] not in known for i in words.tolist()]
        found = set(self.lines_of_uses[outside][np.array(strange, np.bool_)].tolist())
        found.update(k for k, d in self.single.items() if not known >= set(outline.used(d)))
        return [self.line(k) for k in sorted(found)]

    # -------------------------------------------------------------- values
    def define(self, most: int) -> None:
        """Writes the nodes of all lines, unless there are more than `most`. Raises TooLarge."""
        Writer(self, most).go()
