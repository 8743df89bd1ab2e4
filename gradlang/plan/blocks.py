"""Values that take more than a nest of loops over their entries: what such a writer needs of its surroundings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from gradlang.ir.tape import Instr
from gradlang.loops.ir import Buffer, Code, Value
from gradlang.plan.pointwise import KINDS
from gradlang.plan.reader import Index, Place
from gradlang.plan.roots import Root
from gradlang.plan.temporaries import Temporary
from gradlang.plan.weave import Weaver
from gradlang.types import Dim, Shape

Writer = Callable[["Block"], None]


class Block:
    """One value in the making. `put` stores entries of it, `entry` reads one of an argument, `get` one that was stored."""

    def __init__(self, weaver: Weaver, root: Root) -> None:
        self.weaver, self.frame = weaver, weaver.frame
        self.code: Code = weaver.code
        self.instr: Instr = weaver.tape.instrs[root.at]
        self.shape: Shape = self.instr.type.shape
        self.place = weaver.place(root)

    def shape_of(self, k: int) -> Shape:
        return self.weaver.tape.instrs[self.instr.args[k]].type.shape

    def entry(self, k: int, index: Sequence[Value]) -> Value:
        """An entry of an argument, whose leading axes may be fewer or have size 1."""
        shape = self.shape_of(k)
        last = tuple(index)[len(index) - len(shape) :]
        zero = self.code.whole(0)
        return self.weaver.reader.at(self.instr.args[k], tuple(zero if d == 1 else i for d, i in zip(shape, last, strict=True)))

    def scratch(self, shape: Shape, dtype: str = "real") -> Place:
        buffer = Buffer(f"t{len(self.weaver.temps)}", KINDS[dtype], writable=True)
        self.weaver.temps.append(Temporary(buffer, shape))
        return Place(buffer, tuple(range(len(shape))), shape)

    # -------------------------------------------------------------- memory
    def get(self, index: Sequence[Value], place: Place | None = None) -> Value:
        place = place or self.place
        return self.code.load(place.buffer, self.weaver.reader.position(place, tuple(index)))

    def put(self, index: Sequence[Value], value: Value, place: Place | None = None) -> None:
        place = place or self.place
        self.code.store(place.buffer, self.weaver.reader.position(place, tuple(index)), value)

    # -------------------------------------------------------------- loops
    @contextmanager
    def loop(self, stop: Dim | Value, start: Value | int = 0, hint: str = "i") -> Iterator[Value]:
        """A loop whose steps may need each other."""
        first = start if isinstance(start, Value) else self.code.whole(start)
        last = stop if isinstance(stop, Value) else self.frame.dim(stop)
        with self.code.loop(first, last, hint, apart=False) as k:
            yield k

    @contextmanager
    def over(self, shape: Shape) -> Iterator[Index]:
        """Loops over the entries of a shape; none over axes of size 1."""
        with ExitStack() as stack:
            yield tuple(self.code.whole(0) if d == 1 else stack.enter_context(self.loop(d)) for d in shape)

    def down(self, stop: Value, k: Value) -> Value:
        """The index that counts down from stop - 1 while k counts up from 0."""
        code = self.code
        return code.op("isub", code.op("isub", stop, code.whole(1)), k)
