"""Bands of a Jacobian as a scipy.sparse matrix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gradlang.diagnostics import Diagnostic, InputError
from gradlang.runtime.call import GIVEN, Compiled


class SparseMatrix:
    """A function that gives a Jacobian or Hessian as a scipy.sparse CSR matrix, rows and columns counted through all
    entries in C order. `offsets` are the bands that it computes, None where the matrix has no such structure."""

    def __init__(self, compiled: Compiled, offsets: tuple[int, ...] | None, rank: int) -> None:
        self.compiled, self.offsets, self.rank = compiled, offsets, rank

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
        many, count = bands.shape[0], bands.shape[1]
        assert many == len(self.offsets)
        inner = int(np.prod(bands.shape[2 : self.rank + 1], dtype=int))
        outer = int(np.prod(bands.shape[self.rank + 1 :], dtype=int))
        blocks = bands.reshape((many, count, inner, outer))
        data, row, column = [], [], []
        for block, offset in zip(blocks, self.offsets, strict=True):
            i = np.arange(max(0, -offset), min(count, int(long) - offset))
            where = np.broadcast_arrays(
                i[:, None, None] * inner + np.arange(inner)[:, None], (i + offset)[:, None, None] * outer + np.arange(outer)
            )
            data.append(block[i].ravel())
            row.append(where[0].ravel())
            column.append(where[1].ravel())
        shape = (count * inner, int(long) * outer)
        joined = (np.concatenate(data), (np.concatenate(row), np.concatenate(column)))
        return sparse.csr_matrix(joined, shape=shape)
