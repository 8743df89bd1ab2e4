"""Calls like the one before them, whose arguments need not be checked again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from gradlang.runtime.bind import Binder

MOST = 2**20  # bytes of a default value that is kept
AGAIN: Any = object()  # what a step gives that could not go on


def never(values: Mapping[str, Any]) -> Any:
    return AGAIN


@cache
def straight(form: tuple[tuple[str | None, bool], ...], floats: bool) -> Callable[..., Callable[[Mapping[str, Any]], Any]]:
    """What makes `Seen.quick` of a step and of what `where` has of each argument but its name and class; arguments are given by
    their names, or none for a default, and whether they are numbers. It is written as Python, since a loop over three arguments
    takes as long as a kernel over a hundred numbers."""
    known, reads, tests, args = [], [], [], []
    for k, (name, number) in enumerate(form):
        if name is None:
            known.append(f"kept{k}")
            args.append(f"kept{k}")
            continue
        known += [f"kind{k}", f"shape{k}"]
        reads.append(f"                v{k} = values[{name!r}]")
        if number:
            tests.append(f"(type(v{k}) is float or type(v{k}) is kind{k})")
            args.append(f"v{k}" if floats else f"kind{k}(v{k})")
        else:
            tests.append(f"type(v{k}) is ndarray and v{k}.dtype is kind{k} and v{k}.shape == shape{k}")
            args.append(f"v{k}")
    lines = [
        f"def make({', '.join(['step', *known])}):",
        "    def quick(values):",
        f"        if len(values) == {len(reads)}:",
        "            try:",
        *reads,
        f"                if {' and '.join(tests)}:",
        f"                    return step({', '.join(args)})",
        "            except Exception:",  # told by the call that follows, if it is one
        "                pass",
        "        return AGAIN",
        "    return quick",
    ]
    import numpy as np

    namespace: dict[str, Any] = {"AGAIN": AGAIN, "ndarray": np.ndarray}
    exec(compile("\n".join(lines), "<gradlang call>", "exec"), namespace)
    made: Callable[..., Any] = namespace["make"]
    return made


class Seen:
    """What is known of a call that was checked: which values were given, their kinds and shapes, the defaults of the others.

    `where` has for each argument its name, then the class, dtype and shape of its array; or `float`, and the kind of NumPy
    number that it becomes; or no name, and its default value. `quick` gives the result of such a call, or `AGAIN` for others,
    for what goes wrong, and until a second call has asked for the code for these shapes, which is then followed."""

    __slots__ = ("count", "followed", "quick", "where")

    def __init__(self, where: Sequence[tuple[str | None, Any, Any, Any]]) -> None:
        self.where = tuple(where)
        self.count = sum(name is not None for name, *_ in where)
        self.followed = False
        self.quick: Callable[[Mapping[str, Any]], Any] = never

    def follow(self, step: Callable[..., Any]) -> None:
        """Calls go to `step`, which takes the arguments, from now on. One with an attribute `floats` takes Python's floats."""
        self.followed = True
        if not self.count:
            return
        form = tuple((name, kind is float) for name, kind, *_ in self.where)
        known = [x for name, *parts in self.where for x in (parts[:1] if name is None else parts[1:])]
        self.quick = straight(form, getattr(step, "floats", False))(step, *known)

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
