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
from gradlang.cli.arguments import COMMANDS, EXAMPLES, parser
from gradlang.cli.messages import more, say
from gradlang.cli.streams import deafen, opened
from gradlang.diagnostics import Diagnostic, GradlangError, InputError, InternalError, did_you_mean


def commands() -> dict[str, Callable[[argparse.Namespace], int]]:
    from gradlang.cli import compiling, fitting, running, tables

    def explain(args: argparse.Namespace) -> int:
        from gradlang.cli import pages

        if pages.shown(args):
            return 0
        from gradlang.cli import explaining  # brings NumPy

        return explaining.explain(args)

    def graph(args: argparse.Namespace) -> int:
        from gradlang.cli import graphing  # brings NumPy

        return graphing.graph(args)

    def diff(args: argparse.Namespace) -> int:
        from gradlang.cli import differentiating  # brings NumPy

        return differentiating.diff(args)

    return {
        "run": running.run,
        "check": running.check,
        "explain": explain,
        "graph": graph,
        "diff": diff,
        "fit": fitting.fit,
        "compile": compiling.compile_,
        "ops": tables.ops,
        "fmt": compiling.fmt,
    }


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line. Values may stand before, between and after the options."""
    top = parser()
    words = list(sys.argv[1:] if argv is None else argv)
    if words and not words[0].startswith("-") and words[0] not in COMMANDS:
        near = did_you_mean(words[0], COMMANDS)
        if not near and (words[0].endswith(".grad") or Path(words[0]).is_file()):
            near = f"a program is run by `gradlang run {words[0]}`"
        top.error(f"there is no command `{words[0]}`: {near or ', '.join(COMMANDS)}")
    args, rest = top.parse_known_args(words)
    unknown = [word for word in rest if word.startswith("-") or not hasattr(args, "values")]
    if unknown:
        known = {"-h", "--help"} | {o for o in options(top, args.command) if o.startswith("--")}
        near = did_you_mean(unknown[0].split("=")[0], known)
        top.error(f"unrecognized arguments: {' '.join(unknown)}" + (f": {near}" if near else ""))
    if rest:
        args.values = [*args.values, *rest]
    if args.command == "explain" and args.file is None and not args.list:
        top.error("explain needs a file, the code of an error or the name of an op")
    return args


def options(top: argparse.ArgumentParser, command: str | None) -> list[str]:
    """The options of a command."""
    made = next(a for a in top._actions if isinstance(a, argparse._SubParsersAction))
    return list(made.choices[command]._option_string_actions) if command in made.choices else []


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
            status = commands()[args.command](args)
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
