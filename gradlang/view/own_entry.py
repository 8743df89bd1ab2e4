"""Pages about the ops and rules that a program defines, like those of the built-in ones: `gradlang explain FILE --of swish`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import cycle, islice
from math import isfinite, prod
from typing import TYPE_CHECKING, Any

from gradlang.check.names import names_in
from gradlang.check.program import Program
from gradlang.check.scope import CONSTANTS
from gradlang.diagnostics import InputError, SourceError
from gradlang.ops.language import Language
from gradlang.ops.op import Domain, Op
from gradlang.ops.table import OpTable, Rule
from gradlang.source import Span
from gradlang.types import Dim, Type
from gradlang.view.entry import NICE, Entry, Example, at_point, box, called, example, kink_text, slopes
from gradlang.view.formula import plain
from gradlang.view.story import Given
from gradlang.view.words import Words

if TYPE_CHECKING:
    from gradlang.api import Model

Make = Callable[[str, Language], "Model"]
BOXES = ((-10.0, 10.0), (0.05, 0.95))  # where an entry without `on` lines is tested
COMMON: tuple[tuple[int, ...], ...] = ((), (3,), (2, 3), (2, 2))  # shapes of arguments, tried in turn
PAIRS = (((2, 3), (3,)), ((2, 3), (3, 2)), ((2, 2), (2,)), ((3,), ()), ((3,), (2, 3)))
WORDS = {"int": ("1", "2", "0"), "bool": ("true", "false", "true")}  # entries of arguments that are not real
FAR = (1e-9, 1e9, 40.0, -40.0, 1e-160, 1e160)  # where formulas lose digits or overflow
EASY = (2.0, -0.5, 3.0, 0.5, 10.0, 0.25)  # entries of arrays
ROUNDING = 1e-9
SETTINGS = frozenset({"axis", "keepdims"})


def names(program: Program) -> list[str]:
    """The ops and rules that a program has itself."""
    return [*program.language.table.own, *(rule.name for rule in program.language.own_rules)]


def own_page(name: str, program: Program, words: Words, make: Make, proven: bool) -> Entry:
    """The page of an op or a rule of a program. `make` makes the model of an example in the program's language; `proven` says
    whether the program's entries were held against multi-precision."""
    table = program.language.table
    if name in table.own:
        return of_own_op(table.own[name], program, words, make, proven)
    rule = next(rule for rule in program.language.own_rules if rule.name == name)
    return of_rule(rule, table, words, make, proven, place(program, rule.span, words))


def of_own_op(op: Op, program: Program, words: Words, make: Make, proven: bool) -> Entry:
    shown, given = tried(op, program, lambda text: make(text, program.language))
    kind = "defined" if op.defined else op.kind
    tested: list[str] = []
    if proven and (op.partials or op.reference is not None or "constant" in op.flags):
        tested = [box(d) for d in domains(op)]
    elif proven and op.adjoints:
        tested = [words("entry_arrays")]
    return Entry(
        op.name,
        f"{kind} op",
        op.text(),
        words("entry_defined") if kind == "defined" else words.kinds.get(kind) or words("entry_constant"),
        slopes(given),
        bool(op.attrs),
        tuple(map(kink_text(op), op.kinks)),
        tuple(tested),
        shown,
        place(program, op.span, words),
    )


def place(program: Program, span: Span, words: Words) -> str:
    source = program.sources.of(span[0])
    return words("entry_place", file=source.path, line=source.place(span[0])[0])


def domains(op: Op) -> tuple[Domain, ...]:
    return op.domains or tuple(Domain(dict.fromkeys(op.params, ends)) for ends in BOXES)


# ------------------------------------------------------------------ ops
def tried(op: Op, program: Program, make: Callable[[str], Model]) -> tuple[Example | None, tuple[Given, ...]]:
    """The first example of an op that can be computed and is finite, else the first that can be computed, else None."""
    first: tuple[Example | None, tuple[Given, ...]] = None, ()
    for text in texts(op, program):
        try:
            found = example(text, make, op.name)
        except (SourceError, InputError):  # it is not meant for these shapes
            continue
        if finite(found[0]):
            return found
        first = found if first[0] is None else first
    return first


def finite(e: Example) -> bool:
    import numpy as np

    return all(bool(np.all(np.isfinite(v))) for v in (e.value, *e.gradient.values()))


