"""What every printer of the loop form needs: the order of functions, and statements one after another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence

from gradlang.loops.ir import (
    Buffer,
    Cell,
    Declare,
    For,
    Function,
    If,
    Kernel,
    Let,
    Load,
    Read,
    Run,
    Statement,
    Store,
    Update,
    Value,
)
from gradlang.loops.walk import operands, statements

Opened = Iterator[Statement]


def drive(body: Sequence[Statement], one: Callable[[Statement], Opened | None]) -> None:
    """Give every statement to `one`. For a block it returns a generator that writes the head, yields the statements inside,
    and writes the end. Blocks may be nested to any depth."""
    stack: list[Opened] = [iter(body)]
    while stack:
        for statement in stack[-1]:
            opened = one(statement)
            if opened is not None:
                stack.append(opened)
                break
        else:
            stack.pop()


def called(body: Sequence[Statement], without: Collection[For] = ()) -> list[str]:
    """The names of the functions that a body calls itself, outside some innermost loops, each once, in order."""
    left_out = {id(s) for loop in without for s in loop.body}
    calls = (s for s in statements(body) if isinstance(s, Let) and s.op == "call" and id(s) not in left_out)
    return list(dict.fromkeys(s.function for s in calls))


def with_routines(kernels: Sequence[Kernel]) -> list[Kernel]:
    """Kernels and those that they run, every one after those that it runs itself."""
    order: dict[Kernel, None] = {}
    stack = list(reversed(kernels))
    while stack:
        kernel = stack[-1]
        inner = [s.kernel for s in statements(kernel.body) if isinstance(s, Run) and s.kernel not in order]
        if inner and kernel not in order:
            stack += inner
        else:
            order[stack.pop()] = None
    return list(order)


def needed(
    kernels: Sequence[Kernel], functions: Callable[[str], Function], without: Collection[For] = ()
) -> list[tuple[str, Function]]:
    """The functions that kernels call outside some innermost loops, and those that these call, every one after what it calls
    itself.

    Raises ValueError if functions call each other in a circle.
    """
    found: dict[str, Function] = {}
    inner: dict[str, list[str]] = {}
    waiting = [name for kernel in kernels for name in called(kernel.body, without)]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = functions(name)
            inner[name] = called(found[name].body)
            waiting += inner[name]
    callers: dict[str, list[str]] = {name: [] for name in found}
    open_calls = {name: len(names) for name, names in inner.items()}
    for name, names in inner.items():
        for other in names:
            callers[other].append(name)
    order = sorted(name for name, count in open_calls.items() if not count)
    for name in order:  # grows while it is walked
        for caller in callers[name]:
            open_calls[caller] -= 1
            if not open_calls[caller]:
                order.append(caller)
    if len(order) < len(found):
        raise ValueError(f"these functions call each other: {', '.join(sorted(set(found) - set(order)))}")
    return [(name, found[name]) for name in order]


def summed_products(body: Sequence[Statement]) -> set[Value]:
    """Products that are only added to a running sum: their rounding is as free as the order of the sum."""
    products: set[Value] = set()
    uses: Counter[Value] = Counter()
    added: Counter[Value] = Counter()
    for s in statements(body):
        if isinstance(s, Let) and s.op == "mul":
            products.add(s.value)
        (added if isinstance(s, Update) and s.op == "add" else uses).update(operands(s))
    return {p for p in products if added[p] == 1 and not uses[p]}


def live(body: Sequence[Statement], results: Sequence[Value] = ()) -> tuple[set[Value], set[Cell]]:
    """The values and cells that something comes of. All others may be left out, together with what updates them."""
    flat = list(statements(body))
    cells = {s.cell for s in flat if isinstance(s, Read)}
    while True:
        values = set(results)
        for s in reversed(flat):  # what uses a value stands after it
            if isinstance(s, Let | Load | Read):
                if s.value in values:
                    values.update(operands(s))
            elif not isinstance(s, Declare | Update) or s.cell in cells:
                values.update(operands(s))
        read = {s.cell for s in flat if isinstance(s, Read) and s.value in values}
        if read == cells:
            return values, cells
        cells = read


def prune(body: list[Statement], own: Collection[Buffer]) -> set[Buffer]:
    """Takes out what only makes entries of `own` buffers that nobody reads. Returns the buffers that are left."""
    while True:
        values, _ = live(body)
        read = {s.buffer for s in statements(body) if isinstance(s, Load) and s.value in values}
        read |= {b for s in statements(body) if isinstance(s, Run) for b, _ in s.buffers}
        dead = set(own) - read
        if not any(isinstance(s, Store) and s.buffer in dead for s in statements(body)):
            return read & set(own)
        blocks = [body]
        order = []
        for block in blocks:  # grows while it is walked
            order.append(block)
            block[:] = [s for s in block if not (isinstance(s, Store) and s.buffer in dead)]
            for s in block:
                blocks += [s.body] if isinstance(s, For) else [s.then, s.otherwise] if isinstance(s, If) else []
        for block in reversed(order):  # inner blocks first
            block[:] = [s for s in block if not empty(s)]


def empty(s: Statement) -> bool:
    return (isinstance(s, For) and not s.body) or (isinstance(s, If) and not s.then and not s.otherwise)
