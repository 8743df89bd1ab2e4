"""The functions that generated loops call: accuracy in every binade and at every special value, with and without fma."""

from __future__ import annotations

import itertools

import mpmath
import numpy as np
import pytest
from derive_coefficients import SPLIT, derive, split
from hypothesis import given, settings
from hypothesis import strategies as st
from loop_oracle import REALS, fma64, run
from loop_references import EXACTLY_NUMPYS, REFERENCES, WITHOUT_FMA, Array, error

from gradlang.loops import coefficients, exponential
from gradlang.loops.functions import LIMITS, NAMES, function
from gradlang.loops.ir import Code, Value
from gradlang.loops.writing import FORMATS, Writer

WIDTHS = ("f64", "f32")
CASES = list(itertools.product(NAMES, WIDTHS))
MEASURED = [case for case in CASES if case[0] in REFERENCES]
PER_RANGE = 500


def binades(width: str, rng: np.random.Generator, each: int) -> Array:
    """Numbers of every power of two, with those below the normal ones, and both signs."""
    least, most = (-1074, 1023) if width == "f64" else (-149, 127)
    step = 3 if width == "f64" else 1
    exponents = np.repeat(np.arange(least, most + 1, step) + rng.integers(0, step), each)
    exponents = np.minimum(exponents, most)
    return np.ldexp(rng.uniform(1, 2, exponents.size), exponents) * rng.choice([-1.0, 1.0], exponents.size)


def points(name: str, width: str, count: int) -> list[Array]:
    """Arguments of a function: `count` arrays."""
    rng = np.random.default_rng(sum(map(ord, name)))
    each = []
    for _ in range(count):
        uniform = [rng.uniform(low, high, PER_RANGE) for low, high in REFERENCES[name].ranges]
        each.append(np.concatenate([*uniform, rng.permutation(binades(width, rng, 2))]).astype(REALS[width]))
    limit = LIMITS.get(name, {}).get(width, np.inf)
    keep = np.all([np.isfinite(x) & (np.abs(x) <= limit) for x in each], axis=0)
    return [x[keep] for x in each]


def allowance(name: str) -> float:
    """The bound without fused multiply-adds."""
    bound = REFERENCES[name].bound
    return bound + 1 if bound >= WITHOUT_FMA else WITHOUT_FMA


def worst(name: str, width: str, got: Array, wanted: list[object], arguments: list[Array]) -> tuple[float, object]:
    errors = [error(float(g), w, width) for g, w in zip(got, wanted, strict=True)]
    k = int(np.argmax(errors))
    return errors[k], (name, width, [float(x[k]) for x in arguments], float(got[k]), wanted[k])


@pytest.mark.parametrize(("name", "width"), MEASURED)
def test_accuracy_in_every_binade(name: str, width: str):
    f = function(name, width)
    arguments = points(name, width, len(f.params))
    with mpmath.mp.workprec(140):
        wanted = [REFERENCES[name].value(*map(mpmath.mpf, map(float, at))) for at in zip(*arguments, strict=True)]
        for fma, bound in ((True, REFERENCES[name].bound), (False, allowance(name))):
            got = run(f, width, *arguments, fma=fma)
            most, where = worst(name, width, got, wanted, arguments)
            assert most <= bound, (most, fma, where)


@pytest.mark.parametrize(("name", "width"), CASES)
def test_infinities_nans_and_zeros_are_numpys(name: str, width: str):
    f = function(name, width)
    values = [0.0, -0.0, np.inf, -np.inf, np.nan]
    if len(f.params) == 2:
        values += [1.0, -1.0, 2.0, -3.0, 2.5, -0.5]
    elif name not in LIMITS:
        values += [1e30, -1e30]
    arguments = [np.array(x, REALS[width]) for x in zip(*itertools.product(values, repeat=len(f.params)), strict=True)]
    with np.errstate(all="ignore"):
        wanted = (EXACTLY_NUMPYS[name] if name in EXACTLY_NUMPYS else REFERENCES[name].numpy)(*arguments)
    for fma in (True, False):
        got = run(f, width, *arguments, fma=fma)
        assert got.dtype == wanted.dtype
        exact = np.isnan(wanted) | np.isinf(wanted) | (wanted == 0)
        np.testing.assert_array_equal(got[exact], wanted[exact])
        np.testing.assert_allclose(got[~exact], wanted[~exact], rtol=1e-14 if width == "f64" else 1e-6)
        signs = exact & ~np.isnan(wanted)
        np.testing.assert_array_equal(np.signbit(got[signs]), np.signbit(wanted[signs]))


