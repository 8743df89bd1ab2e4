"""Arguments to commands. Exit status: 0 done, 1 the program or its inputs are wrong or a check failed, 2 the command line
is wrong, 70 a bug of gradlang."""

from __future__ import annotations

import argparse
import io
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from gradlang._version import __version__
from gradlang.cli.arguments import COMMANDS, EXAMPLES, parser, parser_of
from gradlang.cli.messages import more, say
from gradlang.cli.streams import deafen, opened
from gradlang.diagnostics import Diagnostic, GradlangError, InputError, InternalError, did_you_mean


def command(args: argparse.Namespace) -> Callable[[argparse.Namespace], int]:
    """What a command runs. Only its module is imported: some bring NumPy, and each takes its time."""
    match args.command:
        case "run" | "check":
            from gradlang.cli import running

            return running.run if args.command == "run" else running.check
        case "explain":
            return explain
        case "graph":
            from gradlang.cli import graphing

            return graphing.graph
        case "diff":
            from gradlang.cli import differentiating

            return differentiating.diff
        case "fit":
            from gradlang.cli import fitting

            return fitting.fit
        case "ops":
            from gradlang.cli import tables

            return tables.ops
    from gradlang.cli import compiling

    return compiling.fmt if args.command == "fmt" else compiling.compile_


def explain(args: argparse.Namespace) -> int:
    from gradlang.cli import pages

    if pages.shown(args):
        return 0
    from gradlang.cli import explaining  # brings NumPy

    return explaining.explain(args)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line. Values may stand before, between and after the options."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words and not words[0].startswith("-") and words[0] not in COMMANDS:
        near = did_you_mean(words[0], COMMANDS)
        if not near and (words[0].endswith(".grad") or Path(words[0]).is_file()):
            near = f"a program is run by `gradlang run {words[0]}`"
        parser().error(f"there is no command `{words[0]}`: {near or ', '.join(COMMANDS)}")
    name = words.pop(0) if words and words[0] in COMMANDS else None
    made = parser_of(name) if name else parser()
    args, rest = made.parse_known_args(words)
    if name:
        args.command = name
    unknown = [word for word in rest if word.startswith("-") or not hasattr(args, "values")]
    if unknown:
        known = {option for option in made._option_string_actions if option.startswith(("--", "-h"))}
        near = did_you_mean(unknown[0].split("=")[0], known)
        parser().error(f"unrecognized arguments: {' '.join(unknown)}" + (f": {near}" if near else ""))
    if rest:
        args.values = [*args.values, *rest]
    if args.command == "explain" and args.file is None and not args.list:
        parser().error("explain needs a file, the code of an error or the name of an op")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    opened()
    args = parse(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name that the terminal cannot show must not end the command
        sys.stdout.reconfigure(errors="backslashreplace")
    if args.command is None:
        print(f"gradlang {__version__}\n\n{EXAMPLES}\n`gradlang --help` lists the commands.")
        return 0
    try:
        with warnings.catch_warnings():
            warnings.showwarning = show
            status = command(args)(args)
        sys.stdout.flush()
        more(args)
        return status
    except InternalError as error:
        print(error, file=sys.stderr)
        return 70
    except GradlangError as error:
        say(args, error.diagnostics, error.sources)
        more(args)
        return 1
    except MemoryError as error:
        text = "the values of this program do not fit into memory" + (f": {error}" if str(error) else "")
        told = InputError([Diagnostic("G517", text, help="give smaller arrays, or declare smaller sizes")])
        say(args, told.diagnostics, told.sources)
        more(args)
        return 1
    except BrokenPipeError:
        deafen()
        return 0
    except OSError as error:  # standard output is full or gone
        print(f"gradlang: {error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def show(message: Warning | str, *where: object, **more: object) -> None:
    """A warning of Python in one line: where in this package it is given says nothing to people."""
    print(f"warning: {message}", file=sys.stderr)
