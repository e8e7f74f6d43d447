"""Personalised PageRank by local pushes, and the best cut along it: one cluster around one node, at a cost that does
not depend on the size of the graph.

The kernels are compiled (numba) and release the interpreter lock, so that seeds run side by side in threads.
"""

from dataclasses import dataclass, field

import numpy as np
from numba import njit
from numpy.typing import NDArray

from susceptometer.errors import DataError
from susceptometer.structure.graph import Graph

Nodes = NDArray[np.int32]


@dataclass(frozen=True)
class Cut:
    """The best set along a sweep.

    Args:
        conductance: cut(S) / min(vol S, vol V - vol S); infinite where no set of an allowed size was met.
        members: Nodes of S, best first, ``[size]``.
    """

    conductance: float
    members: Nodes


@dataclass(frozen=True)
class Walk:
    """How far a local walk goes (andersen2006; conventions of reading.md 8.3).

    Args:
        alpha: Chance to return to the seed at each step of the lazy walk. Small: the walk sees larger sets.
        tolerance: Pushing stops where every residual is below ``tolerance`` times the degree. The work of one
            seed is at most 1 / (alpha tolerance), its support has at most volume 1 / tolerance.
        min_size: Fewest nodes of a set.
        body_share: Largest share of the graph's volume that a set may have.
        min_degree: Least mean degree of a set. The thin outskirts of a heavy-tailed cloud have few mutual
            neighbours and hence cheap cuts, although nothing is dense there.
    """

    alpha: float = 0.01
    tolerance: float = 1e-5
    min_size: int = 20
    body_share: float = 0.05
    min_degree: float = 0.0

    def __post_init__(self) -> None:
        shares = 0 < self.alpha < 1 and 0 < self.tolerance < 1 and 0 < self.body_share <= 0.5
        if not (shares and self.min_size > 0 and self.min_degree >= 0):
            raise DataError(
                "a setting of the walk is outside its range",
                where="Walk",
                value=(self.alpha, self.tolerance, self.min_size, self.body_share, self.min_degree),
                why="alpha and tolerance lie in (0, 1), body_share in (0, 0.5], min_size is 1 or more",
                do="use e.g. Walk(alpha=0.01, tolerance=1e-5)",
            )


