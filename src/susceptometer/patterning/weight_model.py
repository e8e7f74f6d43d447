"""Carrying weights over to data that were not measured: a regression on features that any token has."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from susceptometer.errors import DataError

Array = NDArray[np.float64]

FOLDS = 5


@dataclass(frozen=True, eq=False)
class WeightModel:
    """Standardised dh as a function of features, by boosted trees; made by `fit_weights`.

    Args:
        trees: The fitted regressor.
        scale: Deviation of its predictions over the measured data, so that `scores` has deviation one there.
        center: Their mean.
        explained: R^2 on rows that the fit did not see, one per fold ``[5]``.
        ceiling: Correlation of dh between disjoint halves of the chains: what R^2 could reach is about its
            Spearman-Brown value.
    """

    trees: Any
    scale: float
    center: float
    explained: Array
    ceiling: float

    def scores(self, features: Array) -> Array:
        """Standardised dh of new data, ``[..., features] -> [...]``."""
        flat = self.trees.predict(features.reshape(-1, features.shape[-1]))
        return np.asarray((flat - self.center) / self.scale).reshape(features.shape[:-1])

    def __repr__(self) -> str:
        error = self.explained.std(ddof=1) / np.sqrt(len(self.explained))
        return (
            f"weight model: R² {self.explained.mean():.3f} ± {error:.3f} on unseen rows; "
            f"the chains' own halves correlate {self.ceiling:.2f}"
        )


def fit_weights(features: Array, shift: Array, rows: NDArray[np.integer], *, ceiling: float, seed: int) -> WeightModel:
    """Learn dh from features on the measured data; test on whole rows that were held out.

    Args:
        features: ``[data, features]``; NaN is allowed.
        shift: dh ``[data]``.
        rows: Row of each datum ``[data]``: rows are held out together, since their tokens share context.
        ceiling: Agreement of dh between halves of the chains.
        seed: Of the trees.

    Raises:
        DataError: Shapes differ, or dh is constant.
    """
    from sklearn.model_selection import GroupKFold

    if features.shape[0] != len(shift) or rows.shape != shift.shape or float(shift.std()) == 0:
        raise DataError(
            "features and dh do not fit",
            where="fit_weights",
            value=(features.shape, shift.shape, rows.shape),
            why="each measured datum needs its features and its dh",
            do="make both from the same reading",
        )
    wanted = (shift - shift.mean()) / shift.std()
    explained = []
    for train, test in GroupKFold(FOLDS).split(features, groups=rows):
        guess = _trees(seed).fit(features[train], wanted[train]).predict(features[test])
        explained.append(1 - ((wanted[test] - guess) ** 2).mean() / wanted[test].var())
    trees = _trees(seed).fit(features, wanted)
    made = trees.predict(features)
    return WeightModel(trees, float(made.std()), float(made.mean()), np.array(explained), ceiling)


def _trees(seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor

    return HistGradientBoostingRegressor(
        max_iter=120, max_leaf_nodes=15, learning_rate=0.06, min_samples_leaf=30, random_state=seed
    )
