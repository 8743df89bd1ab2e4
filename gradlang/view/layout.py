"""A layered layout of a graph, from left to right.

Sugiyama, Tagawa, Toda, "Methods for visual understanding of hierarchical system structures", IEEE Transactions on Systems,
Man, and Cybernetics 11 (1981): layers by the longest path, an order within layers by barycenters, then coordinates. Every
edge that passes a layer has a place of its own there, so that boxes, which have room for their labels, are never crossed.
Coordinates are averages of the neighbours', kept apart in their order by pooling adjacent violators (Barlow et al., 1972).
"""

from __future__ import annotations

from collections.abc import Sequence

from gradlang.record import record

SWEEPS = 24  # of the order within layers
ROUNDS = 40  # of coordinates
GAP = 14.0  # between boxes of a layer
STRAIGHT = 6  # how much more two places of one edge draw each other than boxes do


@record
class Box:
    """The size of a node, and where within its height its edges begin and end. A `leaf` is put beside what uses it first."""

    width: float
    height: float
    leaf: bool = False


@record
class Route:
    """An edge: for each layer between its ends where its place begins and ends, and its height."""

    levels: tuple[tuple[float, float, float], ...]


@record(eq=False)
class Placed:
    """The left edge and the middle of every box, the routes of the edges, the size of all."""

    x: tuple[float, ...]
    y: tuple[float, ...]
    routes: tuple[Route, ...]
    width: float
    height: float


def layers_of(count: int, edges: Sequence[tuple[int, int]], boxes: Sequence[Box]) -> list[int]:
    """The layer of every node: one more than the last of what it uses; leaves stand just before what uses them first. Nodes
    are numbered in topological order."""
    layer = [0] * count
    for a, b in sorted(edges, key=lambda e: e[1]):
        layer[b] = max(layer[b], layer[a] + 1)
    first = [len(edges) + count] * count
    for a, b in edges:
        first[a] = min(first[a], layer[b] - 1)
    return [first[n] if boxes[n].leaf and first[n] < len(edges) + count else layer[n] for n in range(count)]


def place(boxes: Sequence[Box], edges: Sequence[tuple[int, int]], labels: Sequence[tuple[float, float]], bend: float) -> Placed:
    """Places boxes and edges. `labels` are the sizes of the label that each edge carries on its way, (0, 0) for none: such an
    edge gets a place for it between the layers of its ends; `bend` is the room between layers in which edges turn."""
    return _Layout(boxes, edges, labels, bend).run()


