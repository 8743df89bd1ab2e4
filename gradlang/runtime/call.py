"""Compiled functions: what `model.value_and_grad(...)` gives."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import isfinite
from operator import itemgetter
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, cast

from gradlang.backend.artifact import Artifact, Job
from gradlang.backend.module import generate
from gradlang.backend.names import PYTHON_RESERVED, Names
from gradlang.diagnostics import InputError
from gradlang.record import record
from gradlang.runtime.bind import Binder, by_name, fail
from gradlang.runtime.large import Large, large
from gradlang.runtime.load import failing, load, load_later
from gradlang.runtime.seen import AGAIN, Seen
from gradlang.runtime.seen import seen as seen_in

if TYPE_CHECKING:
    from gradlang.runtime.out import Out

FLOATS = {float}
GIVEN: Any = object()  # marks that no dict of values is given
NOTHING: Mapping[str, Any] = {}
WORDS = re.compile(r"\w+")
TOKENS = re.compile(r"""('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\w+)""")
ASSIGNED = re.compile(r"\s+(\w+) = (.+)")


@record
class Native:
    """That machine code may be made: what gives the job in the ops of loops, and within how many calls it must pay (None:
    it is wanted in any case), and by how many threads it is run."""

    job: Callable[[], Job]
    calls: int | None
    threads: int = 1


class Compiled:
    """A compiled function. Inputs are keywords, or one dict; results are Python floats and NumPy arrays of their own. Arrays
    for gradients may be given as `out`: a dict like that of the gradients, or one array for a single one.

    Raises InputError if values are missing, unknown, or of a wrong shape or kind."""

    __slots__ = ("__weakref__", "_artifact", "binder", "exact", "job", "native", "out", "pick", "raw", "seen")

    def __init__(
        self, job: Job, binder: Binder, artifact: Artifact | None = None, native: Native | None = None, exact: bool = False
    ) -> None:
        self.job, self.binder, self._artifact, self.native, self.exact = job, binder, artifact, native, exact
        self.out: Out | None = None
        self.seen: Seen | None = None  # of the last call that was checked
        self.pick: Callable[[Any], Any] = itemgetter(*[p.name for p in job.params]) if len(job.params) > 1 else lambda _: ()
        table = binder.program.language.table
        self.raw: Callable[..., Any]
        if artifact is None:
            self.raw = Large(job, table, exact)
        else:
            self.raw = load_later(artifact) if job.scalar else load(artifact)
        if artifact is not None and not job.scalar:
            from gradlang.plan.tiles import INNER, LEAST, OFTEN
            from gradlang.runtime.planned import PlannedProgram  # brings the planning of tiles

            self.raw = PlannedProgram(job, table, self.raw, *(OFTEN if job.often else (LEAST, INNER)))
        if native is not None:
            from gradlang.runtime.native.program import NativeProgram

            self.raw = NativeProgram(native.job, table, self.raw, job.params, native.calls, native.threads)

    @property
    def backend(self) -> str:
        """What runs: `python` (floats), `numpy` or `native`; for large scalar programs `machine`, `tape`, `groups` or `steps`
        (`Large.name`). Where it depends on the sizes of the arrays it is what the last call ran, and until then `auto`."""
        if self.native is not None:
            used: Any = self.raw
            return "native" if used.last is not None else "numpy" if used.versions.kept else "auto"
        return self.raw.name if isinstance(self.raw, Large) else self.artifact.language

    @property
    def artifact(self) -> Artifact:
        if self._artifact is None:
            self._artifact = generate(self.job, self.binder.program.language.table)
        return self._artifact

    @property
    def source(self) -> str:
        """The generated code."""
        return self.artifact.source

    def __call__(self, given: Mapping[str, Any] = GIVEN, /, **values: Any) -> Any:
        seen = self.seen
        if seen is not None:
            named = values if given is GIVEN else given if not values and type(given) is dict else NOTHING
            made = seen.quick(named)
            if made is not AGAIN:
                return made
            out = values.pop("out", GIVEN) if self.out is not None else GIVEN
            args = seen.args(named)
            if args:
                return self.whole(seen, args) if out is GIVEN else self.into(out, args)
            if out is not GIVEN:
                values["out"] = out
        return self.slow(given, values)

    def whole(self, seen: Seen, args: Sequence[Any]) -> Any:
        """A call like the one before it, with all that may go wrong; the next one goes straight to its code."""
        made = self.run(args)
        if seen.followed:
            seen.follow(self.raw)
            if self.native is not None:
                from gradlang.runtime.native.vectorcall import closes

                closes(self, Compiled)
        else:
            seen.follow(self.raw.step(args))  # type: ignore[attr-defined]
            self.go_straight(seen, args)
        return made

    def go_straight(self, seen: Seen, args: Sequence[Any]) -> None:
        """The next calls like this one go to their machine code without a line of Python before it, if there is a way."""
        used: Any = self.raw if self.native is not None else None
        version = used.versions.of(args) if used is not None else None  # not `last`, which may be of another thread's call
        if version is None or not version.takes(self.binder):
            return
        from gradlang.runtime.native.gate import opened

        opened(self, Compiled, checked, list(self.binder.types), seen, version)

    def slow(self, given: Any, values: Mapping[str, Any]) -> Any:
        """A call with every check."""
        if given is not GIVEN:
            values = {**by_name(given, program=self.binder.program), **values}
        if self.job.scalar:
            return self.raw(*self.scalars(values))
        if "out" in values and "out" not in self.binder.types:
            return self.into(values["out"], self.bound({name: value for name, value in values.items() if name != "out"}))
        return self.run(self.bound(values))

    def into(self, out: Any, args: Sequence[Any]) -> Any:
        """The value and `out`, into whose arrays the gradients go."""
        if self.out is None:
            from gradlang.runtime.out import Out

            self.out = Out(self.job, self.binder)
        arrays = self.out.arrays(out, args)
        value, slopes = self.run(args, arrays)
        for array, made in zip(arrays, slopes.values(), strict=True):
            if made is not array:
                array[...] = made
        return value, out

    def run(self, args: Sequence[Any], out: Sequence[Any] | None = None) -> Any:
        try:
            return self.raw(*args) if out is None else self.raw(*args, out=out)
        except InputError:
            raise
        except IndexError as error:
            text = f"an index is outside its array: {error}"
            raise fail("G506", text, self.binder.program, failing(self.artifact, args)) from None
        except ArithmeticError as error:
            hint = "try another start, or look whether the equation has a solution for these values"
            raise fail("G518", f"Newton's method fails: {error}", self.binder.program, None, hint) from None
        except (ValueError, MemoryError) as error:
            full = isinstance(error, MemoryError)
            text = "the arrays do not fit into memory" if full else f"there is no value for these sizes: {error}"
            raise fail("G517", text, self.binder.program) from None

    def bound(self, values: Mapping[str, Any]) -> list[Any]:
        args, _ = self.binder.bind(values)
        args = [a if t.shape or t.dtype != "real" else a[()] for a, t in zip(args, self.binder.types.values(), strict=True)]
        self.seen = seen_in(self.binder, values, args)
        return args

    def scalars(self, values: Mapping[str, Any]) -> Sequence[float]:
        if len(values) == len(self.job.params):  # all are given, as they should be: the usual case
            try:
                given = self.pick(values)
            except KeyError:
                given = ()
            if set(map(type, given)) == FLOATS:
                return given  # type: ignore[no-any-return]
        out = []
        for p in self.job.params:
            if p.name in values:
                out.append(self.binder.scalar(p.name, values[p.name]))
            elif p.default is not None:
                out.append(float(p.default))
            else:
                self.binder.bind(values)
                out.append(float(self.binder.bind(values)[0][list(self.binder.types).index(p.name)]))
        for name in values:
            if name not in self.binder.types:
                raise self.binder.unknown(str(name))
        return out

    @property
    def direct(self) -> Compiled:
        """The function as a bound method, which Python calls without the detour over `__call__`. It has the attributes of
        this object and pickles by its name here."""
        function = direct_call(self.artifact)
        function.__name__ = "direct"
        for name in ("artifact", "backend", "binder", "job", "raw", "source"):
            setattr(function, name, getattr(self, name))
        return cast(Compiled, MethodType(function, self))

    def __reduce__(self) -> tuple[object, ...]:
        return build, (self.job, self.binder, self.native, self.exact)

    def __repr__(self) -> str:
        names = ", ".join(p.name for p in self.job.params)
        return f"<gradlang {self.job.entry}({names}), {self.backend}>"


def checked(self: Compiled, /, *args: Any, **values: Any) -> Any:
    """A call with every check of a function that a gate stands before."""
    return Compiled.__call__(self, *args, **values)


def build(job: Job, binder: Binder, native: Native | None = None, exact: bool = False) -> Compiled:
    """A compiled function; a very large scalar program is run from its tape instead of being compiled, if `exact` with the bits
    of Python's floats."""
    if large(job, binder.program.language.table):
        return with_own_call(Compiled(job, binder, exact=exact))
    artifact = generate(job, binder.program.language.table)
    if native is None or job.scalar:
        return Compiled(job, binder, artifact)
    from gradlang.runtime.native.vectorcall import roomy

    made: Compiled = roomy(Compiled)(job, binder, artifact, native)
    return made


def with_own_call(made: Compiled) -> Compiled:
    """A large program, with a call of its own if it runs as machine code."""
    run = made.raw.keyword_call(GIVEN) if isinstance(made.raw, Large) else None
    if run is not None:
        made.__class__ = type("Compiled", (Compiled,), {"__slots__": (), "__call__": run, "__doc__": Compiled.__doc__})
    return made


def compiled(job: Job, binder: Binder, native: Native | None = None, exact: bool = False) -> Compiled:
    """What the user calls: for a small scalar program a function that takes floats straight to the formula, with `native` to
    machine code. For `exact` see `build`."""
    made = build(job, binder, native, exact)
    params = job.params
    if native is not None and params and isinstance(made.raw, Large):
        return in_machine_code(made, made, native)
    if made.backend != "python" or not params:
        return made
    plain = [p.name for p in params] == [p.identifier for p in made.artifact.params]
    function = made.direct if plain else made
    return function if native is None else in_machine_code(made, function, native)


class Lazy(partial[Any]):
    """A function whose source is generated when somebody asks for it."""

    made: Compiled

    def __getattr__(self, name: str) -> Any:
        if name in ("artifact", "source"):
            return getattr(self.made, name)
        raise AttributeError(name)


def in_machine_code(made: Compiled, function: Compiled, native: Native) -> Compiled:
    """A function of numbers as machine code, or `function` where there is none. It has the attributes of `function`, which it
    asks for what is no float and for errors."""
    from gradlang.runtime.native.engine import NativeError, available, refused
    from gradlang.runtime.native.program import note
    from gradlang.runtime.native.scalar import elsewhere_function, scalar_function

    binder, job = made.binder, made.job
    reason, run = available(), cast(Any, None)
    if reason is None:
        try:
            if isinstance(made.raw, Large):
                addresses = made.raw.addresses()
                run = None if addresses is None else elsewhere_function(job, addresses, binder.numbers(), function)
            else:
                run = scalar_function(native.job(), binder.program.language.table.own, binder.numbers(), function)
        except NativeError as error:
            if native.calls is None:
                raise refused(error) from error
            reason = str(error)
    if reason is not None and native.calls is not None:  # otherwise it was pickled elsewhere
        note(reason, "Python floats run")
    if run is None:
        return function
    if isinstance(made.raw, Large):
        run = Lazy(run.func, *run.args)
        run.made = made
    for name in ("binder", "job", "raw") if isinstance(made.raw, Large) else ("artifact", "binder", "job", "raw", "source"):
        setattr(run, name, getattr(made, name))
    run.backend, run.__doc__ = "native", Compiled.__doc__
    run.func.__self__.again = again = compiled, (job, binder, native)
    run.__reduce_ex__ = lambda protocol: again
    return cast(Compiled, run)


def direct_call(artifact: Artifact) -> FunctionType:
    """The body of the generated function as a method that first looks whether all arguments are floats. A default is known by
    its identity: what the caller gave is another object. Where Python's floats stop, the method leaves the call to `raw`."""
    lines = artifact.source.split("\n")
    heads = [k for k, line in enumerate(lines) if line.startswith("def ")]
    head, names = heads[0], [p.identifier for p in artifact.params]
    if len(heads) > 1:  # the second one is for IEEE arithmetic, and the first one ends in a call of it
        lines[heads[1] :] = []
        last = next(k for k in reversed(range(len(lines))) if lines[k])
        lines[last] = f"        return self.raw({', '.join(names)})"
    without_names(lines, head + 1)
    own = Names(PYTHON_RESERVED | set(WORDS.findall(artifact.source)))
    all_names, all_defaults, *each = [own.user(stem) for stem in ("names", "defaults", *(f"default_{n}" for n in names))]
    values = [repr(float(p.default)) if p.default is not None and isfinite(p.default) else "GIVEN" for p in artifact.params]
    others = [  # to ask for a class takes longer than to compare objects
        f"type({n}) is not float" if value == "GIVEN" else f"({n} is not {default} and type({n}) is not float)"
        for n, default, value in zip(names, each, values, strict=True)
    ]
    params = ", ".join(f"{n}={value}" for n, value in zip(names, values, strict=True))
    lines[head] = f"def {artifact.entry}(self, given=GIVEN, /, {params}, **unknown):"
    lines[head + 1 : head + 1] = [
        f"    if given is not GIVEN or unknown or {' or '.join(others)}:",
        f"        named = ({', '.join(names)},)",
        f"        own = {{k: v for k, v, d in zip({all_names}, named, {all_defaults}) if v is not d}}",
        "        return self.slow(given, {**unknown, **own})",
    ]
    namespace: dict[str, Any] = {"GIVEN": GIVEN, all_names: tuple(names)}
    exec(compile("\n".join(lines), f"<gradlang {artifact.entry}>", "exec"), namespace)
    function: FunctionType = namespace[artifact.entry]
    found = (function.__defaults__ or ())[1:]  # without that of `given`
    namespace[all_defaults] = found
    namespace.update(zip(each, found, strict=True))
    return function


def without_names(lines: list[str], start: int) -> None:
    """What a function of floats, whose body begins at a line, only returns is computed where it is returned: a name for it
    costs Python as much as half a product."""
    end = next(k for k in range(start, len(lines)) if lines[k].lstrip().startswith("return "))
    parts = TOKENS.split(lines[end])  # texts, which may be keys like the names, and words
    uses = Counter(word for line in lines[start:end] for word in WORDS.findall(line))
    uses.update(word for word in parts if word.isidentifier())
    made = {found[1]: (k, found[2]) for k in range(start, end) if (found := ASSIGNED.fullmatch(lines[k]))}
    gone = set()
    for at, word in enumerate(parts):
        if word in made and uses[word] == 2:  # there and here
            line, text = made[word]
            parts[at] = f"({text})"
            gone.add(line)
    lines[start : end + 1] = [*(lines[k] for k in range(start, end) if k not in gone), "".join(parts)]
