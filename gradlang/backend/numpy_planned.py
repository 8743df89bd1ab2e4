"""NumPy code for arrays of known sizes: operations write into memory that is there, large arrays are done tile by tile.

It gives what the readable code gives, bit for bit but for the order in which sums add."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any

import numpy as np

from gradlang.backend.artifact import Job, Returns
from gradlang.backend.names import ARRAY_KINDS, PYTHON_RESERVED, Names
from gradlang.backend.numpy import NUMPY_NAMES, NumpyPrinter
from gradlang.backend.numpy_helpers import HELPERS
from gradlang.backend.numpy_layout import by_columns
from gradlang.backend.numpy_products import plain, product_lines, turned
from gradlang.backend.numpy_tiles import TileWriter
from gradlang.backend.python import structure
from gradlang.ir.tape import Instr, Tape
from gradlang.ops.table import OpTable
from gradlang.plan.empty import has_values
from gradlang.plan.labels import placed
from gradlang.plan.tiles import INNER, LEAST, Extents, Group, Run, Tiles, tiles
from gradlang.record import record
from gradlang.types import value

PLAIN = {"real": "float", "int": "int", "bool": "bool"}
# Ops whose results share no memory with their arguments; of others it is not asked.
FRESH = frozenset(
    "sum sum_to max min any all product matmul zmatmul zeinsum unslice take_axis take_along scatter_add scatter_along concat "
    "stack iota cumsum_along argsort argmax_along argmin_along real".split()
)
LOCAL = frozenset({"B", "empty", "pool", "room", "make_room", "result", "start", "stop", "tile", "out", "prepared"})


@record
class Planned:
    """Source of a module that makes `name` if `pool` and `make_room` are there; `rooms` are the arrays that a call borrows.
    The function takes arrays for the gradients as `out`, which it uses where that is no detour."""

    source: str
    name: str
    rooms: tuple[tuple[Extents, str], ...]


def ufunc(table: OpTable, instr: Instr) -> str | None:
    """The function of NumPy that does an op entry by entry and writes where it is told, if there is one."""
    if instr.op not in table or not table[instr.op].pointwise:
        return None
    if instr.op == "mul" and instr.args[0] == instr.args[1]:
        return "np.square"
    name = NUMPY_NAMES.get(instr.op, table[instr.op].spelling.get("numpy", f"np.{instr.op}"))
    return name if isinstance(getattr(np, name.removeprefix("np."), None), np.ufunc) else None


def entrywise(tape: Tape, table: OpTable, i: int) -> bool:
    """Whether an instruction can be done into given memory with the result that the readable code has."""
    instr = tape.instrs[i]
    kinds = [tape.instrs[a].type.dtype for a in instr.args]
    if instr.attrs or instr.type.dtype == "int" or instr.op == "mark":
        return False
    if instr.op == "where":
        return kinds[0] == "bool" and kinds[1:] == [instr.type.dtype] * 2
    if instr.op == "real":
        return True
    if ufunc(table, instr) is None:
        return False
    return instr.type.dtype == "bool" or all(k == "real" for k in kinds)


class Writer:
    def __init__(self, job: Job, tape: Tape, table: OpTable, sizes: Mapping[str, int], plan: Tiles) -> None:
        self.job, self.table, self.sizes, self.plan = job, table, sizes, plan
        self.tape = tape
        self.names = Names(PYTHON_RESERVED | set(HELPERS) | LOCAL)
        self.entry = self.names.user(job.entry)
        self.params = {p.name: self.names.user(p.name) for p in job.params}
        self.lines: list[str] = []
        self.helpers: set[str] = set()
        self.constants: dict[str, str] = {}  # text -> name
        self.rooms: list[tuple[Extents, str]] = []
        self.borrowed: list[str] = []
        self.seen: dict[str, str] = {}  # text of a borrowed array seen another way -> its name
        self.free: dict[tuple[Extents, str], list[str]] = {}
        self.results = {i for _, i in self.tape.outputs}
        self.known: dict[int, str] = {}  # instruction -> text of its value
        self.own: set[int] = set()  # results that lie in arrays made for the caller
        self.roots: dict[int, frozenset[int]] = {}  # value -> what its memory may be a part of: borrowed arrays, arguments
        for i, instr in enumerate(self.tape.instrs):
            if instr.op == "input":
                self.known[i] = self.params[instr.attrs[0]]
                self.roots[i] = frozenset({i})
        slopes = job.returns.parts[1] if job.returns.kind == "pair" else None
        named = slopes.parts if isinstance(slopes, Returns) else ()
        self.places = {name: k for k, (_, name) in enumerate(named)}  # of gradients in the arrays that the caller may give
        self.products = {i for i in range(len(tape)) if plain(tape, i)}
        self.users: dict[int, set[int]] = {i: set() for i in range(len(tape))}
        for i, instr in enumerate(tape.instrs):
            for a in instr.args:
                self.users[a].add(i)
        self.turned = self.only_turned()
        self.column_steps, self.columns = by_columns(plan, self.shape, job.dtype, self.products, self.results)
        for k, step in enumerate(plan.steps):
            if isinstance(step, Group) and k in self.column_steps:
                step.flat = False
        self.ends = self.lifetimes()

    def lifetimes(self) -> dict[int, int]:
        """The last step that may read the array of a group's value, also through other values that share its memory."""
        for step in self.plan.steps:
            for i in step.members:
                instr = self.tape.instrs[i]
                grouped = isinstance(step, Group) or i in self.products
                fresh = grouped or instr.op in FRESH or (table_pointwise(self.table, instr) and instr.op != "mark")
                shared = frozenset[int]().union(*(self.roots.get(a, frozenset()) for a in instr.args))
                self.roots[i] = frozenset({i}) if grouped else frozenset() if fresh else shared
        ends: dict[int, int] = {}
        for i, steps in self.plan.used.items():
            for root in self.roots.get(i, ()):
                ends[root] = max(ends.get(root, 0), *steps)
        return ends

    # -------------------------------------------------------------- names and memory
    def shape(self, i: int) -> Extents:
        return tuple(value(d, self.sizes) for d in self.tape.instrs[i].type.shape)

    def kind(self, i: int) -> str:
        """The kind of an array, as rooms have it."""
        return ARRAY_KINDS[self.tape.instrs[i].type.dtype] + (".T" if i in self.columns else "")

    def borrow(self, shape: Extents, kind: str) -> str:
        free = self.free.get((shape, kind))
        if free:
            return free.pop()
        name = self.names.fresh("room")
        self.rooms.append((shape, kind))
        self.borrowed.append(name)
        return name

    def view(self, name: str, how: str) -> str:
        """An array seen another way, which is made together with the array if that is borrowed."""
        if name not in self.borrowed:
            return f"{name}.{how}"
        if f"{name}.{how}" not in self.seen:
            self.seen[f"{name}.{how}"] = self.names.fresh("view")
        return self.seen[f"{name}.{how}"]

    def give_back(self, shape: Extents, kind: str, name: str) -> None:
        self.free.setdefault((shape, kind), []).append(name)

    def constant(self, text: str) -> str:
        """A number as an array without axes, which NumPy takes faster than a Python number."""
        if text not in self.constants:
            self.constants[text] = self.names.fresh("c")
        return self.constants[text]

    def text(self, i: int) -> str:
        """A value as an operand."""
        instr = self.tape.instrs[i]
        if instr.op in ("const", "size"):
            number = instr.attrs[0] if instr.op == "const" else value(instr.attrs[0], self.sizes)
            return self.constant(f"np.array({literal(number)}, {ARRAY_KINDS[instr.type.dtype]})")
        return self.known[i]

    def result_array(self, i: int) -> tuple[str, str]:
        """A name for the array of a result, and the line that makes it."""
        output = next(n for n, k in self.tape.outputs if k == i)
        name = self.names.user(self.tape.instrs[i].name or output)
        place = self.places.get(output)
        given = "" if place is None else f"out[{place}] if out is not None else "
        self.own.add(i)
        return name, f"{name} = {given}empty({self.shape(i)}, {ARRAY_KINDS[self.tape.instrs[i].type.dtype]})"

    # -------------------------------------------------------------- steps
    def write(self) -> Planned:
        for k, step in enumerate(self.plan.steps):
            if isinstance(step, Group):
                TileWriter(self, step, k).write()
            else:
                self.run(step, k)
            for i, end in self.ends.items():
                if end == k and i in self.known and i not in self.own and self.known[i] in self.borrowed:
                    self.give_back(self.shape(i), self.kind(i), self.known[i])
        return Planned(self.module(), self.entry, tuple(self.rooms))

    def run(self, step: Run, k: int) -> None:
        """What no tile does: products of matrices into their arrays, and all else as the readable code has it."""
        members = [i for i in step.members if i not in self.turned]
        for products, group in groupby(members, lambda i: i in self.products):
            if products:
                for i in group:
                    self.product(i)
            else:
                self.calls(list(group), k)

    def only_turned(self) -> set[int]:
        """Transposes that only products of matrices read, in which they are no step of their own."""
        found = {i for i, n in enumerate(self.tape.instrs) if n.op == "transpose" and n.attrs[0] == (1, 0)} - self.results
        return {i for i in found if self.users[i] <= self.products}

    def product(self, i: int) -> None:
        instr = self.tape.instrs[i]
        a, b = (f"{self.text(self.tape.instrs[k].args[0])}.T" if k in self.turned else self.text(k) for k in instr.args)
        if i in self.results:
            name, line = self.result_array(i)
            self.lines.append(line)
        else:
            name = self.borrow(self.shape(i), self.kind(i))
        self.known[i] = name
        rows, columns = self.shape(i)
        over = i not in self.columns and turned(rows, columns, self.shape(instr.args[0])[1], a, self.job.dtype)
        room = self.borrow((columns, rows), "F") if over else None
        lines, helpers = product_lines(name, a, b, instr.attrs, room)
        self.lines += lines
        self.helpers |= helpers
        if room is not None:
            self.give_back((columns, rows), "F", room)

    def calls(self, members: list[int], k: int) -> None:
        tape, inside = self.tape, set(members)
        instrs: list[Instr] = []
        at: dict[int, int] = {}
        params: dict[Any, str] = {}
        for i in members:
            instr = tape.instrs[i]
            for a in instr.args:
                if a not in at:
                    made = tape.instrs[a]
                    if made.op not in ("const", "size"):
                        params["value", a] = self.known[a]
                        made = Instr("input", (), (("value", a),), made.type, made.span, (), made.name)
                    at[a] = len(instrs)
                    instrs.append(made)
            at[i] = len(instrs)
            args = tuple(at[a] for a in instr.args)
            instrs.append(Instr(instr.op, args, instr.attrs, instr.type, instr.span))
        kept = [i for i in members if self.plan.used[i] - {k} or self.users[i] - inside]
        kept = [i for i in kept if tape.instrs[i].type.dtype != "bundle"]
        mini = Tape(tuple(instrs), tuple((f"v{i}", at[i]) for i in kept))
        sizes = {n: str(v) for n, v in self.sizes.items()}
        printer = NumpyPrinter(mini, self.names, self.table, params, sizes, self.helpers)
        self.lines += [text for text, _ in printer.lines]
        for i in kept:
            self.known[i] = printer.text[at[i]][0]
            if not self.known[i].isidentifier():
                name = self.names.fresh()
                self.lines.append(f"{name} = {self.known[i]}")
                self.known[i] = name

    # -------------------------------------------------------------- results
    def results_text(self) -> str:
        texts = {}
        given: set[int] = set()
        for name, i in self.tape.outputs:
            instr = self.tape.instrs[i]
            if not instr.type.shape:
                texts[name] = f"{PLAIN[instr.type.dtype]}({self.text(i)})"
                continue
            mine = i not in given and (i in self.own or not self.roots.get(i, frozenset({i})))
            given.add(i)
            if mine and i not in self.own and self.columns:  # NumPy keeps the order of what it is given
                texts[name] = f"np.ascontiguousarray({self.known[i]})"
            else:
                texts[name] = self.known[i] if mine else f"np.array({self.known[i]}, order='C')"
        return structure(self.job.returns, texts)

    def module(self) -> str:
        result = self.results_text()
        out = ["import numpy as np", "", "empty = np.empty", f"F = np.{self.job.dtype}", f"B = np.int{self.job.dtype[-2:]}"]
        if self.constants:
            out.append('with np.errstate(all="ignore"):')
            out += [f"    {name} = {text}" for text, name in self.constants.items()]
        for name in sorted(self.helpers):
            out += ["", "", *HELPERS[name].rstrip("\n").split("\n")]
        every = f"{', '.join([*self.borrowed, *self.seen.values()])},"
        if self.borrowed:
            out += ["", "", "def prepared(room):", f"    {', '.join(self.borrowed)}, = room"]
            out += [*(f"    {name} = {text}" for text, name in self.seen.items()), f"    return {every}"]
        out += ["", "", f"def {self.entry}({', '.join([*self.params.values(), 'out=None'])}):"]
        body = []
        if self.borrowed:
            # other threads may take the last room at any time
            body += [
                "try:",
                "    room = pool.pop()",
                "except IndexError:",
                "    room = prepared(make_room())",
                f"{every} = room",
            ]
        body.append('with np.errstate(all="ignore"):')
        body += ["    " + line for line in [*self.lines, f"result = {result}"]]
        body += ["pool.append(room)"] if self.borrowed else []
        return "\n".join(out + ["    " + line for line in [*body, "return result"]]) + "\n"


def table_pointwise(table: OpTable, instr: Instr) -> bool:
    return instr.op in table and table[instr.op].pointwise


def literal(number: float) -> str:
    return repr(number) if number == number and abs(number) < float("inf") else f"float({str(number)!r})"


def planned(job: Job, table: OpTable, sizes: Mapping[str, int], least: int = LEAST, inner: int = INNER) -> Planned | None:
    """The code for given sizes; None if no group of `plan/tiles.py` pays."""
    if not has_values(job.tape, sizes):
        return None
    tape = placed(job.tape, table, sizes)
    plan = tiles(tape, sizes, lambda i: entrywise(tape, table, i), least, inner)
    return None if plan is None else Writer(job, tape, table, sizes, plan).write()
