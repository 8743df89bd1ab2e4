"""One op by itself: its value, its local derivatives and what it hands back to each argument, from the entry that the compiler
uses, as formulas and as numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gradlang.backend.numpy import spelled
from gradlang.ir.build import beyond
from gradlang.ir.evaluate import Machine
from gradlang.ir.tape import BODIES, Builder, Instr, Tape
from gradlang.ops.language import Language
from gradlang.pipeline import optimized
from gradlang.record import record
from gradlang.transform.chain import Chain
from gradlang.transform.differentiate import differentiate
from gradlang.transform.jvp import jvp
from gradlang.transform.partials import Templates
from gradlang.transform.passes import deep
from gradlang.transform.simplify import unmark
from gradlang.transform.vjp import vjp
from gradlang.types import Type


@record(eq=False)
class Back:
    """What an op does in the reverse pass. `tape` has the outputs ("partial", k) and ("part", k) for argument k: the local
    derivative, where the op is pointwise, and the contribution; and "value", the result. Its inputs are ("argument", k) and
    ("upstream", n), the cotangent of result n. `exact` are the arguments whose contribution holds exact zeros."""

    tape: Tape
    readable: Tape
    exact: frozenset[int]

    def has(self, what: str, k: int) -> bool:
        outputs: dict[Any, int] = dict(self.tape.outputs)
        return (what, k) in outputs


@record(eq=False)
class Move:
    """What an op does in forward mode. `tape` has the tangents of its results, "value" or the numbers of sequences; its inputs
    are ("argument", k) and ("tangent", k). A result without an output does not move; those in `exact` hold exact zeros."""

    tape: Tape
    readable: Tape
    exact: frozenset[Any]


class Locals:
    """Makes the tapes of single ops, each once."""

    def __init__(self, language: Language) -> None:
        self.language, self.table = language, language.table
        self.templates = Templates(self.table)
        self.made: dict[Any, Any] = {}

    # -------------------------------------------------------------- tapes
    def begin(self, instr: Instr, types: Sequence[Type]) -> tuple[Builder, int]:
        """A builder that holds one op over inputs."""
        b = Builder(self.table)
        refs = [b.leaf("input", (("argument", k),), t, instr.span) for k, t in enumerate(types)]
        if instr.op in BODIES:
            args = [r.id for r in refs]
            reverse = instr.op == "scan" and instr.attrs[0].kind == "push"  # of a derivative: its operands are as they must be
            at = b.add(instr.op, tuple(args), instr.attrs, instr.type, instr.span) if reverse else beyond(instr, args, b)
            tape = self.plain(b.tape([("value", at)]))
            b = Builder(self.table)
            b.take(tape.instrs)
            return b, tape.outputs[0][1]
        return b, b.emit(self.table[instr.op], refs, instr.attrs, instr.type, instr.span).id

    def plain(self, tape: Tape) -> Tape:
        """The tape without derivative operators in its bodies."""
        tape = deep(lambda t: differentiate(t, self.table, self.templates))(tape)
        return deep(lambda t: unmark(t, self.table))(tape)

    def tapes(self, b: Builder, outputs: Sequence[tuple[Any, int]]) -> tuple[Tape, Tape]:
        """The tape in the ops of NumPy and in those of the table."""
        tape = b.tape(outputs)
        return optimized(tape, self.language, spelled)[0], optimized(tape, self.language, lambda op: True)[0]

    def forward(self, instr: Instr, types: Sequence[Type], items: Sequence[Type]) -> tuple[Tape, Tape]:
        """The op as a tape with the output "value", or of a recurrence one for each sequence: its number."""
        key = self.key("forward", instr, types)
        if key not in self.made:
            b, at = self.begin(instr, types)
            outputs = [(n, b.add("item", (at,), (n,), t)) for n, t in enumerate(items)] if items else [("value", at)]
            self.made[key] = self.tapes(b, outputs)
        found: tuple[Tape, Tape] = self.made[key]
        return found

    def back(self, instr: Instr, types: Sequence[Type], wanted: Sequence[int], seeds: Mapping[int, Type], exact: bool) -> Back:
        """The reverse pass for the arguments `wanted`. `seeds` are the types of the results that matter; `exact` says that
        zeros of the cotangents are exact ones, which win over infinite partials."""
        key = self.key(("back", tuple(wanted), tuple(seeds.items()), exact), instr, types)
        if key not in self.made:
            self.made[key] = self.reverse(instr, types, wanted, seeds, exact)
        made: Back = self.made[key]
        return made

    def reverse(
        self, instr: Instr, types: Sequence[Type], wanted: Sequence[int], seeds: Mapping[int, Type], exact: bool
    ) -> Back:
        b, at = self.begin(instr, types)
        chain = Chain(b, self.templates)
        given = {}
        for n, type in seeds.items():
            g = b.leaf("input", (("upstream", n),), type, instr.span).id
            given[b.add("item", (at,), (n,), type) if instr.op in BODIES and instr.op != "root" else at] = g
            if exact:
                chain.masked.add(g)
        arguments = {k: b.leaf("input", (("argument", k),), types[k], instr.span).id for k in wanted}
        found = vjp(chain, given, list(arguments.values()))
        outputs: list[tuple[Any, int]] = [] if instr.op in BODIES else [("value", at)]
        zeros = set()
        for k, a in arguments.items():
            part = found[a]
            if part is not None:
                outputs.append((("part", k), part))
                if part in chain.masked:
                    zeros.add(k)
            partial = self.partial(chain, instr, at, k)
            if partial is not None:
                outputs.append((("partial", k), partial))
        return Back(*self.tapes(b, outputs), frozenset(zeros))

    def tangent(
        self, instr: Instr, types: Sequence[Type], moving: Sequence[int], items: Sequence[Type], masked: Sequence[int] = ()
    ) -> Move:
        """The tangents of an op's results by those of the arguments `moving`; those of the arguments `masked` hold exact zeros,
        which win over infinite partials."""
        key = self.key(("tangent", tuple(moving), tuple(masked)), instr, types)
        if key not in self.made:
            b, at = self.begin(instr, types)
            chain = Chain(b, self.templates)
            ends = [(n, b.add("item", (at,), (n,), t)) for n, t in enumerate(items)] if items else [("value", at)]
            flows = {k: b.leaf("input", (("tangent", k),), types[k], instr.span).id for k in moving}
            given = {b.leaf("input", (("argument", k),), types[k], instr.span).id: t for k, t in flows.items()}
            chain.masked.update(flows[k] for k in masked)
            found = {n: t for (n, _), t in zip(ends, jvp(chain, [i for _, i in ends], given), strict=True) if t is not None}
            exact = frozenset(n for n, t in found.items() if t in chain.masked)
            self.made[key] = Move(*self.tapes(b, list(found.items())), exact)
        made: Move = self.made[key]
        return made

    def partial(self, chain: Chain, instr: Instr, at: int, k: int) -> int | None:
        """The local derivative of a pointwise op by an argument, of the shape of the result."""
        op = self.table[instr.op] if instr.op in self.table else None
        made = chain.b.instrs[at]
        if op is None or not op.pointwise or made.op != instr.op or k >= len(op.params) or op.params[k] not in op.partials:
            return None
        return chain.partial(op, made, at, op.params[k])

    @staticmethod
    def key(kind: Any, instr: Instr, types: Sequence[Type]) -> Any:
        held = id(instr) if instr.op in BODIES else repr(instr.attrs)
        return kind, instr.op, held, instr.type, tuple(types)


def numbers(tape: Tape, language: Language, given: Mapping[Any, Any], sizes: Mapping[str, int]) -> dict[Any, Any]:
    """The outputs of a tape of single ops for the values of its inputs."""
    machine = Machine(language.table, given, sizes, None, float)
    values = machine.run(tape)
    return {name: values[i] for name, i in tape.outputs}
