"""Our own functions in machine code: their bits are those of the loop form, whatever stands beside them."""

from __future__ import annotations

import ctypes
import math
import random
import struct
from typing import Any

import mpmath
import numpy as np
import pytest
from conftest import Golden
from hypothesis import given, settings
from hypothesis import strategies as st
from large import (
    KINDS,
    SPECIAL,
    TABLE,
    apart,
    as_machine_code,
    chain,
    interpreted,
    job_of,
    needs_vectors,
    points,
    program,
    wide,
)
from loop_oracle import run
from loop_references import error

import gradlang as gl
from gradlang.ir.columns import of_tape
from gradlang.loops.functions import PAIRS, function, line
from gradlang.plan import x86, x86_routines, x86_vectors
from gradlang.plan.lanes import LANES
from gradlang.plan.straight import TWINS, Straight, straight
from gradlang.runtime.steps import Steps
from gradlang.runtime.x86 import address_of, runnable

ONE = sorted(x86.OWN - {*TWINS, "tanh"})
FAR = 96


def routine(name: str) -> tuple[Any, Any]:
    """A function of an array of four numbers, which gives eight, and whether one was beyond the limit; what keeps it."""
    made, starts = x86_routines.routines(frozenset({name}), FAR)
    code = bytearray(made)
    code += x86_routines.NOP * (-len(code) % 64)
    start = len(code)
    code += bytes.fromhex("53 48 89 FB")
    for load, place in zip(x86.LOAD_LANES, (0, 8, 16, 24), strict=True):
        code += load.bytes + struct.pack("<i", place)
    code += b"\xe8" + struct.pack("<i", starts[name] - len(code) - 5)
    for store, place in zip(x86.STORE_BOTH, (32, 64), strict=True):
        code += store.bytes + struct.pack("<i", place)
    code += bytes.fromhex("C5 F8 77 5B C3")
    memory = runnable(bytes(code))
    assert memory is not None
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address_of(memory) + start)
    values = np.zeros(16)

    def at(x: Any) -> tuple[Any, bool]:
        values[:4], values[12:] = x, 0.0
        call(values.ctypes.data)
        return values[4:12].copy(), bool(values[12:].view(np.uint64).any())

    return at, memory


