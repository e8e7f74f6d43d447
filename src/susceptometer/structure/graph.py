"""Nearest-neighbour graphs of tokens: who is close to whom in the space of susceptibilities, and what a cut costs."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from susceptometer.errors import DataError

EXACT_UP_TO = 20_000
"""Points up to which neighbours are exact; beyond, they are found by neighbour descent (recall about 0.99)."""

Kind = Literal["mutual", "union"]
Points = NDArray[np.float32]
Index = NDArray[np.integer]


@dataclass(frozen=True)
class Graph:
    """An undirected graph without weights, loops or double edges, as compressed rows.

    Args:
        starts: Where the neighbours of each node begin in ``ends``, int64 ``[nodes + 1]``.
        ends: Neighbours, sorted within each node, int32 ``[2 edges]``.
    """

    starts: NDArray[np.int64]
    ends: NDArray[np.int32]

    @property
    def nodes(self) -> int:
        """Number of nodes."""
        return len(self.starts) - 1

    @property
    def degrees(self) -> NDArray[np.int64]:
        """Neighbours of each node, ``[nodes]``."""
        return np.diff(self.starts)

    @property
    def volume(self) -> int:
        """Sum of all degrees: twice the number of edges."""
        return len(self.ends)

    def conductance(self, members: Index) -> float:
        """cut(S) / min(vol S, vol V - vol S) of a set of nodes (andersen2006 sec. 2); 1 where a side has no edge.

        Args:
            members: Distinct nodes ``[size]``.
        """
        inside = np.zeros(self.nodes, dtype=bool)
        inside[members] = True
        volume = int(self.degrees[members].sum())
        kept = sum(int(inside[self.ends[self.starts[u] : self.starts[u + 1]]].sum()) for u in members.tolist())
        least = min(volume, self.volume - volume)
        return (volume - kept) / least if least else 1.0


def nearest(points: Points, k: int, *, seed: int) -> NDArray[np.int32]:
    """The k nearest other points of every point by Euclidean distance, nearest first.

    Exact up to `EXACT_UP_TO` points, else by neighbour descent (pynndescent), which misses about one in a hundred.

    Args:
        points: ``[points, dims]``.
        k: Neighbours of each point, the point itself not counted.
        seed: Names the random stream of the approximate search.

    Returns:
        ``[points, k]``.

    Raises:
        DataError: Fewer than k + 1 points, or a value that is not finite.
    """
    _check(points, k)
    points = np.ascontiguousarray(points, dtype=np.float32)
    return _exact(points, k) if len(points) <= EXACT_UP_TO else _descended(points, k, seed)


def neighbour_graph(near: NDArray[np.int32], kind: Kind = "mutual") -> Graph:
    """The graph of a table of neighbours ``[points, k]``.

    Args:
        near: From `nearest`.
        kind: ``mutual``: an edge where both points list each other; ``union``: where either does.
    """
    count, k = near.shape
    starts = np.arange(0, count * k + 1, k, dtype=np.int64)
    listed = sparse.csr_array((np.ones(count * k, dtype=np.int8), near.ravel(), starts), (count, count))
    back = listed.T.tocsr()
    both = listed.multiply(back) if kind == "mutual" else listed.maximum(back)
    both = both.tocsr()
    both.sort_indices()
    return Graph(both.indptr.astype(np.int64), both.indices.astype(np.int32))


def _check(points: Points, k: int) -> None:
    if len(points) <= k:
        raise DataError(
            "too few points for so many neighbours",
            where="nearest",
            value=f"{len(points)} points, k = {k}",
            why="every point needs k others",
            do="read more tokens, or take a smaller k",
        )
    if not np.isfinite(points).all():
        raise DataError(
            "a point is not finite",
            where="nearest",
            value=int((~np.isfinite(points)).any(1).sum()),
            why="its distances mean nothing",
            do="leave out components that failed or do not vary",
        )


def _exact(points: Points, k: int) -> NDArray[np.int32]:
    from sklearn.neighbors import NearestNeighbors

    found = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(points)
    return found.kneighbors(return_distance=False).astype(np.int32)


def _descended(points: Points, k: int, seed: int) -> NDArray[np.int32]:
    from pynndescent import NNDescent

    index = NNDescent(
        points,
        n_neighbors=k + 1,
        random_state=seed % 2**31,
        low_memory=True,
        compressed=False,
        verbose=False,
    )
    near = index.neighbor_graph[0]
    return _without_self(near.astype(np.int32))


def _without_self(near: NDArray[np.int32]) -> NDArray[np.int32]:
    """Rows of k + 1 neighbours without the point itself (or without the last one where it is not listed)."""
    own = near == np.arange(len(near), dtype=np.int32)[:, None]
    own[~own.any(1), -1] = True
    return near[~own].reshape(len(near), -1)
