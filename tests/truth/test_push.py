"""Local PageRank against a dense solve, conductance against brute force, the sweep on graphs with a known best cut."""

import itertools

import numpy as np
import pytest
from scipy import sparse

from susceptometer.errors import DataError
from susceptometer.structure import graph as graph_module
from susceptometer.structure.graph import Graph, nearest, neighbour_graph
from susceptometer.structure.push import Walk, Walker, ego_conductance, pagerank


def of_dense(adjacency):
    rows = sparse.csr_array(np.asarray(adjacency, dtype=np.int8))
    rows.sort_indices()
    return Graph(rows.indptr.astype(np.int64), rows.indices.astype(np.int32))


def dense(graph):
    full = np.zeros((graph.nodes, graph.nodes))
    full[np.repeat(np.arange(graph.nodes), graph.degrees), graph.ends] = 1
    return full


@pytest.fixture
def cloud(seed):
    points = np.random.default_rng(seed).normal(size=(400, 6)).astype(np.float32)
    return neighbour_graph(nearest(points, 10, seed=0))


def exact_pagerank(graph, alpha):
    """pr(s) for every s (rows), with nodes without neighbours staying where they are."""
    full = dense(graph)
    degree = full.sum(1)
    walk = (np.eye(graph.nodes) + full / np.maximum(degree, 1)[:, None]) / 2
    walk[degree == 0] = np.eye(graph.nodes)[degree == 0]
    return alpha * np.linalg.inv(np.eye(graph.nodes) - (1 - alpha) * walk)


@pytest.mark.parametrize(("alpha", "tolerance"), [(0.3, 1e-3), (0.05, 1e-4), (0.01, 1e-5)])
def test_push_against_a_dense_solve(cloud, alpha, tolerance):
    exact = exact_pagerank(cloud, alpha)
    for start in (0, 7, 123):
        p, r = pagerank(cloud, start, Walk(alpha=alpha, tolerance=tolerance))
        gap = exact[start] - p
        assert np.abs(gap - r @ exact).max() < 1e-13  # p + pr(r) = pr(s)
        assert gap.min() > -1e-15 and (gap <= tolerance * np.maximum(cloud.degrees, 1) + 1e-15).all()
        assert (r[cloud.degrees > 0] < tolerance * cloud.degrees[cloud.degrees > 0]).all()
        assert p.sum() + r.sum() == pytest.approx(1, abs=1e-12)


def test_a_walk_with_the_wrong_return_chance_is_seen(cloud):
    exact = exact_pagerank(cloud, 0.05)
    p, r = pagerank(cloud, 0, Walk(alpha=0.06, tolerance=1e-5))
    assert np.abs(exact[0] - p - r @ exact).max() > 1e-3


def test_a_walker_forgets_its_last_seed(cloud):
    used, fresh = Walker(cloud, Walk(tolerance=1e-4)), Walker(cloud, Walk(tolerance=1e-4))
    used.cut(3)
    a, b = used.cut(50), fresh.cut(50)
    assert a.conductance == b.conductance and np.array_equal(a.members, b.members)


def test_conductance_against_brute_force(cloud, seed):
    full = dense(cloud)
    members = np.random.default_rng(seed).choice(400, 60, replace=False)
    rest = np.setdiff1d(np.arange(400), members)
    cut = full[np.ix_(members, rest)].sum()
    exact = cut / min(full[members].sum(), full[rest].sum())
    assert cloud.conductance(members) == pytest.approx(exact)
    assert cloud.conductance(rest) == pytest.approx(exact)
    node = int(members[0])
    ego = np.append(np.flatnonzero(full[node]), node)
    assert ego_conductance(cloud)[node] == pytest.approx(cloud.conductance(ego))


def test_the_reported_conductance_is_that_of_the_set(cloud):
    cut = Walker(cloud, Walk(tolerance=1e-4, min_size=5, body_share=0.5)).cut(10)
    assert len(cut.members) >= 5 and cut.conductance == pytest.approx(cloud.conductance(cut.members))


