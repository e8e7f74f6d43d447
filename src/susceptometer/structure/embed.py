"""Maps of token vectors in the plane by UMAP, one checkpoint started from another's map, with their faithfulness."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from numpy.typing import NDArray
from sklearn.manifold import trustworthiness
from sklearn.neighbors import NearestNeighbors

from susceptometer.errors import DataError
from susceptometer.rng import stream_seed

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class MapSetting:
    """Settings of one map (mcinnes2018).

    Args:
        neighbours: Nearest neighbours that count as near.
        min_dist: How close points may lie.
        metric: ``euclidean`` or ``cosine``.
    """

    neighbours: int = 45
    min_dist: float = 0.1
    metric: str = "euclidean"


GRID = tuple(
    MapSetting(near, gap, metric)
    for near in (15, 45, 100, 300) for gap in (0.0, 0.1, 0.5) for metric in ("euclidean", "cosine")
)  # fmt: skip
"""Settings over which a finding must be stable before it is reported (reading 7.1)."""


def embed(vectors: Floats, setting: MapSetting | None = None, *, seed: int, start: Floats | None = None) -> Floats:
    """A map ``[tokens, 2]`` of standardised token vectors ``[tokens, components]``.

    Args:
        vectors: Finite, standardised.
        setting: None: `MapSetting()`.
        seed: Fixes the map (on one machine and library version).
        start: Where the points begin ``[tokens, 2]``; None: the first two principal coordinates.

    Raises:
        DataError: umap-learn is not installed, there are too few tokens, or a value is not finite.
    """
    setting = setting or MapSetting()
    _require_mappable(vectors, setting)
    begin = _plane(vectors) if start is None else start
    scaled = 10.0 * (begin - begin.min(0)) / np.maximum(np.ptp(begin, axis=0), 1e-12)
    model = _umap().UMAP(
        n_neighbors=setting.neighbours, min_dist=setting.min_dist, metric=setting.metric, n_components=2,
        init=scaled.astype(np.float32), random_state=stream_seed(seed, "umap") % 2**31, n_jobs=1,
    )  # fmt: skip
    return np.asarray(model.fit_transform(vectors), dtype=float)


def embed_over_time(checkpoints: Sequence[Floats], setting: MapSetting | None = None, *, seed: int) -> list[Floats]:
    """One map per checkpoint of the same tokens, each started from its successor's, the last one from its plane.

    Backwards, because the last map has the structure that is to be followed to its origin.
    """
    maps: list[Floats] = []
    for vectors in reversed(checkpoints):
        found = embed(vectors, setting, seed=seed, start=maps[-1] if maps else None)
        maps.append(turned_onto(found, maps[-1]) if maps else found)
    return maps[::-1]


def turned_onto(points: Floats, target: Floats) -> Floats:
    """``points`` turned, reflected and shifted (not scaled) to lie as near ``target`` as they can: ``[n, 2]``."""
    a, b = points - points.mean(0), target - target.mean(0)
    left, _, right = np.linalg.svd(a.T @ b)
    return a @ left @ right + target.mean(0)


@dataclass(frozen=True)
class MapQuality:
    """How faithful a map is; all between 0 and 1, 1 best.

    Args:
        trustworthiness: Neighbours in the map that are neighbours in the vectors, by rank (venna2001).
        continuity: Neighbours in the vectors that are neighbours in the map, by rank.
        purity: Share of the 15 nearest neighbours of the same class, in the vectors and in the map.
        chance: Share of the same class among all other tokens: what shuffled vectors give.
    """

    trustworthiness: float
    continuity: float
    purity: tuple[float, float]
    chance: float


NEAREST = 15


def map_quality(
    vectors: Floats, points: Floats, classes: NDArray[np.integer], *, metric: str = "euclidean"
) -> MapQuality:
    """Faithfulness of a map ``[tokens, 2]`` of ``vectors``, with a class per token."""
    share = np.bincount(classes) / len(classes)
    return MapQuality(
        trustworthiness=float(trustworthiness(vectors, points, n_neighbors=NEAREST, metric=metric)),
        continuity=float(trustworthiness(points, vectors, n_neighbors=NEAREST)),
        purity=(purity(vectors, classes, metric=metric), purity(points, classes)),
        chance=float(((share * len(classes) - 1) / (len(classes) - 1) * share).sum()),
    )


def purity(vectors: Floats, classes: NDArray[np.integer], *, metric: str = "euclidean") -> float:
    """Mean share of the `NEAREST` nearest other tokens that have the same class."""
    index = NearestNeighbors(n_neighbors=NEAREST + 1, metric=metric).fit(vectors)
    near = index.kneighbors(return_distance=False, n_neighbors=NEAREST)
    return float((classes[near] == classes[:, None]).mean())


def _plane(vectors: Floats) -> Floats:
    left, size, _ = np.linalg.svd(vectors - vectors.mean(0), full_matrices=False)
    return left[:, :2] * size[:2]


def _umap() -> ModuleType:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ImportWarning)  # it says that tensorflow is absent
            import umap
    except ImportError as error:
        raise DataError(
            "the library umap-learn is not installed",
            where="embed",
            why="it makes the maps",
            do="pip install 'susceptometer[umap]'",
        ) from error
    return umap


def _require_mappable(vectors: Floats, setting: MapSetting) -> None:
    if len(vectors) <= max(setting.neighbours, NEAREST) or not np.isfinite(vectors).all():
        raise DataError(
            "these vectors cannot be mapped",
            where="embed",
            value=f"{vectors.shape[0]} tokens, {(~np.isfinite(vectors)).sum()} values not finite",
            why=f"every token needs {setting.neighbours} neighbours at finite distance",
            do="use fewer neighbours or more tokens, and look for failed chains",
        )
