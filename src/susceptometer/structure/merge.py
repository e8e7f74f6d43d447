"""From overlapping cuts to disjoint clusters."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from susceptometer.structure.graph import Graph
from susceptometer.structure.push import Cut

BODY = -1
"""Label of the points that belong to no cluster."""


@dataclass(frozen=True)
class Partition:
    """Disjoint clusters, in rising conductance.

    Args:
        labels: Cluster of each point, `BODY` for none, int32 ``[points]``.
        conductance: Of each cluster as it stands, ``[clusters]``.
    """

    labels: NDArray[np.int32]
    conductance: NDArray[np.float64]

    @property
    def count(self) -> int:
        """Number of clusters."""
        return len(self.conductance)

    def members(self) -> list[NDArray[np.intp]]:
        """Points of every cluster."""
        order = np.argsort(self.labels, kind="stable")
        edges = np.searchsorted(self.labels[order], np.arange(self.count + 1))
        return [np.sort(order[a:b]) for a, b in pairwise(edges)]


def merged(graph: Graph, cuts: Sequence[Cut], *, phi_max: float, min_size: int) -> Partition:
    """One cluster per structure: of two cuts that share more than half of the smaller, the lower conductance stays.

    Points that two kept cuts share go to the one of lower conductance; what then is smaller than ``min_size`` or
    no longer within ``phi_max`` is dropped. Merging a partition again changes nothing.

    Args:
        graph: Where the cuts were made.
        cuts: Accepted cuts.
        phi_max: Largest conductance of a cluster.
        min_size: Fewest points of a cluster.
    """
    labels = np.full(graph.nodes, BODY, dtype=np.int32)
    kept: list[float] = []
    sizes: list[int] = []
    for cut in sorted(cuts, key=lambda c: (c.conductance, -len(c.members), int(c.members.min(initial=0)))):
        owners = labels[cut.members]
        free = cut.members[owners == BODY]
        if len(free) < len(cut.members):
            if _shares_half(owners, sizes):
                continue
            conductance = graph.conductance(free)
        else:
            conductance = cut.conductance
        if len(free) < min_size or conductance > phi_max:
            continue
        labels[free] = len(kept)
        kept.append(conductance)
        sizes.append(len(free))
    return _ordered(labels, np.array(kept))


def _shares_half(owners: NDArray[np.int32], sizes: list[int]) -> bool:
    """Whether a cut (given by the owners of its points) shares over half of the smaller with a kept cluster."""
    names, shared = np.unique(owners[owners != BODY], return_counts=True)
    least = np.minimum(len(owners), np.array(sizes)[names])
    return bool((shared > 0.5 * least).any())


def _ordered(labels: NDArray[np.int32], conductance: NDArray[np.float64]) -> Partition:
    order = np.argsort(conductance, kind="stable")
    rank = np.empty(len(order) + 1, dtype=np.int32)
    rank[order] = np.arange(len(order))
    rank[BODY] = BODY
    return Partition(rank[labels], conductance[order])
