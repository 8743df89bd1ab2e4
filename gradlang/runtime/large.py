"""Large scalar programs, which are run from their tape instead of being printed and compiled: in one of several ways."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

from gradlang.backend.artifact import Job, Returns
from gradlang.ops.table import OpTable

# Instructions of a scalar program from which on it is run from its tape: to compile it as Python costs more than that saves.
# Machine code is made in a millisecond, and pays sooner.
LARGE, CODED = 2000, 500
LONG = 2**22  # bytes of code, which run in a fifth of a millisecond
Way = Callable[..., Sequence[float]]
Shape = Callable[[Sequence[Any]], Any]


def large(job: Job, table: OpTable) -> bool:
    """Whether a job is run from its tape."""
    return job.scalar and (job.size > LARGE or (job.size > CODED and coded(job, table)))


def coded(job: Job, table: OpTable) -> bool:
    """Whether a scalar job can be written as code of this machine, and run."""
    from gradlang.plan.x86 import KNOWN
    from gradlang.runtime.x86 import possible

    ops = job.ops
    return possible() and ops <= KNOWN and not ops & set(table.own)


class Large:
    """A job run from its tape: called like the generated function, with the leaves in their order. If it is `exact` results
    have the bits of Python's floats; else functions may be our own."""

    def __init__(self, job: Job, table: OpTable, exact: bool = False) -> None:
        self.job, self.table, self.exact = job, table, exact
        self.truths = job.truths()
        self.shape = shaped(job.returns, {name: k for k, name in enumerate(job.names)})
        self.ieee: Way | None = None
        self.way: Any = self.machine() or self.tapes() or self.groups() or self.steps()

    @property
    def name(self) -> str:
        """How the job is run: `machine` (code of this machine), `tape` (by a machine that LLVM compiled), `groups` (of equal
        ops, over NumPy) or `steps` (of floats)."""
        return self.way.name  # type: ignore[no-any-return]

    def machine(self) -> Way | None:
        """The job as code of this machine, if we can write and run that."""
        if not coded(self.job, self.table):
            return None
        from gradlang.runtime.x86 import machine

        return machine(self.job.columns or self.job.tape, [p.name for p in self.job.params], not self.exact)

    def tapes(self) -> Way | None:
        """The job on the machine for tapes, if LLVM is there. Its functions are our own."""
        if self.exact:
            return None
        from gradlang.runtime.tapes import tapes

        return tapes(self.job, self.table)

    def groups(self, always: bool = False) -> Way | None:
        """The job over NumPy, if that is faster than single steps."""
        from gradlang.runtime.groups import Groups, pays, primitive, sorted_for_numpy

        tape = sorted_for_numpy(primitive(self.job.tape, self.table), self.job.params, self.table)
        return Groups(tape, self.table) if always or pays(tape) else None

    def steps(self) -> Way:
        """The job step by step."""
        from gradlang.runtime.steps import Steps

        return Steps(self.job.tape, self.job.params, self.table)

    def keyword_call(self, given: Any) -> Any:
        """A function for the calls of this job (`runtime/large_call.py`), or None."""
        if self.name != "machine" or self.truths:
            return None
        from gradlang.runtime.large_call import keyword_call

        return keyword_call(self.way, self.job.params, self.job.returns, self.job.names, given)

    def addresses(self) -> tuple[int, int, int] | None:
        """Of the code of this job and of its arrays for the inputs and the outputs, if it is machine code that takes no longer
        than a call may keep the lock of the interpreter."""
        if self.name != "machine" or self.truths or self.way.code.words.nbytes > LONG:
            return None
        return self.way.addresses_of_one()  # type: ignore[no-any-return]

    def __call__(self, *args: float) -> Any:
        try:
            values = self.way(*args)
        except (ArithmeticError, ValueError):  # IEEE arithmetic goes on where Python stops
            if self.ieee is None:
                self.ieee = self.groups(always=True)
            assert self.ieee is not None
            values = self.ieee(*args)
        if self.truths:
            values = [bool(v) if k in self.truths else v for k, v in enumerate(values)]
        return self.shape(values)


def shaped(returns: Returns, place: dict[str, int]) -> Shape:
    """The function that makes a result of the values of the outputs."""
    if returns.kind == "one":
        return part(returns.parts[0], place)
    if returns.kind == "pair":
        parts = [part(p, place) for p in returns.parts]
        if len(parts) == 2:
            first, second = parts
            return lambda values: (first(values), second(values))
        return lambda values: tuple([p(values) for p in parts])
    keys = [key for key, _ in returns.parts]
    inner = [p for _, p in returns.parts]
    if len(inner) > 1 and not any(isinstance(p, Returns) for p in inner):
        several = itemgetter(*[place[p] for p in inner])
        return lambda values: dict(zip(keys, several(values), strict=True))
    pairs = [(key, part(p, place)) for key, p in returns.parts]
    return lambda values: {key: p(values) for key, p in pairs}


def part(inner: Any, place: dict[str, int]) -> Shape:
    return shaped(inner, place) if isinstance(inner, Returns) else itemgetter(place[inner])
