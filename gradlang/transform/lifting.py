"""Instructions written again for every count of a loop at once: the loop becomes the leading axis of their arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from gradlang.check import lift
from gradlang.check.loops import Loop, dims, together
from gradlang.check.program import Ref
from gradlang.ir.tape import Builder, Instr, Scan, Tape
from gradlang.record import changed
from gradlang.types import BUNDLE, Type


def replay(
    b: Builder, instrs: Sequence[Instr], given: Mapping[int, Ref], wanted: Iterable[int], moving: bytearray | None = None
) -> dict[int, Ref]:
    """Writes what `wanted` needs of some instructions into a builder, over `given` values, which may be one per count of
    a loop. Derivative operators and bodies with them must be gone. If the instructions are the builder's own, those that are
    not `moving` stay what they are."""
    made: dict[int, Ref] = dict(given)
    for k in between(instrs, given, wanted, moving):
        instr = instrs[k]
        if moving is not None and not moving[k]:
            made[k] = b.ref(k)
            continue
        if not instr.args and instr.op != "iota":
            made[k] = b.ref(b.add(instr.op, (), instr.attrs, instr.type, instr.span, instr.scope, instr.name))
            continue
        refs = [made[a] for a in instr.args]
        if instr.op == "scan":
            made[k] = lifted_scan(b, instr, refs)
        elif instr.op == "root":
            made[k] = lifted_root(b, instr, refs)
        elif instr.op == "item":
            made[k] = lifted_item(b, instr, refs[0])
        elif any(r.axes for r in refs):
            made[k] = lift.emit(b, b.table, b.table[instr.op], refs, instr.attrs, instr.type, instr.span, instr.scope)
        else:
            made[k] = b.emit(b.table[instr.op], refs, instr.attrs, instr.type, instr.span, instr.scope)
    return made


def between(instrs: Sequence[Instr], given: Mapping[int, Ref], wanted: Iterable[int], moving: bytearray | None) -> list[int]:
    """The instructions from what is given, or is not moving, on to what is wanted."""
    found = {k for k in wanted if k not in given}
    stack = list(found)
    while stack:
        k = stack.pop()
        for a in instrs[k].args if moving is None or moving[k] else ():
            if a not in found and a not in given:
                found.add(a)
                stack.append(a)
    return sorted(found)


def dependent(instrs: Sequence[Instr], leaves: Iterable[int]) -> bytearray:
    """Which instructions depend on some of them."""
    out = bytearray(len(instrs))
    for i in leaves:
        out[i] = 1
    first = out.find(1)
    for i in range(first, len(instrs)) if first >= 0 else ():  # nothing before the first leaf does
        if not out[i] and any(out[a] for a in instrs[i].args):
            out[i] = 1
    return out


def up(b: Builder, instr: Instr, axes: tuple[Loop, ...]) -> lift.Lift:
    return lift.Lift(b, b.table, axes, instr.span, instr.scope)


def lifted_scan(b: Builder, instr: Instr, refs: list[Ref]) -> Ref:
    """A recurrence for every count: its sequences are arrays of rows over all counts."""
    (scan,) = instr.attrs
    axes = together(*(r.axes for r in refs))
    if not axes:
        return b.ref(b.add("scan", tuple(r.id for r in refs), instr.attrs, BUNDLE, instr.span, instr.scope))
    on, many, n = up(b, instr, axes), len(scan.names), len(axes)
    first = [rows_first(on, on.full(r), n) for r in refs[:many]]
    rows = [rows_first(on, on.full(r), n) if r.axes else r for r in refs[many : many + scan.rows]]
    held = [on.full(r) if r.axes else r for r in refs[many + scan.rows :]]
    flags = {("row", j): bool(r.axes) for j, r in enumerate(refs[many : many + scan.rows])}
    flags |= {("held", j): bool(r.axes) for j, r in enumerate(refs[many + scan.rows :])}
    made = changed(
        scan,
        types=tuple(Type(dims(axes) + t.shape, t.dtype) for t in scan.types),
        body=lifted_body(b, instr, scan, axes, flags),
    )
    at = b.add("scan", tuple(r.id for r in (*first, *rows, *held)), (made,), BUNDLE, instr.span, instr.scope)
    return Ref(at, BUNDLE, axes)


def rows_first(on: lift.Lift, array: Ref, n: int) -> Ref:
    """An array over n loops and then rows, with the rows in front."""
    return on.transpose(array, (n, *range(n), *range(n + 1, array.type.rank)))


def lifted_body(b: Builder, instr: Instr, scan: Scan, axes: tuple[Loop, ...], flags: dict[tuple[str, int], bool]) -> Tape:
    inner = Builder(b.table)
    on, n = up(inner, instr, axes), len(axes)
    given: dict[int, Ref] = {}
    for i, leaf in enumerate(scan.body.instrs):
        if leaf.op != "input":
            continue
        kind, k, _ = leaf.attrs[0]
        if not flags.get((kind, k), True):
            given[i] = inner.leaf("input", leaf.attrs, leaf.type, leaf.span)
        elif kind == "past":
            shape = leaf.type.shape
            made = inner.leaf("input", leaf.attrs, Type((shape[0], *dims(axes), *shape[1:])), leaf.span)
            made = on.transpose(made, (*range(1, n + 1), 0, *range(n + 1, n + len(shape))))
            given[i] = Ref(made.id, leaf.type, axes)
        else:
            made = inner.leaf("input", leaf.attrs, Type(dims(axes) + leaf.type.shape, leaf.type.dtype), leaf.span)
            given[i] = Ref(made.id, leaf.type, axes)
    found = replay(inner, scan.body.instrs, given, [i for _, i in scan.body.outputs])
    outputs = []
    for p, (name, i) in enumerate(scan.body.outputs):
        made = on.full(found[i])
        if scan.kind == "push" and scan.ports[p][1] is None:
            made = rows_first(on, made, n)
        outputs.append((name, made.id))
    return inner.tape(outputs)


def lifted_item(b: Builder, instr: Instr, bundle: Ref) -> Ref:
    (k,) = instr.attrs
    scan = b.instrs[bundle.id].attrs[0]
    made = b.ref(b.add("item", (bundle.id,), (k,), scan.item_type(k), instr.span, instr.scope, instr.name))
    n = len(bundle.axes)
    if not n:
        return made
    on = up(b, instr, bundle.axes)
    made = on.transpose(made, (*range(1, n + 1), 0, *range(n + 1, made.type.rank)))
    return Ref(made.id, instr.type, bundle.axes)


def lifted_root(b: Builder, instr: Instr, refs: list[Ref]) -> Ref:
    """An implicit definition for every count: as many separate equations."""
    (root,) = instr.attrs
    axes = together(*(r.axes for r in refs))
    if not axes:
        return b.ref(b.add("root", tuple(r.id for r in refs), instr.attrs, instr.type, instr.span, instr.scope))
    on, inner = up(b, instr, axes), Builder(b.table)
    args = [on.full(r) if r.axes or not k else r for k, r in enumerate(refs)]
    given: dict[int, Ref] = {}
    for i, leaf in enumerate(root.body.instrs):
        if leaf.op != "input":
            continue
        kind, k, _ = leaf.attrs[0]
        own = axes if kind == "unknown" or refs[k + 1].axes else ()
        made = inner.leaf("input", leaf.attrs, Type(dims(own) + leaf.type.shape, leaf.type.dtype), leaf.span)
        given[i] = Ref(made.id, leaf.type, own)
    found = replay(inner, root.body.instrs, given, [i for _, i in root.body.outputs])
    up_inner = up(inner, instr, axes)
    outputs = [(name, up_inner.full(found[i]).id) for name, i in root.body.outputs]
    body = changed(root, lead=root.lead + len(axes), body=inner.tape(outputs))
    type = Type(dims(axes) + instr.type.shape)
    at = b.add("root", tuple(r.id for r in args), (body,), type, instr.span, instr.scope)
    return Ref(at, instr.type, axes)


def for_all(b: Builder, given: dict[int, int], found: int, instr: Instr) -> int:
    """What was made for one value of some leaves, for all rows of arrays in their place."""
    (first, rows), *_ = given.items()
    lead = b.instrs[rows].type.shape[: b.instrs[rows].type.rank - b.instrs[first].type.rank]
    axes = tuple(Loop("", d, k) for k, d in enumerate(lead))
    known = dependent(b.instrs, given)
    values: dict[int, Ref] = {}
    for leaf, array in given.items():
        type = b.instrs[leaf].type
        values[leaf] = Ref(array, Type(type.shape), axes)
    made = replay(b, list(b.instrs), values, [found], known)[found]
    return up(b, instr, axes).full(made).id
