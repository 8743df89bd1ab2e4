"""sizes: the bytes that `pip install` brings: of each package the installed files, and of gradlang the wheel."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from timing import Bench

ROOT = Path(__file__).resolve().parents[2]
CASES = {"gradlang": "", "gradlang[native]": "native"} | {
    p: p for p in "jax casadi torch pytensor sympy autograd drjit".split()
}
NEED = re.compile(r"([\w.-]+)[^;]*(?:;(.*))?")


def needed(names: list[str]) -> dict[str, Distribution]:
    """Packages and all that they need, among what is installed here; what they need only for an extra or on some machines is
    not counted. Raises PackageNotFoundError."""
    found: dict[str, Distribution] = {}
    waiting = list(names)
    while waiting:
        match = NEED.match(waiting.pop())
        assert match is not None
        name = match[1].lower().replace("_", "-")
        if name not in found and match[2] is None:
            found[name] = distribution(name)
            waiting += found[name].requires or ()
    return found


def of_gradlang(extra: str) -> list[str]:
    """What this version needs, which may be another one than that whose metadata are installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [*project["dependencies"], *(project["optional-dependencies"][extra] if extra else ())]


def installed(package: Distribution) -> int:
    """The bytes of its files, compiled modules not counted."""
    return sum(whole(Path(str(package.locate_file(f)))) for f in package.files or ())


def whole(path: Path) -> int:
    return path.stat().st_size if path.is_file() and path.suffix != ".pyc" else 0


def wheel() -> int | None:
    """The bytes of gradlang's wheel, if the packages that build it are here."""
    with tempfile.TemporaryDirectory(prefix="bench-wheel-") as folder:
        words = ["-m", "build", "--wheel", "--no-isolation", "--outdir", folder, str(ROOT)]
        if subprocess.run([sys.executable, *words], capture_output=True).returncode:
            return None
        return sum(p.stat().st_size for p in Path(folder).glob("*.whl"))


def run(bench: Bench) -> None:
    made = wheel()
    if made is None:
        bench.notes.append("sizes: no wheel of gradlang (`pip install build hatchling`).")
    else:
        bench.add("sizes", "download", "gradlang, the wheel", made, unit="bytes")
    own = sum(whole(p) for room in ("gradlang", "grammars") for p in (ROOT / room).rglob("*.*"))
    first = 0
    for case, what in CASES.items():
        mine = case.startswith("gradlang")
        try:
            packages = needed(of_gradlang(what) if mine else [what])
        except PackageNotFoundError:
            continue
        sizes = {name: installed(package) for name, package in packages.items()} | ({"gradlang": own} if mine else {})
        total = sum(sizes.values())
        first = first or total
        parts = sorted(sizes.items(), key=lambda item: -item[1])
        note = ", ".join(f"{name} {size / 1e6:.1f}" for name, size in parts[:6]) + " MB"
        bench.add("sizes", "installed, with what it needs", case, total, total / first, "bytes", note)
