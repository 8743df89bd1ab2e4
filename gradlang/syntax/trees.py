"""The trees of the tables that come with the package, as plain data: `grammars/trees.jsonl`.

A program needs a dozen entries, and to cut and parse their texts takes longer than all else that is done for a small one. So
their trees are kept, an entry a line, each with the spans that it has in its text. They belong to one state of the texts: of
another one no tree is found, and the text is parsed. A test holds the file to the texts (`pytest --bless` writes it).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any

from gradlang.source import Source
from gradlang.syntax import ast
from gradlang.syntax.grammar import grammar_text, stamp

FILE = "trees.jsonl"
ALL = ""  # the key of all statements of a text


def data_of(tree: Any, kinds: list[str]) -> Any:
    """A tree, which is as deep as the entries of the tables, as lists that begin with the number of their class in `kinds`,
    and with -1 where they are tuples."""
    if isinstance(tree, tuple):
        return [-1, *(data_of(x, kinds) for x in tree)]
    if hasattr(tree, "__match_args__"):
        name = type(tree).__name__
        if name not in kinds:
            kinds.append(name)
        return [kinds.index(name), *(data_of(getattr(tree, part), kinds) for part in tree.__match_args__)]
    return str(tree) if isinstance(tree, str) else tree  # a word of a text knows where it stands


def tree_of(data: Any, kinds: list[Any]) -> Any:
    """A tree from its data and the classes."""
    parts = [tree_of(x, kinds) if x.__class__ is list else x for x in data[1:]]
    return tuple(parts) if data[0] < 0 else kinds[data[0]](*parts)


def text_of(tables: Mapping[str, str], trees: Mapping[tuple[str, str], Any]) -> str:
    """The text of the file, for the texts of tables by their names, and trees by the names of a table and an entry."""
    kinds: list[str] = []
    rows = [[f"{table} {key}", data_of(tree, kinds)] for (table, key), tree in trees.items()]
    head = {"kinds": kinds, "stamps": {name: stamp(text) for name, text in tables.items()}}
    return "\n".join(json.dumps(row, separators=(",", ":")) for row in (head, *rows)) + "\n"


@cache
def _kept() -> tuple[str, list[Any], dict[str, int]]:
    """The text of the file, the classes of trees, and the stamps of the texts that they were read from."""
    try:
        text = grammar_text(FILE)
    except OSError:
        return "", [], {}
    head = json.loads(text[: text.index("\n")])
    return text, [getattr(ast, kind) for kind in head["kinds"]], head["stamps"]


@lru_cache(maxsize=8)
def _fits(path: str, text: str) -> bool:
    return _kept()[2].get(path) == stamp(text)


def kept(source: Source, key: str) -> Any:
    """The tree that is kept of an entry of a text, or None."""
    if source.base or not _fits(source.path, source.text):
        return None
    text, kinds, _ = _kept()
    at = text.find(f'\n["{source.path} {key}",') + 1
    return tree_of(json.loads(text[at : text.index("\n", at)])[1], kinds) if at else None
