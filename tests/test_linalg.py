"""Linear algebra: values against NumPy, derivatives against differences and closed forms, and what has no answer."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradlang as gl
from gradlang import pipeline
from gradlang.ir.build import write
from gradlang.ir.evaluate import evaluate
from gradlang.ir.tape import Builder
from gradlang.ops.table import builtin
from gradlang.view.birth import births

STENCIL = ((1, 45), (2, -9), (3, 1))  # times 1/60: the central difference of sixth order
SIZES = {"N": 3, "M": 2, "K": 4}
A = np.array([[2.0, -1.0, 0.5], [0.25, 1.5, -1.0], [1.0, 0.75, -2.5]])
S = np.array([[4.0, 1.0, -0.5], [0.5, 3.0, 1.0], [0.25, -0.5, 2.5]])
DATA: dict[str, np.ndarray] = {
    "A : [N, N]": A,
    "S : [N, N]": S,
    "T : [M, N, N]": np.stack([A, S]),
    "P : [M, N, N]": np.stack([S, S.T @ S]),
    "b : [N]": np.array([1.0, -2.0, 0.5]),
    "B : [N, M]": np.array([[1.0, 0.5], [-2.0, 0.25], [0.5, 3.0]]),
    "C : [M, N, K]": np.sin(np.arange(24.0)).reshape(2, 3, 4),
    "R : [M, N]": np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]]),
    "s : []": np.array(1.5),
}
LEAF = {key[0]: key for key in DATA}


def sym(a: Any) -> Any:
    return (a + np.swapaxes(a, -1, -2)) / 2


def cholesky(a: Any) -> Any:
    return np.linalg.cholesky(sym(a))


def eigh(a: Any) -> tuple[Any, Any]:
    """NumPy's, with the signs that the language agrees upon."""
    w, v = np.linalg.eigh(sym(a))
    big = np.abs(v)
    first = np.argmax(big >= 0.7 * big.max(-2, keepdims=True), axis=-2)
    return w, v * np.sign(np.take_along_axis(v, first[..., None, :], -2))


def solve(a: Any, b: Any) -> Any:
    return np.linalg.solve(a, b[:, None])[..., 0] if b.ndim == 1 else np.linalg.solve(a, b)


def normal(y: Any, mu: Any, lower: Any) -> Any:
    d = np.atleast_2d(y - mu)
    z = np.linalg.solve(np.tril(lower), d.T)
    return -0.5 * np.sum(z * z) - len(d) * (np.sum(np.log(np.diag(lower))) + 1.5 * math.log(2 * math.pi))


