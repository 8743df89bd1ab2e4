"""The matrix of all derivatives of a value.

One sweep is made for all rows (reverse mode) or for all columns (forward mode) at once. Where the matrix is a diagonal, a
band or a row of blocks, each diagonal is a formula of its own.
"""

from __future__ import annotations

from gradlang.check.lift import Lift
from gradlang.check.loops import Loop
from gradlang.check.program import Ref
from gradlang.ir.tape import Builder, Instr
from gradlang.transform.chain import Chain
from gradlang.transform.diagonals import diagonals
from gradlang.transform.jvp import jvp
from gradlang.transform.lifting import dependent, replay
from gradlang.transform.structure import band
from gradlang.transform.vjp import vjp
from gradlang.types import INT, Dim, Shape, Type, at_least, product, sub


def jacobian(chain: Chain, y: int, x: int, instr: Instr) -> int | None:
    """d y / d x, of the shape of y and then that of x; None where y does not depend on x."""
    b = chain.b
    offsets = instr.attrs[1] if instr.attrs else band(b.instrs, y, x, b.table)
    if offsets is not None:
        return banded(chain, y, x, offsets, instr)
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


def banded(chain: Chain, y: int, x: int, offsets: tuple[int, ...], instr: Instr) -> int | None:
    """The matrix from its bands; with the setting "bands" of the instruction the bands themselves."""
    b = chain.b
    found = bands(chain, y, x, offsets, instr)
    if found is None:
        return None
    if instr.attrs:
        return found[0] if len(found) == 1 else b.apply("concat", found, (0,), instr.span, instr.scope)
    rows, columns = b.instrs[y].type.shape, b.instrs[x].type.shape
    inner, outer = len(columns) - 1, len(rows) - 1
    i, j = counts(b, rows[0], (1,) * (outer + 1 + inner)), counts(b, columns[0], (1,) * inner)
    made: int | None = None
    for part, offset in zip(found, offsets, strict=True):
        one = b.apply("reshape", (part,), ((*rows, 1, *columns[1:]),))
        here = b.apply("equal", (b.apply("sub", (j, i)), whole(b, offset)))
        made = b.apply("where", (here, one, b.const(0.0) if made is None else made), (), instr.span, instr.scope)
    return made


def bands(chain: Chain, y: int, x: int, offsets: tuple[int, ...], instr: Instr) -> list[int] | None:
    """d y[i] / d x[i + o] for each offset o: an array of one row, then the shape of y, then that of a row of x."""
    b = chain.b
    rows, columns = b.instrs[y].type.shape, b.instrs[x].type.shape
    one = b.leaf("input", (("tangent", x, len(b.instrs)),), b.instrs[x].type, instr.span).id
    (found,) = jvp(chain, [y], {x: one})
    if found is None:
        return None
    axes = tuple(Loop("", d, k) for k, d in enumerate(columns[1:]))
    by_offset = diagonals(b, one, each_row(b, axes, columns, instr), found)
    if by_offset is None:
        return by_colours(chain, one, found, rows, columns, offsets, instr)
    on, n = Lift(b, b.table, axes, instr.span, instr.scope), len(axes)
    parts = []
    for offset in offsets:
        shape = (1, *rows, *columns[1:])
        if offset not in by_offset:
            parts.append(b.broadcast(b.const(0.0), shape, instr.span, instr.scope))
            continue
        band = on.transpose(on.full(by_offset[offset]), (*range(n, n + len(rows)), *range(n)))
        parts.append(b.apply("reshape", (band.id,), (shape,), instr.span, instr.scope))
    return parts


def each_row(b: Builder, axes: tuple[Loop, ...], shape: Shape, instr: Instr) -> Ref:
    """1 in one entry of each row of x, for every entry that a row has."""
    if not axes:
        return b.ref(b.broadcast(b.const(1.0), shape, instr.span))
    inner = shape[1:]
    unit = b.apply("reshape", (identity(b, axes, instr).id,), ((*inner, 1, *inner),))
    return Ref(b.broadcast(unit, (*inner, *shape), instr.span), Type(shape), axes)


