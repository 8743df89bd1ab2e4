"""The compiler on one page: text -> Module -> Program -> Tape -> passes -> Artifact."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from gradlang._version import __version__
from gradlang.backend import python as scalar_backend
from gradlang.backend.artifact import Artifact, Job, LargeJob, Param, Returns
from gradlang.backend.module import generate, is_scalar
from gradlang.check.check import check
from gradlang.check.modules import Finder, Nowhere, gather
from gradlang.check.program import Initializer, Leaf, Program
from gradlang.diagnostics import Diagnostic, SourceError
from gradlang.ir.build import write
from gradlang.ir.tape import Builder, Tape, has_bodies
from gradlang.ops.language import Language as Language
from gradlang.ops.language import standard as standard
from gradlang.ops.op import Op
from gradlang.ops.table import OpTable
from gradlang.record import record
from gradlang.source import Sources, Span
from gradlang.transform.passes import passes
from gradlang.types import INT, Size, Type

Hook = Callable[[str, Tape], None]
COLUMNS = 500  # nodes of a program of numbers, from which on passes go over columns
MANY = 50_000  # objects that a reading or a compilation leaves behind


@record
class Goal:
    """What to compile: `value` of definitions, `grad`, `vjp`, `jvp`, `hvp`, `jacobian` or `hessian` of one by others.

    `of` and `wrt` are names of values of the program. Matrices by one name come without a dict if `alone`; with `offsets`
    their bands come instead, and the number of columns. With `checkpoint` recurrences keep their states at some steps only,
    where these are not needed all at once. `also` are values that come with that of a gradient, in a dict. With `often` the
    function is called again and again with arrays of the same shapes, so that memory is planned for small ones, too."""

    kind: str
    of: tuple[str, ...]
    wrt: tuple[str, ...] = ()
    dtype: str = "float64"
    alone: bool = False
    offsets: tuple[int, ...] | None = None
    checkpoint: bool = False
    also: tuple[str, ...] = ()
    often: bool = False


@contextmanager
def uncollected() -> Iterator[None]:
    """Without the garbage collector, which would walk again and again over a growing program that is all alive. It would
    also do so once at the end: what was made counts as old instead, which is what it would find."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            if gc.get_count()[0] > MANY and not gc.get_freeze_count():
                gc.freeze()
                gc.unfreeze()
            gc.enable()


def read(text: str, path: str, language: Language, finder: Finder | None = None) -> tuple[Program, list[Diagnostic]]:
    """A text to its program and everything that is wrong with it. `finder` gives the files that it imports."""
    sources = Sources()
    with uncollected():
        units, faults = gather(text, path, sources, finder or Nowhere())
        program, problems = check(units, sources, language)
    if faults:  # what a broken line would have computed is not missing
        problems = [d for d in problems if d.code != "G208"]
    return program, sorted(faults + problems, key=lambda d: d.span or (0, 0))


def load(text: str, path: str, language: Language, finder: Finder | None = None) -> Program:
    """The program of a text. Raises SourceError with all errors of the text, and of the files that it imports."""
    program, problems = read(text, path, language, finder)
    if problems:
        raise SourceError(problems, program.sources)
    return program


