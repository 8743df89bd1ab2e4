"""Compares a program with loops to the same loops in Python: values, and derivatives of every order that is offered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import gradlang as gl

Reference = Callable[..., Any]
# The central difference of order 8 (B. Fornberg, Math. Comp. 51 (1988), table 1).
STENCIL = ((1, 4 / 5), (2, -1 / 5), (3, 4 / 105), (4, -1 / 280))
WIDTH = 1e-3


def difference(f: Callable[[float], Any]) -> Any:
    """The derivative of f at 0, to about 12 digits for functions without a kink nearby."""
    return sum(c * (np.asarray(f(k * WIDTH), float) - np.asarray(f(-k * WIDTH), float)) for k, c in STENCIL) / WIDTH


def close(got: Any, wanted: Any, tol: float) -> bool:
    got, wanted = np.asarray(got, float), np.asarray(wanted, float)
    scale = 1 + np.max(np.abs(wanted[np.isfinite(wanted)]), initial=0)
    return got.shape == wanted.shape and bool(np.allclose(got, wanted, rtol=0, atol=tol * scale, equal_nan=True))


def is_real(value: Any) -> bool:
    return np.asarray(value).dtype.kind == "f"


def agrees(text: str, reference: Reference, given: Mapping[str, Any], of: str = "y", smooth: bool = True) -> gl.Model:
    """Asserts that `of` is what the reference says, in value, reverse, forward, second order and single precision."""
    given = {n: np.asarray(v) if not np.isscalar(v) else v for n, v in given.items()}
    model = gl.loads(text)
    value = model.function(of)(given)
    wanted = np.asarray(reference(**given))
    assert close(value, wanted, 1e-12), (text, value, wanted)
    single = gl.loads(text, dtype="float32")
    with np.errstate(all="ignore"):
        low = single.function(of)(given)
    assert np.asarray(low).dtype.kind != "f" or np.asarray(low).size == 0 or close(low, wanted, 1e-4), (text, low, wanted)
    names = [n for n, v in given.items() if is_real(v)]
    if not names or not is_real(value):
        return model
    rng = np.random.default_rng(7)
    u = rng.uniform(-1, 1, np.shape(value))
    v = {n: rng.uniform(-1, 1, np.shape(given[n])) for n in names}

    def at(h: float, along: Mapping[str, Any]) -> dict[str, Any]:
        return {n: x + h * along[n] if n in along else x for n, x in given.items()}

    pushed = model.jvp(of, wrt=names)(v, given)[1]
    slope = difference(lambda h: reference(**at(h, v)))
    assert close(pushed, slope, 1e-8), (text, "jvp", pushed, slope)
    pulled = model.vjp(of, wrt=names)(u, given)[1]
    assert close(sum(np.sum(pulled[n] * v[n]) for n in names), np.sum(u * pushed), 1e-11), (text, "vjp is not jvp")
    for n in names:
        assert np.shape(pulled[n]) == np.shape(given[n]), (text, n)
        for k in np.ndindex(np.shape(given[n])):
            unit = np.zeros(np.shape(given[n]))
            unit[k] = 1.0
            found = np.sum(u * difference(lambda h, n=n, unit=unit: reference(**at(h, {n: unit}))))
            assert close(np.asarray(pulled[n])[k], found, 1e-8), (text, "vjp", n, k, pulled[n], found)
    total = gl.loads(f"{text}\ntotal_ = sum(sin({of}))\n" if np.shape(value) else f"{text}\ntotal_ = sin({of})\n")
    slopes = total.value_and_grad("total_", wrt=names)
    product = total.hvp("total_", wrt=names)(v, given)[1]
    for n in names:
        found = difference(lambda h, n=n: slopes(at(h, v))[1][n])
        assert not smooth or close(product[n], found, 1e-7), (text, "hvp", n, product[n], found)
    w = {n: rng.uniform(-1, 1, np.shape(given[n])) for n in names}
    other = total.hvp("total_", wrt=names)(w, given)[1]
    here, there = (sum(np.sum(p[n] * d[n]) for n in names) for p, d in ((product, w), (other, v)))
    assert close(here, there, 1e-9), (text, "the Hessian is not symmetric", here, there)
    return model
