"""Ops and rules that a program defines: what they mean, that they are proven, and that everything else knows of them."""

from __future__ import annotations

import importlib.util
import math
import pickle
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import GOLDEN, Golden

import gradlang as gl
from gradlang import pipeline
from gradlang.cli.main import main
from gradlang.prove import own
from gradlang.syntax.format import format_text

SWISH = """op swish(x, k=1) -> y:
    s = sigmoid(k*x)
    value = x*s
    d/dx = s + k*x*s*sigmoid(-(k*x))
"""
RELU = """op relu(x) -> y:
    value = maximum(x, 0)
    d/dx = 1 if x >= 0 else 0
"""
ENERGY = """op energy(v) -> y:
    value = sum(v*v)
    adjoint v = 2*v*g
"""


def grads(text: str, of: str = "z", **values):
    return gl.loads(text).value_and_grad(of)(**values)


# ------------------------------------------------------------------ in the place of a built-in op
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("op sigmoid(x) -> y:\n    value = x*x\nz = 1/(1 + exp(-x))", "of another value: at x = "),
        ("op softplus(x, b) -> y:\n    value = log(1 + exp(b*x))/b\nz = x", "takes the same arguments"),
        ("op softmax(x) -> y:\n    value = exp(x)/sum(exp(x))\nz = x", "`softmax(x, axis=)`"),
    ],
)
def test_an_op_of_a_built_in_name_is_that_op(text: str, said: str) -> None:
    """The compiler writes formulas as built-in ops: one of another value would change them."""
    with pytest.raises(gl.GradlangError, match=re.escape(said)):
        gl.loads(text + "\n")


SOFTMAX = """op softmax(x, axis=-1) -> y:
    e = exp(k*(x - max(x, axis=axis, keepdims=true)))
    value = e / sum(e, axis=axis, keepdims=true)
    adjoint x = k*y * (g - sum(g * y, axis=axis, keepdims=true))
x : [3] = [1, 2, 3]
z = sum(softmax(x)**2)
"""


def test_an_op_over_arrays_of_a_built_in_name_has_its_entries() -> None:
    with pytest.raises(gl.GradlangError, match="of another value: for arguments"):
        gl.loads(SOFTMAX.replace("k*", "2*"))
    text = SOFTMAX.replace("k*", "1*")
    assert grads(text)[0] == pytest.approx(grads(text[text.index("x :") :])[0], rel=1e-15)


def test_a_convention_of_ones_own() -> None:
    assert grads(RELU + "z = relu(x) + max(x, 0)", x=0.0) == (0.0, {"x": 2.0})


# ------------------------------------------------------------------ values and derivatives
def test_a_scalar_op():
    value, found = grads(SWISH + "z = swish(2*x, k=3)", x=0.25)
    s = 1 / (1 + math.exp(-1.5))
    assert value == pytest.approx(0.5 * s, rel=1e-15)
    assert found["x"] == pytest.approx(2 * (s + 1.5 * s * (1 - s)), rel=1e-14)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_arrays_broadcast_by_themselves(dtype):
    text = "op soft(a, b) -> y:\n    value = a*exp(-b)\n    d/da = exp(-b)\n    d/db = -y\nx : [3]\nw : [2, 3]\nz = sum(soft(x, w))"
    model = gl.loads(text, dtype=dtype)
    x, w = np.array([1.0, 2, 3]), np.arange(6.0).reshape(2, 3) / 7
    value, found = model.value_and_grad("z")(x=x, w=w)
    near = 1e-5 if dtype == "float32" else 1e-14
    assert value == pytest.approx(float(np.sum(x * np.exp(-w))), rel=near)
    assert found["x"].dtype == dtype
    np.testing.assert_allclose(found["x"], np.exp(-w).sum(0), rtol=near)
    np.testing.assert_allclose(found["w"], -x * np.exp(-w), rtol=near)


def test_a_convention_at_a_kink_is_overridden_in_this_program_only():
    assert grads(RELU + "z = relu(x)", x=0.0)[1]["x"] == 1.0
    assert grads(RELU + "z = max(x, 0)", x=0.0)[1]["x"] == 1.0  # the rule `relu` sees the program's op
    assert grads("z = relu(x)", x=0.0)[1]["x"] == 0.0
    assert gl.loads(RELU + "z = relu(x) - relu(x - 1)")(x=5.0) == 1.0


