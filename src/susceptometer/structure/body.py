"""Shape of the cloud of token vectors: the width of its second pair along its first, and its fin of spacing tokens."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from susceptometer.errors import DataError
from susceptometer.rng import stream_seed
from susceptometer.structure.controls import held_out_r2
from susceptometer.structure.response import Response
from susceptometer.structure.spectrum import GroupGram, principal
from susceptometer.structure.standardise import Kind, standardisation

Floats = NDArray[np.floating]

BINS = 20
"""Quantile bins of the first pair."""

SHUFFLES = 19
"""Permutations of the run lengths behind a null."""


@dataclass(frozen=True)
class Width:
    """Width of the second pair within bins of the first (reading 7.3), chain noise removed.

    Args:
        value: sd of pair-2 scores within a bin, root of the mean square over bins; standardised units.
        relative: The same over the sd of pair-1 scores over all tokens: thin is near 0.
        repeats: Bootstrap values of (value, relative), ``[bootstraps, 2]``.
    """

    value: float
    relative: float
    repeats: Floats

    def interval(self, level: float = 0.95) -> Floats:
        """Percentile interval of value and relative, ``[2, 2]``: lower and upper row."""
        tail = (1 - level) / 2
        return np.quantile(self.repeats, [tail, 1 - tail], axis=0)

    @property
    def error(self) -> Floats:
        """Bootstrap standard errors of value and relative, ``[2]``."""
        return self.repeats.std(0, ddof=1)


def body_width(
    response: Response, kind: Kind = "columns", *, seed: int, bootstraps: int = 100, pair: Floats | None = None
) -> Width:
    r"""Width of the body (wang2025: thickness): sd of pair 2 within quantile bins of pair 1.

        width^2 = mean over bins of the within-bin covariance of pair-2 scores between different groups

    The product of two groups has the signal's variance and none of the chains' noise, so a noisy reading is not a
    wide body. Standardisation and pairs are made again for every bootstrap of the groups; scores of a resample are
    those of its own groups, and two copies of one group never make a product.

    Args:
        response: One checkpoint.
        kind: Standardisation.
        seed: Names the bootstrap.
        bootstraps: Repetitions.
        pair: A fixed direction ``[components]`` instead of this checkpoint's own second pair.
    """
    matrix = response.matrix()
    gram, groups = GroupGram.of(matrix), len(matrix)
    rng = np.random.default_rng(stream_seed(seed, "bootstrap of the width"))
    picks = [np.arange(groups), *(_two_groups_at_least(rng, groups) for _ in range(bootstraps))]
    found = np.array([_width(matrix, gram, pick, kind, pair) for pick in picks])
    return Width(float(found[0, 0]), float(found[0, 1]), found[1:])


def _two_groups_at_least(rng: np.random.Generator, groups: int) -> NDArray[np.intp]:
    pick = rng.integers(groups, size=groups)
    while len(np.unique(pick)) < 2:
        pick = rng.integers(groups, size=groups)
    return pick


def _width(
    matrix: Floats, gram: GroupGram, pick: NDArray[np.intp], kind: Kind, pair: Floats | None
) -> tuple[float, float]:
    share = np.bincount(pick, minlength=len(matrix)) / len(pick)
    _, loading = principal(gram.standardised(share, kind), 2)
    fitted = standardisation(np.einsum("g,gnh->nh", share, matrix), kind)
    used = np.flatnonzero(share)
    scores = fitted(matrix[used]) @ np.stack([loading[0], loading[1] if pair is None else pair], 1)
    first = np.einsum("g,gn->n", share[used], scores[:, :, 0])
    bins = np.minimum(BINS - 1, (BINS * first.argsort().argsort()) // len(first))
    square = between_groups(_less_bin_means(scores[:, :, 1], bins), share[used])
    long = between_groups(scores[:, :, 0] - scores[:, :, 0].mean(1, keepdims=True), share[used])
    width, length = np.sqrt(max(0.0, square)), np.sqrt(max(1e-300, long))
    return float(width), float(width / length)


def between_groups(centred: Floats, share: Floats) -> float:
    """Mean over tokens of the products of different groups ``[groups, tokens]``, weighted by ``share``."""
    mean = share @ centred
    own = (share**2) @ (centred**2)
    return float((mean**2 - own).mean() / (1 - (share**2).sum()))


def _less_bin_means(scores: Floats, bins: NDArray[np.intp]) -> Floats:
    """Scores ``[groups, tokens]`` less their group's mean in the token's bin, scaled for the lost means."""
    count = np.bincount(bins, minlength=BINS)
    means = np.stack([np.bincount(bins, one, BINS) / np.maximum(count, 1) for one in scores])
    return (scores - means[:, bins]) * np.sqrt(count[bins] / np.maximum(count[bins] - 1, 1))


@dataclass(frozen=True)
class Fin:
    """How well chi tells the run length before a spacing token.

    Args:
        r2: Held-out R^2 of log(1 + run) from all columns.
        error: Delete-one-fold jackknife error of it.
        null: The same with run lengths permuted among the tokens: mean and 95 % quantile.
        baseline: Held-out R^2 from what is known without chi (e.g. token identity, position).
        partial: Share of the baseline's unexplained variance that chi explains, held out.
        pairs: Held-out R^2 of log(1 + run) from each pair's score alone, ``[pcs]``.
        tokens: How many spacing tokens.
    """

    r2: float
    error: float
    null: tuple[float, float]
    baseline: float
    partial: float
    pairs: Floats
    tokens: int


def spacing_fin(
    vectors: Floats,
    runs: NDArray[np.integer],
    rows: NDArray[np.integer],
    *,
    seed: int,
    pairs: Floats,
    baseline: Floats,
) -> Fin:
    r"""R^2 of log(1 + run) from susceptibility vectors of spacing tokens, by held-out rows (wang2025: spacing fin).

    Args:
        vectors: Standardised chi of the spacing tokens ``[tokens, components]``.
        runs: White-space tokens immediately before each ``[tokens]``.
        rows: Row (document) of each; whole rows are held out ``[tokens]``.
        seed: Names permutations and folds.
        pairs: Scores on the principal pairs ``[tokens, pcs]``.
        baseline: Features known without chi ``[tokens, features]``.

    Raises:
        DataError: Fewer than 40 tokens, one row, or all runs equal.
    """
    target = np.log1p(runs.astype(float))
    if len(target) < 40 or len(np.unique(rows)) < 2 or np.ptp(target) == 0:
        raise DataError(
            "too few spacing tokens for a fin",
            where="spacing_fin",
            value=f"{len(target)} tokens in {len(np.unique(rows))} rows, {len(np.unique(runs))} run lengths",
            why="run lengths are predicted on rows the fit has not seen",
            do="read text with indents or tables",
        )
    rng = np.random.default_rng(stream_seed(seed, "spacing fin"))
    folds = fold_of_rows(rows, rng)
    r2 = held_out_r2(vectors, target, folds)
    rest = [folds != fold for fold in np.unique(folds)]
    left = np.array([held_out_r2(vectors[r], target[r], folds[r]) for r in rest])
    null = [held_out_r2(vectors, rng.permutation(target), folds) for _ in range(SHUFFLES)]
    base = held_out_r2(baseline, target, folds)
    both = held_out_r2(np.concatenate([baseline, vectors], 1), target, folds)
    spread = np.sqrt((len(left) - 1) / len(left) * ((left - left.mean()) ** 2).sum())
    alone = [held_out_r2(pairs[:, [k]], target, folds) for k in range(pairs.shape[1])]
    return Fin(
        r2, float(spread), (float(np.mean(null)), float(np.quantile(null, 0.95))), base,
        float((both - base) / (1 - base)), np.array(alone), len(target),
    )  # fmt: skip


def fold_of_rows(rows: NDArray[np.integer], rng: np.random.Generator, folds: int = 5) -> NDArray[np.intp]:
    """Fold of every token; tokens of a row share it, rows are dealt out by size: ``[tokens]``."""
    names, place, count = np.unique(rows, return_inverse=True, return_counts=True)
    order = np.lexsort((rng.permutation(len(names)), -count))
    fold, load = np.empty(len(names), dtype=np.intp), np.zeros(min(folds, len(names)))
    for row in order:
        fold[row] = load.argmin()
        load[fold[row]] += count[row]
    return fold[place]
