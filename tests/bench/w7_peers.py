"""The Jacobians of bundle adjustment in other packages, each in the way that suits it best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import peers

Arrays = dict[str, np.ndarray]
Call = Callable[[], Any]


def residuals(sin: Any, cos: Any, sqrt: Any, c: Sequence[Any], x: Sequence[Any], w: Any, feat: Sequence[Any]) -> list[Any]:
    """Both residuals from numbers, or from arrays of observations, of any package."""
    r, v = c[:3], [a - b for a, b in zip(x, c[3:6], strict=True)]
    angle = sqrt(r[0] * r[0] + r[1] * r[1] + r[2] * r[2])
    n = [a / angle for a in r]
    co, si = cos(angle), sin(angle)
    nv = (n[0] * v[0] + n[1] * v[1] + n[2] * v[2]) * (1 - co)
    turned = [n[1] * v[2] - n[2] * v[1], n[2] * v[0] - n[0] * v[2], n[0] * v[1] - n[1] * v[0]]
    p = [v[k] * co + turned[k] * si + n[k] * nv for k in range(3)]
    a, b = p[0] / p[2], p[1] / p[2]
    s = a * a + b * b
    scale = c[6] * (1 + c[9] * s + c[10] * s * s)
    return [w * (scale * a + c[7] - feat[0]), w * (scale * b + c[8] - feat[1])]


def gathered(d: Arrays) -> np.ndarray:
    """[17, n]: the 15 leaves of every observation, then the feature."""
    camera, point = d["obs"].T
    return np.concatenate([d["cams"].T[:, camera], d["X"].T[:, point], d["w"][None], d["feat"].T])


def jax(d: Arrays, forward: bool) -> Call:
    j = peers.jax()
    jnp = j.numpy

    def one(leaves: Any, feat: Any) -> Any:
        return jnp.stack(residuals(jnp.sin, jnp.cos, jnp.sqrt, leaves[:11], leaves[11:14], leaves[14], feat))

    @j.jit
    def jacobian(cams: Any, X: Any, w: Any, obs: Any, feat: Any) -> Any:
        leaves = jnp.concatenate([cams[obs[:, 0]], X[obs[:, 1]], w[:, None]], axis=1)
        return j.vmap((j.jacfwd if forward else j.jacrev)(one))(leaves, feat)

    there = [j.device_put(d[k]) for k in ("cams", "X", "w", "obs", "feat")]
    return lambda: j.block_until_ready(jacobian(*there))


def jax_rows(d: Arrays) -> Call:
    """Observations as the last axis, and two backward passes over all of them."""
    j = peers.jax()
    jnp = j.numpy

    @j.jit
    def jacobian(cams: Any, X: Any, w: Any, obs: Any, feat: Any) -> Any:
        leaves = [*cams.T[:, obs[:, 0]], *X.T[:, obs[:, 1]], w]
        made, back = j.vjp(lambda p: residuals(jnp.sin, jnp.cos, jnp.sqrt, p[:11], p[11:14], p[14], feat.T), leaves)
        ones, zeros = jnp.ones_like(made[0]), jnp.zeros_like(made[0])
        return jnp.stack([jnp.stack(back(u)[0]) for u in ([ones, zeros], [zeros, ones])])

    there = [j.device_put(d[k]) for k in ("cams", "X", "w", "obs", "feat")]
    return lambda: np.asarray(jacobian(*there)).transpose(2, 0, 1)


def torch(d: Arrays) -> Call:
    t = peers.torch()
    there = {k: t.tensor(v) for k, v in d.items()}

    def call() -> Any:
        leaves = [*there["cams"].T[:, there["obs"][:, 0]], *there["X"].T[:, there["obs"][:, 1]], there["w"]]
        leaves = [a.detach().requires_grad_() for a in leaves]
        both = residuals(t.sin, t.cos, t.sqrt, leaves[:11], leaves[11:14], leaves[14], there["feat"].T)
        rows = [t.autograd.grad(e.sum(), leaves, retain_graph=k == 0, materialize_grads=True) for k, e in enumerate(both)]
        return t.stack([t.stack(list(row)) for row in rows]).numpy().transpose(2, 0, 1)

    return call


def autograd(d: Arrays) -> Call:
    peers.autograd()
    import autograd.numpy as anp
    from autograd import make_vjp

    def call() -> Any:
        all_leaves = gathered(d)
        back, made = make_vjp(
            lambda p: anp.array(residuals(anp.sin, anp.cos, anp.sqrt, p[:11], p[11:14], p[14], all_leaves[15:]))
        )(all_leaves[:15])
        u = np.zeros_like(made)
        rows = []
        for k in range(2):
            u[:] = 0
            u[k] = 1
            rows.append(back(u))
        return np.stack(rows).transpose(2, 0, 1)

    return call


def drjit(d: Arrays) -> Call:
    dr = peers.drjit()
    from drjit.llvm.ad import Float64, UInt32

    flat = {k: Float64(d[k].ravel()) for k in ("cams", "X", "w", "feat")}
    obs, n = UInt32(d["obs"].ravel().astype("uint32")), len(d["w"])

    def call() -> Any:
        i = dr.arange(UInt32, n)
        camera, point = dr.gather(UInt32, obs, 2 * i), dr.gather(UInt32, obs, 2 * i + 1)
        leaves = [dr.gather(Float64, flat["cams"], 11 * camera + k) for k in range(11)]
        leaves += [dr.gather(Float64, flat["X"], 3 * point + k) for k in range(3)]
        leaves.append(dr.gather(Float64, flat["w"], i))
        feat = [dr.gather(Float64, flat["feat"], 2 * i + k) for k in range(2)]
        rows = []
        for k in range(2):
            own = [Float64(a) for a in leaves]
            dr.enable_grad(*own)
            dr.backward(residuals(dr.sin, dr.cos, dr.sqrt, own[:11], own[11:14], own[14], feat)[k])
            rows += [dr.grad(a) + dr.zeros(Float64, n) for a in own]
        dr.eval(rows)
        dr.sync_thread()
        return rows

    def answer() -> Any:
        return np.stack([np.array(row) for row in call()]).reshape(2, 15, n).transpose(2, 0, 1)

    call.answer = answer  # type: ignore[attr-defined]
    return call


def ddx(d: Arrays) -> Call:
    x = peers.ddx()

    def model() -> Any:
        leaves = [x.var(f"p{k}") for k in range(15)]
        feat = [x.param("u"), x.param("v")]
        return tuple(residuals(x.sin, x.cos, x.sqrt, leaves[:11], leaves[11:14], leaves[14], feat))

    point = gathered(d)
    f = x.equation(model).compile(points=point.shape[1])
    call = f.buffer(point)

    def go() -> Any:
        call.x[:] = gathered(d)
        call()
        return call.jacobian

    go.answer = lambda: np.asarray(go()).transpose(2, 0, 1)  # type: ignore[attr-defined]
    return go


def casadi(d: Arrays) -> Call:
    c = peers.casadi()
    p, feat = c.SX.sym("p", 15), c.SX.sym("f", 2)
    both = c.vertcat(*residuals(c.sin, c.cos, c.sqrt, c.vertsplit(p)[:11], c.vertsplit(p)[11:14], p[14], c.vertsplit(feat)))
    n = len(d["w"])
    made = c.Function("J", [p, feat], [c.densify(c.jacobian(both, p))]).map(n)
    points = gathered(d)
    call, (J,) = peers.from_casadi(made, [points[:15], points[15:]])

    def go() -> Any:
        call()
        return J.reshape(n, 15, 2).transpose(0, 2, 1)

    return go


def sympy(d: Arrays) -> Call:
    s = peers.sympy()
    p, feat = s.symbols("p:15"), s.symbols("f:2")
    both = residuals(s.sin, s.cos, s.sqrt, p[:11], p[11:14], p[14], feat)
    f = s.lambdify((*p, *feat), [e.diff(k) for e in both for k in p], "numpy", cse=True)
    J = np.empty((30, len(d["w"])))

    def call() -> Any:
        for row, made in zip(J, f(*gathered(d)), strict=True):
            row[:] = made
        return J.reshape(2, 15, -1).transpose(2, 0, 1)

    return call


def peer_makers(d: Arrays) -> dict[str, Callable[[], Call]]:
    return {
        "jax.jit, two backward passes": lambda: jax_rows(d),
        "jax.jit, vmap of jacrev": lambda: jax(d, False),
        "jax.jit, vmap of jacfwd": lambda: jax(d, True),
        "drjit": lambda: drjit(d),
        "ddx, compiled": lambda: ddx(d),
        "casadi SX, map, buffer": lambda: casadi(d),
        "torch, two backward passes": lambda: torch(d),
        "autograd, two backward passes": lambda: autograd(d),
        "sympy lambdify": lambda: sympy(d),
    }
