"""Products of two matrices into memory that is there, as NumPy code."""

from __future__ import annotations

from collections.abc import Sequence

from gradlang.ir.tape import Tape

FEW = 64  # columns
ROWS, SUMMED = 100, 256  # the fewest for which the result is better made turned over
ALIKE = 256  # entries: rows that lie a multiple of this apart fall on the same sets of the cache


def plain(tape: Tape, i: int) -> bool:
    """Whether an instruction is the product of two matrices of reals."""
    instr = tape.instrs[i]
    types = [instr.type, *(tape.instrs[a].type for a in instr.args)]
    return instr.op in ("matmul", "zmatmul") and all(len(t.shape) == 2 and t.dtype == "real" for t in types)


def turned(rows: int, columns: int, summed: int, left: str, dtype: str) -> bool:
    """Whether (b.T @ a.T).T is the better way to a @ b: for the gradient of a weight matrix, X.T @ V, where X has many rows and
    V few columns, in double precision. OpenBLAS then takes 0.5 to 1.0 of the time, with the copy that turns the result
    (0.5 to 0.85 with AVX-512, 0.8 to 1.0 with its code for Haswell and Zen); in single precision it gains nothing."""
    return (
        dtype == "float64"
        and left.endswith(".T")
        and columns <= FEW
        and columns < rows
        and rows >= ROWS
        and summed >= SUMMED
        and rows % ALIKE != 0
    )


def product_lines(name: str, a: str, b: str, attrs: Sequence[int], room: str | None) -> tuple[list[str], set[str]]:
    """The lines of a product into the array `name`, by way of `room` if it is made turned over, and the helpers they use."""
    if room is None:
        lines = [f"np.matmul({a}, {b}, out={name})"]
    else:
        lines = [f"np.matmul({b}.T, {a.removesuffix('.T')}, out={room})", f"np.copyto({name}, {room}.T)"]
    if not attrs:
        return lines, set()
    return [*lines, f"keep_zeros({a}, {b}, {attrs[0]}, {name})"], {"keep_zeros"}
