"""A story in words and numbers: `gradlang explain`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradlang.diagnostics import text_width
from gradlang.ops.op import BODIES
from gradlang.view.formula import atomic
from gradlang.view.show import json_value, summary, table
from gradlang.view.story import Entry, Given, Step, Story, story
from gradlang.view.trace import rules_used, trace
from gradlang.view.words import Words

if TYPE_CHECKING:
    from gradlang.api import Model

ZEROS = {"zmul": "mul", "zmatmul": "matmul", "zeinsum": "einsum"}
MOST_TERMS = 6  # branches of a sum that are written out


class Explanation:
    """Tells a story as text. Numbers have `digits` significant digits (None: all). `compiled` is the story of the formulas as
    the compiler rewrites them, by the rules `rules`."""

    def __init__(
        self,
        story: Story,
        words: Words,
        digits: int | None = None,
        compiled: Story | None = None,
        rules: Sequence[str] = (),
    ) -> None:
        self.compiled, self.rules = compiled, rules
        self.story, self.words, self.digits = story, words, digits
        self.trace = story.trace
        self.of = self.trace.of

    def text(self) -> str:
        parts = [self.words("title", of=self.of, value=self.value(self.trace.values[self.trace.top]))]
        if self.story.entries:
            parts.append(self.words("inputs") + "\n" + self.inputs())
        if self.story.steps:
            parts.append(self.words("forward") + "\n" + "\n".join(map(self.forward, self.story.steps)))
            start = f"{self.slope(self.of)} = {self.value(self.trace.adjoints.get(self.trace.top, 0.0))}"
            backward = [self.backward(s) for s in reversed(self.story.steps) if s.gives]
            parts.append(self.words("backward", of=self.of, start=start) + "\n" + "\n".join(backward))
        if self.compiled is not None:
            parts.append(self.as_compiled(self.compiled))
        parts.append(self.gradient())
        return "\n\n".join(parts)

    def as_compiled(self, other: Story) -> str:
        """The nodes that take the place of written ones, with what they hand back."""
        inner = Explanation(other, self.words, self.digits)
        known = {(s.span, s.op, s.title) for s in self.story.steps}
        lines = [self.words("as_compiled", rules=", ".join(self.rules)), "  " + self.words("compiled_why")]
        for s in reversed(other.steps):
            if (s.span, s.op, s.title) not in known and s.gives:
                lines.append(inner.backward(s))
        exact = {e.name: e.upstream for e in other.entries}
        for e in self.story.entries:
            if e.asked and not alike(e.upstream, exact.get(e.name)):
                naive, right = (self.value(0.0 if v is None else v) for v in (e.upstream, exact.get(e.name)))
                lines.append("  " + self.words("differs", naive=naive, name=self.slope(e.name), exact=right))
        return "\n".join(lines)

    # -------------------------------------------------------------- pieces
    def value(self, value: Any) -> str:
        text = summary(value, self.digits)
        return text.removesuffix(".0") if np.ndim(value) == 0 else text

    def slope(self, name: str) -> str:
        return f"∂{self.of}/∂{name if atomic(name) else f'({name})'}"

    def inputs(self) -> str:
        return table([(e.name, self.value(e.value), e.label) for e in self.story.entries])

    def forward(self, step: Step) -> str:
        left = f"{step.title} = " if step.title else ""
        middle = f" = {step.numbers}" if step.numbers else ""
        scope = f"   ({self.words('inside', scope=' > '.join(step.scope))})" if step.scope else ""
        return f"  [{step.number}] {left}{step.formula}{middle} = {self.value(step.value)}{scope}"

    def kind(self, step: Step) -> str:
        if step.op in ("item", "root"):
            return "recurrence" if step.op == "item" else "equation"
        op = self.trace.locals.table[step.op]
        if "moves" in op.flags:
            return "moves"
        return {"linear": "linear", "pointwise": "pointwise"}.get(op.kind, "array")

    def says(self, step: Step) -> str:
        """What the op of a step does in the reverse pass. An op of the program is not what a built-in one of its name is."""
        own = step.op in self.trace.locals.table.own
        return self.words.op("" if own else ZEROS.get(step.op, step.op), self.kind(step))

    def backward(self, step: Step) -> str:
        shown = f"{step.title} = {step.formula}" if step.title else step.formula
        lines = [f"  [{step.number}] {shown}", f"      {self.says(step)}"]
        if len(step.branches) > 1:
            lines.append("      " + self.total(step.name, step.branches, step.upstream))
        many = any(g.part or step.op in BODIES for g in step.gives) or self.value(step.upstream).startswith("array")
        if many:
            lines.append("      " + self.words("upstream_is", slope=self.slope(step.name), value=self.value(step.upstream)))
        wide = max(text_width(g.name) for g in step.gives)
        for g in step.gives:
            gap = " " * (wide - text_width(g.name))
            lines.append(f"      → {g.name}{gap}   {self.handed(step, g, many)}")
            if g.computed:
                lines.append(f"        {' ' * wide}   {self.words('computed', formula=g.computed)}")
        return "\n".join(lines)

    def handed(self, step: Step, g: Given, many: bool) -> str:
        """How a contribution comes about: what comes in, times the local derivative, in names, in numbers, as a value."""
        value = self.value(g.value)
        if not g.local:
            return f"{g.part} = {value}" if g.part else value
        above = "g" if many else self.value(step.upstream)
        chain = [f"{above} × {factor(g.local)}"]
        if not many:
            slope = self.value(g.slope)
            if g.numbers not in ("", g.local, slope):
                chain.append(f"{above} × {factor(g.numbers)}")
            if slope != g.local:
                chain.append(f"{above} × {factor(slope)}")
        if np.shape(g.value) != np.shape(step.upstream):
            chain[-1] = self.summed(chain[-1], np.shape(g.value))
        return " = ".join([*chain, value])

    def summed(self, text: str, shape: tuple[int, ...]) -> str:
        """What goes to an argument that was broadcast."""
        if not shape:
            return self.words("summed_all", text=text)
        return self.words("summed", text=text, shape=f"[{', '.join(map(str, shape))}]")

    def total(self, name: str, branches: Any, total: Any) -> str:
        count = len(branches)
        if count > MOST_TERMS or self.value(total).startswith("array"):
            return self.words("sum_short", name=name, count=count)
        numbers = self.story.numbers
        terms = " + ".join(
            self.words("branch", value=self.value(b.value), step=numbers.get(b.user, numbers.get(b.user + 1, "?")))
            for b in branches
        )
        return self.words("sum", name=name, count=count, terms=terms, total=self.value(total))

    def gradient(self) -> str:
        rows = []
        notes = []
        for e in (self.compiled or self.story).entries:
            if not e.asked:
                continue
            if e.upstream is None:
                rows.append((e.name, self.words("unreached", of=self.of), e.label))
                continue
            rows.append((e.name, self.value(e.upstream), e.label))
            if len(e.branches) > 1:
                notes.append("  " + self.total(e.name, e.branches, e.upstream))
        return "\n".join([self.words("gradient", of=self.of), table(rows), *notes])

    # -------------------------------------------------------------- as data
    def as_json(self) -> dict[str, Any]:
        def entry(e: Entry) -> dict[str, Any]:
            return {
                "name": e.name,
                "label": e.label or None,
                "value": json_value(e.value),
                "gradient": None if e.upstream is None else json_value(e.upstream),
            }

        def given(g: Given) -> dict[str, Any]:
            return {
                "to": g.name,
                "local": g.local or None,
                "computed": g.computed or None,
                "local_value": None if g.slope is None else json_value(g.slope),
                "formula": g.part or None,
                "contribution": json_value(g.value),
            }

        def step(s: Step) -> dict[str, Any]:
            return {
                "number": s.number,
                "op": s.op,
                "name": s.title or None,
                "formula": s.formula,
                "value": json_value(s.value),
                "scope": list(s.scope),
                "line": s.line,
                "upstream": None if s.upstream is None else json_value(s.upstream),
                "says": self.says(s),
                "gives": [given(g) for g in s.gives],
            }

        return {
            "schema": 1,
            "of": self.of,
            "value": json_value(self.trace.values[self.trace.top]),
            "inputs": [entry(e) for e in self.story.entries],
            "steps": [step(s) for s in self.story.steps],
        }


def explained(
    model: Model,
    of: str,
    wrt: Sequence[str],
    given: Mapping[str, Any],
    upstream: Any = 1.0,
    lang: str = "en",
    digits: int | None = None,
) -> Explanation:
    """The explanation of a definition for the values of a call; with that of the rewritten formulas if the compiler has any."""
    rules = rules_used(model.program, of)
    first = story(trace(model, of, given, wrt, upstream), digits, lang)
    compiled = story(trace(model, of, given, wrt, upstream, rewritten=True), digits, lang) if rules else None
    return Explanation(first, Words(lang), digits, compiled, rules)


def alike(a: Any, b: Any) -> bool:
    """Whether two gradients are the same but for rounding; None stands for zeros."""
    a, b = (np.asarray(0.0 if v is None else v, float) for v in (a, b))
    scale = float(np.max(np.abs(b), initial=0.0))
    return bool(np.allclose(a, b, rtol=1e-9, atol=1e-12 * scale, equal_nan=True))


def factor(text: str) -> str:
    """A formula as a factor."""
    return text if atomic(text) else f"({text})"
