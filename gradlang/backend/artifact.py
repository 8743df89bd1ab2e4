"""What a backend makes: source text, its entry, and what the caller must hand to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gradlang.ir.tape import Tape
from gradlang.record import record
from gradlang.source import Span
from gradlang.types import Type

if TYPE_CHECKING:
    from gradlang.ir.columns import Columns  # brings NumPy


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
    """`lines` maps a line of the source (from 1) to the span of the user's formula that it computes. `running` is the source as
    it is loaded, line by line the same but with names for `numbers`, which NumPy takes faster as arrays without axes."""

    language: str
    entry: str
    source: str
    params: tuple[Param, ...]
    sizes: tuple[str, ...]
    lines: dict[int, Span]
    running: str | None = None
    numbers: tuple[tuple[str, float], ...] = ()


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

    @property
    def columns(self) -> Columns | None:
        """The tape as columns, if the job was made in that form."""
        return None

    @property
    def size(self) -> int:
        """How many instructions there are."""
        return len(self.tape)

    @property
    def ops(self) -> set[str]:
        return {i.op for i in self.tape.instrs}

    @property
    def names(self) -> tuple[str, ...]:
        """Of the outputs, in order."""
        return tuple([name for name, _ in self.tape.outputs])

    def truths(self) -> set[int]:
        """Which outputs are truth values."""
        return {k for k, (_, i) in enumerate(self.tape.outputs) if self.tape.instrs[i].type.dtype == "bool"}


class LargeJob(Job):
    """A large job of numbers, made as columns; its tape is made when somebody asks for it, and is what is pickled."""

    __slots__ = ("given", "made", "whole")

    def __init__(self, columns: Columns, whole: Callable[[], Job], *rest: Any) -> None:
        self.given, self.whole = columns, whole
        self.made: Job | None = None
        names = iter(Job.__match_args__[1:])
        for name, value in zip(names, rest, strict=False):
            setattr(self, name, value)

    @property
    def tape(self) -> Tape:
        if self.made is None:
            self.made = self.whole()
        return self.made.tape

    @property
    def columns(self) -> Columns:
        return self.given

    @property
    def size(self) -> int:
        return len(self.given)

    @property
    def ops(self) -> set[str]:
        return self.given.ops()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple([name for name, _ in self.given.outputs])

    def truths(self) -> set[int]:
        known = self.given.kinds.about().truths
        return {k for k, (_, i) in enumerate(self.given.outputs) if known[self.given.kind[i]]}

    def __reduce__(self) -> tuple[object, ...]:
        parts = [getattr(self, name) for name in Job.__match_args__]
        return Job, tuple(parts)
