"""How far rounding may have moved a result: its spread when every operation is off by a last digit.

Random rounding: Vignes, "A stochastic arithmetic for reliable scientific computation" (Mathematics and Computers in
Simulation 35, 1993). Here operations are off by `BLOWN` last digits, and the spread is divided by as much: rounding grows in
proportion, while what jumps (a tie that is broken, a kink that is passed) does not, and counts for nothing. Equal values
of one array move alike, so that most ties stay, and whole numbers do not move: they are nearly always exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gradlang.ir.evaluate import Machine
from gradlang.ir.tape import BEYOND, Instr
from gradlang.ops.table import OpTable

MOVES = frozenset({"broadcast_to", "reshape", "transpose", "slice", "unslice", "take_axis", "take_along", "concat", "stack"})
STILL = frozenset({*BEYOND, *MOVES, "const", "array", "size", "input", "mark", "real", "where", "neg"}) - {"root"}
SEEDS = (1, 2, 3)
BLOWN = 2.0**20
GOLDEN = 0.6180339887498949


class Shaken(Machine):
    """The interpreter with every result changed by up to `BLOWN` times its last digit, which is `eps` of it."""

    def __init__(
        self, table: OpTable, inputs: Mapping[Any, Any], sizes: Mapping[str, int], eps: float, seed: int, dtype: Any
    ) -> None:
        super().__init__(table, inputs, sizes, None, float if dtype is np.float64 else dtype, dtype)
        self.eps, self.seed = eps, seed

    def within(self, inputs: Mapping[Any, Any], sizes: Mapping[str, int] | None = None) -> Machine:
        return Shaken(self.table, inputs, {**self.sizes, **(sizes or {})}, self.eps, self.seed, self.dtype)

    def step(self, instr: Instr, args: list[Any]) -> Any:
        made = super().step(instr, args)
        if instr.type.dtype != "real" or instr.op in STILL:
            return made
        return self.shaken(np.asarray(made), sum((k + 1) * a for k, a in enumerate(instr.args, 1)))[()]

    def shaken(self, x: Any, place: int) -> Any:
        digits, _ = np.frexp(np.asarray(x, float))
        turn = np.modf((np.abs(digits) * 1e6 + place) * (self.seed + GOLDEN))[0]
        whole = (x == np.rint(x)) & (np.abs(x) < 2.0**53)
        return x * (1 + np.where(whole, 0.0, BLOWN * self.eps * (2 * turn - 1)).astype(self.dtype))
