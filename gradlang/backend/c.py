"""The loop form as C: one file that needs nothing but a C11 compiler and libm.

A kernel becomes `void name(double *restrict ..., int64_t ..., double ...)`: its buffers, sizes and numbers in order. Bits of
reals are moved by memcpy, and constants are written in base 16 unless they are short, so that every bit is kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence

from gradlang.backend.c_ops import HELPERS, TEMPLATES, WRAPPED, literal, types
from gradlang.backend.llvm_ops import Width
from gradlang.backend.units import Opened, drive, live, needed, with_routines
from gradlang.loops.ir import (
    Buffer,
    Cell,
    Declare,
    For,
    Function,
    If,
    Kernel,
    Let,
    Load,
    Read,
    Run,
    Statement,
    Store,
    Update,
    Value,
)

RESERVED = frozenset(
    "auto bool break case char const continue default do double else enum extern false float for goto if inline int long "
    "register restrict return short signed sizeof static struct switch true typedef union unsigned void volatile while "
    "asm main NAN INFINITY fabs sqrt floor ceil rint copysign fma fabsf sqrtf floorf ceilf rintf copysignf fmaf isnan memcpy "
    "int32_t int64_t uint32_t uint64_t linux unix i386".split()
)
STEMS = {"f": "t", "w": "w", "i": "k", "b": "c"}


class Scope:
    """The names of one function, each near to its hint."""

    def __init__(self) -> None:
        self.taken = set(RESERVED)
        self.count = 0

    def name(self, hint: str) -> str:
        stem = re.sub(r"[^A-Za-z0-9_]", "_", hint).strip("_") or "v"
        if stem[0].isdigit() or stem.startswith("gl_"):
            stem = f"v_{stem}"
        made = stem
        while made in self.taken:
            self.count += 1
            made = f"{stem}_{self.count}" if stem[-1].isdigit() else f"{stem}{self.count}"
        self.taken.add(made)
        return made


class Body:
    """The statements of one function. Functions in `libm` are called by their own names."""

    def __init__(self, width: Width, helpers: dict[str, None], scope: Scope, libm: Collection[str] = ()) -> None:
        self.width, self.helpers, self.scope, self.libm = width, helpers, scope, libm
        self.free: set[Value] = set()  # whole numbers that may be any: arithmetic with them wraps around
        self.clamped: set[Value] = set()  # those of them that have been brought below a size
        self.used: set[Buffer] = set()
        self.types = types(width)
        self.names: dict[Value, str] = {}
        self.cells: dict[Cell, str] = {}
        self.buffers: dict[Buffer, str] = {}
        self.locals: list[str] = []
        self.lines: list[str] = []
        self.indent = "    "
        self.live: tuple[set[Value], set[Cell]] = (set(), set())

    def line(self, text: str) -> None:
        self.lines.append(self.indent + text)

    def at(self, value: Value) -> str:
        return self.literal(value.type, value.const) if value.const is not None else self.names[value]

    # -------------------------------------------------------------- the words of the language
    def literal(self, type: str, known: float | int | bool) -> str:
        return literal(type, known, self.width)

    def constant(self, type: str, name: str, text: str) -> str:
        return f"const {self.types[type]} {name} = {text};"

    def variable(self, type: str, name: str, text: str) -> str:
        return f"{self.types[type]} {name} = {text};"

    def room(self, name: str, buffer: Buffer) -> str:
        """A local array."""
        return f"{stored(buffer, self.types)} {name}[{buffer.local}];"

    def loaded(self, kind: str, entry: str) -> str:
        return f"{entry} != 0" if kind == "b" else entry

    def kept(self, buffer: Buffer, value: Value) -> str:
        """A value as it is stored."""
        return {"s": "(int32_t)", "b": "(unsigned char)"}.get(buffer.kind, "") + self.at(value)

    def part(self, buffer: Buffer, index: Value) -> str:
        """An array from an entry on, for another kernel."""
        return f"&{self.entry(buffer, index)}"

    # -------------------------------------------------------------- statements
    def run(self, body: Sequence[Statement], results: Sequence[Value] = ()) -> None:
        self.live = live(body, results)
        drive(body, self.statement)

    def bind(self, value: Value, text: str) -> None:
        if value in self.live[0]:
            name = self.names[value] = self.scope.name(value.hint or STEMS[value.type])
            self.line(self.constant(value.type, name, text))

    def statement(self, s: Statement) -> Opened | None:
        match s:
            case Let():
                if s.value in self.live[0]:
                    self.bind(s.value, self.let(s))
            case Load():
                if s.value in self.live[0]:
                    self.bind(s.value, self.loaded(s.buffer.kind, self.entry(s.buffer, s.index)))
                if s.buffer.kind in "is":
                    self.free.add(s.value)
            case Store():
                self.line(f"{self.entry(s.buffer, s.index)} = {self.kept(s.buffer, s.value)};")
            case Declare():
                if s.cell in self.live[1]:
                    name = self.cells[s.cell] = self.scope.name(s.cell.hint or "sum")
                    self.line(self.variable(s.cell.type, name, self.at(s.start)))
            case Read():
                if s.cell.type == "i":
                    self.free.add(s.value)
                self.bind(s.value, self.cells.get(s.cell, ""))
            case Update():
                if s.cell in self.live[1]:
                    self.update(s)
            case Run():
                given = [self.part(b, at) for b, at in s.buffers] + [self.at(n) for n in s.sizes]
                self.line(f"{s.kernel.name}({', '.join(given)});")
            case For():
                return self.loop(s)
            case If():
                return self.branch(s)
        return None

    def update(self, s: Update) -> None:
        cell, value = self.cells[s.cell], self.at(s.value)
        op = WRAPPED.get(s.op, s.op)
        self.line(f"{cell} = {self.template(op, [cell, value]) if op else value};")

    def loop(self, s: For) -> Opened:
        counter = self.names[s.counter] = self.scope.name(s.counter.hint or "i")
        self.line(f"for ({self.variable('i', counter, self.at(s.start))} {counter} < {self.at(s.stop)}; {counter}++) {{")
        self.indent += "    "
        yield from s.body
        self.indent = self.indent[:-4]
        self.line("}")

    def branch(self, s: If) -> Opened:
        self.line(f"if ({self.at(s.condition)}) {{")
        self.indent += "    "
        yield from s.then
        if s.otherwise:
            self.lines.append(f"{self.indent[:-4]}}} else {{")
            yield from s.otherwise
        self.indent = self.indent[:-4]
        self.line("}")

    def entry(self, buffer: Buffer, index: Value) -> str:
        return f"{self.buffer(buffer)}[{self.at(index)}]"

    def buffer(self, buffer: Buffer) -> str:
        self.used.add(buffer)
        if buffer not in self.buffers:
            name = self.buffers[buffer] = self.scope.name(buffer.name)
            self.locals.append("    " + self.room(name, buffer))
        return self.buffers[buffer]

    def let(self, s: Let) -> str:
        args = [self.at(a) for a in s.args]
        if s.op == "call":
            own = s.function if s.function not in self.libm else ""
            name = symbol(own) if own else s.function + ("f" if self.width == "f32" else "")
            return f"{name}({', '.join(args)})"
        return self.template(self.wrapped(s), args)

    def wrapped(self, s: Let) -> str:
        """The operation, in the form that may overflow if one of its arguments may be any whole number."""
        if s.op in ("ftoi", "wtoi"):
            self.free.add(s.value)
        if s.value.type != "i" or not any(a in self.free for a in s.args):
            return s.op
        clamped = s.op == "imax" and any(a in self.clamped for a in s.args)
        if s.op == "imin" and any(a not in self.free for a in s.args):
            self.clamped.add(s.value)
        if not clamped:
            self.free.add(s.value)
        return WRAPPED.get(s.op, s.op)

    def template(self, op: str, args: list[str]) -> str:
        template, helper = TEMPLATES[op]
        if helper:
            self.helpers[helper] = None
        suffix = "f" if self.width == "f32" else ""
        return template.format(*args, s=suffix, real=self.types["f"], word=self.types["w"], signed=self.types["signed"])


def stored(buffer: Buffer, kinds: dict[str, str]) -> str:
    return {"s": "int32_t", "b": "unsigned char"}.get(buffer.kind) or kinds[buffer.kind]


def symbol(function: str) -> str:
    return f"gl_{function}"


def function_text(width: Width, helpers: dict[str, None], name: str, function: Function) -> str:
    scope = Scope()
    body = Body(width, helpers, scope)
    for p in function.params:
        body.names[p] = scope.name(p.hint or "x")
    body.run(function.body, (function.result,))
    head = ", ".join(f"{body.types[p.type]} {body.names[p]}" for p in function.params)
    lines = [f"/* {line.replace('*/', '* /').strip()} */" for line in function.doc.splitlines() if line.strip()]
    lines += [f"static inline {body.types[function.result.type]} {symbol(name)}({head or 'void'}) {{", *body.locals]
    lines += [f"    (void){body.names[p]};" for p in function.params if p not in body.live[0]]
    return "\n".join([*lines, *body.lines, f"    return {body.at(function.result)};", "}"])


def kernel_text(width: Width, helpers: dict[str, None], kernel: Kernel, linkage: str = "") -> str:
    scope = Scope()
    scope.taken.add(kernel.name)
    body = Body(width, helpers, scope)
    head = []
    for b in kernel.buffers:
        name = body.buffers[b] = scope.name(b.name)
        head.append(f"{'' if b.writable else 'const '}{stored(b, body.types)} *restrict {name}")
    for p in (*kernel.sizes, *kernel.numbers):
        name = body.names[p] = scope.name(p.hint or ("n" if p.type == "i" else "x"))
        head.append(f"{body.types[p.type]} {name}")
    body.run(kernel.body)
    unused = [body.buffers[b] for b in kernel.buffers if b not in body.used]
    unused += [body.names[p] for p in (*kernel.sizes, *kernel.numbers) if p not in body.live[0]]
    lines = [
        f"{linkage}void {kernel.name}({', '.join(head) or 'void'}) {{",
        *body.locals,
        *(f"    (void){name};" for name in unused),
    ]
    return "\n".join([*lines, *body.lines, "}"])


def helper_texts(width: Width, helpers: Collection[str]) -> list[str]:
    kinds = types(width)
    suffix = "f" if width == "f32" else ""
    return [
        HELPERS[h].format(s=suffix, S=suffix.upper(), real=kinds["f"], word=kinds["w"], signed=kinds["signed"])
        for h in HELPERS
        if h in helpers
    ]


def unit_text(kernels: Sequence[Kernel], width: Width, functions: Callable[[str], Function]) -> str:
    """Kernels and all functions that they need, as one C file; `functions` gives a function by its name.

    Raises ValueError if functions call each other in a circle.
    """
    helpers: dict[str, None] = {}
    parts = [function_text(width, helpers, name, f) for name, f in needed(with_routines(kernels), functions)]
    parts += [kernel_text(width, helpers, k, "" if k in kernels else "static ") for k in with_routines(kernels)]
    prototypes = [part.split(" {\n", 1)[0] + ";" for part in parts if part.startswith("void ")]
    shared = helper_texts(width, helpers)
    top = "/* C11; cc -O3 -march=native -ffp-contract=off -fno-math-errno -fno-trapping-math -lm */"
    includes = "#include <math.h>\n#include <stdint.h>\n#include <string.h>"
    return "\n\n".join([top, includes, *shared, "\n".join(prototypes), *parts]) + "\n"
