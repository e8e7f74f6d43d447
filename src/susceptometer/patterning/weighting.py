"""From dh to weights that training can use: clipping, mass, and the dh that is left after both."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from susceptometer.errors import RecipeError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Clip:
    """Bounds of the weights. Weight 0 drops a datum; negative weights would push its loss up without bound."""

    lowest: float = 0.0
    highest: float = 5.0

    def __post_init__(self) -> None:
        if not self.lowest < 1 < self.highest:
            raise RecipeError(
                "bounds must enclose the weight one",
                where="Clip",
                value=(self.lowest, self.highest),
                why="one is unchanged data",
                do="use e.g. Clip(0, 5)",
            )


def weights_of(shift: Array, share: Array, clip: Clip | None) -> Array:
    r"""Weights ``[data]`` of the loss that moves the training distribution by ``shift``.

        base data:     rho_j = 1 - sum h + h_j / share_j,  clipped, then divided by their mean, so that the total
                       pull of the data and with it the learning rate are unchanged
        other data:    h_j, their share of the new mixture: not below zero, together at most one (if clipped); the
                       base keeps the rest, its weights then have that mean

    A clipped weight may pass the upper bound by the division.

    Raises:
        RecipeError: The weights of the base data have no positive mean.
    """
    inside = share > 0
    out = np.where(inside, 0.0, shift)
    if clip is not None:
        out = np.maximum(out, 0.0)
        out /= max(1.0, float(out.sum()))
    if not inside.any():
        return out
    rest = 1 - float(out[~inside].sum())
    rho = rest - float(shift[inside].sum()) + shift[inside] / share[inside]
    if clip is not None:
        rho = np.clip(rho, clip.lowest, clip.highest)
    mean = float(rho @ share[inside])
    if mean <= 0 < rest:
        raise RecipeError(
            "the weights have no positive mean",
            where="weights_of",
            value=mean,
            why="they cannot be scaled to mean one",
            do="lower the strength, or clip at zero",
        )
    out[inside] = rho * rest / mean if mean > 0 else 0.0
    return out


def realised(shift: Array, share: Array, clip: Clip | None) -> Array:
    """The dh ``[data]`` that the weights of ``shift`` really are, after clipping and normalisation."""
    weights, inside = weights_of(shift, share, clip), share > 0
    return np.where(inside, (weights - 1) * share, weights)


def effective_size(weights: Array) -> float:
    """(sum rho)^2 / (n sum rho^2): the share of the data that carries the pull, between 0 and 1."""
    return float(weights.sum() ** 2 / (len(weights) * (weights**2).sum()))


def clipped_share(weights: Array, clip: Clip | None) -> float:
    """Share of unclipped weights that lie outside the bounds."""
    if clip is None:
        return 0.0
    return float(((weights < clip.lowest) | (weights > clip.highest)).mean())
