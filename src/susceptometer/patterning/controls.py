"""Weights that share everything with the planned ones but their reason: the controls of every steering run."""

import torch
from torch import Tensor

from susceptometer.errors import DataError


def permuted(weights: Tensor, generator: torch.Generator) -> Tensor:
    """The same weights dealt out at random within each model's batch ``[models, ...]``: any re-weighting at all."""
    flat = weights.flatten(1)
    order = torch.stack([torch.randperm(flat.shape[1], generator=generator) for _ in flat])
    return flat.gather(1, order).view_as(weights)


def permuted_within(weights: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
    """Dealt out among entries of equal label (e.g. next token) of each model: what label frequencies alone do.

    Shapes:
        weights, labels    models ...    labels are integers
    """
    flat, names = weights.flatten(1), labels.flatten(1)
    chance = torch.rand(flat.shape, generator=generator, dtype=torch.float64)
    spread = chance + names - names.amin()  # integer part: label, fractional part: chance
    by_label = (names - names.amin()).argsort(dim=1, stable=True)
    order = spread.argsort(1)
    return torch.empty_like(flat).scatter_(1, by_label, flat.gather(1, order)).view_as(weights)


def ranked_by(weights: Tensor, score: Tensor) -> Tensor:
    """The same weights, the largest to the entries of largest ``score`` within each model: e.g. loss alone.

    Shapes:
        weights, score    models ...
    """
    if weights.shape != score.shape:
        raise DataError(
            "weights and score differ in shape",
            where="ranked_by",
            value=(tuple(weights.shape), tuple(score.shape)),
            why="each entry is ranked by its own score",
            do="give one score per weight",
        )
    flat = weights.flatten(1)
    places = score.flatten(1).argsort(dim=1, stable=True)
    return torch.empty_like(flat).scatter_(1, places, flat.sort(1).values).view_as(weights)


def flagged(flag: Tensor, sd: float, lowest: float = 0.0) -> Tensor:
    """Two weights, one for flagged entries and one for the rest, of mean one and deviation ``|sd|`` per model.

    A positive ``sd`` favours the flagged. Where the lighter weight would fall below ``lowest`` it stops there and the
    deviation is smaller. The rule "more of what shows the pattern", without any chi.

    Shapes:
        flag       models ...    bool
        returns    models ...    float32
    """
    marked = flag.flatten(1).float()
    share = marked.mean(1, keepdim=True).clamp(1e-6, 1 - 1e-6)
    gap = sd / (share * (1 - share)).sqrt()
    room = (1 - lowest) / torch.where(gap > 0, share, 1 - share)
    gap = torch.minimum(gap.abs(), room) * gap.sign()
    return (1 + gap * (marked - share)).view(flag.shape)
