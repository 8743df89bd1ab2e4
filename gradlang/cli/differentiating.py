"""`gradlang diff`: derivatives as formulas."""

from __future__ import annotations

import argparse
import json

from gradlang.cli.explaining import chosen
from gradlang.cli.running import given, open_model
from gradlang.diagnostics import Diagnostic, InputError
from gradlang.view.derivative import derivatives, latex


def diff(args: argparse.Namespace) -> int:
    if args.latex and (args.json or args.numbers):
        text = f"`--latex` prints formulas, so there is no `{'--json' if args.json else '--numbers'}` with it"
        raise InputError([Diagnostic("G511", text, help="leave out one of the two")])
    model = open_model(args)
    values = given(args, model)  # read even where no numbers are shown: a slip is told
    found = [(of, names) for of in chosen(model, args.of, ()) if (names := model._wrt(args.wrt, of))]
    if not found:
        text = "there is no derivative: this program has no input or parameter that is a real number"
        raise InputError([Diagnostic("G510", text, help="declare one: `x : [N]` in place of `x : int[N]`")])
    if args.latex:
        print("\n".join(latex(model.program, of, names) for of, names in found), end="")
        return 0
    made = [derivatives(model, of, names, values if args.numbers else None, args.digits) for of, names in found]
    if args.json:
        rows = [d.as_json() for d in made]
        print(json.dumps(rows[0] if len(rows) == 1 else rows, ensure_ascii=False, allow_nan=False))
    else:
        print("\n\n".join(d.text(args.digits) for d in made))
    return 0
