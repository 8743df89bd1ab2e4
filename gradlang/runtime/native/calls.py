"""Entries as Python functions."""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from gradlang.backend.llvm import unit_text
from gradlang.backend.llvm_entry import Entry
from gradlang.backend.llvm_keywords import Keywords
from gradlang.backend.llvm_ops import Width
from gradlang.backend.llvm_python import FUNCTIONS, OBJECTS, TABLE, reading_text
from gradlang.loops.ir import Function
from gradlang.once import once
from gradlang.runtime.native import keywords
from gradlang.runtime.native.engine import Library, load, target

METH_FASTCALL = 0x80
METH_KEYWORDS = 0x02
METH_VARARGS = 0x01


class Definition(ctypes.Structure):
    """CPython's PyMethodDef."""

    _fields_ = (("name", ctypes.c_char_p), ("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("doc", ctypes.c_char_p))


class Held:
    """What a function needs as long as it lives; it is the function's `__self__`."""

    __slots__ = ("again", "definition", "keys", "library")

    def __init__(self, library: Library, definition: Definition, keys: list[Any]) -> None:
        self.library, self.definition, self.keys = library, definition, keys
        self.again: tuple[Callable[..., Any], tuple[Any, ...]] | None = None  # what makes the function of numbers elsewhere

    def __reduce__(self) -> tuple[Any, ...]:
        """`multiprocessing` takes partial functions apart, and pickles their functions by the name here."""
        if self.again is None:
            raise TypeError("machine code cannot be pickled")
        return remade, (self.definition.name.decode(), *self.again)


def remade(name: str, make: Callable[..., Any], args: tuple[Any, ...]) -> SimpleNamespace:
    return SimpleNamespace(**{name: functools.partial(alone, make(*args))})


def alone(function: Callable[..., Any], otherwise: Callable[..., Any], /, *args: Any, **values: Any) -> Any:
    """A call of a function that knows what is called instead of it."""
    return function(*args, **values)


@once
def table() -> tuple[Any, tuple[object, ...]]:
    """The addresses that entries use, and the objects that must live.

    Raises NativeError if LLVM does not make what reads arrays."""
    objects: dict[str, object] = {
        "None": None,
        "TypeError": TypeError,
        "ValueError": ValueError,
        "OverflowError": OverflowError,
        "ndarray": np.ndarray,
        **{name: np.dtype(name) for name in ("float64", "float32", "int64", "int32", "bool")},
        "float": float,
        "Exception": Exception,
        "dict": dict,
        "str": str,
    }
    places = [ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value for name in FUNCTIONS]
    places += [id(objects[name]) for name in OBJECTS]
    reading = load(reading_text(), ["arrays", "release", "python"])
    places += [reading["arrays"], reading["release"], tuple.__basicsize__]
    if not numpy_is_as_expected():
        places[TABLE.index("ndarray")] = 0  # no object has this class: all arrays go through the buffer protocol
    if not python_is_as_expected():
        places[TABLE.index("float")] = 0  # whoever asks for floats is given none
    made = (ctypes.c_void_p * len(places))(*places)
    ctypes.memmove(reading["python"], made, ctypes.sizeof(made))
    return made, (reading, *objects.values())


def numpy_is_as_expected() -> bool:
    """Whether an array's fields lie where NumPy's C API has had them since 1.7."""
    probe = np.zeros((3, 5))
    if sys.getsizeof(object()) != 16 or type(probe).__basicsize__ < 72:
        return False
    at = id(probe)
    data, dims, descr = (ctypes.c_void_p.from_address(at + k).value for k in (16, 32, 56))
    nd, flags = (ctypes.c_int.from_address(at + k).value for k in (24, 64))
    if (data, nd, descr, flags) != (probe.ctypes.data, 2, id(probe.dtype), probe.flags.num) or not dims:
        return False
    return list((ctypes.c_int64 * 2).from_address(dims)) == [3, 5]


def python_is_as_expected() -> bool:
    """Whether the numbers of floats and the items of tuples lie where CPython has had them."""
    probe, pair = 1.2345678901234567, ("probe", "pair")
    if sys.getsizeof(object()) != 16 or float.__basicsize__ != 24:
        return False
    items = (ctypes.c_void_p * 2).from_address(id(pair) + tuple.__basicsize__)
    number, many = ctypes.c_double.from_address(id(probe) + 16), ctypes.c_int64.from_address(id(pair) + 16)
    return number.value == probe and many.value == 2 and list(items) == [id(item) for item in pair]


def bind(library: Library, entry: Entry) -> Callable[..., Any]:
    """An entry as a Python function, which keeps the library in memory. `library` must have been loaded with the names
    `exports(entry)`.

    The function raises TypeError for a wrong number of arguments or the wrong kind of array, ValueError for arrays that are
    too short, not contiguous or not writable, and what the conversion of a number raises.
    """
    places, _ = table()
    ctypes.memmove(library["python"], places, ctypes.sizeof(places))
    keys: list[Any] = []
    for symbol, texts in entry.tables().items():
        words = [sys.intern(text) for text in texts]
        made = (ctypes.c_void_p * len(words))(*map(id, words))
        ctypes.memmove(library[symbol], made, ctypes.sizeof(made))
        keys += words
    if isinstance(entry, Keywords):
        keywords.fill(library, entry)
    flags = METH_FASTCALL | METH_KEYWORDS if isinstance(entry, Keywords) else METH_FASTCALL
    definition = Definition(entry.name.encode(), library[entry.name], flags, None)
    prototype = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)
    create = prototype(("PyCFunction_NewEx", ctypes.pythonapi))
    function: Callable[..., Any] = create(ctypes.addressof(definition), Held(library, definition, keys), None)
    return function


def exports(entry: Entry) -> list[str]:
    """The names that a library must give for an entry."""
    more = keywords.symbols(entry) if isinstance(entry, Keywords) else []
    return [entry.name, "python", *entry.tables(), *more]


def build(
    entries: Sequence[Entry], width: Width, functions: Callable[[str], Function], level: int = 2
) -> list[Callable[..., Any]]:
    """Entries, from the loop form to Python functions, as one unit. At `level` 1 nothing is made into vectors, and long
    straight-line code compiles sooner.

    Raises NativeError, with the reason in one line.
    """
    if not entries:
        return []
    text = unit_text([], width, target(), functions, entries)
    library = load(text, sorted({name for entry in entries for name in exports(entry)}), level)
    return [bind(library, entry) for entry in entries]
