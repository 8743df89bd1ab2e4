"""Functions that generated NumPy code brings along where it needs them."""

from __future__ import annotations

from gradlang.backend import numpy_linalg, numpy_windows

HELPERS: dict[str, str] = {
    "within": '''def within(index, n):
    """Whole numbers in -n to n - 1, counted from 0."""
    index = np.asarray(index)
    if index.dtype == np.int64 and index.size and np.maximum.reduce(index.view(np.uint64), axis=None) < n:
        return index
    if index.size and not (-n <= index.min() and index.max() < n):
        raise IndexError(f"index {index[(index < -n) | (index >= n)].flat[0] if index.ndim else index} for a size of {n}")
    return np.where(index < 0, index + n, index)
''',
    # What is not finite in the other factor makes a whole row or column of the product so.
    "zmatmul": '''def zmatmul(a, b, zeros):
    """a @ b, where exact zeros of one factor (0: a, 1: b) win over infinities and nans of the other."""
    out = a @ b
    if np.isfinite(out[..., :1, :] if zeros == 0 else out[..., :1]).all():
        return out
    g, p = (a, b) if zeros == 0 else (b, a)
    lost = ~np.isfinite(p)
    there, clean = g != 0.0, np.where(lost, 0.0, p)
    if zeros == 0:
        return np.where(there.astype(F) @ lost.astype(F) > 0.0, out, a @ clean)
    return np.where(lost.astype(F) @ there.astype(F) > 0.0, out, clean @ b)
''',
    "keep_zeros": '''def keep_zeros(a, b, zeros, out):
    """Makes exact zeros of one factor (0: a, 1: b) of out = a @ b win over infinities and nans of the other."""
    told = out[0] if zeros == 0 else out[:, 0]
    if np.dot(told, told) < np.inf:
        return
    g, p = (a, b) if zeros == 0 else (b, a)
    lost = ~np.isfinite(p)
    there, clean = (g != 0.0).astype(F), np.where(lost, 0.0, p)
    hit, new = (there @ lost.astype(F), a @ clean) if zeros == 0 else (lost.astype(F) @ there, clean @ b)
    np.copyto(out, new, where=~(hit > 0.0))
''',
    "zeinsum": '''def zeinsum(spec, g, *others):
    """einsum, where exact zeros of the first array win over infinities and nans of the others."""
    out = np.einsum(spec, g, *others, optimize=True)
    if np.isfinite(out.sum()):
        return out
    lost = [~np.isfinite(p) for p in others]
    there = (g != 0.0).astype(F)
    hit = sum(
        np.einsum(spec, there, *(x.astype(F) if k == j else np.ones_like(p) for k, (x, p) in enumerate(zip(lost, others))))
        for j in range(len(others))
    )
    return np.where(hit > 0.0, out, np.einsum(spec, g, *(np.where(x, 0.0, p) for x, p in zip(lost, others))))
''',
    "earlier": '''def earlier(index, at, low, way):
    """Indices of steps of a recurrence before those at `at`, from `low` on; the steps go up (1) or down (-1)."""
    index, at = np.broadcast_arrays(index, at)
    bad = ((index - low) * way < 0) | ((at - index) * way < 1)
    if bad.any():
        raise IndexError(f"index {index[bad].flat[0]} is not one of those known there, {low} to {at[bad].flat[0] - way}")
    return index
''',
    "nearest": '''def nearest(index, n):
    """Whole numbers, the ones outside -n to n - 1 moved to the ends."""
    index = np.asarray(index)
    return np.clip(np.where(index < 0, index + n, index), 0, max(n - 1, 0))
''',
    "place": '''def place(x, shape, where, kind=F):
    """Zeros of a shape with x at some places."""
    out = np.zeros(shape, kind)
    out[where] = x
    return out
''',
    "scatter_add": '''def scatter_add(x, index, axis, n):
    """Sums the entries of x that go to the same index of an axis of n entries."""
    index = np.asarray(index)
    x = np.moveaxis(x, range(axis, axis + index.ndim), range(index.ndim))
    out = np.zeros((n,) + x.shape[index.ndim:], x.dtype)
    np.add.at(out, index, x)
    return np.moveaxis(out, 0, axis)
''',
    "scatter_along": '''def scatter_along(x, index, axis, n):
    """Sums the entries of x that go to the same index along an axis of n entries."""
    out = np.zeros(x.shape[:axis] + (n,) + x.shape[axis + 1:], x.dtype)
    where = [np.arange(d).reshape([-1 if i == k else 1 for i in range(x.ndim)]) for k, d in enumerate(x.shape)]
    where[axis] = index
    np.add.at(out, tuple(where), x)
    return out
''',
    "scan_affine": '''def scan_affine(a, b, axis):
    """y[i] = a[i]*y[i-1] + b[i] along an axis, from 0."""
    a, b = np.broadcast_arrays(a, b)
    a, b = np.moveaxis(a, axis, 0), np.moveaxis(b, axis, 0)
    out = np.empty_like(b)
    carry = np.zeros_like(b[0]) if len(b) else None
    for i in range(len(b)):
        carry = a[i] * carry + b[i]
        out[i] = carry
    return np.moveaxis(out, 0, axis)
''',
    **numpy_windows.HELPERS,
    **numpy_linalg.HELPERS,
}
