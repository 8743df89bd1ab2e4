"""Standard output and standard error where nobody listens."""

from __future__ import annotations

import os
import sys


def opened() -> None:
    """Gives a command that was started without standard output or standard error (`>&-`) a place to write to: files that it
    opens would get their numbers."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - for the rest of the process


def deafen() -> None:
    """Lets standard output, whose reader is gone, vanish from now on: nothing more fails, also not when Python ends."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
