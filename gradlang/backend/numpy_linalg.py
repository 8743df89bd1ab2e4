"""Linear algebra as NumPy: helpers that generated modules bring with them, and how its ops are written."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gradlang.ir.tape import Instr

if TYPE_CHECKING:
    from gradlang.backend.numpy import NumpyPrinter
    from gradlang.backend.text import Text

HELPERS = {
    "or_nan": '''def or_nan(run, *arrays, more=0):
    """run(*arrays); the matrices that it refuses give nan, in as many columns as the last array has, and `more`."""
    try:
        return run(*arrays)
    except np.linalg.LinAlgError:
        batch = np.broadcast_shapes(*(a.shape[:-2] for a in arrays))
        parts = [np.broadcast_to(a, batch + a.shape[-2:]).reshape((-1,) + a.shape[-2:]) for a in arrays]
        shape = batch + (arrays[0].shape[-1], arrays[-1].shape[-1] + more)
        half = len(parts[0]) // 2
        if half == 0:
            return np.full(shape, np.nan, arrays[0].dtype)
        halves = [or_nan(run, *(p[s] for p in parts), more=more) for s in (np.s_[:half], np.s_[half:])]
        return np.concatenate(halves).reshape(shape)
''',
    "solve_or_nan": '''def solve_or_nan(a, b):
    """x with a @ x = b; nan for a singular matrix."""
    if b.ndim == 1:
        return solve_or_nan(a, b[:, None])[..., 0]
    return or_nan(np.linalg.solve, a, b)
''',
    "cholesky_or_nan": '''def cholesky_or_nan(a):
    """The lower Cholesky factor of (a + a.T)/2; nan where that is not positive definite."""
    return or_nan(np.linalg.cholesky, 0.5 * (a + np.swapaxes(a, -1, -2)))
''',
    "back_substitution": '''def back_substitution(a, b, lower, trans):
    """x with a @ x = b (a.T @ x = b with `trans`) for one triangle of a; nan where its diagonal has a zero."""
    if b.ndim == 1:
        return back_substitution(a, b[:, None], lower, trans)[..., 0]
    if trans:
        a, lower = np.swapaxes(a, -1, -2), not lower
    if lower:
        return back_substitution(a[..., ::-1, ::-1], b[..., ::-1, :], False, False)[..., ::-1, :]
    a = np.triu(a)
    singular = np.any(np.diagonal(a, axis1=-2, axis2=-1) == 0, axis=-1)[..., None, None]
    a = np.where(singular, np.eye(a.shape[-1], dtype=a.dtype), a)
    x = np.array(np.broadcast_to(b, np.broadcast_shapes(a.shape[:-2], b.shape[:-2]) + b.shape[-2:]))
    for end in range(a.shape[-1], 0, -64):  # of an upper triangle, elimination leaves only the substitution to be done
        rows = slice(max(end - 64, 0), end)
        x[..., rows, :] = np.linalg.solve(a[..., rows, rows], x[..., rows, :] - a[..., rows, end:] @ x[..., end:, :])
    return np.where(singular, np.nan, x)
''',
    "cofactors": '''def cofactors(a):
    """det(a) * inv(a).T, for singular matrices too: by the singular values, of which each is left out once."""
    finite = np.all(np.isfinite(a), axis=(-2, -1), keepdims=True)  # with an infinity, LAPACK may iterate for ever
    u, s, v = np.linalg.svd(np.where(finite, a, 0.0))
    one = np.ones_like(s[..., :1])
    before = np.cumprod(np.concatenate([one, s[..., :-1]], -1), -1)
    after = np.cumprod(np.concatenate([one, s[..., :0:-1]], -1), -1)[..., ::-1]
    sign = np.sign(np.linalg.det(u) * np.linalg.det(v))[..., None]
    return np.where(finite, (u * (sign * before * after)[..., None, :]) @ v, np.nan)
''',
    "eigenpairs": '''def eigenpairs(a):
    """The eigenvalues of (a + a.T)/2 as a first column, ascending, before the eigenvectors with their signs made positive."""
    finite = np.all(np.isfinite(a), axis=(-2, -1), keepdims=True)
    w, v = np.linalg.eigh(np.where(finite, 0.5 * (a + np.swapaxes(a, -1, -2)), 0.0))
    if v.size:
        size = np.abs(v)
        first = np.argmax(size >= 0.7 * size.max(axis=-2, keepdims=True), axis=-2)
        v = v * np.sign(np.take_along_axis(v, first[..., None, :], axis=-2))
    return np.where(finite, np.concatenate([w[..., None], v], axis=-1), np.nan)
''',
    "diagonal_matrix": '''def diagonal_matrix(v):
    """Zeros with v on the diagonal."""
    n = np.arange(v.shape[-1])
    out = np.zeros(v.shape + v.shape[-1:], v.dtype)
    out[..., n, n] = v
    return out
''',
}


def _matrix(p: NumpyPrinter, instr: Instr, run: str, *more: str) -> Text:
    """A function of one square matrix that may refuse it."""
    return p.helper("or_nan", run, p.at(instr.args[0]), *more)


def _solve(p: NumpyPrinter, instr: Instr) -> Text:
    p.helpers.add("or_nan")
    return p.helper("solve_or_nan", *(p.at(a) for a in instr.args))


def _cholesky(p: NumpyPrinter, instr: Instr) -> Text:
    p.helpers.add("or_nan")
    return p.helper("cholesky_or_nan", p.at(instr.args[0]))


def _triangular_solve(p: NumpyPrinter, instr: Instr) -> Text:
    lower, trans = instr.attrs
    return p.helper("back_substitution", *(p.at(a) for a in instr.args), f"lower={lower}", f"trans={trans}")


def _cofactor(p: NumpyPrinter, instr: Instr) -> Text:
    p.helpers.add("cofactors")
    return _matrix(p, instr, "cofactors")


def _eigh(p: NumpyPrinter, instr: Instr) -> Text:
    p.helpers.add("eigenpairs")
    return _matrix(p, instr, "eigenpairs", "more=1")


def _triangle(name: str) -> Callable[[NumpyPrinter, Instr], Text]:
    return lambda p, i: p.call(name, [p.at(i.args[0]), *([str(i.attrs[0])] if i.attrs[0] else [])])


STRUCTURAL: dict[str, Callable[[NumpyPrinter, Instr], Text]] = {
    "tril": _triangle("np.tril"),
    "triu": _triangle("np.triu"),
    "diagonal": lambda p, i: p.call(f"np.diagonal({p.at(i.args[0])}, axis1=-2, axis2=-1).copy", []),
    "diag_matrix": lambda p, i: p.helper("diagonal_matrix", p.at(i.args[0])),
    "solve": _solve,
    "triangular_solve": _triangular_solve,
    "inv": lambda p, i: _matrix(p, i, "np.linalg.inv"),
    "det": lambda p, i: p.call("np.linalg.det", [p.at(i.args[0])]),
    "cofactor": _cofactor,
    "slogdet_packed": lambda p, i: p.call("np.stack", [f"np.linalg.slogdet({p.at(i.args[0])})"]),
    "cholesky": _cholesky,
    "eigh_packed": _eigh,
}
