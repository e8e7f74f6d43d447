"""Do clusters of susceptibility and features of an autoencoder name the same tokens: held-out F1, with a null."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, stats

from susceptometer.errors import DataError
from susceptometer.rng import stream_seed

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
LEVELS = (0.3, 0.5, 0.7)
"""F1 from which a cluster counts as matched."""


@dataclass(frozen=True)
class Match:
    """The feature that names one cluster best; all figures on the held-out half.

    Args:
        feature: Chosen with its cut-off on the other half.
        cutoff: Activation from which the feature says yes.
        f1: 2 precision recall / (precision + recall).
        auroc: Chance that a token of the cluster activates the feature more than another.
        precision: At activation > 0.
        recall: At activation > 0.
        union_f1: Of the union of up to five features, chosen greedily.
        union: Those features.
    """

    feature: int
    cutoff: float
    f1: float
    auroc: float
    precision: float
    recall: float
    union_f1: float
    union: tuple[int, ...]


@dataclass(frozen=True)
class Matching:
    """All clusters against one dictionary.

    Args:
        matches: One per cluster.
        null: Held-out best F1 of every cluster with its labels permuted among equal next tokens,
            ``[permutations, clusters]``.
        identity: Held-out F1 of the best set of next tokens alone, ``[clusters]``: what token identity explains.
    """

    matches: tuple[Match, ...]
    null: Floats
    identity: Floats

    @property
    def f1(self) -> Floats:
        """``[clusters]``."""
        return np.array([match.f1 for match in self.matches])

    def share(self, level: float = 0.5) -> tuple[float, float, float]:
        """Share of clusters with F1 of at least ``level``, and its 95 % Wilson interval over clusters."""
        return wilson(int((self.f1 >= level).sum()), len(self.matches))

    def null_share(self, level: float = 0.5) -> tuple[float, float]:
        """The same share under the null: mean and largest over permutations."""
        shares = (self.null >= level).mean(1)
        return float(shares.mean()), float(shares.max())


def match_clusters(
    members: Sequence[NDArray[np.intp]],
    features: sparse.csc_array,
    tokens: NDArray[np.integer],
    rows: NDArray[np.integer],
    *,
    permutations: int = 20,
    seed: int,
) -> Matching:
    """The best feature of every cluster (reading.md 8.7).

    Feature and cut-off are chosen on the even rows, everything is judged on the odd ones.

    Args:
        members: Tokens of each cluster.
        features: Activations ``[tokens, features]``, nonnegative, sparse by columns.
        tokens: Id of every next token ``[tokens]``.
        rows: Row (document) of every token ``[tokens]``, numbered over all probes.
        permutations: Of the null.
        seed: Names its random stream.

    Raises:
        DataError: Shapes differ.
    """
    if not (features.shape[0] == len(tokens) == len(rows)):
        raise DataError(
            "features and tokens differ in number",
            where="match_clusters",
            value=(features.shape[0], len(tokens), len(rows)),
            why="a row of features is a token",
            do="encode the activations of the same rows",
        )
    learned = rows % 2 == 0
    halves = _Half(features, learned), _Half(features, ~learned)
    labels = np.zeros((len(members), len(tokens)), dtype=bool)
    for flags, chosen in zip(labels, members, strict=True):
        flags[chosen] = True
    matches = tuple(_match(flags, halves) for flags in labels)
    draw = np.random.default_rng(stream_seed(seed, "feature match null"))
    null = np.zeros((permutations, len(members)))
    for i in range(permutations):
        order = permuted_within(np.stack([tokens, learned], axis=1), draw)
        null[i] = [_held_out(flags[order], halves)[2] for flags in labels]
    identity = np.array([_identity(flags, tokens, learned) for flags in labels])
    return Matching(matches, null, identity)


def wilson(hits: int, total: int) -> tuple[float, float, float]:
    """A share and its 95 % Wilson interval; (0, 0, 1) of nothing."""
    if total == 0:
        return 0.0, 0.0, 1.0
    found = stats.binomtest(hits, total).proportion_ci(method="wilson")
    return hits / total, float(found.low), float(found.high)


def permuted_within(keys: NDArray[np.integer], draw: np.random.Generator) -> NDArray[np.intp]:
    """A random permutation that keeps every item among those of equal keys ``[items, keys]``."""
    _, group = np.unique(keys, axis=0, return_inverse=True)
    group = group.ravel()
    mixed = np.lexsort((draw.random(len(group)), group))
    order = np.empty(len(group), dtype=np.intp)
    order[np.argsort(group, kind="stable")] = mixed
    return order


class _Half:
    """Features on some tokens, every column sorted from its largest activation down."""

    def __init__(self, features: sparse.csc_array, chosen: Flags) -> None:
        self.chosen = chosen
        part = sparse.csc_array(features[np.flatnonzero(chosen)])
        column = np.repeat(np.arange(part.shape[1]), np.diff(part.indptr))
        order = np.lexsort((-part.data, column))
        self.part, self.starts, self.columns = part, part.indptr, column
        self.tokens, self.values = part.indices[order], part.data[order]
        self.rank = np.arange(len(order)) - self.starts[column] + 1
        tied = np.append((np.diff(self.values) == 0) & (np.diff(column) == 0), False)  # noqa: FBT003
        self.last = ~tied  # a cut-off takes all tokens of equal activation

    def true_positives(self, flags: Flags) -> Floats:
        """Tokens of the cluster among the first r of every column, for every r."""
        total = np.cumsum(flags[self.chosen][self.tokens])
        before = np.concatenate([[0], total])[self.starts[:-1]]
        return total - before[self.columns]

    def best(self, flags: Flags) -> tuple[int, float]:
        """Feature and cut-off of the largest F1."""
        count = int(flags[self.chosen].sum())
        f1 = np.where(self.last, 2 * self.true_positives(flags) / (self.rank + count), -1.0)
        if not len(f1) or count == 0:
            return 0, np.inf
        place = int(f1.argmax())
        return int(self.columns[place]), float(self.values[place])

    def column(self, feature: int) -> Floats:
        """One feature on the tokens of this half, ``[tokens]``."""
        return self.part[:, [feature]].toarray().ravel()


def _held_out(flags: Flags, halves: tuple[_Half, _Half]) -> tuple[int, float, float]:
    """Feature and cut-off from the first half, F1 on the second."""
    learned, judged = halves
    feature, cutoff = learned.best(flags)
    return feature, cutoff, f1_score(judged.column(feature) >= cutoff, flags[judged.chosen])


def _match(flags: Flags, halves: tuple[_Half, _Half]) -> Match:
    feature, cutoff, f1 = _held_out(flags, halves)
    judged = halves[1]
    truth, values = flags[judged.chosen], judged.column(feature)
    active = values > 0
    both = int((active & truth).sum())
    union, union_f1 = _greedy_union(flags, halves)
    return Match(
        feature, cutoff, f1, auroc(values, truth), both / max(1, int(active.sum())), both / max(1, int(truth.sum())),
        union_f1, union,
    )  # fmt: skip


def _greedy_union(flags: Flags, halves: tuple[_Half, _Half], most: int = 5) -> tuple[tuple[int, ...], float]:
    """Features added while the F1 of their union rises on the first half; F1 of that union on the second."""
    learned, judged = halves
    truth = flags[learned.chosen]
    said, judged_said = (
        np.zeros(len(truth), dtype=bool),
        np.zeros(int(judged.chosen.sum()), dtype=bool),
    )
    chosen: list[int] = []
    best = 0.0
    for _ in range(most):
        rest = flags.copy()
        rest[np.flatnonzero(learned.chosen)[said]] = False
        feature, cutoff = learned.best(rest)
        wider = said | (learned.column(feature) >= cutoff)
        value = f1_score(wider, truth)
        if value <= best:
            break
        best, said = value, wider
        judged_said |= judged.column(feature) >= cutoff
        chosen.append(feature)
    return tuple(chosen), f1_score(judged_said, flags[judged.chosen])


def _identity(flags: Flags, tokens: NDArray[np.integer], learned: Flags) -> float:
    """F1 on the second half of the set of next tokens that is best on the first (tokens by their share, greedily)."""
    names, code = np.unique(tokens, return_inverse=True)
    inside = np.bincount(code[learned], weights=flags[learned], minlength=len(names))
    every = np.bincount(code[learned], minlength=len(names))
    order = np.argsort(-inside / np.maximum(every, 1), kind="stable")
    f1 = 2 * np.cumsum(inside[order]) / np.maximum(np.cumsum(every[order]) + inside.sum(), 1)
    kept = np.zeros(len(names), dtype=bool)
    kept[order[: int(f1.argmax()) + 1]] = True
    return f1_score(kept[code][~learned], flags[~learned])


def f1_score(said: Flags, truth: Flags) -> float:
    """2 |said and truth| / (|said| + |truth|); 0 where both are empty."""
    return float(2 * (said & truth).sum() / max(1, said.sum() + truth.sum()))


def auroc(values: Floats, truth: Flags) -> float:
    """Chance that a true token has the larger value, ties counted half; 0.5 where a side is empty."""
    positive = int(truth.sum())
    negative = len(truth) - positive
    if positive == 0 or negative == 0:
        return 0.5
    ranks = stats.rankdata(values)[truth].sum()
    return float((ranks - positive * (positive + 1) / 2) / (positive * negative))
