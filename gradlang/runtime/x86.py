"""Machine code that was written without a compiler (`plan/x86.py`): into memory that may be run, and called."""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import sys
from collections.abc import Sequence
from functools import cache
from struct import Struct
from typing import Any

import numpy as np

from gradlang.plan.x86 import MachineCode


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


class Machine:
    """Machine code as a function of floats, which gives the outputs in their order. Every call in progress has an array of
    its own; arrays are kept for later calls."""

    name = "machine"

    def __init__(self, code: MachineCode, memory: mmap.mmap, addresses: Sequence[int]) -> None:
        self.code, self.memory, self.addresses = code, memory, addresses
        self.start = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(np.frombuffer(memory, np.uint8).ctypes.data)
        self.put = Struct(f"{code.constants - code.inputs}d").pack_into
        self.take = Struct(f"{code.size - code.outputs}d").unpack_from
        self.free: list[tuple[int, memoryview, memoryview]] = []

    def __call__(self, *args: float) -> tuple[float, ...]:
        try:
            made = self.free.pop()
        except IndexError:
            made = self.bound()
        address, inputs, outputs = made
        self.put(inputs, 0, *args)
        self.start(address)
        found = self.take(outputs)
        self.free.append(made)
        return found

    def bound(self) -> tuple[int, memoryview, memoryview]:
        """The address of an array for the values, and its parts for the inputs and the outputs."""
        code = self.code
        whole = np.zeros(code.size + 1, np.uint64)
        values = whole[whole.ctypes.data % 16 // 8 :]  # at a multiple of 16
        values[: code.calls] = code.head
        values[code.calls : code.inputs] = self.addresses
        values[code.constants : code.constants + len(code.numbers)] = code.numbers
        inputs, outputs = values[code.inputs : code.constants], values[code.outputs : code.size]
        return values.ctypes.data, inputs.data, outputs.data  # which keep the array


def machine(code: MachineCode) -> Machine | None:
    """The code, ready to be called; None if this machine does not run it."""
    functions: Any = library()
    if functions is None or not all(hasattr(functions, f) for f in code.functions):
        return None
    addresses = [ctypes.cast(getattr(functions, f), ctypes.c_void_p).value or 0 for f in code.functions]
    memory = runnable(code.words.tobytes())
    return None if memory is None else Machine(code, memory, addresses)
