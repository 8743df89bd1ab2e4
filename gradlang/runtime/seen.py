"""Calls like the one before them, whose arguments need not be checked again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gradlang.runtime.bind import Binder

MOST = 2**20  # bytes of a default value that is kept
AGAIN: Any = object()  # what a step gives that could not go on


class Seen:
    """What is known of a call that was checked: which values were given, their kinds and shapes, the defaults of the others.

    `where` has for each argument its name, then the class, dtype and shape of its array; or `float`, and the kind of NumPy
    number that it becomes; or no name, and its default value. `step` is the code for arguments of these shapes, once a second
    call has asked for it."""

    __slots__ = ("count", "step", "where")

    def __init__(self, where: Sequence[tuple[str | None, Any, Any, Any]]) -> None:
        self.where = tuple(where)
        self.count = sum(name is not None for name, *_ in where)
        self.step: Callable[..., Any] | None = None

    def args(self, values: Mapping[str, Any]) -> list[Any] | None:
        """The arguments of a call with `values`, if it is such a call."""
        if len(values) != self.count:
            return None
        found = []
        for name, kind, dtype, shape in self.where:
            if name is None:
                found.append(kind)
                continue
            value: Any = values.get(name)
            if type(value) is not kind:
                if kind is not float or type(value) is not dtype:
                    return None
                found.append(value)
            elif kind is float:
                found.append(dtype(value))
            elif value.dtype is dtype and value.shape == shape:
                found.append(value)
            else:
                return None
        return found


def seen(binder: Binder, values: Mapping[str, Any], args: Sequence[Any]) -> Seen | None:
    """What is known after a call with `values`, whose arguments became `args`; None if its like has to be checked each time."""
    import numpy as np

    number = np.dtype(binder.dtype).type
    where: list[tuple[str | None, Any, Any, Any]] = []
    for (name, type_), arg in zip(binder.types.items(), args, strict=True):
        if name not in values:
            if getattr(arg, "nbytes", 0) > MOST:
                return None
            where.append((None, arg, None, None))
            continue
        value = values[name]
        if type(value) in (float, number) and type_.dtype == "real" and not type_.shape:
            where.append((name, float, number, None))
        elif type(value) is np.ndarray and value is arg and value.ndim:
            where.append((name, np.ndarray, value.dtype, value.shape))
        else:
            return None
    return Seen(where)
