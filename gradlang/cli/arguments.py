"""What may stand on a command line, and the help that says so."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from gradlang._version import __version__

EXAMPLES = """examples:
  gradlang run shopping.grad                 the value and the gradient
  gradlang run shopping.grad apple=120 n=3   with other inputs
  gradlang check shopping.grad               everything that can be wrong with it
  gradlang fit net.grad --data d.npz -o p.npz   parameters that fit data
  gradlang compile shopping.grad -o m.py     Python that needs no gradlang
  gradlang explain G201                      what the code of an error means
"""


FILE = "a .grad file, - for standard input"
PAGE = "a .grad file, - for standard input; or the code of an error (G201), or the name of an op or a function (mul)"
DTYPES = ("float64", "float32")
CHECKPOINT = "long recurrences keep about sqrt(n) of their n states and compute the others again for the gradient"


class Help(argparse.RawDescriptionHelpFormatter):
    """Help as wide as the terminal. To find out how wide that is, argparse imports `shutil`, which brings the compression of
    archives, and it does so for every argument."""

    def __init__(self, prog: str, **more: Any) -> None:
        super().__init__(prog, **{"width": columns() - 2, **more})


def columns() -> int:
    """Of the terminal: what COLUMNS says, or the system; 80 where neither does."""
    said = os.environ.get("COLUMNS", "")
    if said.isdecimal() and int(said):
        return int(said)
    try:
        return os.get_terminal_size(sys.__stdout__.fileno() if sys.__stdout__ else -1).columns or 80
    except (ValueError, OSError):
        return 80


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="gradlang",
        description="Differentiable formulas: text in, exact gradients out.",
        epilog=EXAMPLES,
        formatter_class=Help,
    )
    top.suggest_on_error = True  # type: ignore[attr-defined, unused-ignore]
    top.add_argument("--version", action="version", version=f"gradlang {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND")
    for name, (help, _, _) in COMMANDS.items():
        filled(commands.add_parser(name, help=help, **described(name)), name)
    return top


def parser_of(name: str) -> argparse.ArgumentParser:
    """What `parser` does with the words behind the name of a command, alone: to prepare for all commands takes ten times as
    long."""
    return filled(argparse.ArgumentParser(prog=f"gradlang {name}", **described(name)), name)


def described(name: str) -> dict[str, Any]:
    help, epilog, _ = COMMANDS[name]
    text = help[0].upper() + help[1:] + "."
    return {"description": text, "epilog": epilog, "formatter_class": Help}


def filled(made: argparse.ArgumentParser, name: str) -> argparse.ArgumentParser:
    made.add_argument("--json", action="store_true", help="print JSON (schema 1), diagnostics too")
    made.set_defaults(said=[])  # the codes of what is said to people, for `cli/messages.py`
    COMMANDS[name][2](made)
    return made


def natural(text: str) -> int:
    """A whole number from 0 on."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"a whole number from 0 on is wanted, not {text!r}")
    return int(text)


def digits(text: str) -> int:
    """A number of significant digits; the exact decimal of a float has at most 767."""
    if not text.isdecimal() or not 1 <= int(text) <= 767:
        raise argparse.ArgumentTypeError(f"a whole number from 1 to 767 is wanted, not {text!r}")
    return int(text)


def names(text: str) -> list[str]:
    """Names between commas, each once."""
    return list(dict.fromkeys(name.strip() for name in text.split(",")))


def _program(to: argparse.ArgumentParser, page: bool = False) -> None:
    if page:
        to.add_argument("file", nargs="?", help=PAGE)
    else:
        to.add_argument("file", help=FILE)
    allow = "a folder outside the program's own from which files may be imported; may be repeated"
    to.add_argument("--allow-import", action="append", default=[], metavar="DIR", help=allow)


def _inputs(to: argparse.ArgumentParser, page: bool = False) -> None:
    _program(to, page)
    to.add_argument("values", nargs="*", metavar="name=value", help="inputs: numbers or lists such as x=[1,2,3]")
    _data(to)
    to.add_argument("--seed", type=natural, default=0, help="for parameters that are not given")


def _data(to: argparse.ArgumentParser) -> None:
    data = "d.npz, name=x.npy, rows.csv or name=pictures-idx3-ubyte.gz; may be repeated"
    to.add_argument("--data", action="append", default=[], metavar="FILE", help=data)
    to.add_argument("--params", action="append", default=[], metavar="FILE", help="values of parameters, as `fit` writes them")


