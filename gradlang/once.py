"""What a process makes once, whichever of its threads asks first."""

from __future__ import annotations

import functools
from collections.abc import Callable
from threading import RLock
from typing import Generic, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Once(Generic[P, T]):
    """A function that is called once for the same arguments, while other threads wait.

    With `functools.cache` threads that ask at the same time get results of their own, of which only one is kept. That will not
    do where others have addresses of what was made, or tell it by its identity."""

    def __init__(self, make: Callable[P, T]) -> None:
        known = functools.cache(make)
        self.known: Callable[..., T] = known
        self.cache_clear = known.cache_clear
        self.lock = RLock()
        functools.update_wrapper(self, make)

    def __call__(self, *args: P.args, **named: P.kwargs) -> T:
        with self.lock:
            return self.known(*args, **named)


def once(make: Callable[P, T]) -> Once[P, T]:
    return Once(make)
