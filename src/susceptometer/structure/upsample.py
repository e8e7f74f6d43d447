"""More tokens than were measured: a small network that predicts whitened susceptibilities from one forward pass."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from susceptometer.errors import DataError
from susceptometer.rng import stream, stream_seed
from susceptometer.structure.graph import nearest
from susceptometer.structure.response import Response
from susceptometer.structure.standardise import Standardisation, standardisation

Floats = NDArray[np.floating]

LEAST = 0.2
"""Split-half correlation that a pc needs to be kept (reading 9)."""


@dataclass(frozen=True)
class Whitening:
    """Principal pairs of unit variance times their reliability.

    Args:
        map: From chi ``[..., components]`` nats^2 to ``[..., pcs]``.
        reliability: Correlation of each pc's scores between disjoint halves of the chain groups, ``[pcs]``.
    """

    map: Standardisation
    reliability: Floats

    @property
    def ceiling(self) -> Floats:
        """Largest R^2 that a perfect predictor of the true value has on the measured one: 2 r / (1 + r), ``[pcs]``."""
        return 2 * self.reliability / (1 + self.reliability)


def reliable_whitening(chi: Response, *, least: float = LEAST) -> Whitening:
    """The whitening of `standardisation`, with pcs that two halves of the chains agree on, weighted by agreement.

    Args:
        chi: With replicates.
        least: Least split-half correlation of a pc.

    Raises:
        DataError: No pc is reliable.
    """
    replicates = chi.matrix()
    whole = standardisation(replicates.mean(0), "whitened")
    first, second = (whole(replicates[half::2].mean(0)) for half in (0, 1))
    r = np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(first.T, second.T, strict=True)])
    kept = r > least
    if not kept.any():
        raise DataError(
            "no principal pair is reliable",
            where="reliable_whitening",
            value=f"largest correlation {r.max():.2f}",
            why="noise would be learned and clustered",
            do="read more groups or draws",
        )
    return Whitening(replace(whole, mix=(whole.mix * r)[:, kept]), r[kept])


@dataclass(frozen=True, kw_only=True)
class UpsamplePlan:
    """The auxiliary network: two hidden layers, AdamW, stopped when inner held-out rows no longer gain.

    Args:
        hidden: Width of both layers.
        epochs: Most passes over the training rows.
        batch: Tokens per step.
        learning_rate: Of AdamW.
        weight_decay: Of AdamW.
        dropout: On both layers while training.
        patience: Passes without gain before it stops.
    """

    hidden: int = 512
    epochs: int = 80
    batch: int = 512
    learning_rate: float = 1e-3
    weight_decay: float = 0.1
    dropout: float = 0.2
    patience: int = 6


@dataclass(frozen=True)
class Upsampler:
    """A trained auxiliary network.

    Args:
        weights: Three matrices and three biases, in order.
        shift: Mean of the inputs ``[inputs]``.
        scale: Standard deviation of the inputs ``[inputs]``.
    """

    weights: tuple[Tensor, ...]
    shift: Tensor
    scale: Tensor

    @torch.no_grad()
    def __call__(self, inputs: Tensor, block: int = 8192) -> NDArray[np.float32]:
        """Predicted whitened susceptibilities ``[tokens, pcs]`` of inputs ``[tokens, inputs]``."""
        parts = [_forward(self.weights, (part.float() - self.shift) / self.scale, None) for part in inputs.split(block)]
        return torch.cat(parts).numpy()


def fit_upsampler(
    inputs: Tensor,
    targets: Floats,
    rows: NDArray[np.integer],
    plan: UpsamplePlan,
    *,
    seed: int,
    say: Callable[[str], None] = lambda _: None,
) -> Upsampler:
    """Train on these tokens; every eighth row decides when to stop.

    Args:
        inputs: ``[tokens, inputs]``.
        targets: Whitened susceptibilities ``[tokens, pcs]``.
        rows: Row (document) of each token ``[tokens]``.
        plan: How.
        seed: Names the random streams.
        say: Told every pass.

    Raises:
        DataError: Shapes differ, or fewer than eight rows.
    """
    names = np.unique(rows)
    if not (len(inputs) == len(targets) == len(rows)) or len(names) < 8:
        raise DataError(
            "inputs, targets and rows do not fit, or are of fewer than eight rows",
            where="fit_upsampler",
            value=(len(inputs), len(targets), len(names)),
            why="whole rows must be kept back",
            do="read more rows",
        )
    draw = stream(seed, "upsampler")
    kept_back = torch.from_numpy(np.isin(rows, names[::8]))
    y = torch.from_numpy(np.asarray(targets, dtype=np.float32))
    shift, scale = inputs.float().mean(0), inputs.float().std(0) + 1e-6
    x = (inputs.float() - shift) / scale
    weights = _started((x.shape[1], plan.hidden, plan.hidden, y.shape[1]), draw)
    adam = torch.optim.AdamW(weights, lr=plan.learning_rate, weight_decay=plan.weight_decay)
    places = (~kept_back).nonzero().squeeze(1)
    best, since, chosen = np.inf, 0, [w.detach().clone() for w in weights]
    for epoch in range(plan.epochs):
        for part in places[torch.randperm(len(places), generator=draw)].split(plan.batch):
            loss = F.mse_loss(_forward(weights, x[part], (plan.dropout, draw)), y[part])
            adam.zero_grad()
            loss.backward()
            adam.step()
        with torch.no_grad():
            error = float(F.mse_loss(_forward(weights, x[kept_back], None), y[kept_back]))
        say(f"auxiliary network, pass {epoch}: held-out mean square {error:.3f}")
        since += 1
        if error < best:
            best, since, chosen = error, 0, [w.detach().clone() for w in weights]
        if since > plan.patience:
            break
    return Upsampler(tuple(chosen), shift, scale)


def _started(sizes: tuple[int, ...], draw: torch.Generator) -> list[Tensor]:
    """Matrices and biases, alternating; the last layer starts at zero."""
    found = []
    for depth, (a, b) in enumerate(pairwise(sizes)):
        last = depth == len(sizes) - 2
        found += [
            torch.randn(a, b, generator=draw) * (0.0 if last else (2 / a) ** 0.5),
            torch.zeros(b),
        ]
    return [w.requires_grad_() for w in found]


def _forward(
    weights: tuple[Tensor, ...] | list[Tensor],
    x: Tensor,
    dropout: tuple[float, torch.Generator] | None,
) -> Tensor:
    for depth in range(0, len(weights) - 2, 2):
        x = F.gelu(x @ weights[depth] + weights[depth + 1])
        if dropout is not None:
            x = x * (torch.rand(x.shape, generator=dropout[1]) >= dropout[0]) / (1 - dropout[0])
    return x @ weights[-2] + weights[-1]


@dataclass(frozen=True)
class UpsampleQuality:
    """How well predicted vectors stand for measured ones, on rows that were not trained on.

    Args:
        r2: Per pc, ``[pcs]``.
        r2_error: By bootstrap over rows, ``[pcs]``.
        ceiling: R^2 that noise in the measured values allows, ``[pcs]``.
        token_r2: Of the mean of each next token over the training rows, ``[pcs]``: what identity alone predicts.
        cosine: Mean cosine of predicted and measured vectors.
        overlap: Share of the ``k`` nearest neighbours that agree.
        overlap_halves: The same between two halves of the chains: what noise allows at half the data.
        overlap_chance: k / tokens.
        k: Neighbours.
    """

    r2: Floats
    r2_error: Floats
    ceiling: Floats
    token_r2: Floats
    cosine: float
    overlap: float
    overlap_halves: float
    overlap_chance: float
    k: int


def upsample_quality(
    predicted: Floats,
    by_token: Floats,
    chi: Response,
    whitening: Whitening,
    *,
    k: int = 45,
    seed: int,
) -> UpsampleQuality:
    """Judge predictions on held-out tokens.

    Args:
        predicted: ``[tokens, pcs]``.
        by_token: Prediction from the next token alone, see `token_means`.
        chi: Measured, of the same tokens, with its coordinates ``probe`` and ``row``.
        whitening: That was fitted (on the training rows).
        k: Neighbours of the overlap.
        seed: Names the bootstrap.
    """
    replicates = chi.matrix()
    measured = whitening.map(replicates.mean(0))
    rows = row_numbers(chi)
    draw = np.random.default_rng(stream_seed(seed, "upsample bootstrap"))
    names = np.unique(rows)
    squares = np.stack([((measured - predicted) ** 2)[rows == n].sum(0) for n in names])
    around = np.stack([((measured - measured.mean(0)) ** 2)[rows == n].sum(0) for n in names])
    chosen = draw.integers(0, len(names), (200, len(names)))
    again = 1 - squares[chosen].sum(1) / around[chosen].sum(1)
    norms = np.linalg.norm(predicted, axis=1) * np.linalg.norm(measured, axis=1)
    near = _neighbours(measured, k)
    halves = [_neighbours(whitening.map(replicates[half::2].mean(0)), k) for half in (0, 1)]
    return UpsampleQuality(
        r2=1 - squares.sum(0) / around.sum(0),
        r2_error=again.std(0),
        ceiling=whitening.ceiling,
        token_r2=1 - ((measured - by_token) ** 2).sum(0) / around.sum(0),
        cosine=float(((predicted * measured).sum(1) / np.maximum(norms, 1e-30)).mean()),
        overlap=shared_neighbours(_neighbours(predicted, k), near),
        overlap_halves=shared_neighbours(*halves),
        overlap_chance=k / (len(measured) - 1),
        k=k,
    )


def token_means(targets: Floats, tokens: NDArray[np.integer], asked: NDArray[np.integer]) -> Floats:
    """Mean target of each next token, shrunk to the overall mean by one pseudo-token: ``[asked, pcs]``."""
    names, code = np.unique(tokens, return_inverse=True)
    total = targets.mean(0)
    sums = np.zeros((len(names), targets.shape[1]))
    np.add.at(sums, code, targets)
    means = (sums + total) / (np.bincount(code)[:, None] + 1)
    place = np.searchsorted(names, asked).clip(max=len(names) - 1)
    return np.where((names[place] == asked)[:, None], means[place], total)


def row_numbers(chi: Response) -> NDArray[np.int64]:
    """Number of each token's row over all probes, ``[tokens]``."""
    probes, rows = chi.replicates["probe"].values, chi.replicates["row"].values
    new = (probes[1:] != probes[:-1]) | (rows[1:] != rows[:-1])
    return np.concatenate([[0], np.cumsum(new)])


def shared_neighbours(first: NDArray[np.int32], second: NDArray[np.int32]) -> float:
    """Mean share of common entries in two tables of neighbours ``[points, k]``."""
    both = np.sort(np.concatenate([first, second], axis=1), axis=1)
    return float((both[:, 1:] == both[:, :-1]).sum(1).mean() / first.shape[1])


def _neighbours(points: Floats, k: int) -> NDArray[np.int32]:
    return nearest(points.astype(np.float32), k, seed=0)
