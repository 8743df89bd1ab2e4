"""Functions of numbers with keywords: their tables, and their way into Python past `functools.partial`."""

from __future__ import annotations

import ctypes
import functools
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from gradlang.backend.llvm_keywords import KEYS, Keywords
from gradlang.backend.llvm_results import TAG
from gradlang.runtime.native.engine import Library

VECTORCALL_OFFSET = 56  # where a type has it
HAS_VECTORCALL = 1 << 11  # Py_TPFLAGS_HAVE_VECTORCALL


def copied(labels: Sequence[str], kept: list[Any]) -> list[int]:
    """For an entry that copies a dict: its address, that of the object which is all its values, and the places of these;
    zeros if the places are not found. What must live goes to `kept`."""
    nothing = [0] * (2 + len(labels))
    if sys.version_info >= (3, 15) or dict.__basicsize__ != 48 or sys.getsizeof(object()) != 16:
        return nothing
    words, holes = [sys.intern(label) for label in labels], [object() for _ in labels]
    probe = dict(zip(words, holes, strict=True)).copy()
    entries = ctypes.c_void_p.from_address(id(probe) + KEYS).value
    many = (probe.__sizeof__() - dict.__basicsize__) // 8
    if not entries or many <= 0:
        return nothing
    found = {address: 8 * k for k, address in enumerate((ctypes.c_uint64 * many).from_address(entries))}
    if not all(id(hole) in found for hole in holes):
        return nothing
    hole = object()
    pattern = dict.fromkeys(words, hole)
    kept += [pattern, hole]
    if pattern.copy().__sizeof__() != probe.__sizeof__():
        return nothing
    return [id(pattern), id(hole), *(found[id(h)] for h in holes)]


@functools.cache
def changes_are_told() -> bool:
    """Whether references are counted in the first word of an object, and a dict tells by its version that it was changed."""
    if not (3, 11) <= sys.version_info < (3, 14) or dict.__basicsize__ != 48 or sys.getsizeof(object()) != 16:
        return False
    probe = object()
    counter = ctypes.c_int64.from_address(id(probe))
    alone = counter.value
    more = [probe] * 5
    if (alone, counter.value) != (1, 6):
        return False
    del more
    changes: list[Callable[[dict[str, float]], Any]] = [
        lambda d: d.update(a=7.5),
        lambda d: d.__setitem__("a", 7.5),
        lambda d: d.__setitem__("z", 7.5),
        lambda d: d.__delitem__("a"),
        lambda d: d.setdefault("z", 7.5),
        lambda d: d.pop("b"),
        lambda d: d.popitem(),
        lambda d: d.clear(),
        lambda d: d.__ior__({"z": 7.5}),
        lambda d: d.__init__(b=7.5),  # type: ignore[misc]
    ]
    pattern = {"a": 1.5, "b": 2.5}
    for change in changes:
        one = pattern.copy()
        tag = ctypes.c_uint64.from_address(id(one) + TAG)
        before = tag.value
        if one != pattern or one.get("a") != 1.5 or one.setdefault("b", 3.5) != 2.5 or not one.copy() or tag.value != before:
            return False
        change(one)
        if tag.value == before:
            return False
    return True


def fill(library: Library, entry: Keywords) -> None:
    """Fills the tables of an entry. What must live as long as the library is kept by it."""
    kept: list[Any] = []
    words: list[int] = []
    for part in entry.plain():
        words += copied(list(part), kept)
    if words:
        ctypes.memmove(library[entry.dicts_symbol()], (ctypes.c_int64 * len(words))(*words), 8 * len(words))
    if entry.again():
        results = [None, None]
        kept.append(results)
        told = changes_are_told() and all(patterns(entry, words))
        ctypes.c_int64.from_address(library[entry.again_symbol()]).value = id(results) if told else 0
    if entry.elsewhere is not None:
        addresses = (ctypes.c_void_p * 3)(*entry.elsewhere)
        ctypes.memmove(library[entry.elsewhere_symbol()], addresses, ctypes.sizeof(addresses))
    library.kept += kept


def patterns(entry: Keywords, words: Sequence[int]) -> list[int]:
    """The addresses of the dicts that are copied, of the words of all of them."""
    found, at = [], 0
    for part in entry.plain():
        found.append(words[at])
        at += 2 + len(part)
    return found


def symbols(entry: Keywords) -> list[str]:
    """The names that a library must give for an entry, beside those of every entry."""
    tables = [
        (entry.plain(), entry.dicts_symbol()),
        (entry.again(), entry.again_symbol()),
        (entry.elsewhere is not None, entry.elsewhere_symbol()),
    ]
    return [entry.vector_symbol(), entry.ask_symbol(), *(name for there, name in tables if there)]


@functools.cache
def vectorcall_offset() -> int:
    """Where a partial function has the address of its vectorcall; 0 if that is not known."""
    flags: int = partial.__flags__
    if sys.getsizeof(object()) != 16 or not flags & HAS_VECTORCALL:
        return 0
    offset = ctypes.c_int64.from_address(id(partial) + VECTORCALL_OFFSET).value
    if offset % 8 or not 16 < offset <= partial.__basicsize__ - 8:
        return 0
    probe = partial(len, "text")
    return offset if ctypes.c_void_p.from_address(id(probe) + offset).value == vectorcall_of(probe) else 0


def vectorcall_of(function: object) -> int | None:
    get = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object)(("PyVectorcall_Function", ctypes.pythonapi))
    found: int | None = get(function)
    return found


def straight(library: Library, entry: Keywords, made: Callable[..., Any], otherwise: Callable[..., Any]) -> partial[Any]:
    """`partial(made, otherwise)`, which Python calls at the entry's vectorcall without going through partial's own.

    It is a partial function in all else: if its state is set anew, it calls as partial functions do."""
    function = partial(made, otherwise)
    offset = vectorcall_offset()
    if offset:
        library.kept.append(otherwise)
        ctypes.c_void_p.from_address(library[entry.ask_symbol()]).value = id(otherwise)
        ctypes.c_void_p.from_address(id(function) + offset).value = library[entry.vector_symbol()]
    return function
