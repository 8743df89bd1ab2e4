"""The LALR tables of `grammars/grad.lark`, built once and kept in the user's cache folder.

The cached form is marshalled plain data (no pickles: reading it cannot run code), keyed by the grammar, the lark version
and the Python version, in a folder that only the user may read. A missing or broken cache costs 0.2 s, nothing else.
"""

from __future__ import annotations

import marshal
import os
import sys
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import lark

STARTS = ["statement", "start"]


@cache
def lexer() -> Any:
    """What hands lark the tokens that `tokens.py` has already cut."""
    from lark.lexer import Lexer, Token

    class Tokens(Lexer):
        """Reads the kinds of tokens. A token's position is its index."""

        __future_interface__ = 1

        def __init__(self, conf: Any) -> None:
            pass

        def lex(self, lexer_state: Any, parser_state: Any) -> Iterator[Token]:
            kinds = lexer_state.text
            for i, kind in enumerate(kinds):
                yield Token(kind, "", i, 1, i + 1, 1, i + 2, i)

    return Tokens


def grammar_dir() -> Path:
    """`grammars/` inside an installed wheel, or beside the package in a checkout and an editable install."""
    packed = Path(__file__).resolve().parents[1] / "grammars"
    return packed if packed.is_dir() else Path(__file__).resolve().parents[2] / "grammars"


def grammar_text(name: str) -> str:
    return (grammar_dir() / name).read_text(encoding="utf-8")


def build(strict: bool = False) -> lark.Lark:
    import lark

    return lark.Lark(
        grammar_text("grad.lark"),
        parser="lalr",
        lexer=lexer(),
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
    import lark
    from lark.grammar import Rule
    from lark.lexer import TerminalDef

    folder = cache_dir()
    if folder is None:
        return build()
    key = repr((grammar_text("grad.lark"), lark.__version__, sys.version, STARTS))
    path = folder / f"grammar-{zlib.crc32(key.encode()):08x}.marshal"
    try:
        data, memo = marshal.loads(path.read_bytes())
        found: lark.Lark = lark.Lark._load_from_dict(_with_lexer(data, lexer()), memo)  # type: ignore[no-untyped-call]
        return found
    except (OSError, ValueError, EOFError, TypeError, LookupError, AttributeError, AssertionError, lark.exceptions.LarkError):
        pass
    made = build()
    try:
        data, memo = made.memo_serialize([TerminalDef, Rule])
    except ValueError:
        return made
    keep(path, (_plain(_with_lexer(data, "basic")), _plain(memo)))
    return made


def keep(path: Path, data: Any) -> None:
    """Writes a file of the cache, whole or not at all; a full disk costs the next run some time."""
    import tempfile

    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(marshal.dumps(data))
        Path(file.name).replace(path)
    except (OSError, ValueError):
        pass


class Unexpected(Exception):
    """A token that no statement has there: its index, or None for the end, and the kinds that would do."""

    def __init__(self, at: int | None, accepts: frozenset[str]) -> None:
        super().__init__(at)
        self.at, self.accepts = at, accepts


def postfix(kinds: tuple[str, ...]) -> tuple[Any, ...]:
    """The postfix program of a statement. Raises Unexpected."""
    from lark.exceptions import UnexpectedToken

    try:
        tree: Any = parser().parse(kinds, start="statement")
    except UnexpectedToken as error:
        token = error.token
        at = token.start_pos if token.type != "$END" and token.start_pos is not None else None
        raise Unexpected(at, frozenset(error.accepts or ())) from None
    return program_of(tree)


def program_of(tree: Any) -> tuple[Any, ...]:
    """lark's tree as a postfix program: steps as in `known.py`."""
    from lark.lexer import Token

    out: list[Any] = []
    stack: list[tuple[Any, bool]] = [(tree, False)]
    while stack:
        node, done = stack.pop()
        if isinstance(node, Token):
            out.append(node.start_pos)
        elif node is None:
            out.append(None)
        elif done:
            meta = node.meta
            first, last = (0, 0) if meta.empty else (meta.start_pos, meta.end_pos)
            out.append((str(node.data), len(node.children), first, last))
        else:
            stack.append((node, True))
            stack.extend((child, False) for child in reversed(node.children))
    return tuple(out)
