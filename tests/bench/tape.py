"""The smallest reverse mode there is, as a check of the answers and a bound from above."""

from __future__ import annotations

import math
from typing import Any

import programs


class Var:
    """A number on a tape."""

    __slots__ = ("index", "tape", "value")

    def __init__(self, tape: Tape, value: float, *parents: tuple[int, float]) -> None:
        self.tape, self.value, self.index = tape, value, len(tape.parents)
        tape.parents.append(parents)

    def __add__(self, other: Any) -> Var:
        if not isinstance(other, Var):
            return Var(self.tape, self.value + other, (self.index, 1.0))
        return Var(self.tape, self.value + other.value, (self.index, 1.0), (other.index, 1.0))

    def __sub__(self, other: Var) -> Var:
        return Var(self.tape, self.value - other.value, (self.index, 1.0), (other.index, -1.0))

    def __mul__(self, other: Any) -> Var:
        if not isinstance(other, Var):
            return Var(self.tape, self.value * other, (self.index, other))
        return Var(self.tape, self.value * other.value, (self.index, other.value), (other.index, self.value))

    def __truediv__(self, other: Var) -> Var:
        y = self.value / other.value
        return Var(self.tape, y, (self.index, 1 / other.value), (other.index, -y / other.value))


class Tape:
    """Runs a text of assignments; its leading lines `name = number` are the inputs, `y` is the output."""

    def __init__(self) -> None:
        self.parents: list[tuple[tuple[int, float], ...]] = []
        self.leaves: dict[str, int] = {}
        self.y: Var | None = None

    def functions(self) -> dict[str, Any]:
        def one(value: Any, partial: Any) -> Any:
            def call(x: Var) -> Var:
                y = value(x.value)
                return Var(self, y, (x.index, partial(x.value, y)))

            return call

        return {
            "sin": one(math.sin, lambda x, y: math.cos(x)),
            "exp": one(math.exp, lambda x, y: y),
            "tanh": one(math.tanh, lambda x, y: 1 - y * y),
            "sqrt": one(math.sqrt, lambda x, y: 0.5 / y),
        }

    def run(self, text: str) -> tuple[float, dict[str, float]]:
        names = self.functions()
        inputs = programs.inputs(text)
        for name, value in inputs.items():
            names[name] = Var(self, value)
            self.leaves[name] = names[name].index
        exec(compile(text.split("\n", len(inputs))[-1], "text", "exec"), names)
        self.y = names["y"]
        return names["y"].value, self.backward()

    def backward(self) -> dict[str, float]:
        assert self.y is not None
        adjoint = [0.0] * len(self.parents)
        adjoint[self.y.index] = 1.0
        for k in range(self.y.index, -1, -1):
            g = adjoint[k]
            if g:
                for parent, partial in self.parents[k]:
                    adjoint[parent] += g * partial
        return {name: adjoint[k] for name, k in self.leaves.items()}
