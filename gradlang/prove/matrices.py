"""Examples of the entries of linear algebra: well-conditioned matrices, none of them symmetric, batches, both triangles."""

from __future__ import annotations

from typing import Any

GENERAL = [[2.0, -1.0, 0.5], [0.25, 1.5, -1.0], [1.0, 0.75, -2.5]]
POSITIVE = [[4.0, 1.0, -0.5], [0.5, 3.0, 1.0], [0.25, -0.5, 2.5]]
PAIR = [[[2.0, 0.5], [-1.0, 1.25]], [[-0.5, 1.5], [1.0, 0.75]]]
POSITIVE_PAIR = [[[2.0, 0.5], [-1.0, 1.25]], [[1.5, 0.25], [0.5, 3.0]]]
COUNTED = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]
TRIANGLE = [[1.5, 9.0, -7.0], [-0.5, -2.0, 8.0], [0.75, 1.0, 1.25]]

Row = tuple[list[tuple[int, ...]], Any, dict[str, Any]]  # shapes of the arguments, data of the first, settings
SQUARE: list[Row] = [([(3, 3)], GENERAL, {}), ([(2, 2, 2)], PAIR, {}), ([(1, 1)], [[-1.5]], {})]
PARTS: list[Row] = [([(3, 3)], COUNTED, {}), ([(2, 3)], COUNTED[:2], {"k": 1}), ([(2, 3, 2)], None, {"k": -1})]
SPD: list[Row] = [([(3, 3)], POSITIVE, {}), ([(2, 2, 2)], POSITIVE_PAIR, {})]
EXAMPLES: dict[str, list[Row]] = {
    "tril": PARTS,
    "triu": PARTS,
    "diagonal": [([(3, 3)], COUNTED, {}), ([(2, 3, 3)], None, {})],
    "diag_matrix": [([(3,)], COUNTED[0], {}), ([(2, 3)], COUNTED[:2], {})],
    "solve": [
        ([(3, 3), (3,)], GENERAL, {}),
        ([(3, 3), (3, 2)], GENERAL, {}),
        ([(2, 2, 2), (2,)], PAIR, {}),
        ([(2, 2, 2), (2, 2, 1)], PAIR, {}),
        ([(2, 2), (2, 2, 3)], PAIR[0], {}),
    ],
    "triangular_solve": [
        ([(3, 3), (3,)], TRIANGLE, {}),
        ([(3, 3), (3, 2)], TRIANGLE, {"lower": False}),
        ([(3, 3), (3, 2)], TRIANGLE, {"trans": True}),
        ([(3, 3), (3,)], TRIANGLE, {"lower": False, "trans": True}),
        ([(2, 2, 2), (2,)], PAIR, {}),
        ([(2, 2), (2, 2, 1)], PAIR[0], {"trans": True}),
    ],
    "inv": SQUARE,
    "det": SQUARE,
    "cofactor": SQUARE,
    "slogdet_packed": SQUARE,
    "logdet": SPD,
    "cholesky": SPD,
    "eigh_packed": [([(3, 3)], POSITIVE, {}), ([(2, 2, 2)], PAIR, {})],
}
