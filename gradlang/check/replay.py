"""Lines of one shape over scalars are elaborated once.

What the elaborator makes of the first of them is kept as a template: nodes over numbered operands, each with its place
between the words of the line. Every other line of the shape whose operands are scalars too gets these nodes over its own.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from gradlang.check import arrays, comprehension, derive
from gradlang.check.calls import hidden
from gradlang.check.outline import Outline, operands, outline
from gradlang.check.program import Node, Ref
from gradlang.record import record
from gradlang.syntax.lines import Written, edges
from gradlang.types import SCALAR

if TYPE_CHECKING:
    from gradlang.check.check import Checker

MOST = 4096  # templates of one file
Place = tuple[
    int, int, int, int
]  # a span: the words of the line before its start and all other characters, the same for its end


@record(eq=False)
class Step:
    """A node over operands (the names of the formula, then the nodes made so far). One of a number of the line has the
    `word` in which that stands."""

    op: str
    args: tuple[int, ...]
    attrs: tuple[Any, ...]
    place: Place
    word: int = -1
    negative: bool = False


class Replay:
    """The templates of one file."""

    def __init__(self, checker: Checker) -> None:
        self.c = checker
        self.full = checker.unit.full
        self.templates: dict[Any, tuple[Step, ...] | None] = {}

    def define(self, d: Written, most: int) -> bool:
        """Writes the nodes of a definition, unless there are more than `most`; False if it has to be elaborated."""
        found = outline(d)
        if found is None:
            return False
        words, values = d.words, self.c.found
        ids: list[int] = []
        same: tuple[int, ...] | None = None
        for k in found.names:
            ref = values.get(words[k])
            if ref.__class__ is not Ref or ref.type is not SCALAR:
                return False
            if ref.id in ids:
                same = ()
            ids.append(ref.id)
        if same is not None:
            same = tuple([ids.index(i) for i in ids])
        key: tuple[Any, ...] = (d.shape, same)
        if found.heads:
            key += tuple([words[k] for k in found.heads])
        if found.fixed:
            key += tuple([words[k] for k in found.fixed])
        try:
            template = self.templates[key]
        except KeyError:
            if len(self.templates) < MOST:
                self.templates[key] = None
                self.templates[key] = self.recorded(d, found, ids)
                return True
            return False
        if template is None or len(self.c.program.nodes) + len(template) > most:
            return False
        numbers: dict[int, float] = {}
        if found.free:
            numbers = {k: float(words[k]) for k in found.free}
            if any(numbers[k] == 0 for k in found.nonzero):  # a division by 0 is an error, and -0 is 0
                return False
        self.write(words, d.at, template, ids, numbers, words[found.target])
        return True

    def write(
        self, words: list[str], start: int, template: tuple[Step, ...], ids: list[int], numbers: dict[int, float], name: str
    ) -> None:
        """Writes the nodes of a line, whose names mean the nodes `ids`."""
        program, at = self.c.program, [*accumulate(map(len, words), initial=start)]
        nodes = program.nodes
        for step in template:
            a, da, b, db = step.place
            span = (at[a] + da, at[b] + db)
            if step.word >= 0:
                value = numbers[step.word]
                node = Node("const", (), (-value if step.negative else value,), SCALAR, span)
            else:
                node = Node(step.op, tuple([ids[k] for k in step.args]), step.attrs, SCALAR, span)
            ids.append(len(nodes))
            nodes.append(node)
        node.name = self.full(name)
        program.values[node.name] = ids[-1]
        self.c.found[name] = Ref(ids[-1], SCALAR)

    # -------------------------------------------------------------- recording
    def recorded(self, d: Written, found: Outline, ids: list[int]) -> tuple[Step, ...] | None:
        """Elaborates a definition; what that made as a template, if it is one for all lines of the shape over scalars."""
        c = self.c
        before = (len(c.problems), len(c.elaborator.problems), len(c.program.requirements), c.elaborator.entered)
        first = len(c.program.nodes)
        c.elaborated(d)
        after = (len(c.problems), len(c.elaborator.problems), len(c.program.requirements), c.elaborator.entered)
        made = c.program.nodes[first:]
        if before != after or not made or not all(self.is_op(d.words[k]) for k in found.heads):
            return None
        if c.program.values.get(c.unit.full(d.words[found.target])) != first + len(made) - 1:
            return None
        slots = {i: k for k, i in reversed(list(enumerate(ids)))} | {first + k: len(ids) + k for k in range(len(made))}
        at, gaps = edges(d.words, d.shape.gaps, d.at), [*accumulate(d.shape.gaps, initial=0)]
        starts = {start: k for k, start in enumerate(d.starts())}
        numbers = {o.of: (starts[o.number.span[0]], o.negative, o.number.value) for o in operands(d.value)}
        steps = []
        for node in made:
            step = self.step(node, slots, at, gaps)
            if step is not None and node.op == "const" and node.span in numbers:
                word, negative, value = numbers.pop(node.span)
                fits = node.attrs == (-value if negative else value,)
                step = Step("const", (), (), step.place, word, negative) if fits else None
            if step is None:
                return None
            steps.append(step)
        return None if numbers else tuple(steps)

    def is_op(self, name: str) -> bool:
        """Whether a name in a call means an op that works entry by entry, and nothing else."""
        c = self.c
        if name in c.where or name in c.found or c.home.function(name) is not None or hidden(name, c.home):
            return False
        if name in ("max", "min"):  # of several values
            return name not in c.home.ops
        other = name in arrays.SPECIAL or name in derive.CALLED or name in comprehension.ITERABLES
        return not other and name in c.table and c.table[name].pointwise

    def step(self, node: Node, slots: dict[int, int], at: list[int], gaps: list[int]) -> Step | None:
        plain = node.op == "const" or (node.op in self.c.table and self.c.table[node.op].pointwise)
        if not plain or node.op == "mark" or node.type is not SCALAR or node.scope or not all(a in slots for a in node.args):
            return None
        place: list[int] = []
        for x in node.span:
            edge = bisect_right(at, x) - 1  # the start of gap edge / 2, or of the word after it
            place += [edge // 2, gaps[(edge + 1) // 2] + x - at[edge]]
        return Step(node.op, tuple(slots[i] for i in node.args), node.attrs, (place[0], place[1], place[2], place[3]))
