"""NumPy code with planned memory against the readable code: equal bits, but for sums."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import gradlang as gl
from gradlang.api import Model
from gradlang.backend import numpy_tiles
from gradlang.runtime.planned import PlannedProgram

SPECIAL = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 5e-324, 1e300, -1e300, 0.3, 2.0, -710.0, 710.0]
ENTRYWISE = [  # no sums over several tiles
    "y = tanh(a*x + b)*sigmoid(x)*exp(-x*x)",
    "y = softplus(x) - relu(x) + where(x > 0, x, 0) + where(x > b, 1, 0) + where(x < a, 0, x*x) + where(x > 1, a, x + 1)",
    "y = abs(x)**1.5 + sign(x)*floor(x) + mod(x, 3) + max(x, b) - min(x*x, 2)",
    "y = where(x > 0 and x*x < 2 or not x < 1, sqrt(abs(x)), -x) + where(x == 0, x, x/2)",
    "y = where(x > 0, x*b, exp(x)) + where(x > 0, exp(x), x*b)*(x > 0)",
    "z = x*x\nu = -z\ny = u*u + u + z",
    "n = count > 2\ny = where(n, x + 1, x*2)*count + (count + 1)*x",
    "y = where(flag, x*x + 1, x*3 + 1) + (flag and x > 0)*x",
    "y = x[1:]*x[:-1] + exp(x[1:]) + 1",
    "q = reshape(exp(x + 1), [4, N])\ny = transpose(q)*2 + transpose(q*q + q)",
]
ROWS = [
    "y = softmax(X*2 + v, axis=1)",
    "y = X*v + w*X + exp(X - max(X, axis=1, keepdims=true))",
    "m = sum(X*X + X*2 + 1, axis=1, keepdims=true)\ny = X/m + log(m)",
    "y = sum(tanh(X*v)*w, axis=0)",
    "y = sum(tanh(X*v)*X*w)",
    "m = sum(X*X + X*2 + 1, axis=[0, 1], keepdims=true)\ny = X*m",
    "y = sum((x*x + x)*c + tanh(x)*sum((X + 1)*c))",
    "y = (X*v + 1)@transpose(X*w*X)",
    "y = cross_entropy(X*v, softmax(X*w + 1, axis=1))",
    "y = cross_entropy(X*v, label)",
    "y = cross_entropy(relu(X@transpose(X))@X*v, label) + sum(sigmoid(transpose(X)@X))",
]
HEAD = (
    "x : [4*N]\nX : [N, 5]\nv : [5]\nw : [N, 1]\na : []\nb : []\ncount : int[4*N]\nflag : bool[4*N]\nlabel : int[N]\nc : [1]\n"
)


def values(n: int, dtype: str, special: bool) -> dict[str, Any]:
    r = np.random.default_rng(n)
    x = r.normal(0.0, 2.0, 4 * n)
    if special:
        x[: len(SPECIAL)] = SPECIAL
    made: dict[str, Any] = {"x": x, "X": r.normal(size=(n, 5)), "v": r.normal(size=5), "w": r.normal(size=(n, 1))}
    with np.errstate(over="ignore"):
        made = {k: v.astype(dtype) for k, v in made.items()}
    return made | {
        "a": 1.3,
        "b": -0.2,
        "count": r.integers(-3, 7, 4 * n),
        "flag": r.random(4 * n) > 0.5,
        "label": r.integers(-5, 5, n),
        "c": r.normal(size=1).astype(dtype),
    }


def leaves(result: Any) -> list[Any]:
    if isinstance(result, dict):
        result = tuple(result.values())
    return [leaf for part in result for leaf in leaves(part)] if isinstance(result, tuple) else [result]


def compare(model: Model, f: Any, given: dict[str, Any], dtype: str, exact: bool, inner: int) -> None:
    """Both runs, and again in the memory of the first ones, with results that stay what they are."""
    readable = f.raw.readable
    program = PlannedProgram(f.job, model.program.language.table, readable, least=1, inner=inner)
    args = f.binder.bind({k: v for k, v in given.items() if k in f.binder.types})[0]
    args = [a if t.shape or t.dtype != "real" else a[()] for a, t in zip(args, f.binder.types.values(), strict=True)]
    before = [np.array(a) for a in args]
    wanted, first, second = leaves(readable(*args)), leaves(program(*args)), leaves(program(*args))
    copies = [np.array(p) for p in first]
    program(*args)
    assert all(run is not readable for run in program.versions.kept.values())
    for w, p, q, c in zip(wanted, first, second, copies, strict=True):
        assert type(w) is type(p) and np.shape(w) == np.shape(p)
        assert np.asarray(w).dtype == np.asarray(p).dtype
        np.testing.assert_array_equal(p, q)
        np.testing.assert_array_equal(p, c)
        if exact:
            np.testing.assert_array_equal(p, w)
            np.testing.assert_array_equal(np.signbit(p), np.signbit(w)) if np.asarray(w).dtype.kind == "f" else None
        else:
            scale = 1e-13 if dtype == "float64" else 2e-5
            np.testing.assert_allclose(p, w, rtol=scale, atol=scale)
    arrays = [p for p in first + second if isinstance(p, np.ndarray)]
    assert not any(np.shares_memory(p, q) for k, p in enumerate(arrays) for q in [*arrays[k + 1 :], *map(np.asarray, args)])
    for a, b in zip(args, before, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("inner", [0, 1])
@pytest.mark.parametrize("tile", [64, 128 * 1024])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("formula", ENTRYWISE + ROWS)
def test_planned_code_gives_what_readable_code_gives(
    formula: str, dtype: str, tile: int, inner: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numpy_tiles, "TILE", tile)
    model = gl.loads(HEAD + formula, dtype=dtype)
    entrywise = formula in ENTRYWISE
    f = model.function("y", backend="numpy")
    for n in (9, 16):
        compare(model, f, values(n, dtype, entrywise), dtype, entrywise, inner)
    scalar = model if model.outputs["y"].shape == () else gl.loads(HEAD + formula + "\nout = sum(y*y)", dtype=dtype)
    g = scalar.value_and_grad(scalar.program.outputs[-1], backend="numpy")
    compare(scalar, g, values(9, dtype, False), dtype, False, inner)


def test_inputs_that_do_not_lie_in_order() -> None:
    model = gl.loads("X : [N, M]\ny = exp(X)*X + X*X\nz = sum(y)")
    f = model.function(["y", "z"], backend="numpy")
    X = np.random.default_rng(1).normal(size=(240, 100))
    y, z = leaves(f(X=X.T[::2]))
    np.testing.assert_array_equal(y, np.exp(X.T[::2]) * X.T[::2] + X.T[::2] * X.T[::2])
    assert abs(z - y.sum()) < 1e-9
    assert any(run is not f.raw.readable for run in f.raw.versions.kept.values())


def test_small_arrays_keep_the_readable_code() -> None:
    f = gl.loads("x : [N]\ny = sum(tanh(x)*exp(-x*x)*x)").value_and_grad("y", backend="numpy")
    f(x=np.ones(100))
    assert list(f.raw.versions.kept.values()) == [f.raw.readable]
    f(x=np.ones(20_000))
    assert f.raw.versions.kept[20_000,] is not f.raw.readable
    assert "pool" not in f.source


def test_threads_do_not_share_memory() -> None:
    f = gl.loads("x : [N]\na : []\ny = tanh(a*x)*exp(-x*x)*sigmoid(x)\nz = sum(y)").value_and_grad("z", backend="numpy")
    x = np.linspace(-3.0, 3.0, 40_000)
    wanted = [f(x=x, a=float(k)) for k in range(4)]
    wrong: list[int] = []

    def work(k: int) -> None:
        for _ in range(20):
            value, slopes = f(x=x, a=float(k))
            if value != wanted[k][0] or not np.array_equal(slopes["x"], wanted[k][1]["x"]):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
