"""The nodes of a large program, of which those of plain lines are kept as columns of numbers until somebody looks at them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Any, SupportsIndex

from gradlang.check.program import Node
from gradlang.record import record
from gradlang.source import Span
from gradlang.types import SCALAR

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Numbers = npt.NDArray[np.int64]

Row = tuple[str, tuple[int, ...], tuple[Any, ...], Span, str | None]  # op, arguments, attrs, span, name


@record(eq=False)
class Stretch:
    """Nodes that follow one another from `first` on: pointwise ops over real scalars, and numbers.

    Node first + k is of the form `forms[codes[k]]`: an op, the attrs of a node of it (None for a number, which `numbers` has),
    and how many of the columns `args` it uses."""

    first: int
    forms: tuple[tuple[str, tuple[Any, ...] | None, int], ...]
    codes: Numbers
    args: tuple[Numbers, ...]
    starts: Numbers
    stops: Numbers
    numbers: npt.NDArray[np.float64] | None
    names: Sequence[str | None]

    def __len__(self) -> int:
        return len(self.codes)

    def node(self, i: int) -> Node:
        k = i - self.first
        op, attrs, count = self.forms[self.codes[k]]
        args = tuple([int(column[k]) for column in self.args[:count]])
        attrs = self.attrs(k) if attrs is None else attrs
        return Node(op, args, attrs, SCALAR, (int(self.starts[k]), int(self.stops[k])), (), self.names[k])

    def attrs(self, k: int) -> tuple[Any, ...]:
        assert self.numbers is not None
        return (float(self.numbers[k]),)

    def arguments(self) -> list[tuple[int, ...]]:
        """The arguments of each node."""
        counts = [count for _, _, count in self.forms]
        if set(counts) <= {1, 2}:  # as nearly all are
            a = self.args[0].tolist()
            b = self.args[1].tolist() if 2 in counts else a
            return [(x, y) if y >= 0 else (x,) for x, y in zip(a, b, strict=True)] if 2 in counts else [(x,) for x in a]
        columns = list(zip(*[c.tolist() for c in self.args], strict=True)) if self.args else [()] * len(self)
        return [columns[k][: counts[code]] for k, code in enumerate(self.codes.tolist())]

    def rows(self) -> Iterator[Row]:
        """What the nodes are."""
        forms, spans = self.forms, zip(self.starts.tolist(), self.stops.tolist(), strict=True)
        codes = self.codes.tolist()
        ops, attrs = [forms[c][0] for c in codes], [forms[c][1] for c in codes]
        if self.numbers is not None:
            attrs = [self.attrs(k) if a is None else a for k, a in enumerate(attrs)]
        return zip(ops, self.arguments(), attrs, spans, self.names, strict=True)


class Nodes(list[Node]):
    """A list of nodes with stretches in it, whose nodes are made when they are first looked at."""

    __slots__ = ("firsts", "stretches")

    def __init__(self, nodes: Iterable[Node]) -> None:
        super().__init__(nodes)
        self.firsts: list[int] = []
        self.stretches: list[Stretch] = []

    def write(self, stretch: Stretch) -> None:
        """Appends a stretch, which starts where this list ends."""
        self.firsts.append(stretch.first)
        self.stretches.append(stretch)
        self.extend(repeat(None, len(stretch)))  # type: ignore[arg-type]

    def made(self) -> Iterator[Node | None]:
        """The nodes, with None for those of stretches that nobody has looked at."""
        return super().__iter__()

    def node(self, i: int) -> Node:
        """Makes the node of a stretch."""
        node = self.stretches[bisect_right(self.firsts, i) - 1].node(i)
        self[i] = node
        return node

    def parts(self) -> Iterator[tuple[int, int, Stretch | None]]:
        """What the list consists of, from where to where."""
        at = 0
        for s in self.stretches:
            if s.first > at:
                yield at, s.first, None
            at = s.first + len(s)
            yield s.first, at, s
        if at < len(self):
            yield at, len(self), None

    def mark(self, seen: bytearray) -> None:
        """Marks what marked nodes depend on."""
        for first, stop, stretch in reversed(list(self.parts())):
            args = [self[i].args for i in range(first, stop)] if stretch is None else stretch.arguments()
            for i in range(stop - 1, first - 1, -1):
                if seen[i]:
                    for a in args[i - first]:
                        seen[a] = 1

    def __getitem__(self, i: Any) -> Any:
        found = super().__getitem__(i)
        if found is None:
            return self.node(i if i >= 0 else len(self) + i)
        if isinstance(i, slice) and None in found:
            return [self[k] for k in range(*i.indices(len(self)))]
        return found

    def __iter__(self) -> Iterator[Node]:
        return (self.node(k) if n is None else n for k, n in enumerate(super().__iter__()))

    def __reversed__(self) -> Iterator[Node]:
        return (self[k] for k in range(len(self) - 1, -1, -1))

    def __delitem__(self, i: SupportsIndex | slice) -> None:
        super().__delitem__(i)
        assert not self.stretches or len(self) >= self.firsts[-1] + len(self.stretches[-1])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, list) and len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __reduce__(self) -> Any:
        return list, (list(self),)


def whole(nodes: Iterable[Node]) -> Iterator[Node]:
    """The nodes but for those of stretches."""
    return (n for n in nodes.made() if n is not None) if isinstance(nodes, Nodes) else iter(nodes)


def arguments(nodes: Iterable[Node]) -> Iterator[tuple[int, ...]]:
    """The arguments of each node."""
    if not isinstance(nodes, Nodes):
        yield from (n.args for n in nodes)
        return
    for first, stop, stretch in nodes.parts():
        yield from (nodes[i].args for i in range(first, stop)) if stretch is None else stretch.arguments()
