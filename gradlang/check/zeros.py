"""Derivatives that are exactly zero, because what is differentiated does not depend on what it is differentiated by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from gradlang.check import errors_promises
from gradlang.check.nodes import arguments, whole
from gradlang.check.program import Node, Program, Root, Scan
from gradlang.diagnostics import Diagnostic
from gradlang.ops.op import DERIVATIVES
from gradlang.source import Span

Shown = Mapping[Span, tuple[str, str]]  # where a derivative stands -> what its value and its name are called


def zero_derivatives(program: Program, shown: Shown) -> list[Diagnostic]:
    """Warnings, one for each place. A `check` line may say that a derivative is zero."""
    promised = [p.span for p in program.promises]
    found: dict[tuple[Span, str, str], None] = {}
    asked = [(a.node, (program.values[n],)) for a in program.asked for n in a.wrt or ()]
    names = [(a.span, a.name, n) for a in program.asked for n in a.wrt or ()]
    inner, requested = unrelated(program.nodes, asked)
    for span, y, x in (names[k] for k in requested):
        found[span, y, x] = None
    for body in bodies(program.nodes):
        inner = [*inner, *unrelated(body, [])[0]]
    for node in inner:
        if not any(start <= node.span[0] < end for start, end in promised):
            found[(node.span, *shown.get(node.span, ("", "")))] = None
    return [errors_promises.zero_derivative(quoted(y), quoted(x), span) for span, y, x in found]


def quoted(name: str) -> str:
    return f"`{name}`" if name else "this value"


def bodies(nodes: Iterable[Node]) -> list[Sequence[Node]]:
    """The nodes of all recurrences and implicit definitions, also of those inside others."""
    out: list[Sequence[Node]] = []
    stack = [nodes]
    while stack:
        for node in whole(stack.pop()):
            if node.op in ("scan", "root"):
                held: Scan | Root = node.attrs[0]
                out.append(held.body.instrs)
                stack.append(held.body.instrs)
    return out


def unrelated(nodes: Sequence[Node], more: Sequence[tuple[int, tuple[int, ...]]]) -> tuple[list[Node], list[int]]:
    """The derivatives among some nodes that are zero, and which of `more` (a value, what it is differentiated by) are, in
    one walk over the nodes."""
    wanted = [(n, *by(n)) for n in whole(nodes) if n.op in DERIVATIVES]
    pairs = [*((y, xs) for _, y, xs in wanted), *more]
    if not pairs:
        return [], []
    bits: dict[int, int] = {}
    for _, xs in pairs:
        for x in xs:
            bits.setdefault(x, 1 << len(bits))
    reached: list[int] = []
    for i, args in enumerate(arguments(nodes)):
        mask = bits.get(i, 0)
        for a in args:
            mask |= reached[a]
        reached.append(mask)
    zero = [not any(reached[y] & bits[x] for x in xs) for y, xs in pairs]
    derivatives = [n for (n, _, _), z in zip(wanted, zero, strict=False) if z]
    return derivatives, [k for k, z in enumerate(zero[len(wanted) :]) if z]


def by(node: Node) -> tuple[int, tuple[int, ...]]:
    """The value of a derivative, and what it is differentiated by."""
    return node.args[0], node.args[1::2] if node.op == "jvp" else node.args[-1:]
