"""Forward mode: the tangent of a value for given tangents of what it depends on.

A pointwise op sums its partials times the tangents; a linear op is applied to the tangents. An op with adjoint rules that
is not linear has no forward rule of its own: its adjoint is linear in the cotangent, and the transpose of that linear map
is the tangent map, so the forward rule is the reverse pass through the adjoint rule.
"""

from __future__ import annotations

from collections.abc import Sequence

from gradlang.ir.tape import Instr
from gradlang.ops.op import Op
from gradlang.transform.chain import Chain
from gradlang.transform.implicit import root_tangent
from gradlang.transform.scan import scan_tangents
from gradlang.transform.variadic import VARIADIC
from gradlang.transform.vjp import active_between, vjp


def jvp(chain: Chain, ys: Sequence[int], tangents: dict[int, int]) -> list[int | None]:
    """The tangents of some values, None where one is an exact zero."""
    b = chain.b
    end = max(ys)
    active = active_between(b.instrs, tangents, end)
    found: dict[int, int | None] = dict(tangents)
    for i in range(end + 1):
        if not active[i] or i in found:
            continue
        instr = b.instrs[i]
        if instr.op == "scan":
            given = {k: t for k, a in enumerate(instr.args) if (t := found.get(a)) is not None}
            found[i] = scan_tangents(chain, i, given, jvp)
        elif instr.op == "root":
            given = {k: t for k, a in enumerate(instr.args) if (t := found.get(a)) is not None}
            found[i] = root_tangent(chain, i, given, jvp)
        elif instr.op == "item":
            bundle = found.get(instr.args[0])
            if bundle is not None:
                made = b.add("item", (bundle,), instr.attrs, instr.type, instr.span, instr.scope)
                found[i] = chain.mask(bundle, made)
        else:
            found[i] = _tangent(chain, b.table[instr.op], instr, i, found)
    return [found.get(y) for y in ys]


def _tangent(chain: Chain, op: Op, instr: Instr, at: int, found: dict[int, int | None]) -> int | None:
    if not op.differentiable:
        return None
    if "variadic" in op.flags:
        return VARIADIC[op.name].tangent(chain, instr, [found.get(a) for a in instr.args])
    if op.partials:
        return _pointwise(chain, op, instr, at, found)
    if "linear" in op.flags:
        return _linear(chain, op, instr, found)
    return _transposed(chain, op, instr, at, found)


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
            total = chain.plus(total, chain.linear(op, instr, k, t), instr.span)
    return total


def _transposed(chain: Chain, op: Op, instr: Instr, at: int, found: dict[int, int | None]) -> int | None:
    b = chain.b
    g = b.leaf("input", (f"cotangent {at}",), instr.type, instr.span).id
    total: int | None = None
    for a, param in zip(instr.args, op.params, strict=True):
        t = found.get(a)
        if t is not None and param in op.adjoints:
            rule = chain.adjoint(op, instr, at, param, g)
            total = chain.plus(total, vjp(chain, {rule: t}, [g])[g], instr.span)
    return total
