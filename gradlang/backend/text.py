"""Tapes to lines of text: which values get a line of their own, and expressions with as few parentheses as are right.

A value that is used once and has no name of the user's is written inside its use while that stays short, so that generated
code reads like the formula; nesting is bounded, so any program becomes code that Python's own parser takes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

from gradlang.backend.names import Names
from gradlang.ir.tape import Instr, Tape
from gradlang.source import Span
from gradlang.types import Mismatch, Shape, broadcast

LONGEST = 72  # characters of an expression that is written inside another one
DEEPEST = 12

# Precedence as in Python; a higher number binds tighter.
TERNARY, OR, AND, NOT, COMPARE, SUM, PRODUCT, UNARY, POWER, ATOM = range(10)
INFIX = {
    "add": ("+", SUM, SUM, PRODUCT),
    "sub": ("-", SUM, SUM, PRODUCT),
    "mul": ("*", PRODUCT, PRODUCT, UNARY),
    "div": ("/", PRODUCT, PRODUCT, UNARY),
    "floordiv": ("//", PRODUCT, PRODUCT, UNARY),
    "mod": ("%", PRODUCT, PRODUCT, UNARY),
    "matmul": ("@", PRODUCT, PRODUCT, UNARY),
    **{
        op: (sign, COMPARE, SUM, SUM)
        for op, sign in {
            "less": "<",
            "less_equal": "<=",
            "greater": ">",
            "greater_equal": ">=",
            "equal": "==",
            "not_equal": "!=",
        }.items()
    },
    "logical_or": ("or", OR, OR, AND),
    "logical_and": ("and", AND, AND, NOT),
}
Text = tuple[str, int]  # an expression and its precedence


class TapePrinter(ABC):
    """Walks over a tape and decides what becomes a line. Subclasses say how one instruction is written."""

    def __init__(self, tape: Tape, names: Names) -> None:
        self.tape, self.names = tape, names
        self.text: list[Text] = [("", ATOM)] * len(tape.instrs)
        self.depth = [0] * len(tape.instrs)
        self.lines: list[tuple[str, Span]] = []
        self.uses = [0] * len(tape.instrs)
        for instr in tape.instrs:
            for a in instr.args:
                self.uses[a] += 1
        self.skipping = False
        self.results = {i for _, i in tape.outputs}
        self.output_names: dict[int, str] = {}
        for name, i in tape.outputs:
            # a derivative that the forward pass computes anyway keeps its own place and name there
            if self.uses[i] == 0 or tape.instrs[i].name in (None, name):
                self.output_names.setdefault(i, name)
        for i in [i for i in self.output_names if self.uses[i] and tape.instrs[i].name is None]:
            del self.output_names[i]
        for _, i in tape.outputs:
            self.uses[i] += 1

    @abstractmethod
    def leaf(self, i: int, instr: Instr) -> Text: ...

    @abstractmethod
    def expression(self, i: int, instr: Instr) -> Text: ...

    def assign(self, name: str, text: str, instr: Instr) -> str:
        return f"{name} = {text}"

    # -------------------------------------------------------------- operands that broadcast by themselves
    def skip_broadcasts(self) -> None:
        """A broadcast is left out of its uses: they use its argument."""
        self.skipping = True
        for i in range(len(self.tape.instrs) - 1, -1, -1):
            if self.tape.instrs[i].op == "broadcast_to":
                self.uses[self.tape.instrs[i].args[0]] += max(self.uses[i] - 1, 0)

    def operands(self, instr: Instr) -> list[int]:
        """The arguments of a pointwise op, without the broadcasts that happen by themselves."""
        instrs = self.tape.instrs
        thin = [instrs[a].args[0] if instrs[a].op == "broadcast_to" else a for a in instr.args]
        if not self.skipping or thin == list(instr.args):
            return list(instr.args)
        shape: Shape = ()
        try:
            for a in thin:
                shape = broadcast(shape, instrs[a].type.shape)
        except Mismatch:
            return list(instr.args)
        return thin if shape == instr.type.shape else list(instr.args)

    def inlined(self, i: int, instr: Instr, text: str) -> bool:
        # a broadcast that all its uses do without must leave no line behind
        if self.skipping and instr.op == "broadcast_to" and instr.name is None and i not in self.results:
            return True
        return (
            self.uses[i] <= 1
            and instr.name is None
            and i not in self.output_names
            and i not in self.results
            and len(text) <= LONGEST
            and self.depth[i] <= DEEPEST
        )

    def run(self) -> None:
        for i, instr in enumerate(self.tape.instrs):
            if not instr.args and instr.op != "iota":
                self.text[i] = self.leaf(i, instr)
                continue
            self.depth[i] = 1 + max((self.depth[a] for a in instr.args), default=0)
            made = self.expression(i, instr)
            if self.inlined(i, instr, made[0]):
                self.text[i] = made
                continue
            name = self.name_of(i)
            self.lines.append((self.assign(name, made[0], instr), instr.span))
            self.text[i] = (name, ATOM)
            self.depth[i] = 0

    def name_of(self, i: int) -> str:
        """A name for a value that gets a line of its own."""
        shown, own = self.output_names.get(i), self.tape.instrs[i].name
        return self.names.output(shown) if shown else self.names.user(own) if own else self.names.fresh()

    # -------------------------------------------------------------- pieces of expressions
    def at(self, i: int, precedence: int = TERNARY) -> str:
        text, mine = self.text[i]
        return text if mine >= precedence else f"({text})"

    def infix(self, op: str, a: int, b: int) -> Text:
        sign, mine, left, right = INFIX[op]
        return f"{self.at(a, left)} {sign} {self.at(b, right)}", mine

    def call(self, name: str, args: Iterable[str]) -> Text:
        return f"{name}({', '.join(args)})", ATOM

    def negated(self, a: int) -> Text:
        return "-" + self.at(a, UNARY), UNARY

    def ternary(self, c: str, a: str, b: str) -> Text:
        return f"{a} if {c} else {b}", TERNARY


def number(value: float) -> Text:
    """The shortest text that reads back as the same float."""
    if value != value:
        return "nan", ATOM
    text = repr(value)
    return (text, UNARY) if text.startswith("-") else (text, ATOM)


def array_text(value: Any) -> str:
    """Nested tuples of numbers as nested lists."""
    out: list[str] = []
    stack: list[Any] = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            out.append(item)
        elif isinstance(item, tuple):
            stack.append("]")
            for k, x in enumerate(reversed(item)):
                stack.append(x)
                if k < len(item) - 1:
                    stack.append(", ")
            stack.append("[")
        elif isinstance(item, float) and item != item:
            out.append("np.nan")
        elif isinstance(item, float) and abs(item) == float("inf"):
            out.append("np.inf" if item > 0 else "-np.inf")
        else:
            out.append(repr(item))
    return "".join(out)