def test_a_defined_op_is_differentiated_through_its_value():
    text = "op hill(c, n=2) -> y:\n    value = c**n/(1 + c**n)\nz = hill(x, n=3) + hill(x)"
    plain = "z = x**3/(1 + x**3) + x**2/(1 + x**2)"
    assert grads(text, x=1.3) == grads(plain, x=1.3)
    v = gl.loads(text).hvp("z", "x")(1.0, x=1.3)
    assert v == gl.loads(plain).hvp("z", "x")(1.0, x=1.3)


def test_a_defined_op_in_the_rule_of_another_keeps_its_derivative():
    text = "op cubed(x) -> y:\n    value = x*x*x\nop quartic(x) -> y:\n    value = x**4\n    d/dx = 4*cubed(x)\nz = quartic(x)"
    value, second = gl.loads(text).hvp("z", "x")(1.0, x=2.0)
    assert (value, second) == (16.0, 48.0)


def test_a_defined_op_over_arrays():
    text = "op share(x) -> y:\n    value = x/sum(x)\nv : [3] = [1, 2, 5]\nw = share(v)\nz = w[0]*w[2]"
    value, found = grads(text)
    assert value == 5 / 64
    np.testing.assert_allclose(found["v"], [5 / 64 - 10 / 512, -10 / 512, 1 / 64 - 10 / 512], rtol=1e-14)


def test_an_array_op_with_an_adjoint():
    text = ENERGY + "x : [2, 3]\nz = sin(energy(x))"
    x = np.arange(6.0).reshape(2, 3) / 3
    e = float(np.sum(x * x))
    np.testing.assert_allclose(grads(text, x=x)[1]["x"], 2 * x * math.cos(e), rtol=1e-14)
    v = np.ones((2, 3))
    got = gl.loads(text).hvp("z", "x")(v, x=x)[1]
    wanted = 2 * v * math.cos(e) - 2 * x * math.sin(e) * float(np.sum(2 * x * v))
    np.testing.assert_allclose(got, wanted, rtol=1e-12)


def test_an_adjoint_of_a_stretched_argument_is_summed():
    text = "op dotted(a, b) -> y:\n    value = sum(a*b)\n    adjoint a = b*g\n    adjoint b = a*g\nx : [2, 3]\nz = dotted(x, s)"
    text = text.replace("z =", "input s\nz =")
    x = np.arange(6.0).reshape(2, 3)
    _, found = grads(text, x=x, s=2.0)
    assert found["s"] == 15.0
    np.testing.assert_array_equal(found["x"], np.full((2, 3), 2.0))


def test_whole_numbers_and_masks_are_cast():
    text = "op scaled(x, n) -> y:\n    value = x*n\n    d/dx = n\n    d/dn = x\ninput k : int = 3\ninput m : bool = true\n"
    assert grads(text + "x = 2\nz = scaled(x, k) + scaled(x, m)") == (8.0, {"x": 4.0})


def test_a_constant_op_and_a_choice():
    text = "op step(x) -> y:\n    constant\n    value = 1 if x > 0 else 0\nz = step(x)*x + (step(-x) if x > 5 else x)"
    assert grads(text, x=2.0) == (4.0, {"x": 2.0})


def test_lines_stand_in_any_order_and_ops_may_come_last():
    text = "z = twice(x)\nop twice(x) -> y:\n    d/dx = t\n    value = t*x\n    t = u + 1\n    u = 1.0\n"
    assert grads(text, x=4.0) == (8.0, {"x": 2.0})


def test_an_op_of_the_name_of_a_function_of_the_library():
    text = "op mean(a, b) -> y:\n    value = (a + b)/2\n    d/da = 0.5\n    d/db = 0.5\nv : [3] = [1, 2, 3]\nz = mean(x, 1) + var(v)"
    value, found = gl.loads("input x\n" + text).value_and_grad("z")(x=3.0)
    assert value == 2 + 2 / 3
    assert found["x"] == 0.5


