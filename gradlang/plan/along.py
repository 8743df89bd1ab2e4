"""Running sums, places of extremes, orders and searches: loops along one axis."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from gradlang.loops.ir import Code, Value
from gradlang.plan.blocks import Block, Writer
from gradlang.plan.pointwise import real, whole
from gradlang.plan.reader import Index, Place


def with_axis(index: Sequence[Value], axis: int, k: Value) -> Index:
    """An index without an axis, with the axis put in."""
    return (*index[:axis], k, *index[axis:])


def halvings(b: Block, n: Value) -> Value:
    """How often n can be halved until nothing is left."""
    code = b.code
    if n.const is not None:
        return code.whole(int(n.const).bit_length())
    rest, count = code.cell(n, "rest"), code.cell(code.whole(0), "halvings")
    with b.loop(code.whole(63)):
        more = code.op("btoi", code.op("igt", code.read(rest), code.whole(0)))
        code.update(count, "", code.op("iadd", code.read(count), more))
        code.update(rest, "", code.op("idiv", code.read(rest), code.whole(2)))
    return code.read(count)


def running_sum(b: Block) -> None:
    axis = b.instr.attrs[0] % len(b.shape)
    code = b.code
    with b.over((*b.shape[:axis], *b.shape[axis + 1 :])) as rest:
        total = code.cell(code.real(0.0), "total")
        with b.loop(b.shape[axis]) as k:
            at = with_axis(rest, axis, k)
            code.update(total, "", code.op("add", code.read(total), b.entry(0, at)))
            b.put(at, code.read(total))


def affine(b: Block) -> None:
    """y[i] = a[i] y[i-1] + b[i], from 0."""
    axis = b.instr.attrs[0] % len(b.shape)
    code = b.code
    with b.over((*b.shape[:axis], *b.shape[axis + 1 :])) as rest:
        carry = code.cell(code.real(0.0), "carry")
        with b.loop(b.shape[axis]) as k:
            at = with_axis(rest, axis, k)
            code.update(carry, "", code.op("add", code.op("mul", b.entry(0, at), code.read(carry)), b.entry(1, at)))
            b.put(at, code.read(carry))


# ------------------------------------------------------------------ comparisons
def number(code: Code, x: Value) -> Value:
    return whole(code, x) if x.type == "b" else x


def isnan(code: Code, x: Value) -> Value:
    return code.op("ne", x, x)


def before(code: Code, a: Value, b: Value) -> Value:
    """Whether a stands before b in ascending order, where nan stands last."""
    if a.type == b.type == "i":
        return code.op("ilt", a, b)
    a, b = real(code, a), real(code, b)
    return code.op("or", code.op("lt", a, b), code.op("and", isnan(code, b), code.op("not", isnan(code, a))))


def extreme(way: str, b: Block) -> None:
    """The first place of the largest or smallest entry along an axis; that of a nan if there is one."""
    code, source = b.code, b.shape_of(0)
    axis = b.instr.attrs[0] % len(source)
    zero = code.whole(0)
    with b.over((*source[:axis], *source[axis + 1 :])) as rest:
        first = number(code, b.entry(0, with_axis(rest, axis, zero)))
        best, place = code.cell(first, "best"), code.cell(zero, "place")
        with b.loop(source[axis], 1) as k:
            x, held = number(code, b.entry(0, with_axis(rest, axis, k))), code.read(best)
            if x.type == "i":
                better = code.op("igt" if way == "gt" else "ilt", x, held)
            else:
                lost = code.op("and", isnan(code, x), code.op("not", isnan(code, held)))
                better = code.op("or", code.op(way, x, held), lost)
            code.update(best, "", code.select(better, x, held))
            code.update(place, "", code.select(better, k, code.read(place)))
        b.put(rest, code.read(place))


# ------------------------------------------------------------------ orders
def order(b: Block) -> None:
    """A stable order by merging runs of 1, 2, 4, ... entries (Knuth, The Art of Computer Programming 3, 5.2.4)."""
    code, source = b.code, b.shape_of(0)
    axis = b.instr.attrs[0] % len(source)
    n = b.frame.dim(source[axis])
    kind = b.weaver.tape.instrs[b.instr.args[0]].type.dtype
    keys = b.scratch((source[axis],), "real" if kind == "real" else "int")
    runs, merged = b.scratch((source[axis],), "int"), b.scratch((source[axis],), "int")
    passes = halvings(b, n)
    with b.over((*source[:axis], *source[axis + 1 :])) as rest:
        with b.loop(n) as k:
            b.put((k,), number(code, b.entry(0, with_axis(rest, axis, k))), keys)
            b.put((k,), k, runs)
        width = code.cell(code.whole(1), "width")
        with b.loop(passes), code.when(code.op("ilt", code.read(width), n)):
            size = code.read(width)
            merge_all(b, n, size, keys, runs, merged)
            with b.loop(n) as k:
                b.put((k,), b.get((k,), merged), runs)
            code.update(width, "", code.op("imul", size, code.whole(2)))
        with b.loop(n) as k:
            b.put(with_axis(rest, axis, k), b.get((k,), runs))


def merge_all(b: Block, n: Value, size: Value, keys: Place, runs: Place, merged: Place) -> None:
    """Merges each two neighbouring runs of a size."""
    code = b.code
    double = code.op("imul", size, code.whole(2))
    pairs = code.op("idiv", code.op("iadd", n, code.op("isub", double, code.whole(1))), double)
    last = code.op("isub", n, code.whole(1))
    with b.loop(pairs, hint="pair") as pair:
        start = code.op("imul", pair, double)
        middle = code.op("imin", code.op("iadd", start, size), n)
        stop = code.op("imin", code.op("iadd", start, double), n)
        left, right = code.cell(start, "left"), code.cell(middle, "right")
        with b.loop(stop, start, hint="k") as k:
            one, two = code.read(left), code.read(right)
            first, second = b.get((one,), runs), b.get((code.op("imin", two, last),), runs)
            later = before(code, b.get((second,), keys), b.get((first,), keys))
            there = code.op("ilt", two, stop)
            take = code.op("or", code.op("ige", one, middle), code.op("and", there, later))
            b.put((k,), code.select(take, second, first), merged)
            step = code.op("btoi", take)
            code.update(left, "", code.op("iadd", one, code.op("isub", code.whole(1), step)))
            code.update(right, "", code.op("iadd", two, step))


def search(b: Block) -> None:
    """How many entries of an increasing list are before a number, or (`right`) not after it: by halving."""
    code, count = b.code, b.frame.dim(b.shape_of(0)[0])
    steps = halvings(b, count)
    with b.over(b.shape) as index:
        x = number(code, b.entry(1, index))
        low, high = code.cell(code.whole(0), "low"), code.cell(count, "high")
        with b.loop(steps), code.when(code.op("ilt", code.read(low), code.read(high))):
            at = code.op("idiv", code.op("iadd", code.read(low), code.read(high)), code.whole(2))
            y = number(code, b.entry(0, (at,)))
            up = code.op("not", before(code, x, y)) if b.instr.attrs[0] else before(code, y, x)
            code.update(low, "", code.select(up, code.op("iadd", at, code.whole(1)), code.read(low)))
            code.update(high, "", code.select(up, code.read(high), at))
        b.put(index, code.read(low))


WRITERS: dict[str, Writer] = {
    "cumsum_along": running_sum,
    "scan_affine": affine,
    "argmax_along": partial(extreme, "gt"),
    "argmin_along": partial(extreme, "lt"),
    "argsort": order,
    "searchsorted": search,
}
