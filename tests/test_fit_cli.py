"""`gradlang fit` as people meet it: what it prints, which files it writes, what it says about mistakes."""

from __future__ import annotations

import gzip
import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Golden
from test_data import idx

import gradlang as gl
from gradlang.cli.main import main

ROOT = Path(__file__).parent.parent
LINE = """# a line through points
x : [N]
y : [N]
param a = 0  "slope"
param b = 0
loss = mean((a*x + b - y)**2)
worst = max(abs(a*x + b - y))
minimize loss
output worst
"""
NET = """X : [N, 64]
t : int[N]
param W : [64, 10] = normal(0, 0.1)
param b : [10] = zeros()
s = affine(X/16, W, b)
loss = cross_entropy(s, t)
accuracy = mean(1 if argmax(s, axis=1) == t else 0)
minimize loss
output accuracy
"""
PLAIN = "x : [N]\nw : [N]\ny = sum(x*w)\nz = mean(x)\n"
TWO = "x : [N]\ny : [M]\nparam w = 0\nloss = mean((x - w)**2) + mean((y - w)**2)\nminimize loss\n"
DIVERGES = "x : [N]\nparam a = 1\nloss = mean(log(a*x)**2) + a\nminimize loss\n"
RANGED = "param a in [0, 2] = 1\nf = (a - 3)**2\nminimize f\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    texts = {"line": LINE, "net": NET, "plain": PLAIN, "two": TWO, "diverges": DIVERGES, "ranged": RANGED}
    for name, text in texts.items():
        (tmp_path / f"{name}.grad").write_text(text, encoding="utf-8")
    rows = "".join(f"{x},{3 * x - 0.5}\n" for x in (-1.0, -0.5, 0.0, 0.25, 0.5, 0.75, 1.0))
    (tmp_path / "rows.csv").write_text("x,y\n" + rows, encoding="utf-8")
    (tmp_path / "short.csv").write_text("x,y\n1,2\n2,4.5\n", encoding="utf-8")
    (tmp_path / "more.csv").write_text("x,y,weight\n1,2,3\n", encoding="utf-8")
    np.savez(tmp_path / "two.npz", x=np.ones(3), y=np.ones(4))
    np.save(tmp_path / "x.npy", np.ones(3))
    np.savez(tmp_path / "start.npz", a=2.0)
    np.savez(tmp_path / "wrong.npz", A=2.0)
    np.savez(tmp_path / "minus.npz", a=-1.0)
    return tmp_path


