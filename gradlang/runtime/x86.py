"""Machine code that was written without a compiler (`plan/x86.py`): into memory that may be run, and called."""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from struct import Struct
from typing import Any

import numpy as np

from gradlang.ir.columns import Columns
from gradlang.ir.tape import Tape
from gradlang.plan.x86 import MachineCode, machine_code
from gradlang.runtime import levels


@cache
def library() -> ctypes.CDLL | None:
    """The functions of C, on machines whose code and calls we know: x86-64 with the calling convention of System V."""
    if platform.machine() not in ("x86_64", "AMD64") or sys.platform != "linux" or sys.maxsize < 2**32:
        return None
    try:
        found = ctypes.CDLL(None)
        return found if hasattr(found, "exp") else ctypes.CDLL("libm.so.6")
    except OSError:
        return None


def possible() -> bool:
    """Whether we can write code for this machine, and the system runs it."""
    return library() is not None and runnable(b"\xc3" * 8) is not None


def runnable(code: bytes) -> mmap.mmap | None:
    """Memory that holds some code and may be run but not written to; None where the system does not allow that."""
    try:
        file = os.memfd_create("gradlang")
        try:
            rest = memoryview(code)
            while rest:
                rest = rest[os.write(file, rest) :]
            return mmap.mmap(file, len(code), mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC)
        finally:
            os.close(file)
    except (AttributeError, OSError):
        return None


SHORT = 2**16  # bytes of code that runs in a few microseconds: other threads can wait for it
Array = tuple[Callable[[], int], memoryview, memoryview]


class Machine:
    """Machine code as a function of floats, which gives the outputs in their order. Every call in progress has an array of
    its own; arrays are kept for later calls."""

    name = "machine"

    def __init__(self, code: MachineCode, memory: mmap.mmap, addresses: Sequence[int], far: Callable[[], Machine]) -> None:
        """`far` makes the function that takes over where an argument is beyond the limit of one of our own functions."""
        self.code, self.memory, self.addresses, self.far = code, memory, addresses, far
        # with the lock of the interpreter kept, a call takes half as long
        self.kind = (ctypes.PYFUNCTYPE if code.words.nbytes <= SHORT else ctypes.CFUNCTYPE)(ctypes.c_int)
        self.put = Struct(f"{code.constants - code.inputs}d").pack_into
        self.take = Struct(f"{code.size - code.outputs}d").unpack_from
        self.free: list[Array] = []
        self.stubs: list[mmap.mmap] = []
        self.kept: list[Array] = []

    def __call__(self, *args: float) -> tuple[float, ...]:
        try:
            made = self.free.pop()
        except IndexError:
            made = self.bound()
        start, inputs, outputs = made
        self.put(inputs, 0, *args)
        beyond = start()
        found = self.take(outputs)
        self.free.append(made)
        return self.far()(*args) if beyond else found

    def bound(self) -> Array:
        """A new array for the values: the code as a function that works on it, and its parts for the inputs and the
        outputs."""
        code = self.code
        whole = np.zeros(code.size + 1, np.uint64)
        values = whole[whole.ctypes.data % 16 // 8 :]  # at a multiple of 16
        values[: code.calls] = code.head
        values[code.calls : code.inputs] = self.addresses
        values[code.constants : code.constants + len(code.numbers)] = code.numbers
        inputs, outputs = values[code.inputs : code.constants], values[code.outputs : code.size]
        stub = runnable(entered(values.ctypes.data, address_of(self.memory)))
        if stub is None:
            raise MemoryError
        self.stubs.append(stub)
        return self.kind(address_of(stub)), inputs.data, outputs.data  # the parts keep the array

    def addresses_of_one(self) -> tuple[int, int, int]:
        """Of the code as a function without arguments, and of the inputs and the outputs of an array that is nobody else's."""
        code = self.code
        start, _, _ = kept = self.bound()
        self.kept.append(kept)
        at = address_of_array(kept[1])
        return ctypes.cast(start, ctypes.c_void_p).value or 0, at, at + 8 * (code.outputs - code.inputs)  # type: ignore[arg-type]


def address_of_array(part: memoryview) -> int:
    return int(np.frombuffer(part, np.uint8).ctypes.data)


def entered(argument: int, function: int) -> bytes:
    """Code that calls a function with an argument; to hand that over from Python would take as long as all the rest of the
    call."""
    head, middle = bytes.fromhex("F3 0F 1E FA 48 BF"), bytes.fromhex("48 B8")  # endbr64; mov rdi, argument; mov rax, function
    return head + argument.to_bytes(8, "little") + middle + function.to_bytes(8, "little") + bytes.fromhex("FF E0")  # jmp rax


def address_of(memory: mmap.mmap) -> int:
    return int(np.frombuffer(memory, np.uint8).ctypes.data)


@cache
def vectors() -> bool:
    """Whether this machine has AVX2 and FMA, the system lets programs use them, and the user has named no older one."""
    if not levels.allows("x86-64-v3"):
        return False
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as file:
            flags = next((line.split() for line in file if line.startswith("flags")), [])
    except (OSError, ValueError):
        return False
    return "avx2" in flags and "fma" in flags


def machine(tape: Tape | Columns, inputs: Sequence[str], own: bool = True) -> Machine | None:
    """A scalar tape whose ops are known, ready to be called; None if this machine does not run it. With `own` functions are
    ours if the machine has the instructions for them."""
    functions: Any = library()
    code = machine_code(tape, inputs, own and vectors())
    if functions is None or not all(f in code.own or hasattr(functions, f) for f in code.functions):
        return None
    memory = runnable(code.words.tobytes())
    if memory is None:
        return None
    base = address_of(memory)
    addresses = [
        base + code.own[f] if f in code.own else ctypes.cast(getattr(functions, f), ctypes.c_void_p).value or 0
        for f in code.functions
    ]

    def far() -> Machine:
        made = machine(tape, inputs, own=False)
        assert made is not None
        return made

    return Machine(code, memory, addresses, cache(far))
