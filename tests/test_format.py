"""`gradlang fmt` changes blank space only: every token, every comment and the meaning stay, and a second run changes nothing."""

from __future__ import annotations

import io
import random
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_grammar import CONSTRUCTS, plain

from gradlang.cli.main import main
from gradlang.source import Source
from gradlang.syntax.format import format_text
from gradlang.syntax.parse import parse
from gradlang.syntax.tokens import LAYOUT, cut, lexicon

ROOT = Path(__file__).parent.parent
FILES = [*sorted((ROOT / "examples").glob("*.grad")), *sorted((ROOT / "grammars").glob("*.grad"))]
TEXTS = {path.name: path.read_text(encoding="utf-8") for path in FILES}
CORPUS = {**TEXTS, **{name: text for name, (text, _) in CONSTRUCTS.items() if name != "implicit"}}
QUIET = {"deadline": None, "derandomize": True, "database": None}


def tree(text: str) -> tuple[object, ...]:
    module, faults = parse(Source("x.grad", text))
    assert not faults, (text, faults)
    return plain(module.statements)


def words(text: str) -> list[str]:
    """The tokens of a text as they are written, without the layout."""
    made = cut(text)
    assert not made.faults, (text, made.faults)
    return [
        text[start:end]
        for run in made.runs
        for kind, start, end in zip(run.kinds, run.starts, run.ends, strict=True)
        if kind not in LAYOUT
    ]


def comments(text: str) -> list[str]:
    """The comments without the blank space in front of their text and behind it."""
    return [re.sub(r"^#\s*", "#", text[start:end].rstrip()) for start, end in cut(text).comments]


def formatted(text: str) -> str:
    """The formatted text, after everything that must hold of it has been checked."""
    made = format_text(text)
    assert format_text(made) == made, "formatting twice changes more"
    assert words(made) == words(text)
    assert comments(made) == comments(text)
    assert tree(made) == tree(text)
    assert made.endswith("\n")
    assert not any(line != line.rstrip() for line in made.split("\n"))
    assert "\t" not in made
    assert "\r" not in made
    return made


# ------------------------------------------------------------------ what a user sees
@pytest.mark.parametrize("name", TEXTS)
def test_our_own_files_are_formatted(name: str) -> None:
    assert format_text(TEXTS[name]) == TEXTS[name]


@pytest.mark.parametrize("name", CORPUS)
def test_meaning_and_comments_stay(name: str) -> None:
    formatted(CORPUS[name])


CASES = {
    "around_the_definition": ("x=1\ny   =   x\n", "x = 1\ny = x\n"),
    "writer_chooses_around_operators": ("y = a*b + c * d\n", "y = a*b + c * d\n"),
    "one_sided": ("y = a* b\nz = a *b\n", "y = a * b\nz = a * b\n"),
    "signs": ("y = - x\nz = a - -x\nw = [ - 1, + 2]\nv = x ** - 2\n", "y = -x\nz = a - -x\nw = [-1, +2]\nv = x ** -2\n"),
    "calls_and_brackets": ("y = f ( x , 2 ) [ 0 ]\n", "y = f(x, 2)[0]\n"),
    "keywords_in_a_call": ("y = sum(x, axis = 0 , keepdims= true)\n", "y = sum(x, axis=0, keepdims=true)\n"),
    "commas": ("a,b=f(x)\ny = [1,2 ,3]\n", "a, b = f(x)\ny = [1, 2, 3]\n"),
    "types": ("x:[N,2]\ninput  y:[N]\n", "x : [N, 2]\ninput y : [N]\n"),
    "blocks": ("def f(x):\n  y=x\n  return y\n", "def f(x):\n    y = x\n    return y\n"),
    "blocks_in_blocks": (
        "for i in range(2):\n for j in range(3):\n  y[i,j]=i\nz=1\n",
        "for i in range(2):\n    for j in range(3):\n        y[i, j] = i\nz = 1\n",
    ),
    "tabs": ("def f(x):\n\ty = x\n\treturn y\n", "def f(x):\n    y = x\n    return y\n"),
    "comment_in_a_block": (
        "def f(x):\n  # why\n  return x\n# after\ny = f(1)\n",
        "def f(x):\n    # why\n    return x\n# after\ny = f(1)\n",
    ),
    "comments": ("x = 1#one\ny = 2  #two\n#three\n", "x = 1  # one\ny = 2  # two\n# three\n"),
    "aligned_equals_stay": ("a    = 1\nlong = 2\n", "a    = 1\nlong = 2\n"),
    "ragged_equals": ("a  = 1\nlong = 2\n", "a = 1\nlong = 2\n"),
    "aligned_labels_stay": ('a = 1   "one"\nb = 200 "two"\n', 'a = 1   "one"\nb = 200 "two"\n'),
    "aligned_comments_stay": ("a = 1    # one\nb = 200  # two\n", "a = 1    # one\nb = 200  # two\n"),
    "line_ends": ("a = 1   \r\nb = 2\r\n", "a = 1\nb = 2\n"),
    "empty_lines": ("\n\na = 1\n\n\n\n\n\nb = 2\n\n", "a = 1\n\n\nb = 2\n"),
    "slices": ("y = x[1 : , - 1]\n", "y = x[1:, -1]\n"),
    "hangul": ("사과=100\n값 =사과*2\n", "사과 = 100\n값 = 사과*2\n"),
    "hangul_is_two_columns_wide": ("사과 =100\n값   =사과*2\n", "사과 = 100\n값   = 사과*2\n"),
    "no_last_line_end": ("a=1", "a = 1\n"),
    "words": ("y = a if b<c else d\nz = not  a and b\n", "y = a if b<c else d\nz = not a and b\n"),
    "checks": ("check  y==4 tol  1e-9 given x=2\n", "check y==4 tol 1e-9 given x = 2\n"),
}


