"""Derivatives of recurrences that run in segments.

The adjoint goes over the segments from the last one on. In each it computes the segment again from what was carried into
it, and takes the adjoint of that: the cotangents of what the segment started from are carried to the one before, those of
rows are put together, and those of whole arrays added up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from gradlang.ir.tape import Builder, Segments
from gradlang.transform.chain import Chain
from gradlang.transform.lifting import dependent, replay
from gradlang.transform.scan import ends_full, total, zeros
from gradlang.types import BUNDLE, Type

Vjp = Callable[..., dict[int, int | None]]


class Body:
    """The body of a segment on a tape of its own, for the adjoint: what was carried into it is an input ("start", k)."""

    def __init__(self, chain: Chain, at: int) -> None:
        self.instr = chain.b.instrs[at]
        self.held: Segments = self.instr.attrs[0]
        self.chain = Chain(Builder(chain.b.table), chain.templates)
        self.b = self.chain.b
        leaves = {}
        for i, leaf in enumerate(self.held.body.instrs):
            if leaf.op == "input":
                kind, k, _ = leaf.attrs[0]
                leaves[i] = self.leaf("start" if kind == "carry" else kind, k, leaf.type)
        given = {i: self.b.ref(made) for i, made in leaves.items()}
        found = replay(self.b, self.held.body.instrs, given, range(len(self.held.body)))
        self.outs = [found[i].id for _, i in self.held.body.outputs]
        self.inputs = {self.b.instrs[i].attrs[0][:2]: i for i in leaves.values()}

    def leaf(self, kind: str, k: int, type: Type) -> int:
        return self.b.leaf("input", ((kind, k, None),), type, self.instr.span).id

    def position(self, kind: str, k: int) -> int:
        """Where an input of the body stands among the arguments."""
        return k + {"start": 0, "row": self.held.carried, "held": self.held.carried + len(self.held.rows)}[kind]

    def read(self, k: int) -> bool:
        """Whether a sequence is used for more than being carried on."""
        (sequence,) = self.b.instrs[self.outs[k]].args
        return sum(sequence in i.args for i in self.b.instrs) > 1

    def wanted(self, active: Sequence[int]) -> list[tuple[str, int]]:
        """The inputs that matter, the carried ones first: real ones whose arguments do, and carried values that depend on
        such."""
        args, real = self.instr.args, {key for key, i in self.inputs.items() if self.b.instrs[i].type.dtype == "real"}
        found = {key for key in real if active[args[self.position(*key)]]}
        while True:
            reached = dependent(self.b.instrs, [self.inputs[key] for key in found])
            more = {("start", k) for k in range(self.held.carried) if reached[self.outs[k]]} & (real - found)
            if not more:
                return sorted(found, key=lambda key: (key[0] != "start", *key))
            found |= more


def segments_adjoints(
    chain: Chain, at: int, cotangents: dict[int, int], active: bytearray, vjp: Vjp
) -> Iterable[tuple[int, int]]:
    """(position, cotangent) for the arguments of a node of segments, for the cotangents of its results."""
    b, body = chain.b, Body(chain, at)
    held, instr, inner = body.held, body.instr, body.b
    wanted = body.wanted(active)
    carried = [k for kind, k in wanted if kind == "start"]
    rows, whole = list(instr.args[held.carried :][: len(held.rows)]), list(instr.args[held.carried + len(held.rows) :])
    windows = list(held.rows)
    seeds = [(body.outs[k], body.leaf("carry", n, held.types[k])) for n, k in enumerate(carried)]
    for k, (_, leaf) in zip(carried, seeds, strict=True):
        g = cotangents.get(k)
        if body.read(k) if g is None else g in chain.masked and not ends_full(chain, g):
            body.chain.masked.add(leaf)  # what the last segment starts from has exact zeros
    for k, g in cotangents.items():
        if k >= held.carried:
            window, type = held.outs[k - held.carried], inner.instrs[body.outs[k]].type
            uniform = b.uniform(g)
            if uniform is not None and b.instrs[uniform].op == "const":
                seeds.append((body.outs[k], inner.broadcast(inner.const(b.instrs[uniform].attrs[0]), type.shape)))
                continue
            place = whole if window is None else rows
            leaf = body.leaf("held" if window is None else "row", len(place), type)
            place.append(g)
            windows += [] if window is None else [window]
            body.chain.masked.update({leaf} if g in chain.masked else ())
            seeds.append((body.outs[k], leaf))
    found = vjp(body.chain, total(inner, seeds), [body.inputs[key] for key in wanted])
    made = [(key, found[body.inputs[key]]) for key in wanted]
    made = [(key, g) for key, g in made if key[0] == "start" or g is not None]
    outs = [filled(inner, g, inner.instrs[body.inputs[key]].type) for key, g in made]
    kept = [(key, b.instrs[instr.args[body.position(*key)]].type) for key, _ in made]
    back = Segments(
        held.length,
        tuple("d_" + (held.names[k] if kind == "start" else kind) for (kind, k), _ in kept),
        tuple(type for _, type in kept),
        len(carried),
        held.windows,
        tuple(windows),
        tuple(held.rows[k] if kind == "row" else None for (kind, k), _ in kept[len(carried) :]),
        inner.tape((str(n), i) for n, i in enumerate(outs)),
        backwards=True,
    )
    first = [cotangents[k] if k in cotangents else zeros(b, held.types[k]) for k in carried]
    node = b.add("segments", (*first, *rows, *whole, at), (back,), BUNDLE, instr.span, instr.scope)
    for n, (key, type) in enumerate(kept):
        position = body.position(*key)
        if active[instr.args[position]]:
            item = b.add("item", (node,), (n,), type, instr.span, instr.scope)
            if made[n][1] in body.chain.masked:
                chain.masked.add(item)
            yield position, item


def filled(b: Builder, g: int | None, type: Type) -> int:
    """A cotangent in its own shape; zeros where there is none."""
    return zeros(b, type) if g is None else b.broadcast(g, type.shape)
