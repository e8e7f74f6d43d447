"""Text in named domains as token rows: mini-Pile reader, default text, packing, rows with repeated
passages.
"""

import functools
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from susceptometer.domains.probe_text import generated_probe
from susceptometer.domains.standard_text import standard_documents
from susceptometer.domains.tokenizer import BOS_ID
from susceptometer.errors import DataError
from susceptometer.rng import stream_seed

__all__ = [
    "Packed", "RepeatMix", "default_text", "generated_probe", "minipile", "pack", "row_source", "split",
    "with_repeats",
]  # fmt: skip

ENVIRONMENT = "SUSCEPTOMETER_MINIPILE"
"""Environment variable that names the folder of the mini-Pile."""

VALIDATION_EVERY = 20
"""One document in so many is withheld from training."""

Documents = Mapping[str, list[str]]
"""Texts by domain."""


def default_text() -> dict[str, list[str]]:
    """Documents found on any Python installation, by domain: ``code``, ``docstrings``, ``help``,
    ``licence``.

    A function of the Python version alone; nothing is downloaded. See `standard_text`.
    """
    return {domain: list(texts) for domain, texts in standard_documents().items()}


def minipile_folder(path: str | Path | None = None) -> Path:
    """The folder of the mini-Pile: ``path``, or else what ``SUSCEPTOMETER_MINIPILE`` says.

    Raises:
        DataError: Neither is given, or the folder holds no ``*.jsonl.zst``.
    """
    given = path or os.environ.get(ENVIRONMENT)
    if not given or not any(Path(given).glob("*.jsonl.zst")):
        raise DataError(
            "the mini-Pile is not there",
            where="minipile_folder",
            value=str(given),
            why="one zstd-compressed JSON-lines file per domain is expected (*.jsonl.zst)",
            do=f"give its folder, or set the environment variable {ENVIRONMENT}",
        )
    return Path(given)


def minipile(path: str | Path | None = None) -> dict[str, list[str]]:
    """Every document of the mini-Pile, by domain, in file order."""
    files = sorted(minipile_folder(path).glob("*.jsonl.zst"))
    return {file.name.removesuffix(".jsonl.zst"): jsonl_texts(file) for file in files}


def jsonl_texts(path: Path) -> list[str]:
    """The ``text`` of every line of one zstd-compressed JSON-lines file.

    Raises:
        DataError: ``zstandard`` is not installed; the file is truncated, not zstd, or a line has no text.
    """
    zstandard = zstandard_library()
    try:
        plain = decompressed(path.read_bytes(), zstandard)
        return [json.loads(line)["text"] for line in plain.decode().split("\n") if line]
    except (zstandard.ZstdError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"a file of the mini-Pile cannot be read ({error})",
            where=str(path),
            why="training on part of a domain would go unnoticed",
            do="fetch the file again",
        ) from error


def decompressed(raw: bytes, zstandard: ModuleType) -> bytes:
    """Every frame of zstd data; raises ``ValueError`` where the last one is cut short."""
    parts = []
    while raw:
        frame = zstandard.ZstdDecompressor().decompressobj()
        parts.append(frame.decompress(raw))
        if not frame.eof:
            raise ValueError("the data ends before its last frame does")
        raw = frame.unused_data
    return b"".join(parts)


def zstandard_library() -> ModuleType:
    """The module ``zstandard``, which only this reader needs."""
    try:
        import zstandard
    except ImportError as error:
        raise DataError(
            "the library zstandard is not installed",
            where="the mini-Pile reader",
            why="the files are zstd-compressed",
            do="pip install 'susceptometer[data]'",
        ) from error
    return zstandard


def split(documents: Documents, *, validation: bool) -> dict[str, list[str]]:
    """The training or the validation documents: of every domain each ``VALIDATION_EVERY``-th is
    withheld.
    """
    return {
        domain: [t for i, t in enumerate(texts) if (i % VALIDATION_EVERY == 0) == validation]
        for domain, texts in documents.items()
    }


@dataclass(frozen=True)
class Packed:
    """Token rows ``[rows, length]`` int16 that each begin with BOS, and the domain of each row."""

    rows: np.ndarray
    domain_of_row: np.ndarray
    domains: tuple[str, ...]

    def tokens(self, index: np.ndarray | slice) -> Tensor:
        """Chosen rows as ``LongTensor [..., length]``."""
        return torch.from_numpy(self.rows[index].astype(np.int64))


