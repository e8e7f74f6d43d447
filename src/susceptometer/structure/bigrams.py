"""How often a token follows another in a corpus: the measure of what is common and what is rare."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.integer]

MOST, LEAST_SEEN = 1000, 3
"""A common pair is among the `MOST` most frequent and was seen `LEAST_SEEN` times."""


@dataclass(frozen=True)
class Bigrams:
    """Counts of adjacent pairs.

    Args:
        codes: Sorted pair codes, first id x width + second id, ``[pairs]``.
        counts: How often each was seen, ``[pairs]``.
        before: How often each id was seen as the first of a pair, ``[width]``.
    """

    codes: NDArray[np.int64]
    counts: NDArray[np.int64]
    before: NDArray[np.int64]

    @classmethod
    def of(cls, rows: Ids) -> "Bigrams":
        """Pairs within the rows ``[rows, K]`` of a corpus, never across them."""
        first, second = rows[:, :-1].ravel().astype(np.int64), rows[:, 1:].ravel().astype(np.int64)
        width = int(rows.max(initial=0)) + 1
        codes, counts = np.unique(first * width + second, return_counts=True)
        return cls(codes, counts, np.bincount(first, minlength=width))

    def common(self, rows: Ids) -> NDArray[np.bool_]:
        """Whether each token makes a common pair with its predecessor: ``[rows, K]``; False in the first column."""
        rank = np.argsort(-self.counts, kind="stable")[:MOST]
        chosen = self.codes[rank[self.counts[rank] >= LEAST_SEEN]]
        return self._after(np.isin(self._codes(rows), chosen), False, rows.shape)

    def probability(self, rows: Ids) -> NDArray[np.float64]:
        """P(token given its predecessor) in the corpus, ``[rows, K]``; 0 for unseen pairs, 1 in the first column."""
        codes = self._codes(rows)
        place = np.searchsorted(self.codes, codes).clip(max=max(0, len(self.codes) - 1))
        known = self.codes[place] == codes if len(self.codes) else np.zeros(codes.shape, dtype=bool)
        first = rows[:, :-1]
        total = np.where(first < len(self.before), self.before[first.clip(max=len(self.before) - 1)], 0)
        shares = np.where(known, self.counts[place], 0) / np.maximum(total, 1) if len(self.codes) else 0.0 * codes
        return self._after(shares, 1.0, rows.shape)

    def _codes(self, rows: Ids) -> NDArray[np.int64]:
        """Codes of all pairs, ``[rows, K - 1]``; -1 where an id never came first or second."""
        width = len(self.before)
        first, second = rows[:, :-1].astype(np.int64), rows[:, 1:].astype(np.int64)
        return np.where((first < width) & (second < width), first * width + second, -1)

    def _after(self, values: NDArray, start: float, shape: tuple[int, ...]) -> NDArray:
        out = np.full(shape, start, dtype=values.dtype)
        out[:, 1:] = values
        return out
