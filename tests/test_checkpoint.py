"""Recurrences that keep their states at some steps only: the numbers of those that keep all, in less memory."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

import gradlang as gl
from gradlang import pipeline
from gradlang.cli.main import main
from gradlang.ir.evaluate import evaluate
from gradlang.ir.verify import verify
from gradlang.pipeline import Goal
from gradlang.runtime import native

RNG = np.random.default_rng(5)
# sums over the steps are added up in another order: a few roundings of their largest terms
TOL = {"float64": 1e-13, "float32": 1e-5}

LSTM = """x : [T, D]
y : [T, H]
h0 : [H]
param A : [H, H] = normal(0, 0.3)
param B : [H, D] = normal(0, 0.3)
param W : [H, H] = normal(0, 0.3)
param U : [H, D] = normal(0, 0.3)
param v : [H] = zeros()
def cell(c, h, x):
    f = sigmoid(A @ h + B @ x + v)
    m = f*c + (1 - f)*tanh(W @ h + U @ x)
    return m, f*tanh(m)
c[0] = h0/2
h[0] = h0
for t in range(1, T+1):
    c[t], h[t] = cell(c[t-1], h[t-1], x[t-1])
"""
GARCH = """r : [N]
w = 0.1
a = 0.1
b = 0.8
s[0] = w/(1 - a - b)
s[t] = w + a*r[t-1]**2 + b*s[t-1] for t in range(1, N)
z = sum(log(s[t]) + r[t]**2/s[t] for t in range(N))
"""
LAYERS = """x : [T, D]
k : int[T]
param U : [H, D] = normal(0, 0.3)
param E : [3, H] = normal(0, 0.3)
param W : [H, H] = normal(0, 0.3)
first = x @ U.T + E[k]
p[0] = zeros(H)
p[t] = tanh(W @ p[t-1] + first[t-1]) for t in range(1, T+1)
q[0] = ones(H)
q[t] = tanh(p[t]*q[t-1] + p[t-1]) for t in range(1, T+1)
"""
BACKWARDS = """x : [N]
a = 0.7
v[N-1] = x[N-1]**2
v[k] = a*tanh(v[k+1]) + x[k] for k in range(N-2, -1, -1)
"""
AR = """x : [N]
a = 0.4
b = -0.3
y[0] = 0.1
y[1] = a
y[2] = x[0]
y[t] = sin(a*y[t-1] + b*y[t-3]**2) + x[t-1]*t/N for t in range(3, N)
"""
PROGRAMS: dict[str, tuple[str, str]] = {
    "the last state": (LSTM, "z = sum(h[T]**2)"),
    "both last states": (LSTM, "z = sum(h[T]**2) + sum(sin(c[T]))"),
    "a sum over the steps": (LSTM, "z = sum((h[t+1, i] - y[t, i])**2 for t in range(T) for i in range(H))"),
    "sums of both and single entries": (LSTM, "z = sum(h*sin(c)) + c[0, 0]*h[1, 0] + mean(h[:-1]**2) + sum(h[T-1])"),
    "steps and the ones before": (LSTM, "z = sum((h[1:] - h[:-1])**2)"),
    "a matrix product over the steps": (LSTM, "z = sum((y.T @ h[1:])**2)"),
    "an einsum over the steps": (LSTM, 'z = sum(einsum("ti,tj->ij", h[1:], c[1:])**2)'),
    "a range of the steps": (LSTM, "z = sum(sum(h[t]**2) for t in range(1, T))"),
    "softmax at every step": (LSTM, "z = -sum(y*log_softmax(h[1:]))"),
    "masked": (LSTM, "z = sum(sum(sqrt(v) for v in h[t] if v > 0) for t in range(1, T+1))"),
    "variance": (GARCH, ""),
    "two layers": (LAYERS, "z = sum(q[T]**2) + sum(p[t]*q[t] for t in range(T+1))[0]"),
    "first layer only at the end": (LAYERS, "z = sum(q) + sum(p[T])"),
    "backwards": (BACKWARDS, "z = v[0]**2 + sum(v[k]*x[k]*k for k in range(N))"),
    "several steps back": (AR, "z = y[N-1] + sum(y[t]*y[t-1] for t in range(1, N)) + sum(y[t]*cos(t) for t in range(N))"),
    "several steps back, from a later one on": (AR, "z = sum(y[t]**2 for t in range(2, N))"),
}
STORED = {
    "a maximum over the steps": (LSTM, "z = max(h)"),
    "centred": (GARCH, "y = sum((s - mean(s))**2)"),
    "turned around": (AR, "n = sum(y*y[::-1])"),
    "softmax over the steps": (GARCH, "n = sum(softmax(s)*s)"),
    "by a sequence": (GARCH, "n = sum(grad(z, s)**2)"),
    "a gradient of a gradient": (GARCH, "n = grad(z, a)**2"),
    "all of the past": (
        "x : [N]\ny[0] = x[0]\ny[t] = x[t] + sum(y[s]**2/(t - s) for s in range(t)) for t in range(1, N)\n",
        "n = y[N-1]",
    ),
}


def values(text: str, length: int) -> dict[str, Any]:
    """Arrays for the leaves of a program."""
    rng = np.random.default_rng(length)
    everything = {
        "x": rng.normal(size=(length, 3) if "x : [T, D]" in text else length),
        "y": rng.uniform(0, 1, (length, 4)),
        "h0": rng.normal(size=4),
        "r": rng.normal(size=length),
        "k": rng.integers(0, 3, length),
    }
    for name, shape in {"A": (4, 4), "B": (4, 3), "W": (4, 4), "U": (4, 3), "v": (4,), "E": (3, 4)}.items():
        everything[name] = rng.normal(size=shape) / 2
    names = gl.loads(text).program.leaves
    return {n: v for n, v in everything.items() if n in names}


def close(got: Any, wanted: Any, tol: float) -> bool:
    got, wanted = np.asarray(got, float), np.asarray(wanted, float)
    scale = 1 + np.max(np.abs(wanted), initial=0, where=np.isfinite(wanted))
    return got.shape == wanted.shape and np.allclose(got, wanted, rtol=0, atol=tol * scale, equal_nan=True)


def agrees(model: gl.Model, of: str, given: dict[str, Any], segments: bool, tol: float) -> None:
    whole, parts = (model.value_and_grad(of, checkpoint=c) for c in (False, True))
    assert ("steps of a segment" in parts.source) == segments
    value, gradients = whole(given)
    got, slopes = parts(given)
    assert close(got, value, tol)
    for n, g in gradients.items():
        assert np.asarray(slopes[n]).dtype == np.asarray(g).dtype
        assert close(slopes[n], g, tol), (n, slopes[n], g)


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_numbers_are_those_of_all_states(name: str, dtype: str) -> None:
    text = "\n".join(PROGRAMS[name])
    model = gl.loads(text, dtype=dtype)
    for length in (5, 7, 16, 17, 31):
        agrees(model, "z", values(text, length), True, TOL[dtype] * length)


@pytest.mark.skipif(native.available() is not None, reason=str(native.available()))
@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("backend", ["native", "auto"])
def test_machine_code_gives_the_same_numbers(name: str, backend: str) -> None:
    text = "\n".join(PROGRAMS[name])
    model = gl.loads(text)
    model.calls = 10**9  # so that `auto` takes machine code wherever there is any
    given = values(text, 16)
    value, gradients = model.value_and_grad("z", checkpoint=True, backend="numpy")(given)
    got, slopes = model.value_and_grad("z", checkpoint=True, backend=backend)(given)
    assert close(got, value, 1e-12)
    assert all(close(slopes[n], g, 1e-12) for n, g in gradients.items())


@pytest.mark.parametrize(
    "name", ["the last state", "a sum over the steps", "steps and the ones before", "variance", "two layers"]
)
@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_few_steps(name: str, length: int) -> None:
    text = "\n".join(PROGRAMS[name])
    agrees(gl.loads(text), "z", values(text, length), True, 1e-13)


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("length", [6, 13])
def test_known_lengths(name: str, length: int) -> None:
    text = "\n".join(PROGRAMS[name])
    given = values(text, length)
    for size, number in (("T", length), ("N", length), ("D", 3), ("H", 4)):
        if f"[{size}" in text or f", {size}]" in text:
            text = f"const {size} = {number}\n{text}"
    agrees(gl.loads(text), "z", given, True, 1e-12)


@pytest.mark.parametrize("name", STORED)
def test_what_needs_all_states_keeps_them(name: str) -> None:
    text = "\n".join(STORED[name])
    model = gl.loads(text)
    agrees(model, model.program.outputs[-1], values(text, 7), False, 1e-13)


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_pass_keeps_the_invariants(name: str) -> None:
    text = "\n".join(PROGRAMS[name])
    model = gl.loads(text)
    table, given = model.program.language.table, values(text, 11)
    names = tuple(model.program.differentiable())
    seen: list[str] = []

    def hook(stage: str, tape: Any) -> None:
        verify(tape, table, stage)
        seen.append(stage)

    goal = Goal("grad", ("z",), names, checkpoint=True)
    job = pipeline.plan(model.program, goal, model.program.language, "a test", hook)
    assert seen[:3] == ["goal", "stable", "checkpoint"]
    binder = model.value_and_grad("z").binder
    args, sizes = binder.bind(given)
    found = evaluate(job.tape, table, dict(zip(binder.types, args, strict=True)), sizes)
    value, gradients = model.value_and_grad("z")(given)
    for (output, _), wanted in zip(job.tape.outputs, [value, *gradients.values()], strict=True):
        assert close(found[output], wanted, 1e-12), output


def test_values_products_and_gradients_in_formulas() -> None:
    text = LSTM + "u = h[T]\nz = sum(h**2)\n"
    given = values(text, 10)
    model = gl.loads(text)
    assert close(model.function("z", checkpoint=True)(given), model.function("z")(given), 1e-14)
    assert "starts" not in model.function("z", checkpoint=True).source  # nothing needs the states again
    v = RNG.normal(size=4)
    whole, parts = (model.vjp("u", ["W", "h0", "x"], checkpoint=c)(v, given)[1] for c in (False, True))
    assert all(close(parts[n], whole[n], 1e-13) for n in whole)
    formula = gl.loads(GARCH + "slope = grad(z, a) + grad(z, b)\n")
    given = {"r": RNG.normal(size=12)}
    made = formula.function("slope", checkpoint=True)
    assert "steps of a segment" in made.source
    assert close(made(given), formula.function("slope")(given), 1e-13)


def test_by_a_definition_that_the_steps_read() -> None:
    text = LAYERS + "z = sum(q[T]**2)\n"
    model, given = gl.loads(text), values(LAYERS, 9)
    whole, parts = (model.value_and_grad("z", ["first", "U"], checkpoint=c) for c in (False, True))
    assert "steps of a segment" in parts.source
    assert all(close(parts(given)[1][n], g, 1e-13) for n, g in whole(given)[1].items())


def test_a_recurrence_after_another_one() -> None:
    """The second one starts from the last state of the first: each has segments of its own."""
    text = GARCH + "u[0] = s[N-1]\nu[t] = tanh(u[t-1]*r[t-1]) + b for t in range(1, N)\nn = sum(u) + z\n"
    made = gl.loads(text).value_and_grad("n", checkpoint=True)
    assert made.source.count("starts.append") + made.source.count("starts_.append") == 2
    agrees(gl.loads(text), "n", {"r": RNG.normal(size=14)}, True, 1e-13)


def test_all_states_as_an_output_are_kept() -> None:
    model = gl.loads(LSTM + "z = sum(h[T]**2)\n")
    made = model.function(["h", "z"], checkpoint=True)
    assert "steps of a segment" not in made.source


def test_exact_zeros_win_in_the_last_segment_too() -> None:
    """The last steps have no part in the sum, and their partials are infinite."""
    text = "x : [N]\na = 0.5\ny[0] = a\ny[t] = y[t-1]*a if t < 8 else sqrt(y[t-1]*0) for t in range(1, N)\n"
    given = {"x": np.ones(12)}
    for z in ("z = sum(y[t]*x[t] for t in range(8))", "z = sum(y[t] if t < 8 else 0 for t in range(N))"):
        value, slope = gl.loads(text + z).value_and_grad("z", checkpoint=True)(given)
        assert value == sum(0.5**k for k in range(1, 9))
        assert slope["a"] == sum(k * 0.5 ** (k - 1) for k in range(1, 9))


def peak(f: Any, given: dict[str, Any]) -> int:
    """The most bytes that a call holds at a time, besides its inputs."""
    f(given)
    tracemalloc.start()
    f(given)
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return held


@pytest.mark.parametrize("line", ["z = sum(h[T]**2)", "z = sum((h[t+1, i] - y[t, i])**2 for t in range(T) for i in range(H))"])
def test_memory(line: str) -> None:
    """A fourth of the steps takes about half of the memory, and all of them a small part of that of all states."""
    model = gl.loads(LSTM + line)
    names = ["A", "B", "W", "U", "v", "h0"]
    most = {
        c: peak(model.value_and_grad("z", names, checkpoint=c, backend="numpy"), values(LSTM, 10_000)) for c in (False, True)
    }
    fewer = peak(model.value_and_grad("z", names, checkpoint=True, backend="numpy"), values(LSTM, 2_500))
    one = 4 * 8  # bytes of a state
    assert most[False] > 10_000 * one * 4  # arrays that a function keeps between calls are not counted
    assert most[True] < 100 * one * 60
    assert most[True] < 2.5 * fewer


def test_command_line(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "garch.grad"
    path.write_text(GARCH)
    shown = []
    for more in ([], ["--checkpoint"]):
        assert main(["run", str(path), "r=[0.1,-0.5,0.3,1.2]", "--digits", "10", *more]) == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1]
    assert main(["compile", str(path), "--checkpoint", "--dump", str(tmp_path / "stages")]) == 0
    assert "# steps of a segment" in capsys.readouterr().out
    assert "# s, z of" in (tmp_path / "stages" / "02_checkpoint.grad").read_text()
    assert main(["compile", str(path), "--checkpoint", "--target", "grad"]) == 1
    assert "G511" in capsys.readouterr().err
    plain = tmp_path / "plain.grad"
    plain.write_text("x = 3\ny = x**2\n")
    assert main(["run", str(plain), "--checkpoint"]) == 0
