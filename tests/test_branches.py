"""The branch that is not taken contributes nothing, however infinite it is: to no derivative of first or second order."""

from __future__ import annotations

import numpy as np
import pytest

import gradlang as gl

# at x = 0 all of these are infinite or undefined
INFINITE = [
    'einsum("ij,j->i", [[1, 2], [3, 4]], 1/x)',
    'einsum("ij,j,j->i", [[1, 2], [3, 4]], 1/x, x)',
    'einsum("i,j->i", x, 1/x)',
    'einsum("ii->i", outer(1/x, x))*x',
    'einsum("i,j->", 1/x, 1/x)*x',
    "[[1, 2], [3, 4]] @ (1/x)",
    "x*sum(1/x)",
    "cumsum(1/x)*x",
    "concat([1/x[:1]*x[:1], 1/x[1:]*x[:1]])",
    "stack([1/x[0]*x[0], 1/x[1]*x[0]])",
    "softmax(1/x)*x",
    "x*norm(1/x)",
    "norm(x)*x/norm(x)**3*sum(x/norm(x))",
    "solve([[1, 2], [3, 4]]*x, 1/x)",
    "(1/x)[[1, 0]]*x",
    "outer(1/x, x) @ x",
    "(1/x) @ outer(x, x)",
    "(1/x) @ x*x",
    "prod(1/x)*x",
    "max(1/x)*x",
    "logsumexp(1/x)*x",
    "mean(log(x))*x",
    "[sum(1/x[j]*x[k] for k in range(2))*x[j] for j in range(2)]",
    "x @ inv(outer(x, x)) @ x*x",
    "solve(outer(x, x), x)*log(x) + logdet(outer(x, x))*x",
    "cholesky(outer(x, x)) @ x*log(x)",
    "flip(1/x)*x + roll(1/x, 1)*x",
    "cumprod(1/x)*x",
    "grad(sum(1/x)*sum(log(x)), x)*x",
    "jacobian(x/norm(x), x) @ x",
]
PROGRAMS = [f"x = [0, 0]\ny = sum({f} if x > 0 else x**2)" for f in INFINITE] + [
    "x = [0, 0]\ns[0] = x\ns[t] = s[t-1]*sum(1/x) for t in range(1, 3)\ny = sum(s[2] if x > 0 else x**2)",
    "x = [0, 0]\ns[0] = x\ns[t] = s[t-1]*sum(1/x) for t in range(1, 3)\ny = sum(s[2]**2 if x > 0 else x**2)",
    "x = [0, 0]\ns[0] = x\nfor t in range(1, 3):\n    q = outer(s[t-1], 1/x) @ x\n"
    "    s[t] = q if x > 0 else x**2/2\ny = 2*sum(s[2])",
]
UNITS = np.eye(2)


@pytest.mark.parametrize("backend", ["numpy", "native"])
@pytest.mark.parametrize("text", PROGRAMS)
def test_no_derivative_comes_from_the_branch_that_is_not_taken(text: str, backend: str) -> None:
    model = gl.loads(text)
    value, slope = model.value_and_grad("y", backend=backend)()
    assert value == 0
    assert slope["x"].tolist() == [0, 0]
    assert model.value_and_grad("y", checkpoint=True)()[1]["x"].tolist() == [0, 0]
    assert [model.jvp("y", wrt="x", backend=backend)(v)[1] for v in UNITS] == [0, 0]
    assert model.hessian("y", wrt="x", backend=backend)().tolist() == (2 * UNITS).tolist()
    assert [model.hvp("y", wrt="x", backend=backend)(v)[1].tolist() for v in UNITS] == (2 * UNITS).tolist()
