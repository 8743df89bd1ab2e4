"""What is called with a vector besides the inputs: products with Jacobians and Hessians, and layers."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from gradlang.diagnostics import Diagnostic, InputError, did_you_mean
from gradlang.runtime.bind import by_name
from gradlang.runtime.call import NOTHING, Compiled


class Product:
    """A product with a Jacobian or Hessian: called as g(vector, **inputs)."""

    def __init__(self, compiled: Compiled, single: str | None, vectors: int) -> None:
        self.compiled, self.single = compiled, single
        self.names = [n for n, _ in compiled.binder.extra][:vectors]

    @property
    def source(self) -> str:
        return self.compiled.source

    def __call__(self, vector: Any, given: Mapping[str, Any] = NOTHING, /, **values: Any) -> Any:
        inputs = {**by_name(given), **values}
        if isinstance(vector, Mapping):
            wanted = list(self.compiled.job.wrt)
            for n in vector:
                if n not in wanted:
                    help = did_you_mean(str(n), wanted) or f"vectors are for {', '.join(wanted)}"
                    raise InputError([Diagnostic("G502", f"there is no vector for `{n}`", help=help)])
            inputs.update({k: vector[w] for k, w in zip(self.names, wanted, strict=True) if w in vector})
        elif len(self.names) == 1:
            inputs[self.names[0]] = vector
        else:
            raise InputError([Diagnostic("G512", "one vector is given for several names", help="give a dict: name -> vector")])
        value, product = self.compiled(inputs)
        return value, product[self.single] if self.single is not None and isinstance(product, Mapping) else product


class Layer:
    """A definition as a layer: forward keeps its inputs, backward multiplies by the upstream derivative."""

    def __init__(self, function: Compiled, vjp: Product) -> None:
        self._function, self._vjp = function, vjp
        self._inputs: dict[str, Any] | None = None

    def forward(self, given: Mapping[str, Any] = NOTHING, /, **values: Any) -> Any:
        inputs = {**by_name(given), **values}
        out = self._function(inputs)
        # copies: backward is about the values of this forward, whatever the caller does to the arrays until then
        self._inputs = {n: v if isinstance(v, (int, float)) else deepcopy(v) for n, v in inputs.items()}
        return out

    def backward(self, upstream: Any = 1.0) -> dict[str, Any]:
        """The derivatives by every leaf, for the inputs of the last forward."""
        if self._inputs is None:
            raise InputError([Diagnostic("G513", "backward needs a forward before it")])
        return self._vjp(upstream, self._inputs)[1]  # type: ignore[no-any-return]
