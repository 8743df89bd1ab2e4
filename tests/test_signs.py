"""What the plan knows of signs, and which exp it calls for it."""

from __future__ import annotations

import numpy as np
import pytest

import gradlang as gl
from gradlang.ir.signs import never_positive
from gradlang.ops.language import standard
from gradlang.pipeline import Goal, plan_c
from gradlang.runtime.native import available

NEVER = ["-abs(x)", "-x*x", "x*-x", "-(x*x)", "-2*abs(x)", "-(0.5*x**2)", "abs(x)*-3", "-exp(x)", "-sqrt(x)", "-0.5*(x*x)*2"]
PERHAPS = ["x", "-x", "abs(x)", "x*x", "-x*y", "-2*x", "-(x*x)*y", "2*abs(x)", "-abs(x) + 1", "(-x)*(-x)"]


@pytest.mark.parametrize(("formula", "known"), [*((f, True) for f in NEVER), *((f, False) for f in PERHAPS)])
def test_signs(formula: str, known: bool) -> None:
    program = gl.loads(f"input x : [N]\ninput y : [N]\nz = exp({formula}) + 0*x + 0*y").program
    tape = plan_c(program, Goal("value", ("z",)), standard(), "a test").tape
    found = [never_positive(tape, i.args[0]) for i in tape.instrs if i.op == "exp"]
    assert found == [known] if formula != "-exp(x)" else found == [False, True]


@pytest.mark.skipif(available() is not None, reason="llvmlite is not there")
@pytest.mark.parametrize("formula", NEVER)
def test_both_exps_agree(formula: str) -> None:
    model = gl.loads(f"input x : [N]\nz = exp({formula}) + 0*x")
    x = np.array([0.0, -0.0, 1e-300, 0.3, -2.0, 26.6, 27.2, 700.0, -744.0, 745.2, 1e200, np.nan, np.inf, -np.inf])
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(
            model.function(backend="native")(x=x), model.function(backend="numpy")(x=x), rtol=1e-15, atol=5e-324
        )
