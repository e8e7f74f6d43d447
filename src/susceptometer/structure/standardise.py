"""Standardisations of a response matrix: by column, by column then row, whitened; always in this order and named."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from susceptometer.errors import DataError

Floats = NDArray[np.floating]
Kind = Literal["columns", "columns and rows", "whitened"]
KINDS: tuple[Kind, ...] = ("columns", "columns and rows", "whitened")

FLOOR = 1e-3
"""Added to the eigenvalues before whitening, as a share of their mean (reading 9)."""


@dataclass(frozen=True)
class Standardisation:
    """An affine map of token vectors, fixed once so that every group and every new token gets the same one.

        Z = (X - shift) @ mix

    Args:
        kind: ``columns``: z-score of every column over tokens; ``columns and rows``: then each token's mean over
            columns is subtracted; ``whitened``: z-score, then coordinates of unit variance along the eigenvectors
            of the correlation matrix (largest first).
        shift: ``[components]``, nats^2.
        mix: ``[components, coordinates]``, 1/nats^2.
    """

    kind: Kind
    shift: Floats
    mix: Floats

    def __call__(self, vectors: Floats) -> Floats:
        """``[..., components]`` nats^2 to ``[..., coordinates]``, dimensionless."""
        return (vectors - self.shift) @ self.mix


def standardisation(matrix: Floats, kind: Kind) -> Standardisation:
    """The map fitted on a matrix (baker2025; gordon2026; conventions 6.5; reading 5.1, 8.1 and 9).

    Args:
        matrix: chi ``[tokens, components]``, nats^2.
        kind: See `Standardisation`.

    Raises:
        DataError: Unknown kind, fewer than two tokens, or a column that is constant or not finite.
    """
    if kind not in KINDS:
        raise DataError("unknown standardisation", where="standardisation", value=kind, do=f"use one of {list(KINDS)}")
    shift, spread = matrix.mean(0), matrix.std(0)
    _require_spread(spread)
    scale = np.diag(1.0 / spread)
    if kind == "columns":
        return Standardisation(kind, shift, scale)
    if kind == "columns and rows":
        columns = matrix.shape[1]
        return Standardisation(kind, shift, scale @ (np.eye(columns) - 1.0 / columns))
    values, vectors = np.linalg.eigh(np.corrcoef(matrix, rowvar=False))
    order = np.argsort(values)[::-1]
    root = np.sqrt(np.maximum(values[order], 0.0) + FLOOR * values.mean())
    return Standardisation(kind, shift, scale @ vectors[:, order] / root)


def _require_spread(spread: Floats) -> None:
    bad = ~(np.isfinite(spread) & (spread > 0))
    if bad.any():
        raise DataError(
            "a column cannot be standardised",
            where=f"columns {np.flatnonzero(bad)[:8].tolist()}",
            value=spread[bad][:8].tolist(),
            why="its spread over tokens is zero or not a number",
            do="read at least two tokens with finite losses, or leave the component out",
        )
