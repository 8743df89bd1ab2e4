"""Linear algebra of the reference interpreter: textbook algorithms over arrays of any number type.

Golub and Van Loan, "Matrix Computations" (4th ed.): Gaussian elimination with partial pivoting 3.4, Cholesky 4.2, the cyclic
Jacobi method 8.5. A matrix that cannot be treated gives nan in every entry.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from gradlang.ir.evaluate import Machine
    from gradlang.ir.tape import Instr

Array = np.ndarray[Any, Any]
SWEEPS = 100


def undefined(m: Machine, shape: tuple[int, ...]) -> Array:
    return np.full(shape, m.number(float("nan")), m.dtype)


def dot(a: Array, b: Array) -> Any:
    """Sum of products over the first axis of both, also of no terms."""
    return np.sum(a.reshape(a.shape + (1,) * (b.ndim - 1)) * b, axis=0)


def eliminated(a: Array, b: Array) -> tuple[Array, Array, int]:
    """The upper triangle that is equal to a, the right sides that go with it, and the sign of the row exchanges."""
    a, b, sign = a.copy(), b.copy(), 1
    for k in range(len(a)):
        p = k + int(np.argmax(np.abs(a[k:, k])))
        if p != k:
            a[[k, p]], b[[k, p]], sign = a[[p, k]], b[[p, k]], -sign
        if a[k, k] == 0:
            continue
        factor = (a[k + 1 :, k] / a[k, k])[:, None]
        a[k + 1 :] = a[k + 1 :] - factor * a[k]
        b[k + 1 :] = b[k + 1 :] - factor * b[k]
    return a, b, sign


def substituted(m: Machine, a: Array, b: Array) -> Array:
    """x with a @ x = b, reading the upper triangle of a."""
    if any(d == 0 for d in a.diagonal()):
        return undefined(m, b.shape)
    x = b.copy()
    for k in reversed(range(len(a))):
        x[k] = (b[k] - dot(a[k, k + 1 :], x[k + 1 :])) / a[k, k]
    return x


def solve(m: Machine, a: Array, b: Array) -> Array:
    upper, right, _ = eliminated(a, b)
    return substituted(m, upper, right)


def triangular(m: Machine, a: Array, b: Array, lower: bool, trans: bool) -> Array:
    if trans:
        a, lower = a.T, not lower
    return substituted(m, a[::-1, ::-1], b[::-1])[::-1] if lower else substituted(m, a, b)


def identity(m: Machine, n: int) -> Array:
    out = np.full((n, n), m.number(0.0), m.dtype)
    for k in range(n):
        out[k, k] = m.number(1.0)
    return out


def pivots(m: Machine, a: Array) -> tuple[list[Any], int]:
    upper, _, sign = eliminated(a, a)
    return list(upper.diagonal()), sign


def det(m: Machine, a: Array) -> Any:
    found, sign = pivots(m, a)
    out = m.number(float(sign))
    for p in found:
        out = out * p
    return out


def sign_and_log(m: Machine, a: Array) -> Array:
    found, sign = pivots(m, a)
    log = np.log if m.functions is None else m.functions["log"]
    total = m.number(0.0)
    for p in found:
        total = total + log(abs(p))
        sign = -sign if p < 0 else sign if p > 0 else 0 * p
    return np.array([m.number(1.0) * sign, total, None], object)[:2].astype(m.dtype)


def cofactor(m: Machine, a: Array) -> Array:
    out = np.empty_like(a)
    for i, j in np.ndindex(a.shape):
        minor = det(m, np.delete(np.delete(a, i, 0), j, 1))
        out[i, j] = -minor if (i + j) % 2 else minor
    return out


def cholesky(m: Machine, a: Array) -> Array:
    a = (a + a.T) / 2
    out = np.full(a.shape, m.number(0.0), m.dtype)
    for j in range(len(a)):
        rest = a[j:, j] - dot(out[j, :j], out[j:, :j].T)
        if not rest[0] > 0:
            return undefined(m, a.shape)
        out[j:, j] = rest / rest[0] ** 0.5
    return out


def jacobi(m: Machine, a: Array) -> tuple[Array, Array]:
    """The eigenvalues and eigenvectors of a symmetric matrix, in no order."""
    v, n = identity(m, len(a)), len(a)
    a = a.copy()
    for _ in range(SWEEPS):
        scale = max((abs(d) for d in a.diagonal()), default=0)
        small = True
        for p in range(n):
            for q in range(p + 1, n):
                if a[p, q] == 0 or (scale != 0 and scale + abs(a[p, q]) == scale):
                    continue
                small = False
                theta = (a[q, q] - a[p, p]) / (2 * a[p, q])
                t = (1 if theta >= 0 else -1) / (abs(theta) + (theta * theta + 1) ** 0.5)
                c = 1 / (t * t + 1) ** 0.5
                s = t * c
                for x in (a.T, a, v.T):  # columns of a, then its rows, then columns of v
                    x[p], x[q] = c * x[p] - s * x[q], s * x[p] + c * x[q]
        if small:
            return a.diagonal().copy(), v
    return undefined(m, (n,)), undefined(m, (n, n))


def eigenpairs(m: Machine, a: Array) -> Array:
    """A column of eigenvalues in ascending order, then the eigenvectors as columns with their signs agreed upon."""
    a = (a + a.T) / 2
    if a.dtype in (np.float64, np.float32):
        if not np.all(np.isfinite(a)):
            return undefined(m, (len(a), len(a) + 1))
        w, v = np.linalg.eigh(a)
    else:
        w, v = jacobi(m, a)
    order = np.argsort(w, kind="stable")
    w, v = w[order], v[:, order].copy()
    for column in v.T:
        size = np.abs(column)
        first = next((x for x, s in zip(column, size, strict=True) if s >= 0.7 * max(size)), 1)
        if first < 0:
            column *= -1
    return np.concatenate([w[:, None], v], axis=1)


# ------------------------------------------------------------------ over a batch
Core = Callable[..., Any]


def each(core: Core, arrays: list[Any], m: Machine, shape: tuple[int, ...]) -> Any:
    """A function of matrices over all matrices of a batch; `shape` is that of the result."""
    arrays = [np.asarray(a, m.dtype) for a in arrays]
    batch = np.broadcast_shapes(*(a.shape[:-2] for a in arrays))
    arrays = [np.broadcast_to(a, batch + a.shape[-2:]) for a in arrays]
    out = np.empty(shape, m.dtype)
    for k in np.ndindex(*batch):
        out[k] = core(m, *(a[k] for a in arrays))
    return out if shape else out[()]


def _square(core: Core) -> Callable[[Machine, Instr, list[Any]], Any]:
    return lambda m, i, a: each(core, a, m, m.dims(i.type.shape))


def _sign_and_log(m: Machine, instr: Instr, args: list[Any]) -> Any:
    shape = m.dims(instr.type.shape)
    return np.moveaxis(each(sign_and_log, args, m, (*shape[1:], 2)), -1, 0)


def _right_side(core: Callable[..., Array]) -> Callable[[Machine, Instr, list[Any]], Any]:
    def run(m: Machine, instr: Instr, args: list[Any]) -> Any:
        a, b = np.asarray(args[0]), np.asarray(args[1])
        shape = m.dims(instr.type.shape)

        def one(machine: Machine, x: Array, y: Array) -> Array:
            return core(machine, x, y, *instr.attrs)

        if b.ndim == 1:
            return each(one, [a, b[:, None]], m, (*shape, 1))[..., 0]
        return each(one, [a, b], m, shape)

    return run


def _diag_matrix(m: Machine, instr: Instr, args: list[Any]) -> Any:
    v = np.asarray(args[0])
    n = np.arange(v.shape[-1])
    real = instr.type.dtype == "real"
    out = np.full(m.dims(instr.type.shape), m.number(0.0) if real else 0, m.dtype if real else v.dtype)
    out[..., n, n] = v
    return out


def _triangle(keep: Callable[[Any, Any, int], Any]) -> Callable[[Machine, Instr, list[Any]], Any]:
    def run(m: Machine, instr: Instr, args: list[Any]) -> Any:
        x = np.asarray(args[0])
        rows, columns = np.ogrid[: x.shape[-2], : x.shape[-1]]
        zero = m.number(0.0) if instr.type.dtype == "real" else x.dtype.type(0)
        return np.where(keep(rows, columns, instr.attrs[0]), x, zero)

    return run


STRUCTURAL: dict[str, Callable[[Machine, Instr, list[Any]], Any]] = {
    "tril": _triangle(lambda i, j, k: j - i <= k),
    "triu": _triangle(lambda i, j, k: j - i >= k),
    "diagonal": lambda m, i, a: np.diagonal(a[0], axis1=-2, axis2=-1),
    "diag_matrix": _diag_matrix,
    "solve": _right_side(solve),
    "triangular_solve": _right_side(triangular),
    "inv": _square(lambda m, a: solve(m, a, identity(m, len(a)))),
    "det": _square(det),
    "cofactor": _square(cofactor),
    "slogdet_packed": _sign_and_log,
    "cholesky": _square(cholesky),
    "eigh_packed": _square(eigenpairs),
}
