"""User names to identifiers of generated code: never a keyword, never a name that the generated code uses itself."""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Iterable

PYTHON_RESERVED = (
    frozenset(keyword.kwlist)
    | frozenset(keyword.softkwlist)
    | frozenset(dir(builtins))
    | frozenset({"np", "math", "F", "self", "given", "inf", "nan", "unknown", "GIVEN"})
)
GRAD_RESERVED = frozenset(
    "input param const def return op rule import from as for in if else and or not true false grad jacobian hessian "
    "output check minimize maximize wrt inf nan".split()
)

ARRAY_KINDS = {"real": "F", "int": "np.int64", "bool": "np.bool_"}  # kinds of arrays in generated code


def printable(text: str) -> str:
    """A text of a user, such as a name of a file, as it can stand in one line of any generated text."""
    return "".join(c if c.isprintable() else "?" for c in text)


class Names:
    """Hands out identifiers, each once."""

    def __init__(self, reserved: Iterable[str], ascii_only: bool = False) -> None:
        self.taken = set(reserved)
        self.ascii_only = ascii_only
        self.counter = 0
        self.kept: dict[str, str] = {}

    def keep(self, name: str) -> None:
        """Nothing but what asks for it with `output` is called so."""
        self.kept[name] = self.user(name)

    def output(self, name: str) -> str:
        """The identifier of an output."""
        return self.kept.pop(name, None) or self.user(name)

    def user(self, name: str) -> str:
        """An identifier as near to a user's name as possible."""
        made = re.sub(r"\W", "_", name)
        if self.ascii_only:
            made = "".join(c if c.isascii() else f"u{ord(c):x}" for c in made)
        if made.startswith("__") or not made.strip("_") or not made.isidentifier():
            made = "v" + made if made.startswith("_") else "v_" + made
        while made in self.taken:
            made += "_"
        self.taken.add(made)
        return made

    def fresh(self, stem: str = "t") -> str:
        while True:
            self.counter += 1
            made = f"{stem}{self.counter}"
            if made not in self.taken:
                self.taken.add(made)
                return made
