"""Ops of linear algebra as loops around routines, for matrices too small for LAPACK to be worth a call, and for where there
is none."""

from __future__ import annotations

from gradlang.loops.ir import Buffer, Value
from gradlang.plan import eigen, routines
from gradlang.plan.blocks import Block, Writer
from gradlang.plan.reader import Index, Place
from gradlang.plan.routines import SIGN
from gradlang.types import Dim

# The size from which on LAPACK is faster. Eigenvectors are always its own where it is there: those of equal eigenvalues are
# anybody's choice.
LARGEST = {"cofactor": 6, "eigh_packed": 0}
OTHERS = 48


def size_of(b: Block) -> Dim:
    return b.shape_of(0)[-1]


def here(b: Block, place: Place) -> tuple[Buffer, Value]:
    return place.buffer, b.code.whole(0)


def result_at(b: Block, batch: Index, axes: int) -> tuple[Buffer, Value]:
    """Where the result for an index of the batch begins; its own axes are the last ones."""
    zero = b.code.whole(0)
    return b.place.buffer, b.weaver.reader.position(b.place, (*batch, *[zero] * axes))


class Elimination:
    """The factors of the matrices of an argument, one after another."""

    def __init__(self, b: Block) -> None:
        n = size_of(b)
        self.b, self.n = b, b.frame.dim(n)
        self.lu, self.swaps, self.told = b.scratch((n, n)), b.scratch((n,), "int"), b.scratch((2,))

    def buffers(self) -> list[tuple[Buffer, Value]]:
        return [here(self.b, p) for p in (self.lu, self.swaps, self.told)]

    def factor(self, batch: Index) -> None:
        b = self.b
        with b.loop(self.n) as i, b.loop(self.n, hint="j") as j:
            b.put((i, j), b.entry(0, (*batch, i, j)), self.lu)
        b.code.run(routines.factor(), self.buffers(), self.n)

    def sign(self) -> Value:
        return self.b.get((self.b.code.whole(SIGN),), self.told)

    def determinant(self, size: Value) -> Value:
        b, code = self.b, self.b.code
        total = code.cell(self.sign(), "det")
        with b.loop(size, hint="k") as k:
            code.update(total, "", code.op("mul", code.read(total), b.get((k, k), self.lu)))
        return code.read(total)


# ------------------------------------------------------------------ equations
def start(b: Block, batch: Index, columns: bool) -> Value:
    """Puts the right sides where the solutions will be, and says how many there are."""
    rows = b.frame.dim(size_of(b))
    many = b.frame.dim(b.shape[-1]) if columns else b.code.whole(1)
    with b.loop(rows) as i:
        if columns:
            with b.loop(many, hint="j") as j:
                b.put((*batch, i, j), b.entry(1, (*batch, i, j)))
        else:
            b.put((*batch, i), b.entry(1, (*batch, i)))
    return many


def solve(b: Block) -> None:
    made = Elimination(b)
    columns = len(b.shape_of(1)) > 1
    axes = 1 + columns
    with b.over(b.shape[: len(b.shape) - axes]) as batch:
        made.factor(batch)
        many = start(b, batch, columns)
        b.code.run(routines.factored_solve(), [*made.buffers(), result_at(b, batch, axes)], made.n, many)


def inverse(b: Block) -> None:
    made = Elimination(b)
    code = b.code
    with b.over(b.shape[:-2]) as batch:
        made.factor(batch)
        with b.loop(made.n) as i, b.loop(made.n, hint="j") as j:
            b.put((*batch, i, j), code.select(code.op("ieq", i, j), code.real(1.0), code.real(0.0)))
        code.run(routines.factored_solve(), [*made.buffers(), result_at(b, batch, 2)], made.n, made.n)


def triangular(b: Block) -> None:
    lower, trans = b.instr.attrs
    n = size_of(b)
    size, triangle = b.frame.dim(n), b.scratch((n, n))
    columns = len(b.shape_of(1)) > 1
    axes = 1 + columns
    with b.over(b.shape[: len(b.shape) - axes]) as batch:
        with b.loop(size) as i:
            first, last = (b.code.whole(0), b.code.op("iadd", i, b.code.whole(1))) if lower else (i, size)
            with b.loop(last, first, "j") as j:
                b.put((j, i) if trans else (i, j), b.entry(0, (*batch, i, j)), triangle)
        many = start(b, batch, columns)
        b.code.run(routines.substitute(lower != trans), [here(b, triangle), result_at(b, batch, axes)], size, many)


