"""Data coordinates of the parentheses task: eight probe distributions, and training sets mixed towards them.

A probe q'_j is the training distribution q conditioned on a property, class by class, so that half of its strings stay
TRUE: its density relative to q is r_j(x) = 1[property]/P(property | class of x), or 1 in a class that
lacks the property. The mixture (1 - sum_j h_j) q + sum_j h_j q'_j is then a re-weighting of the training strings,

    rho(x) = 1 + sum_j h_j ( r_j(x) - 1 ),

for negative h_j too, as long as rho >= 0. No string outside the training set can appear, so no mixture can give away
what equal counts without nesting mean.
"""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from susceptometer.domains.parentheses import Strings, equal_count
from susceptometer.errors import DataError

Property = Callable[[Strings], NDArray[np.bool_]]
"""Which strings have a property, ``[rows]``."""


def _final(strings: Strings) -> NDArray[np.int64]:
    return strings.depth[:, -1]


def _deepest(strings: Strings) -> NDArray[np.int64]:
    return strings.depth.max(1)


PROPERTIES: dict[str, Property] = {
    "almost_equal": lambda s: np.abs(_final(s)) == 2,
    "starts_close": lambda s: ~equal_count(s) & (s.steps[:, 0] < 0),
    "never_negative": lambda s: ~equal_count(s) & (s.depth.min(1) >= 0),
    "far_unequal": lambda s: np.abs(_final(s)) >= s.lengths / 2,
    "deep_nested": lambda s: equal_count(s) & (3 * _deepest(s) >= s.lengths),
    "flat_nested": lambda s: equal_count(s) & (_deepest(s) <= 2),
    "short": lambda s: s.lengths <= np.quantile(s.lengths, 0.25),
    "long": lambda s: s.lengths >= np.quantile(s.lengths, 0.75),
}
"""Probes by name: ``almost_equal`` is named by the published work, the definitions are ours."""


def densities(strings: Strings) -> tuple[list[str], NDArray[np.float64]]:
    """Names of the probes and r_j at every string, ``[probes, rows]``; the mean of a row within a class is 1.

    Raises:
        DataError: No string at all has some property.
    """
    label = equal_count(strings)
    return list(PROPERTIES), np.stack([_density(n, p(strings), label) for n, p in PROPERTIES.items()])


def _density(name: str, has: NDArray[np.bool_], label: NDArray[np.bool_]) -> NDArray[np.float64]:
    if not has.any():
        raise DataError(
            "no string has this property", where=name, why="the probe would be empty", do="use more strings"
        )
    r = np.ones(len(has))
    for side in (True, False):
        inside = label == side
        if (has & inside).any():
            r[inside] = has[inside] / has[inside].mean()
    return r


def mixture_weights(density: NDArray[np.float64], h: NDArray[np.float64]) -> NDArray[np.float64]:
    """rho of every string, ``[rows]``: 1 + sum_j h_j (r_j - 1), not clipped."""
    return 1 + h @ (density - 1)


def realised(
    rho: NDArray[np.float64], label: NDArray[np.bool_], floor: float = 0.0
) -> tuple[NDArray[np.float64], Mapping[str, float]]:
    """Weights of at least ``floor`` with mean one in each class, and what clipping cost.

    A floor above zero keeps every kind of training string in sight, so that accuracy on the unchanged distribution
    is not paid for the plan.

    Returns:
        Weights ``[rows]``; ``clipped`` (share of strings at the floor), ``lost`` (|realised - wanted| / |wanted - 1|,
        root mean squares over strings), ``effective`` ((sum rho)^2 / (n sum rho^2)).
    """
    kept = np.maximum(rho, floor)
    for side in (True, False):
        kept[label == side] /= kept[label == side].mean()
    wanted = np.sqrt(np.mean((rho - 1) ** 2))
    lost = np.sqrt(np.mean((kept - rho) ** 2)) / wanted if wanted > 0 else 0.0
    effective = kept.sum() ** 2 / (len(kept) * (kept**2).sum())
    return kept, {"clipped": float((rho < floor).mean()), "lost": float(lost), "effective": float(effective)}


def projected(density: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The h ``[probes]`` whose mixture comes nearest to the given weights (least squares over strings).

    Gives back h where nothing was clipped, and what clipping left of it otherwise.
    """
    return np.asarray(np.linalg.lstsq((density - 1).T, weights - 1, rcond=None)[0], np.float64)
