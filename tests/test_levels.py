"""Machine code for an older machine than this one: GRADLANG_CPU."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from gradlang.runtime import levels

ALL = levels.features("x86-64-v4")
PROGRAM = """
import numpy as np
import gradlang as gl
model = gl.loads("x : [N]\\ny = sum(tanh(x)*exp(-x*x))")
x = np.linspace(-2, 3, 70)
value, slope = model.value_and_grad(backend="native")(x=x)
other, expected = model.value_and_grad(backend="numpy")(x=x)
from gradlang.runtime.native import target
print(target().vector, target().fma, bool(np.allclose(value, other, rtol=1e-14) and np.allclose(slope["x"], expected["x"], rtol=1e-13)))
"""


def given(level, monkeypatch, has=ALL):
    monkeypatch.setenv(levels.VARIABLE, level)
    return levels.machine("znver4", {feature: feature in has for feature in [*ALL, "sse4a"]})


@pytest.mark.parametrize("nothing", ["", "  "])
def test_without_a_name_it_is_this_machine(nothing, monkeypatch):
    cpu, features = given(nothing, monkeypatch)
    assert cpu == "znver4"
    assert features.split(",") == sorted([*(f"+{f}" for f in ALL), "-sse4a"], key=lambda f: f[1:])
    assert levels.allows("x86-64-v4")


def test_a_level_has_what_those_below_it_have(monkeypatch):
    cpu, features = given("x86-64-v3", monkeypatch)
    assert cpu == "x86-64-v3"
    assert {"+sse2", "+sse4.2", "+avx2", "+fma"} <= set(features.split(","))
    assert "avx512" not in features and "sse4a" not in features
    assert levels.allows("x86-64-v2") and levels.allows("x86-64-v3") and not levels.allows("x86-64-v4")


def test_what_this_machine_has_not_is_refused(monkeypatch):
    with pytest.raises(levels.LevelError, match="GRADLANG_CPU is 'x86-64-v3', and this machine has no avx2, fma"):
        given("x86-64-v3", monkeypatch, has=set(ALL) - {"avx2", "fma"})


def test_an_unknown_name_is_refused(monkeypatch):
    with pytest.raises(levels.LevelError, match="GRADLANG_CPU is 'haswell'; it may be x86-64, x86-64-v2, x86-64-v3, x86-64-v4"):
        given("haswell", monkeypatch)
    assert not levels.allows("x86-64")


def host() -> dict[str, bool]:
    llvm = pytest.importorskip("llvmlite.binding")
    if not llvm.get_process_triple().startswith("x86_64"):
        pytest.skip("levels are those of x86-64")
    return llvm.get_host_cpu_features()


def run(level: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, levels.VARIABLE: level}
    return subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("level", "told"), [("x86-64", "128 False True"), ("x86-64-v2", "128 False True"), ("x86-64-v3", "256 True True")]
)
def test_code_for_a_level(level, told):
    has = host()
    if not all(has.get(feature) for feature in levels.features(level)):
        pytest.skip("this machine is older")
    done = run(level)
    assert (done.returncode, done.stdout.strip()) == (0, told), done.stderr


def test_code_is_refused_with_a_reason():
    host()
    done = run("x86-64-v9")
    assert done.returncode != 0
    assert "error[G511]" in done.stderr and "GRADLANG_CPU is 'x86-64-v9'" in done.stderr
