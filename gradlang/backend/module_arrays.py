"""Tapes of arrays to whole Python modules over NumPy."""

from __future__ import annotations

import re
from collections.abc import Iterable

from gradlang.backend import python as scalar_backend
from gradlang.backend.artifact import Artifact, Job, Param
from gradlang.backend.module import Lines, header, named, result_text, signature
from gradlang.backend.names import PYTHON_RESERVED, Names
from gradlang.backend.numpy import MARKS, NumpyPrinter, unmarked
from gradlang.backend.numpy_helpers import HELPERS
from gradlang.backend.text import PRODUCT
from gradlang.ir.tape import Tape
from gradlang.ops.table import OpTable
from gradlang.types import Size

VIEWS = ("broadcast_to", "reshape", "transpose", "slice", "patches", "mark")
# Ops that never warn; all others run with NumPy's warnings off, since infinities and nans are values like any other.
SILENT = frozenset("input const array size sum_to broadcast_to reshape transpose slice unslice concat stack iota where".split())


def _size_lines(params: tuple[Param, ...], names: Names) -> tuple[dict[str, str], list[str]]:
    """Identifiers of the sizes, and lines that read them from the shapes of the arguments."""
    found: dict[str, str] = {}
    lines: list[str] = []
    wanted = {n for p in params for d in p.type.shape if isinstance(d, Size) for n in d.names()}
    for plain in (True, False):
        for p in params:
            for axis, dim in enumerate(p.type.shape):
                linear = dim.linear() if isinstance(dim, Size) else None
                if linear is None or linear[0] in found or (plain and linear[1:] != (1, 0)):
                    continue
                name, factor, offset = linear
                found[name] = names.user(name)
                text = f"{p.identifier}.shape[{axis}]"
                if offset:
                    text = f"({text} - {offset})" if offset > 0 else f"({text} + {-offset})"
                lines.append(f"{found[name]} = {text}" + (f" // {factor}" if factor != 1 else ""))
    for name in sorted(wanted - set(found)):
        found[name] = names.user(name)
    return found, lines


def array_module(job: Job, table: OpTable) -> Artifact:
    names, entry, params = named(job, PYTHON_RESERVED | frozenset(HELPERS))
    sizes, size_lines = _size_lines(params, names)
    local = Names(names.taken)
    printer = NumpyPrinter(job.tape, local, table, {p.name: p.identifier for p in params}, sizes, marked=True)
    out = Lines(header(job))
    out.put("")
    out.put("import numpy as np")
    out.put("")
    out.put(f"F = np.{job.dtype}")
    for name in sorted(printer.helpers):
        for text in ("", "", *HELPERS[name].rstrip("\n").split("\n")):
            out.put(text)
    out.put("")
    out.put("")
    head, missing = signature(entry, params)
    if any(i.op not in SILENT for i in job.tape.instrs):
        out.put('@np.errstate(all="ignore")')
    out.put(head)
    for line in missing:
        out.put(line, 1)
    for line in size_lines:
        out.put(line, 1)
    out.body(printer.lines, 1)
    results = dict(_array_results(job.tape, printer))
    out.put(f"return {scalar_backend.structure(job.returns, results)}", 1)
    text = "\n".join(out.out) + "\n"
    running, numbers = numbered(text, local)
    return Artifact("numpy", entry, unmarked(text), params, tuple(sizes), out.spans, running, numbers)


def numbered(text: str, names: Names) -> tuple[str | None, tuple[tuple[str, float], ...]]:
    """A text with names in place of its marked numbers, and what these are."""
    found: dict[str, str] = {}
    parts = re.split(f"{MARKS[0]}(.*?){MARKS[1]}", text)
    for k in range(1, len(parts), 2):
        number = parts[k].strip("()")
        if number not in found:
            found[number] = names.fresh("number")
        parts[k] = found[number]
    return "".join(parts) if found else None, tuple((name, float(number.replace("np.", ""))) for number, name in found.items())


def _array_results(tape: Tape, printer: NumpyPrinter) -> Iterable[tuple[str, str]]:
    """The results: scalars as Python numbers, arrays that are nobody else's."""
    given: set[int] = set()
    for name, i in tape.outputs:
        text = printer.at(i, PRODUCT)
        instr = tape.instrs[i]
        if not instr.type.shape:
            yield name, result_text(text, tape, i)
            continue
        root, viewed = i, False
        while tape.instrs[root].op in VIEWS:
            viewed = viewed or tape.instrs[root].op in ("broadcast_to", "patches")
            root = tape.instrs[root].args[0]
        shared = root in given or tape.instrs[root].op in ("input", "array") or viewed
        given.add(root)
        if instr.op == "slice" or shared:
            text = f"np.array({printer.at(i)})"
        yield name, text
