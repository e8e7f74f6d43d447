"""Does a cluster come back: overlap of partitions made from other chains, other seeds, or shuffled labels."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from susceptometer.rng import stream_seed
from susceptometer.structure.merge import BODY

Labels = NDArray[np.int32]


def best_jaccard(labels: Labels, other: Labels) -> NDArray[np.float64]:
    """Largest |A and B| / |A or B| of every cluster A of ``labels`` with a cluster B of ``other``, ``[clusters]``.

    Args:
        labels: Cluster of each point, -1 for none, ``[points]``.
        other: The same of another partition of the same points.
    """
    count = int(labels.max(initial=BODY)) + 1
    sizes, others = (np.bincount(found[found >= 0]) for found in (labels, other))
    both = (labels >= 0) & (other >= 0)
    if count == 0 or not both.any():
        return np.zeros(count)
    pairs = (labels[both], other[both])
    shared = sparse.coo_array((np.ones(both.sum()), pairs), (count, len(others))).tocsr().tocoo()
    rows, columns = shared.coords
    union = sizes[rows] + others[columns] - shared.data
    best = np.zeros(count)
    np.maximum.at(best, rows, shared.data / union)
    return best


def shuffled_jaccard(labels: Labels, other: Labels, *, seed: int) -> NDArray[np.float64]:
    """`best_jaccard` with the points of ``other`` permuted: what clusters of these sizes share by chance."""
    draw = np.random.default_rng(stream_seed(seed, "shuffled clusters"))
    return best_jaccard(labels, draw.permutation(other))
