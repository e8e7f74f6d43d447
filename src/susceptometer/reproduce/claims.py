"""What a reproduction says: each claim beside its published figure, ours with its error, its null and a verdict."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from susceptometer.errors import DataError

Verdict = Literal["agrees", "partly", "differs", "open"]

VERDICTS: dict[Verdict, str] = {
    "agrees": "ours says the same within the stated errors",
    "partly": "the direction is the same, the size or the scope is not",
    "differs": "ours contradicts it beyond the stated errors",
    "open": "not decided by this run",
}

HEADINGS = ("claim", "published", "ours", "null", "verdict")


@dataclass(frozen=True)
class Claim:
    """One row of a claim table.

    Args:
        text: What is claimed, one sentence.
        published: The published (or exactly derived) figure and where it stands.
        ours: Our figure, always ``value ± error`` where it is a number (``estimate.format_pm``), with its unit.
        verdict: ``agrees``, ``partly``, ``differs`` or ``open``; decided by the code that made the figure.
        null: The same figure under the null (shuffled labels, nβ = 0, ...), or why there is none.

    Raises:
        DataError: The verdict is not one of these words, or a text is empty.
    """

    text: str
    published: str
    ours: str
    verdict: Verdict
    null: str = ""

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise DataError("unknown verdict", where=self.text, value=self.verdict, do=f"use {list(VERDICTS)}")
        if not (self.text and self.published and self.ours):
            raise DataError(
                "a claim needs its text, the published figure and ours", where=self.text, value=asdict(self)
            )

    def cells(self) -> tuple[str, ...]:
        """The row in the order of ``HEADINGS``."""
        return self.text, self.published, self.ours, self.null or "-", self.verdict


@dataclass(frozen=True)
class ClaimTable:
    """The claims of one reproduction and what is needed to make them again.

    Args:
        name: Name of the claim set, e.g. ``transient-ridge``.
        scale: ``smoke``, ``cpu`` or ``gpu``.
        claims: Rows, in the order of the page they come from.
        provenance: Facts in words: command, seeds, data hash, CPU seconds, versions.
    """

    name: str
    scale: str
    claims: Sequence[Claim]
    provenance: Mapping[str, str]

    def __str__(self) -> str:
        blocks = [
            f"{row.text}\n    published: {row.published}\n    ours:      {row.ours}\n"
            + (f"    null:      {row.null}\n" if row.null else "") + f"    verdict:   {row.verdict}"
            for row in self.claims
        ]  # fmt: skip
        facts = [f"{key}: {value}" for key, value in self.provenance.items()]
        return "\n".join([f"{self.name} ({self.scale})", *blocks, *facts])

    def counts(self) -> dict[str, int]:
        """How many rows have each verdict."""
        return {word: sum(row.verdict == word for row in self.claims) for word in VERDICTS}

    def markdown(self) -> str:
        """The table as a page."""
        lines = [f"# {self.name}, scale {self.scale}", ""]
        lines += [f"- {key}: {value}" for key, value in self.provenance.items()]
        lines += ["", _row(HEADINGS), _row(["---"] * len(HEADINGS))]
        lines += [_row(row.cells()) for row in self.claims]
        return "\n".join([*lines, "", "Verdicts: " + "; ".join(f"*{k}*: {v}" for k, v in VERDICTS.items()) + ".", ""])

    def as_dict(self) -> dict:
        """Plain values for JSON."""
        return {
            "name": self.name, "scale": self.scale, "provenance": dict(self.provenance),
            "claims": [asdict(row) for row in self.claims],
        }  # fmt: skip

    def write(self, path: Path) -> None:
        """Write ``.md`` or ``.json``.

        Raises:
            DataError: Another suffix.
        """
        writers = {".md": self.markdown, ".json": lambda: json.dumps(self.as_dict(), indent=1)}
        if path.suffix not in writers:
            raise DataError("unknown kind of table", where="--out", value=path.name, do=f"use {list(writers)}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(writers[path.suffix](), encoding="utf-8")


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
