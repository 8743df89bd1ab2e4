"""The Python interface: what a model tells of itself, how its functions are called, and what they give."""

from __future__ import annotations

import math
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import gradlang as gl

SHOPPING = (
    'apple = 100 "price of one apple"\nn = 2\norange = 150\nm = 3\ninput tax in [1, 2] = 1.1\n'
    'price = (apple*n + orange*m) * tax "the bill"\n'
)
GRADS = {"apple": 2.2, "n": 110.00000000000001, "orange": 3.3000000000000003, "m": 165.0, "tax": 650.0}
NET = (
    'input x : [N, 2] "rows"\ninput t : int[N]\ninput mask : bool[N]\nconst k = 3\nparam W : [2, k] = normal(0, 0.1) "weights"\n'
    "param b : [k] = zeros()\ns = affine(x, W, b)\nloss = cross_entropy(s, t)\nused = sum(mask)\noutput loss, s, used\n"
)
DATA = {"x": [[0.5, 1.0], [-1.0, 2.0]], "t": [0, 2], "mask": [True, False]}
QUADRATIC = "x = [1, 2]\ny = 3\nA = [[2, 1], [1, 4]]\nf = sum(x*(A @ x))*y\ng = A @ x*y\n"


@pytest.fixture
def shopping() -> gl.Model:
    return gl.loads(SHOPPING)


# ------------------------------------------------------------------ what a model tells of itself
def test_inputs(shopping: gl.Model) -> None:
    assert list(shopping.inputs) == ["apple", "n", "orange", "m", "tax"]
    apple = shopping.inputs["apple"]
    assert (apple.name, apple.shape, apple.dtype, apple.default, apple.label) == (
        "apple",
        (),
        "real",
        100.0,
        "price of one apple",
    )
    assert shopping.inputs["tax"].range == (1, 2)
    assert shopping.inputs["tax"].default == 1.1
    assert shopping.params == {}


def test_parameters_and_sizes() -> None:
    model = gl.loads(NET)
    assert {n: (i.shape, i.dtype) for n, i in model.inputs.items()} == {
        "x": (("N", 2), "real"),
        "t": (("N",), "int"),
        "mask": (("N",), "bool"),
    }
    assert {n: (i.shape, i.label) for n, i in model.params.items()} == {"W": ((2, 3), "weights"), "b": ((3,), None)}
    assert all(i.default is None for i in (*model.inputs.values(), *model.params.values()))


def test_outputs(shopping: gl.Model) -> None:
    assert {n: (i.shape, i.dtype, i.label) for n, i in shopping.outputs.items()} == {"price": ((), "real", "the bill")}
    assert {n: (i.shape, i.dtype) for n, i in gl.loads(NET).outputs.items()} == {
        "loss": ((), "real"),
        "s": (("N", 3), "real"),
        "used": ((), gl.loads(NET).outputs["used"].dtype),
    }


def test_a_model_shows_what_it_is(shopping: gl.Model) -> None:
    assert "price" in repr(shopping)
    assert "apple" in repr(shopping)
    assert "price" in repr(shopping.value_and_grad("price"))


# ------------------------------------------------------------------ calls
def test_calls_by_keyword_and_by_dict(shopping: gl.Model) -> None:
    wanted = (120.0 * 2 + 150.0 * 3) * 1.1
    assert shopping() == 715.0000000000001
    assert shopping(apple=120) == shopping(apple=120.0) == shopping({"apple": 120}) == wanted
    assert shopping({}) == 715.0000000000001
    assert shopping({"apple": 120}, tax=1.0) == 120 * 2 + 150 * 3
    assert shopping({"tax": 1.0}, apple=120) == 120 * 2 + 150 * 3
    assert shopping(apple=np.float64(120)) == shopping(apple=np.float32(120)) == shopping(apple=np.array(120)) == wanted
    assert shopping(n=True) == (100.0 * 1 + 150.0 * 3) * 1.1


