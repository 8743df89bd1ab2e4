"""Files and functions stay small enough to be read at one sitting."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "gradlang"
FILE_LINES = 400
FUNCTION_LINES = 60


def test_files_are_short():
    long = {
        str(p.relative_to(PACKAGE)): n for p in PACKAGE.rglob("*.py") if (n := len(p.read_text().splitlines())) > FILE_LINES
    }
    assert not long


def test_functions_are_short():
    long = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.end_lineno - node.lineno + 1 > FUNCTION_LINES:
                long.append(f"{path.relative_to(PACKAGE)}:{node.lineno} {node.name}")
    assert not long


def test_every_module_says_what_it_is_for():
    silent = [
        str(p.relative_to(PACKAGE))
        for p in PACKAGE.rglob("*.py")
        if p.read_text().strip() and p.name != "_version.py" and not ast.get_docstring(ast.parse(p.read_text()))
    ]
    assert not silent