@dataclass
class Walker:
    """One thread's work space on one graph: vectors of the size of the graph that are cleared after each seed."""

    graph: Graph
    walk: Walk
    p: NDArray[np.float64] = field(init=False, repr=False)
    r: NDArray[np.float64] = field(init=False, repr=False)
    queue: Nodes = field(init=False, repr=False)
    seen: Nodes = field(init=False, repr=False)
    mark: NDArray[np.int8] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        nodes = self.graph.nodes
        self.p, self.r = np.zeros(nodes), np.zeros(nodes)
        self.queue, self.seen = np.empty(nodes, np.int32), np.empty(nodes, np.int32)
        self.mark = np.zeros(nodes, np.int8)

    def cut(self, start: int) -> Cut:
        """The set of least conductance around one node."""
        g, w = self.graph, self.walk
        count = _push(
            start,
            g.starts,
            g.ends,
            (w.alpha, w.tolerance),
            (self.p, self.r, self.queue, self.seen, self.mark),
        )
        most = w.body_share * g.volume
        conductance, members = _sweep(
            g.starts,
            g.ends,
            self.p,
            self.seen[:count],
            self.mark,
            (w.min_size, w.min_degree, most, float(g.volume)),
        )
        self._clear(count)
        return Cut(conductance, members)

    def pagerank(self, start: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Approximate PageRank and residual, ``[nodes]`` each; see `pagerank`."""
        g, w = self.graph, self.walk
        count = _push(
            start,
            g.starts,
            g.ends,
            (w.alpha, w.tolerance),
            (self.p, self.r, self.queue, self.seen, self.mark),
        )
        found = self.p.copy(), self.r.copy()
        self._clear(count)
        return found

    def _clear(self, count: int) -> None:
        touched = self.seen[:count]
        self.p[touched] = 0.0
        self.r[touched] = 0.0
        self.mark[touched] = 0


def pagerank(graph: Graph, start: int, walk: Walk) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    r"""Approximate personalised PageRank of the lazy walk, and what is left to push (andersen2006 sec. 3).

        pr(s) = alpha s + (1 - alpha) pr(s) W,    W = (1 + D^-1 A) / 2
        p + pr(r) = pr(s) exactly,    0 <= pr(s) - p <= tolerance degree at every node

    A push at u moves all of its residual at once (the limit of repeated lazy pushes at u):
    p_u += b r_u, r_v += (1 - b) r_u / degree_u for the neighbours v, r_u = 0, with b = 2 alpha / (1 + alpha).

    Args:
        graph: Where the walk goes.
        start: The node s.
        walk: Only ``alpha`` and ``tolerance`` are used.

    Returns:
        p and r, ``[nodes]`` each.
    """
    return Walker(graph, walk).pagerank(start)


def ego_conductance(graph: Graph) -> NDArray[np.float64]:
    """Conductance of every node together with its neighbours, ``[nodes]``; 1 for a node without neighbours.

    Cheap for all nodes at once, and low in the middle of a cluster (gleich2012).
    """
    return _ego(graph.starts, graph.ends, np.zeros(graph.nodes, np.int32))


@njit(cache=True, nogil=True)
def _push(start, starts, ends, setting, space):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Push from ``start`` until every residual is small; returns how many nodes were touched (listed in ``seen``).

    ``mark``: 0 untouched, 1 seen, 2 in the queue.
    """
    alpha, tolerance = setting
    p, r, queue, seen, mark = space
    kept = 2.0 * alpha / (1.0 + alpha)
    size = len(queue)
    r[start] = 1.0
    mark[start] = 2
    seen[0], queue[0] = start, start
    count, head, waiting = 1, 0, 1
    while waiting > 0:
        u = queue[head]
        head = head + 1 if head + 1 < size else 0
        waiting -= 1
        mark[u] = 1
        degree = starts[u + 1] - starts[u]
        rest = r[u]
        if degree == 0:  # nowhere to go: all of it stays
            p[u] += rest
            r[u] = 0.0
            continue
        if rest < tolerance * degree:
            continue
        p[u] += kept * rest
        r[u] = 0.0
        share = (1.0 - kept) * rest / degree
        for at in range(starts[u], starts[u + 1]):
            v = ends[at]
            r[v] += share
            if mark[v] == 0:
                mark[v] = 1
                seen[count] = v
                count += 1
            if mark[v] == 1 and r[v] >= tolerance * (starts[v + 1] - starts[v]):
                mark[v] = 2
                tail = head + waiting
                queue[tail if tail < size else tail - size] = v
                waiting += 1
    return count


@njit(cache=True, nogil=True)
def _sweep(starts, ends, p, seen, mark, limits):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Least conductance of the sets {first j nodes by p / degree}, and the set. ``mark`` becomes 3 inside."""
    min_size, min_degree, most, whole = limits
    score = np.empty(len(seen))
    for i in range(len(seen)):
        u = seen[i]
        score[i] = -p[u] / max(1, starts[u + 1] - starts[u])
    order = np.argsort(score, kind="mergesort")
    cut, volume = 0.0, 0.0
    best, size = np.inf, 0
    for j in range(len(order)):
        if score[order[j]] == 0.0:
            break
        u = seen[order[j]]
        degree = starts[u + 1] - starts[u]
        inside = 0
        for at in range(starts[u], starts[u + 1]):
            if mark[ends[at]] == 3:
                inside += 1
        mark[u] = 3
        cut += degree - 2 * inside
        volume += degree
        if volume > most:
            break
        if j + 1 >= min_size and volume > 0.0 and volume >= min_degree * (j + 1):
            value = cut / min(volume, whole - volume)
            if value < best:
                best, size = value, j + 1
    return best, seen[order[:size]]


@njit(cache=True, nogil=True)
def _ego(starts, ends, stamp):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Conductance of each closed neighbourhood; ``stamp`` zeros ``[nodes]``."""
    nodes, whole = len(starts) - 1, len(ends)
    found = np.ones(nodes)
    for u in range(nodes):
        degree = starts[u + 1] - starts[u]
        stamp[u] = u + 1
        for at in range(starts[u], starts[u + 1]):
            stamp[ends[at]] = u + 1
        volume, kept = degree, degree
        for at in range(starts[u], starts[u + 1]):
            v = ends[at]
            volume += starts[v + 1] - starts[v]
            for to in range(starts[v], starts[v + 1]):
                if stamp[ends[to]] == u + 1:
                    kept += 1
        least = min(volume, whole - volume)
        if least > 0:
            found[u] = (volume - kept) / least
    return found