def test_compiled_functions_take_the_same(shopping: gl.Model) -> None:
    for f in (shopping.function("price"), shopping.function()):
        assert f({"apple": 120}, n=3) == f(apple=120, n=3) == f({"apple": 120, "n": 3}) == f({"n": 3}, apple=120.0)
        assert f() == f({}) == 715.0000000000001
        # the defaults again, given by the caller
        assert f(apple=100, n=2, orange=150, m=3, tax=1.1) == f(apple=100.0) == 715.0000000000001
        assert f({"apple": 7.0}) == f(apple=7.0) != f()


def test_a_dict_wins_over_defaults_and_a_keyword_over_the_dict(shopping: gl.Model) -> None:
    f = shopping.function("price")
    assert f({"apple": 120}) != f()
    assert f({"apple": 120}, apple=130) == f(apple=130)


def test_the_dict_of_the_caller_stays_as_it_is(shopping: gl.Model) -> None:
    given = {"apple": 120}
    shopping(given, n=3)
    shopping.value_and_grad("price")(given, n=3)
    assert given == {"apple": 120}


def test_one_several_and_all(shopping: gl.Model) -> None:
    model = gl.loads("x = 2\na = x + 1\nb = a*x\nc = b - x\noutput b, c\n")
    assert model.function("a")() == 3.0
    assert model.function("x")() == 2.0
    assert model.function(["a"])() == 3.0
    assert model.function(["c", "a"])() == {"c": 4.0, "a": 3.0}
    assert list(model.function(["c", "a"])()) == ["c", "a"]
    assert model.function()() == model() == {"b": 6.0, "c": 4.0}
    assert isinstance(shopping.function()(), float)


def test_a_function_is_compiled_once(shopping: gl.Model) -> None:
    assert shopping.function("price") is shopping.function(["price"])
    assert shopping.value_and_grad("price") is shopping.value_and_grad()
    assert shopping.value_and_grad("price", ["n"]) is not shopping.value_and_grad("price", ["m"])


# ------------------------------------------------------------------ gradients
def test_value_and_grad_keeps_the_order_of_wrt(shopping: gl.Model) -> None:
    value, grads = shopping.value_and_grad("price")()
    assert (value, grads) == (715.0000000000001, GRADS)
    assert list(grads) == list(GRADS)
    for wrt in (["tax", "apple"], ("apple", "tax"), ["m"]):
        got = shopping.value_and_grad("price", wrt=wrt)()[1]
        assert list(got) == list(wrt)
        assert got == {n: GRADS[n] for n in wrt}
    assert shopping.value_and_grad("price", wrt="tax")()[1] == {"tax": 650.0}


def test_gradients_are_shaped_like_their_leaves() -> None:
    loss, grads = gl.loads(NET).value_and_grad("loss")(**DATA)
    assert isinstance(loss, float)
    assert {n: np.shape(g) for n, g in grads.items()} == {"x": (2, 2), "W": (2, 3), "b": (3,)}
    assert all(g.dtype == np.float64 for g in grads.values())


def test_a_gradient_by_a_definition() -> None:
    model = gl.loads("x = 2\ny = 3\nt = x*y\nz = t**2 + x\n")
    assert model.value_and_grad("z", ["t", "x"])() == (38.0, {"t": 12.0, "x": 37.0})


def test_an_unreached_input_has_an_exact_zero() -> None:
    model = gl.loads("x = [1, 2]\nw = 3\ny = w*2\nz = sum(x)\noutput y, z\n")
    grads = model.value_and_grad("y", ["x", "w"])()[1]
    assert grads["x"].tolist() == [0.0, 0.0]
    assert grads["w"] == 2.0


def test_results_never_alias_inputs_or_one_another() -> None:
    model = gl.loads("input x : [N]\ny = x\nz = sum(x)\noutput y, z\n")
    x = np.array([1.0, 2.0])
    f = model.function("y")
    first = f(x=x)
    assert not np.shares_memory(first, x)
    first[:] = 7
    assert x.tolist() == [1.0, 2.0]
    assert f(x=x).tolist() == [1.0, 2.0]
    both = model.function(["y", "x"])(x=x)
    assert not np.shares_memory(both["y"], x)
    assert not np.shares_memory(both["x"], x)
    g = model.value_and_grad("z")
    one, two = g(x=x)[1]["x"], g(x=x)[1]["x"]
    one[:] = 7
    assert two.tolist() == [1.0, 1.0]