# formula over the leaves above -> the same in NumPy, of the leaves in the order in which they stand in the second column
CASES: list[tuple[str, str, Callable[..., Any]]] = [
    ("det(A)", "A", np.linalg.det),
    ("det(T)", "T", np.linalg.det),
    ("logdet(S)", "S", lambda a: np.linalg.slogdet(a)[1]),
    ("logdet(P)", "P", lambda a: np.linalg.slogdet(a)[1]),
    ("slogdet(T)[1]", "T", lambda a: np.linalg.slogdet(a)[1]),
    ("slogdet(T)[0]*slogdet(T)[1]", "T", lambda a: np.prod(np.linalg.slogdet(a), axis=0)),
    ("inv(A)", "A", np.linalg.inv),
    ("inv(T)", "T", np.linalg.inv),
    ("solve(A, b)", "Ab", solve),
    ("solve(A, B)", "AB", solve),
    ("solve(a=T, b=C)", "TC", solve),
    ("solve(T, b)", "Tb", solve),
    ("solve(A, C)", "AC", solve),
    ("solve(T, B)", "TB", solve),
    ("solve(A, solve(A.T, b)) * s", "Abs", lambda a, b, s: s * np.linalg.solve(a, np.linalg.solve(a.T, b))),
    ("cholesky(S)", "S", cholesky),
    ("cholesky(P)", "P", cholesky),
    ("cholesky(A @ A.T + s*eye(N))", "As", lambda a, s: np.linalg.cholesky(a @ a.T + s * np.eye(3))),
    ("triangular_solve(A, b)", "Ab", lambda a, b: solve(np.tril(a), b)),
    ("triangular_solve(A, B, false)", "AB", lambda a, b: solve(np.triu(a), b)),
    ("triangular_solve(A, B, trans=true)", "AB", lambda a, b: solve(np.tril(a).T, b)),
    ("triangular_solve(L=A, b=b, lower=false, trans=true)", "Ab", lambda a, b: solve(np.triu(a).T, b)),
    ("triangular_solve(T, C)", "TC", lambda a, b: solve(np.tril(a), b)),
    ("triangular_solve(T, b)", "Tb", lambda a, b: solve(np.tril(a), b)),
    ("eigh(S)[0]", "S", lambda a: eigh(a)[0]),
    ("eigh(S)[1]", "S", lambda a: eigh(a)[1]),
    ("eigh(P)[0] + sum(eigh(P)[1]**3, axis=-2)", "P", lambda a: eigh(a)[0] + np.sum(eigh(a)[1] ** 3, -2)),
    ("trace(A)", "A", np.trace),
    ("trace(T[:, :, 0:2], 1)", "T", lambda a: np.trace(a[:, :, :2], 1)),
    ("trace(T, axis1=-2, axis2=-1)", "T", lambda a: np.trace(a, axis1=-2, axis2=-1)),
    ("trace(A, offset=-1)", "A", lambda a: np.trace(a, -1)),
    ("diag(A)", "A", np.diag),
    ("diag(A, k=1)", "A", lambda a: np.diag(a, 1)),
    ("diag(A, -2)", "A", lambda a: np.diag(a, -2)),
    ("diag(b)", "b", np.diag),
    ("diag(b, 2)", "b", lambda v: np.diag(v, 2)),
    ("diag(b, k=-1)", "b", lambda v: np.diag(v, -1)),
    ("diag(T)", "T", lambda a: np.diagonal(a, axis1=-2, axis2=-1)),
    ("tril(A)", "A", np.tril),
    ("tril(B, k=-1)", "B", lambda a: np.tril(a, -1)),
    ("triu(T)", "T", np.triu),
    ("triu(A, 1)", "A", lambda a: np.triu(a, 1)),
    ("kron(A, B)", "AB", np.kron),
    ("kron(b, B)", "bB", np.kron),
    ("kron(B, b)", "Bb", np.kron),
    ("kron(b, b)", "b", lambda v: np.kron(v, v)),
    ("kron(s, B)", "sB", np.kron),
    ("kron(C, B)", "CB", np.kron),
    ("cross(A, S)", "AS", np.cross),
    ("cross(b, A)", "bA", np.cross),
    ("cross([1, 2, 3], b)", "b", lambda v: np.cross([1.0, 2.0, 3.0], v)),
    ('norm(A, "fro")', "A", np.linalg.norm),
    ("norm(A, 1)", "A", lambda a: np.linalg.norm(a, 1)),
    ("norm(A, inf, keepdims=true)", "A", lambda a: np.linalg.norm(a, np.inf, keepdims=True)),
    ("norm(B, -1)", "B", lambda a: np.linalg.norm(a, -1)),
    ("norm(T, -inf, axis=[1, 2])", "T", lambda a: np.linalg.norm(a, -np.inf, axis=(1, 2))),
    ("norm(T, 1, axis=[2, 0])", "T", lambda a: np.linalg.norm(a, 1, axis=(2, 0))),
    ('norm(T, "fro", axis=[-1, -2])', "T", lambda a: np.linalg.norm(a, "fro", axis=(-1, -2))),
    ("block([[A, b[:, None]], [b, s]])", "Abs", lambda a, b, s: np.block([[a, b[:, None]], [b, s]])),
    ("block([b, s, b])", "bs", lambda b, s: np.block([b, s, b])),
    ("block([[b], [2*b]])", "b", lambda b: np.block([[b], [2 * b]])),
    ("block([[T, T]])", "T", lambda t: np.block([[t, t]])),
    ("outer(b, B)", "bB", np.outer),
    ("dot(A, b)", "Ab", np.dot),
    ("multi_normal_cholesky_lpdf(b, R[0], cholesky(S))", "bRS", lambda b, r, a: normal(b, r[0], cholesky(a))),
    ("multi_normal_cholesky_lpdf(R, b, cholesky(S))", "RbS", lambda r, b, a: normal(r, b, cholesky(a))),
    ("multi_normal_cholesky_lpdf(R, R*s, cholesky(S))", "RsS", lambda r, s, a: normal(r, r * s, cholesky(a))),
]
IDS = [formula for formula, _, _ in CASES]
POINTS = pytest.mark.parametrize(("formula", "names", "ref"), CASES, ids=IDS)


