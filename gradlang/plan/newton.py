"""Implicit definitions as loops: Newton's method, of which every step weaves the roots of the body."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gradlang.ir.tape import Instr, Tape
from gradlang.loops.ir import Code, Value
from gradlang.plan.blocks import Block
from gradlang.plan.reader import Index, Place, Reader
from gradlang.plan.roots import Axis, Root, read_part
from gradlang.plan.survey import Survey
from gradlang.plan.weave import Weaver
from gradlang.record import record

LONGEST = 100  # steps, as in the NumPy backend


@record
class Newton:
    """Writes one implicit definition. `choose` gives the roots that a body needs for some of its values."""

    tape: Tape
    instr: Instr
    choose: Callable[[Tape, Sequence[int]], list[Root]]
    hints: dict[str, int]
    readers: list[Reader]  # of all bodies: a new one is added

    def __call__(self, weaver: Weaver, root: Root) -> None:
        b, code, frame = Block(weaver, root), weaver.code, weaver.frame
        with b.over(b.shape) as index:
            b.put(index, b.entry(0, index))
        step = b.scratch(b.shape)
        exact = epsilon(code)
        near = code.select(code.op("lt", exact, code.real(2.0**-40)), code.real(2.0**-26), code.real(2.0**-11.5))
        last = code.cell(code.real(float("inf")), "last")
        done = code.cell(code.const(False, "b"), "done")
        with b.loop(code.whole(LONGEST), hint="step"), code.when(code.op("not", code.read(done))):
            self.body(b, step)
            size = self.move(b, step)
            small = code.op("le", size, exact)
            before = code.read(last)
            settled = code.op("and", code.op("lt", before, near), code.op("ge", size, before))
            code.update(done, "", code.op("or", small, settled))
            code.update(last, "", size)
        frame.fault(code.op("not", code.read(done)))

    def body(self, b: Block, step: Place) -> None:
        """The step at the present value."""
        body: Tape = self.instr.attrs[0].body
        at = dict(body.outputs)["step"]
        outer = b.weaver.reader

        def leaf(key: Any, index: Index) -> Value:
            kind, k, _ = key
            return b.get(index) if kind == "unknown" else outer.at(self.instr.args[k + 1], index)

        def entry(r: Reader, counters: Sequence[Value]) -> Value:
            return read_part(at, r, counters)

        reader = Reader(body, b.frame, {}, leaf)
        self.readers.append(reader)
        axes = tuple(Axis(d, k) for k, d in enumerate(b.shape))
        roots = [*self.choose(body, [at]), Root(at, axes, entry, onto=step)]
        Survey(body, self.hints)(roots)
        Weaver(body, reader, b.frame, roots, {}, b.weaver.temps, self.hints).weave(roots)

    def move(self, b: Block, step: Place) -> Value:
        """Takes the step, and tells its size."""
        code, one = b.code, b.code.real(1.0)
        size = code.cell(code.real(0.0), "size")
        with b.over(b.shape) as index:
            s = b.get(index, step)
            x = code.op("sub", b.get(index), s)
            b.put(index, x)
            ratio = code.op("div", code.op("abs", s), code.op("add", one, code.op("abs", x)))
            code.update(size, "", code.op("maximum", code.read(size), ratio))
        return code.read(size)


def epsilon(code: Code) -> Value:
    """The distance from 1 to the next number: what is lost in single precision tells which one it is."""
    double = code.op("ne", code.op("add", code.real(1.0), code.real(2.0**-40)), code.real(1.0))
    return code.select(double, code.real(2.0**-52), code.real(2.0**-23))
