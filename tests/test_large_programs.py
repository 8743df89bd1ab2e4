"""Large scalar programs: every way to run a tape gives what the reference interpreter and the generated code give."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from large import (
    KINDS,
    SPECIAL,
    TABLE,
    WAYS,
    apart,
    as_machine_code,
    chain,
    interpreted,
    job_of,
    lines_run,
    needs_x86,
    over_numpy,
    points,
    program,
    way,
    wide,
)

import gradlang as gl
from gradlang import pipeline
from gradlang.backend.artifact import Job
from gradlang.backend.module import generate
from gradlang.plan import x86
from gradlang.plan.sorted_tape import SortedTape, sort
from gradlang.plan.tape_machine import CODES, FORMS, LANES
from gradlang.runtime.groups import primitive, sorted_for_numpy
from gradlang.runtime.large import Large
from gradlang.runtime.load import load
from gradlang.runtime.steps import Steps
from gradlang.runtime.x86 import possible


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_groups_give_what_the_interpreter_gives(seed: int) -> None:
    """NumPy's functions of arrays and of single numbers differ by an ulp or two each; 60 lines may magnify that."""
    job = job_of(program(seed))
    args = points(len(job.params), seed)
    assert apart(over_numpy(job)(*args), interpreted(job, args)) < 1e-9


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_all_ways_give_what_generated_code_gives(seed: int) -> None:
    job = job_of(program(seed))
    args = points(len(job.params), seed)
    wanted = load(generate(job, TABLE))(*args)
    large = Large(job, TABLE)
    for kind in WAYS:
        large.way = way(kind, job) or large.way  # LLVM's machine has no remainders
        found = large(*args)
        assert list(found[1]) == list(wanted[1])
        assert apart([found[0], *found[1].values()], [wanted[0], *wanted[1].values()]) < 1e-9


@needs_x86
@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_machine_code_gives_the_bits_of_python(seed: int) -> None:
    """Both call the C library. Python has its own hypot."""
    job = job_of(program(seed).replace("hypot", "atan2"))
    args = points(len(job.params), seed)
    try:
        wanted = Steps(job.tape, job.params, TABLE)(*args)
    except ArithmeticError:
        return
    assert list(map(repr, as_machine_code(job)(*args))) == list(map(repr, wanted))


@pytest.mark.parametrize("kind", KINDS)
def test_infinities_and_nans(kind: str) -> None:
    job = job_of("input a, b\n" + KINDS[kind] + "\n")
    groups, printed = over_numpy(job), load(generate(job, TABLE))
    large = [Large(job, TABLE), Large(job, TABLE)]
    large[0].way = Steps(job.tape, job.params, TABLE)
    assert large[1].name == "machine" or not possible()
    for a in SPECIAL:
        for b in SPECIAL:
            wanted = interpreted(job, [a, b])
            assert apart(groups(a, b), wanted) < 1e-13, (a, b)
            for run in (*large, printed):
                y, slopes = run(a, b)
                assert apart([y, *slopes.values()], wanted) < 1e-13, (a, b)


def test_signs_of_zeros() -> None:
    """Constants 0.0 and -0.0 are two; so are results."""
    texts = "(0.0 if a > 0 else -0.0) + -b*1.0", "a % 0.5 + b", "floor(a/4) + b", "abs(b) + b"
    for job in (job_of(f"input a, b\ny = {text}\n") for text in texts):
        signs_of_zeros(job)


def signs_of_zeros(job: Job) -> None:
    for args in ([1.0, 0.0], [-1.0, 0.0], [1.0, -0.0], [-1.0, -0.0]):
        wanted = repr([float(v) for v in interpreted(job, args)])
        for run in (way(kind, job) for kind in WAYS):
            assert run is None or repr(list(run(*args))) == wanted


@pytest.mark.parametrize("kind", WAYS)
def test_truth_values_are_bools(kind: str) -> None:
    text = "input a, b\nc = a < b\nd = not c\ne = 1 < 2\ny = a\n"
    model = gl.loads(text)
    goal = pipeline.Goal("value", ("c", "d", "e", "y"))
    job = pipeline.plan(model.program, goal, model.program.language, "a test")
    large = Large(job, TABLE)
    large.way = way(kind, job)
    for a, b in ((1.0, 2.0), (2.0, 1.0)):
        found = large(a, b)
        assert found == {"c": a < b, "d": a >= b, "e": True, "y": a}
        assert all(type(found[n]) is bool for n in "cde")


# ------------------------------------------------------------------ which way is taken
@pytest.fixture
def without_machine_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradlang.runtime.x86.library", lambda: None)
    monkeypatch.setattr("gradlang.runtime.native.available", lambda: "not in this test")


def test_shallow_programs_run_in_groups(without_machine_code: None) -> None:
    f = gl.loads(wide(300)).value_and_grad("y")
    assert f.backend == "groups"
    y, slopes = f(a=0.3, b=0.2)
    k = np.arange(300)
    assert y == pytest.approx(np.sum(np.tanh(0.3 * (k + 0.5) + 0.2) * np.sin(0.2 - k)), rel=1e-13)
    t = np.tanh(0.3 * (k + 0.5) + 0.2)
    assert slopes["a"] == pytest.approx(np.sum((1 - t * t) * (k + 0.5) * np.sin(0.2 - k)), rel=1e-12)


