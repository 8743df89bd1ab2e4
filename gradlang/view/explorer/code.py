"""The numbers of scalar programs as JavaScript: one small function for each distinct op in the forward pass, in the backward
pass, and in forward mode for each argument, which a page calls for every node in the order of the trace."""

from __future__ import annotations

from typing import Any

from gradlang.backend.js_scalar import helper_texts, js_lines
from gradlang.backend.js_words import RESERVED
from gradlang.backend.names import Names
from gradlang.backend.python import spelled
from gradlang.check.program import LEAVES, Node
from gradlang.ir.tape import Tape
from gradlang.ops.table import OpTable
from gradlang.pipeline import optimized
from gradlang.record import record
from gradlang.view.flow import sources, together
from gradlang.view.trace import Trace


@record(eq=False)
class Way:
    """How the derivative of an argument by an input comes to a node: `function` is that of MOVE, `masked` the one for a
    derivative with exact zeros, `exact` whether what comes of it has such zeros in any case. -1 for no function."""

    position: int
    function: int
    masked: int
    exact: bool


@record(eq=False)
class Code:
    """The functions of each node: `forward`, `back` and `ways` by their numbers. One of BACK takes the operands and the
    derivative that comes in, and returns for each branch the contribution and the local derivative; one of MOVE takes the
    operands and the derivative of one of them, and returns its term in that of the node."""

    forward: dict[int, int]
    back: dict[int, int]
    ways: dict[int, tuple[Way, ...]]


def is_live(trace: Trace) -> bool:
    """Whether a page can compute the program anew: numbers only, no arrays, no whole numbers."""
    table, leaves = trace.locals.table, trace.program.leaves
    return all(node_is_plain(trace.nodes[i], table) for i in trace.order) and all(
        leaves[name].type.dtype == "real" for name, i in trace.leaves.items() if i in trace.values
    )


def node_is_plain(node: Node, table: Any) -> bool:
    known = node.op in ("input", "const") if node.op in LEAVES else node.op in table and table[node.op].pointwise
    return known and not node.type.shape and node.type.dtype in ("real", "bool")


def ways(trace: Trace) -> dict[int, list[int]]:
    """For each node the arguments through which derivatives by inputs come, each by itself."""
    active = {trace.leaves[name] for name in sources(trace)}
    found: dict[int, list[int]] = {}
    for i in trace.order:
        node = trace.nodes[i]
        moving = [k for k, a in enumerate(node.args) if a in active]
        if not moving or node.type.dtype not in ("real", "bundle"):
            continue
        if node.op == "item" or together(node, trace.locals):
            active.add(i)
            continue
        types = [trace.nodes[a].type for a in node.args]
        held = [k for k in moving if trace.locals.tangent(node, types, [k], []).tape.outputs]
        if held:
            active.add(i)
            found[i] = held
    return found


class Functions:
    """The functions of the graphs of a page, each once; all are in the ops of one table."""

    def __init__(self, table: OpTable) -> None:
        self.table = table
        self.helpers: dict[str, None] = {}
        self.found: dict[str, dict[str, int]] = {"FORWARD": {}, "BACK": {}, "MOVE": {}}
        self.known: dict[Any, tuple[Any, int]] = {}

    def text(self) -> str:
        """Defines FORWARD, BACK and MOVE."""
        lists = [f"const {name} = [\n{''.join(f'    {f},{chr(10)}' for f in found)}];" for name, found in self.found.items()]
        return "\n".join([*helper_texts(self.helpers, self.table), *lists])

    def code(self, trace: Trace) -> Code:
        """The functions of a trace that `is_live`."""
        forward, back = {}, {}
        for i in trace.order:
            node = trace.nodes[i]
            if node.op in LEAVES:
                continue
            types = [trace.nodes[a].type for a in node.args]
            tape = trace.locals.forward(node, types, [])[0]
            forward[i] = self.function("FORWARD", trace, tape, len(node.args), [("value", "")])
        for i, branches in trace.given.items():
            tape = trace.backs[i].tape
            held: set[Any] = {name for name, _ in tape.outputs}
            wanted = [n for b in branches for n in (("part", b.position), ("partial", b.position))]
            results = [n if n in held else None for n in wanted]
            back[i] = self.function("BACK", trace, tape, len(trace.nodes[i].args), results)
        return Code(forward, back, self.moves(trace))

    def moves(self, trace: Trace) -> dict[int, tuple[Way, ...]]:
        found: dict[int, tuple[Way, ...]] = {}
        exact: set[int] = set()  # nodes whose derivatives may hold exact zeros
        for i, places in ways(trace).items():
            node = trace.nodes[i]
            found[i] = tuple(self.way(trace, node, k, node.args[k] in exact) for k in places)
            if any(w.exact or node.args[w.position] in exact for w in found[i]):
                exact.add(i)
        return found

    def way(self, trace: Trace, node: Node, k: int, masked: bool) -> Way:
        types = [trace.nodes[a].type for a in node.args]
        plain = trace.locals.tangent(node, types, [k], [])
        made = self.function("MOVE", trace, plain.tape, len(types), [k])
        other = made
        if masked:
            other = self.function("MOVE", trace, trace.locals.tangent(node, types, [k], [], [k]).tape, len(types), [k])
        return Way(k, made, other if other != made else -1, "value" in plain.exact)

    def function(self, kind: str, trace: Trace, tape: Tape, count: int, results: list[Any]) -> int:
        key = (kind, id(tape), tuple(results))
        if key not in self.known:
            text = self.written(kind, trace, tape, count, results)
            self.known[key] = (tape, self.found[kind].setdefault(text, len(self.found[kind])))  # the tape keeps its id
        return self.known[key][1]

    def written(self, kind: str, trace: Trace, tape: Tape, count: int, results: list[Any]) -> str:
        back = kind == "BACK"
        names = {old: f"r{n}" for n, old in enumerate(r for r in results if r is not None)} if back else {"value": "r0"}
        outputs = tuple((names[name], i) for name, i in tape.outputs if name in names)
        made, _ = optimized(Tape(tape.instrs, outputs), trace.program.language, spelled)
        params: dict[Any, str] = {("argument", k): f"a{k}" for k in range(count)}
        if back:
            params["upstream", 0] = "g"
        elif kind == "MOVE":
            params["tangent", results[0]] = "t"
        lines, values, helpers = js_lines(made, Names(RESERVED | set(params.values()), ascii_only=True), self.table, params)
        self.helpers.update(helpers)
        shown = [values[names[r]] if r is not None else "undefined" for r in results] if back else [values["r0"]]
        result = f"[{', '.join(shown)}]" if back else shown[0]
        return f"({', '.join(params.values())}) => {{ {' '.join([*lines, f'return {result};'])} }}"
