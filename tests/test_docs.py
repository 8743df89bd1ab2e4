"""README and docs are executed: every ```console, ```grad, ```grad-op and ```python block. Their pictures are those that the
commands of the page draw.

A block that opens with ```grad name.grad is a file that the other blocks of its page may import."""

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Golden

import gradlang as gl
from gradlang.ops.table import OpTable, builtin
from gradlang.source import Source

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "examples" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PICTURE = re.compile(r"!\[[^\]]*\]\((?:docs/)?pictures/([\w.]+)\)")
BLOCK = re.compile(r"^( *)```([\w-]+)(?: +([\w.-]+))?\n(.*?)^ *```$", re.S | re.M)


def blocks(kind: str) -> list:
    found = []
    for page in PAGES:
        for n, m in enumerate(BLOCK.finditer(page.read_text(encoding="utf-8"))):
            if m[2] == kind and m[3] is None:
                text = "\n".join(line.removeprefix(m[1]) for line in m[4].splitlines()) + "\n"
                found.append(pytest.param(page, text, id=f"{page.parent.name}-{page.stem}-{n}"))
    return found


def commands(text: str) -> list[tuple[str, str]]:
    """(command, output) pairs of a console block; lines that start with `> ` continue a command."""
    pairs: list[tuple[list[str], list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            pairs.append(([line[2:]], []))
        elif line.startswith("> ") and pairs and not pairs[-1][1]:
            pairs[-1][0].append(line[2:])
        elif pairs:
            pairs[-1][1].append(line)
    return [("\n".join(c), "\n".join(o).strip()) for c, o in pairs]


def shell(command: str, folder: Path) -> str:
    tools = Path(sys.executable).parent
    env = {**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    env["PYTHONUTF8"] = "1"  # whatever the locale is
    done = subprocess.run(["bash", "-c", command], cwd=folder, env=env, capture_output=True, encoding="utf-8", check=False)
    return (done.stdout + done.stderr).strip()


def pages_of(kind: str) -> list:
    """The blocks of a page are run one after the other."""
    pages: dict[Path, str] = {}
    for param in blocks(kind):
        page, text = param.values
        pages[page] = pages.get(page, "") + text + "\n"
    return [pytest.param(page, text, id=f"{page.parent.name}-{page.stem}") for page, text in pages.items()]


@pytest.mark.parametrize(("page", "text"), pages_of("console"))
def test_console(page: Path, text: str, tmp_path: Path, golden: Golden) -> None:
    for name in ("examples", "grammars"):
        (tmp_path / name).symlink_to(ROOT / name)
    for command, output in commands(text):
        # the set-up of the README's first commands is done already; the tests do not run themselves
        last = command.split("&&")[-1].strip().replace(".venv/bin/", "")
        if "pytest" in last:
            assert last == "python -m pytest -n auto"
            continue
        got = shell(last, tmp_path)
        assert not output or got == output
    for name in PICTURE.findall(page.read_text(encoding="utf-8")):
        assert (tmp_path / name).is_file(), f"no command of {page.name} draws {name}"
        golden(ROOT / "docs" / "pictures" / name, (tmp_path / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize(("page", "text"), blocks("grad"))
def test_program(page, text, tmp_path):
    for m in BLOCK.finditer(page.read_text(encoding="utf-8")):
        if m[3] is not None:
            (tmp_path / m[3]).write_text(m[4], encoding="utf-8")
    model = gl.loads(text, base=tmp_path)
    report = model.check()
    assert report.ok, report.text()


@pytest.mark.parametrize(("page", "text"), blocks("grad-op"))
def test_entry(page, text):
    table = OpTable(Source(page.name, text))
    for name in table:
        assert table[name].partials
        if name in builtin():
            assert builtin()[name].text() == text.strip()


@pytest.mark.parametrize(("page", "text"), pages_of("python"))
def test_python(page, text, monkeypatch):
    monkeypatch.chdir(ROOT)
    test = doctest.DocTestParser().get_doctest(text, {}, page.name, str(page), 0)
    failures: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=failures.append)
    assert test.examples
    assert not failures, "".join(failures)


def test_there_is_something_to_run():
    assert len(blocks("console")) > 5
    assert len(blocks("grad")) > 5
    assert len(blocks("python")) >= 3
