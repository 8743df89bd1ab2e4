"""Forward mode: the tangent of a value for given tangents of what it depends on.

A pointwise op sums its partials times the tangents; a linear op is applied to the tangents. An op with adjoint rules that
is not linear has no forward rule of its own: its adjoint is linear in the cotangent, and the transpose of that linear map
is the tangent map, so the forward rule is the reverse pass through the adjoint rule.
"""

from __future__ import annotations

from gradlang.ir.tape import Instr
from gradlang.ops.op import Op
from gradlang.transform.chain import Chain
from gradlang.transform.variadic import VARIADIC
from gradlang.transform.vjp import active_between, vjp


def jvp(chain: Chain, y: int, tangents: dict[int, int]) -> int | None:
    """The tangent of y, or None where it is an exact zero."""
    b = chain.b
    active = active_between(b.instrs, tangents, y)
    found: dict[int, int | None] = dict(tangents)
    for i in range(y + 1):
        if not active[i] or i in found:
            continue
        instr = b.instrs[i]
        op = b.table[instr.op]
        if not op.differentiable:
            found[i] = None
        elif "variadic" in op.flags:
            found[i] = VARIADIC[op.name].tangent(chain, instr, [found.get(a) for a in instr.args])
        elif op.partials:
            found[i] = _pointwise(chain, op, instr, i, found)
        elif "linear" in op.flags:
            found[i] = _linear(chain, op, instr, found)
        else:
            found[i] = _transposed(chain, op, instr, i, found)
    return found.get(y)


def _pointwise(chain: Chain, op: Op, instr: Instr, at: int, found: dict[int, int | None]) -> int | None:
    total: int | None = None
    for a, param in zip(instr.args, op.params, strict=True):
        t = found.get(a)
        if t is not None and param in op.partials:
            part = chain.contribution(op, instr, at, param, t)
            total = chain.plus(total, part, instr.span)
    return total


def _linear(chain: Chain, op: Op, instr: Instr, found: dict[int, int | None]) -> int | None:
    total: int | None = None
    for k, (a, param) in enumerate(zip(instr.args, op.params, strict=True)):
        t = found.get(a)
        if t is not None and param in op.adjoints:
            args = [*instr.args[:k], t, *instr.args[k + 1 :]]
            made = chain.b.apply(op.name, args, instr.attrs, instr.span, instr.scope)
            if chain.leaves_holes(chain.b.instrs[made]):
                chain.masked.add(made)
            elif "moves" in op.flags:
                chain.mask(t, made)
            total = chain.plus(total, made, instr.span)
    return total


def _transposed(chain: Chain, op: Op, instr: Instr, at: int, found: dict[int, int | None]) -> int | None:
    b = chain.b
    g = b.leaf("input", (f"cotangent {at}",), instr.type, instr.span).id
    total: int | None = None
    for a, param in zip(instr.args, op.params, strict=True):
        t = found.get(a)
        if t is not None and param in op.adjoints:
            rule = chain.adjoint(op, instr, at, param, g)
            total = chain.plus(total, vjp(chain, rule, t, [g])[g], instr.span)
    return total
