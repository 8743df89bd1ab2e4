"""Jacobians and Hessians that are diagonals, bands or rows of blocks: equal to those built column by column, from few tangents."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

import gradlang as gl
from gradlang import pipeline
from gradlang.ir.evaluate import evaluate
from gradlang.ir.rebuild import rebuild
from gradlang.ir.tape import Builder
from gradlang.pipeline import Goal
from gradlang.transform.diagonals import diagonals
from gradlang.types import Size, Type, product, size, sub

V = "x : [N]\nz : [N]\n"
M = "x : [N, D]\nW : [D, K]\nv : [D]\n"
ROSENBROCK = "sum(100*(x[i+1] - x[i]**2)**2 + (1 - x[i])**2 for i in range(N-1))"
Offsets = tuple[int, ...] | None
PUT_TOGETHER = {"where", "equal", "sub", "broadcast_to", "reshape", "transpose"}


def inputs(text: str, n: int) -> dict[str, Any]:
    rng = np.random.default_rng(n)
    sizes = {"N": n, "D": 3, "K": 2}
    out: dict[str, Any] = {}
    for name, info in gl.loads(text).inputs.items():
        shape = [eval(d, {}, sizes) if isinstance(d, str) else d for d in info.shape]
        out[name] = rng.integers(0, n, shape) if info.dtype == "int" else rng.uniform(-1, 1, shape)
    return out


def by_columns(model: gl.Model, of: str, given: dict[str, Any]) -> Any:
    """The Jacobian by x, one tangent at a time."""
    x, f = np.asarray(given["x"]), model.jvp(of, wrt="x")
    columns = [np.asarray(f(np.eye(x.size)[k].reshape(x.shape), given)[1]) for k in range(x.size)]
    return np.stack(columns, axis=-1).reshape(columns[0].shape + x.shape)


def hessian_by_columns(model: gl.Model, of: str, given: dict[str, Any]) -> Any:
    x, f = np.asarray(given["x"]), model.hvp(of, wrt="x")
    columns = [np.asarray(f(np.eye(x.size)[k].reshape(x.shape), given)[1]) for k in range(x.size)]
    return np.stack(columns, axis=-1).reshape(x.shape + x.shape)


def as_matrix(array: Any, given: dict[str, Any]) -> Any:
    columns = np.size(given["x"])
    return array.reshape((array.size // columns, columns))


def same(got: Any, wanted: Any) -> bool:
    return np.shape(got) == np.shape(wanted) and np.allclose(got, wanted, rtol=1e-10, atol=1e-12)


# ------------------------------------------------------------------ which structure is found
JACOBIANS: dict[str, tuple[str, Offsets]] = {
    "itself": (V + "y = x", (0,)),
    "by entries": (V + "y = sin(x)*z + x**2", (0,)),
    "in a comprehension": (V + "y = [sin(v)*w for v, w in zip(x, z)]", (0,)),
    "with a scalar of other values": (V + "y = x*sum(z)", (0,)),
    "shift forward": (V + "y = x[1:]*z[1:]", (1,)),
    "shift back": (V + "y = concat([[0], x[:-1]])", (-1,)),
    "differences": (V + "y = x[1:] - x[:-1]", (0, 1)),
    "second differences": (V + "y = x[2:] - 2*x[1:-1] + x[:-2]**2", (0, 1, 2)),
    "neighbours without the middle": (V + "y = x[2:]*x[:-2]", (0, 2)),
    "padded neighbours": (V + "y = pad(x[:-1], [[1, 0]])*x", (-1, 0)),
    "indexed neighbours": (V + "y = [x[i-1]*x[i]*x[i+1] for i in range(1, N-1)]", (0, 1, 2)),
    "far neighbours": (V + "y = x[20:]*x[:-20]", None),
    "a mean": (V + "y = x - mean(x)", None),
    "a maximum": (V + "y = x/max(x)", None),
    "a running sum": (V + "y = cumsum(x)", None),
    "reversed": (V + "y = x[::-1]*z", None),
    "a cycle": (V + "y = roll(x, 1)*z", None),
    "a stride": ("x : [2*N]\ny = x[::2]**2", None),
    "odd and even": ("x : [2*N]\ny = x[::2]*x[1::2]", None),
    "indices of the call": (V + "k : int[N]\ny = x[k]*z", None),
    "softmax of all": (V + "y = softmax(x)", None),
    "twice": (V + "y = concat([x, x**2])", None),
    "recurrence": (V + "y[0] = x[0]\ny[t] = y[t-1]*x[t] for t in range(1, N)", None),
    "recurrence and itself": (V + "s[0] = x[0]\ns[t] = s[t-1]*z[t] + x[t] for t in range(1, N)\ny = s + x", None),
    "recurrence of the others": (V + "h[0] = z[0]\nh[t] = h[t-1]*z[t] for t in range(1, N)\ny = h*x", (0,)),
    "no dependence": (V + "y = z**2", None),
    "by a matrix": (V + "A : [N, N]\ny = A @ x", None),
    "by the rows of a matrix": (V + "A : [N, K]\ny = tanh(x @ A)", None),
    "a net": (V + "A : [K, N]\nB : [D, K]\ny = B @ relu(A @ x)", None),
    "a net of rows": (V + "A : [K, N]\nB : [N, D]\ny = relu(relu(A @ x) @ A) @ B", None),
    "columns of a new axis": (V + "y = [[u*w for w in [1, 2, 3]] for u in x]", (0,)),
    "new axis in front": (V + "y = [[u*w for u in x] for w in [1, 2, 3]]", None),
    "pairs": (V + "y = [[u*w for u in x] for w in x]", None),
    "choice": (V + "y = [v**2 if w > 0 else sin(v) for v, w in zip(x, z)]", (0,)),
    "rows of a layer": (M + "y = tanh(x @ W)", (0,)),
    "rows times a vector": (M + "y = tanh(x @ v)", (0,)),
    "softmax of rows": (M + "y = softmax(x)", (0,)),
    "normalised rows": (M + "y = [r/norm(r) for r in x]", (0,)),
    "sums of rows": (M + "y = sum(x**2, axis=1)", (0,)),
    "maxima of rows": (M + "y = max(x, axis=1)", (0,)),
    "neighbouring rows": (M + "y = [x[i]*x[i+1] for i in range(N-1)]", (0, 1)),
    "reshaped rows": (M + "y = reshape(x, [N, D, 1])*v", (0,)),
    "einsum": (M + 'y = einsum("nd,dk->nk", x, W)', (0,)),
    "transposed einsum": (M + 'y = einsum("nd,dk->kn", x, W)', None),
    "sums of columns": (M + "y = sum(x**2, axis=0)", None),
    "softmax of columns": (M + "y = softmax(x.T).T", None),
    "transposed": (M + "y = x.T", None),
    "product of rows": (M + "y = x @ x.T", None),
    "batch norm": (M + "y = batch_norm(x, v, v)", None),
    "solve for each row": (V + "y = [solve(u**3 + u - w for u from 0) for w in x]", None),
}


LEAST = {"far neighbours": 20, "second differences": 2, "neighbours without the middle": 2, "indexed neighbours": 2}


@pytest.mark.parametrize("name", JACOBIANS)
def test_jacobians(name: str) -> None:
    text, offsets = JACOBIANS[name]
    pytest.importorskip("scipy")
    model = gl.loads(text)
    dense, sparse = model.jacobian("y", "x"), model.jacobian("y", "x", sparse=True)
    assert sparse.offsets == offsets
    for n in (1, 2, 3, 7, 24):
        if n < LEAST.get(name, 1):
            continue
        given = inputs(text, n)
        wanted = by_columns(model, "y", given)
        assert same(dense(given), wanted), n
        found = sparse(given)
        assert same(found.toarray(), as_matrix(wanted, given)), n


HESSIANS: dict[str, tuple[str, Offsets]] = {
    "Rosenbrock": (V + f"f = {ROSENBROCK}", (-1, 0, 1)),
    "separable": (V + "f = sum(z*log(cosh(x)))", (0,)),
    "chain": (V + "f = sum((x[1:] - x[:-1])**4) + sum(x**4)", (-1, 0, 1)),
    "beam": (V + "f = sum((x[2:] - 2*x[1:-1] + x[:-2])**4)", (-2, -1, 0, 1, 2)),
    "sum of rows": (M + "f = sum(tanh(x @ W)**2)", (0,)),
    "cross entropies": (M + "f = sum(logsumexp(x, axis=1))", (0,)),
    "neighbouring rows": (M + "f = sum(x[i] @ x[i+1] + (x[i] @ v)**3 for i in range(N-1))", (-1, 0, 1)),
    "product of all": (V + "f = prod(2 + x)", None),
    "effort on the way": (V + "s[0] = 0\ns[t] = s[t-1] + x[t-1] for t in range(1, N+1)\nf = s[N]**2 + sum(x**2)", None),
    "square of a sum": (V + "f = sum(x)**3", None),
    "norm": (V + "f = norm(x + 2)", None),
    "logsumexp of products": (V + "A : [K, N]\nf = logsumexp(A @ x) + sum(x**4)", None),
    "products of a net": (V + "A : [K, N]\nf = sum(tanh(A @ relu(A.T @ (A @ x)))**2)", None),
}


@pytest.mark.parametrize("name", HESSIANS)
def test_hessians(name: str) -> None:
    text, offsets = HESSIANS[name]
    pytest.importorskip("scipy")
    model = gl.loads(text + "\nH = hessian(f, x)")
    sparse = model.hessian("f", "x", sparse=True)
    assert sparse.offsets == offsets
    for n in (2, 3, 4, 7, 24):
        given = inputs(text, n)
        wanted = hessian_by_columns(model, "f", given)
        assert same(model.function("H")(given), wanted), n
        assert same(model.hessian("f", "x")(given), wanted), n
        assert same(sparse(given).toarray(), as_matrix(wanted, given)), n


# ------------------------------------------------------------------ chance programs
def formula(r: random.Random, depth: int) -> str:
    if not depth:
        return r.choice(["x", "x", "z", "sin(x)"])
    a, b = formula(r, depth - 1), formula(r, r.randrange(depth))
    return r.choice(
        [
            f"({a})*({b})",
            f"({a}) + 2*({b})",
            f"tanh({a})",
            f"roll({a}, 1)",
            f"concat([({a})[1:], [0.5]])",
            f"concat([[1.5], ({a})[:-1]])",
            f"pad(({a})[1:-1], 1)",
            f"({a})[::-1]",
            f"cumsum({a})",
            f"({a}) - mean({b})",
            f"where(({a}) > 0, {b}, {a})",
            f"[({a})[i]*i for i in range(N)]",
            f"sum(stack([{a}, {b}]), axis=0)",
            f"({a})*z + max({b}*0.1, 0)",
            f"softmax(stack([{a}, {b}], axis=1))[:, 0]",
            f"stack([{a}, {b}], axis=1) @ [1, 2]",
            f"sum([[v*w for w in [1, 2, 3]] for v in {a}], axis=1)",
        ]
    )


@pytest.mark.parametrize("seed", range(30))
def test_chance_programs(seed: int) -> None:
    pytest.importorskip("scipy")
    r = random.Random(seed)
    text = V + f"y = {formula(r, r.randrange(1, 5))}\nf = sum(tanh(y)*z)"
    model = gl.loads(text)
    jacobian, hessian = model.jacobian("y", "x"), model.hessian("f", "x")
    bands, second = model.jacobian("y", "x", sparse=True), model.hessian("f", "x", sparse=True)
    for n in (2, 3, 12):
        given = inputs(text, n)
        wanted, curved = by_columns(model, "y", given), hessian_by_columns(model, "f", given)
        assert same(jacobian(given), wanted), (text, n)
        assert same(bands(given).toarray(), wanted), (text, n)
        assert same(hessian(given), curved), (text, n)
        assert same(second(given).toarray(), curved), (text, n)


# ------------------------------------------------------------------ cost
def quadratic(model: gl.Model, goal: Goal) -> list[str]:
    """The instructions of a compiled matrix whose values have a number of entries that grows with N**2."""
    tape = pipeline.plan(model.program, goal, model.program.language, "").tape
    sizes = [(i.op, product(i.type.shape)) for i in tape.instrs]
    return [op for op, d in sizes if isinstance(d, Size) and any(names.count("N") > 1 for names, _ in d.terms)]


BANDED = [n for n, (_, offsets) in JACOBIANS.items() if offsets is not None]


@pytest.mark.parametrize("name", BANDED)
def test_bands_are_made_of_a_few_tangents(name: str) -> None:
    text, offsets = JACOBIANS[name]
    model = gl.loads(text)
    assert quadratic(model, Goal("jacobian", ("y",), ("x",), alone=True, offsets=offsets)) == []
    # the dense matrix is put together from the bands: nothing but choices between them is as large as it is
    assert set(quadratic(model, Goal("jacobian", ("y",), ("x",), alone=True))) <= PUT_TOGETHER


def test_bands_of_a_hessian_are_made_of_a_few_tangents() -> None:
    model = gl.loads(f"x : [N]\nf = {ROSENBROCK}")
    assert quadratic(model, Goal("hessian", ("f",), ("x",), alone=True, offsets=(-1, 0, 1))) == []
    assert set(quadratic(model, Goal("hessian", ("f",), ("x",), alone=True))) <= PUT_TOGETHER


@pytest.mark.parametrize("name", ["Rosenbrock", "beam", "neighbouring rows", "cross entropies"])
def test_bands_by_colours_are_those_by_formulas(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text, _ = HESSIANS[name]
    goal = {"of": "f", "wrt": "x", "sparse": True}
    by_formulas = gl.loads(text).hessian(**goal).compiled
    monkeypatch.setattr("gradlang.transform.jacobian.diagonals", lambda *_: None)
    by_colours = gl.loads(text).hessian(**goal).compiled
    assert ("take_along" in by_colours.source, "take_along" in by_formulas.source) == (True, False)
    given = inputs(text, 7)
    assert same(by_formulas(given)[0], by_colours(given)[0])


def test_no_band_is_multiplied_by_the_zeros_of_another() -> None:
    x = np.array([0.5, -1.0, np.inf, 2.0, 0.25, 1.0])
    model = gl.loads(f"x : [N]\nf = {ROSENBROCK}")
    bands, _ = model.hessian("f", "x", sparse=True).compiled(x=x)
    assert np.isnan(bands).sum() == 0
    assert bands[2].tolist() == [*(-400 * x[:-1]), 0.0]
    assert np.isfinite(bands[1]).tolist() == [True, False, False, True, True, True]


def test_diagonals_of_a_map_with_a_choice() -> None:
    b = Builder(gl.loads(V + "y = x*z").program.language.table)
    n = size("N")
    v, z = (b.leaf("input", (name,), Type((n,)), (0, 0)).id for name in "vz")
    one = (sub(n, 1),)
    first, second = b.apply("slice", (v,), ((0,), one, (1,))), b.apply("slice", (v,), ((1,), one, (1,)))
    rest = b.apply("slice", (z,), ((1,), one, (1,)))
    none = b.apply("equal", (second, b.const(0.0)))
    y = b.apply("where", (none, b.apply("mul", (first, rest)), b.apply("sub", (first, second))))
    found = diagonals(b, v, b.ref(b.broadcast(b.const(1.0), (n,))), y)
    assert found is not None
    tape = rebuild(b.tape((str(o), r.id) for o, r in found.items()), b.table)
    made = evaluate(tape, b.table, {"z": np.array([3.0, 5.0, 7.0])}, {"N": 3})
    assert {o: np.asarray(v).tolist() for o, v in made.items()} == {"0": [5.0, 7.0], "1": [-1.0, -1.0]}


def test_a_dense_hessian_is_one_product_of_matrices() -> None:
    model = gl.loads("A : [M, N]\nx : [N]\nf = logsumexp(A @ x) + sum(x**4)")
    tape = pipeline.plan(model.program, Goal("hessian", ("f",), ("x",), alone=True), model.program.language, "").tape
    products = [i.type.rank for i in tape.instrs if "matmul" in i.op]
    assert sorted(products) == [1, 2]  # A @ x, and what the diagonal is added to
    assert max(i.type.rank for i in tape.instrs) == 2


def test_exact_zeros_win_over_infinities_in_a_matrix_of_derivatives() -> None:
    """A row of weights that nothing passes has no part in any entry."""
    model = gl.loads("x : [N]\nA : [K, N]\nB : [D, K]\ny = B @ relu(A @ x)")
    A, B = np.array([[1.0, 2.0], [-np.inf, 1.0], [3.0, -1.0]]), np.array([[1.0, np.inf, 2.0], [0.5, 1.0, -1.0]])
    given = {"x": np.array([1.0, 0.5]), "A": A, "B": B}
    kept = [0, 2]
    for backend in ("numpy", "auto"):
        found = model.jacobian("y", "x", backend=backend)(given)
        assert np.allclose(found, B[:, kept] @ A[kept]), backend


def test_a_large_sparse_hessian() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    n = 100_000
    model = gl.loads(f"x : [N]\nf = {ROSENBROCK}")
    x = np.random.default_rng(3).uniform(-1, 1, n)
    found = model.hessian("f", "x", sparse=True)(x=x)
    diagonal = np.zeros(n)
    diagonal[:-1] += 1200 * x[:-1] ** 2 - 400 * x[1:] + 2
    diagonal[1:] += 200
    wanted = sparse.diags([-400 * x[:-1], diagonal, -400 * x[:-1]], [-1, 0, 1])
    assert found.format == "csr"
    assert found.shape == (n, n)
    assert found.nnz == 3 * n - 2
    assert abs(found - wanted).max() < 1e-9


def test_sparse_matrices_of_single_precision() -> None:
    pytest.importorskip("scipy")
    model = gl.loads(V + "y = x[1:]*x[:-1]", dtype="float32")
    found = model.jacobian("y", "x", sparse=True)(x=[1, 2, 3], z=[0, 0, 0])
    assert found.dtype == np.float32
    assert found.toarray().tolist() == [[2, 1, 0], [0, 3, 2]]


def test_a_sparse_matrix_is_by_one_name() -> None:
    model = gl.loads(V + "y = x*z")
    with pytest.raises(gl.InputError, match="G512"):
        model.jacobian("y", sparse=True)
    with pytest.raises(gl.InputError, match="G512"):
        model.jacobian("y", ["x"], sparse=True)


def test_sparse_matrices_by_definitions_and_scalars() -> None:
    pytest.importorskip("scipy")
    model = gl.loads("x : [N]\ninput a\nu = a*x\ny = u**2*a")
    given = {"x": [1.0, 2.0], "a": 3.0}
    assert model.jacobian("y", "u", sparse=True)(given).toarray().tolist() == [[18, 0], [0, 36]]
    assert model.jacobian("y", "a", sparse=True)(given).toarray().tolist() == [[27], [108]]


@pytest.mark.parametrize("formula", ["x*2", "cumsum(x)", "x[:, None]*x", "concat([x, x])"])
def test_no_entries(formula: str) -> None:
    pytest.importorskip("scipy")
    model = gl.loads(f"x : [N]\ny = {formula}")
    shape = np.shape(model.jacobian("y", "x")(x=np.zeros(0)))
    assert shape[-1] == 0
    assert model.jacobian("y", "x", sparse=True)(x=np.zeros(0)).shape == (0, 0)
