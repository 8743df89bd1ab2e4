"""What a picture of a computation graph shows: nodes with symbols, edges with values above and derivatives below."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from gradlang.check.program import LEAVES, Node
from gradlang.diagnostics import Diagnostic, InputError, did_you_mean
from gradlang.record import record
from gradlang.view.folding import fold
from gradlang.view.formula import plain
from gradlang.view.show import value_text
from gradlang.view.story import Story
from gradlang.view.trace import Branch

SYMBOLS = {
    "add": "+", "sub": "−", "mul": "×", "div": "÷", "neg": "−", "matmul": "@", "pow": "^", "powi": "^", "equal": "=",
    "not_equal": "≠", "less": "<", "greater": ">", "less_equal": "≤", "greater_equal": "≥", "floordiv": "//", "mod": "%",
    "where": "if", "logical_and": "and", "logical_or": "or", "logical_not": "not", "take_axis": "pick", "sum": "Σ",
    "softmax_cross_entropy": "softmax + cross entropy", "iota": "range", "mark": "=",
    "real": "0, 1", "root": "solve", "slice": "[ ]",
}  # fmt: skip
SMALL = 4  # entries of an array that are written out


@record(eq=False)
class Shape:
    """A node of a picture. `kind` is leaf, constant, op or group; `above` and `below` are its value and derivative, "" where
    there is none; `members` the nodes of the program that it stands for, `node` the one whose numbers it shows."""

    kind: str
    text: str
    title: str
    tip: str
    above: str
    below: str
    members: tuple[int, ...]
    node: int = -1


@record(eq=False)
class Line:
    """An edge from one shape to another; `below` is what this branch hands back, where it is not all that comes back: the sum
    of `branches`."""

    source: int
    target: int
    below: str
    branches: tuple[Branch, ...] = ()


@record(eq=False)
class Picture:
    """`top` is the shape of the result, `start` the one from which derivatives flow; `values` and `slopes` are the numbers of
    nodes in full, as far as they are shown."""

    title: str
    shapes: tuple[Shape, ...]
    lines: tuple[Line, ...]
    top: int
    start: int
    values: Mapping[int, Any]
    slopes: Mapping[int, Any]


@record
class Style:
    """What is shown: constants inside the operations or as leaves of their own, which calls are opened, how many digits
    numbers have, and whether derivatives are shown."""

    constants: str = "inside"
    open: tuple[str, ...] = ()
    digits: int = 6
    backward: bool = True


def picture(story: Story, style: Style, tangents: Mapping[int, Any] | None = None) -> Picture:
    """The picture of a story. With `tangents` derivatives flow forward: those of every node by one input."""
    return _Painter(story, style, tangents).paint()


class _Painter:
    def __init__(self, story: Story, style: Style, tangents: Mapping[int, Any] | None) -> None:
        self.story, self.style, self.trace = story, style, story.trace
        self.nodes = story.trace.nodes
        self.slopes: Mapping[int, Any] = self.trace.adjoints if tangents is None else tangents
        self.forward = tangents is not None
        self.leaves = {i: n for n, i in self.trace.leaves.items()}
        self.steps = {s.node: s for s in story.steps}
        self.through: dict[int, int] = {}  # nodes that are not drawn -> what stands for them

    def paint(self) -> Picture:
        self.opened()
        drawn, edges = self.visible()
        members = fold(drawn, edges, {i: self.nodes[i].scope for i in drawn}, self.style.open)
        where = {i: k for k, group in enumerate(members) for i in group}
        shapes = tuple(self.shape(group, edges) for group in members)
        given: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for a, b in edges:
            if where[a] != where[b]:
                given.setdefault((where[a], where[b]), []).append((a, b))
        uses: dict[int, int] = {}
        for a, _ in given:
            uses[a] = uses.get(a, 0) + 1
        lines = []
        for (a, b), pairs in given.items():
            branches = self.branches(pairs) if uses[a] > 1 else ()
            lines.append(Line(a, b, self.branch(branches), branches))
        slopes = self.slopes if self.style.backward else {}
        top, start = where[self.top()], where[self.start()]
        return Picture(self.trace.of, shapes, tuple(lines), top, start, self.trace.values, slopes)

    def opened(self) -> None:
        """Raises InputError for a name that is opened and that no call has."""
        calls = {call.partition(".")[0] for i in self.trace.order for call in self.nodes[i].scope}
        for name in self.style.open:
            if name not in calls and name != "all":
                known = sorted(calls)
                help = did_you_mean(name, known) or (f"there are {', '.join(known)}" if known else "nothing is folded here")
                text = f"no function named `{name}` is called on the way to `{self.trace.of}`"
                raise InputError([Diagnostic("G509", text, help=help)])

    def top(self) -> int:
        return self.resolve(self.trace.top)

    def start(self) -> int:
        """Where derivatives flow from: the result, or the input by which they are taken forward."""
        return self.resolve(min(i for i in self.slopes if i in self.leaves)) if self.forward else self.top()

    def resolve(self, i: int) -> int:
        while i in self.through:
            i = self.through[i]
        return i

    def visible(self) -> tuple[list[int], list[tuple[int, int]]]:
        """The nodes that are drawn, in order, and the edges between them, each once."""
        drawn: list[int] = []
        edges: dict[tuple[int, int], None] = {}
        firsts: dict[int, int] = {}
        for i in self.trace.order:
            node = self.nodes[i]
            if self.inside(i, node):
                continue
            if node.op == "scan":
                continue
            args: Sequence[int] = node.args
            if node.op == "item":
                first = firsts.setdefault(node.args[0], i)
                if first != i:
                    self.through[i] = first
                    continue
                args = self.nodes[node.args[0]].args
            elif i not in self.steps and node.op not in LEAVES:
                self.through[i] = node.args[0]
                continue
            drawn.append(i)
            for a in args:
                a = self.resolve(a)
                if not self.inside(a, self.nodes[a]):
                    edges[a, i] = None
        used = {a for a, _ in edges} | {self.top()}
        return [i for i in drawn if i in used or self.nodes[i].op not in LEAVES], list(edges)

    def inside(self, i: int, node: Node) -> bool:
        """Whether a constant is written inside the operations that use it."""
        return self.style.constants == "inside" and node.op in ("const", "size") and i not in self.leaves

    # -------------------------------------------------------------- texts
    def shape(self, group: Sequence[int], edges: Iterable[tuple[int, int]]) -> Shape:
        inner = set(group)
        out = [a for a, b in edges if a in inner and b not in inner]
        last = self.top() if self.top() in inner else (out[-1] if out else group[-1])
        node = self.nodes[last]
        above = self.value(self.trace.values[last])
        below = self.slope(self.slopes.get(last)) if self.style.backward else ""
        if len(group) > 1:
            name = self.called(group)
            return Shape("group", name, node.name or "", f"{name}: {len(group)} nodes", above, below, tuple(group), last)
        if node.op in LEAVES:
            kind = (
                "leaf" if last in self.leaves and self.trace.program.leaves[self.leaves[last]].role != "const" else "constant"
            )
            label = self.trace.program.leaves[self.leaves[last]].label if last in self.leaves else None
            name = self.story.names[last]
            return Shape(kind, name, "", label or name, above if name != above else "", below, (last,), last)
        step = self.steps[last]
        return Shape("op", self.symbol(last, node), step.title, f"{step.name} = {step.formula}", above, below, (last,), last)

    def called(self, group: Sequence[int]) -> str:
        """The name of the call that a group is."""
        scopes = [self.nodes[i].scope for i in group]
        depth = 0
        while all(len(s) > depth and s[depth] == scopes[0][depth] for s in scopes):
            depth += 1
        return scopes[0][depth - 1].partition(".")[0] if depth else f"{len(group)} nodes"

    def symbol(self, i: int, node: Node) -> str:
        if node.op == "item":
            return ", ".join(self.nodes[node.args[0]].attrs[0].names)
        text = SYMBOLS.get(node.op, node.op)
        if node.op == "powi":
            return f"^ {node.attrs[0]}"
        inner = [self.inside(a, self.nodes[a]) for a in node.args]
        if not any(inner):
            return text
        words = [self.story.names[a] if hidden else "" for a, hidden in zip(node.args, inner, strict=True)]
        if node.op in SYMBOLS and len(words) == 2:
            swaps = node.op in ("add", "mul") and words[0]
            left, right = ("", words[0]) if swaps and not words[1] else (words[0], words[1])
            return f"{left} {text} {right}".strip()
        return text

    def value(self, value: Any) -> str:
        return value_label(value, self.style.digits)

    def slope(self, value: Any) -> str:
        return slope_label(value, self.style.digits)

    def branches(self, pairs: Sequence[tuple[int, int]]) -> tuple[Branch, ...]:
        """What goes back through the edges between two shapes."""
        if self.forward or not self.style.backward:
            return ()
        found = []
        for a, b in pairs:
            at = self.nodes[b].args[0] if self.nodes[b].op == "item" else b
            for g in self.trace.given.get(at, ()):
                if self.resolve(g.source) == a and np.shape(g.value) == np.shape(self.trace.values[a]):
                    found.append(g)
        return tuple(found)

    def branch(self, branches: Sequence[Branch]) -> str:
        """What they hand back together."""
        return self.slope(sum((b.value for b in branches[1:]), branches[0].value)) if branches else ""


def value_label(value: Any, digits: int) -> str:
    """A value as a picture shows it; of a large array its shape."""
    if isinstance(value, tuple):
        return ""
    array = np.asarray(value)
    if array.ndim == 0:
        return str(array.item()).lower() if array.dtype.kind == "b" else plain(float(array), digits)[0]
    if array.size <= SMALL:
        return value_text(array, digits).replace("\n", "")
    return str(array.shape)  # (2, 3): [2, 3] would be two numbers


def slope_label(value: Any, digits: int) -> str:
    """A derivative; of a large array the largest entry. What is not computed is not shown."""
    if value is None:
        return ""
    array = np.asarray(value)
    if array.size <= SMALL:
        return value_label(value, digits)
    return f"|∂| ≤ {plain(float(np.max(np.abs(array))), min(digits, 3))[0]}"
