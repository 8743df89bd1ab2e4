"""The eigenvalues and eigenvectors of a symmetric matrix, by the cyclic Jacobi method: Golub & Van Loan, Matrix Computations,
4th ed. (2013), 8.5."""

from __future__ import annotations

from gradlang.loops.ir import Kernel, Value
from gradlang.once import once
from gradlang.plan.routines import Matrix, Routine

SWEEPS = 100
MARKED = 0.7  # of its largest entry: the first entry of a vector that is so large is positive


@once
def eigenpairs() -> Kernel:
    """Of (a + a.T)/2, which is used up: the eigenvalues, ascending, on the diagonal, and the vectors as columns of v. nan
    everywhere for a matrix that is not finite."""
    r = Routine("gl_eigenpairs", ("a", "v"), ("n",))
    code, (n,) = r.code, r.sizes
    a, v, zero, one = r.matrix(0, n), r.matrix(1, n), code.real(0.0), code.real(1.0)
    bad = code.cell(code.const(False, "b"), "bad")
    with r.loop(n) as i, r.loop(n, i, "j") as j:
        half = code.op("mul", code.real(0.5), code.op("add", a.get(i, j), a.get(j, i)))
        code.update(bad, "or", code.op("not", code.op("eq", code.op("sub", half, half), zero)))
        a.put(i, j, half)
        a.put(j, i, half)
    with r.loop(n) as i, r.loop(n, hint="j") as j:
        v.put(i, j, code.select(code.op("ieq", i, j), one, zero))
    done = code.cell(code.read(bad), "done")
    with r.loop(code.whole(SWEEPS), hint="sweep"), code.when(code.op("not", code.read(done))):
        code.update(done, "", code.const(True, "b"))
        scale = code.cell(zero, "scale")
        with r.loop(n) as i:
            code.update(scale, "maximum", code.op("abs", a.get(i, i)))
        largest = code.read(scale)
        with r.loop(n, hint="p") as p, r.loop(n, r.after(p), "q") as q:
            size = code.op("abs", a.get(p, q))
            counts = code.op("and", code.op("gt", size, zero), code.op("ne", code.op("add", largest, size), largest))
            with code.when(counts):
                code.update(done, "", code.const(False, "b"))
                rotate(r, a, v, n, p, q)
    in_order(r, a, v, n)
    code.update(bad, "or", code.op("not", code.read(done)))
    with r.loop(n) as i:
        mark(r, v, n, i)
    r.fill(a, n, code.read(bad))
    r.fill(v, n, code.read(bad))
    return r.done()


def rotate(r: Routine, a: Matrix, v: Matrix, n: Value, p: Value, q: Value) -> None:
    """Makes a[p, q] zero."""
    code, one = r.code, r.code.real(1.0)
    apart = code.op("sub", a.get(q, q), a.get(p, p))
    theta = code.op("div", apart, code.op("mul", code.real(2.0), a.get(p, q)))
    length = code.op("sqrt", code.op("add", code.op("mul", theta, theta), one))
    t = code.op("div", code.op("copysign", one, theta), code.op("add", code.op("abs", theta), length))
    c = code.op("div", one, code.op("sqrt", code.op("add", code.op("mul", t, t), one)))
    s = code.op("mul", t, c)

    def turn(m: Matrix, first: tuple[Value, Value], second: tuple[Value, Value]) -> None:
        x, y = m.get(*first), m.get(*second)
        m.put(*first, code.op("sub", code.op("mul", c, x), code.op("mul", s, y)))
        m.put(*second, code.op("add", code.op("mul", s, x), code.op("mul", c, y)))

    with r.loop(n, hint="k") as k:
        turn(a, (k, p), (k, q))
    with r.loop(n, hint="k") as k:
        turn(a, (p, k), (q, k))
        turn(v, (k, p), (k, q))


def in_order(r: Routine, a: Matrix, v: Matrix, n: Value) -> None:
    """The smallest of the eigenvalues that are left comes next."""
    code = r.code
    with r.loop(n) as i:
        best, place = code.cell(a.get(i, i), "least"), code.cell(i, "place")
        with r.loop(n, r.after(i), "j") as j:
            less = code.op("lt", a.get(j, j), code.read(best))
            code.update(place, "", code.select(less, j, code.read(place)))
            code.update(best, "", code.select(less, a.get(j, j), code.read(best)))
        found = code.read(place)
        with code.when(code.op("ine", found, i)):
            a.put(found, found, a.get(i, i))
            a.put(i, i, code.read(best))
            with r.loop(n, hint="k") as k:
                x = v.get(k, i)
                v.put(k, i, v.get(k, found))
                v.put(k, found, x)


def mark(r: Routine, v: Matrix, n: Value, i: Value) -> None:
    """The sign of a vector."""
    code, zero = r.code, r.code.real(0.0)
    largest = code.cell(zero, "largest")
    with r.loop(n, hint="k") as k:
        code.update(largest, "maximum", code.op("abs", v.get(k, i)))
    bound = code.op("mul", code.real(MARKED), code.read(largest))
    first = code.cell(zero, "first")
    with r.loop(n, hint="k") as k:
        x = v.get(k, i)
        new = code.op("and", code.op("eq", code.read(first), zero), code.op("ge", code.op("abs", x), bound))
        code.update(first, "", code.select(new, x, code.read(first)))
    with code.when(code.op("lt", code.read(first), zero)), r.loop(n, hint="k") as k:
        v.put(k, i, code.op("neg", v.get(k, i)))
