r"""Toy models of superposition with their exact population loss: six features in two dimensions.

Input z e_i: feature i with probability pi_i, z uniform on [0, 1]; output ReLU(W'W x + b); squared error
(elhage2022; one-feature limit chen2023). The loss is a sum of integrals of squares of straight lines, so it and
its gradient are exact and one "training set" is a vector of six probabilities.

    L = sum_i pi_i L_i ,   L_i = sum_j J(S_ji, b_j, [i = j]) ,   S = W'W
    J(s, b, d) = int_0^1 ( d z - ReLU(s z + b) )^2 dz
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from susceptometer.posterior.component import Component, whole_piece
from susceptometer.posterior.subject import Subject
from susceptometer.rng import stream
from susceptometer.train.adamw import AdamW
from susceptometer.train.loop import Training
from susceptometer.types import Batch, Params

FEATURES, LONG = 6, 0.5
"""Features of the demonstration; columns of W longer than LONG count as kept."""

TRAINING = Training(steps=1000, learning_rate=0.02, cool_down=500, optimizer=AdamW(), save_every=1000)
"""Full-population gradient descent with Adam; three times as many steps change no run's polygon."""


def active_part(s: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Ends of the part of [0, 1] where s z + b > 0; equal ends where it is empty. Shapes of ``s``."""
    crossing = (-b / torch.where(s == 0, torch.ones_like(s), s)).clamp(0, 1)
    one, zero = torch.ones_like(s), torch.zeros_like(s)
    low = torch.where(s > 0, crossing, zero)
    flat = torch.where(b > 0, one, zero)
    high = torch.where(s > 0, one, torch.where(s < 0, crossing, flat))
    return low, high


def line_loss(s: Tensor, b: Tensor, d: Tensor) -> Tensor:
    """J(s, b, d) of the module, any broadcast shape.

    The ends of the active part are held fixed under differentiation: the residual is continuous there, so their
    derivative is zero and first derivatives are exact (second ones are not).
    """
    low, high = (end.detach() for end in active_part(s, b))
    offset, slope = -b, d - s
    active = offset**2 * (high - low) + offset * slope * (high**2 - low**2)
    return active + slope**2 * (high**3 - low**3) / 3 + d * (low**3 + 1 - high**3) / 3


def feature_losses(params: Params, batch: Batch) -> Tensor:
    """L_i of the features ``batch["feature"] [rows]`` -> ``[rows]``; weights ``W [2, c]``, ``b [c]``."""
    W, b = params["W"], params["b"]
    S = W.T @ W
    d = torch.eye(S.shape[-1], dtype=S.dtype, device=S.device)
    each = line_loss(S, b.unsqueeze(-1).expand_as(S), d).sum(-2)
    return each[batch["feature"]]


def every_feature(features: int = FEATURES) -> Batch:
    """The data: every feature once, ``{"feature": [c]}``."""
    return {"feature": torch.arange(features)}


def fresh_toys(runs: int, *, seed: int, features: int = FEATURES) -> Params:
    """Weights at birth, a stack ``[runs, ...]``: W normal with deviation 0.5, b with 0.1 (float64)."""
    normal = torch.randn(runs, 3, features, generator=stream(seed, "superposition"), dtype=torch.float64)
    return {"W": 0.5 * normal[:, :2], "b": 0.1 * normal[:, 2]}


def polygon(k: int, norm: float, bias: float, *, features: int = FEATURES, dead_bias: float = 0.0) -> Params:
    """A regular k-gon: the last k features on a circle of radius ``norm``, the first ones dead."""
    angle = 2 * math.pi * torch.arange(k, dtype=torch.float64) / k
    W = torch.zeros(2, features, dtype=torch.float64)
    W[:, features - k :] = norm * torch.stack([angle.cos(), angle.sin()])
    b = torch.full((features,), bias, dtype=torch.float64)
    b[: features - k] = dead_bias
    return {"W": W, "b": b}


@dataclass(frozen=True)
class Configuration:
    """What each of many runs has become.

    kept: Whether a feature has a long column, ``[runs, c]``.
    sides: Number of long columns, ``[runs]``.
    loss: Mean of L_i under uniform probabilities, ``[runs]``.
    """

    kept: Tensor
    sides: Tensor
    loss: Tensor

    def dropped(self, feature: int) -> Tensor:
        """Runs that keep every feature but this one, bool ``[runs]``."""
        others = torch.arange(self.kept.shape[1]) != feature
        return ~self.kept[:, feature] & self.kept[:, others].all(1)


def configurations(stack: Params) -> Configuration:
    """Read the polygon off a stack of trained weights."""
    kept = stack["W"].norm(dim=1) > LONG
    losses = torch.func.vmap(feature_losses, in_dims=(0, None))(stack, every_feature(kept.shape[1]))
    return Configuration(kept, kept.sum(1), losses.mean(1))


def toy_subject(params: Params, *, name: str) -> Subject:
    """One trained toy model as a subject: six rows of data, one per feature, and all weights as ``full``."""
    data = every_feature(params["b"].shape[0])
    whole = Component("full", tuple(whole_piece(n, tuple(w.shape)) for n, w in params.items()))
    return Subject(
        name=name, params=params, loss=feature_losses, data=data, probes={"base": data}, components={"full": whole}
    )
