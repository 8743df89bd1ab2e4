"""Calls: programs of numbers as machine code with keywords, and gradients into the caller's arrays."""

from __future__ import annotations

import copy
import functools
import gc
import math
import pickle
import random
import struct
import sys
import threading
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np
import pytest

import gradlang as gl
from gradlang.runtime import call, load, native
from gradlang.runtime.native import keywords

needs_native = pytest.mark.skipif(native.available() is not None, reason="llvmlite is not there")
SHOPPING = """apple  = 100
n      = 2
orange = 150
m      = 3
tax    = 1.1
price = (apple*n + orange*m) * tax
"""


def pair(text: str, **more: Any) -> tuple[Any, Any]:
    model = gl.loads(text)
    return model.value_and_grad(**more), model.value_and_grad(backend="native", **more)


def bits(result: Any) -> Any:
    if isinstance(result, dict):
        return {key: bits(part) for key, part in result.items()}
    if isinstance(result, tuple):
        return tuple(map(bits, result))
    return (type(result), struct.pack("d", result))


@pytest.mark.parametrize("name", ["NAMES", "DEFAULTS", "names", "defaults", "default_x", "named", "own", "k", "v", "d"])
def test_inputs_may_be_called_like_parts_of_the_check(name: str) -> None:
    f = gl.loads(f"{name} = 2\nx = 3\ny = x*{name}").value_and_grad("y")
    assert f.source is not None  # a function of floats
    for values in ({name: 5}, {name: 5.0}, {name: np.float64(5.0)}):
        assert f(**values) == (15.0, {name: 3.0, "x": 5.0})
    assert bits(f(x=4)) == bits(f(x=4.0)) == bits((8.0, {name: 4.0, "x": 2.0}))
    for values, code in (({name: "5"}, "G504"), ({name: [5.0, 1.0]}, "G503"), ({"x": None}, "G504"), ({"w": 1.0}, "G502")):
        with pytest.raises(gl.InputError, match=code):
            f(**values)


@pytest.mark.parametrize(
    "formula",
    [
        "z = x + w\ny = z*3",
        "z = x - w\ny = x - z",
        "z = x if w > 2 else -x\ny = -z",
        "exp_ = x*w\ny = exp(exp_)",
        "z = x*w\nx_ = z + z\ny = x_*2 + 1",
        "log_x = log(x)\ny = log_x/(log_x - w)**2",
    ],
)
def test_values_that_are_only_returned(formula: str) -> None:
    model = gl.loads(f"x = 1.5\nw = 2.5\n{formula}")
    for f in (model.function("y"), model.value_and_grad("y")):
        assert type(f).__name__ == "method"  # the generated function, with fewer names
        for values in ({}, {"x": 0.25}, {"x": 0.0, "w": -1.0}, {"w": math.inf}):
            assert bits(f(**values)) == bits(f.raw(**values))


