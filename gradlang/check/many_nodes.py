"""The nodes of the definitions of a large file, written as columns of numbers.

The meaning of a line is what the elaborator made of the first line of its kind, the template that `replay.py` keeps; here it
is written for all lines between two that need care. Those (the first of a kind, lines over arrays or over values with an
error, and whatever else has no template) go the way of single lines.
"""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlang.check.nodes import Nodes, Stretch
from gradlang.check.outline import Outline
from gradlang.check.program import Ref
from gradlang.check.replay import Step
from gradlang.syntax.batch import distinct
from gradlang.types import SCALAR

if TYPE_CHECKING:
    import numpy.typing as npt

    from gradlang.check.many import Definitions, Group

    Numbers = npt.NDArray[np.int64]

WORTH, EACH = 48, 8  # lines that are worth the work on columns: these, and so many for each kind of line among them
SEVERAL = 256  # kinds of lines of one shape


class Writer:
    """Writes many definitions into a program. `stop` marks the lines that are taken by themselves; `nodes` has the node of each
    word that means a real scalar, and -1."""

    def __init__(self, d: Definitions, most: int) -> None:
        self.d, self.c, self.batch, self.most = d, d.c, d.batch, most
        count = len(d.batch)
        self.stop = bytearray(count + 1)
        self.stops = np.frombuffer(self.stop, np.uint8)
        self.stops[[*d.single, count]] = 1
        self.users: tuple[Numbers, Numbers] | None = None
        self.nodes = np.full(len(d.texts), -1)
        self.values = np.zeros(len(d.texts))  # of the words that are numbers
        self.canon = np.arange(len(d.texts))
        self.externals()
        self.keys: list[Any] = []  # of templates, as `Replay` has them
        self.key = np.full(count, -1)
        self.templates: list[tuple[Step, ...] | None] = []
        for number, g in enumerate(d.groups):
            self.classify(number, g)
        self.order = np.argsort(self.key, kind="stable")
        self.bounds = np.searchsorted(self.key[self.order], np.arange(len(self.keys) + 1))
        for k, template in enumerate(self.templates):
            if template is None:
                self.stops[self.order[self.bounds[k]]] = 1
        self.sizes = np.array([len(t or ()) for t in self.templates], np.int64)

    def externals(self) -> None:
        """The values that these lines find."""
        first: dict[int, int] = {}
        odd = []
        here = np.zeros(len(self.nodes), np.bool_)
        here[self.d.uses] = True
        here[self.d.targets] = False
        for i in np.flatnonzero(here).tolist():
            ref = self.c.found.get(self.d.texts[i])
            if ref.__class__ is Ref and ref.type is SCALAR:
                self.nodes[i] = ref.id
                self.canon[i] = first.setdefault(ref.id, i)
            else:
                odd.append(i)
        self.set_apart(odd)

    def set_apart(self, words: list[int]) -> None:
        """The lines that use a word which means no real scalar are taken by themselves."""
        if not words:
            return
        if self.users is None:
            order = np.argsort(self.d.uses, kind="stable")
            self.users = self.d.lines_of_uses[order], self.d.uses[order]
        lines, used = self.users
        for i in words:
            first, last = np.searchsorted(used, [i, i + 1])
            self.stops[lines[first:last]] = 1

    def classify(self, number: int, g: Group) -> None:
        """Which lines of a shape share a template: those of the same functions and fixed numbers, which use some name twice
        in the same places."""
        found, texts = g.found, self.d.texts
        names = self.canon[g.words[:, found.names]]
        columns = [np.zeros(len(g.lines), np.int64)]
        for j in range(1, len(found.names)):
            first = np.full(len(g.lines), j)
            for i in range(j - 1, -1, -1):
                first[names[:, i] == names[:, j]] = i
            columns.append(first)
        fixed = [g.words[:, k] for k in (*found.heads, *found.fixed)]
        code, one, _ = distinct([*columns, *fixed])
        if len(one) > SEVERAL and 2 * len(one) > len(g.lines):  # hardly any two lines are alike
            self.stops[g.lines] = 1
            return
        self.key[g.lines] = code + len(self.keys)
        for k in one:
            same = tuple([int(c[k]) for c in columns])
            plain = same == tuple(range(len(same)))
            shape = self.batch.shapes[self.batch.kinds[g.lines[k]]]
            key = (shape, None if plain else same, *[texts[c[k]] for c in fixed])
            self.keys.append(key)
            self.templates.append(self.c.replay.templates.get(key))
        for column in found.free:
            here = np.zeros(len(texts), np.bool_)
            here[g.words[:, column]] = True
            ids = np.flatnonzero(here)
            self.values[ids] = [float(texts[i]) for i in ids.tolist()]
        for column in found.nonzero:
            self.stops[g.lines[self.values[g.words[:, column]] == 0]] = 1

    # -------------------------------------------------------------- the lines in order
    def go(self) -> None:
        i, count = 0, len(self.batch)
        while i < count:
            j = self.stop.find(1, i)
            if j > i:
                i = self.some(i, j)
            if i < count and self.stop[i]:
                self.one(i)
                i += 1

    def some(self, i: int, j: int) -> int:
        """Writes the lines from i to j, or the first of them; how far it got."""
        keys = self.key[i:j]
        if j - i < WORTH or j - i < EACH * len(kinds := np.flatnonzero(np.bincount(keys))) + WORTH:
            for k in range(i, j):
                self.quickly(k)
            return j
        start = len(self.c.program.nodes)
        ends = start + np.cumsum(self.sizes[keys])
        if ends[-1] > self.most:
            j = i + int(np.searchsorted(ends, self.most, side="right"))
            self.stops[j] = 1
            if j == i:
                return i
            keys, ends = keys[: j - i], ends[: j - i]
            kinds = np.flatnonzero(np.bincount(keys))
        self.nodes[self.d.targets[i:j]] = ends - 1
        stretch = Columns(self, start, int(ends[-1]) - start)
        by_key = np.argsort(keys, kind="stable")
        edges = np.append(np.searchsorted(keys[by_key], kinds), len(keys))
        firsts = ends - self.sizes[keys]
        for n, k in enumerate(kinds.tolist()):
            rows = by_key[edges[n] : edges[n + 1]]
            g = self.d.groups[self.d.group[i + rows[0]]]
            template = self.templates[k]
            assert template is not None
            stretch.write(g.found, template, g.words[self.d.row[i + rows]], self.batch.at[i + rows], firsts[rows])
        names = [self.d.texts[w] for w in self.d.targets[i:j].tolist()]
        self.name(names, stretch, ends - 1)
        return j

    def name(self, names: list[str], columns: Columns, at: Numbers) -> None:
        """Appends nodes to the program; these ones are the values of some names."""
        c, unit = self.c, self.c.unit
        full = [unit.full(n) for n in names] if unit.titles or unit.prefix else names
        everyone: list[str | None] = list(full)
        if len(columns.codes) != len(full):
            everyone = [None] * len(columns.codes)
            for k, n in zip((at - columns.first).tolist(), full, strict=True):
                everyone[k] = n
        nodes = c.program.nodes
        if not isinstance(nodes, Nodes):
            nodes = c.program.nodes = Nodes(nodes)
        nodes.write(columns.stretch(everyone))
        ids = at.tolist()
        c.program.values.update(zip(full, ids, strict=True))
        c.found.update(zip(names, map(Ref, ids, repeat(SCALAR)), strict=False))

    def quickly(self, k: int) -> None:
        """A line whose names mean real scalars, by its template."""
        template, replay, d = self.templates[self.key[k]], self.c.replay, self.d
        if template is None or len(self.c.program.nodes) + len(template) > self.most:
            return self.one(k)
        g = d.groups[d.group[k]]
        row = g.words[d.row[k]]
        words = [d.texts[i] for i in row.tolist()]
        ids: list[int] = self.nodes[row[g.names]].tolist()
        numbers = {k: float(words[k]) for k in g.found.free}
        replay.write(words, int(self.batch.at[k]), template, ids, numbers, words[g.found.target])
        self.nodes[row[g.found.target]] = ids[-1]
        return None

    def one(self, k: int) -> None:
        """A line by itself."""
        d = self.d
        d.current = k
        d.c.define(d.line(k))
        target, key = int(d.targets[k]), int(self.key[k])
        ref = self.c.found.get(d.texts[target])
        if ref.__class__ is Ref and ref.type is SCALAR:
            self.nodes[target] = ref.id
        else:
            self.set_apart([target])
        if key >= 0 and self.templates[key] is None:
            self.learn(key, k)

    def learn(self, key: int, k: int) -> None:
        """Takes the template of a key, of which a line was the first."""
        first, last = self.bounds[key : key + 2]
        lines = self.order[first:last]
        lines = lines[np.searchsorted(lines, k, side="right") :]
        known = self.c.replay.templates
        template = known.get(self.keys[key])
        if template is not None:
            self.templates[key], self.sizes[key] = template, len(template)
        elif self.keys[key] in known:  # there is none
            self.stops[lines] = 1
        else:
            self.stops[lines[:1]] = 1


