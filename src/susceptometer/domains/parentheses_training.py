"""Training many parentheses classifiers at once, on the training set or on a re-weighting of it, and what they learn.

All seeds of an arm are one batched model: weights carry a leading axis of models, every model has its own start and its
own order of data, and nothing is shared (equal to training alone; tested). Arms of the same seeds share starts
and random numbers, so arms differ by their weights alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from susceptometer.domains.parentheses import Task, encoded
from susceptometer.domains.parentheses_model import (
    ClassifierConfig,
    class_logits,
    class_losses,
    fresh_classifier,
)
from susceptometer.rng import stream
from susceptometer.train.loop import Measure, Source, StackedLoss, Training, stack, train
from susceptometer.types import Batch, Params

NESTED_FROM, EQUAL_UP_TO = 0.9, 0.1
"""Share of out-of-distribution strings called FALSE: from 0.9 on Nested, up to 0.1 Equal-Count, else mixed."""

BLOCK = 64
"""Steps whose random numbers are drawn together."""


@dataclass(frozen=True)
class Protocol:
    """Everything an arm is trained with except its weights and seeds.

    Args:
        task: The data.
        config: The model; ``context`` must hold the longest string plus two.
        training: Steps and optimiser.
        batch: Strings of one step and model.
        decay: Coefficient of |w|^2/2 in the trained loss, 1/weight^2 (Adam's coupled weight decay).
        half: Forward and backward pass in bfloat16 (weights, moments and losses stay float32).
    """

    task: Task
    config: ClassifierConfig
    training: Training
    batch: int = 32
    decay: float = 0.001
    half: bool = True


@dataclass(frozen=True)
class Dosing:
    """When a re-weighting acts: in full until ``full``, then falling linearly, gone from ``gone`` on.

    Both are shares of all training steps. The default never lets go; equal values release at once.
    """

    full: float = 1.0
    gone: float = 1.0

    def at(self, step: int, steps: int) -> float:
        """Dose of the batch of ``step``, 1 (weighted strings) to 0 (the unchanged training set)."""
        place = step / steps
        if place < self.full:
            return 1.0
        return (self.gone - place) / (self.gone - self.full) if place < self.gone else 0.0


@dataclass(frozen=True)
class Behaviour:
    """What trained models do, ``[models]`` each.

    accuracy: Share of fresh training-like strings classified correctly.
    nested_share: Share of equal-count, not nested strings called FALSE.
    loss: Mean loss on the fresh training-like strings, nats.
    """

    accuracy: NDArray[np.float64]
    nested_share: NDArray[np.float64]
    loss: NDArray[np.float64]

    @property
    def is_nested(self) -> NDArray[np.bool_]:
        """Models that learned Nested."""
        return self.nested_share >= NESTED_FROM

    @property
    def is_equal_count(self) -> NDArray[np.bool_]:
        """Models that learned Equal-Count."""
        return self.nested_share <= EQUAL_UP_TO


def penalised_loss(protocol: Protocol) -> StackedLoss:
    """Loss of a stack, ``[models, rows]``: cross-entropy plus decay |w|^2/2, the same penalty in every row."""
    plain = torch.func.vmap(partial(class_losses, config=protocol.config))

    def loss(params: Params, batch: Batch) -> Tensor:
        used = {n: w.to(torch.bfloat16) for n, w in params.items()} if protocol.half else params
        size = torch.stack([w.square().flatten(1).sum(1) for w in params.values()]).sum(0)
        return plain(used, batch) + protocol.decay / 2 * size[:, None]

    return loss


def row_uniforms(seed: int, block: int, batch: int) -> Tensor:
    """Uniforms ``[BLOCK, batch]`` that decide which strings one model sees in a block of steps."""
    numbers = stream(seed, "parentheses", "rows", block)
    return torch.rand((BLOCK, batch), generator=numbers, dtype=torch.float64)


def pool_source(
    pool: Batch,
    weights: NDArray[np.float64] | None,
    seeds: Sequence[int],
    batch: int,
    dose: Callable[[int], float] = lambda _: 1.0,
) -> Source:
    """Batches ``[models, batch, ...]`` drawn with replacement from the pool, row i with probability ~ its weight.

    The weight at a step is 1 + dose(step) (weights[i] / mean - 1). Rows are drawn by inverse distribution from
    uniforms of (seed, step), so that two weightings see nearly the same strings, and cut to the longest of the step.
    """
    rows = len(pool["end"])
    natural = torch.arange(1, rows + 1, dtype=torch.float64) / rows
    planned = natural if weights is None else torch.from_numpy(np.cumsum(weights) / weights.sum())
    kept: dict[int, Tensor] = {}

    def uniforms(block: int) -> Tensor:
        if block not in kept:
            kept.clear()
            kept[block] = torch.stack([row_uniforms(seed, block, batch) for seed in seeds], 1)
        return kept[block]

    def ladder(step: int) -> Tensor:
        amount = dose(step)
        return planned if amount == 1 else natural if amount == 0 else torch.lerp(natural, planned, amount)

    def source(step: int) -> Batch:
        picks = torch.searchsorted(ladder(step), uniforms(step // BLOCK)[step % BLOCK], right=True).clamp(max=rows - 1)
        end = pool["end"][picks]
        return {"tokens": pool["tokens"][picks][..., : int(end.max()) + 1], "end": end, "label": pool["label"][picks]}

    return source


def trained_arm(
    protocol: Protocol,
    weights: NDArray[np.float64] | None,
    seeds: Sequence[int],
    *,
    into: Path,
    dosing: Dosing = Dosing(),
    measure: Measure | None = None,
) -> Params:
    """Train one model per seed on the weighted training set; resumable in ``into``. Returns ``[models, ...]``."""
    pool, steps = encoded(protocol.task.training()), protocol.training.steps
    return train(
        penalised_loss(protocol),
        stack([fresh_classifier(protocol.config, seed=seed) for seed in seeds]),
        pool_source(pool, weights, seeds, protocol.batch, lambda step: dosing.at(step, steps)),
        settings=protocol.training,
        into=into,
        measure=measure,
    )


@torch.no_grad()
def behaviour(params: Params, protocol: Protocol) -> Behaviour:
    """What a stack of models does on fresh strings, evaluated in the precision of ``params``."""
    inside, outside = encoded(protocol.task.in_distribution()), encoded(protocol.task.out_of_distribution())
    read = torch.func.vmap(partial(class_logits, config=protocol.config), in_dims=(0, None))
    scores = read(params, inside)
    correct = (scores.argmax(-1) == inside["label"]).double().mean(1)
    called_false = (read(params, outside).argmax(-1) == 0).double().mean(1)
    chosen = scores.gather(-1, inside["label"].expand(len(scores), -1)[..., None])[..., 0]
    loss = (scores.logsumexp(-1) - chosen).double().mean(1)
    return Behaviour(correct.numpy(), called_false.numpy(), loss.numpy())
