"""LLVM text to machine code in this process, through llvmlite's LLJIT."""

from __future__ import annotations

import ctypes
import functools
import itertools
import sys
import threading
from collections.abc import Sequence
from typing import Any

from gradlang.backend.llvm_ops import Target
from gradlang.diagnostics import Diagnostic, InputError
from gradlang.once import once
from gradlang.runtime import levels
from gradlang.runtime.native import cache
from gradlang.runtime.native.machine import first_line, refusal

# What LLVM may write calls to by itself; the rest of the text names nothing outside it.
OUTSIDE = ("memcpy", "memmove", "memset", "bzero", "memset_pattern16", "floor", "ceil", "rint", "trunc", "fma")
OUTSIDE_FLOAT = tuple(f"{name}f" for name in ("floor", "ceil", "rint", "trunc", "fma"))


LONG = 4000  # lines of a text from which on half the time of LLVM is worth more than a twentieth of that of a call
ROWS = 2000  # lines from which on vectors are not looked for among single operations: in long texts they are those of loops


def effort(text: str, level: int) -> tuple[int, bool]:
    """LLVM's own level for a text, and whether rows of single operations are to become vectors as loops do."""
    lines = text.count("\n")
    return level if lines < LONG else 1, level >= 2 and lines < ROWS


# The loader gives code and constants memory of their own, which in a process with large arrays may lie further apart than an
# instruction of the smaller models reaches; LLVM then ends the process.
ANYWHERE: dict[str, Any] = {"reloc": "static", "codemodel": "jitdefault", "jit": True}


class NativeError(Exception):
    """Machine code could not be made. The message says why, in one line."""


def refused(error: NativeError) -> InputError:
    """What a user is told who asked for machine code."""
    text = f"machine code cannot be made of this program: {error}"
    return InputError([Diagnostic("G511", text, help='use backend="numpy", or "auto", which then does without')])


def freed(passes: Any) -> None:
    """Frees a pass manager. llvmlite's class takes the method that should do so from a base class in which it does nothing, so
    that each compilation would keep a hundred kilobytes."""
    from llvmlite.binding.newpassmanagers import NewPassManager

    if not passes.closed:
        NewPassManager._dispose(passes)
        passes.detach()


class Library:
    """Functions in memory. They are there as long as this object is."""

    def __init__(self, tracker: Any, names: Sequence[str], owner: object) -> None:
        self.owner = owner  # the compiler has to outlive what it made
        self.tracker = tracker
        self.kept: list[object] = []  # what its tables have addresses of
        self.addresses: dict[str, int] = {name: int(tracker[name]) for name in names}

    def __getitem__(self, name: str) -> int:
        """The address of a function or of a table."""
        return self.addresses[name]


