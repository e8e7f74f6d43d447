"""From readings to the explorer's data: psi with errors at every checkpoint, token facts, clusters, remarks."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import xarray as xr
from numpy.typing import NDArray
from pyarrow import parquet

from susceptometer.errors import ChainError, DataError, RunError
from susceptometer.estimate.diagnostics import check
from susceptometer.estimate.estimate import healthy_groups
from susceptometer.sampling.reading import Reading
from susceptometer.structure.cards import TokenText
from susceptometer.structure.cluster import Clusters
from susceptometer.structure.export import ABOUT
from susceptometer.structure.patterns import PATTERNS, RULES, pattern_class
from susceptometer.structure.response import Form, Response, response
from susceptometer.view.explorer_data import (
    BODY,
    ClusterFacts,
    ExplorerData,
    Floats,
    Frame,
    TokenFacts,
)

SAME = ("probe", "row", "position", "token_id")
"""Coordinates in which the tokens of all checkpoints must agree."""


def explorer_data(
    readings: Mapping[str, Reading], *, form: Form, strings: Sequence[str] = (), clusters: ClusterFacts | None = None
) -> ExplorerData:
    """The data of the page, without maps.

    Args:
        readings: Label to reading, in order of training; the last one is shown first. All of the same tokens.
        form: Estimator of chi.
        strings: Decoded string of every token id, where the readings do not carry their text.
        clusters: Clusters of these tokens.

    Raises:
        RunError: The readings are of different tokens, or have no component in common.
        ChainError: No component of a reading has chains to look at.
        DataError: The tokens have no text.
    """
    last = list(readings.values())[-1]
    _require_same_tokens(readings)
    found = {label: usable_response(reading, form) for label, reading in readings.items()}
    names = _common(found)
    return ExplorerData(
        title=f"{_named(last.subject)}, {_span(readings)}",
        lead=_lead(last, names, form),
        components=tuple(names),
        tokens=token_facts(last.tokens, strings),
        frames=tuple(_frame(label, readings[label], chi.of_components(names)) for label, chi in found.items()),
        maps={},
        clusters=clusters,
        notes=tuple(_notes(readings, names)),
        facts=_facts(last, form, found),
        command=str(last.provenance.get("command") or ""),
    )


def usable_response(reading: Reading, form: Form) -> Response:
    """chi of the components with at least two healthy groups, failed groups left out.

    Raises:
        ChainError: There is no such component.
    """
    kept = {}
    for name in reading.components:
        try:
            kept[name] = healthy_groups(reading.cell(name), name, drop_failed=True)
        except ChainError:
            continue
    if not kept:
        raise ChainError(
            "no component has two healthy groups",
            where=reading.subject,
            value=reading.components[:8],
            why="there is nothing to look at",
            do="see `susceptometer doctor RUN`",
        )
    full = reading.cells.get("full")
    alone = replace(reading, cells={**kept, **({} if full is None else {"full": full})})
    return response(alone, form, drop_failed=True)


def token_facts(tokens: xr.Dataset, strings: Sequence[str] = ()) -> TokenFacts:
    """Text and patterns of a reading's tokens; token ids stand for a text that is not known."""
    if not len(strings) and "text" not in tokens.coords and "token_id" in tokens.coords:
        ids = tokens["token_id"].to_numpy().tolist()
        tokens = tokens.assign_coords(text=("token", np.array([f"#{k}" for k in ids], dtype=object)))
    value = xr.DataArray(np.zeros(tokens.sizes["token"]), dims="token", coords=tokens.coords)
    text = TokenText(value, strings)
    return TokenFacts(
        words=tuple(text.words), probe=text.probes, row=tokens["row"].to_numpy(),
        position=tokens["position"].to_numpy(), patterns={name: RULES[name] for name in PATTERNS},
        flags=text.flags, classes=pattern_class(text.flags),
    )  # fmt: skip


def cluster_facts(found: Clusters, names: Sequence[str]) -> ClusterFacts:
    """Clusters as the page shows them, with a name each."""
    return ClusterFacts(
        labels=found.labels, names=tuple(names), conductance=found.conductance, halves=found.halves,
        seeds=found.seeds, chance=found.chance,
    )  # fmt: skip


def _frame(label: str, reading: Reading, chi: Response) -> Frame:
    each = chi.replicates.values
    each = each - each.mean(2, keepdims=True)
    psi = each.mean(0)
    error = chi.replicates.values.std(0, ddof=1) / np.sqrt(len(each))
    loss = next(iter(reading.cells.values()))["center_loss"].values
    return Frame(label=label, psi=psi, error=error, replicates=each - psi, loss=np.asarray(loss, dtype=float))


def _common(found: Mapping[str, Response]) -> list[str]:
    lists = [chi.components for chi in found.values()]
    names = [name for name in lists[-1] if all(name in each for each in lists)]
    if not names:
        raise RunError(
            "the readings have no component in common",
            where=", ".join(found),
            value=[each[:4] for each in lists],
            why="nothing could be followed over training",
            do="read the same components at every checkpoint",
        )
    return names


