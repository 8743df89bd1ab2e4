"""Removes the derivative operators of a tape, innermost first.

`grad(y, x)`, `vjp(y, u, x)` and `jvp(y, x1, t1, x2, t2, ...)` are instructions until this pass writes what they mean.
Operators on the same value share one sweep.
"""

from __future__ import annotations

from typing import Any

from gradlang.ir.rebuild import copy, dce
from gradlang.ir.tape import DERIVATIVES, Builder, Tape
from gradlang.ops.table import OpTable
from gradlang.transform.chain import Chain
from gradlang.transform.jvp import jvp
from gradlang.transform.partials import Templates
from gradlang.transform.vjp import vjp


def differentiate(tape: Tape, table: OpTable, templates: Templates) -> Tape:
    b = Builder(table)
    chain = Chain(b, templates)
    made: list[int] = []
    sweeps = _sweeps(tape)
    done: dict[Any, dict[int, int | None]] = {}
    for instr in tape.instrs:
        args = tuple([made[a] for a in instr.args])
        if instr.op not in DERIVATIVES:
            made.append(copy(b, instr, args))
            continue
        if instr.op == "jvp":
            pairs = dict(zip(args[1::2], args[2::2], strict=True))
            (found,) = jvp(chain, args[:1], pairs)
        else:
            key = (instr.op, instr.args[:-1])
            if key not in done:
                wrt = list(dict.fromkeys(made[x] for x in sweeps[key] if x < len(made)))
                seed = b.broadcast(b.const(1.0), b.instrs[args[0]].type.shape, instr.span) if instr.op == "grad" else args[1]
                done[key] = vjp(chain, {args[0]: seed}, wrt)
            found = done[key][args[-1]]
        if found is None:
            found = b.broadcast(b.const(0.0), instr.type.shape, instr.span)
        elif b.instrs[found].type.shape != instr.type.shape:
            found = b.broadcast(found, instr.type.shape, instr.span)
        if instr.name is not None and b.instrs[found].name is None and b.instrs[found].op not in ("const", "size", "input"):
            b.instrs[found].name = instr.name
        made.append(found)
    return dce(b.tape((n, made[i]) for n, i in tape.outputs))


def _sweeps(tape: Tape) -> dict[Any, list[int]]:
    """For every value that is differentiated (with its cotangent): all that it is differentiated by."""
    out: dict[Any, list[int]] = {}
    for instr in tape.instrs:
        if instr.op in ("grad", "vjp"):
            out.setdefault((instr.op, instr.args[:-1]), []).append(instr.args[-1])
    return out
