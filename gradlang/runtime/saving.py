"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from gradlang.diagnostics import Diagnostic, InputError


def save(path: str | Path, data: bytes, sources: Iterable[str] = ()) -> None:
    """Writes a file next to the one that is meant and puts it in its place, so that at any moment the old or the new content is
    there, also after a crash. A link is followed, a device is written to, `sources` are never overwritten.

    Raises InputError if it cannot be written; the old content is then untouched."""
    try:
        target = place(path, sources)
        if target.exists() and not target.is_file():
            target.write_bytes(data)
            return
        replace(target, data)
    except (OSError, ValueError) as error:
        raise refused(path, error) from None


def check_place(path: str | Path, sources: Iterable[str] = ()) -> None:
    """Raises InputError if it is plain before any work that a file cannot be written."""
    try:
        target = place(path, sources)
        if not target.parent.is_dir():
            raise ValueError(f"there is no folder {str(target.parent)!r}")
    except (OSError, ValueError) as error:
        raise refused(path, error) from None


def refused(path: str | Path, error: Exception) -> InputError:
    reason = getattr(error, "strerror", None) or error
    return InputError([Diagnostic("G520", f"cannot write {str(path)!r}: {reason}")])


def place(path: str | Path, sources: Iterable[str]) -> Path:
    """The file that a path means. Raises ValueError if it is none, or one of `sources`."""
    if not str(path):
        raise ValueError("the name is empty")
    target = Path(path).resolve()
    if target.is_dir():
        raise ValueError("this is a folder")
    if target.exists() and any(Path(s).exists() and target.samefile(s) for s in sources):
        raise ValueError("this is the program itself or its data")
    return target


def replace(target: Path, data: bytes) -> None:
    number, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
    try:
        with open(number, "wb") as file:  # noqa: PTH123 - it is open already
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode_of(target))
        Path(name).replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
    with contextlib.suppress(OSError):  # a folder cannot be synced everywhere
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def mode_of(target: Path) -> int:
    """That of the file that is replaced, or what a new file gets."""
    if target.exists():
        return target.stat().st_mode & 0o7777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
