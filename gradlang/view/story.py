"""A trace as a story: every node with its formula and its numbers, and what it hands back to each argument."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from gradlang.check.program import LEAVES, Node
from gradlang.record import record
from gradlang.source import Span
from gradlang.view.formula import SILENT, added_axes, atomic, formula, plain, short, spread
from gradlang.view.show import value_text
from gradlang.view.trace import Branch, Trace, sequences
from gradlang.view.words import Words, catalog

WIDEST = 18  # characters of a formula that stands for its node in other formulas


@record(eq=False)
class Given:
    """What a node hands back to an argument: the name of the argument, the local derivative as a formula with names and with
    numbers (both "" where the op has no entrywise one), the formula that is computed if textbooks write another one, its
    value, the formula of the contribution, and its value."""

    source: int
    name: str
    local: str
    computed: str
    numbers: str
    slope: Any
    part: str
    value: Any


@record(eq=False)
class Step:
    """A node that is computed. `name` is what other formulas call it, `title` the name that the user gave, or "";
    `upstream` the derivative of the result by it, None where no gradient comes."""

    number: int
    node: int
    op: str
    title: str
    name: str
    formula: str
    numbers: str
    value: Any
    scope: tuple[str, ...]
    span: Span
    line: int
    upstream: Any
    branches: tuple[Branch, ...]
    gives: tuple[Given, ...]


@record(eq=False)
class Entry:
    """An input or parameter: its value, and its gradient with the branches that it is the sum of."""

    node: int
    name: str
    label: str
    value: Any
    upstream: Any
    branches: tuple[Branch, ...]
    asked: bool  # whether the trace is by it


@record(eq=False)
class Story:
    trace: Trace
    entries: tuple[Entry, ...]
    steps: tuple[Step, ...]
    names: Mapping[int, str]

    @property
    def numbers(self) -> dict[int, int]:
        return {s.node: s.number for s in self.steps}


def story(trace: Trace, digits: int | None = None, lang: str = "en") -> Story:
    """The story of a trace, in the order of the program; numbers in formulas have `digits` significant digits (None: all).
    `lang` is the language of what stands for a formula where there is none."""
    words = Words(lang)
    teller = _Teller(trace, digits, words, {})
    told, moves = teller.tell(), teller.moves()
    return _Teller(trace, digits, words, moves).tell() if moves else told


class _Teller:
    def __init__(self, trace: Trace, digits: int | None, words: Words, moves: Mapping[int, Any]) -> None:
        """`moves` are the axes that nodes add, where that has to be said."""
        self.trace, self.table, self.digits, self.words = trace, trace.locals.table, digits, words
        self.moved = moves
        self.names: dict[int, str] = {}
        self.plain: dict[int, str] = {}  # nodes -> numbers, where these are short
        self.firsts: dict[int, int] = {}  # recurrence -> the first of its sequences
        self.leaves = {i: n for n, i in trace.leaves.items()}

    def tell(self) -> Story:
        trace = self.trace
        entries: list[Entry] = []
        steps: list[Step] = []
        for i in trace.order:
            node = trace.nodes[i]
            self.plain[i] = number_text(trace.values[i], self.digits)
            if i in self.leaves and node.op in LEAVES:
                self.names[i] = self.leaves[i]
                if trace.program.leaves[self.leaves[i]].role != "const":
                    entries.append(self.entry(i))
            elif node.op in LEAVES:
                self.names[i] = self.leaf_text(i, node)
            elif node.op == "scan":
                self.names[i] = ", ".join(node.attrs[0].names)
            elif node.op in SILENT and not node.name:
                text = self.names[node.args[0]]
                self.names[i] = spread(text, self.moved[i]) if i in self.moved else text
            else:
                steps.append(self.step(i, node, len(steps) + 1))
        return Story(trace, tuple(entries), tuple(steps), self.names)

    def moves(self) -> dict[int, Any]:
        """The added axes of nodes without which two arguments would look the same, as in x[i] - x[j]."""
        nodes, found = self.trace.nodes, dict[int, Any]()
        for i in self.trace.order:
            args = set(nodes[i].args)
            if len({self.names[a] for a in args}) < len(args):
                found |= {a: axes for a in args if (axes := added_axes(nodes, nodes[a]))}
        return found

    def entry(self, i: int) -> Entry:
        trace, leaf = self.trace, self.trace.program.leaves[self.leaves[i]]
        gradient, branches = trace.adjoints.get(i), trace.got.get(i, ())
        return Entry(i, leaf.name, leaf.label or "", trace.values[i], gradient, branches, leaf.name in trace.wrt)

    def leaf_text(self, i: int, node: Node) -> str:
        if node.op == "const" and isinstance(node.attrs[0], float):
            return plain(node.attrs[0])[0]
        return node.name or (short(value_text(node.attrs[0], self.digits)) if node.op != "size" else str(node.attrs[0]))

    def step(self, i: int, node: Node, number: int) -> Step:
        trace = self.trace
        text, numbers = self.forward(i, node)
        title = node.name or ""
        self.names[i] = title or (text if len(text) <= WIDEST else f"[{number}]")
        source = trace.program.sources
        line = source.of(node.span[0]).place(node.span[0])[0] if node.span != (0, 0) and source.files else 0
        at = i
        if node.op == "item":  # the first sequence of a recurrence hands back for all of them
            first = self.firsts.setdefault(node.args[0], i)
            at = node.args[0] if first == i else -1
        return Step(
            number, i, node.op, title, self.names[i], text, numbers, trace.values[i], node.scope,
            node.span, line,
            trace.adjoints.get(i), trace.got.get(i, ()), self.gives(at, i),
        )  # fmt: skip

    def forward(self, i: int, node: Node) -> tuple[str, str]:
        """The formula of a node with the names of its arguments, and with their numbers."""
        if node.op == "item":
            return self.words("recurrence", name=self.sequence(node)), ""
        if node.op == "root":
            return self.words("equation", name=node.attrs[0].name), ""
        types = [self.trace.nodes[a].type for a in node.args]
        readable = self.trace.locals.forward(node, types, sequences(node))[1]
        text = formula(readable, "value", self.table, self.arguments(node, self.names))
        return text, self.in_numbers(i, readable, "value", text, {})

    def sequence(self, node: Node) -> str:
        scan = self.trace.nodes[node.args[0]].attrs[0]
        return str(scan.names[node.attrs[0]])

    def arguments(self, node: Node, names: Mapping[int, str]) -> dict[Any, str]:
        return {("argument", k): names[a] for k, a in enumerate(node.args)}

    def in_numbers(self, i: int, tape: Any, output: Any, text: str, more: Mapping[Any, str]) -> str:
        """A formula with the numbers of its operands, where all of them are short."""
        node = self.trace.nodes[i]
        numbers = {a: self.plain[a] for a in node.args}
        if not all(numbers.values()):
            return ""
        names = {**self.arguments(node, numbers), **more}
        made = formula(tape, output, self.table, names)
        return "" if made in (text, number_text(self.trace.values[i], self.digits)) else made

    def textbook(self, i: int, position: int) -> tuple[str, str] | None:
        """The local derivative as textbooks write it, with names and with numbers, if they write it in a form of their own."""
        node = self.trace.nodes[i]
        forms = catalog("textbook").get(node.op)
        if forms is None or node.op in self.table.own:
            return None
        op = self.table[node.op]
        ends = dict(zip((*op.params, op.result), (*node.args, i), strict=True))
        named = renamed(forms[position], {p: grouped(self.names[a]) for p, a in ends.items()})
        numbers = {p: self.plain[a] for p, a in ends.items()}
        if not all(numbers.values()):
            return named, ""
        return named, renamed(forms[position], {p: signed(t) for p, t in numbers.items()})

    def gives(self, i: int, result: int) -> tuple[Given, ...]:
        trace, node = self.trace, self.trace.nodes[i]
        if i not in trace.backs:
            return ()
        back = trace.backs[i]
        mine = {} if node.op == "scan" else {"value": self.names[i]}
        names = {**self.arguments(node, self.names), **mine, **dict.fromkeys([("upstream", n) for n in range(64)], "g")}
        out = []
        for b in trace.given[i]:
            local = numbers = part = ""
            if back.has("partial", b.position):
                key = ("partial", b.position)
                local = formula(back.readable, key, self.table, names)
                value = {"value": self.plain[i]} if self.plain[i] else {}
                numbers = self.in_numbers(i, back.readable, key, local, value) if value else ""
            elif node.op not in ("scan", "root"):
                part = formula(back.readable, ("part", b.position), self.table, names)
            computed = ""
            if local and (forms := self.textbook(i, b.position)) is not None and forms[0] != local:
                computed, (local, numbers) = local, forms
            out.append(Given(b.source, self.names[b.source], local, computed, numbers, b.local, part, b.value))
        return tuple(out)


def grouped(text: str) -> str:
    return text if atomic(text) else f"({text})"


def signed(text: str) -> str:
    return f"({text})" if text.startswith("-") else text


def renamed(text: str, names: Mapping[str, str]) -> str:
    """A formula with other names in it."""
    return re.sub(r"[A-Za-z_]\w*", lambda m: names.get(m[0], m[0]), text)


def number_text(value: Any, digits: int | None) -> str:
    """A number as people write it; "" for an array."""
    if isinstance(value, tuple) or getattr(value, "shape", None):
        return ""
    return str(value).lower() if isinstance(value, bool) or type(value).__name__ == "bool" else plain(float(value), digits)[0]
