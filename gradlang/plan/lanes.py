"""Calls of functions side by side: steps of one function that do not wait for one another are run together.

A step's layer is the number of calls on the longest way to it. The calls of a layer are independent of one another, and so the
steps are sorted: in every window of the program first by layer, then what is no call before what is one, then by function. A
window is so short that what it computes stays in the cache, and what stands far apart in the program stays far apart.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gradlang.ir.columns import Columns, Truths
from gradlang.record import record

Numbers = np.ndarray[Any, np.dtype[np.int64]]
LANES = 4
WINDOW = 8192  # instructions


@record
class Groups:
    """Group g calls its function for `arguments[:, g]` (instructions), the last of which may be there several times. Where the
    results stand is `rooms`: places side by side, each with the instruction whose result it is, or -1."""

    arguments: Numbers
    rooms: Numbers


NO_GROUPS = Groups(np.zeros((LANES, 0), np.int64), np.zeros(0, np.int64))


def layers(tape: Columns, calls: bytes) -> list[int]:
    """How many calls there are on the longest way to each instruction, with itself. Calls have one argument."""
    out = [0] * (len(tape) + 1)  # the last one stands for no argument
    first, second, third = tape.args.tolist()
    for i, x in enumerate(first):
        if x >= 0:
            most, other = out[x] + calls[i], out[second[i]]
            if other > most:
                most = other
            other = out[third[i]]
            out[i] = other if other > most else most
    out.pop()
    return out


def in_layers(tape: Columns, nodes: Numbers, codes: Numbers, calls: Truths, every: bytes) -> tuple[Numbers, Truths, Numbers]:
    """An order of the steps of some instructions (`nodes`, of which some are `calls`; `every` says so for all instructions of
    the tape); in that order, whether a step begins a group, and its lane in the group (0 where it is no call)."""
    depth = np.array(layers(tape, every), np.int64)[nodes] - calls
    kinds = int(codes.max(initial=0)) + 2
    keys = (nodes // WINDOW * (int(depth.max(initial=0)) + 1) + depth) * kinds + np.where(calls, codes + 1, 0)
    order = np.argsort(keys, kind="stable")
    keys, calls = keys[order], calls[order]
    heads = np.append(True, keys[1:] != keys[:-1])
    places = np.arange(len(keys))
    lane = np.where(calls, (places - np.maximum.accumulate(np.where(heads, places, 0))) % LANES, 0)
    return order, calls & (lane == 0), lane


def groups(arguments: Numbers, results: list[Numbers], double: Truths, begins: Truths, lane: Numbers) -> Groups:
    """The groups of calls in their order: `arguments` and `results` of each, of which a function of two (`double`) has two.
    The rooms of a group follow one another: those of the first result, then those of the second."""
    which = np.cumsum(begins) - 1
    count = int(begins.sum())
    found = np.repeat(arguments[begins][None, :], LANES, axis=0)
    found[lane, which] = arguments
    sizes = np.where(double[begins], 2 * LANES, LANES)
    starts = np.cumsum(sizes) - sizes
    rooms = np.full(int(sizes.sum()) if count else 0, -1)
    rooms[starts[which] + lane] = results[0]
    rooms[starts[which[double]] + LANES + lane[double]] = results[1][double]
    return Groups(found, rooms)
