"""Sums of products of arrays, none of which has all the axes, become matrix products.

Written out, the product would have every axis of its factors before any of them is summed: the sum over k of A[i, k]*B[k, j]
would take the memory of i*j*k numbers, and so would the gradient of a weight that a recurrence uses at every step.
"""

from __future__ import annotations

from gradlang.ir.rebuild import rebuild
from gradlang.ir.tape import Builder, Instr, Tape
from gradlang.ops.table import OpTable
from gradlang.record import record
from gradlang.transform.stretched import thin_product
from gradlang.types import Shape, product

SPLIT = ("mul", "neg", "add", "sub")
ENTERED = (*SPLIT, "transpose", "matmul")
TERMS = 8
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


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
    total: int | None = None
    for term, negative in terms(b, x):
        made = product_of(b, instr, term)
        if made is None:
            return None
        if total is None:
            total = b.apply("neg", (made,), (), instr.span, instr.scope) if negative else made
        else:
            total = b.apply("sub" if negative else "add", (total, made), (), instr.span, instr.scope)
    return total


def terms(b: Builder, x: int) -> list[tuple[int, bool]]:
    """What is added and what is subtracted (True) in a sum of arrays of one shape; the whole if these are many."""
    out: list[tuple[int, bool]] = []
    stack = [(x, False)]
    while stack:
        i, negative = stack.pop()
        at = b.instrs[i]
        inner = b.instrs[at.args[0]] if at.op == "transpose" else None
        if at.op in ("add", "sub") and all(b.instrs[a].type.shape == at.type.shape for a in at.args):
            stack += [(at.args[1], negative != (at.op == "sub")), (at.args[0], negative)]
        elif at.op == "neg":
            stack.append((at.args[0], not negative))
        elif (
            inner is not None and inner.op in SPLIT[1:] and all(b.instrs[a].type.shape == inner.type.shape for a in inner.args)
        ):
            parts = tuple(b.apply("transpose", (a,), at.attrs, at.span, at.scope) for a in inner.args)
            stack.append((b.apply(inner.op, parts, inner.attrs, inner.span, inner.scope), negative))
        else:
            out.append((i, negative))
        if len(out) + len(stack) > TERMS:
            return [(x, False)]
    return out


def product_of(b: Builder, instr: Instr, x: int) -> int | None:
    """The sum of one product of arrays."""
    shape = b.instrs[x].type.shape
    found = factors(b, x)
    if found is None:
        return None
    arrays, scalars, negative = found
    long = {a for a, d in enumerate(shape) if d != 1}
    if len(arrays) == 1 and not scalars:
        made = summed_before(b, instr, arrays[0], shape)
        return made if made is None or not negative else b.apply("neg", (made,), (), instr.span, instr.scope)
    if len(arrays) < 2 or any(long <= set(f.axes) for f in arrays):
        return None
    kept = kept_axes(instr, shape)
    if not long - set(kept):
        return None
    covered = {a for f in arrays for a in f.axes}
    if long - covered:
        return None
    out = [a for a in kept if a in long]
    made = two(b, arrays[0], arrays[1], out, shape, instr) if len(arrays) == 2 else many(b, arrays, out, instr)
    for s in scalars:
        made = b.apply("mul", (made, s), (), instr.span, instr.scope)
    if negative:
        made = b.apply("neg", (made,), (), instr.span, instr.scope)
    return reshaped(b, made, instr.type.shape, instr)


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
    order = tuple(sorted(range(len(rest)), key=lambda k: f.axes[rest[k]]))
    if order != tuple(range(len(order))):
        made = b.apply("transpose", (made,), (order,), instr.span, instr.scope)
    return reshaped(b, made, instr.type.shape, instr)


def kept_axes(instr: Instr, shape: Shape) -> list[int]:
    """The axes of a product that its sum keeps."""
    if instr.op == "sum":
        return [a for a in range(len(shape)) if a not in instr.attrs[0]]
    target = instr.type.shape
    extra = len(shape) - len(target)
    return [a for a in range(extra, len(shape)) if target[a - extra] == shape[a]]


