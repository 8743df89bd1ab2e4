"""Products of two matrices that a kernel makes itself, each as a whole: where a library would be called between two kernels,
and has no more to offer than one thread."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import cache

from gradlang.ir.tape import Tape
from gradlang.loops.ir import Buffer, Code, Kernel, Multiply, Value
from gradlang.ops.table import OpTable
from gradlang.plan.blocks import Block
from gradlang.plan.choose import beneath, library_does, loops_do
from gradlang.plan.reader import VIEWS, Place
from gradlang.plan.roots import Root
from gradlang.plan.specials import nothing_read
from gradlang.plan.turning import to_rows
from gradlang.plan.weave import Weaver
from gradlang.plan.work import OWN_ADD
from gradlang.types import Shape, value

LARGEST = 1 << 18  # entries of the second matrix, which has to stay in a cache
SHARED = 1 << 18  # multiplications from which on a BLAS has more than one thread for a product
LIBRARY_ADD = 0.045  # nanoseconds of one in a BLAS, where one of the sides is short
CALLED = 1_000.0  # nanoseconds of a call between two kernels
MOVED = 0.3  # of an entry that is put into another order
TURNED = 16  # rows that are turned into columns together


@cache
def multiply(rows: int, columns: int) -> Kernel:
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
    return Kernel(f"gl_product_{rows}_{columns}", (a, b, c), sizes, code.body, turn=Multiply(rows, columns))


# ------------------------------------------------------------------ which they are
def multiplied(tape: Tape, table: OpTable, sizes: Mapping[str, int], cores: int) -> set[int]:
    """The products that kernels had better make themselves. `cores` are the threads that a library runs on."""
    found = set()
    for i, instr in enumerate(tape.instrs):
        types = [instr.type, *(tape.instrs[a].type for a in instr.args)]
        if instr.op not in ("matmul", "zmatmul") or any(len(t.shape) != 2 or t.dtype != "real" for t in types):
            continue
        if not (loops_do(tape, i, table) and library_does(tape, i, sizes) and all(in_place(tape, a) for a in instr.args)):
            continue
        (rows, columns), summed = (value(d, sizes) for d in instr.type.shape), value(types[1].shape[1], sizes)
        work, entries = rows * columns * summed, columns * summed
        own = OWN_ADD * work + (MOVED * entries if turned(tape, instr.args[1]) else 0.0)
        if entries <= LARGEST and own < CALLED + LIBRARY_ADD * work / (cores if work >= SHARED else 1):
            found.add(i)
    return found


def in_place(tape: Tape, i: int) -> bool:
    """Whether a value lies in memory as a whole, or is one that does, turned over."""
    base = tape.instrs[beneath(tape, i)]
    while tape.instrs[i].op in VIEWS:
        if tape.instrs[i].op != "transpose":
            return False
        i = tape.instrs[i].args[0]
    return base.op not in ("const", "size", "iota", "item")


def factors_of(tape: Tape, products: Collection[int]) -> set[int]:
    """The values that products read as they lie in memory."""
    return {beneath(tape, a) for i in products for a in tape.instrs[i].args}


def turned(tape: Tape, i: int) -> bool:
    """Whether an odd number of transposes, all of which exchange rows and columns, stand before the value in memory."""
    odd = False
    while tape.instrs[i].op in VIEWS:
        odd ^= tape.instrs[i].attrs[0] == (1, 0)
        i = tape.instrs[i].args[0]
    return odd


# ------------------------------------------------------------------ how they are made
def product_root(tape: Tape, i: int, memory: Callable[[int], Place | None]) -> Root:
    """The root of such a product. `memory` is asked where values lie that the kernel itself does not make."""

    def run(weaver: Weaver, root: Root) -> None:
        _Product(Block(weaver, root), memory).write()

    return Root(i, (), nothing_read, gives=(i,), needs=tuple(sorted(factors_of(tape, [i]))), special=run)


class _Product:
    def __init__(self, block: Block, memory: Callable[[int], Place | None]) -> None:
        self.block, self.code, self.memory = block, block.code, memory
        self.tape = block.weaver.tape

    def length(self, shape: Shape, k: int) -> int:
        return value(shape[k], self.block.weaver.sizes)

    def place(self, i: int) -> Place:
        found = self.block.weaver.reader.places.get(i) or self.memory(i)
        assert found is not None and found.start is None and len(found.axes) == 2, "an operand of a product lies in memory"
        return found

    def operand(self, k: int) -> tuple[Buffer, int, int]:
        """Where an argument lies, and how far its rows and its columns are apart."""
        i = self.block.instr.args[k]
        place = self.place(beneath(self.tape, i))
        inner = self.length(place.shape, place.axes[1])
        steps = {place.axes[0]: inner, place.axes[1]: 1}
        order = (1, 0) if turned(self.tape, i) else (0, 1)
        return place.buffer, steps[order[0]], steps[order[1]]

    def write(self) -> None:
        block, code, whole = self.block, self.code, self.code.whole
        rows, columns = (self.length(block.shape, k) for k in (0, 1))
        summed = self.length(block.shape_of(0), 1)
        a, a_row, a_step = self.operand(0)
        b, b_step, b_column = self.operand(1)
        if b_column != 1:
            b, b_step = self.turned(b, b_column), columns
        buffers = [(x, whole(0)) for x in (a, b, block.place.buffer)]
        code.run(multiply(rows, columns), buffers, *(whole(n) for n in (summed, a_row, a_step, b_step)))
        if block.instr.op == "zmatmul":
            self.look(rows, columns)

    def turned(self, rows: Buffer, stride: int) -> Buffer:
        """The second matrix in C order, of which the columns lie in rows."""
        block, code, whole = self.block, self.code, self.code.whole
        shape = block.shape_of(1)
        summed, columns = (self.length(shape, k) for k in (0, 1))
        made, wide = block.scratch(shape).buffer, min(columns, TURNED)
        with block.loop(whole(-(-columns // wide))) as k:
            first = code.op("imin", code.op("imul", k, whole(wide)), whole(columns - wide))
            start = code.op("imul", first, whole(stride))
            code.run(to_rows(wide, stride), [(rows, start), (made, first)], whole(summed), whole(columns))
        return made

    def look(self, rows: int, columns: int) -> None:
        """An exact zero of the one factor is to win over what is not finite in the other one. If there is such a thing, it is
        in a summand of every entry of a row of the product (or column, if zeros are those of the first factor)."""
        block, code = self.block, self.code
        across = block.instr.attrs[0] == 0
        with block.loop(code.whole(columns if across else rows)) as k:
            block.frame.doubt(block.get((code.whole(0), k) if across else (k, code.whole(0))))
