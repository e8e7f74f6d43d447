"""Clouds without clumps that look like the data, and the conductance that only clumps go below."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.interpolate import PchipInterpolator

from susceptometer.errors import DataError
from susceptometer.rng import stream_seed
from susceptometer.structure.graph import Kind, Points, nearest, neighbour_graph
from susceptometer.structure.push import Walk, Walker
from susceptometer.structure.search import cuts_of, seed_order

Null = Literal["copula", "shuffled"]

MOST_POINTS, MOST_SEEDS = 20_000, 400
"""Size of the null cloud, and seeds tried on it."""

KNOTS = (0.002, 0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98, 0.998)
"""Quantiles that a copula cloud shares with the data."""


@dataclass(frozen=True)
class Threshold:
    """Where conductance begins to mean something.

    Args:
        phi_max: A search on a null cloud is not expected to meet a cut below it.
        least: 1 % quantile of the best conductance per seed on the null cloud.
        low: 5 % quantile of the same.
        seeds: Seeds of the null cloud that met a set of an allowed size.
    """

    phi_max: float
    least: float
    low: float
    seeds: int


def null_cloud(points: Points, null: Null, *, seed: int, most: int = MOST_POINTS) -> Points:
    """A cloud with the data's marginals and no clumps, ``[min(points, most), dims]``.

    ``shuffled`` permutes every column by itself (reading.md 8.3): marginals stay, all dependence goes. ``copula``
    also keeps the rank correlations (a Gaussian copula with the data's marginals, smoothed). Correlated columns fill
    fewer dimensions, where even a smooth cloud has cheap cuts: ``shuffled`` calls smooth flat clouds clustered.

    Args:
        points: ``[points, dims]``.
        null: Which one.
        seed: Names the random stream.
        most: Points of the cloud at most.
    """
    draw = np.random.default_rng(stream_seed(seed, "null cloud", null))
    rows = draw.permutation(len(points))[:most]
    sample = points[rows]
    if null == "shuffled":
        return np.stack([draw.permutation(column) for column in sample.T], axis=1)
    ranks = np.argsort(np.argsort(sample, axis=0), axis=0)
    normal = stats.norm.ppf((ranks + 0.5) / len(sample))
    variance, axes = np.linalg.eigh(np.cov(normal, rowvar=False))
    fresh = draw.normal(size=sample.shape) * np.sqrt(np.maximum(variance, 0.0)) @ axes.T
    columns = [_coarse_marginal(*pair) for pair in zip(sample.T, fresh.T, strict=True)]
    return np.stack(columns, axis=1).astype(np.float32)


def _coarse_marginal(column: Points, normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Normal values mapped to a smooth law with some quantiles of the column, its two ends included.

    Its exact values would bring the clumps back: a clump is a spike in every marginal, and correlated columns put
    their spikes at the same points.
    """
    levels = stats.norm.ppf(np.append(KNOTS, [0.5 / len(column), 1 - 0.5 / len(column)]))
    knots = np.unique(levels)
    values = np.quantile(column, np.clip(stats.norm.cdf(knots), 0, 1))
    values += 1e-6 * np.arange(len(knots)) * (np.ptp(column) / len(knots))
    return PchipInterpolator(knots, values)(np.clip(normal, knots[0], knots[-1]))


def threshold(points: Points, walk: Walk, *, k: int, kind: Kind, null: Null, seed: int) -> Threshold:
    r"""The largest conductance that a whole search on a clump-free cloud is not expected to meet.

        phi_max = low (least / low)^(ln M / ln 5),    M = 400 seeds

    least and low are the 1 % and 5 % quantiles of the best conductance per seed on the null cloud. With a lower tail
    P(phi < x) proportional to a power of x, M seeds together go below phi_max with probability 5 %. The 5 % quantile
    itself (reading.md 8.3) is no threshold: one null seed in twenty is below it, and a search tries hundreds.

    Args:
        points: Standardised data.
        walk: As in the search.
        k: Neighbours.
        kind: Of the graph.
        null: Which null cloud.
        seed: Names the random streams.

    Raises:
        DataError: Fewer than 20 seeds of the null cloud met a set of an allowed size.
    """
    cloud = null_cloud(points, null, seed=seed)
    graph = neighbour_graph(nearest(cloud, k, seed=seed), kind)
    tried = seed_order(graph, "minimal", least_degree=walk.min_degree, seed=seed)[:MOST_SEEDS]
    cuts = cuts_of([Walker(graph, walk)], tried.tolist())
    best = np.array([cut.conductance for cut in cuts if np.isfinite(cut.conductance)])
    if len(best) < 20:
        raise DataError(
            "the null cloud has too few cuts to calibrate on",
            where="threshold",
            value=len(best),
            why="its least conductance would be arbitrary",
            do="give phi_max, or lower min_size or min_degree",
        )
    least, low = np.quantile(best, [0.01, 0.05]).tolist()
    steps = np.log(MOST_SEEDS) / np.log(5)
    return Threshold(float(low * (least / low) ** steps) if low > 0 else 0.0, least, low, len(best))
