"""`gradlang diff`: derivatives as formulas."""

from __future__ import annotations

import argparse
import json

from gradlang.cli.explaining import chosen
from gradlang.cli.running import given, open_model
from gradlang.view.derivative import derivatives, latex


def diff(args: argparse.Namespace) -> int:
    model = open_model(args)
    found = [(of, model._wrt(args.wrt, of)) for of in chosen(model, args.of, ())]
    if args.latex:
        print("\n".join(latex(model.program, of, names) for of, names in found), end="")
        return 0
    values = given(args, model) if args.numbers else None
    made = [derivatives(model, of, names, values, args.digits) for of, names in found]
    if args.json:
        rows = [d.as_json() for d in made]
        print(json.dumps(rows[0] if len(rows) == 1 else rows, ensure_ascii=False, allow_nan=False))
    else:
        print("\n\n".join(d.text(args.digits) for d in made))
    return 0