def two_cliques(first, second):
    """Two cliques joined by one edge."""
    full = np.zeros((first + second,) * 2)
    full[:first, :first], full[first:, first:] = 1, 1
    np.fill_diagonal(full, 0)
    full[0, first] = full[first, 0] = 1
    return of_dense(full)


def test_sweep_finds_the_clique():
    graph = two_cliques(12, 30)
    cut = Walker(graph, Walk(alpha=0.05, tolerance=1e-6, min_size=3, body_share=0.5)).cut(5)
    assert set(cut.members.tolist()) == set(range(12))
    assert cut.conductance == pytest.approx(1 / (12 * 11 + 1))


def test_sweep_is_best_among_all_sets_of_a_small_graph(seed):
    full = np.triu(np.random.default_rng(seed).random((9, 9)) < 0.3, 1)
    full[:4, :4] |= np.triu(np.ones((4, 4), dtype=bool), 1)
    graph = of_dense(full | full.T)
    subsets = [c for size in range(3, 9) for c in itertools.combinations(range(9), size)]
    allowed = [c for c in subsets if graph.degrees[list(c)].sum() <= graph.volume / 2]
    least = min(graph.conductance(np.array(c)) for c in allowed)
    walk = Walk(alpha=0.01, tolerance=1e-8, min_size=3, body_share=0.5)
    found = [Walker(graph, walk).cut(s).conductance for s in range(9) if graph.degrees[s]]
    assert min(found) >= least - 1e-12  # a sweep is one of the sets
    assert min(found) <= np.sqrt(8 * least)  # Cheeger's bound for sweeps, generous


def test_limits_of_a_sweep_are_kept():
    graph = two_cliques(12, 30)
    volume = graph.volume
    for share in (0.05, 0.3):
        cut = Walker(graph, Walk(tolerance=1e-6, min_size=2, body_share=share)).cut(20)
        assert graph.degrees[cut.members].sum() <= share * volume
    assert len(Walker(graph, Walk(min_size=43, body_share=0.5)).cut(0).members) == 0
    assert len(Walker(graph, Walk(min_degree=40.0, body_share=0.5)).cut(0).members) == 0


def test_graph_kinds(seed):
    points = np.random.default_rng(seed).normal(size=(120, 3)).astype(np.float32)
    near = nearest(points, 8, seed=0)
    distance = np.linalg.norm(points[:, None] - points[None], axis=-1)
    lists = [set(np.argsort(row)[1:9].tolist()) for row in distance]
    assert all(set(near[i].tolist()) == lists[i] for i in range(120))
    for kind, joined in (("mutual", all), ("union", any)):
        expected = [[i != j and joined((j in lists[i], i in lists[j])) for j in range(120)] for i in range(120)]
        assert np.array_equal(dense(neighbour_graph(near, kind)), np.array(expected, dtype=float))


@pytest.mark.slow  # pynndescent compiles for twenty seconds
def test_approximate_neighbours_are_nearly_exact(seed, monkeypatch):
    points = np.random.default_rng(seed).normal(size=(2000, 8)).astype(np.float32)
    exact = nearest(points, 15, seed=0)
    monkeypatch.setattr(graph_module, "EXACT_UP_TO", 100)
    close = nearest(points, 15, seed=0)
    recall = np.mean([len(set(a) & set(b)) / 15 for a, b in zip(exact.tolist(), close.tolist(), strict=True)])
    assert recall > 0.97 and (close != np.arange(2000)[:, None]).all()


def test_wrong_input_is_refused():
    with pytest.raises(DataError, match="too few points"):
        nearest(np.zeros((5, 2), np.float32), 5, seed=0)
    with pytest.raises(DataError, match="not finite"):
        nearest(np.full((50, 2), np.nan, np.float32), 5, seed=0)
    with pytest.raises(DataError, match="outside its range"):
        Walk(alpha=0.0)
