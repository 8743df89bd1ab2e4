"""Windows that slide over images, and searches in tables, as NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gradlang.ir.tape import Instr

if TYPE_CHECKING:
    from gradlang.backend.numpy import NumpyPrinter
    from gradlang.backend.text import Text

HELPERS = {
    "patches": '''def patches(x, window, stride):
    """The windows of x [N, C, H, W] as a view [N, C, KH, KW, OH, OW]."""
    every = np.lib.stride_tricks.sliding_window_view(x, window, (2, 3))[:, :, ::stride[0], ::stride[1]]
    return every.transpose(0, 1, 4, 5, 2, 3)
''',
    "unpatches": '''def unpatches(x, shape, stride):
    """The sums of the entries of windows that come from the same place of an image."""
    (down, across), (height, width) = stride, x.shape[4:]
    out = np.zeros(shape, x.dtype)
    for k in range(x.shape[2]):
        for l in range(x.shape[3]):
            out[:, :, k:k + down * height:down, l:l + across * width:across] += x[:, :, k, l]
    return out
''',
}


def _patches(p: NumpyPrinter, instr: Instr) -> Text:
    window, stride = instr.attrs
    return p.helper("patches", p.at(instr.args[0]), p.shape(window), p.shape(stride))


def _unpatches(p: NumpyPrinter, instr: Instr) -> Text:
    shape, stride = instr.attrs
    return p.helper("unpatches", p.at(instr.args[0]), p.shape(shape), p.shape(stride))


def _searchsorted(p: NumpyPrinter, instr: Instr) -> Text:
    return p.call("np.searchsorted", [*(p.typed(a) for a in instr.args), *(['"right"'] if instr.attrs[0] else [])])


STRUCTURAL: dict[str, Callable[[NumpyPrinter, Instr], Text]] = {
    "patches": _patches,
    "unpatches": _unpatches,
    "searchsorted": _searchsorted,
}
