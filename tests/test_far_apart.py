"""Machine code in a process whose free addresses are scattered: large arrays below, holes of one page above them, so that code and
its constants come to lie further apart than the instructions of LLVM's smaller models reach."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes
import mmap
import llvmlite.binding
import numpy as np
import gradlang as gl

library = ctypes.CDLL(None, use_errno=True)
library.mmap.restype = ctypes.c_void_p
library.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
library.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
PAGE, NOBODY_MAY_READ = mmap.PAGESIZE, 0
NO_MEMORY_IS_MEANT = 0x4000

def taken(pages):
    return library.mmap(None, pages*PAGE, NOBODY_MAY_READ, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NO_MEMORY_IS_MEANT, -1, 0)

many = 400
above = taken(many)
below = taken((16 << 30)//PAGE)
if above == ctypes.c_void_p(-1).value or below == ctypes.c_void_p(-1).value or not below < above:
    raise SystemExit("no such addresses")
for pages in (4096, 512, 64, 16, 8, 4, 3, 2):
    while taken(pages) > below:
        pass
for k in range(0, many, 2):
    library.munmap(above + k*PAGE, PAGE)

text = "x : [N]\\nz : [N]\\ny = sum(tanh(x)*exp(-x*x)*sin(z)*erf(x)) + sum(log(1 + z*z)*exp(x)*cosh(z)**1.3)"
given = {"x": np.linspace(-2, 3, 70), "z": np.linspace(0, 1, 70)}
values = [gl.loads(text).value_and_grad(backend=backend)(**given)[0] for backend in ("numpy", "native")]
scalar = gl.loads("a = 1\\nb = a*exp(a) + 3.7").value_and_grad("b", backend="native")
print(np.allclose(*values, rtol=1e-12), abs(scalar(a=1.0)[0] - 6.418281828459045) < 1e-14)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="addresses are given out from the top on Linux")
def test_code_reaches_constants_that_are_far_away():
    pytest.importorskip("llvmlite")
    environment = {**os.environ, "GRADLANG_CACHE": "off"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True)
    if "no such addresses" in done.stderr:
        pytest.skip("this system gives addresses out in another order")
    assert (done.returncode, done.stdout) == (0, "True True\n"), done.stderr