def test_values_of_the_caller_are_not_modified() -> None:
    model = gl.loads(NET)
    given = {n: np.array(v) for n, v in DATA.items()}
    kept = {n: v.copy() for n, v in given.items()}
    for v in given.values():
        v.setflags(write=False)
    model.value_and_grad("loss")(given)
    model(given)
    assert all((given[n] == kept[n]).all() for n in kept)


# ------------------------------------------------------------------ products
A, X, Y = np.array([[2.0, 1], [1, 4]]), np.array([1.0, 2]), 3.0


def test_vjp() -> None:
    model = gl.loads(QUADRATIC)
    u = np.array([1.0, -2])
    value, product = model.vjp("g", wrt="x")(u)
    assert value.tolist() == (A @ X * Y).tolist()
    assert product.tolist() == (A.T @ u * Y).tolist()
    value, products = model.vjp("g", wrt=["y", "x"])(u, y=5.0)
    assert list(products) == ["y", "x"]
    assert products["x"].tolist() == (A.T @ u * 5).tolist()
    assert products["y"] == float(u @ (A @ X))
    assert set(model.vjp("g")(u)[1]) == {"x", "y", "A"}
    assert gl.loads(SHOPPING).vjp("price", wrt="apple")(1.0) == (715.0000000000001, 2.2)


def test_jvp() -> None:
    model = gl.loads(QUADRATIC)
    v = np.array([0.5, 1])
    value, product = model.jvp("g", wrt="x")(v)
    assert value.tolist() == (A @ X * Y).tolist()
    assert product.tolist() == (A @ v * Y).tolist()
    _, product = model.jvp("g", wrt=["x", "y"])({"x": v, "y": 2.0})
    assert product.tolist() == (A @ v * Y + A @ X * 2).tolist()
    _, product = model.jvp("g", wrt=["x", "y"])({"y": 2.0, "x": v}, {"y": 1.0})
    assert product.tolist() == (A @ v + A @ X * 2).tolist()
    assert model.jvp("g", wrt=["x"])({"x": v})[1].tolist() == (A @ v * Y).tolist()


def test_hvp() -> None:
    model = gl.loads(QUADRATIC)
    v = np.array([0.5, 1])
    value, product = model.hvp("f", wrt="x")(v)
    assert value == float(X @ A @ X) * Y
    assert product.tolist() == ((A + A.T) @ v * Y).tolist()
    _, products = model.hvp("f", wrt=["x", "y"])({"x": v, "y": 2.0})
    assert list(products) == ["x", "y"]
    assert products["x"].tolist() == ((A + A.T) @ v * Y + (A + A.T) @ X * 2).tolist()
    assert products["y"] == float(((A + A.T) @ X) @ v)


@pytest.mark.parametrize("name", ["x", "x_", "x__", "v_x", "upstream_y", "v", "사과", "lambda"])
def test_products_know_any_name(name: str) -> None:
    model = gl.loads(f"{name} = 3\nother = 2\ny = {name}**2*other\n")
    assert model.hvp("y", wrt=name)(1.0) == (18.0, 4.0)
    assert model.hvp("y", wrt=[name, "other"])({name: 1.0, "other": 0.0})[1] == {name: 4.0, "other": 6.0}
    assert model.jvp("y", wrt=[name, "other"])({name: 1.0, "other": 0.0}) == (18.0, 12.0)
    assert model.jvp("y", wrt=name)(2.0, {name: 1.0}) == (2.0, 8.0)
    assert model.vjp("y", wrt=[name])(2.0)[1] == {name: 24.0}


