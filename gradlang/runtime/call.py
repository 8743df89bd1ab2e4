"""Compiled functions: what `model.value_and_grad(...)` gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gradlang.backend.artifact import Artifact, Job
from gradlang.backend.module import generate
from gradlang.ops.table import builtin
from gradlang.runtime.bind import Binder, fail
from gradlang.runtime.load import load
from gradlang.runtime.steps import Steps

LARGE = 2000  # instructions of a scalar program from which on compiling costs more than it saves
GIVEN: Any = object()  # marks that no dict of values is given


class Compiled:
    """A compiled function. Inputs are keywords, or one dict; results are Python floats and NumPy arrays of their own.

    Raises InputError if values are missing, unknown, or of a wrong shape or kind."""

    __slots__ = ("__weakref__", "_artifact", "binder", "job", "raw")

    def __init__(self, job: Job, binder: Binder, artifact: Artifact | None = None) -> None:
        self.job, self.binder, self._artifact = job, binder, artifact
        self.raw: Callable[..., Any] = (
            Steps(job.tape, job.params, job.returns, builtin()) if artifact is None else load(artifact)
        )

    @property
    def backend(self) -> str:
        """`python` (floats), `numpy`, or `steps` for scalar programs that are too large to be worth compiling."""
        return "steps" if isinstance(self.raw, Steps) else self.artifact.language

    @property
    def artifact(self) -> Artifact:
        if self._artifact is None:
            self._artifact = generate(self.job, builtin())
        return self._artifact

    @property
    def source(self) -> str:
        """The generated code."""
        return self.artifact.source

    def __call__(self, given: Mapping[str, Any] = GIVEN, /, **values: Any) -> Any:
        return self.slow(given, values)

    def slow(self, given: Any, values: Mapping[str, Any]) -> Any:
        """A call with every check."""
        if given is not GIVEN:
            if not isinstance(given, Mapping):
                raise fail(
                    "G507", "inputs are given by name, or as one dict", self.binder.program, None, "for example `f(x=1.0)`"
                )
            values = {**given, **values}
        if self.job.scalar:
            return self.raw(*self.scalars(values))
        args, _ = self.binder.bind(values)
        args = [a if t.shape or t.dtype != "real" else a[()] for a, t in zip(args, self.binder.types.values(), strict=True)]
        try:
            return self.raw(*args)
        except IndexError as error:
            raise fail("G506", f"an index is outside its array: {error}", self.binder.program) from None

    def scalars(self, values: Mapping[str, Any]) -> list[float]:
        out = []
        for p in self.job.params:
            if p.name in values:
                out.append(self.binder.scalar(p.name, values[p.name]))
            elif p.default is not None:
                out.append(float(p.default))
            else:
                self.binder.bind(values)
                out.append(float(self.binder.bind(values)[0][list(self.binder.types).index(p.name)]))
        for name in values:
            if name not in self.binder.types:
                raise self.binder.unknown(name)
        return out

    def __reduce__(self) -> tuple[object, ...]:
        return restore, (self.job, self.binder)

    def __repr__(self) -> str:
        names = ", ".join(p.name for p in self.job.params)
        return f"<gradlang {self.job.entry}({names}), {self.backend}>"


def restore(job: Job, binder: Binder) -> Compiled:
    """A compiled function. A scalar program takes floats straight to the formula; a very large one runs step by step."""
    if job.scalar and len(job.tape) > LARGE:
        return Compiled(job, binder)
    artifact = generate(job, builtin())
    plain = job.scalar and artifact.params and all(p.name == p.identifier for p in artifact.params)
    if not plain:
        return Compiled(job, binder, artifact)
    made = type("Compiled", (Compiled,), {"__slots__": (), "__call__": direct_call(artifact)})
    return made(job, binder, artifact)  # type: ignore[no-any-return]


def direct_call(artifact: Artifact) -> Callable[..., Any]:
    """The body of the generated function as a method that first looks whether all arguments are floats."""
    lines = artifact.source.split("\n")
    head = next(k for k, line in enumerate(lines) if line.startswith(f"def {artifact.entry}("))
    names = [p.identifier for p in artifact.params]
    params = [
        f"{p.identifier}={float(p.default)!r}"
        if p.default is not None and abs(p.default) < float("inf")
        else f"{p.identifier}=GIVEN"
        for p in artifact.params
    ]
    floats = " is ".join(f"type({n})" for n in names)
    lines[head] = f"def {artifact.entry}(self, given=GIVEN, /, {', '.join(params)}, **unknown):"
    lines[head + 1 : head + 1] = [
        f"    if given is not GIVEN or unknown or not ({floats} is float):",
        "        values = dict(unknown, " + ", ".join(f"{n}={n}" for n in names) + ")",
        "        return self.slow(given, {k: v for k, v in values.items() if v is not GIVEN})",
    ]
    namespace: dict[str, Any] = {"GIVEN": GIVEN}
    exec(compile("\n".join(lines), f"<gradlang {artifact.entry}>", "exec"), namespace)
    return namespace[artifact.entry]  # type: ignore[no-any-return]