def _run(to: argparse.ArgumentParser) -> None:
    _inputs(to)
    flows = "the derivative that flows in from above"
    to.add_argument("--upstream", action="append", default=[], metavar="price=1.3", help=flows)
    to.add_argument("--wrt", type=names, metavar="a,b", help="differentiate by these only")
    to.add_argument("--digits", type=digits, metavar="N", help="significant digits (default: all)")
    to.add_argument("--dtype", choices=DTYPES, default="float64")
    to.add_argument("--backend", choices=["auto", "numpy", "native"], default="auto")
    to.add_argument("--checkpoint", action="store_true", help=CHECKPOINT)


def _explain(to: argparse.ArgumentParser) -> None:
    _inputs(to, page=True)
    to.add_argument("--list", action="store_true", help="list the codes of errors, one line each")
    what = "what to explain (default: every output with a derivative); an op or a rule of the program has a page"
    to.add_argument("--of", type=names, metavar="NAME", help=what)
    to.add_argument("--wrt", type=names, metavar="a,b", help="only what lies between these and the result")
    flows = "the derivative that flows in from above"
    to.add_argument("--upstream", action="append", default=[], metavar="price=1.3", help=flows)
    to.add_argument("--lang", choices=["en", "ko"], default="en", help="the language of the explanation")
    to.add_argument("--digits", type=digits, metavar="N", help="significant digits (default: all)")


def _graph(to: argparse.ArgumentParser) -> None:
    _inputs(to)
    formats = "x.svg, .png, .html (the explorer), .dot, .json, .tex or .mmd (default: SVG on standard output)"
    to.add_argument("-o", dest="output", metavar="FILE", help=formats)
    result = "the result whose graph it is (default: the only one; a page offers all)"
    to.add_argument("--of", type=names, metavar="NAME", help=result)
    to.add_argument("--wrt", type=names, metavar="a,b", help="derivatives by these only")
    to.add_argument("--mode", choices=["reverse", "forward", "values"], default="reverse", help="which derivatives are shown")
    flows = "the derivative that flows in from above"
    to.add_argument("--upstream", action="append", default=[], metavar="price=1.3", help=flows)
    leaves = "numbers of a formula inside the operations, or as leaves"
    to.add_argument("--constants", choices=["inside", "leaves"], default="inside", help=leaves)
    to.add_argument("--open", type=names, metavar="f,g", help="functions whose inner nodes are shown (all: of every function)")
    sheet = "a worksheet: boxes to fill in for the derivatives (or values, with --mode values), and FILE-answers beside it"
    to.add_argument("--blank", action="store_true", help=sheet)
    to.add_argument("--stage", metavar="NAME", help="a stage of the compiler instead of the program as it is written")
    to.add_argument("--lang", choices=["en", "ko"], default="en", help="the language of a page")
    to.add_argument("--digits", type=digits, default=6, metavar="N", help="significant digits (default: 6)")


def _diff(to: argparse.ArgumentParser) -> None:
    _inputs(to)
    to.add_argument("--of", type=names, metavar="NAME", help="what to differentiate (default: every output with a derivative)")
    to.add_argument("--wrt", type=names, metavar="a,b", help="differentiate by these only")
    to.add_argument("--latex", action="store_true", help="LaTeX instead of the language")
    to.add_argument("--numbers", action="store_true", help="the numbers of the inputs put in, and the values")
    to.add_argument("--digits", type=digits, metavar="N", help="significant digits (default: all)")


def _fit(to: argparse.ArgumentParser) -> None:
    _program(to)
    to.add_argument("values", nargs="*", metavar="name=value", help="inputs that stay: numbers or lists such as x=[1,2,3]")
    _data(to)
    what = to.add_argument_group("what is fitted")
    what.add_argument("--of", metavar="NAME", help="what to make small (default: what the program minimizes)")
    what.add_argument("--wrt", type=names, metavar="a,b", help="fit these only (default: all parameters)")
    what.add_argument("--dtype", choices=DTYPES, default="float64")
    what.add_argument("--backend", choices=["auto", "numpy", "native"], help="default: auto")
    how = to.add_argument_group("how")
    rules = "sgd, momentum, nesterov, adagrad, rmsprop, adam (default), adamw, or a method of scipy such as l-bfgs-b"
    how.add_argument("--optimizer", metavar="NAME", help=rules)
    for name in SETTINGS:
        how.add_argument(f"--{name.replace('_', '-')}", type=float, metavar="X", help=SETTINGS[name])
    how.add_argument("--batch", metavar="100 or N=100", help="rows of data in a step (default: all)")
    how.add_argument("--epochs", type=int, metavar="N", help="default: 20 with batches")
    how.add_argument("--steps", type=int, metavar="N", help="default: 1000 on all data")
    how.add_argument("--seed", type=natural, help="of first values, of the order of rows and of what is held out (default: 0)")
    how.add_argument("--valid", action="append", default=[], metavar="FILE", help="data to validate with; may be repeated")
    how.add_argument("--hold-out", type=float, metavar="0.2", help="the share of the rows to validate with")
    out = to.add_argument_group("what comes out")
    out.add_argument("-o", dest="output", metavar="FILE.npz", help="the parameters; their state goes to FILE.state.npz")
    out.add_argument("--state", metavar="FILE.npz", help="where the whole state goes")
    out.add_argument("--resume", metavar="STATE", help="go on from a state")
    out.add_argument("--log", metavar="FILE", help="the learning curve as .csv, .json or .jsonl")
    out.add_argument("--curve", metavar="FILE.svg", help="the learning curve as a picture")
    out.add_argument("--quiet", action="store_true", help="print no epochs")
    out.add_argument("--digits", type=digits, default=4, metavar="N", help="significant digits of epochs (default: 4)")


