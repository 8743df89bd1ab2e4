"""The sizes of a call, read from the shapes of its arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradlang.backend.artifact import Param
from gradlang.types import Size


class Sizes:
    """Called with the arguments of the generated function, which fit; gives the sizes by their names."""

    def __init__(self, params: Sequence[Param]) -> None:
        self.where = [
            (k, axis, *line)
            for k, p in enumerate(params)
            for axis, dim in enumerate(p.type.shape)
            if isinstance(dim, Size) and (line := dim.linear()) is not None
        ]

    def __call__(self, args: Sequence[Any]) -> dict[str, int]:
        found: dict[str, int] = {}
        for k, axis, name, factor, offset in self.where:
            if name not in found:
                found[name] = (args[k].shape[axis] - offset) // factor
        return found