class Columns:
    """Nodes that are being written, from `first` on."""

    def __init__(self, writer: Writer, first: int, count: int) -> None:
        self.writer, self.first = writer, first
        self.codes, self.starts, self.stops = (np.zeros(count, np.int64) for _ in range(3))
        self.args: list[Numbers] = []
        self.numbers: npt.NDArray[np.float64] | None = None
        self.forms: dict[tuple[str, str, int], int] = {}
        self.attrs: list[tuple[str, tuple[Any, ...] | None, int]] = []

    def write(self, found: Outline, template: tuple[Step, ...], words: Numbers, at: Numbers, first: Numbers) -> None:
        """The nodes of some lines: their words, where they start, and the first node of each."""
        w = self.writer
        values = [w.nodes[words[:, k]] for k in found.names]
        edges = [at]
        for k in range(words.shape[1]):
            edges.append(edges[-1] + w.batch.words.lengths[words[:, k]])
        for s, step in enumerate(template):
            values.append(first + s)
            here = first + (s - self.first)
            attrs = None if step.word >= 0 else step.attrs
            code = self.forms.setdefault((step.op, repr(attrs), len(step.args)), len(self.attrs))  # 0.0 == -0.0, 1 == True
            if code == len(self.attrs):
                self.attrs.append((step.op, attrs, len(step.args)))
            self.codes[here] = code
            a, da, b, db = step.place
            self.starts[here], self.stops[here] = edges[a] + da, edges[b] + db
            while len(self.args) < len(step.args):
                self.args.append(np.full(len(self.codes), -1))
            for column, k in zip(self.args, step.args, strict=False):
                column[here] = values[k]
            if attrs is None:
                if self.numbers is None:
                    self.numbers = np.zeros(len(self.codes))
                self.numbers[here] = -w.values[words[:, step.word]] if step.negative else w.values[words[:, step.word]]

    def stretch(self, names: list[str | None]) -> Stretch:
        args = tuple(self.args)
        return Stretch(self.first, tuple(self.attrs), self.codes, args, self.starts, self.stops, self.numbers, names)
