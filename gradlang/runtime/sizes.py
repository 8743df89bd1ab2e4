"""The sizes of a call, read from the shapes of its arguments, and what is made once for each set of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from math import prod
from typing import Any, Generic, TypeVar

from gradlang.backend.artifact import Job, Param
from gradlang.types import Shape, Size, product, value

MOST = 16  # versions that are kept
LINE = 64  # bytes
SMALL, LARGEST = 2**17, 2**25  # bytes of the smallest and the largest block that glibc may take from the system by itself
MISSING: Any = object()
V = TypeVar("V")


class Sizes:
    """Reads the sizes off the arguments of a generated function, which fit."""

    def __init__(self, params: Sequence[Param]) -> None:
        found: dict[str, tuple[int, int, int, int]] = {}
        for k, p in enumerate(params):
            for axis, dim in enumerate(p.type.shape):
                line = dim.linear() if isinstance(dim, Size) else None
                if line is not None:
                    found.setdefault(line[0], (k, axis, *line[1:]))
        self.axes = tuple((k, axis) for k, axis, _, _ in found.values())
        self.lines = tuple((name, factor, offset) for name, (_, _, factor, offset) in found.items())

    def key(self, args: Sequence[Any]) -> tuple[int, ...]:
        """The lengths of the axes that the sizes are read from."""
        return tuple([args[k].shape[axis] for k, axis in self.axes])

    def named(self, key: Sequence[int]) -> dict[str, int]:
        return {name: (n - offset) // factor for n, (name, factor, offset) in zip(key, self.lines, strict=True)}


class Versions(Generic[V]):
    """What `make` makes of sizes, kept by the lengths of axes that they are read from. One thread makes a version, others wait
    for it."""

    def __init__(self, params: Sequence[Param], make: Callable[[Mapping[str, int]], V]) -> None:
        self.sizes, self.make = Sizes(params), make
        self.axes = self.sizes.axes
        self.kept: dict[tuple[int, ...], V] = {}
        self.lock = threading.Lock()

    def of(self, args: Sequence[Any]) -> V:
        """The version for a call."""
        key = tuple([args[k].shape[axis] for k, axis in self.axes])  # as `Sizes.key`, without a call
        found = self.kept.get(key, MISSING)
        return self.at(key) if found is MISSING else found

    def at(self, key: tuple[int, ...]) -> V:
        with self.lock:
            if key not in self.kept:
                made = self.make(self.sizes.named(key))
                while len(self.kept) >= MOST:
                    del self.kept[next(iter(self.kept))]
                self.kept[key] = made
            return self.kept[key]


def rooms(wanted: Sequence[tuple[Shape, str]], dtype: str, sizes: Mapping[str, int]) -> Callable[[], tuple[Any, ...]]:
    """Makes the arrays that a call borrows: `wanted` are their shapes and the kinds that generated code has for them, of
    matrices that lie column by column with `.T` behind."""
    import numpy as np

    real = np.dtype(dtype)
    kinds = {"F": real, "np.int64": np.dtype(np.int64), "np.bool_": np.dtype(np.bool_)}
    kinds["B"] = np.dtype(f"int{8 * real.itemsize}")  # bits of a real number
    turned = [kind.endswith(".T") for _, kind in wanted]
    plain = [(tuple(value(d, sizes) for d in shape), kinds[kind.removesuffix(".T")]) for shape, kind in wanted]
    return lambda: tuple(
        aligned(shape[::-1], kind).T if t else aligned(shape, kind) for t, (shape, kind) in zip(turned, plain, strict=True)
    )


def aligned(shape: tuple[int, ...], kind: Any) -> Any:
    """Memory that begins with a line of the cache, so that no vector lies in two."""
    import numpy as np

    size = prod(shape) * kind.itemsize
    raw = np.empty(size + LINE, np.uint8)
    first = -raw.__array_interface__["data"][0] % LINE
    return raw[first : first + size].view(kind).reshape(shape)


taken = 0  # bytes of the largest block that was taken to be given back


def keep_pages(job: Job, sizes: Mapping[str, int]) -> None:
    """Lets the memory of a call's results stay with the process once they are free.

    glibc takes a large block from the system and gives it back, and also the end of its heap where that is long, until a
    larger block was free once: its limits follow that (mallopt(3), M_MMAP_THRESHOLD, of which M_TRIM_THRESHOLD becomes the
    double). Until then each call gets pages that are touched for the first time, which takes longer than most kernels. So a
    block of twice the size of all results is taken and given back; none of its pages is touched. Other libraries have other
    rules, and nothing comes of it."""
    global taken
    import numpy as np

    shapes = [(i.type.shape, i.type.dtype) for i in (job.tape.instrs[k] for _, k in job.tape.outputs) if i.type.shape]
    real = np.dtype(job.dtype).itemsize
    size = 2 * sum(value(product(shape), sizes) * (real if dtype == "real" else 8) for shape, dtype in shapes)
    if max(SMALL, taken) < size <= LARGEST:
        taken = size
        with suppress(MemoryError):  # of addresses, where they are few
            np.empty(size, np.uint8)
