"""Clusters as a table of tokens for other programs: Parquet that embedding-atlas and any data frame library open."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from susceptometer.errors import DataError
from susceptometer.structure.cards import TokenText, chi_values
from susceptometer.structure.cluster import Clusters, points_of

BODY_NAME = "main body"

ABOUT = b"susceptometer clusters"
"""Key in the table's metadata of what is known of each cluster (JSON): conductance, halves, seeds, chance."""


def token_table(
    clusters: Clusters,
    *,
    strings: Sequence[str] = (),
    labels: Sequence[str] = (),
    places: NDArray[np.floating] | None = None,
    vectors: bool = False,
) -> pa.Table:
    """One row per token: its text in context, where it is, its cluster, and a place on a map.

    Args:
        clusters: From `cluster`.
        strings: Decoded string of every token id; else the coordinate ``text``.
        labels: Name of every cluster (e.g. of its card); else its number.
        places: Map ``[tokens, 2]``, e.g. UMAP; None: the first two principal axes of the clustered points.
        vectors: Add the clustered points as a list column ``vector``.

    Returns:
        Columns ``text token probe row position cluster label x y`` (and ``vector``); metadata `ABOUT`.

    Raises:
        DataError: There is no text, or ``places`` does not fit.
    """
    value = chi_values(clusters.response)
    text = TokenText(value, strings)
    points = points_of(value.transpose("token", "component").to_numpy().astype(np.float64), clusters.settings)
    places = principal_plane(points) if places is None else places
    if places.shape != (len(points), 2):
        raise DataError(
            "the map does not fit the tokens",
            where="token_table",
            value=places.shape,
            why="every token needs a place",
            do=f"give {len(points)} rows of two numbers",
        )
    names = list(labels) or [f"cluster {number}" for number in range(clusters.count)]
    columns = {
        "text": [str(text.context(token)) for token in range(len(points))],
        "token": text.words,
        "probe": pa.array(text.probes).dictionary_encode(),
        "row": value["row"].to_numpy(),
        "position": value["position"].to_numpy(),
        "cluster": clusters.labels,
        "label": pa.array(np.array([BODY_NAME, *names])[clusters.labels + 1]).dictionary_encode(),
        "x": places[:, 0].astype(np.float32),
        "y": places[:, 1].astype(np.float32),
    }
    if vectors:
        columns["vector"] = pa.FixedSizeListArray.from_arrays(points.ravel(), points.shape[1])
    return pa.table(columns).replace_schema_metadata({ABOUT: _about(clusters)})


def _about(clusters: Clusters) -> str:
    """Conductance and stability of every cluster as JSON; unknown numbers as null."""
    kept = {name: getattr(clusters, name).tolist() for name in ("conductance", "halves", "seeds")}
    whole = {**kept, "chance": [clusters.chance]}
    return json.dumps({key: [v if np.isfinite(v) else None for v in values] for key, values in whole.items()})


def write_tokens(table: pa.Table, path: str | Path) -> Path:
    """Write the table of `token_table`; open it with ``embedding-atlas FILE --text text --x x --y y``.

    Raises:
        DataError: The path does not end in ``.parquet``.
    """
    place = Path(path)
    if place.suffix != ".parquet":
        raise DataError(
            "unknown kind of table",
            where="write_tokens",
            value=place.name,
            do="give a .parquet file",
        )
    place.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, place, compression="zstd")
    return place


def principal_plane(points: NDArray[np.floating]) -> NDArray[np.float32]:
    """Scores on the two largest principal axes, ``[points, 2]``; each axis' largest loading is positive."""
    centred = points - points.mean(0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    two = axes[:, [-1, -2]]
    two = two * np.sign(two[np.abs(two).argmax(0), [0, 1]])
    return (centred @ two).astype(np.float32)
