"""Products with several known numbers become one, and only where this changes no bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradlang as gl
from gradlang.runtime.native import available

LEAST, LARGEST = 5e-324, np.finfo("float64").max
SPECIAL = [0.0, -0.0, LEAST, -LEAST, 3 * LEAST, 2.0**-1022, 1.75 * 2.0**-1022, 2.0**-1021, 0.1, -1.0, 1 / 3, 1e-160, 1e160]
SPECIAL += [LARGEST, -LARGEST, LARGEST / 2, LARGEST / 3, LARGEST / 400, np.inf, -np.inf, np.nan]
SINGLE = [1e-45, -1e-45, 4e-45, 1.1754944e-38, 2.3e-38, 3.4028235e38, 1.7e38, 8.5e35, 1e-20]
NUMBERS = [1.0, 2.0, -2.0, 4.0, 0.5, 3.0, -100.0, 0.1, 1.5, -0.75, 2.0**60, 1e17, 2.0**90, LEAST, 0.0, 1e300]


def same(a: Any, b: Any) -> bool:
    """The same bits, but for those of a nan."""
    a, b = np.asarray(a), np.asarray(b)
    bits = f"u{a.dtype.itemsize}"
    return a.dtype == b.dtype and bool(((a.view(bits) == b.view(bits)) | (np.isnan(a) & np.isnan(b))).all())


def product(numbers: tuple[float, ...], x: Any, way: int) -> tuple[str, Any]:
    """A product of numbers and x, as a formula and by NumPy; the bits of `way` say on which side each stands, and the signs."""
    text, value = "x", x
    for k, c in enumerate(numbers):
        if way >> (2 * k) & 1:
            text, value = f"(-{text})", -value
        c_text = repr(c) if c >= 0 else f"({c!r})"
        left = way >> (2 * k + 1) & 1
        text, value = (f"({c_text}*{text})", c * value) if left else (f"({text}*{c_text})", value * c)
    return text, value


@given(st.lists(st.sampled_from(NUMBERS), min_size=2, max_size=4).map(tuple), st.integers(0, 255), st.sampled_from([32, 64]))
@settings(max_examples=300, deadline=None)
def test_no_bit_changes(numbers: tuple[float, ...], way: int, bits: int) -> None:
    if bits == 32 and max(map(abs, numbers)) > 1e38:
        return
    with np.errstate(all="ignore"):
        x = np.array(SPECIAL + SINGLE).astype(f"float{bits}")
        text, wanted = product(numbers, x, way)
        model = gl.loads(f"x : [N]\ny = {text}\n", dtype=f"float{bits}")
        assert same(model.function("y", backend="numpy")(x=x), wanted), text


@pytest.mark.skipif(available() is not None, reason="llvmlite is not there")
@pytest.mark.parametrize("numbers", [(2.0, 100.0, 2.0), (-3.0, 4.0, -4.0), (0.1, 2.0), (2.0, 0.1)])
def test_no_bit_changes_in_machine_code(numbers: tuple[float, ...]) -> None:
    x = np.array(SPECIAL)
    with np.errstate(all="ignore"):
        text, wanted = product(numbers, x, 0b01010101)
    assert same(gl.loads(f"x : [N]\ny = {text}\n").function("y", backend="native")(x=x), wanted)


@pytest.mark.parametrize(
    ("formula", "written"),
    [
        ("2*(100*(2*x))", "400.0 * x"),
        ("-(2*x)*2*100", "-400.0 * x"),
        ("(-x)*3", "-3.0 * x"),
        ("0.1*(x*2) + 0*x", "0.1 * (x * 2.0) + 0.0 * x"),  # 2*x may overflow where 0.2*x does not
        ("2*(0.1*x)", "2.0 * (0.1 * x)"),  # 0.1*x may lose digits of a subnormal number
        ("3*(5*x)", "3.0 * (5.0 * x)"),
        ("1.1*(-4*x)", "-4.4 * x"),
        ("2**99*(2**99*x)", "6.338253001141147e+29 * (6.338253001141147e+29 * x)"),
        ("(-sin(x))*(3*x)", "np.sin(x) * (-3.0 * x)"),
        ("x - (-3)", "x + 3.0"),
        ("x + (-3)", "x - 3.0"),
        ("x - (-2*x)", "x + 2.0 * x"),
        ("-3*x + sin(x)", "np.sin(x) - 3.0 * x"),
    ],
)
def test_what_is_one_product(formula: str, written: str) -> None:
    source = gl.loads(f"x : [N]\ny = {formula}\n").function("y", backend="numpy").source
    assert f" = {written}\n" in source


def test_numbers_stay_as_they_are_written() -> None:
    assert "2.0 * (100.0 * x)" in gl.loads("x = 3\ny = 2*(100*x)\n").function("y").source
