"""The index of exact numbers names tests that exist, and names every test file of the two exact worlds."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_named_test_exists():
    named = set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "docs/exact.md").read_text()))
    assert len(named) > 60
    texts = {file: (ROOT / file).read_text() for file, _ in named}
    assert [(file, name) for file, name in sorted(named) if f"def {name}(" not in texts[file]] == []
    held = {Path(file).name for file, _ in named}
    worlds = [*ROOT.glob("tests/truth/test_sequence_*.py"), *ROOT.glob("tests/domains/test_programs_*.py")]
    assert {path.name for path in worlds} - {"test_programs_search.py"} <= held
