"""What functions of other languages and libraries are called here, for the hint of an unknown name."""

from __future__ import annotations

HERE = {
    "ln": "log",
    "fabs": "abs",
    "sgn": "sign",
    "sqr": "square",
    "tg": "tan",
    "gammaln": "lgamma",
    "loggamma": "lgamma",
    "expit": "sigmoid",
    "logistic": "sigmoid",
    "swish": "silu",
    "ndtr": "norm_cdf",
    "normcdf": "norm_cdf",
    "Phi": "norm_cdf",
    "ndtri": "norm_ppf",
    "probit": "norm_ppf",
    "average": "mean",
    "len": "size",
    "length": "size",
    "numel": "size",
    "concatenate": "concat",
    "vstack": "stack",
    "hstack": "concat",
    "permute": "transpose",
    "gather": "take",
    "inverse": "inv",
    "identity": "eye",
    "inner": "dot",
    "tensordot": "einsum",
    "lse": "logsumexp",
    "log_sum_exp": "logsumexp",
}
FORMULAS = {
    "diff": "differences of neighbours are `x[1:] - x[:-1]`",
    "gradient": "a derivative is `grad(y, x)`",
    "gamma": "the gamma function is `exp(lgamma(x))` for positive x",
    "factorial": "a factorial is `exp(lgamma(n + 1))`",
}


def hint(name: str, known: list[str]) -> str:
    """A hint for a name that is known elsewhere, or an empty text."""
    here = HERE.get(name)
    return f"write `{here}`" if here in known else FORMULAS.get(name, "")
