"""`gradlang explain`: a program's forward and backward pass in words and numbers."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from importlib.util import find_spec

from gradlang.api import Model
from gradlang.cli.pages import in_language
from gradlang.cli.running import given, open_model, upstreams
from gradlang.diagnostics import Diagnostic, InputError
from gradlang.view.entry import Entry
from gradlang.view.explain import explained
from gradlang.view.own_entry import names, own_page
from gradlang.view.words import Words


def explain(args: argparse.Namespace) -> int:
    model = open_model(args, idle=bool(args.of))
    if pages := own_pages(args, model):
        data = [page.as_json() for page in pages]
        if args.json:
            print(json.dumps(data[0] if len(data) == 1 else data, ensure_ascii=False, allow_nan=False))
        else:
            print("\n\n\n".join(page.text(Words(args.lang), args.digits) for page in pages))
        return 0
    values = given(args, model)
    upstream = upstreams(model, args.upstream, list(model.program.values))
    told = [
        explained(model, of, model._wrt(args.wrt, of), values, upstream.get(of, 1.0), args.lang, args.digits)
        for of in chosen(model, args.of, upstream)
    ]
    if args.json:
        found = [e.as_json() for e in told]
        print(json.dumps(found[0] if len(found) == 1 else found, ensure_ascii=False, allow_nan=False))
    else:
        print("\n\n\n".join(e.text() for e in told))
    return 0


def own_pages(args: argparse.Namespace, model: Model) -> list[Entry]:
    """The pages of the program's own ops and rules, if `--of` names such. Raises InputError for names that the program does not
    have, and for inputs, which a page has not."""
    known, values = names(model.program), model.program.values
    asked = args.of or []
    if known and asked:
        model._names(asked, "definition", [*values, *known])
    if not set(asked) & set(known):
        return []
    for name in asked:
        if name in values and name not in known:
            text = f"`{name}` is a definition, and the others are ops or rules: they have pages of another kind"
            raise InputError([Diagnostic("G510", text, help=f"ask for it alone: `--of {name}`")])
    if left := [*args.values, *args.data, *args.params, *args.upstream, *(args.wrt or ())]:
        text = f"`{asked[0]}` has a page, which takes no inputs: `{left[0]}`"
        raise InputError([Diagnostic("G514", text, help="leave it out; the page has an example of its own")])
    proven = find_spec("mpmath") is not None
    return [own_page(name, model.program, Words(args.lang), in_language, proven) for name in asked]


def chosen(model: Model, of: list[str] | None, upstream: Iterable[str]) -> list[str]:
    """The definitions to explain: the one that is named, or every output that a derivative is asked of or can be taken of."""
    program = model.program
    if of:
        return list(model._names(of, "definition", program.values))
    asked = [a.name for a in program.asked if a.kind not in ("output", "jacobian", "hessian")]
    real = [n for n in program.outputs if program.nodes[program.values[n]].type.dtype == "real"]
    found = list(dict.fromkeys([*asked, *upstream])) or real
    if not found:
        text = "no output of this program has a derivative that could be explained"
        raise InputError([Diagnostic("G510", text, help="name a definition: `--of NAME`")])
    return found