def test_products_refuse_other_vectors() -> None:
    product = gl.loads(QUADRATIC).jvp("g", wrt=["x", "y"])
    with pytest.raises(gl.InputError):
        product(np.ones(2))
    with pytest.raises(gl.InputError):
        product({"x": np.ones(2)})
    with pytest.raises(gl.InputError):
        product({"x": np.ones(3), "y": 1.0})
    with pytest.raises(gl.InputError):
        product({"x": np.ones(2), "y": 1.0, "A": A})


# ------------------------------------------------------------------ the layer of the book
def test_a_layer(shopping: gl.Model) -> None:
    layer = shopping.layer("price")
    assert layer.forward() == 715.0000000000001
    assert layer.backward() == GRADS
    assert layer.forward(apple=120) == (120.0 * 2 + 150.0 * 3) * 1.1
    grads = layer.backward(1.3)
    assert list(grads) == list(GRADS)
    assert grads["apple"] == 1.3 * 1.1 * 2
    assert grads["tax"] == 1.3 * (120 * 2 + 150 * 3)


def test_layers_of_the_book() -> None:
    add, mul = gl.loads("x = 10\ny = 5\nz = x + y\n").layer(), gl.loads("x = 10\ny = 5\nz = x*y\n").layer("z")
    assert (add.forward(), mul.forward()) == (15.0, 50.0)
    assert (add.backward(1.3), mul.backward(1.3)) == ({"x": 1.3, "y": 1.3}, {"x": 6.5, "y": 13.0})


def test_backward_needs_a_forward(shopping: gl.Model) -> None:
    with pytest.raises(gl.InputError):
        shopping.layer().backward()


def test_a_layer_of_arrays() -> None:
    layer = gl.loads("input x : [N, 2]\nW = [[1, 2, 3], [4, 5, 6]]\ny = x @ W\n").layer("y")
    x, u = np.array([[1.0, 2], [3, 4]]), np.array([[1.0, 0, 1], [2, 1, 0]])
    w = np.array([[1.0, 2, 3], [4, 5, 6]])
    assert layer.forward(x=x).tolist() == (x @ w).tolist()
    grads = layer.backward(u)
    assert grads["x"].tolist() == (u @ w.T).tolist()
    assert grads["W"].tolist() == (x.T @ u).tolist()


# ------------------------------------------------------------------ pickles and threads
def chain(n: int) -> str:
    lines = [f"x{k} = x{k - 1}*0.5 + sin(x{k - 1})" for k in range(1, n + 1)]
    return "x0 = 1.25\n" + "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("text", "y", "given"),
    [(SHOPPING, "price", {"apple": 120.0}), (NET, "loss", DATA), (chain(1500), "x1500", {"x0": 0.5})],
    ids=["scalar", "array", "large"],
)
def test_pickles(text: str, y: str, given: dict[str, Any]) -> None:
    model = gl.loads(text)
    for made in (model, model.function(y), model.value_and_grad(y)):
        again = pickle.loads(pickle.dumps(made))
        assert type(again).__name__ == type(made).__name__
        assert repr(again(given)) == repr(made(given))
    again = pickle.loads(pickle.dumps(model))
    assert again.inputs == model.inputs
    assert repr(again.value_and_grad(y)(given)) == repr(model.value_and_grad(y)(given))


def test_pickles_keep_seed_and_dtype() -> None:
    model = gl.loads(NET, dtype="float32", seed=7)
    again = pickle.loads(pickle.dumps(model))
    assert (again.dtype, again.seed) == ("float32", 7)
    assert again.function("W")(**DATA).tolist() == model.function("W")(**DATA).tolist()


def test_large_programs_run_from_their_tape() -> None:
    f = gl.loads(chain(1500)).value_and_grad("x1500")
    assert f.backend in ("machine", "groups", "steps")
    assert gl.loads(SHOPPING).value_and_grad().backend == "python"
    assert gl.loads(NET).value_and_grad("loss", backend="numpy").backend == "numpy"
    net = gl.loads(NET).value_and_grad("loss")
    assert net.backend in ("auto", "numpy")  # with llvmlite the first call decides
    net(**DATA)
    assert net.backend == "numpy"  # few calls of a small net do not pay for machine code


