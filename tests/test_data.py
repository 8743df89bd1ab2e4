"""Data files: CSV, IDX, .npz and .npy, their errors; files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import pickle
import struct
import threading
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradlang as gl
from gradlang.fit.state import read_state
from gradlang.runtime.data import IDX, read_all, read_data
from gradlang.runtime.saving import check_place, save


def said(spec: str, ranks: dict[str, int] | None = None) -> str:
    with pytest.raises(gl.InputError) as caught:
        read_all([spec], ranks or {})
    return str(caught.value)


# ------------------------------------------------------------------ CSV
FLOATS = st.floats(allow_nan=False, width=64)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(FLOATS, FLOATS), max_size=20), st.booleans(), st.booleans())
def test_tables_come_back_to_the_last_bit(
    tmp_path_factory: Any, rows: list[tuple[float, float]], packed: bool, windows: bool
) -> None:
    path = tmp_path_factory.mktemp("csv") / ("t.csv.gz" if packed else "t.csv")
    end = "\r\n" if windows else "\n"
    text = "\ufeff" + end.join(["a, 가", *(f"{x!r},{y!r}" for x, y in rows)]) + end
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    found = read_data(str(path))
    assert list(found) == ["a", "가"]
    assert np.array_equal(found["a"], [x for x, _ in rows]) and np.array_equal(found["가"], [y for _, y in rows])


@pytest.fixture
def table(tmp_path: Path) -> str:
    path = tmp_path / "t.csv"
    path.write_text('"a",b,c\n1,2,3\n4,5,6\n\n', encoding="utf-8")
    return str(path)


def test_columns_are_inputs(table: str) -> None:
    found = read_data(table)
    assert {n: a.tolist() for n, a in found.items()} == {"a": [1, 4], "b": [2, 5], "c": [3, 6]}
    assert read_data(f"X={table}")["X"].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert read_data(f"X={table}:c,a")["X"].tolist() == [[3, 1], [6, 4]]
    assert read_data(f"y={table}:b")["y"].tolist() == [2, 5]
    assert read_data(f"X={table}:b", {"X": 2})["X"].tolist() == [[2], [5]]
    assert {n: a.tolist() for n, a in read_data(f"{table}:b,c").items()} == {"b": [2, 5], "c": [3, 6]}
    both = read_all([f"X={table}:a,b", f"y={table}:c"], {"X": 2, "y": 1})
    assert both["X"].shape == (2, 2) and both["y"].tolist() == [3, 6]


def test_columns_of_one_input(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("X[1],y,X[0]\n1,2,3\n4,5,6\n", encoding="utf-8")
    found = read_data(str(path))
    assert found["X"].tolist() == [[3, 1], [6, 4]] and found["y"].tolist() == [2, 5]


TABLES = {
    "": "is empty",
    "a,b\n1\n": "line 2 of {} has 1 fields, the header has 2",
    "a,b\n1,2\n3,four\n": "line 3 of {}: 'four' is not a number",
    "a,b\n1,\n": "'' is not a number",
    "a,a\n1,2\n": "has `a` twice",
    "a,\n1,2\n": "has a column without a name",
    "1,2\n3,4\n": "has numbers only",
    "X[0],X[2]\n1,2\n": "there is no `X[1]`",
    "X[0],X\n1,2\n": "`X` is a column too",
    "a\n\udcff\n": "",
    "\n\n": "is empty",
    "a,b\n1_000,2\n": "'1_000' is not a number",
    'a,b\n1,"2\n': "unexpected end of data",
    "a;b\n1;2\n": "'1;2' is not a number\n  = help: commas part fields",
    'a,b\n1,"2,5"\n': "'2,5' is not a number\n  = help: commas part fields",
}


@pytest.mark.parametrize("text", TABLES)
def test_tables_that_are_none(text: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert TABLES[text].format(path) in said(str(path))
    assert "G523" in said(str(path))


def test_blank_lines_are_no_rows_and_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("\n\na,b\n\n1,2\n\n3,4\n", encoding="utf-8")
    assert read_data(str(path))["b"].tolist() == [2, 4]
    path.write_text("\na,b\n\n1,2\n\n3,x\n", encoding="utf-8")
    assert "line 6 of" in said(str(path))


def test_a_column_has_one_spelling(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("X[0],X[00]\n1,2\n", encoding="utf-8")
    assert {n: a.tolist() for n, a in read_data(str(path)).items()} == {"X": [[1]], "X[00]": [2]}


def test_columns_that_are_not_there(table: str) -> None:
    assert "has no column `d`" in said(f"y={table}:d")
    assert "did you mean `a`?" in said(f"y={table}:A")


# ------------------------------------------------------------------ IDX
def idx(array: np.ndarray) -> bytes:
    code = next(k for k, kind in IDX.items() if np.dtype(kind).newbyteorder("=") == array.dtype)
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return head + array.astype(np.dtype(IDX[code])).tobytes()


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(IDX)),
    st.lists(st.integers(0, 4), min_size=1, max_size=4),
    st.booleans(),
    st.sampled_from(["train-images-idx3-ubyte", "t10k.idx", "data"]),
)
def test_idx_files_come_back(tmp_path_factory: Any, code: int, shape: list[int], packed: bool, name: str) -> None:
    kind = np.dtype(IDX[code]).newbyteorder("=")
    array = (np.arange(np.prod(shape, dtype=int)) * 37 % 101).reshape(shape).astype(kind)
    path = tmp_path_factory.mktemp("idx") / (name + ".gz" * packed)
    path.write_bytes(gzip.compress(idx(array)) if packed else idx(array))
    found = read_data(f"X={path}")["X"]
    assert found.dtype == kind and np.array_equal(found, array)


def test_pictures_come_as_the_input_wants_them(tmp_path: Path) -> None:
    path = tmp_path / "p-idx3-ubyte"
    pictures = np.arange(24, dtype="u1").reshape(2, 3, 4)
    path.write_bytes(idx(pictures))
    assert np.array_equal(read_data(f"X={path}", {"X": 2})["X"], pictures.reshape(2, 12))
    assert np.array_equal(read_data(f"X={path}", {"X": 3})["X"], pictures)
    assert np.array_equal(read_data(f"X={path}", {"X": 4})["X"], pictures[:, None])
    assert np.array_equal(read_data(f"X={path}")["X"], pictures)


def test_idx_files_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "p-idx3-ubyte"
    whole = idx(np.arange(24, dtype="u1").reshape(2, 3, 4))
    for data, text in ((whole[:-1], "it holds less"), (whole + b"x", "it holds more"), (whole[:7], "its head is cut off")):
        path.write_bytes(data)
        assert text in said(f"X={path}")
    path.write_bytes(struct.pack(">BBBB3I", 0, 0, 8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1))
    assert "G523" in said(f"X={path}")
    path.write_bytes(whole)
    assert "name the input" in said(str(path))
    packed = tmp_path / "q-idx3-ubyte.gz"
    packed.write_bytes(gzip.compress(whole)[:-9])
    assert "G523" in said(f"X={packed}") or "G520" in said(f"X={packed}")
    packed.write_bytes(whole)
    assert "cannot read" in said(f"X={packed}")


# ------------------------------------------------------------------ NumPy's
def test_files_of_numpy(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", a=np.ones(2), b=np.zeros(3))
    np.save(tmp_path / "x.npy", np.arange(4))
    (tmp_path / "x.npy.gz").write_bytes(gzip.compress((tmp_path / "x.npy").read_bytes()))
    assert set(read_data(f"{tmp_path}/d.npz")) == {"a", "b"}
    assert set(read_data(f"a={tmp_path}/d.npz")) == {"a"}
    for name in ("x.npy", "x.npy.gz"):
        assert read_data(f"lib.x={tmp_path}/{name}")["lib.x"].tolist() == [0, 1, 2, 3]
    with pytest.raises(gl.InputError, match="`a` is in two files"):
        read_all([f"{tmp_path}/d.npz"] * 2)
    np.save(tmp_path / "a.npy", np.zeros(5))
    for specs in ([f"{tmp_path}/d.npz", f"a={tmp_path}/a.npy"], [f"a={tmp_path}/a.npy", f"{tmp_path}/d.npz"]):
        assert read_all(specs)["a"].shape == (5,)
    with pytest.raises(gl.InputError, match="`a` is in two files"):
        read_all([f"a={tmp_path}/a.npy"] * 2)
    assert "there is no `c`" in said(f"c={tmp_path}/d.npz")
    assert "name the input" in said(f"{tmp_path}/x.npy")


def test_files_that_are_no_data(tmp_path: Path) -> None:
    for name in ("d.npz", "x=x.npy", "d.csv", "x=d.idx", "x"):
        assert "G520" in said(name.replace("=", f"={tmp_path}/") if "=" in name else f"{tmp_path}/{name}")
    np.save(tmp_path / "o.npy", np.array([{}], dtype=object), allow_pickle=True)
    assert "G523" in said(f"x={tmp_path}/o.npy")
    for name in ("bad.npz", "bad.npy"):
        for content in (b"", b"PK\x03\x04", b"\x93NUMPY"):
            (tmp_path / name).write_bytes(content)
            assert "G523" in said(f"x={tmp_path}/{name}")
    (tmp_path / "notes.txt").write_text("hello")
    assert "the kind of" in said(f"x={tmp_path}/notes.txt")
    assert "G520" in said(f"x={tmp_path}")


def test_files_with_the_wrong_ending(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(4))
    (tmp_path / "x.npz").write_bytes((tmp_path / "x.npy").read_bytes())
    assert "single array" in said(f"{tmp_path}/x.npz")
    np.savez(tmp_path / "d.npz", a=np.ones(2))
    (tmp_path / "d.npy").write_bytes((tmp_path / "d.npz").read_bytes())
    assert "several arrays" in said(f"x={tmp_path}/d.npy")
    with zipfile.ZipFile(tmp_path / "notes.npz", "w") as file:
        file.writestr("notes.txt", "hello")
    assert "'notes.txt' in it is no array" in said(f"{tmp_path}/notes.npz")


class Runs:
    """What is run where it is unpickled."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("ran"),)


