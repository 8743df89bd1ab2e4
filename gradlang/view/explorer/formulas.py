"""Formulas with holes, so that a page can fill in the names or the numbers of the moment."""

from __future__ import annotations

import ast
import re
from typing import Any

from gradlang.backend.text import INFIX, TERNARY, Text
from gradlang.ir.tape import Instr, Tape
from gradlang.ops.table import OpTable
from gradlang.record import record
from gradlang.view.formula import formula, single
from gradlang.view.maths import Maths
from gradlang.view.notation import MathML
from gradlang.view.story import renamed

OPEN, CLOSE = "\ue000", "\ue001"
SIGNS = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul"}


@record
class Form:
    """A formula as text and in MathML. A hole is the number of an argument, or `r` for the result, between two marks. A
    `!` behind it says that what is no name, number or call is grouped there, and `!!` that what has a sign is too."""

    text: str
    maths: str


def hole(what: object) -> str:
    return f"{OPEN}{what}{CLOSE}"


def grouping(text: str, sign: str) -> str:
    """Parentheses around a hole alone, but not those of a call, become a `!` of the hole."""
    inside = re.sub(rf"(?<![\w\])])\({sign}{OPEN}(\w+){CLOSE}\)", rf"{OPEN}\1!{CLOSE}", text)
    return inside.replace(sign + OPEN, OPEN) if sign else inside


def form(tape: Tape, output: Any, table: OpTable, count: int, result: bool) -> Form:
    """An output of the tape of one op with `count` arguments; with `result` it reads the result of the op as such. What comes
    in from above is `g`, the derivative of an argument `t`."""
    ends: list[tuple[Any, object]] = [(("argument", k), k) for k in range(count)] + ([("value", "r")] if result else [])
    flows: dict[Any, str] = {("upstream", n): "g" for n in range(64)} | {("tangent", n): "t" for n in range(count)}
    loose = grouping(formula(tape, output, table, {**{key: hole(k) for key, k in ends}, **flows}), "")
    signed = grouping(formula(tape, output, table, {**{key: "-" + hole(k) for key, k in ends}, **flows}), "-")
    marks = iter(re.findall(rf"(!?){CLOSE}", signed))
    text = re.sub(CLOSE, lambda m: next(marks) + CLOSE, loose)
    pieces = {**{key: hole(k) for key, k in ends}, **{key: f"<mi>{name}</mi>" for key, name in flows.items()}}
    return Form(text, maths(tape, output, table, pieces, result))


def maths(tape: Tape, output: Any, table: OpTable, pieces: dict[Any, str], result: bool) -> str:
    """The same in MathML, with what is used twice behind it."""
    alone = single(tape, output, result)
    printer = _Holes(alone, table, pieces, MathML(), {})
    at = alone.outputs[0][1]
    own = printer.steps.pop(at, None)
    rest = [f"<mo>,</mo>{name}<mo>=</mo>{text}" for name, text in reversed(printer.steps.values())]
    text = "".join([own[1] if own is not None else printer.text[at][0], *rest])
    return re.sub(rf"<mrow><mo>\(</mo>{OPEN}(\w+){CLOSE}<mo>\)</mo></mrow>", rf"{OPEN}\1!{CLOSE}", text)


class _Holes(Maths):
    """Holes are grouped wherever a sum would be."""

    def leaf(self, i: int, instr: Instr) -> Text:
        text, precedence = super().leaf(i, instr)
        return text, TERNARY if instr.op == "input" and OPEN in text else precedence


def textbook(text: str, ends: dict[str, object]) -> Form:
    """A local derivative as textbooks write it, in the names of the op's entry."""
    shown = renamed(text, {name: f"{OPEN}{k}!!{CLOSE}" for name, k in ends.items()})
    return Form(shown, written(ast.parse(text, mode="eval").body, ends, MathML()))


def written(e: ast.expr, ends: dict[str, object], note: MathML, needed: int = 0) -> str:
    """An expression of arithmetic and calls in MathML."""
    match e:
        case ast.Name():
            mark = "!" if needed else ""
            return f"{OPEN}{ends[e.id]}{mark}{CLOSE}" if e.id in ends else note.name(e.id)
        case ast.Constant():
            return note.number(str(e.value))
        case ast.UnaryOp():
            return note.negative(written(e.operand, ends, note, 3))
        case ast.BinOp(op=ast.Div()):
            return note.fraction(written(e.left, ends, note), written(e.right, ends, note))
        case ast.BinOp(op=ast.Pow()):
            return note.power(written(e.left, ends, note, 9), written(e.right, ends, note))
        case ast.BinOp():
            sign, mine, left, right = INFIX[SIGNS[type(e.op)]]
            text = note.infix(written(e.left, ends, note, left), sign, written(e.right, ends, note, right))
            return note.group(text) if mine < needed else text
        case ast.Call(func=ast.Name(id="exp"), args=[argument]):
            return note.power(note.name("e"), written(argument, ends, note))
    raise ValueError(f"textbook formulas are of arithmetic and exp, not {ast.unparse(e)}")