def test_code_is_compiled_when_it_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call of floats needs one function; the module, with the one for IEEE arithmetic, is compiled for whatever else."""
    made: list[str] = []
    for module in (call, load):
        monkeypatch.setattr(module, "compile", lambda text, *rest: made.append(text) or compile(text, *rest), raising=False)
    f = gl.loads("input x, w\ny = 1/x + exp(w)").value_and_grad("y")
    assert f(x=2.0, w=0.0) == (1.5, {"x": -0.25, "w": 1.0})
    assert len(made) == 1 and "numpy" not in made[0]
    for _ in range(2):
        assert f(x=0.0, w=0.0) == (math.inf, {"x": -math.inf, "w": 1.0})
        assert f(x=2, w=0) == f.raw(w=0.0, x=2.0) == (1.5, {"x": -0.25, "w": 1.0})
    assert len(made) == 2 and made[1] == f.source
    assert f.raw.__name__ == f.artifact.entry


@needs_native
def test_machine_code_takes_keywords() -> None:
    slow, fast = pair(SHOPPING)
    assert (slow.backend, fast.backend) == ("python", "native")
    calls: list[dict[str, Any]] = [
        {},
        {"apple": 120.0},
        {"tax": 1.25, "apple": 7.5},
        {"apple": 1.0, "n": 2.0, "orange": 3.0, "m": 4.0, "tax": 5.0},
        {"tax": 1.0, "m": 2.0, "orange": 3.0, "n": 4.0, "apple": 5.0},
        {"apple": 3, "n": True, "tax": np.float64(1.5), "m": np.array(4.0), "orange": np.int32(2)},
        {"apple": math.nan, "n": math.inf, "tax": -0.0},
        {"".join(["ta", "x"]): 3.0},  # not the same object as the name
    ]
    for values in calls:
        assert bits(fast(**values)) == bits(slow(**values))
        assert bits(fast(values)) == bits(slow(values))
        assert list(fast(**values)[1]) == list(slow(**values)[1])


BAD: list[tuple[Any, dict[str, Any]]] = [
    *(((), {"apple": value}) for value in ("a", [1.0, 2.0], None, 10**400)),
    *(((), {name: 1.0}) for name in ("aple", "price", "out")),
    ((1.0,), {}),
    (({"apple": 1.0, "x": 2.0},), {}),
]


@needs_native
@pytest.mark.parametrize(("args", "values"), BAD)
def test_machine_code_leaves_errors_to_python(args: Any, values: Any) -> None:
    slow, fast = pair(SHOPPING)
    with pytest.raises(gl.InputError) as wanted:
        slow(*args, **values)
    with pytest.raises(gl.InputError) as found:
        fast(*args, **values)
    assert str(found.value) == str(wanted.value)


@needs_native
def test_auto_makes_machine_code_of_numbers_where_it_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    model = gl.loads(SHOPPING)
    assert model.value_and_grad().backend == "python"
    model = gl.Model(model.program, calls=10**7)
    assert model.value_and_grad().backend == "native"
    assert model.value_and_grad(backend="numpy").backend == "python"

    def fails(self: object, text: str, level: int) -> bytes:
        raise native.NativeError("LLVM does not accept the text: no room")

    monkeypatch.setenv("GRADLANG_CACHE", "off")
    monkeypatch.setattr("gradlang.runtime.native.engine.Engine.compile", fails)
    native.program.note.cache_clear()
    with pytest.warns(RuntimeWarning, match="Python floats run instead .*no room"):
        f = gl.Model(model.program, calls=10**7).value_and_grad()
    assert f.backend == "python"
    assert f(apple=120.0)[0] == pytest.approx(759.0)


@needs_native
def test_what_must_be_given() -> None:
    slow, fast = pair("input x, y\nk = 2*3\nparam w : [] = normal(0, 1)\nz = w*x*y + k")
    assert bits(fast(x=1.0, y=2.0)) == bits(slow(x=1.0, y=2.0))
    assert bits(fast(y=1.0, x=2.0, k=1.0, w=3.0)) == bits(slow(y=1.0, x=2.0, k=1.0, w=3.0))
    for f in (slow, fast):
        with pytest.raises(gl.InputError, match="missing for `y`"):
            f(x=1.0)
    with pytest.raises(TypeError, match="needed"):
        fast.func()


FORMULAS = [
    "exp(x)*sin(y) + tanh(x*y)",
    "log(abs(x) + 1)**2 + atan2(x, y)",
    "max(x, y, 0.5)*sigmoid(x) - relu(y)",
    "(x if x > y else y*y) + abs(x - y)",
    "softplus(x) + log1p(y*y) + erf(x)",
    "hypot(x, y)*cosh(x) + sqrt(x*x + 1) + cbrt(y)",
    "gelu(x) + swish(y)" if "swish" in gl.pipeline.standard().table else "gelu(x)*y",
]


@needs_native
@pytest.mark.parametrize("formula", FORMULAS)
def test_machine_code_agrees_with_floats(formula: str) -> None:
    slow, fast = pair(f"input x, y\nz = {formula}")
    assert fast.backend == "native"
    draw = random.Random(formula)
    for _ in range(50):
        x, y = draw.uniform(-3, 3), draw.uniform(-3, 3)
        (found, slopes), (wanted, others) = fast(x=x, y=y), slow(x=x, y=y)
        assert type(found) is float
        assert found == pytest.approx(wanted, rel=1e-13, abs=1e-14)
        assert slopes == pytest.approx(others, rel=1e-12, abs=1e-13)


@needs_native
def test_arguments_beyond_the_limits_are_those_of_python() -> None:
    slow, fast = pair("input x\nz = sin(x)")
    for x in (1e22, -1e300, 3e9):
        assert bits(fast(x=x)) == bits(slow(x=x))
    assert math.isnan(fast(x=math.inf)[0])


@needs_native
@pytest.mark.parametrize("a", [1e23, -1e300, 5.0, math.inf, math.nan])
@pytest.mark.parametrize("b", [0.7, -3.0, 0.0, math.inf])
def test_remainders_of_large_quotients_are_those_of_python(a: float, b: float) -> None:
    model = gl.loads("input a, b\nr = a % b\nq = a // b")
    found, wanted = (model.function(backend=k)(a=a, b=b) for k in ("native", "numpy"))
    assert repr(found) == repr(wanted)


def test_results_of_every_form() -> None:
    model = gl.loads("input x, y\na = x*y\nb = x > y\noutput a, b")
    f, g = model.function(backend="native"), model.function()
    assert f.backend == "native"
    assert f(x=2.0, y=1.0) == g(x=2.0, y=1.0) == {"a": 2.0, "b": True}
    assert f(x=1.0, y=2.0)["b"] is False
    assert model.function("b", backend="native")(x=2.0, y=1.0) is True
    one = gl.loads("input x, y\nz = x**3*y")
    for matrix in (one.hessian, one.jacobian):
        assert matrix(backend="native")(x=2.0, y=3.0) == matrix()(x=2.0, y=3.0)  # type: ignore[operator]
    given = {"x": 2.0, "y": 3.0}
    for product in (one.jvp, one.hvp):
        assert product(backend="native")(given, x=2.0, y=3.0) == product()(given, x=2.0, y=3.0)


@needs_native
def test_ops_of_a_program_win() -> None:
    """Its derivative at a kink may be another one than that of the built-in op."""
    slow, fast = pair("op relu(x) -> y:\n    value = maximum(x, 0)\n    d/dx  = 1 if x >= 0 else 0\nx = 3\nz = relu(x)*2")
    assert fast(x=0.0) == slow(x=0.0) == (0.0, {"x": 2.0})


@needs_native
def test_attributes_copies_and_pickles() -> None:
    slow, fast = pair(SHOPPING)
    assert (fast.source, fast.job, fast.artifact.language) == (slow.source, slow.job, "python")
    assert fast.raw(120.0, 2.0, 150.0, 3.0, 1.1) == fast(apple=120.0)
    for made in (pickle.loads(pickle.dumps(fast)), copy.copy(fast), copy.deepcopy(fast)):
        assert made.backend == "native"
        assert bits(made(apple=3.0)) == bits(slow(apple=3.0))


@needs_native
def test_functions_go_to_other_processes() -> None:
    """`multiprocessing` has its own way to pickle partial functions."""
    slow, fast = pair(SHOPPING)
    made = fast
    for _ in range(2):
        made = pickle.loads(ForkingPickler.dumps(made))
        assert bits(made(apple=3.0)) == bits(made({"apple": 3})) == bits(slow(apple=3.0))
    with pytest.raises(gl.InputError, match="no input named `pear`"):
        made(pear=3.0)


@needs_native
def test_nothing_leaks_and_code_outlives_its_model() -> None:
    _, fast = pair(SHOPPING)
    x, words = 1234.5, sys.intern("apple")
    gc.collect()
    gc.disable()  # old garbage holds `None` and names
    try:
        before = sys.getrefcount(x), sys.getrefcount(None), sys.getrefcount(words)
        for _ in range(1000):
            fast(apple=x)
            fast(apple=x, n=2)
        after = sys.getrefcount(x), sys.getrefcount(None), sys.getrefcount(words)
    finally:
        gc.enable()
    assert all(abs(a - b) < 100 for a, b in zip(before, after, strict=True))
    kept = fast(apple=2.0)
    assert fast(apple=3.0) != kept == fast(apple=2.0)
    kept[1]["more"] = 1.0
    assert "more" not in fast(apple=2.0)[1]


@needs_native
@pytest.mark.parametrize("count", [1, 2, 5, 6, 11, 40])
@pytest.mark.parametrize("known", [True, False])
def test_dicts_of_every_size(count: int, known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """With dicts that are copied, and where this Python's dicts are not known."""
    if not known:
        monkeypatch.setattr("gradlang.runtime.native.keywords.copied", lambda labels, kept: [0] * (2 + len(labels)))
    names = [f"x{k}" for k in range(count)]
    slow, fast = pair("".join(f"input {n}\n" for n in names) + "z = " + " + ".join(f"exp({n})" for n in names))
    values = {n: k / 10 for k, n in enumerate(names)}
    before = sys.getrefcount(values["x0"])
    made = [fast(**values)[1] for _ in range(50)]
    assert all(list(d) == names for d in made)
    assert made[7] == pytest.approx(slow(**values)[1])
    first = made[0].copy()
    made[1].update(x0=2.0, other=[made])
    del made[2]["x0"]
    assert made[0] == made[3] == first
    del made
    gc.collect()
    assert sys.getrefcount(values["x0"]) <= before + 1
    assert fast(**values)[1] == first


