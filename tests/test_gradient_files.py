"""Gradient files of programs with loops: texts that load, give the same numbers and differentiate again, also as a text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradlang as gl
from gradlang import pipeline
from gradlang.cli.main import main
from gradlang.pipeline import Goal

RNG = np.random.default_rng(3)
A = np.array([0.7, 1.2, 0.4])
Case = tuple[str, dict[str, Any]]

PROGRAMS: dict[str, Case] = {
    "one step back": (
        "x : [T, D]\nW : [H, H]\nU : [H, D]\nh0 : [H]\nh[0] = h0\n"
        "h[t] = tanh(W @ h[t-1] + U @ x[t-1]) for t in range(1, T+1)\ny = sum(h[T]**2)",
        {"x": RNG.random((4, 3)), "W": RNG.random((2, 2)) - 0.5, "U": RNG.random((2, 3)), "h0": RNG.random(2)},
    ),
    "two steps back": (
        "input a, c\nf[0] = 0\nf[1] = a\nf[i] = f[i-1]*f[i-2] + c*f[i-1] for i in range(2, 8)\ny = f[7]",
        {"a": 0.5, "c": 0.3},
    ),
    "three steps back": (
        "input a, c\nf[0] = a\nf[1] = a**2\nf[2] = c\nf[i] = f[i-1]*f[i-3] + c*f[i-2] for i in range(3, 8)\ny = sum(f)",
        {"a": 0.5, "c": 0.3},
    ),
    "backward": (
        "x : [n]\ninput a\nv[n] = 1.0\nv[k] = sin(a*v[k+1]) + x[k] for k in range(n-1, -1, -1)\ny = v[0] + v[1]**2",
        {"x": np.array([1.0, 2, 3]), "a": 0.5},
    ),
    "coupled": (
        "input a, b\nc[0] = 0.5\ns[0] = a\nfor t in range(1, 4):\n    z = s[t-1]*b\n    s[t] = z + sin(c[t-1])\n    c[t] = s[t]*0.1*a\n"
        "y = s[3]*c[2]",
        {"a": 0.7, "b": 1.3},
    ),
    "nested": (
        "a : [N]\nb : [M]\ninput q\nd[i, 0] = i*q for i in range(N+1)\nd[0, j] = j for j in range(1, M+1)\n"
        "d[i, j] = logaddexp(d[i-1, j]*q, d[i, j-1] + a[i-1]*b[j-1]) + d[i-1, j-1]*0.1 for i in range(1, N+1) for j in range(1, M+1)\ny = d[N, M]",
        {"a": A, "b": A[:2] + 0.1, "q": 0.3},
    ),
    "grid": (
        "u0 : [M]\ninput c\nu[0, j] = u0[j] for j in range(M)\nu[t, 0] = 0 for t in range(1, 4)\nu[t, M-1] = 0 for t in range(1, 4)\n"
        "u[t, j] = u[t-1, j] + c*(u[t-1, j-1] - 2*u[t-1, j] + u[t-1, j+1])**2 for t in range(1, 4) for j in range(1, M-1)\ny = sum(u[3]**2)",
        {"u0": np.array([0, 1, 2, 1, 0.5]), "c": 0.1},
    ),
    "rows of sequences": (
        "A : [N, M]\ninput k\ns[i, 0] = 0 for i in range(N)\ns[i, t] = tanh(k*s[i, t-1] + A[i, t-1]) for i in range(N) for t in range(1, M+1)\n"
        "y = sum(s[:, M]**2)",
        {"A": RNG.random((2, 3)), "k": 0.4},
    ),
    "in a function": (
        "def f(x):\n    s[0] = x\n    for t in range(1, 4):\n        s[t] = sin(s[t-1]*k)\n    return s[3]\na : [N]\ninput k\ny = sum(f(v) for v in a)",
        {"a": A, "k": 0.9},
    ),
    "equation": ("input e, M\ny = solve(E - e*sin(E) - M for E from M)", {"e": 0.3, "M": 1.1}),
    "system": (
        "A : [2, 2]\nb : [2]\nx = solve(A @ x + 0.1*x**3 - b for x from b)\ny = sum(x**2)",
        {"A": np.array([[2, 1], [0.5, 3]]), "b": np.array([1, 2.0])},
    ),
    "equation of every entry": ("a : [N]\nx = [solve(x**3 + x - v for x from 0) for v in a]\ny = sum(x**2)", {"a": A}),
    "equation at every step": (
        "a : [N]\nh[0] = 0\nh[t] = solve(x + 0.1*x**3 - h[t-1] - a[t-1] for x from h[t-1]) for t in range(1, N+1)\ny = h[N]**2",
        {"a": A},
    ),
    "equation in an equation": (
        "input k\ny = solve(z**3 + z - solve(x**3 + x - k*z for x from 1) for z from 1) + k",
        {"k": 3.7},
    ),
    "derivative of an equation": ("input k\ny = grad(solve(x**3 - k for x from 1), k)", {"k": 2.0}),
    "derivative of a state": (
        "input k\nq[0] = k\nq[t] = q[t-1] - 0.25*grad((q[t-1] - 1)**4, q[t-1]) for t in range(1, 4)\ny = q[3]",
        {"k": 1.4},
    ),
    "matrices of derivatives": ("a : [N]\ny = sum(hessian(sum(a**3)*a[0], a)) + sum(jacobian(a**2, a))", {"a": A}),
    "comprehension with a condition": ("a : [N]\ny = sum(exp(v)*w for v, w in zip(a, a[::-1]) if v > 0.5)", {"a": A}),
    "neighbours": ("a : [N]\ny = sum(a[i]*a[i+1]**2 for i in range(N-1)) + max(a[i]*i for i in range(N))", {"a": A}),
    "sums of products": (
        "A : [N, M]\nB : [M, K]\ny = sum([[sum(A[i, k]*B[k, j] for k in range(M))**2 for j in range(K)] for i in range(N)])",
        {"A": RNG.random((2, 3)), "B": RNG.random((3, 4))},
    ),
}


def gradient_file(model: gl.Model, y: str, wrt: tuple[str, ...]) -> str:
    return pipeline.gradient_file(model.program, Goal("grad", (y,), wrt), model.program.language, "p.grad")


def near(a: Any, b: Any, tol: float) -> bool:
    return np.shape(a) == np.shape(b) and bool(np.allclose(a, b, rtol=tol, atol=tol))


@pytest.mark.parametrize("name", PROGRAMS)
def test_gradient_files_of_loops(name: str) -> None:
    text, given = PROGRAMS[name]
    model = gl.loads(text)
    wrt = tuple(model.program.differentiable())
    value, grads = model.value_and_grad("y")(given)
    first = gradient_file(model, "y", wrt)
    again = gl.loads(first)
    found = again.function(again.program.outputs)(given)
    assert near(found["y"], value, 1e-13), first
    for n in wrt:
        assert near(found[f"d_y_d_{n}"], grads[n], 1e-12), (n, first)
    # half the square of the gradient: its derivative is the Hessian times the gradient
    total = " + ".join(f"sum(d_y_d_{n}*d_y_d_{n})" if np.ndim(given[n]) else f"d_y_d_{n}**2" for n in wrt)
    square = gl.loads(f"{first}\nsquare = ({total})/2\noutput square\n")
    left = tuple(n for n in wrt if n in square.program.leaves)
    product = model.hvp("y", wrt=list(wrt))(grads, given)[1]
    slopes = square.value_and_grad("square", wrt=left)(given)[1]
    second = gradient_file(square, "square", left)
    texts = gl.loads(second)
    as_text = texts.function(texts.program.outputs)(given)
    for n in left:
        assert near(slopes[n], product[n], 1e-9), (n, first)
        assert near(as_text[f"d_square_d_{n}"], product[n], 1e-9), (n, second)


GATHERING: dict[str, str] = {
    "tree": "p : int[N]\nR : [N, 2, 2]\nA[0] = R[0]\nA[i] = A[p[i]] @ R[i] for i in range(1, N)\ny = sum(A[N-1]**2)\n",
    "history": "w : [N]\nh[0] = 1\nh[t] = sum(w[s]*h[t-1-s]**2 for s in range(t)) for t in range(1, N+1)\ny = h[N]\n",
}


@pytest.mark.parametrize("name", GATHERING)
def test_recurrences_that_gather(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "p.grad"
    path.write_text(GATHERING[name])
    assert main(["compile", str(path), "--target", "grad", "--of", "y"]) == 1
    said = capsys.readouterr().err
    assert "error[G530]: this derivative adds to rows that are known at the call only" in said
    assert "`--target numpy` writes it" in said
    assert main(["compile", str(path), "--target", "numpy", "--of", "y"]) == 0


def test_an_output_keeps_its_name() -> None:
    text = "def f(x):\n    y[0] = x\n    y[t] = sin(y[t-1]) for t in range(1, 4)\n    return y[3]\ninput a\ny = f(a)"
    assert gl.loads(gradient_file(gl.loads(text), "y", ("a",))).program.outputs == ("y", "d_y_d_a")


def test_a_sequence_of_numbers_is_no_constant() -> None:
    text = "y : [T]\ninput a = 0.5\nl[0] = 0\nl[t] = l[t-1] - a*y[t-1]**2 for t in range(1, T+1)\nf = -l[T]"
    model = gl.loads(text)
    given = {"y": [1.0, 2.0, 3.0]}
    made = gl.loads(gradient_file(model, "f", ("a", "y")))
    value, slope = model.value_and_grad("f", wrt=["a", "y"])(given)
    found = made.function(["f", "d_f_d_a", "d_f_d_y"])(given)
    assert (found["f"], found["d_f_d_a"], found["d_f_d_y"].tolist()) == (value, slope["a"], slope["y"].tolist())
