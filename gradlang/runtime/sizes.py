"""The sizes of a call, read from the shapes of its arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradlang.backend.artifact import Param
from gradlang.types import Size


class Sizes:
    """Called with the arguments of the generated function, which fit; gives the sizes by their names."""

    def __init__(self, params: Sequence[Param]) -> None:
        found: dict[str, tuple[int, int, int, int]] = {}
        for k, p in enumerate(params):
            for axis, dim in enumerate(p.type.shape):
                line = dim.linear() if isinstance(dim, Size) else None
                if line is not None:
                    found.setdefault(line[0], (k, axis, *line[1:]))
        self.where = tuple(found.items())
        self.axes = tuple((k, axis) for k, axis, _, _ in found.values())  # whose lengths tell all sizes

    def __call__(self, args: Sequence[Any]) -> dict[str, int]:
        return self.of([args[k].shape[axis] for k, axis in self.axes])

    def of(self, lengths: Sequence[int]) -> dict[str, int]:
        """The sizes for some lengths of `axes`."""
        return {name: (n - offset) // factor for n, (name, (_, _, factor, offset)) in zip(lengths, self.where, strict=True)}
