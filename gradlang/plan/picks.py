"""Moves of entries of matrices and images: which entry of the argument is meant."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

from gradlang.ir.tape import Instr
from gradlang.loops.ir import Code, Value

if TYPE_CHECKING:
    from gradlang.plan.reader import Reader

Index = tuple[Value, ...]
Steps = Generator[tuple[int, Index], Value, Value]


def nothing(code: Code, like: Value) -> Value:
    return code.const({"f": 0.0, "i": 0, "b": False}[like.type], like.type)


def _triangle(keep: str) -> Callable[[Reader, Instr, Index], Steps]:
    def entry(r: Reader, instr: Instr, index: Index) -> Steps:
        code = r.code
        offset = instr.attrs[0] if instr.attrs else 0
        value = yield instr.args[0], index
        row = code.op("iadd", index[-2], r.frame.dim(offset))
        return code.select(code.op(keep, index[-1], row), value, nothing(code, value))

    return entry


def _diagonal(r: Reader, instr: Instr, index: Index) -> Steps:
    return (yield instr.args[0], (*index, index[-1]))


def _diag_matrix(r: Reader, instr: Instr, index: Index) -> Steps:
    code = r.code
    value = yield instr.args[0], index[:-1]
    return code.select(code.op("ieq", index[-1], index[-2]), value, nothing(code, value))


def _patches(r: Reader, instr: Instr, index: Index) -> Steps:
    code, (down, across) = r.code, instr.attrs[1]
    n, c, down_by, across_by, i, j = index
    row = code.op("iadd", code.op("imul", r.frame.dim(down), i), down_by)
    return (yield instr.args[0], (n, c, row, code.op("iadd", code.op("imul", r.frame.dim(across), j), across_by)))


MOVES: dict[str, Callable[[Reader, Instr, Index], Steps]] = {
    "tril": _triangle("ile"),
    "triu": _triangle("ige"),
    "diagonal": _diagonal,
    "diag_matrix": _diag_matrix,
    "patches": _patches,
}
