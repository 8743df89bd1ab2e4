"""A program as one C file: a function over the caller's arrays, and all that it needs but libm."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from gradlang._version import __version__
from gradlang.backend.artifact import Job
from gradlang.backend.c import Body, Scope, function_text, helper_texts, kernel_text, stored
from gradlang.backend.c_interface import Argument, Interface, interface
from gradlang.backend.c_names import LIBM
from gradlang.backend.c_ops import literal
from gradlang.backend.c_test import Golden, main_text
from gradlang.backend.llvm_ops import Width
from gradlang.backend.loop_program import FunctionBody, LoopProgram, rows, side_by_side
from gradlang.backend.units import needed, with_routines
from gradlang.check.errors_ops import not_in_c
from gradlang.diagnostics import Diagnostic
from gradlang.ir.tape import Instr
from gradlang.loops.functions import LIMITS, NAMES, function
from gradlang.loops.ir import Buffer, Code, Function, Value
from gradlang.ops.table import OpTable
from gradlang.plan.pointwise import KINDS
from gradlang.source import Sources
from gradlang.types import Shape, Type, product

SMALL = 256  # entries of an array on the stack
STACK = 2048  # entries of all of them
INCLUDES = "#include <math.h>\n#include <stdint.h>\n#include <stdlib.h>\n#include <string.h>"
ALLOCATE = """#ifndef GRADLANG_MALLOC /* how the workspace is got and given back */
#define GRADLANG_MALLOC(bytes) malloc(bytes)
#define GRADLANG_FREE(pointer) free(pointer)
#endif