def fixed(text: str) -> str:
    for name, n in SIZES.items():
        text = text.replace(f"{name}]", f"{n}]").replace(f"{name},", f"{n},").replace(f"eye({name})", f"eye({n})")
    return text


def model(formula: str, names: str, head: str = "w*y") -> gl.Model:
    w = f"param w : {list(np.shape(value(formula, names)))} = ones()"
    leaves = "\n".join(f"input {LEAF[n]}" for n in names)
    return gl.loads(f"{fixed(leaves)}\ny = {fixed(formula)}\n{w}\nloss = sum({head})\n")


def given(names: str) -> dict[str, Any]:
    return {n: DATA[LEAF[n]] for n in names}


def value(formula: str, names: str) -> Any:
    (ref,) = [r for f, _, r in CASES if f == formula]
    return ref(*given(names).values())


def weights(shape: tuple[int, ...], k: int = 0) -> Any:
    return np.cos(1.7 * np.arange(math.prod(shape)) + k).reshape(shape) + 0.1


def differences(f: Callable[[float], Any], h: float = 2e-3) -> Any:
    return sum(c * (f(k * h) - f(-k * h)) for k, c in STENCIL) / (60 * h)


# Products of 3 entries, and a matrix of M rows and N columns: what a named size does not tell.
FIXED = ("cross(A, S)", "cross(b, A)", "cross([1, 2, 3], b)", "trace(T[:, :, 0:2], 1)")
BOTH = [pytest.param(*c, s, id=f"{c[0]}-{'symbolic' if s else 'fixed'}") for c in CASES for s in (True, False)[c[0] in FIXED :]]


@pytest.mark.parametrize(("formula", "names", "ref", "symbolic"), BOTH)
def test_value(formula: str, names: str, ref: Callable[..., Any], symbolic: bool) -> None:
    wanted = ref(*given(names).values())
    leaves = "\n".join(f"input {LEAF[n]}" for n in names)
    m = gl.loads(f"{leaves}\ny = {formula}") if symbolic else model(formula, names)
    got = m.function("y")(given(names))
    assert np.shape(got) == np.shape(wanted)
    np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-13)


@POINTS
def test_gradient(formula: str, names: str, ref: Callable[..., Any]) -> None:
    inputs = given(names)
    w = weights(np.shape(ref(*inputs.values())))
    got = model(formula, names).value_and_grad("loss", wrt=list(names))(inputs, w=w)[1]
    for n in names:
        wanted = np.zeros(np.shape(inputs[n]))
        for at in np.ndindex(wanted.shape):

            def along(t: float, n: str = n, at: tuple[int, ...] = at) -> Any:
                moved = np.array(inputs[n])
                moved[at] += t
                return np.sum(w * ref(*{**inputs, n: moved}.values()))

            wanted[at] = differences(along)
        np.testing.assert_allclose(got[n], wanted, rtol=1e-9, atol=1e-9)


@POINTS
def test_forward_is_reverse_and_second_order(formula: str, names: str, ref: Callable[..., Any]) -> None:
    inputs, wrt = given(names), list(names)
    shape = np.shape(ref(*inputs.values()))
    u, v = weights(shape), {n: weights(np.shape(inputs[n]), 1 + k) for k, n in enumerate(names)}
    m = model(formula, names, "w*sin(y)")
    push = m.jvp("y", wrt=wrt)(v, inputs)[1]
    pull = m.vjp("y", wrt=wrt)(u, inputs)[1]
    assert np.sum(u * push) == pytest.approx(sum(np.sum(pull[n] * v[n]) for n in wrt), rel=1e-11, abs=1e-12)
    curve = m.hvp("loss", wrt=wrt)(v, {**inputs, "w": u})[1]
    gradient = m.value_and_grad("loss", wrt=wrt)
    for n in wrt:

        def along(t: float, n: str = n) -> Any:
            return gradient({**{k: inputs[k] + t * v[k] for k in inputs}, "w": u})[1][n]

        np.testing.assert_allclose(curve[n], differences(along), rtol=1e-7, atol=1e-7 * (1 + np.abs(curve[n]).max()))


