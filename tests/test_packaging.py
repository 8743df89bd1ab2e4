"""The package as people get it: from a checkout, from a wheel, installed editable; and how little it imports."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import gradlang
from gradlang.cli.arguments import COMMANDS, parser, parser_of

ROOT = Path(__file__).parent.parent
SHOPPING = (ROOT / "examples" / "02_shopping.grad").read_text(encoding="utf-8")
OUTPUT = (ROOT / "examples" / "02_shopping.out").read_text(encoding="utf-8")


def python(*args: str, path: Path | None, cwd: Path, text: str = "", more: tuple[str, ...] = ()) -> str:
    """What Python prints, from a folder of its own and with nothing of the checkout on its path but `path`."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    env["PYTHONIOENCODING"] = "utf-8"
    env["XDG_CACHE_HOME"] = str(cwd / "cache")
    if path is not None:
        env["PYTHONPATH"] = str(path)
    done = subprocess.run(
        [sys.executable, *more, *args], cwd=cwd, env=env, input=text.encode(), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


WHERE = "import gradlang; from gradlang.syntax.grammar import grammar_dir; print(gradlang.__file__); print(grammar_dir())"


def places(path: Path | None, cwd: Path) -> tuple[Path, Path]:
    package, grammars = python("-c", WHERE, path=path, cwd=cwd).splitlines()
    return Path(package).resolve(), Path(grammars).resolve()


# ------------------------------------------------------------------ a checkout, an editable install
def test_from_a_checkout(tmp_path: Path) -> None:
    assert places(ROOT, tmp_path) == (ROOT / "gradlang" / "__init__.py", ROOT / "grammars")
    assert python("-m", "gradlang", "run", "-", path=ROOT, cwd=tmp_path, text=SHOPPING) == OUTPUT


def test_as_it_is_installed_here(tmp_path: Path) -> None:
    """Without any path: an editable install finds the grammars beside the package, another one inside it."""
    package, grammars = places(None, tmp_path)
    direct = json.loads(importlib.metadata.distribution("gradlang").read_text("direct_url.json") or "{}")
    if direct.get("dir_info", {}).get("editable"):
        assert (package, grammars) == (ROOT / "gradlang" / "__init__.py", ROOT / "grammars")
    else:
        assert grammars == package.parent / "grammars"
    tables = {"ops.grad", "special.grad", "linalg.grad", "densities.grad", "rules.grad", "std.grad"}
    assert {p.name for p in grammars.iterdir()} >= {"grad.lark", *tables}
    assert python("-m", "gradlang", "run", "-", path=None, cwd=tmp_path, text=SHOPPING) == OUTPUT


def test_the_command_is_installed(tmp_path: Path) -> None:
    (entry,) = importlib.metadata.entry_points(group="console_scripts", name="gradlang")
    assert entry.load() is gradlang.cli.main


# ------------------------------------------------------------------ a wheel
@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    python("-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT), path=None, cwd=out)
    (made,) = out.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("installed")
    pip = ("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check")
    python(*pip, "--target", str(target), str(wheel), path=None, cwd=wheel.parent)
    return target


def test_what_a_wheel_holds(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
    for path in sorted((ROOT / "grammars").iterdir()):
        assert f"gradlang/grammars/{path.name}" in names
    for path in sorted((ROOT / "gradlang").rglob("*.py")):
        assert path.relative_to(ROOT).as_posix() in names
    for path in sorted((ROOT / "gradlang" / "view" / "explorer").iterdir()):
        assert path.suffix not in (".js", ".css", ".html") or path.relative_to(ROOT).as_posix() in names
    assert {"gradlang/py.typed", "gradlang/plan/x86_routines.json"} <= names
    tops = {n.split("/")[0] for n in names}
    assert tops == {"gradlang", f"gradlang-{gradlang.__version__}.dist-info"}
    assert not [n for n in names if "__pycache__" in n or n.endswith(".pyc")]


def test_from_a_wheel(installed: Path, tmp_path: Path) -> None:
    package = installed.resolve() / "gradlang"
    assert places(installed, tmp_path) == (package / "__init__.py", package / "grammars")
    out = python("-m", "gradlang", "run", "-", path=installed, cwd=tmp_path, text=SHOPPING)
    assert out.startswith("price = 715.0000000000001\n")
    assert out == OUTPUT


def test_a_wheel_knows_its_functions_and_its_version(installed: Path, tmp_path: Path) -> None:
    text = "x = [0.5, -1]\ny = sum(gelu(x)) + logsumexp(x) + mse(x, [1, 2])\n"
    run = ("-m", "gradlang", "run", "-", "--json")
    mine = json.loads(python(*run, path=installed, cwd=tmp_path, text=text))
    assert mine == json.loads(python(*run, path=ROOT, cwd=tmp_path, text=text))
    version = "import gradlang, importlib.metadata as m; print(gradlang.__version__, m.version('gradlang'))"
    assert python("-c", version, path=installed, cwd=tmp_path).split() == [gradlang.__version__] * 2


# ------------------------------------------------------------------ versions
def test_versions_agree() -> None:
    assert gradlang.__version__ == importlib.metadata.version("gradlang")
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+|a\d+|b\d+|rc\d+)?", gradlang.__version__)


def test_the_changelog_knows_the_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^##+ .*(?<![\d.]){re.escape(gradlang.__version__)}(?![\d.])", text, re.M)


def test_version_on_the_command_line(tmp_path: Path) -> None:
    assert python("-m", "gradlang", "--version", path=ROOT, cwd=tmp_path) == f"gradlang {gradlang.__version__}\n"


def test_the_oldest_python_is_named_alike() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    oldest = project["requires-python"].removeprefix(">=")
    assert f"Programming Language :: Python :: {oldest}" in project["classifiers"]


# ------------------------------------------------------------------ what is imported, and what is not
HEAVY = {"numpy", "networkx", "mpmath", "scipy", "jax", "lark", "llvmlite"}
PLANNING = ("gradlang.plan.", "gradlang.loops")  # of arrays and machine code: half as much again to import
COSTS = {"gradlang.plan.cost", "gradlang.plan.weights"}  # by which that is decided
LOADED = """
import sys
from gradlang.cli import main
assert main(sys.argv[1:]) == 0
print("loaded", *sorted(sys.modules.keys() | {m.split(".")[0] for m in sys.modules}))
"""


def loaded(cwd: Path, text: str, *args: str) -> set[str]:
    out = python("-c", LOADED, *args, path=ROOT, cwd=cwd, text=text)
    return set(out.splitlines()[-1].split()[1:])


def heavy(modules: set[str]) -> set[str]:
    """What a program of numbers should do without."""
    return {m for m in modules if m in HEAVY or m.startswith(PLANNING)} - COSTS


def test_a_scalar_run_imports_no_array_library(tmp_path: Path) -> None:
    """The first one already: nothing has to be found out and kept for later runs."""
    found = loaded(tmp_path, SHOPPING, "run", "-")
    assert "gradlang" in found
    assert not heavy(found)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "args",
    [
        ("run", "-", "apple=120", "n=3"),
        ("run", "-", "--json"),
        ("run", "-", "--wrt", "apples,tax", "--digits", "4"),
        ("run", "-", "--upstream", "price=1.3"),
        ("compile", "-"),
        ("compile", "-", "--target", "grad"),
        ("fmt", "-"),
    ],
    ids=" ".join,
)
def test_scalar_commands_import_no_array_library(tmp_path: Path, args: tuple[str, ...]) -> None:
    assert not heavy(loaded(tmp_path, SHOPPING, *args))


# what a run of numbers has no use for: half as many modules again
UNUSED = {"zipfile", "csv", "html", "gradlang.runtime.data", "gradlang.runtime.saving"}
UNUSED |= {f"gradlang.cli.{m}" for m in ("compiling", "fitting", "tables", "pages")}
UNUSED |= {f"gradlang.transform.{m}" for m in ("checkpoint", "regions", "contract", "jacobian", "diagonals", "jvp")}
UNUSED |= {f"gradlang.transform.{m}" for m in ("implicit", "keep", "lifting", "scan", "segments", "variadic")}
UNUSED |= {f"gradlang.check.{m}" for m in ("clauses", "entries", "implicit", "patterns", "pieces", "recurrence")}
UNUSED |= {
    f"gradlang.backend.{m}" for m in ("module_arrays", "numpy", "numpy_linalg", "numpy_helpers", "numpy_pieces", "numpy_scan")
}
UNUSED |= {f"gradlang.runtime.{m}" for m in ("out", "products", "sizes", "steps", "values")} | {"gradlang.ir.verify"}


def test_a_scalar_run_imports_what_it_needs(tmp_path: Path) -> None:
    assert not loaded(tmp_path, SHOPPING, "run", "-") & UNUSED


@pytest.mark.parametrize("name", COMMANDS)
def test_the_parser_of_one_command_is_that_of_all(name: str) -> None:
    commands = next(a for a in parser()._actions if isinstance(a, argparse._SubParsersAction))
    alone, among = parser_of(name), commands.choices[name]
    assert alone.format_help() == among.format_help()
    words = [] if name == "ops" else ["a.grad"]
    assert vars(alone.parse_args([*words, "--json"])) == vars(among.parse_args([*words, "--json"]))


def test_arrays_import_numpy_only(tmp_path: Path) -> None:
    assert loaded(tmp_path, "x = [1, 2]\ny = sum(x**2)\n", "run", "-") & HEAVY == {"numpy"}


def test_machine_code_of_large_programs_is_put_together(tmp_path: Path) -> None:
    """Its functions come with the package: nothing of what writes them is imported."""
    text = "x = 0.5\nv0 = exp(x)\n" + "".join(f"v{k} = v{k - 1}*x + 1\n" for k in range(1, 700)) + "y = sin(v699)\n"
    found = loaded(tmp_path, text, "run", "-", "--wrt", "x")
    assert not {m for m in found if m.startswith(("gradlang.loops", "gradlang.plan.x86_vectors"))}


def test_import_imports_nothing_heavy(tmp_path: Path) -> None:
    code = "import sys, gradlang; print(*sys.modules)"
    assert not heavy(set(python("-c", code, path=ROOT, cwd=tmp_path).split()))


def test_a_call_over_arrays_does_not_load_masked_arrays() -> None:
    """They take NumPy 20 ms, and who gives one has loaded them."""
    code = "import sys, gradlang as gl; gl.loads('x : [N]\\ny = sum(x*x)').value_and_grad('y')(x=[1.0, 2.0]); "
    code += "print('numpy' in sys.modules, 'numpy.ma' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


# ------------------------------------------------------------------ compiled programs stand alone
def test_compiled_source_stands_alone(tmp_path: Path) -> None:
    """Python without any site packages runs it: neither gradlang nor NumPy can be imported there."""
    source = python("-m", "gradlang", "compile", "-", path=ROOT, cwd=tmp_path, text=SHOPPING)
    (tmp_path / "price.py").write_text(source, encoding="utf-8")
    (entry,) = re.findall(r"^def (price\w*)\(", source, re.M)
    use = f"""
import importlib.util, runpy
assert importlib.util.find_spec("gradlang") is None and importlib.util.find_spec("numpy") is None
made = runpy.run_path({str(tmp_path / "price.py")!r})
print(*map(repr, made[{entry!r}]()))
print(repr(made[{entry!r}](apple=120.0)[0]))
"""
    out = python("-c", use, path=None, cwd=tmp_path, more=("-I", "-S")).splitlines()
    assert out[0] == (
        "715.0000000000001 {'apple': 2.2, 'n': 110.00000000000001, 'orange': 3.3000000000000003, 'm': 165.0, 'tax': 650.0}"
    )
    assert float(out[1]) == (120.0 * 2 + 150.0 * 3) * 1.1


def test_compiled_array_source_needs_numpy_only(tmp_path: Path) -> None:
    text = "x = [1, 2, 3]\ny = sum(softmax(x)*x)\n"
    source = python("-m", "gradlang", "compile", "-", path=ROOT, cwd=tmp_path, text=text)
    (tmp_path / "y.py").write_text(source, encoding="utf-8")
    (entry,) = re.findall(r"^def (y_\w*)\(", source, re.M)
    use = f"""
import json, runpy, sys
import numpy as np
class Never:
    def find_spec(self, name, path=None, target=None):
        assert name.split(".")[0] not in ("gradlang", "networkx", "lark", "mpmath"), name
sys.meta_path.insert(0, Never())
value, grads = runpy.run_path({str(tmp_path / "y.py")!r})[{entry!r}](np.array([1.0, 2.0, 3.0]))
print(json.dumps([float(value), grads["x"].tolist()]))
"""
    value, grad = json.loads(python("-c", use, path=None, cwd=tmp_path))
    wanted, grads = gradlang.loads(text).value_and_grad("y")()
    assert value == wanted
    assert grad == grads["x"].tolist()
