"""The routines of our own functions (`x86_vectors.py`) as data, put together for a program.

Their code is the same in every run, and to write it takes longer than all that is done for a program of a thousand lines. So
it comes with the package, in `x86_routines.json`; a test holds the file to what `x86_vectors.py` writes (`pytest --bless`
writes the file). Nothing in a routine depends on where it lies: what does is linked here.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from gradlang.plan.lanes import LANES
from gradlang.record import record

FILE = Path(__file__).with_name("x86_routines.json")
LINE = 64  # bytes of a line of the cache: where routines begin
NOP = b"\x90"


@record
class Piece:
    """The code of a routine. `reads` are the places of four bytes from which an instruction reads a constant: where they are,
    where the instruction ends, and the number of the constant among the eight bytes each of `constants`. At the places `far`
    (of four bytes, too) it says where bits go for arguments beyond the limit of the function."""

    code: bytes
    constants: tuple[int, ...]
    reads: tuple[tuple[int, int, int], ...]
    far: tuple[int, ...]


@cache
def kept() -> dict[str, list[Any]]:
    """The rows of the file, by the names of the functions."""
    return dict(json.loads(FILE.read_text(encoding="utf-8")))


def piece_of(row: list[Any]) -> Piece:
    code, constants, reads, far = row
    return Piece(bytes.fromhex(code), tuple([int(c, 16) for c in constants]), tuple(map(tuple, reads)), tuple(far))


def text_of(made: Mapping[str, Piece]) -> str:
    """The text of the file: a routine a line."""
    rows = [[name, [p.code.hex(), [f"{c:x}" for c in p.constants], p.reads, p.far]] for name, p in made.items()]
    lines = [f"{json.dumps(name)}: {json.dumps(row, separators=(',', ':'))}" for name, row in rows]
    return "{\n" + ",\n".join(lines) + "\n}\n"


@cache
def routines(names: frozenset[str], far: int) -> tuple[bytes, dict[str, int]]:
    """Code that holds a routine for each of some functions, and where these begin. `far` is the place (in bytes) in the array
    of values for the bits of arguments beyond the limit of a function: 32 bytes."""
    known = kept()
    return joined({name: piece_of(known[name]) for name in sorted(names & known.keys())}, far)


def joined(made: Mapping[str, Piece], far: int) -> tuple[bytes, dict[str, int]]:
    """Routines behind one another, and behind them their constants, each once, in the order in which they are met."""
    code, starts = bytearray(), dict[str, int]()
    constants: dict[int, int] = {}
    reads: list[tuple[int, int, int]] = []
    for name, piece in made.items():
        align(code, LINE)
        start = starts[name] = len(code)
        code += piece.code
        for at in piece.far:
            code[start + at : start + at + 4] = struct.pack("<i", far)
        for at, end, k in piece.reads:
            reads.append((start + at, start + end, constants.setdefault(piece.constants[k], len(constants))))
    align(code, LINE)
    size = len(code)
    for value in constants:
        code += struct.pack("<Q", value) * LANES
    for at, end, number in reads:
        code[at : at + 4] = struct.pack("<i", size + 8 * LANES * number - end)
    return bytes(code), starts


def align(code: bytearray, to: int) -> None:
    code += NOP * (-len(code) % to)
