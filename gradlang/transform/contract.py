"""Sums of products of arrays, none of which has all the axes, become matrix products.

Written out, the product would have every axis of its factors before any of them is summed: the sum over k of A[i, k]*B[k, j]
would take the memory of i*j*k numbers, and so would the gradient of a weight that a recurrence uses at every step.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gradlang.ir.rebuild import rebuild
from gradlang.ir.tape import Builder, Instr, Tape
from gradlang.ops.table import OpTable
from gradlang.record import record
from gradlang.transform.stretched import thin_product
from gradlang.types import INT, Dim, Shape, Size, product

SPLIT = ("mul", "neg", "add", "sub")
ENTERED = (*SPLIT, "transpose", "matmul")
TERMS = 16  # of a sum that is multiplied out, at most
FACTORS = 8
MOST = 64  # values that are looked at


@record
class Factor:
    """An array whose axes are some axes of the product, in the order of `axes`."""

    at: int
    axes: tuple[int, ...]


def contract(tape: Tape, table: OpTable) -> Tape:
    sums = [i for i in tape.instrs if i.op in ("sum", "sum_to")]
    if not any(tape.instrs[i.args[0]].op in ENTERED for i in sums) and not any(i.op == "matmul" for i in tape.instrs):
        return tape
    changed = False

    def replace(b: Builder, instr: Instr, args: tuple[int, ...]) -> int | None:
        nonlocal changed
        if instr.op == "matmul":
            made = thin_product(b, instr, args)
        elif instr.op in ("sum", "sum_to"):
            made = contracted(b, instr, args[0])
        else:
            return None
        changed = changed or made is not None
        return made

    out = rebuild(tape, table, replace)
    return out if changed else tape


def contracted(b: Builder, instr: Instr, x: int) -> int | None:
    """The sum as a product of matrices, or as a sum of such products, where that saves memory."""
    shape = b.instrs[x].type.shape
    found = monomials(b, x)
    if found is None or not all(m.smaller(b, instr, shape) for m in found):
        return None
    added: int | None = None
    for m in found:
        made = product_of(b, instr, shape, m)
        if made is None:
            return None
        if added is None:
            added = b.apply("neg", (made,), (), instr.span, instr.scope) if m.negative else made
        else:
            added = b.apply("sub" if m.negative else "add", (added, made), (), instr.span, instr.scope)
    return added


def product_of(b: Builder, instr: Instr, shape: Shape, m: Monomial) -> int | None:
    """The sum of one product of arrays."""
    scalars = list(m.scalars)
    arrays: list[Factor] = []
    for i, axes in m.arrays:
        made = thin(b, i, axes, shape)
        if isinstance(made, Factor):
            arrays.append(made)
        else:
            scalars.append(made)
    if len(arrays) == 1 and not scalars and m.covers(shape):
        return summed_before(b, instr, arrays[0], shape)
    long = {a for a, d in enumerate(shape) if d != 1}
    covered = {a for f in arrays for a in f.axes}
    kept = [a for a in kept_axes(instr, shape) if a in long]
    out = [a for a in kept if a in covered]
    value = pairwise(b, arrays, out, shape, instr) if arrays else b.const(1.0)
    scalars += [count(b, shape[a], instr) for a in sorted(long - covered - set(kept))]
    for s in scalars:
        value = b.apply("mul", (value, s), (), instr.span, instr.scope)
    if out != kept:
        value = reshaped(b, value, tuple(shape[a] if a in out else 1 for a in kept), instr)
        value = b.broadcast(value, tuple(shape[a] for a in kept), instr.span, instr.scope)
    return reshaped(b, value, instr.type.shape, instr)


def count(b: Builder, dim: Dim, instr: Instr) -> int:
    """The length of an axis that no factor has: so often is the product summed."""
    return b.real(b.leaf("size" if isinstance(dim, Size) else "const", (dim,), INT, instr.span).id)


def summed_before(b: Builder, instr: Instr, f: Factor, shape: Shape) -> int | None:
    """The sum over the rows or columns of a matrix product: the factor that has them is summed, and then multiplied."""
    at = b.instrs[f.at]
    gone = [k for k, a in enumerate(f.axes) if a not in kept_axes(instr, shape)]
    if at.op != "matmul" or len(gone) != 1 or len(f.axes) < 2 or any(b.instrs[a].type.rank != at.type.rank for a in at.args):
        return None
    (axis,), rank = gone, at.type.rank
    if axis < rank - 2:
        return None
    side = axis - (rank - 2)
    args = list(at.args)
    args[side] = b.apply("sum", (args[side],), ((axis,), True), instr.span, instr.scope)
    made = b.apply("matmul", args, (), instr.span, instr.scope)
    rest = [k for k in range(rank) if k != axis]
    made = reshaped(b, made, tuple(at.type.shape[k] for k in rest), instr)
    made = turned(b, made, sorted(range(len(rest)), key=lambda k: f.axes[rest[k]]), instr)
    return reshaped(b, made, instr.type.shape, instr)


def kept_axes(instr: Instr, shape: Shape) -> list[int]:
    """The axes of a product that its sum keeps."""
    if instr.op == "sum":
        return [a for a in range(len(shape)) if a not in instr.attrs[0]]
    target = instr.type.shape
    extra = len(shape) - len(target)
    return [a for a in range(extra, len(shape)) if target[a - extra] == shape[a]]


Place = tuple[int | None, ...]  # the axes of a product that the axes of an array are; None for axes of length 1


@record(frozen=False)
class Monomial:
    """A product: arrays with their places in it, and scalars."""

    arrays: list[tuple[int, Place]]
    scalars: list[int]
    negative: bool
    waiting: list[tuple[int, Place]]

    def covers(self, shape: Shape) -> bool:
        """Whether the arrays have all the axes together."""
        return set(lengthy(shape)) <= {a for _, axes in self.arrays for a in axes}

    def smaller(self, b: Builder, instr: Instr, shape: Shape) -> bool:
        """Whether none of the arrays has all the axes, so that the product need not be made."""
        long = set(lengthy(shape))
        if len(self.arrays) == 1 and not self.scalars and self.covers(shape):
            return True  # perhaps it is a product of matrices
        return not any(long <= set(axes) for _, axes in self.arrays) and bool(long - set(kept_axes(instr, shape)))


def lengthy(shape: Shape) -> list[int]:
    return [a for a, d in enumerate(shape) if d != 1]


def monomials(b: Builder, x: int) -> list[Monomial] | None:
    """What is added up in a sum of products, multiplied out where a sum has all the axes; None if that is too much."""
    shape = b.instrs[x].type.shape
    whole = tuple(a if d != 1 else None for a, d in enumerate(shape))
    long = set(lengthy(shape))
    out: list[Monomial] = []
    stack = [Monomial([], [], False, [(x, whole)])]
    while stack:
        m = stack.pop()
        while m.waiting:
            i, axes = m.waiting.pop()
            at = b.instrs[i]
            if at.type.dtype != "real":
                return None
            if not at.type.shape:
                m.scalars.append(i)
            elif (moved := through(b, i, axes)) is not None:
                m.waiting.append(moved)
            elif at.op == "neg":
                m.negative = not m.negative
                m.waiting.append((at.args[0], axes))
            elif (at.op == "mul" and long <= set(axes)) or outer(b, i):
                m.waiting += [(a, axes) for a in reversed(at.args)]
            elif at.op in ("add", "sub") and of_products(b, i):
                negative, waiting = m.negative != (at.op == "sub"), [*m.waiting, (at.args[1], axes)]
                stack.append(Monomial(list(m.arrays), list(m.scalars), negative, waiting))
                m.waiting.append((at.args[0], axes))
            else:
                m.arrays.append((i, axes))
            if len(m.arrays) > FACTORS or len(out) + len(stack) >= TERMS:
                return None
        out.append(m)
    return out


def of_products(b: Builder, x: int) -> bool:
    """Whether all that is added up in a sum are products of arrays; those that have all its axes are such sums, too.

    No other sum is multiplied out. Products are rounded before they are subtracted, in whatever way that is done, but the
    difference of two entries that are close is exact: in `(x[i] - z[j])**2` all digits count, and those of `x[i]**2` and
    `2*x[i]*z[j]` may cancel."""
    long = set(lengthy(b.instrs[x].type.shape))
    stack: list[tuple[int, Place, bool]] = [(x, tuple(range(b.instrs[x].type.rank)), False)]  # True for factors
    for _ in range(MOST):
        if not stack:
            return True
        i, axes, factor = stack.pop()
        while (moved := through(b, i, axes)) is not None:
            i, axes = moved
        at = b.instrs[i]
        if factor and not long <= set(axes):
            continue
        if at.op in ("add", "sub", "neg"):
            stack += [(a, axes, factor) for a in at.args]
        elif at.op == "mul":
            arrays = [a for a in at.args if b.instrs[a].type.shape]
            stack += [(a, axes, factor or len(arrays) > 1) for a in arrays]
        elif at.op != "matmul":
            return False
    return False


def outer(b: Builder, i: int) -> bool:
    """Whether a value is a product none of whose factors has all its axes."""
    if b.instrs[i].op != "mul":
        return False
    long = set(lengthy(b.instrs[i].type.shape))
    for a in b.instrs[i].args:
        place: Place = tuple(range(b.instrs[i].type.rank))
        while (moved := through(b, a, place)) is not None:
            a, place = moved
        if long <= set(place):
            return False
    return True


def through(b: Builder, i: int, axes: Place) -> tuple[int, Place] | None:
    """What an array was before it was stretched, turned, or given axes of length 1, and its place."""
    at = b.instrs[i]
    if at.op == "broadcast_to":
        before = b.instrs[at.args[0]].type.shape
        axes = axes[len(axes) - len(before) :]
        return at.args[0], tuple(None if d == 1 else a for a, d in zip(axes, before, strict=True))
    if at.op == "transpose":
        back = [0] * len(axes)
        for k, a in enumerate(at.attrs[0]):
            back[a] = k
        return at.args[0], tuple(axes[k] for k in back)
    if at.op == "reshape":
        before, after = b.instrs[at.args[0]].type.shape, at.type.shape
        if [d for d in before if d != 1] != [d for d in after if d != 1]:
            return None
        rest = iter([a for a, d in zip(axes, after, strict=True) if d != 1])
        return at.args[0], tuple(None if d == 1 else next(rest) for d in before)
    return None


def thin(b: Builder, i: int, axes: Place, shape: Shape) -> Factor | int:
    """A factor without axes of length 1, or a scalar."""
    found = tuple(a for a in axes if a is not None and shape[a] != 1)
    made = b.apply("reshape", (i,), (tuple(shape[a] for a in found),)) if len(found) != len(axes) else i
    return Factor(made, found) if found else made


def reshaped(b: Builder, x: int, shape: Shape, instr: Instr) -> int:
    return x if b.instrs[x].type.shape == shape else b.apply("reshape", (x,), (shape,), instr.span, instr.scope)


def two(b: Builder, left: Factor, right: Factor, out: list[int], shape: Shape, instr: Instr) -> int:
    """A sum of products of two arrays as one matrix product, over the axes that both have and the result keeps; entry by entry
    where there is nothing to multiply a row with."""
    left, right = alone(b, left, right, out, instr), alone(b, right, left, out, instr)
    if next((a for a in out if a not in left.axes or a not in right.axes), None) in right.axes:
        left, right = right, left  # the rows of the result come first
    both = [a for a in left.axes if a in right.axes]
    batch = [a for a in both if a in out]
    summed = [a for a in both if a not in out]
    rows = [a for a in left.axes if a not in both]
    columns = [a for a in right.axes if a not in both]

    def arranged(f: Factor, *groups: list[int]) -> int:
        x = turned(b, f.at, [f.axes.index(a) for group in groups for a in group], instr)
        dims = (*(shape[a] for a in groups[0]), *(product(shape[a] for a in group) for group in groups[1:]))
        return reshaped(b, x, dims, instr)

    if not summed or (batch and not rows and not columns):  # matrices of single rows or columns
        whole = tuple(shape[a] for a in (*out, *summed))
        x, y = (
            b.broadcast(stretched(b, f, [*out, *summed], shape, instr), whole, instr.span, instr.scope) for f in (left, right)
        )
        made = b.apply("mul", (x, y), (), instr.span, instr.scope)
        return total(b, made, range(len(out), len(whole)), instr)
    x, y = arranged(left, batch, rows, summed), arranged(right, batch, summed, columns)
    made = b.apply("matmul", (x, y), (), instr.span, instr.scope)
    order = [*batch, *rows, *columns]
    made = reshaped(b, made, tuple(shape[k] for k in order), instr)
    return turned(b, made, [order.index(k) for k in out], instr)


def stretched(b: Builder, f: Factor, axes: Sequence[int], shape: Shape, instr: Instr) -> int:
    """A factor with its axes in another order, and those that it does not have in length 1."""
    made = turned(b, f.at, [f.axes.index(a) for a in axes if a in f.axes], instr)
    return reshaped(b, made, tuple(shape[a] if a in f.axes else 1 for a in axes), instr)


def turned(b: Builder, x: int, order: Sequence[int], instr: Instr) -> int:
    there = list(order) == list(range(len(order)))
    return x if there else b.apply("transpose", (x,), (tuple(order),), instr.span, instr.scope)


def total(b: Builder, x: int, axes: Iterable[int], instr: Instr) -> int:
    gone = tuple(axes)
    return b.apply("sum", (x,), (gone, False), instr.span, instr.scope) if gone else x


def alone(b: Builder, f: Factor, other: Factor, out: list[int], instr: Instr) -> Factor:
    """A factor without the axes that only it has and the sum goes over."""
    own = [k for k, a in enumerate(f.axes) if a not in other.axes and a not in out]
    return Factor(total(b, f.at, own, instr), tuple(a for k, a in enumerate(f.axes) if k not in own))


def pairwise(b: Builder, arrays: Sequence[Factor], out: list[int], shape: Shape, instr: Instr) -> int:
    """A sum of products of arrays. Of more than two, those are multiplied first whose product has the fewest axes."""
    left = list(arrays)
    while len(left) > 2:
        pairs = [(j, k) for k in range(len(left)) for j in range(k)]

        def axes(pair: tuple[int, int]) -> tuple[list[int], int]:
            """Those of the product, and how many there are before the sum."""
            rest = {a for k, f in enumerate(left) if k not in pair for a in f.axes} | set(out)
            both = {a for k in pair for a in left[k].axes}
            return sorted(both & rest), len(both)

        j, k = min(pairs, key=lambda pair: (len(axes(pair)[0]), axes(pair)[1]))
        kept = axes((j, k))[0]
        left[j] = Factor(two(b, left[j], left[k], kept, shape, instr), tuple(kept))
        del left[k]
    if len(left) == 1:
        rest = [a for a in left[0].axes if a in out]
        made = total(b, left[0].at, [k for k, a in enumerate(left[0].axes) if a not in out], instr)
        return turned(b, made, [rest.index(a) for a in out], instr)
    return two(b, left[0], left[1], out, shape, instr)
