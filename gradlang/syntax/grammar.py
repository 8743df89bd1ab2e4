"""Statements by the tables of `grammars/grad.lark`: kinds of tokens in, a postfix program out.

The tables are plain data in `grammars/grad.json` (`tables.py` says how they are made), so that no run needs lark or has to
build them. They belong to one text of the grammar: beside another one they are made anew.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from gradlang.record import record

# One step of a postfix program: a token's index, None for an absent part, or (rule, arity, first and last token).
Step = int | None | tuple[str, int, int, int]


def grammar_dir() -> Path:
    """`grammars/` inside an installed wheel, or beside the package in a checkout and an editable install."""
    packed = Path(__file__).resolve().parents[1] / "grammars"
    return packed if packed.is_dir() else Path(__file__).resolve().parents[2] / "grammars"


def grammar_text(name: str) -> str:
    return (grammar_dir() / name).read_text(encoding="utf-8")


@record
class Rule:
    """Of `length` symbols that make an `origin`. Its tree has a `name` (without one its children are spread out in that of
    another rule); a single child stands for the tree if `single`. `children` are numbers of symbols, None for an absent part,
    and lists of one number for what is spread out. A rule that `passes` hands on the value of its only symbol."""

    origin: str
    length: int
    name: str
    single: bool
    children: tuple[Any, ...]
    passes: bool


@record(eq=False)
class Tables:
    """The terminals (name -> pattern), the literals (text -> name), the first and last state of each start, and for each
    state what a symbol leads to: a state, or -1 - k for rule k."""

    terminals: dict[str, str]
    literals: dict[str, str]
    starts: dict[str, tuple[int, int]]
    rules: tuple[Rule, ...]
    rows: tuple[dict[str, int], ...]


def read_rule(line: list[Any]) -> Rule:
    origin, length, name, single, children = line
    return Rule(origin, length, name, single, tuple(children), single and length == 1 and children == [0])


def stamp(grammar: str) -> int:
    """What tables say of the text that they were made from."""
    return zlib.crc32(grammar.encode())


@cache
def tables() -> Tables:
    import json

    text = grammar_text("grad.lark")
    try:
        data = json.loads(grammar_text("grad.json"))
    except OSError:
        data = {}
    if data.get("grammar") != stamp(text):  # whoever changes the grammar has not written the file yet
        from gradlang.syntax.tables import tables_of

        data = tables_of(text)
    return Tables(
        data["terminals"],
        data["literals"],
        {start: (first, last) for start, (first, last) in data["starts"].items()},
        tuple(map(read_rule, data["rules"])),
        tuple({symbol: to for symbols, to in row.items() for symbol in symbols.split()} for row in data["rows"]),
    )


class Unexpected(Exception):
    """A token that no statement has there: its index, or None for the end, and the kinds that would do."""

    def __init__(self, at: int | None, accepts: frozenset[str]) -> None:
        super().__init__(at)
        self.at, self.accepts = at, accepts


END = "$END"


def postfix(kinds: Sequence[str], start: str = "statement") -> tuple[Step, ...]:
    """The postfix program of a statement. Raises Unexpected."""
    made = tables()
    rows, rules = made.rows, made.rules
    first, last = made.starts[start]
    states = [first]
    values: list[Any] = []  # tokens' indices, trees, and lists of what is spread out
    begins: list[int] = []
    for at, kind in enumerate((*kinds, END)):
        to = rows[states[-1]].get(kind)
        while to is not None and to < 0:
            rule = rules[-1 - to]
            if rule.passes:
                states[-1] = rows[states[-2]][rule.origin]
            else:
                n = rule.length
                begin, parts = (begins[-n], values[-n:]) if n else (at, [])
                if n:
                    del states[-n:], values[-n:], begins[-n:]
                values.append(tree(rule, parts, begin, at))
                begins.append(begin)
                states.append(rows[states[-1]][rule.origin])
            if kind is END and states[-1] == last:
                return steps(values[-1])
            to = rows[states[-1]].get(kind)
        if to is None:
            raise Unexpected(None if kind is END else at, accepted(made, states, last))
        states.append(to)
        values.append(at)
        begins.append(at)
    raise AssertionError("the end is never shifted")


def tree(rule: Rule, parts: list[Any], begin: int, end: int) -> Any:
    """The value of a rule over the tokens from `begin` up to `end`: a tree is (name, children, first token, last token)."""
    children: list[Any] = []
    for k in rule.children:
        if k is None:
            children.append(None)
        elif k.__class__ is int:
            children.append(parts[k])
        elif children:
            children += parts[k[0]]
        else:
            children = parts[k[0]]  # a longer list from that without its last parts, which nobody else holds
    if not rule.name or (rule.single and len(children) == 1):
        return children if not rule.name else children[0]
    return (rule.name, children, begin, end - 1) if end > begin else (rule.name, children, 0, 0)


def accepted(made: Tables, states: list[int], last: int) -> frozenset[str]:
    """The kinds of tokens that may follow: those that are shifted after all that they reduce."""
    found = []
    for kind in filter(str.isupper, made.rows[states[-1]]):  # names of rules are in lower case
        stack = list(states)
        to = made.rows[stack[-1]].get(kind)
        while to is not None and to < 0 and not (kind == END and stack[-1] == last):
            rule = made.rules[-1 - to]
            if rule.length:
                del stack[-rule.length :]
            stack.append(made.rows[stack[-1]][rule.origin])
            to = made.rows[stack[-1]].get(kind)
        if to is not None or (kind == END and stack[-1] == last):
            found.append(kind)
    return frozenset(found)


def steps(value: Any) -> tuple[Step, ...]:
    """A tree as a postfix program."""
    out: list[Step] = []
    stack: list[Any] = [value]
    while stack:
        node = stack.pop()
        if node.__class__ is not tuple:
            out.append(node)
        elif len(node) == 3:  # a tree whose children are out
            out.append(node[0])
        else:
            name, children, first, last = node
            stack.append(((name, len(children), first, last), None, None))
            stack += reversed(children)
    return tuple(out)
