"""The words of LLVM text: types, numbers and the operations that are one instruction."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from gradlang.loops.ir import For, Function, Kernel, Value
from gradlang.record import record

if TYPE_CHECKING:
    from gradlang.backend.llvm_side import Side

Width = Literal["f64", "f32"]


@record
class Target:
    """What a machine can do, as far as the text depends on it."""

    fma: bool = True  # rounds a * b + c once
    converts: bool = False  # turns 64-bit whole numbers to reals and back in vectors
    vector: int = 256  # bits of its widest vectors
    registers: int = 16  # that hold vectors


# Of running sums and products. With "nsz" LLVM would take common factors out of short sums, and these may overflow then.
FLAGS = "reassoc contract"
SAFEST = Target(fma=False, converts=False, vector=128)
SIMPLE = {  # {T} is the type of reals, {W} of whole numbers of the same width, {S} their suffix in names
    "add": "fadd {T} {0}, {1}",
    "sub": "fsub {T} {0}, {1}",
    "mul": "fmul {T} {0}, {1}",
    "div": "fdiv {T} {0}, {1}",
    "neg": "fneg {T} {0}",
    "iadd": "add i64 {0}, {1}",
    "isub": "sub i64 {0}, {1}",
    "imul": "mul i64 {0}, {1}",
    "ineg": "sub i64 0, {0}",
    "wadd": "add {W} {0}, {1}",
    "wsub": "sub {W} {0}, {1}",
    "wand": "and {W} {0}, {1}",
    "wor": "or {W} {0}, {1}",
    "wxor": "xor {W} {0}, {1}",
    "wshl": "shl {W} {0}, {1}",
    "wshr": "lshr {W} {0}, {1}",
    "wsar": "ashr {W} {0}, {1}",
    "lt": "fcmp olt {T} {0}, {1}",
    "le": "fcmp ole {T} {0}, {1}",
    "gt": "fcmp ogt {T} {0}, {1}",
    "ge": "fcmp oge {T} {0}, {1}",
    "eq": "fcmp oeq {T} {0}, {1}",
    "ne": "fcmp une {T} {0}, {1}",
    "ilt": "icmp slt i64 {0}, {1}",
    "ile": "icmp sle i64 {0}, {1}",
    "igt": "icmp sgt i64 {0}, {1}",
    "ige": "icmp sge i64 {0}, {1}",
    "ieq": "icmp eq i64 {0}, {1}",
    "ine": "icmp ne i64 {0}, {1}",
    "wlt": "icmp slt {W} {0}, {1}",
    "weq": "icmp eq {W} {0}, {1}",
    "and": "and i1 {0}, {1}",
    "or": "or i1 {0}, {1}",
    "not": "xor i1 {0}, true",
    "bits": "bitcast {T} {0} to {W}",
    "unbits": "bitcast {W} {0} to {T}",
    "btof": "select i1 {0}, {T} 1.0, {T} 0.0",
    "btoi": "zext i1 {0} to i64",
    "itob": "icmp ne i64 {0}, 0",
}
INTRINSICS = {
    "abs": ("llvm.fabs.{S}", "{T}", 1),
    "sqrt": ("llvm.sqrt.{S}", "{T}", 1),
    "floor": ("llvm.floor.{S}", "{T}", 1),
    "ceil": ("llvm.ceil.{S}", "{T}", 1),
    "rint": ("llvm.rint.{S}", "{T}", 1),
    "trunc": ("llvm.trunc.{S}", "{T}", 1),
    "copysign": ("llvm.copysign.{S}", "{T}", 2),
    "fma": ("llvm.fma.{S}", "{T}", 3),
    "running maximum": ("llvm.maximum.{S}", "{T}", 2),
    "running minimum": ("llvm.minimum.{S}", "{T}", 2),
    "imax": ("llvm.smax.i64", "i64", 2),
    "imin": ("llvm.smin.i64", "i64", 2),
}


class Unit:
    """What the functions of one text share."""

    def __init__(self, width: Width, target: Target) -> None:
        self.width, self.target = width, target
        self.real, self.word = ("double", "i64") if width == "f64" else ("float", "i32")
        self.types = {"f": self.real, "w": self.word, "i": "i64", "b": "i1"}
        self.stored = {"f": self.real, "w": self.word, "i": "i64", "s": "i32", "b": "i8"}
        self.bytes = {"f": 8 if width == "f64" else 4, "i": 8, "s": 4, "b": 1, "w": 8 if width == "f64" else 4}
        self.declared: dict[str, None] = {}
        self.notes: list[str] = []  # on loops
        self.written: dict[For, tuple[For, Side]] = {}  # loops that are written as whole vectors, and what differs in these
        self.widths: dict[Kernel, int] = {}  # of vectors, where that is not what a kernel shows by itself
        self.tabled = False  # whether functions for vectors may have the instructions of whole ones
        self.form: Callable[
            [str, bool], Function
        ]  # a function in the form that vectors take, or in that for one that is waited for
        self.is_wide: Callable[[str], bool] = lambda name: False  # whether a function can be written for vectors
        self.widened: dict[tuple[str, int], None] = {}  # functions that are called for vectors, with their lengths
        self.wishes: dict[str, str] = {}  # what notes are about
        self.shared: dict[str, str] = {}  # functions that several kernels call, by name
        places = {"T": self.real, "W": self.word}
        self.simple = {op: t.replace("{T}", self.real).replace("{W}", self.word) for op, t in SIMPLE.items()}
        self.intrinsics = {
            op: (name.format(S=width, **places), kind.format(**places), count) for op, (name, kind, count) in INTRINSICS.items()
        }

    def note(self, wish: str = '!"llvm.loop.vectorize.width", i32 1') -> str:
        """A note for a loop: without another wish, that its steps are not to be made into vectors."""
        if wish not in self.wishes:
            self.wishes[wish] = f"!{len(self.notes)}"
            self.notes.append(f"{self.wishes[wish]} = !{{{wish}}}")
        self.notes.append(f"!{len(self.notes)} = distinct !{{!{len(self.notes)}, {self.wishes[wish]}}}")
        return f"!{len(self.notes) - 1}"

    def wide(self, function: str, count: int) -> str:
        """The name of a function for vectors of so many numbers, which is then part of the text."""
        self.widened[function, count] = None
        return f"{symbol(function)}.{count}"

    def literal(self, value: Value) -> str:
        """A known value. Reals are written by their bits; those of a float by the bits of the double of the same value."""
        known = value.const
        assert known is not None
        if value.type == "b":
            return "true" if known else "false"
        if value.type == "f":
            if self.width == "f32":
                known = narrowed(float(known))
            return f"0x{struct.unpack('>Q', struct.pack('>d', known))[0]:016X}"
        bits = 32 if value.type == "w" and self.width == "f32" else 64
        wrapped = int(known) & (1 << bits) - 1
        return str(wrapped - (1 << bits) if wrapped >> (bits - 1) else wrapped)


def narrowed(known: float) -> float:
    try:
        return float(struct.unpack("f", struct.pack("f", known))[0])
    except OverflowError:
        return float("inf") if known > 0 else float("-inf")


def symbol(function: str) -> str:
    """The name of a function in the text: no C library has one with a dot."""
    return f"math.{function}"
