"""Bands of a Jacobian as a scipy.sparse matrix."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any

from gradlang.diagnostics import Diagnostic, InputError
from gradlang.runtime.call import GIVEN, Compiled


class SparseMatrix:
    """A function that gives a Jacobian or Hessian as a scipy.sparse CSR matrix, rows and columns counted through all
    entries in C order. `offsets` are the bands that it computes, None where the matrix has no such structure."""

    def __init__(self, compiled: Compiled, offsets: tuple[int, ...] | None, rank: int) -> None:
        self.compiled, self.offsets, self.rank = compiled, offsets, rank
        self.pattern: Any = None  # of the last sizes
        self.like: Any = None  # a matrix of them

    @property
    def source(self) -> str:
        return self.compiled.source

    def __call__(self, given: Mapping[str, Any] = GIVEN, /, **values: Any) -> Any:
        import numpy as np

        try:
            from scipy import sparse
        except ImportError:
            hint = "install gradlang[sparse], or leave `sparse` out"
            raise InputError([Diagnostic("G524", "a sparse matrix needs scipy, which is not installed", help=hint)]) from None
        made = self.compiled(given, **values)
        if self.offsets is None:
            made = np.asarray(made)
            rows, columns = (int(np.prod(part, dtype=int)) for part in (made.shape[: self.rank], made.shape[self.rank :]))
            return sparse.csr_matrix(made.reshape((rows, columns)))
        bands, long = made
        count = bands.shape[1]
        assert bands.shape[0] == len(self.offsets)
        inner = int(np.prod(bands.shape[2 : self.rank + 1], dtype=int))
        outer = int(np.prod(bands.shape[self.rank + 1 :], dtype=int))
        key = (count, int(long), inner, outer)
        if self.pattern is None or self.pattern[0] != key:
            self.pattern, self.like = (key, *self.structure(*key)), None
        _, take, columns, starts = self.pattern
        data = bands.reshape(-1).take(take)
        if self.like is None:
            self.like = sparse.csr_matrix((data, columns, starts), shape=(count * inner, int(long) * outer))
        made = copy(self.like)  # SciPy looks through the structure of a new one
        # the caller may change the matrix in place, its structure too
        made.data, made.indices, made.indptr = data, columns.copy(), starts.copy()
        return made

    def structure(self, count: int, long: int, inner: int, outer: int) -> tuple[Any, Any, Any]:
        """Where the entries lie among the bands, their columns, and where rows start: the parts of a CSR matrix."""
        import numpy as np

        assert self.offsets is not None
        order = np.argsort(self.offsets)
        offsets = np.asarray(self.offsets)[order]
        i = np.arange(count)
        inside = (i[:, None] + offsets >= 0) & (i[:, None] + offsets < long)  # [count, bands]
        shape = (count, inner, len(offsets), outer)
        column = (i[:, None] + offsets)[:, None, :, None] * outer + np.arange(outer)
        at = ((order * count + i[:, None])[:, None, :, None] * inner + np.arange(inner)[:, None, None]) * outer + np.arange(
            outer
        )
        kept = np.broadcast_to(inside[:, None, :, None], shape)
        small = np.int32 if max(count * inner, long * outer, kept.size) < 2**31 else np.int64
        starts = np.zeros(count * inner + 1, small)
        np.cumsum(np.repeat(inside.sum(axis=1) * outer, inner), out=starts[1:])
        return np.broadcast_to(at, shape)[kept], np.broadcast_to(column, shape)[kept].astype(small), starts