def shown(command: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The status, and both streams as they would stand in a terminal."""
    try:
        status = main(shlex.split(command))
    except SystemExit as end:
        status = int(end.code or 0)
    out, err = capsys.readouterr()
    return status, f"$ gradlang {command}\n{out}{err}" + (f"\nexit status {status}\n" if status else "")


GOOD = {
    "line": "fit line.grad --data rows.csv --optimizer nesterov --lr 0.1 --steps 200",
    "line_with_files": "fit line.grad --data rows.csv --batch 3 --epochs 40 --lr 0.1 -o p.npz --log curve.csv --curve curve.svg",
    "line_validated": "fit line.grad --data rows.csv --batch 2 --epochs 4 --lr 0.1 --valid short.csv --digits 3",
    "line_to_the_end_of_steps": "fit line.grad --data rows.csv --batch 2 --steps 6 --lr 0.1",
    "line_json": "fit line.grad --data rows.csv --steps 2 --lr 0.5 --optimizer sgd --json",
    "line_quiet": "fit line.grad --data rows.csv --steps 2 --lr 0.5 --optimizer sgd --quiet",
    "line_from_parameters": "fit line.grad --data rows.csv --steps 1 --lr 0.5 --optimizer sgd --params start.npz b=-0.5 --quiet",
    "line_check": "check line.grad --data rows.csv --params start.npz",
    "line_run": "run line.grad --data rows.csv --params start.npz",
    "ranged": "fit ranged.grad --optimizer sgd --lr 0.25 --steps 3",
    "inputs": "fit plain.grad --of z --wrt x --params x=x.npy --data w=x.npy --steps 1 --optimizer sgd --lr 3",
}


@pytest.mark.parametrize("name", GOOD)
def test_what_is_printed(name: str, folder: Path, capsys: pytest.CaptureFixture[str], golden: Golden) -> None:
    status, text = shown(GOOD[name], capsys)
    assert status == 0, text
    golden(f"fit/{name}.out", text)


BAD = {
    "no_objective": "fit plain.grad --data rows.csv",
    "no_such_objective": "fit line.grad --data rows.csv --of lose",
    "objective_is_no_number": "fit plain.grad --of x",
    "no_parameters": "fit plain.grad --of y --data x=x.npy --data w=x.npy",
    "no_parameters_but_inputs": "fit - --of y",
    "parameter_misspelled": "fit net.grad --wrt w --data rows.csv",
    "constant_fitted": "fit line.grad --data rows.csv --wrt loss",
    "parameter_among_data": "fit line.grad --data rows.csv --data start.npz --wrt a",
    "params_misspelled": "fit line.grad --data rows.csv --params wrong.npz",
    "data_missing": "fit line.grad --batch 2",
    "data_unknown_column": "fit line.grad --data more.csv --batch 2",
    "data_file_missing": "fit line.grad --data row.csv",
    "optimizer_misspelled": "fit line.grad --data rows.csv --optimizer adma",
    "setting_of_others": "fit line.grad --data rows.csv --momentum 0.9",
    "setting_out_of_range": "fit line.grad --data rows.csv --lr -1",
    "setting_of_scipy": "fit line.grad --data rows.csv --optimizer bfgs --lr 1",
    "batch_word": "fit line.grad --data rows.csv --batch all",
    "batch_zero": "fit line.grad --data rows.csv --batch 0",
    "batch_size_misspelled": "fit line.grad --data rows.csv --batch n=2",
    "batch_several": "fit two.grad --data two.npz --batch 2",
    "batch_without_rows": "fit ranged.grad --batch 2",
    "batch_with_scipy": "fit line.grad --data rows.csv --optimizer l-bfgs-b --batch 2",
    "rows_differ": "fit line.grad --data x=x.npy --data y=rows.csv:y --batch 2",
    "epochs_and_steps": "fit line.grad --data rows.csv --epochs 2 --steps 3",
    "no_epochs": "fit line.grad --data rows.csv --epochs 0",
    "hold_out_all": "fit line.grad --data rows.csv --hold-out 0.99",
    "hold_out_share": "fit line.grad --data rows.csv --hold-out 20",
    "hold_out_and_valid": "fit line.grad --data rows.csv --hold-out 0.2 --valid short.csv",
    "ranges_and_bfgs": "fit ranged.grad --optimizer bfgs",
    "output_kind": "fit line.grad --data rows.csv -o params.txt",
    "output_folder": "fit line.grad --data rows.csv -o nowhere/p.npz",
    "output_is_data": "fit two.grad --data two.npz -o two.npz",
    "log_kind": "fit line.grad --data rows.csv --log curve.txt",
    "curve_kind": "fit line.grad --data rows.csv --curve curve.png",
    "resume_missing": "fit line.grad --data rows.csv --resume p.state.npz",
    "resume_parameters": "fit line.grad --data rows.csv --resume start.npz",
    "diverges": "fit diverges.grad --data x=x.npy --optimizer sgd --lr 9 -o p.npz",
    "never_finite": "fit diverges.grad --data x=x.npy --params minus.npz -o p.npz",
    "never_finite_scipy": "fit diverges.grad --data x=x.npy --params minus.npz --optimizer l-bfgs-b",
    "params_twice": "fit diverges.grad --data x=x.npy --params start.npz --params minus.npz",
}


@pytest.mark.parametrize("name", BAD)
def test_what_mistakes_are_told(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str], golden: Golden, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Text:
        class buffer:
            @staticmethod
            def read() -> bytes:
                return b"a = 2\nb = 3\ny = a*b\n"

    monkeypatch.setattr(sys, "stdin", Text)
    status, text = shown(BAD[name], capsys)
    assert status == 1, text
    assert "Traceback" not in text
    golden(f"fit/bad_{name}.out", text.replace(str(folder), "FOLDER"))


def test_every_code_of_a_fit_is_shown() -> None:
    """Every error of the room stands in some golden text or test."""
    source = (ROOT / "gradlang" / "fit" / "errors.py").read_text(encoding="utf-8")
    codes = set(re.findall(r'"(G54\d)"', source))
    texts = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "tests" / "golden" / "fit").glob("*.out"))
    assert codes - {c for c in codes if c in texts} == set()


# ------------------------------------------------------------------ files
def test_files_of_a_fit(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = (
        "fit line.grad --data rows.csv --batch 2 --epochs 6 --lr 0.1 --hold-out 0.3 --quiet -o p.npz --curve c.svg --log c"
    )
    for kind in ("csv", "json", "jsonl"):
        assert shown(f"{command}.{kind}", capsys)[0] == 0
    head, *body = Path("c.csv").read_text(encoding="utf-8").splitlines()
    names = head.split(",")
    assert names == ["epoch", "step", "loss", "worst", "valid_loss", "valid_worst"]
    rows = [dict(zip(names, map(float, line.split(",")), strict=True)) for line in body]
    assert json.loads(Path("c.json").read_text()) == rows
    assert [json.loads(line) for line in Path("c.jsonl").read_text().splitlines()] == rows
    made = gl.load("line.grad").fit(
        {k: np.loadtxt("rows.csv", delimiter=",", skiprows=1)[:, i] for i, k in enumerate("xy")},
        batch=2,
        epochs=6,
        lr=0.1,
        hold_out=0.3,
    )
    assert made.history == rows
    with np.load("p.npz") as found:
        assert {n: float(found[n]) for n in found.files} == made.params
    assert Path("c.svg").read_text(encoding="utf-8") == made.svg()
    assert sorted(p.name for p in folder.iterdir() if p.suffix == ".part") == []


def test_going_on_from_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start = "fit line.grad --data rows.csv --batch 2 --lr 0.1 --quiet"
    shown(f"{start} --epochs 9 -o whole.npz", capsys)
    shown(f"{start} --epochs 4 -o part.npz", capsys)
    status, text = shown("fit line.grad --data rows.csv --epochs 9 --resume part.state.npz -o part.npz --log c.csv", capsys)
    assert status == 0 and text.splitlines()[2].split()[0] == "5"
    assert Path("whole.npz").read_bytes() == Path("part.npz").read_bytes()
    assert Path("whole.state.npz").read_bytes() == Path("part.state.npz").read_bytes()
    assert len(Path("c.csv").read_text().splitlines()) == 10
    status, text = shown("fit line.grad --data rows.csv --epochs 9 --resume whole.state.npz", capsys)
    assert status == 0 and "nothing is left to do: the state is that after 9 epochs, 36 steps" in text


def test_the_four_files_of_mnist(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Pictures and labels as MNIST has them, small, plain and packed."""
    with np.load(ROOT / "examples" / "data" / "digits.npz") as digits:
        X, t = digits["X"], digits["t"]
    for name, rows in (("train", slice(0, 1500)), ("t10k", slice(1500, None))):
        pictures, labels = idx(X[rows].reshape(-1, 8, 8)), idx(t[rows])
        Path(f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(pictures))
        Path(f"{name}-labels-idx1-ubyte").write_bytes(labels)
    files = " ".join(
        f"--{what} X={name}-images-idx3-ubyte.gz --{what} t={name}-labels-idx1-ubyte"
        for what, name in (("data", "train"), ("valid", "t10k"))
    )
    status, text = shown(f"fit net.grad {files} --batch 100 --epochs 20 --lr 0.02 --json -o p.npz", capsys)
    assert status == 0
    last = json.loads(text.split("\n")[1])["last"]
    assert last["step"] == 300 and last["valid_accuracy"] > 0.85


def test_the_digits_in_one_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """95 % on digits that were held out."""
    example = ROOT / "examples"
    command = (
        f"fit {example}/11_digits_net.grad --data {example}/data/digits.npz --batch 50 --epochs 20 --lr 0.01 --hold-out 0.2"
    )
    status, text = shown(f"{command} --json -o {tmp_path}/p.npz", capsys)
    assert status == 0
    assert json.loads(text.split("\n")[1])["last"]["valid_accuracy"] >= 0.95


# ------------------------------------------------------------------ a process of its own: Ctrl-C, a terminal
def start(folder: Path, *more: str, **how: Any) -> subprocess.Popen[bytes]:
    data = ROOT / "examples" / "data" / "digits.npz"
    words = ["fit", "net.grad", "--data", str(data), "--batch", "10", "--epochs", "100000", "-o", "p.npz", *more]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-m", "gradlang", *words], cwd=folder, env=env, **how)


def test_ctrl_c_saves_and_says_so(folder: Path) -> None:
    done = start(folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.stdout is not None
    done.stdout.readline()
    done.stdout.readline()  # the first epoch is done
    done.send_signal(signal.SIGINT)
    out, err = done.communicate(timeout=60)
    assert done.returncode == 130 and err == b""
    text = out.decode()
    found = re.search(r"interrupted in epoch (\d+), after (\d+) steps: go on with `--resume p.state.npz`", text)
    assert found and "parameters: p.npz, state: p.state.npz" in text
    model = gl.load(folder / "net.grad")
    with np.load(ROOT / "examples" / "data" / "digits.npz") as digits:
        made = model.fit(dict(digits), batch=10, steps=int(found[2]))
    with np.load(folder / "p.npz") as kept:
        assert all(np.array_equal(kept[n], made.params[n]) for n in made.params)


def test_a_terminal_shows_a_line_that_changes(folder: Path) -> None:
    ours, theirs = pty.openpty()
    done = start(folder, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    text = b""
    end = time.monotonic() + 60
    while text.count(b"\r") < 3 and time.monotonic() < end:
        text += os.read(ours, 1000)
    done.send_signal(signal.SIGINT)
    assert done.wait(timeout=60) == 130
    os.close(ours)
    assert re.search(rb"\repoch \d+/100000  \d+/180  loss [\d.e+-]+  accuracy [\d.e+-]+  [\d.e+]+ steps/s\x1b\[K", text)
