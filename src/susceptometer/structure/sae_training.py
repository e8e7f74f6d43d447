"""Training a TopK autoencoder on activations held in memory: reconstruction, and work for features that sleep."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from susceptometer.errors import DataError
from susceptometer.rng import stream
from susceptometer.structure.sae import SAE


@dataclass(frozen=True, kw_only=True)
class SAEPlan:
    """How an autoencoder is trained.

    Args:
        features: Size of the dictionary.
        k: Features in use per activation.
        steps: Steps of Adam.
        batch: Activations per step.
        learning_rate: Of Adam; falls linearly to zero over the last fifth.
        asleep_after: A feature sleeps when it was not used for so many steps.
        wake: Weight of the loss by which sleeping features rebuild what the others left (gao2024 app. A.2).
    """

    features: int = 2048
    k: int = 16
    steps: int = 2500
    batch: int = 2048
    learning_rate: float = 1e-3
    asleep_after: int = 100
    wake: float = 1 / 32


def train_sae(activations: Tensor, plan: SAEPlan, *, seed: int, say: Callable[[str], None] = lambda _: None) -> SAE:
    r"""A TopK autoencoder (gao2024): mean squared error relative to the variance, unit decoder directions.

    Starts from W_enc = W_dec^T and b_dec = mean. Sleeping features, ``2k`` at a time, learn to rebuild the residual.

    Args:
        activations: ``[n, d]``, any float type; drawn with replacement.
        plan: How.
        seed: Names the random streams.
        say: Told now and then.

    Raises:
        DataError: Fewer activations than one batch, or the activations do not vary.
    """
    n, d = activations.shape
    variance = float(activations.float().var(0).sum())
    if n < plan.batch or not variance > 0:
        raise DataError(
            "the activations do not suffice to train on",
            where="train_sae",
            value=(n, d, variance),
            why="one batch must fit, and there must be something to explain",
            do="give more activations",
        )
    draw = stream(seed, "sae")
    decoder = F.normalize(torch.randn(plan.features, d, generator=draw), dim=1)
    weights = [decoder.T.clone(), torch.zeros(plan.features), decoder, activations.float().mean(0)]
    encoder, encoder_bias, decoder, bias = (w.contiguous().requires_grad_() for w in weights)
    adam = torch.optim.Adam([encoder, encoder_bias, decoder, bias], lr=plan.learning_rate, betas=(0.9, 0.99))
    idle = torch.zeros(plan.features, dtype=torch.int64)
    for step in range(plan.steps):
        for group in adam.param_groups:
            group["lr"] = plan.learning_rate * min(1.0, 5 * (1 - step / plan.steps))
        x = activations[torch.randint(n, (plan.batch,), generator=draw)].float()
        before = (x - bias) @ encoder + encoder_bias
        best = before.topk(plan.k, dim=1)
        guess = _decoded(best.values.relu(), best.indices, decoder) + bias
        loss = (x - guess).square().sum(1).mean() / variance
        idle += 1
        idle[best.indices.unique()] = 0
        asleep = (idle > plan.asleep_after).nonzero().squeeze(1)
        if len(asleep) and plan.wake:
            loss = loss + plan.wake * _wake(before, asleep, (x - guess).detach(), decoder, 2 * plan.k)
        adam.zero_grad()
        loss.backward()
        adam.step()
        with torch.no_grad():
            decoder /= decoder.norm(dim=1, keepdim=True)
        if step % 500 == 0:
            say(f"autoencoder step {step:,}: unexplained {float(loss.detach()):.3f}, asleep {len(asleep)}")
    encoder, encoder_bias, decoder, bias = (w.detach() for w in (encoder, encoder_bias, decoder, bias))
    return SAE(encoder, encoder_bias, decoder, bias, activation="topk", k=plan.k)


def _decoded(values: Tensor, indices: Tensor, decoder: Tensor) -> Tensor:
    """Sum of values times directions: ``[batch, k]`` -> ``[batch, d]``."""
    return F.embedding_bag(indices, decoder, per_sample_weights=values, mode="sum")


def _wake(before: Tensor, asleep: Tensor, residual: Tensor, decoder: Tensor, most: int) -> Tensor:
    """Share of the residual that the sleeping features leave unexplained."""
    best = before[:, asleep].topk(min(most, len(asleep)), dim=1)
    guess = _decoded(best.values.relu(), asleep[best.indices], decoder)
    return (residual - guess).square().sum(1).mean() / residual.square().sum(1).mean()