def texts(op: Op, program: Program) -> Iterator[str]:
    """Programs that call an op: over numbers if it is pointwise; else over arguments like those of its first call in the
    program, then over usual shapes."""
    used = None if op.pointwise else next((n for n in program.nodes if n.op == op.name), None)
    shapes = [small([program.nodes[a].type for a in used.args])] if used is not None else []
    shapes += [[Type(shape)] * len(op.params) for shape in COMMON]
    shapes += [list(map(Type, pair)) for pair in PAIRS] if len(op.params) == 2 else []
    for types in shapes:
        for domain in domains(op):
            if not any(t.shape or t.dtype != "real" for t in types):
                yield at_point(op, domain.bounds)
                continue
            lines = []
            for k, (p, t) in enumerate(zip(op.params, types, strict=True)):
                dims = ", ".join(map(str, t.shape))
                declared = f" : {t.dtype}[{dims}]" if t.shape and t.dtype != "real" else "" if t.shape else f" : {t.dtype}"
                lines.append(f"{p}{'' if t.dtype == 'real' else declared} = {block(t, k, domain.bounds.get(p, BOXES[0]))}")
            yield called(op, lines, domain.bounds)


def small(types: list[Type]) -> list[Type]:
    """Types with lengths that fit on a line: equal ones stay equal."""
    lengths: dict[Dim, int] = {}
    free = cycle((3, 2, 4))
    for t in types:
        for d in t.shape:
            if d not in lengths:
                lengths[d] = d if isinstance(d, int) and d <= 3 else next(free)
    return [Type(tuple(lengths[d] for d in t.shape), t.dtype) for t in types]


def block(t: Type, turn: int, ends: tuple[float, float]) -> str:
    """An array of a type as text, of easy numbers inside an interval; others for each `turn`."""
    low, high = ends
    easy = [x for x in EASY if low < x < high] or [low + (high - low) * part for part in (0.5, 0.25, 0.75)]
    known = WORDS.get(t.dtype, [plain(x)[0] for x in easy])
    shape = [d for d in t.shape if isinstance(d, int)]
    cells = list(islice(cycle(known), turn, turn + prod(shape)))
    for length in reversed(shape):
        cells = [f"[{', '.join(cells[at : at + length])}]" for at in range(0, len(cells), length)]
    return cells[0]


# ------------------------------------------------------------------ rules
def of_rule(rule: Rule, table: OpTable, words: Words, make: Make, proven: bool, place: str = "") -> Entry:
    """The page of a rewrite; its example has both sides as they are written."""
    shown = sides(rule, lambda text: make(text, Language(table, ())))
    tested = (words("entry_points"),) if proven else ()
    return Entry(rule.name, f"{rule.kind} rule", rule.text, words(f"entry_{rule.kind}"), (), False, (), tested, shown, place)


def sides(rule: Rule, make: Callable[[str], Model]) -> Example | None:
    """Both sides of a rule as they are written, at the point of a few where they differ most; None where it is about arrays."""
    variables = list(dict.fromkeys(n.id for n in names_in([rule.left]) if n.id not in CONSTANTS))
    if not variables or SETTINGS & set(variables):
        return None
    _, _, formulas = rule.text.partition(":")
    left, _, right = (part.strip() for part in formulas.partition("=>"))
    results = free("left", variables), free("right", variables)
    try:
        model = make("\n".join([*variables_as_inputs(variables), *lines_of(results, (left, right))]))
        best = max(points(variables), key=lambda point: gap(model(point), results))
        values: Mapping[str, Any] = model(best)
    except (SourceError, InputError):
        return None
    given = [f"{n} = {plain(x)[0]}" for n, x in best.items()]
    text = "\n".join([*given, *lines_of(results, (left, right))]) + "\n"
    return Example(text, results[0], values[results[0]], None, {}, {results[1]: values[results[1]]})


def free(name: str, taken: list[str]) -> str:
    while name in taken:
        name += "_"
    return name


def variables_as_inputs(variables: list[str]) -> list[str]:
    return [f"input {', '.join(variables)}"]


def lines_of(results: tuple[str, str], formulas: tuple[str, str]) -> list[str]:
    return [f"{name} = {formula}" for name, formula in zip(results, formulas, strict=True)]


def points(variables: list[str]) -> list[dict[str, float]]:
    """Points of easy numbers first, then of such at which formulas lose digits."""
    rows = [[NICE[(k + shift) % len(NICE)] for k in range(len(variables))] for shift in range(len(NICE))]
    rows += [[x] * len(variables) for x in FAR]
    return [dict(zip(variables, row, strict=True)) for row in rows]


def gap(values: Mapping[str, Any], results: tuple[str, str]) -> float:
    """How far the left side is from the right one, in units of it, rounding apart; -1 where the right one is no number."""
    left, right = (float(values[r]) for r in results)
    if not isfinite(right):
        return -1.0
    far = abs(left - right) / abs(right) if isfinite(left) and right else float(left != right)
    return far if far > ROUNDING else 0.0
