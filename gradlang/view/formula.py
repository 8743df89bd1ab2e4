"""Values of a tape as formulas for people: without the moves that happen by themselves, and without settings that are usual."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import inf
from typing import Any

from gradlang.backend.grad import GradPrinter, value_text
from gradlang.backend.names import GRAD_RESERVED, Names
from gradlang.backend.text import ATOM, TERNARY, UNARY, Text, number
from gradlang.check.calls import default_of
from gradlang.ir.rebuild import dce
from gradlang.ir.tape import Instr, Tape
from gradlang.ops.table import OpTable
from gradlang.types import Shape

SILENT = frozenset({"broadcast_to", "reshape", "real", "mark", "within", "nearest"})  # moves that shapes say anyway
ZEROS = {"zmul": "mul", "zmatmul": "matmul", "zeinsum": "einsum"}  # the same, with exact zeros that win over infinities


class Formula(GradPrinter):
    """Expressions of the language as a person would write them. What is used twice gets a line of its own."""

    def expression(self, i: int, instr: Instr) -> Text:
        if instr.op in SILENT:
            return self.text[instr.args[0]]
        if instr.op == "iota":
            return f"range({value_text(instr.attrs[0])})", ATOM
        if instr.op == "sum_to":
            over = summed(self.tape.instrs[instr.args[0]].type.shape, instr.type.shape)
            if over is not None:
                return f"sum({self.at(instr.args[0])}{over})", ATOM
        if instr.op in ZEROS:
            settings = () if instr.op == "zmatmul" else instr.attrs
            return super().expression(i, Instr(ZEROS[instr.op], instr.args, settings, instr.type, instr.span))
        return super().expression(i, instr)

    def leaf(self, i: int, instr: Instr) -> Text:
        value = instr.attrs[0]
        if instr.op == "input":
            text = self.params[value]
            return text, UNARY if text[:1] == "-" else ATOM if atomic(text) else TERNARY
        if instr.op == "const" and isinstance(value, float):
            return plain(value)
        if instr.op == "array":
            return short(value_text(value)), ATOM
        return super().leaf(i, instr)

    def call(self, name: str, args: Any) -> Text:
        op = self.table[name] if name in self.table else None
        usual = {} if op is None else {a: value_text(default_of(d)) for a, d in zip(op.attrs, op.defaults, strict=True) if d}
        kept = []
        for a in args:
            setting, equal, value = a.partition("=")
            if not (equal and usual.get(setting) == value):
                kept.append(a)
        return super().call(name, kept)


def summed(before: Shape, after: Shape) -> str | None:
    """The settings with which `sum` takes arrays of a shape to those of another one, to which they would be added; None where
    one sum cannot."""
    more = len(before) - len(after)
    ones = [k for k in range(more, len(before)) if before[k] != after[k - more]]
    if not after:
        return ""
    if more and ones:
        return None
    axes = ones or list(range(more))
    return f", axis={axes[0] if len(axes) == 1 else axes}" + (", keepdims=true" if ones else "")


HEAD = re.compile(r"[\w.]+|\[\d+\]")


def atomic(text: str) -> bool:
    """Whether a formula needs no parentheses anywhere: a name, a number, a call, an entry."""
    head = HEAD.match(text)
    if head is None:
        return False
    depth = 0
    for at in range(head.end(), len(text)):
        c = text[at]
        depth += (c in "([") - (c in ")]")
        if depth == 0 and c not in ")]":
            return False
    return depth == 0


def plain(value: float, digits: int | None = None) -> Text:
    """A number without the .0 of a whole one."""
    if abs(value) == inf:
        return ("inf", ATOM) if value > 0 else ("-inf", UNARY)
    text = number(value)[0] if digits is None or value != value else f"{value:.{digits}g}"
    text = text.removesuffix(".0")
    return (text, UNARY) if text.startswith("-") else (text, ATOM)


def short(text: str, most: int = 40) -> str:
    return text if len(text) <= most else text[: most - 4] + "...]"


def formula(tape: Tape, output: Any, table: OpTable, names: Mapping[Any, str]) -> str:
    """An output of a tape as an expression in which its inputs have these names, with what is used twice behind it:
    `t*t, t = x + 1`. Where `names` has one for "value", the output of that name is called so in others."""
    alone = single(tape, output, "value" in names)
    printer = Formula(alone, Names(GRAD_RESERVED | set(names.values())), table, True, dict(names))
    text = printer.text[alone.outputs[0][1]][0]
    lines = [line for line, _ in printer.lines]
    if lines and lines[-1].startswith(f"{text} = "):
        text = lines.pop().partition(" = ")[2]
    return ", ".join([text, *reversed(lines)])


def single(tape: Tape, output: Any, called: bool) -> Tape:
    """The tape of one output; `called` says that others read the output "value" as an input of that name."""
    outputs: dict[Any, int] = dict(tape.outputs)
    instrs = list(tape.instrs)
    known = outputs.get("value")
    if output != "value" and called and known is not None and instrs[known].args:
        instrs[known] = Instr("input", (), ("value",), instrs[known].type, instrs[known].span)
    return dce(Tape(tuple(instrs), ((output, outputs[output]),)))
