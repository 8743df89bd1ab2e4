"""The matrix of all derivatives of a value: one sweep for all rows (reverse mode) or all columns (forward mode) at once."""

from __future__ import annotations

from gradlang.check.lift import Lift
from gradlang.check.loops import Loop
from gradlang.check.program import Ref
from gradlang.ir.tape import Builder, Instr
from gradlang.transform.chain import Chain
from gradlang.transform.jvp import jvp
from gradlang.transform.lifting import dependent, replay
from gradlang.transform.vjp import vjp
from gradlang.types import Shape, Type, at_least, product, sub


def jacobian(chain: Chain, y: int, x: int, instr: Instr) -> int | None:
    """d y / d x, of the shape of y and then that of x; None where y does not depend on x."""
    b = chain.b
    rows, columns = b.instrs[y].type, b.instrs[x].type
    few = sub(product(rows.shape), product(columns.shape))
    if few != 0 and at_least(few, 0):  # forward mode: there are fewer columns than rows
        one = b.leaf("input", (("tangent", x, len(b.instrs)),), columns, instr.span).id
        (found,) = jvp(chain, [y], {x: one})
        if found is None:
            return None
        made = for_each(b, one, found, columns.shape, instr)
        n, m = columns.rank, rows.rank
        return b.apply("transpose", (made,), ((*range(n, n + m), *range(n)),), instr.span, instr.scope)
    one = b.leaf("input", (("cotangent", len(b.instrs)),), rows, instr.span).id
    found = vjp(chain, {y: one}, [x])[x]
    return None if found is None else for_each(b, one, found, rows.shape, instr)


def for_each(b: Builder, leaf: int, found: int, shape: Shape, instr: Instr) -> int:
    """What was made for one value of a leaf, for each unit vector in its place: the axes of the leaf come first."""
    axes = tuple(Loop("", d, k) for k, d in enumerate(shape))
    unit = identity(b, axes, instr)
    known = dependent(b.instrs, [leaf])
    values = {i: b.ref(i) for i in range(len(b.instrs)) if not known[i]}
    values[leaf] = unit
    made = replay(b, list(b.instrs), values, [found])[found]
    return Lift(b, b.table, axes, instr.span, instr.scope).full(made).id


def identity(b: Builder, axes: tuple[Loop, ...], instr: Instr) -> Ref:
    """1 at the place that the counts of some loops name, one loop for each axis, and 0 elsewhere."""
    shape = tuple(loop.length for loop in axes)
    mask: int | None = None
    for k, loop in enumerate(axes):
        counts = b.leaf("iota", (loop.length,), Type((loop.length,), "int"), instr.span).id
        rest = (1,) * (len(axes) - k - 1)
        here = b.apply("reshape", (counts,), ((loop.length, *(1,) * (len(axes) - k - 1), *(1,) * len(axes)),))
        there = b.apply("reshape", (counts,), ((loop.length, *rest),))
        same = b.apply("equal", (here, there))
        mask = same if mask is None else b.apply("logical_and", (mask, same))
    made = b.const(1.0) if mask is None else b.apply("real", (mask,))
    made = b.broadcast(made, shape + shape, instr.span)
    return Ref(made, Type(shape), axes)
