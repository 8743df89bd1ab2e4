"""The reference interpreter's windows and tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from gradlang.ir.evaluate import Machine
    from gradlang.ir.tape import Instr


def _places(count: int, window: int, stride: int) -> Any:
    """The index on an axis of entry k of window i: [window, count]."""
    return np.arange(window)[:, None] + stride * np.arange(count)


def _indices(m: Machine, shape: Any, strides: Any) -> tuple[Any, ...]:
    """Where each entry of windows [N, C, KH, KW, OH, OW] stands in the image."""
    n, c, kh, kw, oh, ow = m.dims(shape)
    down, across = m.dims(strides)
    rows = _places(oh, kh, down)[None, None, :, None, :, None]
    columns = _places(ow, kw, across)[None, None, None, :, None, :]
    axes = (np.arange(n).reshape(-1, 1, 1, 1, 1, 1), np.arange(c).reshape(-1, 1, 1, 1, 1))
    return (*axes, rows, columns)


def _patches(m: Machine, instr: Instr, args: list[Any]) -> Any:
    return np.asarray(args[0])[_indices(m, instr.type.shape, instr.attrs[1])]


def _unpatches(m: Machine, instr: Instr, args: list[Any]) -> Any:
    shape, stride = instr.attrs
    x = np.asarray(args[0])
    out = np.full(m.dims(shape), m.number(0.0), m.dtype)
    np.add.at(out, _indices(m, x.shape, stride), x)
    return out


def _searchsorted(m: Machine, instr: Instr, args: list[Any]) -> Any:
    return np.searchsorted(args[0], args[1], "right" if instr.attrs[0] else "left")


STRUCTURAL: dict[str, Callable[[Machine, Instr, list[Any]], Any]] = {
    "patches": _patches,
    "unpatches": _unpatches,
    "searchsorted": _searchsorted,
}
