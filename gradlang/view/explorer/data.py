"""What a page knows: nodes, branches, steps, texts and words, as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import numpy as np

from gradlang.check.program import LEAVES
from gradlang.source import Source
from gradlang.view.explain import ZEROS, Explanation
from gradlang.view.explorer.code import Code
from gradlang.view.explorer.formulas import Form, form, textbook
from gradlang.view.explorer.order import Order
from gradlang.view.notation import MathML
from gradlang.view.picture import Picture
from gradlang.view.show import summary
from gradlang.view.story import Step, Story
from gradlang.view.trace import Branch, sequences
from gradlang.view.words import Words, catalog


class PageData:
    """Everything is referred to by its place in a list; formulas that occur often are listed once."""

    def __init__(self, story: Story, picture: Picture, order: Order, code: Code | None, words: Words, digits: int) -> None:
        self.story, self.trace, self.picture, self.steps = story, story.trace, picture, order
        self.code, self.words, self.digits = code, words, digits
        self.table = self.trace.locals.table
        self.told = Explanation(story, words, digits)
        self.at = {i: k for k, i in enumerate(self.trace.order)}
        self.numbered = {id(b): k for k, b in enumerate(order.numbered)}
        self.by_node = {s.node: s for s in story.steps}
        self.texts: dict[str, int] = {}
        self.says: dict[str, int] = {}
        self.forms: dict[Any, Form] = {}
        self.files: dict[int, tuple[int, Source]] = {}

    def as_json(self) -> dict[str, Any]:
        trace = self.trace
        nodes = [self.node(i) for i in trace.order]
        branches = [self.branch(b) for b in self.steps.numbered]
        return {
            "schema": 1,
            "of": trace.of,
            "top": self.at[trace.top],
            "seed": coded(trace.upstream) if self.code is not None else 0,
            "live": self.code is not None,
            "digits": self.digits,
            "words": self.words.page,
            "says": list(self.says),
            "texts": list(self.texts),
            "files": [{"name": PurePath(source.path).name, "text": source.text} for _, source in self.files.values()],
            "nodes": nodes,
            "branches": branches,
            "forward": [self.at[i] for i in self.steps.forward],
            "backward": [self.numbered[id(b)] for b in self.steps.backward],
            "shapes": [{"node": self.at[s.node], "members": [self.at[i] for i in s.members]} for s in self.picture.shapes],
            "lines": [[e.source, e.target, [self.numbered[id(b)] for b in e.branches]] for e in self.picture.lines],
        }

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
            out |= self.form(self.shared(readable, "value", len(node.args), False))
        if s.gives:
            out["says"] = self.says.setdefault(self.told.says(s), len(self.says))
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
        at = self.files.setdefault(source.base, (len(self.files), source))[0]
        return {"at": [at, source.place(span[0])[0]]}

    # -------------------------------------------------------------- branches
    def branch(self, b: Branch) -> dict[str, Any]:
        out: dict[str, Any] = {"user": self.at[self.shown(b.user)], "source": self.at[b.source], "value": self.value(b.value)}
        if b.local is not None:
            out["local"] = self.value(b.local)
            if np.shape(b.value) != np.shape(self.trace.values[b.user]):
                out["summed"] = f"[{', '.join(map(str, np.shape(b.value)))}]"
        node, back = self.trace.nodes[b.user], self.trace.backs[b.user]
        if back.has("partial", b.position):
            made = self.shared(back.readable, ("partial", b.position), len(node.args), True)
            usual = self.usual(node, b.position)
            out |= self.form(made if usual is None else usual)
            if usual is not None and usual.text.replace("!", "") != made.text.replace("!", ""):
                out["computed"] = self.text(made.text)
        elif node.op not in ("scan", "root"):
            made = self.shared(back.readable, ("part", b.position), len(node.args), node.op not in ("scan", "item"))
            out |= self.form(made)
        return out

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
    def shared(self, tape: Any, output: Any, count: int, result: bool) -> Form:
        key = (id(tape), output)
        if key not in self.forms:
            self.forms[key] = form(tape, output, self.table, count, result)
        return self.forms[key]

    def form(self, made: Form) -> dict[str, int]:
        return {"formula": self.text(made.text), "mathml": self.text(made.maths)}

    def text(self, text: str) -> int:
        return self.texts.setdefault(text, len(self.texts))

    def value(self, value: Any) -> Any:
        """A number, or of an array what is shown of it."""
        if isinstance(value, tuple):
            return ""
        if np.ndim(value) == 0:
            return coded(value.item() if hasattr(value, "item") else value)
        return summary(value, self.digits)


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
