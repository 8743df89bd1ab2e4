"""The gate of a compiled function: calls like the one before them go past all of Python to the code that ran it."""

from __future__ import annotations

import ctypes
import importlib
import struct
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from gradlang.backend.llvm_gate import FUNCTIONS, NAME, OWN, WORDS, gate_text
from gradlang.once import once
from gradlang.runtime.native import vectorcall
from gradlang.runtime.native.calls import numpy_is_as_expected, python_is_as_expected, table
from gradlang.runtime.native.engine import Library, NativeError, load
from gradlang.runtime.native.program import Version
from gradlang.runtime.seen import AGAIN, Seen

VERSIONS = (0x01000009, 0x02000000)  # of NumPy's binary interface
VERSION, CLASS = 0, 2  # places in it: PyArray_GetNDArrayCVersion, PyArray_Type
PLACES = {"PyArray_NewFromDescr": 94, "PyArray_NewCopy": 85}


@once
def numpy_functions() -> dict[str, int] | None:
    """The addresses of functions of NumPy's binary interface, if it is one that is known."""
    try:
        inner = importlib.import_module("numpy._core._multiarray_umath")
    except ImportError:  # before NumPy 2
        inner = importlib.import_module("numpy.core._multiarray_umath")
    get = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)(("PyCapsule_GetPointer", ctypes.pythonapi))
    found = ctypes.cast(get(inner._ARRAY_API, None), ctypes.POINTER(ctypes.c_void_p))
    if ctypes.PYFUNCTYPE(ctypes.c_uint)(found[VERSION] or 0)() not in VERSIONS or found[CLASS] != id(np.ndarray):
        return None
    return {name: found[at] or 0 for name, at in PLACES.items()}


@once
def library(base: type, ask: Callable[..., Any]) -> tuple[Library, vectorcall.Pair] | None:
    """The code of all gates before objects of a class, and the classes that these go to; None where objects do not lie as it
    expects, or there is no machine code. `ask` is called with an object and with what that was called with."""
    probe, classes, functions = b"probe", vectorcall.pair(base), numpy_functions()
    expected = numpy_is_as_expected() and python_is_as_expected() and struct.calcsize("P") == 8
    if not expected or classes is None or functions is None:
        return None
    if bytes.__basicsize__ != WORDS + 1 or ctypes.string_at(id(probe) + WORDS, 5) != probe:
        return None
    try:
        made = load(gate_text(), [NAME, "python", "own"])
    except NativeError:
        return None
    places, _ = table()
    ctypes.memmove(made["python"], places, ctypes.sizeof(places))
    known = {"place": classes.place, "ask": id(ask), "again": id(AGAIN), "tuple": id(tuple), **functions}
    known |= {name: ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value or 0 for name in FUNCTIONS}
    made.kept += [ask, AGAIN]
    own = (ctypes.c_void_p * len(OWN))(*(known[name] for name in OWN))
    ctypes.memmove(made["own"], own, ctypes.sizeof(own))
    return made, classes


def opened(made: object, base: type, ask: Callable[..., Any], names: list[str], seen: Seen, version: Version) -> None:
    """Calls like `seen` of a function, an object of the roomy class of `base`, go to the code of a version, which has its
    arguments in the order of `names`; all others, as well as those that the code fails in, go to `ask`. Nothing happens where
    there is no such way. A value that is not given is the default that it was in `seen`."""
    found = library(base, ask)
    if found is None or type(made) not in (found[1].roomy, found[1].open):
        return
    items = gate(names, seen, version)
    if items is not None:
        vectorcall.opens(made, found[1], found[0][NAME], (*items, found[0]))


def gate(names: list[str], seen: Seen, version: Version) -> tuple[Any, ...] | None:
    """What the code has to know, and all that it needs; None if a default is no array."""
    rows: list[int] = []
    lengths: list[int] = []
    defaults: list[Any] = []
    first = 1 + 3 * len(names)
    for name, kind, dtype, shape in seen.where:
        value = kind if name is None else None
        if name is None:
            kind, dtype = type(value), getattr(value, "dtype", None)
            shape = getattr(value, "shape", ())
            if kind is not np.ndarray:
                return None
        defaults.append(AGAIN if name is not None else value)
        if kind is float:
            rows += [0, id(dtype), 0]
        else:
            rows += [id(dtype), len(shape), first + len(lengths)]
            lengths += shape
    words = struct.pack(f"{first + len(lengths)}q", len(names), *rows, *lengths)
    steps = version.recipe or (None, None)
    return words, version.run, *steps, *map(sys.intern, names), *defaults, [s[2] for s in seen.where]
