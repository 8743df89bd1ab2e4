"""Products of two matrices that a kernel makes itself, each as a whole: where a library would be called between two kernels,
and has no more to offer than one thread."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from gradlang.ir.tape import Tape
from gradlang.loops.ir import Buffer, Code, Kernel, Multiply, Value
from gradlang.once import once
from gradlang.ops.table import OpTable
from gradlang.plan.blocks import Block
from gradlang.plan.choose import beneath, library_does, loops_do
from gradlang.plan.cost import LARGEST
from gradlang.plan.reader import VIEWS, Place
from gradlang.plan.roots import Root
from gradlang.plan.specials import nothing_read
from gradlang.plan.turning import to_rows
from gradlang.plan.weave import Weaver
from gradlang.plan.work import OWN_ADD
from gradlang.record import record
from gradlang.types import Shape, value

SHARED = 1 << 18  # multiplications from which on a BLAS has more than one thread for a product
LIBRARY_ADD = 0.045  # nanoseconds of one in a BLAS, where one of the sides is short
CALLED = 1_000.0  # nanoseconds of a call between two kernels
MOVED = 0.3  # of an entry that is put into another order
HELD = 1 << 16  # entries of a block of rows
EVEN = 24  # rows; of whole tiles, whichever there are
TURNED = 16  # rows that are turned into columns together


@once
def multiply(rows: int, columns: int, block: int) -> Kernel:
    """c = a @ b. c lies in C order, the rows of b `b_step` apart, and a[i, k] at i*a_row + k*a_step."""
    a, b, c = Buffer("a", "f"), Buffer("b", "f"), Buffer("c", "f", writable=True)
    summed, a_row, a_step, b_step = sizes = tuple(Value("i", hint=n) for n in ("summed", "a_row", "a_step", "b_step"))
    code = Code()
    zero, width = code.whole(0), code.whole(columns)
    with code.loop(zero, code.whole(rows)) as i, code.loop(zero, width, "j") as j:
        total = code.cell(code.real(0.0), "total")
        with code.loop(zero, summed, "k") as k:
            left = code.load(a, code.op("iadd", code.op("imul", i, a_row), code.op("imul", k, a_step)))
            right = code.load(b, code.op("iadd", code.op("imul", k, b_step), j))
            code.update(total, "add", code.op("mul", left, right))
        code.store(c, code.op("iadd", code.op("imul", i, width), j), code.read(total))
    told = Multiply(rows, columns, block)
    return Kernel(f"gl_product_{rows}_{columns}_{block}", (a, b, c), sizes, code.body, turn=told)


def block_of(rows: int, summed: int) -> int:
    """How many rows of the first matrix stay in a cache while they are multiplied with all columns of the second one."""
    blocks = max(1, rows * summed // HELD)
    return min(rows, -(-rows // (blocks * EVEN)) * EVEN)


# ------------------------------------------------------------------ which they are
def multiplied(tape: Tape, table: OpTable, sizes: Mapping[str, int], cores: int) -> set[int]:
    """The products that kernels had better make themselves. `cores` are the threads that a library runs on."""
    found = set()
    for i, instr in enumerate(tape.instrs):
        types = [instr.type, *(tape.instrs[a].type for a in instr.args)]
        if instr.op not in ("matmul", "zmatmul") or any(len(t.shape) != 2 or t.dtype != "real" for t in types):
            continue
        a, b = (matrix(tape, i, sizes) for i in instr.args)
        if a is None or b is None or min(b.steps) < 1 or 1 not in b.steps:
            continue
        if not (loops_do(tape, i, table) and library_does(tape, i, sizes)):
            continue
        (rows, columns), summed = (value(d, sizes) for d in instr.type.shape), value(types[1].shape[1], sizes)
        work, entries = rows * columns * summed, columns * summed
        own = OWN_ADD * work + (MOVED * entries if b.steps[1] > 1 else 0.0)
        if entries <= LARGEST and own < CALLED + LIBRARY_ADD * work / (cores if work >= SHARED else 1):
            found.add(i)
    return found


@record
class Matrix:
    """A matrix that is part of a value in memory: where it starts, and how far apart its rows and its columns are."""

    base: int
    start: int
    steps: tuple[int, int]


def matrix(tape: Tape, i: int, sizes: Mapping[str, int]) -> Matrix | None:
    """How a value lies in memory, if it is a matrix that does, or some rows and columns of one, turned over or not."""
    chain = [i]
    while tape.instrs[chain[-1]].op in VIEWS:
        chain.append(tape.instrs[chain[-1]].args[0])
    base = tape.instrs[chain[-1]]
    if base.type.rank != 2 or base.op in ("const", "size", "iota"):
        return None
    start, steps = 0, (value(base.type.shape[1], sizes), 1)
    for k in reversed(chain[:-1]):
        instr = tape.instrs[k]
        if instr.op == "transpose" and instr.attrs[0] == (1, 0):
            steps = (steps[1], steps[0])
        elif instr.op == "slice":
            first, _, apart = instr.attrs
            start += sum(value(n, sizes) * step for n, step in zip(first, steps, strict=True))
            steps = (steps[0] * apart[0], steps[1] * apart[1])
        else:
            return None
    return Matrix(chain[-1], start, steps)


def factors_of(tape: Tape, products: Collection[int]) -> set[int]:
    """The values that products read as they lie in memory."""
    return {beneath(tape, a) for i in products for a in tape.instrs[i].args}


# ------------------------------------------------------------------ how they are made
def product_root(tape: Tape, i: int, memory: Callable[[int], Place | None]) -> Root:
    """The root of such a product. `memory` is asked where values lie that the kernel itself does not make."""

    def run(weaver: Weaver, root: Root) -> None:
        _Product(Block(weaver, root), memory).write()

    return Root(i, (), nothing_read, gives=(i,), needs=tuple(sorted(factors_of(tape, [i]))), special=run, whole=True)


class _Product:
    def __init__(self, block: Block, memory: Callable[[int], Place | None]) -> None:
        self.block, self.code, self.memory = block, block.code, memory
        self.tape = block.weaver.tape

    def length(self, shape: Shape, k: int) -> int:
        return value(shape[k], self.block.weaver.sizes)

    def operand(self, k: int) -> tuple[tuple[Buffer, Value], tuple[int, int]]:
        """Where an argument begins, and how far its rows and its columns are apart."""
        block, shape = self.block, self.block.shape_of(k)
        found = matrix(self.tape, block.instr.args[k], block.weaver.sizes)
        place = None if found is None else block.weaver.reader.places.get(found.base) or self.memory(found.base)
        if found is None or place is None or place.start is not None or place.axes != (0, 1):  # then it is put together
            made = block.scratch(shape)
            with block.over(shape) as index:
                block.put(index, block.entry(k, index), made)
            return (made.buffer, self.code.whole(0)), (self.length(shape, 1), 1)
        return (place.buffer, self.code.whole(found.start)), found.steps

    def write(self) -> None:
        block, code, whole = self.block, self.code, self.code.whole
        rows, columns = (self.length(block.shape, k) for k in (0, 1))
        summed = self.length(block.shape_of(0), 1)
        (a, (a_row, a_step)), (b, (b_step, b_column)) = self.operand(0), self.operand(1)
        if b_column != 1:
            b, b_step = (self.turned(*b, b_column), whole(0)), columns
        told = (whole(n) for n in (summed, a_row, a_step, b_step))
        code.run(multiply(rows, columns, block_of(rows, summed)), (a, b, (block.place.buffer, whole(0))), *told)
        if block.instr.op == "zmatmul":
            self.look(rows, columns)

    def turned(self, rows: Buffer, at: Value, stride: int) -> Buffer:
        """The second matrix in C order, of which the columns lie in rows."""
        block, code, whole = self.block, self.code, self.code.whole
        shape = block.shape_of(1)
        summed, columns = (self.length(shape, k) for k in (0, 1))
        made, wide = block.scratch(shape).buffer, min(columns, TURNED)
        with block.loop(whole(-(-columns // wide))) as k:
            first = code.op("imin", code.op("imul", k, whole(wide)), whole(columns - wide))
            start = code.op("iadd", at, code.op("imul", first, whole(stride)))
            code.run(to_rows(wide, stride), [(rows, start), (made, first)], whole(summed), whole(columns))
        return made

    def look(self, rows: int, columns: int) -> None:
        """An exact zero of the one factor is to win over what is not finite in the other one. If there is such a thing, it is
        in a summand of every entry of a row of the product (or column, if zeros are those of the first factor)."""
        block, code = self.block, self.code
        across = block.instr.attrs[0] == 0
        with block.loop(code.whole(columns if across else rows)) as k:
            block.frame.doubt(block.get((code.whole(0), k) if across else (k, code.whole(0))))
