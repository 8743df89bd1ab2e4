"""The files of a program: the one that was given and those that it imports, each read once.

No file is opened here: whoever starts a compilation hands over a `Finder`, which says what a path in an import means.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import Protocol

from gradlang.check import errors_modules as errors
from gradlang.check.scope import Home
from gradlang.diagnostics import Diagnostic
from gradlang.record import field, record
from gradlang.source import Source, Sources
from gradlang.syntax import ast
from gradlang.syntax.messages import KEYWORDS
from gradlang.syntax.parse import parse

MOST_FILES = 1000
DEEPEST = 64  # files that import each other in a row


class Unreadable(Exception):
    """There is no text behind the path of an import; `message` and `help` are for the user."""

    def __init__(self, message: str, help: str = "") -> None:
        super().__init__(message)
        self.message, self.help = message, help


@record
class Found:
    """A file: `key` is the same for every path that leads to it, `path` is what people are shown. `read` may raise
    Unreadable."""

    key: str
    path: str
    read: Callable[[], str]


class Finder(Protocol):
    """Says what the paths of imports mean. `root` is the key of the file that the program starts with ("" for a text)."""

    root: str

    def find(self, written: str, importer: str) -> Found:
        """The file that `written` names in the file with the key `importer`. Raises Unreadable if it names none."""
        ...


class Nowhere:
    """For a text that stands in no folder."""

    root = ""

    def find(self, written: str, importer: str) -> Found:
        raise Unreadable(
            "a text that is in no file cannot import one: paths are relative to the file that they stand in",
            "save it to a file, or say its folder: `gl.loads(text, base=folder)`",
        )


@record(eq=False, frozen=False)
class Unit:
    """A file of a program. `prefix` ("layers.") stands before its names in the program, except for those in `titles`,
    which a file nearer to the root took by name. It is `whole` if all its leaves are leaves of the program."""

    key: str
    source: Source
    module: ast.Module
    links: dict[int, Unit] = field(default_factory=dict)  # by the id of the import
    spaces: dict[str, Unit] = field(default_factory=dict)
    taken: dict[str, tuple[Unit, str]] = field(default_factory=dict)
    prefix: str = ""
    titles: dict[str, str] = field(default_factory=dict)
    whole: bool = False
    leafy: bool = False  # it, or a file that it imports, declares inputs or parameters
    home: Home | None = None

    def full(self, name: str) -> str:
        """What a name of this file is called in the program."""
        return self.titles.get(name) or self.prefix + name

    def imports(self) -> Iterator[ast.Import]:
        return (s for s in self.module.statements if isinstance(s, ast.Import))

    def origin(self, name: str) -> tuple[Unit, str] | None:
        """The file that defines what is called `name` here (dotted or not), and the name there."""
        unit: Unit | None = self
        *path, name = name.split(".")
        for part in path:
            unit = unit.space(part) if unit else None
        while unit is not None and name in unit.taken:
            unit, name = unit.taken[name]
        return (unit, name) if unit is not None else None

    def space(self, name: str) -> Unit | None:
        unit = self
        while name in unit.taken:
            unit, name = unit.taken[name]
        return unit.spaces.get(name)


def stem(path: str) -> str:
    """The name of a file without its folder and `.grad`, as a name of the language would be written."""
    last = re.split(r"[/\\]", path)[-1]
    return unicodedata.normalize("NFKC", last.removesuffix(".grad"))


def prefix_of(s: ast.Import) -> ast.Name | None:
    """The prefix that an import gives, or None where the file's name is no name of the language."""
    if s.prefix is not None:
        return s.prefix
    name = stem(s.path.value)
    return ast.Name(name, s.path.span) if name.isidentifier() and name not in KEYWORDS else None


# ------------------------------------------------------------------ reading
def gather(text: str, path: str, sources: Sources, finder: Finder) -> tuple[list[Unit], list[Diagnostic]]:
    """All files of a program, each after those that it imports, and what is wrong with their syntax and their imports."""
    faults: list[Diagnostic] = []
    units: dict[str, Unit] = {}

    def read(key: str, source: Source) -> Unit:
        module, found = parse(source)
        faults.extend(found)
        units[key] = Unit(key, source, module)
        return units[key]

    root = read(finder.root, sources.add(path, text))
    order: list[Unit] = []
    stack = [(root, root.imports())]
    entries: list[ast.Import] = []  # entries[k] is the import in stack[k] that led to stack[k + 1]
    while stack:
        unit, rest = stack[-1]
        s = next(rest, None)
        if s is None:
            order.append(unit)
            stack.pop()
            del entries[-1:]
            continue
        try:
            found = finder.find(s.path.value, unit.key)
            known = units.get(found.key)
            body = found.read() if known is None else ""
        except Unreadable as fault:
            faults.append(errors.unreadable(fault.message, fault.help, s.path.span))
            continue
        circle = next((k for k, (u, _) in enumerate(stack) if u is known), None)
        if circle is not None:
            spans = [e.path.span for e in (*entries[circle:], s)]
            faults.append(errors.cycle([u.source.path for u, _ in stack[circle:]], spans))
            continue
        if known is None:
            if len(units) == MOST_FILES or len(stack) == DEEPEST:
                deep = f"more than {DEEPEST} files import each other in a row"
                many = f"this program has more than {MOST_FILES} files"
                faults.append(errors.too_many(deep if len(stack) == DEEPEST else many, s.path.span))
                continue
            known = read(found.key, sources.add(found.path, body))
            stack.append((known, known.imports()))
            entries.append(s)
        unit.links[id(s)] = known
        _connect(unit, s, known)
    entitle(root)
    return order, faults


def _connect(unit: Unit, s: ast.Import, to: Unit) -> None:
    if s.names is not None:
        for theirs, ours in s.names:
            unit.taken.setdefault(ours.id, (to, theirs.id))
    elif (prefix := prefix_of(s)) is not None:
        unit.spaces.setdefault(prefix.id, to)


# ------------------------------------------------------------------ what names are called in the program
def entitle(root: Unit) -> None:
    """Gives every file its prefix: that of the first import, those of files nearer to the root coming first. A name that
    is taken there by name is called as it is there."""
    queue, entitled = [root], {id(root)}
    root.whole = True
    for unit in queue:
        for s in unit.imports():
            for theirs, ours in (s.names or ()) if id(s) in unit.links else ():
                owner = unit.links[id(s)].origin(theirs.id)
                if owner is not None and id(owner[0]) not in entitled:
                    owner[0].titles.setdefault(owner[1], unit.prefix + ours.id)
        used: set[str] = set()
        linked = [s for s in unit.imports() if id(s) in unit.links]
        for s in sorted(linked, key=lambda s: s.names is not None):
            to = unit.links[id(s)]
            if id(to) not in entitled:
                entitled.add(id(to))
                to.prefix = unit.prefix + _unused(s, used) + "."
                queue.append(to)
    whole = [root]
    for unit in whole:
        for s in unit.imports():
            if s.names is None and id(s) in unit.links and not unit.links[id(s)].whole:
                unit.links[id(s)].whole = True
                whole.append(unit.links[id(s)])


def _unused(s: ast.Import, used: set[str]) -> str:
    """A prefix for a file; that of a file from which names are only taken is made from its name."""
    name = prefix_of(s) if s.names is None else None
    base = name.id if name is not None else re.sub(r"\W", "_", stem(s.path.value)) or "file"
    made, count = base, 1
    while made in used and s.names is not None:
        count += 1
        made = f"{base}_{count}"
    used.add(made)
    return made
