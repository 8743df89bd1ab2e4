"""Reads programs, the files that they import, and data. Only files that the user names are opened."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from gradlang.check.modules import Found, Nowhere, Unreadable
from gradlang.diagnostics import Diagnostic, InputError


def _fail(code: str, message: str, help: str = "") -> InputError:
    return InputError([Diagnostic(code, message, help=help)])


def read_text(path: str) -> str:
    """A program's text; `-` is standard input. Raises InputError if there is no such text."""
    if not path:
        raise _fail("G520", "no file is named")
    if path == "-" and sys.stdin is None:
        raise _fail("G520", "there is no standard input")
    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        help = f"did you mean `{path}.grad`?" if Path(path + ".grad").is_file() else ""
        raise _fail("G520", f"cannot read {path}: {error.strerror or error}", help) from None
    except ValueError:
        raise _fail("G520", f"cannot read {path!r}: this is no file name") from None
    return decoded(data, path)


def decoded(data: bytes, path: str) -> str:
    """The text in a file. Raises InputError if it is not UTF-8."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        hint = "save it as UTF-8"
        try:
            data.decode("cp949")
            hint = "it looks like CP949: save it as UTF-8"
        except UnicodeDecodeError:
            pass
        raise _fail("G521", f"{path} is not UTF-8 text (line {line})", hint) from None


LONGEST = 1000  # characters of a path in an import


class Folder:
    """The files that a program may import: those in the folder of the file that it starts with, however deep, and in the
    folders that the user allows. A link counts as what it leads to."""

    def __init__(self, path: str | Path | None, base: str | Path | None = None, allow: Iterable[str | Path] = ()) -> None:
        """`path` is that of the file; for a text it is None, and `base` the folder that it is taken to stand in, if any.
        Raises InputError for a folder that is none."""
        self.root = ""
        self.folders: dict[str, tuple[Path, Path]] = {}  # of each file: as shown to people, and in truth
        allow = [allow] if isinstance(allow, (str, Path)) else list(allow)
        for folder in [*allow, base]:
            if folder is not None and not Path(folder).is_dir():
                raise _fail("G520", f"there is no folder {str(folder)!r}")
        if path is not None:
            self.root = str(Path(path).resolve())
            base = Path(path).parent
        if base is not None:
            self.folders[self.root] = Path(base), Path(base).resolve()
        self.trees = [*(true for _, true in self.folders.values()), *(Path(a).resolve() for a in allow)]

    def find(self, written: str, importer: str) -> Found:
        if len(written) > LONGEST:
            raise Unreadable(f"this path is longer than {LONGEST} characters")
        try:
            return self._find(written, importer)
        except (OSError, RuntimeError, ValueError) as error:  # a name or a circle of links that the system refuses, a NUL
            circle = "its links lead in a circle" if isinstance(error, RuntimeError) else ""
            reason = getattr(error, "strerror", None) or circle or "this is no file name"
            raise Unreadable(f"cannot read {written!r}: {reason}") from None

    def _find(self, written: str, importer: str) -> Found:
        if not written.strip():
            raise Unreadable("no file is named", 'write `import "layers.grad"`')
        if importer not in self.folders and not Path(written).is_absolute():
            return Nowhere().find(written, importer)
        shown, folder = self.folders.get(importer, (Path(), Path()))
        true = (folder / written).resolve()
        if not any(true.is_relative_to(tree) for tree in self.trees):
            where = "an absolute path" if Path(written).is_absolute() else "outside the folder of the program"
            hint = "allow its folder: `--allow-import FOLDER` on the command line, `allow=[folder]` in Python"
            raise Unreadable(f"`{written}` is {where}", hint)
        found = Found(str(true), str(shown / written), partial(self._read, true, shown / written))
        self.folders[found.key] = (shown / written).parent, true.parent
        return found

    def _read(self, true: Path, shown: Path) -> str:
        try:
            if true.is_dir():
                raise Unreadable(f"{shown} is a folder", "name a file in it")
            if not true.exists():
                hint = "" if true.suffix else f'is it "{shown.name}.grad"?'
                raise Unreadable(f"there is no file {shown}", hint or "paths are relative to the file that they stand in")
            if not true.is_file():
                raise Unreadable(f"{shown} is no plain file")
            return decoded(true.read_bytes(), str(shown))
        except OSError as error:
            raise Unreadable(f"cannot read {shown}: {error.strerror or error}") from None
        except InputError as error:
            raise Unreadable(error.diagnostics[0].message, error.diagnostics[0].help) from None
