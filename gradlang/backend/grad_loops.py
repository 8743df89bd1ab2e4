"""Recurrences, implicit definitions and derivative operators in the language itself.

A recurrence whose steps read earlier rows is written as it was. One whose steps add to later rows (an adjoint) becomes a
recurrence of what the steps add: a step reads what earlier ones have added for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradlang.backend.text import ATOM, SUM, Text
from gradlang.diagnostics import Diagnostic, InputError
from gradlang.ir.rebuild import dce
from gradlang.ir.tape import Instr, Root, Scan, Segments, Tape
from gradlang.types import Dim, Shape, add, sub

if TYPE_CHECKING:
    from gradlang.backend.grad import GradPrinter

INDENT = "    "


def scan(p: GradPrinter, i: int, instr: Instr) -> Text:
    """Writes the lines of a recurrence and keeps the texts of its sequences for the `item` instructions."""
    if not p.block:
        p.sequences[i] = _Loop(p, instr, [p.named(a) for a in instr.args]).sequences()
        return "", ATOM
    # inside the block of another loop a recurrence is a function, which has lines of its own
    params = [p.names.user(f"p{k}") for k in range(len(instr.args))]
    outside, p.lines = p.lines, []
    names = _Loop(p, instr, params).sequences()
    inside, p.lines = p.lines, outside
    function = p.names.user(f"steps_of_{names[0]}")
    p.functions.append(f"def {function}({', '.join(params)}):")
    p.functions += [INDENT + text for text, _ in inside]
    p.functions.append(f"{INDENT}return {', '.join(names)}")
    mine = [p.names.user(n) for n in names]
    args = ", ".join(p.named(a) for a in instr.args)
    p.lines.append((f"{', '.join(mine)} = {function}({args})", instr.span))
    p.sequences[i] = mine
    return "", ATOM


def segments(p: GradPrinter, i: int, instr: Instr) -> Text:
    """Recurrences in segments, which the language has no form for: a listing of the body in comments."""
    held: Segments = instr.attrs[0]
    params = {leaf.attrs[0]: f"{leaf.attrs[0][0]}_{leaf.attrs[0][1]}" for leaf in held.body.instrs if leaf.op == "input"}
    names = [p.names.user(n) for n in held.names]
    args = ", ".join(p.at(a) for a in instr.args if p.tape.instrs[a].type.dtype != "bundle")
    order = ", the last one first" if held.backwards else ""
    p.lines.append((f"# {', '.join(names)} of ({args}), for segments of {held.length} steps{order}:", instr.span))
    inner = p.inside(held.body, params)
    p.lines += [(f"#     {text}", span) for text, span in inner.lines]
    p.sequences[i] = names
    return "", ATOM


class _Loop:
    def __init__(self, p: GradPrinter, instr: Instr, args: list[str]) -> None:
        self.p, self.instr = p, instr
        self.scan: Scan = instr.attrs[0]
        many, rows = len(self.scan.names), self.scan.rows
        self.first, self.rows, self.held = args[:many], args[many : many + rows], args[many + rows :]
        self.names = [p.names.user(n) for n in self.scan.names]
        self.step = p.names.user("s")

    def sequences(self) -> list[str]:
        return self.pull() if self.scan.kind == "pull" else self.push()

    def put(self, text: str) -> None:
        self.p.lines.append((text, self.instr.span))

    def at(self, offset: Dim) -> str:
        return self.step if offset == 0 else f"{self.step} {_signed(offset)}"

    def body(self, params: dict[Any, str], tape: Tape) -> list[str]:
        """The head of the block and its shared work; the texts of the outputs."""
        inner = self.p.inside(tape, params)
        self.put(f"for {self.step} in range({self.scan.length}):")
        for text, span in inner.lines:
            self.p.lines.append((INDENT + text, span))
        return [inner.at(i) for _, i in tape.outputs]

    def inputs(self) -> dict[Any, str]:
        out: dict[Any, str] = {}
        for leaf in self.scan.body.instrs:
            if leaf.op == "input":
                kind, k, lag = key = leaf.attrs[0]
                if kind == "state":
                    out[key] = f"{self.names[k]}[{self.at(sub(self.scan.extra[k], lag))}]"
                elif kind in ("row", "held"):
                    out[key] = f"{self.rows[k]}[{self.step}]" if kind == "row" else self.held[k]
                elif kind == "past":
                    out[key] = self.names[k]
                else:
                    out[key] = f"{self.names[k]}[{self.step}]"
        return out

    def known(self, name: str, rows: Dim, text: str) -> None:
        """The rows before the first step."""
        if rows == 1:
            self.put(f"{name}[0] = {text}[0]")
        elif rows != 0:
            j = self.p.names.user("j")
            self.put(f"{name}[{j}] = {text}[{j}] for {j} in range({rows})")

    def pull(self) -> list[str]:
        for k, name in enumerate(self.names):
            self.known(name, self.scan.extra[k], self.first[k])
        made = self.body(self.inputs(), self.scan.body)
        for k, text in enumerate(made):
            self.put(f"{INDENT}{self.names[k]}[{self.at(self.scan.extra[k])}] = {text}")
        return self.names

    def push(self) -> list[str]:
        p, scan = self.p, self.scan
        if any(lag is None for _, lag in scan.ports):
            raise InputError(
                [
                    Diagnostic(
                        "G530",
                        "this derivative adds to rows that are known at the call only, which the language has no words for",
                        self.instr.span,
                        help="`--target numpy` writes it",
                    )
                ]
            )
        added = [p.names.user(f"{self.names[k]}_{n}") for n, (k, _) in enumerate(scan.ports)]
        for name, (k, lag) in zip(added, scan.ports, strict=True):
            shape = "[" + ", ".join(map(str, scan.types[k].shape)) + "]"
            zero = f"zeros({shape})" if scan.types[k].shape else "0"
            for j in range(lag or 0):
                self.put(f"{name}[{j}] = {zero}")
        own = [p.names.user(f"{n}_own") for n in self.names]
        params = {key: text for key, text in self.inputs().items() if key[0] != "inbox"}
        params |= {("inbox", k, None): f"{name}[{self.step}]" for k, name in enumerate(own)}
        made = self.body(params, scan.body)
        for k, name in enumerate(own):
            sums = [f"{a}[{self.step}]" for a, (to, _) in zip(added, scan.ports, strict=True) if to == k]
            self.put(f"{INDENT}{name}[{self.step}] = {' + '.join([f'{self.first[k]}[{self.step}]', *sums])}")
        for name, (_, lag), text in zip(added, scan.ports, made, strict=True):
            self.put(f"{INDENT}{name}[{self.at(lag or 0)}] = {text}")
        for k, name in enumerate(self.names):
            self.put(f"{name} = {self.whole(k, own[k], added)}")
        return self.names

    def whole(self, k: int, own: str, added: list[str]) -> str:
        """All rows of a sequence: those of the steps, and the ones after them that steps have added to."""
        scan = self.scan
        if scan.extra[k] == 0:
            return own
        parts = [f"{self.first[k]}[{scan.length}:]"]
        for name, (to, lag) in zip(added, scan.ports, strict=True):
            if to == k and lag is not None:
                gap = sub(scan.extra[k], lag)
                rest = "".join(", [0, 0]" for _ in scan.types[k].shape)
                tail = f"{name}[{scan.length}:]"
                parts.append(tail if gap == 0 else f"pad({tail}, [[0, {gap}]{rest}])")
        return f"concat([{own}, {' + '.join(parts)}])"


def _signed(offset: Dim) -> str:
    text = str(offset)
    if text.startswith("-"):
        return f"- {sub(0, offset)!s}" if isinstance(offset, int) else f"+ ({text})"
    return f"+ {text}"


def root(p: GradPrinter, i: int, instr: Instr) -> Text:
    """The residual as a function, and the equation."""
    held: Root = instr.attrs[0]
    unknown = p.names.user(held.name + "_")
    names = [p.names.user(f"p{k}") for k in range(len(instr.args) - 1)]
    params: dict[Any, str] = {("unknown", 0, None): unknown}
    params |= {("held", k, None): n for k, n in enumerate(names)}
    at = dict(held.body.outputs)["residual"]
    body = dce(Tape(held.body.instrs, (("residual", at),)))
    inner = p.inside(body, params)
    function = p.names.user(f"residual_{held.name}")
    p.functions.append(f"def {function}({', '.join([unknown, *names])}):")
    p.functions += [INDENT + text for text, _ in inner.lines]
    p.functions.append(f"{INDENT}return {inner.at(body.outputs[0][1])}")
    args = ", ".join([unknown, *(p.named(a) for a in instr.args[1:])])
    return f"solve({function}({args}) for {unknown} from {p.at(instr.args[0])})", ATOM


def derivative(p: GradPrinter, instr: Instr) -> Text:
    """`grad(y, x)` and its like, before they are removed."""
    args = instr.args
    if instr.op in ("grad", "jacobian"):
        return f"{instr.op}({p.at(args[0])}, {p.named(args[1])})", ATOM
    if instr.op == "vjp":
        return f"vjp({p.at(args[0])}, {p.named(args[2])}, {p.at(args[1])})", ATOM
    pairs = zip(args[1::2], args[2::2], strict=True)
    texts = [f"jvp({p.at(args[0])}, {p.named(x)}, {p.at(v)})" for x, v in pairs]
    return " + ".join(texts), ATOM if len(texts) == 1 else SUM


def brackets(p: GradPrinter, cut: Instr, shape: Shape | None = None) -> Text | None:
    """A slice as it is written, `x[1:, ::-1]`; with `shape` the one where some rows of one entry are indexed instead."""
    dims = p.tape.instrs[cut.args[0]].type.shape
    starts, lengths, steps = cut.attrs
    single = [shape is not None and n == 1 and d != 1 for n, d in zip(lengths, dims, strict=True)]
    if shape is not None and tuple(n for n, one in zip(lengths, single, strict=True) if not one) != shape:
        return None
    parts = []
    for start, length, step, dim, one in zip(starts, lengths, steps, dims, single, strict=True):
        stop = add(start, length)
        if one:
            parts.append(str(start))
        elif step == 1:
            parts.append(f"{'' if start == 0 else start}:{'' if stop == dim else stop}")
        elif step == -1 and length == dim and start == sub(dim, 1):
            parts.append("::-1")
        else:
            return None
    while len(parts) > 1 and parts[-1] == ":":
        parts.pop()
    return f"{p.at(cut.args[0], ATOM)}[{', '.join(parts)}]", ATOM
