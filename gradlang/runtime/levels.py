"""What machine code is written for: this machine, or an older one that the user names.

The levels are those of the x86-64 psABI (System V Application Binary Interface, AMD64 supplement, version 1.0, table 3.1), by
the names that LLVM has for the features. Code for one level is the same on every machine that has it, and so are the bits of
what it computes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

VARIABLE = "GRADLANG_CPU"
LEVELS = {
    "x86-64": "64bit cmov cx8 fxsr mmx sse sse2".split(),
    "x86-64-v2": "cx16 popcnt sahf sse3 sse4.1 sse4.2 ssse3".split(),
    "x86-64-v3": "avx avx2 bmi bmi2 f16c fma lzcnt movbe xsave".split(),
    "x86-64-v4": "avx512bw avx512cd avx512dq avx512f avx512vl".split(),
}


class LevelError(Exception):
    """The machine that is named is none, or can do more than this one. The message says so, in one line."""


def asked() -> str | None:
    """The level that the environment names; None if machine code is for this machine."""
    return os.environ.get(VARIABLE, "").strip() or None


def features(level: str) -> list[str]:
    """All that machines of a level have."""
    names = list(LEVELS)
    return [feature for name in names[: names.index(level) + 1] for feature in LEVELS[name]]


def machine(name: str, has: Mapping[str, bool]) -> tuple[str, str]:
    """The CPU and the features that LLVM is given, by those of this machine. Raises LevelError."""
    level = asked()
    if level is None:
        return name, ",".join(f"{'+' if there else '-'}{feature}" for feature, there in sorted(has.items()))
    if level not in LEVELS:
        raise LevelError(f"{VARIABLE} is {level!r}; it may be {', '.join(LEVELS)}, or nothing")
    wanted = features(level)
    missing = [feature for feature in wanted if not has.get(feature)]
    if missing:
        raise LevelError(f"{VARIABLE} is {level!r}, and this machine has no {', '.join(missing)}")
    return level, ",".join(f"+{feature}" for feature in wanted)


def allows(level: str) -> bool:
    """Whether what is asked for is at least this level."""
    name = asked()
    names = list(LEVELS)
    return name is None or (name in names and names.index(name) >= names.index(level))