# ------------------------------------------------------------------ determinants
def det(b: Block) -> None:
    made = Elimination(b)
    with b.over(b.shape) as batch:
        made.factor(batch)
        b.put(batch, made.determinant(made.n))


def sign_and_log(b: Block) -> None:
    """The sign of the determinant and the logarithm of its size."""
    made = Elimination(b)
    code, zero = b.code, b.code.real(0.0)
    with b.over(b.shape[1:]) as batch:
        made.factor(batch)
        sign, log = code.cell(made.sign(), "sign"), code.cell(zero, "log")
        with b.loop(made.n, hint="k") as k:
            x, old = b.get((k, k), made.lu), code.read(sign)
            code.update(log, "", code.op("add", code.read(log), code.call("log", code.op("abs", x))))
            other = code.select(code.op("gt", x, zero), old, code.op("mul", x, zero))
            code.update(sign, "", code.select(code.op("lt", x, zero), code.op("neg", old), other))
        b.put((code.whole(0), *batch), code.read(sign))
        b.put((code.whole(1), *batch), code.read(log))


def cofactors(b: Block) -> None:
    """The determinants of what is left without a row and a column, with the signs of a chessboard."""
    made = Elimination(b)
    code, size, one = b.code, made.n, b.code.whole(1)
    whole = b.scratch((size_of(b), size_of(b)))
    rest = code.op("isub", size, one)
    with b.over(b.shape[:-2]) as batch:
        with b.loop(size) as i, b.loop(size, hint="j") as j:
            b.put((i, j), b.entry(0, (*batch, i, j)), whole)
        with b.loop(size) as i, b.loop(size, hint="j") as j:
            with b.loop(rest, hint="r") as r, b.loop(rest, hint="c") as c:
                row = code.op("iadd", r, code.op("btoi", code.op("ige", r, i)))
                column = code.op("iadd", c, code.op("btoi", code.op("ige", c, j)))
                at = code.op("iadd", code.op("imul", r, rest), c)
                code.store(made.lu.buffer, at, b.get((row, column), whole))
            code.run(routines.factor(), made.buffers(), rest)
            total = code.cell(made.sign(), "minor")
            with b.loop(rest, hint="k") as k:
                at = code.op("iadd", code.op("imul", k, rest), k)
                code.update(total, "", code.op("mul", code.read(total), code.load(made.lu.buffer, at)))
            odd = code.op("ieq", code.op("imod", code.op("iadd", i, j), code.whole(2)), one)
            value = code.read(total)
            b.put((*batch, i, j), code.select(odd, code.op("neg", value), value))


def cholesky(b: Block) -> None:
    n = size_of(b)
    size = b.frame.dim(n)
    with b.over(b.shape[:-2]) as batch:
        with b.loop(size) as i, b.loop(size, hint="j") as j:
            b.put((*batch, i, j), b.entry(0, (*batch, i, j)))
        b.code.run(routines.cholesky(), [result_at(b, batch, 2)], size)


def eigenpairs(b: Block) -> None:
    """The eigenvalues as a first column, before the vectors."""
    n = size_of(b)
    code, size, one = b.code, b.frame.dim(n), b.code.whole(1)
    values, vectors = b.scratch((n, n)), b.scratch((n, n))
    with b.over(b.shape[:-2]) as batch:
        with b.loop(size) as i, b.loop(size, hint="j") as j:
            b.put((i, j), b.entry(0, (*batch, i, j)), values)
        code.run(eigen.eigenpairs(), [here(b, values), here(b, vectors)], size)
        with b.loop(size) as i:
            b.put((*batch, i, code.whole(0)), b.get((i, i), values))
            with b.loop(size, hint="j") as j:
                b.put((*batch, i, code.op("iadd", j, one)), b.get((i, j), vectors))


WRITERS: dict[str, Writer] = {
    "solve": solve,
    "inv": inverse,
    "triangular_solve": triangular,
    "det": det,
    "slogdet_packed": sign_and_log,
    "cofactor": cofactors,
    "cholesky": cholesky,
    "eigh_packed": eigenpairs,
}
