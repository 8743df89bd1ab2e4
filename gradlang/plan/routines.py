"""Kernels of linear algebra on matrices in C order, which other kernels run.

Elimination with partial pivoting and the Cholesky factorization as in Golub & Van Loan, Matrix Computations, 4th ed. (2013),
3.4 and 4.2. A matrix that cannot be treated gives nan in every entry of what is made of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from gradlang.loops.ir import Buffer, Cell, Code, Kernel, Value
from gradlang.once import once

SIGN, SINGULAR = 0, 1  # what elimination tells of a matrix: the sign of its row exchanges, and 1.0 if a pivot was zero


class Matrix:
    """A buffer with rows of some length."""

    def __init__(self, code: Code, buffer: Buffer, columns: Value) -> None:
        self.code, self.buffer, self.columns = code, buffer, columns

    def position(self, i: Value, j: Value) -> Value:
        return self.code.op("iadd", self.code.op("imul", i, self.columns), j)

    def get(self, i: Value, j: Value) -> Value:
        return self.code.load(self.buffer, self.position(i, j))

    def put(self, i: Value, j: Value, value: Value) -> None:
        self.code.store(self.buffer, self.position(i, j), value)


class Routine:
    """A kernel in the making, over real buffers and sizes; `places` are buffers of whole numbers."""

    def __init__(self, name: str, buffers: Sequence[str], sizes: Sequence[str], places: Sequence[str] = ()) -> None:
        self.name, self.code = name, Code()
        self.buffers = [Buffer(b, "i" if b in places else "f", writable=True) for b in buffers]
        self.sizes = [Value("i", hint=s) for s in sizes]

    def matrix(self, k: int, columns: Value) -> Matrix:
        return Matrix(self.code, self.buffers[k], columns)

    @contextmanager
    def loop(self, stop: Value, start: Value | int = 0, hint: str = "i") -> Iterator[Value]:
        first = start if isinstance(start, Value) else self.code.whole(start)
        with self.code.loop(first, stop, hint, apart=False) as k:
            yield k

    def after(self, k: Value) -> Value:
        return self.code.op("iadd", k, self.code.whole(1))

    def exchange(self, m: Matrix, i: Value, k: Value) -> None:
        """Two rows."""
        with self.loop(m.columns, hint="j") as j:
            first, second = m.get(i, j), m.get(k, j)
            m.put(i, j, second)
            m.put(k, j, first)

    def subtract(self, m: Matrix, i: Value, k: Value, factor: Value, start: Value | int = 0) -> None:
        """row i -= factor * row k"""
        with self.loop(m.columns, start, "j") as j:
            m.put(i, j, self.code.op("sub", m.get(i, j), self.code.op("mul", factor, m.get(k, j))))

    def divide(self, m: Matrix, i: Value, by: Value) -> None:
        with self.loop(m.columns, hint="j") as j:
            m.put(i, j, self.code.op("div", m.get(i, j), by))

    def fill(self, m: Matrix, n: Value, bad: Value) -> None:
        """nan everywhere if a matrix is bad."""
        with self.code.when(bad), self.loop(n) as i, self.loop(m.columns, hint="j") as j:
            m.put(i, j, self.code.real(math.nan))

    def done(self) -> Kernel:
        return Kernel(self.name, tuple(self.buffers), tuple(self.sizes), self.code.body)


# ------------------------------------------------------------------ elimination
@once
def factor() -> Kernel:
    """PA = LU, in place; the row that row k was exchanged with; and what is told of the matrix."""
    r = Routine("gl_factor", ("a", "swaps", "told"), ("n",), ("swaps",))
    code, (n,), (_, swaps, told) = r.code, r.sizes, r.buffers
    a, zero = r.matrix(0, n), code.real(0.0)
    sign, singular = code.cell(code.real(1.0), "sign"), code.cell(zero, "singular")
    with r.loop(n, hint="k") as k:
        row = pivot(r, a, k, n)
        code.store(swaps, k, row)
        with code.when(code.op("ine", row, k)):
            code.update(sign, "", code.op("neg", code.read(sign)))
            r.exchange(a, row, k)
        diagonal = a.get(k, k)
        none = code.op("eq", diagonal, zero)
        with code.when(none) as choice:
            code.update(singular, "", code.real(1.0))
            with code.inside(choice.otherwise), r.loop(n, r.after(k)) as i:
                ratio = code.op("div", a.get(i, k), diagonal)
                a.put(i, k, ratio)
                r.subtract(a, i, k, ratio, r.after(k))
    code.store(told, code.whole(SIGN), code.read(sign))
    code.store(told, code.whole(SINGULAR), code.read(singular))
    return r.done()


def pivot(r: Routine, a: Matrix, k: Value, n: Value) -> Value:
    """The row of the largest entry of column k from row k on."""
    code = r.code
    best: Cell = code.cell(code.op("abs", a.get(k, k)), "largest")
    place: Cell = code.cell(k, "row")
    with r.loop(n, r.after(k)) as i:
        x = code.op("abs", a.get(i, k))
        more = code.op("gt", x, code.read(best))
        code.update(place, "", code.select(more, i, code.read(place)))
        code.update(best, "", code.select(more, x, code.read(best)))
    return code.read(place)


@once
def factored_solve() -> Kernel:
    """The m right sides become the solutions of an equation whose matrix `gl_factor` has treated."""
    r = Routine("gl_factored_solve", ("a", "swaps", "told", "b"), ("n", "m"), ("swaps",))
    code, (n, m) = r.code, r.sizes
    a, b = r.matrix(0, n), r.matrix(3, m)
    with r.loop(n, hint="k") as k:
        row = code.load(r.buffers[1], k)
        with code.when(code.op("ine", row, k)):
            r.exchange(b, row, k)
    with r.loop(n) as i, r.loop(i, hint="k") as k:
        r.subtract(b, i, k, a.get(i, k))
    backwards(r, a, b, n)
    r.fill(b, n, code.op("ne", code.load(r.buffers[2], code.whole(SINGULAR)), code.real(0.0)))
    return r.done()


def backwards(r: Routine, a: Matrix, b: Matrix, n: Value) -> None:
    """b becomes x with a x = b for an upper triangle."""
    code = r.code
    with r.loop(n, hint="r") as count:
        i = code.op("isub", code.op("isub", n, code.whole(1)), count)
        with r.loop(n, r.after(i), hint="k") as k:
            r.subtract(b, i, k, a.get(i, k))
        r.divide(b, i, a.get(i, i))


@once
def substitute(lower: bool) -> Kernel:
    """The m right sides become the solutions of an equation with a triangle; nan where its diagonal has a zero."""
    r = Routine("gl_lower_solve" if lower else "gl_upper_solve", ("a", "b"), ("n", "m"))
    code, (n, m) = r.code, r.sizes
    a, b = r.matrix(0, n), r.matrix(1, m)
    if lower:
        with r.loop(n) as i:
            with r.loop(i, hint="k") as k:
                r.subtract(b, i, k, a.get(i, k))
            r.divide(b, i, a.get(i, i))
    else:
        backwards(r, a, b, n)
    singular = code.cell(code.const(False, "b"), "singular")
    with r.loop(n) as i:
        code.update(singular, "or", code.op("eq", a.get(i, i), code.real(0.0)))
    r.fill(b, n, code.read(singular))
    return r.done()


# ------------------------------------------------------------------ symmetric matrices
@once
def cholesky() -> Kernel:
    """The lower factor of (a + a.T)/2, in place, with zeros above."""
    r = Routine("gl_cholesky", ("a",), ("n",))
    code, (n,) = r.code, r.sizes
    a, zero = r.matrix(0, n), code.real(0.0)
    with r.loop(n) as i, r.loop(i, hint="j") as j:
        a.put(i, j, code.op("mul", code.real(0.5), code.op("add", a.get(i, j), a.get(j, i))))
        a.put(j, i, zero)

    def less_products(i: Value, j: Value) -> Value:
        total = code.cell(code.real(0.0), "total")
        with r.loop(j, hint="k") as k:
            code.update(total, "add", code.op("mul", a.get(i, k), a.get(j, k)))
        return code.op("sub", a.get(i, j), code.read(total))

    bad = code.cell(code.const(False, "b"), "indefinite")
    with r.loop(n, hint="j") as j:
        rest = less_products(j, j)
        code.update(bad, "or", code.op("not", code.op("gt", rest, zero)))
        root = code.op("sqrt", rest)
        a.put(j, j, root)
        with r.loop(n, r.after(j)) as i:
            a.put(i, j, code.op("div", less_products(i, j), root))
    r.fill(a, n, code.read(bad))
    return r.done()
