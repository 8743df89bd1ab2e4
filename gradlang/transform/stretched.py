"""Matrix products of which a factor is the same along an axis.

The tangent of `x - mu` is the same for every row of x: its product with a matrix is made once, and stretched. Where the axis is
summed over, the other factor is summed first, and the product is one of a column and a row.
"""

from __future__ import annotations

from gradlang.ir.tape import Builder, Instr
from gradlang.types import Shape

THROUGH = ("transpose", "neg")


def thin_product(b: Builder, instr: Instr, args: tuple[int, ...]) -> int | None:
    """A product of matrices with less work, if a factor is the same along one of its axes."""
    if instr.op != "matmul" or any(b.instrs[a].type.rank != instr.type.rank for a in args) or instr.type.rank < 2:
        return None
    for k in range(2):
        for inner in (False, True):  # the axis that the result has, and the one that is summed over
            axis = instr.type.rank - (1 if inner != (k == 1) else 2)
            thin = without(b, args[k], axis)
            if thin is None:
                continue
            both = list(args)
            both[k] = thin
            if inner:
                other = instr.type.rank - (2 if k == 0 else 1)
                both[1 - k] = b.apply("sum", (args[1 - k],), ((other,), True), instr.span, instr.scope)
            made = b.apply("matmul", both, (), instr.span, instr.scope)
            return made if inner else b.broadcast(made, instr.type.shape, instr.span, instr.scope)
    return None


def without(b: Builder, x: int, axis: int) -> int | None:
    """A value with one entry along an axis along which it is the same, None if that is not known."""
    chain: list[Instr] = []
    at = b.instrs[x]
    if at.type.shape[axis] == 1:
        return None
    while at.op in THROUGH:
        chain.append(at)
        axis = at.attrs[0][axis] if at.op == "transpose" else axis
        at = b.instrs[at.args[0]]
    if at.op != "broadcast_to":
        return None
    before = b.instrs[at.args[0]].type.shape
    extra = at.type.rank - len(before)
    if axis >= extra and before[axis - extra] != 1:
        return None
    shape: Shape = (*at.type.shape[:axis], 1, *at.type.shape[axis + 1 :])
    made = at.args[0] if before == shape else b.broadcast(at.args[0], shape, at.span, at.scope)
    for instr in reversed(chain):
        made = b.apply(instr.op, (made,), instr.attrs, instr.span, instr.scope)
    return made
