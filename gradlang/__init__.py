"""gradlang: a small declarative language for differentiable formulas.

import gradlang as gl
model = gl.loads("price = (apple*n + orange*m) * tax")
price, grads = model.value_and_grad("price")(apple=100, n=2, orange=150, m=3, tax=1.1)
"""

from gradlang._version import __version__
from gradlang.api import Model, from_graph, load, loads
from gradlang.diagnostics import Diagnostic, GradlangError, InputError, InternalError, SourceError

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
