"""The three ops that take a list of arrays; a rule per argument cannot be written for a list whose length is open."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from gradlang.ir.tape import Instr
from gradlang.record import record
from gradlang.transform.chain import Chain
from gradlang.types import Dim, add


@record
class Rules:
    adjoints: Callable[[Chain, Instr, int, bytearray], Iterable[tuple[int, int | None]]]
    tangent: Callable[[Chain, Instr, list[int | None]], int | None]


def _concat_adjoints(chain: Chain, instr: Instr, g: int, active: bytearray) -> Iterable[tuple[int, int | None]]:
    b, (axis,) = chain.b, instr.attrs
    at: Dim = 0
    for k, a in enumerate(instr.args):
        shape = b.instrs[a].type.shape
        if active[a]:
            starts = tuple(at if i == axis else 0 for i in range(len(shape)))
            part = b.apply("slice", (g,), (starts, shape, (1,) * len(shape)), instr.span, instr.scope)
            yield k, chain.mask(g, part)
        at = add(at, shape[axis])


def _stack_adjoints(chain: Chain, instr: Instr, g: int, active: bytearray) -> Iterable[tuple[int, int | None]]:
    b, (axis,) = chain.b, instr.attrs
    shape = instr.type.shape
    for k, a in enumerate(instr.args):
        if active[a]:
            starts = tuple(k if i == axis else 0 for i in range(len(shape)))
            lengths = tuple(1 if i == axis else d for i, d in enumerate(shape))
            part = b.apply("slice", (g,), (starts, lengths, (1,) * len(shape)), instr.span, instr.scope)
            yield k, chain.mask(g, b.apply("reshape", (part,), (b.instrs[a].type.shape,), instr.span, instr.scope))


def _joined_tangent(chain: Chain, instr: Instr, tangents: list[int | None]) -> int | None:
    b = chain.b
    parts = [
        b.broadcast(b.const(0.0), b.instrs[a].type.shape, instr.span) if t is None else t
        for a, t in zip(instr.args, tangents, strict=True)
    ]
    made = b.apply(instr.op, parts, instr.attrs, instr.span, instr.scope)
    if all(t is None or t in chain.masked for t in tangents):
        chain.masked.add(made)
    return made


def _einsum_adjoints(chain: Chain, instr: Instr, g: int, active: bytearray) -> Iterable[tuple[int, int | None]]:
    """The cotangent takes the argument's place and the argument's letters become the result; letters that stood in no
    other argument are summed over in the value, so the cotangent is repeated along them; a letter that an argument
    names twice (a diagonal) is put back on it."""
    b, (spec,) = chain.b, instr.attrs
    left, _, right = spec.partition("->")
    parts = left.split(",")
    for k, a in enumerate(instr.args):
        if not active[a]:
            continue
        others = [p for i, p in enumerate(parts) if i != k]
        args = [c for i, c in enumerate(instr.args) if i != k]
        sizes = dict(zip(parts[k], b.instrs[a].type.shape, strict=True))
        letters = "".join(dict.fromkeys(parts[k]))
        known = set(right).union(*others) if others else set(right)
        reached = "".join(c for c in letters if c in known)
        name = "zeinsum" if g in chain.masked else "einsum"
        if instr.op == "zeinsum" and k:  # the exact zeros of the first array stay in front
            args, others = [args[0], g, *args[1:]], [others[0], right, *others[1:]]
            spec_of = ",".join(others)
            name = "zeinsum"
        else:
            args, spec_of = [g, *args], ",".join([right, *others])
        part = b.apply(name, args, (spec_of + "->" + reached,), instr.span, instr.scope)
        if reached != letters:
            thin = tuple(sizes[c] if c in reached else 1 for c in letters)
            part = b.apply("reshape", (part,), (thin,), instr.span, instr.scope)
            part = b.broadcast(part, tuple(sizes[c] for c in letters), instr.span, instr.scope)
        if letters != parts[k]:
            part = _on_diagonal(chain, part, letters, parts[k], instr)
        if name == "zeinsum":
            chain.masked.add(part)
        yield k, part


def _on_diagonal(chain: Chain, part: int, letters: str, wanted: str, instr: Instr) -> int:
    b = chain.b
    sizes = dict(zip(letters, b.instrs[part].type.shape, strict=True))
    fresh = {c: c for c in letters}
    spare = iter(c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in wanted)
    factors, specs, out = [part], [letters], ""
    for c in wanted:
        if c in out:
            fresh[c] = next(spare)
            grid = b.apply("iota", (), (sizes[c],))
            rows = b.apply("reshape", (grid,), ((sizes[c], 1),))
            factors.append(b.apply("real", (b.apply("equal", (rows, grid)),)))
            specs.append(c + fresh[c])
            out += fresh[c]
        else:
            out += c
    return b.apply("einsum", factors, (",".join(specs) + "->" + out,), instr.span, instr.scope)


def _einsum_tangent(chain: Chain, instr: Instr, tangents: list[int | None]) -> int | None:
    b, (spec,) = chain.b, instr.attrs
    left, _, right = spec.partition("->")
    parts = left.split(",")
    total: int | None = None
    for k, t in enumerate(tangents):
        if t is None:
            continue
        if chain.chosen(t) and not (instr.op == "zeinsum" and k):  # exact zeros stand in front
            args, letters = [t, *instr.args[:k], *instr.args[k + 1 :]], [parts[k], *parts[:k], *parts[k + 1 :]]
            made = b.apply("zeinsum", args, (",".join(letters) + "->" + right,), instr.span, instr.scope)
        else:
            args = [*instr.args[:k], t, *instr.args[k + 1 :]]
            made = b.apply(instr.op, args, instr.attrs, instr.span, instr.scope)
        if b.instrs[made].op == "zeinsum":
            chain.masked.add(made)
        total = chain.plus(total, made, instr.span)
    return total


VARIADIC = {
    "concat": Rules(_concat_adjoints, _joined_tangent),
    "stack": Rules(_stack_adjoints, _joined_tangent),
    "einsum": Rules(_einsum_adjoints, _einsum_tangent),
    "zeinsum": Rules(_einsum_adjoints, _einsum_tangent),
}
