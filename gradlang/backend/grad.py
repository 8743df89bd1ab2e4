"""Tapes as programs of the language itself: the text form of a tape, and gradient files (`--target grad`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gradlang.backend import grad_loops
from gradlang.backend.names import GRAD_RESERVED, Names
from gradlang.backend.text import ATOM, INFIX, NOT, OR, POWER, SUM, TERNARY, UNARY, TapePrinter, Text, number
from gradlang.ir.tape import DERIVATIVES, Instr, Tape
from gradlang.ops.op import Op
from gradlang.ops.table import OpTable
from gradlang.record import record
from gradlang.types import Size, Type

KEPT = frozenset({"name"})


def value_text(value: Any) -> str:
    """A setting or a literal as the language writes it."""
    if value is None:
        return "None"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(value_text, value)) + "]"
    if isinstance(value, float):
        return number(value)[0] if abs(value) != float("inf") else ("inf" if value > 0 else "-inf")
    return str(value)


def type_text(type: Type) -> str:
    dims = "[" + ", ".join(map(str, type.shape)) + "]"
    if type.dtype == "real":
        return dims
    return type.dtype + (dims if type.shape else "")


SEQUENCES = ("scan", "segments", "item")  # what lines of their own give names to


class GradPrinter(TapePrinter):
    """Expressions of the language. With `inline` false every instruction has a line of its own."""

    def __init__(
        self,
        tape: Tape,
        names: Names,
        table: OpTable,
        inline: bool,
        params: dict[Any, str] | None = None,
        functions: list[str] | None = None,
    ) -> None:
        """With `params` the tape is a body, whose inputs have these texts."""
        super().__init__(tape, names)
        self.table, self.inline, self.block = table, inline, params is not None
        self.params = params or {i.attrs[0]: names.user(i.attrs[0]) for i in tape.instrs if i.op == "input"}
        self.functions: list[str] = [] if functions is None else functions
        self.sequences: dict[int, list[str]] = {}
        if self.block:
            self.results, self.output_names = set(), {}
        self.constant: list[bool] = []
        for i in tape.instrs:
            known = bool(i.args) and i.op not in (*SEQUENCES, "root") and all(self.constant[a] for a in i.args)
            self.constant.append(known or i.op in ("const", "array"))
        if inline:
            self.skip_broadcasts()
        self.run()

    def assign(self, name: str, text: str, instr: Instr) -> str:
        # a name bound to numbers only would be an input
        known = instr.args and all(self.constant[a] for a in instr.args) and not self.block
        return f"{'const ' if known else ''}{name} = {text}"

    def inlined(self, i: int, instr: Instr, text: str) -> bool:
        return instr.op in SEQUENCES or (self.inline and super().inlined(i, instr, text))

    def inside(self, tape: Tape, params: dict[Any, str]) -> GradPrinter:
        """A printer of the body of a loop or of a function."""
        return GradPrinter(tape, self.names, self.table, self.inline, params, self.functions)

    def named(self, i: int) -> str:
        """A value by a name, for a use that is repeated or has to be a name."""
        text = self.text[i][0]
        if not text.isidentifier():
            name, instr = self.names.fresh(), self.tape.instrs[i]
            known = self.constant[i] and not self.block
            self.lines.append((f"{'const ' if known else ''}{name} = {text}", instr.span))
            self.text[i] = (name, ATOM)
        return self.text[i][0]

    def leaf(self, i: int, instr: Instr) -> Text:
        if instr.op == "input":
            return self.params[instr.attrs[0]], ATOM
        value = instr.attrs[0]
        if instr.op == "array" and instr.type.dtype == "int" and not self.block:
            # a list of numbers that gets a name is one of reals, unless its type says otherwise
            name = self.names.user(instr.name) if instr.name else self.names.fresh()
            self.lines.append((f"const {name} : {type_text(instr.type)} = {value_text(value)}", instr.span))
            return name, ATOM
        if instr.op == "size" or isinstance(value, Size):
            text = str(value)
            return text, SUM if " " in text or "*" in text else ATOM
        if isinstance(value, float) and abs(value) == float("inf"):
            return ("inf", ATOM) if value > 0 else ("-inf", UNARY)
        return number(value) if isinstance(value, float) else (value_text(value), ATOM)

    def expression(self, i: int, instr: Instr) -> Text:
        if instr.op in ("scan", "root"):
            return (grad_loops.scan if instr.op == "scan" else grad_loops.root)(self, i, instr)
        if instr.op == "segments":
            return grad_loops.segments(self, i, instr)
        if instr.op == "item":
            return self.sequences[instr.args[0]][instr.attrs[0]], ATOM
        if instr.op in DERIVATIVES:
            return grad_loops.derivative(self, instr)
        name, op = instr.op, self.table[instr.op]
        source = self.tape.instrs[instr.args[0]] if instr.args else instr
        if name == "take_axis" and self.block and source.op == "input" and source.attrs[0][0] == "past":
            return f"{self.at(instr.args[0], ATOM)}[{self.at(instr.args[1])}]", ATOM
        if name == "slice" and (cut := grad_loops.brackets(self, instr)) is not None:
            return cut
        if name == "reshape" and source.op == "slice" and self.text[instr.args[0]][0].endswith("]"):
            picked = grad_loops.brackets(self, source, instr.type.shape)
            if picked is not None:
                return picked
        args = self.operands(instr) if op.pointwise else list(instr.args)
        if name in INFIX:
            return self.infix(name, args[0], args[1])
        if name == "neg":
            return self.negated(args[0])
        if name == "logical_not":
            return "not " + self.at(args[0], NOT), NOT
        if name == "where":
            return self.ternary(self.at(args[0], OR), self.at(args[1], OR), self.at(args[2], TERNARY))
        if name == "powi":
            exponent = value_text(instr.attrs[0])
            return f"{self.at(args[0], ATOM)}**{exponent}", POWER
        if name == "pow":
            return f"{self.at(args[0], ATOM)}**{self.at(args[1], UNARY)}", POWER
        if name == "transpose" and instr.attrs[0] == tuple(reversed(range(instr.type.rank))):
            return f"{self.at(args[0], ATOM)}.T", ATOM
        shown = [self.at(a) for a in args]
        if name in ("einsum", "zeinsum"):
            return self.call(name, [f'"{instr.attrs[0]}"', *shown])
        if "variadic" in op.flags:
            shown = ["[" + ", ".join(shown) + "]"]
        settings = [f"{a}={value_text(v)}" for a, v in zip(op.attrs, instr.attrs, strict=True)]
        return self.call(name, [*shown, *settings])


@record
class LeafText:
    """How an input is declared: its role, and its default as text."""

    role: str = "input"
    default: str | None = None
    label: str | None = None


def program_text(
    tape: Tape, table: OpTable, leaves: Mapping[str, LeafText], header: Iterable[str] = (), inline: bool = False
) -> str:
    """A tape as a program that means the same."""
    sizes = sorted({n for i in tape.instrs for n in _size_names(i)})
    names = Names(GRAD_RESERVED | set(sizes) | set(table))
    for name, i in tape.outputs:
        if tape.instrs[i].op not in ("input", *SEQUENCES):
            names.keep(name)
    printer = GradPrinter(tape, names, table, inline)
    lines = [f"# {h}" for h in header]
    for op in definitions(tape, table):
        lines += ["", *op.text().splitlines()] if lines else op.text().splitlines()
    lines += [""] if table.own and lines else []
    for instr in tape.instrs:
        if instr.op == "input":
            leaf = leaves.get(instr.attrs[0], LeafText())
            typed = "" if not instr.type.shape and instr.type.dtype == "real" else " : " + type_text(instr.type)
            lines.append(
                f"{leaf.role} {printer.params[instr.attrs[0]]}{typed}"
                + (f" = {leaf.default}" if leaf.default is not None else "")
                + (f' "{leaf.label}"' if leaf.label else "")
            )
    if lines:
        lines.append("")
    lines += [*printer.functions, ""] if printer.functions else []
    lines += [text for text, _ in printer.lines]
    shown = []
    for name, i in tape.outputs:
        text, _ = printer.text[i]
        instr = tape.instrs[i]
        if text.isidentifier() and name == (printer.output_names.get(i) or instr.name) and instr.op not in ("const", "size"):
            shown.append(text)
            continue
        mine = names.output(name)
        lines.append(f"{'const ' if printer.constant[i] else ''}{mine} = {text}")
        shown.append(mine)
    lines += ["", "output " + ", ".join(shown)] if shown else []
    return "\n".join(lines) + "\n"


def definitions(tape: Tape, table: OpTable) -> list[Op]:
    """The program's own ops that a tape needs, with those that these need. An op that takes the place of a built-in one is
    always there: the entries of other built-in ops may use it."""
    wanted = {i.op for i in tape.instrs} | {n for n in table.own if table.base is not None and n in table.base}
    todo, found = [n for n in table.own if n in wanted], set[str]()
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += [n for n in table.own[name].calls() if n in table.own]
    return [op for op in table.own.values() if op.name in found]


def _size_names(instr: Instr) -> set[str]:
    out: set[str] = set()
    stack: list[Any] = [*instr.type.shape, *instr.attrs]
    while stack:
        item = stack.pop()
        if isinstance(item, Size):
            out |= item.names()
        elif isinstance(item, tuple) and instr.op != "array":
            stack.extend(item)
    return out
