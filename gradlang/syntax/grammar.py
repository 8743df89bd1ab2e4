"""The LALR tables of `grammars/grad.lark`, built once and kept in the user's cache folder.

The cached form is marshalled plain data (no pickles: reading it cannot run code), keyed by the grammar, the lark version
and the Python version, in a folder that only the user may read. A missing or broken cache costs 0.2 s, nothing else.
"""

from __future__ import annotations

import hashlib
import marshal
import os
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import lark
from lark.grammar import Rule
from lark.lexer import Lexer, TerminalDef, Token

STARTS = ["statement", "start"]


class Tokens(Lexer):
    """Hands lark the tokens that `tokens.py` has already cut: (kinds, texts). A token's position is its index."""

    __future_interface__ = 1

    def __init__(self, conf: Any) -> None:
        pass

    def lex(self, lexer_state: Any, parser_state: Any) -> Iterator[Token]:
        kinds = lexer_state.text
        for i, kind in enumerate(kinds):
            yield Token(kind, "", i, 1, i + 1, 1, i + 2, i)


def grammar_dir() -> Path:
    """`grammars/` inside an installed wheel, or beside the package in a checkout and an editable install."""
    packed = Path(str(files("gradlang") / "grammars"))
    return packed if packed.is_dir() else Path(__file__).resolve().parents[2] / "grammars"


def grammar_text(name: str) -> str:
    return (grammar_dir() / name).read_text(encoding="utf-8")


def build(strict: bool = False) -> lark.Lark:
    return lark.Lark(
        grammar_text("grad.lark"),
        parser="lalr",
        lexer=Tokens,
        start=STARTS,
        propagate_positions=True,
        maybe_placeholders=True,
        strict=strict,
    )


def cache_dir() -> Path | None:
    """A folder of the user's own (mode 0700), or None where there is none."""
    root = os.environ.get("XDG_CACHE_HOME") or (Path.home() / ".cache" if os.environ.get("HOME") else None)
    if sys.platform == "win32":
        root = os.environ.get("LOCALAPPDATA") or root
    if root is None:
        return None
    folder = Path(root) / "gradlang"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if hasattr(os, "getuid") and folder.stat().st_uid != os.getuid():
            return None
    except OSError:
        return None
    return folder


def _plain(value: Any) -> Any:
    """Serialised tables with the few subclasses of str turned into str, so that marshal takes them."""
    if isinstance(value, dict):
        return {_plain(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_plain, value))
    return str(value) if isinstance(value, str) else value


def _with_lexer(data: dict[str, Any], lexer: Any) -> dict[str, Any]:
    """The tables name the lexer by its class, which is not plain data: a word stands for it in the cache."""
    conf = {**data["parser"]["lexer_conf"], "lexer_type": lexer}
    return {**data, "parser": {**data["parser"], "lexer_conf": conf}, "options": {**data["options"], "lexer": lexer}}


@cache
def parser() -> lark.Lark:
    folder = cache_dir()
    if folder is None:
        return build()
    key = repr((grammar_text("grad.lark"), lark.__version__, sys.version, STARTS))
    path = folder / f"grammar-{hashlib.sha256(key.encode()).hexdigest()[:24]}.marshal"
    try:
        data, memo = marshal.loads(path.read_bytes())
        found: lark.Lark = lark.Lark._load_from_dict(_with_lexer(data, Tokens), memo)  # type: ignore[no-untyped-call]
        return found
    except (OSError, ValueError, EOFError, TypeError, LookupError, AttributeError, AssertionError, lark.exceptions.LarkError):
        pass
    made = build()
    try:
        data, memo = made.memo_serialize([TerminalDef, Rule])
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
            file.write(marshal.dumps((_plain(_with_lexer(data, "basic")), _plain(memo))))
        Path(file.name).replace(path)
    except (OSError, ValueError):
        pass
    return made


@cache
def terminals() -> dict[str, str]:
    """Terminal name -> its pattern, for the names with a pattern of their own; see `literals` for the rest."""
    return {t.name: t.pattern.value for t in parser().terminals if t.pattern.type == "re"}


@cache
def literals() -> dict[str, str]:
    """Literal text (a keyword or an operator) -> the name of its terminal."""
    return {t.pattern.value: t.name for t in parser().terminals if t.pattern.type == "str"}
