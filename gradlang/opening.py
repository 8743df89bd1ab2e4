"""Files, texts and graphs to models."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from gradlang import pipeline
from gradlang.api import Model
from gradlang.check.program import Program
from gradlang.diagnostics import Diagnostic, InputError

if TYPE_CHECKING:
    import networkx as nx

UNPROVEN = "the ops and rules of this program are not proven: install mpmath (`pip install gradlang[prove]`)"


def from_graph(graph: nx.MultiDiGraph[int], dtype: str = "float64", seed: int = 0) -> Model:
    """The model of a networkx graph (see `Model.graph`). Raises SourceError with every reason why it is none."""
    from gradlang.graph.dag import program_of

    return Model(program_of(graph), dtype, seed)


def load(path: str | Path, dtype: str = "float64", seed: int = 0, allow: Iterable[str | Path] = ()) -> Model:
    """The model of a file. It may import files of its own folder, and of the folders `allow`.

    Raises SourceError with every error of its text and of the files that it imports, InputError if it cannot be read."""
    from gradlang.runtime.files import Folder, read_text

    text = read_text(str(path))
    finder = Folder(None if str(path) == "-" else path, None, allow)
    return Model(_proven(pipeline.load(text, str(path), pipeline.standard(), finder)), dtype, seed)


def loads(
    text: str,
    path: str = "<text>",
    dtype: str = "float64",
    seed: int = 0,
    base: str | Path | None = None,
    allow: Iterable[str | Path] = (),
) -> Model:
    """The model of a text; `path` is only what errors call it. It may import files if `base` says which folder it is taken
    to stand in. Raises SourceError with every error of it and of the files that it imports."""
    from gradlang.runtime.files import Folder

    if not isinstance(text, str):
        raise InputError([Diagnostic("G508", f"a program is a text, not {type(text).__name__}")])
    if text.strip().endswith(".grad") and len(text.split()) == 1:
        help = f"`gl.load({text.strip()!r})` reads a file"
        raise InputError([Diagnostic("G508", "this is the name of a file, and not its text", help=help)])
    finder = Folder(None, base, allow)
    return Model(_proven(pipeline.load(text, path, pipeline.standard(), finder)), dtype, seed)


def _proven(program: Program) -> Program:
    """A program whose own ops and rules hold. Raises SourceError if one is false; warns if they cannot be tested."""
    if not program.language.plain:
        note = proven(program)
        if note is not None:
            warnings.warn(note, stacklevel=3)
    return program


def proven(program: Program) -> str | None:
    """Proves the ops and rules of a program; where mpmath is not installed, says so. Raises SourceError if one is false."""
    if find_spec("mpmath") is None:
        return UNPROVEN
    from gradlang.prove.own import hold

    hold(program)
    return None
