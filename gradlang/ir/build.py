"""Programs to tapes: the values that are asked for, with everything they need."""

from __future__ import annotations

from collections.abc import Iterable

from gradlang.check.program import LEAVES, Program, needed
from gradlang.ir.tape import Builder


def write(program: Program, wanted: Iterable[int], builder: Builder, marked: frozenset[int] = frozenset()) -> dict[int, int]:
    """Writes the nodes that `wanted` depend on into a builder; node -> instruction.

    Values in `marked` are kept apart from equal values, so that a derivative with respect to them means them alone."""
    made: dict[int, int] = {}
    table, nodes = builder.table, program.nodes
    for i in needed(nodes, wanted):
        node = nodes[i]
        if node.op in LEAVES:
            at = builder.add(node.op, (), node.attrs, node.type, node.span, name=node.name)
        else:
            args = [builder.ref(made[a]) for a in node.args]
            at = builder.emit(table[node.op], args, node.attrs, node.type, node.span, node.scope).id
            if node.name is not None and builder.instrs[at].name is None:
                builder.instrs[at].name = node.name
        if i in marked and node.op not in LEAVES:
            at = builder.add("mark", (at,), (i,), node.type, node.span, node.scope, node.name)
        made[i] = at
    return made