def by_colours(
    chain: Chain, leaf: int, found: int, rows: Shape, columns: Shape, offsets: tuple[int, ...], instr: Instr
) -> list[int]:
    """The bands from a few tangents, each with 1 in every so many rows: for a map whose rows cannot be followed."""
    b = chain.b
    width = offsets[-1] - offsets[0] + 1
    axes = (Loop("", width, 0), *(Loop("", d, k + 1) for k, d in enumerate(columns[1:])))
    made = replayed(b, leaf, found, colours(b, axes, columns, instr), axes, instr)
    n = len(columns) - 1  # now: colour, entries of a row of x, shape of y
    made = b.apply("transpose", (made,), ((0, *range(n + 1, n + 1 + len(rows)), *range(1, n + 1)),), instr.span, instr.scope)
    parts = []
    for offset in offsets:
        colour = b.apply("mod", (b.apply("add", (counts(b, rows[0], ()), whole(b, offset))), whole(b, width)))
        index = b.apply("reshape", (colour,), ((1, rows[0], *(1,) * (len(rows) - 1 + n)),))
        shape = (1, *rows, *columns[1:])
        parts.append(b.apply("take_along", (made, b.broadcast(index, shape, instr.span)), (0,), instr.span, instr.scope))
    return parts


def counts(b: Builder, length: Dim, rest: Shape) -> int:
    made = b.leaf("iota", (length,), Type((length,), "int"), (0, 0)).id
    return b.apply("reshape", (made,), ((length, *rest),)) if rest else made


def whole(b: Builder, value: int) -> int:
    return b.leaf("const", (value,), INT, (0, 0)).id


def colours(b: Builder, axes: tuple[Loop, ...], shape: Shape, instr: Instr) -> Ref:
    """Tangents of x: 1 at the rows whose number has a remainder, in one entry of each row."""
    width, inner = axes[0].length, len(shape) - 1
    rest = (1,) * inner
    remainder = b.apply("mod", (counts(b, shape[0], rest), whole(b, width if isinstance(width, int) else 1)))
    colour = counts(b, width, (*rest, 1, *rest))
    mask = b.apply("equal", (colour, remainder))
    for k, loop in enumerate(axes[1:]):
        here = counts(b, loop.length, (*(1,) * (inner - k - 1), 1, *(1,) * inner))
        there = counts(b, loop.length, (1,) * (inner - k - 1))
        mask = b.apply("logical_and", (mask, b.apply("equal", (here, there))))
    made = b.broadcast(b.apply("real", (mask,)), tuple(a.length for a in axes) + shape, instr.span)
    return Ref(made, Type(shape), axes)


def for_each(b: Builder, leaf: int, found: int, shape: Shape, instr: Instr) -> int:
    """What was made for one value of a leaf, for each unit vector in its place: the axes of the leaf come first."""
    axes = tuple(Loop("", d, k) for k, d in enumerate(shape))
    return replayed(b, leaf, found, identity(b, axes, instr), axes, instr)


def replayed(b: Builder, leaf: int, found: int, unit: Ref, axes: tuple[Loop, ...], instr: Instr) -> int:
    known = dependent(b.instrs, [leaf])
    values = {leaf: unit}
    if len(axes) == 1 == b.instrs[leaf].type.rank:
        values.update(by_unit_vectors(b, leaf, known, axes, instr))
    made = replay(b, list(b.instrs), values, [found], known)[found]
    return Lift(b, b.table, axes, instr.span, instr.scope).full(made).id


def by_unit_vectors(b: Builder, leaf: int, known: bytearray, axes: tuple[Loop, ...], instr: Instr) -> dict[int, Ref]:
    """Matrices times a leaf that is every unit vector in turn: their columns, or rows."""
    found: dict[int, Ref] = {}
    for i, at in enumerate(b.instrs[leaf:], leaf):
        if at.op != "matmul" or leaf not in at.args or all(known[a] for a in at.args):
            continue
        first = at.args[0] == leaf
        matrix = at.args[1 if first else 0]
        if b.instrs[matrix].type.rank == 2:
            columns = matrix if first else b.apply("transpose", (matrix,), ((1, 0),), instr.span, instr.scope)
            found[i] = Ref(columns, at.type, axes)
    return found


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
