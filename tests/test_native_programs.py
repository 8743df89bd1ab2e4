"""Array programs as machine code against the same programs in NumPy, and what lies around the code: sizes, faults, threads.

Both add in another order, so that results differ by rounding: each is compared in eps of the largest entry of all results of its
call, or of 1 if that is larger.
"""

from __future__ import annotations

import pickle
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_arrays
import test_comprehensions
import test_examples
import test_random_language
import test_random_loops
import test_recurrences
from hypothesis import given, settings
from hypothesis import strategies as st
from ulps import same_text_within_ulps

import gradlang as gl
from gradlang.cli.main import main
from gradlang.runtime.native import NativeError, available, program
from gradlang.runtime.sizes import MOST

WHY = available()
pytestmark = pytest.mark.skipif(WHY is not None, reason=str(WHY))
EPS = 200
RNG = np.random.default_rng(30)
X = np.array([0.7, -1.2, 1.9, 0.4, -0.6, 1.1, 0.3])
P = np.array([3, 1, 6, 0, 2, 2, 5])
TAKE = "x : [N]\np : int[N]\ny = sum(x[p[i]]**2 for i in range(N))"
LOOP = "x : [N]\nh[0] = x[0]\nh[t] = 0.5*h[t-1] + sin(x[t]) for t in range(1, N)\ny = sum(h)"


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADLANG_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def leaves(tree: Any) -> list[Any]:
    """The numbers and arrays of a result."""
    parts = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, tuple) else None
    return [tree] if parts is None else [leaf for part in parts for leaf in leaves(part)]


def size(values: list[Any]) -> float:
    entries = np.concatenate([np.abs(np.ravel(v)).astype(float) for v in values])
    return float(np.max(entries[np.isfinite(entries)], initial=1.0))


def same(got: Any, wanted: Any, eps: float = EPS * 2.0**-52) -> None:
    """Asserts that two results are of the same kinds and shapes, and equal but for rounding; nan and infinities are equal."""
    found, kept = leaves(got), leaves(wanted)
    assert len(found) == len(kept)
    scale = size(kept)
    for a, b in zip(found, kept, strict=True):
        assert type(a) is type(b)
        assert np.shape(a) == np.shape(b)
        if np.asarray(b).dtype.kind != "f":
            assert np.array_equal(a, b), (a, b)
            continue
        np.testing.assert_allclose(a, b, rtol=0, atol=eps * scale, equal_nan=True)
        if isinstance(a, np.ndarray):
            assert a.flags.c_contiguous and a.flags.writeable and a.flags.owndata


def both(
    text: str, given: dict[str, Any], goal: str = "value_and_grad", *vectors: Any, dtype: str = "float64", **of: Any
) -> Any:
    """The result of machine code, which is compared with that of NumPy."""
    model = gl.loads(text, dtype=dtype)
    native, wanted = (getattr(model, goal)(backend=b, **of) for b in ("native", "numpy"))
    found = native(*vectors, **given)
    same(found, wanted(*vectors, **given), EPS * float(np.finfo(dtype).eps))
    made = getattr(native, "compiled", native)
    short = any(n < 1 for v in given.values() for n in np.shape(v))  # then an axis of N - 1 is not one
    assert made.backend == "native" or made.job.scalar or short
    return found


# ------------------------------------------------------------------ programs of other files
def every(step: int, cases: list[Any]) -> list[Any]:
    return cases[::step]


