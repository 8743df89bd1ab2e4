"""What a page knows of each of its graphs: nodes, branches, steps, and how derivatives flow, as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import numpy as np

from gradlang.check.program import LEAVES, Node
from gradlang.source import Source
from gradlang.view.explain import ZEROS, Explanation
from gradlang.view.explorer.code import Code, ways
from gradlang.view.explorer.formulas import Form, form, textbook
from gradlang.view.explorer.order import Order
from gradlang.view.flow import Flow, sources
from gradlang.view.local import Back
from gradlang.view.notation import MathML
from gradlang.view.picture import Picture, Shape, slope_label
from gradlang.view.show import summary
from gradlang.view.story import Step, Story
from gradlang.view.trace import Branch, sequences
from gradlang.view.words import Words, catalog


class Shared:
    """What all graphs of a page refer to by its place in a list: formulas, sentences and source texts, each once."""

    def __init__(self, words: Words, digits: int) -> None:
        self.words, self.digits = words, digits
        self.texts: dict[str, int] = {}
        self.says: dict[str, int] = {}
        self.files: dict[str, tuple[int, Source]] = {}

    def as_json(self) -> dict[str, Any]:
        return {
            "schema": 2,
            "digits": self.digits,
            "words": self.words.page,
            "says": list(self.says),
            "texts": list(self.texts),
            "files": [{"name": PurePath(source.path).name, "text": source.text} for _, source in self.files.values()],
        }

    def text(self, text: str) -> int:
        return self.texts.setdefault(text, len(self.texts))


class PageData:
    """One graph; its nodes and branches are referred to by their places in a list. `flows` are recorded derivatives by inputs,
    for a program without functions."""

    def __init__(
        self, story: Story, picture: Picture, order: Order, code: Code | None, shared: Shared, flows: Sequence[Flow] = ()
    ) -> None:
        self.story, self.trace, self.picture, self.steps = story, story.trace, picture, order
        self.code, self.shared, self.flows = code, shared, flows
        self.table = self.trace.locals.table
        self.told = Explanation(story, shared.words, shared.digits)
        self.at = {i: k for k, i in enumerate(self.trace.order)}
        self.numbered = {id(b): k for k, b in enumerate(order.numbered)}
        self.by_node = {s.node: s for s in story.steps}
        self.places = {i: [w.position for w in made] for i, made in code.ways.items()} if code is not None else ways(self.trace)
        leaves = [self.trace.leaves[name] for name in sources(self.trace)]
        self.sources = leaves if code is not None else [f.source for f in flows]
        self.carries = {*self.places, *self.sources}  # nodes that derivatives by inputs may come to
        self.text = shared.text
        self.forms: dict[Any, Form] = {}

    def as_json(self) -> dict[str, Any]:
        trace, live = self.trace, self.code is not None
        nodes = [self.node(i) for i in trace.order]
        branches = [self.branch(b) for b in self.steps.numbered]
        return {
            "of": trace.of,
            "top": self.at[trace.top],
            "seed": coded(trace.upstream) if live else 0,
            "live": live,
            "nodes": nodes,
            "branches": branches,
            "forward": [self.at[i] for i in self.steps.forward],
            "backward": [self.numbered[id(b)] for b in self.steps.backward],
            "shapes": [self.shape(s, live) for s in self.picture.shapes],
            "lines": [
                [e.source, e.target, [self.numbered[id(b)] for b in e.branches], *([] if live else [e.below])]
                for e in self.picture.lines
            ],
            "sources": [self.at[i] for i in self.sources],
            "flows": [] if live else [self.flow(f) for f in self.flows],
        }

    def shape(self, s: Shape, live: bool) -> dict[str, Any]:
        out: dict[str, Any] = {"node": self.at[s.node], "members": [self.at[i] for i in s.members]}
        return out if live else out | {"above": s.above, "below": s.below}

    def flow(self, f: Flow) -> dict[str, Any]:
        """The numbers of forward mode from an input, as far as it reaches."""
        return {
            "tangents": {self.at[i]: self.value(t) for i, t in f.tangents.items()},
            "terms": {self.at[i]: [self.value(terms[k]) if k in terms else None for k in self.places[i]]
                      for i, terms in f.parts.items()},
            "below": self.belows(f),
        }  # fmt: skip

    def belows(self, f: Flow) -> list[str]:
        """What stands below the edges of the picture in forward mode."""
        found = [f.tangents.get(s.node, 0.0 if s.node in self.carries else None) for s in self.picture.shapes]
        return [slope_label(t, self.shared.digits) for t in found]

    # -------------------------------------------------------------- nodes
    def node(self, i: int) -> dict[str, Any]:
        trace, node = self.trace, self.trace.nodes[i]
        out: dict[str, Any] = {"name": self.story.names[i], "value": self.value(trace.values[i]), "v": self.steps.values[i]}
        if i in trace.adjoints and i in self.steps.slopes:
            out |= {"slope": self.value(trace.adjoints[i]), "d": self.steps.slopes[i]}
        if node.args or i in self.by_node:
            out["args"] = [self.at[a] for a in node.args]
        if i in trace.given:
            out["gives"] = [self.numbered[id(b)] for b in trace.given[i]]
        if i in trace.got:
            out["gets"] = [self.numbered[id(b)] for b in trace.got[i]]
        if node.op in LEAVES:
            out |= self.leaf(i)
        if i in self.by_node:
            out |= self.step(self.by_node[i])
        if i in self.places:
            out["ways"] = [self.way(i, n) for n in range(len(self.places[i]))]
        if self.code is not None and i in self.code.forward:
            out["f"] = self.code.forward[i]
        if self.code is not None and i in self.code.back:
            out["b"] = self.code.back[i]
        return out

    def leaf(self, i: int) -> dict[str, Any]:
        trace, name = self.trace, self.story.names[i]
        leaf = next((trace.program.leaves[n] for n, k in trace.leaves.items() if k == i), None)
        if leaf is None:
            number = MathML().number(name) if trace.nodes[i].op == "const" else MathML().name(name)
            return {"kind": "constant", "maths": self.text(number)}
        out: dict[str, Any] = {
            "kind": "constant" if leaf.role == "const" else "input",
            **self.named(name),
            **self.place(leaf.span),
        }
        if leaf.label:
            out["label"] = leaf.label
        if leaf.range is not None:
            out["range"] = [coded(x) for x in leaf.range]
        return out

    def step(self, s: Step) -> dict[str, Any]:
        node = self.trace.nodes[s.node]
        out: dict[str, Any] = {"kind": "op", "op": ZEROS.get(s.op, s.op), "step": s.number, **self.place(s.span)}
        if s.title:
            out |= self.named(s.title)
        if node.op in ("item", "root"):
            out["formula"] = self.text(s.formula)
        else:
            types = [self.trace.nodes[a].type for a in node.args]
            readable = self.trace.locals.forward(node, types, sequences(node))[1]
            out |= self.form(self.shared_form(readable, "value", len(node.args), False))
        if s.gives:
            says = self.shared.says
            out["says"] = says.setdefault(self.told.says(s), len(says))
        return out

    def named(self, name: str) -> dict[str, Any]:
        """The name in mathematics, where it is not just what it says."""
        made = MathML().name(name)
        return {"title": 1} if made == f"<mi>{name}</mi>" else {"title": 1, "maths": self.text(made)}

    def place(self, span: tuple[int, int]) -> dict[str, Any]:
        sources = self.trace.program.sources
        if span == (0, 0) or not sources.files:
            return {}
        source = sources.of(span[0])
        if not source.text:
            return {}
        files = self.shared.files
        at = files.setdefault(source.path, (len(files), source))[0]
        return {"at": [at, source.place(span[0])[0]]}

    # -------------------------------------------------------------- branches
    def branch(self, b: Branch) -> dict[str, Any]:
        out: dict[str, Any] = {"user": self.at[self.shown(b.user)], "source": self.at[b.source], "value": self.value(b.value)}
        if b.local is not None:
            out["local"] = self.value(b.local)
            if np.shape(b.value) != np.shape(self.trace.values[b.user]):
                out["summed"] = str(np.shape(b.value)) if np.shape(b.value) else ""
        node, back = self.trace.nodes[b.user], self.trace.backs[b.user]
        if back.has("partial", b.position):
            out |= self.local(node, back, b.position)
        elif node.op not in ("scan", "root"):
            made = self.shared_form(back.readable, ("part", b.position), len(node.args), node.op not in ("scan", "item"))
            out |= self.form(made)
        return out

    def local(self, node: Node, back: Back, position: int) -> dict[str, int]:
        """A local derivative as textbooks write it, and where it is computed otherwise, how."""
        made = self.shared_form(back.readable, ("partial", position), len(node.args), True)
        usual = self.usual(node, position)
        out = self.form(made if usual is None else usual)
        if usual is not None and usual.text.replace("!", "") != made.text.replace("!", ""):
            out["computed"] = self.text(made.text)
        return out

    # -------------------------------------------------------------- forward mode
    def way(self, i: int, n: int) -> dict[str, Any]:
        """How the derivative of an argument comes to a node: the place of the argument, the numbers of its functions, and the
        local derivative, that of a branch or a formula of its own; or the formula of its term."""
        node, position = self.trace.nodes[i], self.places[i][n]
        out: dict[str, Any] = {"k": position}
        if self.code is not None:
            w = self.code.ways[i][n]
            out |= {"f": w.function} | ({"z": w.masked} if w.masked >= 0 else {}) | ({"e": 1} if w.exact else {})
        branch = next((b for b in self.trace.given.get(i, ()) if b.position == position), None)
        back = self.trace.backs.get(i)
        if branch is not None and back is not None and back.has("partial", position):
            return out | {"b": self.numbered[id(branch)]}
        types = [self.trace.nodes[a].type for a in node.args]
        back = self.trace.locals.back(node, types, [position], {0: node.type}, False)
        if back.has("partial", position):
            return out | self.local(node, back, position)
        move = self.trace.locals.tangent(node, types, [position], [])
        return out | self.form(self.shared_form(move.readable, "value", len(node.args), False)) | {"whole": 1}

    # -------------------------------------------------------------- recurrences
    def shown(self, i: int) -> int:
        """The node that stands for a recurrence: the first of its sequences."""
        if self.trace.nodes[i].op != "scan":
            return i
        return next((s.node for s in self.story.steps if s.op == "item" and self.trace.nodes[s.node].args[0] == i), i)

    def usual(self, node: Any, position: int) -> Form | None:
        forms: Sequence[str] | None = catalog("textbook").get(node.op)
        if forms is None or node.op in self.table.own:
            return None
        op = self.table[node.op]
        ends: dict[str, object] = {p: k for k, p in enumerate(op.params)}
        return textbook(forms[position], {**ends, op.result: "r"})

    # -------------------------------------------------------------- pieces
    def shared_form(self, tape: Any, output: Any, count: int, result: bool) -> Form:
        key = (id(tape), output)
        if key not in self.forms:
            self.forms[key] = form(tape, output, self.table, count, result)
        return self.forms[key]

    def form(self, made: Form) -> dict[str, int]:
        return {"formula": self.text(made.text), "mathml": self.text(made.maths)}

    def value(self, value: Any) -> Any:
        """A number, or of an array what is shown of it."""
        if isinstance(value, tuple):
            return ""
        if np.ndim(value) == 0:
            return coded(value.item() if hasattr(value, "item") else value)
        return summary(value, self.shared.digits)


def coded(value: Any) -> Any:
    """A number in JSON; those that it lacks are lists of their names."""
    if isinstance(value, bool):
        return value
    number = float(value)
    return number if math.isfinite(number) else [str(number)]


def names_of_shapes(picture: Picture) -> list[str]:
    """What the shapes are called by a screen reader: what can be seen of them, and then their tips."""
    out = []
    for s in picture.shapes:
        seen = f"{s.text} {s.title}" if s.title not in ("", s.text) else s.text
        out.append(f"{seen}: {s.tip}" if s.tip not in ("", s.text) else seen)
    return out
