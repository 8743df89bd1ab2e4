"""The driver of a plan: Python that makes the arrays, runs the kernels and calls NumPy in between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from math import isfinite
from typing import Any

from gradlang.backend.artifact import Job, Returns
from gradlang.backend.llvm_entry import RELEASE_AT, Entry
from gradlang.backend.names import ARRAY_KINDS, PYTHON_RESERVED, Names
from gradlang.backend.numpy import NumpyPrinter, spelled
from gradlang.backend.numpy_helpers import HELPERS
from gradlang.backend.numpy_products import plain, product_lines, turned
from gradlang.backend.python import structure
from gradlang.backend.text import array_text
from gradlang.ir.tape import Instr, Tape
from gradlang.loops.ir import Buffer, Value
from gradlang.ops.table import OpTable
from gradlang.plan.plan import Library, Loops, Plan, Source
from gradlang.plan.reader import VIEWS
from gradlang.record import changed, record
from gradlang.transform.expand import expand
from gradlang.transform.partials import Templates
from gradlang.transform.passes import deep
from gradlang.types import Shape, product, value

PLAIN = {"real": "float", "int": "int", "bool": "bool"}
FRESH = {"matmul", "zmatmul", "einsum", "zeinsum"}  # what makes an array that is nobody else's
OWN = {"empty", "again", "pool", "room", "make_room", "out", "in_parts", "part"}  # names of the driver itself


@record
class Driver:
    """Source of a module in which the names of `entries` are missing; `rooms` are the shapes and kinds of the arrays that a
    call borrows. `quiet`: no NumPy is called, so that numbers may be Python's."""

    source: str
    name: str
    entries: tuple[Entry, ...]
    rooms: tuple[tuple[Shape, str], ...]
    quiet: bool