@POINTS
def test_reference_interpreter(formula: str, names: str, ref: Callable[..., Any]) -> None:
    program = model(formula, names).program
    b = Builder(builtin())
    at = write(program, [program.values["y"]], b)[program.values["y"]]
    tape, _ = pipeline.optimized(b.tape([("y", at)]), pipeline.standard(), lambda op: op.value is None)
    got = evaluate(tape, builtin(), given(names), {})["y"]
    np.testing.assert_allclose(np.asarray(got, float), ref(*given(names).values()), rtol=1e-12, atol=1e-13)


@POINTS
def test_gradient_file_means_the_same(formula: str, names: str, ref: Callable[..., Any]) -> None:
    m = model(formula, names)
    text = pipeline.gradient_file(m.program, pipeline.Goal("grad", ("loss",), (names[0],)), pipeline.standard(), "t.grad")
    w = weights(np.shape(ref(*given(names).values())))
    wanted = m.value_and_grad("loss", wrt=names[0])(given(names), w=w)[1][names[0]]
    again = gl.loads(text)
    values = {k: v for k, v in {**given(names), "w": w}.items() if k in {**again.inputs, **again.params}}
    np.testing.assert_allclose(again.function(f"d_loss_d_{names[0]}")(values), wanted, rtol=1e-13, atol=1e-14)


# ------------------------------------------------------------------ closed forms
def gradient(formula: str, **values: Any) -> Any:
    leaves = "\n".join(f"input {n} : {list(np.shape(v))}" for n, v in values.items())
    return gl.loads(f"{leaves}\ny = {formula}").value_and_grad("y", wrt=next(iter(values)))(values)[1][next(iter(values))]


def test_known_values() -> None:
    m = gl.loads(
        "const A = [[1, 2], [3, 4]]\nd = det(A)\ns, l = slogdet(-A)\nx = solve(A, [5, 11])\nt = trace(A)\n"
        "c = cholesky([[4, 2], [2, 5]])\nw, v = eigh([[2, 1], [1, 2]])\ni = inv(A)\noutput d, s, l, x, t, c, w, v, i"
    )
    out = m()
    assert out["d"] == pytest.approx(-2, rel=1e-15)
    assert (out["s"], out["t"]) == (-1, 5)
    assert out["l"] == pytest.approx(math.log(2), rel=1e-15)
    np.testing.assert_allclose(out["x"], [1, 2], rtol=1e-14)
    assert out["c"].tolist() == [[2, 0], [1, 2]]
    np.testing.assert_allclose(out["w"], [1, 3], rtol=1e-15)
    np.testing.assert_allclose(out["v"], np.array([[1, 1], [-1, 1]]) / math.sqrt(2), rtol=1e-15)
    np.testing.assert_allclose(out["i"], [[-2, 1], [1.5, -0.5]], rtol=1e-14)


def test_gradients_in_closed_form() -> None:
    np.testing.assert_allclose(gradient("logdet(S)", S=S), np.linalg.inv(S).T, rtol=1e-14)
    np.testing.assert_allclose(gradient("det(A)", A=A), np.linalg.det(A) * np.linalg.inv(A).T, rtol=1e-13)
    np.testing.assert_allclose(gradient("trace(inv(A))", A=A), -np.linalg.matrix_power(np.linalg.inv(A), 2).T, rtol=1e-13)
    np.testing.assert_array_equal(gradient("trace(A)", A=A), np.eye(3))
    np.testing.assert_allclose(gradient("sum(eigh(S)[0]**2)", S=S), 2 * sym(S), rtol=1e-13)


