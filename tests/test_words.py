"""The list of words says where each thing lives: the word must stand there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "words.md").read_text(encoding="utf-8")
ENTRIES = re.findall(r"^- \*\*(.+?)\*\*: (.+?)(?=^- |^#|\Z)", PAGE, re.M | re.S)
# Words that code spells in another way than people do.
SPELLED = {"mark": "apart", "contraction": "contract"}


@pytest.mark.parametrize(("word", "text"), ENTRIES, ids=[w for w, _ in ENTRIES])
def test_a_word_lives_where_the_list_says(word, text):
    places = re.findall(r"`((?:gradlang|grammars|tests)/[\w/.]+)`", text)
    assert places, f"{word}: no place"
    for place in places:
        found = (ROOT / place).read_text(encoding="utf-8").lower()
        assert re.search(rf"\b{re.escape(SPELLED.get(word, word))}", found.replace("\n", " ")), f"{word} is not in {place}"


def test_the_list_is_a_list():
    words = [w for w, _ in ENTRIES]
    assert len(words) == len(set(words)) > 60
    assert PAGE.count("\n- **") == len(words)
