"""Recurrences in segments as loops of NumPy code: the states where the segments start are kept, those of one segment at a
time are there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradlang.backend.names import ARRAY_KINDS
from gradlang.backend.text import ATOM, Text
from gradlang.check.program import AT, BEGIN, ROWS
from gradlang.ir.tape import Instr, Segments, Tape
from gradlang.types import Dim, add, at_least, neg

if TYPE_CHECKING:
    from gradlang.backend.numpy import NumpyPrinter

INDENT = "    "


def write(p: NumpyPrinter, i: int, instr: Instr) -> Text:
    """Writes the loop, and keeps the names of its results for the `item` instructions."""
    loop = _Segments(p, i, instr)
    loop.begin()
    loop.segment()
    p.sequences[i] = loop.names
    return "", ATOM


def shifted(p: NumpyPrinter, name: str, start: Dim) -> str:
    """A number of steps from where a window starts."""
    back = p.dim(neg(start))
    return name if start == 0 else f"{name} - {back[1:]}" if back.startswith("-") else f"{name} + {back}"


class _Segments:
    def __init__(self, p: NumpyPrinter, i: int, instr: Instr) -> None:
        self.p, self.i, self.instr = p, i, instr
        self.held: Segments = instr.attrs[0]
        held, args = self.held, instr.args
        self.first, self.rows, self.whole = (
            args[: held.carried],
            args[held.carried :][: len(held.rows)],
            args[held.carried + len(held.rows) :],
        )
        self.names = [p.names.user(n) for n in held.names]
        self.step, self.most, self.end, self.many = (p.names.user(n) for n in ("begin", "longest", "end", "many"))
        self.sizes = {BEGIN: self.step, ROWS.format(0): self.many}
        self.places: dict[int, str] = {}  # the rows of an array over a window that belong to the segment
        self.used = {leaf.attrs[0][:2] for leaf in held.body.instrs if leaf.op == "input"}
        self.kept = any(j.op == "segments" and j.attrs[0].backwards and j.args[-1] == i for j in p.tape.instrs)

    def put(self, text: str, indent: int = 1) -> None:
        self.p.lines.append((INDENT * indent + text, self.instr.span))

    def begin(self) -> None:
        """What stands before the loop, and its head."""
        p, held = self.p, self.held
        for kind, k in sorted(self.used):
            if kind in ("row", "held"):
                self.named((self.rows if kind == "row" else self.whole)[k])
        for k, name in enumerate(self.names):
            if k < held.carried:
                self.put(f"{name} = {p.typed(self.first[k])}", 0)
                continue
            type = held.types[k]
            kind, collected = ARRAY_KINDS[type.dtype], held.outs[k - held.carried] is not None
            shape = p.shape(type.shape)
            zero = f"np.zeros({shape}, {kind})" if type.shape else "F(0.0)"
            self.put(f"{name} = " + (f"np.empty({shape}, {kind})" if collected else zero), 0)
        length = p.dim(held.length)
        self.put(f"{self.most} = int(max({length}, 0) ** 0.5) + 1  # steps of a segment", 0)
        steps = f"0, max({length}, 1), {self.most}"
        if held.backwards:
            steps = f"(max({length}, 1) - 1) // {self.most} * {self.most}, -1, -{self.most}"
        elif self.kept:
            p.starts[self.i] = p.names.user("starts")
            self.put(f"{p.starts[self.i]} = []", 0)
        self.put(f"for {self.step} in range({steps}):", 0)
        self.put(f"{self.end} = min({self.step} + {self.most}, {length})")
        self.put(f"{self.many} = {self.end} - {self.step}")
        if self.kept and not held.backwards:
            self.put(f"{p.starts[self.i]}.append(({', '.join(self.names[: held.carried])},))")

    def named(self, i: int) -> str:
        """An argument by a name; a number is of the program's kind, as all that the body reads."""
        p = self.p
        if p.tape.instrs[i].op == "const":
            p.text[i] = (p.typed(i), ATOM)
        return p.named(i)

    def segment(self) -> None:
        p, held = self.p, self.held
        for w, (start, length) in enumerate(held.windows):
            self.window(w, start, length)
        inputs = self.inputs()
        body, results = held.body, [i for _, i in held.body.outputs]
        inner = p.inside(Tape(body.instrs, ()), inputs, results, self.sizes)
        for text, span in inner.lines:
            p.lines.append((INDENT + text, span))
        carried = self.names[: held.carried]
        if carried:  # copies: what they are parts of must go
            values = ", ".join(f"np.array({inner.at(i)})" for i in results[: held.carried])
            self.put(f"{', '.join(carried)} = {values}")
        for k in range(held.carried, len(self.names)):
            window, value = held.outs[k - held.carried], inner.at(results[k])
            self.put(f"{self.names[k]} += {value}" if window is None else f"{self.names[k]}[{self.places[window]}] = {value}")

    def window(self, w: int, start: Dim, length: Dim) -> None:
        """The sizes of a window in the segment."""
        p = self.p
        if w == 0:
            self.places[0] = f"{self.step}:{self.end}"
            return
        low, at = p.names.user("low"), p.names.user("at")
        self.sizes[AT.format(w)] = at
        text = p.dim(start)
        known = at_least(neg(start), 0)
        first = self.step if known else f"min(max({self.step}, {text}), {self.end})"
        before = text if known else f"min({text}, {self.end})"
        self.put(f"{low} = " + (first if start == 0 else f"{first} if {self.step} else {before}"))
        self.put(f"{at} = {low} - {self.step}")
        stop = add(start, length)
        if stop == self.held.length:
            self.places[w] = f"{shifted(p, low, start)}:{shifted(p, self.end, start)}"
            return
        rows = self.sizes[ROWS.format(w)] = p.names.user("rows")
        self.put(f"{rows} = max(min({self.end}, {p.dim(stop)}) - {low}, 0)")
        self.places[w] = f"{shifted(p, low, start)}:{shifted(p, low, start)} + {rows}"

    def inputs(self) -> dict[Any, str]:
        """What the inputs of the body are called."""
        p, out = self.p, dict[Any, str]()
        starts = sorted(k for kind, k in self.used if kind == "start")
        if starts:
            source = self.instr.args[-1]
            names = {k: p.names.user(p.sequences[source][k]) for k in starts}
            for k in starts:
                self.put(f"{names[k]} = {p.starts[source]}[{self.step} // {self.most}][{k}]")
                out["start", k, None] = names[k]
        for kind, k in sorted(self.used - {("start", k) for k in starts}):
            if kind == "row":
                array = p.named(self.rows[k])
                name = p.names.user(f"{array}_part")
                self.put(f"{name} = {array}[{self.places[self.held.rows[k]]}]")
                out[kind, k, None] = name
            else:
                out[kind, k, None] = self.names[k] if kind == "carry" else p.named(self.whole[k])
        return out