def _require_same_tokens(readings: Mapping[str, Reading]) -> None:
    *others, last = readings
    for label in others:
        one, wanted = readings[label].tokens, readings[last].tokens
        if one.sizes != wanted.sizes or not all(_equal(one, wanted, key) for key in SAME):
            raise RunError(
                "two readings are of different tokens",
                where=f"{label} and {last}",
                value=f"{one.sizes['token']:,} and {wanted.sizes['token']:,} tokens",
                why="the slider follows every token over training",
                do="read the same text at every checkpoint",
            )


def _equal(one: xr.Dataset, other: xr.Dataset, key: str) -> bool:
    if key not in one.coords or key not in other.coords:
        return (key in one.coords) == (key in other.coords)
    first: NDArray = one[key].to_numpy()
    return bool((first == other[key].to_numpy()).all())


def _named(subject: str) -> str:
    """A subject's name; of a folder given by its whole path the last part."""
    return Path(subject).name if Path(subject).is_absolute() else subject


def _span(readings: Mapping[str, Reading]) -> str:
    return "token by token" if len(readings) == 1 else f"and {len(readings) - 1} checkpoints before it"


def _lead(reading: Reading, names: list[str], form: Form) -> str:
    tokens = reading.tokens.sizes["token"]
    return (
        f"How {len(names)} parts of {reading.subject} answer {tokens:,} tokens: ψ, the susceptibility ({form}) less "
        "the part's mean. Negative: the part expresses the token, works for it. Positive: it suppresses it."
    )


def _notes(readings: Mapping[str, Reading], names: list[str]) -> list[str]:
    """What a reader must know before reading numbers."""
    out = []
    for label, reading in readings.items():
        rows = [row for row in check(reading).rows if row.component != "full" and (row.faults or row.failed)]
        if rows:
            parts = ", ".join(row.component for row in rows[:3]) + (" and others" if len(rows) > 3 else "")
            out.append(f"{label}: chains of {len(rows)} parts are doubtful ({parts}); `susceptometer doctor` says why.")
        lost = [name for name in reading.components if name not in names]
        if lost:
            out.append(f"{label}: not shown (chains failed, or a checkpoint lacks it): {', '.join(lost[:6])}.")
    return out


def _facts(reading: Reading, form: Form, found: Mapping[str, Response]) -> dict[str, str]:
    recipe = reading.recipe
    groups = ", ".join(dict.fromkeys(str(chi.replicates.sizes["group"]) for chi in found.values()))
    keys = ("weights", "data", "seed", "susceptometer", "torch")
    stored = {key: str(reading.provenance[key])[:32] for key in keys if key in reading.provenance}
    return {
        "estimator": f"{form}, nats²", "n_beta": f"{recipe.n_beta:g}", "gamma": f"{recipe.gamma:g}",
        "sampler": type(recipe.sampler).__name__, "chain groups": groups, **stored,
    }  # fmt: skip


def stored_clusters(path: str | Path, tokens: xr.Dataset) -> ClusterFacts:
    """Clusters from a table that `susceptometer cluster --out FILE.parquet` wrote.

    Args:
        path: The file; without its metadata conductance and stability are unknown.
        tokens: The reading's tokens, which must be those of the table.

    Raises:
        DataError: The file cannot be read as such a table.
        RunError: It is of other tokens.
    """
    try:
        table = parquet.read_table(path)
        columns = {name: table[name].to_numpy() for name in ("probe", "row", "position", "cluster", "label")}
    except (OSError, KeyError, pa.ArrowException) as error:
        raise DataError(
            "the clusters cannot be read",
            where=str(path),
            value=str(error).split("\n", 1)[0],
            do="write them with `susceptometer cluster RUN --out FILE.parquet`",
        ) from error
    if len(table) != tokens.sizes["token"] or any((columns[key] != tokens[key].to_numpy()).any() for key in SAME[:3]):
        raise RunError(
            "the clusters are of other tokens",
            where=str(path),
            value=f"{len(table):,} rows",
            why="a cluster is a set of this reading's tokens",
            do="cluster the run of the last checkpoint",
        )
    labels = columns["cluster"].astype(np.int32)
    names = {int(k): str(name) for k, name in zip(labels, columns["label"], strict=True)}
    about = json.loads((table.schema.metadata or {}).get(ABOUT, b"{}"))
    count = int(labels.max(initial=BODY)) + 1
    known = {key: _numbers(about.get(key), count) for key in ("conductance", "halves", "seeds")}
    return ClusterFacts(
        labels=labels,
        names=tuple(names.get(k, "") for k in range(count)),
        **known,
        chance=float(_numbers(about.get("chance"), 1)[0]),
    )


def _numbers(values: Sequence[float | None] | None, count: int) -> Floats:
    return np.array([np.nan if v is None else v for v in values or [None] * count], dtype=float)
