"""Clustering at scale and against other methods: a million points, and planted clumps found by each method.

python benchmarks/bench_cluster.py                  the recovery table (12,000 points, three seeds)
python benchmarks/bench_cluster.py --points 1000000 --threads 2 --keep FOLDER     time and memory of every step
python benchmarks/bench_cluster.py --full           37,215 points, the size of the specification's test
"""

import argparse
import json
import resource
import time
from pathlib import Path

import numpy as np

from susceptometer.structure.cluster import ClusterSettings
from susceptometer.structure.graph import nearest, neighbour_graph
from susceptometer.structure.merge import merged
from susceptometer.structure.null import threshold
from susceptometer.structure.push import Walk
from susceptometer.structure.search import Effort, search
from susceptometer.structure.stability import best_jaccard
from susceptometer.testbed.clumps import ClumpPlan, clumped

SMALL = ClumpPlan(points=12_000, clumps=30, largest=250)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, help="scaling run of so many points")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--most", type=int, default=20_000, help="most seeds of the scaling run")
    parser.add_argument("--keep", type=Path, help="folder for the neighbours of the scaling run")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="JSON file, rows are added")
    return parser.parse_args()


def standardised(points):
    z = (points - points.mean(0)) / points.std(0)
    return (z - z.mean(1, keepdims=True)).astype(np.float32)


class Clock:
    """Wall and CPU seconds and peak memory of the steps."""

    def __init__(self):
        self.rows = []
        self.start()

    def start(self):
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def step(self, name, **more):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        wall, cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu
        self.rows.append(
            {
                "step": name,
                "wall_s": round(wall, 1),
                "cpu_s": round(cpu, 1),
                "peak_GiB": round(peak, 2),
                **more,
            }
        )
        print(self.rows[-1], flush=True)
        self.start()


def score(truth, labels, count):
    """Hits, mean overlap and false clusters of one method."""
    best = best_jaccard(truth, labels)
    shares = [(truth[labels == k] < 0).mean() for k in range(count)]
    return {
        "hits": int((best >= 0.9).sum()),
        "overlap": float(best.mean()),
        "clusters": count,
        "false": int(sum(s > 0.5 for s in shares)),
    }


def relabelled(labels, min_size=20):
    """Labels 0.. of the groups of at least ``min_size`` points, -1 for the rest."""
    names, counts = np.unique(labels[labels >= 0], return_counts=True)
    kept = {n: i for i, n in enumerate(names[counts >= min_size].tolist())}
    return np.array([kept.get(n, -1) for n in labels.tolist()], dtype=np.int32), len(kept)


def ours(points, near, kind, effort):
    settings = ClusterSettings(graph=kind)
    walk = settings.walk_on(len(points))
    graph = neighbour_graph(near, kind)
    phi_max = threshold(points, walk, k=45, kind=kind, null="copula", seed=1).phi_max
    found = merged(
        graph,
        search(graph, walk, effort, phi_max=phi_max, seed=0).cuts,
        phi_max=phi_max,
        min_size=20,
    )
    return found.labels, found.count


def leiden(near, kind, resolution):
    """Communities of the whole graph; those that hold over 5 % of the points are body."""
    import igraph
    import leidenalg

    graph = neighbour_graph(near, kind)
    first = np.repeat(np.arange(graph.nodes), graph.degrees)
    once = first < graph.ends
    whole = igraph.Graph(graph.nodes, np.stack([first[once], graph.ends[once]], 1).tolist())
    found = leidenalg.find_partition(
        whole,
        leidenalg.RBConfigurationVertexPartition,
        resolution_parameter=resolution,
        seed=0,
        n_iterations=2,
    )
    labels = np.array(found.membership)
    sizes = np.bincount(labels)
    return relabelled(np.where(sizes[labels] > 0.05 * len(labels), -1, labels))


def hdbscan(points, way):
    from sklearn.cluster import HDBSCAN

    return relabelled(HDBSCAN(min_cluster_size=20, cluster_selection_method=way, copy=True).fit(points).labels_)


def recovery(plan, seed, *, with_hdbscan):
    """Every method on one planted set; Leiden and HDBSCAN with several settings."""
    cloud = clumped(plan, seed=seed)
    points = standardised(cloud.points)
    start = time.process_time()
    near = nearest(points, 45, seed=seed)
    shared = time.process_time() - start
    methods = {
        "PageRank cuts, mutual graph": lambda: ours(points, near, "mutual", Effort(patience=500)),
        "PageRank cuts, union graph": lambda: ours(points, near, "union", Effort(patience=500)),
        **{f"Leiden, mutual graph, resolution {r}": lambda r=r: leiden(near, "mutual", r) for r in (1, 10, 100)},
        **{f"Leiden, union graph, resolution {r}": lambda r=r: leiden(near, "union", r) for r in (1, 10, 100)},
    }
    if with_hdbscan:
        methods |= {f"HDBSCAN, {way}": lambda way=way: hdbscan(points, way) for way in ("eom", "leaf")}
    rows = []
    for name, method in methods.items():
        start = time.process_time()
        labels, count = method()
        seconds = time.process_time() - start + (0 if "HDBSCAN" in name else shared)
        rows.append(
            {
                "method": name,
                "points": plan.points,
                "clumps": plan.clumps,
                "seed": seed,
                **score(cloud.labels, labels, count),
                "cpu_s": round(seconds, 1),
            }
        )
        print(rows[-1], flush=True)
    return rows


def scaling(given):
    """One clustering of a planted cloud, step by step."""
    clock = Clock()
    plan = ClumpPlan(points=given.points, clumps=max(8, given.points // 2500), largest=3000)
    cloud = clumped(plan, seed=0)
    points = standardised(cloud.points)
    clock.step("points", points=given.points)
    path = given.keep / f"near-{given.points}.npy" if given.keep else None
    near = np.load(path) if path and path.exists() else nearest(points, 45, seed=0)
    clock.step("neighbours, k = 45")
    if path and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, near)
    clock.start()
    graph = neighbour_graph(near)
    clock.step("mutual graph", edges=graph.volume // 2)
    walk = Walk(min_degree=45 / 4)
    phi_max = threshold(points, walk, k=45, kind="mutual", null="copula", seed=0).phi_max
    clock.step("threshold on the null cloud", phi_max=round(phi_max, 4))
    effort = Effort(threads=given.threads, most=given.most, patience=given.most, least_share=1e-4)
    found = search(graph, walk, effort, phi_max=phi_max, seed=0)
    clock.step("search", seeds=found.tried, cuts=len(found.cuts))
    partition = merged(graph, found.cuts, phi_max=phi_max, min_size=20)
    clock.step("merging", clusters=partition.count)
    result = score(cloud.labels, partition.labels, partition.count)
    print(result)
    return [*clock.rows, {"planted": plan.clumps, **result}]


def main():
    given = arguments()
    if given.points:
        rows = scaling(given)
    else:
        plan = ClumpPlan() if given.full else SMALL
        rows = [row for seed in range(given.seeds) for row in recovery(plan, seed, with_hdbscan=not given.full)]
    if given.out:
        known = json.loads(given.out.read_text()) if given.out.exists() else []
        given.out.write_text(json.dumps(known + rows, indent=1))


if __name__ == "__main__":
    main()
