"""From a reading to the page: estimates, diagnostics and provenance gathered into one `PageData`."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from susceptometer.errors import ChainError
from susceptometer.estimate.diagnostics import Health, check
from susceptometer.estimate.llc import llc
from susceptometer.estimate.susceptibility import susceptibility
from susceptometer.sampling.reading import Reading
from susceptometer.sampling.recipe import recipe_to_dict
from susceptometer.structure.pattern_table import pattern_psi
from susceptometer.structure.patterns import PATTERNS, RULES, token_patterns
from susceptometer.view.page import (
    Array,
    Diagnostic,
    PageData,
    PatternTable,
    Status,
    TokenTable,
    write_page,
)

MOST_TOKENS, MOST_DRAWS = 40_000, 160
"""Tokens a page carries (whole rows, spread evenly), and points of a loss trace."""


def report(reading: Reading, path: str | Path, *, strings: Sequence[str] = ()) -> Path:
    """Write the page of a reading.

    Args:
        reading: What was read.
        path: The HTML file to write.
        strings: Decoded string of every token id, where the reading does not carry its text.

    Returns:
        The path.

    Raises:
        RunError: The reading is damaged.
    """
    return write_page(page_data(reading, strings=strings), path)


def page_data(reading: Reading, *, strings: Sequence[str] = ()) -> PageData:
    """What the page of a reading shows; components whose chains failed altogether are shown as not read."""
    text = token_text(reading.tokens, strings)
    flags = _flags(reading.tokens, text)
    columns = [_component(reading, name, flags) for name in reading.components]
    shown = _shown(reading.tokens)
    rows = [row for row in check(reading).rows if row.component != "full"]
    draws = reading.recipe.schedule.draws
    return PageData(
        title=f"{reading.subject}, read part by part",
        lead=_lead(reading, rows),
        components=tuple(reading.components),
        llc=np.array([column["llc"] for column in columns]),
        llc_error=np.array([column["llc_error"] for column in columns]),
        chi=np.stack([column["chi"][shown] for column in columns]),
        chi_error=np.stack([column["chi_error"][shown] for column in columns]),
        tokens=_token_table(reading, text, shown),
        patterns=_pattern_table(columns, flags[:, shown]),
        diagnostics=tuple(_diagnostic(row, draws) for row in rows),
        traces=_traces(reading),
        notes=tuple(_notes(reading, rows, columns, len(shown))),
        recipe=_flat(recipe_to_dict(reading.recipe)),
        provenance=_flat({k: v for k, v in reading.provenance.items() if k != "command"}),
        command=str(reading.provenance.get("command") or ""),
    )


def token_text(tokens: xr.Dataset, strings: Sequence[str] = ()) -> list[str]:
    """Text of every token: the reading's own, else ``strings`` by id, else its position."""
    if "text" in tokens.coords:
        return [str(word) for word in tokens["text"].values]
    if len(strings) and "token_id" in tokens.coords:
        return [str(strings[i]) for i in tokens["token_id"].values.tolist()]
    return [f"{place} " for place in tokens["position"].values.tolist()]


