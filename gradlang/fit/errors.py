"""The errors of a fit, one function each: codes G540 to G559."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from gradlang.diagnostics import Diagnostic, InputError, did_you_mean
from gradlang.source import Span

if TYPE_CHECKING:
    from gradlang.check.program import Program


def fault(code: str, message: str, help: str = "", program: Program | None = None, span: Span | None = None) -> InputError:
    return InputError([Diagnostic(code, message, span, help=help)], program.sources if program else None)


def listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{n}`" for n in names)


# ------------------------------------------------------------------ what is fitted
def no_objective(scalars: Sequence[str]) -> InputError:
    name = next((n for n in scalars if "loss" in n or "cost" in n), scalars[0] if scalars else "loss")
    hint = f"write `minimize {name}` in the program, or `--of {name}` (`of=` in Python)"
    return fault("G540", "this program does not say what to minimize", hint)


def no_value(name: str, known: Sequence[str]) -> InputError:
    return fault("G540", f"no definition is named `{name}`", did_you_mean(name, known) or f"there are {', '.join(known)}")


def not_scalar(name: str, type: object) -> InputError:
    return fault("G540", f"only a number can be minimized, but `{name}` is {type}", "sum it, or take its mean")


def name_of_column(name: str, objective: str) -> InputError:
    hint = "give it another name" + ("" if name == objective else f", or say what is to be watched: `output {objective}`")
    return fault("G540", f"a learning curve has a column `{name}` already, so nothing that it shows can be called this", hint)


def no_parameters(inputs: Sequence[str]) -> InputError:
    hint = "declare them: `param w : [D] = normal(0, 0.1)`"
    if inputs:
        hint += f"; or name inputs that may move: `--wrt {inputs[0]}` (`wrt=` in Python)"
    return fault("G541", "this program has no parameters", hint)


def all_given(names: Sequence[str]) -> InputError:
    text = f"nothing is left to fit: values are given for {listed(names)} among the data"
    return fault("G541", text, "where parameters start is given by `--params FILE.npz` (`params=` in Python)")


def nothing_named(known: Sequence[str]) -> InputError:
    return fault("G541", "nothing is named that is to be fitted", f"there are {', '.join(known)}")


def not_fitted(name: str, why: str, known: Sequence[str]) -> InputError:
    return fault("G541", f"`{name}` cannot be fitted: {why}", did_you_mean(name, known) or f"there are {', '.join(known)}")


def given_twice(name: str) -> InputError:
    text = f"`{name}` is to be fitted, but a value is given for it among the data"
    return fault("G541", text, "where it starts is given by `--params FILE.npz` (`params=` in Python)")


def no_influence(name: str, objective: str) -> Diagnostic:
    text = f"`{name}` does not reach `{objective}`: it keeps its first value"
    return Diagnostic("G541", text, severity="warning")


def no_parameter(name: str, known: Sequence[str]) -> InputError:
    return fault("G541", f"no parameter is named `{name}`", did_you_mean(name, known) or f"there are {', '.join(known)}")


# ------------------------------------------------------------------ batches
def no_rows(reason: str) -> InputError:
    return fault("G542", f"there are no batches: {reason}", "leave `--batch` and `--hold-out` out: a step then takes all data")


def several_rows(sizes: Sequence[str]) -> InputError:
    what = f"`--batch {sizes[0]}=100` (`batch={{{sizes[0]!r}: 100}}` in Python)"
    return fault("G542", f"data may be cut along {' or '.join(f'`{s}`' for s in sizes)}", f"say which: {what}")


def no_size(name: str, known: Sequence[str]) -> InputError:
    hint = did_you_mean(name, known) or (f"it may be {' or '.join(known)}" if known else "no size is that of rows of data")
    return fault("G542", f"batches cannot be cut along `{name}`", hint)


def bad_batch(value: object) -> InputError:
    return fault("G542", f"a batch has a whole number of rows from 1 on, not {value!r}", "for example 100, or N=100")


def rows_differ(size: str, lengths: Sequence[tuple[str, int]]) -> InputError:
    first, other = lengths[0], next(pair for pair in lengths if pair[1] != lengths[0][1])
    text = f"`{first[0]}` has {first[1]} rows, but `{other[0]}` has {other[1]}"
    return fault("G543", text, f"both are cut along `{size}`: they must have one row for each example")


def nothing_there(what: str) -> InputError:
    return fault("G543", f"there are no rows {what}")


def bad_share(value: object) -> InputError:
    return fault("G543", f"the share that is held out is a number between 0 and 1, not {value!r}", "for example 0.2")


def both_kinds() -> InputError:
    text = "validation data are given, and some of the data are to be held out as well"
    return fault("G543", text, "use one of `--valid` and `--hold-out`")


# ------------------------------------------------------------------ optimisers and lengths
def no_optimizer(name: str, known: Sequence[str]) -> InputError:
    return fault("G544", f"there is no optimiser `{name}`", did_you_mean(name, known) or f"there are {', '.join(known)}")


ARGUMENTS = "optimizer batch epochs steps of wrt valid hold_out seed params resume backend watcher".split()


def no_setting(name: str, setting: str, known: Sequence[str], others: Sequence[str]) -> InputError:
    hint = did_you_mean(setting, [*known, *ARGUMENTS]) or f"it has {', '.join(known)}"
    if others:
        hint = f"{' and '.join(others)} {'have' if len(others) > 1 else 'has'} it; {hint}"
    return fault("G544", f"the optimiser {name} has no setting `{setting}`", hint)


def bad_setting(name: str, setting: str, value: object, low: float, high: float, open: bool) -> InputError:
    top = "" if math.isinf(high) else f" and below {high:g}"
    text = f"`{setting}` of {name} is a number {'above' if open else 'from'} {low:g}{'' if open else ' on'}{top}, not {value!r}"
    return fault("G544", text)


def bad_seed(value: object) -> InputError:
    return fault("G508", f"a seed is a whole number from 0 on, not {value!r}")


def bad_length(what: str, value: object) -> InputError:
    return fault("G549", f"the number of {what} is a whole number from 1 on, not {value!r}")


def two_lengths() -> InputError:
    return fault("G549", "both a number of epochs and one of steps are given", "use one of `--epochs` and `--steps`")


# ------------------------------------------------------------------ what goes wrong on the way
class Diverged(InputError):
    """A fit that met a value that is not finite. `result` is that of the last good state."""

    result: Any = None


def diverged(what: str, step: int, kept: int | None, notes: Sequence[Diagnostic], program: Program) -> Diverged:
    """`kept` is the step whose state is kept."""
    said = (
        f"the parameters are those after step {kept}"
        if kept
        else "no step was made"
        if step == 1
        else "the parameters are the first ones"
    )
    hint = "a smaller learning rate often helps (`--lr`)" if not notes and step > 1 else ""
    text = f"{what} at step {step}: the fit ends"
    return Diverged([Diagnostic("G545", text, notes=(said,), help=hint), *notes], program.sources)


# ------------------------------------------------------------------ states
def no_file(path: str, reason: str) -> InputError:
    return fault("G520", f"cannot read {path}: {reason}", "`gradlang fit -o params.npz` writes a state to params.state.npz")


def no_state(path: str, reason: str) -> InputError:
    return fault(
        "G546", f"{path} is no state of a fit: {reason}", "`gradlang fit -o params.npz` writes one to params.state.npz"
    )


OTHER = {
    "optimizer": "the optimiser",
    "seed": "the seed",
    "size": "the size along which data are cut",
    "batch": "the batch",
    "hold_out": "the share that is held out",
    "program": "the program",
    "data": "the data",
    "names": "the parameters",
    "dtype": "the dtype",
    "backend": "the backend",
}


def other_run(what: str, before: object, now: object) -> InputError:
    plain = what in ("optimizer", "seed", "size", "batch", "hold_out", "dtype", "backend")
    values = f": {'all data' if before is None else before} then, {'all data' if now is None else now} now" if plain else ""
    text = f"this state is of another run: {OTHER[what]} {'are' if what in ('data', 'names') else 'is'} not the same{values}"
    hint = "to start anew from its parameters, give the file of these: `--params params.npz` (`params=` in Python)"
    return fault("G546", text, hint)


# ------------------------------------------------------------------ scipy
def no_scipy(what: str) -> InputError:
    return fault("G547", f"{what} needs scipy, which is not installed", "`pip install gradlang[opt]`")


def gave_up(name: str, reason: str) -> InputError:
    return fault("G547", f"the optimiser {name} gave up: {reason}", "try another one, or another start (`--params`)")


def no_ranges(name: str, parameter: str, others: Sequence[str]) -> InputError:
    return fault("G547", f"{name} does not keep to ranges, but `{parameter}` has one", f"{', '.join(others)} do")


def missing(names: Sequence[str]) -> InputError:
    return fault("G501", f"values are missing for {listed(names)}", "a vector holds all parameters that are fitted")


def wrong_vector(shape: tuple[int, ...], size: int) -> InputError:
    shown = f"an array [{', '.join(map(str, shape))}]" if shape else "a number"
    return fault("G503", f"the parameters are a vector [{size}], but {shown} is given", "`pack` makes it of values by name")


def whole_data_only(name: str, what: str) -> InputError:
    return fault("G547", f"{name} takes all data at every step: it has no {what}", "for batches there are adam, sgd, ...")


# ------------------------------------------------------------------ files
def unknown_log(path: str, kinds: Sequence[str]) -> InputError:
    return fault(
        "G548", f"the kind of {path} is not known", f"a learning curve is a {', '.join(kinds[:-1])} or {kinds[-1]} file"
    )


def one_file(path: str, first: str, second: str) -> InputError:
    return fault("G548", f"{path} is to hold both the {first} and the {second}", "give one of them another name")


def not_npz(path: str) -> InputError:
    return fault(
        "G548", f"parameters are kept in an .npz file, not in {path}", f"write `-o {path.rpartition('.')[0] or path}.npz`"
    )


def not_svg(path: str) -> InputError:
    return fault("G548", f"the picture of a curve is an .svg file, not {path}", "`--log` writes the numbers")