@pytest.mark.parametrize("name", CASES)
def test_spacing(name: str) -> None:
    text, wanted = CASES[name]
    assert formatted(text) == wanted


def test_a_text_that_does_not_parse_keeps_its_tokens() -> None:
    for text in ("y = (1 +\n", "x = = 2\n", "y = $ + 1\n", '"\n', "def f(x):\n", "]])\n"):
        made = format_text(text)
        assert made.split() == text.split() or made.replace(" ", "") == text.replace(" ", "")
        assert format_text(made) == made


# ------------------------------------------------------------------ random blank space
def respaced(text: str, rng: random.Random) -> str:
    """The same program with other blank space inside its lines, and comments and empty lines between them."""
    out = []
    for raw in text.split("\n"):
        code = raw.lstrip()
        line, at = raw[: len(raw) - len(code)], len(raw) - len(code)
        first = True
        while at < len(raw):
            m = lexicon().pattern.match(raw, at)
            assert m is not None
            if m.lastindex is None:
                break
            start, at = m.start(m.lastindex), m.end()
            word = raw[start:at]
            glue = not first and (line[-1].isalnum() or line[-1] in "_.\"'" or not line[-1].isascii())
            needed = glue and (word[0].isalnum() or word[0] in "_.\"'" or not word[0].isascii())
            operators = not first and not glue and not word[0].isalnum() and word[0] not in "([])\"'#_,"
            gap = rng.choice(("", "", " ", "  ", "\t")) if not (needed or operators) else rng.choice((" ", "  "))
            line += word if first else gap + word
            first = False
        if code and rng.random() < 0.1:
            line += rng.choice(("  #note", " # another: x = 1 (", "# 주석")) if "#" not in raw else ""
        out.append(line + rng.choice(("", "", "", " ", "\t")))
        if rng.random() < 0.05:
            out.append(rng.choice(("", "", "\n\n\n", "# between")))
    return "\n".join(out)


@settings(max_examples=60, **QUIET)
@given(st.sampled_from(sorted(CORPUS)), st.integers(0, 10**9))
def test_random_blank_space(name: str, seed: int) -> None:
    text = CORPUS[name]
    changed = respaced(text, random.Random(seed))
    assert tree(changed) == tree(text)
    formatted(changed)


@settings(max_examples=60, **QUIET)
@given(
    st.lists(
        st.sampled_from([line for t in TEXTS.values() for line in t.split("\n") if line[:1] not in (" ", "\t")]), max_size=8
    )
)
def test_any_lines_keep_their_tokens(lines: list[str]) -> None:
    """Lines of our own files in any order; many of these texts are no program."""
    text = "\n".join(lines)
    made = format_text(text)
    assert format_text(made) == made
    assert re.sub(r"\s+", "", made) == re.sub(r"\s+", "", text)


@settings(max_examples=150, **QUIET)
@given(st.text(st.sampled_from("ab1. \t\n\r#\"'()[]=:+-*/,@<>!\\é가$"), max_size=30))
def test_any_text_keeps_what_is_no_blank_space(text: str) -> None:
    assert re.sub(r"\s+", "", format_text(text)) == re.sub(r"\s+", "", text)


# ------------------------------------------------------------------ the command
def test_fmt_writes_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.grad"
    path.write_text("x=1 #one\n", encoding="utf-8")
    assert main(["fmt", str(path)]) == 0
    assert path.read_text(encoding="utf-8") == "x = 1  # one\n"
    assert capsys.readouterr() == ("", "")
    assert [p.name for p in tmp_path.iterdir()] == ["a.grad"]


def test_fmt_check_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.grad"
    path.write_bytes(b"x=1\r\n")
    assert main(["fmt", "--check", str(path)]) == 1
    assert path.read_bytes() == b"x=1\r\n"
    out, err = capsys.readouterr()
    assert out == ""
    assert "a.grad is not formatted" in err
    path.write_bytes(b"x = 1\n")
    assert main(["fmt", "--check", str(path)]) == 0
    assert capsys.readouterr() == ("", "")


def test_fmt_check_of_our_own_files(capsys: pytest.CaptureFixture[str]) -> None:
    assert [main(["fmt", "--check", str(path)]) for path in FILES] == [0] * len(FILES)
    assert capsys.readouterr() == ("", "")


def test_fmt_of_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("사과=100".encode())))
    assert main(["fmt", "-"]) == 0
    assert capsys.readouterr() == ("사과 = 100\n", "")


def test_fmt_refuses_what_does_not_parse(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.grad"
    path.write_text("x=1\ny = = 2\n", encoding="utf-8")
    assert main(["fmt", str(path)]) == 1
    assert path.read_text(encoding="utf-8") == "x=1\ny = = 2\n"
    assert "a.grad:2:5" in capsys.readouterr().err
