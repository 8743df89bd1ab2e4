"""Kernels that turn rows of numbers into columns, and columns into rows."""

from __future__ import annotations

from gradlang.loops.ir import Buffer, Code, Kernel, Turn, Value
from gradlang.once import once


def to_rows(columns: int, room: int, ahead: int = 0) -> Kernel:
    """The columns of a tile become rows, which lie `stride` apart. Those that lie `ahead` rows further are fetched into the
    cache meanwhile, unless that is zero."""
    return _to_rows(columns, room, ahead)


@once
def _to_rows(columns: int, room: int, ahead: int) -> Kernel:
    tile, rows = Buffer("tile", "f"), Buffer("rows", "f", writable=True)
    count, stride = Value("i", hint="count"), Value("i", hint="stride")
    code = Code()
    with code.loop(code.whole(0), count) as i, code.loop(code.whole(0), code.whole(columns), "k") as k:
        at = code.op("iadd", code.op("imul", i, stride), k)
        code.store(rows, at, code.load(tile, code.op("iadd", code.op("imul", k, code.whole(room)), i)))
    turn = Turn(columns, room, gathers=False, ahead=ahead)
    name = f"gl_rows_{columns}_{room}" + (f"_{ahead}" if ahead else "")
    return Kernel(name, (tile, rows), (count, stride), code.body, turn=turn)


@once
def to_columns(columns: int, room: int) -> Kernel:
    """Rows, which begin at `places`, become the columns of a tile."""
    rows, places, tile = Buffer("rows", "f"), Buffer("places", "i"), Buffer("tile", "f", writable=True)
    count = Value("i", hint="count")
    code = Code()
    with code.loop(code.whole(0), count) as i:
        at = code.load(places, i)
        with code.loop(code.whole(0), code.whole(columns), "k") as k:
            to = code.op("iadd", code.op("imul", k, code.whole(room)), i)
            code.store(tile, to, code.load(rows, code.op("iadd", at, k)))
    turn = Turn(columns, room, gathers=True)
    return Kernel(f"gl_columns_{columns}_{room}", (rows, places, tile), (count,), code.body, turn=turn)
