"""`Model.scipy`, methods of scipy as optimisers, and the gradient check of the book."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradlang as gl
from gradlang.fit.errors import Diverged
from gradlang.fit.methods import METHODS
from gradlang.fit.optimizers import RULES
from gradlang.fit.training import Watcher
from gradlang.prove.numerical import Numerical

optimize = pytest.importorskip("scipy.optimize")

ROSENBROCK = """param x : [2, 2] = [[0.7, 1.2], [0.8, 0.5]]
param s = 1.5
z = reshape(x, [4])
f = sum(100*(z[i+1] - z[i]**2)**2 + (1 - z[i])**2 for i in range(3)) + (s - 2)**2*(1 + z[0]**2)
size = sum(x**2)
minimize f
output size
"""
DECAY = (
    "t : [N]\ny : [N]\nparam a = 1\nparam b : [2] = [0.5, 0]\nr = a*exp(-b[0]*t) + b[1] - y\nloss = sum(r**2)\nminimize loss\n"
)
T = np.linspace(0, 3, 20)
DECAY_DATA = {"t": T, "y": 2 * np.exp(-1.3 * T) + 0.5}


def test_a_program_as_functions_of_a_vector() -> None:
    model = gl.loads(ROSENBROCK)
    p = model.scipy()
    assert p.x0.tolist() == [0.7, 1.2, 0.8, 0.5, 1.5] and p.bounds is None and p.of == "f" and p.wrt == ("x", "s")
    values = p.unpack(p.x0)
    assert values["x"].shape == (2, 2) and values["s"] == 1.5 and np.array_equal(p.pack(values), p.x0)
    value, slope = p.fun_and_jac(p.x0)
    assert p.fun(p.x0) == value == model.function("f")() and np.array_equal(p.jac(p.x0), slope)
    grads = model.value_and_grad("f")()[1]
    assert np.array_equal(slope, [*np.ravel(grads["x"]), grads["s"]])
    assert optimize.check_grad(p.fun, p.jac, p.x0) < 1e-4
    hess = p.hess(p.x0)
    assert hess.shape == (5, 5) and np.allclose(hess, hess.T, rtol=1e-13)
    d = np.array([0.3, -1, 2, 0.1, 0.7])
    np.testing.assert_allclose(p.hessp(p.x0, d), hess @ d, rtol=1e-12)
    h = 1e-6
    np.testing.assert_allclose((p.jac(p.x0 + h * d) - p.jac(p.x0 - h * d)) / (2 * h), hess @ d, rtol=1e-7)


def test_results_are_nobody_elses() -> None:
    p = gl.loads(ROSENBROCK).scipy()
    x = p.x0.copy()
    first = p.fun_and_jac(x)[1]
    kept = first.copy()
    p.fun_and_jac(x + 1)
    assert np.array_equal(first, kept) and np.array_equal(x, p.x0)
    x[...] = 0
    assert p.unpack(p.x0)["x"][0, 0] == 0.7


@pytest.mark.parametrize("text", [ROSENBROCK, "param a = 3\nf = (a - 1)**4 + a**2\nminimize f"])
def test_scipy_takes_it(text: str) -> None:
    p = gl.loads(text).scipy()
    found = optimize.minimize(p.fun_and_jac, p.x0, jac=True, hessp=p.hessp, method="trust-krylov", options={"gtol": 1e-8})
    assert np.linalg.norm(p.jac(found.x)) < 1e-7
    found = optimize.minimize(p.fun, p.x0, jac=p.jac, hess=p.hess, method="trust-exact", options={"gtol": 1e-8})
    assert np.linalg.norm(p.jac(found.x)) < 1e-7


def test_residuals() -> None:
    model = gl.loads(DECAY)
    p = model.scipy("r", data=DECAY_DATA)
    assert p.fun(p.x0).shape == (20,) and p.jac(p.x0).shape == (20, 3)
    found = optimize.least_squares(p.fun, p.x0, p.jac)
    assert p.unpack(found.x)["a"] == pytest.approx(2) and p.unpack(found.x)["b"] == pytest.approx([1.3, 0.5])
    square = gl.loads("param v : [2] = [1, 1]\nr = [v[0]**2 + v[1] - 3, v[0] - v[1]]").scipy("r")
    assert optimize.root(square.fun_and_jac, square.x0, jac=True).success
    with pytest.raises(gl.InputError, match="only a number can be minimized"):
        p.hess(p.x0)


def test_what_is_maximized_has_its_sign_turned() -> None:
    down, up = gl.loads(ROSENBROCK).scipy(), gl.loads(ROSENBROCK.replace("minimize f", "g = -f\nmaximize g")).scipy()
    x = down.x0 + 0.1
    assert up.fun(x) == down.fun(x) and np.array_equal(up.jac(x), down.jac(x))
    assert np.array_equal(up.hess(x), down.hess(x)) and np.array_equal(up.hessp(x, x), down.hessp(x, x))


def test_ranges_are_bounds() -> None:
    p = gl.loads("param a : [2] in [0, 1] = 0.5\nparam b = 1\nparam c in [-inf, 2] = 1\nf = sum(a) + b**2 + c**2").scipy("f")
    assert p.bounds == [(0.0, 1.0), (0.0, 1.0), (None, None), (None, 2.0)]


def test_data_seed_and_start() -> None:
    model = gl.loads(
        "x : [N]\nparam w : [3] = normal(0, 1)\nparam b = 0\nloss = sum((x*w[0] - b)**2) + sum(w**2)\nminimize loss"
    )
    data = {"x": np.ones(5)}
    assert not np.array_equal(model.scipy(data=data).x0, model.scipy(data=data, seed=1).x0)
    assert model.scipy(data=data, params={"b": 7.0}).x0[-1] == 7
    p = model.scipy(wrt="b", data={**data, "w": [1, 2, 3]})
    assert p.x0.shape == (1,) and p.fun(np.array([0.0])) == 5 + 14
    single = gl.loads("param w : [3] = ones()\nf = sum(w**2)", dtype="float32").scipy("f")
    assert single.jac(single.x0).dtype == np.float64


WRONG: dict[str, tuple[Any, str]] = {
    "vector": (lambda p: p.fun(np.ones(4)), r"a vector \[5\], but an array \[4\] is given"),
    "number": (lambda p: p.fun(1.0), r"a vector \[5\], but a number is given"),
    "missing": (lambda p: p.pack({"x": np.ones((2, 2))}), "values are missing for `s`"),
    "unknown": (lambda p: p.pack({"X": 1, "s": 2}), "did you mean `x`?"),
    "shape": (lambda p: p.pack({"x": np.ones(4), "s": 2}), r"`x` must be \[2, 2\]"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_calls(name: str) -> None:
    call, said = WRONG[name]
    with pytest.raises(gl.InputError, match=said):
        call(gl.loads(ROSENBROCK).scipy())


# ------------------------------------------------------------------ as optimisers
@pytest.mark.parametrize("name", METHODS)
def test_every_method_goes_down(name: str) -> None:
    rows: list[Any] = []

    class Look(Watcher):
        def epoch(self, row: Any) -> None:
            rows.append(row)

    model = gl.loads(ROSENBROCK)
    made = model.fit(optimizer=name, watcher=Look())
    assert made.params["x"] == pytest.approx(np.ones((2, 2)), abs=1e-2), made.message
    assert made.params["s"] == pytest.approx(2, abs=1e-2)
    assert made.history == rows and [r["step"] for r in rows] == list(range(1, len(rows) + 1))
    assert rows[-1]["size"] == pytest.approx(4, abs=1e-2)
    last = made.history[-1]["f"]
    assert last == pytest.approx(model.function("f")(**made.params), abs=1e-9) and made.message
    assert made.state is None


@pytest.mark.parametrize("name", [n for n, m in METHODS.items() if m.ranges])
def test_ranges_hold(name: str) -> None:
    made = gl.loads("param a in [0, 2] = 1\nparam b in [-1, inf] = 0\nf = (a - 3)**2 + (b + 5)**2\nminimize f").fit(
        optimizer=name
    )
    assert made.params["a"] == pytest.approx(2, abs=1e-3) and made.params["a"] <= 2
    assert made.params["b"] == pytest.approx(-1, abs=1e-3) and made.params["b"] >= -1


def test_methods_fit_data_and_validate() -> None:
    made = gl.loads(DECAY).fit(DECAY_DATA, optimizer="l-bfgs-b", tol=1e-15, hold_out=0.3)
    assert made.params["a"] == pytest.approx(2, rel=1e-4) and made.params["b"] == pytest.approx([1.3, 0.5], rel=1e-4)
    assert made.history[-1]["valid_loss"] < 1e-6
    short = gl.loads(DECAY).fit(DECAY_DATA, optimizer="bfgs", steps=2)
    assert len(short.history) == 2


def test_a_method_that_starts_nowhere() -> None:
    with pytest.raises(Diverged) as caught:
        gl.loads("param a = -1\nf = log(a) + a\nminimize f").fit(optimizer="bfgs")
    assert [d.code for d in caught.value.diagnostics] == ["G545", "G404"]
    assert caught.value.result.params == {"a": -1.0}


def test_names_of_optimizers_differ() -> None:
    assert not set(METHODS) & set(RULES)


def test_without_scipy(tmp_path: Path) -> None:
    """Everything but its methods works; these say what is missing."""
    code = (
        "import sys, importlib.util as u\n"
        "find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'scipy' else find(name, *a)\n"
        "sys.modules['scipy'] = None\n"
        "import gradlang as gl\n"
        "m = gl.loads('param a = 3\\nf = (a - 1)**2\\nminimize f')\n"
        "assert m.fit(steps=5).stopped == 'done' and m.scipy().fun(m.scipy().x0) == 4\n"
        "try:\n    m.fit(optimizer='bfgs')\nexcept gl.InputError as e:\n    print(e)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "G547" in done.stdout and "pip install gradlang[opt]" in done.stdout


# ------------------------------------------------------------------ the gradient check of the book
def test_differences_and_backpropagation() -> None:
    model = gl.load(Path(__file__).parent.parent / "examples" / "11_digits_net.grad")
    with np.load(Path(__file__).parent.parent / "examples" / "data" / "digits.npz") as digits:
        data = dict(digits)
    made = model.gradient_check({**data, **model.fit(data, batch=100, epochs=3, lr=0.01).params})
    assert isinstance(made, Numerical) and [r.name for r in made.rows] == ["W1", "b1", "W2", "b2"]
    assert made.where == " on the first 3 rows"
    for row in made.rows:
        assert row.difference < 1e-7 and row.relative < 1e-11
    # by hand, as the book has it
    three = {n: a[:3].astype(float) if n == "X" else a[:3] for n, a in data.items()}
    values = model.fit(data, batch=100, epochs=3, lr=0.01).params
    f, g = model.function("loss"), model.value_and_grad("loss", wrt="b2")({**three, **values})[1]["b2"]
    off = []
    for k in range(10):
        up, down = values["b2"].copy(), values["b2"].copy()
        up[k] += 1e-4
        down[k] -= 1e-4
        off.append(abs((f({**three, **values, "b2": up}) - f({**three, **values, "b2": down})) / 2e-4 - g[k]))
    assert made.rows[3].difference == pytest.approx(np.mean(off), rel=1e-6)


def test_a_wrong_derivative_shows_in_both_columns() -> None:
    made = gl.loads("param a : [3] = [1, 2, 3]\nf = sum(a**3)\nminimize f").gradient_check()
    assert 1e-9 < made.rows[0].difference < 1e-7 and made.rows[0].relative < 1e-14  # differences of a cube are off by h**2
    text = made.text().splitlines()
    assert text[0] == "numerical gradient of f" and text[2].split()[0] == "a"
    assert made.as_json()[0]["entries"] == 3


def test_nothing_to_check() -> None:
    with pytest.raises(gl.InputError, match="does not say what to minimize"):
        gl.loads("param a = 1\nf = a**2").gradient_check()
    with pytest.raises(gl.InputError, match="has no parameters"):
        gl.loads("a = 1\nf = a**2\nminimize f").gradient_check()
