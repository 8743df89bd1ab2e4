"""`gradlang check` of programs whose formulas hold derivatives, loops, computed indices and implicit definitions."""

from __future__ import annotations

import pytest

import gradlang as gl

PROGRAMS = {
    "a derivative in a check, and one in an output": "x = 3\ny = x**3\nd = grad(y, x)\ncheck d == 27\ncheck grad(d, x) == 18\n",
    "a derivative in a loop": (
        "c = 5\n"
        "def newton(x):\n"
        "    y = x**3 - 2*x - c\n"
        "    return x - y/grad(y, x)\n"
        "x[0] = 2\n"
        "x[k] = newton(x[k-1]) for k in range(1, 7)\n"
        "root = x[6]\n"
        "check grad(root, c) == 1/(3*root**2 - 2) tol 1e-14\n"
    ),
    "a computed index": (
        "l = [[0.6, -0.3, 0.2], [0.1, 0.4, -0.7]]\n"
        "y = sum(sum(l[k, i*(i - 1)//2 + j]**i if i > j else 0 for i in range(3) for j in range(3)) for k in range(2))\n"
        "check y == 0.6 + 0.09 + 0.04 + 0.1 + 0.16 + 0.49 tol 1e-15\n"
    ),
    "a scalar root": "M = 1\nE = solve(E - 0.3*sin(E) - M for E from M)\ncheck grad(E, M) == 1/(1 - 0.3*cos(E)) tol 1e-14\n",
}


@pytest.mark.parametrize("text", PROGRAMS.values(), ids=PROGRAMS)
def test_holds(text: str) -> None:
    """Its promises, and its gradients against differences in 60 digits."""
    report = gl.loads(text).check()
    assert report.ok, str(report)
    assert "60-digit differences" in str(report)


def test_a_broken_promise_about_a_derivative_says_what_was_found() -> None:
    report = gl.loads("x = 3\ny = x**2\ncheck grad(y, x) == 5\n").check()
    assert not report.ok
    assert "found 6.0" in str(report)
