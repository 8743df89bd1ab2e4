"""Values of a tape as mathematical formulas, in any notation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gradlang.backend import grad_loops
from gradlang.backend.grad import value_text
from gradlang.backend.names import GRAD_RESERVED, Names
from gradlang.backend.text import ATOM, DEEPEST, INFIX, NOT, PRODUCT, SUM, TERNARY, UNARY, Text
from gradlang.ir.tape import BEYOND, Instr, Tape
from gradlang.ops.table import OpTable
from gradlang.view.formula import SILENT, ZEROS, Formula, added_axes, outer, plain, short, summed_axes
from gradlang.view.notation import Notation


class Maths(Formula):
    """Expressions as a book prints them: fractions, powers, roots."""

    def __init__(
        self, tape: Tape, table: OpTable, params: dict[Any, str], notation: Notation, called: Mapping[str, str]
    ) -> None:
        """`params` are the pieces of inputs, `called` those of values by their names."""
        self.notation, self.called, self.given = notation, called, params
        self.steps: dict[int, tuple[str, str]] = {}  # values with a line of their own: what they are called, the formula
        super().__init__(tape, Names(GRAD_RESERVED), table, True, params)

    def run(self) -> None:
        for i, instr in enumerate(self.tape.instrs):
            if not instr.args and instr.op != "iota":
                self.text[i] = self.leaf(i, instr)
                continue
            self.depth[i] = 1 + max((self.depth[a] for a in instr.args), default=0)
            self.text[i] = self.expression(i, instr)
            if self.inlined(i, instr, ""):
                continue
            name = instr.name or self.names.fresh()
            piece = self.called.get(name) or self.notation.name(name)
            self.steps[i] = (piece, self.text[i][0])
            self.text[i] = (piece, ATOM)
            self.depth[i] = 0

    def inlined(self, i: int, instr: Instr, text: str) -> bool:
        once = self.uses[i] <= 1 and instr.name is None and self.depth[i] <= DEEPEST
        return once or instr.op == "scan" or (instr.op in SILENT and instr.name is None)

    def at(self, i: int, precedence: int = TERNARY) -> str:
        text, mine = self.text[i]
        return text if mine >= precedence else self.notation.group(text)

    def leaf(self, i: int, instr: Instr) -> Text:
        value = instr.attrs[0]
        if instr.op == "input":
            return self.given[value], ATOM
        if instr.op == "const" and isinstance(value, float):
            text, precedence = plain(value)
            return self.notation.number(text), precedence
        if instr.op == "array":
            return self.notation.number(short(value_text(value))), ATOM
        return self.notation.name(str(value)), SUM if " " in str(value) else ATOM

    def expression(self, i: int, instr: Instr) -> Text:
        note, name = self.notation, ZEROS.get(instr.op, instr.op)
        if name in BEYOND:
            return self.body(instr), ATOM
        args = self.operands(instr) if self.table[instr.op].pointwise else list(instr.args)
        if i in self.stretched and (moved := added_axes(self.tape.instrs, instr)):
            return note.function("expand_dims", [self.at(args[0])], f"axis {value_text(moved).strip('[]')}"), ATOM
        if name in SILENT:
            return self.text[args[0]]
        if factors := outer(self.tape, instr):
            return note.function("outer", [self.text[a][0] for a in factors]), ATOM
        if name == "div":
            return note.fraction(self.at(args[0]), self.at(args[1])), PRODUCT
        if name in INFIX:
            sign, mine, left, right = INFIX[name]
            return note.infix(self.at(args[0], left), sign, self.at(args[1], right)), mine
        if name == "neg":
            return note.negative(self.at(args[0], UNARY)), UNARY
        if name == "logical_not":
            return note.function("not", [self.at(args[0], NOT)]), ATOM
        if name in ("powi", "pow", "square"):
            top = note.number(str(instr.attrs[0] if name == "powi" else 2)) if name != "pow" else self.at(args[1])
            return note.power(self.at(args[0], ATOM), top), UNARY + 1
        if name == "sqrt":
            return note.root(self.at(args[0])), ATOM
        if name == "exp":
            return note.power(note.name("e"), self.at(args[0])), UNARY + 1
        if name == "abs":
            return note.size(self.at(args[0])), ATOM
        if name == "where":
            return note.cases(*(self.at(a) for a in args)), TERNARY
        if name == "transpose" and instr.attrs[0] == tuple(reversed(range(instr.type.rank))):
            return note.transposed(self.at(args[0], ATOM)), ATOM
        return self.applied(name, instr, args)

    def body(self, instr: Instr) -> str:
        """A recurrence or an equation: what it is of."""
        if instr.op == "item":
            scan = self.tape.instrs[instr.args[0]]
            name = str(scan.attrs[0].names[instr.attrs[0]])
            return self.notation.function("recurrence", [self.notation.name(name), *(self.at(a) for a in scan.args)])
        if instr.op == "root":
            return self.notation.function("solve", [self.notation.name(instr.attrs[0].name), *(self.at(a) for a in instr.args)])
        return ""

    def applied(self, name: str, instr: Instr, args: list[int]) -> Text:
        note = self.notation
        if name == "slice":
            cut = grad_loops.brackets(self, instr)
            if cut is not None:
                inside = cut[0].rpartition("[")[2].removesuffix("]")
                return note.index(self.at(args[0], ATOM), inside), ATOM
        if name == "iota":
            return note.function("range", [note.number(str(instr.attrs[0]))]), ATOM
        shown = [note.name(f'"{instr.attrs[0]}"')] if name == "einsum" else []
        named = "sum" if name == "sum_to" else name
        return note.function(named, [*shown, *(self.at(a) for a in args)], self.along(instr)), ATOM

    def along(self, instr: Instr) -> str:
        """The axes that an op with a setting for them goes along, where there are others."""
        shape = self.tape.instrs[instr.args[0]].type.shape if instr.args else ()
        if instr.op == "sum_to":
            axes = (summed_axes(shape, instr.type.shape) or ((), False))[0]
        else:
            settings = dict(zip(self.table[instr.op].attrs, instr.attrs, strict=True))
            axes = () if settings.get("axis") is None or len(shape) < 2 else settings["axis"]
        return "" if axes == () else f"axis {value_text(axes).strip('[]')}"
