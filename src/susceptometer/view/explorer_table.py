"""The explorer's tokens as Parquet for other programs (embedding-atlas, any data frame library), written in pieces."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from susceptometer.errors import DataError
from susceptometer.structure.cards import WIDTH, Context
from susceptometer.view.explorer import row_starts
from susceptometer.view.explorer_data import BODY, ExplorerData

PIECE = 50_000
"""Tokens in memory as text at a time: one row group of the file."""

MOST_PARTS = 64
"""Components whose psi and error become columns, at most."""


def write_tokens_parquet(data: ExplorerData, path: str | Path, *, piece: int = PIECE) -> Path:
    """One row per token of the last frame; open it with ``embedding-atlas FILE --text text --x x --y y``.

    Columns ``text`` (the token marked in its context), ``token probe row position pattern``, ``cluster`` (a name),
    ``x y`` (the first map), ``loss`` in nats, and ``psi PART``, ``error PART`` in nats^2. Text is made piece by piece,
    so that 10^6 tokens need little memory beside the numbers.

    Args:
        data: What is written, all of its tokens.
        path: A ``.parquet`` file; folders are made as needed.
        piece: Tokens per row group.

    Raises:
        DataError: Another suffix, or there is no map.
    """
    place = Path(path)
    if place.suffix != ".parquet" or not data.maps:
        raise DataError(
            "the tokens cannot be written",
            where="--parquet",
            value=f"{place.name}, {len(data.maps)} maps",
            why="embedding-atlas reads Parquet with a place for every token",
            do="give a .parquet file and a map",
        )
    place.parent.mkdir(parents=True, exist_ok=True)
    writer = None
    for table in token_pieces(data, piece):
        writer = writer or parquet.ParquetWriter(place, table.schema, compression="zstd")
        writer.write_table(table)
    if writer is not None:
        writer.close()
    return place


def token_pieces(data: ExplorerData, piece: int) -> Iterator[pa.Table]:
    """Tables of ``piece`` tokens each, in reading order; see `write_tokens_parquet`."""
    total = len(data.tokens)
    starts = row_starts(data)
    edges = np.append(starts, total)
    for first in range(0, total, piece):
        yield _table(data, range(first, min(total, first + piece)), edges)


def _table(data: ExplorerData, chosen: range, edges: np.ndarray) -> pa.Table:
    tokens, frame, cut = data.tokens, data.frames[-1], slice(chosen.start, chosen.stop)
    place = next(iter(data.maps.values()))[-1][cut]
    patterns = np.array(list(tokens.patterns))
    columns = {
        "text": [str(_context(data, token, edges)) for token in chosen], "token": tokens.words[cut],
        "probe": tokens.probe[cut], "row": tokens.row[cut], "position": tokens.position[cut],
        "pattern": patterns[tokens.classes[cut]], "cluster": _cluster_names(data, cut),
        "x": place[:, 0].astype(np.float32), "y": place[:, 1].astype(np.float32),
        "loss": frame.loss[cut].astype(np.float32),
    }  # fmt: skip
    for k, name in enumerate(data.components[:MOST_PARTS]):
        columns[f"psi {name}"] = frame.psi[k, cut].astype(np.float32)
        columns[f"error {name}"] = frame.error[k, cut].astype(np.float32)
    return pa.table(columns)


def _context(data: ExplorerData, token: int, edges: np.ndarray) -> Context:
    row = int(np.searchsorted(edges, token, side="right")) - 1
    words = data.tokens.words
    first, last = max(int(edges[row]), token - WIDTH), min(int(edges[row + 1]), token + 1 + WIDTH // 2)
    before, after = "".join(words[first:token]), "".join(words[token + 1 : last])
    return Context(before, words[token], after, str(data.tokens.probe[token]))


def _cluster_names(data: ExplorerData, cut: slice) -> list[str]:
    """A name per token; the main body where there are no clusters."""
    if data.clusters is None:
        return ["main body"] * (cut.stop - cut.start)
    names = data.clusters.names
    labels = data.clusters.labels[cut].tolist()
    return ["main body" if k == BODY else f"{k}: {names[k]}" for k in labels]
