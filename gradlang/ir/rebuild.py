"""Writes a tape into a new builder, instruction by instruction: the skeleton of most passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate, compress

from gradlang.ir.tape import Builder, Instr, Tape, leaf_key
from gradlang.ops.table import OpTable

Replace = Callable[[Builder, Instr, tuple[int, ...]], int | None]


def rebuild(
    tape: Tape,
    table: OpTable,
    replace: Replace | None = None,
    first: int = 0,
    asked: Sequence[int] | None = None,
    own: bool = False,
) -> Tape:
    """The tape anew. `replace(builder, instr, args)` may give the instruction that takes an instruction's place; it is not
    asked for those before `first`. With `asked`, a truth value for each instruction, it is asked for these and for whatever
    has an argument that was replaced. Instructions that stay as they are belong to both tapes; if no one else holds them
    (`own`), they are renumbered where they are."""
    builder = Builder(table)
    builder.take(tape.instrs[:first])
    made = list(range(first))
    old, instrs, memo, put = tape.instrs, builder.instrs, builder.memo, made.append
    if asked is None or replace is None:
        asked = bytes([replace is not None]) * len(tape)
    replaced = bytearray(len(tape))
    for i in range(first, len(tape)):
        instr = old[i]
        before = instr.args
        if len(before) == 2:  # the usual number, so that it is worth a case of its own
            a, b = before
            args: tuple[int, ...] = (made[a], made[b])
            ask = asked[i] or replaced[a] or replaced[b]
        else:
            args = tuple([made[a] for a in before])
            ask = asked[i] or any(replaced[a] for a in before)
        at = replace(builder, instr, args) if ask else None  # type: ignore[misc]
        if at is None:
            key = (instr.op, args, instr.attrs) if args else leaf_key(instr.op, instr.attrs, instr.type)
            new = len(instrs)
            at = memo.setdefault(key, new)
            if at == new:
                if args != before:
                    if own:
                        instr.args = args
                    else:
                        instr = moved(instr, args)
                instrs.append(instr)
            elif instr.name is not None and instrs[at].name is None:
                instrs[at].name = instr.name
        else:
            replaced[i] = 1
            if instr.name is not None and instrs[at].name is None and instrs[at].op not in ("const", "size"):
                instrs[at].name = instr.name
        put(at)
    return dce(builder.tape((n, made[i]) for n, i in tape.outputs), own)


def moved(instr: Instr, args: tuple[int, ...]) -> Instr:
    """The instruction over other arguments."""
    return Instr(instr.op, args, instr.attrs, instr.type, instr.span, instr.scope, instr.name)


def copy(builder: Builder, instr: Instr, args: tuple[int, ...]) -> int:
    return builder.add(instr.op, args, instr.attrs, instr.type, instr.span, instr.scope, instr.name)


def dce(tape: Tape, own: bool = False) -> Tape:
    """Only what the outputs need. Inputs that nothing needs go too. Instructions that no one else holds (`own`) are renumbered
    where they are."""
    instrs = tape.instrs
    n = len(instrs)
    live = bytearray(n)
    for _, i in tape.outputs:
        live[i] = 1
    for i in range(n - 1, -1, -1):
        if live[i]:
            args = instrs[i].args
            if len(args) == 2:
                a, b = args
                live[a] = live[b] = 1
            else:
                for a in args:
                    live[a] = 1
    first = live.find(0)
    if first < 0:
        return tape
    where = list(accumulate(live, initial=0))
    kept = [*instrs[:first], *compress(instrs[first:], live[first:])]
    for k in range(first, len(kept)):
        instr = kept[k]
        before = instr.args
        if len(before) == 2:
            a, b = before
            args = (where[a], where[b])
        else:
            args = tuple([where[a] for a in before])
        if own:
            instr.args = args
        elif args != before:
            kept[k] = moved(instr, args)
    return Tape(tuple(kept), tuple((name, where[i]) for name, i in tape.outputs))
