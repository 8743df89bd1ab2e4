"""`gradlang check`: promises, derivatives against differences, ranges, and what a program is warned of."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import gradlang as gl
from gradlang import pipeline
from gradlang.cli.main import main
from gradlang.prove.report import Report, check_model


def report(text: str, **values: object) -> Report:
    return check_model(gl.loads(text), values)


def failures(made: Report) -> list[str]:
    return [f.text for f in made.findings if not f.ok]


def warned(text: str) -> list[str]:
    return [d.message for d in gl.loads(text).program.warnings]


# ------------------------------------------------------------------ no false alarms
AT_AN_OPTIMUM = {
    # the maximum of the likelihood, to the last digit: the gradient is what rounding leaves
    "logistic": """
const T = [53, 57, 58, 63, 66, 67, 67, 67, 68, 69, 70, 70, 70, 70, 72, 73, 75, 75, 76, 76, 78, 79, 81]
const D = [ 1,  1,  1,  1,  0,  0,  0,  0,  0,  0,  1,  0,  1,  0,  0,  0,  0,  1,  0,  0,  0,  0,  0]
alpha = 15.04290164770244
beta  = -0.23216274421859647
loglik = bernoulli_logit_lpmf(D, alpha + beta*T)
""",
    "least squares": """
const x = [0.1, 0.2, 0.3, 0.4, 0.7]
const y = [1.1, 1.3, 1.2, 1.6, 1.9]
a = 0.9684210526315787
b = 1.3273684210526318
loss = sum((a + b*x - y)**2)
""",
    "dimer": "r = 1.122462048309373\nE = 4*(r**-12 - r**-6)\n",
    "symmetric": "v = [0.1, 0.3, 0.7]\nm = mean(v)\ny = sum((v - m))**2 + sum(v - m)\n",
}


@pytest.mark.parametrize("text", AT_AN_OPTIMUM.values(), ids=AT_AN_OPTIMUM.keys())
def test_rounding_noise_is_no_error(text: str) -> None:
    made = report(text)
    assert made.ok, made.text()
    assert not [n for n in made.notes if "kink" in n]


def test_cancelled_terms_are_seen_where_they_cancel() -> None:
    """(x + 1e8) - 1e8 loses eight digits of x, and so does its square's derivative."""
    assert report("x = 0.1234567\nz = (x + 1e8) - 1e8\ny = z**2\n").ok


@pytest.mark.parametrize("text", ["x = 0\ny = abs(x)", "x = 0\ny = max(x, 0)", "v = [0, 1, 0]\ny = sum(relu(v))"])
def test_a_kink_is_told(text: str) -> None:
    made = report(text)
    assert made.ok
    assert any("is taken at a kink" in n for n in made.notes)


@pytest.mark.parametrize(
    "text", ["x = 0\ny = sqrt(x)", "x = 0\ny = cbrt(x)", "x = 1\ny = asin(x)", "x = 0\ny = xlogy(x, x) + sqrt(x)"]
)
def test_the_edge_of_a_domain(text: str) -> None:
    assert report(text).ok


def test_a_value_that_is_no_number_is_not_compared() -> None:
    made = report("x = -1\ny = log(x)")
    assert made.ok
    assert any("its derivatives are not compared" in n for n in made.notes)


# ------------------------------------------------------------------ real errors
WRONG = {
    "factor": "y*(1 - y)*1.0000001",
    "sign": "-y*(1 - y)",
    "constant": "y*(1 - y) + 1e-9",
}


def unproven(text: str) -> gl.Model:
    """A model whose own ops are taken as they are."""
    return gl.Model(pipeline.load(text, "<text>", pipeline.standard()))


@pytest.mark.parametrize("partial", WRONG.values(), ids=WRONG.keys())
@pytest.mark.parametrize(
    "use",
    [
        "x = 0.7\nz = mine(x)**2\n",
        "x = [0.1, -0.7]\nz = mine(x)\n",
        "x = 0.7\nz = mine(x)\njacobian z wrt x\n",
        "s[0] = 0.3\nw = 1.2\ns[t] = mine(w*s[t-1]) for t in range(1, 5)\nz = s[4]\n",
    ],
)
def test_a_wrong_partial_is_found(partial: str, use: str) -> None:
    made = check_model(unproven(f"op mine(x) -> y:\n    value = 1/(1 + exp(-x))\n    d/dx = {partial}\n{use}"))
    assert any("but differences in higher precision give" in text for text in failures(made)), made.text()


def test_a_wrong_second_derivative_is_found() -> None:
    """The slope is right at the point, but it is not the derivative around it."""
    made = check_model(
        unproven("op mine(x) -> y:\n    value = x**3\n    d/dx = 12 + 0*x\nx = 2\nz = mine(x)\nhessian z wrt x\n")
    )
    assert failures(made)


