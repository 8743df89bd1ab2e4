"""Machine code: LLVM text in, functions out. Only here llvmlite is imported, and only when it is asked for."""

from gradlang.runtime.native.calls import bind, build, exports
from gradlang.runtime.native.engine import Library, NativeError, available, load, target

__all__ = ["Library", "NativeError", "available", "bind", "build", "exports", "load", "target"]
