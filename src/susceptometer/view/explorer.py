"""The explorer page: a map of tokens to look around in, one offline HTML file."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from susceptometer.view.explorer_data import ExplorerData
from susceptometer.view.explorer_pack import (
    MOST_REPLICATES,
    clean,
    frame_payload,
    indexed,
    map_payload,
    packed,
    packed_counts,
    rounding,
)
from susceptometer.view.template import Sources, filled_template, written

MOST_TOKENS, MOST_VALUES = 150_000, 12_000_000
"""Tokens, and values of psi (tokens x parts x checkpoints), that a page carries at most: whole rows, spread evenly."""

SOURCES = Sources(
    "explorer/explorer.html",
    ("base.css", "explorer/explorer.css"),
    (
        "choice.js", "explorer/data.js", "format.js", "explorer/colour.js", "explorer/map.js", "explorer/paint.js",
        "explorer/token.js", "explorer/table.js", "explorer/card.js", "explorer/choose.js", "explorer/search.js",
        "explorer/gestures.js", "explorer/time.js", "explorer/main.js",
    ),
)  # fmt: skip


def write_explorer(data: ExplorerData, path: str | Path) -> Path:
    """Write the page to ``path`` and return it; folders are made as needed."""
    return written(explorer_html(data), path)


def explorer_html(data: ExplorerData) -> str:
    """The whole page as one string of HTML; of too many tokens it carries a part and says so (`thinned`)."""
    return filled_template(SOURCES, title=clean(data.title), payload=payload(thinned(data)))


def thinned(data: ExplorerData) -> ExplorerData:
    """At most about `MOST_TOKENS` tokens and `MOST_VALUES` values: whole rows, spread evenly."""
    total = len(data.tokens)
    most = min(MOST_TOKENS, MOST_VALUES // (len(data.components) * len(data.frames)))
    if total <= most:
        return data
    chosen = spread_rows(row_starts(data), total, most)
    note = f"The page shows {len(chosen):,} of {total:,} tokens, in whole rows; ψ is centred over all of them."
    return replace(data.of(chosen), notes=(*data.notes, note))


def row_starts(data: ExplorerData) -> NDArray[np.intp]:
    """First token of every row of text."""
    probe, row = data.tokens.probe, data.tokens.row
    new = np.ones(len(row), dtype=bool)
    new[1:] = (probe[1:] != probe[:-1]) | (row[1:] != row[:-1])
    return np.flatnonzero(new)


def spread_rows(starts: NDArray[np.intp], total: int, most: int) -> NDArray[np.intp]:
    """Tokens of rows at even distances, about ``most`` of ``total``."""
    ends = np.append(starts[1:], total)
    few = max(1, int(len(starts) * most / total))
    rows = np.unique(np.linspace(0, len(starts) - 1, few).astype(int))
    return np.concatenate([np.arange(starts[k], ends[k]) for k in rows])


def payload(data: ExplorerData) -> dict[str, object]:
    """What the script in the page reads: plain values and packed arrays, no HTML."""
    middle, worst = np.max([rounding(frame) for frame in data.frames], axis=0)
    weight = sum(frame.replicates.size for frame in data.frames if frame.replicates is not None)
    return {
        "title": clean(data.title), "lead": clean(data.lead), "notes": [clean(note) for note in data.notes],
        "components": list(data.components), "tokens": _tokens(data),
        "frames": [frame_payload(frame, replicates=weight <= MOST_REPLICATES) for frame in data.frames],
        "maps": map_payload(data.maps), "clusters": _clusters(data),
        "rounding": {"middle": float(middle), "worst": float(worst)},
        "facts": {key: clean(value) for key, value in data.facts.items()}, "command": clean(data.command),
    }  # fmt: skip


def _tokens(data: ExplorerData) -> dict[str, object]:
    tokens = data.tokens
    words, word = indexed(tuple(clean(one) for one in tokens.words))
    probes, probe = indexed(tuple(tokens.probe.tolist()))
    bits = (tokens.flags.astype(np.uint32) << np.arange(len(tokens.flags), dtype=np.uint32)[:, None]).sum(0)
    return {
        "words": words, "word": packed_counts(word), "probes": [clean(name) for name in probes],
        "probe": packed_counts(probe), "row": packed_counts(tokens.row), "position": packed_counts(tokens.position),
        "patterns": list(tokens.patterns), "rules": list(tokens.patterns.values()), "flags": packed_counts(bits),
        "pattern": packed_counts(tokens.classes),
    }  # fmt: skip


def _clusters(data: ExplorerData) -> dict[str, object] | None:
    if data.clusters is None:
        return None
    found = data.clusters
    return {
        "label": packed(found.labels, "i2"), "names": [clean(name) for name in found.names],
        **{key: [_number(v) for v in getattr(found, key)] for key in ("conductance", "halves", "seeds")},
        "chance": _number(found.chance),
    }  # fmt: skip


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
