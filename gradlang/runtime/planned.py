"""Array programs over NumPy with planned memory: one version for each set of sizes that has large arrays."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from gradlang.backend.artifact import Job
from gradlang.ops.table import OpTable
from gradlang.plan.tiles import INNER, LEAST
from gradlang.runtime.sizes import Sizes

MOST = 16  # versions that are kept
MISSING: Any = object()


class PlannedProgram:
    """Called with the arguments in order, like the generated function, which it leaves small arrays to."""

    def __init__(self, job: Job, table: OpTable, readable: Callable[..., Any], least: int = LEAST, inner: int = INNER) -> None:
        self.least, self.inner = least, inner
        self.job, self.table, self.readable = job, table, readable
        self.count = len(job.params)
        self.versions: dict[tuple[int, ...], Callable[..., Any]] = {}
        self.lock = threading.Lock()
        self.sizes = Sizes(job.params)
        self.axes = self.sizes.axes

    def __call__(self, *args: Any, **named: Any) -> Any:
        if named or len(args) != self.count:
            return self.readable(*args, **named)
        key = tuple([args[k].shape[axis] for k, axis in self.axes])
        run = self.versions.get(key, MISSING)
        if run is MISSING:
            run = self.kept(key)
        return run(*args)

    def kept(self, key: tuple[int, ...]) -> Callable[..., Any]:
        """The version for some lengths of axes, which is made if it is not there. One thread makes it, the others wait."""
        with self.lock:
            if key not in self.versions:
                made = self.version(self.sizes.of(key))
                while len(self.versions) >= MOST:
                    del self.versions[next(iter(self.versions))]
                self.versions[key] = made
            return self.versions[key]

    def version(self, sizes: Mapping[str, int]) -> Callable[..., Any]:
        import numpy as np

        from gradlang.backend.numpy_planned import planned

        made = planned(self.job, self.table, sizes, self.least, self.inner)
        if made is None:
            return self.readable
        kinds = {"F": np.dtype(self.job.dtype), "np.int64": np.dtype(np.int64), "np.bool_": np.dtype(np.bool_)}
        kinds["B"] = np.dtype(f"int{8 * kinds['F'].itemsize}")
        rooms = [(shape, kinds[kind]) for shape, kind in made.rooms]
        namespace: dict[str, Any] = {"pool": [], "make_room": lambda: tuple(np.empty(s, kind) for s, kind in rooms)}
        exec(compile(made.source, f"<gradlang {self.job.entry}>", "exec"), namespace)
        run: Callable[..., Any] = namespace[made.name]
        return run
