"""The values of a call: names to arrays of the right kind and shape, sizes bound, defaults filled in."""

from __future__ import annotations

import operator
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gradlang import types
from gradlang.check.errors_promises import given_outside
from gradlang.check.program import Initializer, Leaf, Program
from gradlang.diagnostics import Diagnostic, InputError, did_you_mean
from gradlang.source import Span
from gradlang.types import Dim, Size, Type, show_shape

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def fail(code: str, message: str, program: Program | None, span: Span | None = None, help: str = "") -> InputError:
    return InputError([Diagnostic(code, message, span, help=help)], program.sources if program is not None else None)


class Binder:
    """Binds the values of a call for one compiled function. `extra` are arguments that are no leaves (name -> type)."""

    def __init__(
        self,
        program: Program,
        leaves: tuple[Leaf, ...],
        extra: tuple[tuple[str, Type], ...] = (),
        dtype: str = "float64",
        seed: int = 0,
    ) -> None:
        self.program, self.leaves, self.extra, self.dtype, self.seed = program, leaves, extra, dtype, seed
        self.types = {**dict(extra), **{leaf.name: leaf.type for leaf in leaves}}
        self.by_name = {leaf.name: leaf for leaf in leaves}

    def unknown(self, name: str) -> InputError:
        known = list(self.types)
        if name == "out":
            text = "`out` receives gradients that are arrays, and this function gives none"
            return fail("G525", text, self.program, None, "each call gives results of its own")
        elsewhere = name in self.program.values
        if elsewhere:
            role = self.program.leaves[name].role if name in self.program.leaves else ""
            why = "is a constant" if role == "const" else "is a definition, not an input"
            return fail(
                "G502",
                f"`{name}` {why}: it cannot be given",
                self.program,
                None,
                f"inputs are {', '.join(known)}" if known else "",
            )
        return fail(
            "G502",
            f"there is no input named `{name}`",
            self.program,
            None,
            did_you_mean(name, known) or (f"inputs are {', '.join(known)}" if known else "this program has no inputs"),
        )

    def scalar(self, name: str, value: Any) -> float:
        """A number for a scalar argument."""
        if type(value) is float:
            return value
        if isinstance(value, (bool, int, float)):
            try:
                return float(value)
            except OverflowError:
                raise fail("G504", f"the value of `{name}` is too large for a float", self.program, self.span(name)) from None
        array = self.array(name, value)
        if array.shape != ():
            raise self.misfit(name, array.shape)
        return float(array)

    def span(self, name: str) -> Span | None:
        return self.by_name[name].span if name in self.by_name else None

    def shown(self, name: str) -> str:
        """What an argument is called in a message."""
        stem, _, of = name.partition("_")
        if name in self.by_name or stem not in ("upstream", "v"):
            return f"`{name}`"
        return f"the upstream derivative of `{of}`" if stem == "upstream" else f"the vector for `{of}`"

    def misfit(self, name: str, got: tuple[int, ...], because: str = "") -> InputError:
        wanted = self.types[name].shape
        shown = show_shape(wanted) if wanted else "a scalar"
        have = f"an array {show_shape(got)}" if got else "a single number"
        return fail("G503", f"{self.shown(name)} must be {shown}, but {have} is given{because}", self.program, self.span(name))

    def numeric(self, name: str, value: Any) -> NDArray[Any]:
        """A value as an array of whatever kind of numbers it holds."""
        import numpy as np

        masks = sys.modules.get("numpy.ma")  # which NumPy brings when somebody asks for it, as the maker of masks has
        if masks is not None and isinstance(value, masks.MaskedArray) and masks.is_masked(value):
            help = "leave them out, or put a number in their place, for example with `.filled(0)`"
            raise fail("G504", f"entries of {self.shown(name)} are masked", self.program, self.span(name), help)
        try:
            array = np.asarray(value)
        except (ValueError, TypeError, OverflowError):
            raise fail(
                "G504",
                f"the value of {self.shown(name)} is no array of numbers: its rows differ",
                self.program,
                self.span(name),
            ) from None
        if array.dtype.kind == "O" and array.size and all(type(x) in (int, float, bool) for x in array.flat):
            try:
                return array.astype(float)  # whole numbers that no machine integer holds
            except OverflowError:
                raise fail("G504", f"the value of `{name}` is too large for a float", self.program, self.span(name)) from None
        if array.dtype.kind not in "biuf":
            shown = (
                "text"
                if array.dtype.kind in "US"
                else "complex numbers"
                if array.dtype.kind == "c"
                else f"{type(value).__name__}"
            )
            raise fail("G504", f"{self.shown(name)} must be numbers, but {shown} is given", self.program, self.span(name))
        return array

    def array(self, name: str, value: Any) -> NDArray[Any]:
        """An array of the right kind; never the caller's own unless it fits as it is (generated code only reads it)."""
        import numpy as np

        kind = self.types[name].dtype
        array = self.numeric(name, value)
        if kind == "int":
            largest = np.float64(2**53)
            whole = array.dtype.kind != "f" or bool(np.all(np.abs(array) < largest) and np.all(array == np.floor(array)))
            if not whole or (array.dtype.kind == "u" and array.size and array.max() >= 2**63):
                raise fail("G504", f"`{name}` must be whole numbers", self.program, self.span(name))
            return array.astype(np.int64) if array.dtype != np.int64 else array
        if kind == "bool" and array.dtype.kind != "b" and not np.all((array == 0) | (array == 1)):
            raise fail("G504", f"`{name}` must be true or false (or 0 and 1)", self.program, self.span(name))
        if kind == "bool":
            return array.astype(np.bool_) if array.dtype != np.bool_ else array
        return array if array.dtype == self.dtype else self.real(name, array)

    def real(self, name: str, array: NDArray[Any]) -> NDArray[Any]:
        """The numbers in the width of the program's reals."""
        import numpy as np

        try:
            with np.errstate(over="raise", under="ignore"):
                return array.astype(self.dtype)
        except FloatingPointError:
            text = f"{self.shown(name)} has a number that is too large for {np.dtype(self.dtype).name}"
            help = f"the largest is {float(np.finfo(self.dtype).max):.2g}; use float64"
            raise fail("G504", text, self.program, self.span(name), help) from None

    def how_to_give(self, missing: list[str]) -> str:
        if missing[0] not in self.by_name:
            return "give it in the dict of vectors"
        files = "; the commands read files with `--data`" if any(self.types[n].shape for n in missing) else ""
        return f"give {'it' if len(missing) == 1 else 'them'}: " + ", ".join(f"`{n}=...`" for n in missing) + files

    def bind(self, given: Mapping[str, Any]) -> tuple[list[Any], dict[str, int]]:
        """The arguments in the order of the generated function, and the sizes."""
        import numpy as np

        for name in by_name(given, program=self.program):
            if name not in self.types:
                raise self.unknown(str(name))
        arrays: dict[str, Any] = {n: self.array(n, given[n]) for n in self.types if n in given}
        missing = [leaf.name for leaf in self.leaves if leaf.required and leaf.name not in given]
        missing += [n for n, _ in self.extra if n not in given]
        if missing:
            names = ", ".join(self.shown(n) for n in missing)
            raise fail(
                "G501",
                f"{'a value is' if len(missing) == 1 else 'values are'} missing for {names}",
                self.program,
                self.span(missing[0]),
                self.how_to_give(missing),
            )
        sizes: dict[str, int] = {}
        thin = [n for n, t in self.extra if t.shape and arrays[n].ndim == 0]
        self.sizes_of({n: a for n, a in arrays.items() if n not in thin}, sizes)
        self.sizes_of(
            {
                leaf.name: np.asarray(leaf.default)
                for leaf in self.leaves
                if leaf.name not in arrays and isinstance(leaf.default, tuple) and np.ndim(leaf.default) == leaf.type.rank
            },
            sizes,
        )
        for leaf in self.leaves:
            if leaf.name not in arrays:
                arrays[leaf.name] = self.default(leaf, sizes)
        self.sizes_of({n: a for n, a in arrays.items() if n not in thin}, sizes)
        for n in thin:
            shape = tuple(self.value(d, sizes, n) for d in self.types[n].shape)
            if min(shape, default=0) < 0:
                self.requirements(sizes)
                text = f"there is no value for these sizes: {self.shown(n)} would have the shape {show_shape(shape)}"
                raise fail("G517", text, self.program)
            arrays[n] = np.broadcast_to(arrays[n], shape)
        self.compare(arrays, sizes)
        self.requirements(sizes)
        return [arrays[n] for n in self.types], sizes

    # -------------------------------------------------------------- sizes
    def sizes_of(self, arrays: Mapping[str, NDArray[Any]], sizes: dict[str, int]) -> None:
        for plain in (True, False):
            for name, array in arrays.items():
                shape = self.types[name].shape
                if len(shape) != array.ndim:
                    raise self.misfit(name, array.shape)
                for dim, got in zip(shape, array.shape, strict=True):
                    found = dim.linear() if isinstance(dim, Size) else None
                    if found is None or found[0] in sizes or (plain and found[1:] != (1, 0)):
                        continue
                    size, rest = divmod(got - found[2], found[1])
                    if rest or size < 0:
                        raise self.misfit(name, array.shape)
                    sizes[found[0]] = size

    def compare(self, arrays: Mapping[str, NDArray[Any]], sizes: dict[str, int]) -> None:
        for name, array in arrays.items():
            wanted = tuple(self.value(d, sizes, name) for d in self.types[name].shape)
            if wanted != array.shape:
                known = ", ".join(
                    f"{n} = {v}"
                    for n, v in sizes.items()
                    if any(isinstance(d, Size) and n in d.names() for d in self.types[name].shape)
                )
                raise self.misfit(name, array.shape, f" ({known})" if known else "")

    def value(self, dim: Dim, sizes: Mapping[str, int], name: str) -> int:
        try:
            return types.value(dim, sizes)
        except KeyError as error:
            raise fail(
                "G505",
                f"the size `{error.args[0]}` is not known: no array that is given has it",
                self.program,
                self.program.sizes.get(error.args[0]) or self.span(name),
                f"write `const {error.args[0]} = ...` or give an array with this size",
            ) from None

    def requirements(self, sizes: Mapping[str, int]) -> None:
        for dim, low, span, wrong in self.program.requirements:
            if all(n in sizes for n in (dim.names() if isinstance(dim, Size) else ())) and types.value(dim, sizes) < low:
                known = ", ".join(f"{n} = {v}" for n, v in sizes.items() if isinstance(dim, Size) and n in dim.names())
                raise fail("G506", f"{wrong} for {known or 'all sizes'}", self.program, span)

    # -------------------------------------------------------------- defaults
    def default(self, leaf: Leaf, sizes: dict[str, int]) -> NDArray[Any]:
        import numpy as np

        dtype = {"real": self.dtype, "int": "int64", "bool": "bool"}[leaf.type.dtype]
        if isinstance(leaf.default, Initializer):
            shape = tuple(self.value(d, sizes, leaf.name) for d in leaf.type.shape)
            return initialize(leaf.default, leaf.name, shape, self.seed).astype(dtype)
        if leaf.default_node is not None:
            from gradlang.ir.evaluate import value_of

            try:
                made = np.asarray(value_of(self.program, leaf.default_node, sizes), dtype)
            except KeyError as error:
                self.value(types.size(str(error.args[0])), sizes, leaf.name)
                raise
        else:
            made = np.asarray(leaf.default, dtype)
        if made.ndim < leaf.type.rank:
            made = np.broadcast_to(made, tuple(self.value(d, sizes, leaf.name) for d in leaf.type.shape))
        return made

    def numbers(self) -> list[float | None]:
        """The defaults of scalar arguments, in the order of the generated function; None for what must be given."""
        found: list[float | None] = []
        for name in self.types:
            leaf = self.by_name.get(name)
            try:
                found.append(None if leaf is None or leaf.required else float(self.default(leaf, {})))
            except (InputError, OverflowError):  # the call tells
                found.append(None)
        return found


