"""Derivatives as formulas: `gradlang diff`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gradlang import pipeline
from gradlang.backend.names import GRAD_RESERVED, Names
from gradlang.check.program import Program
from gradlang.ir.rebuild import dce
from gradlang.ir.tape import Tape
from gradlang.pipeline import Goal
from gradlang.record import record
from gradlang.types import value
from gradlang.view.formula import Formula
from gradlang.view.local import Locals
from gradlang.view.maths import Maths
from gradlang.view.notation import Latex
from gradlang.view.show import json_value, summary
from gradlang.view.story import number_text, renamed, signed
from gradlang.view.trace import forward

if TYPE_CHECKING:
    from gradlang.api import Model


@record(eq=False)
class Equation:
    """A derivative or a common part: what it is called, its formula with names and with numbers ("" without), its value (None
    without). `by` is the leaf that a derivative is by, "" for a common part."""

    name: str
    by: str
    formula: str
    numbers: str
    value: Any


@record(eq=False)
class Derivatives:
    """The derivatives of `of`, and the parts that their formulas share."""

    of: str
    slopes: tuple[Equation, ...]
    shared: tuple[Equation, ...]

    def text(self, digits: int | None = None) -> str:
        """One line each, common parts behind them."""
        lines = [written(e, digits) for e in self.slopes]
        if self.shared:
            lines += ["", "where", *(f"  {written(e, digits)}" for e in self.shared)]
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        def row(e: Equation) -> dict[str, Any]:
            more = {} if e.value is None else {"numbers": e.numbers or None, "value": json_value(e.value)}
            return {"name": e.name, "by": e.by or None, "formula": e.formula, **more}

        return {"schema": 1, "of": self.of, "derivatives": [*map(row, self.slopes)], "where": [*map(row, self.shared)]}


def written(e: Equation, digits: int | None) -> str:
    chain = [e.name, e.formula]
    if e.value is not None:
        value = summary(e.value, digits).removesuffix(".0")
        chain += [part for part in (e.numbers, value) if part not in ("", chain[-1])]
        if len(chain) > 2 and chain[-1] == chain[-2]:
            chain.pop()
    return " = ".join(chain)


@record(eq=False)
class Goals:
    """Derivatives as a tape in the ops of the table. `outputs` are their names there -> leaf, `upstream` is the input that
    stands for the derivative that flows in where the result is an array ("" where it is none), `letter` what it is called.
    The derivatives are of `title`: for an array, of whatever the array flows into."""

    tape: Tape
    outputs: dict[str, str]
    upstream: str
    letter: str
    title: str


def goals(program: Program, of: str, wrt: Sequence[str]) -> Goals:
    """The derivatives of a definition; of an array, in matrix form, what they hand back of a derivative that flows in."""
    array = program.nodes[program.values[of]].type.shape
    goal = Goal("vjp" if array else "grad", (of,), tuple(wrt))
    tape, _, extra = pipeline.goal_tape(program, goal, program.language.table)
    names = [n for n, _ in tape.outputs if n != of]
    with pipeline.sources_of(program):
        tape, _ = pipeline.optimized(tape, program.language, lambda op: True)
    kept = tuple((n, i) for n, i in tape.outputs if n in names)
    letter, whole = (unused(word, program) for word in ("g", "L"))
    outputs = dict(zip(names, wrt, strict=True))
    return Goals(dce(Tape(tape.instrs, kept)), outputs, extra[0][0] if extra else "", letter, whole if extra else of)


def unused(word: str, program: Program) -> str:
    """A name that nothing in a program has."""
    while word in program.values:
        word += "_"
    return word


def derivatives(
    model: Model, of: str, wrt: Sequence[str], given: Mapping[str, Any] | None = None, digits: int | None = None
) -> Derivatives:
    """The derivatives of a definition by some leaves as formulas of the language; with `given` with numbers, those of a call
    (and ones for the derivative that flows into an array)."""
    program = model.program
    made = goals(program, of, wrt)
    tape, outputs = made.tape, made.outputs
    params = {i.attrs[0]: i.attrs[0] for i in tape.instrs if i.op == "input"}
    if made.upstream in params:
        params[made.upstream] = made.letter
    printer = Formula(tape, Names(GRAD_RESERVED | set(params.values())), program.language.table, True, dict(params))
    lines = dict(line.partition(" = ")[::2] for line, _ in printer.lines)
    at = dict(tape.outputs)
    parts: dict[str, int] = {}
    for i, entry in enumerate(printer.text):
        if entry and entry[0] in lines:
            parts.setdefault(entry[0], i)  # what is only repeated afterwards has the same text
    values = values_by_name(model, of, made, given, parts) if given is not None else {}
    shown = {d: f"∂{made.title}/∂{x}" for d, x in outputs.items()}
    called = {d: f"({text})" for d, text in shown.items()}
    numbers = {n: signed(number_text(v, digits)) for n, v in values.items() if number_text(v, digits)}

    def equation(name: str, formula: str, title: str, by: str) -> Equation:
        words = set(re.findall(r"[^\W\d]\w*", formula)) & (set(values) | set(params.values()))
        substituted = renamed(formula, numbers) if values and words and words <= set(numbers) else ""
        return Equation(title, by, renamed(formula, called), substituted, values.get(name))

    shared = [equation(name, formula, name, "") for name, formula in lines.items() if name not in outputs]
    if made.upstream in [i.attrs[0] for i in tape.instrs if i.op == "input"]:
        shared.insert(0, Equation(made.letter, "", f"∂{made.title}/∂{of}", "", values.get(made.upstream)))
    texts = {d: printer.text[at[d]][0] for d in outputs}
    slopes = [equation(d, lines[t] if t in outputs else t, shown[d], outputs[d]) for d, t in texts.items()]
    return Derivatives(of, tuple(slopes), tuple(shared))


def values_by_name(model: Model, of: str, made: Goals, given: Mapping[str, Any], parts: Mapping[str, int]) -> dict[str, Any]:
    """The values of inputs, of named instructions, of outputs and of common `parts` for a call."""
    import numpy as np

    program, tape = model.program, made.tape
    args, sizes = model.function(program.outputs).binder.bind(given)
    inputs = dict(zip([leaf.name for leaf in program.callable_leaves()], args, strict=True))
    if made.upstream:
        shape = program.nodes[program.values[of]].type.shape
        inputs[made.upstream] = np.ones([value(d, sizes) for d in shape])
    with np.errstate(all="ignore"):
        found = forward(tape.instrs, range(len(tape.instrs)), inputs, sizes, Locals(program.language))
    out: dict[str, Any] = {}
    for i, instr in enumerate(tape.instrs):
        name = instr.attrs[0] if instr.op == "input" else instr.name
        if name is not None:
            out[name] = found[i]
    return out | {n: found[i] for n, i in (*parts.items(), *tape.outputs)}


def latex(program: Program, of: str, wrt: Sequence[str]) -> str:
    """The derivatives in LaTeX: one `align*`, common parts behind."""
    made, note = goals(program, of, wrt), Latex()
    params = {i.attrs[0]: note.name(i.attrs[0]) for i in made.tape.instrs if i.op == "input"}
    flowing = made.upstream in params
    if flowing:
        params[made.upstream] = note.name(made.letter)
    called = {d: note.slope(made.title, x) for d, x in made.outputs.items()}
    printer = Maths(made.tape, program.language.table, params, note, called)
    at = dict(made.tape.outputs)
    rows = []
    for d in made.outputs:
        own = printer.steps.get(at[d])
        rows.append(f"  {called[d]} &= {own[1] if own is not None and own[0] == called[d] else printer.text[at[d]][0]}")
    rows += [f"  {params[made.upstream]} &= {note.slope(made.title, of)}"] if flowing else []
    mine = {at[d] for d in made.outputs if printer.steps.get(at[d], ("", ""))[0] == called[d]}
    rows += [f"  {piece} &= {right}" for i, (piece, right) in printer.steps.items() if i not in mine]
    return "\\begin{align*}\n" + " \\\\\n".join(rows) + "\n\\end{align*}\n"
