"""What checking makes of a text: a `Program`, the typed nodes of the formulas as the user wrote them.

The program is the common ancestor of the networkx graph (`graph/dag.py`) and of the compiler's tape (`ir/`). Nodes stand
in an order in which every argument comes before its use.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from gradlang.check.loops import Index, Loop
from gradlang.diagnostics import Diagnostic
from gradlang.ops.language import Language, standard
from gradlang.record import field, record
from gradlang.source import Sources, Span
from gradlang.types import Dim, Type, add, size, sub

LEAVES = ("input", "const", "array", "size")


@record(frozen=False)
class Node:
    """One value. `attrs` are the settings of the op in the order of its entry; `scope` the calls that it was made in."""

    op: str
    args: tuple[int, ...]
    attrs: tuple[Any, ...]
    type: Type
    span: Span
    scope: tuple[str, ...] = ()
    name: str | None = None


@record
class Tape:
    """Nodes in order, and the results: name -> node."""

    instrs: tuple[Node, ...]
    outputs: tuple[tuple[str, int], ...]

    def __iter__(self) -> Iterator[Node]:
        return iter(self.instrs)

    def __len__(self) -> int:
        return len(self.instrs)


@record(eq=False)
class Scan:
    """A recurrence: `length` steps, each of which makes one entry of some sequences.

    The arguments of a scan node are one array per sequence, then `rows` arrays of which step t reads row t, then arrays
    that every step reads whole. The inputs of the body are named by (kind, number, lag): ("row", j, None), ("held", j,
    None), and for the sequences

    - kind "pull": sequence k is its argument, the `extra[k]` rows that are known before the first step, followed by what
      the steps make; the body reads ("state", k, d), the row d back, or ("past", k, None), all rows, of which those of
      later steps are zero; its output k is the new row.
    - kind "push", the adjoint of a pull: sequence k is its argument, `length` rows and then `extra[k]` more; the body reads
      its own row, ("inbox", k, None), and adds its output p to the row `ports[p][1]` further on of sequence
      `ports[p][0]`, or (None) to all rows of it. A step adds to rows of later steps only.

    A scan node is a bundle; `item` nodes are its sequences."""

    kind: str
    length: Dim
    names: tuple[str, ...]
    types: tuple[Type, ...]
    extra: tuple[Dim, ...]
    rows: int
    body: Tape
    ports: tuple[tuple[int, int | None], ...] = ()

    def item_type(self, k: int) -> Type:
        return Type((add(self.extra[k], self.length), *self.types[k].shape))


@record(eq=False)
class Segments:
    """Recurrences of one length, and what is done for each of their steps, run for a segment of the steps at a time, so
    that only the states where a segment starts need to be kept.

    The arguments of a node are the values that are carried from segment to segment, as many as `carried`; then arrays of
    which a segment gets its rows; then arrays that each gets whole. The inputs of the body are ("carry", k, None), ("row",
    j, None) and ("held", j, None); its outputs are the new carried values, then the further results.

    A window (start, length) is a range of steps; negative ones are the rows known before the first step, which belong to
    the first segment. `rows` has the window of each array of rows: its row i belongs to step start + i. `outs` has the
    window of each further result, whose rows are put together, or None where the results of the segments are added up. The
    first window is that of all steps. In the body these are sizes: ROWS and AT for each window, the number of its steps in
    the segment and the distance of the first one from where the segment starts, and BEGIN, that start.

    With `backwards` the last segment comes first. The last argument is then a node of the other direction, and the body
    reads what that carried into the segment, ("start", k, None)."""

    length: Dim
    names: tuple[str, ...]
    types: tuple[Type, ...]
    carried: int
    windows: tuple[tuple[Dim, Dim], ...]
    rows: tuple[int, ...]
    outs: tuple[int | None, ...]
    body: Tape
    backwards: bool = False

    def item_type(self, k: int) -> Type:
        return self.types[k]

    def sizes(self, length: int, begin: int, bounds: Sequence[tuple[int, int]]) -> dict[str, int]:
        """The sizes of the body for the segment from step `begin` on, of `length` steps, for windows with these bounds."""
        out = {BEGIN: begin}
        for w, (start, many) in enumerate(bounds):
            low = min(max(start, begin) if begin else start, begin + length)
            out[AT.format(w)] = low - begin
            out[ROWS.format(w)] = max(min(start + many, begin + length) - low, 0)
        return out

    def count(self, window: int) -> Dim:
        """How many steps of a window are in a segment, as a size of the body."""
        return steps_in(self.windows, window)


def steps_in(windows: Sequence[tuple[Dim, Dim]], window: int) -> Dim:
    """How many steps of a window are in a segment: where it goes on to the last step, the rest of the segment."""
    if window and add(*windows[window]) == windows[0][1]:
        return sub(size(ROWS.format(0)), size(AT.format(window)))
    return size(ROWS.format(window))


BEGIN, ROWS, AT = "begin.", "rows.{}", "at.{}"


@record(eq=False)
class Root:
    """An implicit definition: the value where a residual is zero, by Newton's method.

    The arguments of a root node are the start, then arrays that the body reads: inputs ("unknown", 0, None) and ("held", j,
    None). The outputs of the body are the residual, its Jacobian, of the shape of the unknown twice, and the step of
    Newton's method. The first `lead` axes of all of them run over separate equations."""

    name: str
    lead: int
    body: Tape