def test_ops_in_functions_and_names_that_python_has():
    text = "op lambda_(x) -> np:\n    value = x*exp(x)\n    d/dx = exp(x) + np\n\nop list(x) -> F:\n    value = lambda_(x)\n\ndef f(x) = list(x) + lambda_(2*x)\nz = f(x)"
    value, found = grads(text, x=0.5)
    assert value == pytest.approx(0.5 * math.exp(0.5) + math.e, rel=1e-15)
    assert found["x"] == pytest.approx(1.5 * math.exp(0.5) + 2 * 2 * math.e, rel=1e-14)


def test_no_name_of_an_op_reaches_generated_code():
    model = gl.loads(SWISH.replace("swish", "import_os") + "z = import_os(x)")
    assert "import_os" not in model.value_and_grad().source


# ------------------------------------------------------------------ everything that carries a program
def test_models_and_functions_are_pickled():
    model = gl.loads(
        SWISH + ENERGY + "rule stable mine: exp(log(x)) => x\ninput x\nv = [1, 2]\nz = swish(x) + energy(v) + exp(log(x))",
        "m.grad",
    )
    again = pickle.loads(pickle.dumps(model))
    f = model.value_and_grad("z", "x")
    assert again.value_and_grad("z", "x")(x=0.5) == pickle.loads(pickle.dumps(f))(x=0.5) == f(x=0.5)
    assert [r.name for r in again.program.language.own_rules] == ["mine"]
    assert len(pickle.dumps(gl.loads("z = x"))) < 5000  # the built-in tables stay at home


def test_the_graph_knows_the_ops():
    model = gl.loads(SWISH + "rule stable mine: exp(log(x)) => x\nz = swish(x, k=2) + exp(log(x))")
    graph = model.graph
    assert [d["attrs"] for _, d in graph.nodes(data=True) if d["op"] == "swish"] == [{"k": 2}]
    again = gl.from_graph(graph)
    assert again.value_and_grad("z")(x=0.7) == model.value_and_grad("z")(x=0.7)
    assert "language" not in gl.loads("z = x").graph.graph


def test_a_gradient_file_runs_again_and_differentiates_again():
    text = SWISH + RELU + ENERGY + "op unused(x) -> y:\n    value = x\nx = 0.4\nz = swish(x, k=2) + relu(x) + energy([x, x])"
    model = gl.loads(text)
    goal = pipeline.Goal("grad", ("z",), ("x",))
    made = pipeline.gradient_file(model.program, goal, model.program.language, "m.grad")
    assert "op swish(x, k=1) -> y:" in made
    assert "unused" not in made
    again = gl.loads(made)
    value, found = model.value_and_grad("z")()
    assert again() == {"z": value, "d_z_d_x": found["x"]}
    assert again.value_and_grad("d_z_d_x")()[1]["x"] == pytest.approx(
        model.hvp("z", "x")(1.0)[1]["x"] if isinstance(model.hvp("z", "x")(1.0)[1], dict) else model.hvp("z", "x")(1.0)[1],
        rel=1e-12,
    )


def test_a_large_program_runs_from_its_tape():
    text = SWISH + "y0 = x\n" + "\n".join(f"y{k + 1} = swish(y{k}) + x" for k in range(400))
    f = gl.loads("input x\n" + text).value_and_grad("y400")
    assert f.backend in ("machine", "groups", "steps")
    short = gl.loads("input x\ny0 = x\n" + "\n".join(f"y{k + 1} = y{k}*sigmoid(y{k}) + x" for k in range(400)))
    assert f(x=0.1)[0] == pytest.approx(short.function("y400")(x=0.1), rel=1e-12)


def test_the_formatter_keeps_ops_and_rules():
    text = SWISH + "rule stable mine: exp(log(x)) => x\nz = swish(x)\n"
    assert format_text(text) == text


