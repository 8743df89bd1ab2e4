"""Memory of results that come and go: the process keeps its pages."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from gradlang.runtime import native, sizes

CALLS = """
import resource, sys
import numpy as np
import gradlang as gl

n = 60_000
x = np.linspace(0, 1, n)
text = "x : [N]\\nz : [N]\\nw : [N]\\ny = sum(" + sys.argv[2] + ")\\n"
f = gl.loads(text).value_and_grad("y", backend=sys.argv[1])
for _ in range(5):
    f(x=x, z=x, w=x)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    f(x=x, z=x, w=x)
pages = 3*n*8/resource.getpagesize()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)/20/pages)
"""
glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other libraries have other rules")


@glibc
@pytest.mark.parametrize("what", ["x*z*w", "x*exp(z)*tanh(w)"])
@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_pages_of_results_are_kept(backend, what):
    """A call touches hardly a page for the first time; without `keep_pages` it touches all of its results."""
    if backend == "native" and native.available() is not None:
        pytest.skip(str(native.available()))
    done = subprocess.run([sys.executable, "-c", CALLS, backend, what], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 0.2


class Told:
    def __init__(self, *dims, dtype="real"):
        self.shape, self.dtype = dims, dtype


def job(*types, dtype="float64"):
    instrs = [type("Instr", (), {"type": t})() for t in types]
    tape = type("Tape", (), {"instrs": instrs, "outputs": [(f"o{k}", k) for k in range(len(types))]})()
    return type("Job", (), {"tape": tape, "dtype": dtype})()


@pytest.mark.parametrize(
    ("made", "block"),
    [
        (job(Told(10_000), Told(20_000)), 480_000),
        (job(Told(10_000), Told(20_000), dtype="float32"), 240_000),
        (job(Told(30_000, dtype="int"), dtype="float32"), 480_000),
        (job(Told(), Told(20_000)), 320_000),
        (job(Told(100)), 0),
        (job(Told(3_000_000)), 0),
        (job(), 0),
    ],
)
def test_the_block_that_is_taken(made, block, monkeypatch):
    """Once, and neither for small results nor for those that the system gives anyway."""
    monkeypatch.setattr(sizes, "taken", 0)
    sizes.keep_pages(made, {})
    assert sizes.taken == block
    sizes.keep_pages(job(Told(9_000)), {})
    assert sizes.taken == max(block, 144_000)
