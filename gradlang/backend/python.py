"""Scalar programs as plain Python on floats, without NumPy.

Python's math raises where IEEE arithmetic gives an infinity or a nan. The fast function uses the math module as it is; if
anything raises, a second function of the same module, written over NumPy scalars, computes the IEEE answer.
"""

from __future__ import annotations

from gradlang.backend.artifact import Param, Returns
from gradlang.backend.names import Names
from gradlang.backend.text import ATOM, INFIX, NOT, OR, TERNARY, UNARY, TapePrinter, Text, number
from gradlang.ir.tape import Instr, Tape
from gradlang.ops.op import Op
from gradlang.ops.table import OpTable

QUIET = frozenset(INFIX) - {"div", "floordiv", "mod", "matmul"} | {
    "neg",
    "abs",
    "where",
    "logical_not",
    "real",
    "input",
    "const",
    "mark",
}


def spelled(op: Op) -> bool:
    """Whether this backend writes an op itself; otherwise its value is written."""
    return op.pointwise and ("python" in op.spelling or op.value is None)


class PythonPrinter(TapePrinter):
    def __init__(self, tape: Tape, names: Names, table: OpTable, params: dict[str, str]) -> None:
        super().__init__(tape, names)
        self.table, self.params = table, params
        self.modules: set[str] = set()
        self.run()

    def leaf(self, i: int, instr: Instr) -> Text:
        if instr.op == "input":
            return self.params[instr.attrs[0]], ATOM
        value = instr.attrs[0]
        if isinstance(value, bool):
            return str(value), ATOM
        if value != value or value in (float("inf"), float("-inf")):
            self.modules.add("math")
            return ("math.nan", ATOM) if value != value else ("math.inf", ATOM) if value > 0 else ("-math.inf", UNARY)
        return number(value)

    def expression(self, i: int, instr: Instr) -> Text:
        op, args = instr.op, instr.args
        if op in INFIX:
            return self.infix(op, args[0], args[1])
        if op == "neg":
            return self.negated(args[0])
        if op == "where":
            return self.ternary(self.at(args[0], OR), self.at(args[1], OR), self.at(args[2], TERNARY))
        if op == "logical_not":
            return "not " + self.at(args[0], NOT), NOT
        if op == "real":
            return self.call("float", [self.at(args[0])])
        if op == "mark":
            return self.text[args[0]]
        spelling = self.table[op].spelling.get("python", f"math.{op}")
        if "math." in spelling:
            self.modules.add("math")
        if "rounding" in self.table[op].flags:
            self.modules.add("math")
            x = self.named(args[0], instr)
            return f"math.copysign({spelling}({x}), {x})", ATOM
        return f"{spelling}({', '.join(self.at(a) for a in args)})", ATOM

    def named(self, a: int, instr: Instr) -> str:
        """An operand that is written twice: by a name, so that it is computed once."""
        text = self.text[a][0]
        if not text.isidentifier():
            name = self.names.fresh()
            self.lines.append((f"{name} = {text}", instr.span))
            self.text[a] = (name, ATOM)
        return self.text[a][0]


def raises(tape: Tape) -> bool:
    """Whether an instruction may raise where IEEE arithmetic goes on."""
    return any(i.op not in QUIET for i in tape.instrs)


def structure(returns: Returns, names: dict[str, str]) -> str:
    """The expression after `return`."""

    def one(part: object) -> str:
        return structure(part, names) if isinstance(part, Returns) else names[str(part)]

    if returns.kind == "one":
        return one(returns.parts[0])
    if returns.kind == "pair":
        return ", ".join(map(one, returns.parts))
    return "{" + ", ".join(f"{key!r}: {one(part)}" for key, part in returns.parts) + "}"


def identifiers(params: tuple[Param, ...]) -> dict[str, str]:
    return {p.name: p.identifier for p in params}
