"""`compile --target js`: modules that need nothing, the bits of the Python backend for + - * / and roots, and no text of the
user's that becomes code."""

import json
import math
import os
import random
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import mpmath
import numpy as np
import pytest
import test_random_language
from test_c_target import NETWORK, WINDOW, goal_of, network
from test_native_blocks import CASES
from ulps import ulp_distance

import gradlang as gl
from gradlang.backend.js_scalar import helper_texts, js_lines
from gradlang.backend.js_words import RESERVED, string
from gradlang.backend.names import Names
from gradlang.cli.compiling_c import flat
from gradlang.cli.compiling_js import js_text
from gradlang.cli.main import main
from gradlang.pipeline import Goal, plan_js

NODE = shutil.which("node")
node = pytest.mark.skipif(NODE is None, reason="no Node.js")
FOLDER = Path(__file__).parent.parent / "examples"
MAIN = """import * as model from "./model.mjs";
const coded = (v) => {
    if (typeof v === "number") return `#${Object.is(v, -0) ? "-0" : v}`;
    if (ArrayBuffer.isView(v) || Array.isArray(v)) return Array.from(v, coded);
    return typeof v === "object" && v !== null ? { of: Reflect.ownKeys(v).map((k) => [k, coded(v[k])]) } : v;
};
const told = (call) => {
    try {
        return { gives: coded(call()) };
    } catch (error) {
        return { says: `${error.name}: ${error.message}` };
    }
};
console.log(JSON.stringify([@CALLS@].map(told)));
"""


def js(v):
    """A value of Python as JavaScript."""
    if isinstance(v, dict):
        return "{" + ", ".join(f"[{json.dumps(k)}]: {js(x)}" for k, x in v.items()) + "}"
    if isinstance(v, np.ndarray) and v.ndim and not v.size:
        return f"{{data: [], shape: {list(v.shape)}}}"
    v = v.tolist() if isinstance(v, (np.ndarray, np.generic)) else v
    if isinstance(v, (list, tuple)):
        return f"[{', '.join(map(js, v))}]"
    if isinstance(v, bool) or not isinstance(v, float):
        return json.dumps(v)
    return repr(v).replace("inf", "Infinity").replace("nan", "NaN")


def decoded(v):
    if isinstance(v, str) and v.startswith("#"):
        return float(v[1:])
    if isinstance(v, list):
        return [decoded(x) for x in v]
    return {k: decoded(x) for k, x in v["of"]} if isinstance(v, dict) else v