def by_name(given: Any, what: str = "inputs", program: Program | None = None) -> Mapping[str, Any]:
    """Values that a caller gives in one dict. Raises InputError if they are no mapping."""
    if not isinstance(given, Mapping):
        raise fail("G507", f"{what} are given by name, or as one dict", program, None, "for example `f(x=1.0)`")
    return given


def whole(value: Any, low: int) -> int | None:
    """A whole number from `low` on, of Python or of NumPy, as one of Python; None for anything else."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        return None
    try:
        number = operator.index(value)
    except TypeError:  # an array
        return None
    return number if number >= low else None


def outside(program: Program, given: Mapping[str, Any]) -> list[Diagnostic]:
    """Warnings of values that are outside the range of their input, one for each input; defaults that had to be computed
    are looked at as well."""
    import numpy as np

    found = []
    for leaf in program.callable_leaves():
        if leaf.range is None or (leaf.name not in given and leaf.default_node is None):
            continue
        if leaf.name in given:
            array = np.asarray(given[leaf.name])
        else:
            from gradlang.ir.evaluate import value_of

            try:
                array = np.asarray(value_of(program, leaf.default_node or 0, {}))
            except KeyError:  # its size is that of another array
                continue
        low, high = leaf.range
        wrong = ~((array >= low) & (array <= high))
        if np.any(wrong):
            at = np.unravel_index(int(np.argmax(wrong)), array.shape)
            name = leaf.name + (f"[{', '.join(str(int(i)) for i in at)}]" if array.ndim else "")
            found.append(given_outside(name, float(array[at]), low, high, leaf.span))
    return found


def initialize(how: Initializer, name: str, shape: tuple[int, ...], seed: int) -> np.ndarray[Any, Any]:
    """The values of a parameter. Each parameter has a stream of its own, so their order does not matter.

    `he` is normal(0, sqrt(2/fan_in)) (He et al., 2015), `xavier` normal(0, sqrt(1/fan_in)) as in "Deep Learning from
    Scratch" (Glorot and Bengio, 2010); fan_in is the first size of a matrix [in, out], and for filters [out, in, height,
    width] the product of all sizes but the first."""
    import math
    import zlib

    import numpy as np

    stream = np.random.default_rng([seed, zlib.crc32(name.encode())])
    fan_in = max(shape[0] if len(shape) in (1, 2) else math.prod(shape[1:]), 1)
    if how.kind == "uniform":
        return stream.uniform(how.args[0], how.args[1], shape)
    if how.kind in ("zeros", "ones"):
        return np.full(shape, float(how.kind == "ones"))
    mean, std = how.args if how.kind == "normal" else (0.0, (2 / fan_in) ** 0.5 if how.kind == "he" else fan_in**-0.5)
    return mean + std * stream.standard_normal(shape)
