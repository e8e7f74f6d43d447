"""Many local cuts make a clustering: which nodes are tried, what is accepted, and when enough is enough."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray

from susceptometer.rng import stream_seed
from susceptometer.structure.graph import Graph
from susceptometer.structure.push import Cut, Walk, Walker, ego_conductance

BATCH = 256
"""Seeds tried side by side; fixed, so that the number of threads changes no result."""

Order = Literal["minimal", "random"]


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How many seeds are tried.

    Args:
        order: ``minimal``: nodes whose closed neighbourhood has the least conductance among their neighbours', best
            first (gleich2012), then the rest at random; ``random``: nodes at random. Nodes with fewer neighbours
            than ``Walk.min_degree`` are not tried.
        patience: The search stops when this many seeds in a row assigned fewer than ``least_share`` of all nodes.
        least_share: See ``patience``.
        most: Most seeds; None: no bound.
        threads: Seeds side by side.
    """

    order: Order = "minimal"
    patience: int = 1000
    least_share: float = 0.001
    most: int | None = None
    threads: int = 1


@dataclass(frozen=True)
class Found:
    """What a search met.

    Args:
        cuts: Accepted cuts, overlapping, in the order of their seeds.
        tried: Number of seeds.
    """

    cuts: tuple[Cut, ...]
    tried: int


def search(graph: Graph, walk: Walk, effort: Effort, *, phi_max: float, seed: int) -> Found:
    """Accepted cuts around unassigned seeds until ``patience`` is used up or all nodes are tried.

    Args:
        graph: Of the points.
        walk: How far each seed looks.
        effort: How many seeds.
        phi_max: Largest conductance that is accepted.
        seed: Names the random order of the seeds.
    """
    walkers = [Walker(graph, walk) for _ in range(max(1, effort.threads))]
    assigned = np.zeros(graph.nodes, dtype=bool)
    cuts: list[Cut] = []
    fresh: list[int] = []  # newly assigned nodes per seed
    order = seed_order(graph, effort.order, least_degree=walk.min_degree, seed=seed)
    for batch in _batches(order, assigned, effort.most):
        for cut in cuts_of(walkers, batch):
            accepted = cut.conductance <= phi_max
            fresh.append(int((~assigned[cut.members]).sum()) if accepted else 0)
            if accepted:
                assigned[cut.members] = True
                cuts.append(cut)
        late = len(fresh) >= effort.patience
        if late and sum(fresh[-effort.patience :]) < effort.least_share * graph.nodes:
            break
    return Found(tuple(cuts), len(fresh))


def seed_order(graph: Graph, order: Order, *, least_degree: float, seed: int) -> NDArray[np.int64]:
    """All nodes with at least one and at least ``least_degree`` neighbours, in the order in which they are tried."""
    mixed = np.random.default_rng(stream_seed(seed, "cluster seeds")).permutation(graph.nodes)
    mixed = mixed[graph.degrees[mixed] >= max(1.0, least_degree)]
    if order == "random":
        return mixed
    ego = ego_conductance(graph)
    least = _least_nearby(graph.starts, graph.ends, ego)
    first = mixed[least[mixed]]
    return np.concatenate([first[np.argsort(ego[first], kind="stable")], mixed[~least[mixed]]])


def cuts_of(walkers: Sequence[Walker], seeds: Sequence[int]) -> list[Cut]:
    """The cut of each seed, in their order; seeds are dealt to the walkers, each in a thread of its own."""
    if len(walkers) == 1:
        return [walkers[0].cut(node) for node in seeds]
    found: list[Cut | None] = [None] * len(seeds)

    def work(place: int) -> None:
        for i in range(place, len(seeds), len(walkers)):
            found[i] = walkers[place].cut(seeds[i])

    with ThreadPoolExecutor(len(walkers)) as pool:
        list(pool.map(work, range(len(walkers))))
    return [cut for cut in found if cut is not None]


def _batches(order: NDArray[np.int64], assigned: NDArray[np.bool_], most: int | None) -> Iterator[list[int]]:
    """Runs of unassigned nodes; ``assigned`` is looked at when a batch begins."""
    place, given = 0, 0
    while place < len(order) and (most is None or given < most):
        room = BATCH if most is None else min(BATCH, most - given)
        batch: list[int] = []
        while place < len(order) and len(batch) < room:
            node = int(order[place])
            place += 1
            if not assigned[node]:
                batch.append(node)
        given += len(batch)
        if batch:
            yield batch


@njit(cache=True, nogil=True)
def _least_nearby(starts, ends, value):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Whether no neighbour has a smaller value, ``[nodes]``."""
    least = np.ones(len(value), np.bool_)
    for u in range(len(value)):
        for at in range(starts[u], starts[u + 1]):
            if value[ends[at]] < value[u]:
                least[u] = False
                break
    return least
