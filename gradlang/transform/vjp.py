"""Reverse mode: the adjoints of values, one sweep from a result back to what it depends on.

Baydin et al., "Automatic differentiation in machine learning: a survey", JMLR 18 (2018), section 3.2.
"""

from __future__ import annotations

from collections.abc import Iterable

from gradlang.ir.tape import Instr
from gradlang.ops.op import Op
from gradlang.transform.chain import Chain
from gradlang.transform.numbers import Numbers
from gradlang.types import SCALAR


def active_between(instrs: list[Instr], sources: Iterable[int], end: int) -> bytearray:
    """Which instructions up to `end` depend on a source through real values."""
    active = bytearray(end + 1)
    start = end + 1
    for s in sources:
        if s <= end:
            active[s] = 1
            start = min(start, s)
    for i in range(start, end + 1):
        instr = instrs[i]
        if instr.type is SCALAR or instr.type.dtype in ("real", "bundle"):
            for a in instr.args:
                if active[a]:
                    active[i] = 1
                    break
    return active


def vjp(chain: Chain, seeds: dict[int, int], wrt: list[int]) -> dict[int, int | None]:
    """The adjoint of each of `wrt` for the cotangents `seeds` of some values; None where these do not depend on it."""
    b = chain.b
    end = max(seeds)
    active = active_between(b.instrs, wrt, end)
    adjoints = {y: seed for y, seed in seeds.items() if active[y]}
    sequences: dict[int, dict[int, int]] = {}
    numbers = Numbers(chain, active, adjoints)
    for i in range(end, -1, -1):
        if not active[i]:
            continue
        instr = b.instrs[i]
        if instr.op in ("scan", "segments"):
            if i in sequences:  # others were left behind by the sweep of an inner derivative
                for position, contribution in loop_adjoints(chain, i, sequences[i], active):
                    accumulate(chain, adjoints, instr.args[position], contribution)
            continue
        g = adjoints.get(i)
        if g is None:
            continue
        if instr.op == "item":
            sequences.setdefault(instr.args[0], {})[instr.attrs[0]] = g
            continue
        if instr.op == "root":
            from gradlang.transform.implicit import root_adjoints

            for position, part in root_adjoints(chain, i, g, active, vjp):
                accumulate(chain, adjoints, instr.args[position], part)
            continue
        op = b.table[instr.op] if instr.args else None
        if op is None or not op.differentiable or numbers.add(op, instr, i, g):
            continue
        for position, part in contributions(chain, op, instr, i, g, active):
            accumulate(chain, adjoints, instr.args[position], part)
    return {w: adjoints.get(w) for w in wrt}


def loop_adjoints(chain: Chain, i: int, given: dict[int, int], active: bytearray) -> Iterable[tuple[int, int | None]]:
    """What the arguments of a recurrence get, for cotangents of its sequences."""
    from gradlang.transform.scan import scan_adjoints
    from gradlang.transform.segments import segments_adjoints

    rule = scan_adjoints if chain.b.instrs[i].op == "scan" else segments_adjoints
    return rule(chain, i, given, active, vjp)


def accumulate(chain: Chain, adjoints: dict[int, int], at: int, contribution: int | None) -> None:
    made = chain.plus(adjoints.get(at), contribution, chain.b.instrs[at].span)
    if made is not None:
        adjoints[at] = made


def contributions(chain: Chain, op: Op, instr: Instr, at: int, g: int, active: bytearray) -> Iterable[tuple[int, int | None]]:
    """(position, contribution) for every argument that matters."""
    if "variadic" in op.flags:
        from gradlang.transform.variadic import VARIADIC

        yield from VARIADIC[op.name].adjoints(chain, instr, g, active)
        return
    if op.name == "div" and op.name not in chain.b.table.own and all(active[a] for a in instr.args):
        yield from quotient(chain, op, instr, at, g)
        return
    for position, param in enumerate(op.params):
        a = instr.args[position]
        if not active[a]:
            continue
        if param in op.partials:
            yield position, chain.contribution(op, instr, at, param, g)
        elif param in op.adjoints:
            yield position, chain.adjoint(op, instr, at, param, g)


def quotient(chain: Chain, op: Op, instr: Instr, at: int, g: int) -> Iterable[tuple[int, int | None]]:
    """What both arguments of y = a / b get: g / b and -(g / b) y, so that one division serves both."""
    share = chain.contribution(op, instr, at, op.params[0], g)
    yield 0, share
    part = None if share is None else chain.scale(share, at, instr.span, instr.scope)
    yield 1, None if part is None else chain.mask(part, chain.make("neg", (part,), part, instr.span, instr.scope))
