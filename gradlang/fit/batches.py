"""Rows of data: which inputs have them, in which order they come, and the batches of a step.

A batch is made of the same rows of every input whose first size is that of the rows. The order of an epoch is a random
permutation that depends on the seed and the number of the epoch alone, so a run that is continued meets the same batches.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradlang.check.program import Program
from gradlang.diagnostics import InputError
from gradlang.fit import errors
from gradlang.runtime.bind import Binder, whole
from gradlang.types import Dim, Size

Array = NDArray[Any]
Batch = int | str | Mapping[str, int] | None


def chosen(batch: Batch) -> tuple[str | None, int | None]:
    """The size and the number of rows of `100`, `"N=100"` or `{"N": 100}`."""
    name: str | None = None
    count: Any = batch
    if isinstance(batch, Mapping):
        if len(batch) != 1:
            raise errors.bad_batch(dict(batch))
        ((name, count),) = batch.items()
    elif isinstance(batch, str):
        left, equal, right = batch.partition("=")
        name, count = (left.strip(), right) if equal else (None, left)
        try:
            count = int(count)
        except ValueError:
            raise errors.bad_batch(batch) from None
    number = whole(count, 1)
    if number is None and count is not None:
        raise errors.bad_batch(count)
    return None if name is None else str(name), number


class Rows:
    """The data that have rows, cut along one size: name -> array [rows, ...] in the kind that it was given in."""

    def __init__(self, size: str, arrays: Mapping[str, Array]) -> None:
        self.size, self.arrays = size, dict(arrays)
        lengths = [(n, len(a)) for n, a in self.arrays.items()]
        if len({length for _, length in lengths}) > 1:
            raise errors.rows_differ(size, lengths)
        self.count = lengths[0][1]

    def take(self, which: Array) -> Rows:
        return Rows(self.size, {n: a[which] for n, a in self.arrays.items()})

    def split(self, share: float, seed: int) -> tuple[Rows, Rows]:
        """Rows to learn from, and a random share of them that is held out. Both keep the order of the data."""
        held = round(self.count * share)
        if not 0 < held < self.count:
            raise errors.nothing_there("to hold out" if held == 0 else "to learn from")
        mixed = np.random.default_rng([seed, zlib.crc32(b"held out")]).permutation(self.count)
        return self.take(np.sort(mixed[held:])), self.take(np.sort(mixed[:held]))

    def order(self, seed: int, epoch: int) -> Array:
        """A permutation of the rows for an epoch."""
        return np.random.default_rng([seed, zlib.crc32(b"order"), epoch]).permutation(self.count)

    def pieces(self, batch: int) -> Iterator[slice]:
        """The rows in their order, cut into batches; the last one may be short."""
        for start in range(0, self.count, batch):
            yield slice(start, min(start + batch, self.count))


def rows_of(
    program: Program, binder: Binder, given: Mapping[str, Any], fitted: tuple[str, ...], name: str | None, wanted: bool
) -> Rows | None:
    """The inputs that have rows. `wanted` says that there must be some; `name` is the size that the user chose.

    A size can be that of rows if it is the first one of an input that is given, and stands nowhere else: not in a parameter
    and not as a further axis. Raises InputError if there is none, or a choice."""
    if not wanted:
        return None
    found: dict[str, list[str]] = {}
    barred = set()
    for leaf in binder.leaves:
        own = plain(leaf.type.shape[0]) if leaf.type.shape else None
        rest = leaf.type.shape[1:] if own and leaf.name not in fitted else leaf.type.shape
        barred |= {n for d in rest if isinstance(d, Size) for n in d.names()}
        if own and leaf.name not in fitted and (leaf.name in given or isinstance(leaf.default, tuple)):
            found.setdefault(own, []).append(leaf.name)
    sizes = [s for s, names in found.items() if s not in barred and any(n in given for n in names)]
    if name is not None and name not in sizes:
        raise errors.no_size(name, sizes)
    if name is None and len(sizes) != 1:
        if sizes:
            raise errors.several_rows(sizes)
        raise errors.no_rows(why(program, barred, found))
    size = name or sizes[0]
    arrays = {n: checked(binder, n, given[n] if n in given else binder.by_name[n].default) for n in found[size]}
    if not arrays[found[size][0]].shape[0]:
        raise errors.nothing_there(f"in `{found[size][0]}`")
    return Rows(size, arrays)


def first_rows(program: Program, given: Mapping[str, Any], fitted: Sequence[str], count: int) -> tuple[dict[str, Any], str]:
    """The values with the first few rows of the data only, and how to say so; all values if no size is plainly that of rows."""
    binder = Binder(program, tuple(program.callable_leaves()))
    try:
        rows = rows_of(program, binder, given, tuple(fitted), None, True)
    except InputError:
        rows = None
    if rows is None or rows.count <= count:
        return dict(given), ""
    return {**given, **{n: a[:count] for n, a in rows.arrays.items()}}, f" on the first {count} rows"


def plain(dim: Dim) -> str | None:
    """The name of a size that is a name."""
    line = dim.linear() if isinstance(dim, Size) else None
    return line[0] if line is not None and line[1:] == (1, 0) else None


def why(program: Program, barred: set[str], found: Mapping[str, list[str]]) -> str:
    for size, names in found.items():
        if size in barred:
            return f"`{size}`, the first size of `{names[0]}`, stands in other places too"
    return "no input that is given has a size with a name as its first one, such as `x : [N, 3]`"


def checked(binder: Binder, name: str, value: Any) -> Array:
    """Data as they came if their kind fits: pictures of bytes take an eighth of the memory of reals. Raises InputError."""
    array = binder.numeric(name, value)
    wanted = len(binder.types[name].shape)
    if array.ndim != wanted:
        raise binder.misfit(name, array.shape)
    if binder.types[name].dtype != "real":
        return binder.array(name, array)
    binder.array(name, array[:1])
    small = array.dtype.kind in "biuf" and array.dtype.itemsize < np.dtype(binder.dtype).itemsize
    return np.ascontiguousarray(array if small else binder.array(name, array))


class Gather:
    """The memory of batches of one length: arrays that every batch of this length is copied to."""

    def __init__(self, rows: Rows, count: int, kinds: Mapping[str, str]) -> None:
        self.arrays = {n: np.empty((count, *a.shape[1:]), kinds[n]) for n, a in rows.arrays.items()}
        self.steps = []
        for n, a in rows.arrays.items():
            to = self.arrays[n]
            self.steps.append((a, to, to if a.dtype == to.dtype else np.empty(to.shape, a.dtype)))

    def fill(self, which: Array) -> None:
        for source, to, between in self.steps:
            # "clip" is the mode that writes straight to `out`; all indices are inside
            source.take(which, axis=0, out=between, mode="clip")
            if between is not to:
                np.copyto(to, between, casting="unsafe")