@pytest.mark.parametrize(
    ("text", "y", "name", "shape"),
    [(SHOPPING, "price", "apple", ()), (QUADRATIC, "f", "x", (2,)), (chain(1500), "x1500", "x0", ())],
    ids=["scalar", "array", "large"],
)
def test_threads(text: str, y: str, name: str, shape: tuple[int, ...]) -> None:
    f = gl.loads(text).value_and_grad(y)
    points = [np.full(shape, 0.5 + k / 16) if shape else 0.5 + k / 16 for k in range(24)]
    wanted = [repr(f({name: p})) for p in points]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            assert list(pool.map(lambda p: repr(f({name: p})), points)) == wanted


def test_threads_compile_one_model() -> None:
    model = gl.loads(SHOPPING)
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda n: model.value_and_grad("price", [n])(), list(GRADS) * 4))
    assert made == [(715.0000000000001, {n: GRADS[n]}) for n in list(GRADS) * 4]


# ------------------------------------------------------------------ precision and seeds
@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("x : [N]\nt = [sum(x[i+j] for j in range(3)) for i in range(N-2)]", r"G506.*this range has N - 2 steps, for N = 1"),
        ("x : [1, 1, N, 4]\nt = avg_pool2d(x, 3, stride=1)", "G5.*for N = 1|G517.*no value for these sizes"),
    ],
)
def test_a_number_as_upstream_of_what_has_no_size(text: str, wanted: str) -> None:
    model = gl.loads(text)
    shape = tuple(1 if n == "N" else n for n in model.inputs["x"].shape)
    for number in (1.0, np.float64(2)):
        with pytest.raises(gl.InputError, match=wanted):
            model.vjp("t", wrt="x", backend="numpy")(number, x=np.ones(shape))


def test_a_gradient_that_is_zero_has_the_type_of_the_program() -> None:
    text = "x : [K]\nz : [M]\ninput p : int[]\ny = where(0.3 != where(M > 0.2, -1.5, -1.5), sum(z), x[p])"
    for back in ("x[p]", "x[::-1][p]"):
        model = gl.loads(text.replace("x[p]", back), dtype="float32")
        slope = model.value_and_grad(wrt="x", backend="numpy")(x=[1, 2], z=[3], p=0)[1]["x"]
        assert slope.tolist() == [0, 0] and slope.dtype == np.float32


def test_single_precision() -> None:
    model = gl.loads(NET, dtype="float32")
    loss, grads = model.value_and_grad("loss")(**DATA)
    assert all(g.dtype == np.float32 for g in grads.values())
    s = model.function("s")(**DATA)
    assert s.dtype == np.float32
    assert np.float32(loss) == loss
    double, wanted = gl.loads(NET).value_and_grad("loss")(**DATA)
    assert math.isclose(loss, double, rel_tol=1e-5)
    for n, g in grads.items():
        np.testing.assert_allclose(g, wanted[n], rtol=2e-5, atol=1e-6)


def test_single_precision_of_scalars() -> None:
    value, grads = gl.loads("x = 0.1\ny = x*x\n", dtype="float32").value_and_grad("y")()
    x = np.float32(0.1)
    assert value == float(x * x)
    assert grads["x"] == float(x + x)


def test_other_precisions_are_refused() -> None:
    for dtype in ("float16", "double", "", None):
        with pytest.raises(gl.InputError):
            gl.loads(SHOPPING, dtype=dtype)
    for seed in (-1, 1.5, "1", True):
        with pytest.raises(gl.InputError):
            gl.loads(SHOPPING, seed=seed)


PARAMS = "input x : [N]\nparam a : [3] = normal(1, 2)\nparam b : [2, 3] = he()\nparam c : [4] = uniform(2, 3)\ny = sum(x)\n"
USE = "z = sum(a) + sum(b) + sum(c) + y\noutput z\n"


