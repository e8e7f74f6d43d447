r"""How much of some functions of tokens the first modes of the data explain: nested ridge regressions, held out.

chi_xy = sum_ab u_a(x) v_b(y) chi_ab (baker2025; `mode_expansion`): if few modes of the data carried a principal pair,
its scores would be linear in the values of these modes. Features are ordered, so one pass of second moments gives the
fit of every number of first features.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from susceptometer.errors import DataError
from susceptometer.rng import stream_seed
from susceptometer.structure.controls import PENALTIES

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]

BOOTSTRAPS = 200
"""Resamples of the rows behind an error."""

SAME = 1e-9
"""A feature whose spread is below this share of the largest is taken as constant."""


@dataclass(frozen=True)
class Explained:
    """Held-out R² of every target by the first features.

    Args:
        counts: Numbers of features ``[counts]``.
        value: R² ``[counts, targets]``; negative where the fit is worse than the mean.
        repeats: R² on resampled rows with the fits held fixed ``[bootstraps, counts, targets]``; equal seeds resample
            the same rows, so differences of two feature sets are paired.
    """

    counts: Ints
    value: Floats
    repeats: Floats

    @property
    def error(self) -> Floats:
        """Bootstrap standard errors over rows ``[counts, targets]``."""
        return self.repeats.std(0, ddof=1)


def explained(
    features: Floats, targets: Floats, rows: Ints, counts: Sequence[int], *, seed: int, folds: int = 5
) -> Explained:
    """Ridge fits on the first ``counts`` features; whole rows (passages) are held out and resampled.

    The penalty of every target is the one of `PENALTIES` that predicts best inside the other folds.

    Args:
        features: ``[samples, features]``, most important first.
        targets: ``[samples, targets]``.
        rows: Row of every sample ``[samples]``.
        counts: Numbers of first features.
        seed: Names the folds and the bootstrap.
        folds: Parts of the rows, each predicted from the rest.

    Raises:
        DataError: Fewer than three rows, or a count beyond the features.
    """
    names, place = np.unique(rows, return_inverse=True)
    place = place.ravel()
    if len(names) < 3 or max(counts) > features.shape[1] or min(counts) < 1:
        raise DataError(
            "nothing to fit",
            where="explained",
            value=(len(names), features.shape, tuple(counts)),
            why="rows are held out, and counts name first features",
            do="give at least three rows, and counts from 1 to the number of features",
        )
    moments = _Moments(features, targets, _folds(rows, folds, seed))
    left = np.array([_by_row((targets - moments.predicted(k)) ** 2, place) for k in counts])
    size = np.bincount(place)
    draw = np.random.default_rng(stream_seed(seed, "bootstrap over rows"))
    weights = np.concatenate(
        [np.ones((1, len(names))), draw.multinomial(len(names), np.ones(len(names)) / len(names), size=BOOTSTRAPS)]
    )
    first, second = weights @ _by_row(targets, place), weights @ _by_row(targets**2, place)
    spread = second - first**2 / (weights @ size)[:, None]
    found = 1 - np.einsum("br,krt->bkt", weights, left) / spread[:, None]
    return Explained(np.asarray(counts), found[0], found[1:])


def held_out_fit(features: Floats, targets: Floats, rows: Ints, *, seed: int, folds: int = 5) -> Floats:
    """Predictions ``[samples, targets]`` of the same ridge on all features, each fold of rows from the others."""
    return _Moments(features, targets, _folds(rows, folds, seed)).predicted(features.shape[1])


def canonical_correlations(first: Floats, second: Floats) -> Floats:
    """Canonical correlations of two sets of functions of the same samples ``[samples, a]`` and ``[samples, b]``."""
    bases = []
    for values in (first, second):
        left, size, _ = np.linalg.svd(values - values.mean(0), full_matrices=False)
        bases.append(left[:, size > SAME * size[0]])
    return np.linalg.svd(bases[0].T @ bases[1], compute_uv=False).clip(max=1.0)


def within_rows(rows: Ints, *, seed: int) -> NDArray[np.intp]:
    """A permutation of the samples that keeps every sample in its row, ``[samples]``: the null of no relation."""
    draw = np.random.default_rng(stream_seed(seed, "permuted within rows"))
    target, source = np.lexsort((np.arange(len(rows)), rows)), np.lexsort((draw.random(len(rows)), rows))
    out = np.empty(len(rows), dtype=np.intp)
    out[target] = source
    return out


def _folds(rows: Ints, folds: int, seed: int) -> Ints:
    """Fold of every sample; whole rows go together."""
    names, place = np.unique(rows, return_inverse=True)
    draw = np.random.default_rng(stream_seed(seed, "mode folds"))
    return (draw.permutation(len(names)) % min(folds, len(names)))[place.ravel()]


class _Moments:
    """Second moments of standardised features and centred targets by fold."""

    def __init__(self, features: Floats, targets: Floats, folds: Ints) -> None:
        spread = features.std(0)
        flat = spread <= SAME * spread.max()
        self.features = np.where(flat, 0.0, (features - features.mean(0)) / np.where(flat, 1.0, spread))
        self.mean = targets.mean(0)
        centred = targets - self.mean
        self.parts = [np.flatnonzero(folds == fold) for fold in np.unique(folds)]
        self.grams = np.stack([self.features[p].T @ self.features[p] for p in self.parts])
        self.sides = np.stack([self.features[p].T @ centred[p] for p in self.parts])
        self.squares = np.stack([(centred[p] ** 2).sum(0) for p in self.parts])

    def predicted(self, count: int) -> Floats:
        """Predictions ``[samples, targets]`` from the first ``count`` features."""
        grams, sides = self.grams[:, :count, :count], self.sides[:, :count]
        out = np.empty((len(self.features), sides.shape[2]))
        for k, part in enumerate(self.parts):
            inner = [i for i in range(len(self.parts)) if i != k]
            best = _best(grams[inner], sides[inner], self.squares[inner])
            fits = _ridge_path(grams[inner].sum(0), sides[inner].sum(0))
            weights = np.take_along_axis(fits, best[None, None], 0)[0]
            out[part] = self.mean + self.features[part][:, :count] @ weights
        return out


def _best(grams: Floats, sides: Floats, squares: Floats) -> NDArray[np.intp]:
    """Number of the penalty of least squared error over the folds, each predicted from the rest, ``[targets]``."""
    errors = np.zeros((len(PENALTIES), sides.shape[2]))
    for k in range(len(grams)):
        fits = _ridge_path(grams.sum(0) - grams[k], sides.sum(0) - sides[k])
        for i, weights in enumerate(fits):
            errors[i] += (weights * (grams[k] @ weights - 2 * sides[k])).sum(0) + squares[k]
    return errors.argmin(0)


def _ridge_path(gram: Floats, side: Floats) -> Floats:
    """Weights for every penalty ``[penalties, features, targets]`` from one eigendecomposition."""
    values, vectors = np.linalg.eigh(gram)
    samples = max(float(np.diag(gram).max()), 1.0)  # features have unit spread
    turned = vectors.T @ side
    return np.stack([vectors @ (turned / (values.clip(min=0) + p * samples)[:, None]) for p in PENALTIES])


def _by_row(values: Floats, place: Ints) -> Floats:
    """Sums of ``[samples, targets]`` over the samples of each row, ``[rows, targets]``."""
    out = np.zeros((place.max() + 1, values.shape[1]))
    np.add.at(out, place, values)
    return out
