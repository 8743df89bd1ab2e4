"""Large scalar programs through LLVM: the machine for tapes, and straight kernels."""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numpy as np
import pytest
from large import (
    KINDS,
    SPECIAL,
    TABLE,
    apart,
    chain,
    interpreted,
    job_of,
    points,
    program,
)

import gradlang as gl
from gradlang.backend.artifact import Job
from gradlang.backend.llvm import unit_text
from gradlang.loops.functions import function
from gradlang.plan.scalar_kernel import scalar_kernel
from gradlang.runtime import native
from gradlang.runtime.large import Large
from gradlang.runtime.steps import Steps
from gradlang.runtime.tapes import Tapes, tapes

# ------------------------------------------------------------------ the machine for tapes, and straight kernels, through LLVM
needs_llvm = pytest.mark.skipif(native.available() is not None, reason="llvmlite is not there")


def straight(job: Job) -> Any:
    """The job as a straight kernel: called with floats, it gives the outputs and whether an argument was beyond a limit."""
    kernel = scalar_kernel(job.tape, [p.name for p in job.params])
    text = unit_text([kernel], "f64", native.target(), lambda name: function(name, "f64"))
    library = native.load(text, [kernel.name], level=1)
    start = ctypes.CFUNCTYPE(None, ctypes.c_void_p, *[ctypes.c_double] * len(kernel.numbers))(library[kernel.name])

    def run(*args: float) -> list[float]:
        out = np.zeros(len(job.tape.outputs) + 1)
        start(out.ctypes.data, *args)
        assert library is not None
        return list(out.tolist())

    return run


@needs_llvm
@pytest.mark.parametrize("seed", range(8))
def test_llvm_gives_what_the_interpreter_gives(seed: int) -> None:
    """Our functions are within 2.5 ulp of the true ones; 60 lines may magnify that."""
    job = job_of(program(seed).replace(" % ", " * "))
    machine, line = tapes(job, TABLE), straight(job)
    assert machine is not None
    for k in range(5):
        args = points(len(job.params), 100 * seed + k)
        wanted = interpreted(job, args)
        assert apart(machine(*args), wanted) < 1e-9
        *found, beyond = line(*args)
        assert apart(found, wanted) < 1e-9
        assert not beyond


@needs_llvm
@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"functions", "remainders", "whole quotients"}))
def test_infinities_and_nans_through_llvm(kind: str) -> None:
    job = job_of("input a, b\n" + KINDS[kind] + "\n")
    machine, line = tapes(job, TABLE), straight(job)
    assert machine is not None
    for a in SPECIAL:
        for b in SPECIAL:
            wanted = interpreted(job, [a, b])
            assert apart(machine(a, b), wanted) < 1e-13, (a, b)
            assert apart(line(a, b)[:-1], wanted) < 1e-13, (a, b)


@needs_llvm
def test_arguments_beyond_the_limit_of_a_function(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our sin holds its promise up to 1e6; beyond, another way is taken. A nan beside it hides nothing."""
    job = job_of("input a, b\ny = sin(a) + sin(b) + exp(b)\n")
    large = Large(job, TABLE)
    large.way = machine = tapes(job, TABLE)
    assert isinstance(machine, Tapes)
    assert large(3e7, 1.0)[0] == pytest.approx(math.sin(3e7) + math.sin(1.0) + math.e, rel=1e-14)
    assert straight(job)(3e7, 1.0)[-1] == 1
    for args in ((3e7, math.nan), (math.nan, 3e7), (3e7, 0.0)):
        with pytest.raises(ArithmeticError):
            machine(*args)
    assert machine(0.5, 0.25)[0] == pytest.approx(math.sin(0.5) + math.sin(0.25) + math.exp(0.25), rel=1e-15)


@needs_llvm
def test_llvm_runs_tapes_where_we_cannot_write_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradlang.runtime.x86.library", lambda: None)
    given = {"a": 0.3, "x0": 0.4}
    f = gl.loads(chain(1500)).value_and_grad("y")
    assert f.backend == "tape"
    g = gl.loads(chain(1500)).value_and_grad("y")
    g.raw.way = Steps(g.job.tape, g.job.params, TABLE)
    (y, slopes), (wanted, others) = f(given), g(given)
    assert y == pytest.approx(wanted, rel=1e-11)
    assert slopes == pytest.approx(others, rel=1e-10)
