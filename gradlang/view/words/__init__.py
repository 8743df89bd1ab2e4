"""The sentences of explanations, by language: one file of each, with the same keys."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

LANGUAGES = ("en", "ko")


@cache
def catalog(name: str) -> dict[str, Any]:
    """A file of this folder: a language, or `textbook`."""
    return tomllib.loads((files(__package__) / f"{name}.toml").read_text(encoding="utf-8"))


class Words:
    """Sentences in one language."""

    def __init__(self, language: str = "en") -> None:
        found, self.language = catalog(language), language
        self.texts: dict[str, str] = found["text"]
        self.kinds: dict[str, str] = found["kinds"]
        self.ops: dict[str, str] = found["ops"]
        self.page: dict[str, str] = found["page"]

    def __call__(self, key: str, **parts: object) -> str:
        return self.texts[key].format(**parts)

    def op(self, name: str, kind: str) -> str:
        """What an op does in the reverse pass: a sentence of its own, or that of its kind."""
        return self.ops.get(name) or self.kinds[kind]
