"""Arrays of the caller that receive the gradients of a call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from weakref import ref

from gradlang.backend.artifact import Job, Returns
from gradlang.diagnostics import InputError, did_you_mean
from gradlang.runtime.bind import Binder, fail
from gradlang.runtime.sizes import Sizes
from gradlang.types import show_shape, value

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Out:
    """Which arrays a compiled function writes its gradients into, if the caller gives them.

    Raises InputError if the function gives no gradients that are arrays."""

    def __init__(self, job: Job, binder: Binder) -> None:
        import numpy as np

        self.np, self.binder = np, binder
        slopes = job.returns.parts[1] if job.returns.kind == "pair" else None
        if not isinstance(slopes, Returns) or job.scalar:
            raise binder.unknown("out")
        at = dict(job.tape.outputs)
        self.shapes = {key: job.tape.instrs[at[name]].type.shape for key, name in slopes.parts}
        self.dtype = np.dtype(job.dtype)
        self.sizes = Sizes(job.params)
        self.last: tuple[list[int], list[ref[Any]]] = [], []  # the arrays of the call before this one, as long as all live
        self.kinds: list[tuple[object, object]] = []  # shapes and types of the gradients' arrays then
        self.given: list[Any] = []  # shapes of the arguments' arrays then

    def wrong(self, text: str, help: str) -> InputError:
        return fail("G525", text, self.binder.program, None, help)

    def arrays(self, out: Any, args: Sequence[Any]) -> list[NDArray[Any]]:
        """The arrays for the gradients, in their order, if they fit those of a call with `args`.

        Raises InputError if there is one too few or too many, or one of another shape or dtype, that is not contiguous or not
        writable, or shares its memory with an argument or with another one."""
        found: list[Any]
        if type(out) is dict and out.keys() == self.shapes.keys():
            found = [out[name] for name in self.shapes]
        elif isinstance(out, self.np.ndarray) and len(self.shapes) == 1:
            found = [out]
        elif isinstance(out, Mapping):
            found = self.named(out)
        else:
            raise self.wrong(
                f"`out` must be a dict of arrays, not {type(out).__name__}", f"gradients are of {', '.join(self.shapes)}"
            )
        array = self.np.ndarray
        taken = [a for a in args if type(a) is array]
        ids = [id(a) for a in (*taken, *found)]
        if (
            ids == self.last[0]
            and self.given == [a.shape for a in taken]
            and all(a.flags.carray and (a.shape, a.dtype) == kind for a, kind in zip(found, self.kinds, strict=True))
        ):  # arrays may be frozen, and take other shapes and types
            return found
        self.last = [], []
        self.fit(found, args)
        every = [*args, *found]
        if all(type(a) in (array, self.np.float64) for a in every):  # numbers share no memory
            self.last = ids, [ref(a, self.forget) for a in every if type(a) is array]
            self.kinds, self.given = [(a.shape, a.dtype) for a in found], [a.shape for a in taken]
        return found

    def forget(self, _: object) -> None:
        """An array is gone: another one may come to its address."""
        self.last = [], []

    def fit(self, found: Sequence[Any], args: Sequence[Any]) -> None:
        sizes = self.sizes.named(self.sizes.key(args))
        for (name, shape), array in zip(self.shapes.items(), found, strict=True):
            wanted = tuple(value(d, sizes) for d in shape)
            if not isinstance(array, self.np.ndarray):
                raise self.wrong(
                    f"`out` for `{name}` must be an array, not {type(array).__name__}", "for example `np.empty(...)`"
                )
            if array.shape != wanted:
                text = f"`out` for `{name}` must have the shape {show_shape(wanted)}, not {show_shape(array.shape)}"
                raise self.wrong(text, "gradients have the shapes of what they are taken by")
            if array.dtype != self.dtype:
                text = f"`out` for `{name}` must be an array of {self.dtype}, not of {array.dtype}"
                raise self.wrong(text, "nothing is converted on the way")
            if not array.flags.carray:
                lacks = "writable" if not array.flags.writeable else "contiguous, in C order"
                raise self.wrong(f"`out` for `{name}` must be {lacks}", "for example `np.empty(...)`")
        self.apart(found, args)

    def named(self, out: Mapping[str, Any]) -> list[Any]:
        for name in out:
            if name not in self.shapes:
                help = did_you_mean(str(name), list(self.shapes)) or f"gradients are of {', '.join(self.shapes)}"
                raise self.wrong(f"`out` has `{name}`, of which no gradient is taken", help)
        missing = [name for name in self.shapes if name not in out]
        if missing:
            raise self.wrong(f"`out` has no array for {', '.join(f'`{n}`' for n in missing)}", "all gradients are written")
        return [out[name] for name in self.shapes]

    def apart(self, found: Sequence[NDArray[Any]], args: Sequence[Any]) -> None:
        """Two arrays that own their memory share none, so that only views have to be looked at closely."""
        names, params = list(self.shapes), list(self.binder.types)
        arrays = [*zip(params, args, strict=True), *zip(names, found, strict=True)]
        views = [a for _, a in arrays if isinstance(a, self.np.ndarray) and not (a.base is None and a.flags.owndata)]
        if not views and len({id(a) for a in found}) == len(found) and {id(a) for a in args}.isdisjoint(map(id, found)):
            return
        for k, (name, array) in enumerate(zip(names, found, strict=True)):
            for other, a in arrays[: len(args) + k]:
                if isinstance(a, self.np.ndarray) and self.np.may_share_memory(array, a) and self.np.shares_memory(array, a):
                    text = f"`out` for `{name}` shares its memory with `{other}`"
                    raise self.wrong(text, "give an array of its own, whose old values are needed no more")
