"""The Python interface: `load`, `loads` and `Model`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradlang import pipeline
from gradlang.check.program import Initializer, Leaf, Program
from gradlang.diagnostics import Diagnostic, InputError, did_you_mean
from gradlang.fit.interface import Fitting
from gradlang.pipeline import Goal
from gradlang.record import changed, record
from gradlang.runtime.bind import Binder, by_name, whole
from gradlang.runtime.call import GIVEN, NOTHING, Compiled, Native, compiled
from gradlang.runtime.large import large
from gradlang.types import Shape
from gradlang.view.interface import Viewing

if TYPE_CHECKING:
    import networkx as nx

    from gradlang.backend.artifact import Job
    from gradlang.prove.numerical import Numerical
    from gradlang.prove.report import Report
    from gradlang.runtime.products import Layer, Product
    from gradlang.runtime.sparse import SparseMatrix


Names = str | Iterable[str] | None
CALLS = 1000  # within which machine code has to pay


@record
class Info:
    """What is known of an input, parameter or output: `shape` holds whole numbers and sizes (as text where symbolic)."""

    name: str
    shape: tuple[int | str, ...]
    dtype: str
    default: Any = None
    label: str | None = None
    unit: str | None = None
    range: tuple[float, float] | None = None


@record
class Objective:
    """What a program asks to make small or large: `minimize` or `maximize`, and the name of the value."""

    kind: str
    name: str


def _shape(shape: Shape) -> tuple[int | str, ...]:
    return tuple(d if isinstance(d, int) else str(d) for d in shape)


def _product(made: Compiled, single: str | None, vectors: int) -> Product:
    from gradlang.runtime.products import Product

    return Product(made, single, vectors)


class Model(Fitting, Viewing):
    """A program: its inputs, parameters and outputs, and the functions that are compiled from it.

    A model is called like a function, with inputs as keywords or one dict, and gives the output, or a dict of outputs if
    there are several. Parameters that are not given are made by their initialisers from `seed`."""

    def __init__(
        self,
        program: Program,
        dtype: str = "float64",
        seed: int = 0,
        backend: str = "auto",
        calls: int = CALLS,
        threads: int = 1,
    ) -> None:
        """`backend` is what `auto` stands for in the calls of this model; `calls`, within how many calls of a function
        machine code has to pay to be made; `threads`, on how many threads machine code runs where a function is not told."""
        if dtype not in ("float64", "float32"):
            raise InputError([Diagnostic("G508", f"`{dtype}` is no number type", help="float64 or float32")])
        if (number := whole(seed, 0)) is None:
            raise InputError([Diagnostic("G508", f"a seed is a whole number from 0 on, not {seed!r}")])
        self.program, self.dtype, self.seed, self.backend, self.calls = program, dtype, number, backend, calls
        self.threads = _threads(threads)
        self._compiled: dict[tuple[Goal, str, int], Compiled] = {}

    # -------------------------------------------------------------- what it is
    def _info(self, leaf: Leaf) -> Info:
        default = None if isinstance(leaf.default, Initializer) else leaf.default
        if isinstance(default, int) and not isinstance(default, bool):
            default = float(default)
        return Info(leaf.name, _shape(leaf.type.shape), leaf.type.dtype, default, leaf.label, None, leaf.range)

    @property
    def inputs(self) -> dict[str, Info]:
        return {n: self._info(leaf) for n, leaf in self.program.leaves.items() if leaf.role == "input"}

    @property
    def params(self) -> dict[str, Info]:
        return {n: self._info(leaf) for n, leaf in self.program.leaves.items() if leaf.role == "param"}

    @property
    def outputs(self) -> dict[str, Info]:
        out = {}
        for n in self.program.outputs:
            type = self.program.nodes[self.program.values[n]].type
            out[n] = Info(n, _shape(type.shape), type.dtype, label=self.program.labels.get(n))
        return out

    @property
    def objective(self) -> Objective | None:
        """The objective of the program (`minimize loss`), or None."""
        for asked in self.program.asked:
            if asked.kind in ("minimize", "maximize"):
                return Objective(asked.kind, asked.name)
        return None

    @cached_property
    def graph(self) -> nx.MultiDiGraph[int]:
        """The program as the user wrote it: a networkx MultiDiGraph, see `docs/graph.md`."""
        from gradlang.graph.dag import dag_of

        return dag_of(self.program)

    # -------------------------------------------------------------- functions
    def _names(self, names: Names, what: str, known: Iterable[str]) -> tuple[str, ...]:
        known = known if isinstance(known, dict) else list(known)
        if names is not None and not isinstance(names, (str, Iterable)):
            raise InputError([Diagnostic("G509", f"a {what} is named by a text or a list of texts, not {names!r}")])
        chosen = tuple(known) if names is None else (names,) if isinstance(names, str) else tuple(map(str, names))
        if not chosen:
            raise InputError([Diagnostic("G509", f"no {what} is named", help=f"there are {', '.join(known)}")])
        for n in chosen:
            if n not in known:
                raise InputError(
                    [
                        Diagnostic(
                            "G509", f"no {what} is named `{n}`", help=did_you_mean(n, known) or f"there are {', '.join(known)}"
                        )
                    ]
                )
        return chosen

    def _one(self, of: str | None) -> str:
        if of is None:
            if len(self.program.outputs) != 1 and self.objective is not None:
                return self.objective.name
            if len(self.program.outputs) != 1:
                text = "this program has several outputs: name the one that is meant"
                help = f"outputs are {', '.join(self.program.outputs)}; for a command `--of {self.program.outputs[0]}`"
                raise InputError([Diagnostic("G510", text, help=help)])
            return self.program.outputs[0]
        return self._names(of, "definition", self.program.values)[0]

    def _wrt(self, wrt: Names, of: str) -> tuple[str, ...]:
        if wrt is None:
            return tuple(self.program.differentiable())
        names = self._names(wrt, "value", self.program.values)
        for n in names:
            leaf = self.program.leaves.get(n)
            type = self.program.nodes[self.program.values[n]].type
            if type.dtype != "real" or (leaf is not None and not leaf.differentiable):
                why = "a constant" if leaf is not None and leaf.role == "const" else f"of type {type}"
                raise InputError([Diagnostic("G402", f"there is no derivative with respect to `{n}`: it is {why}")])
        return names

    def compile(self, goal: Goal, backend: str = "auto", threads: int | None = None) -> Compiled:
        """The compiled function of a goal; compiled once."""
        if backend not in ("auto", "numpy", "native"):
            raise InputError([Diagnostic("G511", f"there is no backend `{backend}`", help="auto, numpy or native")])
        backend = self.backend if backend == "auto" else backend
        threads = self.threads if threads is None else _threads(threads)
        found = self._compiled.get((goal, backend, threads))
        if found is None:
            origin = Path(self.program.sources.files[0].path).name if self.program.sources.files else "a graph"
            with pipeline.uncollected():
                job = pipeline.plan(self.program, goal, self.program.language, origin)
            leaves = self.program.callable_leaves()
            names = {leaf.name for leaf in leaves}
            extra = tuple((p.name, p.type) for p in job.params if p.name not in names)
            binder = Binder(self.program, tuple(leaves), extra, self.dtype, self.seed)
            if large(job, self.program.language.table):  # it is machine code in any case where it can be
                unwanted = backend != "native" or find_spec("llvmlite") is None
            else:
                unwanted = self._floats(job, backend) if job.scalar else backend == "numpy"
            native = None if unwanted else self._native(goal, origin, backend, threads)
            found = self._compiled[goal, backend, threads] = compiled(job, binder, native, backend == "numpy")
        return found

    def _floats(self, job: Job, backend: str) -> bool:
        """Whether a program of numbers is not to become machine code by LLVM, which takes longer than a thousand calls gain."""
        if backend != "auto":
            return backend == "numpy"
        from gradlang.plan.cost import floats_pay

        return not floats_pay(job.tape, self.calls)

    def _native(self, goal: Goal, origin: str, backend: str, threads: int) -> Native | None:
        """How machine code is made of a goal, or None if there is no compiler and `auto` does without."""
        reason = "llvmlite is not installed" if find_spec("llvmlite") is None else None
        if reason is None and backend == "native":
            from gradlang.runtime.native import available

            reason = available()
        if reason is None:
            job = partial(pipeline.plan, self.program, goal, self.program.language, origin, native=True)
            return Native(job, self.calls if backend == "auto" else None, threads)
        if backend == "native":
            missing = find_spec("llvmlite") is None
            help = ("install it (`pip install gradlang[native]`), or " if missing else "") + 'use backend="numpy"'
            raise InputError([Diagnostic("G511", f"there is no native backend here: {reason}", help=help)])
        return None

    def __call__(self, given: Mapping[str, Any] = GIVEN, /, **values: Any) -> Any:
        return self.function()(given, **values)

    def function(
        self, of: Names = None, backend: str = "auto", checkpoint: bool = False, threads: int | None = None
    ) -> Compiled:
        """The value of a definition, or a dict of several; without an argument, of all outputs. For `checkpoint` and
        `threads` see `value_and_grad`."""
        names = self.program.outputs if of is None else self._names(of, "definition", self.program.values)
        return self.compile(Goal("value", tuple(names), (), self.dtype, checkpoint=checkpoint), backend, threads)

    def value_and_grad(
        self,
        of: str | None = None,
        wrt: Names = None,
        backend: str = "auto",
        checkpoint: bool = False,
        threads: int | None = None,
    ) -> Compiled:
        """A function that gives the scalar `of` and a dict of its gradients, in the order of `wrt` (default: every
        differentiable leaf), each shaped like its leaf.

        With `checkpoint` a recurrence of n steps, of which sums and single entries are used, keeps about sqrt(n) states
        instead of n and computes the others twice; all other recurrences are as without.

        With more than one of `threads` (default: those of the model) machine code runs long loops in parts on so many threads.
        How a loop is cut depends on sizes alone: the result has the same bits for any number of threads but 1, with which
        sums are added up in another order. What is no machine code, and what takes less than a tenth of a millisecond, runs
        as with one."""
        name = self._one(of)
        self._scalar(name)
        return self.compile(Goal("grad", (name,), self._wrt(wrt, name), self.dtype, checkpoint=checkpoint), backend, threads)

    def _scalar(self, name: str) -> None:
        type = self.program.nodes[self.program.values[name]].type
        if type.shape or type.dtype != "real":
            raise InputError(
                [Diagnostic("G401", f"a gradient needs a scalar, but `{name}` is {type}", help="use vjp or jvp, or sum it")]
            )

    def vjp(
        self,
        of: str | None = None,
        wrt: Names = None,
        backend: str = "auto",
        checkpoint: bool = False,
        threads: int | None = None,
    ) -> Product:
        """g(u, **inputs) -> (value, u times the Jacobian): an array for one name, a dict for several. For `checkpoint` and
        `threads` see `value_and_grad`."""
        made = self._goal("vjp", of, wrt, backend, threads, checkpoint)
        return _product(made, wrt if isinstance(wrt, str) else None, 1)

    def jvp(self, of: str | None = None, wrt: Names = None, backend: str = "auto", threads: int | None = None) -> Product:
        """g(v, **inputs) -> (value, the Jacobian times v); v is an array for one name, a dict for several."""
        made = self._goal("jvp", of, wrt, backend, threads)
        return _product(made, None, len(made.binder.extra))

    def hvp(self, of: str | None = None, wrt: Names = None, backend: str = "auto", threads: int | None = None) -> Product:
        """g(v, **inputs) -> (value, the Hessian times v)."""
        self._scalar(self._one(of))
        made = self._goal("hvp", of, wrt, backend, threads)
        return _product(made, wrt if isinstance(wrt, str) else None, len(made.binder.extra))

    def _goal(
        self, kind: str, of: str | None, wrt: Names, backend: str, threads: int | None, checkpoint: bool = False
    ) -> Compiled:
        name = self._one(of)
        return self.compile(Goal(kind, (name,), self._wrt(wrt, name), self.dtype, checkpoint=checkpoint), backend, threads)

    def jacobian(
        self, of: str | None = None, wrt: Names = None, backend: str = "auto", sparse: bool = False, threads: int | None = None
    ) -> Compiled | SparseMatrix:
        """A function that gives the Jacobian of `of`, with the axes of `of` first: an array for one name, a dict of them
        for a list of names (default: every differentiable leaf). With `sparse` a scipy.sparse CSR matrix, by one name."""
        name = self._one(of)
        goal = Goal("jacobian", (name,), self._wrt(wrt, name), self.dtype, isinstance(wrt, str))
        return self._matrix(goal, backend, sparse, threads)

    def hessian(
        self, of: str | None = None, wrt: Names = None, backend: str = "auto", sparse: bool = False, threads: int | None = None
    ) -> Compiled | SparseMatrix:
        """A function that gives the second derivatives of the scalar `of`: an array, of the shape of `wrt` twice, for one
        name, a dict of dicts of them for a list of names. With `sparse` a scipy.sparse CSR matrix, by one name."""
        name = self._one(of)
        self._scalar(name)
        goal = Goal("hessian", (name,), self._wrt(wrt, name), self.dtype, isinstance(wrt, str))
        return self._matrix(goal, backend, sparse, threads)

    def _matrix(self, goal: Goal, backend: str, sparse: bool, threads: int | None) -> Compiled | SparseMatrix:
        if not sparse:
            return self.compile(goal, backend, threads)
        from gradlang.runtime.sparse import SparseMatrix

        if not goal.alone:
            raise InputError([Diagnostic("G512", "a sparse matrix is by one name", help='for example `wrt="x"`')])
        offsets = pipeline.offsets_of(self.program, goal, self.program.language)
        values = self.program.values
        rank = self.program.nodes[values[(goal.of if goal.kind == "jacobian" else goal.wrt)[0]]].type.rank
        return SparseMatrix(self.compile(changed(goal, offsets=offsets), backend, threads), offsets, rank)

    def births(self, values: Mapping[str, Any]) -> list[Diagnostic]:
        """Notes on where, for inputs with these values, a nan or an infinity comes from."""
        from gradlang.view.birth import births

        return births(self, values)

    def layer(self, of: str | None = None) -> Layer:
        """The layer interface of the book: `forward(**inputs)`, then `backward(upstream)`."""
        name = self._one(of)
        from gradlang.runtime.products import Layer

        return Layer(self.function(name), self.vjp(name))

    def check(self, given: Mapping[str, Any] = NOTHING) -> Report:
        """The report of `gradlang check`, at the values given and made-up ones for the others."""
        from gradlang.prove.report import check_model

        return check_model(self, by_name(given, program=self.program))

    def gradient_check(self, given: Mapping[str, Any] = NOTHING, of: str | None = None, rows: int | None = 3) -> Numerical:
        """The gradient check of "Deep Learning from Scratch", on the first `rows` of the data (None: all): for each parameter
        the mean absolute difference of central differences and backpropagation, and a relative error in higher precision.

        Raises InputError if the program has no objective or parameters, or the values do not fit it."""
        from gradlang.fit.batches import first_rows
        from gradlang.fit.parameters import objective
        from gradlang.prove.numerical import numerical

        name = objective(self.program, of)[0]
        names = [n for n, leaf in self.params.items() if leaf.dtype == "real"]
        if not names:
            raise InputError([Diagnostic("G541", "this program has no parameters", help="a gradient check compares theirs")])
        cut, where = (given, "") if rows is None else first_rows(self.program, given, names, rows)
        return numerical(self, name, tuple(names), cut, where)

    def __reduce__(self) -> tuple[object, ...]:
        return Model, (self.program, self.dtype, self.seed, self.backend, self.calls, self.threads)

    def __repr__(self) -> str:
        leaves = ", ".join(n for n, leaf in self.program.leaves.items() if leaf.role != "const")
        return f"<gradlang model: {', '.join(self.program.outputs)} of {leaves}>"


def _threads(given: object) -> int:
    if (number := whole(given, 1)) is None:
        raise InputError([Diagnostic("G508", f"`threads` is a whole number from 1 on, not {given!r}")])
    return number