def test_nothing_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    objects = np.array([Runs()], dtype=object)
    np.save("x.npy", objects, allow_pickle=True)
    np.savez("x.npz", x=objects)
    Path("p.npz").write_bytes(pickle.dumps(Runs()))
    Path("p.npy").write_bytes(pickle.dumps(Runs()))
    for spec in ("x=x.npy", "x.npz", "p.npz", "x=p.npy"):
        assert "Python objects, which are not read" in said(spec)
    with pytest.raises(gl.InputError, match="no state"):
        read_state("x.npz")
    assert not Path("ran").exists()


def some_files() -> dict[str, bytes]:
    """Files of every kind that is read."""
    array, small = np.arange(60.0).reshape(30, 2), io.BytesIO()
    np.save(small, array)
    files = {"x.npy": small.getvalue(), "x.npy.gz": gzip.compress(small.getvalue())}
    for name, write in (("d.npz", np.savez), ("c.npz", np.savez_compressed)):
        out = io.BytesIO()
        write(out, x=array, y=np.arange(3))
        files[name] = out.getvalue()
    files |= {"p": idx(np.arange(6, dtype="u1")), "p.gz": gzip.compress(idx(np.arange(6, dtype="u1")))}
    return files | {"t.csv": b"a,b\n1,2\n", "t.csv.gz": gzip.compress(b"a,b\n1,2\n")}


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_files_are_errors_or_data(tmp_path_factory: Any, data: Any) -> None:
    files = some_files()
    name = data.draw(st.sampled_from(sorted(files)))
    content = bytearray(files[name])
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    length = data.draw(st.sampled_from([len(content), data.draw(st.integers(0, len(content)))]))
    path = tmp_path_factory.mktemp("damaged") / name
    path.write_bytes(content[:length])
    with contextlib.suppress(gl.InputError):
        found = read_data(str(path) if name[0] in "dct" else f"x={path}")
        assert all(isinstance(a, np.ndarray) for a in found.values())


