"""Loops for orders, running sums, windows, matrices and empty arrays, against NumPy."""

import numpy as np
import pytest

import gradlang as gl
from gradlang.plan.plan import Library
from gradlang.runtime import native

WHY = native.available()
pytestmark = pytest.mark.skipif(WHY is not None, reason=str(WHY))
RNG = np.random.default_rng(5)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADLANG_CACHE", str(tmp_path / "cache"))


def normal(*shape):
    return RNG.normal(size=shape)


def definite(*shape):
    a = normal(*shape, shape[-1])
    return a @ np.swapaxes(a, -1, -2) + shape[-1] * np.eye(shape[-1])


NAN = [3.0, 1, np.nan, 2, 1, -5, np.inf, np.nan, 1, -np.inf]
CASES = {
    "running sum of columns": ("input x : [N, M]\nf = sum(cumsum(x, axis=0)**2)", {"x": normal(5, 3)}),
    "running sum of rows": ("input x : [N, M]\nf = sum(cumsum(2*x, axis=1)*exp(-x))", {"x": normal(5, 3)}),
    "largest": ("input x : [N, M]\ny = argmax(x, axis=1)", {"x": normal(5, 3)}),
    "largest with nan": ("input x : [N]\ny = argmax(x)\nz = argmin(x)", {"x": np.array(NAN)}),
    "largest of whole numbers": ("input x : int[N]\ny = argmax(x)", {"x": np.array([3, 7, 7, -1])}),
    "order with nan": ("input x : [N]\ny = argsort(x)", {"x": np.array(NAN)}),
    "order of columns": ("input x : [N, M]\ny = argsort(x, axis=0)", {"x": np.round(normal(13, 3), 1)}),
    "sorted": ("input x : [N, 4]\nf = sum(sort(x)**3*[1, 2, 3, 4])", {"x": normal(3, 4)}),
    "searched": (
        "input t : [N]\ninput v : [N]\ninput x : [M]\nf = sum(interp(x, t, v)**2)",
        {"t": np.sort(normal(9)), "v": normal(9), "x": 2 * normal(7)},
    ),
    "equation": ("input A : [N, N]\ninput b : [N]\nf = sum(solve(A, b)**2)", {"A": normal(5, 5), "b": normal(5)}),
    "equations": (
        "input A : [B, N, N]\ninput b : [N, M]\nf = sum(solve(A, b)**2)",
        {"A": normal(4, 5, 5), "b": normal(5, 2)},
    ),
    "inverse": ("input A : [N, N]\nf = sum(inv(A)**2)", {"A": normal(5, 5)}),
    "determinant": ("input A : [B, N, N]\nf = sum(det(A)**2)", {"A": normal(3, 4, 4)}),
    "determinant of one number": ("input A : [1, 1]\nf = det(A)**2", {"A": normal(1, 1)}),
    "logarithm of it": ("input A : [B, N, N]\nf = sum(logdet(A))", {"A": definite(3, 4)}),
    "factor": ("input A : [B, N, N]\nf = sum(cholesky(A)**3)", {"A": definite(3, 4)}),
    "triangles": (
        "input A : [N, N]\ninput b : [N]\nL = cholesky(A)\ny = triangular_solve(L, b)\n"
        "z = triangular_solve(L, y, trans=true)\nu = triangular_solve(A, z, lower=false)\n"
        "v = triangular_solve(A, u, lower=false, trans=true)\nf = sum(z*y) + sum(v)",
        {"A": definite(4), "b": normal(4)},
    ),
    "windows": (
        "input x : [2, 3, 8, 8]\nparam w : [4, 3, 3, 3]\nf = sum(conv2d(x, w, zeros(4))**2)",
        {"x": normal(2, 3, 8, 8), "w": normal(4, 3, 3, 3)},
    ),
    "singular": (
        "input A : [2, 2]\ninput b : [2]\ny = solve(A, b)\ni = inv(A)\nl = logdet(A)\nd = det(A)\nc = cholesky(A)",
        {"A": np.array([[1.0, 2], [2, 4]]), "b": np.array([1.0, 2])},
    ),
    "one of a batch singular": (
        "input A : [2, 2, 2]\ni = inv(A)\nc = cholesky(A)\nt = triangular_solve(A, [1, 2])",
        {"A": np.array([[[1.0, 2], [2, 4]], [[2, 1], [1, 0]]])},
    ),
    "gradient at a singular matrix": ("input A : [3, 3]\nf = det(A)", {"A": np.arange(9.0).reshape(3, 3)}),
    "equation in a recurrence": (
        "input A : [2, 2]\ninput b : [2]\nx[0] = b\nfor t in range(5):\n    x[t+1] = solve(A, x[t]) + b\nf = sum(x[5]**2)",
        {"A": definite(2), "b": normal(2)},
    ),
    "no entries": ("input x : [N]\nf = sum(x**2)\ny = cumsum(x)\ns = argsort(x)", {"x": np.zeros(0)}),
    "differences of one entry": ("input x : [N]\nf = sum((x[1:] - x[:-1])**2) + x[0]", {"x": normal(1)}),
    "matrix without rows": (
        "input x : [N, 3]\ninput w : [3]\ny = x @ w + 1\nf = sum(y)",
        {"x": np.zeros((0, 3)), "w": normal(3)},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_as_numpy(name):
    text, given = CASES[name]
    model = gl.loads(text + "\n")
    for output in model.program.outputs:
        type = model.program.nodes[model.program.values[output]].type
        slope = not type.shape and type.dtype == "real"
        found = []
        for backend in ("numpy", "native"):
            make = model.value_and_grad if slope else model.function
            run = make(output, backend=backend)
            result = run(**given)
            found.append([result] if not slope else [result[0], *result[1].values()])
        assert run.backend == "native"
        large = given.get("A", np.zeros(1)).shape[-1] > 3 and "det(" in text  # a matrix of cofactors is LAPACK's then
        steps = [s for v in run.raw.versions.kept.values() for s in v.plan.steps]
        assert large or not any(isinstance(s, Library) for s in steps), name
        for n, k in zip(*found, strict=True):
            n, k = np.asarray(n), np.asarray(k)
            assert n.shape == k.shape and n.dtype == k.dtype
            scale = np.max(np.abs(n[np.isfinite(n)]), initial=0.0)
            np.testing.assert_allclose(k, n, rtol=1e-11, atol=1e-12 * scale, err_msg=f"{name}: {output}")


def test_where_numpy_has_no_value_neither_have_loops():
    model = gl.loads("input x : [N]\nf = max(x)\n")
    for backend in ("numpy", "native"):
        with pytest.raises(gl.InputError, match="G517"):
            model.function("f", backend=backend)(x=np.zeros(0))


# ------------------------------------------------------------------ long axes around short ones, at the edges of blocks
AROUND = {
    "distances": "const D = 8\nconst K = 5\nx : [N, D]\nm : [K, D]\n"
    "d = [[sum((x[n] - m[k])**2) for k in range(K)] for n in range(N)]\nf = sum(logsumexp(-d/2, axis=1))",
    "product": "const D = 3\nx : [N, D]\nW : [D, D]\nf = sum(tanh(x @ W)**2) + sum(W*W)",
    "layer": "const D = 16\nx : [N, D]\nW : [D, D]\nb : [D]\nh = tanh(x @ W + b)\nf = mean(sum(h*h, axis=1)*sum(x*h, axis=1))",
    "logistic": "const D = 10\nx : [N, D]\nw : [D]\ny : [N]\nf = mean(softplus(-y*(x @ w))) + sum(w**2)",
    "triangle": "const D = 4\nx : [N, D]\nQ : [D, D]\n"
    "z = [[sum(Q[i, j]*x[n, j] for j in range(i + 1)) for i in range(D)] for n in range(N)]\nf = sum(exp(-sum(z**2, axis=1)))",
    "rows": "const D = 24\nx : [N, D]\nv : [D]\ns = sum(x*v, axis=0)\nf = sum(sin(s)) + sum(sqrt(1 + x**2))",
}


@pytest.mark.parametrize("name", AROUND)
def test_sizes_around_those_of_blocks(name: str) -> None:
    model = gl.loads(AROUND[name])
    native, plain = (model.value_and_grad("f", backend=b) for b in ("native", "numpy"))
    for n in (1, 7, 64, 65, 127, 129, 300):
        r = np.random.default_rng(n)
        given = {k: r.normal(0, 0.5, [n if d == "N" else d for d in i.shape]) for k, i in model.inputs.items()}
        (value, slopes), (right, exact) = native(given), plain(given)
        np.testing.assert_allclose(value, right, rtol=1e-11)
        for k, e in exact.items():
            np.testing.assert_allclose(slopes[k], e, rtol=1e-9, atol=1e-11 * np.max(np.abs(e)))
