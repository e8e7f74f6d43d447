r"""Counts of contexts and next tokens in a corpus: a sparse table, its counting noise, and modes from it.

c_xy counts output y after context x, c_x = sum_y c_xy, N = sum_x c_x; A_hat[y, x] = c_xy / sqrt(c_x N) is kept sparse,
one entry per pair that occurs, so 10^6 contexts fit. Rare contexts lie: if every context occurs once the "modes" are
one per token with s_y² = q(y), whatever the data; hence the unbiased Gram matrix, the floor and the coverage
(all derived).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import LinearOperator

from susceptometer.errors import DataError
from susceptometer.structure.modes import Modes, Variant, modes_of_gram
from susceptometer.testbed.form import Array

OVERSAMPLING = 16
DENSE_LIMIT = 2000
"""Vocabulary up to which the Gram matrix is decomposed densely."""


@dataclass(frozen=True, eq=False)
class CountTable:
    """Counts of (context, next token).

    Args:
        counts: c_xy, CSR ``[contexts, outputs]``, positive integers as float64.
        contexts: Tokens of every context ``[contexts, longest]``, oldest first, padded on the left with -1 where
            a shorter context stands in (back-off).

    Raises:
        DataError: The table is empty.
    """

    counts: sparse.csr_array
    contexts: Array

    def __post_init__(self) -> None:
        if self.counts.nnz == 0:
            raise DataError(
                "an empty table of counts",
                where="CountTable",
                value=self.counts.shape,
                why="a law cannot be estimated from nothing",
                do="give rows longer than the context",
            )

    @property
    def context_totals(self) -> Array:
        """c_x ``[contexts]``."""
        return np.asarray(self.counts.sum(1)).ravel()

    @property
    def total(self) -> float:
        """N."""
        return float(self.counts.sum())

    @property
    def output_law(self) -> Array:
        """q_hat(y) ``[outputs]``."""
        return np.asarray(self.counts.sum(0)).ravel() / self.total

    def coverage(self, least: int) -> float:
        """Share of all counts whose context occurs at least ``least`` times."""
        totals = self.context_totals
        return float(totals[totals >= least].sum() / self.total)

    def matrix(self) -> sparse.csr_array:
        """A_hat' ``[contexts, outputs]``: entry c_xy/sqrt(c_x N)."""
        return sparse.csr_array(sparse.diags_array(1 / np.sqrt(self.context_totals * self.total)) @ self.counts)

    def conditional(self, row: int) -> Array:
        """q_hat(.|x) of one context ``[outputs]``."""
        line = self.counts[[row]].toarray().ravel()
        return line / line.sum()

    def places(self, contexts: Array) -> NDArray[np.int64]:
        """Row of the longest stored suffix of every context, ``[rows]``; -1 where none is stored.

        Args:
            contexts: Tokens ``[rows, longest]``, oldest first, -1 where unknown.
        """
        width, found = self.counts.shape[1] + 1, np.full(len(contexts), -1)
        stored = _codes(self.contexts, width)
        order = np.argsort(stored)
        asked = np.array(contexts, dtype=np.int64)
        for known in range(asked.shape[1] + 1):  # forget the oldest tokens one by one
            asked[:, :known] = -1
            codes = _codes(asked, width)
            at = order[np.searchsorted(stored, codes, sorter=order).clip(max=len(stored) - 1)]
            found = np.where((found < 0) & (stored[at] == codes), at, found)
        return found

    def floor(self) -> float:
        r"""Counting noise in the spectral norm of A_hat (derived), with conditionals shrunk to the unigram law.

        sigma = ( sqrt(max_y sum_x q(1 - q)) + sqrt(max_x sum_y q(1 - q)) ) / sqrt(N),  q = q(y|x)
        """
        unigram, totals = self.output_law, self.context_totals
        shrink = 1 / (totals + 1)  # one pseudo-count of the unigram law
        keep = 1 - shrink
        scaled = sparse.csr_array(sparse.diags_array(keep / totals) @ self.counts)
        linear = np.asarray(scaled.sum(0)).ravel() + shrink.sum() * unigram
        square = np.asarray(scaled.multiply(scaled).sum(0)).ravel()
        square += 2 * unigram * np.asarray((sparse.diags_array(shrink) @ scaled).sum(0)).ravel()
        square += (shrink**2).sum() * unigram**2
        by_output = float((linear - square).max())
        own = np.asarray(scaled.multiply(scaled).sum(1)).ravel() + 2 * shrink * (scaled @ unigram)
        by_context = float((1 - own - shrink**2 * (unigram**2).sum()).max())
        return float((np.sqrt(by_output) + np.sqrt(by_context)) / np.sqrt(self.total))

    def gram(self) -> Array:
        """Plain Gram A_hat A_hat' ``[outputs, outputs]``; too large by the counting noise of rare contexts."""
        matrix = self.matrix()
        return (matrix.T @ matrix).toarray()

    def unbiased_gram(self) -> Array:
        """Mean over pairs of different occurrences, contexts with c_x >= 2 (derived): may have negative eigenvalues.

        G_hat = sum_x (c_x. c_x.' - diag(c_x.)) / (N (c_x - 1)); its mean is E_x[q q'] of the covered contexts.
        """
        totals = self.context_totals
        seen = np.flatnonzero(totals >= 2)
        if len(seen) == 0:
            raise DataError(
                "every context occurs once",
                where="unbiased_gram",
                value=len(totals),
                why="one occurrence says nothing about a conditional law",
                do="use shorter contexts or more text",
            )
        part, weight = self.counts[seen], 1 / (self.total * (totals[seen] - 1))
        square = (part.T @ sparse.diags_array(weight) @ part).toarray()
        return square - np.diag(part.T @ weight)

    def smoothed(self, amount: float) -> LinearOperator:
        """A' of additively smoothed counts as an operator ``[contexts, outputs]``: sparse plus rank one (derived)."""
        totals, outputs = self.context_totals, self.counts.shape[1]
        wide = totals + amount * outputs
        scaled = sparse.diags_array(totals / wide) @ self.matrix()
        shift = amount * np.sqrt(totals / self.total) / wide
        return LinearOperator(
            self.counts.shape, dtype=np.float64,
            matvec=lambda y: scaled @ y + shift * y.sum(),
            rmatvec=lambda x: scaled.T @ x + (shift @ x) * np.ones(outputs),
            matmat=lambda y: scaled @ y + np.outer(shift, y.sum(0)),
            rmatmat=lambda x: scaled.T @ x + np.outer(np.ones(outputs), shift @ x),
        )  # fmt: skip