def _flags(tokens: xr.Dataset, text: list[str]) -> NDArray[np.bool_]:
    """Pattern flags ``[patterns, tokens]``; no patterns where the tokens are no language."""
    if "token_id" not in tokens.coords:
        return np.zeros((0, len(text)), dtype=bool)
    parts = []
    ids, words = tokens["token_id"].values, np.array(text, dtype=object)
    for start, stop, width in _blocks(tokens):
        shape = ((stop - start) // width, width)
        found = token_patterns(words[start:stop].reshape(shape).tolist(), ids[start:stop].reshape(shape))
        parts.append(found.reshape(len(PATTERNS), -1))
    return np.concatenate(parts, axis=1)


def _blocks(tokens: xr.Dataset) -> list[tuple[int, int, int]]:
    """(start, stop, row width) of every probe, in reading order."""
    probes, positions = tokens["probe"].values, tokens["position"].values
    edges = [0, *(np.flatnonzero(probes[1:] != probes[:-1]) + 1).tolist(), len(probes)]
    return [(start, stop, int(positions[start:stop].max()) + 1) for start, stop in pairwise(edges)]


def _component(reading: Reading, name: str, flags: NDArray[np.bool_]) -> dict[str, Array]:
    """Every number of one component; NaN where its chains give none."""
    alone = replace(reading, cells={name: reading.cell(name)})
    try:
        coefficient = llc(alone, drop_failed=True)
        chi = susceptibility(alone, drop_failed=True)
        table = pattern_psi(alone, _names(flags), flags, drop_failed=True)
    except ChainError:
        return _nothing(reading, flags)
    return {
        "llc": coefficient.value.values[0],
        "llc_error": coefficient.error.values[0],
        "chi": chi.value.values[0],
        "chi_error": chi.error.values[0],
        "psi": table.value.values[0],
        "psi_error": table.error.values[0],
        "coupled": np.array(str(chi.data["estimator"].values[0]) == "coupled"),
    }


def _nothing(reading: Reading, flags: NDArray[np.bool_]) -> dict[str, Array]:
    tokens, patterns = np.full(flags.shape[1], np.nan), np.full(len(flags), np.nan)
    one = np.array(np.nan)
    return {
        "llc": one, "llc_error": one, "chi": tokens, "chi_error": tokens, "psi": patterns,
        "psi_error": patterns, "coupled": np.array(reading.recipe.coupling.responds),
    }  # fmt: skip


def _names(flags: NDArray[np.bool_]) -> list[str]:
    return list(PATTERNS[: len(flags)])


def _pattern_table(columns: list[dict[str, Array]], flags: NDArray[np.bool_]) -> PatternTable:
    return PatternTable(
        names=tuple(_names(flags)),
        rules=tuple(RULES[name] for name in _names(flags)),
        flags=flags,
        psi=np.stack([column["psi"] for column in columns]),
        error=np.stack([column["psi_error"] for column in columns]),
    )


def _shown(tokens: xr.Dataset) -> NDArray[np.intp]:
    """Tokens that the page carries: all, or whole rows spread evenly over every probe."""
    total = tokens.sizes["token"]
    if total <= MOST_TOKENS:
        return np.arange(total)
    kept = []
    for start, stop, width in _blocks(tokens):
        rows = (stop - start) // width
        few = max(1, int(rows * MOST_TOKENS / total))
        chosen = np.unique(np.linspace(0, rows - 1, few).astype(int))
        kept.append((start + chosen[:, None] * width + np.arange(width)).ravel())
    return np.concatenate(kept)


def _token_table(reading: Reading, text: list[str], shown: NDArray[np.intp]) -> TokenTable:
    tokens = reading.tokens.isel(token=shown)
    loss = next(iter(reading.cells.values()))["center_loss"].values[shown]
    return TokenTable(
        text=tuple(text[k] for k in shown.tolist()),
        probe=tuple(str(name) for name in tokens["probe"].values),
        row=tokens["row"].values,
        position=tokens["position"].values,
        loss=loss,
    )


def _traces(reading: Reading) -> Array:
    """Loss of every group ``[components, groups, draws]``, thinned for drawing; NaN where there is none."""
    losses = [cell["loss"].mean("member").values for _, cell in reading]
    groups, draws = (max(trace.shape[k] for trace in losses) for k in (0, 1))
    every = -(-draws // MOST_DRAWS)
    out = np.full((len(losses), groups, -(-draws // every)), np.nan)
    for place, trace in enumerate(losses):
        thin = trace[:, ::every]
        out[place, : thin.shape[0], : thin.shape[1]] = thin
    return out


def _diagnostic(row: Health, draws: int) -> Diagnostic:
    status: Status = "sick" if row.failed else "doubtful" if row.faults else "healthy"
    said = [*row.faults, *row.notes]
    return Diagnostic(
        component=row.component,
        status=status,
        rhat=row.rhat,
        ess=row.ess,
        groups=row.groups,
        draws=draws,
        words=_sentence("; ".join(said)) if said else "Chains agree and mix.",
    )


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:].rstrip(".") + "."


def _lead(reading: Reading, rows: list[Health]) -> str:
    tokens, probes = (
        reading.tokens.sizes["token"],
        len(set(reading.tokens["probe"].values.tolist())),
    )
    sick = sum(bool(row.faults) for row in rows)
    trust = "All chains are healthy." if not sick else f"{sick} of {len(rows)} parts have doubtful chains."
    return (
        f"{len(rows)} parts of {reading.subject} were moved, one at a time, around the trained weights, and the "
        f"loss of {tokens:,} tokens in {probes} {'probe' if probes == 1 else 'probes'} was followed. {trust}"
    )


def _notes(reading: Reading, rows: list[Health], columns: list[dict[str, Array]], shown: int) -> list[str]:
    """What a reader must know before reading numbers."""
    out = []
    failed = [row.component for row in rows if row.failed]
    if failed:
        out.append(f"Chains failed in {_listed(failed, rows)}: numbers there come from the survivors, or are missing.")
    fallen = [n for n, c in zip(reading.components, columns, strict=True) if not c["coupled"]]
    if fallen and reading.recipe.coupling.responds:
        out.append(
            f"Coupled chains drift apart in {_listed(fallen, rows)}: χ there is the covariance estimate, "
            "with larger errors."
        )
    total = reading.tokens.sizes["token"]
    if shown < total:
        out.append(f"The page shows {shown:,} of {total:,} tokens; the pattern table uses all of them.")
    return out


def _listed(names: list[str], rows: list[Health], most: int = 6) -> str:
    """Some names in words: all of them, or a few and how many more."""
    if len(names) == len(rows) > 1:
        return "every part"
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def _flat(stored: Mapping[str, object], before: str = "") -> dict[str, str]:
    """Nested settings as one level of text: ``schedule.draws`` and so on."""
    out: dict[str, str] = {}
    for key, value in stored.items():
        if isinstance(value, Mapping):
            out |= _flat(value, f"{before}{key}.")
        elif value is not None and value != "":
            out[before + key] = f"{value:g}" if isinstance(value, float) else str(value)
    return out
