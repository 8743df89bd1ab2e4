"""Ctrl-C during a fit: the step is finished first."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class Interrupts:
    """Is true once the user has pressed Ctrl-C. A second time ends the program at once. Outside of the main thread, to which
    Python gives signals, nothing changes."""

    def __init__(self) -> None:
        self.pressed = False
        self.before: Any = None

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            self.before = signal.getsignal(signal.SIGINT)
            if self.before is not signal.SIG_IGN:
                signal.signal(signal.SIGINT, self.press)
        return self

    def press(self, number: int, frame: FrameType | None) -> None:
        if self.pressed:
            raise KeyboardInterrupt
        self.pressed = True

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.before is not None and self.before is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, self.before)

    def __bool__(self) -> bool:
        return self.pressed
