"""`gradlang explain`: a program's forward and backward pass in words and numbers."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable

from gradlang.api import Model
from gradlang.cli.running import given, open_model, upstreams
from gradlang.diagnostics import Diagnostic, InputError
from gradlang.view.explain import explained


def explain(args: argparse.Namespace) -> int:
    model = open_model(args)
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
