"""Pages about ops and functions, from their entries: `gradlang explain mul`. The example of a page is a program, which is run
when the page is made."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from tomllib import loads
from typing import TYPE_CHECKING, Any

from gradlang.check.arrays import SPECIAL
from gradlang.check.calls import INTERNAL, default_of
from gradlang.check.rules import Functions, library
from gradlang.ops.op import Domain, Op
from gradlang.ops.table import Rule, builtin, rules
from gradlang.record import field, record
from gradlang.syntax import ast
from gradlang.view.formula import plain
from gradlang.view.pages import wrapped
from gradlang.view.show import json_value, value_text
from gradlang.view.story import Given, story
from gradlang.view.trace import trace
from gradlang.view.words import LANGUAGES, Words

if TYPE_CHECKING:
    from gradlang.api import Model

EXACT = {"predicate", "logical", "choice", "cast", "marker"}  # nothing is rounded: there is nothing to prove
NICE = (2.0, 3.0, 0.5, 0.25, -0.5, 10.0)  # numbers that are easy to follow


@record(eq=False)
class Local:
    """What the op hands back to an argument: the local derivative, or for an op of whole arrays the contribution in terms of
    `g`; and as textbooks write it, "" where that is the same."""

    by: str
    formula: str
    textbook: str
    entrywise: bool


@record(eq=False)
class Example:
    """A program and what it gives. `upstream` is what flows into a result that is an array, None for a number; `gradient` is
    empty where the result has no derivative; `others` are further results."""

    text: str
    result: str
    value: Any
    upstream: Any
    gradient: dict[str, Any]
    others: dict[str, Any] = field(default_factory=dict)


@record(eq=False)
class Entry:
    """A page: `kind` is what it is about, in English, `says` a sentence on the derivative, `kinks` what is agreed on where
    there is none, `tested` where the entry is held against multi-precision, each as text; `settings` says that the derivatives
    are those for the settings of the example; `place` is where a program has it, "" for what is built in;
    `replaces` are formulas that become it by a rule, `about` says what it computes."""

    name: str
    kind: str
    entry: str
    says: str
    locals: tuple[Local, ...]
    settings: bool
    kinks: tuple[str, ...]
    tested: tuple[str, ...]
    example: Example | None
    place: str = ""
    replaces: tuple[str, ...] = ()
    about: str = ""

    def text(self, words: Words, digits: int | None = None) -> str:
        place = f", {self.place}" if self.place else ""
        parts = [
            f"{self.name}: {words(self.kind.replace(' ', '_'))}{place}",
            wrapped(self.about),
            textwrap.indent(self.entry, "    "),
        ]
        if self.says:
            parts.append(wrapped(self.says))
        if self.locals:
            title = words("entry_local" if self.locals[0].entrywise else "entry_adjoint")
            lines = [title + (words("entry_set") if self.settings else "")]
            for s in self.locals:
                book = f"   ({words('entry_textbook', formula=s.textbook)})" if s.textbook else ""
                lines.append(f"    ∂/∂{s.by} = {s.formula}{book}" if s.entrywise else f"    → {s.by}   {s.formula}")
            parts.append("\n".join(lines))
        for title, rows in (("entry_kinks", self.kinks), ("entry_replaces", self.replaces), ("entry_tested", self.tested)):
            if rows:
                parts.append("\n".join([words(title), *(f"    {row}" for row in rows)]))
        if self.example is not None:
            parts.append(self.shown(self.example, words, digits))
        return "\n\n".join(part for part in parts if part)

    def shown(self, e: Example, words: Words, digits: int | None) -> str:
        lines = [words("entry_example"), textwrap.indent(e.text.rstrip(), "    "), ""]
        lines += [row(f"    {name} = ", value, digits) for name, value in {e.result: e.value, **e.others}.items()]
        if e.gradient and e.upstream is not None:
            lines.append(row(f"    ∂L/∂{e.result} = g = ", e.upstream, digits))
        of = "L" if e.upstream is not None else e.result
        lines += [row(f"    ∂{of}/∂{name} = ", slope, digits) for name, slope in e.gradient.items()]
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        e = self.example
        return {
            "schema": 1,
            "name": self.name,
            "kind": self.kind,
            "place": self.place or None,
            "about": self.about or None,
            "entry": self.entry,
            "says": self.says or None,
            "derivatives": [
                {"by": s.by, "formula": s.formula, "textbook": s.textbook or None, "entrywise": s.entrywise}
                for s in self.locals
            ],
            "kinks": list(self.kinks),
            "replaces": list(self.replaces),
            "tested": list(self.tested),
            "example": None
            if e is None
            else {
                "program": e.text,
                "value": json_value(e.value),
                **({"others": {n: json_value(v) for n, v in e.others.items()}} if e.others else {}),
                "upstream": None if e.upstream is None else json_value(e.upstream),
                "gradient": {n: json_value(v) for n, v in e.gradient.items()},
            },
        }


def row(head: str, value: Any, digits: int | None) -> str:
    value = value.item() if getattr(value, "shape", None) == () else value
    lines = [line for line in value_text(value, digits).removesuffix(".0").split("\n") if line.strip()]
    return head + ("\n" + " " * len(head)).join(lines)


# ------------------------------------------------------------------ examples
@cache
def calls() -> dict[str, list[str]]:
    """The examples that are written out: op or function -> the lines of a program, the last one the call."""
    found: dict[str, list[str]] = loads((files("gradlang.view.pages") / "calls.toml").read_text(encoding="utf-8"))
    return found


@cache
def abouts() -> dict[str, list[str]]:
    """What each op and function computes: name -> a sentence in each of `LANGUAGES`."""
    found: dict[str, list[str]] = loads((files("gradlang.view.pages") / "about.toml").read_text(encoding="utf-8"))
    return found


def about(name: str, words: Words) -> str:
    return abouts()[name][LANGUAGES.index(words.language)]


def program(op: Op) -> str:
    """A program that calls an op at a point of its first domain."""
    if op.name in calls():
        return "\n".join(calls()[op.name]) + "\n"
    return at_point(op, op.domains[0].bounds if op.domains else {})


def at_point(op: Op, bounds: Mapping[str, tuple[float, float]]) -> str:
    """A program that calls an op of numbers at easy ones inside a box."""
    free = list(NICE)
    lines = []
    for p in op.params:
        x = inside(free, *bounds.get(p, (-10.0, 10.0)))
        free = [v for v in free if v != x] or list(NICE)
        lines.append(f"{p} = {plain(x)[0]}")
    return called(op, lines, bounds)


def called(op: Op, lines: Sequence[str], bounds: Mapping[str, tuple[float, float]]) -> str:
    """A program that calls an op with arguments of the names of its entry, which `lines` define."""
    args = list(op.params)
    for setting, default in zip(op.attrs, op.defaults, strict=True):
        low, high = bounds.get(setting, (0.0, 1.0))
        if low == high:
            args.append(f"{setting}={plain(low)[0]}")
        elif default_of(default) is None:
            args.append(f"{setting}=1")
    result = op.result if op.result not in op.params else "y"
    return "\n".join([*lines, f"{result} = {op.name}({', '.join(args)})"]) + "\n"


def inside(numbers: list[float], low: float, high: float) -> float:
    """The first of the numbers that lies inside an interval, else its middle."""
    return next((x for x in numbers if low < x < high), low + (high - low) / 2 if low < high else low)


def example(text: str, made: Callable[[str], Model], op: str = "") -> tuple[Example, tuple[Given, ...]]:
    """A program that is run, and what the node of `op` hands back to its arguments. `made` makes a model of a text."""
    import numpy as np

    model = made(text)
    of = text.rstrip().rpartition("\n")[2].partition(" = ")[0]
    type = model.program.nodes[model.program.values[of]].type
    if type.dtype != "real" or not model.program.differentiable():
        return Example(text, of, model(), None, {}), ()
    upstream = 1.0 if not type.shape else np.arange(1.0, 1 + np.prod(type.shape)).reshape(type.shape)  # type: ignore[arg-type]
    traced = trace(model, of, {}, upstream=upstream)
    told = story(traced)
    gradient = {
        e.name: np.zeros_like(e.value, float)[()] if e.upstream is None else e.upstream for e in told.entries if e.asked
    }
    value = traced.values[traced.top]
    given = next((s.gives for s in reversed(told.steps) if s.op == op), ())
    return Example(text, of, value, upstream if type.shape else None, gradient), given


# ------------------------------------------------------------------ pages
def of_op(op: Op, words: Words, made: Callable[[str], Model]) -> Entry:
    """The page of an op of the built-in table."""
    shown, given = example(program(op), made, op.name)
    tested = [words("entry_arrays")] if op.differentiable else []
    if op.pointwise:
        domains = op.domains or (Domain(dict.fromkeys(op.params, (-10.0, 10.0))),)
        tested = [] if op.flags & EXACT else [box(d) for d in domains]
    kind = "moves" if "moves" in op.flags else op.kind
    says = words.op(op.name, kind) if kind in words.kinds else words("entry_constant")
    return Entry(
        op.name,
        f"{op.kind} op",
        op.text(),
        says,
        slopes(given),
        bool(op.attrs),
        tuple(map(kink_text(op), op.kinks)),
        tuple(tested),
        shown,
        "",
        tuple(rule.text.partition(":")[2].partition("=>")[0].strip() for rule in rules() if becomes(rule, op)),
        about(op.name, words),
    )


def becomes(rule: Rule, op: Op) -> bool:
    """Whether the compiler writes an op in place of another formula."""
    right = rule.right
    return rule.kind != "fast" and isinstance(right, ast.Call) and isinstance(right.func, ast.Name) and right.func.id == op.name


def slopes(given: Sequence[Given]) -> tuple[Local, ...]:
    """What an op hands back, from the story of its example."""
    return tuple(
        Local(g.name, formula, g.local if g.computed else "", bool(g.local))
        for g in given
        if (formula := g.computed or g.local or g.part)
    )


def kink_text(op: Op) -> Any:
    def text(kink: Any) -> str:
        point = ", ".join(f"{n} = {v:g}" for n, v in kink.point.items())
        partials = [f"∂/∂{p} = {v:g}" for p, v in zip(op.params, kink.partials, strict=False) if v is not None]
        return f"{point}:  {', '.join(partials)}"

    return text


def box(domain: Domain) -> str:
    return ", ".join(
        f"{n} = {low:g}" if low == high else f"{n} in [{low:g}, {high:g}]" for n, (low, high) in domain.bounds.items()
    )


def page(name: str, words: Words, made: Callable[[str], Model]) -> Entry:
    """The page of an op, of a function of the library, or of an array function; `made` makes a model of its example."""
    table, functions = builtin(), library().functions
    if name in table:
        return of_op(table[name], words, made)
    shown = example("\n".join(calls()[name]) + "\n", made)[0] if name in calls() else None
    if name in functions:
        assert isinstance(functions, Functions)
        said, text = words("entry_piece" if name in INTERNAL else "entry_function"), functions.text(name)
        return Entry(name, "function", text, said, (), False, (), (), shown, about=about(name, words))
    special = SPECIAL[name]
    signature = ", ".join(p if k < special.required else f"{p}=..." for k, p in enumerate(special.params))
    text, said = f"{name}({signature})", words("entry_piece" if name in INTERNAL else "entry_array")
    return Entry(name, "array function", text, said, (), False, (), (), shown, about=about(name, words))
