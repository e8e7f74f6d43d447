"""Weights as a thing to keep, move and train with: files, a sampler, a loader; negative ones are never silent."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from susceptometer.errors import DataError
from susceptometer.rng import stream

Negative = Literal["refuse", "clip", "signed", "swap"]

MEANINGS: dict[Negative, str] = {
    "refuse": "an error where a weight is negative",
    "clip": "negative weights become zero, and the rest is scaled to mean one",
    "signed": "kept: the loss of these data is pushed up, which has no floor; for small weights only",
    "swap": "their size, with a flag per datum: pairs that can be exchanged (preferences) are (wang2026b)",
}
"""What can be done with negative weights."""


@dataclass(frozen=True, eq=False)
class DataWeights:
    """Weights of a data set, one per example ``[rows]`` or per token ``[rows, events]`` (event e: target e + 1).

    Args:
        values: Finite numbers; mean one keeps the scale of the learning rate.
        about: Where they come from: plain numbers and strings, kept in the file.

    Raises:
        DataError: Not one or two axes, or a value that is not finite.
    """

    values: NDArray[np.float64]
    about: Mapping[str, float | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.values.ndim not in {1, 2} or not np.isfinite(self.values).all():
            raise DataError(
                "weights must be finite, one per row or one per token",
                where="DataWeights",
                value=f"shape {self.values.shape}, {int((~np.isfinite(self.values)).sum())} not finite",
                do="give [rows] or [rows, events]",
            )

    def __len__(self) -> int:
        return len(self.values)

    @property
    def per_row(self) -> NDArray[np.float64]:
        """Mean weight of every row ``[rows]``."""
        return self.values if self.values.ndim == 1 else self.values.mean(1)

    def tensor(self, rows: Tensor | slice = slice(None)) -> Tensor:
        """Weights of some rows, float32 ``[rows(, events)]``."""
        return torch.from_numpy(self.values)[rows].float()

    def normalised(self) -> "DataWeights":
        """The same weights divided by their mean: the total pull of the data is that of unweighted data.

        Raises:
            DataError: The mean is not positive.
        """
        mean = float(self.values.mean())
        if mean <= 0:
            raise DataError(
                "weights cannot be scaled to mean one",
                where="DataWeights",
                value=mean,
                why="their mean must be positive",
                do="clip negative weights first, or lower the strength",
            )
        return replace(self, values=self.values / mean)

    def without_negative(self, how: Negative) -> tuple["DataWeights", NDArray[np.bool_]]:
        """The weights that training uses, and which data were negative ``[rows(, events)]``; see ``MEANINGS``.

        Raises:
            DataError: ``how`` is "refuse" and a weight is negative, or it is none of these words.
        """
        negative = self.values < 0
        if how not in MEANINGS:
            raise DataError("unknown treatment", where="without_negative", value=how, do=f"use one of {list(MEANINGS)}")
        if how == "refuse" and negative.any():
            raise DataError(
                "some weights are negative",
                where="DataWeights",
                value=f"{negative.mean():.1%} of them",
                why="minimising a negatively weighted loss has no floor",
                do="choose one of: " + ", ".join(MEANINGS),
            )
        if how == "clip":
            return replace(self, values=np.maximum(self.values, 0.0)).normalised(), negative
        return replace(self, values=np.abs(self.values) if how == "swap" else self.values), negative

    def save(self, path: str | Path) -> Path:
        """Write ``.parquet`` (columns ``row``, ``event`` if per token, ``weight``) or ``.npy`` (the array alone).

        Raises:
            DataError: Another suffix.
        """
        path = Path(path)
        _check_suffix(path)
        if path.suffix == ".npy":
            np.save(path, self.values)
            return path
        index = np.indices(self.values.shape).reshape(self.values.ndim, -1)
        columns = dict(zip(("row", "event"), index.astype(np.int64), strict=False))
        table = pa.table({**columns, "weight": self.values.reshape(-1)})
        about = {b"susceptometer.weights": json.dumps(dict(self.about)).encode()}
        pq.write_table(table.replace_schema_metadata(about), path)
        return path

    def sampler(self, *, seed: int, draws: int | None = None) -> "WeightedRows":
        """Rows drawn with probability proportional to their weight, for any `DataLoader`; see `WeightedRows`."""
        return WeightedRows(self, draws or len(self), seed)

    def dataset(self, rows: Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]]) -> "WeightedRowsDataset":
        """The rows with their weights under the name ``weights``, for a loader or a Hugging Face trainer."""
        return WeightedRowsDataset(rows, self)

    def loader(self, rows: Mapping[str, Tensor], *, batch_rows: int, seed: int) -> DataLoader:
        """Shuffled batches of rows and their weights: ``{..., "weights": [batch(, events)]}``."""
        generator = stream(seed, "weighted loader")
        return DataLoader(self.dataset(rows), batch_size=batch_rows, shuffle=True, generator=generator)


def load_weights(path: str | Path) -> DataWeights:
    """Weights stored by `DataWeights.save`.

    Raises:
        DataError: Missing or unreadable file, or columns that do not make a full array.
    """
    path = Path(path)
    _check_suffix(path)
    try:
        if path.suffix == ".npy":
            return DataWeights(np.load(path, allow_pickle=False))
        return _from_table(pq.read_table(path))
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise DataError(
            f"a weight file cannot be read ({error})",
            where=str(path),
            do="write it with DataWeights.save: columns row, event (per token), weight",
        ) from error


def _from_table(table: pa.Table) -> DataWeights:
    names = [name for name in ("row", "event") if name in table.column_names]
    index = tuple(table[name].to_numpy() for name in names)
    shape = tuple(int(each.max()) + 1 for each in index)
    values = np.full(shape, np.nan)
    values[index] = table["weight"].to_numpy()
    stored = (table.schema.metadata or {}).get(b"susceptometer.weights", b"{}")
    return DataWeights(values, json.loads(stored))


def _check_suffix(path: Path) -> None:
    if path.suffix not in {".parquet", ".npy"}:
        raise DataError("unknown kind of weight file", where=str(path), value=path.suffix, do="use .parquet or .npy")


class WeightedRows(Sampler[int]):
    """Row numbers drawn with replacement, each with probability weight / sum of weights.

    The mean loss over the drawn rows is in expectation the weighted mean over all rows. Every pass is another stream
    of the seed; global random state is untouched.

    Args:
        weights: Their row means are used; none may be negative.
        draws: Rows of one pass.
        seed: Names the stream.

    Raises:
        DataError: A row's weight is negative, or all are zero.
    """

    def __init__(self, weights: DataWeights, draws: int, seed: int) -> None:
        per_row = torch.from_numpy(weights.per_row.copy())
        if bool((per_row < 0).any()) or not bool(per_row.any()):
            raise DataError(
                "rows cannot be drawn with these weights",
                where="WeightedRows",
                value=float(per_row.min()),
                why="a probability is not negative, and some row must have one",
                do="treat negative weights first: weights.without_negative('clip')",
            )
        self.probabilities, self.draws, self.seed, self.passes = per_row / per_row.sum(), draws, seed, 0

    def __len__(self) -> int:
        return self.draws

    def __iter__(self) -> Iterator[int]:
        generator = stream(self.seed, "weighted rows", self.passes)
        self.passes += 1
        return iter(torch.multinomial(self.probabilities, self.draws, True, generator=generator).tolist())


class WeightedRowsDataset(Dataset):
    """Rows (named tensors, or any sequence of dictionaries) with their weight beside them.

    Raises:
        DataError: There are not as many rows as weights.
    """

    def __init__(self, rows: Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]], weights: DataWeights) -> None:
        self.rows, self.weights = rows, weights
        count = len(next(iter(rows.values()))) if isinstance(rows, Mapping) else len(rows)
        if count != len(weights):
            raise DataError(
                "rows and weights differ in number",
                where="WeightedRowsDataset",
                value=(count, len(weights)),
                why="each row needs its own weight",
                do="make the weights from the same data",
            )

    def __len__(self) -> int:
        return len(self.weights)

    def __getitem__(self, row: int) -> dict[str, Tensor]:
        held = {k: v[row] for k, v in self.rows.items()} if isinstance(self.rows, Mapping) else dict(self.rows[row])
        return {**held, "weights": torch.as_tensor(self.weights.values[row], dtype=torch.float32)}
