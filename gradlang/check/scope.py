"""Where names are looked up: the values of the current body, and the functions of the file that it stands in."""

from __future__ import annotations

import math
from collections.abc import Callable

from gradlang.check.errors import Problem, python_word, unknown_name
from gradlang.check.errors_modules import not_a_value
from gradlang.check.program import Value
from gradlang.record import field, record
from gradlang.syntax import ast

CONSTANTS: dict[str, Value] = {"pi": math.pi, "e": math.e, "inf": math.inf, "nan": math.nan}


@record(frozen=False)
class Home:
    """A file: its functions, those that it took from other files by name (with their homes), and how its values are found
    (None for a name that it does not have)."""

    functions: dict[str, ast.Function]
    value: Callable[[str], Value | None] = lambda name: None
    known: Callable[[], list[str]] = list
    shipped: bool = False
    callables: Callable[[], list[str]] = list  # every function that a program of this file may call
    parent: Home | None = None
    imported: dict[str, tuple[ast.Function, Home]] = field(default_factory=dict)

    def own(self, name: str) -> tuple[ast.Function, Home] | None:
        return (self.functions[name], self) if name in self.functions else self.imported.get(name)

    ops: frozenset[str] = frozenset()  # the file's own ops: they come before functions of that name further up

    def function(self, name: str) -> tuple[ast.Function, Home] | None:
        home: Home | None = self
        while home is not None:
            found = home.own(name)
            if found is not None:
                return found
            if name in home.ops:
                return None
            home = home.parent
        return None


@record(eq=False)
class Space:
    """An imported file, as the value of its prefix: its names are reached with a dot."""

    path: str
    home: Home


@record(frozen=False)
class Env:
    """The names of one body over its file. By some of them (`taken`) derivatives are taken in the body."""

    home: Home
    names: dict[str, Value] = field(default_factory=dict)
    taken: frozenset[str] = frozenset()

    def lookup(self, node: ast.Name) -> Value:
        name = node.id
        if name in self.names:
            return self.names[name]
        found = self.home.value(name)
        if found is not None:
            if found.__class__ is Space:
                raise Problem(not_a_value(name, node.span, found.home.known()))
            return found
        if name in CONSTANTS:
            return CONSTANTS[name]
        if name in ("True", "False"):
            raise Problem(python_word(name, node.span))
        if name == "None" or (name == "none" and self.home.shipped):
            return None
        raise Problem(unknown_name(name, node.span, [*self.names, *self.home.known(), *CONSTANTS], self.home.callables()))
