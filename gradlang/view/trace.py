"""What flows through a program: the value of every node, and the derivatives that come back, branch by branch.

Nodes are those of the formulas as the user wrote them. Every op is taken by itself: its rule is that of the table, its
numbers are worked out for its own operands, and a node that is used several times gets the sum of what its users hand back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gradlang.check.program import LEAVES, Node, Program, needed
from gradlang.ir.build import write
from gradlang.ir.evaluate import Machine
from gradlang.ir.tape import DERIVATIVES, Builder, Tape
from gradlang.record import record
from gradlang.runtime.bind import Binder
from gradlang.transform.passes import passes
from gradlang.types import Type
from gradlang.view.local import Back, Locals, numbers

if TYPE_CHECKING:
    from gradlang.api import Model


@record(eq=False)
class Branch:
    """What a node hands back to one of its arguments: `local` is the derivative of the op by it, where the op is pointwise,
    and `value` the contribution, of the shape of the argument."""

    user: int
    position: int
    source: int
    local: Any
    value: Any


@record(eq=False)
class Trace:
    """The nodes that `of` depends on, in order, by their numbers: `values`, `adjoints` (those that no gradient reaches are
    missing), `given` (what each node hands back) and `got` (what each gets)."""

    of: str
    wrt: tuple[str, ...]
    top: int
    upstream: Any
    nodes: Sequence[Node]
    order: tuple[int, ...]
    leaves: dict[str, int]
    values: dict[int, Any]
    adjoints: dict[int, Any]
    given: dict[int, tuple[Branch, ...]]
    got: dict[int, tuple[Branch, ...]]
    backs: dict[int, Back]
    locals: Locals
    program: Program
    sizes: Mapping[str, int]


def trace(
    model: Model,
    of: str,
    values: Mapping[str, Any],
    wrt: Iterable[str] | None = None,
    upstream: Any = 1.0,
    rewritten: bool = False,
) -> Trace:
    """The trace of a definition at the values of a call, for derivatives by `wrt` (default: every differentiable leaf); of the
    formulas as they are written, or as the compiler rewrites them before it differentiates.

    `upstream` is the derivative that flows in: a number, or an array of the shape of `of`. Raises InputError as a call does.
    """
    import numpy as np

    program = model.program
    names = tuple(program.differentiable() if wrt is None else wrt)
    args, sizes = model.function(program.outputs).binder.bind(values)
    given = dict(zip([leaf.name for leaf in program.callable_leaves()], args, strict=True))
    locals = Locals(program.language)
    nodes, at = written(program, of, locals, rewritten)
    order = tuple(needed(nodes, [at[of]]))
    with np.errstate(all="ignore"):
        found = forward(nodes, order, given, sizes, locals)
        sweep = _Sweep(nodes, order, found, sizes, locals)
        sweep.run(at[of], {at[n] for n in names if n in at}, flowing(program, of, upstream, np.shape(found[at[of]])))
    return Trace(
        of, names, at[of], upstream, nodes, order, {n: i for n, i in at.items() if n in program.leaves}, found, sweep.adjoints,
        sweep.given, {i: tuple(b) for i, b in sweep.got.items()}, sweep.backs, locals, program, sizes,
    )  # fmt: skip


def flowing(program: Program, of: str, upstream: Any, shape: tuple[int, ...]) -> Any:
    """The derivative that flows into a definition with a value of this shape. Raises InputError for one that does not fit."""
    import numpy as np

    name = f"upstream_{of}"
    binder = Binder(program, (), ((name, program.nodes[program.values[of]].type),))
    array = binder.numeric(name, upstream)
    if array.shape not in ((), shape):
        raise binder.misfit(name, array.shape)
    return np.broadcast_to(array.astype(float), shape)[()]


def written(program: Program, of: str, locals: Locals, rewritten: bool = False) -> tuple[Sequence[Node], dict[str, int]]:
    """The nodes of a program and those of its names. Where formulas hold derivatives these are written out."""
    order = needed(program.nodes, [program.values[of]])
    derived = any(program.nodes[i].op in DERIVATIVES for i in order)
    if not derived and not rewritten:
        return program.nodes, dict(program.values)
    b = Builder(locals.table)
    inside = set(order)
    names = [of] if rewritten else [n for n, i in program.values.items() if i in inside]
    names += [n for n, leaf in program.leaves.items() if leaf.node in inside and n not in names]
    made = write(program, [program.values[n] for n in names], b)
    tape = b.tape((n, made[program.values[n]]) for n in names)
    if rewritten:
        tape = stable(tape, program)
    if derived:
        tape = locals.plain(tape)
    return tape.instrs, dict(tape.outputs)


def stable(tape: Tape, program: Program) -> Tape:
    """The tape after the rewrites that keep digits."""
    first = passes(program.language.table, program.language.rules, lambda op: True).pipeline[0]
    return first.run(tape)


def rules_used(program: Program, of: str) -> list[str]:
    """The names of the rules that the compiler applies to a definition before it differentiates, each once."""
    b = Builder(program.language.table)
    made = write(program, [program.values[of]], b)
    used = passes(program.language.table, program.language.rules, lambda op: True)
    used.pipeline[0].run(b.tape([(of, made[program.values[of]])]))
    return list(dict.fromkeys(name for name, _ in used.rewritten()))


def forward(
    nodes: Sequence[Node], order: Iterable[int], given: Mapping[str, Any], sizes: Mapping[str, int], locals: Locals
) -> dict[int, Any]:
    """The value of every node; of a recurrence the tuple of its sequences."""
    values: dict[int, Any] = {}
    machine = Machine(locals.table, given, sizes, None, float)
    for i in order:
        node = nodes[i]
        if node.op == "item":
            values[i] = values[node.args[0]][node.attrs[0]]
            continue
        types = [nodes[a].type for a in node.args]
        items = sequences(node)
        if node.op in LEAVES:
            values[i] = machine.step(node, [])
            continue
        operands = {("argument", k): values[a] for k, a in enumerate(node.args)}
        made = numbers(locals.forward(node, types, items)[0], locals.language, operands, sizes)
        values[i] = tuple(made[n] for n in range(len(items))) if items else made["value"]
    return values


def sequences(node: Node) -> list[Type]:
    """The types of what a recurrence makes; none for another op."""
    if node.op != "scan":
        return []
    (scan,) = node.attrs
    return [scan.item_type(k) for k in range(len(scan.names))]


class _Sweep:
    """The reverse pass over nodes as they are written."""

    def __init__(
        self, nodes: Sequence[Node], order: Sequence[int], values: Mapping[int, Any], sizes: Mapping[str, int], locals: Locals
    ) -> None:
        self.nodes, self.order, self.values, self.sizes, self.locals = nodes, order, values, sizes, locals
        self.adjoints: dict[int, Any] = {}
        self.exact: set[int] = set()  # nodes whose cotangents hold exact zeros
        self.given: dict[int, tuple[Branch, ...]] = {}
        self.got: dict[int, list[Branch]] = {}
        self.backs: dict[int, Back] = {}

    def run(self, top: int, sources: set[int], seed: Any) -> None:
        active = set(sources)
        for i in self.order:
            node = self.nodes[i]
            if node.type.dtype in ("real", "bundle") and any(a in active for a in node.args):
                active.add(i)
        if top in active:
            self.adjoints[top] = seed
        carried: dict[int, dict[int, int]] = {}  # recurrence -> its sequences that matter, by number
        for i in reversed(self.order):
            node = self.nodes[i]
            if node.op == "item" and i in self.adjoints:
                carried.setdefault(node.args[0], {})[node.attrs[0]] = i
            elif node.args and i in active and (i in self.adjoints or i in carried):
                self.hand_back(i, carried.get(i, {0: i}), [k for k, a in enumerate(node.args) if a in active])

    def hand_back(self, i: int, results: Mapping[int, int], wanted: Sequence[int]) -> None:
        """What a node gives to its arguments; `results` are the nodes of its results that matter."""
        node = self.nodes[i]
        exact = all(r in self.exact for r in results.values())
        types = [self.nodes[a].type for a in node.args]
        back = self.locals.back(node, types, wanted, {n: self.nodes[r].type for n, r in results.items()}, exact)
        given: dict[Any, Any] = {("argument", k): self.values[a] for k, a in enumerate(node.args)}
        given |= {("upstream", n): self.adjoints[r] for n, r in results.items()}
        made = numbers(back.tape, self.locals.language, given, self.sizes)
        branches = []
        for k in wanted:
            if ("part", k) not in made:
                continue
            a = node.args[k]
            branch = Branch(i, k, a, made.get(("partial", k)), made["part", k])
            branches.append(branch)
            known = a in self.adjoints
            self.adjoints[a] = self.adjoints[a] + branch.value if known else branch.value
            self.got.setdefault(a, []).append(branch)
            if k in back.exact and (not known or a in self.exact):
                self.exact.add(a)
            else:
                self.exact.discard(a)
        self.given[i], self.backs[i] = tuple(branches), back