def test_seeds() -> None:
    names = ["a", "b", "c"]

    def drawn(text: str, seed: int) -> dict[str, list[Any]]:
        return {n: v.tolist() for n, v in gl.loads(text, seed=seed).function(names)(x=[1.0]).items()}

    first = drawn(PARAMS + USE, 3)
    assert drawn(PARAMS + USE, 3) == first
    other = drawn(PARAMS + USE, 4)
    assert all(other[n] != first[n] for n in names)
    lines = PARAMS.splitlines()
    turned = "\n".join([lines[3], lines[2], lines[0], lines[4], lines[1], "param d : [5] = normal(0, 1)", USE])
    assert drawn(turned, 3) == first
    assert all(2 <= v <= 3 for v in first["c"])
    assert gl.loads(PARAMS + USE).function("a")(x=[1.0]).tolist() == drawn(PARAMS + USE, 0)["a"]


def test_a_parameter_that_is_given_is_not_drawn() -> None:
    model = gl.loads(PARAMS + USE)
    assert model.function("a")(x=[1.0], a=[1, 2, 3]).tolist() == [1.0, 2.0, 3.0]
    assert model.function("b")(x=[1.0], a=[1, 2, 3]).tolist() == model.function("b")(x=[1.0]).tolist()


# ------------------------------------------------------------------ any name
NAMES = [
    "lambda",
    "self",
    "given",
    "None_",
    "class",
    "np",
    "math",
    "inf_",
    "사과",
    "print",
    "unknown",
    "GIVEN",
    "F",
    "t1",
    "f",
    "x1",
]


@pytest.mark.parametrize("name", [*NAMES, "values", "__init__", "_", "sum", "__class__", "type", "float"])
def test_any_name(name: str) -> None:
    model = gl.loads(f"{name} = 3\nother = 2\ny = {name}**2 + other\n")
    assert list(model.inputs) == [name, "other"]
    assert model({name: 4}) == 18.0
    assert model.value_and_grad("y")({name: 4.0}) == (18.0, {name: 8.0, "other": 1.0})
    assert model.value_and_grad("y")({name: 4}, other=3.0) == (19.0, {name: 8.0, "other": 1.0})
    assert model.value_and_grad("y", [name])()[1] == {name: 6.0}
    arrays = gl.loads(f"{name} = [1, 2]\ny = sum({name}**2)\n").value_and_grad("y")
    value, grads = arrays({name: [3, 4]})
    assert (value, grads[name].tolist()) == (25.0, [6.0, 8.0])


def test_all_names_at_once() -> None:
    text = "".join(f"{n} = {k}\n" for k, n in enumerate(NAMES, 1)) + "y = " + " + ".join(f"{n}**2" for n in NAMES) + "\n"
    value, grads = gl.loads(text).value_and_grad("y")({n: k / 2 for k, n in enumerate(NAMES, 1)})
    assert value == sum((k / 2) ** 2 for k in range(1, len(NAMES) + 1))
    assert grads == {n: float(k) for k, n in enumerate(NAMES, 1)}


def test_keywords_for_names_that_python_allows() -> None:
    model = gl.loads("given = 1\nself = 2\n사과 = 3\ny = given + 2*self + 3*사과\n")
    assert model(사과=4) == 17.0
    assert model.function("y")(사과=4.0) == 17.0
    assert model({"self": 3, "given": 0}) == 15.0


# ------------------------------------------------------------------ generated code
def test_the_source_is_readable(shopping: gl.Model) -> None:
    source = shopping.value_and_grad("price").source
    compile(source, "price.py", "exec")
    for name in ("apple", "n", "orange", "m", "tax", "price"):
        assert name in source.replace("(", " ").replace(",", " ").replace("=", " ").split()
    assert max(map(len, source.splitlines())) <= 200
    assert "import numpy" not in source
    namespace: dict[str, Any] = {}
    exec(source, namespace)
    (entry,) = (n for n in namespace if n.startswith("price"))
    assert namespace[entry]() == (715.0000000000001, GRADS)


