"""The tables that a program is read and compiled with: a value that travels with the program."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from gradlang.ops.op import Op
from gradlang.ops.table import OpTable, Rule, builtin, rules
from gradlang.record import record


@record
class Language:
    """A table of ops, the rewrites over it, and which of these are of the program itself."""

    table: OpTable
    rules: tuple[Rule, ...]
    own_rules: tuple[Rule, ...] = ()

    def extended(self, ops: Iterable[Op], rewrites: Iterable[Rule]) -> Language:
        """This language with the ops and rules of a program."""
        ops, rewrites = tuple(ops), tuple(rewrites)
        table = self.table.extended(ops) if ops else self.table
        return Language(table, (*rewrites, *self.rules), (*self.own_rules, *rewrites))

    @property
    def plain(self) -> bool:
        """Whether no program has added anything."""
        return not self.table.own and not self.own_rules

    def __reduce__(self) -> tuple[object, ...]:
        if (self.table.base or self.table) is builtin():
            return _of_program, (tuple(self.table.own.values()), self.own_rules)
        return Language, (self.table, self.rules, self.own_rules)


@cache
def standard() -> Language:
    """The built-in tables."""
    return Language(builtin(), rules())


def _of_program(ops: tuple[Op, ...], rewrites: tuple[Rule, ...]) -> Language:
    return standard().extended(ops, rewrites) if ops or rewrites else standard()
