"""The numbers of a scalar program as JavaScript: one small function for each distinct op, forward and back, which a page calls
for every node in the order of the trace."""

from __future__ import annotations

from typing import Any

from gradlang.backend.js_scalar import helper_texts, js_lines
from gradlang.backend.js_words import RESERVED
from gradlang.backend.names import Names
from gradlang.backend.python import spelled
from gradlang.check.program import LEAVES, Node
from gradlang.ir.tape import Tape
from gradlang.pipeline import optimized
from gradlang.record import record
from gradlang.view.trace import Trace


@record(eq=False)
class Code:
    """`text` defines the lists FORWARD and BACK of functions; `forward` and `back` have the function of each node. One of BACK
    takes the operands and the derivative that comes in, and returns for each branch the contribution and the local
    derivative."""

    text: str
    forward: dict[int, int]
    back: dict[int, int]


def is_live(trace: Trace) -> bool:
    """Whether a page can compute the program anew: numbers only, no arrays, no whole numbers."""
    table, leaves = trace.locals.table, trace.program.leaves
    return all(node_is_plain(trace.nodes[i], table) for i in trace.order) and all(
        leaves[name].type.dtype == "real" for name, i in trace.leaves.items() if i in trace.values
    )


def node_is_plain(node: Node, table: Any) -> bool:
    known = node.op in ("input", "const") if node.op in LEAVES else node.op in table and table[node.op].pointwise
    return known and not node.type.shape and node.type.dtype in ("real", "bool")


def code(trace: Trace) -> Code:
    """The functions of a trace that `is_live`."""
    made = _Functions(trace)
    forward, back = {}, {}
    for i in trace.order:
        node = trace.nodes[i]
        if node.op in LEAVES:
            continue
        tape = trace.locals.forward(node, [trace.nodes[a].type for a in node.args], [])[0]
        forward[i] = made.function(made.forward, tape, len(node.args), [("value", "")])
    for i, branches in trace.given.items():
        tape = trace.backs[i].tape
        held: set[Any] = {name for name, _ in tape.outputs}
        wanted = [n for b in branches for n in (("part", b.position), ("partial", b.position))]
        results = [n if n in held else None for n in wanted]
        back[i] = made.function(made.back, tape, len(trace.nodes[i].args), results)
    helpers = helper_texts(made.helpers, trace.locals.table)
    lists = [f"const {name} = [\n{''.join(f'    {f},{chr(10)}' for f in made.texts(found))}];" for name, found in made.lists()]
    return Code("\n".join([*helpers, *lists]), forward, back)


class _Functions:
    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.helpers: dict[str, None] = {}
        self.forward: dict[Any, tuple[int, str]] = {}
        self.back: dict[Any, tuple[int, str]] = {}

    def lists(self) -> list[tuple[str, dict[Any, tuple[int, str]]]]:
        return [("FORWARD", self.forward), ("BACK", self.back)]

    @staticmethod
    def texts(found: dict[Any, tuple[int, str]]) -> list[str]:
        return list(dict(sorted(found.values())).values())

    def function(self, found: dict[Any, tuple[int, str]], tape: Tape, count: int, results: list[Any]) -> int:
        key = (id(tape), tuple(results))
        if key not in found:
            text = self.written(tape, count, results, found is self.back)
            same = next((n for n, t in found.values() if t == text), None)
            found[key] = (len(self.texts(found)) if same is None else same, text)
        return found[key][0]

    def written(self, tape: Tape, count: int, results: list[Any], back: bool) -> str:
        names = {old: f"r{n}" for n, old in enumerate(r for r in results if r is not None)} if back else {"value": "r0"}
        outputs = tuple((names[name], i) for name, i in tape.outputs if name in names)
        made, _ = optimized(Tape(tape.instrs, outputs), self.trace.program.language, spelled)
        params: dict[Any, str] = {("argument", k): f"a{k}" for k in range(count)} | {("upstream", 0): "g"}
        lines, values, helpers = js_lines(
            made, Names(RESERVED | set(params.values()), ascii_only=True), self.trace.locals.table, params
        )
        self.helpers.update(helpers)
        shown = [values[names[r]] if r is not None else "undefined" for r in results] if back else [values["r0"]]
        head = ", ".join([f"a{k}" for k in range(count)] + ["g"] * back)
        result = f"[{', '.join(shown)}]" if back else shown[0]
        return f"({head}) => {{ {' '.join([*lines, f'return {result};'])} }}"