def test_sources_of_arrays_and_products() -> None:
    model = gl.loads(QUADRATIC)
    for f in (model.value_and_grad("f"), model.vjp("g"), model.hvp("f", wrt="x"), model.jvp("g", wrt="x")):
        compile(f.source, "f.py", "exec")
        assert "import numpy as np" in f.source
        assert "A" in f.source


def test_backends(shopping: gl.Model) -> None:
    assert shopping.value_and_grad("price", backend="auto")()[1] == GRADS
    assert shopping.value_and_grad("price", backend="numpy")()[1] == GRADS
    assert shopping.function("price", backend="numpy")() == 715.0000000000001
    for backend in ("nump", "", "python3"):
        with pytest.raises(gl.InputError) as caught:
            shopping.function("price", backend=backend)
        assert "numpy" in caught.value.diagnostics[0].help


# ------------------------------------------------------------------ large scalar programs
def test_five_thousand_definitions() -> None:
    n = 5000
    text = "a = 1.5\nb = 0.25\nx0 = a\n" + "".join(f"x{k} = x{k - 1} + b*{k % 7}\n" for k in range(1, n + 1))
    model = gl.loads(text)
    value, grads = model.value_and_grad(f"x{n}")()
    total = sum(k % 7 for k in range(1, n + 1))
    assert value == 1.5 + 0.25 * total
    assert grads == {"a": 1.0, "b": float(total)}
    value, grads = model.value_and_grad(f"x{n}")(a=2.0, b=1.0)
    assert value == 2.0 + total


def test_definitions_from_the_last_to_the_first() -> None:
    n = 5000
    lines = [f"x{k} = x{k - 1} + b" for k in range(1, n + 1)]
    model = gl.loads("\n".join([*reversed(lines), "x0 = 1", "b = 2"]) + "\n")
    assert model.value_and_grad(f"x{n}")() == (1.0 + 2.0 * n, {"x0": 1.0, "b": float(n)})


def test_a_sum_of_twenty_thousand_terms() -> None:
    n = 20_000
    model = gl.loads("x = 0.5\nw = 2\ny = " + " + ".join(f"x*{k % 5}" if k % 2 else "w" for k in range(n)) + "\n")
    odd = sum(k % 5 for k in range(1, n, 2))
    value, grads = model.value_and_grad("y")()
    assert value == 0.5 * odd + 2.0 * (n // 2)
    assert grads == {"x": float(odd), "w": float(n // 2)}


def test_twenty_thousand_parentheses() -> None:
    n = 20_000
    model = gl.loads(f"x = 3\ny = {'(' * n}x{')' * n}*x\n")
    assert model.value_and_grad("y")() == (9.0, {"x": 6.0})
    model = gl.loads(f"x = 3\ny = {'(' * n}x{' + 1)' * n}*x\n")
    assert model.value_and_grad("y")() == ((3.0 + n) * 3, {"x": 6.0 + n})


def test_twenty_thousand_signs_and_calls() -> None:
    n = 20_000
    assert gl.loads(f"x = 3\ny = {'-' * n}x*2\n").value_and_grad("y")() == (6.0, {"x": 2.0})
    assert gl.loads(f"x = 3\ny = {'abs(' * n}x{')' * n}\n").value_and_grad("y")() == (3.0, {"x": 1.0})


def test_the_objective_is_meant_where_a_program_has_several_outputs() -> None:
    model = gl.loads("param a = 3\nloss = a**2\nsize = abs(a)\nminimize loss\noutput size")
    assert model.value_and_grad()() == (9.0, {"a": 6.0})
    assert model.hessian(wrt="a")() == 2.0
    assert model() == {"loss": 9.0, "size": 3.0}


def test_the_name_of_a_file_is_no_program() -> None:
    with pytest.raises(gl.InputError, match=r"the name of a file") as caught:
        gl.loads("models/shop.grad")
    assert "gl.load('models/shop.grad')" in str(caught.value)