def pack(documents: Documents, tokenizer: Tokenizer, length: int) -> Packed:
    """Rows of ``length`` tokens: documents of a domain joined by BOS and cut; every row begins with BOS.

    A row holds one domain only. What is left at the end of a domain and fills no row is dropped.

    Raises:
        DataError: A domain has too little text for one row.
    """
    parts = {d: pack_domain(texts, tokenizer, length) for d, texts in documents.items()}
    for domain, rows in parts.items():
        check_rows(domain, rows, length)
    labels = [np.full(len(rows), i, dtype=np.int16) for i, rows in enumerate(parts.values())]
    return Packed(np.concatenate(list(parts.values())), np.concatenate(labels), tuple(parts))


def check_rows(domain: str, rows: np.ndarray, length: int) -> None:
    """Raise where a domain gave no row."""
    if not len(rows):
        raise DataError(
            "too little text for one row",
            where=f"domain {domain!r}",
            value=f"row length {length}",
            why="the domain would silently be missing",
            do="give more text, or a shorter row length",
        )


def pack_domain(texts: Iterable[str], tokenizer: Tokenizer, length: int) -> np.ndarray:
    """Rows ``[rows, length]`` of one domain."""
    encoded = tokenizer.encode_batch(list(texts), add_special_tokens=False)
    body = length - 1
    joined = np.concatenate([np.array([BOS_ID, *document.ids], dtype=np.int16) for document in encoded])
    count = len(joined) // body
    rows = joined[: count * body].reshape(count, body)
    return np.concatenate([np.full((count, 1), BOS_ID, dtype=np.int16), rows], axis=1)


@dataclass(frozen=True)
class RepeatMix:
    """How many rows get passages copied to later places, how long these are (tokens), and how many
    to a row.
    """

    share: float = 0.0
    shortest: int = 8
    longest: int = 64
    copies: int = 1


def with_repeats(rows: np.ndarray, mix: RepeatMix, generator: np.random.Generator) -> np.ndarray:
    """Rows ``[rows, length]`` of which a share has passages of its own copied over later places.

    A passage begins anywhere after BOS, its copy anywhere behind it without overlap, so neither its
    distance nor its place tells the model anything; only looking back at the first copy does. A
    later copy may take up an earlier one.
    """
    chosen = generator.random(len(rows)) < mix.share
    for _ in range(mix.copies):
        rows = np.take_along_axis(rows, copy_places(rows.shape, chosen, mix, generator), axis=1)
    return rows


def copy_places(
    shape: tuple[int, int], chosen: np.ndarray, mix: RepeatMix, generator: np.random.Generator
) -> np.ndarray:
    """For each place of each row, the place its token is taken from: itself, or the passage copied
    over it.
    """
    count, length = shape
    span = generator.integers(mix.shortest, mix.longest + 1, size=count)
    first = 1 + (generator.random(count) * (length - 2 * span)).astype(np.int64)
    room = length - (first + 2 * span) + 1
    second = first + span + (generator.random(count) * room).astype(np.int64)
    places = np.arange(length)[None]
    inside = (places >= second[:, None]) & (places < (second + span)[:, None]) & chosen[:, None]
    return np.where(inside, places - (second - first)[:, None], places)


def row_source(
    packed: Packed, batch_rows: int, *, seeds: tuple[int, ...], mix: RepeatMix
) -> Callable[[int], dict[str, Tensor]]:
    """Batches for `train.loop.train`: each seed runs through its own shuffles of the rows, epoch
    after epoch.

    Returns:
        ``source(step) -> {"tokens": LongTensor [seeds, batch_rows, length]}``, a function of step
        and seed alone.
    """

    def one(seed: int, step: int) -> Tensor:
        index = shuffled(len(packed.rows), seed=seed, start=step * batch_rows, count=batch_rows)
        generator = np.random.default_rng(stream_seed(seed, "repeats", step))
        rows = with_repeats(packed.rows[index], mix, generator)
        return torch.from_numpy(rows.astype(np.int64))

    return lambda step: {"tokens": torch.stack([one(seed, step) for seed in seeds])}


def shuffled(total: int, *, seed: int, start: int, count: int) -> np.ndarray:
    """Items ``start … start + count - 1`` of an endless sequence of shuffles of ``range(total)``."""
    epochs = range(start // total, (start + count - 1) // total + 1)
    order = np.concatenate([shuffle(total, seed, epoch) for epoch in epochs])
    begin = start - epochs[0] * total
    return order[begin : begin + count]


@functools.lru_cache(maxsize=16)
def shuffle(total: int, seed: int, epoch: int) -> np.ndarray:
    """One shuffle of ``range(total)``."""
    return np.random.default_rng(stream_seed(seed, "epoch", epoch)).permutation(total)
