"""The page a person looks at: one offline HTML file made from plain arrays.

`PageData` is everything the page shows and knows nothing of how readings are stored; `write_page` puts it,
the style and the script into one file that needs no network.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from susceptometer.errors import DataError
from susceptometer.view.template import REPORT, filled_template, written

Array = NDArray[np.floating]
Status = Literal["healthy", "doubtful", "sick"]


@dataclass(frozen=True, kw_only=True, eq=False)
class TokenTable:
    """The tokens that were read, in reading order; rows of one probe follow each other.

    Args:
        text: Decoded string of every token ``[tokens]``.
        probe: Name of the probe it belongs to ``[tokens]``.
        row: Row within the probe ``[tokens]``.
        position: Position within the row ``[tokens]``.
        loss: Loss at w*, nats ``[tokens]``; NaN where a token has none (the first of a row).
    """

    text: tuple[str, ...]
    probe: tuple[str, ...]
    row: NDArray[np.integer]
    position: NDArray[np.integer]
    loss: Array

    def __len__(self) -> int:
        return len(self.text)


@dataclass(frozen=True, kw_only=True)
class Diagnostic:
    """How well the chains of one component did, in numbers and in words.

    Args:
        component: Name of the component.
        status: ``healthy``, ``doubtful`` or ``sick``.
        rhat: Split R-hat of the loss, 1 for chains that agree.
        ess: Effective number of draws of the loss.
        groups: Independent chain groups.
        draws: Recorded draws per chain.
        words: What it means and what to do, in a sentence.
    """

    component: str
    status: Status
    rhat: float
    ess: float
    groups: int
    draws: int
    words: str


@dataclass(frozen=True, kw_only=True, eq=False)
class PatternTable:
    """Mean psi of every component over the tokens of every pattern.

    Args:
        names: Names of the patterns ``[patterns]``.
        rules: Their rules in words ``[patterns]``.
        flags: Which tokens belong ``[patterns, tokens]``.
        psi: Mean psi ``[components, patterns]``, nats²; NaN where no token belongs.
        error: Its standard error between chain groups ``[components, patterns]``, nats².
    """

    names: tuple[str, ...]
    rules: tuple[str, ...]
    flags: NDArray[np.bool_]
    psi: Array
    error: Array


@dataclass(frozen=True, kw_only=True, eq=False)
class PageData:
    """Everything the page shows.

    Args:
        title: Heading, usually the model's name.
        lead: One or two sentences: what was read, how, and whether it can be trusted.
        components: Names of the components ``[components]``.
        llc: Learning coefficients ``[components]`` and ``llc_error``, their standard errors.
        chi: Susceptibilities ``[components, tokens]``, nats²; NaN where a token has none.
        chi_error: Their standard errors ``[components, tokens]``.
        tokens: The tokens.
        patterns: The pattern table.
        diagnostics: One row per component.
        traces: Loss of every draw, nats ``[components, groups, draws]``; None: not shown.
        notes: Warnings and remarks in words, shown at the top.
        recipe: Settings of the run, shown as a table.
        provenance: Hashes, versions, times.
        command: The command that makes this page again.
    """

    title: str
    lead: str
    components: tuple[str, ...]
    llc: Array
    llc_error: Array
    chi: Array
    chi_error: Array
    tokens: TokenTable
    patterns: PatternTable
    diagnostics: tuple[Diagnostic, ...]
    traces: Array | None = None
    notes: tuple[str, ...] = ()
    recipe: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)
    command: str = ""

    def __post_init__(self) -> None:
        parts, tokens, patterns = len(self.components), len(self.tokens), len(self.patterns.names)
        _check_shapes(
            {
                "llc": (self.llc, (parts,)),
                "llc_error": (self.llc_error, (parts,)),
                "chi": (self.chi, (parts, tokens)),
                "chi_error": (self.chi_error, (parts, tokens)),
                "tokens.loss": (self.tokens.loss, (tokens,)),
                "patterns.flags": (self.patterns.flags, (patterns, tokens)),
                "patterns.psi": (self.patterns.psi, (parts, patterns)),
                "patterns.error": (self.patterns.error, (parts, patterns)),
            }
        )

    @property
    def psi(self) -> Array:
        """Centred susceptibility ``[components, tokens]``: chi minus its component's mean over tokens."""
        return self.chi - np.nanmean(self.chi, axis=1, keepdims=True)


def _check_shapes(arrays: Mapping[str, tuple[NDArray, tuple[int, ...]]]) -> None:
    for name, (array, shape) in arrays.items():
        if np.shape(array) != shape:
            raise DataError(
                "an array of the page has the wrong shape",
                where=f"PageData.{name}",
                value=f"{np.shape(array)}, expected {shape}",
                why="components and tokens must mean the same in every part of the page",
                do="give one entry per component and per token",
            )


def write_page(data: PageData, path: str | Path) -> Path:
    """Write the page to ``path`` and return it; folders are made as needed."""
    return written(page_html(data), path)


def page_html(data: PageData) -> str:
    """The whole page as one string of HTML."""
    return filled_template(REPORT, title=data.title, payload=payload(data))


def payload(data: PageData) -> dict[str, object]:
    """What the script in the page reads: plain values and arrays, no HTML."""
    return {
        "title": data.title,
        "lead": data.lead,
        "notes": list(data.notes),
        "components": list(data.components),
        "llc": np.asarray(data.llc),
        "llcError": np.asarray(data.llc_error),
        "chi": np.asarray(data.chi),
        "chiError": np.asarray(data.chi_error),
        "tokens": _token_payload(data.tokens),
        "patterns": _pattern_payload(data.patterns),
        "diagnostics": [vars(row) for row in data.diagnostics],
        "chance": _chance(data.diagnostics),
        "traces": None if data.traces is None else np.asarray(data.traces),
        "recipe": dict(data.recipe),
        "provenance": dict(data.provenance),
        "command": data.command,
    }


def _chance(rows: tuple[Diagnostic, ...]) -> float:
    """Share of values beyond two of their own errors where nothing answers: Student's t over groups."""
    groups = min((row.groups for row in rows), default=2)
    return float(2 * stats.t.sf(2.0, max(1, groups - 1)))


def _token_payload(tokens: TokenTable) -> dict[str, object]:
    probes = list(dict.fromkeys(tokens.probe))
    return {
        "text": list(tokens.text),
        "probes": probes,
        "probe": np.asarray([probes.index(name) for name in tokens.probe], dtype=np.int32),
        "row": np.asarray(tokens.row, dtype=np.int32),
        "position": np.asarray(tokens.position, dtype=np.int32),
        "loss": np.asarray(tokens.loss),
    }


def _pattern_payload(patterns: PatternTable) -> dict[str, object]:
    return {
        "names": list(patterns.names),
        "rules": list(patterns.rules),
        "flags": patterns.flags.astype(np.uint8),
        "psi": np.asarray(patterns.psi),
        "error": np.asarray(patterns.error),
    }
