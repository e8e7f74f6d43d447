"""What a component does to a token by other measures than chi: ablation and gradients; and what chi adds to them."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from susceptometer.errors import DataError
from susceptometer.posterior.component import Component
from susceptometer.posterior.local import LocalPosterior
from susceptometer.posterior.subject import Subject
from susceptometer.rng import stream
from susceptometer.sampling.moments import ProbeReader

Floats = NDArray[np.floating]

PENALTIES = tuple(10.0**k for k in range(-6, 2))
"""Ridge penalties tried, per sample."""

REACH = 0.1
"""Length of the displacement in a central difference, in weights; its relative error is O(REACH^2)."""


def zero_ablation(subject: Subject, components: Mapping[str, Component]) -> Floats:
    """Rise of every token's loss when a component's weights are set to zero, ``[components, tokens]`` nats."""
    found = []
    for part in components.values():
        posterior = LocalPosterior(subject, part, 1.0, 1.0)
        without, whole = _losses(posterior, torch.stack([torch.zeros_like(posterior.center), posterior.center]))
        found.append(without - whole)
    return np.stack(found)


def first_order(subject: Subject, components: Mapping[str, Component]) -> Floats:
    """-grad_C L . grad_C l_xy at w*: what one gradient step of C would do to a token, ``[components, tokens]``.

    By a central difference along the gradient of L over all data; nats^2 per squared weight. Infinitesimal, at w*
    alone: the part of chi that knows no curvature.
    """
    found = []
    for part in components.values():
        posterior = LocalPosterior(subject, part, 1.0, 1.0)
        slope = posterior.row_gradients().mean(0)
        size = slope.norm()
        found.append(-float(size) * _difference(posterior, (slope / size)[None])[0])
    return np.stack(found)


def gradient_size(subject: Subject, components: Mapping[str, Component], *, seed: int, directions: int = 16) -> Floats:
    """|grad_C l_xy|^2 of every token from random directions (hutchinson), ``[components, tokens]``.

    Unbiased up to the central difference; relative error about sqrt(2 / directions) per token.
    """
    found = []
    for name, part in components.items():
        posterior = LocalPosterior(subject, part, 1.0, 1.0)
        draw = stream(seed, "gradient size", name)
        along = torch.randn(directions, len(posterior.center), generator=draw).to(posterior.center)
        unit = along / along.norm(dim=1, keepdim=True)
        found.append(len(posterior.center) * (_difference(posterior, unit) ** 2).mean(0))
    return np.stack(found)


def _difference(posterior: LocalPosterior, unit: Tensor) -> Floats:
    """Directional derivatives of every token's loss along unit vectors ``[k, d]``: ``[k, tokens]`` nats/weight."""
    points = torch.cat([posterior.center + REACH * unit, posterior.center - REACH * unit])
    losses = _losses(posterior, points)
    return (losses[: len(unit)] - losses[len(unit) :]) / (2 * REACH)


def _losses(posterior: LocalPosterior, points: Tensor) -> Floats:
    reader = ProbeReader(posterior, len(points))
    return torch.cat([piece.double() for piece in reader.read(points)], 1).numpy()


def added_r2(target: Floats, baseline: Floats, extra: Floats, folds: NDArray[np.integer]) -> dict[str, float]:
    r"""What ``extra`` adds to ``baseline`` in predicting ``target``, on held-out folds.

        partial R^2 = (R^2_both - R^2_base) / (1 - R^2_base)

    Ridge on standardised features; the penalty is chosen inside the training folds. Held-out R^2 can be negative.

    Args:
        target: ``[samples]``.
        baseline: ``[samples, features]``.
        extra: ``[samples, features]``.
        folds: Fold of every sample, e.g. its document or training seed ``[samples]``.

    Returns:
        ``base``, ``both``, ``extra`` (held-out R^2 of each set) and ``partial``.
    """
    base, alone = held_out_r2(baseline, target, folds), held_out_r2(extra, target, folds)
    both = held_out_r2(np.concatenate([baseline, extra], 1), target, folds)
    return {"base": base, "extra": alone, "both": both, "partial": (both - base) / (1 - base)}


def held_out_r2(features: Floats, target: Floats, folds: NDArray[np.integer]) -> float:
    """R^2 of ridge predictions, every fold predicted from the others: 1 - sum (y - p)^2 / sum (y - mean y)^2."""
    guess = held_out_prediction(features, target, folds)
    return float(1 - ((target - guess) ** 2).sum() / ((target - target.mean()) ** 2).sum())


def held_out_prediction(features: Floats, target: Floats, folds: NDArray[np.integer]) -> Floats:
    """Ridge predictions ``[samples]``, every fold predicted from the others.

    The penalty is the one of `PENALTIES` (per sample, on features of unit spread) that predicts best when each of the
    other folds is left out in turn. Folds enter by their second moments, so that choosing it costs small solves only.

    Raises:
        DataError: There is only one fold.
    """
    if len(np.unique(folds)) < 2:
        raise DataError(
            "nothing can be held out",
            where="held_out_prediction",
            value=np.unique(folds).tolist(),
            why="every fold is predicted from the others",
            do="give at least two folds (documents, training seeds)",
        )
    spread = features.std(0)
    scaled = (features - features.mean(0)) / np.where(spread > 0, spread, 1.0)
    wide = np.concatenate([np.ones((len(scaled), 1)), scaled], axis=1)
    parts = [np.flatnonzero(folds == fold) for fold in np.unique(folds)]
    grams = np.stack([wide[part].T @ wide[part] for part in parts])
    sides = np.stack([wide[part].T @ target[part] for part in parts])
    squares = np.array([target[part] @ target[part] for part in parts])
    guess = np.empty(len(target))
    for k, part in enumerate(parts):
        inner = [i for i in range(len(parts)) if i != k]
        penalty = _best_penalty(grams[inner], sides[inner], squares[inner])
        guess[part] = wide[part] @ _ridge(grams[inner].sum(0), sides[inner].sum(0), penalty)
    return guess


def _best_penalty(grams: Floats, sides: Floats, squares: Floats) -> float:
    """The penalty of least squared error over the folds, each predicted from the rest; the middle one for one fold."""
    if len(grams) < 2:
        return PENALTIES[len(PENALTIES) // 2]
    errors = []
    for penalty in PENALTIES:
        total = 0.0
        for k in range(len(grams)):
            weights = _ridge(grams.sum(0) - grams[k], sides.sum(0) - sides[k], penalty)
            total += weights @ grams[k] @ weights - 2 * weights @ sides[k] + squares[k]
        errors.append(total)
    return PENALTIES[int(np.argmin(errors))]


def _ridge(gram: Floats, side: Floats, penalty: float) -> Floats:
    """Weights of a ridge regression from its moments; the first feature is the constant and goes free."""
    samples = gram[0, 0]
    load = np.full(len(gram), penalty * samples)
    load[0] = 1e-9 * samples
    return np.linalg.solve(gram + np.diag(load), side)
