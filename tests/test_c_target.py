"""`compile --target c`: strict C11, a header for C and C++, numbers as the NumPy backend has them, and no step outside memory."""

import ctypes
import random
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import test_random_language
from test_native_blocks import CASES

import gradlang as gl
from gradlang.backend.artifact import Returns
from gradlang.cli.compiling_c import c_text, flat
from gradlang.cli.main import main
from gradlang.pipeline import Goal

CC = shutil.which("gcc") or shutil.which("cc")
CXX = shutil.which("g++") or shutil.which("c++")
pytestmark = pytest.mark.skipif(CC is None, reason="no C compiler")
FOLDER = Path(__file__).parent.parent / "examples"
STRICT = "-std=c11 -O1 -Wall -Wextra -pedantic -Werror".split()
SAFE = "-g -fsanitize=address,undefined -fno-sanitize-recover=all".split()
SLOW = {"28_double_pendulum": "last", "24_bundle_adjustment": "objective", "27_conv_net": "loss"}  # to compile
OUTPUTS = [(f.stem, name) for f in sorted(FOLDER.glob("*.grad")) for name in gl.load(f).program.outputs]
OUTPUTS = [(f, y) for f, y in OUTPUTS if SLOW.get(f, y) == y and (f != "21_black_scholes" or y in ("call", "gamma"))]


