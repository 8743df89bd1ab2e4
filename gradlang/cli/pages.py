"""`gradlang explain G201` and `gradlang explain mul`: pages of help, by the codes of errors or the names of ops."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradlang.check.arrays import SPECIAL
from gradlang.check.rules import library
from gradlang.diagnostics import Diagnostic, InputError, did_you_mean
from gradlang.ops.table import builtin, rules

if TYPE_CHECKING:
    from gradlang.api import Model
    from gradlang.ops.language import Language

CODE = re.compile(r"[Gg][0-9]{3}")
WORD = re.compile(r"[^\W\d]\w*")


def shown(args: argparse.Namespace) -> bool:
    """Prints the pages that are asked for, or the list of codes; False if a program is to be explained instead.

    A code is always a page; a name of an op or a function is one where no such file exists, and then further words are
    pages, too. Raises InputError for a word that is none of these and no path either.
    """
    if args.list:
        listed(args)
        return True
    subject = args.file
    if not CODE.fullmatch(subject) and (subject == "-" or not WORD.fullmatch(subject) or Path(subject).exists()):
        return False
    words = [w.upper() if CODE.fullmatch(w) else w for w in (subject, *args.values) if WORD.fullmatch(w)]
    made = [page_of(args, word) for word in dict.fromkeys(words)]
    alone(args)
    if args.json:
        data = [data for _, data in made]
        print(json.dumps(data[0] if len(data) == 1 else data, ensure_ascii=False, allow_nan=False))
    else:
        print("\n\n\n".join(text for text, _ in made))
    return True


def page_of(args: argparse.Namespace, word: str) -> tuple[str, dict[str, Any]]:
    """A page as text and as data. Raises InputError if there is none of this name."""
    if CODE.fullmatch(word):
        return code_page(args, word)
    known = [*builtin(), *library().functions, *SPECIAL, *(rule.name for rule in rules())]
    if word not in known:
        raise unknown(word, known, file_named(args.of))
    return op_page(args, word)


def alone(args: argparse.Namespace) -> None:
    """A page has no inputs and no settings of a program."""
    values = [w for w in args.values if not WORD.fullmatch(w)]
    given = [*values, *args.data, *args.params, *args.upstream, *(args.of or ()), *(args.wrt or ())]
    if given:
        hint = f"`gradlang explain ./{args.file}` explains a file of this name"
        if file := file_named(args.of):
            hint = f"`gradlang explain {file} --of {args.file}` shows what a program defines"
        raise InputError([Diagnostic("G514", f"`{args.file}` is a page, which takes no inputs: `{given[0]}`", help=hint)])


def file_named(of: list[str] | None) -> str:
    """The file that stands where names should, or ""."""
    return next((name for name in of or () if Path(name).is_file()), "")


def unknown(subject: str, known: list[str], program: str) -> InputError:
    """The error for a word that is no page; `program` is the file of `--of`, if it names one."""
    text = f"there is no file, no op and no function named `{subject}`, and no such code"
    from gradlang.view.pages import pages

    near = did_you_mean(subject.upper(), pages()) if re.match(r"[A-Za-z]+\d+$", subject) else ""
    file = f"did you mean `{subject}.grad`?" if Path(f"{subject}.grad").exists() else ""
    lists = "`gradlang ops` lists the ops, `gradlang explain --list` the codes"
    own = "`gradlang explain {} --of {}` shows an op of a program"
    if program:
        hint = own.format(program, subject)
    else:
        hint = file or did_you_mean(subject, known) or near or f"{lists}; {own.format('FILE', subject)}"
    return InputError([Diagnostic("G516", text, help=hint)])


def listed(args: argparse.Namespace) -> None:
    from gradlang.view.pages import pages

    rows = [(p.code, p.name(args.lang)) for p in pages().values()]
    if args.json:
        print(json.dumps({"schema": 1, "codes": [{"code": c, "title": t} for c, t in rows]}, ensure_ascii=False))
    else:
        print("\n".join(f"{code}  {title}" for code, title in rows))


def code_page(args: argparse.Namespace, code: str) -> tuple[str, dict[str, Any]]:
    from gradlang.view.pages import nearest, pages
    from gradlang.view.words import Words

    found = pages().get(code)
    if found is None:
        near = ", ".join(f"{c} ({pages()[c].title})" for c in nearest(code))
        hint = f"the nearest are {near}; `gradlang explain --list` lists them all"
        raise InputError([Diagnostic("G516", f"no error has the code {code}", help=hint)])
    return found.text(Words(args.lang), args.lang), found.as_json(args.lang)


def in_language(text: str, language: Language) -> Model:
    """The model of the example of a page, in the language of a program."""
    from gradlang import pipeline
    from gradlang.api import Model

    return Model(pipeline.load(text, "<example>", language))


def op_page(args: argparse.Namespace, name: str) -> tuple[str, dict[str, Any]]:
    from gradlang.opening import loads
    from gradlang.view.entry import page  # brings NumPy
    from gradlang.view.words import Words

    words = Words(args.lang)
    if name in builtin() or name in library().functions or name in SPECIAL:
        found = page(name, words, loads)
    else:
        from gradlang.view.own_entry import of_rule

        rule = next(rule for rule in rules() if rule.name == name)
        found = of_rule(rule, builtin(), words, in_language, True)
    return found.text(words, args.digits), found.as_json()
