r"""Principal modes of a conditional sequence law: its fundamental tensor C(x)_y = q(y|x), decomposed (chen2025).

In the space with <f, g> = sum_x q(x) sum_y f(x)_y g(x)_y the working matrix A[y, x] = q(y|x) sqrt(q(x)) has the
singular value decomposition A = U diag(s) W'; mode a has the output vector u_a = U[:, a], the context function
v_a(x) = W[x, a]/sqrt(q(x)) and the amplitude s_a, and q(y|x) = sum_a s_a u_a(y) v_a(x).

Two variants. ``l2``: as above; s_a² is the share of E_x sum_y q(y|x)². ``chi2``: B[y, x] = q(x, y)/sqrt(q(x) q(y));
then s_1 = 1 is the unigram law, the other s_a² sum to Pearson's phi-square, and every truncation sums to one over y.
"""

import itertools
from dataclasses import dataclass
from typing import Literal

import numpy as np

from susceptometer.errors import DataError
from susceptometer.testbed.form import Array
from susceptometer.testbed.sequence_source import SequenceSource

Variant = Literal["l2", "chi2"]

BLOCK_GAP = 1e-6
"""Relative gap under which neighbouring amplitudes count as one block (only its projector means something)."""


@dataclass(frozen=True, eq=False)
class Modes:
    """The leading modes of a law.

    Args:
        variant: ``l2`` or ``chi2``.
        amplitude: s_a, decreasing, ``[r]``.
        vectors: Orthonormal output vectors, ``[outputs, r]`` (for ``chi2``: of B, before scaling by sqrt q(y)).
        output_law: q(y) ``[outputs]``.
        contexts: v_a(x) ``[contexts, r]`` where contexts are few, else None.
        floor: Counting noise in the spectral norm; amplitudes below it mean nothing (0 for an exact law).
    """

    variant: Variant
    amplitude: Array
    vectors: Array
    output_law: Array
    contexts: Array | None = None
    floor: float = 0.0

    @property
    def rank(self) -> int:
        """Number r of modes held."""
        return len(self.amplitude)

    def factors(self, count: int) -> tuple[Array, Array]:
        """Left and right factor ``[outputs, count]`` of the label projection P = left right'.

        Raises:
            DataError: ``count`` is not between 1 and the rank.
        """
        if not 1 <= count <= self.rank:
            raise DataError(
                "no such truncation",
                where="Modes.factors",
                value=count,
                why="the law is cut after its first modes",
                do=f"give a number from 1 to {self.rank}",
            )
        kept = self.vectors[:, :count]
        if self.variant == "l2":
            return kept, kept
        root = np.sqrt(self.output_law)[:, None]
        return root * kept, np.divide(kept, root, out=np.zeros_like(kept), where=root > 0)

    def projection(self, count: int) -> Array:
        """P ``[outputs, outputs]`` with C^(count)(x) = P q(.|x); one-hot labels become its columns."""
        left, right = self.factors(count)
        return left @ right.T

    def context_values(self, conditional: Array) -> Array:
        """v_a at contexts of known conditional ``[rows, outputs]``, ``[rows, r]``: v_a(x) = u_a . q(.|x)/s_a."""
        return conditional @ self.factors(self.rank)[1] / self.amplitude

    def tail(self, count: int) -> float:
        """Norm of the dropped amplitudes that are held, (sum_{a > count} s_a²)^(1/2)."""
        return float(np.sqrt((self.amplitude[count:] ** 2).sum()))

    def blocks(self, gap: float = BLOCK_GAP) -> list[slice]:
        """Runs of amplitudes that are equal to a relative ``gap``."""
        cuts = np.flatnonzero(np.diff(self.amplitude) < -gap * self.amplitude[:-1]) + 1
        edges = [0, *cuts.tolist(), self.rank]
        return [slice(a, b) for a, b in itertools.pairwise(edges)]

    def overlap(self, other: "Modes", block: slice) -> float:
        """||P P'||²_F / dim of a block in two estimates (1: the same space, dim/outputs by chance)."""
        mine, theirs = self.vectors[:, block], other.vectors[:, block]
        return float(((mine.T @ theirs) ** 2).sum() / mine.shape[1])

    def __repr__(self) -> str:
        shown = ", ".join(f"{s:.4g}" for s in self.amplitude[:8])
        floor = f", counting floor {self.floor:.3g}" if self.floor else ""
        return f"{self.rank} modes ({self.variant}): s = {shown}{', ...' if self.rank > 8 else ''}{floor}"


