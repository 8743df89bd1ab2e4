"""The driver of a plan as a recipe for machine code (`backend/llvm_recipe.py`), read off its text."""

from __future__ import annotations

import ast
import struct
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gradlang.backend.llvm_recipe import BACK, CALL, COPY, DICT, GIVE, HEAD, MAKE, PUSH, ROOM, STOP, TUPLE
from gradlang.runtime.native.calls import Held

MOST = 1000  # values of a recipe, which lie on the stack of the process
TAKEN = "try:\n    room = pool.pop()\nexcept IndexError:\n    room = make_room()"
STOPPED = "if flag:\n    return again"
RESULT = (ast.Tuple, ast.Dict)


class Unfit(Exception):
    """A driver does something that recipes have no step for."""


class Constant(int):
    """The number of a constant; its place is known when all values are."""


class Reader:
    """Reads one driver; `scope` is what its text sees."""

    def __init__(self, driver: ast.FunctionDef, scope: Mapping[str, Any]) -> None:
        self.scope = scope
        self.words: list[int] = []
        self.constants: list[Any] = []
        self.places: dict[str, int] = {}
        self.count = self.depth = self.deepest = self.widest = 0
        names = [a.arg for a in driver.args.args]
        if names[-1:] != ["out"]:
            raise Unfit
        for name in names[:-1]:
            self.new(name)
        self.given = self.count
        self.whole: ast.expr | None = None  # what is called the result
        for line in driver.body:
            self.line(line)

    # ------------------------------------------------------------ values
    def new(self, name: str) -> int:
        """The place of a value that is made now. None is made twice."""
        if name in self.places:
            raise Unfit
        self.places[name] = self.count
        self.count += 1
        return self.count - 1

    def constant(self, value: Any) -> int:
        self.constants.append(value)
        return Constant(len(self.constants) - 1)

    def place(self, expr: ast.expr) -> int:
        """Where a value lies: one that was made, an array that is part of the program, or a number."""
        if isinstance(expr, ast.Name):
            if expr.id in self.places:
                return self.places[expr.id]
            found = self.scope.get(expr.id)
            if isinstance(found, np.ndarray):
                return self.constant(found)
        elif isinstance(expr, ast.Constant) and type(expr.value) in (int, float, bool, str):
            return self.constant(expr.value)
        raise Unfit

    # ------------------------------------------------------------- lines
    def line(self, line: ast.stmt) -> None:
        match line:
            case ast.Try() if ast.unparse(line) == TAKEN:
                self.words += [ROOM, self.new("room")]
            case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Name(id="room")):
                if self.words[-2:] != [ROOM, self.places.get("room")]:
                    raise Unfit
                self.words += [len(names), self.several(names), self.constant(self.scope["pool"])]
            case ast.If() if ast.unparse(line) == STOPPED and "flag" in self.places:
                self.words += [STOP, self.places.pop("flag")]  # the next kernel has one of that name
            case ast.Assign(targets=[ast.Name(id="result")]) if isinstance(line.value, RESULT) or self.is_made(line.value):
                self.whole = line.value
            case ast.Expr() if ast.unparse(line) == "pool.append(room)" and self.whole is not None:
                self.words += [BACK, self.places["room"], self.constant(self.scope["pool"])]
            case ast.Return(value=ast.Name(id="result")) if self.whole is not None:
                self.give(self.whole)
            case ast.Return(value=ast.expr() as value) if self.whole is None:
                self.give(value)
            case ast.Expr(value=ast.Call() as call):
                self.run(call, [])
            case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Call() as call):
                self.run(call, names)
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                self.make(name, value)
            case _:
                raise Unfit

    def several(self, names: list[ast.expr]) -> int:
        """The place of the first of some values; the others follow."""
        first = self.count
        for name in names:
            if not isinstance(name, ast.Name):
                raise Unfit
            self.new(name.id)
        return first

    def make(self, name: str, value: ast.expr) -> None:
        """A new array; no arrays of the caller are given to a recipe."""
        if isinstance(value, ast.IfExp) and ast.unparse(value.test) == "out is not None":
            value = value.orelse
        match value:
            case ast.Call(func=ast.Name(id="empty"), args=[ast.Tuple() as shape, *kind], keywords=[]) if len(kind) < 2:
                lengths = ast.literal_eval(shape)
            case _:
                raise Unfit
        dtype = np.dtype(self.kind(kind[0]) if kind else np.float64)
        self.constant(dtype)
        self.words += [MAKE, self.new(name), id(dtype), len(lengths), *lengths]

    def kind(self, expr: ast.expr) -> Any:
        match expr:
            case ast.Name(id=name):
                return self.scope[name]
            case ast.Attribute(value=ast.Name(id="np"), attr=name):
                return getattr(np, name)
        raise Unfit

    def run(self, call: ast.Call, names: list[ast.expr]) -> None:
        """A kernel, whose results are numbers of Python's own. One without a name is None."""
        entry = self.scope.get(call.func.id) if isinstance(call.func, ast.Name) else None
        held = getattr(entry, "__self__", None)
        if not isinstance(held, Held) or call.keywords:
            raise Unfit
        args = [self.place(a) for a in call.args]
        self.widest = max(self.widest, len(args))
        self.words += [CALL, held.definition.address, len(args), len(names), self.several(names), *args]

    # ------------------------------------------------------------ result
    def is_made(self, expr: ast.expr) -> bool:
        return isinstance(expr, ast.Name) and self.places.get(expr.id, 0) >= self.given

    def give(self, expr: ast.expr) -> None:
        """The steps of a result, inner parts first."""
        waiting: list[ast.expr | list[int]] = [expr]
        steps: list[list[int]] = []
        while waiting:
            part = waiting.pop()
            if isinstance(part, list):
                steps.append(part)
            elif isinstance(part, ast.Tuple):
                waiting += [[TUPLE, len(part.elts)], *reversed(part.elts)]
            elif isinstance(part, ast.Dict):
                keys = [self.place(k) if isinstance(k, ast.Constant) else self.none() for k in part.keys]
                waiting += [[DICT, len(keys), *keys], *reversed(part.values)]
            elif isinstance(part, ast.Constant) or self.is_made(part):
                steps.append([PUSH, self.place(part)])
            else:
                steps.append([COPY, self.copied(part)])
        for step in steps:
            self.depth += 1 if step[0] in (PUSH, COPY) else 1 - step[1]
            self.deepest = max(self.deepest, self.depth)
            self.words += step
        self.words.append(GIVE)

    def copied(self, expr: ast.expr) -> int:
        """The place of the array of which a copy is made."""
        match expr:
            case ast.Call(args=[ast.Name(id=name)]) if ast.unparse(expr) == f"np.array({name}, order='C')":
                if name in self.places:
                    return self.places[name]
        raise Unfit

    def none(self) -> int:
        raise Unfit


def recipe(source: str, run: Callable[..., Any]) -> tuple[bytes, tuple[Any, ...]] | None:
    """The words of a recipe and its constants for a driver, of which `source` is the text and `run` the function; None for
    one that does more than recipes can, such as calling NumPy. Both must live as long as they are used."""
    scope: Mapping[str, Any] = run.__globals__
    (driver,) = (s for s in ast.parse(source).body if isinstance(s, ast.FunctionDef) and s.name == run.__name__)
    try:
        found = Reader(driver, scope)
    except Unfit:
        return None
    own, constants = found.count, tuple(found.constants)
    if max(own + len(constants), found.deepest, found.widest) > MOST or found.words[-1:] != [GIVE]:
        return None
    words = [own + w if isinstance(w, Constant) else w for w in found.words]
    head = [own + len(constants), found.given, len(constants), found.deepest, found.widest]
    assert len(head) == HEAD
    return struct.pack(f"{HEAD + len(words) + 1}q", *head, *words, 0), constants
