"""Recurrences and implicit definitions as loops of NumPy code.

Each sequence of a recurrence is an array that the steps fill row by row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradlang.backend.text import ATOM, Text
from gradlang.ir.rebuild import dce
from gradlang.ir.tape import Instr, Root, Scan, Tape
from gradlang.types import Dim, add

if TYPE_CHECKING:
    from gradlang.backend.numpy import NumpyPrinter

INDENT = "    "


def write(p: NumpyPrinter, i: int, instr: Instr) -> Text:
    """Writes the loop, and keeps the names of its sequences for the `item` instructions."""
    (scan,) = instr.attrs
    loop = _Loop(p, instr, scan)
    loop.begin()
    loop.steps()
    p.sequences[i] = loop.names
    return "", ATOM


class _Loop:
    def __init__(self, p: NumpyPrinter, instr: Instr, scan: Scan) -> None:
        self.p, self.instr, self.scan = p, instr, scan
        many = len(scan.names)
        self.first, self.rows, self.held = (
            instr.args[:many],
            instr.args[many : many + scan.rows],
            instr.args[many + scan.rows :],
        )
        self.names = [p.names.user(n) for n in scan.names]
        self.step = p.names.user("step")

    def put(self, text: str) -> None:
        self.p.lines.append((text, self.instr.span))

    def begin(self) -> None:
        p, scan = self.p, self.scan
        whole = any(i.op == "input" and i.attrs[0][0] == "past" for i in scan.body.instrs)
        for k, name in enumerate(self.names):
            shape = p.shape(scan.item_type(k).shape)
            start = p.tape.instrs[self.first[k]]
            uniform = start.op == "broadcast_to" and p.tape.instrs[start.args[0]].op == "const"
            text = p.at(start.args[0]) if uniform else p.at(self.first[k])
            if scan.kind == "push":
                self.put(f"{name} = np.full({shape}, {text}, F)" if uniform else f"{name} = np.array({text})")
                continue
            self.put(f"{name} = np.{'zeros' if whole else 'empty'}({shape}, F)")
            if scan.extra[k] != 0:
                self.put(f"{name}[:{p.dim(scan.extra[k])}] = {text}")

    def place(self, offset: Dim) -> str:
        """The index of a row that is `offset` after the step."""
        if offset == 0:
            return self.step
        text = self.p.dim(offset)
        return f"{self.step} - {text[1:]}" if text.startswith("-") else f"{self.step} + {text}"

    def steps(self) -> None:
        p, scan = self.p, self.scan
        inner = p.inside(Tape(scan.body.instrs, ()), self.inputs(), {i for _, i in scan.body.outputs})
        self.put(f"for {self.step} in range({p.dim(scan.length)}):")
        for text, span in inner.lines:
            p.lines.append((INDENT + text, span))
        for k, (_, i) in enumerate(scan.body.outputs):
            value = inner.at(i)
            if scan.kind == "pull":
                self.put(f"{INDENT}{self.names[k]}[{self.place(scan.extra[k])}] = {value}")
                continue
            to, lag = scan.ports[k]
            self.put(f"{INDENT}{self.names[to]}{'' if lag is None else f'[{self.place(lag)}]'} += {value}")

    def inputs(self) -> dict[Any, str]:
        """What the body's inputs are called."""
        p, scan = self.p, self.scan
        out: dict[Any, str] = {}
        for instr in scan.body.instrs:
            if instr.op != "input":
                continue
            kind, k, lag = key = instr.attrs[0]
            if kind == "state":
                out[key] = f"{self.names[k]}[{self.place(add(scan.extra[k], -lag))}]"
            elif kind == "inbox":
                out[key] = f"{self.names[k]}[{self.step}]"
            elif kind == "past":
                out[key] = self.names[k]
            elif kind == "row":
                out[key] = f"{p.named(self.rows[k])}[{self.step}]"
            else:
                out[key] = p.named(self.held[k])
        return out


NEAR = "np.finfo(F).eps ** 0.5"  # steps of Newton's method from here on square the error away
LONGEST = 100


def newton(p: NumpyPrinter, i: int, instr: Instr) -> Text:
    """Newton's method until the steps get no smaller; the name of the solution."""
    root: Root = instr.attrs[0]
    name, step, size, last = (p.names.user(n) for n in (instr.name or root.name, "step", "size", "last"))
    span = instr.span

    def put(text: str) -> None:
        p.lines.append((text, span))

    start = p.at(instr.args[0])
    put(f"{name} = np.array({start}, F)" if not instr.type.shape else f"{name} = np.array({start})")
    inputs: dict[Any, str] = {}
    for leaf in root.body.instrs:
        if leaf.op == "input":
            kind, k, _ = leaf.attrs[0]
            inputs[leaf.attrs[0]] = name if kind == "unknown" else p.named(instr.args[k + 1])
    put(f"{last} = np.inf")
    at = dict(root.body.outputs)["step"]
    body = dce(Tape(root.body.instrs, (("step", at),)))
    inner = p.inside(Tape(body.instrs, ()), inputs, [body.outputs[0][1]])
    put(f"for _ in range({LONGEST}):  # Newton's method")
    for text, where in inner.lines:
        p.lines.append((INDENT + text, where))
    put(f"{INDENT}{step} = {inner.at(body.outputs[0][1])}")
    put(f"{INDENT}{name} = {name} - {step}")
    put(f"{INDENT}{size} = np.max(np.abs({step}) / (1.0 + np.abs({name})), initial=0.0)")
    put(f"{INDENT}if {size} <= np.finfo(F).eps or ({last} < {NEAR} and {size} >= {last}):")
    put(f"{INDENT}{INDENT}break")
    put(f"{INDENT}{last} = {size}")
    put("else:")
    put(f"{INDENT}raise ArithmeticError({('no solution is found for ' + root.name)!r})")
    return name, ATOM
