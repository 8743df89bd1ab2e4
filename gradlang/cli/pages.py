"""`gradlang explain G201` and `gradlang explain mul`: pages of help, by the code of an error or the name of an op."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

from gradlang.check.arrays import SPECIAL
from gradlang.check.rules import library
from gradlang.diagnostics import Diagnostic, InputError, did_you_mean
from gradlang.ops.table import builtin

CODE = re.compile(r"[Gg][0-9]{3}")
WORD = re.compile(r"[^\W\d]\w*")


def shown(args: argparse.Namespace) -> bool:
    """Prints the page that is asked for, or the list of codes; False if a program is to be explained instead.

    A code is always a page; a name of an op or a function is one where no such file exists. Raises InputError for a word
    that is none of these and no path either.
    """
    if args.list:
        listed(args)
        return True
    subject = args.file
    if CODE.fullmatch(subject):
        alone(args)
        code_page(args, subject.upper())
        return True
    if subject == "-" or not WORD.fullmatch(subject) or Path(subject).exists():
        return False
    ops = [*builtin(), *library().functions, *SPECIAL]
    if subject not in ops:
        raise unknown(subject, ops)
    alone(args)
    op_page(args, subject)
    return True


def alone(args: argparse.Namespace) -> None:
    """A page has no inputs and no settings of a program."""
    given = [*args.values, *args.data, *args.params, *args.upstream, *filter(None, (args.of, args.wrt))]
    if given:
        hint = f"`gradlang explain ./{args.file}` explains a file of this name"
        raise InputError([Diagnostic("G514", f"`{args.file}` is a page, which takes no inputs: `{given[0]}`", help=hint)])


def unknown(subject: str, ops: list[str]) -> InputError:
    text = f"there is no file, no op and no function named `{subject}`, and no such code"
    from gradlang.view.pages import pages

    near = did_you_mean(subject.upper(), pages()) if re.match(r"[A-Za-z]+\d+$", subject) else ""
    file = f"did you mean `{subject}.grad`?" if Path(f"{subject}.grad").exists() else ""
    hint = file or did_you_mean(subject, ops) or near or "`gradlang ops` lists the ops, `gradlang explain --list` the codes"
    return InputError([Diagnostic("G516", text, help=hint)])


def listed(args: argparse.Namespace) -> None:
    from gradlang.view.pages import pages

    rows = [(p.code, p.name(args.lang)) for p in pages().values()]
    if args.json:
        print(json.dumps({"schema": 1, "codes": [{"code": c, "title": t} for c, t in rows]}, ensure_ascii=False))
    else:
        print("\n".join(f"{code}  {title}" for code, title in rows))


def code_page(args: argparse.Namespace, code: str) -> None:
    from gradlang.view.pages import nearest, pages
    from gradlang.view.words import Words

    found = pages().get(code)
    if found is None:
        near = ", ".join(f"{c} ({pages()[c].title})" for c in nearest(code))
        hint = f"the nearest are {near}; `gradlang explain --list` lists them all"
        raise InputError([Diagnostic("G516", f"no error has the code {code}", help=hint)])
    if args.json:
        print(json.dumps(found.as_json(args.lang), ensure_ascii=False))
    else:
        print(found.text(Words(args.lang), args.lang))


def op_page(args: argparse.Namespace, name: str) -> None:
    from gradlang.opening import loads
    from gradlang.view.entry import page  # brings NumPy
    from gradlang.view.words import Words

    words = Words(args.lang)
    found = page(name, words, loads)
    print(json.dumps(found.as_json(), ensure_ascii=False, allow_nan=False) if args.json else found.text(words, args.digits))
