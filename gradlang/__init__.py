"""gradlang: a small declarative language for differentiable formulas.

import gradlang as gl
model = gl.loads("price = (apple*n + orange*m) * tax")
price, grads = model.value_and_grad("price")(apple=100, n=2, orange=150, m=3, tax=1.1)
"""

from gradlang._version import __version__
from gradlang.api import Model
from gradlang.diagnostics import Diagnostic, GradlangError, InputError, InternalError, SourceError
from gradlang.opening import from_graph, load, loads

__all__ = [
    "Diagnostic",
    "GradlangError",
    "InputError",
    "InternalError",
    "Model",
    "SourceError",
    "__version__",
    "from_graph",
    "load",
    "loads",
]


def load_ipython_extension(shell: object) -> None:
    """Called by `%load_ext gradlang` in a notebook: `%%grad` makes models of cells."""
    from gradlang.notebook import load_ipython_extension

    load_ipython_extension(shell)
