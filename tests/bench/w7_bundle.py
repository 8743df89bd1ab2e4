"""W7: bundle adjustment as in ADBench: the 2 x 15 Jacobian of every reprojection residual, 31,843 observations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import floors
import numpy as np
from timing import Bench
from w7_peers import peer_makers

import gradlang as gl

TEXT = """cams : [C, 11]
X    : [P, 3]
w    : [N]
obs  : int[N, 2]
feat : [N, 2]

def rotate(r, v):
    angle = sqrt(sum(r**2))
    n     = r / angle
    return v*cos(angle) + cross(n, v)*sin(angle) + n*sum(n*v)*(1 - cos(angle)) if sum(r**2) > 0 else v + cross(r, v)

def project(cam, x):
    p    = rotate(cam[:3], x - cam[3:6])
    flat = p[:2] / p[2]
    r2   = sum(flat**2)
    return cam[6]*flat*(1 + cam[9]*r2 + cam[10]*r2**2) + cam[7:9]

def residual(leaves, feat) = leaves[14]*(project(leaves[:11], leaves[11:14]) - feat)

def slopes(leaves, feat):
    r = residual(leaves, feat)
    return jacobian(r, leaves)

J = [slopes(concat([cams[obs[i, 0]], X[obs[i, 1]], w[i:i+1]]), feat[i]) for i in range(N)]
r = [residual(concat([cams[obs[i, 0]], X[obs[i, 1]], w[i:i+1]]), feat[i]) for i in range(N)]
"""
BLOCK = 2048
Arrays = dict[str, np.ndarray]
Call = Callable[[], Any]


def data(cameras: int, points: int, n: int) -> Arrays:
    r = np.random.default_rng(8)
    cams = np.concatenate(
        [
            r.normal(0, 0.3, (cameras, 3)),
            r.normal(0, 0.3, (cameras, 3)) - [0, 0, 5],
            r.uniform(200, 300, (cameras, 1)),
            r.normal(100, 5, (cameras, 2)),
            r.normal(0, 0.02, (cameras, 2)),
        ],
        axis=1,
    )
    obs = np.stack([r.integers(0, cameras, n), r.integers(0, points, n)], axis=1)
    return {
        "cams": cams,
        "X": r.normal(0, 0.5, (points, 3)),
        "w": r.uniform(0.5, 1.5, n),
        "obs": obs,
        "feat": r.normal(100, 50, (n, 2)),
    }


def block(c: Any, x: Any, w: Any, feat: Any, J: Any) -> None:
    """Fills J[2, 15, n] from c[11, n], x[3, n], w[n], feat[2, n]: the formulas of c/w7_bundle.c, lane by lane."""
    r, f, k1, k2 = c[:3], c[6], c[9], c[10]
    v = x - c[3:6]
    square = np.einsum("in,in->n", r, r) + 1e-300
    over, angle = 1 / square, np.sqrt(square)
    A = np.cos(angle)
    B = np.sin(angle) * angle * over
    D = 2 * np.sin(0.5 * angle) ** 2 * over
    q = cross(r, v)
    rv = np.einsum("in,in->n", r, v)
    p = A * v + B * q + (D * rv) * r
    z = 1 / p[2]
    a, b = flat = p[:2] * z
    s = a * a + b * b
    L, M, g = 1 + s * (k1 + s * k2), 2 * (k1 + 2 * s * k2), w * f
    g0, gM = g * L, g * M
    e00, e01, e11 = g0 + a * a * gM, a * b * gM, g0 + b * b * gM
    dB, dD = (A - B) * over, (B - 2 * D) * over * rv
    for k, (one, two) in enumerate(((e00, e01), (e01, e11))):
        G = np.stack([one, two, -(one * a + two * b)])
        G *= z
        gr, gv, gq = (np.einsum("in,in->n", G, other) for other in (r, v, q))
        gr_D = gr * D
        J[k, 11:14] = A * G + B * cross(G, r) + gr_D * r
        np.negative(J[k, 11:14], out=J[k, 3:6])
        J[k, :3] = (dB * gq - B * gv + dD * gr) * r + B * cross(v, G) + (D * rv) * G + gr_D * v
        Lf = L * flat[k]
        np.multiply(w, Lf, out=J[k, 6])
        J[k, 7 + k] = w
        J[k, 8 - k] = 0
        np.multiply(g * flat[k], s, out=J[k, 9])
        np.multiply(J[k, 9], s, out=J[k, 10])
        J[k, 14] = f * Lf + c[7 + k] - feat[k]


def cross(a: Any, b: Any) -> Any:
    out = np.empty_like(a)
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        np.multiply(a[j], b[k], out=out[i])
        out[i] -= a[k] * b[j]
    return out


def by_hand(d: Arrays, J: np.ndarray) -> np.ndarray:
    """NumPy in blocks that stay in the cache; gives J as [n, 2, 15]."""
    ct, xt, ft = (np.ascontiguousarray(d[k].T) for k in ("cams", "X", "feat"))
    camera, point = np.ascontiguousarray(d["obs"].T)
    for start in range(0, len(camera), BLOCK):
        part = slice(start, start + BLOCK)
        block(ct.take(camera[part], axis=1), xt.take(point[part], axis=1), d["w"][part], ft[:, part], J[:, :, part])
    return J.transpose(2, 0, 1)


def c_floor(d: Arrays) -> Call:
    J = np.empty((2, 15, len(d["w"])))
    names = ("cams", "X", "w", "obs", "feat")
    call = floors.bound(floors.library("w7_bundle").jacobian, [len(d["w"]), *(d[k] for k in names), J], floors.int64)

    def go() -> Any:
        call()
        return J.transpose(2, 0, 1)

    return go


def run(bench: Bench) -> None:
    model = gl.loads(TEXT)
    f, value = model.function("J"), model.function("r")
    d = data(49, 7776, 3184 if bench.quick else 31843)
    J = np.empty((2, 15, len(d["w"])))
    makers: dict[str, Callable[[], Call]] = {
        "gradlang": lambda: lambda: f(d),
        "NumPy by hand, blocks": lambda: lambda: by_hand(d, J),
        "C by hand, observations as lanes": lambda: c_floor(d),
        **peer_makers(d),
    }
    notes = {"gradlang": f.backend}
    bench.race(
        "W7",
        f"{len(J[0, 0])} observations",
        makers,
        by_hand(d, J).copy(),
        seconds=5,
        objective=lambda: value(d),
        what=("Jacobian", "residuals"),
        notes=notes,
    )