def parts(result: Any) -> list[Any]:
    """A result and all that is in it."""
    found = [result]
    for part in found:
        found += part.values() if isinstance(part, dict) else part if isinstance(part, tuple) else ()
    return found


@needs_native
@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("what", ["value_and_grad", "hessian", "function"])
def test_what_the_caller_holds_does_not_change(what: str, told: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results are used again once they are free: whatever part of them is held, or changed, stays as it is."""
    if not told:
        monkeypatch.setattr("gradlang.runtime.native.keywords.changes_are_told", lambda: False)
    told = keywords.changes_are_told()  # which Python 3.14 does not
    model = gl.loads("input x, y, z\na = x*y*z + y*y\nb = x - z\noutput a, b" if what == "function" else CUBE)
    slow, fast = getattr(model, what)(), getattr(model, what)(backend="native")
    assert fast.backend == "native"
    draw = random.Random(1)
    held: list[tuple[Any, Any]] = []
    again = 0
    last = next(k for k in fast.func.__self__.library.kept if type(k) is list)
    for k in range(3000):
        values = {n: draw.choice([draw.uniform(-2, 2), math.nan, -0.0]) for n in "xyz"}
        before = [id(r) for r in last]
        result = fast(**values)
        again += id(result) in before
        assert bits(result) == bits(slow(**values)), k
        if draw.random() < 0.5:
            part = draw.choice(parts(result))
            held.append((part, bits(part)))
            del part
        if draw.random() < 0.2:
            spoil(draw, result)
        elif draw.random() < 0.3:
            held.append((result, bits(result)))
        if draw.random() < 0.3:
            del result  # otherwise it is held during the next call
        held = [pair for pair in held if draw.random() < 0.9 and not any(type(p) is str for p in parts(pair[0]))]
        assert all(bits(part) == wanted for part, wanted in held), k
    assert again > 300 if told else last == [None, None]
    gc.collect()


CUBE = "input x, y, z\nprice = x*y*z + x**3*y"


def spoil(draw: random.Random, result: Any) -> None:
    """Changes a dict of a result."""
    d: dict[str, Any] = draw.choice([p for p in parts(result) if isinstance(p, dict)])
    key = next(iter(d))
    changes = [
        lambda: d.update({key: "other"}),
        lambda: d.update(more="other"),
        lambda: d.update({key: d.pop(key), "more": "other"}),
        lambda: d.pop(key),
        lambda: (d.clear(), d.update(one="other")),
        lambda: d.popitem(),
    ]
    draw.choice(changes)()
    d["spoilt"] = "yes"


@needs_native
def test_letting_a_result_go_may_call_the_function() -> None:
    _, fast = pair(SHOPPING)
    found: list[Any] = []

    class Calls:
        def __del__(self) -> None:
            found.append(fast(apple=7.0))
            found.append(fast(apple=8.0))

    made = []
    for k in range(50):
        result = fast(apple=float(k))
        result[1]["calls"] = Calls()
        del result
        made.append(fast(apple=100.0 + k))
    assert [bits(r) for r in made] == [bits(fast(apple=100.0 + k)) for k in range(50)]
    assert len(found) >= 90
    assert {bits(r)[0] for r in found} == {bits(fast(apple=a))[0] for a in (7.0, 8.0)}


@needs_native
def test_calls_without_a_way_past_partial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradlang.runtime.native.keywords.vectorcall_offset", lambda: 0)
    slow, fast = pair(SHOPPING)
    for values in ({"apple": 120.0}, {"apple": 3, "tax": 2.0}, {}):
        assert bits(fast(**values)) == bits(slow(**values))
    with pytest.raises(gl.InputError, match="aple"):
        fast(aple=1.0)


@needs_native
def test_a_function_whose_state_is_set_anew() -> None:
    """It is a partial function: from then on it calls as those do."""
    slow, fast = pair(SHOPPING)
    direct = native.keywords.vectorcall_of(fast)
    assert direct != native.keywords.vectorcall_of(functools.partial(len)) or not native.keywords.vectorcall_offset()
    fast.__setstate__(fast.__reduce__()[2])
    assert native.keywords.vectorcall_of(fast) != direct or not native.keywords.vectorcall_offset()
    assert bits(fast(apple=2.0)) == bits(slow(apple=2.0))
    half = functools.partial(fast, apple=2.0)
    assert bits(half(n=3.0)) == bits(slow(apple=2.0, n=3.0))


@needs_native
def test_threads_share_the_code() -> None:
    _, fast = pair(SHOPPING)
    wrong: list[float] = []

    def run(start: int) -> None:
        for k in range(2000):
            if fast(apple=float(start + k), n=1.0, m=0.0, tax=1.0)[0] != start + k:
                wrong.append(start + k)

    threads = [threading.Thread(target=run, args=(k * 10_000,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


@needs_native
def test_many_arguments() -> None:
    names = [f"x{k}" for k in range(60)]
    text = "input " + ", ".join(names) + "\nz = " + " + ".join(f"{n}*{n}" for n in names)
    slow, fast = pair(text)
    values = {n: float(k) for k, n in enumerate(names)}
    shuffled = dict(random.Random(1).sample(sorted(values.items()), len(values)))
    assert fast(**values) == slow(**values) == fast(**shuffled)


# ------------------------------------------------------------------ gradients into arrays of the caller
NET = """input X : [N, D]
input y : [N]
param W : [D, H] = normal(0, 1)
param v : [H] = normal(0, 1)
param c = 0.5
loss = sum((tanh(X@W)@v + c - y)**2)/N
"""
BACKENDS = ["numpy", pytest.param("native", marks=needs_native)]


def data(n: int = 7, dtype: str = "float64") -> dict[str, Any]:
    rng = np.random.default_rng(3)
    made = {"X": rng.normal(size=(n, 3)), "y": rng.normal(size=n), "W": rng.normal(size=(3, 4)), "v": rng.normal(size=4)}
    return {name: array.astype(dtype) for name, array in made.items()}


def rooms(result: Any, dtype: str = "float64") -> dict[str, Any]:
    return {name: np.full(np.shape(slope), np.nan, dtype) for name, slope in result[1].items()}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_gradients_go_into_given_arrays(backend: str, dtype: str) -> None:
    f = gl.loads(NET, dtype=dtype).value_and_grad(backend=backend)
    for n in (7, 1, 12):
        values = data(n, dtype)
        wanted = f(**values)
        out = rooms(wanted, dtype)
        kept = dict(out)
        for _ in range(2):
            value, slopes = f(**values, out=out)
            assert slopes is out
            assert value == wanted[0]
            for name, array in kept.items():
                assert out[name] is array
                np.testing.assert_array_equal(array, wanted[1][name])
                array[...] = np.nan
        f({**values, "out": out})
        np.testing.assert_array_equal(out["W"], wanted[1]["W"])
        np.testing.assert_array_equal(f(**values)[1]["W"], wanted[1]["W"])


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_gradient_goes_into_one_array(backend: str) -> None:
    model = gl.loads("input x : [N]\ninput a : [N]\ny = x*x*a\nz = sum(y)")
    x, a, room = np.arange(3.0), np.ones(3), np.empty(3)
    value, slope = model.value_and_grad("z", wrt="x", backend=backend)(x=x, a=a, out=room)
    assert value == 5
    assert slope is room
    assert room.tolist() == [0, 2, 4]
    assert model.vjp("y", wrt="x", backend=backend)(a, x=x, a=a, out=room)[1] is room
    assert model.hvp("z", wrt="x", backend=backend)(a, x=x, a=a, out={"x": room})[1] is room
    assert room.tolist() == [2, 2, 2]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "text",
    [
        "input x : [4]\ninput y : [4]\nz = sum(x + y)",  # both gradients are one value
        "input x : [4]\ninput y : [4]\nz = sum(x*y)",  # they are the inputs
        "input x : [4]\ninput y : [4]\nz = sum(x) + 0*sum(y)",  # constants
        "input x : [4]\ninput y : [4]\nz = sum(sin(x[1:3]))*y[0] + sum(sin(1e9*y))",
    ],
)
def test_arrays_stay_apart(backend: str, text: str) -> None:
    f = gl.loads(text).value_and_grad(backend=backend)
    x, y = np.arange(4.0), np.arange(2.0, 6.0)
    wanted = f(x=x, y=y)
    out = rooms(wanted)
    f(x=x, y=y, out=out)
    np.testing.assert_array_equal(out["x"], wanted[1]["x"])
    np.testing.assert_array_equal(out["y"], wanted[1]["y"])
    assert not np.shares_memory(out["x"], out["y"])
    assert x.tolist() == [0, 1, 2, 3]


def frozen() -> Any:
    array = np.zeros((3, 4))
    array.flags.writeable = False
    return array


BAD_OUT: dict[str, tuple[Any, str]] = {
    "kind": (lambda out, v: 3.0, "must be a dict of arrays, not float"),
    "one_for_three": (lambda out, v: out["W"], "must be a dict of arrays, not ndarray"),
    "missing": (lambda out, v: {"W": out["W"]}, "no array for `v`, `c`"),
    "unknown": (lambda out, v: {**out, "w": out["W"]}, "has `w`, of which no gradient is taken"),
    "list": (lambda out, v: {**out, "v": [0.0] * 4}, "must be an array, not list"),
    "shape": (lambda out, v: {**out, "W": np.empty((4, 3))}, r"must have the shape \[3, 4\], not \[4, 3\]"),
    "dtype": (lambda out, v: {**out, "W": np.empty((3, 4), np.float32)}, "of float64, not of float32"),
    "order": (lambda out, v: {**out, "W": np.empty((4, 3)).T}, "must be contiguous"),
    "frozen": (lambda out, v: {**out, "W": frozen()}, "must be writable"),
    "input": (lambda out, v: {**out, "W": v["W"]}, "shares its memory with `W`"),
    "view": (lambda out, v: {**out, "v": v["X"].reshape(-1)[3:7]}, "`v` shares its memory with `X`"),
    "twice": (lambda out, v: {**out, "v": out["W"][1]}, "shares its memory with `W`"),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", BAD_OUT)
def test_arrays_that_do_not_fit(backend: str, case: str) -> None:
    f = gl.loads(NET).value_and_grad(wrt=["W", "v", "c"], backend=backend)
    values = data()
    out = rooms(f(**values))
    make, text = BAD_OUT[case]
    for _ in range(2):
        with pytest.raises(gl.InputError, match=text) as caught:
            f(**values, out=make(out, values))
        assert caught.value.diagnostics[0].code == "G525"
    f(**values, out=out)


CHANGES: dict[str, tuple[Callable[[Any, Any], None], str]] = {
    "frozen": (lambda x, room: room.setflags(write=False), "must be writable"),
    "kind": (lambda x, room: setattr(room, "dtype", np.int64), "of float64, not of int64"),
    "shape": (lambda x, room: setattr(room, "shape", (3, 1)), r"must have the shape \[3\], not \[3, 1\]"),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", CHANGES)
def test_arrays_that_are_changed_between_calls(backend: str, case: str) -> None:
    f = gl.loads("input x : [N]\nz = sum(x*x)").value_and_grad(backend=backend)
    x, room = np.arange(3.0), np.empty(3)
    for _ in range(2):
        assert f(x=x, out=room)[1].tolist() == [0, 2, 4]
    change, text = CHANGES[case]
    change(x, room)
    with pytest.raises(gl.InputError, match=text):
        f(x=x, out=room)


def test_functions_without_gradients_that_are_arrays() -> None:
    model = gl.loads("input x : [3]\ny = x*x\nz = sum(y)")
    x, room = np.arange(3.0), np.empty(3)
    for f in (model.function("z"), model.jacobian("y"), model.hessian("z", wrt="x"), gl.loads(SHOPPING).value_and_grad()):
        with pytest.raises(gl.InputError, match="gives none"):
            f(**({"x": x} if "x" in f.binder.types else {}), out=room)  # type: ignore[union-attr]
    named = gl.loads("input out : [3]\nz = sum(out*out)").value_and_grad()
    assert named(out=x)[1]["out"].tolist() == [0, 2, 4]  # the program's own name wins


@needs_native
def test_kernels_write_into_the_arrays() -> None:
    f = gl.loads("input x : [N]\nz = sum(sin(x)*x)").value_and_grad(backend="native")
    x, room = np.linspace(0, 1, 1000), np.empty(1000)
    f(x=x, out=room)
    made = f.raw(x, out=[room])  # type: ignore[call-arg]
    assert made[1]["x"] is room
    big = np.full(1000, 1e30)  # beyond what the fast functions do
    np.testing.assert_array_equal(f(x=big, out=room)[1], f(x=big)[1]["x"])


@pytest.mark.parametrize("backend", BACKENDS)
def test_arrays_of_the_last_call_are_looked_at_again_if_one_is_another(backend: str) -> None:
    f = gl.loads("input x : [N]\ninput a : []\nz = sum(x*x*a)").value_and_grad(wrt="x", backend=backend)
    x, room = np.arange(3.0), np.empty(3)
    for a in (1.0, 2.0, 3):
        assert f(x=x, a=a, out=room)[1].tolist() == [0, 2 * a, 4 * a]
    for bad in ({"x": room}, {"x": room[::-1]}, {"x": np.ones(4)}):
        with pytest.raises(gl.InputError, match="G525"):
            f(**bad, a=1.0, out=room)
    assert f(x=x[::2], a=1.0, out=room[:2])[1].tolist() == [0, 4]
    again = pickle.loads(pickle.dumps(f))
    assert again(x=x, a=1.0, out=room)[1] is room


# ------------------------------------------------------------------ calls like the one before
SEEN = """input X : [N, 3]
input k = 2.5
input s : []
param W : [3, 2] = normal(0, 1)
loss = sum(tanh(X@W)*k)*s
"""


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_calls_in_any_order_are_bound_as_if_each_were_the_first(backend: str, dtype: str) -> None:
    """Other shapes, kinds and defaults than before: nothing of one call stays for another one."""
    model = gl.loads(SEEN, dtype=dtype)
    f = model.value_and_grad(backend=backend)
    draw, r = random.Random(1), np.random.default_rng(1)
    for k in range(60):
        n = draw.choice([1, 4, 4, 4])
        X = r.normal(size=(n, 3)).astype(draw.choice([dtype, dtype, "float64", "float32"]))
        values: dict[str, Any] = {
            "X": draw.choice([X, X, X.tolist()]),
            "s": draw.choice([2.0, 2, np.float32(3), np.array(4.0)]),
        }
        if draw.random() < 0.3:
            values["k"] = draw.choice([1.5, np.float64(1.5), 3])
        if draw.random() < 0.5:
            values["W"] = r.normal(size=(3, 2)).astype(dtype)
        way = draw.choice(["dict", "names", "out"])
        fresh = pickle.loads(pickle.dumps(f))(values)
        if way == "out":
            out = {name: np.empty(a.shape if np.ndim(a) else (), dtype) for name, a in fresh[1].items()}
            found = f(values, out=out)
        else:
            found = f(values) if way == "dict" else f(**values)
        assert found[0] == fresh[0], k
        for name, slope in fresh[1].items():
            np.testing.assert_array_equal(found[1][name], slope)
        if draw.random() < 0.2:
            for wrong in (
                {**values, "Y": 1.0},
                {n: v for n, v in values.items() if n != "s"},
                {**values, "X": np.ones((2, 2))},
            ):
                with pytest.raises(gl.InputError):
                    f(wrong)
                with pytest.raises(gl.InputError):
                    f(**wrong)


def test_a_large_default_is_not_kept() -> None:
    f = gl.loads("input x : [N]\nparam p : [N] = normal(0, 1)\nz = sum(x*p)").value_and_grad()
    f(x=np.ones(10))
    assert f.seen is not None
    f(x=np.ones(200_000))
    assert f.seen is None


@pytest.mark.parametrize("backend", ["numpy", pytest.param("native", marks=needs_native)])
def test_calls_that_go_straight_to_their_code(backend: str) -> None:
    model = gl.loads("x : [N]\nk : int[M]\ny = [sin(x[i])*x[i] for i in k]\nf = sum(y)")
    f = model.value_and_grad("f", backend=backend)
    x, k = np.linspace(-1.0, 2.0, 7), np.array([0, 3, 6, 3])

    def wanted(x: Any, k: Any) -> list[float]:
        return [float(np.sum(np.sin(x[k]) * x[k])), *np.bincount(k, np.sin(x[k]) + x[k] * np.cos(x[k]), 7)]

    def found(x: Any, k: Any) -> list[float]:
        value, slopes = f(x=x, k=k)
        return [value, *slopes["x"]]

    for _ in range(3):
        assert np.allclose(found(x, k), wanted(x, k), rtol=1e-12)
    assert f.seen is not None
    assert f.seen.followed
    assert np.allclose(found(np.repeat(x, 2)[::2], k), wanted(x, k), rtol=1e-12)  # does not lie in C order
    for _ in range(2):
        with pytest.raises(gl.InputError, match="G506"):
            f(x=x, k=np.array([0, 3, 7, 3]))
        assert np.allclose(found(x, k + 0), wanted(x, k), rtol=1e-12)
    far = x * 1e300
    assert np.allclose(found(far, k), wanted(far, k), rtol=1e-12)  # beyond the limit of the own sine
    assert np.allclose(found(x[1:], k - (k == 6)), [*wanted(x[1:], k - (k == 6))][:7], rtol=1e-12)
    assert f.backend == backend


@pytest.mark.parametrize("backend", ["numpy", "auto", pytest.param("native", marks=needs_native)])
@pytest.mark.parametrize("number", [float, np.float64])
def test_numbers_that_go_straight_to_their_code_are_no_floats_of_python(backend: str, number: Callable[[float], Any]) -> None:
    """Python's would raise, or give complex numbers, where there is no value."""
    f = gl.loads("x : [N]\na : []\nb : [] = 2\ny = sum(x)*a**0.5 + a*b/x[0] + 1/a").function("y", backend=backend)
    x = np.array([0.0, 1.0, 2.0])
    for given in ({}, {"b": number(3.0)}):
        for _ in range(4):
            for a in (4.0, 0.0, -1.0):
                with np.errstate(all="ignore"):
                    k = np.float64(a)
                    wanted = 3 * k**0.5 + k * np.float64(given.get("b", 2.0)) / x[0] + 1 / k
                for found in (f(x=x, a=number(a), **given), f({"x": x, "a": number(a), **given})):
                    assert type(found) is float
                    np.testing.assert_array_equal(found, wanted)
    assert f.seen is not None and f.seen.followed
    for wrong in ({"x": x}, {"x": x, "a": 1.0, "c": 1.0}, {"x": x[0], "a": 1.0}, {"x": x, "c": 1.0}):
        with pytest.raises(gl.InputError):
            f(wrong)


@pytest.mark.parametrize("backend", BACKENDS)
def test_arrays_of_the_last_call_may_have_another_shape(backend: str) -> None:
    f = gl.loads("input A : [N, M]\nz = sum(A*A)").value_and_grad(backend=backend)
    A, room = np.arange(12.0).reshape(2, 6), np.empty((2, 6))
    for _ in range(3):
        f(A=A, out=room)
    A.shape = (6, 2)
    with pytest.raises(gl.InputError, match=r"must have the shape \[6, 2\]"):
        f(A=A, out=room)
