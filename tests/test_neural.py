"""Layers, windows and tables: values against plain loops, gradients against closed forms and differences."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

import gradlang as gl

RNG = np.random.default_rng(11)
IMAGE, FILTERS, SHIFT = RNG.normal(size=(3, 2, 9, 8)), RNG.normal(size=(4, 2, 3, 2)), RNG.normal(size=4)


def slope(call: Any, values: dict[str, Any], name: str, direction: Any) -> float:
    """The derivative of a scalar along a direction, by differences of fourth order."""

    def at(t: float) -> float:
        return float(call({**values, name: values[name] + t * direction}))

    h = 1e-3
    return (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)


def holds(model: gl.Model, output: str, values: dict[str, Any], wrt: list[str]) -> dict[str, Any]:
    """Compares each gradient, and the product with the Hessian, with differences along one direction."""
    run = model.value_and_grad(output, wrt=wrt)
    value = model.function(output)
    _, grads = run(values)
    for name in wrt:
        v = RNG.normal(size=np.shape(values[name]))
        assert grads[name].shape == np.shape(values[name])
        assert np.sum(grads[name] * v) == pytest.approx(slope(value, values, name, v), rel=1e-7, abs=1e-7)
        _, product = model.hvp(output, wrt=name)(v, values)
        wanted = slope(lambda x, n=name, v=v: np.sum(run(x)[1][n] * v), values, name, v)
        assert np.sum(product * v) == pytest.approx(wanted, rel=1e-6, abs=1e-6)
        _, tangent = model.jvp(output, wrt=name)(v, values)
        assert float(tangent) == pytest.approx(float(np.sum(grads[name] * v)), rel=1e-12)
    return grads


# ------------------------------------------------------------------ convolution and pools
def pairs(value: int | list[int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def windows(x: np.ndarray, size: Any, stride: Any) -> Any:
    """(n, i, j, window) for every place of a window; the window is [C, KH, KW]."""
    (kh, kw), (down, across) = pairs(size), pairs(stride)
    height, width = (x.shape[2] - kh) // down + 1, (x.shape[3] - kw) // across + 1
    for n, i, j in itertools.product(range(len(x)), range(height), range(width)):
        yield n, i, j, x[n, :, i * down : i * down + kh, j * across : j * across + kw]


def convolved(x: Any, w: Any, b: Any, stride: Any, padding: Any) -> Any:
    p, q = pairs(padding)
    x = np.pad(x, ((0, 0), (0, 0), (p, p), (q, q)))
    places = {(n, i, j): np.tensordot(w, piece, 3) + b for n, i, j, piece in windows(x, list(w.shape[2:]), stride)}
    out = np.empty((len(x), len(w), *(1 + max(at[k] for at in places) for k in (1, 2))))
    for (n, i, j), piece in places.items():
        out[n, :, i, j] = piece
    return out


CONVOLUTIONS = [(1, 0), (2, 0), (1, 1), (3, 2), ([2, 3], [1, 2]), ([1, 2], 2)]


@pytest.mark.parametrize(("stride", "padding"), CONVOLUTIONS)
def test_conv2d(stride: Any, padding: Any) -> None:
    """Forward as nested loops; the gradient of sum(y**2)/2 is the transposed convolution of y, entry by entry."""
    m = gl.loads(
        "x : [N, C, 9, 8]\nw : [O, C, 3, 2]\nb : [O]\n"
        f"y = conv2d(x, w, b, stride={stride}, padding={padding})\nloss = sum(y**2)/2\noutput y, loss\n"
    )
    values = {"x": IMAGE, "w": FILTERS, "b": SHIFT}
    wanted = convolved(IMAGE, FILTERS, SHIFT, stride, padding)
    y = m.function("y")(values)
    assert y.shape == wanted.shape
    np.testing.assert_allclose(y, wanted, rtol=1e-12, atol=1e-13)
    _, grads = m.value_and_grad("loss")(values)
    p, q = pairs(padding)
    padded = np.pad(IMAGE, ((0, 0), (0, 0), (p, p), (q, q)))
    dx, dw = np.zeros_like(padded), np.zeros_like(FILTERS)
    for (n, i, j, piece), (_, _, _, back) in zip(windows(padded, [3, 2], stride), windows(dx, [3, 2], stride), strict=True):
        back += np.tensordot(wanted[n, :, i, j], FILTERS, 1)
        dw += wanted[n, :, i, j][:, None, None, None] * piece
    np.testing.assert_allclose(grads["x"], dx[:, :, p : p + 9, q : q + 8], rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(grads["w"], dw, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(grads["b"], wanted.sum(axis=(0, 2, 3)), rtol=1e-11, atol=1e-12)


def test_conv2d_differentiates_again() -> None:
    m = gl.loads("x : [N, C, 9, 8]\nw : [O, C, 3, 2]\nb : [O]\nz = sum(tanh(conv2d(x, w, b, stride=2, padding=1)))\n")
    holds(m, "z", {"x": IMAGE[:1], "w": FILTERS[:2], "b": SHIFT[:2]}, ["x", "w", "b"])


def test_symbolic_sizes() -> None:
    """Sizes of an image that are known at the call only, where a formula says how many windows there are."""
    m = gl.loads("x : [N, C, H, W]\nw : [O, C, K, K]\nb : [O]\ny = conv2d(x, w, b, padding=1)\n")
    w = RNG.normal(size=(4, 2, 3, 3))
    np.testing.assert_allclose(m(x=IMAGE, w=w, b=SHIFT), convolved(IMAGE, w, SHIFT, 1, 1), rtol=1e-12, atol=1e-13)
    m = gl.loads("x : [N, C, 2*H, 3*W]\ny = max_pool2d(x, [2, 3])\nz = sum(avg_pool2d(x, 3, [2, 3])**2)\noutput y, z\n")
    assert m(x=RNG.normal(size=(2, 1, 8, 9)))["y"].shape == (2, 1, 4, 3)
    assert m.value_and_grad("z")(x=RNG.normal(size=(2, 1, 8, 9)))[1]["x"].shape == (2, 1, 8, 9)
    with pytest.raises(gl.InputError):
        gl.loads("x : [N, 1, H, W]\ny = max_pool2d(x, 3, 1)\n")(x=np.ones((1, 1, 2, 5)))


@pytest.mark.parametrize(("window", "stride"), [(2, None), (2, 2), (3, 1), ([3, 2], [1, 3]), (2, 3)])
def test_pools(window: Any, stride: Any) -> None:
    m = gl.loads(
        f"x : [N, C, 9, 8]\na = avg_pool2d(x, {window}{'' if stride is None else f', {stride}'})\n"
        f"b = max_pool2d(x, {window}{'' if stride is None else f', {stride}'})\nza = sum(a**2)/2\nzb = sum(b**2)/2\noutput a, b, za, zb\n"
    )
    got = m(x=IMAGE)
    step = window if stride is None else stride
    (kh, kw) = pairs(window)
    da, db = np.zeros_like(IMAGE), np.zeros_like(IMAGE)
    sides = zip(windows(IMAGE, window, step), windows(da, window, step), windows(db, window, step), strict=True)
    for (n, i, j, piece), (*_, back_a), (*_, back_b) in sides:
        top = piece.max(axis=(1, 2))
        np.testing.assert_allclose(got["a"][n, :, i, j], piece.mean(axis=(1, 2)), rtol=1e-13)
        np.testing.assert_array_equal(got["b"][n, :, i, j], top)
        back_a += piece.mean(axis=(1, 2))[:, None, None] / (kh * kw)
        back_b += np.where(piece == top[:, None, None], top[:, None, None], 0)
    np.testing.assert_allclose(m.value_and_grad("za")(x=IMAGE)[1]["x"], da, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(m.value_and_grad("zb")(x=IMAGE)[1]["x"], db, rtol=1e-12, atol=1e-14)


def test_ties_in_a_window_share_the_gradient() -> None:
    m = gl.loads("x : [N, 1, 2, 4]\nz = sum(max_pool2d(x, 2))\n")
    x = np.array([[[[1.0, 1.0, 3.0, 2.0], [0.0, 1.0, 3.0, 3.0]]]])
    np.testing.assert_allclose(m.value_and_grad("z")(x=x)[1]["x"][0, 0], [[1 / 3, 1 / 3, 1 / 3, 0], [0, 1 / 3, 1 / 3, 1 / 3]])


def test_entries_that_no_window_reads_have_no_gradient() -> None:
    """Also where the slope before the pool is infinite there: the square root at 0."""
    for pool in ("avg_pool2d", "max_pool2d"):
        m = gl.loads(f"x : [N, 1, 1, 5]\nz = sum({pool}(sqrt(x), [1, 2], [1, 3]))\n")
        got = m.value_and_grad("z")(x=np.array([[[[4.0, 1.0, 0.0, 9.0, 4.0]]]]))[1]["x"]
        wanted = [1 / 8, 1 / 4, 0, 1 / 12, 1 / 8] if pool == "avg_pool2d" else [1 / 4, 0, 0, 1 / 6, 0]
        np.testing.assert_allclose(got[0, 0, 0], wanted)


def test_windows_are_copied_when_they_are_the_result() -> None:
    m = gl.loads("x : [N, 1, 3, 3]\ny = patches(x, window=2, stride=1)\n")
    x = np.arange(9.0).reshape(1, 1, 3, 3)
    y = m(x=x)
    assert y.shape == (1, 1, 2, 2, 2, 2)
    y[...] = 0
    assert x.sum() == 36


def test_a_convolutional_network() -> None:
    m = gl.loads(
        "x : [N, 1, 10, 10]\nt : int[N]\nparam w : [3, 1, 3, 3] = normal(0, 0.5)\nparam b : [3] = zeros()\n"
        "param g : [3] = ones()\nparam s : [3] = zeros()\nparam v : [48, 5] = normal(0, 0.5)\n"
        "h = max_pool2d(tanh(batch_norm(conv2d(x, w, b), g, s)), 2)\n"
        "loss = cross_entropy(reshape(h, [N, 48]) @ v, t)\n"
    )
    x, t = RNG.normal(size=(4, 1, 10, 10)), np.array([0, 3, 4, 1])
    params = {"w": RNG.normal(size=(3, 1, 3, 3)), "b": SHIFT[:3], "g": SHIFT[1:], "s": SHIFT[:3], "v": RNG.normal(size=(48, 5))}
    run = m.value_and_grad("loss")
    _, grads = run({"x": x, "t": t, **params})
    for name in params:
        v = RNG.normal(size=params[name].shape)
        wanted = slope(lambda a: run(a)[0], {"x": x, "t": t, **params}, name, v * 0.01) * 100
        assert np.sum(grads[name] * v) == pytest.approx(wanted, rel=1e-6, abs=1e-8)


# ------------------------------------------------------------------ normalisation
@pytest.mark.parametrize("shape", [(6, 4), (5, 4, 3), (3, 4, 2, 5)])
def test_batch_norm(shape: tuple[int, ...]) -> None:
    sizes = ["N", "4", "H", "W"][: len(shape)]
    m = gl.loads(f"x : [{', '.join(sizes)}]\ng : [4]\nb : [4]\ny = batch_norm(x, g, b)\nz = sum(sin(y))\noutput y, z\n")
    x = RNG.normal(3, 2, size=shape)
    axes = (0, *range(2, len(shape)))
    wide = (slice(None), *(None,) * (len(shape) - 2))
    wanted = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 1e-5) * SHIFT[wide] + SHIFT[::-1][wide]
    np.testing.assert_allclose(m.function("y")(x=x, g=SHIFT, b=SHIFT[::-1]), wanted, rtol=1e-12, atol=1e-13)
    holds(m, "z", {"x": x, "g": SHIFT, "b": SHIFT[::-1]}, ["x", "g", "b"])


def test_layer_norm() -> None:
    m = gl.loads("x : [N, M, D]\ng : [D]\nb : [D]\ny = layer_norm(x, g, b, eps=0.01)\nz = sum(sin(y))\noutput y, z\n")
    x, g = RNG.normal(3, 2, size=(2, 3, 4)), RNG.normal(size=4)
    wanted = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 0.01) * g + SHIFT
    np.testing.assert_allclose(m.function("y")(x=x, g=g, b=SHIFT), wanted, rtol=1e-12)
    holds(m, "z", {"x": x, "g": g, "b": SHIFT}, ["x", "g", "b"])
    # rows far from 0 keep their digits, and a constant row has a finite gradient
    shifted = m.function("y")(x=x * 2.0**-20 + 1.0, g=g, b=SHIFT)
    centred = m.function("y")(x=(x * 2.0**-20 + 1.0) - 1.0, g=g, b=SHIFT)
    np.testing.assert_allclose(shifted, centred, rtol=1e-12)
    assert np.isfinite(m.value_and_grad("z")(x=np.ones((1, 1, 4)), g=g, b=SHIFT)[1]["x"]).all()


def test_dropout() -> None:
    x = RNG.normal(size=(2, 3))
    for kind, mask in (("bool", [[True, False, True], [False, True, True]]), ("", [[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])):
        m = gl.loads(f"x : [N, D]\nmask : {kind}[N, D]\nz = sum(dropout(x, mask, 0.25)**2)\n")
        value, grads = m.value_and_grad("z", wrt="x")(x=x, mask=mask)
        kept = x * np.array(mask) / 0.75
        assert value == pytest.approx((kept**2).sum(), rel=1e-14)
        np.testing.assert_allclose(grads["x"], 2 * kept / 0.75, rtol=1e-14)


# ------------------------------------------------------------------ segments and tables
def test_segment_sum() -> None:
    m = gl.loads("v : [N, D]\nids : int[N]\ns = segment_sum(v, ids, 4)\nz = sum(s**3)\noutput s, z\n")
    v, ids = RNG.normal(size=(5, 2)), np.array([0, 3, 0, 2, 3])
    wanted = np.array([v[ids == k].sum(axis=0) for k in range(4)])
    np.testing.assert_allclose(m.function("s")(v=v, ids=ids), wanted, rtol=1e-14)
    np.testing.assert_allclose(m.value_and_grad("z", wrt="v")(v=v, ids=ids)[1]["v"], 3 * wanted[ids] ** 2, rtol=1e-13)
    sized = gl.loads("v : [N]\nids : int[N]\nw : [K]\ns = segment_sum(v, ids, K) * w\n")
    np.testing.assert_allclose(sized(v=[1, 2, 4], ids=[1, 1, 0], w=[1, 10]), [4, 30])
    literal = gl.loads("const n = 3\nv = [1, 2, 4]\ns = segment_sum(v, [2, 0, 2], n)\n")
    np.testing.assert_allclose(literal(), [2, 0, 5])
    with pytest.raises(gl.InputError):
        m.function("s")(v=v, ids=[0, 1, 2, 3, 4])


XS, YS = np.array([0.0, 1.0, 2.5, 4.0]), np.array([1.0, 3.0, 2.0, 5.0])


def test_interp() -> None:
    m = gl.loads("x : [N]\nxs : [K]\nys : [K]\ny = interp(x, xs, ys)\nz = sum(y)\nq = sum(y**2)\noutput y, z, q\n")
    x = np.array([-1, -0.1, 0, 0.3, 1, 1.75, 2.5, 3, 4, 4.5, np.inf, -np.inf])
    np.testing.assert_allclose(m.function("y")(x=x, xs=XS, ys=YS), np.interp(x, XS, YS), rtol=1e-15)
    slopes = np.diff(YS) / np.diff(XS)
    _, grads = m.value_and_grad("z")(x=x, xs=XS, ys=YS)
    # at a knot the slope to its right
    np.testing.assert_allclose(
        grads["x"], [0, 0, slopes[0], slopes[0], slopes[1], slopes[1], slopes[2], slopes[2], 0, 0, 0, 0], rtol=1e-15
    )
    assert grads["ys"].sum() == pytest.approx(len(x), rel=1e-15)
    assert math.isnan(m.function("z")(x=[np.nan], xs=XS, ys=YS))
    holds(m, "q", {"x": np.array([-1, 0.3, 1.75, 3.1, 5]), "xs": XS, "ys": YS}, ["x", "xs", "ys"])


def test_interp_of_scalars_and_tables_in_the_text() -> None:
    m = gl.loads("x = 1.5\ny = interp(x, [0, 1, 2], [0, 1, 4])\n")
    value, grads = m.value_and_grad("y")()
    assert (value, grads["x"]) == (2.5, 3.0)
    assert m.value_and_grad("y")(x=3)[1]["x"] == 0
    m = gl.loads("x : [N, M]\nz = sum(interp(x, [0, 2], [1, 0]))\n")
    np.testing.assert_array_equal(m.value_and_grad("z")(x=[[0.5, 3], [-1, 1]])[1]["x"], [[-0.5, 0], [0, -0.5]])
    with pytest.raises(gl.InputError):
        gl.loads("x : [K]\ny = interp(1.5, x, x)\n")(x=[1.0])


# ------------------------------------------------------------------ what a gradient file says
PRINTED = [
    "x : [N, 2, 6, 6]\nz = sum(max_pool2d(x, 2)**2) + sum(avg_pool2d(x, [3, 2], 1)**3)\n",
    "x : [N, 2, 6, 6]\nw : [3, 2, 3, 3]\nb : [3]\nz = sum(conv2d(x, w, b, stride=2, padding=1)**2)\n",
    "x : [N, 2, 6, 6]\ng : [2]\nz = sum(batch_norm(x, g, g)**3)\n",
    "x : [N, 2, 6, 6]\nz = sum(interp(x, [0, 1, 2], [0, 1, 4]))\n",
]


@pytest.mark.parametrize("text", PRINTED)
def test_the_derivative_is_a_program(text: str) -> None:
    from gradlang import pipeline

    language = pipeline.standard()
    program = pipeline.load(text, "t.grad", language)
    made = pipeline.gradient_file(program, pipeline.Goal("grad", ("z",), ("x",)), language, "t.grad")
    values = {"x": RNG.normal(size=(2, 2, 6, 6)), "w": RNG.normal(size=(3, 2, 3, 3)), "b": SHIFT[:3], "g": SHIFT[:2]}
    given = {n: v for n, v in values.items() if f"{n} :" in text}
    again = gl.loads(made)(given)
    np.testing.assert_allclose(
        again["d_z_d_x"], gl.loads(text).value_and_grad("z", wrt="x")(given)[1]["x"], rtol=1e-12, atol=1e-13
    )


def test_argmax_keeps_its_axis() -> None:
    x = np.array([[3.0, 1, 2], [0.5, -1, 4]])
    m = gl.loads("x : [N, M]\na = argmax(x, axis=-1, keepdims=true)\nb = argmin(x, keepdims=true)\noutput a, b\n")
    got = m(x=x)
    np.testing.assert_array_equal(got["a"], x.argmax(-1, keepdims=True))
    np.testing.assert_array_equal(got["b"], x.argmin(keepdims=True))