@pytest.mark.parametrize("rows", [3, 40, 4000])
def test_a_wrong_partial_in_arrays_of_any_size(rows: int) -> None:
    op = "op mine(x) -> y:\n    value = tanh(x)\n    d/dx = (1 - y*y)*1.001\n"
    text = (
        "input X : [N, 30]\nparam W : [30, 20] = normal(0, 0.3)\nparam b : [20] = zeros()\nloss = sum(mine(X @ W + b)**2)/N\n"
    )
    data = {"X": np.random.default_rng(0).normal(size=(rows, 30))}
    assert failures(check_model(unproven(op + text), data))
    assert check_model(unproven(text.replace("mine", "tanh")), data).ok


# ------------------------------------------------------------------ what is compared
def test_kinds_of_programs() -> None:
    made = report(
        """
input idx : int[N]
input m : bool[N]
input A : [N, N]
param W : [N, 2] = normal(0, 0.1)
p = 0.3
s = 1
x[0] = s
x[t] = x[t-1]*p + 1 for t in range(1, 6)
E = solve(E - p*sin(E) - s for E from s)
pairs = [[A[i, j]*W[i, 0] if i > j else 0 for j in range(N)] for i in range(N)]
d = grad(x[5] + E, s)
h = sum(W[idx, 0]) + sum(where(m, W[:, 1], 0)) + logdet(A @ A.T + eye(N)) + sum(pairs)
output x, d, h
"""
    )
    assert made.ok, made.text()
    assert [f.text.split(" of ")[1][0] for f in made.findings] == ["x", "d", "h"]


def test_only_what_is_asked_for() -> None:
    made = report("x = 2\na = 3\ny = x**2*a\nz = y*a\ngrad y wrt x\noutput z\n")
    assert [f.text.split(" agree")[0] for f in made.findings] == ["1 derivative of y"]


def test_requests_of_matrices() -> None:
    made = report("v = [1, 2, 3]\nk = 2\ny = v**2*k\nf = sum(v**3)*k\njacobian y wrt v, k\nhessian f wrt v\n")
    assert [f.text.split(" agree")[0] for f in made.findings] == ["4 derivatives of y", "3 second derivatives of f"]


def test_a_float32_model_is_checked_in_double_precision() -> None:
    assert check_model(gl.loads("x = 0.1\ny = exp(x)*sin(x)", dtype="float32")).ok


def test_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "p.grad"
    path.write_text("x = 2\ny = 3*x\ncheck y == 7\n")
    assert main(["check", str(path), "--json"]) == 1
    made = json.loads(capsys.readouterr().out)
    assert made["schema"] == 1
    assert made["ok"] is False
    assert made["findings"][0] == {"ok": False, "text": "line 3: check y == 7: found 6.0, not 7.0: off by 1", "line": 3}
    assert set(made) == {"schema", "ok", "findings", "notes"}


# ------------------------------------------------------------------ promises
KEPT = """
apple = 100
n = 2
tax = 1.1
price = apple*n*tax
v = [1, 2, 3]
w = 2*v
"""


@pytest.mark.parametrize(
    "line",
    [
        "check grad(price, apple) == 2.2 tol 1e-12 given n = 2, tax = 1.1",
        "check jacobian(w, v) == 2*eye(3)",
        "check hessian(price*n, n) == 220.00000000000003 tol 1e-15",
        "check w == [2, 4, 6]",
        "check w == 4 given v = [2, 2, 2]",
        "check all(v > 0)",
        "check v > 0 and w > 0",
        "check price == log(21)*2.2 tol 1e-15 given apple = log(21)",
        "check w == [2/3, 2*pi, 0] given v = [1/3, pi, 0]",
        "check w == [1, 1, 1] given v = ones(3)/2",
        "check price == 1e9 tol 1.1e-3 given apple = 454545454, n = 2, tax = 1.1",
        "check 0 < price <= 221",
        "check any(v == 2)",
    ],
)
def test_kept(line: str) -> None:
    made = report(KEPT + line)
    assert made.ok, made.text()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("check price == 200", "found 220.00000000000003, not 200.0: off by 20"),
        ("check price == 200 tol 0.01", "found 220.00000000000003, not 200.0: off by 20, more than 2"),
        ("check w == [2, 5, 6]", "1 of 3 entries fail; at index [1] found 4.0, not 5.0: off by 1"),
        ("check v > 1", "1 of 3 entries fail; at index [0] found 1.0, not > 1.0: off by 0"),
        ("check price < 100", "found 220.00000000000003, not < 100.0: off by 120"),
        ("check all(v > 2)", "it is false"),
    ],
)
def test_broken(line: str, said: str) -> None:
    (text,) = failures(report(KEPT + line))
    assert text.endswith(f"{line}: {said}")


def test_a_promise_that_cannot_be_computed_is_broken() -> None:
    made = report("a = 1\nx = solve(x**2 + a for x from 1)\ncheck x == 1 given a = 1\n")
    assert "Newton's method" in failures(made)[0]


