"""Text for the induction experiment: token rows with repeated passages, and the planned scores of every batch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from susceptometer.domains.corpus import (
    Packed,
    RepeatMix,
    default_text,
    pack,
    row_source,
    split,
    with_repeats,
)
from susceptometer.domains.induction import Scored, TokenReader
from susceptometer.domains.pico import making_of, tokenizer_of
from susceptometer.domains.user_text import text_documents
from susceptometer.patterning.weight_model import WeightModel
from susceptometer.rng import stream_seed
from susceptometer.train.loop import Source

MIX = RepeatMix(share=1.0, shortest=6, longest=24, copies=3)
"""Every row holds three copied passages (the bundled model: half of the rows), which brings the onset forward."""

BATCH_ROWS = 16
TEXT_ROWS = 64


@dataclass(frozen=True)
class InductionText:
    """Packed training rows and unweighted validation rows ``[rows, context + 1]``."""

    train: Packed
    validation: Tensor

    def source(self, seeds: Sequence[int]) -> Source:
        """Training batches of all seeds."""
        return row_source(self.train, BATCH_ROWS, seeds=tuple(seeds), mix=MIX)

    def probe(self, rows: int, *, seed: int) -> NDArray[np.int64]:
        """Rows of the training distribution, spread over all domains, on which chi is measured ``[rows, K]``."""
        places = np.linspace(0, len(self.train.rows) - 1, rows).astype(int)
        generator = np.random.default_rng(stream_seed(seed, "probe rows"))
        return with_repeats(self.train.rows[places], MIX, generator).astype(np.int64)


def packed_text(path: Path | None, most: int | None = None, edit: Callable[[str], str] = str) -> dict[str, np.ndarray]:
    """Token rows for pico-mini: ``train [rows, K]``, ``validation [64, K]``; domains of one document are left out.

    Args:
        path: File or folder; None: what each Python holds.
        most: Documents of each domain that are read; None: all.
        edit: What is done to every document first.

    Raises:
        DataError: The text is missing, or a domain fills no row.
    """
    found: Mapping[str, list[str]] = default_text() if path is None else text_documents(path)
    several = {domain: texts[:most] for domain, texts in found.items() if len(texts) > 1}  # one is held out
    documents = {domain: [edit(text) for text in texts] for domain, texts in several.items()}
    config, tokenizer = making_of("pico-mini").config, tokenizer_of("pico-mini")
    train, rest = (pack(split(documents, validation=v), tokenizer, config.context + 1) for v in (False, True))
    return {"train": train.rows, "validation": rest.rows[:: max(1, len(rest.rows) // TEXT_ROWS)][:TEXT_ROWS]}


def induction_text(rows: Mapping[str, np.ndarray]) -> InductionText:
    """The rows of `packed_text` with what makes batches of them."""
    train = Packed(rows["train"], np.zeros(len(rows["train"]), dtype=np.int16), ("all",))
    return InductionText(train, torch.from_numpy(rows["validation"].astype(np.int64)))


def scored_steps(
    reader: TokenReader, model: WeightModel, source: Source, steps: range, say: Callable[[str], None]
) -> dict[str, np.ndarray]:
    """`Scored` arrays of some steps of one seed's source, by the names of its fields."""
    found: dict[str, list[np.ndarray]] = {"planned": [], "loss": [], "flag": []}
    for start in range(steps.start, steps.stop, 25):
        block = [source(step)["tokens"][0] for step in range(start, min(start + 25, steps.stop))]
        ids = torch.cat(block).numpy()
        table, late, flag = reader.features(ids)
        shape = (len(block), -1, late.shape[1])
        found["planned"].append(model.scores(table).astype(np.float16).reshape(shape))
        found["loss"].append(late.astype(np.float16).reshape(shape))
        found["flag"].append(flag.reshape(shape))
    say(f"scores of steps {steps.start} to {steps.stop}")
    return {name: np.concatenate(parts) for name, parts in found.items()}


def joined(parts: Sequence[Mapping[str, np.ndarray]], first: int) -> Scored:
    """Blocks of `scored_steps` one after the other, the first of which begins at step ``first``."""
    planned, loss, flag = (np.concatenate([part[name] for part in parts]) for name in ("planned", "loss", "flag"))
    return Scored(planned, loss, flag, first=first)
