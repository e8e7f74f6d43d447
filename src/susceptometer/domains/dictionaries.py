"""Dictionaries of the bundled models: TopK autoencoders of their residual streams, committed, and how they were made.

``python -m susceptometer.domains.dictionaries`` makes them again.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from susceptometer.domains.activations import residual_streams
from susceptometer.domains.checkpoints import capped, with_text
from susceptometer.domains.corpus import ENVIRONMENT, minipile, pack, split
from susceptometer.domains.language import LanguageSource
from susceptometer.domains.pico import assets, making_of, tokenizer_of
from susceptometer.errors import DataError
from susceptometer.posterior.subject import Subject
from susceptometer.rng import stream_seed
from susceptometer.structure.sae import SAE, load_sae, save_sae
from susceptometer.structure.sae_training import SAEPlan, train_sae

STREAMS = (1, 2)
"""Residual streams of pico with a bundled dictionary: after block 0, and after block 1."""

TRAINING_ROWS = 3000
"""Rows of 257 mini-Pile tokens (training part) whose activations an autoencoder sees, three quarters of a million."""

CHARACTERS = 400_000
"""Text of each domain that rows are taken from."""


def dictionary_folder(name: str, stream: int) -> Path:
    """Where the dictionary of a bundled model's stream lies."""
    return assets(name) / f"sae-stream{stream}"


def bundled_dictionary(stream: int, name: str = "pico") -> SAE:
    """The committed autoencoder of a residual stream of the final weights of training seed 0.

    Raises:
        DataError: This stream has none.
    """
    folder = dictionary_folder(name, stream)
    if not folder.is_dir():
        raise DataError(
            "this stream has no bundled dictionary",
            where=name,
            value=stream,
            why=f"pico has {list(STREAMS)}",
            do="train one with python -m susceptometer.domains.dictionaries, or give a folder in SAE Lens's layout",
        )
    return load_sae(folder)


def token_features(sae: SAE, activations: Tensor, block: int = 4096) -> sparse.csc_array:
    """Features of activations ``[tokens, d]`` as a sparse matrix ``[tokens, features]``; NaN activations have none."""
    parts = []
    for part in activations.split(block):
        found = sae.encode(part.nan_to_num())
        found[part.isnan().any(1)] = 0
        parts.append(sparse.csr_array(found.numpy()))
    return sparse.csc_array(sparse.vstack(parts))


def training_rows(name: str, rows: int, *, data: str | None = None, seed: int) -> NDArray[np.int16]:
    """Random rows ``[rows, context + 1]`` of the training part of the mini-Pile in the model's tokens."""
    documents = {domain: capped(texts, CHARACTERS) for domain, texts in split(minipile(data), validation=False).items()}
    packed = pack(documents, tokenizer_of(name), making_of(name).config.context + 1)
    draw = np.random.default_rng(stream_seed(seed, "dictionary rows"))
    return packed.rows[draw.permutation(len(packed.rows))[:rows]]


def stream_of_rows(subject: Subject, rows: NDArray[np.int16], streams: Sequence[int]) -> list[Tensor]:
    """Chosen streams of the inputs of token rows, ``[tokens, d]`` float16 each, position 0 (BOS) left out."""
    parts: list[list[Tensor]] = [[] for _ in streams]
    for block in np.array_split(rows, max(1, len(rows) // 64)):
        found = residual_streams(subject, torch.from_numpy(block[:, :-1].astype(np.int64)))
        for kept, stream in zip(parts, streams, strict=True):
            kept.append(found[stream][:, 1:].reshape(-1, found[stream].shape[-1]).half())
    return [torch.cat(part) for part in parts]


def main() -> None:
    """Entry of ``python -m susceptometer.domains.dictionaries``."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(prog="python -m susceptometer.domains.dictionaries", description=__doc__)
    parser.add_argument("--name", default="pico", choices=["pico", "pico-mini"])
    parser.add_argument("--streams", type=int, nargs="+", default=list(STREAMS))
    parser.add_argument("--data", help=f"folder of the mini-Pile (else ${ENVIRONMENT})")
    parser.add_argument("--rows", type=int, default=TRAINING_ROWS)
    parser.add_argument("--steps", type=int, default=SAEPlan().steps)
    parser.add_argument("--features", type=int, default=SAEPlan().features)
    parser.add_argument("--k", type=int, default=SAEPlan().k)
    parser.add_argument("--batch", type=int, default=SAEPlan().batch)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="folder (else the package's own assets)")
    given = parser.parse_args()
    rows = training_rows(given.name, given.rows + 100, data=given.data, seed=given.seed)
    subject = with_text(LanguageSource(given.name), {"data": rows[:2], "probe base": rows[:2]})
    plan = SAEPlan(features=given.features, k=given.k, steps=given.steps, batch=given.batch)
    learned_of, held_of = (stream_of_rows(subject, part, given.streams) for part in (rows[100:], rows[:100]))
    for stream, learned, held in zip(given.streams, learned_of, held_of, strict=True):
        sae = train_sae(learned, plan, seed=given.seed, say=lambda line: logging.getLogger().info(line))
        facts = {
            "model_name": given.name, "stream": stream, "training_tokens": plan.steps * plan.batch,
            "explained_held_out": round(sae.explained(held), 4),
            "command": " ".join(["python -m susceptometer.domains.dictionaries", *sys.argv[1:]]),
        }  # fmt: skip
        facts["command"] = str(facts["command"]).replace(f"--data {given.data}", "--data MINIPILE")
        folder = given.out / f"sae-stream{stream}" if given.out else dictionary_folder(given.name, stream)
        sae.meta.update(facts)
        save_sae(sae, folder)
        logging.getLogger().info("%s: %s", folder.name, facts)


if __name__ == "__main__":
    main()
