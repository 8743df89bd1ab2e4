"""Forward mode: what the derivatives by one input are at every node, and what each argument of a node adds to its own."""

from __future__ import annotations

from typing import Any

from gradlang.check.program import Node
from gradlang.diagnostics import Diagnostic, InputError
from gradlang.ops.op import BODIES
from gradlang.record import record
from gradlang.view.local import Locals, numbers
from gradlang.view.trace import Trace, sequences


@record(eq=False)
class Flow:
    """`tangents` are the derivatives of the nodes by the input `source`; those that it does not reach are missing. `parts` are
    their terms by the chain rule: node -> the argument's place -> local derivative times the argument's derivative. A node
    whose arguments are taken together (a recurrence, what puts arrays together) has no parts."""

    source: int
    tangents: dict[int, Any]
    parts: dict[int, dict[int, Any]]


def tangents(trace: Trace, x: str) -> dict[int, Any]:
    """The derivative of every node by one scalar input. Raises InputError if it is none."""
    return flow(trace, x).tangents


def flow(trace: Trace, x: str) -> Flow:
    """Forward mode from one scalar input. Raises InputError if it is none."""
    import numpy as np

    source, program = trace.leaves.get(x), trace.program
    if source is None or source not in trace.values or trace.nodes[source].type.shape:
        absent = source is None or source not in trace.values
        why = f"`{trace.of}` does not depend on `{x}`" if absent else f"`{x}` is an array"
        raise InputError([Diagnostic("G512", f"forward mode goes from one scalar input, but {why}")], program.sources)
    made = _Flowing(trace, source)
    with np.errstate(all="ignore"):
        for i in trace.order:
            made.reach(i, trace.nodes[i])
    return Flow(source, {i: t for i, t in made.found.items() if not isinstance(t, dict)}, made.parts)


def sources(trace: Trace) -> list[str]:
    """The inputs that forward mode can go from: scalars that may be any number."""
    leaves = trace.program.leaves
    return [
        name
        for name, i in trace.leaves.items()
        if i in trace.values
        and not trace.nodes[i].type.shape
        and leaves[name].type.dtype == "real"
        and leaves[name].role != "const"
    ]


def together(node: Node, locals: Locals) -> bool:
    """Whether the arguments of an op are taken together: by themselves each would cost as much as all."""
    return node.op in BODIES or "variadic" in locals.table[node.op].flags


class _Flowing:
    def __init__(self, trace: Trace, source: int) -> None:
        self.trace = trace
        self.found: dict[int, Any] = {source: 1.0}
        self.parts: dict[int, dict[int, Any]] = {}
        self.exact: set[int] = set()  # nodes whose tangents hold exact zeros

    def reach(self, i: int, node: Node) -> None:
        moving = [k for k, a in enumerate(node.args) if a in self.found]
        if not moving or node.type.dtype not in ("real", "bundle"):
            return
        if node.op == "item":
            if node.attrs[0] in self.found[node.args[0]]:
                self.found[i] = self.found[node.args[0]][node.attrs[0]]
        elif together(node, self.trace.locals):
            made, exact = self.terms(node, moving)
            if made:
                self.found[i] = made if sequences(node) else made["value"]
                self.exact |= {i} if "value" in exact else set()
        else:
            terms = {k: self.terms(node, [k]) for k in moving}
            parts = {k: made["value"] for k, (made, _) in terms.items() if made}
            if not parts:
                return
            first, *rest = parts.values()
            self.found[i], self.parts[i] = sum(rest, first), parts
            if all("value" in exact for made, exact in terms.values() if made):
                self.exact.add(i)

    def terms(self, node: Node, moving: list[int]) -> tuple[dict[Any, Any], frozenset[Any]]:
        """The tangents that come of some of the arguments, and those of them that hold exact zeros."""
        trace = self.trace
        masked = [k for k in moving if node.args[k] in self.exact]
        move = trace.locals.tangent(node, [trace.nodes[a].type for a in node.args], moving, sequences(node), masked)
        given: dict[Any, Any] = {("argument", k): trace.values[a] for k, a in enumerate(node.args)}
        given |= {("tangent", k): self.found[node.args[k]] for k in moving}
        return numbers(move.tape, trace.locals.language, given, trace.sizes), move.exact
