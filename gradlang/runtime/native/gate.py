"""The gate of a compiled function: calls like the one before them go past all of Python to the code that ran it."""

from __future__ import annotations

import ctypes
import struct
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from gradlang.backend.llvm_gate import NAME, WORDS, gate_text
from gradlang.once import once
from gradlang.runtime.native.calls import (
    METH_KEYWORDS,
    METH_VARARGS,
    Definition,
    numpy_is_as_expected,
    python_is_as_expected,
    table,
)
from gradlang.runtime.native.engine import Library, NativeError, load
from gradlang.runtime.seen import AGAIN, Seen


@once
def library() -> tuple[Library, Definition] | None:
    """The code of all gates; None where objects do not lie as it expects, or there is no machine code."""
    probe = b"probe"
    expected = numpy_is_as_expected() and python_is_as_expected() and struct.calcsize("P") == 8
    if not expected or bytes.__basicsize__ != WORDS + 1 or ctypes.string_at(id(probe) + WORDS, 5) != probe:
        return None
    try:
        made = load(gate_text(), [NAME, "python"])
    except NativeError:
        return None
    places, _ = table()
    ctypes.memmove(made["python"], places, ctypes.sizeof(places))
    return made, Definition(b"gate", made[NAME], METH_VARARGS | METH_KEYWORDS, None)


def gate(names: list[str], seen: Seen, run: Callable[..., Any], ask: Callable[..., Any]) -> Callable[..., Any] | None:
    """A function that gives calls like `seen` to `run`, which has its arguments in the order of `names`, and all others, as
    well as those that `run` fails in, to `ask`; None where there is none. A value that is not given is the default that it
    was in `seen`."""
    found = library()
    if found is None:
        return None
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
    held = (words, run, ask, AGAIN, *map(sys.intern, names), *defaults, [s[2] for s in seen.where], found[0])
    prototype = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)
    create = prototype(("PyCFunction_NewEx", ctypes.pythonapi))
    made: Callable[..., Any] = create(ctypes.addressof(found[1]), held, None)
    return made
