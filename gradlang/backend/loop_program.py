"""A program as one kernel of the loop form, for targets that print it as a function over the caller's arrays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from gradlang.backend.artifact import Job
from gradlang.backend.c import Body, Scope
from gradlang.backend.llvm_ops import Width
from gradlang.backend.units import prune
from gradlang.diagnostics import Diagnostic, SourceError
from gradlang.ir.tape import Instr
from gradlang.loops.ir import Buffer, For, Kernel, Run, Value
from gradlang.loops.walk import statements
from gradlang.ops.table import OpTable
from gradlang.plan.empty import every_dim, needs_entries
from gradlang.plan.plan import Library, Loops, Plan, Source, plan
from gradlang.plan.weights import CALLS
from gradlang.source import Sources
from gradlang.types import Dim, Shape, Size

HINT = 64  # entries of an axis of unknown size, for the order of loops
LONGEST = 116  # characters of a line of numbers


class FunctionBody(Body):
    """The body of the function: results that are numbers have names of their own, they lie in no array."""

    def __init__(self, width: Width, helpers: dict[str, None], scope: Scope, libm: Collection[str] = ()) -> None:
        super().__init__(width, helpers, scope, libm)
        self.numbers: dict[Buffer, list[str]] = {}  # by position

    def entry(self, buffer: Buffer, index: Value) -> str:
        if buffer in self.numbers:
            assert index.const is not None
            self.used.add(buffer)
            return self.numbers[buffer][int(index.const)]
        return super().entry(buffer, index)


class LoopProgram(ABC):
    """The kernel of a job in the ops of the loop form, and what a target asks about it. `size` gives the identifiers of the
    sizes by name. Raises SourceError if the program holds what loops cannot do."""

    size: dict[str, str]

    def __init__(self, job: Job, table: OpTable, sources: Sources) -> None:
        self.job, self.table, self.sources = job, table, sources
        tape = job.tape
        self.width: Width = "f64" if job.dtype == "float64" else "f32"
        params = {n for p in job.params for d in p.type.shape if isinstance(d, Size) for n in d.names()}
        names = {n for d in every_dim(tape) if isinstance(d, Size) for n in d.names()} | params
        self.plan: Plan = plan(tape, table, dict.fromkeys(sorted(names), HINT), (), library=False, width="any")
        self.refuse([i for s in self.plan.steps if isinstance(s, Library) for i in s.instrs])
        self.steps = [s for s in self.plan.steps if isinstance(s, Loops)]
        assert len(self.steps) <= 1, "without library calls everything is made at once"
        kernel = self.steps[0].kernel if self.steps else Kernel("", (), (), [])
        self.kernel = kernel
        temps = [b for step in self.steps for b, s in zip(kernel.buffers, step.sources, strict=False) if s.kind == "temp"]
        self.temps = prune(kernel.body, temps)
        self.loops = any(isinstance(s, For | Run) for s in statements(kernel.body))
        self.flagged = any(s.kind == "flag" for step in self.steps for s in step.sources)
        self.plain = not names and not self.temps and not self.flagged

    def refuse(self, instrs: Sequence[int]) -> None:
        """Raises SourceError if something cannot be done in loops."""
        tape = self.job.tape
        known = self.known()
        instrs = [*instrs, *(i for i, n in enumerate(tape.instrs) if n.op in CALLS and n.op not in known)]
        if instrs:
            raise SourceError([self.unsupported(tape.instrs[i]) for i in instrs[:1]], self.sources)

    # -------------------------------------------------------------- what a target says
    @abstractmethod
    def known(self) -> Collection[str]:
        """The functions that it has."""

    @abstractmethod
    def unsupported(self, instr: Instr) -> Diagnostic: ...

    @abstractmethod
    def literal(self, dim: int) -> str: ...

    @abstractmethod
    def taken(self, body: Body, key: str) -> str:
        """The identifier of an array that the function takes."""

    @abstractmethod
    def constant(self, body: Body, buffer: Buffer, instr: Instr) -> str:
        """The identifier of an array that the program holds."""

    @abstractmethod
    def result(self, body: Body, name: str) -> str:
        """The identifier of an array that the function makes."""

    @abstractmethod
    def target(self, name: str) -> str:
        """Where a result goes that is a number."""

    @abstractmethod
    def flag(self) -> tuple[str, str]:
        """The identifier of the flag, and the line that declares it."""

    @abstractmethod
    def temporary(self, body: Body, buffer: Buffer, shape: Shape) -> tuple[str, str]:
        """The identifier of an array for values between loops, and the line that declares it."""

    # -------------------------------------------------------------- dimensions
    def dim(self, dim: Dim) -> str:
        return self.literal(dim) if isinstance(dim, int) else size_text(dim, self.size)

    def count(self, shape: Shape) -> str:
        parts = [f"({t})" if " " in (t := self.dim(d)) else t for d in shape if d != 1]
        return " * ".join(parts) or "1"

    def without_value(self) -> list[str]:
        """Conditions on the sizes under which the program has no value."""
        tape = self.job.tape
        negative = [d for d in every_dim(tape) if isinstance(d, Size) and any(c < 0 for _, c in d.terms)]
        bad = sorted({f"{self.dim(d)} < 0" for d in negative})
        for number, shape in needs_entries(tape):
            if isinstance(number, int) and number > 0:
                continue
            open_dims = [d for d in shape if not isinstance(d, int)]
            parts = [f"{self.count((number,))} == 0", *(f"{self.dim(d)} != 0" for d in open_dims)]
            bad.append(parts[0] if len(parts) == 1 else f"({' && '.join(parts)})")
        return list(dict.fromkeys(bad))

    # -------------------------------------------------------------- where values lie
    def places(self, body: FunctionBody) -> list[str]:
        """Gives the buffers of the kernel their names. Returns the lines that make those that need it."""
        lines: list[str] = []
        instrs = self.job.tape.instrs
        for buffer, s in ((b, s) for step in self.steps for b, s in zip(self.kernel.buffers, step.sources, strict=False)):
            if s.kind == "input":
                body.buffers[buffer] = self.taken(body, s.key)
            elif s.kind == "value" and instrs[s.key].op == "array":
                body.buffers[buffer] = self.constant(body, buffer, instrs[s.key])
            elif s.kind == "value":
                body.buffers[buffer] = self.result(body, self.output(s.key))
            elif s.kind == "scalars":
                own = {position: i for i, (kind, position) in self.plan.scalars.items() if kind == s.key}
                body.numbers[buffer] = [self.target(self.output(own[position])) for position in range(len(own))]
            elif s.kind == "flag" or buffer in self.temps:
                body.buffers[buffer], line = self.flag() if s.kind == "flag" else self.temporary(body, buffer, s.shape)
                lines += [f"    {line}"] if line else []
        return lines

    def output(self, i: int) -> str:
        return next(n for n, k in self.job.tape.outputs if k == i)

    def numbers(self) -> Iterator[tuple[Value, Source]]:
        """The sizes and numbers that the kernel takes, and what they are."""
        for step in self.steps:
            rest = step.sources[len(self.kernel.buffers) :]
            yield from zip((*self.kernel.sizes, *self.kernel.numbers), rest, strict=True)


def size_text(dim: Size, names: Mapping[str, str]) -> str:
    """A dimension over the identifiers of the sizes."""
    text = ""
    for monomial, factor in dim.terms:
        body = " * ".join(([] if abs(factor) == 1 and monomial else [str(abs(factor))]) + [names[n] for n in monomial])
        text += (" - " if factor < 0 else " + ") + body if text else ("-" if factor < 0 else "") + body
    return text


def side_by_side(entries: object) -> list[float | int | bool]:
    """The numbers in nested tuples, in order."""
    flat: list[float | int | bool] = []
    stack = [entries]
    while stack:
        item = stack.pop()
        if isinstance(item, tuple):
            stack.extend(reversed(item))
        else:
            assert isinstance(item, (int, float))
            flat.append(item)
    return flat


def rows(texts: Iterable[str]) -> str:
    """Numbers between commas, on lines that are not too long."""
    lines, line = [], "    "
    for text in texts:
        if len(line) + len(text) > LONGEST:
            lines.append(line.rstrip())
            line = "    "
        line += text + ", "
    return "\n".join([*lines, line.rstrip().rstrip(",")])
