"""Which arrays of a plan lie column by column.

NumPy goes along the rows of a matrix in its innermost loop. Where rows are many and short, it is the columns that should lie
in one piece: sums and largest entries of rows are then operations of whole columns, and so is what is done with one number
for each row.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from gradlang.backend.numpy_tiles import tile_rows
from gradlang.plan.tiles import Extents, Group, Tiles

WIDEST = 64  # columns
RATIO = 2  # of rows and columns from which on it pays


def by_columns(
    plan: Tiles, shape: Callable[[int], Extents], dtype: str, products: Collection[int], results: Collection[int]
) -> tuple[set[int], set[int]]:
    """The numbers of the groups that work column by column, and the values that lie so: those of groups that are one tile, and
    products of matrices, which a BLAS writes in either order. Groups that share matrices are alike; none shares one with what
    lies row by row, as the arrays of the caller do."""
    groups = {k: step for k, step in enumerate(plan.steps) if isinstance(step, Group)}
    matrices = {k: full(plan, g, shape) for k, g in groups.items()}
    ours = {i for g in groups.values() for i in g.members}.union(products).difference(results)
    good = {
        k for k, g in groups.items() if narrow(g.shape) and tile_rows(g, g.shape, dtype) == g.shape[0] and matrices[k] <= ours
    }
    while True:
        others = {i for k in groups.keys() - good for i in matrices[k]}
        kept = {k for k in good if not matrices[k] & others}
        if kept == good:
            return good, {i for k in good for i in matrices[k]}
        good = kept


def narrow(shape: Sequence[int]) -> bool:
    return len(shape) == 2 and 1 < shape[1] <= WIDEST and shape[0] >= RATIO * shape[1]


def full(plan: Tiles, group: Group, shape: Callable[[int], Extents]) -> set[int]:
    """The matrices of the shape of a group that it reads or makes."""
    every = {a for i in group.members for a in (i, *plan.sources[i])}
    return {i for i in every if shape(i) == group.shape}
