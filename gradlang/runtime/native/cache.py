"""Compiled units in files, so that the next process need not compile them again.

Every entry is a file named by the hash of all that it was made of, with a checksum inside. What cannot be read or is damaged
is as good as not there, and what cannot be written is not written. The folder must belong to the user alone, since what is
in it will be run.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import sys
import tempfile
import time
from pathlib import Path

MAGIC = b"gradlang object 1\n"
LIMIT = 64 << 20  # bytes; beyond it the entries used least lately go, down to half
DAY = 86400.0


def folder() -> Path | None:
    """Where entries lie, or None if there is no such place or the user wants none: GRADLANG_CACHE names a folder, or is
    empty or "off"."""
    wanted = os.environ.get("GRADLANG_CACHE")
    if wanted is not None:
        return None if wanted.strip() in ("", "off") else Path(wanted) / "native"
    try:
        home = Path.home()
    except RuntimeError:
        return None
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        base = Path(local) if local else home / "AppData" / "Local"
        return base / "gradlang" / "cache" / "native"
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "gradlang" / "native"
    named = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(named) if Path(named).is_absolute() else home / ".cache") / "gradlang" / "native"


def ours(place: Path) -> bool:
    """Whether nobody else can put files there."""
    try:
        found = place.stat()
    except OSError:
        return False
    if not stat.S_ISDIR(found.st_mode):
        return False
    return sys.platform == "win32" or (found.st_uid == os.getuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def key(*parts: str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode()
        digest.update(b"%d\n" % len(raw) + raw)
    return digest.hexdigest()


def get(name: str) -> bytes | None:
    place = folder()
    if place is None or not ours(place):
        return None
    path = place / name
    try:
        raw = path.read_bytes()
        if raw[: len(MAGIC)] != MAGIC:
            return None
        check, data = raw[len(MAGIC) : len(MAGIC) + 32], raw[len(MAGIC) + 32 :]
        if hashlib.sha256(data).digest() != check:
            return None
        if time.time() - path.stat().st_mtime > DAY:
            with contextlib.suppress(OSError):
                os.utime(path)
        return data
    except OSError:
        return None


def put(name: str, data: bytes) -> None:
    place = folder()
    if place is None:
        return
    temporary = ""
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not ours(place):
            return
        handle, temporary = tempfile.mkstemp(prefix="new-", dir=place)
        with os.fdopen(handle, "wb") as file:
            file.write(MAGIC + hashlib.sha256(data).digest() + data)
        Path(temporary).replace(place / name)  # whole or not at all, also if two processes write at once
        temporary = ""
        evict(place)
    except OSError:
        pass
    finally:
        if temporary:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()


def evict(place: Path) -> None:
    found: list[tuple[float, int, Path]] = []
    for path in place.iterdir():
        with contextlib.suppress(OSError):
            state = path.stat()
            found.append((state.st_mtime, state.st_size, path))
    total = sum(size for _, size, _ in found)
    if total <= LIMIT:
        return
    for _, size, path in sorted(found, key=lambda f: f[0]):
        with contextlib.suppress(OSError):
            path.unlink()
        total -= size
        if total <= LIMIT // 2:
            return
