"""Odd names of files, and odd places to read from and write to: nothing is run that should be read, nothing is lost."""

from __future__ import annotations

import ast
import shutil
import subprocess
from pathlib import Path

import pytest

import gradlang as gl
from gradlang.cli.main import main

ROOT = Path(__file__).parent.parent
SHOPPING = (ROOT / "examples" / "02_shopping.grad").read_text(encoding="utf-8")
ARRAYS = "x : [N]\nparam w = 2\nloss = sum((w*x)**2)\nminimize loss\n"
NAMES = (
    'a"""\nraise SystemExit(7)\n""".grad',
    'b"""+str(1/0)+""".grad',
    "c\\N{nothing}\\x.grad",
    'd\\".grad',
    "e\ninput q = 1\n#.grad",
    "f\u2028throw 1;\x85.grad",
    "g\udcff.grad",
    "h */ int q; ??/.grad",
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shopping.grad").write_text(SHOPPING, encoding="utf-8")
    return tmp_path


# ------------------------------------------------------------------ the name of the program in what is made of it
@pytest.mark.parametrize("name", NAMES, ids=[n[0] for n in NAMES])
@pytest.mark.parametrize("text", [SHOPPING, ARRAYS], ids=["numbers", "arrays"])
def test_the_name_of_a_file_is_never_code(name: str, text: str) -> None:
    model = gl.loads(text, name.replace("/", "_"))
    made = model.value_and_grad()
    assert len(ast.parse(made.source).body) >= 2
    values = {} if text == SHOPPING else {"x": [1.0, 2.0]}
    assert made(values)[0] == (715.0000000000001 if text == SHOPPING else 20.0)


@pytest.mark.parametrize("name", NAMES, ids=[n[0] for n in NAMES])
@pytest.mark.parametrize("target", ["numpy", "grad", "js", "c"])
def test_a_file_with_any_name_can_be_compiled(folder: Path, name: str, target: str) -> None:
    try:
        (folder / name.replace("/", "_")).write_text(SHOPPING, encoding="utf-8")
    except (OSError, UnicodeError):
        pytest.skip("no such names here")
    assert main(["compile", name.replace("/", "_"), "--target", target, "-o", "made.txt"]) == 0
    made = (folder / "made.txt").read_text(encoding="utf-8")
    if target == "numpy":
        space: dict[str, object] = {}
        exec(compile(made, "made", "exec"), space)
        assert callable(space["price_and_gradients"])
    elif target == "grad":
        assert gl.loads(made).function("price")() == 715.0000000000001
    elif target == "c" and shutil.which("cc"):
        (folder / "made.c").write_text(made, encoding="utf-8")
        subprocess.run(["cc", "-std=c11", "-c", "made.c"], check=True)
    elif target == "js" and shutil.which("node"):
        (folder / "made.mjs").write_text(made, encoding="utf-8")
        subprocess.run(["node", "made.mjs"], check=True)
