"""The other packages, set to one core and float64. Each function raises ImportError where its package is not installed."""

from __future__ import annotations

import os
import tempfile
from functools import cache
from typing import Any


@cache
def jax() -> Any:
    import jax as j

    j.config.update("jax_enable_x64", True)
    return j


@cache
def torch() -> Any:
    import torch as t

    t.set_num_threads(1)
    t.set_default_dtype(t.float64)
    return t


@cache
def casadi() -> Any:
    import casadi as c

    return c


@cache
def autograd() -> Any:
    import autograd as a

    return a


@cache
def drjit() -> Any:
    """Dr.Jit runs its kernels through an LLVM library of the system: without one it counts as not installed."""
    import drjit as d
    from drjit.llvm.ad import Float64

    d.set_thread_count(1)
    try:
        d.eval(Float64([1.0]) + 1.0)
    except Exception as error:
        raise ImportError(f"drjit has no LLVM: {error}") from error
    return d


@cache
def ddx() -> Any:
    import ddx as d

    return d


@cache
def pytensor() -> Any:
    os.environ.setdefault("PYTENSOR_FLAGS", f"base_compiledir={compiled_by_pytensor().name}")
    import pytensor as p

    return p


@cache
def compiled_by_pytensor() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="bench-pytensor-")


@cache
def sympy() -> Any:
    import sympy as s

    return s


def from_casadi(function: Any, inputs: list[Any]) -> tuple[Any, list[Any]]:
    """A CasADi function bound to memory: (call, output arrays). The cheapest way into it from Python."""
    import numpy as np

    buffer, call = function.buffer()
    kept = [np.asarray(v, "float64").copy(order="F") for v in inputs]
    for k, v in enumerate(kept):
        buffer.set_arg(k, memoryview(v.reshape(-1, order="F")))
    outputs = []
    for k in range(function.n_out()):
        out = np.zeros(function.nnz_out(k))
        buffer.set_res(k, memoryview(out))
        outputs.append(out)

    def go() -> None:
        call()

    go.kept = kept, buffer, call  # type: ignore[attr-defined]
    return go, outputs