def test_standalone_code_holds_values(tmp_path: Path):
    path = tmp_path / "m.grad"
    path.write_text(SWISH + "z = swish(x)\n")
    assert main(["compile", str(path), "-o", str(tmp_path / "m.py")]) == 0
    code = "import m; print(m.z_and_gradients(0.5))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("(0.3112296656009273, {'x': 0.73996")


# ------------------------------------------------------------------ rules
def test_a_rule_is_applied_and_reported():
    model = gl.loads("rule stable mine: exp(log(x)) => x\nz = exp(log(x))")
    assert "log" not in model.function("z").source
    assert any("`mine`" in n for n in model.check().notes)


def test_numbers_of_a_rule_are_those_of_a_formula():
    model = gl.loads("rule stable double: exp(x)*(4/2) + pi*0 => 2*exp(x)\nz = exp(x)*(6/3) + pi*0")
    assert model.check().notes[-1].endswith("in the form of the rule `double`")


@pytest.mark.parametrize(
    "rule", ["a + b => b + a", "a + b => (a + b + a + b + a + b + a + b)/4", "a*b => (a*b)*1", "sin(x) => -sin(-x)"]
)
def test_rules_that_never_end_are_stopped(rule):
    text = f"rule stable loop: {rule}\nz = " + " + ".join(f"sin(x*{k})*y" for k in range(2, 40))
    start = time.perf_counter()
    first = gl.loads(text).value_and_grad("z")
    assert gl.loads(text).value_and_grad("z").source == first.source
    assert len(first.source) < 200_000
    assert time.perf_counter() - start < 60
    plain = gl.loads(text.partition("\n")[2]).value_and_grad("z")
    assert first(x=0.3, y=2.0)[0] == pytest.approx(plain(x=0.3, y=2.0)[0], rel=1e-12)


def test_a_rule_about_choices():
    text = "rule stable both: (x if c else 0) + (y if c else 0) => (x + y) if c else 0\nz = (p if p > q else 0) + (q if p > q else 0)"
    model = gl.loads(text)
    assert model(p=3, q=2) == 5
    assert any("`both`" in n for n in model.check().notes)


def test_an_adjoint_that_does_not_fit_a_use_is_an_error_there():
    text = "op s(a, x) -> y:\n    value = a @ x\n    adjoint a = outer(g, x)\n    adjoint x = a.T @ g\nv : [3] = [1, 2, 3]\nz = s(v, v)"
    with pytest.raises(gl.SourceError, match=r"G145.*\n.*6:5"):
        gl.loads(text).value_and_grad()


def test_a_rule_that_fits_only_some_shapes_leaves_the_others():
    text = "rule stable odd: exp(log(sum(x))) => x\nv : [2] = [1, 2]\ns = 3\nz = exp(log(sum(v))) + exp(log(s))"
    assert gl.loads(text)() == pytest.approx(6)


# ------------------------------------------------------------------ the proof
PROOFS = sorted((GOLDEN / "proof").glob("*.grad"))


@pytest.mark.parametrize("path", PROOFS, ids=[p.stem for p in PROOFS])
def test_what_is_false_is_an_error(path: Path, golden: Golden):
    with pytest.raises(gl.SourceError) as caught:
        gl.loads(path.read_text(encoding="utf-8"), path.name)
    assert all(d.span and d.span[1] > d.span[0] for d in caught.value.diagnostics)
    golden(path.with_suffix(".out"), str(caught.value))


TRUE = [
    SWISH,
    RELU,
    ENERGY,
    "op s(x) -> y:\n    value = 1/(1 + exp(-x))\n    d/dx = y*(1 - y)\n    on x in [-40, 40]\n",
    "op s(a, b) -> y:\n    value = max(a, b) + log1p(exp(-abs(a - b)))\n    d/da = exp(a - y)\n    d/db = exp(b - y)\n",
    "op s(x) -> y:\n    value = sqrt(1 - x*x)\n    d/dx = -x/y\n",
    "op s(x) -> y:\n    value = abs(x)\n    d/dx = 1 if x >= 0 else -1\n    on x in [0, 2]\n    at x = 0 -> 1\n",
    "op s(x) -> y:\n    value = (1 - cos(x))/x**2\n    d/dx = sin(x)/x**2 - 2*y/x\n    on x in [1e-6, 3]\n",
    "op s(x) -> y:\n    value = erf(x)\n    reference = erf(x)\n    d/dx = 2/sqrt(pi)*exp(-x*x)\n",
    "op s(x) -> y:\n    value = x/2*(1 + erf(x/sqrt(2)))\n    reference = x*ncdf(x)\n",
    "op s(x) -> y:\n    value = exp(-x)\n    d/dx = -s(x)\n",
    "op s(x) -> y:\n    value = floor(x)\n    constant\n    on x in [0.1, 0.9]\n",
    "op s(x, axis=-1) -> y:\n    value = x - mean(x, axis=axis, keepdims=true)\n    linear\n    adjoint x = g - mean(g, axis=axis, keepdims=true)\n",
    "op s(a, x) -> y:\n    value = a @ x\n    adjoint a = outer(g, x)\n    adjoint x = a.T @ g\n",
    "op s(x) -> y:\n    value = log(sum(exp(x)))\n    adjoint x = exp(x - y)*g\n",
]  # fmt: skip


@pytest.mark.parametrize("text", TRUE)
def test_what_is_true_is_proven(text):
    program = gl.loads(text + "z = x").program
    for proven in own.prove_program(program):
        assert proven.points > 5
        assert not proven.faults


def test_lost_digits_are_reported_not_refused():
    model = gl.loads("op s(x) -> y:\n    value = 1/(1 + exp(-x))\n    d/dx = y*(1 - y)\n    on x in [-40, 40]\nz = s(x)")
    assert "ulp (d/dx at x = " in model.check().text()


def test_check_shows_a_line_for_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "m.grad"
    path.write_text(SWISH + "rule stable mine: exp(log(x)) => x\nz = swish(x)\n")
    assert main(["check", str(path), "x=2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("ok      op swish: 26 points, worst ")
    assert lines[1] == "ok      rule mine: 18 points"
    path.write_text(SWISH.replace("d/dx = s +", "d/dx = s -") + "z = swish(x)\n")
    assert main(["run", str(path), "x=2"]) == 1
    assert "error[G138]: `d/dx` of `swish` is wrong" in capsys.readouterr().err


def test_a_proof_is_made_once(monkeypatch: pytest.MonkeyPatch):
    text = SWISH.replace("swish", "proven_once") + "z = proven_once(x)"
    gl.loads(text)
    monkeypatch.setattr(own, "Pointwise", None)
    gl.loads(text)
    with pytest.raises(TypeError):
        gl.loads(text.replace("k*x", "x*k"))


def test_without_mpmath_there_is_one_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    found = importlib.util.find_spec
    monkeypatch.setattr("gradlang.opening.find_spec", lambda name: None if name == "mpmath" else found(name))
    with pytest.warns(UserWarning, match=r"pip install gradlang\[prove\]"):
        model = gl.loads(SWISH + "z = swish(x)")
    assert model(x=0.0) == 0.0
    path = tmp_path / "m.grad"
    path.write_text(SWISH + "z = swish(x)\n")
    assert main(["run", str(path), "x=2"]) == 0
    assert capsys.readouterr().err.splitlines() == [
        "warning[G139]: the ops and rules of this program are not proven: install mpmath (`pip install gradlang[prove]`)",
        "",
        "more: gradlang explain G139",
    ]


def test_a_program_without_ops_brings_no_mpmath():
    code = "import sys, gradlang as gl; gl.loads('z = x')(x=1.0); print('mpmath' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False False"


# ------------------------------------------------------------------ sizes that a user may choose
def test_long_and_deep_entries():
    deep = "op s(x) -> y:\n    value = " + "(" * 300 + "x" + " + 1)" * 300 + "\nz = s(x)"
    assert gl.loads(deep)(x=1.0) == 301.0
    long = "op s(x) -> y:\n    value = " + " + ".join(["x"] * 2000) + "\n    d/dx = 2000\nz = s(x)"
    assert grads(long, x=2.0) == (4000.0, {"x": 2000.0})
    chain = "op a0(x) -> y:\n    value = x\n" + "".join(f"op a{k + 1}(x) -> y:\n    value = a{k}(x)\n" for k in range(500))
    with pytest.raises(gl.SourceError):
        gl.loads(chain + "z = a500(x)")
    rule = "rule stable r: " + "exp(log(" * 500 + "x" + "))" * 500 + " => x\nz = x"
    with pytest.raises(gl.SourceError):
        gl.loads(rule)
