"""Classes whose objects Python calls by an address that they hold (PEP 590), made by the stable part of its C API.

There are two for a class: `Open` of one whose objects have the address and a tuple for the code behind it, and with it `Roomy`,
whose objects have room for them and are called as those of the class. An object goes from one to the other as its class is set.
"""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress
from typing import Any

from gradlang.once import once
from gradlang.record import record

OBJECT, SIZE, READONLY = 16, 19, 1  # T_OBJECT_EX, T_PYSSIZET and READONLY of PyMemberDef
CALL, DOC, MEMBERS = 50, 56, 72  # Py_tp_call, Py_tp_doc, Py_tp_members
DEFAULT, BASETYPE, VECTORCALL = 1 << 18, 1 << 10, 1 << 11  # flags of types
INNER = 0b11100 | 1 << 14  # flags that say what lies before and in an object: its dict, weak references, garbage collection


class Member(ctypes.Structure):
    """CPython's PyMemberDef."""

    _fields_ = (
        *(("name", ctypes.c_char_p), ("type", ctypes.c_int), ("offset", ctypes.c_ssize_t)),
        *(("flags", ctypes.c_int), ("doc", ctypes.c_char_p)),
    )


class Slot(ctypes.Structure):
    """CPython's PyType_Slot."""

    _fields_ = (("slot", ctypes.c_int), ("place", ctypes.c_void_p))


class Spec(ctypes.Structure):
    """CPython's PyType_Spec."""

    _fields_ = (
        *(("name", ctypes.c_char_p), ("basicsize", ctypes.c_int), ("itemsize", ctypes.c_int)),
        *(("flags", ctypes.c_uint), ("slots", ctypes.POINTER(Slot))),
    )


KEPT: list[Any] = []  # types have addresses of their names, members and texts


class Told:
    """The signature of an object's call, where Python itself cannot tell it."""

    def __init__(self, call: Any) -> None:
        self.call = call

    def __get__(self, made: Any, kind: Any = None) -> Any:
        if made is None:
            raise AttributeError("__signature__")
        import inspect

        found = inspect.signature(self.call)
        return found.replace(parameters=list(found.parameters.values())[1:])


@record
class Pair:
    """The classes for one class, where their objects have the tuple, and what sets the tuple and the address."""

    roomy: type
    open: type
    place: int
    tuple: Any
    address: Any


def made(base: type, size: int, flags: int, members: list[tuple[bytes, int, int, int]], slots: list[tuple[int, Any]]) -> type:
    """A class like `base` with objects of `size` bytes."""
    table = (Member * (len(members) + 1))(*(Member(*m, None) for m in members))
    doc = ctypes.create_string_buffer((base.__doc__ or "").encode())
    given = [*slots, (DOC, ctypes.addressof(doc)), (MEMBERS, ctypes.addressof(table)), (0, None)]
    rows = (Slot * len(given))(*(Slot(*g) for g in given))
    spec = Spec(f"{base.__module__}.{base.__qualname__}".encode(), size, 0, DEFAULT | flags, rows)
    KEPT.append((table, doc, rows, spec))
    prototype = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.py_object)
    create = prototype(("PyType_FromSpecWithBases", ctypes.pythonapi))
    found: type = create(ctypes.addressof(spec), (base,))
    return found


@once
def pair(base: type) -> Pair | None:
    """The classes for a class that is written in Python; None where objects are not those of CPython with a lock for all
    threads, or a class that is made so has other objects than its base."""
    if sys.implementation.name != "cpython" or sys.getsizeof(object()) != 16 or ctypes.sizeof(ctypes.c_void_p) != 8:
        return None
    size = base.__basicsize__
    address, place = size, size + 8
    members = [(b"address", SIZE, address, 0), (b"tuple", OBJECT, place, 0)]
    call = ctypes.cast(ctypes.pythonapi.PyVectorcall_Call, ctypes.c_void_p).value
    offset = [(b"__vectorcalloffset__", SIZE, address, READONLY)]
    roomy = made(base, size + 16, BASETYPE, members, [])
    opened = made(roomy, size + 16, VECTORCALL, offset, [(CALL, call)])
    if not (alike(base, roomy, 16) and alike(roomy, opened, 0)) or not opened.__flags__ & VECTORCALL:
        return None
    found = Pair(roomy, opened, place, vars(roomy)["tuple"], vars(roomy)["address"])
    for name in ("tuple", "address"):  # nobody else sets what machine code reads
        delattr(roomy, name)
    opened.__signature__ = Told(base.__call__)  # type: ignore[attr-defined]
    return found


def alike(base: type, other: type, more: int) -> bool:
    """Whether objects of a class that was made lie as those of its base, with so many bytes more."""
    same = all(getattr(base, name) == getattr(other, name) for name in ("__dictoffset__", "__weakrefoffset__", "__itemsize__"))
    return same and other.__basicsize__ == base.__basicsize__ + more and not (base.__flags__ ^ other.__flags__) & INNER


def roomy(base: type) -> type:
    """The class of objects that may be opened, or `base` where there is none."""
    found = pair(base)
    return base if found is None else found.roomy


def opens(made: object, classes: Pair, address: int, items: tuple[Any, ...]) -> None:
    """Calls of an object of one of the classes go to the code at an address from now on."""
    classes.tuple.__set__(made, items)
    classes.address.__set__(made, address)
    made.__class__ = classes.open


def closes(made: object, base: type) -> None:
    """Calls of an object go to its class, which is like `base`, again."""
    classes = pair(base)
    if classes is not None and type(made) is classes.open:
        made.__class__ = classes.roomy
        with suppress(AttributeError):  # another thread was here
            classes.tuple.__delete__(made)