def count_table(rows: Array, outputs: int, *, context: int, least: int = 1) -> CountTable:
    """Count next tokens after every context of ``context`` tokens.

    Args:
        rows: Token rows ``[rows, length]``; contexts do not cross rows.
        outputs: Size of the vocabulary.
        context: Tokens per context, at least 1.
        least: A context seen less often is replaced by its longest suffix that is not (at worst the empty one).

    Raises:
        DataError: A token is outside the vocabulary, or the rows are too short.
    """
    rows = np.asarray(rows, dtype=np.int64)
    if rows.size and (rows.min() < 0 or rows.max() >= outputs):
        value = (int(rows.min()), int(rows.max()))
        raise DataError("token outside the vocabulary", where="count_table", value=value, do=f"use 0..{outputs - 1}")
    if rows.ndim != 2 or rows.shape[1] <= context or context < 1:
        raise DataError(
            "rows too short for the context",
            where="count_table",
            value=(rows.shape, context),
            do="give rows [rows, length] with length > context >= 1",
        )
    windows = np.lib.stride_tricks.sliding_window_view(rows, context + 1, axis=1).reshape(-1, context + 1)
    before, after = windows[:, :-1].copy(), windows[:, -1]
    for known in range(context):  # forget the oldest token where the rest is seen too rarely
        _, which, seen = np.unique(before, axis=0, return_inverse=True, return_counts=True)
        before[seen[which] < least, known] = -1
    contexts, which = np.unique(before, axis=0, return_inverse=True)
    ones = np.ones(len(after))
    counts = sparse.coo_array((ones, (which.ravel(), after)), shape=(len(contexts), outputs))
    counts.sum_duplicates()
    return CountTable(sparse.csr_array(counts), contexts)


def _codes(contexts: Array, width: int) -> NDArray[np.int64]:
    """One number per context: its tokens, -1 included, as digits."""
    digits = np.asarray(contexts, dtype=np.int64) + 1
    return digits @ (width ** np.arange(digits.shape[1] - 1, -1, -1, dtype=np.int64))


def mode_values(table: CountTable, found: Modes, contexts: Array, outputs: Array) -> Array:
    """Propensity s_a u_a(y) v_a(x) of (context, output) pairs at counted conditionals, ``[rows, r]``.

    Rows sum over a to the truncated q(y|x). Contexts that were never counted take the unigram law.

    Args:
        table: Counts that give q(.|x), backed off to the longest stored suffix.
        found: Modes of these or of other counts over the same outputs.
        contexts: x, tokens ``[rows, longest]``, -1 where unknown.
        outputs: y ``[rows]``.
    """
    left, right = found.factors(found.rank)
    by_context = np.asarray(sparse.diags_array(1 / table.context_totals) @ (table.counts @ right))
    projected = np.concatenate([by_context, (table.output_law @ right)[None]])
    return left[np.asarray(outputs)] * projected[table.places(contexts)]


def modes_of_counts(table: CountTable, rank: int, *, variant: Variant = "l2", seed: int) -> Modes:
    """Modes of counted data, with the counting floor: unbiased Gram for small vocabularies, else a random sketch.

    Args:
        table: Counts.
        rank: How many at most; fewer where eigenvalues are not positive.
        variant: ``l2`` or ``chi2``.
        seed: Names the sketch; without effect for dense decompositions.

    Raises:
        DataError: No context occurs twice, or no mode is positive.
    """
    law, floor = table.output_law, table.floor()
    if table.counts.shape[1] <= DENSE_LIMIT:
        found = modes_of_gram(table.unbiased_gram(), law, variant=variant)
        kept = min(rank, found.rank)
        return Modes(variant, found.amplitude[:kept], found.vectors[:, :kept], law, None, floor)
    scale = np.ones_like(law) if variant == "l2" else np.divide(1, np.sqrt(law), out=np.zeros_like(law), where=law > 0)
    matrix = sparse.csr_array(table.matrix() @ sparse.diags_array(scale))
    amplitude, vectors = sketched_modes(matrix, rank, seed=seed)
    return Modes(variant, amplitude, vectors, law, None, floor)


def sketched_modes(
    matrix: sparse.csr_array | LinearOperator, rank: int, *, seed: int, power: int = 4
) -> tuple[Array, Array]:
    """Leading singular values and output vectors of A' ``[contexts, outputs]`` by a randomised range (halko2011).

    Returns:
        ``[rank]`` and ``[outputs, rank]``.
    """
    outputs = matrix.shape[1]
    basis = np.random.default_rng(seed).standard_normal((outputs, min(outputs, rank + OVERSAMPLING)))
    for _ in range(power + 1):
        basis = np.linalg.qr(matrix.T @ (matrix @ basis))[0]
    small = matrix @ basis
    values, vectors = np.linalg.eigh(small.T @ small)
    order = np.argsort(values)[::-1][:rank]
    return np.sqrt(np.clip(values[order], 0, None)), basis @ vectors[:, order]
