"""Wrong calls, from Python and from the command line: each row of the tables has a golden text in golden/calls."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import GOLDEN, Golden

import gradlang as gl
from gradlang import Model, load, loads
from gradlang.cli.main import main
from gradlang.diagnostics import GradlangError, InternalError

SHOPPING = "apple = 100\nn = 2\norange = 150\nm = 3\ntax = 1.1\nprice = (apple*n + orange*m) * tax\n"
REGRESSION = (
    "input x : [N, D]\ninput t : [N]\nparam w : [D] = zeros()\nconst scale = 2\n"
    "y = x @ w\nloss = sum((y - t)**2)/N*scale\noutput loss, y\n"
)
PICK = "v = [1, 2, 3]\ninput k : int\ninput m : bool[3]\ny = v[k] + sum(m)\n"
WINDOW = "input x : [N]\ny = x[3] - x[0]\n"
SPLIT = "input x : [2*K]\ninput z : [K - 1]\ny = sum(x[:K]) + sum(z)\n"
UNBOUND = "input x : [N, M]\ny = sum(x)\nz = sum(ones([M, N])) + 1\n"
ALL = "사과 = 100\n귤 = 150\n합계 = 사과*2 + 귤*3\n"

ok = {"x": np.ones((4, 2)), "t": np.ones(4)}

# ------------------------------------------------------------------ from Python: name -> (program, what is called)
PYTHON: dict[str, tuple[str, Callable[[Model], Any]]] = {
    "missing_input": (REGRESSION, lambda m: m(x=np.ones((4, 2)))),
    "missing_inputs": (REGRESSION, lambda m: m()),
    "missing_scalar": ("input x\ninput t\ny = x*t\n", lambda m: m(x=1.0)),
    "unknown_name": (SHOPPING, lambda m: m(aple=120)),
    "unknown_name_case": (SHOPPING, lambda m: m(Apple=120)),
    "unknown_name_nothing_near": (SHOPPING, lambda m: m(zebra=120)),
    "unknown_name_wide": (ALL, lambda m: m({"사가": 120})),
    "unknown_name_in_arrays": (REGRESSION, lambda m: m(X=1, **ok)),
    "unknown_name_without_inputs": ("const c = 2\ny = 3*c\n", lambda m: m(x=1)),
    "definition_given": (SHOPPING, lambda m: m(price=120)),
    "constant_given": (REGRESSION, lambda m: m(scale=3, **ok)),
    "wrong_shape": (REGRESSION, lambda m: m(x=np.ones((4, 2)), t=np.ones((4, 1)))),
    "wrong_rank": (REGRESSION, lambda m: m(x=np.ones(4), t=np.ones(4))),
    "scalar_for_array": (REGRESSION, lambda m: m(x=1.0, t=np.ones(4))),
    "masked_entries": (REGRESSION, lambda m: m(x=np.ma.array(np.ones((4, 2)), mask=np.eye(4, 2)), t=np.ones(4))),
    "too_large_for_float32": (
        REGRESSION,
        lambda m: Model(m.program, "float32")(x=np.full((4, 2), 1e300), t=np.ones(4)),
    ),
    "array_for_scalar": (SHOPPING, lambda m: m(apple=[1, 2])),
    "array_of_one_for_scalar": (SHOPPING, lambda m: m(apple=[1])),
    "conflicting_sizes": (REGRESSION, lambda m: m(x=np.ones((4, 2)), t=np.ones(5))),
    "conflicting_size_of_parameter": (REGRESSION, lambda m: m(w=np.ones(3), **ok)),
    "size_not_a_multiple": (SPLIT, lambda m: m(x=np.ones(5), z=np.ones(1))),
    "size_less_than_zero": (SPLIT, lambda m: m(x=np.ones(0), z=np.ones(0))),
    "sizes_of_a_formula": (SPLIT, lambda m: m(x=np.ones(6), z=np.ones(3))),
    "too_small_for_an_index": (WINDOW, lambda m: m(x=np.ones(3))),
    "empty_for_an_index": (WINDOW, lambda m: m(x=[])),
    "text_as_value": (SHOPPING, lambda m: m(apple="100")),
    "text_as_array": (WINDOW, lambda m: m(x=["1", "2", "3", "4"])),
    "none_as_value": (SHOPPING, lambda m: m(apple=None)),
    "dict_as_value": (WINDOW, lambda m: m(x={"a": 1})),
    "object_as_value": (SHOPPING, lambda m: m(apple=Fraction(1, 3))),
    "ragged_list": (WINDOW, lambda m: m(x=[[1, 2], [3]])),
    "complex_as_value": (SHOPPING, lambda m: m(apple=1 + 2j)),
    "complex_array": (WINDOW, lambda m: m(x=np.ones(4, complex))),
    "dates_as_value": (WINDOW, lambda m: m(x=np.zeros(4, "datetime64[s]"))),
    "float_as_index": (PICK, lambda m: m(k=1.5, m=[1, 0, 1])),
    "nan_as_index": (PICK, lambda m: m(k=float("nan"), m=[1, 0, 1])),
    "index_out_of_range": (PICK, lambda m: m(k=3, m=[True, True, False])),
    "index_out_of_range_negative": (PICK, lambda m: m(k=-4, m=[True, True, False])),
    "inputs_by_position": (SHOPPING, lambda m: m(120)),
    "inputs_by_position_several": (SHOPPING, lambda m: m.function()(100.0)),
    "unknown_output": (SHOPPING, lambda m: m.function("prize")),
    "unknown_output_nothing_near": (SHOPPING, lambda m: m.function("zebra")),
    "unknown_output_of_gradient": (SHOPPING, lambda m: m.value_and_grad("prize")),
    "several_outputs": (REGRESSION, lambda m: m.value_and_grad()),
    "gradient_of_a_vector": (REGRESSION, lambda m: m.value_and_grad("y")),
    "wrt_unknown": (SHOPPING, lambda m: m.value_and_grad("price", wrt=["aple"])),
    "wrt_int": (PICK, lambda m: m.value_and_grad("y", wrt="k")),
    "wrt_mask": (PICK, lambda m: m.value_and_grad("y", wrt=["v", "m"])),
    "wrt_constant": (REGRESSION, lambda m: m.value_and_grad("loss", wrt="scale")),
    "unknown_backend": (SHOPPING, lambda m: m.function(backend="jaxx")),
    "unknown_dtype": (SHOPPING, lambda m: Model(m.program, dtype="float16")),
    "vjp_shape_of_vector": (REGRESSION, lambda m: m.vjp("y", wrt="w")(np.ones(3), ok)),
    "jvp_shape_of_vector": (REGRESSION, lambda m: m.jvp("y", wrt="w")(np.ones(3), ok)),
    "jvp_one_vector_for_two_names": (REGRESSION, lambda m: m.jvp("y", wrt=["w", "x"])(np.ones(2), ok)),
    "jvp_unknown_vector": (REGRESSION, lambda m: m.jvp("y", wrt=["w", "x"])({"v": np.ones(2)}, ok)),
    "jvp_missing_vector": (REGRESSION, lambda m: m.jvp("y", wrt=["w", "x"])({"w": np.ones(2)}, ok)),
    "hvp_of_a_vector": (REGRESSION, lambda m: m.hvp("y", wrt="w")),
    "backward_before_forward": (SHOPPING, lambda m: m.layer("price").backward(1.0)),
    "layer_missing_input": (REGRESSION, lambda m: m.layer("loss").forward(x=np.ones((4, 2)))),
    "layer_of_unknown": (SHOPPING, lambda m: m.layer("prices")),
}


@pytest.mark.parametrize("name", PYTHON)
def test_python(name: str, golden: Golden) -> None:
    text, call = PYTHON[name]
    model = loads(text, "program.grad")
    with pytest.raises(GradlangError) as caught:
        call(model)
    assert not isinstance(caught.value, InternalError)
    assert caught.value.diagnostics
    assert all(re.fullmatch(r"G[1-6]\d\d", d.code) for d in caught.value.diagnostics)
    golden(f"calls/python_{name}.out", str(caught.value))


def test_errors_are_told_apart() -> None:
    """The text is wrong, or the values are: two classes, one base."""
    with pytest.raises(gl.SourceError) as source:
        loads("y = 2 +\n")
    with pytest.raises(gl.InputError) as values:
        loads(SHOPPING)(aple=2)
    assert isinstance(values.value, ValueError)
    assert isinstance(source.value, gl.GradlangError)
    assert isinstance(values.value, gl.GradlangError)
    assert not isinstance(source.value, gl.InputError)


def test_a_failed_call_leaves_the_model_usable() -> None:
    model = loads(SHOPPING)
    price = model()
    for bad in ({"aple": 1}, {"apple": "1"}, {"apple": [1, 2]}):
        with pytest.raises(gl.InputError):
            model(bad)
    assert model() == price


# ------------------------------------------------------------------ from the command line: name -> (status, arguments)
def files(folder: Path) -> None:
    (folder / "shopping.grad").write_text(SHOPPING, encoding="utf-8")
    (folder / "regression.grad").write_text(REGRESSION, encoding="utf-8")
    (folder / "pick.grad").write_text(PICK, encoding="utf-8")
    (folder / "const.grad").write_text("const k = 3\nx = 2\ny = k*x\n", encoding="utf-8")
    (folder / "broken.grad").write_text("x = 2\ny = x +\nz = x $ 1\n", encoding="utf-8")
    (folder / "wide.grad").write_text(ALL.replace("귤*3", "귱*3"), encoding="utf-8")
    (folder / "binary.grad").write_bytes(bytes(range(256)) * 4)
    (folder / "old.grad").write_bytes("사과 = 100\n".encode("cp949"))
    (folder / "empty.grad").write_text("", encoding="utf-8")
    (folder / "folder.grad").mkdir()
    (folder / "x.npy").write_bytes(b"this is no array")
    (folder / "short.npy").write_bytes(b"")
    (folder / "d.npz").write_bytes(b"PK this is no archive")
    np.save(folder / "pickled.npy", np.array([{"a": 1}], object), allow_pickle=True)
    np.savez(folder / "other.npz", z=np.ones(3))
    np.savez(folder / "texts.npz", x=np.array(["a"]), t=np.ones(1))
    np.savez(folder / "sizes.npz", x=np.ones((4, 2)), t=np.ones(5))
    np.savez(folder / "good.npz", x=np.ones((4, 2)), t=np.ones(4))
    (folder / "rows.csv").write_text("x,t\n1,2\n3\n", encoding="utf-8")
    (folder / "words.csv").write_text("x,t\n1,2\n3,four\n", encoding="utf-8")
    (folder / "empty.csv").write_text("", encoding="utf-8")
    (folder / "header.csv").write_text("t\n", encoding="utf-8")
    (folder / "binary.csv").write_bytes(b"\xff\xfe\x00\x80\n")
    (folder / "data.txt").write_text("1 2 3\n", encoding="utf-8")


COMMANDS: dict[str, tuple[int, str]] = {
    "missing_file": (1, "run nothing.grad"),
    "missing_file_of_check": (1, "check nothing.grad"),
    "missing_file_of_compile": (1, "compile nothing.grad"),
    "directory": (1, "run folder.grad"),
    "binary_file": (1, "run binary.grad"),
    "old_encoding": (1, "run old.grad"),
    "empty_file": (1, "run empty.grad"),
    "broken_program": (1, "run broken.grad"),
    "broken_program_of_check": (1, "check broken.grad"),
    "broken_program_of_compile": (1, "compile broken.grad"),
    "broken_program_json": (1, "run broken.grad --json"),
    "wide_program": (1, "run wide.grad"),
    "unknown_input": (1, "run shopping.grad aple=120"),
    "unknown_input_json": (1, "run shopping.grad aple=120 --json"),
    "missing_input": (1, "run regression.grad"),
    "wrong_shape": (1, "run regression.grad x=[1,2] t=[1,2]"),
    "conflicting_sizes": (1, "run regression.grad x=[[1,2],[3,4]] t=[1,2,3]"),
    "value_without_name": (1, "run shopping.grad 120"),
    "value_with_empty_name": (1, "run shopping.grad =120"),
    "value_missing": (1, "run shopping.grad apple="),
    "value_is_a_name": (1, "run shopping.grad apple=n"),
    "value_is_a_call": (1, "run shopping.grad apple=exp(1)"),
    "value_is_text": (1, 'run shopping.grad apple="100"'),
    "value_is_python": (1, "run shopping.grad apple=__import__('os').getcwd()"),
    "value_is_ragged": (1, "run regression.grad x=[[1,2],[3]] t=[1,2]"),
    "value_does_not_end": (1, "run shopping.grad apple=[1,2"),
    "value_given_twice": (1, "run shopping.grad apple=120 n=2 apple=120"),
    "value_divides_by_zero": (1, "run shopping.grad apple=1/0"),
    "fraction_as_index": (1, "run pick.grad k=0.5 m=[true,false,true]"),
    "index_out_of_range": (1, "run pick.grad k=3 m=[true,false,true]"),
    "data_missing": (1, "run regression.grad --data nothing.npz"),
    "data_directory": (1, "run regression.grad --data folder.grad"),
    "data_of_unknown_kind": (1, "run regression.grad --data data.txt"),
    "data_no_archive": (1, "run regression.grad --data d.npz"),
    "data_no_array": (1, "run regression.grad --data x=x.npy"),
    "data_empty_array": (1, "run regression.grad --data x=short.npy"),
    "data_pickled": (1, "run regression.grad --data x=pickled.npy"),
    "data_array_without_name": (1, "run regression.grad --data x.npy"),
    "data_other_names": (1, "run regression.grad --data other.npz"),
    "data_texts": (1, "run regression.grad --data texts.npz"),
    "data_conflicting_sizes": (1, "run regression.grad --data sizes.npz"),
    "csv_short_line": (1, "run regression.grad --data rows.csv"),
    "csv_word": (1, "run regression.grad --data words.csv"),
    "csv_empty": (1, "run regression.grad --data empty.csv"),
    "csv_without_rows": (1, "run regression.grad x=[[1,2]] --data header.csv"),
    "csv_binary": (1, "run regression.grad --data binary.csv"),
    "upstream_unknown": (1, "run shopping.grad --upstream prise=1.3"),
    "upstream_without_value": (1, "run shopping.grad --upstream price"),
    "upstream_not_a_number": (1, "run shopping.grad --upstream price=x"),
    "upstream_wrong_shape": (1, "run regression.grad --data good.npz --upstream y=[1,2]"),
    "wrt_unknown": (1, "run shopping.grad --wrt aple"),
    "wrt_constant": (1, "run const.grad --wrt k"),
    "wrt_int": (1, "run pick.grad k=1 m=[true,true,true] --wrt k"),
    "wrt_empty": (1, "run shopping.grad --wrt apple,,n"),
    "compile_unknown_output": (1, "compile shopping.grad --of prise"),
    "compile_several_outputs": (1, "compile regression.grad"),
    "file_without_its_ending": (1, "run shopping"),
    "unknown_command": (2, "rnu shopping.grad"),
    "unknown_command_nothing_near": (2, "differentiate shopping.grad"),
    "file_as_command": (2, "shopping.grad"),
    "compile_to_missing_folder": (1, "compile shopping.grad -o nothing/model.py"),
    "compile_to_directory": (1, "compile shopping.grad -o folder.grad"),
    "unknown_op": (1, "ops sigmod"),
    "format_of_a_broken_program": (1, "fmt broken.grad"),
    "format_of_a_missing_file": (1, "fmt nothing.grad"),
    "check_unknown_input": (1, "check shopping.grad aple=1"),
    "check_wrong_shape": (1, "check regression.grad x=[1,2] t=[1,2]"),
    "check_conflicting_sizes": (1, "check regression.grad --data sizes.npz"),
    "gradient_file_of_several_outputs": (1, "compile pick.grad --target grad --wrt k"),
}


def called(argv: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    try:
        status = main(argv)
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 1
    out, err = capsys.readouterr()
    return status, out, err


@pytest.mark.parametrize("name", COMMANDS)
def test_command_line(
    name: str, golden: Golden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, line = COMMANDS[name]
    files(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    got, out, err = called(line.split(" "), capsys)
    assert "Traceback" not in err
    assert str(tmp_path) not in err
    assert out == "", "what is printed on standard output is a result, and there is none"
    golden(f"calls/command_{name}.out", f"$ gradlang {line}\n{err}\nexit status {got}")
    assert got == status
    if "--json" in line:
        for row in err.splitlines():
            assert json.loads(row)["severity"] == "error"


# The wording of these is argparse's and differs between versions of Python: only the status and the word at fault are fixed.
USAGE: dict[str, tuple[str, str]] = {
    "unknown_option": ("run shopping.grad --diggits 3", "--diggits"),
    "unknown_option_after_values": ("run shopping.grad apple=2 --diggits 3 n=3", "--diggits"),
    "unknown_command": ("rum shopping.grad", "rum"),
    "no_file": ("run", "file"),
    "option_without_value": ("run shopping.grad --wrt", "--wrt"),
    "digits_not_a_number": ("run shopping.grad --digits many", "many"),
    "bad_dtype": ("run shopping.grad --dtype float16", "float16"),
    "bad_backend": ("run shopping.grad --backend jaxx", "jaxx"),
    "bad_target": ("compile shopping.grad --target fortran", "fortran"),
    "two_files_to_format": ("fmt shopping.grad pick.grad", "pick.grad"),
}


@pytest.mark.parametrize("name", USAGE)
def test_wrong_command_lines(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line, word = USAGE[name]
    files(tmp_path)
    monkeypatch.chdir(tmp_path)
    status, out, err = called(line.split(" "), capsys)
    assert status == 2
    assert out == ""
    assert word in err
    assert "usage: gradlang" in err


def test_status_of_a_good_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    files(tmp_path)
    monkeypatch.chdir(tmp_path)
    for line in (
        "run shopping.grad",
        "run shopping.grad apple=120 --wrt apple",
        "run regression.grad --data good.npz",
        "compile shopping.grad",
        "ops exp",
    ):
        status, out, err = called(line.split(" "), capsys)
        assert (status, err) == (0, "")
        assert out


def test_standard_input(golden: Golden, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class Stdin:
        buffer = io.BytesIO(b"x = 2\ny = x +\n")

    monkeypatch.setattr(sys, "stdin", Stdin)
    status, out, err = called(["run", "-"], capsys)
    assert (status, out) == (1, "")
    golden("calls/command_standard_input.out", err)


def test_a_file_that_cannot_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in ("nothing.grad", "folder.grad", "binary.grad", "old.grad", "a\0b.grad"):
        with pytest.raises(gl.InputError):
            load(name)


def test_every_golden_file_has_a_case() -> None:
    wanted = {f"python_{n}" for n in PYTHON} | {f"command_{n}" for n in COMMANDS} | {"command_standard_input"}
    assert {path.stem for path in (GOLDEN / "calls").glob("*.out")} == wanted
