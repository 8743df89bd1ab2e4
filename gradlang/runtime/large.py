"""Large scalar programs, which are run from their tape instead of being printed and compiled: in one of several ways."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradlang.backend.artifact import Job, Returns
from gradlang.ops.table import OpTable
from gradlang.runtime.steps import Steps

Way = Callable[..., list[float]]


class Large:
    """A job run from its tape: called like the generated function, with the leaves in their order."""

    def __init__(self, job: Job, table: OpTable) -> None:
        self.job, self.table = job, table
        self.place = {name: k for k, (name, _) in enumerate(job.tape.outputs)}
        self.truths = [k for k, (_, i) in enumerate(job.tape.outputs) if job.tape.instrs[i].type.dtype == "bool"]
        self.ieee: Way | None = None
        self.way: Any = self.machine() or self.groups() or Steps(job.tape, job.params, table)

    @property
    def name(self) -> str:
        """How the job is run: `machine` (code of this machine), `groups` (of equal ops, over NumPy) or `steps` (of floats)."""
        return self.way.name  # type: ignore[no-any-return]

    def machine(self) -> Way | None:
        """The job as code of this machine, if we can write and run that."""
        from gradlang.plan.x86 import KNOWN, machine_code
        from gradlang.runtime.x86 import machine, possible

        if not possible() or any(i.op not in KNOWN or i.op in self.table.own for i in self.job.tape.instrs):
            return None
        return machine(machine_code(self.job.tape, [p.name for p in self.job.params]))

    def groups(self, always: bool = False) -> Way | None:
        """The job over NumPy, if that is faster than single steps."""
        from gradlang.runtime.groups import Groups, pays, primitive, sorted_for_numpy

        tape = sorted_for_numpy(primitive(self.job.tape, self.table), self.job.params, self.table)
        return Groups(tape, self.table) if always or pays(tape) else None

    def __call__(self, *args: float) -> Any:
        try:
            values: list[Any] = self.way(*args)
        except (ArithmeticError, ValueError):  # an infinity or a nan: IEEE arithmetic goes on where Python stops
            if self.ieee is None:
                self.ieee = self.groups(always=True)
            assert self.ieee is not None
            values = self.ieee(*args)
        for k in self.truths:
            values[k] = bool(values[k])
        return self.result(self.job.returns, values)

    def result(self, returns: Returns, values: list[Any]) -> Any:
        place = self.place

        def one(part: Any) -> Any:
            return self.result(part, values) if isinstance(part, Returns) else values[place[part]]

        if returns.kind == "one":
            return one(returns.parts[0])
        if returns.kind == "pair":
            return tuple(map(one, returns.parts))
        return {key: one(part) for key, part in returns.parts}