@record
class Initializer:
    """How a parameter is made: `normal(mean, std)`, `uniform(lo, hi)`, `he()`, `xavier()`, `zeros()`, `ones()`."""

    kind: str
    args: tuple[float, ...]


@record
class Leaf:
    """An input, parameter or constant. `default` is a number, nested tuples of numbers, the node of a constant
    expression (`default_node`), an Initializer, or None where the caller must give a value."""

    name: str
    role: str
    type: Type
    node: int
    span: Span
    default: Any = None
    default_node: int | None = None
    range: tuple[float, float] | None = None
    label: str | None = None

    @property
    def differentiable(self) -> bool:
        return self.type.dtype == "real" and self.role in ("input", "param")

    @property
    def required(self) -> bool:
        return self.default is None and self.default_node is None


@record
class Asked:
    """A request: kind (grad, output, minimize, maximize), the node, its name, and the leaves (None: all)."""

    kind: str
    node: int
    name: str
    wrt: tuple[str, ...] | None
    span: Span


@record
class Promise:
    """A `check` line: a condition node, or two sides to compare within `tol`. `given` overrides inputs, with numbers and
    nested tuples of them; `made` with the nodes of constant expressions."""

    cond: int | None
    left: int | None
    right: int | None
    tol: float | None
    given: dict[str, Any]
    span: Span
    made: dict[str, int] = field(default_factory=dict)


@record(frozen=False)
class Program:
    sources: Sources
    nodes: list[Node] = field(default_factory=list)
    leaves: dict[str, Leaf] = field(default_factory=dict)
    values: dict[str, int] = field(default_factory=dict)  # definitions and leaves: name -> node
    labels: dict[str, str] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    asked: tuple[Asked, ...] = ()
    promises: tuple[Promise, ...] = ()
    sizes: dict[str, Span] = field(default_factory=dict)
    warnings: list[Diagnostic] = field(default_factory=list)
    requirements: list[tuple[Dim, int, Span, str]] = field(default_factory=list)  # (size, at least, where, what is wrong else)
    language: Language = field(default_factory=standard)

    def differentiable(self) -> list[str]:
        return [name for name, leaf in self.leaves.items() if leaf.differentiable]

    def callable_leaves(self) -> list[Leaf]:
        """Inputs and parameters in source order."""
        return [leaf for leaf in self.leaves.values() if leaf.role in ("input", "param")]


@record
class Ref:
    """A value that is computed: its node and type.

    Inside a comprehension it may be one value per count of some loops: its node then has the lengths of `axes` in front of
    the shape that `type` gives. A value that the step of a recurrence computes has that recurrence among `steps`.
    `origin` is the first index of each axis of an indexed definition, where that is not 0."""

    id: int
    type: Type
    axes: tuple[Loop, ...] = ()
    steps: tuple[Loop, ...] = ()
    origin: tuple[Dim, ...] = ()


@record
class Poison:
    """Stands for a value whose formula has an error that was already reported."""


class Several(tuple[Any, ...]):
    """The results of a function that returns several."""


POISON = Poison()
# What an expression may mean before it becomes a node: a number, a size, a truth value, none, a text, a list of these.
Static = int | float | bool | Dim | Index | str | None
Value = Any  # Ref | Poison | Static | tuple[Value, ...]


def needed(nodes: Sequence[Node], wanted: Iterable[int]) -> list[int]:
    """The nodes that `wanted` depend on, in order."""
    seen = bytearray(len(nodes))
    stack = list(wanted)
    for i in stack:
        seen[i] = 1
    if (mark := getattr(nodes, "mark", None)) is not None:  # a large program (`check/nodes.py`) knows a quicker way
        mark(seen)
        stack.clear()
    while stack:
        for a in nodes[stack.pop()].args:
            if not seen[a]:
                seen[a] = 1
                stack.append(a)
    return [i for i, s in enumerate(seen) if s]


def unreached(program: Program, output: str) -> list[str]:
    """The differentiable leaves that an output does not depend on."""
    inside = set(needed(program.nodes, [program.values[output]]))
    return [name for name in program.differentiable() if program.leaves[name].node not in inside]