SETTINGS = {
    "lr": "the learning rate (default: 1e-3; adagrad and rmsprop 1e-2)",
    "momentum": "how much of the last step momentum and nesterov keep (default: 0.9)",
    "alpha": "how much of the mean square rmsprop keeps (default: 0.99)",
    "beta1": "how much of the mean gradient adam keeps (default: 0.9)",
    "beta2": "how much of the mean square adam keeps (default: 0.999)",
    "eps": "what is added to the denominator (default: 1e-8; adagrad 1e-10)",
    "tol": "when methods of scipy stop (default: theirs)",
    "weight_decay": "adds this times the parameters to the gradient (default: 0; adamw 1e-2, apart from it)",
}


def _compile(to: argparse.ArgumentParser) -> None:
    _program(to)
    target = "Python (default), a C11 function, a JavaScript module, or the language itself"
    to.add_argument("--target", choices=["numpy", "c", "js", "grad"], default="numpy", help=target)
    to.add_argument("--of", metavar="NAME", help="the output to differentiate (default: the only one)")
    to.add_argument("--wrt", type=names, metavar="a,b", help="differentiate by these only")
    to.add_argument("--dtype", choices=DTYPES, default="float64")
    to.add_argument("--checkpoint", action="store_true", help=CHECKPOINT)
    to.add_argument("-o", dest="output", metavar="FILE", help="write to a file (default: standard output)")
    to.add_argument("--dump", metavar="DIR", help="write the program after every pass to numbered files")


def _ops(to: argparse.ArgumentParser) -> None:
    to.add_argument("name", nargs="?")
    to.add_argument("--kinks", action="store_true", help="the conventions at kinks")
    proof = "prove every entry and every rewrite against multi-precision and print the accuracy table"
    to.add_argument("--check", action="store_true", help=proof)


def _fmt(to: argparse.ArgumentParser) -> None:
    to.add_argument("file", help=FILE)
    to.add_argument("--check", action="store_true", help="change nothing; exit with 1 if the file is not formatted")


COMMANDS = {
    "run": (
        "compute the outputs and their gradients",
        "example:\n  gradlang run net.grad --data batch.npz --wrt W1,b1",
        _run,
    ),
    "check": ("report everything that is wrong: errors, its own checks, gradients against multi-precision", "", _inputs),
    "explain": (
        "tell the forward and the backward pass, node by node; or what an error or an op is",
        """examples:
  gradlang explain shopping.grad                        both passes in words and numbers
  gradlang explain shopping.grad --wrt apple --lang ko
  gradlang explain G201                                 an error: why, a program that fails, one that works
  gradlang explain sigmoid                              an op: its entry, its derivative, an example
  gradlang explain net.grad --of swish                  an op or a rule that the program defines
  gradlang explain --list                               the codes of errors""",
        _explain,
    ),
    "graph": (
        "draw the computation graph, values above the edges and derivatives below",
        "examples:\n  gradlang graph shopping.grad -o shopping.svg\n  gradlang graph shopping.grad --blank -o sheet.svg\n"
        "  gradlang graph shopping.grad -o shopping.html",
        _graph,
    ),
    "diff": (
        "print the derivatives as formulas",
        "examples:\n  gradlang diff shopping.grad --numbers\n  gradlang diff net.grad --wrt W1 --latex",
        _diff,
    ),
    "fit": (
        "find parameters that make the objective small",
        """examples:
  gradlang fit net.grad --data train.npz --batch 100 --epochs 20 --hold-out 0.2 -o params.npz
  gradlang fit net.grad --data train.npz --epochs 40 --resume params.state.npz -o params.npz
  gradlang fit line.grad --data rows.csv --optimizer l-bfgs-b

Ctrl-C finishes the step, writes what there is, and ends with status 130.""",
        _fit,
    ),
    "compile": ("print standalone source that does not need gradlang", "", _compile),
    "ops": ("list the ops, or show one with its derivative", "", _ops),
    "fmt": ("format a program; every comment is kept", "", _fmt),
}