def arguments(limit: float | None) -> Any:
    r = np.random.default_rng(1)
    wide = np.ldexp(r.uniform(1, 2, 400), r.integers(-1074, 1024, 400)) * r.choice([-1.0, 1.0], 400)
    x = np.concatenate([r.uniform(-1, 1, 400), r.uniform(-30, 30, 400), r.uniform(-750, 750, 100), wide, np.array(SPECIAL)])
    x = x if limit is None else x[~(abs(x) > limit)]
    return x[: len(x) // LANES * LANES].reshape(-1, LANES)


def bits(x: Any) -> list[Any]:
    """The words of numbers; every nan counts as one."""
    x = np.asarray(x, np.float64)
    return [None if math.isnan(v) else w for v, w in zip(x.tolist(), x.view(np.uint64).tolist(), strict=True)]


@needs_vectors
@pytest.mark.parametrize("name", ONE)
def test_routines_give_the_bits_of_the_loop_form(name: str) -> None:
    at, _memory = routine(name)
    for x in arguments(line(name).limit):
        found, far = at(x)
        assert bits(found[:4]) == bits(run(function(name, "f64"), "f64", x, fma=True)), (name, x)
        assert not far


@needs_vectors
def test_sine_and_cosine_have_the_bits_that_each_has_alone() -> None:
    at, _memory = routine("sincos")
    for x in arguments(line("sincos").limit):
        found, _ = at(x)
        for k, name in enumerate(("sin", "cos")):
            assert bits(found[4 * k : 4 * k + 4]) == bits(run(function(name, "f64"), "f64", x, fma=True)), x


@needs_vectors
def test_tanh_and_its_exponential() -> None:
    """tanh within 2 ulp, exp(-2|x|) within 1.1, and tanh has the same bits without it."""
    at, _memory = routine("tanh_and_exp")
    alone, _kept = routine("tanh")
    for x in np.concatenate([arguments(None), np.random.default_rng(2).uniform(-1.5, 1.5, (800, LANES))]):
        found, _ = at(x)
        assert bits(alone(x)[0][:4]) == bits(found[:4])
        for v, t, e in zip(x.tolist(), found[:4].tolist(), found[4:].tolist(), strict=True):
            if not math.isfinite(v) or v == 0:
                assert repr((t, e)) == repr((math.tanh(v), math.exp(-2 * abs(v)))) or math.isnan(v)
                continue
            with mpmath.mp.workprec(200 if abs(v) > 1e-30 else 2400):
                assert error(t, mpmath.tanh(mpmath.mpf(v)) if abs(v) < 1e3 else mpmath.sign(v), "f64") <= 2, v
                assert error(e, mpmath.exp(mpmath.mpf(-2 * abs(v))) if abs(v) < 1e5 else mpmath.mpf(0), "f64") <= 1.1, v


@needs_vectors
@pytest.mark.parametrize("name", ["sin", "cos", "tan", "sincos"])
def test_a_routine_says_where_it_does_not_hold(name: str) -> None:
    at, _memory = routine(name)
    limit = line(name).limit
    assert limit is not None
    for lane in range(LANES):
        for value, far in ((limit, False), (np.nextafter(-limit, -math.inf), True), (math.inf, True), (math.nan, False)):
            x = np.full(LANES, 0.5)
            x[lane] = value
            assert at(x)[1] is far


def test_every_function_of_the_table_has_a_routine() -> None:
    _, starts = x86_routines.routines(frozenset(x86.OWN), x86.FAR)
    assert starts.keys() == x86.OWN
    assert TWINS.keys() == PAIRS.keys()


def test_the_routines_that_come_with_the_package_are_those_that_are_written(golden: Golden) -> None:
    golden(x86_routines.FILE, x86_routines.text_of({name: x86_vectors.piece(name) for name in sorted(x86.OWN)}))


def test_what_needs_too_many_registers_has_none() -> None:
    with pytest.raises(x86_vectors.TooLong):
        x86_vectors.piece("sin_any")


def test_routines_stand_behind_one_another_and_share_constants() -> None:
    """Each is what it is alone, but for where its constants and the bits of far arguments are."""
    names = ["cos", "exp", "sin"]
    code, starts = x86_routines.routines(frozenset(names), FAR)
    made = [x86_vectors.piece(name) for name in names]
    for name, piece in zip(names, made, strict=True):
        at = starts[name]
        assert at % x86_routines.LINE == 0
        for place, end, k in piece.reads:
            (offset,) = struct.unpack_from("<i", code, at + place)
            assert code[at + end + offset :][: 8 * LANES] == struct.pack("<Q", piece.constants[k]) * LANES
        assert [struct.unpack_from("<i", code, at + place)[0] for place in piece.far] == [FAR] * len(piece.far)
        linked = {at + p + k for p in (*(r[0] for r in piece.reads), *piece.far) for k in range(4)}
        assert all(code[at + k] == b for k, b in enumerate(piece.code) if at + k not in linked)
    different = {c for piece in made for c in piece.constants}
    assert len(different) < sum(len(piece.constants) for piece in made)
    body = starts["sin"] + len(made[2].code)
    assert len(code) == body + -body % x86_routines.LINE + 8 * LANES * len(different)


def test_routines_are_the_same_bytes_whatever_lies_in_memory() -> None:
    """Registers are given out in an order that no addresses of objects have a part in."""
    made = set()
    for k in range(8):
        line.cache_clear()
        function.cache_clear()
        kept = [object() for _ in range(k)]
        made.add(x86_routines.text_of({name: x86_vectors.piece(name) for name in sorted(x86.OWN)}))
        del kept
    assert len(made) == 1


# ------------------------------------------------------------------ programs
@needs_vectors
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([60, 400]))
def test_programs_give_what_the_interpreter_gives(seed: int, lines: int) -> None:
    job = job_of(program(seed, lines))
    args = points(len(job.params), seed)
    assert apart(list(as_machine_code(job, own=True)(*args)), interpreted(job, args)) < (1e-9 if lines == 60 else 1e-6)


