"""Clusters of tokens that the parts of a network answer alike: local PageRank cuts of a nearest-neighbour graph."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from susceptometer.errors import DataError
from susceptometer.estimate.estimate import Estimate
from susceptometer.structure.cards import Card, cards_of, chi_values
from susceptometer.structure.graph import Graph, Points, nearest, neighbour_graph
from susceptometer.structure.graph import Kind as GraphKind
from susceptometer.structure.merge import BODY, Partition, merged
from susceptometer.structure.null import Null, threshold
from susceptometer.structure.push import Walk
from susceptometer.structure.response import Response
from susceptometer.structure.search import Effort, search
from susceptometer.structure.stability import best_jaccard, shuffled_jaccard
from susceptometer.structure.standardise import Kind, standardisation


@dataclass(frozen=True, kw_only=True)
class ClusterSettings:
    """How tokens are clustered (gordon2026; reading.md 8). What the paper leaves open is a setting here.

    Args:
        k: Neighbours of each token; published: 45.
        graph: ``mutual`` or ``union`` of the neighbour lists.
        standardise: How chi becomes points; published: columns, then rows.
        cosine: Compare directions instead of distances.
        walk: How far each seed looks; None: alpha 0.01, tolerance 0.37 / tokens but within [1e-5, 1e-3] (the work of a
            seed is bounded by 1 / (alpha tolerance)), at least 20 tokens, at most 5 % of the volume, mean degree k/4.
        phi_max: Largest conductance of a cluster; None: calibrated on ``null``.
        null: Which clump-free cloud calibrates, see `null.null_cloud`.
        effort: How many seeds.
        repeats: Further clusterings with other seeds, for the stability.
    """

    k: int = 45
    graph: GraphKind = "mutual"
    standardise: Kind = "columns and rows"
    cosine: bool = False
    walk: Walk | None = None
    phi_max: float | None = None
    null: Null = "copula"
    effort: Effort = field(default_factory=Effort)
    repeats: int = 1

    def walk_on(self, count: int) -> Walk:
        """The walk on a graph of ``count`` nodes."""
        tolerance = float(np.clip(0.37 / count, 1e-5, 1e-3))
        return self.walk or Walk(alpha=0.01, tolerance=tolerance, min_degree=self.k / 4)


@dataclass(frozen=True)
class Clustering:
    """A partition of bare points and how it came about.

    Args:
        partition: Disjoint clusters.
        phi_max: Largest conductance that was accepted.
        tried: Seeds.
        graph: Of the points.
    """

    partition: Partition
    phi_max: float
    tried: int
    graph: Graph


@dataclass(frozen=True)
class Clusters:
    """Clusters of tokens, in rising conductance.

    Args:
        labels: Cluster of each token, -1 for the main body, ``[tokens]``.
        conductance: ``[clusters]``.
        halves: Best Jaccard overlap with the clusters of two disjoint halves of the chain groups, mean of the two,
            ``[clusters]``; NaN where chi came without replicates.
        seeds: Best Jaccard overlap with clusterings by other seeds, mean, ``[clusters]``; NaN without repeats.
        chance: Mean of the best overlap when the other labels are shuffled over tokens.
        phi_max: Largest conductance that was accepted.
        response: What was clustered: chi with its token coordinates; replicates if there were any.
        settings: How.
    """

    labels: NDArray[np.int32]
    conductance: NDArray[np.float64]
    halves: NDArray[np.float64]
    seeds: NDArray[np.float64]
    chance: float
    phi_max: float
    response: Response | Estimate
    settings: ClusterSettings

    @property
    def count(self) -> int:
        """Number of clusters."""
        return len(self.conductance)

    @property
    def members(self) -> list[NDArray[np.intp]]:
        """Tokens of each cluster, in reading order."""
        return Partition(self.labels, self.conductance).members()

    @property
    def tokens(self) -> xr.Dataset:
        """Coordinates of the tokens (``probe``, ``row``, ``position``, ``token_id`` where known)."""
        return xr.Dataset(coords=chi_values(self.response).coords).drop_vars("component", errors="ignore")

    def table(self) -> pd.DataFrame:
        """One row per cluster: size, conductance, stability over chain halves and over seeds."""
        sizes = np.bincount(self.labels[self.labels >= 0], minlength=self.count)
        columns = {
            "size": sizes,
            "conductance": self.conductance,
            "halves": self.halves,
            "seeds": self.seeds,
        }
        return pd.DataFrame(columns, index=pd.RangeIndex(self.count, name="cluster"))

    def cards(self, strings: Sequence[str] = (), *, contexts: int = 20) -> list[Card]:
        """What a person reads about each cluster; see `cards.Card`.

        Args:
            strings: Decoded string of every token id; else the reading's own coordinate ``text``.
            contexts: Examples per cluster.

        Raises:
            DataError: Neither ``strings`` nor a coordinate ``text`` is there.
        """
        rows = self.table().to_dict("records")
        return cards_of(self.members, rows, self.response, strings=strings, contexts=contexts)

    def __repr__(self) -> str:
        inside = int((self.labels >= 0).sum())
        head = (
            f"{self.count} clusters hold {inside:,} of {len(self.labels):,} tokens "
            f"({self.settings.graph} graph, k = {self.settings.k}, conductance <= {self.phi_max:.3f}; "
            f"overlap by chance {self.chance:.2f})"
        )
        return head if not self.count else f"{head}\n{self.table().round(3).to_string(max_rows=40)}"

    def _repr_html_(self) -> str:
        return f"<pre>{self!r}</pre>"


def cluster(chi: Response | Estimate, settings: ClusterSettings | None = None, *, seed: int) -> Clusters:
    """Conductance clusters of tokens, with their stability (gordon2026; andersen2006).

    Args:
        chi: Susceptibilities component x token. A `Response` has replicates, so that stability over disjoint
            halves of its chain groups can be said; an `Estimate` has none.
        settings: How; None: `ClusterSettings()`.
        seed: Names the random streams (order of seeds, approximate neighbours, null cloud).

    Raises:
        DataError: Too few tokens, a component that does not vary, or a null cloud that gives no threshold.
    """
    settings = settings or ClusterSettings()
    whole = cluster_points(points_of(_matrix(chi), settings), settings, seed=seed)
    fixed = replace(settings, phi_max=whole.phi_max)
    found = whole.partition
    halves = [cluster_points(points_of(half, fixed), fixed, seed=seed).partition.labels for half in _halves(chi)]
    again = [
        cluster_points(points_of(_matrix(chi), settings), settings, seed=seed + 1 + i).partition.labels
        for i in range(settings.repeats)
    ]
    by_chance = [shuffled_jaccard(found.labels, other, seed=seed) for other in [*halves, *again]]
    return Clusters(
        labels=found.labels, conductance=found.conductance, halves=_mean_overlap(found, halves),
        seeds=_mean_overlap(found, again), chance=float(np.mean(by_chance)) if found.count and by_chance else 0.0,
        phi_max=whole.phi_max, response=chi, settings=settings,
    )  # fmt: skip


def points_of(matrix: NDArray[np.floating], settings: ClusterSettings) -> Points:
    """Points ``[tokens, coordinates]`` of chi ``[tokens, components]``, nats^2."""
    points = standardisation(matrix, settings.standardise)(matrix).astype(np.float32)
    return points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-30) if settings.cosine else points


def cluster_points(points: Points, settings: ClusterSettings, *, seed: int) -> Clustering:
    """Cluster bare points, whatever they are (chi, activations, one-hot vectors).

    Args:
        points: ``[points, dims]``.
        settings: How; ``standardise`` and ``cosine`` are not applied here.
        seed: Names the random streams.

    Raises:
        DataError: Too few points, or a null cloud that gives no threshold.
    """
    walk = settings.walk_on(len(points))
    if len(points) < 4 * settings.k:
        raise DataError(
            "too few tokens to cluster",
            where="cluster",
            value=f"{len(points)} tokens, k = {settings.k}",
            why="with so many neighbours every token is near every other",
            do="read more tokens or take a smaller k",
        )
    graph = neighbour_graph(nearest(points, settings.k, seed=seed), settings.graph)
    phi_max = settings.phi_max
    if phi_max is None:
        phi_max = threshold(points, walk, k=settings.k, kind=settings.graph, null=settings.null, seed=seed).phi_max
    found = search(graph, walk, settings.effort, phi_max=phi_max, seed=seed)
    partition = merged(graph, found.cuts, phi_max=phi_max, min_size=walk.min_size)
    return Clustering(partition, phi_max, found.tried, graph)


def _matrix(chi: Response | Estimate) -> NDArray[np.float64]:
    """chi as ``[tokens, components]``."""
    return chi_values(chi).transpose("token", "component").to_numpy().astype(np.float64)


def _halves(chi: Response | Estimate) -> list[NDArray[np.float64]]:
    """chi of every other chain group and of the rest, ``[tokens, components]`` each; nothing without replicates."""
    if not isinstance(chi, Response):
        return []
    replicates = chi.matrix()
    return [replicates[0::2].mean(0), replicates[1::2].mean(0)]


def _mean_overlap(found: Partition, others: Sequence[NDArray[np.int32]]) -> NDArray[np.float64]:
    if not others:
        return np.full(found.count, np.nan)
    return np.mean([best_jaccard(found.labels, other) for other in others], axis=0)


__all__ = [
    "BODY",
    "ClusterSettings",
    "Clustering",
    "Clusters",
    "cluster",
    "cluster_points",
    "points_of",
]
