"""Programs in several files: what imports make known, what leaves are called, which files may be read."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

import gradlang as gl
from gradlang import pipeline
from gradlang.check.modules import DEEPEST, MOST_FILES, Found, Unreadable
from gradlang.cli.main import main

LAYERS = """
param W : [D, 2] = [[1, 2], [3, 4]]
const slope = 0.5
def affine(x, W, b=1) = x @ W + b
def act(x) = leaky_relu(x, slope)
def _double(x) = 2*x
def twice(x) = _double(act(x))
total = sum(W)
"""
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """write({path: text}) writes files and gives the path of the first."""

    def made(files: Mapping[str, str]) -> Path:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return tmp_path / next(iter(files))

    return made


def said(path: Path, **options: object) -> list[str]:
    with pytest.raises(gl.SourceError) as caught:
        gl.load(path, **options)  # type: ignore[arg-type]
    return [d.message for d in caught.value.diagnostics]


# ------------------------------------------------------------------ names
def test_prefix_of_functions_values_constants_and_leaves(write: Write) -> None:
    model = gl.load(
        write(
            {
                "main.grad": 'import "layers.grad"\nx : [N, D]\n'
                "y = sum(layers.twice(layers.affine(x, layers.W, b=-1))) + layers.slope*layers.total",
                "layers.grad": LAYERS,
            }
        )
    )
    assert (list(model.inputs), list(model.params), list(model.outputs)) == (["x"], ["layers.W"], ["y"])
    given = {"x": [[1.0, -1.0]]}
    # x @ W = [-2, -2], minus 1, leaky_relu 0.5, doubled: -3 each; plus 0.5*10
    assert model(given) == -1.0
    assert model({**given, "layers.W": [[0, 0], [0, 0]]}) == -2.0
    _, grads = model.value_and_grad()(given)
    assert list(grads) == ["x", "layers.W"]
    assert grads["layers.W"].tolist() == [[1.5, 1.5], [-0.5, -0.5]]
    assert model.value_and_grad(wrt="layers.W")(given)[1]["layers.W"].tolist() == [[1.5, 1.5], [-0.5, -0.5]]
    assert model.function("layers.total")(given) == 10.0
    assert model.check().ok


def test_another_prefix_and_names_that_are_taken(write: Write) -> None:
    main = (
        'import "layers.grad" as L\nfrom "layers.grad" import act as activation, slope, total as all_of_it\n'
        "x = 2\ny = L.act(x) + activation(-x)*slope + all_of_it"
    )
    model = gl.load(write({"main.grad": main, "layers.grad": LAYERS}))
    assert list(model.params) == ["L.W"]
    assert model() == 2 - 0.5 + 10


def test_each_file_sees_its_own_names(write: Write) -> None:
    files = {
        "main.grad": 'import "lib.grad"\nk = 10\ndef f(x) = lib.f(x) + k\ny = f(1) + lib.h',
        "lib.grad": "k = 2\ndef f(x) = g(x)*k\ndef g(x) = x + 1\nh = f(k)",
    }
    model = gl.load(write(files))
    assert model() == (1 + 1) * 2 + 10 + (2 + 1) * 2
    assert model({"lib.k": 3.0, "k": 0.0}) == (1 + 1) * 3 + (3 + 1) * 3
    assert said(write(files | {"main.grad": files["main.grad"] + "\nz = g(2)"})) == ["no function is named `g`"]


def test_local_names_hide_a_prefix(write: Write) -> None:
    files = {"main.grad": 'import "T.grad"\ndef f(T) = sum(T.T)\nx : [2] = [1, 2]\ny = f(x) + T.T', "T.grad": "T = 4"}
    assert gl.load(write(files))() == 7.0


def test_names_of_an_import_are_names_of_the_file(write: Write) -> None:
    files = {
        "main.grad": 'import "net.grad"\nfrom "net.grad" import lib\ny = net.half(net.lib.W) + lib.W*net.V',
        "net.grad": 'import "lib.grad"\nfrom "lib.grad" import half, V',
        "lib.grad": "W = 4\nV = 3\ndef half(x) = x/2",
    }
    model = gl.load(write(files))
    assert list(model.inputs) == ["net.lib.W", "net.V"]
    assert model() == 14.0


def test_a_file_imported_twice_is_read_once(tmp_path: Path) -> None:
    texts = {
        "main": 'import "a"\nimport "b"\nimport "c" as other\ny = a.f + b.g + other.W',
        "a": 'import "c"\nf = 2*c.W',
        "b": 'import "c" as sea\ng = 3*sea.W',
        "c": "W = 1",
    }
    opened: list[str] = []

    class Texts:
        root = "main"

        def find(self, written: str, importer: str) -> Found:
            if written not in texts:
                raise Unreadable(f"nothing is called {written}")

            def read() -> str:
                opened.append(written)
                return texts[written]

            return Found(written, written, read)

    model = gl.Model(pipeline.load(texts["main"], "main", pipeline.standard(), Texts()))
    assert opened == ["a", "c", "b"]
    assert list(model.inputs) == ["other.W"]  # the import of the file nearest to the root names its leaves
    assert model.value_and_grad()() == (6.0, {"other.W": 6.0})


def test_leaves_of_a_file_of_which_names_are_taken(write: Write) -> None:
    lib = "W = 2\nV : [N]\nbad = V[9]\nused = 3*W\ndef f(x) = x*used\ndef g(x) = sum(V)*x\nk = 5"
    model = gl.load(write({"main.grad": 'from "lib.grad" import f, k as kay\nN = 2\ny = f(N)', "lib.grad": lib}))
    assert list(model.inputs) == ["N", "lib.W", "kay"]  # taken by name, or needed
    assert "lib.bad" not in model.program.values
    assert model() == 12.0
    model = gl.load(write({"main.grad": 'from "lib.grad" import g\ny = g(2)', "lib.grad": lib}))
    assert list(model.inputs) == ["lib.V"]
    assert model({"lib.V": [1, 2]}) == 6.0  # `bad` would need ten


def test_what_no_one_uses_demands_nothing(write: Write) -> None:
    files = {"main.grad": 'import "lib.grad"\ny = sum(lib.V)', "lib.grad": "V : [N]\nlast = V[9]"}
    assert gl.load(write(files))({"lib.V": [1, 2]}) == 3.0
    files["main.grad"] += " + lib.last"
    with pytest.raises(gl.InputError, match="outside the array"):
        gl.load(write(files))({"lib.V": [1, 2]})


def test_two_files_of_one_name(write: Write) -> None:
    files = {
        "main.grad": 'from "a/util.grad" import f\nfrom "b/util.grad" import g\nfrom "my-own.grad" import h\ny = f + g + h',
        "a/util.grad": "W = 1\nf = W",
        "b/util.grad": "W = 2\ng = 2*W",
        "my-own.grad": "W = 3\nh = 3*W",
    }
    model = gl.load(write(files))
    assert list(model.inputs) == ["util.W", "util_2.W", "my_own.W"]
    assert model.value_and_grad()() == (14.0, {"util.W": 1.0, "util_2.W": 2.0, "my_own.W": 3.0})


def test_sizes_are_shared_by_name(write: Write) -> None:
    files = {
        "main.grad": 'import "data.grad"\ny : [N]\nloss = sum((data.x[:, 0] - y)**2)/N + data.N - N',
        "data.grad": "x : [N, D]",
    }
    model = gl.load(write(files))
    assert model({"y": [1, 2], "data.x": [[1, 0], [4, 0]]}) == 2.0
    with pytest.raises(gl.InputError, match="N = 2"):
        model({"y": [1, 2], "data.x": [[1, 0]]})


def test_constants_of_a_file_are_sizes_elsewhere(write: Write) -> None:
    main = 'import "lib.grad"\nfrom "lib.grad" import H\nconst K = 2*lib.H\ninput x : [lib.H, K, H] = zeros([H, 4, lib.H])\nv : [4] = lib.v\n'
    files = {"main.grad": main + "y = sum(x) + sum(v)", "lib.grad": "const H = 2\nconst v = [1, 2, 3, 4]"}
    model = gl.load(write(files))
    assert model.inputs["x"].shape == (2, 4, 2)
    assert model() == 10.0


# ------------------------------------------------------------------ what belongs to the file that is run
def test_requests_and_checks_are_those_of_the_file_that_is_run(write: Write) -> None:
    lib = "x = 1\ny = 2*x\nunused = 3*x\ngrad y\ncheck y == 100\noutput unused\nminimize y"
    model = gl.load(write({"main.grad": 'import "lib.grad"\nz = lib.y + 1', "lib.grad": lib}))
    assert list(model.outputs) == ["z"]
    assert model.check().ok
    assert not model.program.promises
    main = 'import "lib.grad" as L\nz = L.y + 1\ngrad z wrt L.x\ngrad L.y\noutput L.unused\ncheck z == 9 given L.x = 4\n'
    model = gl.load(write({"main.grad": main, "lib.grad": lib}))
    assert list(model.outputs) == ["z", "L.y", "L.unused"]
    assert model.check().ok


def test_open_formulas(write: Write) -> None:
    files = {"main.grad": 'import "lib.grad"\nfrom "lib.grad" import half\ny = half(a) + lib.half(b) + lib.eps'}
    model = gl.load(write(files | {"lib.grad": "def half(x) = x/2\nconst eps = 1"}))
    assert list(model.inputs) == ["a", "b"]
    assert model(a=1, b=2) == 2.5
    assert said(write(files | {"lib.grad": "def half(x) = x/2\neps = 1"})) == ["no value is named `a`", "no value is named `b`"]
    model = gl.load(write({"main.grad": 'import "lib.grad"\ny = 2*lib.area', "lib.grad": "area = width*height"}))
    assert list(model.inputs) == ["lib.width", "lib.height"]


# ------------------------------------------------------------------ the other forms of a program
@pytest.fixture
def net(write: Write) -> Path:
    main = (
        'import "lib/layers.grad"\nx : [N, D]\nh = layers.act(layers.affine(x, layers.W))\n'
        "loss = mean(h**2) + layers.total\ngrad loss wrt layers.W\n"
    )
    return write({"main.grad": main, "lib/layers.grad": LAYERS})


X = [[1.0, -1.0], [0.5, 2.0], [3.0, 0.25]]


def test_graph(net: Path) -> None:
    model = gl.load(net)
    graph = model.graph
    scopes = {data["scope"] for _, data in graph.nodes(data=True)}
    assert ("layers.affine",) in scopes
    assert ("layers.act",) in scopes
    names = {data["name"]: data for _, data in graph.nodes(data=True) if data["name"]}
    assert set(names) == {"x", "h", "loss", "layers.W", "layers.total"}
    assert names["layers.W"]["role"] == "param"
    again = gl.from_graph(graph)
    given = {"x": X, "layers.W": [[1, 2], [3, 5]]}
    assert again(given) == model(given)
    assert list(again.params) == ["layers.W"]


def test_generated_code_has_identifiers(net: Path) -> None:
    model = gl.load(net)
    f = model.value_and_grad("loss", wrt="layers.W")
    assert "layers_W" in f.source
    assert "layers.W" not in f.source.replace("'layers.W'", "")
    scalar = gl.loads('import "lib/layers.grad"\ny = layers.slope*z\nz = 3', base=net.parent)
    assert scalar.value_and_grad()({"layers.W": [[1, 1]]})[0] == 1.5


def test_the_derivative_as_a_program(net: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(net.parent)
    assert main(["compile", "main.grad", "--target", "grad"]) == 0
    text = capsys.readouterr().out
    assert "param layers_W : [D, 2]" in text
    assert "output loss, d_loss_d_x, d_loss_d_layers_W\n" in text
    found = gl.loads(text)({"x": X})
    loss, grads = gl.load(net).value_and_grad(wrt="layers.W")({"x": X})
    assert found["loss"] == loss
    assert found["d_loss_d_layers_W"].tolist() == grads["layers.W"].tolist()


def test_pickles(net: Path) -> None:
    model = gl.load(net)
    again = pickle.loads(pickle.dumps(model))
    f = pickle.loads(pickle.dumps(model.value_and_grad()))
    assert again({"x": X}) == model({"x": X}) == f({"x": X})[0]
    with pytest.raises(gl.InputError) as caught:
        model({"y": 1})
    assert pickle.loads(pickle.dumps(caught.value)).diagnostics[0].code == "G502"


def test_commands(net: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    monkeypatch.chdir(net.parent)
    np.savez(net.parent / "data.npz", **{"x": np.array(X), "layers.W": np.eye(2)})
    np.save(net.parent / "w.npy", np.eye(2))
    words = [["x=[[1,-1],[0.5,2],[3,0.25]]", "layers.W=[[1,0],[0,1]]"], ["--data", "data.npz"]]
    words.append(["--data", "data.npz", "--data", "layers.W=w.npy"])
    outs = []
    for given in words:
        assert main(["run", "main.grad", *given, "--wrt", "layers.W"]) == 0
        outs.append(capsys.readouterr().out)
    assert outs[0] == outs[1] == outs[2]
    assert "\n  layers.W  [[" in outs[0]
    assert main(["check", "main.grad"]) == 0
    assert "FAILED" not in capsys.readouterr().out
    before = (net.parent / "lib" / "layers.grad").read_text()
    assert main(["compile", "main.grad", "-o", "lib/layers.grad"]) == 1
    assert "this is the program itself" in capsys.readouterr().err
    assert (net.parent / "lib" / "layers.grad").read_text() == before


def test_format(tmp_path: Path) -> None:
    path = tmp_path / "a.grad"
    path.write_text(
        'import   "b.grad"   as  c\nfrom "d.grad"  import  e,f  as g\ngrad  y wrt c.W ,c.b\ncheck y==1 given c.W=2\n'
    )
    assert main(["fmt", str(path)]) == 0
    wanted = 'import "b.grad" as c\nfrom "d.grad" import e, f as g\ngrad y wrt c.W, c.b\ncheck y==1 given c.W = 2\n'
    assert path.read_text() == wanted
    assert main(["fmt", "--check", str(path)]) == 0


def test_nothing_depends_on_the_order_of_sets(net: Path) -> None:
    root = Path(__file__).parent.parent
    outs = []
    for seed in ("0", "1"):
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(root)}
        command = [sys.executable, "-m", "gradlang", "compile", str(net), "--target", "grad"]
        outs.append(subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout)
    assert outs[0] == outs[1]


# ------------------------------------------------------------------ errors
def test_errors_point_into_the_file_that_has_them(write: Write) -> None:
    files = {"main.grad": 'import "lib.grad"\nx : [2]\ny = lib.f(x)', "lib.grad": "\ndef f(x) = g(x)\ndef g(x) = x @ [1, 2, 3]"}
    with pytest.raises(gl.SourceError) as caught:
        gl.load(write(files))
    (found,), sources = caught.value.diagnostics, caught.value.sources
    assert found.span is not None
    assert sources.place(found.span).endswith("lib.grad:3:12")
    assert [(text, Path(sources.of(span[0]).path).name) for span, text in found.labels] == [
        ("in this call of `lib.f`", "main.grad"),
        ("in this call of `g`", "lib.grad"),
    ]


def test_a_call_reports_where_a_leaf_of_another_file_stands(net: Path) -> None:
    with pytest.raises(gl.InputError, match=r"layers\.grad:2:7"):
        gl.load(net)({"x": X, "layers.W": [1.0]})
    with pytest.raises(gl.InputError, match=r"did you mean `layers\.W`"):
        gl.load(net)({"x": X, "layers.w": [[1.0]]})
    with pytest.raises(gl.InputError, match=r"`layers\.slope`"):
        gl.load(net)({"x": X, "layers.slope": 1.0})


def test_a_nan_is_born_in_another_file(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    path = write({"main.grad": 'import "lib.grad"\nx = 0\ny = lib.f(x)', "lib.grad": "def f(x) = log(x) - log(x)"})
    assert main(["run", str(path)]) == 0
    assert "lib.grad:1:12" in capsys.readouterr().err


def test_too_large(write: Write) -> None:
    lines = ["def f0(x) = x + 1", *(f"def f{k}(x) = f{k - 1}(f{k - 1}(x))" for k in range(1, 25))]
    files = {"main.grad": 'import "lib.grad"\ny = lib.h', "lib.grad": "\n".join([*lines, "a = 1", "h = f24(a)"])}
    assert [m.partition(" has more")[0] for m in said(write(files))] == ["this program"]


def test_long_chains_and_many_files(tmp_path: Path) -> None:
    def load(files: dict[str, str]) -> list[str]:
        class Texts:
            root = "main"

            def find(self, written: str, importer: str) -> Found:
                return Found(written, written, lambda: files[written])

        return [d.message for d in pipeline.read(files["main"], "main", pipeline.standard(), Texts())[1]]

    chain = {f"f{k}": f'import "f{k + 1}" as n\ndef f(x) = n.f(x) + 1' for k in range(DEEPEST)}
    chain |= {f"f{DEEPEST}": "def f(x) = x", "main": 'import "f2" as n\ny = n.f(2)'}
    assert load(chain) == []
    assert load(chain | {"main": 'import "f0" as n\ny = n.f(2)'}) == [f"more than {DEEPEST} files import each other in a row"]
    wide = {f"f{k}": f"v{k} = {k}" for k in range(MOST_FILES)}
    lines = [f'import "f{k}"' for k in range(MOST_FILES)] + ["y = f1.v1"]
    assert load(wide | {"main": "\n".join(lines[1:])}) == []
    assert load(wide | {"main": "\n".join(lines)}) == [f"this program has more than {MOST_FILES} files"]


# ------------------------------------------------------------------ which files may be read
def test_a_text_has_no_folder(net: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(net.parent)
    text = 'import "lib/layers.grad"\ny = layers.act(-2)*z\nz = 1'
    for made in (lambda: gl.loads(text), lambda: gl.loads(text, path="main.grad")):
        with pytest.raises(gl.SourceError, match="a text that is in no file cannot import one"):
            made()
    given = {"layers.W": [[1, 1]]}
    assert gl.loads(text, base=net.parent)(given) == -1.0
    assert gl.loads(text, base=".")(given) == -1.0
    done = subprocess.run(
        [sys.executable, "-m", "gradlang", "run", "-"],
        input=text,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "error[G220]" in done.stderr
    with pytest.raises(gl.InputError, match="there is no folder"):
        gl.loads(text, base="nowhere")


def test_files_outside_of_the_folder(write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(
        {"in/main.grad": 'import "../out/lib.grad"\ny = lib.f(2)', "out/lib.grad": 'import "more.grad"\ndef f(x) = more.f(x)'}
    )
    write({"out/more.grad": "def f(x) = 3*x"})
    assert said(path) == ["`../out/lib.grad` is outside the folder of the program"]
    for allow in (tmp_path / "out", str(tmp_path / "out"), [tmp_path / "out"], [str(tmp_path)]):
        assert gl.load(path, allow=allow)() == 6.0
    assert main(["run", str(path), "--allow-import", str(tmp_path / "out")]) == 0
    assert main(["compile", str(path), "--allow-import", str(tmp_path / "out")]) == 0
    assert main(["run", str(path), "--allow-import", str(tmp_path / "in")]) == 1
    assert main(["run", str(path), "--allow-import", str(tmp_path / "nowhere")]) == 1
    capsys.readouterr()


def test_absolute_paths(write: Write, tmp_path: Path) -> None:
    lib = write({"out/lib.grad": "def f(x) = 3*x"})
    text = f'import "{lib.as_posix()}"\ny = lib.f(2)'
    path = write({"in/main.grad": text})
    assert said(path) == [f"`{lib.as_posix()}` is an absolute path"]
    assert gl.load(path, allow=[tmp_path / "out"])() == 6.0
    assert gl.loads(text, allow=[tmp_path / "out"])() == 6.0


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs links and pipes")
def test_links_and_odd_files(write: Write, tmp_path: Path) -> None:
    path = write(
        {"in/main.grad": 'import "link.grad"\ny = link.f(2)', "out/lib.grad": "def f(x) = 3*x", "in/lib.grad": "def f(x) = x"}
    )
    link = tmp_path / "in" / "link.grad"
    link.symlink_to(tmp_path / "out" / "lib.grad")
    assert said(path) == ["`link.grad` is outside the folder of the program"]
    link.unlink()
    link.symlink_to(tmp_path / "in" / "lib.grad")
    assert gl.load(path)() == 2.0
    link.unlink()
    link.symlink_to("link.grad")
    (message,) = said(path)
    assert "link.grad" in message
    link.unlink()
    os.mkfifo(link)
    assert said(path) == [f"{link} is no plain file"]
    link.unlink()
    # the folder of a program is where the user says that it is, also if the file is a link
    (tmp_path / "main.grad").symlink_to(tmp_path / "in" / "main.grad")
    write({"link.grad": "def f(x) = 5*x"})
    assert gl.load(tmp_path / "main.grad")() == 10.0


def test_odd_paths(write: Write) -> None:
    for name in ("a\0b.grad", "x" * 300, "y" * 5000, "  ", "~/a.grad", "https://x.org/a.grad", "\\\\host\\a.grad", "."):
        assert len(said(write({"main.grad": f'import "{name}" as odd\ny = odd.f(2) + 1'}))) == 1


def test_a_program_in_the_folder_of_the_process(net: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(net.parent)
    assert gl.load("main.grad")({"x": X}) == gl.load("./main.grad")({"x": X}) == gl.load(net)({"x": X})
