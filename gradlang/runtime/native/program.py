"""Array programs as machine code: one version for each set of sizes that is called."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property, partial
from typing import Any

import numpy as np

from gradlang.backend.artifact import Job, Param
from gradlang.backend.llvm import unit_text
from gradlang.backend.llvm_ops import Width
from gradlang.backend.native import Driver, driver
from gradlang.loops.functions import function
from gradlang.loops.ir import Value
from gradlang.ops.table import OpTable
from gradlang.plan.ahead import ahead
from gradlang.plan.columns import turned
from gradlang.plan.cost import pays
from gradlang.plan.cuts import cut
from gradlang.plan.empty import has_values
from gradlang.plan.joined import joined
from gradlang.plan.plan import Plan, plan
from gradlang.plan.tables import in_tables
from gradlang.plan.tiles import hands_on
from gradlang.plan.usual import in_usual_case, norms_of
from gradlang.runtime.bind import Binder
from gradlang.runtime.native.calls import bind, exports
from gradlang.runtime.native.engine import NativeError, available, load, refused, target
from gradlang.runtime.native.machine import library_threads
from gradlang.runtime.native.parts import run_parts
from gradlang.runtime.native.recipe import recipe
from gradlang.runtime.planned import PlannedProgram
from gradlang.runtime.seen import AGAIN
from gradlang.runtime.sizes import Versions, keep_pages, rooms


class NativeProgram:
    """Called with the arguments in order, like the generated NumPy function, which steps in where kernels cannot go on: for
    arrays without entries, indices that are outside, arguments that are too large for fast functions, and recurrences that
    take over the states of others in segments.

    With `calls` machine code is made only where it is expected to pay within so many calls; without, a call raises InputError
    if LLVM does not make it. With more than one of `threads` long loops are cut into parts, of which sums are made, and that
    many threads run them."""

    def __init__(
        self,
        job: Callable[[], Job],
        table: OpTable,
        otherwise: Callable[..., Any],
        params: Sequence[Param],
        calls: int | None,
        threads: int = 1,
    ) -> None:
        self.make_job, self.table, self.otherwise, self.calls, self.threads = job, table, otherwise, calls, threads
        self.job: Job | None = None
        self.versions: Versions[Version | None] = Versions(params, self.version)
        self.last: Version | None = None

    def __call__(self, *args: Any, out: Sequence[Any] | None = None) -> Any:
        """With `out` gradients may, but need not, lie in its arrays, one for each."""
        self.last = version = self.versions.of(args)
        if version is None:
            return self.otherwise(*args) if out is None else self.otherwise(*args, out=out)
        try:
            found = version.run(*args, out) if out is not None else version.run(*args)
        except (TypeError, ValueError):  # an array that does not lie in C order, or at any address; or NumPy's own error
            plain = [np.require(a, requirements=("C", "A")) if isinstance(a, np.ndarray) and a.ndim else a for a in args]
            if all(a is b for a, b in zip(plain, args, strict=True)):
                raise
            found = version.run(*plain, out)
        return self.otherwise(*args) if found is AGAIN else found

    def step(self, args: Sequence[Any]) -> Callable[..., Any]:
        """What runs calls with the shapes of these arguments; it may raise, or give `AGAIN`, where a call of this object does
        not."""
        version = self.versions.of(args)
        if version is not None:
            return version.run
        return self.otherwise.step(args) if isinstance(self.otherwise, PlannedProgram) else self

    def version(self, sizes: Mapping[str, int]) -> Version | None:
        if self.job is None:
            self.job = self.make_job()
        if hands_on(self.job.tape) or not has_values(self.job.tape, sizes):
            return None
        if self.calls is None:
            try:
                return Version(self.job, self.table, sizes, self.threads)
            except NativeError as error:
                raise refused(error) from error
        if not pays(self.job.tape, sizes, self.calls, library_threads() if self.threads == 1 else None):
            return None
        reason = available()
        if reason is None:
            try:
                return Version(self.job, self.table, sizes, self.threads)
            except NativeError as error:
                reason = str(error)
        note(reason)
        return None


@cache
def note(reason: str, runs: str = "NumPy runs") -> None:
    """Says once why something else runs where llvmlite is installed and machine code would pay."""
    warnings.warn(f"{runs} instead of machine code: {reason}", RuntimeWarning, stacklevel=7)


class Version:
    """The code for one set of sizes."""

    def __init__(self, job: Job, table: OpTable, sizes: Mapping[str, int], threads: int = 1) -> None:
        width: Width = "f64" if job.dtype == "float64" else "f32"
        cores = library_threads() if threads == 1 else None
        self.plan: Plan = plan(job.tape, table, sizes, sizes, width=width, cores=cores)
        if threads > 1:
            from gradlang.plan.parts import in_parts

            self.plan = in_parts(self.plan, sizes)
        whole = ahead(cut(joined(self.plan)))
        tables = in_tables(whole, sizes)
        norms = norms_of(whole) if tables is not whole else frozenset[Value]()
        self.plan = turned(tables, width, sizes)
        self.driver: Driver = driver(in_usual_case(self.plan, width, norms), job, table, sizes)
        entries = self.driver.entries
        namespace: dict[str, Any] = {
            "again": AGAIN,
            "pool": [],
            "make_room": rooms(self.driver.rooms, job.dtype, sizes),
            "in_parts": partial(run_parts, threads),
        }
        keep_pages(job, sizes)
        if entries:
            self.text = unit_text([], width, target(), lambda name: function(name, width), entries)
            library = load(self.text, [n for e in entries for n in exports(e)])
            namespace.update({e.name: bind(library, e) for e in entries})
        exec(compile(self.driver.source, f"<gradlang {job.entry}>", "exec"), namespace)
        run = namespace[self.driver.name]
        run.floats = self.driver.quiet
        self.run: Callable[..., Any] = run

    @cached_property
    def recipe(self) -> tuple[bytes, tuple[Any, ...]] | None:
        """What the driver does, for machine code."""
        return recipe(self.driver.source, self.run)

    def takes(self, binder: Binder) -> bool:
        """Whether the code takes numbers as the caller gives them."""
        return self.driver.quiet or all(t.shape for t in binder.types.values())
