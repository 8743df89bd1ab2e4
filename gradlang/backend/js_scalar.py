"""Scalar programs as plain JavaScript, one `const` a line.

The order of the arithmetic is that of the Python backend, so results made of + - * / and square roots have the same bits;
JavaScript's other functions may differ from Python's in their last bits.
"""

from __future__ import annotations

from gradlang.backend.js_words import HELPERS, MATH, NEEDS, RESERVED, WRITTEN, real
from gradlang.backend.names import Names
from gradlang.backend.python import spelled as python_spells
from gradlang.backend.text import ATOM, INFIX, OR, TERNARY, UNARY, TapePrinter, Text
from gradlang.ir.tape import Builder, Instr, Tape
from gradlang.ops.op import Op
from gradlang.ops.table import OpTable
from gradlang.source import NOWHERE
from gradlang.transform.expand import expand
from gradlang.transform.partials import Templates
from gradlang.types import SCALAR

SIGNS = {"logical_or": "||", "logical_and": "&&", "equal": "===", "not_equal": "!=="}
PLAIN = frozenset(INFIX) - {"floordiv", "mod", "matmul"}


class JsPrinter(TapePrinter):
    """A tape in the ops of Python floats as statements; `params` are the expressions of the inputs. `helpers` collects what
    the statements call."""

    def __init__(self, tape: Tape, names: Names, table: OpTable, params: dict[str, str]) -> None:
        super().__init__(tape, names)
        self.table, self.params = table, params
        self.helpers: dict[str, None] = {}
        self.run()

    def assign(self, name: str, text: str, instr: Instr) -> str:
        return f"const {name} = {text};"

    def leaf(self, i: int, instr: Instr) -> Text:
        if instr.op == "input":
            return self.params[instr.attrs[0]], ATOM
        value = instr.attrs[0]
        if isinstance(value, bool):
            return str(value).lower(), ATOM
        text = real(value)
        return text, UNARY if text.startswith("-") else ATOM

    def expression(self, i: int, instr: Instr) -> Text:
        op, args = instr.op, instr.args
        if op in PLAIN:
            return self.infix(op, args[0], args[1])
        if op == "neg":
            text = self.at(args[0], UNARY)
            return f"-({text})" if text.startswith("-") else f"-{text}", UNARY
        if op == "where":
            return f"{self.at(args[0], OR)} ? {self.at(args[1], OR)} : {self.at(args[2], TERNARY)}", TERNARY
        if op == "logical_not":
            return "!" + self.at(args[0], UNARY), UNARY
        if op == "real":
            return self.call("Number", [self.at(args[0])])
        if op == "mark":
            return self.text[args[0]]
        if op not in MATH:
            need(self.helpers, op)
        return self.call(f"Math.{op}" if op in MATH else op, [self.at(a) for a in args])

    def infix(self, op: str, a: int, b: int) -> Text:
        sign, mine, left, right = INFIX[op]
        return f"{self.at(a, left)} {SIGNS.get(op, sign)} {self.at(b, right)}", mine


def need(helpers: dict[str, None], name: str) -> None:
    """Notes a helper and those that it calls itself."""
    for other in NEEDS.get(name, ()):
        need(helpers, other)
    helpers[name] = None


def js_lines(
    tape: Tape, names: Names, table: OpTable, params: dict[str, str]
) -> tuple[list[str], dict[str, str], dict[str, None]]:
    """The statements of a scalar tape, the expressions of its outputs by name, and the helpers that they call (their texts:
    `helper_texts`). `names` hands out the identifiers, `params` are the expressions of the inputs by name. The ops must be
    those of the Python backend (`spelled`)."""
    made = JsPrinter(tape, names, table, params)
    return [line for line, _ in made.lines], {name: made.text[i][0] for name, i in tape.outputs}, made.helpers


def spelled(op: Op) -> bool:
    """Whether JavaScript writes an op itself, without a function that is made of other ops."""
    return python_spells(op) and op.name not in WRITTEN


def helper_texts(helpers: dict[str, None], table: OpTable) -> list[str]:
    """The functions that generated code calls: what JavaScript's `Math` lacks or has otherwise."""
    every = dict(helpers)
    written = {name: written_function(name, table, every) for name in sorted(helpers) if name in WRITTEN}
    return [HELPERS[name] for name in HELPERS if name in every] + list(written.values())


def written_function(name: str, table: OpTable, helpers: dict[str, None]) -> str:
    """A function of one number as its entry in the table defines it."""
    b = Builder(table)
    x = b.leaf("input", ("x",), SCALAR, NOWHERE).id
    tape = expand(b.tape([("y", b.add(name, (x,), (), SCALAR))]), table, Templates(table), spelled)
    lines, results, more = js_lines(tape, Names(RESERVED | {"x"}), table, {"x": "x"})
    helpers.update(more)
    return "\n".join([f"function {name}(x) {{", *(f"    {line}" for line in lines), f"    return {results['y']};", "}"])