def test_sides_whose_sizes_differ_for_the_values_given() -> None:
    made = report("x : [N]\ny = 2*x\ncheck y == [2, 4] given x = [1, 2]\ncheck y == [2, 4] given x = [1, 2, 3]\n")
    assert failures(made) == ["line 4: check y == [2, 4] given x = [1, 2, 3]: the sides have different shapes: [3] and [2]"]


def test_a_given_value_that_changes_nothing() -> None:
    said = "`z` is given, but nothing in this check depends on it"
    assert warned("x = 2\nz = 3\ny = x*x\nw = y*z\ncheck y == 9 given x = 3, z = 2\n") == [said]
    assert warned("x : [N]\ny = sum(x)\ncheck N == 2 given x = [1, 2]\n") == []


# ------------------------------------------------------------------ ranges and objectives
RANGED = "input tax in [1, 2] = 1.1\ninput v : [2] in [0, inf] = [0.5, 1]\nprice = 100*tax + sum(v**2)\n"


def test_ranges_are_known() -> None:
    model = gl.loads(RANGED)
    assert model.inputs["tax"].range == (1.0, 2.0)
    assert model.inputs["v"].range == (0.0, float("inf"))


def test_a_value_outside_its_range_is_computed_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "p.grad"
    path.write_text(RANGED)
    assert main(["run", str(path), "tax=3", "v=[1,-2]"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("price = 305.0\n")
    assert "warning[G519]: `tax` is 3, outside its range [1, 2]" in err
    assert f"{path}:1:7" in err
    assert "`v[1]` is -2, outside its range [0, inf]" in err
    assert main(["run", str(path), "tax=2"]) == 0
    assert capsys.readouterr().err == ""


def test_derivatives_inside_the_ranges() -> None:
    made = report(RANGED)
    assert made.findings[-1].text == "9 derivatives of price agree at the middle and the ends of the range of tax, v"


def test_a_derivative_that_is_wrong_at_the_end_of_a_range() -> None:
    op = "op mine(x) -> y:\n    value = x*x\n    d/dx = 2*x if x < 3 else 1\n    on x in [0, 1]\n"
    made = check_model(unproven(op + "input x in [0, 4] = 1\nz = mine(x)\n"))
    assert failures(made) == ["d z/d x is 1.0, but differences in higher precision give 8.0 at x = 4"]


def test_the_objective() -> None:
    model = gl.loads("x = 2\nloss = x**2\nminimize loss\n")
    assert model.objective is not None
    assert (model.objective.kind, model.objective.name) == ("minimize", "loss")
    assert list(model.outputs) == ["loss"]
    assert gl.loads("x = 2\ngain = x**2\nmaximize gain\n").objective.kind == "maximize"
    assert gl.loads("x = 2\ny = x**2\n").objective is None


# ------------------------------------------------------------------ derivatives that are zero
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 2\nz = 3\ny = z*z\nd = grad(y, x)\n", ["`y` does not depend on `x`"]),
        ("x = 2\nz = 3\nd = hessian(z*z, x)\n", ["this value does not depend on `x`"]),
        ("x = 2\nz = 3\ny = z*z\nw = y + x\ngrad y wrt x, z\n", ["`y` does not depend on `x`"]),
        ("x = 2\nz = 2*x\ny = x**2\njacobian y wrt z\n", ["`y` does not depend on `z`"]),
        ("x = 2\nz = 3\nd = [grad(z*k, x) for k in range(3)]\n", ["this value does not depend on `x`"]),
        ("x = 2\ndef f(a, b) = grad(a, b)\ny = f(x, 3*x) + f(x*x, x)\n", ["`a` does not depend on `b`"]),
        ("x = 2\ny = 3*x\nd = hessian(y, x)\n", []),
        ("x = 2\nz = 3\ncheck grad(z, x) == 0\ny = x*z\n", []),
        ("s[0] = 1\nk = 2\ns[t] = s[t-1] + grad(s[t-1]**2*k, k) for t in range(1, 4)\ny = s[3]\n", []),
        ("x = [1, 2]\ny = sum(grad(x[i]**2, x)[i] for i in range(2))\n", []),
    ],
)
def test_exact_zeros(text: str, said: list[str]) -> None:
    assert [m.removesuffix(": this derivative is exactly zero") for m in warned(text)] == said


# ------------------------------------------------------------------ a nan in a program with derivatives and recurrences
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = -1\ny = log(x)\nd = grad(y*x, x)\n", "`log` of -1.0 is nan"),
        ("k = 5\ns[0] = 1\ns[t] = exp(s[t-1]*k)**2 for t in range(1, 5)\ny = s[4]\nz = grad(y, k)\n", "`recurrence` of"),
    ],
)
def test_where_a_nan_was_born(text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "p.grad"
    path.write_text(text)
    assert main(["run", str(path)]) == 0
    assert said in capsys.readouterr().err
