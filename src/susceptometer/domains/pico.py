"""The bundled language models, pico and pico-mini: shapes, committed weights, and how they were made.

Both are 2-layer attention-only transformers trained on the mini-Pile until induction heads are
there. Checkpoints of several seeds lie in ``assets/``, as float16; ``python -m
susceptometer.domains.pico train`` makes them again.
"""

import argparse
import logging
import sys
from collections.abc import Mapping
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from tokenizers import Tokenizer

from susceptometer.domains.corpus import ENVIRONMENT, RepeatMix
from susceptometer.domains.making import Making, export, make, repeat_scores
from susceptometer.domains.scores import summary
from susceptometer.domains.tokenizer import load_tokenizer
from susceptometer.domains.transformer import TransformerConfig, shapes
from susceptometer.errors import DataError, SubjectError
from susceptometer.train.adamw import AdamW
from susceptometer.train.checkpoint import load_full
from susceptometer.train.loop import Training
from susceptometer.types import Params


def pico_config() -> TransformerConfig:
    """0.56 million weights: vocabulary 1,536, context 256, 8 heads of width 16 in each of 2 layers."""
    return TransformerConfig(layers=2, d_model=128, heads=8, context=256, vocabulary=1536)


def pico_mini_config() -> TransformerConfig:
    """0.10 million weights: vocabulary 512, context 96, 4 heads of width 16 in each of 2 layers."""
    return TransformerConfig(layers=2, d_model=64, heads=4, context=96, vocabulary=512)


OPTIMIZER = AdamW(weight_decay=0.05, scale_memory=0.99, clip=1.0)

MAKINGS = {
    "pico": Making(
        config=pico_config(),
        training=Training(12_000, 3e-3, warm_up=200, cool_down=1_000, optimizer=OPTIMIZER),
        batch_rows=16,
        mix=RepeatMix(share=0.5, shortest=8, longest=64, copies=3),
    ),
    "pico-mini": Making(
        config=pico_mini_config(),
        training=Training(16_000, 5e-3, warm_up=200, optimizer=OPTIMIZER),
        batch_rows=32,
        mix=RepeatMix(share=0.5, shortest=6, longest=24, copies=3),
    ),
}
"""How each bundled model was made, by name."""


def making_of(name: str) -> Making:
    """How a bundled model was made.

    Raises:
        SubjectError: No bundled model has this name.
    """
    if name not in MAKINGS:
        raise SubjectError(
            "no bundled model has this name",
            where="domains.pico",
            value=name,
            why="only these are part of the package: " + ", ".join(MAKINGS),
            do="give one of them, or load a Hugging Face folder instead",
        )
    return MAKINGS[name]


def assets(name: str = "pico") -> Path:
    """The folder of a bundled model: weights, ``tokenizer.json``, ``MODEL_CARD.md``."""
    making_of(name)
    return Path(str(files("susceptometer"))) / "assets" / name


def available(name: str = "pico") -> Mapping[int, tuple[int, ...]]:
    """The steps that are stored of each seed: ``{seed: (first step, ..., last step)}``."""
    found: dict[int, list[int]] = {}
    for path in sorted(assets(name).glob("seed*-step*.safetensors")):
        seed, step = path.stem.removeprefix("seed").split("-step")
        found.setdefault(int(seed), []).append(int(step))
    return {seed: tuple(sorted(steps)) for seed, steps in sorted(found.items())}


def weights_path(name: str = "pico", *, seed: int = 0, step: int = -1) -> Path:
    """The file of one checkpoint; a negative step counts from the last stored one.

    Raises:
        DataError: The seed or the step is not stored; the message lists what is.
    """
    steps = available(name).get(seed, ())
    chosen = steps[step] if -len(steps) <= step < 0 else step
    if chosen not in steps:
        raise DataError(
            "no such checkpoint is stored",
            where=f"the bundled model {name}",
            value=f"seed={seed}, step={step}",
            why=f"stored are {dict(available(name))}",
            do="give one of these steps, or a negative one to count from the last",
        )
    return assets(name) / file_name(seed, chosen)


def file_name(seed: int, step: int) -> str:
    """The name of a checkpoint's file."""
    return f"seed{seed}-step{step:08d}.safetensors"


def load_weights(name: str = "pico", *, seed: int = 0, step: int = -1) -> Params:
    """Weights of a bundled model as float32 (stored as float16).

    Args:
        name: ``"pico"`` or ``"pico-mini"``.
        seed: Which of the trained models; `available` lists them.
        step: Training step; negative counts from the last stored one (-1: the end of training).

    Returns:
        Weights by name, in the order of `transformer.shapes`.

    Raises:
        SubjectError: Unknown name.
        DataError: Unknown seed or step.
        RunError: The file is unreadable.
    """
    stored = load_full(weights_path(name, seed=seed, step=step))
    return {key: stored[key] for key in shapes(making_of(name).config)}


def tokenizer_of(name: str = "pico") -> Tokenizer:
    """The tokenizer of a bundled model: `Tokenizer.encode(text).ids`, `Tokenizer.decode(ids)`; no
    BOS is added.
    """
    return load_tokenizer(assets(name) / "tokenizer.json")


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(prog="python -m susceptometer.domains.pico", description=__doc__)
    parser.add_argument("command", nargs="?", default="train", choices=["train", "scores"])
    parser.add_argument("--name", default="pico", choices=list(MAKINGS))
    parser.add_argument("--seed", type=int, nargs="+", default=[0], help="trained together")
    parser.add_argument("--data", help=f"folder of the mini-Pile (else ${ENVIRONMENT})")
    parser.add_argument("--out", type=Path, help="folder of the run (else build/NAME-seedS)")
    parser.add_argument("--steps", type=int, help="total steps, if other than the recorded number")
    return parser.parse_args()


def train_command(given: argparse.Namespace) -> None:
    """Train, or go on training, and write the last weights as float16 next to the run."""
    seeds, making = tuple(given.seed), making_of(given.name)
    if given.steps is not None:
        making = replace(making, training=replace(making.training, steps=given.steps))
    into = given.out or Path("build") / f"{given.name}-seed{'-'.join(map(str, seeds))}"
    make(making, tokenizer_of(given.name), seeds, data=given.data, into=into)
    last = making.training.steps
    export(into, seeds, last, {seed: into / file_name(seed, last) for seed in seeds})


def scores_table(name: str) -> list[dict[str, float | str]]:
    """Scores of every stored checkpoint on repeated random tokens, as the model card gives them."""
    config = making_of(name).config
    rows: list[dict[str, float | str]] = []
    for seed, steps in available(name).items():
        for step in steps:
            found = repeat_scores(load_weights(name, seed=seed, step=step), config)
            rows.append({"seed": seed, "step": step} | summary(*found))
    return rows


def markdown(rows: list[dict[str, float | str]]) -> str:
    """A table of rows that share their keys."""
    lines = [list(rows[0]), ["---"] * len(rows[0])]
    lines += [[f"{v:.4f}" if isinstance(v, float) else str(v) for v in r.values()] for r in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def scores_command(given: argparse.Namespace) -> None:
    """The table of scores of the model card."""
    sys.stdout.write(markdown(scores_table(given.name)))


def main() -> None:
    """Entry of ``python -m susceptometer.domains.pico``."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    given = arguments()
    {"train": train_command, "scores": scores_command}[given.command](given)


if __name__ == "__main__":
    main()
