"""What compilation does at little cost, for the sake of large programs, makes no difference to what it makes."""

from __future__ import annotations

import gc
import random
from typing import Any

import pytest
from large import TABLE, chain, job_of, program, wide
from test_passes import OWN, SPELLED, goals, model_of

import gradlang as gl
from gradlang import pipeline
from gradlang.ir.rebuild import dce, rebuild
from gradlang.ir.tape import Builder, Instr, Tape
from gradlang.ir.verify import verify
from gradlang.ops.language import standard
from gradlang.transform import rewrite
from gradlang.transform.rewrite import Rewriter, candidates
from gradlang.transform.simplify import concerned, fold


@pytest.mark.parametrize("spelled", SPELLED)
@pytest.mark.parametrize("name", OWN)
def test_passes_that_work_in_place_make_the_same_tape(name: str, spelled: str) -> None:
    """With a hook every tape stays as it was when the hook saw it, but for names that were found later."""
    language = model_of(name).program.language
    for goal in goals(name):
        seen: list[tuple[Tape, Any]] = []
        tapes = [pipeline.goal_tape(model_of(name).program, goal, language.table)[0] for _ in "ab"]
        before = work(tapes[1])
        kept, _ = pipeline.optimized(tapes[0], language, SPELLED[spelled], lambda p, t, to=seen: to.append((t, work(t))))
        changed, _ = pipeline.optimized(tapes[1], language, SPELLED[spelled])
        assert changed == kept
        assert all(work(tape) == was for tape, was in seen)
        assert work(tapes[1]) == before  # what was handed in is not changed


def work(tape: Tape) -> Any:
    return [(i.op, i.args, repr(i.attrs), i.type) for i in tape], tape.outputs


@pytest.mark.parametrize("seed", range(6))
def test_tapes_of_random_programs_hold_after_all_passes(seed: int) -> None:
    """No pass after the last one looks for equal instructions in programs without recurrences."""
    verify(job_of(program(seed, 200)).tape, TABLE, "all passes")


@pytest.mark.parametrize("text", [program(1, 300), program(2, 300), chain(60), wide(40)])
def test_no_rule_fits_where_none_is_asked(text: str) -> None:
    """`candidates` leaves out only what neither a rule nor folding changes."""
    language = standard()
    model = gl.loads(text)
    tape, _, _ = pipeline.goal_tape(model.program, pipeline.Goal("value", ("y",)), language.table)
    for kinds in (("stable", "exact"), ("exact",)):
        rewriter = Rewriter(language.rules, kinds, language.table)
        b = Builder(language.table)
        b.instrs = list(tape.instrs)
        asked, folding = candidates(tape, rewriter.under), concerned(tape, rewriter)
        for i, instr in enumerate(tape.instrs):
            fits = rewriter.fitting(b, instr, instr.args) is not None
            assert asked[i] or not fits
            assert folding[i] or not (fits or (instr.args and fold(b, instr, instr.args) is not None))


def test_left_sides_are_read_once_and_for_the_ops_of_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """To read them all takes as long as all else that compiles a program of some lines."""
    read: list[str] = []

    def pattern(expr: Any, table: Any) -> Any:
        found = original(expr, table)
        read.append(getattr(found, "op", ""))
        return found

    original = rewrite.pattern
    monkeypatch.setattr(rewrite, "pattern", pattern)
    language = standard()
    language.table.sides.clear()
    model = gl.loads("y = a*b + exp(a)")
    model.value_and_grad("y")
    assert "mul" in read and not {"log", "where", "sum", "softmax"} & set(read)
    read.clear()
    model.value_and_grad("y")
    assert not read


def test_what_has_a_replaced_argument_is_asked_again() -> None:
    """-(-x) below becomes x, so that the product above it may be something simpler: neither is asked for by name."""
    b = Builder(TABLE)
    x = b.leaf("input", ("x",), gl.types.SCALAR, (0, 0)).id
    y = b.apply("mul", (b.apply("exp", (x,)), x))
    tape = b.tape([("y", b.apply("sin", (b.apply("cos", (y,)),)))])
    seen: list[str] = []

    def replace(builder: Builder, instr: Instr, args: tuple[int, ...]) -> int | None:
        seen.append(instr.op)
        return args[0] if instr.op in ("exp", "mul") else None

    made = rebuild(tape, TABLE, replace, asked=[i.op == "exp" for i in tape.instrs])
    assert seen == ["exp", "mul", "cos"]
    assert [i.op for i in made.instrs] == ["input", "cos", "sin"]


@pytest.mark.parametrize("own", [False, True])
def test_dead_instructions_go_wherever_they_stand(own: bool) -> None:
    r = random.Random(3)
    for _ in range(30):
        b = Builder(TABLE)
        ids = [b.leaf("input", (f"x{k}",), gl.types.SCALAR, (0, 0)).id for k in range(3)]
        for _ in range(40):
            ids.append(b.apply(r.choice(["add", "mul", "sub"]), (r.choice(ids), r.choice(ids))))
        tape = b.tape([("y", r.choice(ids)), ("z", r.choice(ids))])
        texts = [shown(tape, i) for _, i in tape.outputs]
        made = dce(tape, own)
        used = {a for i in made.instrs for a in i.args} | {i for _, i in made.outputs}
        assert used == set(range(len(made)))
        assert [shown(made, i) for _, i in made.outputs] == texts


def shown(tape: Tape, at: int) -> Any:
    """A number that tells what an instruction computes."""
    values: list[Any] = []
    for instr in tape.instrs:
        args = [values[a] for a in instr.args]
        values.append(hash((instr.op, instr.attrs, *args)))
    return values[at]


# ------------------------------------------------------------------ the garbage collector
def test_the_collector_runs_again_afterwards() -> None:
    assert gc.isenabled()
    for text in (chain(30), chain(20_000)):
        gl.loads(text)
        assert gc.isenabled()
        assert gc.get_freeze_count() == 0
    gc.disable()
    try:
        gl.loads(chain(30))
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_what_others_have_frozen_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradlang.pipeline.MANY", -1)
    ours = [[k] for k in range(100)]
    gc.freeze()
    try:
        gl.loads(chain(20_000))
        known = {id(o) for o in gc.get_objects()}  # which the collector looks at
        assert gc.get_freeze_count() >= 100 and known.isdisjoint(map(id, ours))
    finally:
        gc.unfreeze()
