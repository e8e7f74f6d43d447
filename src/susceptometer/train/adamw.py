"""AdamW for a stack of independent models: each has its own clipping, all share one pass over the weights.

Loshchilov & Hutter 2019 (decoupled weight decay), Kingma & Ba 2015 (moments). Equal to
``torch.optim.AdamW`` after ``clip_grad_norm_`` for every model of the stack (tested); written out
so that its whole state is three dictionaries.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from susceptometer.types import Params


@dataclass(frozen=True)
class AdamW:
    """Settings of the optimiser; the learning rate is given at every step.

    Units: ``clip`` is the largest gradient norm of one model (nats per unit weight); the others have none.
    """

    weight_decay: float = 0.0
    momentum: float = 0.9
    scale_memory: float = 0.999
    floor: float = 1e-8
    clip: float = math.inf


@dataclass
class Moments:
    """Running first and second moments of the gradient, by weight name; shapes of the weights."""

    first: Params
    second: Params


def zero_moments(params: Params) -> Moments:
    """Moments before the first step."""
    zeros = [{name: torch.zeros_like(w) for name, w in params.items()} for _ in range(2)]
    return Moments(*zeros)


def gradient(w: Tensor) -> Tensor:
    """The gradient of one weight, zero where the loss does not depend on it."""
    return torch.zeros_like(w) if w.grad is None else w.grad


def clipped(grads: Params, clip: float) -> Params:
    """Gradients ``[models, ...]`` scaled down so that the norm of each model's is at most ``clip``."""
    squares = [grad.flatten(1).square().sum(1) for grad in grads.values()]
    factors = (clip / (torch.stack(squares).sum(0).sqrt() + 1e-6)).clamp(max=1.0)
    return {name: grad * factors.view(-1, *[1] * (grad.dim() - 1)) for name, grad in grads.items()}


@torch.no_grad()
def adamw_step(settings: AdamW, params: Params, moments: Moments, *, step: int, learning_rate: float) -> None:
    """Move ``params [models, ...]`` by their ``.grad`` in place; ``step`` counts from 1."""
    grads = {name: gradient(w) for name, w in params.items()}
    if math.isfinite(settings.clip):
        grads = clipped(grads, settings.clip)
    correction = 1 - settings.momentum**step, 1 - settings.scale_memory**step
    for name, w in params.items():
        grad, first, second = grads[name], moments.first[name], moments.second[name]
        first.lerp_(grad, 1 - settings.momentum)
        second.mul_(settings.scale_memory).addcmul_(grad, grad, value=1 - settings.scale_memory)
        spread = second.div(correction[1]).sqrt_().add_(settings.floor)
        w.mul_(1 - learning_rate * settings.weight_decay)
        w.addcdiv_(first, spread, value=-learning_rate / correction[0])