def modes(source: SequenceSource, rank: int | None = None, *, variant: Variant = "l2") -> Modes:
    """Modes of an exact law by a dense decomposition.

    Args:
        source: The law.
        rank: How many; None keeps all with a positive amplitude.
        variant: ``l2`` or ``chi2``.

    Raises:
        DataError: ``rank`` exceeds the rank of the law, or is not positive.
    """
    scale = _scale(source.output_law, variant)
    matrix = scale[:, None] * source.conditional.T * np.sqrt(source.weights)
    left, amplitude, right = np.linalg.svd(matrix, full_matrices=False)
    count = _count(amplitude, rank, source.name)
    values = right[:count].T / np.sqrt(source.weights)[:, None]
    return Modes(variant, amplitude[:count], left[:, :count], source.output_law, values)


def modes_of_gram(gram: Array, output_law: Array, rank: int | None = None, *, variant: Variant = "l2") -> Modes:
    """Modes from G = E_x[q(.|x) q(.|x)'] ``[outputs, outputs]`` alone; no context values are held.

    Negative eigenvalues, which an unbiased Gram of counts can have, end the list.
    """
    scale = _scale(output_law, variant)
    values, vectors = np.linalg.eigh(scale[:, None] * gram * scale)
    order = np.argsort(values)[::-1]
    amplitude = np.sqrt(np.clip(values[order], 0, None))
    count = _count(amplitude, rank, "gram")
    return Modes(variant, amplitude[:count], vectors[:, order[:count]], output_law)


def truncated(source: SequenceSource, found: Modes, count: int) -> Array:
    """C^(count) ``[contexts, outputs]``: the law of the first modes; entries may be negative (never sample it)."""
    return source.conditional @ found.projection(count).T


def truncated_labels(found: Modes, count: int, outputs: Array) -> Array:
    """Signed soft labels ``[rows, V]`` that replace one-hot labels ``outputs`` [rows]: P e_y (derived)."""
    left, right = found.factors(count)
    return right[outputs] @ left.T


def mode_losses(log_p: Array, outputs: Array, found: Modes) -> Array:
    """Contribution of every mode to the log likelihood, ``[rows, r]``: its mean is s_a <e_a, log p> (derived).

    Args:
        log_p: log p(y'|x) ``[rows, V]``.
        outputs: Observed y ``[rows]``.
        found: Modes; with all of them, minus the sum over a is the cross-entropy.
    """
    left, right = found.factors(found.rank)
    return right[outputs] * (log_p @ left)


def site_spectra(source: SequenceSource) -> list[Array]:
    """Singular values of every unfolding of T[y, x_1, ..]: the output first, then each site (HOSVD)."""
    whole = source.tensor()
    unfolded = [np.moveaxis(whole, axis, 0).reshape(whole.shape[axis], -1) for axis in range(whole.ndim)]
    return [np.linalg.svd(matrix, compute_uv=False) for matrix in unfolded]


def _scale(output_law: Array, variant: str) -> Array:
    """1, or 1/sqrt(q(y)) for ``chi2`` (0 where y never occurs), ``[outputs]``."""
    if variant == "l2":
        return np.ones_like(output_law)
    if variant != "chi2":
        raise DataError("unknown variant", where="modes", value=variant, do="use 'l2' or 'chi2'")
    return np.divide(1.0, np.sqrt(output_law), out=np.zeros_like(output_law), where=output_law > 0)


def _count(amplitude: Array, rank: int | None, name: str) -> int:
    held = int((amplitude > 1e-12 * amplitude[0]).sum())
    if rank is None:
        return held
    if not 1 <= rank <= held:
        raise DataError(
            "no such number of modes",
            where=name,
            value=rank,
            why="the law has fewer modes of positive amplitude",
            do=f"give a number from 1 to {held}",
        )
    return rank