@pytest.mark.parametrize("path", test_examples.PATHS, ids=test_examples.NAMES)
def test_examples_print_the_same(path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(test_examples.FOLDER)
    made = test_examples.shown("run", path, [*test_examples.arguments(path), "--backend", "native"], capsys)
    kept = path.with_suffix(".out").read_text(encoding="utf-8")
    assert made == kept or same_text_within_ulps(kept, made, 16), made


LOOPS = every(7, test_comprehensions.CASES) + every(3, test_recurrences.CASES)


@pytest.mark.parametrize(("text", "values"), [(c[1], c[3]) for c in LOOPS], ids=[c[0] for c in LOOPS])
def test_loops(text: str, values: dict[str, Any]) -> None:
    value = both(text, values, "function", of="y")
    both(text, values, "function", of="y", dtype="float32")
    names = [n for n, v in values.items() if np.asarray(v).dtype.kind == "f"]
    if names and np.asarray(value).dtype.kind == "f":
        rng = np.random.default_rng(3)
        both(text, values, "vjp", rng.uniform(-1, 1, np.shape(value)), of="y", wrt=names)
        along = {n: rng.uniform(-1, 1, np.shape(values[n])) for n in names}
        total = f"{text}\ntotal_ = sum(sin(y))\n" if np.shape(value) else f"{text}\ntotal_ = sin(y)\n"
        both(total, values, "hvp", along, of="total_", wrt=names)


ARRAYS = every(11, test_arrays.CASES)


@pytest.mark.parametrize("case", ARRAYS, ids=repr)
def test_arrays_and_their_derivatives(case: test_arrays.Case) -> None:
    values = test_arrays.data(case)
    model = test_arrays.program(case.inputs, case.formula, True, "sin")
    plain = test_arrays.program(case.inputs, case.formula, True, "").function("y", backend="numpy")
    values["w"] = test_arrays.weights(np.shape(plain(values)))
    for goal, of in (("function", "y"), ("value_and_grad", "loss")):
        found, wanted = (getattr(model, goal)(of, backend=b)(values) for b in ("native", "numpy"))
        same(found, wanted)


@pytest.mark.parametrize("length", [5, 300])
@given(text=st.one_of(test_random_loops.comprehensions(), test_random_loops.recurrences()), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=5, **test_random_loops.QUIET)
def test_random_loops_of_any_length(text: test_random_loops.Text, seed: int, length: int) -> None:
    rng = np.random.default_rng(seed)
    at = {"x": rng.uniform(-1, 1, length), "z": rng.uniform(-1, 1, length), "A": rng.uniform(-1, 1, (length, 3)), "a": 0.3}
    model = gl.loads(text.program() + "\n", "random")
    values = {n: v for n, v in {**at, "p": rng.integers(0, length, length)}.items() if n in model.inputs}
    along = {n: rng.uniform(-1, 1, np.shape(v)) for n, v in at.items()}
    found, wanted = (model.jvp("y", wrt=[*at], backend=b)(along, values) for b in ("native", "numpy"))
    same(found, wanted)
    u = rng.uniform(-1, 1, np.shape(wanted[0]))
    same(*(model.vjp("y", wrt=[*at], backend=b)(u, values) for b in ("native", "numpy")))


@given(text=test_random_language.programs, seed=st.integers(0, 2**32 - 1))
@settings(max_examples=5, **test_random_loops.QUIET)
def test_random_programs(text: str, seed: int) -> None:
    model, at = gl.loads(text), test_random_language.point(seed)
    names = list(test_random_language.LEAVES)
    values = {n: v for n, v in at.items() if n in model.inputs}
    same(*(model.value_and_grad("y", wrt=names, backend=b)(values) for b in ("native", "numpy")))


# ------------------------------------------------------------------ indices
@pytest.mark.parametrize("bad", [7, -8, 10**6, -(10**12)])
def test_an_index_outside_is_the_error_of_numpy(bad: int) -> None:
    model = gl.loads(TAKE)
    native = model.value_and_grad(backend="native")
    wrong = P.copy()
    wrong[3] = bad
    for _ in range(2):
        with pytest.raises(gl.InputError) as numpys:
            model.value_and_grad(backend="numpy")(x=X, p=wrong)
        with pytest.raises(gl.InputError) as error:
            native(x=X, p=wrong)
        assert str(error.value) == str(numpys.value)
        same(native(x=X, p=P), model.value_and_grad(backend="numpy")(x=X, p=P))


def test_negative_indices_count_from_the_end() -> None:
    both(TAKE, {"x": X, "p": np.array([-7, -1, 6, 0, -2, -2, 5])})


def test_an_entry_that_is_not_earlier_is_the_error_of_numpy() -> None:
    text = "x : [N]\np : int[N]\nh[0] = x[0]\nh[t] = 0.5*h[p[t]] + x[t] for t in range(1, N)\ny = sum(h)"
    both(text, {"x": X, "p": np.array([0, 0, 1, 0, 2, 3, 1])})
    for b in ("native", "numpy"):
        with pytest.raises(gl.InputError, match="G506"):
            gl.loads(text).value_and_grad(backend=b)(x=X, p=np.array([0, 0, 1, 0, 2, 5, 1]))


# ------------------------------------------------------------------ sizes
@pytest.mark.parametrize("n", [1, 2, 3, 7, 127, 128, 255, 256, 257, 300])
@pytest.mark.parametrize(
    "text",
    [
        "x : [N]\ny = sum(log(1 + exp(-x[i]*sum(x[i]*x[k] for k in range(3)))) for i in range(N))".replace(
            "range(3)", "range(N)"
        ),
        LOOP,
        "x : [N]\nz = x - mean(x)\ny = sum(exp(z)) + max(z) + sum(z[i]*x[N-1-i] for i in range(N))",
    ],
    ids=["pairs", "recurrence", "centred"],
)
def test_lengths(text: str, n: int) -> None:
    both(text, {"x": RNG.uniform(-1, 1, n)})


@pytest.mark.parametrize("text", ["y = sum(x)", "y = [x[i]**2 for i in range(N)]", "y = sum(x[i]*x[i+1] for i in range(N-1))"])
def test_arrays_without_entries(text: str) -> None:
    model = gl.loads("x : [N]\n" + text)
    native = model.function(backend="native")
    for n in (0, 1, 3, 0):
        try:
            wanted = model.function(backend="numpy")(x=X[:n])
        except gl.InputError as error:
            with pytest.raises(gl.InputError) as found:
                native(x=X[:n])
            assert str(found.value) == str(error)
            continue
        same(native(x=X[:n]), wanted)
        assert native.backend == ("native" if n or "N-1" not in text else "numpy")  # what has -1 entries is NumPy's


ENTRIES = ["A[0, 0]", "A[-1, 0]", "sum(A[0])", "sum(A[i, 0]*A[0, i] for i in range(3))", "sum(max(A, axis=0))"]
ENTRIES += ["sum(avg_pool2d(reshape(A, [1, 1, N, M]), 1))"]


@pytest.mark.parametrize("entry", [*ENTRIES, "sum(softmax(A, axis=1))", "sum((A @ A.T)[p])"])
def test_the_first_entry_of_nothing_is_the_error_of_numpy(entry: str) -> None:
    model = gl.loads(f"A : [N, M]\ninput p : int[2] = [0, 0]\ny = 2*{entry}")
    native = model.value_and_grad(backend="native")
    for shape in ((0, 3), (3, 3), (0, 0), (3, 0)):
        try:
            wanted = model.value_and_grad(backend="numpy")(A=np.ones(shape))
        except gl.InputError as error:
            with pytest.raises(gl.InputError) as found:
                native(A=np.ones(shape))
            assert str(found.value) == str(error)
            continue
        same(native(A=np.ones(shape)), wanted)


def test_versions_of_many_sizes_come_and_go() -> None:
    f = gl.loads("x : [N]\ny = sum(x*x)").function(backend="native")
    for n in range(1, 2 * MOST):
        assert f(x=np.ones(n)) == n
    assert len(f.raw.versions.kept) == MOST
    assert f(x=np.ones(1)) == 1


# ------------------------------------------------------------------ arguments and results
def strided(x: Any) -> Any:
    return np.repeat(x, 2)[::2]


def backward(x: Any) -> Any:
    return x[::-1].copy()[::-1]


def unaligned(x: Any) -> Any:
    return np.ndarray(x.shape, x.dtype, bytearray(b"." + x.tobytes()), 1)


def locked(x: Any) -> Any:
    made = x.copy()
    made.flags.writeable = False
    return made


def swapped(x: Any) -> Any:
    return x.astype(x.dtype.newbyteorder())


@pytest.mark.parametrize(
    "way", [strided, backward, unaligned, locked, swapped, list, lambda x: x.astype(np.float32).astype(object)]
)
def test_arrays_of_every_make(way: Any) -> None:
    model = gl.loads("x : [N]\nz : [N]\ny = sum(x*z)")
    given = {"x": way(X), "z": way(X)}
    try:
        wanted = model.value_and_grad(backend="numpy")(given)
    except gl.InputError as error:
        with pytest.raises(gl.InputError) as found:
            model.value_and_grad(backend="native")(given)
        assert str(found.value) == str(error)
        return
    native = model.value_and_grad(backend="native")
    for _ in range(2):
        same(native(given), wanted)
    if isinstance(given["x"], np.ndarray):
        assert np.array_equal(given["x"], way(X))


def test_columns_of_a_matrix_in_any_order() -> None:
    a = RNG.uniform(-1, 1, (4, 6))
    for view in (a.T, a[::2], a[:, ::-1], np.asfortranarray(a)):
        both("A : [N, M]\ny = sum(sin(A) * A)", {"A": view})


def test_results_are_the_callers_own() -> None:
    """No result shares memory with an argument, another result, a constant or a result of another call."""
    text = (
        "x : [N]\nA : [N, M]\nc = [1.0, 2.0]\nk = [i for i in range(N)]\nu = x*2\nv = u\nw = x\nt = A.T\ns = sort(x)\nr = s\n"
    )
    text += "output c, k, u, v, w, t, s, r"
    given = {"x": X, "A": np.ones((7, 1))}
    both(text, given, "function")
    f = gl.loads(text).function(backend="native")
    first = f(given)
    arrays = [*given.values(), *first.values(), *f(given).values()]
    for k, a in enumerate(arrays):
        assert not any(np.shares_memory(a, b) for b in arrays[:k])
    kept = {n: v.copy() for n, v in first.items()}
    for v in first.values():
        v += 1
    same(f(given), kept)


def test_one_array_for_two_arguments() -> None:
    both("x : [N]\nz : [N]\ny = sum(x*z + sin(x))", {"x": X, "z": X})
    both("x : [N]\ny = x*x", {"x": X}, "vjp", X, wrt="x")
    both("x : [N]\ny = x*1", {"x": X}, "vjp", X, wrt="x")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_single_numbers_of_every_kind(dtype: str) -> None:
    text = (
        "x : [N]\ninput a = 0.1\nk : int\nb : bool\ny = where(b, x*a, x / a)\nz = sum(y)*k\nw = x[k]\nq = k // 2\nc = z > 0\n"
    )
    text += "n = N\nd = 2.5\noutput y, z, w, q, c, n, d"
    for k, b in ((3, True), (np.int64(-1), np.False_), (np.int32(2), 1)):
        both(text, {"x": X, "k": k, "b": b}, "function", dtype=dtype)
        both(text, {"x": X, "k": k, "b": b, "a": np.float32(0.7)}, "function", dtype=dtype)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_numbers_between_loops_and_numpy(dtype: str) -> None:
    """A determinant, an index and a truth value come from NumPy and go into loops."""
    a = RNG.uniform(-1, 1, (4, 4)) + 3 * np.eye(4)
    text = "A : [N, N]\nx : [N]\ns = sort(x)\nk = argmax(x)\ny = sum(where(det(A) > 0, x, 2*x)*s)*logdet(A @ A.T) + x[k]*s[0]"
    both(text, {"A": a, "x": X[:4]}, of="y", wrt=["A", "x"], dtype=dtype)


def test_whole_numbers() -> None:
    text = "p : int[N]\nq : int[N]\ny = p % q\nw = p // q\nm = max(p)\ns = sum(p*q)\nb = [p[i] > q[i] for i in range(N)]\n"
    both(text + "output y, w, m, s, b", {"p": P - 3, "q": P[::-1].copy() - 2}, "function")


# ------------------------------------------------------------------ nan, infinities, exact zeros
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_nan_and_infinities(dtype: str) -> None:
    parts = "max(x) min(x) sum(x) argmax(x) maximum(x,0) minimum(x,0.5) where(x>0,x,0) sign(x) round(3*x) floor(x) sqrt(x)"
    parts += " log(x) exp(x) tanh(x) sigmoid(x) relu(x) x**3 x%0.7 x//0.7 clip(x,-1,1) logsumexp(x) softmax(x) abs(x) sin(x)"
    lines = [f"v{k} = {part}" for k, part in enumerate(parts.split())]
    text = "\n".join(["x : [N]", *lines, "output " + ", ".join(f"v{k}" for k in range(len(lines)))])
    model = gl.loads(text, dtype=dtype)
    native, wanted = (model.function(backend=b) for b in ("native", "numpy"))
    for special in ([np.nan], [np.inf, -np.inf], [0.0, -0.0], [1e30, 1e-30]):
        x = np.array([0.5, -1.5, *special, 2.5])
        found, kept = native(x=x), wanted(x=x)
        for n in kept:
            same(found[n], kept[n], EPS * float(np.finfo(dtype).eps))


@pytest.mark.parametrize(
    "text",
    [
        "x : [N]\ny = sum(log(x[i]) if x[i] > 0 else 0 for i in range(N))",
        "x : [N]\ny = sum(where(x == 0, 1, sin(x)/x))",
        "x : [N]\ny = sum(where(x > 0, sqrt(x), 2*x))",
        "x : [N]\ny = prod(x)",
        "x : [N]\ny = max(x) + norm(x)",
    ],
)
def test_what_is_not_chosen_adds_nothing(text: str) -> None:
    x = np.array([0.0, -1.0, 2.0, 0.0, 3.0])
    both(text, {"x": x})
    both(text, {"x": x}, "hessian", wrt="x")


def test_sums_of_large_products_do_not_overflow() -> None:
    """A common factor stays where it is: the sum without it has no finite value."""
    for n in (2, 3, 8, 50):
        both("x : [N]\ninput a\ny = sum(x*a)", {"x": np.full(n, 1e308), "a": 1e-10}, "function")
    both("x : [N]\ny = sum(x*1e39)", {"x": np.array([1.0, -1.0, 2.0])}, "function", dtype="float32")


@pytest.mark.parametrize(("dtype", "large"), [("float64", 1e9), ("float32", 1e5)])
def test_large_arguments_of_sin_are_for_numpy(dtype: str, large: float) -> None:
    """The functions of loops hold their promise up to a limit."""
    f = gl.loads("x : [N]\ny = sum(sin(x))", dtype=dtype)
    native, wanted = (f.value_and_grad(backend=b) for b in ("native", "numpy"))
    for x in (X, X * large, np.array([np.inf, 1.0]), X):
        same(native(x=x), wanted(x=x), EPS * float(np.finfo(dtype).eps))


# ------------------------------------------------------------------ goals
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_large_quotients_are_for_numpy(dtype: str) -> None:
    """A remainder is smaller than its divisor however large the quotient is."""
    top = float(np.finfo(dtype).max) / 2
    x = np.array([1.5, -top, top, np.inf, -np.inf, np.nan, 1e30, 3.0])
    b = np.array([0.7, 0.7, -0.3, 0.7, 0.0, 0.7, np.inf, 0.0])
    for text in ("y = x % b", "y = x // b", "y = sum((x % 0.7)**2 for i in range(1))", "y = sum(x[i] % 0.7 for i in range(3))"):
        both(f"x, b : [N]\n{text}", {"x": x, "b": b}, "function", dtype=dtype)
    remainder = gl.loads("x, b : [N]\ny = x % b", dtype=dtype).function(backend="native")
    assert np.all(np.abs(remainder(x=x[:3], b=b[:3])) <= 0.7)


def test_goals() -> None:
    text = "x : [N]\ninput a\ny = sum(x)**2 * sum(sin(a*x))\nz = [x[i]**2*x[i+1]*a for i in range(N-1)]"
    given = {"x": X, "a": 0.3}
    both(text, given, of="y")
    both(text, given, "hvp", {"x": X, "a": 1.0}, of="y")
    both(text, given, "jvp", {"x": X, "a": 1.0}, of="z")
    both(text, given, "vjp", X[1:], of="z", wrt="x")
    both(text, given, "jacobian", of="z", wrt="x")
    both(text, given, "hessian", of="y")


def test_sparse_matrices() -> None:
    pytest.importorskip("scipy")
    model = gl.loads("x : [N]\ny = [x[i]**2*x[i+1] for i in range(N-1)]")
    found, wanted = (model.jacobian("y", wrt="x", sparse=True, backend=b)(x=X).toarray() for b in ("native", "numpy"))
    same(found, wanted)


# ------------------------------------------------------------------ processes and threads
def test_pickled_functions_are_native_again() -> None:
    f = gl.loads(LOOP).value_and_grad(backend="native")
    wanted = f(x=X)
    again = pickle.loads(pickle.dumps(f))
    same(again(x=X), wanted)
    assert again.backend == "native"


@pytest.mark.parametrize("name", ["run_k0", "run_k1", "room", "pool", "again", "empty", "flag", "numbers_real"])
def test_inputs_may_be_called_like_parts_of_the_driver(name: str) -> None:
    f = gl.loads(f"input {name} : [N]\ny = sum(sin({name})*{name}) + max(cumsum({name}))").value_and_grad(backend="native")
    wanted = gl.loads("x : [N]\ny = sum(sin(x)*x) + max(cumsum(x))").value_and_grad(backend="native")(x=X)
    for _ in range(3):
        value, slopes = f({name: X})
        same((value, {"x": slopes[name]}), wanted)


def test_threads_share_a_function() -> None:
    """Also while versions for new sizes are made."""
    text = "x : [N]\ns = sort(x)\nz = exp(s - max(s))\ny = sum(z*x)*sum(s*s)"
    f = gl.loads(text).value_and_grad(backend="native")
    data = [np.random.default_rng(k).uniform(-1, 1, 40 + k % 3) for k in range(6)]
    wanted = [gl.loads(text).value_and_grad(backend="numpy")(x=x) for x in data]
    failed: list[BaseException] = []
    start = threading.Barrier(len(data))

    def work(k: int) -> None:
        try:
            start.wait()
            for _ in range(200):
                same(f(x=data[k]), wanted[k])
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(len(data))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failed


def test_errors_inside_numpy_leave_the_function_whole() -> None:
    text = "A : [N, N]\nb : [N]\nx = solve(A, b)\nL = cholesky(A)\ny = sum(x*b) + sum(L)"
    model = gl.loads(text)
    native, wanted = (model.value_and_grad("y", backend=b) for b in ("native", "numpy"))
    good = {"A": np.eye(3) + 0.1, "b": X[:3]}
    same(native(good), wanted(good))
    for bad in (np.zeros((3, 3)), -np.eye(3)):
        outcome = []
        for f in (native, wanted):
            try:
                outcome.append(f(A=bad, b=X[:3]))
            except gl.InputError as error:
                outcome.append(str(error))
        assert type(outcome[0]) is type(outcome[1])
        if isinstance(outcome[0], str):
            assert outcome[0] == outcome[1]
        else:
            same(*outcome)
    same(native(good), wanted(good))


# ------------------------------------------------------------------ where there is no machine code
def test_a_machine_that_refuses_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    why = "this system does not let programs run code that they have written"
    monkeypatch.setattr(program, "available", lambda: why)
    monkeypatch.setattr(program, "pays", lambda *given: True)
    program.note.cache_clear()
    f = gl.loads(LOOP).value_and_grad()
    with pytest.warns(RuntimeWarning, match=why) as told:
        f(x=X)
        f(x=X[:3])
        gl.loads(TAKE).value_and_grad()(x=X, p=P)
    assert len(told) == 1
    assert f.backend == "numpy"


def test_code_that_cannot_be_made_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless machine code is asked for by name."""

    def fails(text: str, names: list[str]) -> None:
        raise NativeError("machine code cannot be loaded: no room")

    monkeypatch.setattr(program, "load", fails)
    monkeypatch.setattr(program, "pays", lambda *given: True)
    program.note.cache_clear()
    model = gl.loads(LOOP)
    with pytest.warns(RuntimeWarning, match="no room"):
        same(model.value_and_grad()(x=X), model.value_and_grad(backend="numpy")(x=X))
    with pytest.raises(gl.InputError, match=r"G511.*no room") as error:
        model.value_and_grad(backend="native")(x=X)
    assert 'backend="numpy"' in error.value.diagnostics[0].help


def test_numbers_whose_code_cannot_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: object, text: str, level: int) -> bytes:
        raise NativeError("LLVM does not accept the text: no room")

    monkeypatch.setenv("GRADLANG_CACHE", "off")
    monkeypatch.setattr("gradlang.runtime.native.engine.Engine.compile", fails)
    with pytest.raises(gl.InputError, match=r"G511.*no room"):
        gl.loads("x = 2\ny = x*x").value_and_grad(backend="native")


def test_the_terminal_shows_the_refusal_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(program, "available", lambda: "no memory for code")
    monkeypatch.setattr(program, "pays", lambda *given: True)
    program.note.cache_clear()
    (tmp_path / "sum.grad").write_text("x : [N]\ny = sum(x*x)\n")
    assert main(["run", str(tmp_path / "sum.grad"), "x=[1,2]"]) == 0
    assert capsys.readouterr().err == "warning: NumPy runs instead of machine code: no memory for code\n"


def test_native_by_name_says_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradlang.runtime.native.available", lambda: "no memory for code")
    with pytest.raises(gl.InputError, match="no memory for code") as error:
        gl.loads(LOOP).value_and_grad(backend="native")
    assert "pip install" not in str(error.value)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert gl.loads(LOOP).value_and_grad(backend="numpy")(x=X)[0] == pytest.approx(gl.loads(LOOP).function()(x=X))


PRODUCTS = """input X : [N, D]
input W : [D, H]
input c : [H]
z = relu(X@W + c)
loss = sum(z*z*0.5)
"""


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("shape", [(300, 110, 20), (300, 256, 20), (40, 110, 30), (30, 20, 70)])
@pytest.mark.parametrize("cores", [1, 64])
def test_products_into_memory_and_turned_over(
    shape: tuple[int, int, int], dtype: str, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gradient of a weight matrix, whichever way its product is made; exact zeros win over what is not finite."""
    monkeypatch.setattr(program, "library_threads", lambda: cores)
    n, d, h = shape
    model = gl.loads(PRODUCTS, dtype=dtype)
    f, g = (model.value_and_grad(wrt=["W", "c"], backend=b) for b in ("native", "numpy"))
    r = np.random.default_rng(1)
    X, W, c = (r.normal(size=s).astype(dtype) for s in ((n, d), (d, h), h))
    tolerance = {"rtol": 1e-11, "atol": 1e-10} if dtype == "float64" else {"rtol": 1e-3, "atol": 1e-3}

    def agree(X: Any) -> dict[str, Any]:
        (value, slopes), (wanted, others) = f(X=X, W=W, c=c), g(X=X, W=W, c=c)
        np.testing.assert_allclose(value, wanted, **tolerance)
        for name, slope in others.items():
            assert slopes[name].flags.carray
            np.testing.assert_allclose(slopes[name], slope, **tolerance)
        out = {name: np.empty_like(slope) for name, slope in others.items()}
        f(X=X, W=W, c=c, out=out)
        for name, slope in slopes.items():
            np.testing.assert_array_equal(out[name], slope)
        return dict(slopes)

    agree(X)
    assert f.backend == "native"
    turned = "_turned" in f.raw.last.driver.source  # type: ignore[attr-defined]
    assert turned == (dtype == "float64" and shape == (300, 110, 20) and cores > 1)
    W[3] = 1.0
    dark = X.copy()
    dark[:, 3] = -np.inf  # no unit is lit in any row
    slopes = agree(dark)
    assert not slopes["c"].any() and not slopes["W"].any()
    dark[n // 2] = X[0]
    slopes = agree(dark)
    assert np.isfinite(slopes["W"]).all() and slopes["c"].any()
    dark[n // 2, 5] = np.inf * np.sign(W[5, 2])
    assert not np.isfinite(agree(dark)["W"]).all()


STEPS = "W : [3, 3]\nU : [3]\nx : [T]\nh0 : [3]\n"
SEQUENCES = {
    "one step back": "h[0] = h0\nh[t] = tanh(W @ h[t-1] + U*x[t-1]) for t in range(1, T+1)\nf = sum(h[T]**2)",
    "used all along": "h[0] = h0\nh[t] = tanh(W @ h[t-1] + U*x[t-1]) for t in range(1, T+1)\nf = sum(h**2)",
    "used in the middle": "h[0] = h0\nh[t] = tanh(W @ h[t-1] + U*x[t-1]) for t in range(1, T+1)\nf = sum(h[T]**2) + h[T-1, 0]",
    "two steps back": "h[0] = h0\nh[1] = 2*h0\nh[t] = sin(W @ h[t-2])*x[t-2] for t in range(2, T+2)\nf = sum(h[T+1]*U)",
    "one and two": "h[0] = h0\nh[1] = 2*h0\nh[t] = sin(W @ h[t-2])*x[t-2] + h[t-1] for t in range(2, T+2)\nf = sum(h[T+1]*U)",
    "rows in a product": "h[0] = h0\nh[t] = tanh(h[t-1] + W @ (U*x[t-1])) for t in range(1, T+1)\nf = sum(h[T]**2)",
    "rows read twice": "h[0] = h0\nh[t] = h[t-1]*U*x[t-1] + sum(U*x[t-1])*h[t-1] for t in range(1, T+1)\nf = sum(h[T]*U)",
    "two sequences": (
        "h[0] = h0\ng[0] = U\nh[t] = tanh(W @ g[t-1]) for t in range(1, T+1)\n"
        "g[t] = h[t-1]*x[t-1] + g[t-1] for t in range(1, T+1)\nf = sum(h[T]*g[T])"
    ),
    "numbers": "s[0] = sum(h0)\ns[t] = s[t-1]*cos(x[t-1]*2) for t in range(1, T+1)\nf = s[T]*sum(U) + sum(W)*0",
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_sequences_that_steps_write_as_they_go(name: str) -> None:
    model = gl.loads(STEPS + SEQUENCES[name])
    names = ["W", "U", "x", "h0"]
    native, other = model.value_and_grad("f", names, backend="native"), model.value_and_grad("f", names, backend="numpy")
    for length in (1, 2, 3, 7):
        r = np.random.default_rng(length)
        given = {k: r.normal(0, 0.7, n) for k, n in {"W": (3, 3), "U": 3, "x": length, "h0": 3}.items()}
        for zero in (1.0, 0.0, -0.0):  # the signs of zeros are those of NumPy
            wanted, found = other({**given, "h0": given["h0"] * zero}), native({**given, "h0": given["h0"] * zero})
            assert np.allclose(found[0], wanted[0], rtol=1e-12, atol=1e-300)
            for k in names:
                assert np.allclose(found[1][k], wanted[1][k], rtol=1e-11, atol=1e-300), (length, k)
                assert (np.signbit(found[1][k]) == np.signbit(wanted[1][k])).all(), (length, zero, k)
