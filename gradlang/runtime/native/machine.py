"""What this machine and this Python can do, found out once."""

from __future__ import annotations

import ctypes
import functools
import mmap
import os
import platform
import struct
import sys

OLDEST = (0, 45)  # llvmlite; earlier ones do not read the text


LIMITS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "OMP_NUM_THREADS")  # what a BLAS may ask


@functools.cache
def library_threads() -> int | None:
    """How many threads NumPy's library has for a product, as far as the environment tells. None on a Mac, whose library has
    circuits of its own for products."""
    if sys.platform == "darwin":
        return None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    told = (os.environ.get(name, "").strip() for name in LIMITS)
    return min([cores, *(int(n) for n in told if n.isdecimal() and int(n) > 0)])


def python_refuses() -> str | None:
    """Why functions of this Python cannot be made by hand: their objects have another layout."""
    if platform.python_implementation() != "CPython":
        return f"native code needs CPython, and this is {platform.python_implementation()}"
    if free_threaded():
        return "native code does not work with the free-threaded build of Python yet"
    if hasattr(sys, "getobjects"):
        return "native code does not work with a Python that traces references"
    if struct.calcsize("P") != 8 or sys.byteorder != "little":
        return "native code needs a 64-bit little-endian machine"
    return None


def free_threaded() -> bool:
    """Whether this is such a build, of which there are some from Python 3.13 on."""
    if sys.version_info < (3, 13):
        return False
    import sysconfig  # to ask it loads all that is known of how Python was built, which takes milliseconds

    return bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


def llvmlite_refuses() -> str | None:
    try:
        import llvmlite
        import llvmlite.binding as binding
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "llvmlite":
            return "llvmlite is not installed (pip install gradlang[native])"
        return f"llvmlite cannot be loaded: {first_line(error)}"
    except Exception as error:  # a broken installation may raise anything
        return f"llvmlite cannot be loaded: {first_line(error)}"
    version = tuple(int(part) for part in llvmlite.__version__.split(".")[:2] if part.isdigit())
    if version < OLDEST or not hasattr(binding, "create_lljit_compiler"):
        return f"llvmlite {llvmlite.__version__} is too old: {'.'.join(map(str, OLDEST))} or later is needed"
    return None


def first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def memory_refuses() -> str | None:
    """Some systems let no process run code that it has written itself. To try it without running it: make a page
    writable first and executable then."""
    try:
        made = windows_probe() if sys.platform == "win32" else posix_probe()
    except Exception as error:
        return f"executable memory cannot be had: {first_line(error)}"
    return None if made else "this system does not let programs run code that they have written"


def posix_probe() -> bool:
    size = mmap.PAGESIZE
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as page:
        place = ctypes.c_char.from_buffer(page)
        protect = ctypes.CDLL(None, use_errno=True).mprotect
        protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        address = ctypes.addressof(place)
        made = protect(address, size, mmap.PROT_READ | mmap.PROT_EXEC) == 0
        protect(address, size, mmap.PROT_READ | mmap.PROT_WRITE)
        del place  # or the page cannot be closed
    return bool(made)


def windows_probe() -> bool:
    kernel = getattr(ctypes, "WinDLL")("kernel32")  # noqa: B009  mypy on other systems does not know it
    allocate, protect, free = kernel.VirtualAlloc, kernel.VirtualProtect, kernel.VirtualFree
    allocate.restype = ctypes.c_void_p
    allocate.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint32, ctypes.c_uint32]
    protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint32, ctypes.POINTER(ctypes.c_uint32)]
    free.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint32]
    page = allocate(None, 4096, 0x3000, 0x04)  # reserved and committed, to read and write
    if not page:
        return False
    made = protect(page, 4096, 0x20, ctypes.byref(ctypes.c_uint32()))  # to run and read
    free(page, 0, 0x8000)
    return bool(made)


@functools.cache
def refusal() -> str | None:
    """Why native code cannot be used, in one line, or None."""
    return python_refuses() or llvmlite_refuses() or memory_refuses()
