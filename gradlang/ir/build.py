"""Programs to tapes: the values that are asked for, with everything they need."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from gradlang.check.nodes import Nodes, Stretch
from gradlang.check.program import LEAVES, Node, Program, Root, Scan, needed
from gradlang.ir.tape import BEYOND, DERIVATIVES, Builder
from gradlang.record import changed
from gradlang.types import SCALAR, Shape

T = TypeVar("T", Scan, Root)


def write(program: Program, wanted: Iterable[int], builder: Builder, marked: frozenset[int] = frozenset()) -> dict[int, int]:
    """Writes the nodes that `wanted` depend on into a builder; node -> instruction.

    Values in `marked` are kept apart from equal values, so that a derivative with respect to them means them alone."""
    return write_nodes(program.nodes, needed(program.nodes, wanted), builder, marked)


def write_nodes(
    nodes: Sequence[Node], order: Iterable[int], builder: Builder, marked: frozenset[int] = frozenset()
) -> dict[int, int]:
    order = list(order)
    known = nodes.looked_at(order) if isinstance(nodes, Nodes) else (nodes[i] for i in order)
    marked = marked.union(x for node in known if node.op in DERIVATIVES for x in by(node))
    writer = Writer(nodes, builder, marked)
    if isinstance(nodes, Nodes):
        for some, stretch in nodes.split(order):
            if stretch is None:
                writer.write(some)
            else:
                writer.write_stretch(nodes, some, stretch)
    else:
        writer.write(order)
    return writer.made


class Writer:
    """Writes nodes into a builder. `made` has the instruction of each node; values in `marked` are kept apart."""

    def __init__(self, nodes: Sequence[Node], builder: Builder, marked: frozenset[int]) -> None:
        self.nodes, self.builder, self.marked = nodes, builder, marked
        self.made: dict[int, int] = {}
        self.numbers: dict[str, bool] = {}

    def plain(self, op: str) -> bool:
        """Whether an op over single numbers is an instruction as it stands."""
        if op not in self.numbers:
            table = self.builder.table
            entry = table[op] if op in table else None
            self.numbers[op] = entry is not None and entry.pointwise and not entry.defined
        return self.numbers[op]

    def write(self, order: Iterable[int]) -> None:
        nodes, builder, made, table = self.nodes, self.builder, self.made, self.builder.table
        for i in order:
            node = nodes[i]
            scalar = node.type is SCALAR and self.plain(node.op)
            if scalar and builder.all_scalar(ids := tuple([made[a] for a in node.args])):
                at = builder.add(node.op, ids, node.attrs, SCALAR, node.span, node.scope, node.name)
            elif node.op in LEAVES:
                at = builder.add(node.op, (), node.attrs, node.type, node.span, name=node.name)
            elif node.op in BEYOND:
                at = beyond(node, [made[a] for a in node.args], builder)
            else:
                args = [builder.ref(made[a]) for a in node.args]
                at = builder.emit(table[node.op], args, node.attrs, node.type, node.span, node.scope).id
                if node.name is not None and builder.instrs[at].name is None:
                    builder.instrs[at].name = node.name
            if i in self.marked and node.op not in LEAVES:
                at = builder.add("mark", (at,), (i,), node.type, node.span, node.scope, node.name)
            made[i] = at

    def write_stretch(self, nodes: Nodes, order: Sequence[int], stretch: Stretch) -> None:
        """Writes nodes of a stretch from its columns, those that somebody has looked at as they are now."""
        made, add, all_scalar = self.made, self.builder.add, self.builder.all_scalar
        if not all(op == "const" or self.plain(op) for op, _, _ in stretch.forms):
            self.write(order)
            return
        apart = self.marked | nodes.seen(stretch)
        take = made.__getitem__
        for i, (op, args, attrs, span, name) in zip(order, stretch.rows(order), strict=True):
            ids = tuple(map(take, args))
            if i not in apart and all_scalar(ids):
                made[i] = add(op, ids, attrs, SCALAR, span, (), name)
            else:
                self.write([i])


def by(node: Node) -> tuple[int, ...]:
    """What a derivative is taken with respect to."""
    return node.args[1::2] if node.op == "jvp" else node.args[-1:]


def beyond(node: Node, args: list[int], builder: Builder) -> int:
    """A derivative, a recurrence or one of its sequences."""
    attrs = node.attrs
    if node.op == "scan":
        (scan,) = attrs
        sequences = len(scan.names)
        for k in range(sequences):
            rows = (scan.extra[k], *scan.types[k].shape)
            args[k] = builder.broadcast(builder.real(args[k]), rows, node.span)
        attrs = (written(scan, builder, [t.shape for t in scan.types]),)
    elif node.op == "root":
        (root,) = attrs
        args[0] = builder.broadcast(builder.real(args[0]), node.type.shape, node.span)
        shape = node.type.shape
        attrs = (written(root, builder, [shape, shape + shape[root.lead :], shape]),)
    elif node.op in DERIVATIVES:
        args = [builder.real(a) for a in args]
    return builder.add(node.op, tuple(args), attrs, node.type, node.span, node.scope, node.name)


def written(held: T, builder: Builder, shapes: Sequence[Shape]) -> T:
    """A recurrence or an implicit definition whose body is a tape in the normal form of the builder."""
    inner = Builder(builder.table)
    made = write_nodes(held.body.instrs, range(len(held.body.instrs)), inner)
    outputs = []
    for (name, i), shape in zip(held.body.outputs, shapes, strict=True):
        outputs.append((name, inner.broadcast(inner.real(made[i]), shape, held.body.instrs[i].span)))
    return changed(held, body=inner.tape(outputs))
