"""Linear algebra as loops, for matrices too small for LAPACK to be worth a call, and for where there is none.

Elimination with partial pivoting and the Cholesky factorization as in Golub & Van Loan, Matrix Computations, 4th ed. (2013),
3.4 and 4.2. A matrix that cannot be treated gives nan in every entry of its result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gradlang.loops.ir import Cell, Value
from gradlang.plan.blocks import Block, Writer
from gradlang.plan.reader import Index, Place
from gradlang.types import Dim

LARGEST = {"cofactor": 6}  # the size from which on LAPACK is faster
OTHERS = 48


def size_of(b: Block) -> Dim:
    return b.shape_of(0)[-1]


@dataclass(slots=True)
class Factors:
    """What elimination leaves: the factors in one matrix, which rows were exchanged at each step, and the cells of the sign
    of the exchanges (1.0 or -1.0) and of whether a pivot was zero."""

    lu: Place
    swaps: Place
    sign: Cell
    singular: Cell


def factored(b: Block, batch: Index, n: Dim, lu: Place, swaps: Place) -> Factors:
    """PA = LU of the matrix at an index of the batch."""
    return eliminated(b, b.frame.dim(n), lambda i, j: b.entry(0, (*batch, i, j)), lu, swaps)


def eliminated(b: Block, size: Value, entry: Callable[[Value, Value], Value], lu: Place, swaps: Place) -> Factors:
    code, one = b.code, b.code.whole(1)
    with b.loop(size) as i, b.loop(size) as j:
        b.put((i, j), entry(i, j), lu)
    found = Factors(lu, swaps, code.cell(code.real(1.0), "sign"), code.cell(code.const(False, "b"), "singular"))
    with b.loop(size, hint="k") as k:
        place = pivot(b, found, k, size)
        b.put((k,), place, swaps)
        with code.when(code.op("ine", place, k)):
            code.update(found.sign, "", code.op("neg", code.read(found.sign)))
            with b.loop(size) as j:
                exchange(b, lu, (place, j), (k, j))
        diagonal = b.get((k, k), lu)
        none = code.op("eq", diagonal, code.real(0.0))
        code.update(found.singular, "or", none)
        with code.when(code.op("not", none)), b.loop(size, code.op("iadd", k, one)) as i:
            factor = code.op("div", b.get((i, k), lu), diagonal)
            b.put((i, k), factor, lu)
            with b.loop(size, code.op("iadd", k, one)) as j:
                rest = code.op("mul", factor, b.get((k, j), lu))
                b.put((i, j), code.op("sub", b.get((i, j), lu), rest), lu)
    return found


def pivot(b: Block, found: Factors, k: Value, size: Value) -> Value:
    """The row of the largest entry of column k from row k on."""
    code = b.code
    best, place = code.cell(code.op("abs", b.get((k, k), found.lu)), "largest"), code.cell(k, "row")
    with b.loop(size, code.op("iadd", k, code.whole(1))) as i:
        x = code.op("abs", b.get((i, k), found.lu))
        more = code.op("gt", x, code.read(best))
        code.update(place, "", code.select(more, i, code.read(place)))
        code.update(best, "", code.select(more, x, code.read(best)))
    return code.read(place)


def exchange(b: Block, place: Place, one: Index, two: Index) -> None:
    first, second = b.get(one, place), b.get(two, place)
    b.put(one, second, place)
    b.put(two, first, place)


def work(b: Block, n: Dim) -> tuple[Place, Place]:
    return b.scratch((n, n)), b.scratch((n,), "int")


# ------------------------------------------------------------------ equations
@dataclass(slots=True)
class Right:
    """The right sides of an equation, which become its solutions, at one index of the batch. Without columns: a vector."""

    b: Block
    batch: Index
    columns: Dim | None

    def at(self, i: Value, j: Value | None) -> Index:
        return (*self.batch, i) if j is None else (*self.batch, i, j)

    def subtract(self, i: Value, k: Value, factor: Value) -> None:
        """row i -= factor * row k"""
        b, code = self.b, self.b.code

        def one(j: Value | None) -> None:
            rest = code.op("mul", factor, b.get(self.at(k, j)))
            b.put(self.at(i, j), code.op("sub", b.get(self.at(i, j)), rest))

        self.each(one)

    def divide(self, i: Value, by: Value) -> None:
        b, code = self.b, self.b.code
        self.each(lambda j: b.put(self.at(i, j), code.op("div", b.get(self.at(i, j)), by)))

    def each(self, one: Callable[[Value | None], None]) -> None:
        if self.columns is None:
            one(None)
        else:
            with self.b.loop(self.columns, hint="j") as j:
                one(j)

    def undefined(self, n: Value, bad: Value) -> None:
        """nan everywhere if the matrix is bad."""
        code = self.b.code
        with code.when(bad), self.b.loop(n) as i:
            self.each(lambda j: self.b.put(self.at(i, j), code.real(math.nan)))


def solved(b: Block, right: Right, found: Factors, n: Value) -> None:
    """Exchanges rows of the right sides as those of the matrix were, and substitutes forwards and backwards."""
    code = b.code
    with b.loop(n, hint="k") as k:
        row = b.get((k,), found.swaps)

        def swap(j: Value | None) -> None:
            exchange(b, b.place, right.at(row, j), right.at(k, j))

        with code.when(code.op("ine", row, k)):
            right.each(swap)
    with b.loop(n) as i, b.loop(i, hint="k") as k:
        right.subtract(i, k, b.get((i, k), found.lu))
    with b.loop(n, hint="r") as r:
        i = b.down(n, r)
        with b.loop(n, code.op("iadd", i, code.whole(1)), hint="k") as k:
            right.subtract(i, k, b.get((i, k), found.lu))
        right.divide(i, b.get((i, i), found.lu))
    right.undefined(n, code.read(found.singular))


def start(b: Block, right: Right, n: Dim) -> None:
    with b.loop(n) as i:
        right.each(lambda j: b.put(right.at(i, j), b.entry(1, right.at(i, j))))


def sides(b: Block) -> tuple[tuple[Dim, ...], Dim | None]:
    """The batch and the columns of right sides."""
    vector = len(b.shape_of(1)) == 1
    return (b.shape[:-1], None) if vector else (b.shape[:-2], b.shape[-1])


def solve(b: Block) -> None:
    n = size_of(b)
    lu, swaps = work(b, n)
    batch, columns = sides(b)
    with b.over(batch) as index:
        found = factored(b, index, n, lu, swaps)
        right = Right(b, index, columns)
        start(b, right, n)
        solved(b, right, found, b.frame.dim(n))


def inverse(b: Block) -> None:
    n = size_of(b)
    lu, swaps = work(b, n)
    code, size = b.code, b.frame.dim(n)
    with b.over(b.shape[:-2]) as index:
        found = factored(b, index, n, lu, swaps)
        with b.loop(size) as i, b.loop(size) as j:
            b.put((*index, i, j), code.select(code.op("ieq", i, j), code.real(1.0), code.real(0.0)))
        solved(b, Right(b, index, n), found, size)


def triangular(b: Block) -> None:
    """Substitution, from above if the triangle that stands in the equation is the lower one."""
    lower, trans = b.instr.attrs
    n = size_of(b)
    code, size = b.code, b.frame.dim(n)
    triangle = b.scratch((n, n))
    batch, columns = sides(b)
    with b.over(batch) as index:
        right = Right(b, index, columns)
        start(b, right, n)
        bad = code.cell(code.const(False, "b"), "singular")
        with b.loop(size) as i, b.loop(size if not lower else code.op("iadd", i, code.whole(1)), i if not lower else 0) as j:
            b.put((j, i) if trans else (i, j), b.entry(0, (*index, i, j)), triangle)
        with b.loop(size) as i:
            code.update(bad, "or", code.op("eq", b.get((i, i), triangle), code.real(0.0)))
        with b.loop(size, hint="r") as r:
            i = r if lower != trans else b.down(size, r)
            first, last = (code.whole(0), i) if lower != trans else (code.op("iadd", i, code.whole(1)), size)
            with b.loop(last, first, hint="k") as k:
                right.subtract(i, k, b.get((i, k), triangle))
            right.divide(i, b.get((i, i), triangle))
        right.undefined(size, code.read(bad))


# ------------------------------------------------------------------ determinants
def det(b: Block) -> None:
    n = size_of(b)
    lu, swaps = work(b, n)
    with b.over(b.shape) as index:
        b.put(index, determinant(b, factored(b, index, n, lu, swaps), b.frame.dim(n)))


def determinant(b: Block, found: Factors, size: Value) -> Value:
    code = b.code
    total = code.cell(code.read(found.sign), "det")
    with b.loop(size) as k:
        code.update(total, "", code.op("mul", code.read(total), b.get((k, k), found.lu)))
    return code.read(total)


def cofactors(b: Block) -> None:
    """The determinants of what is left without a row and a column, with the signs of a chessboard."""
    n = size_of(b)
    code, size, one = b.code, b.frame.dim(n), b.code.whole(1)
    whole = b.scratch((n, n))
    lu, swaps = work(b, n)
    with b.over(b.shape[:-2]) as batch:
        with b.loop(size) as i, b.loop(size) as j:
            b.put((i, j), b.entry(0, (*batch, i, j)), whole)
        with b.loop(size) as i, b.loop(size) as j:

            def minor(r: Value, c: Value, i: Value = i, j: Value = j) -> Value:
                row = code.op("iadd", r, code.op("btoi", code.op("ige", r, i)))
                column = code.op("iadd", c, code.op("btoi", code.op("ige", c, j)))
                return b.get((row, column), whole)

            rest = code.op("isub", size, one)
            found = eliminated(b, rest, minor, lu, swaps)
            odd = code.op("ieq", code.op("imod", code.op("iadd", i, j), code.whole(2)), one)
            value = determinant(b, found, rest)
            b.put((*batch, i, j), code.select(odd, code.op("neg", value), value))


def sign_and_log(b: Block) -> None:
    """The sign of the determinant and the logarithm of its size."""
    n = size_of(b)
    lu, swaps = work(b, n)
    code, zero = b.code, b.code.real(0.0)
    with b.over(b.shape[1:]) as index:
        found = factored(b, index, n, lu, swaps)
        log = code.cell(zero, "log")
        with b.loop(n) as k:
            x = b.get((k, k), lu)
            code.update(log, "", code.op("add", code.read(log), code.call("log", code.op("abs", x))))
            sign = code.read(found.sign)
            other = code.select(code.op("gt", x, zero), sign, code.op("mul", x, zero))
            code.update(found.sign, "", code.select(code.op("lt", x, zero), code.op("neg", sign), other))
        b.put((code.whole(0), *index), code.read(found.sign))
        b.put((code.whole(1), *index), code.read(log))


# ------------------------------------------------------------------ symmetric matrices
def cholesky(b: Block) -> None:
    """The lower factor of (a + a.T)/2."""
    n = size_of(b)
    code, size, zero = b.code, b.frame.dim(n), b.code.real(0.0)
    with b.over(b.shape[:-2]) as batch:

        def at(i: Value, j: Value, batch: Sequence[Value] = batch) -> Index:
            return (*batch, i, j)

        def less_products(value: Value, i: Value, j: Value) -> Value:
            total = code.cell(value, "rest")
            with b.loop(j, hint="k") as k:
                code.update(total, "", code.op("sub", code.read(total), code.op("mul", b.get(at(i, k)), b.get(at(j, k)))))
            return code.read(total)

        bad = code.cell(code.const(False, "b"), "indefinite")
        with b.loop(size) as i, b.loop(size) as j:
            half = code.op("mul", code.real(0.5), code.op("add", b.entry(0, at(i, j)), b.entry(0, at(j, i))))
            b.put(at(i, j), code.select(code.op("ile", j, i), half, zero))
        with b.loop(size) as j:
            rest = less_products(b.get(at(j, j)), j, j)
            code.update(bad, "or", code.op("not", code.op("gt", rest, zero)))
            root = code.op("sqrt", rest)
            b.put(at(j, j), root)
            with b.loop(size, code.op("iadd", j, code.whole(1))) as i:
                b.put(at(i, j), code.op("div", less_products(b.get(at(i, j)), i, j), root))
        with code.when(code.read(bad)), b.loop(size) as i, b.loop(size) as j:
            b.put(at(i, j), code.real(math.nan))


WRITERS: dict[str, Writer] = {
    "solve": solve,
    "inv": inverse,
    "triangular_solve": triangular,
    "det": det,
    "cofactor": cofactors,
    "slogdet_packed": sign_and_log,
    "cholesky": cholesky,
}
