"""How a bundled language model is made: data, mix, optimiser, the scores logged on the way, float16
export.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from susceptometer.domains import scores
from susceptometer.domains.corpus import Packed, RepeatMix, minipile, pack, row_source, split
from susceptometer.domains.transformer import (
    TransformerConfig,
    attention_patterns,
    init_params,
    loss,
)
from susceptometer.domains.transformer_training import stacked_loss
from susceptometer.train.checkpoint import export_half, read_tensors
from susceptometer.train.loop import Measure, Training, stack, train, unstack
from susceptometer.types import Params

LOG = logging.getLogger(__name__)

PROBE_ROWS = 16
"""Rows of repeated random tokens in one evaluation."""

TEXT_ROWS = 256
"""Validation rows in one evaluation."""


@dataclass(frozen=True)
class Making:
    """Shape, training settings, rows per step and data mix of one bundled model."""

    config: TransformerConfig
    training: Training
    batch_rows: int
    mix: RepeatMix


def grid(steps: int) -> tuple[int, ...]:
    """Steps at which weights and scores are kept: 0, powers of two, then ever coarser multiples."""
    fine = [0, 16, 32, 64, 128, *range(200, 2000, 200), *range(2000, 10000, 500)]
    return tuple(step for step in [*fine, *range(10000, steps, 1000)] if step < steps)


def make(
    making: Making,
    tokenizer: Tokenizer,
    seeds: tuple[int, ...],
    *,
    data: str | Path | None,
    into: Path,
) -> Params:
    """Train all ``seeds`` together as one stacked model; goes on from where an interrupted run stopped.

    Args:
        making: What to make.
        tokenizer: Its tokenizer.
        seeds: One model each: its starting weights, order of rows and places of repeats.
        data: Folder of the mini-Pile; None: the environment variable.
        into: Folder of the run.

    Returns:
        Weights ``[seeds, ...]`` at the end.

    Raises:
        DataError: The mini-Pile is not there.
        RunError: ``into`` holds a run of other settings.
    """
    config, documents = making.config, minipile(data)
    rows = pack(split(documents, validation=False), tokenizer, config.context + 1)
    text = pack(split(documents, validation=True), tokenizer, config.context + 1)
    steps = grid(making.training.steps)
    return train(
        lambda params, batch: stacked_loss(params, batch, config),
        stack([init_params(config, seed=seed) for seed in seeds]),
        row_source(rows, making.batch_rows, seeds=seeds, mix=making.mix),
        settings=replace(making.training, keep=steps, measure_at=steps),
        into=into,
        measure=evaluation(config, validation_tokens(text)),
    )


def validation_tokens(text: Packed) -> Tensor:
    """The same spread of validation rows for every evaluation: ``[rows, context + 1]``."""
    return text.tokens(slice(None, None, max(1, len(text.rows) // TEXT_ROWS)))[:TEXT_ROWS]


def evaluation(config: TransformerConfig, text: Tensor) -> Measure:
    """A measure for the training log: `report` of every model of the stack."""

    def measure(step: int, params: Params) -> Mapping[str, object]:
        reports = [report(model, config, text) for model in unstack(params)]
        first = reports[0]
        LOG.info("step %d: loss %s, repeats %s", step, first["loss"], first["repeat_losses"])
        return {"models": reports}

    return measure


@torch.no_grad()
def report(params: Params, config: TransformerConfig, text: Tensor) -> dict[str, object]:
    """Loss, in-context score, repeat losses (nats) and both head scores ``[layers][heads]`` of one
    model.
    """
    on_text = loss(params, {"tokens": text}, config)
    late = config.context - config.context // 10
    ours = {
        "loss": on_text.mean().item(),
        "in_context": scores.in_context_score(on_text, config.context // 10, late).item(),
    }
    return {name: round(value, 4) for name, value in ours.items()} | repeat_report(params, config)


@torch.no_grad()
def repeat_report(params: Params, config: TransformerConfig) -> dict[str, object]:
    """The part of `report` that needs no text: everything measured on repeated random tokens."""
    names = "prefix_matching", "previous_token", "repeat_losses"
    found = zip(names, repeat_scores(params, config), strict=True)
    return {name: rounded(value) for name, value in found}


@torch.no_grad()
def repeat_scores(params: Params, config: TransformerConfig) -> tuple[Tensor, Tensor, Tensor]:
    """Prefix-matching and previous-token scores ``[layers, heads]``, losses of both copies ``[2]``.

    All on `PROBE_ROWS` rows of random tokens in a block that fills the context twice.
    """
    block = (config.context - 2) // 2
    tokens = scores.repeated_tokens(config.vocabulary, rows=PROBE_ROWS, block=block, seed=1)
    patterns = attention_patterns(params, tokens, config)
    return (
        scores.prefix_matching_score(patterns, block),
        scores.previous_token_score(patterns),
        scores.repeat_losses(loss(params, {"tokens": tokens}, config), block),
    )


def rounded(values: Tensor) -> list:
    """Nested lists of four decimals."""
    return [rounded(row) if row.dim() else round(row.item(), 4) for row in values]


def export(run: Path, seeds: tuple[int, ...], step: int, paths: Mapping[int, Path]) -> None:
    """Write one stored step of a run as float16 files, one per seed named in ``paths``.

    Raises:
        RunError: The step was not kept.
    """
    weights, _ = read_tensors(run / f"step{step:08d}.safetensors")
    for seed, model in zip(seeds, unstack(weights), strict=True):
        if seed in paths:
            export_half(paths[seed], model, {"seed": str(seed), "step": str(step)})
