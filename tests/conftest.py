"""Golden files: what the program prints is compared with a file that a person has read and accepted."""

from __future__ import annotations

import difflib
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# Every run of one tree says the same; `pytest --hypothesis-profile=explore` looks at other examples every time.
settings.register_profile("repeatable", derandomize=True)
settings.register_profile("explore", derandomize=False, print_blob=True)
settings.load_profile("repeatable")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell starts what it runs in the background so
    signal.signal(signal.SIGINT, signal.default_int_handler)

GOLDEN = Path(__file__).parent / "golden"

Golden = Callable[[str | Path, str], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bless", action="store_true", help="write the golden files from what the program says now")


def compare(path: Path, text: str, bless: bool) -> None:
    """Fails unless the file holds exactly this text; with `bless` the file is written instead."""
    text = text if text.endswith("\n") else text + "\n"
    shown = path.relative_to(GOLDEN.parent) if path.is_relative_to(GOLDEN.parent) else path
    if bless:
        if not path.is_file() or path.read_bytes() != text.encode():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode())
        return
    if not path.is_file():
        pytest.fail(
            f"there is no golden file {shown}. The program says:\n\n{text}\n"
            "Read this; if it is right, run `pytest --bless` to keep it and commit the file.",
            pytrace=False,
        )
    kept = path.read_text(encoding="utf-8")
    if kept != text:
        changes = "\n".join(difflib.unified_diff(kept.splitlines(), text.splitlines(), str(shown), "now", lineterm=""))
        pytest.fail(
            f"{shown} is not what the program says now:\n\n{changes}\n\n"
            "If the new text is right, run `pytest --bless` to accept it.",
            pytrace=False,
        )


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """golden(path, text): the text must be that of the file; a relative path is one inside tests/golden."""
    bless = bool(request.config.getoption("--bless"))
    return lambda path, text: compare(GOLDEN / path, text, bless)
