"""The graph of a stage of the compiler: operations without numbers."""

from __future__ import annotations

from gradlang.ir.tape import Instr, Tape
from gradlang.view.folding import fold
from gradlang.view.formula import plain
from gradlang.view.picture import SYMBOLS, Line, Picture, Shape

LEAVES = ("input", "const", "size", "array")


def stage_picture(tape: Tape, title: str) -> Picture:
    """The picture of a tape; what would not fit is folded by depth."""
    nodes = [i for i, instr in enumerate(tape.instrs) if instr.op not in ("const", "size")]
    kept = set(nodes)
    edges = list(dict.fromkeys((a, i) for i in nodes for a in tape.instrs[i].args if a in kept))
    groups = fold(nodes, edges, dict.fromkeys(nodes, ()), ())
    where = {i: k for k, g in enumerate(groups) for i in g}
    outputs = {i: name for name, i in tape.outputs}
    shapes = tuple(shape(tape, g, outputs) for g in groups)
    lines = dict.fromkeys((where[a], where[b]) for a, b in edges if where[a] != where[b])
    top = where.get(tape.outputs[0][1], 0) if tape.outputs else 0
    return Picture(title, shapes, tuple(Line(a, b, "") for a, b in lines), top, top, {}, {})


def shape(tape: Tape, group: tuple[int, ...], outputs: dict[int, str]) -> Shape:
    last = group[-1]
    instr = tape.instrs[last]
    title = outputs.get(last) or instr.name or ""
    if len(group) > 1:
        return Shape("group", f"{len(group)} nodes", title, "", "", "", group)
    if instr.op in LEAVES:
        text = str(instr.attrs[0]) if instr.op == "input" else title or instr.op
        return Shape("leaf", text, "", str(instr.type), "", "", group)
    return Shape("op", symbol(tape, instr), title, f"{instr.op}: {instr.type}", "", "", group)


def symbol(tape: Tape, instr: Instr) -> str:
    text = SYMBOLS.get(instr.op, instr.op)
    words = []
    for a in instr.args:
        given = tape.instrs[a]
        number = given.attrs[0] if given.op == "const" else None
        words.append(plain(number)[0] if isinstance(number, float) else "")
    if instr.op in SYMBOLS and len(words) == 2 and any(words):
        return f"{words[0]} {text} {words[1]}".strip()
    return text
