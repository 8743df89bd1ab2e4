"""The step of a recurrence, once it is elaborated, becomes the body of one `scan` node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gradlang.check.loops import Loop, dims, together
from gradlang.check.program import Node, Ref, Scan, Tape
from gradlang.ops.op import ITEM, SCAN
from gradlang.record import field, record
from gradlang.source import Span
from gradlang.types import BUNDLE, Dim, Type, add

if TYPE_CHECKING:
    from gradlang.check.elaborate import Elaborator


@record(eq=False, frozen=False)
class State:
    """One sequence of a recurrence as its step sees it. `type` is that of one entry, `axes` the loops around the
    recurrence that the sequence has a value for each count of; both are a guess until the step agrees with it."""

    name: str
    position: int
    type: Type
    axes: tuple[Loop, ...] = ()
    steps: tuple[Loop, ...] = ()
    rows: Dim = 0  # how many rows are known before the first step
    known: Ref | None = None  # these rows, in the order of the steps
    leaves: dict[int | None, Ref] = field(default_factory=dict)

    def leaf(self, e: Elaborator, loop: Loop, lag: int | None, span: Span) -> Ref:
        """The entry `lag` steps back, or (None) all entries, of which only those of earlier steps may be read."""
        key = ("state" if lag else "past", self.position, lag, loop)
        if lag not in self.leaves or not holds(e.nodes, self.leaves[lag].id, key):
            shape = dims(self.axes) + self.type.shape
            if lag is None:
                shape = (add(self.rows, loop.length), *shape)
            made = e.sink.leaf("input", (key,), Type(shape), span)
            type = self.type if lag else Type((shape[0], *self.type.shape))
            axes = self.axes
            if lag is None and axes:
                order = (*range(1, 1 + len(axes)), 0, *range(1 + len(axes), len(shape)))
                made = e.raw("transpose", made, (order,), span)
            self.leaves[lag] = Ref(made.id, type, axes, together(self.steps, (loop,)))
        return self.leaves[lag]


def holds(nodes: list[Node], i: int, key: object) -> bool:
    """Whether a node is still the leaf of a name, or its transpose: an attempt that was given up takes its nodes along."""
    if i < len(nodes) and nodes[i].op == "transpose":
        i = nodes[i].args[0]
    return i < len(nodes) and nodes[i].op == "input" and nodes[i].attrs[0] == key


def extract(e: Elaborator, loop: Loop, base: int, states: Sequence[State], out: Sequence[Ref], span: Span) -> list[Ref]:
    """Makes the nodes from `base` on that depend on the step one `scan` node, and gives its sequences (known rows first, in
    the order of the steps). What does not depend on the step stays outside, before it."""
    nodes: list[Node] = e.sink.nodes  # type: ignore[attr-defined]
    tail = nodes[base:]
    del nodes[base:]
    cut = Cut(nodes, tail, base, loop)
    results = tuple(
        (s.name, cut.inside[r.id]) if r.id in cut.inside else (s.name, -1) for s, r in zip(states, out, strict=True)
    )
    assert all(i >= 0 for _, i in results)
    body = Tape(tuple(cut.body), results)
    inits = [known_rows(e, s, span) for s in states]
    names = tuple(s.name for s in states)
    types = tuple(Type(dims(s.axes) + s.type.shape) for s in states)
    scan = Scan("pull", loop.length, names, types, tuple(s.rows for s in states), len(cut.rows), body)
    args = [*(r.id for r in inits), *cut.rows.values(), *cut.held.values()]
    refs = [Ref(i, nodes[i].type) for i in args]
    made = e.sink.emit(SCAN, refs, (scan,), BUNDLE, span, e.scope)
    steps = tuple(at for at in together(*(r.steps for r in out), *(s.steps for s in states)) if at is not loop)
    return [sequence(e, made, s, loop, steps, span) for s in states]


def known_rows(e: Elaborator, s: State, span: Span) -> Ref:
    """The known rows for every count of the loops around, rows first."""
    from gradlang.check.comprehension import closed

    if s.known is None:
        shape = (s.rows, *dims(s.axes), *s.type.shape)
        zero = e.sink.leaf("const", (0.0,), Type(()), span)
        return e.sink.emit(e.table["broadcast_to"], [zero], (shape,), Type(shape), span, e.scope)
    array = closed(s.known, s.axes, e, span)
    n = len(s.axes)
    order = (n, *range(n), *range(n + 1, array.type.rank))
    return e.raw("transpose", array, (order,), span) if n else array


def sequence(e: Elaborator, scan: Ref, s: State, loop: Loop, steps: tuple[Loop, ...], span: Span) -> Ref:
    rows = add(s.rows, loop.length)
    real = Type((rows, *dims(s.axes), *s.type.shape))
    made = e.sink.emit(ITEM, [scan], (s.position,), real, span, e.scope)
    n = len(s.axes)
    if n:
        made = e.raw("transpose", made, ((*range(1, n + 1), 0, *range(n + 1, real.rank)),), span)
    return Ref(made.id, Type((rows, *s.type.shape)), s.axes, steps)


class Cut:
    """Sorts the nodes of a step: those that depend on it go into the body, the others stay outside."""

    def __init__(self, nodes: list[Node], tail: list[Node], base: int, loop: Loop) -> None:
        self.nodes, self.tail, self.base, self.loop = nodes, tail, base, loop
        self.outside: dict[int, int] = {}  # old node -> node that stays
        self.inside: dict[int, int] = {}  # old node -> node of the body
        self.body: list[Node] = []
        self.rows: dict[tuple[int, int], int] = {}  # (array, axis of the loop) -> array with the loop first
        self.row_leaves: dict[tuple[int, int], int] = {}
        self.held: dict[int, int] = {}
        self.held_leaves: dict[int, int] = {}
        for k, node in enumerate(tail):
            self.place(base + k, node)

    def place(self, i: int, node: Node) -> None:
        if node.op == "input" and isinstance(node.attrs[0], tuple) and node.attrs[0][-1] is self.loop:
            kind, position, lag, _ = node.attrs[0]
            self.inside[i] = self.put(Node("input", (), ((kind, position, lag),), node.type, node.span))
        elif node.op == "row" and node.attrs[0] is self.loop:
            self.inside[i] = self.row(node)
        elif any(a in self.inside for a in node.args):
            args = tuple([self.inside[a] if a in self.inside else self.hold(a) for a in node.args])
            self.inside[i] = self.put(Node(node.op, args, node.attrs, node.type, node.span, node.scope, node.name))
        else:
            args = tuple([self.outer(a) for a in node.args])
            self.outside[i] = len(self.nodes)
            self.nodes.append(Node(node.op, args, node.attrs, node.type, node.span, node.scope, node.name))

    def place_of(self, i: int) -> int:
        """Where a value is in the body."""
        return self.inside[i] if i in self.inside else self.hold(i)

    def put(self, node: Node) -> int:
        self.body.append(node)
        return len(self.body) - 1

    def outer(self, i: int) -> int:
        return self.outside[i] if i >= self.base else i

    def row(self, node: Node) -> int:
        array, axis = self.outer(node.args[0]), node.attrs[1]
        key = (array, axis)
        if key not in self.rows:
            made = array
            if axis:
                shape = self.nodes[array].type.shape
                order = (axis, *range(axis), *range(axis + 1, len(shape)))
                type = Type(tuple(shape[a] for a in order), self.nodes[array].type.dtype)
                made = len(self.nodes)
                self.nodes.append(Node("transpose", (array,), (order,), type, node.span, node.scope))
            self.rows[key] = made
            self.row_leaves[key] = self.put(Node("input", (), (("row", len(self.rows) - 1, None),), node.type, node.span))
        return self.row_leaves[key]

    def hold(self, i: int) -> int:
        i = self.outer(i)
        if i not in self.held_leaves:
            node = self.nodes[i]
            if node.op in ("const", "size"):
                self.held_leaves[i] = self.put(Node(node.op, (), node.attrs, node.type, node.span))
            else:
                self.held[i] = i
                key = ("held", len(self.held) - 1, None)
                self.held_leaves[i] = self.put(Node("input", (), (key,), node.type, node.span))
        return self.held_leaves[i]
