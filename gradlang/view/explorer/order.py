"""In which order a page shows what: the steps of the forward pass node by node, then those of the backward pass branch by
branch, and the step from which on each number is known."""

from __future__ import annotations

from gradlang.record import record
from gradlang.view.story import Story
from gradlang.view.trace import Branch


@record(eq=False)
class Order:
    """Step 0 knows the leaves; then come the nodes of `forward`, the start of the backward pass, and `backward`. `values`,
    `slopes` and `branches` are the steps from which on the value of a node, its whole derivative and what a branch hands back
    are known; what is missing is never known."""

    forward: tuple[int, ...]
    backward: tuple[Branch, ...]
    values: dict[int, int]
    slopes: dict[int, int]
    branches: dict[int, int]  # by the number of the branch in `numbered`
    numbered: tuple[Branch, ...]


def order(story: Story) -> Order:
    """The steps of a story."""
    made = _Order(story)
    made.run()
    return Order(
        tuple(s.node for s in story.steps), tuple(made.backward), made.values, made.slopes, made.known, tuple(made.every)
    )  # fmt: skip


class _Order:
    def __init__(self, story: Story) -> None:
        self.story, self.trace = story, story.trace
        self.silent: set[int] = set()
        self.every = [b for branches in self.trace.given.values() for b in branches]
        self.number = {id(b): k for k, b in enumerate(self.every)}
        self.waiting = {a: len(branches) for a, branches in self.trace.got.items()}
        self.backward: list[Branch] = []
        self.values: dict[int, int] = {}
        self.slopes: dict[int, int] = {}
        self.known: dict[int, int] = {}

    def run(self) -> None:
        trace, steps = self.trace, self.story.steps
        numbers = self.story.numbers
        for i in trace.order:  # what has no step of its own is known with its arguments
            node = trace.nodes[i]
            self.values[i] = numbers.get(i, max((self.values[a] for a in node.args), default=0))
        if trace.top not in trace.adjoints:
            return
        hidden = {trace.nodes[s.node].args[0] for s in steps if s.op == "item"}
        self.silent = {i for i in trace.given if i not in numbers and i not in hidden}
        at = len(steps) + 1
        for b in self.arrived(trace.top, at):
            self.hand_back(b, at)
        seen: set[int] = set()
        for s in reversed(steps):
            if not s.gives:
                continue
            source = trace.nodes[s.node].args[0] if s.op == "item" else s.node
            if source in seen:
                continue
            seen.add(source)
            for b in trace.given[source]:
                at += 1
                self.backward.append(b)
                self.hand_back(b, at)

    def hand_back(self, b: Branch, at: int) -> None:
        pending = [b]
        while pending:
            b = pending.pop()
            self.known[self.number[id(b)]] = at
            self.waiting[b.source] -= 1
            if not self.waiting[b.source]:
                pending += self.arrived(b.source, at)

    def arrived(self, node: int, at: int) -> list[Branch]:
        """The whole derivative of a node is known; one that is not shown hands it on at once."""
        self.slopes[node] = at
        return list(self.trace.given[node]) if node in self.silent else []
