"""Array programs over NumPy with planned memory: one version for each set of sizes that has large arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gradlang.backend.artifact import Job
from gradlang.ops.table import OpTable
from gradlang.plan.tiles import INNER, LEAST
from gradlang.runtime.sizes import Versions, keep_pages, rooms


class PlannedProgram:
    """Called with the arguments in order, like the generated function, which it leaves small arrays to."""

    def __init__(self, job: Job, table: OpTable, readable: Callable[..., Any], least: int = LEAST, inner: int = INNER) -> None:
        self.least, self.inner = least, inner
        self.job, self.table, self.readable = job, table, readable
        self.count = len(job.params)
        self.versions: Versions[Callable[..., Any]] = Versions(job.params, self.version)

    def __call__(self, *args: Any, out: Sequence[Any] | None = None, **named: Any) -> Any:
        """With `out` gradients may, but need not, lie in its arrays, one for each."""
        if named or len(args) != self.count:
            return self.readable(*args, **named)
        run = self.versions.of(args)
        return run(*args) if out is None or run is self.readable else run(*args, out=out)

    def step(self, args: Sequence[Any]) -> Callable[..., Any]:
        """What runs calls with the shapes of these arguments."""
        return self.versions.of(args)

    def version(self, sizes: Mapping[str, int]) -> Callable[..., Any]:
        from gradlang.backend.numpy_planned import planned

        keep_pages(self.job, sizes)
        made = planned(self.job, self.table, sizes, self.least, self.inner)
        if made is None:
            return self.readable
        namespace: dict[str, Any] = {"pool": [], "make_room": rooms(made.rooms, self.job.dtype, sizes)}
        exec(compile(made.source, f"<gradlang {self.job.entry}>", "exec"), namespace)
        run: Callable[..., Any] = namespace[made.name]
        return run
