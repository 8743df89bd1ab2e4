"""Loops whose vectors are stored where lines of the cache begin.

An array that Python has made begins anywhere at 16 bytes, and a loop that fills it may begin behind its first entries: then all
vectors of 64 bytes lie in two lines, and storing them takes twice as long. Such a loop is written twice: for the steps up to
a line, one by one, and for all others. Results have the same bits wherever the memory lies, since only loops are taken in which
every operation is rounded for itself, and nothing is added up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradlang.backend.llvm_ops import INTRINSICS, SIMPLE
from gradlang.backend.llvm_widths import extent
from gradlang.loops.ir import Fetch, For, Let, Load, Store, Value

if TYPE_CHECKING:
    from gradlang.backend.llvm import Body

LEAST = 256  # steps from which on a loop is long beside those that come first
MOST = 8  # operations for each number that is stored: with more of them a loop does not wait for its stores
QUICK = {*SIMPLE, *INTRINSICS, "select"} - {"div", "sqrt"}
ALONE = '!"llvm.loop.disable_nonforced"'  # what LLVM is told of these


def line_start(body: Body, loop: For) -> str | None:
    """The counter from which on the vectors of a loop's first store are whole lines; None if it is written once."""
    store = first_store(body, loop)
    if store is None:
        return None
    start, stop = body.at(loop.start), body.at(loop.stop)
    index = start
    if store.index is not loop.counter:
        index = body.emit(f"add i64 {body.at(beside(loop, store.index))}, {start}")
    kind, size = body.unit.real, body.unit.bytes["f"]
    place = body.emit(f"getelementptr {kind}, ptr {body.buffers[store.buffer]}, i64 {index}")
    address = body.emit(f"ptrtoint ptr {place} to i64")
    short = body.emit(f"and i64 {body.emit(f'sub i64 0, {address}')}, {body.most * size - 1}")
    steps = body.emit(f"lshr i64 {short}, {size.bit_length() - 1}")
    first = body.emit(f"add i64 {start}, {steps}")
    inside = body.emit(f"icmp slt i64 {first}, {stop}")
    return body.emit(f"select i1 {inside}, i64 {first}, i64 {stop}")


def first_store(body: Body, loop: For) -> Store | None:
    """What a loop fills, if each step does so for itself, reads nothing of it, and has little else to do."""
    if body.lanes is not None or body.stepping or body.most == 1 or not loop.apart or extent(loop) < LEAST:
        return None
    stores: list[Store] = []
    read, work = set(), 0
    for s in loop.body:
        if isinstance(s, Store):
            stores.append(s)
        elif isinstance(s, Load) and not isinstance(s, Fetch):
            read.add(s.buffer)
        elif not isinstance(s, Let) or s.op not in QUICK or s.value in body.free:
            return None
        else:
            work += s.value.type == "f"
    if work > MOST * len(stores) or read & {s.buffer for s in stores}:
        return None
    store = stores[0] if stores else None
    if store is None or store.buffer.kind != "f" or store.buffer.local or store.buffer not in body.buffers:
        return None
    return store if store.index is loop.counter or beside(loop, store.index) is not loop.counter else None


def beside(loop: For, index: Value) -> Value:
    """What is added to the counter of a loop to make an index; the counter if it is anything else."""
    inner = {s.value: s for s in loop.body if isinstance(s, Let)}
    made = inner.get(index)
    if made is not None and made.op == "iadd" and loop.counter in made.args:
        other = made.args[1] if made.args[0] is loop.counter else made.args[0]
        if other not in inner:
            return other
    return loop.counter
