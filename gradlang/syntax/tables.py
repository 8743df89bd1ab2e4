"""The LALR tables of `grammars/grad.lark` as plain data, made by lark and kept in `grammars/grad.json`.

Only here lark is imported, and only by whoever changes the grammar: a test holds the file to the grammar (`pytest --bless`
writes it), and without a file that fits the tables are made at every start, in half a second.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from gradlang.syntax.grammar import stamp

if TYPE_CHECKING:
    import lark

STARTS = ("statement", "start")


def build(grammar: str, strict: bool = False) -> lark.Lark:
    """lark's parser, over kinds of tokens. Raises GrammarError if the grammar is none, with `strict` also for conflicts."""
    import lark
    from lark.lexer import Lexer, Token

    class Tokens(Lexer):
        """Reads the kinds of tokens that `tokens.py` has cut. A token's position is its index."""

        __future_interface__ = 1

        def __init__(self, conf: Any) -> None:
            pass

        def lex(self, lexer_state: Any, parser_state: Any) -> Iterator[Token]:
            for i, kind in enumerate(lexer_state.text):
                yield Token(kind, "", i, 1, i + 1, 1, i + 2, i)

    return lark.Lark(
        grammar,
        parser="lalr",
        lexer=Tokens,
        start=list(STARTS),
        propagate_positions=True,
        maybe_placeholders=True,
        strict=strict,
    )


def rule_of(rule: Any) -> list[Any]:
    """A rule: what it makes, how many symbols it has, the name of its tree, whether a single child stands for the tree, and
    the children: numbers of symbols, None for an absent part, and lists of one number for what is spread out."""
    origin, symbols, options = str(rule.origin.name), rule.expansion, rule.options
    absent = list(options.empty_indices) or [False] * len(symbols)
    children: list[Any] = []
    at = 0
    for empty in absent:
        if empty:
            children.append(None)
            continue
        symbol = symbols[at]
        if not symbol.is_term and str(symbol.name).startswith("_"):
            children.append([at])
        elif not symbol.is_term or options.keep_all_tokens or not symbol.filter_out:
            children.append(at)
        at += 1
    assert at == len(symbols), rule
    name = "" if origin.startswith("_") else str(rule.alias or origin)
    return [origin, len(symbols), name, bool(options.expand1 and not rule.alias), children]


def tables_of(grammar: str) -> dict[str, Any]:
    """The tables of a grammar, as `grammar.Tables` takes them; the same for every run and numbering of lark."""
    from lark.parsers.lalr_analysis import Shift

    made = build(grammar)
    table = made.parser.parser._parse_table
    number = {text: k for k, text in enumerate(sorted({repr(rule_of(rule)) for rule in made.rules}))}
    known = {repr(rule_of(rule)): rule_of(rule) for rule in made.rules}
    order = [table.start_states[start] for start in STARTS]
    place = {state: k for k, state in enumerate(order)}
    rows = []
    for state in order:  # grows
        row: dict[int, list[str]] = {}
        for symbol, (action, to) in sorted(table.states[state].items()):
            if action is Shift and to not in place:
                place[to] = len(order)
                order.append(to)
            row.setdefault(place[to] if action is Shift else -1 - number[repr(rule_of(to))], []).append(str(symbol))
        rows.append({" ".join(symbols): to for to, symbols in row.items()})
    return {
        "grammar": stamp(grammar),
        "terminals": {str(t.name): str(t.pattern.value) for t in made.terminals if t.pattern.type == "re"},
        "literals": {str(t.pattern.value): str(t.name) for t in made.terminals if t.pattern.type == "str"},
        "starts": {start: [place[table.start_states[start]], place[table.end_states[start]]] for start in STARTS},
        "rules": [known[text] for text in number],
        "rows": rows,
    }


def tables_text(tables: dict[str, Any]) -> str:
    """Tables as JSON, a rule or state a line."""
    parts = []
    for name, part in tables.items():
        if isinstance(part, list):
            lines = ",\n".join(json.dumps(item, separators=(",", ":")) for item in part)
            parts.append(f"{json.dumps(name)}:[\n{lines}]")
        else:
            parts.append(f"{json.dumps(name)}:{json.dumps(part, separators=(',', ':'), sort_keys=True)}")
    return "{" + ",\n".join(parts) + "}\n"
