"""No committed file names the machine it was written on, or the tools of the people who wrote it."""

import re

import pytest

from architecture.source import ROOT, tracked_files

# Written in halves, so that this file does not contain them.
WORDS = [
    "/" + "work/", "/" + "root/", "/opt/" + "pypi", "/opt/" + "wheels", ".py" + "env/", "/tmp/" + "bash",
    "." + "library/", "../" + "shared", "sub" + "agent", "Clau" + "de", "Anthro" + "pic",
    "Co-Authored" + "-By", "issues" + " show", "give_" + "back", "find-" + "links",
]  # fmt: skip
BINARY = {".npz", ".npy", ".safetensors", ".png", ".parquet", ".zip", ".gz", ".zst", ".pt"}


def words_in(text: str) -> list[str]:
    """The machine words of a text."""
    return [word for word in WORDS if re.search(re.escape(word), text, re.IGNORECASE)]


def test_no_machine_words():
    found = {}
    for path in tracked_files():
        if path.suffix not in BINARY:
            words = words_in(path.read_text(encoding="utf-8", errors="replace"))
            if words:
                found[str(path.relative_to(ROOT))] = words
    assert found == {}


@pytest.mark.parametrize("word", WORDS)
def test_a_planted_word_is_caught(word):
    assert words_in(f"see {word}x") == [word]