@needs_vectors
@pytest.mark.parametrize("kind", KINDS)
def test_infinities_and_nans(kind: str) -> None:
    job = job_of("input a, b\n" + KINDS[kind] + "\n")
    found = as_machine_code(job, own=True)
    for a in SPECIAL:
        for b in SPECIAL:
            assert apart(list(found(a, b)), interpreted(job, [a, b])) < 1e-13, (a, b)


@needs_vectors
def test_beyond_its_limit_the_library_takes_over() -> None:
    job = job_of("input a, b\ny = sin(a)*exp(b) + tanh(b)\n")
    own, steps = as_machine_code(job, own=True), Steps(job.tape, job.params, TABLE)
    assert list(own(1e7, 0.3)) == steps(1e7, 0.3)
    assert list(own(2.0, 0.3)) == pytest.approx(steps(2.0, 0.3), rel=1e-14)
    assert list(own(-1e300, 0.3)) == steps(-1e300, 0.3)


@needs_vectors
def test_the_slope_of_tanh_keeps_its_digits() -> None:
    job = job_of("input a, b\ny = tanh(a) + tanh(b)*2\n")
    found = as_machine_code(job, own=True)
    assert "tanh_and_exp of four" in found.code.functions
    assert "exp of four" not in found.code.functions
    for a in (0.0, 1e-9, 0.3, 5.0, 19.0, 100.0, 350.0):
        with mpmath.mp.workprec(1200):
            t = mpmath.tanh(mpmath.mpf(a))
            slope = float(1 - t * t)
        assert found(a, -a)[1:] == pytest.approx((slope, 2 * slope), rel=1e-15, abs=0)


def test_without_the_instructions_functions_are_those_of_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradlang.runtime.x86.vectors", lambda: False)
    f = gl.loads(wide(300)).value_and_grad("y")
    assert f.backend != "machine" or not f.raw.way.code.own


@needs_vectors
def test_programs_of_files_use_our_own_functions() -> None:
    assert gl.loads(wide(300)).value_and_grad("y").raw.way.code.own


# ------------------------------------------------------------------ the order of the steps
def made(text: str) -> tuple[Any, Straight]:
    job = job_of(text)
    return job.tape, straight(of_tape(job.tape), x86.SWAPPED, x86.EITHER, x86.OWN)


def holds(tape: Any, line: Straight) -> None:
    """Every step reads what earlier steps made, and what the outputs need is made once."""
    known = set(line.leaves)
    roots = {i: i for i in range(len(tape))}
    for i, a in line.aliases:
        roots[i] = roots[a]
    done: list[int] = []
    starts = np.cumsum(
        [0, *(2 * LANES if line.ops[line.codes[k]] in TWINS else LANES for k in np.flatnonzero(line.group >= 0))]
    )
    for k, node in enumerate(line.nodes):
        group = line.group[k]
        new = [int(node)]
        if group >= 0:
            assert known.issuperset(line.groups.arguments[:, group].tolist())
            new = [i for i in line.groups.rooms[starts[group] : starts[group + 1]].tolist() if i >= 0]
        else:
            width = len(tape.instrs[int(node)].args)
            assert known.issuperset(int(column[k]) for column in line.operands[:width])
            if line.ops[line.codes[k]] in TWINS:
                new = [int(line.operands[1][k]), int(line.operands[2][k])]
        done += new
        known.update(new)
    assert len(set(done)) == len(done)
    assert known.issuperset(roots[i] for _, i in tape.outputs)


@pytest.mark.parametrize("seed", range(8))
def test_steps_stand_after_what_they_read(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradlang.plan.lanes.WINDOW", random.Random(seed).choice([7, 50, 8192]))
    holds(*made(program(seed, 150)))


def test_independent_calls_are_made_together() -> None:
    tape, line = made(wide(33))
    holds(tape, line)
    names = [line.ops[c] for c in line.codes[line.group >= 0]]
    assert names.count("tanh_and_exp") == 9  # 33 in fours
    assert set(names) == {"tanh_and_exp", "sincos"}
    tape, line = made(chain(20))
    holds(tape, line)
    assert line.groups.arguments.shape == (LANES, 20)  # each waits for the one before it