class _Layout:
    def __init__(
        self, boxes: Sequence[Box], edges: Sequence[tuple[int, int]], labels: Sequence[tuple[float, float]], bend: float
    ) -> None:
        self.boxes, self.edges, self.labels, self.bend = boxes, edges, labels, bend
        rank = layers_of(len(boxes), edges, boxes)
        self.layer = [2 * r for r in rank]  # odd layers are for labels of edges
        self.width = [b.width for b in boxes]
        self.height = [b.height for b in boxes]
        self.up: list[list[int]] = [[] for _ in boxes]
        self.down: list[list[int]] = [[] for _ in boxes]
        self.chains: list[list[int]] = []
        labelled = {self.layer[b] - 1 for (_, b), (wide, _) in zip(edges, labels, strict=True) if wide}
        for (a, b), (wide, high) in zip(edges, labels, strict=True):
            chain = [a]
            for k in range(self.layer[a] + 1, self.layer[b]):
                if k % 2 == 0 or k in labelled:
                    chain.append(self.dummy(k, *((wide, high) if wide and k == self.layer[b] - 1 else (0.0, 8.0))))
            chain.append(b)
            for u, v in zip(chain, chain[1:], strict=False):
                self.down[u].append(v)
                self.up[v].append(u)
            self.chains.append(chain)
        count = max(self.layer, default=0) + 1
        self.rows: list[list[int]] = [[] for _ in range(count)]
        for n in self.walk():
            self.rows[self.layer[n]].append(n)

    def dummy(self, layer: int, width: float, height: float) -> int:
        self.layer.append(layer)
        self.width.append(width)
        self.height.append(height)
        self.up.append([])
        self.down.append([])
        return len(self.layer) - 1

    def walk(self) -> list[int]:
        """All places, depth first from the results back, arguments in their order: a tree is drawn without a crossing."""
        seen = [False] * len(self.layer)
        out = []
        for end in [n for n in range(len(self.boxes)) if not self.down[n]]:
            stack = [end]
            while stack:
                n = stack.pop()
                if not seen[n]:
                    seen[n] = True
                    out.append(n)
                    stack.extend(reversed(self.up[n]))
        return out

    def run(self) -> Placed:
        self.order()
        y = self.heights()
        x, spans, total = self.columns()
        top = min((y[n] - self.height[n] / 2 for n in range(len(y))), default=0.0)
        y = [v - top for v in y]
        routes = tuple(Route(tuple((*spans[self.layer[n]], y[n]) for n in chain[1:-1])) for chain in self.chains)
        count = len(self.boxes)
        bottom = max((y[n] + self.height[n] / 2 for n in range(len(y))), default=0.0)
        return Placed(tuple(x[:count]), tuple(y[:count]), routes, total, bottom)

    # -------------------------------------------------------------- the order within layers
    def order(self) -> None:
        best, fewest = [list(r) for r in self.rows], self.crossings()
        for sweep in range(SWEEPS):
            if fewest == 0:
                break
            downward = sweep % 2 == 0
            neighbours = self.up if downward else self.down
            position = [0.0] * len(self.layer)
            for row in self.rows:
                for k, n in enumerate(row):
                    position[n] = k
            for row in self.rows if downward else reversed(self.rows):
                row.sort(key=lambda n: self.barycenter(neighbours[n], position, position[n]))
                for k, n in enumerate(row):
                    position[n] = k
            found = self.crossings()
            if found < fewest:
                best, fewest = [list(r) for r in self.rows], found
        self.rows = best

    @staticmethod
    def barycenter(near: list[int], position: list[float], mine: float) -> float:
        return sum(position[m] for m in near) / len(near) if near else mine

    def crossings(self) -> int:
        """Pairs of edges that cross, counted layer by layer over a Fenwick tree (Barth, Jünger, Mutzel, 2002)."""
        position = [0] * len(self.layer)
        for row in self.rows:
            for k, n in enumerate(row):
                position[n] = k
        total = 0
        for row in self.rows:
            ends = [(position[v], self.layer[v]) for n in row for v in sorted(self.down[n], key=lambda v: position[v])]
            for layer in sorted({k for _, k in ends}):
                total += inversions([p for p, k in ends if k == layer], len(self.rows[layer]))
        return total

    # -------------------------------------------------------------- coordinates
    def heights(self) -> list[float]:
        """The middle of every place: near the average of its neighbours, apart from those above and below it."""
        y = [0.0] * len(self.layer)
        for row in self.rows:
            at = 0.0
            for n in row:
                y[n] = at + self.height[n] / 2
                at += self.height[n] + GAP
            for n in row:
                y[n] -= (at - GAP) / 2
        count = len(self.boxes)
        for step in range(ROUNDS):
            rows = self.rows if step % 2 == 0 else self.rows[::-1]
            for row in rows:
                wanted = []
                for n in row:
                    near = self.up[n] + self.down[n] if step > 4 else (self.up if step % 2 == 0 else self.down)[n]
                    # long edges are kept straight before short ones
                    weights = [STRAIGHT if n >= count and m >= count else 1 for m in near]
                    total = sum(w * y[m] for w, m in zip(weights, near, strict=True))
                    wanted.append(total / sum(weights) if near else y[n])
                self.apart(row, wanted, y)
        return y

    def apart(self, row: list[int], wanted: list[float], y: list[float]) -> None:
        """The places nearest to the wanted ones, by least squares, that keep the order and the distances."""
        offset, offsets = 0.0, []
        for k, n in enumerate(row):
            if k:
                offset += (self.height[row[k - 1]] + self.height[n]) / 2 + GAP
            offsets.append(offset)
        pools: list[list[float]] = []  # sum, count
        for w, o in zip(wanted, offsets, strict=True):
            pools.append([w - o, 1])
            while len(pools) > 1 and pools[-2][0] / pools[-2][1] > pools[-1][0] / pools[-1][1]:
                total, count = pools.pop()
                pools[-1][0] += total
                pools[-1][1] += count
        at = 0
        for total, count in pools:
            for _ in range(int(count)):
                y[row[at]] = total / count + offsets[at]
                at += 1

    def columns(self) -> tuple[list[float], list[tuple[float, float]], float]:
        """The left edge of every place, where layers begin and end, and the width of all. A layer is as wide as its widest
        box; layers that hold nothing take no room."""
        x, left, spans = [0.0] * len(self.layer), 0.0, []
        for row in self.rows:
            wide = max((self.width[n] for n in row), default=0.0)
            spans.append((left, left + wide))
            for n in row:
                inner = n < len(self.boxes)
                # leaves end where the layer ends, so that their edges are short
                x[n] = left + (wide - self.width[n] if inner and self.boxes[n].leaf else 0.0)
            if row:
                left += wide + self.bend
        return x, spans, max(left - self.bend, 0.0)


def inversions(values: Sequence[int], size: int) -> int:
    """Pairs of which the first is larger."""
    tree, total = [0] * (size + 1), 0
    for seen, v in enumerate(values):
        at, before = v + 1, 0
        while at > 0:
            before += tree[at]
            at -= at & -at
        total += seen - before
        at = v + 1
        while at <= size:
            tree[at] += 1
            at += at & -at
    return total
