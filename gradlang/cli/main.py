"""Arguments to commands. Exit status: 0 done, 1 the program or its inputs are wrong or a check failed, 2 the command line
is wrong, 70 a bug of gradlang."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence

from gradlang._version import __version__
from gradlang.diagnostics import GradlangError, InternalError, as_json, render_all

EXAMPLES = """examples:
  gradlang run shopping.grad                 the value and the gradient
  gradlang run shopping.grad apple=120 n=3   with other inputs
  gradlang check shopping.grad               everything that can be wrong with it
  gradlang compile shopping.grad -o m.py     Python that needs no gradlang
"""


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="gradlang",
        description="Differentiable formulas: text in, exact gradients out.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.suggest_on_error = True  # type: ignore[attr-defined, unused-ignore]
    top.add_argument("--version", action="version", version=f"gradlang {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND")

    def command(name: str, help: str, epilog: str = "") -> argparse.ArgumentParser:
        made = commands.add_parser(
            name,
            help=help,
            description=help[0].upper() + help[1:] + ".",
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        made.add_argument("--json", action="store_true", help="print JSON (schema 1), diagnostics too")
        return made

    run = command(
        "run", "compute the outputs and their gradients", "example:\n  gradlang run net.grad --data batch.npz --wrt W1,b1"
    )
    run.add_argument("file", help="a .grad file, - for standard input")
    run.add_argument("values", nargs="*", metavar="name=value", help="inputs: numbers or lists such as x=[1,2,3]")
    run.add_argument(
        "--data", action="append", default=[], metavar="FILE", help="d.npz, name=x.npy or rows.csv; may be repeated"
    )
    run.add_argument(
        "--upstream", action="append", default=[], metavar="price=1.3", help="the derivative that flows in from above"
    )
    run.add_argument("--wrt", metavar="a,b", help="differentiate by these only")
    run.add_argument("--digits", type=int, metavar="N", help="significant digits (default: all)")
    run.add_argument("--dtype", choices=["float64", "float32"], default="float64")
    run.add_argument("--backend", choices=["auto", "numpy"], default="auto")
    run.add_argument("--seed", type=int, default=0, help="for parameters that are not given")

    check = command("check", "report everything that is wrong: errors, its own checks, gradients against multi-precision")
    check.add_argument("file", help="a .grad file, - for standard input")
    check.add_argument("values", nargs="*", metavar="name=value")
    check.add_argument("--data", action="append", default=[], metavar="FILE")
    check.add_argument("--seed", type=int, default=0)

    make = command("compile", "print standalone source that does not need gradlang")
    make.add_argument("file", help="a .grad file, - for standard input")
    make.add_argument("--target", choices=["numpy", "grad"], default="numpy")
    make.add_argument("--of", metavar="NAME", help="the output to differentiate (default: all outputs)")
    make.add_argument("--wrt", metavar="a,b", help="differentiate by these only")
    make.add_argument("--dtype", choices=["float64", "float32"], default="float64")
    make.add_argument("-o", dest="output", metavar="FILE", help="write to a file (default: standard output)")
    make.add_argument("--dump", metavar="DIR", help="write the program after every pass to numbered files")

    ops = command("ops", "list the ops, or show one with its derivative")
    ops.add_argument("name", nargs="?")
    ops.add_argument("--kinks", action="store_true", help="the conventions at kinks")
    ops.add_argument(
        "--check", action="store_true", help="prove every entry against multi-precision and print the accuracy table"
    )

    fmt = command("fmt", "format a program; every comment is kept")
    fmt.add_argument("file", help="a .grad file, - for standard input")
    fmt.add_argument("--check", action="store_true", help="change nothing; exit with 1 if the file is not formatted")
    return top


def commands() -> dict[str, Callable[[argparse.Namespace], int]]:
    from gradlang.cli import compiling, running, tables

    return {"run": running.run, "check": running.check, "compile": compiling.compile_, "ops": tables.ops, "fmt": compiling.fmt}


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line. Values may stand before, between and after the options."""
    top = parser()
    args, rest = top.parse_known_args(argv)
    unknown = [word for word in rest if word.startswith("-") or not hasattr(args, "values")]
    if unknown:
        top.error(f"unrecognized arguments: {' '.join(unknown)}")
    if rest:
        args.values = [*args.values, *rest]
    return args


def main(argv: Sequence[str] | None = None) -> int:
    args = parse(argv)
    if args.command is None:
        print(f"gradlang {__version__}\n\n{EXAMPLES}\n`gradlang --help` lists the commands.")
        return 0
    try:
        return commands()[args.command](args)
    except InternalError as error:
        print(error, file=sys.stderr)
        return 70
    except GradlangError as error:
        report(error, args.json)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


def report(error: GradlangError, as_lines: bool) -> None:
    """Diagnostics on standard error: text for people, or one JSON object a line."""
    if as_lines:
        for d in error.diagnostics:
            print(json.dumps(as_json(d, error.sources), ensure_ascii=False), file=sys.stderr)
        return
    text = render_all(error.diagnostics, error.sources)
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    print(text.encode(encoding, "backslashreplace").decode(encoding), file=sys.stderr)
