"""Odd names of files, and odd places to read from and write to: nothing is run that should be read, nothing is lost."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
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


# ------------------------------------------------------------------ files that are read and written
ROWS = "x,y\n" + "".join(f"{x},{3 * x}\n" for x in range(20))
LINE = "x : [N]\ny : [N]\nparam a = 1\nloss = mean((a*x - y)**2)\nminimize loss\n"


@pytest.fixture
def line(folder: Path) -> Path:
    (folder / "line.grad").write_text(LINE, encoding="utf-8")
    (folder / "rows.csv").write_text(ROWS, encoding="utf-8")
    (folder / "start.csv").write_text("a\n", encoding="utf-8")
    return folder


FIT = ["fit", "line.grad", "--data", "x=rows.csv:x", "--data", "y=rows.csv:y", "--steps", "2"]
LOST = {
    "data by columns": (["--log", "rows.csv"], "this is the program itself or its data"),
    "validation data by columns": (["--valid", "x=held.csv:x", "--log", "held.csv"], "the program itself or its data"),
    "first values": (["--params", "start.csv", "--log", "start.csv"], "the program itself or its data"),
    "parameters and state": (["-o", "p.npz", "--state", "./p.npz"], "is to hold both the parameters and the state"),
    "state and parameters": (["-o", "p.npz", "--state", "q/../p.state.npz", "--curve", "c.svg"], None),
    "a state under the log's name": (["--log", "a.json", "--state", "a.json"], "both the"),
    "a state that is gone on from": (["--resume", "s.npz", "-o", "s.npz"], "the program itself or its data"),
    "a state of a method without any": (["--optimizer", "bfgs", "--state", "s.npz"], "it has no state"),
}


@pytest.mark.parametrize("name", LOST)
def test_no_result_of_a_fit_takes_the_place_of_another_file(line: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    words, error = LOST[name]
    (line / "held.csv").write_text(ROWS, encoding="utf-8")
    (line / "q").mkdir()
    (line / "s.npz").write_bytes(b"a state")
    before = {p.name: p.read_bytes() for p in line.iterdir() if p.is_file()}
    status = main([*FIT, *words])
    said = capsys.readouterr().err
    assert status == (error is not None) and (error or "") in said
    assert all((line / n).read_bytes() == content for n, content in before.items())


def test_a_run_may_take_the_place_of_what_it_goes_on_from(line: Path) -> None:
    assert main([*FIT, "-o", "p.npz"]) == 0
    first = (line / "p.npz").read_bytes()
    assert main([*FIT[:-1], "4", "--resume", "p.state.npz", "-o", "p.npz"]) == 0
    assert (line / "p.npz").read_bytes() != first
    assert main([*FIT, "--params", "p.npz", "-o", "p.npz"]) == 0


def test_a_header_in_c_does_not_take_the_place_of_its_source(line: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compile", "shopping.grad", "--target", "c", "-o", "price.h"]) == 1
    assert "the header would take the place of the source" in capsys.readouterr().err
    assert not (line / "price.h").exists()
    (line / "price.h").mkdir()
    assert main(["compile", "shopping.grad", "--target", "c", "-o", "price.c"]) == 1
    assert "G520" in capsys.readouterr().err and not (line / "price.c").exists()


def test_stages_are_written_whole_or_with_an_error(line: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (line / "stages" / "00_goal.grad").mkdir(parents=True)
    assert main(["compile", "shopping.grad", "--dump", "stages"]) == 1
    assert "error[G520]: cannot write 'stages/00_goal.grad'" in capsys.readouterr().err
    (line / "00_goal.grad").write_text(SHOPPING, encoding="utf-8")
    assert main(["compile", "00_goal.grad", "--dump", "."]) == 1
    assert (line / "00_goal.grad").read_text(encoding="utf-8") == SHOPPING


def test_a_picture_does_not_take_the_place_of_data(line: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (line / "x.json").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 1, 2]))
    assert main(["graph", "line.grad", "--data", "x=x.json", "--data", "y=x.json", "-o", "x.json"]) == 1
    assert "this is the program itself or its data" in capsys.readouterr().err


# ------------------------------------------------------------------ nobody listens
def shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    start = f"{sys.executable} -m gradlang"
    return subprocess.run(
        ["sh", "-c", command.replace("gradlang", start)], cwd=folder, capture_output=True, text=True, check=False, env=ENV
    )


ENV = {**os.environ, "PYTHONPATH": str(ROOT)}
MANY = "gradlang fit line.grad --data rows.csv --batch 2 --epochs 300 -o p.npz"


def test_a_fit_outlives_the_reader_of_its_epochs(line: Path) -> None:
    done = shell(f"{MANY} | head -1", line)
    assert done.stdout.split() == ["epoch", "loss"] and not done.stderr
    state = gl.load("line.grad").fit({"x": range(20), "y": [3.0 * x for x in range(20)]}, batch=2, epochs=300, params={"a": 1})
    assert float(np.load(line / "p.npz")["a"]) == state.params["a"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_fit_outlives_a_full_disk_for_its_epochs(line: Path) -> None:
    done = shell(f"{MANY} > /dev/full", line)
    assert done.stderr == "warning: standard output: No space left on device\n"
    assert (line / "p.npz").exists()


@pytest.mark.parametrize(
    "command", ["run shopping.grad", "compile shopping.grad", "graph shopping.grad", "explain G201", MANY[9:]]
)
def test_commands_without_standard_output_do_their_work(line: Path, command: str) -> None:
    done = shell(f"gradlang {command} >&-", line)
    assert (done.returncode, done.stderr) == (0, "")
    assert not command.startswith("fit") or (line / "p.npz").exists()


def test_errors_without_standard_error_are_not_told_elsewhere(line: Path) -> None:
    done = shell("gradlang run nothing.grad 2>&-", line)
    assert (done.returncode, done.stdout) == (1, "")


# ------------------------------------------------------------------ more than fits
HUGE = "param w : [100000000, 10000000] = normal(0, 1)\nx = 1\ny = sum(w)*x\nminimize y\n"


@pytest.mark.parametrize("command", ["run", "explain", "graph", "fit --steps 1", "diff --numbers"])
def test_arrays_that_no_memory_holds(folder: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    (folder / "huge.grad").write_text(HUGE, encoding="utf-8")
    name, *more = command.split()
    assert main([name, "huge.grad", *more]) == 1
    assert capsys.readouterr().err.startswith(
        "error[G517]: the values of this program do not fit into memory: Unable to allocate"
    )


@pytest.mark.parametrize("target", ["c", "js"])
def test_code_for_large_arrays_is_made_without_them(folder: Path, capsys: pytest.CaptureFixture[str], target: str) -> None:
    (folder / "huge.grad").write_text(HUGE, encoding="utf-8")
    assert main(["compile", "huge.grad", "--target", target, "--wrt", "x"]) == 0
    assert "y_and_gradients" in capsys.readouterr().out


def test_no_gradient_is_left_out_silently(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "array.grad").write_text("x : [2] = [1, 2]\ny = x*x\n", encoding="utf-8")
    assert main(["compile", "array.grad", "--wrt", "x"]) == 1
    assert "error[G401]: a gradient needs a scalar, but `y` is [2]" in capsys.readouterr().err
    assert main(["compile", "array.grad"]) == 0
