"""Removes the derivative operators of a tape, innermost first.

`grad(y, x)`, `vjp(y, u, x)`, `jvp(y, x1, t1, x2, t2, ...)` and `jacobian(y, x)` are instructions until this pass writes what
they mean. Operators on the same value share one sweep. A cotangent (or tangent) with more axes than its value is several of
them: one sweep is made, and what depends on the cotangent is written for all of them at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradlang.ir.rebuild import copy, dce
from gradlang.ir.tape import DERIVATIVES, Builder, Instr, Tape, has_bodies
from gradlang.ops.table import OpTable
from gradlang.transform.chain import Chain
from gradlang.transform.partials import Templates
from gradlang.transform.vjp import vjp


def differentiate(tape: Tape, table: OpTable, templates: Templates, keep: bool = False) -> Tape:
    """With `keep` recurrences keep what their adjoints need of each step, instead of computing it again."""
    b = Builder(table)
    chain = Chain(b, templates, keep and kept(tape))
    made: list[int] = []
    sweeps = _sweeps(tape)
    done: dict[Any, dict[int, int | None]] = {}
    for instr in tape.instrs:
        args = tuple([made[a] for a in instr.args])
        if instr.op not in DERIVATIVES:
            made.append(copy(b, instr, args))
            continue
        found: int | None
        if instr.op == "jvp":
            known = done.setdefault((instr.op, instr.args[1:]), {})
            if args[0] not in known:
                ys = (made[y] for y in sweeps[instr.op, instr.args[1:]] if y < len(made))
                known |= tangents(chain, [y for y in dict.fromkeys(ys) if y not in known], args[1:], instr)
            found = known[args[0]]
        elif instr.op == "jacobian":
            from gradlang.transform.jacobian import jacobian

            found = jacobian(chain, args[0], args[1], instr)
        elif instr.op == "vjp" and b.instrs[args[1]].type.rank > b.instrs[args[0]].type.rank:
            found = cotangents(chain, args[0], args[1], args[2], instr)
        else:
            key = (instr.op, instr.args[:-1])
            if key not in done:
                wrt = list(dict.fromkeys(made[x] for x in sweeps[key] if x < len(made)))
                seed = b.broadcast(b.const(1.0), b.instrs[args[0]].type.shape, instr.span) if instr.op == "grad" else args[1]
                done[key] = vjp(chain, {args[0]: seed}, wrt)
            found = done[key][args[-1]]
        made.append(settled(b, found, instr))
    out = b.tape((n, made[i]) for n, i in tape.outputs)
    if chain.longer:
        from gradlang.transform.keep import merged
        from gradlang.transform.scan import zeros

        out = merged(out, table, chain.longer, zeros)
    return dce(out, own=True)


def kept(tape: Tape) -> bool:
    """Whether there are recurrences, and no derivative is taken of another one."""
    if not has_bodies(tape):
        return False
    from gradlang.transform.keep import at_once

    return at_once(tape)


def settled(b: Builder, found: int | None, instr: Instr) -> int:
    """The value of an operator in its own shape; an exact zero where there is none."""
    if found is None:
        found = b.broadcast(b.const(0.0), instr.type.shape, instr.span)
    elif b.instrs[found].type.shape != instr.type.shape:
        found = b.broadcast(found, instr.type.shape, instr.span)
    if instr.name is not None and b.instrs[found].name is None and b.instrs[found].op not in ("const", "size", "input"):
        b.instrs[found].name = instr.name
    return found


def cotangents(chain: Chain, y: int, u: int, x: int, instr: Instr) -> int | None:
    """The cotangents of x for several of y, which are rows of u."""
    from gradlang.transform.lifting import for_all

    b = chain.b
    one = b.leaf("input", (("cotangent", len(b.instrs)),), b.instrs[y].type, instr.span).id
    found = vjp(chain, {y: one}, [x])[x]
    return None if found is None else for_all(b, {one: u}, found, instr)


def tangents(chain: Chain, ys: Sequence[int], args: tuple[int, ...], instr: Instr) -> dict[int, int | None]:
    """The tangents of some values, for the same tangents of what they depend on."""
    from gradlang.transform.jvp import jvp
    from gradlang.transform.lifting import for_all

    b = chain.b
    pairs = dict(zip(args[::2], args[1::2], strict=True))
    many = {x: t for x, t in pairs.items() if b.instrs[t].type.rank > b.instrs[x].type.rank}
    ones = {x: b.leaf("input", (("tangent", x, len(b.instrs)),), b.instrs[x].type, instr.span).id for x in many}
    found = dict(zip(ys, jvp(chain, ys, {**pairs, **ones}), strict=True))
    given = {ones[x]: t for x, t in many.items()}
    return {y: t if t is None or not many else for_all(b, given, t, instr) for y, t in found.items()}


def _sweeps(tape: Tape) -> dict[Any, list[int]]:
    """For every value that is differentiated (with its cotangent): all that it is differentiated by; and for tangents that flow
    in: all that they are followed to."""
    out: dict[Any, list[int]] = {}
    for instr in tape.instrs:
        if instr.op in ("grad", "vjp"):
            out.setdefault((instr.op, instr.args[:-1]), []).append(instr.args[-1])
        elif instr.op == "jvp":
            out.setdefault((instr.op, instr.args[1:]), []).append(instr.args[0])
    return out
