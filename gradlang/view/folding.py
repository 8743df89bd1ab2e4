"""Which nodes of a picture are drawn as one: the calls of functions, and in very large graphs what lies at similar depths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

MOST = 160  # shapes of a picture that a person can read


def fold(
    nodes: Sequence[int], edges: Sequence[tuple[int, int]], scopes: Mapping[int, tuple[str, ...]], open: Sequence[str]
) -> list[tuple[int, ...]]:
    """Groups of nodes, in topological order. `nodes` stand in such an order, `scopes` are the calls that they were made in,
    outermost first; calls of the functions `open` ("all": of all) are not folded."""
    home = {i: outermost(scopes[i], open) for i in nodes}
    groups = grouped(nodes, home)
    while (bad := cyclic(groups, edges)) is not None:  # what a call is given depends on a part of it
        for i in groups[bad]:
            home[i] = ()
        groups = grouped(nodes, home)
    if len(groups) > MOST:
        groups = by_depth(groups, edges)
    return ordered(groups, edges)


def outermost(scope: tuple[str, ...], open: Sequence[str]) -> tuple[str, ...]:
    """The outermost call that is not opened."""
    for k, call in enumerate(scope):
        if "all" not in open and call.partition(".")[0] not in open:
            return scope[: k + 1]
    return ()


def grouped(nodes: Sequence[int], home: Mapping[int, tuple[str, ...]]) -> list[tuple[int, ...]]:
    found: dict[object, list[int]] = {}
    for i in nodes:
        found.setdefault(home[i] or i, []).append(i)
    return [tuple(g) for g in found.values()]


def links(groups: Sequence[Sequence[int]], edges: Sequence[tuple[int, int]]) -> list[set[int]]:
    """For each group those that use it."""
    where = {i: k for k, g in enumerate(groups) for i in g}
    out: list[set[int]] = [set() for _ in groups]
    for a, b in edges:
        if a in where and b in where and where[a] != where[b]:
            out[where[a]].add(where[b])
    return out


def sorted_groups(groups: Sequence[Sequence[int]], edges: Sequence[tuple[int, int]]) -> list[int]:
    """Groups in topological order, those that are on a cycle or behind one left out (Kahn, 1962)."""
    users = links(groups, edges)
    waiting = [0] * len(groups)
    for found in users:
        for b in found:
            waiting[b] += 1
    ready = [k for k, n in enumerate(waiting) if n == 0]
    for k in ready:
        for b in sorted(users[k]):
            waiting[b] -= 1
            if waiting[b] == 0:
                ready.append(b)
    return ready


def cyclic(groups: Sequence[Sequence[int]], edges: Sequence[tuple[int, int]]) -> int | None:
    """A group of several nodes that is on a cycle, if there is one."""
    done = set(sorted_groups(groups, edges))
    return next((k for k, g in enumerate(groups) if k not in done and len(g) > 1), None)


def ordered(groups: Sequence[tuple[int, ...]], edges: Sequence[tuple[int, int]]) -> list[tuple[int, ...]]:
    return [groups[k] for k in sorted_groups(groups, edges)]


def by_depth(groups: Sequence[tuple[int, ...]], edges: Sequence[tuple[int, int]]) -> list[tuple[int, ...]]:
    """Groups of neighbouring depths as one, but for the leaves and the ends."""
    users = links(groups, edges)
    depth = [0] * len(groups)
    for k in sorted_groups(groups, edges):
        for b in users[k]:
            depth[b] = max(depth[b], depth[k] + 1)
    deepest = max(depth)
    count = max(MOST // 4, 1)
    slices: dict[int, list[int]] = {}
    out = []
    for k, g in enumerate(groups):
        if depth[k] == 0 or not users[k]:
            out.append(g)
        else:
            slices.setdefault((depth[k] - 1) * count // max(deepest, 1), []).extend(g)
    leaves = [g for g in out if len(g) == 1]
    if len(leaves) > MOST:  # of very many inputs too
        out = [g for g in out if len(g) > 1] + [tuple(i for g in leaves for i in g)]
    return out + [tuple(g) for _, g in sorted(slices.items())]
