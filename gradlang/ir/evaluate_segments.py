"""Recurrences in segments in the reference interpreter."""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlang.check.program import AT, ROWS
from gradlang.ir.tape import Instr, Segments

if TYPE_CHECKING:
    from gradlang.ir.evaluate import Machine

KINDS = {"real": None, "int": np.int64, "bool": np.bool_}


class Bundle(list[Any]):
    """The results, and what was carried into each segment."""

    def __init__(self, values: list[Any]) -> None:
        super().__init__(values)
        self.starts: list[list[Any]] = []


class Segment:
    """One segment: its first step, and the sizes of its body."""

    def __init__(self, held: Segments, number: int, begin: int, many: int, bounds: list[tuple[int, int]]) -> None:
        self.held, self.number, self.begin, self.bounds = held, number, begin, bounds
        self.sizes = held.sizes(many, begin, bounds)

    def rows(self, window: int) -> slice:
        """The rows of an array over a window that belong to the segment."""
        low = self.begin + self.sizes[AT.format(window)] - self.bounds[window][0]
        return slice(low, low + self.sizes[ROWS.format(window)])

    def read(self, key: tuple[str, int, Any], out: Bundle, args: list[Any]) -> Any:
        """An input of the body."""
        kind, k, _ = key
        if kind == "carry":
            return out[k]
        if kind == "start":
            return args[-1].starts[self.number][k]
        if kind == "held":
            return args[self.held.carried + len(self.held.rows) + k]
        return args[self.held.carried + k][self.rows(self.held.rows[k])]


def in_segments(m: Machine, instr: Instr, args: list[Any]) -> Bundle:
    """The results of recurrences in segments."""
    held: Segments = instr.attrs[0]
    length = m.dims(held.length)[0]
    bounds = [(m.dims(start)[0], m.dims(many)[0]) for start, many in held.windows]
    size = isqrt(max(length, 0)) + 1
    out = Bundle(args[: held.carried])
    for k, window in enumerate(held.outs, held.carried):
        kind = KINDS[held.types[k].dtype] or m.dtype
        out.append(np.full(m.dims(held.types[k].shape), m.number(0.0) if window is None else 0, kind)[()])
    begins = range(0, max(length, 1), size)
    for begin in reversed(begins) if held.backwards else begins:
        segment = Segment(held, begin // size, begin, min(size, length - begin), bounds)
        out.starts.append(out[: held.carried])
        keys = [leaf.attrs[0] for leaf in held.body.instrs if leaf.op == "input"]
        made = m.within({key: segment.read(key, out, args) for key in keys}, segment.sizes).run(held.body)
        values = [made[i] for _, i in held.body.outputs]
        out[: held.carried] = values[: held.carried]
        for k, window in enumerate(held.outs, held.carried):
            if window is None:
                out[k] = out[k] + values[k]
            else:
                out[k][segment.rows(window)] = values[k]
    return out
