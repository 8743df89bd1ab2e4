"""Threads that share the parts of a loop.

The caller runs parts itself, and waits for helpers only if they have begun one: a call never waits for a thread to wake up.
Helpers are few, sleep between calls, and serve all callers. After a fork the child starts its own.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import SimpleQueue


class Parts:
    """The parts of one loop in one call. `run` is called with the number of each."""

    __slots__ = ("active", "count", "failures", "idle", "lock", "next", "run")

    def __init__(self, run: Callable[[int], object], count: int) -> None:
        self.run, self.count, self.next = run, count, 0
        self.active = 0  # helpers that run a part
        self.lock, self.idle = threading.Lock(), threading.Event()
        self.failures: dict[int, BaseException] = {}

    def take(self, helpers: int) -> int | None:
        """The number of a part that nobody has begun, for one of the helpers or the caller (0)."""
        with self.lock:
            if self.next == self.count:
                return None
            self.next += 1
            self.active += helpers
            return self.next - 1

    def give_up(self) -> None:
        """Nobody begins another part."""
        with self.lock:
            self.next = self.count

    def help(self) -> None:
        """What a helper does."""
        while (part := self.take(1)) is not None:
            try:
                self.run(part)
            except BaseException as error:
                self.failures[part] = error
                self.give_up()
            with self.lock:
                self.active -= 1
                if not self.active and self.next == self.count:
                    self.idle.set()

    def lead(self) -> None:
        """What the caller does. Raises what was raised in a part."""
        try:
            while (part := self.take(0)) is not None:
                self.run(part)
        finally:
            self.give_up()
            self.wait()
        if self.failures:
            raise self.failures[min(self.failures)]

    def wait(self) -> None:
        """Until all parts that were begun are done, also if the user interrupts: they use the arrays of this call."""
        interrupt: BaseException | None = None
        while self.active:  # none begins any more
            try:
                self.idle.wait()
            except BaseException as error:
                interrupt = error
        if interrupt is not None:
            raise interrupt


class Helpers:
    """The threads of this process."""

    def __init__(self) -> None:
        self.waiting: SimpleQueue[Parts] = SimpleQueue()
        self.lock = threading.Lock()
        self.count = 0

    def ask(self, parts: Parts, many: int) -> None:
        """So many helpers are to look after some parts. There may be fewer where the system gives no more threads."""
        if self.count < many:
            with self.lock:
                try:
                    while self.count < many:
                        threading.Thread(target=help_all, args=(self.waiting,), name="gradlang", daemon=True).start()
                        self.count += 1
                except RuntimeError:
                    pass
        for _ in range(min(many, self.count)):
            self.waiting.put(parts)


def help_all(waiting: SimpleQueue[Parts]) -> None:
    while True:
        waiting.get().help()


helpers = Helpers()


def begin_again() -> None:
    """In the child of a fork: the threads are not there, and one of them may have held a lock."""
    global helpers
    helpers = Helpers()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=begin_again)


def run_parts(threads: int, run: Callable[[int], object], count: int) -> None:
    """Calls `run` with the numbers below `count`, on up to so many threads. Raises what was raised in a part."""
    parts = Parts(run, count)
    helpers.ask(parts, min(threads, count) - 1)
    parts.lead()
