"""Write docs/glossary.md from docs/glossary.toml."""

import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
HEAD = "# Glossary\n\nWritten by `make docs` from `glossary.toml`; edit that file.\n\n"
COLUMNS = "| word | symbol | in code | unit | meaning | we do not say |\n|---|---|---|---|---|---|\n"


def row(word: dict) -> str:
    """One line of the table."""
    code, never = (_code(names) for names in (word["code"].split(", "), word["never"]))
    cells = [word["word"], word["symbol"], code, word["unit"], word["meaning"], never]
    return "| " + " | ".join(cells) + " |\n"


def _code(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def text() -> str:
    """The whole page."""
    words = tomllib.loads((HERE / "glossary.toml").read_text(encoding="utf-8"))["word"]
    return HEAD + COLUMNS + "".join(map(row, words))


if __name__ == "__main__":
    (HERE / "glossary.md").write_text(text(), encoding="utf-8")