def directory(data: bytes, at: int, entry: bytes) -> bytes:
    """A ZIP file with something else in the first entry of its directory."""
    place = data.index(b"PK\1\2") + at
    return data[:place] + entry + data[place + len(entry) :]


DAMAGES = {
    "an open bracket in the head": ("x.npy", lambda d: d.replace(b"), }", b"(  }")),
    "another compression": ("d.npz", lambda d: directory(d, 10, b"\x63\0")),
    "a password": ("d.npz", lambda d: directory(d, 8, b"\1\0")),
    "a later version": ("d.npz", lambda d: directory(d, 6, b"\xff\0")),
    "an end that is missing": ("x.npy.gz", lambda d: d[:-12]),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damages_that_readers_stumble_over(name: str, tmp_path: Path) -> None:
    file, damage = DAMAGES[name]
    (tmp_path / file).write_bytes(damage(some_files()[file]))
    assert "G523" in said(f"x={tmp_path}/{file}")


# ------------------------------------------------------------------ writing
def test_a_file_is_the_old_or_the_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever fails on the way: writing, syncing, putting it in its place."""
    path = tmp_path / "p.npz"
    save(path, b"old")
    for module, name in ((os, "fsync"), (Path, "replace"), (Path, "chmod")):
        with monkeypatch.context() as m:

            def fail(*args: Any) -> None:
                raise OSError(28, "No space left on device")

            m.setattr(module, name, fail)
            with pytest.raises(gl.InputError, match=r"cannot write .*No space left"):
                save(path, b"new")
        assert path.read_bytes() == b"old"
        assert [p.name for p in tmp_path.iterdir()] == ["p.npz"]
    with monkeypatch.context() as m:
        m.setattr(os, "fsync", lambda number: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            save(path, b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["p.npz"] and path.read_bytes() == b"old"
    save(path, b"new")
    assert path.read_bytes() == b"new"


def test_readers_never_see_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "p"
    contents = [bytes([k]) * 200_000 for k in range(2)]
    save(path, contents[0])
    wrong: list[int] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            data = path.read_bytes()
            if data not in contents:
                wrong.append(len(data))

    reader = threading.Thread(target=read)
    reader.start()
    for k in range(30):
        save(path, contents[k % 2])
    done.set()
    reader.join()
    assert not wrong


def test_where_files_go(tmp_path: Path) -> None:
    target, link = tmp_path / "t", tmp_path / "l"
    target.write_bytes(b"1")
    target.chmod(0o600)
    link.symlink_to(target)
    save(link, b"2")
    assert link.is_symlink() and target.read_bytes() == b"2" and target.stat().st_mode & 0o777 == 0o600
    save(tmp_path / "new", b"")
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o666 & ~saving_mask()
    save("/dev/null", b"3")
    for path, text in (("", "empty"), (tmp_path, "folder"), (tmp_path / "no" / "x", "no folder"), (target, "itself")):
        with pytest.raises(gl.InputError, match=text):
            check_place(path, [str(target)])
    with pytest.raises(gl.InputError, match="cannot write"):
        save(tmp_path / "no" / "x", b"")


def saving_mask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