def test_gradients_of_symmetric_matrices_are_symmetric_and_agree() -> None:
    a = sym(S)
    half = gradient("2*sum(log(diag(cholesky(a))))", a=a)
    assert np.array_equal(half, half.T)
    np.testing.assert_allclose(half, np.linalg.inv(a), rtol=1e-13)
    np.testing.assert_allclose(gradient("sum(log(eigh(a)[0]))", a=a), np.linalg.inv(a), rtol=1e-13)
    np.testing.assert_allclose(gradient("logdet(a)", a=a), np.linalg.inv(a), rtol=1e-13)


def test_hessian_of_logdet() -> None:
    """d2 log det(S) [V, V] = -trace(S^-1 V S^-1 V)."""
    v, i = weights((3, 3)), np.linalg.inv(S)
    got = gl.loads("input S : [N, N]\ny = logdet(S)").hvp("y", wrt="S")(v, S=S)[1]
    np.testing.assert_allclose(got, -(i @ v @ i).T, rtol=1e-13)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_det_has_its_gradient_at_singular_matrices(n: int) -> None:
    """The cofactors of [[1, 2, 3], [4, 5, 6], [7, 8, 9]], of a matrix of rank 1, and of the number 0."""
    cases = {
        1: (np.zeros((1, 1)), [[1.0]]),
        2: (np.array([[1.0, 2.0], [2.0, 4.0]]), [[4.0, -2.0], [-2.0, 1.0]]),
        3: (np.arange(1.0, 10).reshape(3, 3), [[-3.0, 6, -3], [6, -12, 6], [-3, 6, -3]]),
    }
    a, wanted = cases[n]
    np.testing.assert_allclose(gradient("det(A)", A=a), wanted, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(gradient("det(A)", A=np.outer([1.0, 2, 3], [4.0, 5, 6])), np.zeros((3, 3)), atol=1e-13)


def test_equal_eigenvalues_leave_functions_of_the_eigenvalues_their_gradient() -> None:
    np.testing.assert_allclose(gradient("sum(eigh(a)[0]**3)", a=2 * np.eye(3)), 12 * np.eye(3), rtol=1e-15)
    assert np.all(np.isfinite(gradient("sum(eigh(a)[1]**2)", a=np.eye(3))))


def test_signs_of_eigenvectors_do_not_depend_on_rounding() -> None:
    path = gl.loads("w, v = eigh([[2, -1, 0], [-1, 2, -1], [0, -1, 2]])\noutput v").function("v")()
    np.testing.assert_allclose(path[:, 1] * math.sqrt(2), [1, 0, -1], atol=1e-14)
    np.testing.assert_allclose(path[:, 2] * 2, [1, -math.sqrt(2), 1], rtol=1e-14)


def test_normal_density_of_independent_entries() -> None:
    """With a diagonal factor, a sum of normal log densities: -log(s) - log(2 pi)/2 - ((y - m)/s)**2/2."""
    y, m, s = np.array([[1.0, 2], [0, -1], [3, 3]]), np.array([0.5, 1.0]), np.array([2.0, 0.25])
    got = gl.loads("y : [N, D]\nm : [D]\ns : [D]\nl = multi_normal_cholesky_lpdf(y, m, diag(s))")(y=y, m=m, s=s)
    wanted = np.sum(-np.log(s) - 0.5 * math.log(2 * math.pi) - 0.5 * ((y - m) / s) ** 2)
    assert got == pytest.approx(wanted, rel=1e-14)


# ------------------------------------------------------------------ what has no answer
SINGULAR = np.array([[1.0, 2, 0], [2, 4, 0], [0, 0, 1]])


@pytest.mark.parametrize(
    "formula", ["inv(a)", "solve(a, b)", "solve(a, a)", "cholesky(a - 3*eye(3))", "triangular_solve(a - 4*eye(3), b)"]
)
def test_no_answer_is_nan(formula: str) -> None:
    m = gl.loads(f"input a : [3, 3]\ninput b : [3]\ny = {formula}\nz = sum(y) + sum(b)*0")
    values = {"a": SINGULAR, "b": np.ones(3)}
    assert np.all(np.isnan(m.function("y")(values)))
    value, grads = m.value_and_grad("z", wrt="a")(values)
    assert math.isnan(value)
    assert np.all(np.isnan(grads["a"][np.tril_indices(3)]))
    b = Builder(builtin())
    at = write(m.program, [m.program.values["y"]], b)[m.program.values["y"]]
    tape, _ = pipeline.optimized(b.tape([("y", at)]), pipeline.standard(), lambda op: op.value is None)
    assert np.all(np.isnan(np.asarray(evaluate(tape, builtin(), values, {})["y"], float)))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("function", ["det", "logdet", "inv", "cholesky", "cofactor", "slogdet_packed", "eigh_packed"])
def test_matrices_that_are_not_finite_raise_nothing(function: str, bad: float) -> None:
    a = np.eye(3)
    a[1, 0] = bad
    m = gl.loads(f"input a : [N, N]\ny = {function}(a)\nz = sum(y)")
    for of in (m.function("y"), m.value_and_grad("z")):
        of(a=a)


def test_the_birth_of_a_nan_is_reported_with_the_sizes() -> None:
    (note,) = births(gl.loads("input a : [N, N]\ny = sum(inv(a))"), {"a": SINGULAR})
    assert note.message.startswith("`inv` of an array [3, 3] is nan at index [0, 0]")


def test_determinants_of_singular_matrices() -> None:
    m = gl.loads("input a : [N, N]\nd = det(a)\nl = logdet(a)\ns, t = slogdet(a)\noutput d, l, s, t")
    assert m(a=np.zeros((2, 2))) == {"d": 0, "l": -math.inf, "s": 0, "t": -math.inf}
    out = m(a=[[0, 1], [1, 0]])
    assert (out["d"], out["s"], out["t"]) == (-1, -1, 0)
    assert math.isnan(out["l"])


def test_logdet_does_not_overflow() -> None:
    n = 400
    value, grads = gl.loads("input a : [N, N]\ny = logdet(a)").value_and_grad("y")(a=1e5 * np.eye(n))
    assert value == pytest.approx(n * math.log(1e5), rel=1e-14)
    np.testing.assert_allclose(grads["a"], 1e-5 * np.eye(n), rtol=1e-14)


@pytest.mark.parametrize(
    ("formula", "ref"),
    [
        ("inv(a)", np.linalg.inv),
        ("cholesky(a)", np.linalg.cholesky),
        ("solve(a, ones([3, 2]))", lambda a: np.linalg.solve(a, np.ones((3, 2)))),
        ("triangular_solve(a, ones([3, 2]), false)", lambda a: np.linalg.solve(np.triu(a), np.ones((3, 2)))),
    ],
)
def test_in_a_batch_only_what_has_no_answer_is_nan(formula: str, ref: Callable[[Any], Any]) -> None:
    good = sym(S)
    none = np.array([[1.0, 2, 0], [2, 0, 0], [0, 0, 0]])
    a = np.stack([[good, none], [none, 2 * good]])
    m = gl.loads(f"input a : [2, 2, 3, 3]\ny = {formula}\nz = sum(where(y == y, y, 0))\n")
    y = m.function("y")(a=a)
    grads = m.value_and_grad("z")(a=a)[1]["a"]
    for k, there in {(0, 0): True, (0, 1): False, (1, 0): False, (1, 1): True}.items():
        if there:
            np.testing.assert_allclose(y[k], ref(a[k]), rtol=1e-13, atol=1e-15)
            assert np.all(np.isfinite(grads[k]))
        else:
            assert np.all(np.isnan(y[k]))


def test_substitution_is_accurate_where_elimination_is_not() -> None:
    """A triangle of condition 1e18: substitution keeps 14 digits of every entry."""
    n = 60
    low = np.tril(np.sin(3.0 + np.arange(n * n).reshape(n, n) ** 1.5)) + 0.1 * np.eye(n)
    exact = np.ones(n, np.longdouble)
    long = low.astype(np.longdouble)
    for i in range(n):
        exact[i] = (1 - long[i, :i] @ exact[:i]) / long[i, i]
    got = gl.loads("input L : [N, N]\nx = triangular_solve(L, ones(N))")(L=low)
    np.testing.assert_allclose(got, exact.astype(float), rtol=1e-11)


@pytest.mark.parametrize("n", [0, 1, 63, 64, 65, 130])
def test_sizes_of_triangular_systems(n: int) -> None:
    low = np.tril(weights((n, n))) / max(n, 1) + 2 * np.eye(n)
    f = gl.loads(
        "input L : [N, N]\ninput b : [N]\nx = triangular_solve(L, b)\ny = triangular_solve(L, b, trans=true)\noutput x, y"
    )
    out = f(L=low + np.triu(np.full((n, n), np.nan), 1), b=np.ones(n))
    np.testing.assert_allclose(low @ out["x"], np.ones(n), rtol=1e-13)
    np.testing.assert_allclose(low.T @ out["y"], np.ones(n), rtol=1e-13)


@pytest.mark.parametrize("function", ["inv", "cholesky", "cofactor", "eigh_packed", "det", "diag", "trace", "logdet"])
def test_matrices_without_entries(function: str) -> None:
    m = gl.loads(f"input a : [N, N]\ny = {function}(a)\nz = sum(y)")
    assert m.value_and_grad("z")(a=np.zeros((0, 0)))[1]["a"].shape == (0, 0)


# ------------------------------------------------------------------ exact zeros, kinds, names, precision
def test_zeros_beside_a_diagonal_and_a_triangle_are_exact() -> None:
    with np.errstate(all="raise"):
        m = gl.loads("input v : [N]\nD = diag(v)\nT = tril(outer(v, v))\noutput D, T")
        out = m(v=[math.inf, 1.0])
    assert out["D"].tolist() == [[math.inf, 0], [0, 1]]
    assert out["T"].tolist() == [[math.inf, 0], [math.inf, 1]]


def test_what_a_triangle_leaves_out_contributes_nothing() -> None:
    a = np.array([[1.0, 0.0], [2.0, 4.0]])
    assert gradient("sum(tril(log(a)))", a=a).tolist() == [[1, 0], [0.5, 0.25]]
    assert gradient("sum(diag(log(a)))", a=np.array([[1.0, 0], [0, 4]])).tolist() == [[1, 0], [0, 0.25]]


def test_whole_numbers_and_masks_keep_their_kind() -> None:
    m = gl.loads("input i : int[3, 3]\na = tril(i)\nb = diag(i)\nc = diag(b)\nd = triu(i > 2)\noutput a, b, c, d")
    out = m(i=np.arange(9).reshape(3, 3))
    assert [out[k].dtype.kind for k in "abcd"] == ["i", "i", "i", "b"]
    assert out["c"].tolist() == [[0, 0, 0], [0, 4, 0], [0, 0, 8]]


def test_names_of_functions_and_helpers_are_free() -> None:
    f = gl.loads("det = 2\ninv = 3\nsolve = 4\nor_nan = 5\nA : [2, 2]\ny = sum(solve(A, [1, 1]))*det*inv*or_nan*solve")
    assert f(A=np.eye(2)) == 240


def test_single_precision() -> None:
    text = "input A : [N, N]\ninput b : [N]\ny = sum(solve(A, b)) + logdet(A) + sum(cholesky(A)) + sum(eigh(A)[0]) + det(A)"
    double, single = (
        gl.Model(gl.loads(text).program, dtype=d).value_and_grad("y")(A=sym(S), b=np.ones(3))[1]["A"]
        for d in ("float64", "float32")
    )
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, double, rtol=1e-4)


def test_results_are_nobody_elses() -> None:
    m = gl.loads("input a : [N, N]\nd = diag(a)\nt = tril(a, k=5)\noutput d, t")
    a = np.eye(2)
    out = m(a=a)
    out["d"][0] = out["t"][0, 0] = 7
    assert a.tolist() == [[1, 0], [0, 1]]


def test_generated_modules_need_numpy_only() -> None:
    m = gl.loads(
        "input S : [N, N]\ninput b : [N]\nL = cholesky(S)\nw, v = eigh(S)\ny = sum(triangular_solve(L, b)) + det(S)*w[0]"
    )
    f = m.value_and_grad("y")
    assert "gradlang" not in f.source.split("\n", 1)[1]
    assert "scipy" not in f.source
    value, grads = f(S=S, b=np.ones(3))
    assert math.isfinite(value)
    assert np.all(np.isfinite(grads["S"]))
