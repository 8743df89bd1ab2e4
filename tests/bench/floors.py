"""Hand-written C as a floor: compiled when a benchmark starts, into a folder that goes with the process, called by ctypes."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

int64 = ctypes.c_int64
HERE = Path(__file__).resolve().parent / "c"
FLAGS = ["-O3", "-march=native", "-fPIC", "-fno-math-errno", "-fno-trapping-math", "-fopenmp-simd"]
# -ffast-math is what makes gcc call the vector libm. It stands here and not at the link: there it would switch the
# process to flush small numbers to zero.

LOOSE = [*FLAGS, "-ffast-math"]


@cache
def compiler() -> str | None:
    """gcc, or what the system calls its C compiler. BENCH_CC names another, or none if it is empty."""
    named = os.environ.get("BENCH_CC")
    return shutil.which(named) if named else None if named == "" else shutil.which("gcc") or shutil.which("cc")


@cache
def folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="bench-c-")


def built(name: str, source: str, flags: Sequence[str]) -> ctypes.CDLL:
    return ctypes.CDLL(str(file(name, source, flags)))


def file(name: str, source: str, flags: Sequence[str]) -> Path:
    """A shared library made of a source text. Raises ImportError where there is no compiler: the floor is left out."""
    cc = compiler()
    if cc is None:
        raise ImportError("no C compiler")
    text, made, library = (Path(folder().name) / f"{name}{end}" for end in (".c", ".o", ".so"))
    text.write_text(source, encoding="utf-8")
    for words in ([*flags, "-c", str(text), "-o", str(made)], ["-shared", str(made), "-o", str(library), "-lmvec", "-lm"]):
        done = subprocess.run([cc, *words], capture_output=True, text=True)
        if done.returncode and "-lmvec" in words:  # only glibc has a vector libm
            done = subprocess.run([cc, *(w for w in words if w != "-lmvec")], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{cc} {' '.join(words)}:\n{done.stderr}")
    return library


@cache
def extension(name: str) -> Any:
    """The CPython module made of c/`name`.c. Raises ImportError where Python has no headers, too."""
    headers = Path(sysconfig.get_paths()["include"])
    if not (headers / "Python.h").exists():
        raise ImportError("no headers of Python")
    source = (HERE / f"{name}.c").read_text(encoding="utf-8")
    made = file(name, source, [*FLAGS, f"-I{headers}"])
    spec = importlib.util.spec_from_file_location(name, made)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def library(name: str, width: int = 512, loose: bool = True) -> ctypes.CDLL:
    """The library made of c/`name`.c; `width` in bits is what gcc should prefer where the processor has such vectors,
    `loose` allows it to change the order of sums and to call the vector libm."""
    head = (HERE / "vector.h").read_text(encoding="utf-8")
    source = (HERE / f"{name}.c").read_text(encoding="utf-8").replace('#include "vector.h"', head)
    wide = [f"-mprefer-vector-width={width}"] if platform.machine() in ("x86_64", "AMD64") else []
    return built(name, source, [*(LOOSE if loose else FLAGS), *wide])


def address(a: np.ndarray) -> int:
    """Where an array lies; it must be kept alive by whoever calls."""
    if not a.flags.c_contiguous:
        raise ValueError("a C floor takes C-contiguous arrays")
    return a.ctypes.data


def bound(function: Any, arguments: Sequence[Any], result: Any = None) -> Callable[[], Any]:
    """A call of a C function with fixed arguments: arrays as pointers, whole numbers as int64, floats as double.

    Everything is converted once, so that a call costs what ctypes costs and no more."""
    made: list[Any] = []
    for a in arguments:
        if isinstance(a, np.ndarray):
            made.append(ctypes.c_void_p(address(a)))
        elif isinstance(a, int):
            made.append(ctypes.c_int64(a))
        else:
            made.append(ctypes.c_double(a))
    function.restype = ctypes.c_double if result is None else result
    kept = list(arguments)

    def call() -> Any:
        return function(*made)

    call.kept = kept  # type: ignore[attr-defined]
    return call
