"""Weights on data: one per example or one per token, and the weighted mean that training minimises."""

import torch
from torch import Tensor

from susceptometer.errors import DataError


def weighted_mean(losses: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean over rows and events of ``weights * losses``, one value for each model.

    The sum is divided by the number of entries, never by the sum of the weights: a weight of 2
    doubles the pull of an example, whatever the others weigh. Weights of mean one (`mean_one`) keep
    the scale of the learning rate.

    Shapes:
        losses     models rows *event
        weights    models rows, or models rows *event; None: all one
        returns    models

    Raises:
        DataError: The weights fit neither rows nor events.
    """
    if weights is None:
        return losses.flatten(1).mean(1)
    return (losses * aligned(weights, losses.shape)).flatten(1).mean(1)


def aligned(weights: Tensor, shape: torch.Size) -> Tensor:
    """``weights`` with axes of size one added on the right until they fit losses of ``shape``."""
    if weights.shape != shape[: weights.dim()]:
        raise DataError(
            "weights do not fit the losses",
            where="batch['weights']",
            value=f"weights {tuple(weights.shape)}, losses {tuple(shape)}",
            why="each weight multiplies the loss of one example or of one token",
            do="give weights of shape [models, rows] or of the shape of the losses",
        )
    return weights.reshape(weights.shape + (1,) * (len(shape) - weights.dim()))


def mean_one(weights: Tensor) -> Tensor:
    """The same weights divided by their mean, so that the total pull of the data is unchanged.

    Raises:
        DataError: A weight is not finite, or the mean is not positive.
    """
    mean = weights.double().mean()
    if not torch.isfinite(mean) or mean <= 0:
        raise DataError(
            "weights cannot be scaled to mean one",
            where="mean_one",
            value=float(mean),
            why="their mean must be positive and finite",
            do="remove NaN and infinite weights, or shift them upwards",
        )
    return (weights / mean).to(weights.dtype)
