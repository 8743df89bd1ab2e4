"""The loop form as JavaScript: kernels over typed arrays.

Whole numbers are JavaScript's numbers, exact up to 2**53, and lie in arrays of float64. Functions are those of `Math`, or
written from the table of ops; in single precision each operation is rounded by `Math.fround`.
"""

from __future__ import annotations

from gradlang.backend.c import Scope
from gradlang.backend.js_scalar import need
from gradlang.backend.js_words import MATH, RESERVED, SAME, TEMPLATES, literal
from gradlang.backend.llvm_ops import Width
from gradlang.backend.loop_program import FunctionBody
from gradlang.backend.units import Opened
from gradlang.loops.ir import Buffer, Kernel, Let, Read, Statement, Value

ARRAYS = {"f64": "Float64Array", "f32": "Float32Array"}
ROUNDED = frozenset({"add", "sub", "mul", "div", "sqrt", "fma", "itof"})
SIGNED = frozenset({"imul", "ineg", "idiv", "imod", "ftoi"})  # their result may be -0


class JsBody(FunctionBody):
    """The statements of a function."""

    def __init__(self, width: Width, helpers: dict[str, None], scope: Scope) -> None:
        super().__init__(width, helpers, scope)
        self.signed: set[Value] = set()  # whole numbers that may be -0

    # -------------------------------------------------------------- the words of the language
    def literal(self, type: str, known: float | int | bool) -> str:
        return literal(type, known, self.width)

    def constant(self, type: str, name: str, text: str) -> str:
        return f"const {name} = {text};"

    def variable(self, type: str, name: str, text: str) -> str:
        return f"let {name} = {text};"

    def room(self, name: str, buffer: Buffer) -> str:
        return f"const {name} = new {array_type(buffer.kind, self.width)}({buffer.local});"

    def loaded(self, kind: str, entry: str) -> str:
        return f"{entry} !== 0" if kind == "b" else entry

    def kept(self, buffer: Buffer, value: Value) -> str:
        return self.at(value) + (" + 0" if buffer.kind == "i" and value in self.signed else "")

    def part(self, buffer: Buffer, index: Value) -> str:
        name = self.buffer(buffer)
        return name if index.const == 0 else f"{name}.subarray({self.at(index)})"

    # -------------------------------------------------------------- operations
    def statement(self, s: Statement) -> Opened | None:
        match s:
            case Let() if s.value.type == "i" and (s.op in SIGNED or any(a in self.signed for a in s.args)):
                self.signed.add(s.value)
            case Read() if s.value.type == "i":
                self.signed.add(s.value)
        return super().statement(s)

    def let(self, s: Let) -> str:
        args = [self.at(a) for a in s.args]
        if s.op == "call":
            function = SAME.get(s.function, s.function)
            if function not in MATH:
                need(self.helpers, function)
            text = f"{'Math.' if function in MATH else ''}{function}({', '.join(args)})"
            return self.rounded(text)
        if s.op == "itof" and s.args[0] not in self.signed:
            return self.rounded(args[0])
        return self.template(s.op, args)

    def template(self, op: str, args: list[str]) -> str:
        op = op.removeprefix("wrapped ")
        template, helper = TEMPLATES[op]
        if helper:
            need(self.helpers, helper)
        text = template.format(*args)
        return self.rounded(text) if op in ROUNDED else text

    def rounded(self, text: str) -> str:
        return f"Math.fround({text})" if self.width == "f32" else text


def array_type(kind: str, width: Width) -> str:
    return {"f": ARRAYS[width], "i": "Float64Array", "s": "Int32Array", "b": "Uint8Array"}[kind]


def scope_of(taken: set[str]) -> Scope:
    scope = Scope()
    scope.taken |= RESERVED | taken
    return scope


def kernel_text(width: Width, helpers: dict[str, None], kernel: Kernel) -> str:
    """A kernel that others run, as a function over typed arrays and sizes."""
    body = JsBody(width, helpers, scope_of({kernel.name}))
    for b in kernel.buffers:
        body.buffers[b] = body.scope.name(b.name)
    for p in kernel.sizes:
        body.names[p] = body.scope.name(p.hint or "n")
    body.run(kernel.body)
    head = ", ".join([*(body.buffers[b] for b in kernel.buffers), *(body.names[p] for p in kernel.sizes)])
    return "\n".join([f"function {kernel.name}({head}) {{", *body.locals, *body.lines, "}"])
