"""What can be wrong with a graph that gradlang did not make itself."""

from __future__ import annotations

from typing import Any

import networkx as nx

from gradlang.check.calls import default_of
from gradlang.check.infer import infer
from gradlang.check.program import LEAVES
from gradlang.diagnostics import Diagnostic, did_you_mean
from gradlang.ops.op import BEYOND
from gradlang.ops.shapes import Misfit
from gradlang.ops.table import OpTable
from gradlang.types import Type


def validate(graph: Any, table: OpTable) -> list[Diagnostic]:
    """Every reason why a graph is no program: no MultiDiGraph, cycles, unknown ops, missing or extra arguments, gaps in the
    argument positions, settings that the op does not have, types that do not fit, doubled names, unknown outputs."""
    if not isinstance(graph, nx.MultiDiGraph):
        return [_problem("a program is a networkx.MultiDiGraph: a plain DiGraph cannot hold the two edges of x*x")]
    problems = [p for n, data in graph.nodes(data=True) for p in _node(graph, n, data, table)]
    if not nx.is_directed_acyclic_graph(graph):
        cycle = [str(u) for u, *_ in nx.find_cycle(graph)]
        problems.append(_problem(f"the graph has a cycle through the nodes {', '.join(cycle[:8])}"))
    names: dict[str, Any] = {}
    for n, data in graph.nodes(data=True):
        name = data.get("name")
        if name is not None and name in names:
            problems.append(_problem(f"the nodes {names[name]} and {n} both have the name `{name}`"))
        names.setdefault(name, n)
    for name in graph.graph.get("outputs") or ():
        if name not in names:
            problems.append(
                _problem(f"the output `{name}` is the name of no node", did_you_mean(name, [k for k in names if k]))
            )
    return problems or _types(graph, table)


def _problem(message: str, help: str = "") -> Diagnostic:
    return Diagnostic("G210", message, help=help)


def _node(graph: nx.MultiDiGraph[Any], n: Any, data: dict[str, Any], table: OpTable) -> list[Diagnostic]:
    op = data.get("op")
    if op is None:
        return [_problem(f"node {n} has no `op`")]
    found: list[Any] = [key for keys in graph.pred[n].values() for key in keys]
    keys: list[int] | None = sorted(found) if all(isinstance(key, int) for key in found) else None
    if keys is None:
        return [_problem(f"the edges into node {n} need whole numbers as keys: the positions of the arguments")]
    if op in LEAVES:
        out = [_problem(f"node {n} is a leaf ({op}) and has arguments")] if keys else []
        if op == "input" and not data.get("name"):
            out.append(_problem(f"node {n} is an input without a `name`"))
        if not isinstance(data.get("type", Type(())), Type):
            out.append(_problem(f"the `type` of node {n} is no gradlang.types.Type"))
        return out
    if op in BEYOND:
        typed = isinstance(data.get("type"), Type)
        return [] if typed else [_problem(f"node {n} is a `{op}`: its `type` must be given")]
    if op not in table:
        return [_problem(f"node {n} has the op `{op}`, which is not in the table", did_you_mean(str(op), table))]
    entry = table[op]
    out = []
    if keys != list(range(len(keys))):
        out.append(_problem(f"the arguments of node {n} are at positions {keys}: they must be 0, 1, 2, ... without gaps"))
    elif "variadic" not in entry.flags and len(keys) != len(entry.params):
        out.append(_problem(f"node {n}: `{op}` takes {len(entry.params)} arguments, but {len(keys)} edges lead to it"))
    for setting in data.get("attrs", {}):
        if setting not in entry.attrs:
            out.append(_problem(f"node {n}: `{op}` has no setting `{setting}`", did_you_mean(setting, entry.attrs)))
    return out


def _types(graph: nx.MultiDiGraph[Any], table: OpTable) -> list[Diagnostic]:
    found: dict[Any, Type | None] = {}
    problems = []
    for n in nx.topological_sort(graph):
        data = graph.nodes[n]
        if data["op"] in LEAVES:
            found[n] = data.get("type", Type(()))
            continue
        if data["op"] in BEYOND:
            found[n] = data["type"]
            continue
        entry = table[data["op"]]
        args = [s for _, s in sorted((key, s) for s, keys in graph.pred[n].items() for key in keys)]
        types = [found[a] for a in args]
        found[n] = None
        if any(t is None for t in types):
            continue
        settings = data.get("attrs", {})
        attrs = tuple(settings[a] if a in settings else default_of(d) for a, d in zip(entry.attrs, entry.defaults, strict=True))
        try:
            _, found[n] = infer(entry, [t for t in types if t is not None], attrs, table)
        except Misfit as misfit:
            problems.append(_problem(f"node {n}: {misfit.message}", misfit.help))
            continue
        if "type" in data and data["type"] != found[n]:
            problems.append(_problem(f"node {n} says that it is {data['type']}, but its arguments make it {found[n]}"))
    return problems
