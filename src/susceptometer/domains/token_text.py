"""From documents to token rows: one encoder per model, rows of one domain each, data and probes from them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from susceptometer.errors import DataError

BASE = "base"


@dataclass(frozen=True, kw_only=True)
class TextPlan:
    """How much text is read, in rows.

    Args:
        length: Tokens of a row, the first one without a loss.
        data_rows: Rows that define the loss of the potential, spread evenly over the text.
        base_rows: Rows of the probe ``base``, a part of the data.
        probe_rows: Rows of every other probe.
    """

    length: int = 128
    data_rows: int = 256
    base_rows: int = 4
    probe_rows: int = 2

    def __post_init__(self) -> None:
        if self.length < 2 or min(self.data_rows, self.base_rows, self.probe_rows) < 1:
            raise DataError(
                "a text plan needs rows of at least two tokens",
                where="TextPlan",
                value=(self.length, self.data_rows, self.base_rows, self.probe_rows),
                why="a loss needs an input and a target",
                do="use e.g. TextPlan(length=128)",
            )


@dataclass(frozen=True)
class Encoder:
    """A model's own text encoding.

    Args:
        encode: Texts to token ids, nothing added.
        start: Token that begins every row; None: rows begin with text.
        between: Token between documents; None: nothing.
        strings: Decoded string of every token id.
    """

    encode: Callable[[Sequence[str]], list[list[int]]]
    start: int | None
    between: int | None
    strings: tuple[str, ...]


def domain_rows(documents: Mapping[str, Sequence[str]], encoder: Encoder, length: int) -> dict[str, Tensor]:
    """Token rows ``[rows, length]`` of every domain; the documents of a domain joined and cut.

    A domain too short for one row is left out.

    Raises:
        DataError: No domain fills a row.
    """
    found = {name: packed(texts, encoder, length) for name, texts in documents.items()}
    full = {name: rows for name, rows in found.items() if len(rows)}
    if not full:
        raise DataError(
            "too little text for one row",
            where=", ".join(documents),
            value=f"row length {length}",
            why="there would be no token to read",
            do="give more text, or a shorter row length",
        )
    return full


def packed(texts: Sequence[str], encoder: Encoder, length: int) -> Tensor:
    """Rows ``[rows, length]``: documents joined by ``between`` and cut, each row begun by ``start``."""
    between = [] if encoder.between is None else [encoder.between]
    joined = [token for ids in encoder.encode(list(texts)) for token in (*between, *ids)]
    first = [] if encoder.start is None else [encoder.start]
    body = length - len(first)
    count = len(joined) // body
    rows = np.array(joined[: count * body], dtype=np.int64).reshape(count, body)
    begun = np.tile(np.array(first, dtype=np.int64), (count, 1))
    return torch.from_numpy(np.concatenate([begun, rows], axis=1))


def data_and_probes(
    rows: Mapping[str, Tensor], made: Mapping[str, Tensor], plan: TextPlan
) -> tuple[Tensor, dict[str, Tensor]]:
    """Data ``[rows, length]`` spread over all domains, and probes: ``base``, one per domain, and the made ones."""
    share = max(1, -(-plan.data_rows // len(rows)))
    data = torch.cat([spread(each, share) for each in rows.values()])
    data = spread(data, plan.data_rows)
    probes = {BASE: spread(data, plan.base_rows)}
    for name, each in rows.items():
        probes[f"{name} text" if name == BASE else name] = spread(each, plan.probe_rows, offset=0.5)
    return data, {**probes, **{name: each[: plan.probe_rows] for name, each in made.items()}}


def spread(rows: Tensor, count: int, offset: float = 0.0) -> Tensor:
    """``count`` rows at even distances (all of them if there are fewer)."""
    if len(rows) <= count:
        return rows
    places = ((torch.arange(count) + offset) * (len(rows) / count)).long()
    return rows[places]
