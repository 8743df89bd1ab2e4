"""Programs of numbers as machine code that Python calls with keywords."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from gradlang.backend.artifact import Job, Returns
from gradlang.backend.llvm_entry import Returns as Places
from gradlang.backend.llvm_keywords import Keywords
from gradlang.loops.functions import function
from gradlang.loops.ir import Buffer, Kernel, Value
from gradlang.plan.scalar_kernel import KNOWN, scalar_kernel
from gradlang.runtime.native.calls import Held, build
from gradlang.runtime.native.keywords import straight

SHORT = 100  # instructions; of longer programs LLVM makes code with less effort


def scalar_function(
    job: Job, own: Iterable[str], defaults: Sequence[float | None], otherwise: Callable[..., Any]
) -> partial[Any] | None:
    """A job of numbers in the ops of the loop form as a function with keywords, or None if it has an op that loops do not
    have, or one of the program's `own` that has taken the name of such an op. `defaults` are the values of what may be left
    out. `otherwise` has the same keywords; it is called with what is no float, and where an argument of a function is too
    large for the fast way.

    Raises NativeError if LLVM does not make it."""
    if any(i.op not in KNOWN or i.op in own for i in job.tape.instrs):
        return None
    names = tuple(p.name for p in job.params)
    kernel = scalar_kernel(job.tape, names)
    outputs = job.tape.outputs
    truths = frozenset(k for k, (_, i) in enumerate(outputs) if job.tape.instrs[i].type.dtype == "bool")
    entry = Keywords(
        entry_name(job),
        kernel,
        results={kernel.buffers[0]: len(outputs) + 1},
        returns=places(job.returns, {name: k for k, (name, _) in enumerate(outputs)}),
        words=names,
        defaults=tuple(defaults),
        truths=truths,
    )
    (made,) = build([entry], "f64", lambda name: function(name, "f64"), 2 if len(job.tape) < SHORT else 1)
    held: Held = made.__self__  # type: ignore[attr-defined]
    return straight(held.library, entry, made, otherwise)


def elsewhere_function(
    job: Job, addresses: tuple[int, int, int], defaults: Sequence[float | None], otherwise: Callable[..., Any]
) -> partial[Any]:
    """A job of numbers that stands in memory as code as a function with keywords; `addresses` are those of `Keywords`. The
    others are as in `scalar_function`. Calls must not overlap: they keep the lock of the interpreter.

    Raises NativeError if there is no machine code here."""
    names = tuple(p.name for p in job.params)
    results = Buffer("results", "f", True)
    kernel = Kernel("nothing", (results,), (), [], tuple(Value("f", hint=n) for n in names))
    entry = Keywords(
        entry_name(job),
        kernel,
        results={results: len(job.names) + 1},
        returns=places(job.returns, {name: k for k, name in enumerate(job.names)}),
        words=names,
        defaults=tuple(defaults),
        elsewhere=addresses,
    )
    (made,) = build([entry], "f64", lambda name: function(name, "f64"), 1)
    return partial(made, otherwise)


def entry_name(job: Job) -> str:
    return job.entry.encode("ascii", "replace").decode().replace("?", "_")


def places(returns: Returns, at: dict[str, int]) -> Places:
    """How results are handed back, with the places of the outputs."""

    def one(part: Any) -> Places:
        return places(part, at) if isinstance(part, Returns) else at[part]

    if returns.kind == "one":
        return one(returns.parts[0])
    if returns.kind == "pair":
        return tuple(map(one, returns.parts))
    return {key: one(part) for key, part in returns.parts}
