"""`gradlang ops`: what the table of ops says."""

from __future__ import annotations

import argparse
import json

from gradlang.check.arrays import SPECIAL
from gradlang.check.calls import INTERNAL
from gradlang.check.rules import Functions, library
from gradlang.diagnostics import Diagnostic, InputError, did_you_mean
from gradlang.ops.op import Op
from gradlang.ops.table import builtin


def ops(args: argparse.Namespace) -> int:
    table = builtin()
    if args.check:
        from gradlang.prove.accuracy import prove_table

        made = prove_table(table)
        print(json.dumps(made.as_json()) if args.json else made.text())
        return 0 if made.ok else 1
    if args.kinks:
        rows = [(op, kink) for op in table.entries() for kink in op.kinks]
        if args.json:
            print(json.dumps([{"op": op.name, "at": k.point, "partials": [str(p) for p in k.partials]} for op, k in rows]))
            return 0
        for op, kink in rows:
            point = ", ".join(f"{n} = {v:g}" for n, v in kink.point.items())
            partials = ", ".join(f"d/d{p} = {v:g}" for p, v in zip(op.partials, kink.partials, strict=False))
            print(f"{op.name:<14}{point:<30}{partials}".rstrip())
        return 0
    if args.name:
        return _one(args.name, args.json)
    if args.json:
        print(json.dumps([_as_json(op) for op in table.entries()]))
        return 0
    kinds: dict[str, list[str]] = {"pointwise": [], "constant": [], "linear": [], "array": []}
    for op in table.entries():
        kinds[op.kind].append(op.name)
    functions = [*library().functions, *(n for n in SPECIAL if n not in table)]
    kinds["functions"] = [n for n in functions if n not in INTERNAL]
    kinds["pieces of these, which programs do not see"] = [n for n in functions if n in INTERNAL]
    for kind in kinds:
        print(f"{kind}\n  " + "\n  ".join(_wrapped(kinds[kind])))
    return 0


def _wrapped(names: list[str]) -> list[str]:
    lines = [""]
    for n in names:
        if len(lines[-1]) + len(n) > 96:
            lines.append("")
        lines[-1] += ("  " if lines[-1] else "") + n
    return lines


def _as_json(op: Op) -> dict[str, object]:
    return {"name": op.name, "kind": op.kind, "params": list(op.params), "settings": list(op.attrs), "entry": op.text()}


def _one(name: str, as_json: bool) -> int:
    table, functions = builtin(), library().functions
    if name in table:
        print(json.dumps(_as_json(table[name])) if as_json else table[name].text())
        return 0
    if name in functions:
        assert isinstance(functions, Functions)
        entry = functions.text(name)
        print(json.dumps({"name": name, "kind": "function", "entry": entry}) if as_json else entry)
        return 0
    if name in SPECIAL:
        special = SPECIAL[name]
        words = ", ".join(p if k < special.required else f"{p}=..." for k, p in enumerate(special.params))
        print(json.dumps({"name": name, "kind": "array function"}) if as_json else f"{name}({words})")
        return 0
    raise InputError(
        [
            Diagnostic(
                "G516",
                f"there is no op named `{name}`",
                help=did_you_mean(name, [*table, *functions, *SPECIAL])
                or f"`gradlang ops` lists them; `gradlang explain FILE --of {name}` shows an op of a program",
            )
        ]
    )