@pytest.mark.parametrize("name", EXACTLY_NUMPYS)
@pytest.mark.parametrize("width", WIDTHS)
def test_quotients_and_remainders_are_exactly_numpys(name: str, width: str):
    rng = np.random.default_rng(1)
    real = REALS[width]
    n = 4000
    scales = np.ldexp(1.0, rng.integers(0, 45 if width == "f64" else 20, n))
    b = np.concatenate([rng.normal(size=n), rng.normal(size=n), np.rint(rng.normal(size=n) * 9), rng.normal(size=n)]).astype(
        real
    )
    a = np.concatenate(
        [rng.normal(size=n) * 5, rng.normal(size=n) * scales, np.rint(rng.normal(size=n) * 999), b[-n:] * np.arange(n)]
    ).astype(real)
    tiny = np.finfo(real).smallest_subnormal
    a, b = np.append(a, [tiny, -tiny, 5 * tiny, 1.0]), np.append(b, [1.0, 1.0, 3 * tiny, np.finfo(real).max])
    a, b = a.astype(real), b.astype(real)
    with np.errstate(all="ignore"):
        wanted = EXACTLY_NUMPYS[name](a, b)
    for fma in (True, False):
        got = run(function(name, width), width, a, b, fma=fma)
        np.testing.assert_array_equal(got, wanted)
        number = ~np.isnan(wanted)
        np.testing.assert_array_equal(np.signbit(got[number]), np.signbit(wanted[number]))


# 6381956970095103 2^797 is the number of binary64 that is nearest to a multiple of pi/2 (Muller, Elementary Functions, section
# 11.5); the one of binary32 and the multiples' neighbours were found by trying all.
NEAR_MULTIPLES = {
    "f64": [6381956970095103 * 2.0**797, *(k * np.pi / 2 for k in range(1, 40))],
    "f32": [16367173 * 2.0**72, 10741887 * 2.0**11],
}


@pytest.mark.parametrize("name", ["sin_any", "cos_any", "tan_any"])
@pytest.mark.parametrize("width", WIDTHS)
def test_angles_nearest_to_multiples_of_a_right_angle(name: str, width: str):
    x = np.array(NEAR_MULTIPLES[width] + [np.finfo(REALS[width]).max, 1e22, 2.0**60], REALS[width])
    with mpmath.mp.workprec(1300):
        wanted = [REFERENCES[name].value(mpmath.mpf(float(v))) for v in x]
    for fma in (True, False):
        most, where = worst(name, width, run(function(name, width), width, x, fma=fma), wanted, [x])
        assert most <= 2, where


@pytest.mark.parametrize("width", WIDTHS)
def test_whole_powers_that_fit_are_exact(width: str):
    a, b = (v.ravel() for v in np.meshgrid(np.arange(-30, 31), np.arange(12)))
    fits = np.abs(a.astype(float)) ** b <= (2.0**53 if width == "f64" else 2.0**24)
    a, b = a[fits], b[fits]
    got = run(function("pow", width), width, a.astype(float), b.astype(float))
    np.testing.assert_array_equal(got, [float(int(x) ** int(y)) for x, y in zip(a, b, strict=True)])
    tens = np.arange(23 if width == "f64" else 11)
    got = run(function("log10", width), width, np.array([10.0**k for k in tens]))
    np.testing.assert_array_equal(got, tens)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(MEASURED), st.data())
def test_accuracy_anywhere(case: tuple[str, str], data: st.DataObject):
    name, width = case
    f = function(name, width)
    limit = LIMITS.get(name, {}).get(width)
    number = st.floats(width=64 if width == "f64" else 32, allow_nan=False, allow_infinity=False)
    if limit is not None:
        number = number.filter(lambda x: abs(x) <= limit)
    if len(f.params) == 2:  # mpmath has no -0; pairs with zeros are compared with NumPy
        number = number.filter(bool)
    at = [data.draw(number) for _ in f.params]
    got = run(f, width, *(np.array([x]) for x in at))
    with mpmath.mp.workprec(140):
        wanted = REFERENCES[name].value(*map(mpmath.mpf, at))
        assert error(float(got[0]), wanted, width) <= REFERENCES[name].bound


@pytest.mark.parametrize("name", ["EXP", "LOG", "COS"])
@pytest.mark.parametrize("width", WIDTHS)
def test_coefficients_are_those_that_the_script_derives(name: str, width: str):
    made, _ = derive(name, width)
    kept = getattr(coefficients, name)[width]
    # the last ones depend on rounding in the last of 50 digits less than this
    np.testing.assert_allclose(kept, made, rtol=1e-13 if width == "f64" else 1e-6)


def test_constants_in_parts_are_those_that_the_script_derives():
    for name, width in itertools.product(SPLIT, WIDTHS):
        assert list(getattr(coefficients, name)[width]) == split(name, width)


@pytest.mark.parametrize("width", WIDTHS)
def test_tanh_and_its_slope_share_their_parts(width: str):
    m = Writer(Code(), FORMATS[width])
    x = m.term(Value("f"))
    exponential.tanh(m, x)
    alone = len(m.code.body)
    exponential.tanh_slope(m, x)
    assert sum(s.op == "div" for s in m.code.body) == 1
    assert len(m.code.body) - alone <= 6


def test_every_function_has_a_docstring_and_no_branch():
    for name, width in CASES:
        f = function(name, width)
        assert f.doc and all(type(s).__name__ == "Let" and s.op != "call" for s in f.body), name


def test_the_fused_multiply_add_of_the_oracle_rounds_once():
    x = np.array([1 + 2**-30, 3.0, 5e-324, 2.0**1023])
    y = np.array([1 - 2**-30, 7.0, 0.5, 2.0])
    z = np.array([-1.0, -21.0, 5e-324, -(2.0**1023)])
    assert list(fma64(x, y, z)) == [-(2.0**-60), 0.0, 1e-323, 2.0**1023]
