"""Loops that store whole lines: the same bits wherever an array begins, and nothing beside it is touched."""

from __future__ import annotations

import numpy as np
import pytest

import gradlang as gl
from gradlang.backend.llvm_aligned import ALONE, LEAST
from gradlang.runtime import native

WHY = native.available()
pytestmark = pytest.mark.skipif(WHY is not None, reason=str(WHY))
WRITTEN_TWICE = {
    "from the first entry": "x : [N]\ny = 3*x**2 - x\n",
    "from the second": "x : [N]\ny[0] = x[0]\ny[i] = x[i]*x[i] - x[i-1] for i in range(1, N)\n",
    "rows": "x : [N]\ny = stack([x*x, x + 1, where(x > 0, x, -x)])\n",
}
WRITTEN_ONCE = {
    "sums": "x : [N]\ny = sum(x*x)\n",
    "quotients": "x : [N]\ny = x/(1 + x**2)\n",
    "functions": "x : [N]\ny = exp(x)\n",
    "products that melt into sums": "x : [N]\ny = sum(x[i:i+3]*[1, 2, 3] for i in range(N-2))\n",
}


def version(text, n, dtype="float64"):
    f = gl.loads(text, dtype=dtype).function("y", backend="native")
    x = np.random.default_rng(n).normal(size=n).astype(dtype)
    return f(x=x), f.raw.last, x


def placed(count, dtype, offset):
    """An array that begins so many bytes behind a line, with room around it."""
    raw = np.full(count * np.dtype(dtype).itemsize + 256, 0xAB, np.uint8)
    start = -raw.ctypes.data % 64 + 64 + offset
    return raw, raw[start : start + count * np.dtype(dtype).itemsize].view(dtype)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("n", [LEAST + 1, LEAST + 2, 1000])
@pytest.mark.parametrize("name", WRITTEN_TWICE)
def test_bits_do_not_depend_on_the_place(name, n, dtype):
    wanted, code, x = version(WRITTEN_TWICE[name], n, dtype)
    assert ALONE in code.text
    run = code.run.__globals__["run_k0"]
    for offset in range(0, 64, np.dtype(dtype).itemsize):
        for shift in (0, 16):
            (raw, y), (_, given) = placed(wanted.size, dtype, offset), placed(n, dtype, shift)
            given[:], before = x, raw.copy()
            run(y.reshape(wanted.shape), given, 1)
            assert y.tobytes() == wanted.tobytes()
            inside = np.zeros(len(raw), bool)
            first = y.ctypes.data - raw.ctypes.data
            inside[first : first + y.nbytes] = True
            assert (raw[~inside] == before[~inside]).all()


@pytest.mark.parametrize("name", WRITTEN_ONCE)
def test_other_loops_are_written_once(name):
    """Sums would depend on the place of memory; where there is more to do, nothing is gained."""
    _, code, _ = version(WRITTEN_ONCE[name], 1000)
    assert ALONE not in code.text


def test_short_loops_are_written_once():
    _, code, _ = version(WRITTEN_TWICE["from the first entry"], LEAST - 1)
    assert ALONE not in code.text
