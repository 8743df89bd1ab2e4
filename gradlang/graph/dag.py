"""Programs as networkx graphs, and back.

`dag_of(program)` gives the program as the user wrote it: a MultiDiGraph whose nodes are values, numbered in the order of
the source. An edge runs from an argument to the value that uses it; its key is the argument's position, so `x*x` has two
edges. Node attributes: `op` (a name of the table, or input, const, array, size), `name` (the user's, or None), `type`
(`gradlang.types.Type`), `attrs` (settings by name), `scope` (the calls it was made in), `span` (offsets in the source), and
for leaves `role` and `default`. Derivatives (`grad`, `jvp`, `vjp`, `jacobian`), recurrences (`scan`, and an `item` for each of
its sequences) and equations (`root`) are nodes too; a scan and a root hold their body in `attrs`. The graph attribute
`outputs` lists the names of the outputs; `language` holds the ops and rules of a program that has its own.

A graph that was built or edited by hand is checked by `validate` and turned into a program by `program_of`.
"""

from __future__ import annotations

from typing import Any

import networkx as nx

from gradlang.check.infer import infer
from gradlang.check.program import LEAVES, Leaf, Node, Program, needed
from gradlang.diagnostics import SourceError
from gradlang.graph.validate import validate
from gradlang.ops.language import standard
from gradlang.ops.op import DERIVATIVES
from gradlang.ops.table import OpTable
from gradlang.source import NOWHERE, Sources
from gradlang.types import SCALAR, Size

# The settings of nodes that are no ops of the table: a recurrence and an equation hold their bodies.
BEYOND_ATTRS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(DERIVATIVES, ()),
    "scan": ("scan",),
    "item": ("number",),
    "root": ("root",),
}
LEAF_ATTRS = {"input": "name", "const": "value", "array": "value", "size": "size"}


def dag_of(program: Program, table: OpTable | None = None) -> nx.MultiDiGraph[int]:
    """The graph of a program. Node numbers follow the places of the formulas in the text."""
    table = table or program.language.table
    order = sorted(needed(program.nodes, program.values.values()), key=lambda i: (program.nodes[i].span, i))
    number = {old: new for new, old in enumerate(order)}
    roles = {leaf.node: leaf for leaf in program.leaves.values()}
    graph: nx.MultiDiGraph[int] = nx.MultiDiGraph(outputs=program.outputs)
    if not program.language.plain:
        graph.graph["language"] = program.language
    rows = []
    for i in order:
        node = program.nodes[i]
        row: dict[str, Any] = {
            "op": node.op,
            "name": node.name,
            "type": node.type,
            "attrs": _attrs(node, table),
            "scope": node.scope,
            "span": node.span,
        }
        if i in roles:
            row["role"], row["default"] = roles[i].role, roles[i].default
        rows.append((number[i], row))
    graph.add_nodes_from(rows)
    # (source, target, key) triples: the stubs of networkx know only pairs and attribute dicts
    edges: Any = [(number[a], number[i], k) for i in order for k, a in enumerate(program.nodes[i].args)]
    graph.add_edges_from(edges)
    return graph


def _attrs(node: Node, table: OpTable) -> dict[str, Any]:
    if node.op in LEAVES:
        return {LEAF_ATTRS[node.op]: node.attrs[0]}
    names = BEYOND_ATTRS[node.op] if node.op in BEYOND_ATTRS else table[node.op].attrs
    return dict(zip(names, node.attrs, strict=True))


def arguments(graph: nx.MultiDiGraph[int], node: int) -> list[int]:
    """The arguments of a node in their order."""
    found = sorted((key, source) for source, keys in graph.pred[node].items() for key in keys)
    return [source for _, source in found]


def program_of(graph: nx.MultiDiGraph[int], table: OpTable | None = None) -> Program:
    """The program that a graph means. Raises SourceError with every reason why it means none.

    Types are inferred from the leaves; the types of a hand-made graph's inner nodes may be left out."""
    language = getattr(graph, "graph", {}).get("language") or standard()
    table = table or language.table
    problems = validate(graph, table)
    if problems:
        raise SourceError(problems)
    program = Program(Sources(), language=language)
    made: dict[int, int] = {}
    for n in nx.lexicographical_topological_sort(graph):
        data = graph.nodes[n]
        _add(program, graph, n, data, made, table)
    names = graph.graph.get("outputs") or [
        data["name"] for n, data in graph.nodes(data=True) if not graph.out_degree(n) and data.get("name")
    ]
    program.outputs = tuple(names)
    return program


def _add(
    program: Program, graph: nx.MultiDiGraph[int], n: int, data: dict[str, Any], made: dict[int, int], table: OpTable
) -> None:
    op, name, span = data["op"], data.get("name"), data.get("span", NOWHERE)
    settings = data.get("attrs", {})
    attrs: tuple[Any, ...]
    if op in LEAVES:
        attrs = (settings.get(LEAF_ATTRS[op], name),)
        type = data.get("type", SCALAR)
        node = Node(op, (), attrs, type, span, tuple(data.get("scope", ())), name)
    elif op in BEYOND_ATTRS:
        args = tuple(made[a] for a in arguments(graph, n))
        node = Node(
            op, args, tuple(settings[a] for a in BEYOND_ATTRS[op]), data["type"], span, tuple(data.get("scope", ())), name
        )
    else:
        entry = table[op]
        args = tuple(made[a] for a in arguments(graph, n))
        from gradlang.check.calls import default_of

        attrs = tuple(settings[a] if a in settings else default_of(d) for a, d in zip(entry.attrs, entry.defaults, strict=True))
        attrs, type = infer(entry, [program.nodes[a].type for a in args], attrs, table)
        node = Node(op, args, attrs, type, span, tuple(data.get("scope", ())), name)
    program.nodes.append(node)
    made[n] = len(program.nodes) - 1
    if name is not None:
        program.values[name] = made[n]
    if op == "input" and name is not None:
        program.leaves[name] = Leaf(name, data.get("role") or "input", node.type, made[n], span, data.get("default"))
        for dim in node.type.shape:
            for s in dim.names() if isinstance(dim, Size) else ():
                program.sizes.setdefault(s, NOWHERE)
