"""The rooms of the house and who may import whom: each room only what stands to its right."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "gradlang"
# From left to right; rooms on one line do not know each other.
ORDER = [
    {"cli", "notebook"},
    {"opening"},
    {"api"},
    {"prove", "view", "fit"},
    {"pipeline"},
    {"runtime"},
    {"backend"},
    {"plan"},
    {"transform"},
    {"ir"},
    {"graph"},
    {"check"},
    {"ops"},
    {"syntax"},
    {"diagnostics"},
    {"source", "types", "loops", "_version"},
    {"record", "once"},
]
RANK = {room: k for k, rooms in enumerate(ORDER) for room in rooms}
# Imports inside functions that look to the left: each with its reason.
LAZY = {
    ("api", "prove"): "Model.check() is the report of `gradlang check`",
}
ONLY = {"networkx": {"graph", "api"}, "lark": {"syntax"}, "mpmath": {"prove"}, "llvmlite": {"runtime"}}


def room(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return parts[0].removesuffix(".py")


def imports(path: Path) -> list[tuple[str, bool]]:
    """(module, at the top of the file) for every import; imports for type checkers do not count."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(n)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.dump(block.test)
        for n in ast.walk(block)
    }
    found = []
    top = {id(n) for n in tree.body}
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] + ([f"{node.module}.{a.name}" for a in node.names] if node.module == "gradlang" else [])
            found += [(n, id(node) in top) for n in names if n != "gradlang"]
        elif isinstance(node, ast.Import):
            found += [(a.name, id(node) in top) for a in node.names]
    return found


def files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def test_every_room_is_in_the_order():
    rooms = {room(f) for f in files()} - {"__init__", "__main__"}
    assert rooms == set(RANK)


def test_imports_go_to_the_right():
    wrong = []
    for path in files():
        mine = room(path)
        if mine in ("__init__", "__main__"):
            continue
        for module, _ in imports(path):
            if not module.startswith("gradlang."):
                continue
            other = module.split(".")[1]
            if other == mine or (mine, other) in LAZY:
                continue
            if other not in RANK or RANK[other] <= RANK[mine]:
                wrong.append(f"{path.relative_to(PACKAGE)} imports {module}")
    assert not wrong, "\n".join(wrong)


def test_libraries_stay_in_their_rooms():
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {module}"
        for path in files()
        for module, _ in imports(path)
        for library, rooms in ONLY.items()
        if module.split(".")[0] == library and room(path) not in rooms
    ]
    assert not wrong, "\n".join(wrong)


def test_code_is_compiled_only_in_runtime():
    """But for the initialisers of records, which hold the names of their parts only."""
    wrong = []
    for path in files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = (
                isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("eval", "exec", "compile")
            )
            if named and room(path) not in ("runtime", "record"):
                wrong.append(f"{path.relative_to(PACKAGE)}:{node.lineno}")
    assert not wrong, "\n".join(wrong)