/* Where an array begins in a workspace that grows by it; SIZE_MAX bytes mean that it is too large. */
static size_t gl_place(size_t *room, size_t width, int rank, const int64_t *dims) {
    const size_t at = *room;
    size_t bytes = width;
    for (int k = 0; k < rank; k++) {
        if (dims[k] > 0 && (uint64_t)dims[k] > SIZE_MAX / 4 / (bytes + 1)) {
            *room = SIZE_MAX;
            return 0;
        }
        bytes *= dims[k] > 0 ? (size_t)dims[k] : 0;
    }
    if (at > SIZE_MAX / 2) return 0;
    *room = at + (bytes + 63) / 64 * 64;
    return at;
}"""


@dataclass(frozen=True, slots=True)
class CFile:
    source: str
    header: str
    interface: Interface


class Writer(LoopProgram):
    def __init__(self, job: Job, table: OpTable, sources: Sources, notes: Mapping[str, str], golden: Golden | None) -> None:
        super().__init__(job, table, sources)
        self.golden = golden
        self.helpers: dict[str, None] = {}
        self.libm = set(LIBM) if not self.loops else {n for n in LIBM if n not in NAMES or n in LIMITS}
        self.face, self.names = interface(job, notes, self.plain and not self.loops)
        self.argument = {(a.result, a.name): a for a in self.face.arguments if a.type is not None}
        self.size = {a.name: a.identifier for a in self.face.arguments if a.type is None}

    def known(self) -> Collection[str]:
        return LIBM.union(NAMES)

    def unsupported(self, instr: Instr) -> Diagnostic:
        return not_in_c(instr.op, instr.span)

    def literal(self, dim: int) -> str:
        return literal("i", dim, self.width)

    # -------------------------------------------------------------- the function
    def write(self) -> CFile:
        body = FunctionBody(self.width, self.helpers, self.scope(), self.libm)
        one = self.face.value
        lines = [f"    {self.face.c_type(one.type)} {one.identifier};"] if one else []
        lines += [*self.checks(), *self.bind(body)]
        body.run(self.kernel.body)
        unused = [a.identifier for a in self.face.arguments if not a.result and not self.reads(a, body)]
        lines += [f"    (void){name};" for name in unused]
        closing = [*self.copies(), *self.close()]
        texts = [*body.locals, *lines, *body.lines, *closing]
        text = f"{self.face.head(restrict=True)} {{\n" + "\n".join(texts) + "\n}"
        return self.file(text)

    def scope(self) -> Scope:
        scope = Scope()
        scope.taken |= self.names.taken | LIBM
        return scope

    def reads(self, a: Argument, body: FunctionBody) -> bool:
        """Whether the function uses an argument."""
        outputs = {self.job.tape.instrs[i].attrs[0] for _, i in self.job.tape.outputs if self.job.tape.instrs[i].op == "input"}
        if a.type is None:
            texts = [*self.checks(), *self.workspace, *self.copies()]
            live = {body.names[v] for v in self.kernel.sizes if v in body.live[0]}
            return a.identifier in live or any(word(a.identifier, t) for t in texts)
        if a.name in outputs:
            return True
        if a.type.shape:
            return any(body.buffers.get(b) == a.identifier for b in body.used)
        return any(body.names.get(v) == a.identifier for v in body.live[0])

    def checks(self) -> list[str]:
        if self.face.plain:
            return []
        every = list(dict.fromkeys([*(f"{s} < 0" for s in self.size.values()), *self.without_value()]))
        return [f"    if ({' || '.join(every)}) return GRADLANG_SIZES;"] if every else []

    def bind(self, body: FunctionBody) -> list[str]:
        """Gives the buffers, sizes and numbers of the kernel their names, and the lines that make the temporary arrays."""
        self.workspace: list[str] = []
        self.constants: list[str] = []
        self.pointers: list[str] = []
        self.stack = STACK
        lines = self.places(body)
        for number, s in self.numbers():
            body.names[number] = self.size[s.key] if s.kind == "size" else self.argument[False, s.key].identifier
            if s.kind != "size" and number.type == "i":
                body.free.add(number)
        return lines + self.room(self.pointers)

    def taken(self, body: Body, key: str) -> str:
        return self.argument[False, key].identifier

    def result(self, body: Body, name: str) -> str:
        return self.argument[True, name].identifier

    def flag(self) -> tuple[str, str]:
        return "gl_outside", "int64_t gl_outside[1] = {0};"

    def temporary(self, body: Body, buffer: Buffer, shape: Shape) -> tuple[str, str]:
        total = product(shape)
        name = body.scope.name("t")
        kind = stored(buffer, body.types)
        if isinstance(total, int) and total <= min(SMALL, self.stack):
            self.stack -= total
            return name, f"{kind} {name}[{max(total, 1)}];"
        dims = ", ".join(self.dim(d) for d in shape)
        at = body.scope.name(f"at_{name}")
        self.workspace.append(
            f"    const size_t {at} = gl_place(&gl_room, sizeof({kind}), {len(shape)}, (const int64_t[]){{{dims}}});"
        )
        self.pointers.append(f"    {kind} *restrict {name} = ({kind} *)(void *)(gl_base + {at});")
        return name, ""

    def room(self, pointers: list[str]) -> list[str]:
        if not pointers:
            return []
        return [
            "    size_t gl_room = 0;",
            *self.workspace,
            "    if (gl_room > SIZE_MAX / 2) return GRADLANG_MEMORY;",
            "    char *gl_memory = GRADLANG_MALLOC(gl_room + 63);",
            "    if (!gl_memory) return GRADLANG_MEMORY;",
            "    char *gl_base = gl_memory + (64 - (uintptr_t)gl_memory % 64) % 64;",
            *pointers,
        ]

    def constant(self, body: Body, buffer: Buffer, instr: Instr) -> str:
        name = f"gl_c{len(self.constants) + 1}"
        self.constants.append(table(name, stored(buffer, body.types), KINDS[instr.type.dtype], instr.attrs[0], self.width))
        return name

    def copies(self) -> list[str]:
        """Results that are leaves, and results that are the same as an earlier one."""
        lines, made = list[str](), dict[int, Argument]()
        for name, i in self.job.tape.outputs:
            instr, a = self.job.tape.instrs[i], self.argument[True, name]
            if i in made:
                lines.append(self.copied(a, made[i].identifier, made[i].type))
            elif instr.op == "input":
                lines.append(self.copied(a, self.argument[False, instr.attrs[0]].identifier, instr.type, number=True))
            elif instr.op == "const":
                lines.append(f"    {self.pointed(a)} = {literal(KINDS[instr.type.dtype], instr.attrs[0], self.width)};")
            elif instr.op == "size":
                lines.append(f"    {self.pointed(a)} = {self.dim(instr.attrs[0])};")
            elif instr.op == "iota":
                lines.append(f"    for (int64_t i = 0; i < {self.count(instr.type.shape)}; i++) {a.identifier}[i] = i;")
            elif instr.op == "array":
                lines += self.given(a, instr)
            made.setdefault(i, a)
        return [*lines, *([f"    return {self.face.value.identifier};"] if self.face.value else [])]

    def target(self, name: str) -> str:
        return self.pointed(self.argument[True, name])

    def pointed(self, a: Argument) -> str:
        return a.identifier if a is self.face.value else f"*{a.identifier}"

    def copied(self, a: Argument, source: str, type: Type | None, number: bool = False) -> str:
        if type is None or not type.shape:
            return f"    {self.pointed(a)} = {source if number else '*' + source};"
        count = self.count(type.shape)
        return f"    if ({count} > 0) memcpy({a.identifier}, {source}, (size_t)({count}) * sizeof *{a.identifier});"

    def given(self, a: Argument, instr: Instr) -> list[str]:
        kind = self.face.c_type(instr.type, True)
        text = table("given", kind, KINDS[instr.type.dtype], instr.attrs[0], self.width)
        return ["    {", "        " + text, f"        memcpy({a.identifier}, given, sizeof given);", "    }"]

    def close(self) -> list[str]:
        if self.face.plain:
            return []
        lines = ["    GRADLANG_FREE(gl_memory);"] if self.workspace else []
        return [*lines, "    return gl_outside[0] ? GRADLANG_OUTSIDE : 0;" if self.flagged else "    return 0;"]

    # -------------------------------------------------------------- the file
    def file(self, text: str) -> CFile:
        kernels = with_routines([self.kernel])
        functions = [(n, f) for n, f in needed(kernels, self.function) if n not in self.libm]
        parts = [function_text(self.width, self.helpers, n, f) for n, f in functions]
        parts += [kernel_text(self.width, self.helpers, k, "static ") for k in kernels if k is not self.kernel]
        origin = self.job.origin
        top = [
            self.face.comment(origin, __version__),
            INCLUDES,
            '#ifdef __FAST_MATH__\n#error "-ffast-math computes something else: infinities, nans and roundings count"\n#endif',
            self.face.codes(),
            self.face.head() + ";",
            ALLOCATE if self.workspace else "",
            *helper_texts(self.width, self.helpers),
            *self.constants,
        ]
        check = main_text(self.face, self.golden, self.width) if self.golden else ""
        source = "\n\n".join(part for part in [*top, *parts, text, check] if part) + "\n"
        return CFile(source, self.face.header(origin, __version__), self.face)

    def function(self, name: str) -> Function:
        if name in self.libm:
            code = Code()
            x = Value("f")
            return Function(name, (x,), code.body, x)
        return function(name, self.width)


def word(name: str, text: str) -> bool:
    return re.search(rf"\b{name}\b", text) is not None


def table(name: str, kind: str, type: str, entries: object, width: Width) -> str:
    """A constant array."""
    flat = [literal(type, item, width) for item in side_by_side(entries)]
    body = rows(flat or ["0"])
    return f"static const {kind} {name}[{max(len(flat), 1)}] = {{\n{body}\n}};"


def c_file(job: Job, table: OpTable, sources: Sources, notes: Mapping[str, str], golden: Golden | None = None) -> CFile:
    """The C file of a job in the ops of the loop form. `notes` say what its leaves and results are; with a `golden` point the
    file can check itself.

    Raises SourceError if the program holds what loops cannot do."""
    return Writer(job, table, sources, notes, golden).write()
