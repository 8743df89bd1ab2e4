"""Array programs as machine code: one version for each set of sizes that is called."""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from gradlang.backend.artifact import Job, Param
from gradlang.backend.llvm import unit_text
from gradlang.backend.llvm_ops import Width
from gradlang.backend.native import Driver, driver
from gradlang.loops.functions import function
from gradlang.ops.table import OpTable
from gradlang.plan.cost import pays
from gradlang.plan.empty import has_values
from gradlang.plan.plan import Plan, plan
from gradlang.runtime.native.calls import bind, exports
from gradlang.runtime.native.engine import NativeError, available, load, target
from gradlang.runtime.sizes import Sizes
from gradlang.types import value

MOST = 16  # versions that are kept
LINE = 64  # bytes
MISSING: Any = object()
AGAIN = object()  # what a driver gives that met what its kernels cannot do


class NativeProgram:
    """Called with the arguments in order, like the generated NumPy function, which steps in where kernels cannot go on: for
    arrays without entries, indices that are outside, arguments that are too large for fast functions.

    With `calls` machine code is made only where it is expected to pay within so many calls."""

    def __init__(
        self, job: Callable[[], Job], table: OpTable, otherwise: Callable[..., Any], params: Sequence[Param], calls: int | None
    ) -> None:
        self.make_job, self.table, self.otherwise, self.calls = job, table, otherwise, calls
        self.job: Job | None = None
        self.versions: dict[tuple[int, ...], Version | None] = {}
        self.last: Version | None = None
        self.lock = threading.Lock()
        self.sizes = Sizes(params)

    def __call__(self, *args: Any, out: Sequence[Any] | None = None) -> Any:
        """With `out` gradients may, but need not, lie in its arrays, one for each."""
        sizes = self.sizes(args)
        key = tuple(sizes.values())
        version = self.versions.get(key, MISSING)
        if version is MISSING:
            version = self.kept(key, sizes)
        self.last = version
        if version is None:
            return self.otherwise(*args)
        try:
            found = version.run(*args, out)
        except (TypeError, ValueError):  # an array that does not lie in C order, or at any address; or NumPy's own error
            plain = [np.require(a, requirements=("C", "A")) if isinstance(a, np.ndarray) and a.ndim else a for a in args]
            if all(a is b for a, b in zip(plain, args, strict=True)):
                raise
            found = version.run(*plain, out)
        return self.otherwise(*args) if found is AGAIN else found

    def kept(self, key: tuple[int, ...], sizes: Mapping[str, int]) -> Version | None:
        """The version for some sizes, which is made if it is not there. One thread makes it, the others wait."""
        with self.lock:
            if key not in self.versions:
                made = self.version(sizes)
                while len(self.versions) >= MOST:
                    del self.versions[next(iter(self.versions))]
                self.versions[key] = made
            return self.versions[key]

    def version(self, sizes: Mapping[str, int]) -> Version | None:
        if self.job is None:
            self.job = self.make_job()
        if not has_values(self.job.tape, sizes):
            return None
        if self.calls is None:
            return Version(self.job, self.table, sizes)
        if not pays(self.job.tape, sizes, self.calls):
            return None
        reason = available()
        if reason is None:
            try:
                return Version(self.job, self.table, sizes)
            except NativeError as error:
                reason = str(error)
        note(reason)
        return None


@cache
def note(reason: str) -> None:
    """Says once why NumPy runs where llvmlite is installed and machine code would pay."""
    warnings.warn(f"NumPy runs instead of machine code: {reason}", RuntimeWarning, stacklevel=6)


class Version:
    """The code for one set of sizes."""

    def __init__(self, job: Job, table: OpTable, sizes: Mapping[str, int]) -> None:
        width: Width = "f64" if job.dtype == "float64" else "f32"
        self.plan: Plan = plan(job.tape, table, sizes, sizes, width=width)
        self.driver: Driver = driver(self.plan, job, table, sizes)
        entries = self.driver.entries
        namespace: dict[str, Any] = {"again": AGAIN, "pool": [], "make_room": self.room}
        if entries:
            self.text = unit_text([], width, target(), lambda name: function(name, width), entries)
            library = load(self.text, [n for e in entries for n in exports(e)])
            namespace.update({e.name: bind(library, e) for e in entries})
        exec(compile(self.driver.source, f"<gradlang {job.entry}>", "exec"), namespace)
        dtype = np.dtype(job.dtype)
        kinds = {"F": dtype, "np.int64": np.dtype(np.int64), "np.bool_": np.dtype(np.bool_)}
        self.rooms = [(tuple(value(d, sizes) for d in shape), kinds[kind]) for shape, kind in self.driver.rooms]
        self.run: Callable[..., Any] = namespace[self.driver.name]

    def room(self) -> tuple[np.ndarray[Any, Any], ...]:
        return tuple(aligned(shape, kind) for shape, kind in self.rooms)


def aligned(shape: tuple[int, ...], kind: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Memory that begins with a line of the cache, so that no vector lies in two."""
    size = math.prod(shape) * kind.itemsize
    raw = np.empty(size + LINE, np.uint8)
    first = -raw.ctypes.data % LINE
    return raw[first : first + size].view(kind).reshape(shape)
