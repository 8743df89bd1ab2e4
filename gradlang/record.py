"""Records: small classes of named parts, made and filled at little cost.

They are what `@dataclass(frozen=True, slots=True)` makes, with `frozen=False` what `@dataclass(slots=True)` makes, and type
checkers treat them as such; at run time parts are stored without a guard. A large program holds millions of them, and a frozen
dataclass takes four times as long to fill; well over a hundred are defined at every start, and a dataclass takes ten times as
long to define.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from operator import attrgetter
from types import FunctionType
from typing import Any, TypeVar, dataclass_transform, overload

T = TypeVar("T")
C = TypeVar("C", bound=type)


class _Field:
    """A default that every object gets for itself."""

    __slots__ = ("make",)

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make


def field(*, default_factory: Callable[[], T]) -> T:
    """The default of a part that is made anew for each record."""
    return _Field(default_factory)  # type: ignore[return-value]


@overload
def record(cls: C, /) -> C: ...
@overload
def record(*, eq: bool = True, frozen: bool = True) -> Any: ...
@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def record(cls: Any = None, /, *, eq: bool = True, frozen: bool = True) -> Any:
    """A class with a slot for each of its annotated names. Records with the same parts are equal, unless `eq` is false; those
    whose parts may be set have no hash then."""
    return _made(cls, eq, frozen) if cls is not None else lambda cls: _made(cls, eq, frozen)


def _made(cls: type, eq: bool, frozen: bool) -> type:
    own = tuple(cls.__annotations__)
    names = (*getattr(cls, "__match_args__", ()), *own)
    body = {k: v for k, v in vars(cls).items() if k not in (*own, "__dict__", "__weakref__")}
    defaults = {**getattr(cls, "_defaults", {}), **{k: vars(cls)[k] for k in own if k in vars(cls)}}
    body |= {"__slots__": own, "__match_args__": names, "_defaults": defaults, "__init__": _init(names, defaults)}
    body |= {"__qualname__": cls.__qualname__}
    body.setdefault("__repr__", _repr)
    if eq:
        body["_parts"] = _getter(names)
        body["__eq__"] = _eq
        body.setdefault("__hash__", _hash if frozen else None)
    return type(cls)(cls.__name__, cls.__bases__, body)


def _init(names: tuple[str, ...], defaults: dict[str, Any]) -> Any:
    first = next((k for k, n in enumerate(names) if n in defaults), len(names))
    if len(names) and all(n in defaults and defaults[n].__class__ is not _Field for n in names[first:]):
        code = _template(len(names)).replace(co_varnames=("self", *names), co_names=names)
        return FunctionType(code, {}, "__init__", tuple([defaults[n] for n in names[first:]]))
    return _written(names, defaults)


@cache
def _template(count: int) -> Any:
    """The code of an `__init__` of so many parts. Under other names it is that of any record: to compile each takes longer
    than all the rest of a class."""
    return _written(tuple([f"part{k}" for k in range(count)]), {}).__code__


def _written(names: tuple[str, ...], defaults: dict[str, Any]) -> Any:
    made = {n: d.make for n, d in defaults.items() if d.__class__ is _Field}
    head = ", ".join(f"{n}=_none" if n in made else f"{n}=_defaults[{n!r}]" if n in defaults else n for n in names)
    values = [f"_made[{n!r}]() if {n} is _none else {n}" if n in made else n for n in names]
    lines = "".join(f"\n    self.{n} = {value}" for n, value in zip(names, values, strict=True)) or "\n    pass"
    scope: dict[str, Any] = {"_defaults": defaults, "_made": made, "_none": _Field}
    exec(f"def __init__(self, {head}):{lines}" if names else "def __init__(self): pass", scope)
    return scope["__init__"]


def _getter(names: tuple[str, ...]) -> Any:
    return staticmethod(attrgetter(*names) if names else lambda x: ())


def _eq(self: Any, other: object) -> Any:
    if other.__class__ is not self.__class__:
        return NotImplemented
    return self is other or self._parts(self) == self._parts(other)  # type: ignore[attr-defined]


def _hash(self: Any) -> int:
    return hash(self._parts(self))


def _repr(self: Any) -> str:
    return f"{type(self).__qualname__}({', '.join(f'{n}={getattr(self, n)!r}' for n in self.__match_args__)})"


def changed(x: T, /, **parts: Any) -> T:
    """The record with some parts changed."""
    names: tuple[str, ...] = type(x).__match_args__  # type: ignore[attr-defined]
    return type(x)(**{n: getattr(x, n) for n in names} | parts)