class Engine:
    """A compiler for one kind of CPU: the one of `levels` unless another one is named, which must not be able to do more."""

    def __init__(self, cpu: str | None = None, features: str | None = None) -> None:
        reason = refusal()
        if reason is not None:
            raise NativeError(reason)
        import llvmlite
        import llvmlite.binding as llvm

        self.llvm: Any = llvm
        self.lock = threading.RLock()
        self.count = itertools.count()
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        if cpu is None:
            try:
                cpu, features = levels.machine(llvm.get_host_cpu_name(), llvm.get_host_cpu_features())
            except levels.LevelError as error:
                raise NativeError(str(error)) from error
        self.cpu: str = cpu
        self.features: str = features or ""
        self.triple: str = llvm.get_process_triple()
        self.version = f"llvmlite {llvmlite.__version__} LLVM {'.'.join(map(str, llvm.llvm_version_info))}"
        self.jit: Any = llvm.create_lljit_compiler(self.machine(2))
        self.outside = outside()

    def machine(self, level: int) -> Any:
        target = self.llvm.Target.from_triple(self.triple)
        return target.create_target_machine(cpu=self.cpu, features=self.features, opt=level, **ANYWHERE)

    def target(self) -> Target:
        """What texts for this machine may use."""
        if self.triple.startswith(("aarch64", "arm64")):
            return Target(fma=True, converts=True, vector=128, registers=32)
        has = {f[1:] for f in self.features.split(",") if f.startswith("+")}
        wide = {"avx512f", "avx512dq", "avx512vl"} <= has
        vector = 512 if wide else 256 if "avx" in has else 128
        return Target(fma="fma" in has, converts=wide, vector=vector, registers=32 if wide else 16)

    def compile(self, text: str, level: int) -> bytes:
        """Object code. Raises NativeError if LLVM does not take the text."""
        llvm = self.llvm
        with self.lock:
            try:
                module = llvm.parse_assembly(text)
                module.verify()
            except RuntimeError as error:
                raise NativeError(f"LLVM does not accept the text: {first_line(error)}") from error
            speed, rows = effort(text, level)
            machine = self.machine(speed)
            module.triple = self.triple
            module.data_layout = str(machine.target_data)
            options = llvm.create_pipeline_tuning_options(speed_level=speed)
            options.loop_vectorization, options.slp_vectorization = level >= 2, rows
            builder = llvm.create_pass_builder(machine, options)
            passes = builder.getModulePassManager()
            passes.run(module, builder)
            freed(passes)
            return bytes(machine.emit_object(module))

    def link(self, code: bytes, names: Sequence[str]) -> Library:
        """Raises NativeError if the code cannot be brought into memory."""
        builder = self.llvm.JITLibraryBuilder().add_object_img(code)
        for name, address in self.outside.items():
            builder.import_symbol(name, address)
        for name in names:
            builder.export_symbol(name)
        with self.lock:
            try:
                tracker = builder.link(self.jit, f"unit{next(self.count)}")
            except RuntimeError as error:
                raise NativeError(f"machine code cannot be loaded: {first_line(error)}") from error
        return Library(tracker, names, self)

    def load(self, text: str, names: Sequence[str], level: int = 2) -> Library:
        """The functions `names` of a text, from the cache if it is there."""
        entry = cache.key(text, self.version, self.triple, self.cpu, self.features, f"{level} {effort(text, level)} {ANYWHERE}")
        code = cache.get(entry)
        if code is not None:
            try:
                return self.link(code, names)
            except NativeError:
                pass  # whatever it is, it is not what was written
        code = self.compile(text, level)
        library = self.link(code, names)
        cache.put(entry, code)
        return library


def outside() -> dict[str, int]:
    """The addresses of the C library's functions that LLVM may call."""
    found: dict[str, int] = {}
    if sys.platform == "win32":
        libraries = [ctypes.CDLL("ucrtbase"), ctypes.CDLL("vcruntime140")]
    else:
        name: str | None = "libm.so.6"
        if sys.platform == "darwin":
            from ctypes.util import find_library  # brings subprocesses

            name = find_library("m")
        libraries = [ctypes.CDLL(None)]
        try:
            libraries.append(ctypes.CDLL(name))
        except OSError:
            pass
    for library in libraries:
        for symbol in (*OUTSIDE, *OUTSIDE_FLOAT):
            if symbol not in found and hasattr(library, symbol):
                found[symbol] = ctypes.cast(getattr(library, symbol), ctypes.c_void_p).value or 0
    return found


@once
def engine() -> Engine:
    """The compiler for this machine. Raises NativeError where there is none."""
    return Engine()


@functools.cache
def available() -> str | None:
    """None if native code works here, otherwise the reason why not, in one line."""
    try:
        engine()
    except NativeError as error:
        return str(error)
    except Exception as error:  # whatever llvmlite may raise on a machine that it does not know
        return f"llvmlite does not work here: {first_line(error)}"
    return None


def target() -> Target:
    return engine().target()


def load(text: str, names: Sequence[str], level: int = 2) -> Library:
    """The functions and tables `names` of an LLVM text, in memory. Raises NativeError, with the reason in one line."""
    return engine().load(text, names, level)