def factors(b: Builder, x: int) -> tuple[list[Factor], list[int], bool] | None:
    """The arrays and the scalars of a product, and whether it is negative."""
    shape = b.instrs[x].type.shape
    arrays: list[Factor] = []
    scalars: list[int] = []
    negative = False
    stack = [x]
    while stack:
        i = stack.pop()
        at = b.instrs[i]
        if at.type.dtype != "real":
            return None
        if not at.type.shape:
            scalars.append(i)
        elif at.op == "mul":
            stack.extend(reversed(at.args))
        elif at.op == "neg":
            negative = not negative
            stack.append(at.args[0])
        else:
            made = thin(b, i, shape)
            if isinstance(made, Factor):
                arrays.append(made)
            else:
                scalars.append(made)
        if len(arrays) > 8:
            return None
    return arrays, scalars, negative


def thin(b: Builder, i: int, shape: Shape) -> Factor | int:
    """What a factor is before it was stretched: an array of some axes, or a scalar."""
    axes: list[int | None] = list(range(len(shape)))
    while True:
        at = b.instrs[i]
        if at.op == "broadcast_to":
            before = b.instrs[at.args[0]].type.shape
            axes = axes[len(axes) - len(before) :]
            axes = [None if d == 1 else a for a, d in zip(axes, before, strict=True)]
        elif at.op == "transpose":
            back = [0] * len(axes)
            for k, a in enumerate(at.attrs[0]):
                back[a] = k
            axes = [axes[k] for k in back]
        elif at.op == "reshape":
            before, after = b.instrs[at.args[0]].type.shape, at.type.shape
            if [d for d in before if d != 1] != [d for d in after if d != 1]:
                break
            rest = iter([a for a, d in zip(axes, after, strict=True) if d != 1])
            axes = [None if d == 1 else next(rest) for d in before]
        else:
            break
        i = at.args[0]
    found = tuple(a for a in axes if a is not None)
    dims = tuple(shape[a] for a in found)
    long = tuple((a, d) for a, d in zip(found, dims, strict=True) if d != 1)
    made = b.apply("reshape", (i,), (tuple(d for _, d in long),)) if len(long) != len(axes) else i
    return Factor(made, tuple(a for a, _ in long)) if long else made


def reshaped(b: Builder, x: int, shape: Shape, instr: Instr) -> int:
    return x if b.instrs[x].type.shape == shape else b.apply("reshape", (x,), (shape,), instr.span, instr.scope)


def two(b: Builder, left: Factor, right: Factor, out: list[int], shape: Shape, instr: Instr) -> int:
    """A sum of products of two arrays as one matrix product, over the axes that both have and the result keeps."""
    left, right = alone(b, left, right, out, instr), alone(b, right, left, out, instr)
    both = [a for a in left.axes if a in right.axes]
    batch = [a for a in both if a in out]
    summed = [a for a in both if a not in out]
    rows = [a for a in left.axes if a not in both]
    columns = [a for a in right.axes if a not in both]

    def arranged(f: Factor, *groups: list[int]) -> int:
        order = tuple(f.axes.index(a) for group in groups for a in group)
        x = f.at if order == tuple(range(len(order))) else b.apply("transpose", (f.at,), (order,), instr.span, instr.scope)
        dims = (*(shape[a] for a in groups[0]), *(product(shape[a] for a in group) for group in groups[1:]))
        return reshaped(b, x, dims, instr)

    a, c = arranged(left, batch, rows, summed), arranged(right, batch, summed, columns)
    made = b.apply("matmul", (a, c), (), instr.span, instr.scope)
    order = [*batch, *rows, *columns]
    made = reshaped(b, made, tuple(shape[k] for k in order), instr)
    places = tuple(order.index(k) for k in out)
    return made if places == tuple(range(len(places))) else b.apply("transpose", (made,), (places,), instr.span, instr.scope)


def alone(b: Builder, f: Factor, other: Factor, out: list[int], instr: Instr) -> Factor:
    """A factor without the axes that only it has and the sum goes over."""
    own = tuple(k for k, a in enumerate(f.axes) if a not in other.axes and a not in out)
    if not own:
        return f
    made = b.apply("sum", (f.at,), (own, False), instr.span, instr.scope)
    return Factor(made, tuple(a for k, a in enumerate(f.axes) if k not in own))


def many(b: Builder, arrays: list[Factor], out: list[int], instr: Instr) -> int:
    letters = {a: LETTERS[k] for k, a in enumerate(sorted({a for f in arrays for a in f.axes}))}
    spec = ",".join("".join(letters[a] for a in f.axes) for f in arrays) + "->" + "".join(letters[a] for a in out)
    return b.apply("einsum", [f.at for f in arrays], (spec,), instr.span, instr.scope)
