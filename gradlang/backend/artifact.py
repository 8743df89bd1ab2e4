"""What a backend makes: source text, its entry, and what the caller must hand to it."""

from __future__ import annotations

from typing import Any

from gradlang.ir.tape import Tape
from gradlang.record import record
from gradlang.source import Span
from gradlang.types import Type


@record
class Param:
    """An argument of the generated function: the user's name, the identifier, the type, a literal default or None."""

    name: str
    identifier: str
    type: Type
    default: Any = None


@record
class Returns:
    """How results are handed back: a name of an output, a tuple of such, or a dict (pairs of key and such)."""

    kind: str  # one, pair, dict
    parts: tuple[Any, ...]


@record
class Artifact:
    """`lines` maps a line of the source (from 1) to the span of the user's formula that it computes."""

    language: str
    entry: str
    source: str
    params: tuple[Param, ...]
    sizes: tuple[str, ...]
    lines: dict[int, Span]


@record
class Job:
    """What to generate: a tape in the ops of the backend, the leaves it may take (identifiers are not chosen yet), and how
    results are handed back. `often`: whether planning memory pays for small arrays, too."""

    tape: Tape
    params: tuple[Param, ...]
    returns: Returns
    entry: str
    origin: str
    dtype: str = "float64"
    scalar: bool = False
    wrt: tuple[str, ...] = ()
    often: bool = False