def test_deep_programs_run_in_steps(without_machine_code: None) -> None:
    assert gl.loads(chain(1500)).value_and_grad("y").backend == "steps"


def test_numpy_goes_on_where_python_stops(without_machine_code: None) -> None:
    """math.sin raises for an infinity."""
    f = gl.loads(chain(1500)).value_and_grad("y")
    y, slopes = f(a=math.inf, x0=0.0)
    assert math.isnan(y)
    assert math.isnan(slopes["a"])


@needs_x86
def test_sine_and_cosine_of_one_argument_are_one_call() -> None:
    job = job_of("input a, b\nt = cos(a)\nu = sin(a*b) + sin(a)\ny = t*u*t + cos(a*b) + sin(b) + sin(t)\n")
    code = x86.machine_code(job.tape, [p.name for p in job.params])
    assert {"sincos"} <= set(code.functions) <= {"sincos", "sin", "cos"}
    for args in ((0.3, 0.4), (-3.0, 1e7), (1e300, -0.0)):
        assert list(as_machine_code(job)(*args)) == Steps(job.tape, job.params, TABLE)(*args)


@needs_x86
def test_code_that_is_asked_for_ahead_computes_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """A word in every line of the cache, however long the code."""
    job = job_of(program(7, 200))
    args = points(len(job.params), 7)
    plain = as_machine_code(job)
    monkeypatch.setattr(x86, "CACHED", 0)
    fetched = as_machine_code(job)
    assert fetched.code.words[::8].tolist() == [int(x86.number(x86.FETCH))] * (len(fetched.code.words) // 8)
    assert len(fetched.code.words) > len(plain.code.words)
    assert repr(fetched(*args)) == repr(plain(*args))


@needs_x86
def test_machine_code_comes_first() -> None:
    for text in (chain(1500), wide(300)):
        assert gl.loads(text).value_and_grad("y").backend == "machine"


@needs_x86
def test_a_system_that_runs_no_such_code_gets_another_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*args: Any, **settings: Any) -> int:
        raise PermissionError

    monkeypatch.setattr("os.memfd_create", refused)
    monkeypatch.setattr("gradlang.runtime.native.available", lambda: "not in this test")
    assert gl.loads(chain(1500)).value_and_grad("y").backend == "steps"


@pytest.mark.parametrize("text", [chain(1200), wide(300)], ids=["deep", "wide"])
def test_threads_have_arrays_of_their_own(text: str) -> None:
    f = gl.loads(text).value_and_grad("y")
    names = list(f.job.params)
    given = [{p.name: 0.1 + k / 16 for p in names} for k in range(24)]
    wanted = [repr(f(g)) for g in given]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            assert list(pool.map(lambda g: repr(f(g)), given)) == wanted


# ------------------------------------------------------------------ the sorted tape itself
def holds(tape: SortedTape, lanes: int = 1) -> None:
    """Groups follow one another without gaps, and read only what stands before them."""
    at = tape.base
    for code, count, first in zip(tape.codes, tape.counts * lanes, tape.firsts, strict=True):
        assert first == at
        assert count > 0
        for column in tape.operands:
            assert np.all(column[first - tape.base : first - tape.base + count] < first)
        assert 0 <= code < len(tape.kinds)
        at += count
    assert at == tape.size


@pytest.mark.parametrize("text", [chain(40), wide(33), program(3), program(4, 200)])
def test_groups_read_what_stands_before_them(text: str) -> None:
    job = job_of(text)
    holds(sorted_for_numpy(primitive(job.tape, TABLE), job.params, TABLE))


@pytest.mark.parametrize("text", [chain(40), wide(33)])
def test_groups_are_filled_up(text: str) -> None:
    job = job_of(text)
    holds(sort(job.tape, [p.name for p in job.params], FORMS, CODES, LANES), LANES)


@pytest.mark.parametrize("shape", [chain, wide])
def test_sorting_takes_time_in_proportion(shape: Any) -> None:
    small, large = (job_of(shape(n)) for n in (200, 1600))
    a, b = (lines_run("plan", lambda job=job: sorted_for_numpy(job.tape, job.params, TABLE)) for job in (small, large))
    assert b < 10 * a


@pytest.mark.parametrize("shape", [chain, wide])
def test_machine_code_grows_in_proportion(shape: Any) -> None:
    small, large = (job_of(shape(n)) for n in (200, 1600))
    codes: list[x86.MachineCode] = []

    def write(job: Job) -> int:
        return lines_run("plan", lambda: codes.append(x86.machine_code(job.tape, [p.name for p in job.params])))

    a, b = write(small), write(large)
    assert b < 10 * a
    assert [len(c.words) <= 4 * len(j.tape) for c, j in zip(codes, (small, large), strict=True)] == [True, True]


def test_steps_are_as_many_as_instructions() -> None:
    job = job_of(chain(100))
    leaves = sum(not i.args for i in job.tape.instrs)
    assert len(Steps(job.tape, job.params, TABLE).steps) == len(job.tape) - leaves
