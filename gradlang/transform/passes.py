"""A pass is a record; a pipeline is a tuple of passes; what must stand before what is data with a reason."""

from __future__ import annotations

from collections.abc import Callable

from gradlang.ir.rebuild import rebuild
from gradlang.ir.tape import BODIES, Instr, Tape, constant_key, has_bodies
from gradlang.ops.op import Op
from gradlang.ops.table import OpTable, Rule
from gradlang.record import changed, record
from gradlang.source import Span
from gradlang.transform.differentiate import differentiate
from gradlang.transform.expand import expand
from gradlang.transform.partials import Templates
from gradlang.transform.rewrite import Rewriter, candidates
from gradlang.transform.simplify import simplify, unmark

ROUNDS = 8
SUMS = ("sum", "sum_to", "matmul")
GROWTH = 4  # rules that make a formula longer each time are stopped at this multiple of its length


@record
class Pass:
    name: str
    doc: str
    run: Callable[[Tape], Tape]
    after_change: bool = False  # nothing to do where nothing has changed since a pass that settles
    settles: bool = False


@record
class Passes:
    """The passes of one compilation, over one table and for one backend."""

    pipeline: tuple[Pass, ...]
    stable: Rewriter

    def rewritten(self) -> list[tuple[str, Span]]:
        """Which stable rewrites fired, and where."""
        exact = {rule.name for found in self.stable.rules.values() for rule in found if rule.kind == "exact"}
        return [found for found in dict.fromkeys(self.stable.used) if found[0] not in exact]


def to_the_end(tape: Tape, table: OpTable, rewriter: Rewriter) -> Tape:
    """A rewriter applied until nothing is left to rewrite; what a rule makes may be the left side of another."""
    most = GROWTH * len(tape) + 1000
    for _ in range(ROUNDS):
        asked = candidates(tape, rewriter.under)
        first = rewriter.first(tape, asked)
        if first is None or len(tape) > most:
            return tape
        before = len(rewriter.used)
        tape = rebuild(tape, table, rewriter.apply, first, asked)
        if len(rewriter.used) == before:
            return tape
    return tape


def deep(run: Callable[[Tape], Tape]) -> Callable[[Tape], Tape]:
    """A pass that goes over the bodies of recurrences first."""

    def apply(tape: Tape) -> Tape:
        if has_bodies(tape):
            instrs = tuple(inner(i) if i.op in BODIES else i for i in tape.instrs)
            if any(a is not b for a, b in zip(instrs, tape.instrs, strict=True)):
                tape = Tape(instrs, tape.outputs)
        return run(tape)

    def inner(instr: Instr) -> Instr:
        (held,) = instr.attrs
        body = apply(held.body)
        if body is held.body:
            return instr
        made = changed(held, body=body)
        return Instr(instr.op, instr.args, (made,), instr.type, instr.span, instr.scope, instr.name)

    return apply


def segmented(tape: Tape, table: OpTable) -> Tape:
    from gradlang.transform.checkpoint import checkpoint  # what few programs need takes its time to import

    return checkpoint(tape, table)


def contracted(tape: Tape, table: OpTable) -> Tape:
    if not any(i.op in SUMS for i in tape.instrs):
        return tape
    from gradlang.transform.contract import contract

    return contract(tape, table)


def common(a: Tape, b: Tape) -> int:
    """How many instructions two tapes begin with together."""
    pairs = zip(a.instrs, b.instrs, strict=False)
    return next((k for k, (x, y) in enumerate(pairs) if x is not y), min(len(a), len(b)))


def merge_equal(tape: Tape, table: OpTable) -> Tape:
    """A tape that a builder made, of whose recurrences the bodies were changed: nothing else can have become equal."""
    if not has_bodies(tape):
        return tape
    seen = {(i.op, i.args, constant_key(i.attrs) if i.op in ("const", "array") else i.attrs, i.type) for i in tape.instrs}
    return tape if len(seen) == len(tape.instrs) else rebuild(tape, table)


def passes(
    table: OpTable,
    rules: tuple[Rule, ...],
    spelled: Callable[[Op], bool],
    fast: bool = False,
    segments: bool = False,
    own: bool = False,
    keep: bool = False,
) -> Passes:
    """The passes; with `segments` recurrences keep their states at some steps only, with `keep` all that adjoints need. With
    `own` the tapes between passes are nobody else's, and hold no bodies: what `differentiate` makes is changed in place."""
    templates = Templates(table)
    whole = (lambda run: run) if own else deep
    settled = Tape((), ())  # the last tape that was simplified

    def simplified(tape: Tape) -> Tape:
        nonlocal settled
        settled = simplify(tape, table, exact, common(settled, tape) if own else 0, own)
        return settled

    # exact rules come along: they bring a formula into the form that a stable rule knows
    stable = Rewriter(rules, ("stable", "exact"), table)
    exact = Rewriter(rules, ("exact", "fast") if fast else ("exact",), table)
    simple = Pass("simplify", "exact rewrites and constant folding", whole(simplified), settles=True)
    short = Pass(
        "checkpoint", "recurrences run in segments, of which they keep the first states", lambda t: segmented(t, table)
    )
    return Passes(
        (
            Pass("stable", "formulas that lose digits become ops that do not", whole(lambda t: to_the_end(t, table, stable))),
            *((short,) if segments else ()),
            Pass(
                "differentiate",
                "derivative operators become ordinary instructions",
                whole(lambda t: differentiate(t, table, templates, keep)),
            ),
            Pass(
                "unmark", "values that were kept apart for a derivative may merge again", whole(lambda t: unmark(t, table, own))
            ),
            simple,
            Pass(
                "expand",
                "ops that the backend does not spell become their values",
                whole(lambda t: expand(t, table, templates, spelled, own)),
            ),
            Pass("contract", "sums of products of small arrays become matrix products", whole(lambda t: contracted(t, table))),
            Pass("simplify again", "exact rewrites and constant folding", simple.run, after_change=True, settles=True),
            Pass("cse", "equal instructions become one, unused ones go", whole(lambda t: merge_equal(t, table))),
        ),
        stable,
    )


# (before, after, reason), held by a test over every pipeline.
ORDER = (
    ("stable", "differentiate", "the derivative of a formula that overflows overflows, whatever is done to it later"),
    ("checkpoint", "differentiate", "a segment is differentiated together with what computes its states again"),
    ("differentiate", "unmark", "a mark says what a derivative is taken by"),
    ("differentiate", "expand", "the rules of an entry are better than the derivative of its value"),
    ("differentiate", "contract", "the adjoint of a sum of products holds such sums too"),
    ("simplify", "contract", "a product is known by its factors once ones, signs and moves are gone"),
    ("expand", "contract", "values of entries may be sums of products"),
    ("contract", "simplify again", "what is left of the product may be moves that move nothing"),
    ("expand", "simplify again", "values of entries hold constants and choices that are now known"),
    ("simplify again", "cse", "simplification makes equal instructions"),
)
