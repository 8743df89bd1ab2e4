"""What commands say on standard error: diagnostics, and where there is more about them."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from gradlang.diagnostics import SHOWN, Diagnostic, as_json, render_all
from gradlang.source import Sources

MOST = 3  # codes that the last line names
LOST = {"G516"}  # said to somebody who looks for a page: one about that would be taken for the page


def say(args: argparse.Namespace, diagnostics: Sequence[Diagnostic], sources: Sources) -> None:
    """Diagnostics on standard error: text for people, or one JSON object a line. `args.said` keeps the codes."""
    if args.json:
        for d in diagnostics:
            print(json.dumps(as_json(d, sources), ensure_ascii=False), file=sys.stderr)
        return
    args.said += [d.code for d in diagnostics[:SHOWN]]
    text = render_all(diagnostics, sources)
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=sys.stderr)


def more(args: argparse.Namespace) -> None:
    """The last line of a command that said something to people: how to see the pages of the first codes."""
    if not args.said:
        return
    from gradlang.view.pages import pages

    codes = [c for c in dict.fromkeys(args.said) if c in pages() and c not in LOST]
    if codes:
        print(f"\nmore: gradlang explain {' '.join(codes[:MOST])}", file=sys.stderr)