def compiled(source, target, *flags):
    done = subprocess.run([CC, *STRICT, *flags, str(source), "-o", str(target), "-lm"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def goal_of(model, name, dtype="float64"):
    type = model.program.nodes[model.program.values[name]].type
    wrt = model._wrt(None, name)
    slope = not type.shape and type.dtype == "real" and wrt
    return Goal("grad" if slope else "value", (name,), wrt if slope else (), dtype)


class Built:
    """A goal of a model as a C function, called with sizes and arrays by name."""

    def __init__(self, model, name, folder, dtype="float64", flags=()):
        goal = goal_of(model, name, dtype)
        self.made = c_text(model, goal, "test.grad", None)
        self.numpy = model.compile(goal, "numpy")
        source = folder / f"{name.encode('ascii', 'replace').decode().replace('?', 'q')}.c"
        source.write_text(self.made.source, encoding="utf-8")
        self.library = source.with_suffix(f".{len(list(folder.iterdir()))}.so")
        compiled(source, self.library, "-fPIC", "-shared", *flags)
        self.real = np.dtype(dtype)

    def __call__(self, sizes, given, shapes):
        """The code, and the results by name."""
        face = self.made.interface
        function = getattr(ctypes.CDLL(str(self.library)), face.entry)
        number = ctypes.c_double if self.real == np.float64 else ctypes.c_float
        kinds = {"real": self.real, "int": np.dtype(np.int64), "bool": np.dtype(np.uint8)}
        args, results, types = [], {}, []
        for a in face.arguments:
            if a is face.value:
                continue
            if a.type is None:
                args.append(sizes[a.name])
                types.append(ctypes.c_int64)
            elif a.result:
                kind = np.dtype(np.int32) if a.type.dtype == "bool" and not a.type.shape else kinds[a.type.dtype]
                results[a.name] = np.full(shapes[a.name], 77, kind)
                args.append(results[a.name].ctypes.data)
                types.append(ctypes.c_void_p)
            elif a.type.shape:
                kept = results[f"given {a.name}"] = np.ascontiguousarray(given[a.name], kinds[a.type.dtype])
                args.append(kept.ctypes.data)
                types.append(ctypes.c_void_p)
            else:
                args.append(given[a.name])
                types.append(number if a.type.dtype == "real" else ctypes.c_int64)
        function.argtypes = types
        if face.value is not None:
            function.restype = {"real": number, "int": ctypes.c_int64, "bool": ctypes.c_int}[face.value.type.dtype]
            return 0, {face.value.name: function(*args)}
        function.restype = None if face.plain else ctypes.c_int
        return function(*args) or 0, results

    def check(self, sizes, given, rtol=1e-9):
        wanted = {}
        flat(self.numpy.job.returns, self.numpy(**given), wanted)
        shapes = {}
        shape_of(self.numpy.job.returns, self.numpy(**given), shapes)
        code, found = self(sizes, given, shapes)
        assert code == 0
        for name, values in wanted.items():
            w = np.asarray(values, float)
            scale = np.max(np.abs(w[np.isfinite(w)]), initial=0.0)
            np.testing.assert_allclose(np.ravel(found[name]), w, rtol=rtol, atol=rtol * 0.1 * scale, err_msg=name)


def shape_of(returns, found, out):
    parts = [p[1] if returns.kind == "dict" else p for p in returns.parts]
    values = [found] if returns.kind == "one" else list(found.values()) if returns.kind == "dict" else found
    for part, v in zip(parts, values, strict=True):
        if isinstance(part, Returns):
            shape_of(part, v, out)
        else:
            out[part] = np.shape(v)


# ------------------------------------------------------------------ examples
@pytest.mark.parametrize(("example", "output"), OUTPUTS)
def test_examples_check_themselves(example, output, tmp_path):
    target = tmp_path / "model.c"
    assert main(["compile", str(FOLDER / f"{example}.grad"), "--target", "c", "--of", output, "-o", str(target)]) == 0
    safe = SAFE if example[:2] in ("09", "14", "18", "20", "31") else []
    compiled(target, tmp_path / "check", "-DGRADLANG_TEST_MAIN", *safe)
    done = subprocess.run([str(tmp_path / "check")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    text = target.read_text(encoding="utf-8")
    assert "GRADLANG_TEST_MAIN" in text
    if CXX and example[:2] in ("02", "10", "21"):
        header = tmp_path / "model.h"
        (tmp_path / "use.cpp").write_text('#include "model.h"\n#include "model.h"\nint main() { return 0; }\n')
        for compiler, name in ((CXX, "use.cpp"), (CC, "use.c")):
            shutil.copy(tmp_path / "use.cpp", tmp_path / "use.c")
            subprocess.run([compiler, "-Wall", "-Wextra", "-Werror", "-c", name], cwd=tmp_path, check=True)
        prototype = re.sub(r"\s+", " ", re.search(r"\n(\w+ \w+\([^;]*\);)", header.read_text())[1])
        assert prototype in re.sub(r"\s+", " ", text)


def test_a_wrong_number_is_noticed(tmp_path, capsys):
    target = tmp_path / "model.c"
    assert main(["compile", str(FOLDER / "02_shopping.grad"), "--target", "c", "-o", str(target)]) == 0
    target.write_text(target.read_text().replace("tax * m", "tax + m"))
    compiled(target, tmp_path / "check", "-DGRADLANG_TEST_MAIN")
    done = subprocess.run([str(tmp_path / "check")], capture_output=True, text=True)
    assert done.returncode == 1
    assert "d_price_d_orange" in done.stdout


# ------------------------------------------------------------------ random inputs
NETWORK = """input X : [N, 5]
input t : int[N]
param W : [5, 4]
param b : [4]
s = X @ W + b
loss = mean(logsumexp(s, axis=1) - take_along(s, t[:, None], axis=1))
"""
WINDOW = "input x : [N]\nd = x[1:] - x[:-1]\nf = sum(d*d) + sum(cumsum(x)*exp(-x*x)) + sum(sin(1e7*x))\n"


def network(n, rng):
    return {"X": rng.normal(size=(n, 5)), "t": rng.integers(0, 4, n), "W": rng.normal(size=(5, 4)), "b": rng.normal(size=4)}


def test_every_size_and_random_inputs(tmp_path):
    rng = np.random.default_rng(1)
    run = Built(gl.loads(NETWORK), "loss", tmp_path)
    for n in (1, 2, 7, 300):
        run.check({"N": n}, network(n, rng))
    run = Built(gl.loads(WINDOW), "f", tmp_path)
    for n in (1, 2, 5, 1000):
        run.check({"N": n}, {"x": rng.normal(size=n)})


def test_single_precision(tmp_path):
    run = Built(gl.loads(NETWORK, dtype="float32"), "loss", tmp_path, "float32")
    run.check(
        {"N": 9}, {k: v.astype(np.float32) if k != "t" else v for k, v in network(9, np.random.default_rng(2)).items()}, 1e-4
    )


@pytest.mark.parametrize("name", [n for n in CASES if n not in ("windows", "gradient at a singular matrix")])
def test_what_is_no_formula_of_entries(name, tmp_path):
    text, given = CASES[name]
    model = gl.loads(text + "\n")
    for output in model.program.outputs:
        run = Built(model, output, tmp_path)
        sizes = {}
        for a in run.made.interface.arguments:
            if a.type is not None and not a.result:
                for d, n in zip(a.type.shape, given[a.name].shape, strict=True):
                    sizes |= {str(d): n} if not isinstance(d, int) else {}
        run.check(sizes, given)


@pytest.mark.parametrize("seed", range(5))
def test_random_programs(seed, tmp_path):
    text = test_random_language.text_of(random.Random(seed))
    run = Built(gl.loads(text), "y", tmp_path)
    at = test_random_language.point(seed)
    arguments = [a for a in run.made.interface.arguments if a.type is not None and not a.result]
    sizes = {str(d): n for a in arguments for d, n in zip(a.type.shape, np.shape(at[a.name]), strict=True)}
    run.check(sizes, at)
    (tmp_path / "self.c").write_text(run.made.source, encoding="utf-8")
    compiled(tmp_path / "self.c", tmp_path / "self", "-DGRADLANG_TEST_MAIN", *SAFE)
    assert subprocess.run([str(tmp_path / "self")], capture_output=True).returncode == 0


# ------------------------------------------------------------------ what goes wrong
def safe_run(tmp_path, model, output, call, *more):
    """Runs a few lines of C with the function, with every access of memory watched."""
    made = c_text(model, goal_of(model, output), "test.grad", None)
    nowhere = "static inline void *nowhere(void) { return calloc(1, 1); }"  # an array without entries
    main_lines = f"#include <stdio.h>\n{nowhere}\nint main(void) {{\n" + call + "\nreturn 0;\n}\n"
    (tmp_path / "safe.c").write_text(made.source.split("#ifdef GRADLANG_TEST_MAIN")[0] + main_lines, encoding="utf-8")
    compiled(tmp_path / "safe.c", tmp_path / "safe", *SAFE, *more)
    done = subprocess.run([str(tmp_path / "safe")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_index_outside_is_told_and_not_read(tmp_path):
    model = gl.loads("input x : [N]\ninput k : int[M]\ny = x[k]\nf = sum(y*y)\n")
    call = """double x[3] = {1, 2, 4}, f, d[3], *none = nowhere(), *empty = nowhere(); int64_t k[3] = {0, -2, 1}, far[3] = {0, INT64_MAX, 1};
int64_t below[1] = {INT64_MIN};
printf("%d", f_and_gradients(2, 3, x, k, &f, d)); printf(" %g %g %g", f, d[0], d[1]);
printf(" %d %d", f_and_gradients(2, 3, x, far, &f, d), f_and_gradients(2, 1, x, below, &f, d));
printf(" %d", f_and_gradients(0, 1, none, k, &f, empty));
printf(" %d", f_and_gradients(0, 0, none, far, &f, empty)); printf(" %g", f);
printf(" %d", f_and_gradients(-1, 2, x, k, &f, d)); free(none); free(empty);"""
    assert safe_run(tmp_path, model, "f", call) == "0 6 4 4 1 1 2 0 0 2"


def test_no_entries_and_no_memory(tmp_path):
    model = gl.loads(WINDOW)
    call = """double *none = nowhere(), f = 7, x[1] = {0.5}, d[1];
printf("%d %g", f_and_gradients(0, none, &f, d), f); printf(" %d", f_and_gradients(1, x, &f, d)); free(none);"""
    assert safe_run(tmp_path, model, "f", call) == "2 7 0"
    never = ["-DGRADLANG_MALLOC(n)=((void)(n),(void*)0)", "-DGRADLANG_FREE(p)=(void)(p)"]
    model = gl.loads("input A : [N, N]\nf = sum(inv(A))\n")
    call = 'double A[1] = {2}, f, d[1]; printf("%d", f_and_gradients(1, A, &f, d));'
    assert safe_run(tmp_path, model, "f", call) == "0"
    assert safe_run(tmp_path, model, "f", call, *never) == "3"
    call = 'double A[1] = {2}, f, d[1]; printf("%d", f_and_gradients(INT64_C(3000000000), A, &f, d));'
    assert safe_run(tmp_path, model, "f", call) == "3"


def test_whole_numbers_wrap_around_as_in_numpy(tmp_path):
    model = gl.loads("input n : int[N]\nm = abs(n)*3 + n - 1\n")
    call = """int64_t n[2] = {INT64_MAX, INT64_MIN}, m[2]; m(2, n, m);
printf("%lld %lld", (long long)m[0], (long long)m[1]);"""
    made = c_text(model, goal_of(model, "m"), "t", None)
    result = next(a.identifier for a in made.interface.arguments if a.result)
    assert result == "m_"  # the function has the name
    call = call.replace("m[2]; m(2, n, m)", "r[2]; m(2, n, r)").replace("m[0]", "r[0]").replace("m[1]", "r[1]")
    wanted = model.function("m")(n=np.array([2**63 - 1, -(2**63)]))
    assert safe_run(tmp_path, model, "m", call) == " ".join(map(str, wanted))


def test_names_of_every_kind(tmp_path):
    text = """double = 2.0 "a */ remark ??/ /* with traps"
new = 3.0
exp = 0.5
원가 = 1.5 "가격"
gl_exp = 0.25
t1 = 4.0
base = 1.25
y = double*new + 2.71**exp + 원가*t1 + exp(gl_exp) + base
"""
    text = text.replace(" + exp(gl_exp)", " + sinh(gl_exp)")
    model = gl.loads(text)
    run = Built(model, "y", tmp_path)
    run.check({}, {"double": 2.0, "new": 3.0, "exp": 0.5, "원가": 1.5, "gl_exp": 0.25, "t1": 4.0, "base": 1.25})
    names = {a.name: a.identifier for a in run.made.interface.arguments}
    assert all(n.isascii() and n.isidentifier() for n in names.values())
    assert len(set(names.values())) == len(names)
    assert names["base"] == "base"
    (tmp_path / "h.h").write_text(run.made.header, encoding="utf-8")
    if CXX:
        (tmp_path / "h.cpp").write_text('#include "h.h"\n')
        subprocess.run([CXX, "-Wall", "-Werror", "-c", "h.cpp"], cwd=tmp_path, check=True)


def test_one_number_is_returned(tmp_path):
    run = Built(gl.loads("def area(r) = pi*r*r\nconst r = 2\na = area(r)\nb = a\n"), "b", tmp_path)
    assert run.made.interface.plain
    model = gl.loads("input x\nj0 = x > 2\n")
    run = Built(model, "j0", tmp_path)
    assert run.made.interface.entry == "j0_"
    assert run({}, {"x": 3.0}, {}) == (0, {"j0": 1})


def test_eigenvalues(tmp_path):
    rng = np.random.default_rng(3)
    text = "input A : [B, N, N]\nw, v = eigh(A)\nf = sum(w**3*v[:, 0]) + sum(w)\n"
    model = gl.loads(text)
    slope, values, vectors = (Built(model, name, tmp_path) for name in ("f", "w", "v"))
    for n in (1, 2, 3, 8):
        a = rng.normal(size=(3, n, n))
        for run in (slope, values, vectors):
            run.check({"B": 3, "N": n}, {"A": a}, 1e-8)
    for a in (np.diag([3.0, 1, 2]), np.ones((3, 3)), np.zeros((3, 3)), np.full((3, 3), 1e200), np.diag([np.nan, 1, 2])):
        values.check({"B": 1, "N": 3}, {"A": a[None]})
    vectors.check({"B": 1, "N": 3}, {"A": np.diag([3.0, 1, 2])[None]})


def test_what_c_does_not_have_is_said(capsys, tmp_path):
    file = tmp_path / "m.grad"
    file.write_text("input x : [9]\na[0] = 1\nfor t in range(9):\n    a[t+1] = a[t]*x[t] + sin(a[t])\nf = a[9]**2\n")
    assert main(["compile", str(file), "--target", "c", "--checkpoint"]) == 1
    said = capsys.readouterr().err
    assert "G601" in said
    assert "a recurrence with checkpoints is not supported in C yet" in said


def test_the_file_is_the_same_every_time():
    first, second = (c_text(m := gl.loads(NETWORK), goal_of(m, "loss"), "t", None) for _ in range(2))
    assert first.source == second.source
    assert first.header == second.header