def results(folder, text, *calls):
    """What calls of a module give, or the messages of what they throw."""
    (folder / "model.mjs").write_text(text, encoding="utf-8")
    code = ", ".join(f"() => {call}" for call in calls)
    (folder / "main.mjs").write_text(MAIN.replace("@CALLS@", code), encoding="utf-8")
    done = subprocess.run([NODE, str(folder / "main.mjs")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [decoded(r["gives"]) if "gives" in r else r["says"] for r in json.loads(done.stdout)]


def module(model, name, dtype="float64"):
    return js_text(model, goal_of(model, name, dtype), "test.grad", None)


def numbers_of(result):
    """All numbers of a result, in order."""
    if isinstance(result, dict):
        parts = [result["data"]] if "shape" in result else result.values()
        return [x for part in parts for x in numbers_of(part)]
    return [x for part in result for x in numbers_of(part)] if isinstance(result, list) else [float(result)]


def close(folder, model, name, given, rtol=1e-10, dtype="float64"):
    """The functions of a value and of its gradients give what NumPy gives."""
    goal = goal_of(model, name, dtype)
    numpy = model.compile(goal, "numpy")
    wanted, alone = {}, {}
    flat(numpy.job.returns, numpy(**given), wanted)
    flat(numpy.job.returns, numpy(**given), alone)
    functions = re.findall(r"^export function (\w+)\(inputs", text := js_text(model, goal, "test.grad", None), re.M)
    *value, both = results(folder, text, *(f"model.{f}({js(given)})" for f in functions))
    first = next(iter(wanted))
    for found, by_name in [(v, {first: wanted[first]}) for v in value] + [(both, wanted)]:
        assert not isinstance(found, str), found
        got = numbers_of(found)
        for key, values in by_name.items():
            w = np.asarray(values, float).ravel()
            part, got = np.asarray(got[: w.size]), got[w.size :]
            scale = np.max(np.abs(w[np.isfinite(w)]), initial=0.0)
            np.testing.assert_allclose(part, w, rtol=rtol, atol=rtol * 0.1 * scale, err_msg=key)
        assert not len(got)


# ------------------------------------------------------------------ examples
def test_shopping(golden, tmp_path):
    text = js_text(model := gl.load(FOLDER / "02_shopping.grad"), goal_of(model, "price"), "02_shopping.grad", None)
    golden("js/shopping.mjs", text)
    if NODE:
        (found,) = results(tmp_path, text, "model.price_and_gradients()")
        slopes = {"apple": 2.2, "n": 110.00000000000001, "orange": 3.3000000000000003, "m": 165.0, "tax": 650.0}
        assert found == {"value": 715.0000000000001, "gradients": slopes}


@node
@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.grad")), ids=lambda f: f.stem)
def test_examples_check_themselves(file, tmp_path):
    """Every output, both functions, within 4096 ulps of the largest entry."""
    model = gl.load(file)
    for name in model.program.outputs:
        text = module(model, name)
        assert results(tmp_path, text, "model.check()") == [[]], name


@node
@pytest.mark.parametrize("stem", ["06_sigmoid", "13_own_op", "20_kalman_filter", "21_black_scholes", "31_kepler"])
def test_examples_give_what_numpy_gives(stem, tmp_path):
    model = gl.load(FOLDER / f"{stem}.grad")
    for name in model.program.outputs:
        close(tmp_path, model, name, {}, 1e-13)


@node
def test_a_wrong_number_is_noticed(tmp_path):
    text = module(gl.load(FOLDER / "02_shopping.grad"), "price").replace("= tax * m", "= tax + m")
    ((fault,),) = results(tmp_path, text, "model.check()")
    assert fault == "price_and_gradients: d_price_d_orange: entry 0 is 4.1, but should be 3.3000000000000003"
    text = module(gl.load(FOLDER / "02_shopping.grad"), "price").replace("goods * tax", "goods * tax * (1 + 1e-11)")
    assert len(results(tmp_path, text, "model.check()")[0]) == 2
    text = module(gl.loads(WINDOW), "f").replace("Math.cos(", "Math.sin(")
    assert "d_f_d_x: entry" in results(tmp_path, text, "model.check()")[0][0]


# ------------------------------------------------------------------ numbers
def formula(pick, depth):
    if depth == 0:
        return pick.choice(["a", "b", "c", "1.5", "-0.1", "3"])
    parts = [formula(pick, depth - 1) for _ in range(3)]
    forms = ["({0}) + ({1})", "({0}) - ({1})", "({0})*({1})", "({0})/({1})", "-({0})", "sqrt(abs({0}))", "({0})**2"]
    forms += ["({0}) if ({1}) < ({2}) and not ({0}) == ({2}) else ({1})", "max({0}, {1})", "abs({0})", "sign({0})*({1})"]
    return pick.choice(forms).format(*parts)


@node
def test_the_bits_of_arithmetic_are_those_of_the_python_backend(tmp_path):
    pick = random.Random(7)
    counted = 0
    for k in range(16):
        model = gl.loads("a = 0.7\nb = -1.3\nc = 2.9\ny = " + formula(pick, 4) + "\n")
        text = module(model, "y")
        points = [{n: pick.choice([pick.gauss(0, 2), 0.0, -0.0, 1e200, math.inf, math.nan]) for n in "abc"} for _ in range(8)]
        run = model.value_and_grad("y") if "y_and_gradients" in text else lambda m=model, **at: (m.function("y")(**at), {})
        if "y_and_gradients" not in text:
            continue
        for at, found in zip(
            points, results(tmp_path, text, *(f"model.y_and_gradients({js(p)})" for p in points)), strict=True
        ):
            value, slopes = run(**at)
            for x, y in [(value, found["value"]), *((slopes[n], found["gradients"][n]) for n in slopes)]:
                both_nan = x != x and y != y
                assert both_nan or struct.pack("<d", x) == struct.pack("<d", y), (k, at, x, y)
                counted += 1
    assert counted > 200


REFERENCES = {
    "exp": (mpmath.exp, -700, 700),
    "expm1": (mpmath.expm1, -30, 30),
    "log": (mpmath.log, 1e-9, 1e9),
    "log1p": (mpmath.log1p, -0.99, 1e3),
    "sin": (mpmath.sin, -1e5, 1e5),
    "cos": (mpmath.cos, -1e5, 1e5),
    "tan": (mpmath.tan, -1e5, 1e5),
    "asin": (mpmath.asin, -1, 1),
    "acos": (mpmath.acos, -1, 1),
    "atan": (mpmath.atan, -50, 50),
    "sinh": (mpmath.sinh, -700, 700),
    "cosh": (mpmath.cosh, -700, 700),
    "tanh": (mpmath.tanh, -20, 20),
    "asinh": (mpmath.asinh, -1e3, 1e3),
    "acosh": (mpmath.acosh, 1, 1e3),
    "atanh": (mpmath.atanh, -1, 1),
    "erf": (mpmath.erf, -6, 6),
    "erfc": (mpmath.erfc, -6, 26),
    "lgamma": (mpmath.loggamma, 3, 1e3),
    "digamma": (mpmath.digamma, 2, 1e3),
}


@node
def test_functions_are_right_to_a_few_ulps(tmp_path):
    """In numbers and in arrays; Math's are the engine's, the others ours."""
    rng = np.random.default_rng(3)
    for name, (reference, low, high) in REFERENCES.items():
        x = rng.uniform(low, high, 100)
        calls = [f"model.y({{x: {js(x)}}}).data"]
        (arrays,) = results(tmp_path, module(gl.loads(f"input x : [N]\ny = {name}(x)\n"), "y"), *calls)
        single = results(
            tmp_path, module(gl.loads(f"input x\ny = {name}(x)\n"), "y"), *(f"model.y({{x: {v!r}}})" for v in x.tolist())
        )
        with mpmath.workdps(40):
            wanted = [float(reference(mpmath.mpf(float(v)))) for v in x]
        for found in (arrays, single):
            worst = max(ulp_distance(f, w) for f, w in zip(found, wanted, strict=True))
            assert worst <= (8 if name in ("lgamma", "digamma") else 4), (name, worst)


SPECIAL = [0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 1.5, 2.5, -2.5, 3.0, -7.0, 1e16, 5e-324, math.inf, -math.inf, math.nan]


@node
@pytest.mark.parametrize("kind", ["numbers", "arrays"])
@pytest.mark.parametrize("formula", ["x**y", "x % y", "x // y", "max(x, y)", "min(x, y)", "atan2(x, y)", "hypot(x, y)"])
def test_special_values_of_two(formula, kind, tmp_path):
    pairs = [(x, y) for x in SPECIAL for y in SPECIAL]
    arrays = kind == "arrays"
    formula = formula.replace("max", "maximum").replace("min", "minimum") if arrays else formula
    model = gl.loads(("input x : [N]\ninput y : [N]\n" if arrays else "input x\ninput y\n") + f"z = {formula}\n")
    columns = [np.array(c) for c in zip(*pairs, strict=True)]
    if arrays:
        wanted = model.function("z", backend="numpy")(x=columns[0], y=columns[1]).tolist()
        (found,) = results(tmp_path, module(model, "z"), f"model.z({js(dict(zip('xy', columns, strict=True)))}).data")
    else:
        wanted = [model.function("z")(x=x, y=y) for x, y in pairs]
        found = results(tmp_path, module(model, "z"), *(f"model.z({js({'x': x, 'y': y})})" for x, y in pairs))
    for pair, w, f in zip(pairs, wanted, found, strict=True):
        zeros = w == f == 0 and math.copysign(1, w) == math.copysign(1, f)
        assert (w != w and f != f) or zeros or (w == f != 0) or (ulp_distance(w, f) <= 2 and w != 0), (pair, w, f)


@node
def test_special_values_of_one(tmp_path):
    for name in ("round", "floor", "ceil", "abs", "sqrt", "cbrt", "exp", "log", "tanh", "erf", "relu"):
        model = gl.loads(f"input x : [N]\ny = {name}(x)\n")
        wanted = model.function("y", backend="numpy")(x=np.array(SPECIAL)).tolist()
        (found,) = results(tmp_path, module(model, "y"), f"model.y({js({'x': SPECIAL})}).data")
        for x, w, f in zip(SPECIAL, wanted, found, strict=True):
            same = (w != w and f != f) or (w == f and math.copysign(1, w) == math.copysign(1, f))
            assert same or ulp_distance(w, f) in (1, 2), (name, x, w, f)


@node
def test_whole_numbers_and_truth_values(tmp_path):
    text = """input n : int[N]
input c : bool[N]
x : [N]
i = (n*3 - 7) // 2
j = n % 4
f = sum(x*(n//-2) if c[0] else x) + sum(1/n for n in range(1, 3))
input k : int
d = x/(n*k)
big = x > 2
both = n*k
"""
    model = gl.loads(text)
    rng = np.random.default_rng(4)
    given = {"n": rng.integers(-9, 9, 7), "c": rng.integers(0, 2, 7).astype(bool), "x": rng.normal(size=7), "k": 3}
    for name in model.program.outputs:
        close(tmp_path, model, name, given)
    given |= {"n": -np.arange(7), "k": 0}  # a product of whole numbers is never -0
    (far,) = results(tmp_path, module(model, "d"), f"model.d({js(given)}).data")
    assert all(math.isinf(z) and (z > 0) == (x > 0) for z, x in zip(far, given["x"], strict=True))
    (zeros,) = results(tmp_path, module(model, "both"), f"model.both({js(given)}).data")
    assert all(math.copysign(1, z) == 1 for z in zeros)
    forms = ["Int32Array.of(-5), c: [true]", "BigInt64Array.of(-5n), c: [1]", "[-5], c: [0]"]
    forms += ["[-5.5], c: [1]", "[-5], c: [2]", "['5'], c: [1]"]
    found = results(tmp_path, module(model, "j"), *(f"model.j({{x: [1], k: 0, n: {f}}})" for f in forms))
    found[:3] = [f["data"] for f in found[:3]]
    assert found[:3] == [[3.0]] * 3
    assert found[3:] == [
        "Error: `n` must be whole numbers",
        "Error: `c` must be true or false (or 0 and 1)",
        "Error: `n` must be numbers, but text is given",
    ]


# ------------------------------------------------------------------ arrays
@node
@pytest.mark.parametrize("name", [n for n in CASES if n != "gradient at a singular matrix"])
def test_what_is_no_formula_of_entries(name, tmp_path):
    text, given = CASES[name]
    model = gl.loads(text + "\n")
    for output in model.program.outputs:
        close(tmp_path, model, output, given)


@node
def test_every_size_and_random_inputs(tmp_path):
    rng = np.random.default_rng(1)
    model = gl.loads(NETWORK)
    for n in (1, 2, 7, 300):
        close(tmp_path, model, "loss", network(n, rng))
    model = gl.loads(WINDOW)
    for n in (1, 2, 5, 1000):
        close(tmp_path, model, "f", {"x": rng.normal(size=n)})


@node
@pytest.mark.parametrize("seed", range(6))
def test_random_programs(seed, tmp_path):
    model = gl.loads(test_random_language.text_of(random.Random(seed)))
    close(tmp_path, model, "y", test_random_language.point(seed), 1e-9)


@node
def test_eigenvalues(tmp_path):
    rng = np.random.default_rng(3)
    model = gl.loads("input A : [B, N, N]\nw, v = eigh(A)\nf = sum(w**3*v[:, 0]) + sum(w)\n")
    for n in (1, 2, 3, 8):
        for name in ("f", "w", "v"):
            close(tmp_path, model, name, {"A": rng.normal(size=(3, n, n))}, 1e-8)


@node
def test_single_precision(tmp_path):
    rng = np.random.default_rng(2)
    model = gl.loads(NETWORK, dtype="float32")
    given = {k: v.astype(np.float32) if k != "t" else v for k, v in network(9, rng).items()}
    close(tmp_path, model, "loss", given, 1e-5, "float32")
    text = module(gl.loads("input x\ny = x*x/3\n", dtype="float32"), "y", "float32")
    (found,) = results(tmp_path, text, "model.y({x: 1.1})")
    assert found == float(np.float32(1.1) * np.float32(1.1) / np.float32(3))


@node
def test_arguments_and_results(tmp_path):
    """Numbers of every kind of array; results are nobody else's memory."""
    model = gl.loads("input x : [N, 2]\ninput b : [2] = 0.5\nconst c = [3, 4]\ny = x + b\nz = x\nk = c\nt = transpose(x)\n")
    y = module(model, "y")
    forms = ["[[1, 2], [3, 4]]", "[Float64Array.of(1, 2), [3, 4]]", "{data: [1, 2, 3, 4], shape: [2, 2]}"]
    forms += ["{data: Float32Array.of(1, 2, 3, 4), shape: [2, 2]}", "[[1, true], [3, 4]]"]
    found = results(tmp_path, y, *(f"model.y({{x: {form}}})" for form in forms))
    assert found[:4] == [{"data": [1.5, 2.5, 3.5, 4.5], "shape": [2.0, 2.0]}] * 4
    assert found[4]["data"][1] == 1.5
    call = "(() => { const x = Float64Array.of(1, 2); const r = model.z({x: {data: x, shape: [1, 2]}}); r.data[0] = 9; return x; })()"
    assert results(tmp_path, module(model, "z"), call) == [[1.0, 2.0]]
    call = "(() => { model.k({x: [[1, 2]]}).data[0] = 9; return model.k({x: [[1, 2]]}).data; })()"
    assert results(tmp_path, module(model, "k"), call) == [[3.0, 4.0]]
    text = module(gl.loads("input a : [N] = 0.5\ninput b : [N]\ny = a*b\n"), "y")
    found = results(tmp_path, text, "model.y({b: [1, 2]}).data", "model.y({a: [1, 2]})", "model.y({a: 1, b: [2]})")
    assert found[0] == [0.5, 1.0]
    assert found[1:] == ["Error: a value is missing for `b`", "Error: `a` must be [N], but a single number is given"]
    text = module(gl.loads("input a : [N] = 0.5\ny = a*2\n"), "y")
    assert results(tmp_path, text, "model.y()") == ["Error: the size `N` is not known: no array that is given has it"]
    (there,) = results(tmp_path, module(model, "t"), "model.t({x: model.t({x: [[1, 2], [3, 4]]})})")
    assert there == {"data": [1.0, 2.0, 3.0, 4.0], "shape": [2.0, 2.0]}


# ------------------------------------------------------------------ what goes wrong
@node
def test_messages(tmp_path):
    model = gl.loads("input X : [N, 2]\ninput w : [2*N]\ninput s = 1\nf = sum(X)*s + sum(w)\n")
    good = "w: [1, 2]"
    wrong = {
        "{X: [[1, 2]]}": "a value is missing for `w`",
        "{}": "values are missing for `X`, `w`",
        f"{{X: [1, 2], {good}}}": "`X` must be [N, 2], but an array [2] is given",
        f"{{X: 1, {good}}}": "`X` must be [N, 2], but a single number is given",
        f"{{X: [[1, 2, 3]], {good}}}": "`X` must be [N, 2], but an array [1, 3] is given (N = 1)",
        "{X: [[1, 2]], w: [1, 2, 3]}": "`w` must be [2*N], but an array [3] is given (N = 1)",
        f"{{X: [[1, 2], [3]], {good}}}": "the value of `X` is no array of numbers: its rows differ",
        f"{{X: [['1', 2]], {good}}}": "`X` must be numbers, but text is given",
        f"{{X: {{data: [1], shape: [1, 2]}}, {good}}}": "the shape of `X` has 2 entries, but 1 are given",
        f"{{X: [[[1, 2]]], {good}}}": "`X` must be [N, 2], but an array [1, 1, 2] is given",
        f"{{X: [[1, 2]], {good}, s: [1]}}": "`s` must be a scalar, but an array [1] is given",
        f"{{X: [[1, 2]], {good}, y: 1}}": "there is no input named `y`: inputs are X, w, s",
        "5": "the inputs are given by name, as an object",
        f"{{X: null, {good}}}": "`X` must be numbers, but null is given",
    }
    found = results(tmp_path, module(model, "f"), *(f"model.f_and_gradients({call})" for call in wrong))
    assert found == [f"Error: {w}" for w in wrong.values()]
    text = module(gl.loads("a = 1\nb : []\ny = a + b\n"), "y")
    wrong = {
        "{}": "a value is missing for `b`",
        "{b: '3'}": "`b` must be numbers, but text is given",
        "{b: [3]}": "`b` must be a scalar, but an array is given",
        "{b: null}": "`b` must be numbers, but null is given",
        "{B: 3}": "there is no input named `B`: inputs are a, b",
        "null": "the inputs are given by name, as an object",
    }
    assert results(tmp_path, text, *(f"model.y({call})" for call in wrong)) == [f"Error: {w}" for w in wrong.values()]
    assert results(tmp_path, text, "model.y({b: 3, a: undefined})", "model.y({b: true})") == [4.0, 2.0]


@node
def test_where_there_is_no_value(tmp_path):
    model = gl.loads("input x : [N]\ninput k : int[M]\ny = x[k]\nf = sum(y*y)\n")
    calls = [f"model.f({{x: [1, 2, 4], k: {k}}})" for k in ("[0, -2, 1]", "[0, 9007199254740991, 1]", "[-4]", "[]")]
    outside = "Error: an index is outside its array, or Newton's method finds no solution"
    assert results(tmp_path, module(model, "f"), *calls) == [9.0, outside, outside, 0.0]
    no_value = "Error: there is no value for arrays of these sizes"
    assert results(tmp_path, module(gl.loads(WINDOW), "f"), "model.f({x: []})", "model.f({x: [0.5]})")[0] == no_value
    assert results(tmp_path, module(gl.loads("input x : [N]\nf = max(x)\n"), "f"), "model.f({x: []})") == [no_value]
    text = "input a : []\nx = solve(x**2 + a for x from 1)\n"
    found = results(tmp_path, module(gl.loads(text), "x"), "model.x({a: -4})", "model.x({a: 4})")
    assert abs(found[0] - 2) < 1e-15
    assert found[1] == outside


def test_what_javascript_does_not_have_is_said(capsys, tmp_path):
    file = tmp_path / "m.grad"
    file.write_text("input x : [9]\na[0] = 1\nfor t in range(9):\n    a[t+1] = a[t]*x[t] + sin(a[t])\nf = a[9]**2\n")
    assert main(["compile", str(file), "--target", "js", "--checkpoint"]) == 1
    said = capsys.readouterr().err
    assert "G601" in said
    assert "a recurrence with checkpoints is not supported in JavaScript yet" in said


# ------------------------------------------------------------------ names and texts
NAMES = """constructor __proto__ toString hasOwnProperty await arguments eval let static yield enum undefined Infinity meta
read taken inputs Math Float64Array pow erf copysign gl_factor gl_c1 outside t1 k1 prototype valueOf 원가 é Δx 名前 ａ_1 class
async of var new delete null this""".split()


@node
@pytest.mark.parametrize("kind", ["numbers", "arrays"])
def test_names_of_every_kind(kind, tmp_path):
    shape = " : [2]" if kind == "arrays" else ""
    start = "[{0}, {0}]" if kind == "arrays" else "{0}"
    lines = [f"input {n}{shape} = {start.format(k + 1)}" for k, n in enumerate(NAMES)]
    total = " + ".join(f"{k + 2}*{n}" for k, n in enumerate(NAMES))
    lines += [f"y = sum({total})" if kind == "arrays" else f"y = {total} + 2**erfc_ + erf(a0)", ""]
    if kind == "numbers":
        lines[:0] = ["input erfc_ = 2", "input a0 = 1"]
    model = gl.loads("\n".join(lines))
    given = 'JSON.parse(\'{"__proto__": 100, "constructor": 7}\')' if kind == "numbers" else "{}"
    text = module(model, "y")
    found, changed, names, faults = results(
        tmp_path, text, "model.y_and_gradients()", f"model.y_and_gradients({given})", "model.meta.inputs.map((i) => i.name)",
        "model.check()",
    )  # fmt: skip
    value, slopes = model.value_and_grad("y")()
    assert found["value"] == pytest.approx(value, rel=1e-14)
    for k, n in enumerate(map(str, slopes)):
        if n in ("erfc_", "a0"):
            continue
        assert found["gradients"][n] == ({"data": [k + 2.0] * 2, "shape": [2.0]} if kind == "arrays" else k), n
    assert names == list(model.inputs)
    assert faults == []
    if kind == "numbers":
        more = (100 - 1 - NAMES.index("__proto__")) * (2 + NAMES.index("__proto__"))
        more += (7 - 1 - NAMES.index("constructor")) * (2 + NAMES.index("constructor"))
        assert changed["value"] - found["value"] == pytest.approx(more)


@node
def test_names_of_the_module_itself(tmp_path):
    text = "input gl_factor : [2, 2]\ninput gl_c1 : [2]\ny = sum(solve(gl_factor, gl_c1 + [1, 2]))\n"
    close(tmp_path, gl.loads(text), "y", {"gl_factor": np.array([[2.0, 1], [1, 3]]), "gl_c1": np.array([1.0, 2])})


@node
@pytest.mark.parametrize(
    "name", ["meta", "constructor", "read", "Math", "await", "default", "원가", "__proto__", "pow", "differs"]
)
def test_an_output_may_be_called_anything(name, tmp_path):
    text = module(gl.loads(f"input x = 3\n{name} = x**2.5 + erf(x)\n"), name)
    entry, faults = results(tmp_path, text, "model.meta.functions", "model.check()")
    assert faults == []
    (found,) = results(tmp_path, text, f"model[{json.dumps(entry['value'])}]()")
    assert found == pytest.approx(3**2.5 + math.erf(3))


TRAPS = '</script><!-- */ \\" ${x} ` \u2028 \u202e 원 \x7f'


@node
def test_texts_stay_texts(tmp_path):
    label = "".join(c for c in TRAPS if c not in '"\\\x7f\u2028\u202e')
    model = gl.loads(f'input x = 3 "{label}"\ny = x**2 "{label}"\n')
    text = js_text(model, goal_of(model, "y"), f"{TRAPS}\nalert(1)\n.grad", None)
    assert "</script" not in text.lower()
    assert "<!--" not in text
    assert not re.search(r"^alert", text, re.M)
    assert all(c in "\n" or c.isprintable() for c in text)
    info, found = results(tmp_path, text, "model.meta.inputs[0].label", "model.y()")
    assert info == label
    assert found == 9.0
    (same,) = results(tmp_path, f"export const f = () => {string(TRAPS)};", "model.f()")
    assert same == TRAPS


def test_a_module_says_what_it_takes():
    model = gl.loads('input tax in [1, 2] = 1.1 "rate"\ninput n : int[N]\ny = tax*sum(real(n))\n')
    text = module(model, "y")
    assert '{ name: "tax", label: "rate", shape: [], kind: "real", range: [1, 2], default: 1.1 },' in text
    assert '{ name: "n", label: null, shape: ["N"], kind: "int", range: null, default: null },' in text
    assert 'gradients: ["tax"],' in text
    assert 'functions: { value: "y", gradients: "y_and_gradients" },' in text


# ------------------------------------------------------------------ the printer and the file
@node
def test_the_printer_of_tapes_serves_others(tmp_path):
    """Statements for any outputs, with names of one's own, and the helpers that they call."""
    model = gl.loads("a = 2\nb = 3\nu = a**b\ny = erf(u)*(u if a < b else -u) % b\n")
    job = plan_js(model.program, Goal("value", ("u", "y")), model.program.language, "test")
    lines, found, helpers = js_lines(job.tape, Names(RESERVED), model.program.language.table, {"a": "p[0]", "b": "p[1]"})
    texts = helper_texts(helpers, model.program.language.table)
    body = "\n".join([*texts, "export function f(p) {", *lines, f"return [{found['u']}, {found['y']}];", "}"])
    (got,) = results(tmp_path, body, "model.f([2, 3])")
    wanted = [model.function(n)() for n in ("u", "y")]
    assert got == pytest.approx(wanted, rel=1e-15)


def test_the_file_is_the_same_every_time(tmp_path):
    file = tmp_path / "net.grad"
    file.write_text(NETWORK)
    command = [sys.executable, "-m", "gradlang", "compile", str(file), "--target", "js"]
    texts = {
        subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True).stdout
        for seed in ("1", "2")
    }
    assert texts == {js_text(m := gl.loads(NETWORK), goal_of(m, "loss"), "net.grad", None)}


@node
def test_the_documentation(tmp_path):
    """Each `expression; // value` of its blocks of JavaScript, on the module that it is about."""
    assert main(["compile", str(FOLDER / "02_shopping.grad"), "--target", "js", "-o", str(tmp_path / "shopping.mjs")]) == 0
    page = (FOLDER.parent / "docs" / "language.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```js\n(.*?)^```$", page, re.S | re.M)
    pairs = re.findall(r"^(.+); // (.+)$", block, re.M)
    assert len(pairs) == 4
    imports = "\n".join(line for line in block.splitlines() if line.startswith("import "))
    lines = [f"console.log(JSON.stringify([{expression}, {value}]));" for expression, value in pairs]
    (tmp_path / "use.mjs").write_text("\n".join([imports, *lines]), encoding="utf-8")
    done = subprocess.run([NODE, str(tmp_path / "use.mjs")], capture_output=True, text=True, check=True)
    for line in done.stdout.splitlines():
        got, said = json.loads(line)
        assert got == said