# ------------------------------------------------------------------ what is asked for, as a tape with derivative operators
def unique(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def goal_tape(program: Program, goal: Goal, table: OpTable) -> tuple[Tape, Returns, tuple[tuple[str, Type], ...]]:
    """The tape, how results are handed back, and the arguments that the goal adds (cotangents, vectors)."""
    b = Builder(table)
    named = (*goal.of, *goal.wrt, *goal.also)
    marked = frozenset(program.values[n] for n in goal.wrt)
    made = write(program, [program.values[n] for n in named], b, marked)
    at = {n: made[program.values[n]] for n in named}
    taken: set[str] = set(program.values)
    if goal.kind == "value":
        return b.tape((n, at[n]) for n in goal.of), returns_of(goal, []), ()
    (y,) = goal.of
    outputs, pairs, extra = [(y, at[y])], [], []

    def fresh(stem: str, type: Type) -> int:
        name = unique(stem, taken)
        extra.append((name, type))
        return b.leaf("input", (name,), type, (0, 0)).id

    def derived(op: str, args: tuple[int, ...], x: str) -> None:
        name = unique(f"d_{y}_d_{x}", taken)
        outputs.append((name, b.add(op, args, (), b.instrs[at[x]].type, b.instrs[at[y]].span, name=name)))
        pairs.append((x, name))

    if goal.kind in ("jacobian", "hessian"):
        return matrices(b, goal, at, taken)
    if goal.kind == "grad":
        for x in goal.wrt:
            derived("grad", (at[y], at[x]), x)
    elif goal.kind == "vjp":
        seed = fresh(f"upstream_{y}", b.instrs[at[y]].type)
        for x in goal.wrt:
            derived("vjp", (at[y], seed, at[x]), x)
    else:
        vectors = [v for x in goal.wrt for v in (at[x], fresh(f"v_{x}", b.instrs[at[x]].type))]
        if goal.kind == "jvp":
            name = unique(f"tangent_{y}", taken)
            outputs.append((name, b.add("jvp", (at[y], *vectors), (), b.instrs[at[y]].type, name=name)))
            return b.tape(outputs), Returns("pair", (y, name)), tuple(extra)
        slopes = [b.add("grad", (at[y], at[x]), (), b.instrs[at[x]].type) for x in goal.wrt]
        for x, slope in zip(goal.wrt, slopes, strict=True):
            derived("jvp", (slope, *vectors), x)
    outputs += [(n, at[n]) for n in goal.also]
    return b.tape(outputs), returns_of(goal, pairs), tuple(extra)


def returns_of(goal: Goal, pairs: Sequence[tuple[str, str]]) -> Returns:
    """How values are handed back, or a value and its derivatives by names."""
    if goal.kind == "value":
        return Returns("one", goal.of) if len(goal.of) == 1 else Returns("dict", tuple((n, n) for n in goal.of))
    first = Returns("dict", tuple((n, n) for n in (*goal.of, *goal.also))) if goal.also else goal.of[0]
    return Returns("pair", (first, Returns("dict", tuple(pairs))))


def matrices(b: Builder, goal: Goal, at: dict[str, int], taken: set[str]) -> tuple[Tape, Returns, tuple[tuple[str, Type], ...]]:
    """The Jacobians of a value, or the blocks of its Hessian."""
    (y,) = goal.of
    outputs: list[tuple[str, int]] = []
    if goal.offsets is not None:
        return banded(b, goal, at, taken)

    def matrix(row: int, x: str, stem: str) -> str:
        type = Type(b.instrs[row].type.shape + b.instrs[at[x]].type.shape)
        name = unique(stem, taken)
        outputs.append((name, b.add("jacobian", (row, at[x]), (), type, b.instrs[at[y]].span, name=name)))
        return name

    if goal.kind == "jacobian":
        named = tuple((x, matrix(at[y], x, f"d_{y}_d_{x}")) for x in goal.wrt)
        returns = Returns("one", (named[0][1],)) if goal.alone else Returns("dict", named)
        return b.tape(outputs), returns, ()
    slopes = {x: b.add("grad", (at[y], at[x]), (), b.instrs[at[x]].type) for x in goal.wrt}
    blocks = {x: tuple((z, matrix(slopes[x], z, f"d2_{y}_d_{x}_d_{z}")) for z in goal.wrt) for x in goal.wrt}
    if goal.alone:
        return b.tape(outputs), Returns("one", (outputs[0][0],)), ()
    rows = tuple((x, Returns("dict", row)) for x, row in blocks.items())
    return b.tape(outputs), Returns("dict", rows), ()


def banded(b: Builder, goal: Goal, at: dict[str, int], taken: set[str]) -> tuple[Tape, Returns, tuple[tuple[str, Type], ...]]:
    """The bands of a matrix, and how many rows its argument has."""
    (y,), (x,) = goal.of, goal.wrt
    assert goal.offsets is not None
    top = at[y] if goal.kind == "jacobian" else b.add("grad", (at[y], at[x]), (), b.instrs[at[x]].type)
    rows, columns = b.instrs[top].type.shape, b.instrs[at[x]].type.shape
    name, length = unique(f"bands_of_d_{y}_d_{x}", taken), unique("rows", taken)
    type = Type((len(goal.offsets), *rows, *columns[1:]))
    made = b.add("jacobian", (top, at[x]), ("bands", goal.offsets), type, b.instrs[at[y]].span, name=name)
    count = b.leaf("size" if isinstance(columns[0], Size) else "const", (columns[0],), INT, (0, 0)).id
    return b.tape([(name, made), (length, count)]), Returns("pair", (name, length)), ()


def offsets_of(program: Program, goal: Goal, language: Language) -> tuple[int, ...] | None:
    """The bands that a Jacobian or Hessian by one name has, if it is made of a few."""
    from gradlang.transform.structure import band

    b = Builder(language.table)
    nodes = [program.values[name] for name in (*goal.of, *goal.wrt)]
    made = write(program, nodes, b, frozenset(nodes[1:]))
    top = made[nodes[0]]
    if goal.kind == "hessian":
        top = b.add("grad", (top, made[nodes[1]]), (), b.instrs[made[nodes[1]]].type)
    tape = b.tape([("y", top), ("x", made[nodes[1]])])
    for p in passes(language.table, language.rules, lambda op: True).pipeline:
        tape = p.run(tape)
        if p.name == "differentiate":
            break
    at = dict(tape.outputs)
    return band(tape.instrs, at["y"], at["x"], language.table)


# ------------------------------------------------------------------ tape to source
def optimized(
    tape: Tape,
    language: Language,
    spelled: Callable[[Op], bool],
    hook: Hook | None = None,
    segments: bool = False,
    keep: bool = False,
) -> tuple[Tape, list[tuple[str, Span]]]:
    """The tape after all passes of one backend, and the stable rewrites that fired."""
    own = hook is None and not has_bodies(tape)
    made = passes(language.table, language.rules, spelled, segments=segments, own=own, keep=keep)
    if hook:
        hook("goal", tape)
    changed = True
    for p in made.pipeline:
        before = tape
        if changed or not p.after_change:
            tape = p.run(tape)
        changed = not p.settles and (changed or tape is not before)
        if hook:
            from gradlang.ir.verify import verify

            verify(tape, language.table, p.name)
            hook(p.name, tape)
    return tape, made.rewritten()


@contextmanager
def sources_of(program: Program) -> Iterator[None]:
    """Errors of a pass, which knows places but no texts, get the texts of the program."""
    try:
        yield
    except SourceError as error:
        raise SourceError(error.diagnostics, program.sources) from None


LONGEST = 1000  # entries of a default that is written out


def default_of(program: Program, leaf: Leaf, written: bool) -> int | float | tuple[Any, ...] | None:
    """A default that generated code can hold: a literal, and (if `written`) the value of a constant expression."""
    if isinstance(leaf.default, (int, float, tuple)):
        return leaf.default
    sized = any(isinstance(d, Size) for d in leaf.type.shape)
    if not written or leaf.default_node is None or sized:
        return None
    from gradlang.ir.evaluate import value_of  # brings NumPy

    try:
        value = value_of(program, leaf.default_node, {})
    except KeyError:  # a size of an argument
        return None
    if getattr(value, "size", 1) > LONGEST:
        return None
    return nested(value.tolist()) if hasattr(value, "tolist") else value  # type: ignore[no-any-return]


def nested(value: Any) -> Any:
    return tuple(nested(v) for v in value) if isinstance(value, list) else value


def compile_goal(program: Program, goal: Goal, language: Language, origin: str, hook: Hook | None = None) -> Artifact:
    """Source code for a goal: plain floats if everything is scalar, NumPy otherwise."""
    with uncollected():
        job = planned(program, goal, goal_tape(program, goal, language.table), language, origin, hook, written=True)
        return generate(job, language.table)


def plan(program: Program, goal: Goal, language: Language, origin: str, hook: Hook | None = None, native: bool = False) -> Job:
    """The optimised tape of a goal in the ops of its backend, and what the generated function takes and gives. A `native`
    job is in the ops of the loop form."""

    def whole() -> Job:
        return planned(program, goal, goal_tape(program, goal, language.table), language, origin, hook, native=native)

    made = None if hook or native or len(program.nodes) < COLUMNS else plan_columns(program, goal, language, origin, whole)
    return whole() if made is None else made


def plan_columns(program: Program, goal: Goal, language: Language, origin: str, whole: Callable[[], Job]) -> Job | None:
    """The job of a large program of numbers, as columns; None if that is not what it is. `whole` gives it as a tape."""
    leaves = program.callable_leaves()
    plain = goal.kind in ("value", "grad") and goal.dtype == "float64"
    if not plain or any(leaf.type.shape or leaf.type.dtype != "real" for leaf in leaves):
        return None
    from gradlang.transform.column_passes import columns  # brings NumPy

    taken = set(program.values)
    pairs = [(x, unique(f"d_{goal.of[0]}_d_{x}", taken)) for x in (goal.wrt if goal.kind == "grad" else ())]
    made = columns(program, (*goal.of, *goal.also), pairs, language, scalar_backend.spelled, COLUMNS)
    if made is None:
        return None
    params = tuple(Param(leaf.name, "", leaf.type, default_of(program, leaf, False)) for leaf in leaves)
    returns, entry = returns_of(goal, pairs), entry_of(goal)
    return LargeJob(made, whole, params, returns, entry, origin, goal.dtype, True, goal.wrt, goal.often)


def entry_of(goal: Goal) -> str:
    """What the generated function is called."""
    entry = {"value": "_".join(goal.of) if len(goal.of) < 4 else "outputs"}.get(goal.kind, f"{goal.of[0]}_and_{goal.kind}")
    return entry.replace("grad", "gradients")


def plan_c(program: Program, goal: Goal, language: Language, origin: str, hook: Hook | None = None) -> Job:
    """A job in the ops of the loop form, of numbers alone too."""
    wanted = goal_tape(program, goal, language.table)
    return planned(program, goal, wanted, language, origin, hook, written=True, native=True, loops=True)


def plan_js(program: Program, goal: Goal, language: Language, origin: str, hook: Hook | None = None) -> Job:
    """A job of numbers alone in the ops of Python floats, and others in those of the loop form."""
    wanted = goal_tape(program, goal, language.table)
    return planned(program, goal, wanted, language, origin, hook, written=True, native=True, floats=True)


def planned(
    program: Program,
    goal: Goal,
    wanted: tuple[Tape, Returns, tuple[tuple[str, Type], ...]],
    language: Language,
    origin: str,
    hook: Hook | None = None,
    written: bool = False,
    native: bool = False,
    loops: bool = False,
    floats: bool = False,
) -> Job:
    """`native` jobs are in the ops of the loop form, with `floats` all but those of numbers alone; with `loops` no job counts
    as one of numbers."""
    tape, returns, extra = wanted
    leaves = program.callable_leaves()
    params = (
        *(Param(name, "", type) for name, type in extra),
        *(Param(leaf.name, "", leaf.type, default_of(program, leaf, written)) for leaf in leaves),
    )
    scalar = not loops and goal.dtype == "float64" and is_scalar(tape, params, language.table)
    with sources_of(program):
        spelled, keep = spelling(scalar, native and not (scalar and floats)), native and not goal.checkpoint
        tape, _ = optimized(tape, language, spelled, hook, goal.checkpoint, keep)
    return Job(tape, params, returns, entry_of(goal), origin, goal.dtype, scalar, goal.wrt, goal.often)


def spelling(scalar: bool, native: bool) -> Callable[[Op], bool]:
    """What says whether a backend has an op as such."""
    if native:
        from gradlang.plan.choose import spelled  # brings all planning of loops, which few runs need

        return spelled
    if scalar:
        return scalar_backend.spelled
    from gradlang.backend.numpy import spelled  # brings the printers of arrays

    return spelled


def plan_nodes(program: Program, nodes: Sequence[int], language: Language) -> Job:
    """A job for the values of some nodes, which it gives as a dict by the texts of their numbers."""
    b = Builder(language.table)
    made = write(program, nodes, b)
    names = tuple(dict.fromkeys(str(n) for n in nodes))
    returns = Returns("dict", tuple((n, n) for n in names))
    wanted = b.tape((n, made[int(n)]) for n in names), returns, ()
    return planned(program, Goal("value", names), wanted, language, "a program")


def rewritten(program: Program, language: Language) -> list[tuple[str, Span]]:
    """Which stable rewrites the outputs of a program undergo: the names of the rules, and the places."""
    tape, _, _ = goal_tape(program, Goal("value", program.outputs), language.table)
    return optimized(tape, language, lambda op: True)[1]


def gradient_file(program: Program, goal: Goal, language: Language, origin: str, hook: Hook | None = None) -> str:
    """The goal as a program of the language: the reverse pass, under names made from the user's."""
    from gradlang.backend.grad import LeafText, program_text
    from gradlang.backend.names import printable

    tape, _, _ = goal_tape(program, goal, language.table)
    with sources_of(program):
        tape, _ = optimized(tape, language, lambda op: True, hook)
    leaves = {leaf.name: LeafText(leaf.role, default_text(program, leaf), leaf.label) for leaf in program.callable_leaves()}
    header = [f"Generated by gradlang {__version__} from {printable(origin)}: the derivatives of {', '.join(goal.of)}."]
    return program_text(tape, language.table, leaves, header, inline=True)


def default_text(program: Program, leaf: Leaf) -> str | None:
    """A default as the language writes it, or None if the caller must give a value."""
    from gradlang.backend.grad import value_text

    if isinstance(leaf.default, Initializer):
        return f"{leaf.default.kind}({', '.join(map(value_text, leaf.default.args))})"
    value = default_of(program, leaf, True)
    return None if value is None else value_text(value)