@dataclass(eq=False)
class Writer:
    plan: Plan
    job: Job
    table: OpTable
    sizes: Mapping[str, int]
    names: Names = field(default_factory=lambda: Names(PYTHON_RESERVED | set(HELPERS) | OWN))

    def __post_init__(self) -> None:
        job = self.job
        self.names.taken |= {f"run_{step.kernel.name}" for step in self.plan.steps if isinstance(step, Loops)}
        self.entry = self.names.user(job.entry)
        self.params = {p.name: self.names.user(p.name) for p in job.params}
        self.types = {p.name: p.type for p in job.params}
        self.lines: list[str] = []
        self.rooms: list[tuple[Shape, str]] = []
        self.borrowed: list[str] = []
        self.quiet = True  # whether nothing is called that tells of infinities
        self.entries: list[Entry] = []
        self.helpers: set[str] = set()
        self.known: dict[int, str] = {}  # instruction -> text of its value
        self.views: dict[int, str] = {}  # of values whose axes lie in another order
        self.scalars: dict[str, str] = {}
        self.temps: dict[str, str] = {}
        self.results: set[int] = {i for _, i in self.plan.tape.outputs}
        slopes = job.returns.parts[1] if job.returns.kind == "pair" else None
        named = slopes.parts if isinstance(slopes, Returns) else ()
        self.places = {name: k for k, (_, name) in enumerate(named)}  # of gradients in the arrays that the caller may give

    # -------------------------------------------------------------- names and memory
    def borrow(self, stem: str, shape: Shape, dtype: str) -> str:
        name = self.names.user(stem)
        self.rooms.append((shape, ARRAY_KINDS[dtype]))
        self.borrowed.append(name)
        return name

    def shape(self, shape: Shape) -> str:
        dims = [str(value(d, self.sizes)) for d in shape]
        return f"({', '.join(dims)}{',' if len(dims) == 1 else ''})"

    def array(self, i: int) -> str:
        """The array that a value of loops lies in: the caller's from now on if it is a result."""
        if i not in self.known:
            instr = self.plan.tape.instrs[i]
            stem = instr.name or next((n for n, k in self.plan.tape.outputs if k == i), f"v{i}")
            if i in self.results:
                self.known[i] = name = self.names.user(stem)
                place = self.places.get(next(n for n, k in self.plan.tape.outputs if k == i))
                given = "" if place is None or not instr.type.shape else f"out[{place}] if out is not None else "
                kind = ARRAY_KINDS[instr.type.dtype]
                kind = "" if kind == "F" and self.job.dtype == "float64" else f", {kind}"  # which is what NumPy makes
                self.lines.append(f"{name} = {given}empty({self.shape(instr.type.shape)}{kind})")
            else:
                order = self.plan.layout.get(i)
                shape = instr.type.shape if order is None else tuple(instr.type.shape[k] for k in order)
                self.known[i] = name = self.borrow(stem, shape, instr.type.dtype)
                if order is not None:
                    back = tuple(order.index(k) for k in range(len(order)))
                    self.views[i] = f"{name}.transpose({back})"
        return self.known[i]

    def scalar_room(self, dtype: str) -> str:
        if dtype not in self.scalars:
            count = sum(1 for kind, _ in self.plan.scalars.values() if kind == dtype)
            self.scalars[dtype] = self.borrow(f"numbers_{dtype}", (count,), dtype)
        return self.scalars[dtype]

    def source(self, s: Source) -> str:
        if s.dtype == "bool" and not s.shape and s.kind in ("input", "value"):
            return f"bool({self.params[s.key] if s.kind == 'input' else self.text(s.key)})"  # NumPy's are no whole numbers
        if s.kind == "input":
            return self.params[s.key]
        if s.kind == "size":
            return str(self.sizes[s.key])
        if s.kind == "value":
            return self.array(s.key)
        if s.kind == "scalars":
            return self.scalar_room(s.key)
        if s.kind == "part":
            return "part"
        if s.key not in self.temps:
            self.temps[s.key] = self.borrow(s.key, s.shape, s.dtype)
        return self.temps[s.key]

    # -------------------------------------------------------------- steps
    def write(self) -> Driver:
        tape = self.plan.tape
        for i, instr in enumerate(tape.instrs):
            if instr.op == "input":
                self.known[i] = self.params[instr.attrs[0]]
        self.constants = {i: n for i, n in enumerate(tape.instrs) if n.op == "array"}
        for i in self.constants:
            self.known[i] = self.names.user(f"c{i}")
        single = len(self.plan.steps) == 1 and isinstance(self.plan.steps[0], Loops) and not self.plan.steps[0].parts
        for step in self.plan.steps:
            if isinstance(step, Loops):
                self.loops(step, single)
            else:
                self.library(step)
        return Driver(self.module(self.results_text()), self.entry, tuple(self.entries), tuple(self.rooms), self.quiet)

    def loops(self, step: Loops, single: bool) -> None:
        kernel = step.kernel
        packed: dict[Buffer, int] = {}
        lengths: dict[Buffer, tuple[int | Value, ...]] = {}
        args = []
        results: list[str] = []
        for buffer, s in zip(kernel.buffers, step.sources, strict=False):
            if s.kind == "flag" or (s.kind == "scalars" and single):
                packed[buffer] = 1 if s.kind == "flag" else len([k for k, _ in self.plan.scalars.values() if k == s.key])
                if s.kind == "flag":
                    results.append("flag")
                else:
                    for i, (_, _) in sorted((i for i in self.plan.scalars.items() if i[1][0] == s.key), key=lambda p: p[1][1]):
                        name = self.names.user(f"n{i}")
                        self.known[i] = name
                        results.append(name)
                continue
            args.append(self.source(s))
            count = len([k for k, _ in self.plan.scalars.values() if k == s.key]) if s.kind == "scalars" else None
            lengths[buffer] = (value(product(s.shape), self.sizes) if count is None else count,)
        rest = step.sources[len(kernel.buffers) :]
        args += [self.source(s) for s in rest]
        returns = tuple(range(len(results))) if results else None
        works = True
        self.entries.append(Entry(f"run_{kernel.name}", kernel, lengths, {}, packed, returns, works))
        work = RELEASE_AT if step.parts else step.work  # a part shares the interpreter whatever it takes
        call = f"run_{kernel.name}({', '.join([*args, str(work)])})"
        if step.parts:
            call = f"in_parts(lambda part: {call}, {step.parts})"
        self.lines.append(f"{', '.join(results)}{',' if len(results) == 1 else ''} = {call}" if results else call)
        if "flag" in results:
            self.lines += ["if flag:", "    return again"]

    def library(self, step: Library) -> None:
        self.quiet = False
        for products, group in groupby(step.instrs, lambda i: plain(self.plan.tape, i)):
            if products:
                for i in group:
                    self.product(i)
            else:
                self.calls(list(group))

    def product(self, i: int) -> None:
        """A product of matrices, into its array."""
        instr = self.plan.tape.instrs[i]
        a, b = (self.operand(k) for k in instr.args)
        name = self.array(i)
        rows, columns = (value(d, self.sizes) for d in instr.type.shape)
        summed = value(self.plan.tape.instrs[instr.args[0]].type.shape[1], self.sizes)
        over = turned(rows, columns, summed, a, self.job.dtype)
        room = self.borrow(f"{name}_turned", (columns, rows), "real") if over else None
        lines, helpers = product_lines(name, a, b, instr.attrs, room)
        self.lines += lines
        self.helpers |= helpers

    def operand(self, i: int) -> str:
        """The text of a value that a library reads, which may be another one seen another way."""
        tape, chain = self.plan.tape, [i]
        while tape.instrs[chain[-1]].op in VIEWS:
            chain.append(tape.instrs[chain[-1]].args[0])
        base = tape.instrs[chain[-1]]
        params: dict[Any, str] = {}
        if base.op not in ("const", "size"):
            params["value", chain[-1]] = self.text(chain[-1])
            base = Instr("input", (), (("value", chain[-1]),), base.type, base.span)
        instrs = [base]
        for k in reversed(chain[:-1]):
            instrs.append(changed(tape.instrs[k], args=(len(instrs) - 1,), name=None))
        mini = Tape(tuple(instrs), ())
        printer = NumpyPrinter(mini, self.names, self.table, params, {n: str(v) for n, v in self.sizes.items()}, self.helpers)
        self.lines += [text for text, _ in printer.lines]
        return printer.text[len(instrs) - 1][0]

    def calls(self, group: Sequence[int]) -> None:
        """Library calls as the NumPy backend writes them, over the arrays that are there."""
        tape = self.plan.tape
        instrs: list[Instr] = []
        at: dict[int, int] = {}
        params: dict[Any, str] = {}

        def operand(i: int) -> int:
            chain = []
            while i not in at:
                instr = tape.instrs[i]
                chain.append(i)
                if instr.op not in VIEWS:
                    break
                i = instr.args[0]
            for i in reversed(chain):
                instr = tape.instrs[i]
                if instr.op in VIEWS:
                    made = Instr(instr.op, (at[instr.args[0]],), instr.attrs, instr.type, instr.span)
                elif instr.op in ("const", "size"):
                    made = instr
                else:
                    params["value", i] = self.text(i)
                    made = Instr("input", (), (("value", i),), instr.type, instr.span, (), instr.name)
                at[i] = len(instrs)
                instrs.append(made)
            return at[i]

        for i in group:
            instr = tape.instrs[i]
            args = []
            for a in instr.args:
                operand(a)
                args.append(at[a])
            at[i] = len(instrs)
            instrs.append(Instr(instr.op, tuple(args), instr.attrs, instr.type, instr.span))
        kept = [i for i in group if tape.instrs[i].type.dtype != "bundle"]
        mini = Tape(tuple(instrs), tuple((f"v{i}", at[i]) for i in kept))
        templates = Templates(self.table)
        mini = deep(lambda t: expand(t, self.table, templates, spelled))(mini)
        at = {i: k for i, (_, k) in zip(kept, mini.outputs, strict=True)}
        printer = NumpyPrinter(mini, self.names, self.table, params, {n: str(v) for n, v in self.sizes.items()}, self.helpers)
        lines = [text for text, _ in printer.lines]
        for i in kept:
            text = printer.text[at[i]][0]
            name = self.names.user(f"v{i}")
            lines.append(f"{name} = np.ascontiguousarray({text})" if tape.instrs[i].type.shape else f"{name} = {text}")
            self.known[i] = name
        self.lines += lines

    def text(self, i: int) -> str:
        if i in self.views:
            return self.views[i]
        if i in self.known:
            return self.known[i]
        instr = self.plan.tape.instrs[i]
        if instr.op == "iota":  # loops count, and have no array of counts
            return f"np.arange({value(instr.attrs[0], self.sizes)}, dtype=np.int64)"
        if i in self.plan.scalars:
            kind, position = self.plan.scalars[i]
            return f"{self.scalar_room(kind)}[{position}]"
        return self.array(i)

    # -------------------------------------------------------------- results
    def results_text(self) -> str:
        texts = {}
        given: set[str] = set()
        for name, i in self.plan.tape.outputs:
            instr = self.plan.tape.instrs[i]
            if instr.op in ("const", "size"):
                number = instr.attrs[0] if instr.op == "const" else value(instr.attrs[0], self.sizes)
                texts[name] = constant(number, instr.type.dtype)
                continue
            text = self.text(i)
            if not instr.type.shape:
                kind = PLAIN[instr.type.dtype]
                texts[name] = text if i in self.plan.scalars and text.isidentifier() and kind == "float" else f"{kind}({text})"
                continue
            own = (i in self.plan.arrays or instr.op in FRESH) and text not in given
            given.add(text)
            texts[name] = text if own else f"np.array({text}, order='C')"
        return structure(self.job.returns, texts)

    def module(self, result: str) -> str:
        out = ["import numpy as np", "", "empty = np.empty", f"F = np.{self.job.dtype}"]
        for i, instr in self.constants.items():
            out.append(f"{self.known[i]} = np.array({array_text(instr.attrs[0])}, {ARRAY_KINDS[instr.type.dtype]})")
        for name in sorted(self.helpers):
            out += ["", "", *HELPERS[name].rstrip("\n").split("\n")]
        out += ["", "", f"def {self.entry}({', '.join([*self.params.values(), 'out=None'])}):"]
        body = list(self.lines)
        if not self.quiet:
            body = ['with np.errstate(all="ignore"):', *("    " + line for line in body)]
        if self.borrowed:
            # other threads may take the last room at any time
            take = ["try:", "    room = pool.pop()", "except IndexError:", "    room = make_room()"]
            body = [*take, f"{', '.join(self.borrowed)}, = room", *body]
            body += [f"result = {result}", "pool.append(room)", "return result"]
        else:
            body.append(f"return {result}")
        return "\n".join(out + ["    " + line for line in body]) + "\n"


def constant(number: float, dtype: str) -> str:
    """A number as Python's own."""
    if dtype != "real":
        return repr(bool(number) if dtype == "bool" else int(number))
    return repr(float(number)) if isfinite(number) else f"float({str(number)!r})"


def driver(plan: Plan, job: Job, table: OpTable, sizes: Mapping[str, int]) -> Driver:
    """The driver of a plan for given sizes."""
    return Writer(plan, job, table, sizes).write()
