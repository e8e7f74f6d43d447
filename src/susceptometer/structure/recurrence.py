r"""How much of a function of tokens can be a function of the last k tokens and the next one: no rank, no fit.

Where the same (context, next token) recurs in different rows, whatever the pair itself decides is equal and the rest is
not. With s centred over the covered tokens, pairs (i, j) of equal key in different rows, and every key weighted by its
tokens (analysis of variance; donner1986),

    share = sum_keys N mean[s_i s_j] / sum_keys N mean[s_i²]     -> Var(E[s | key]) / Var(s)

It is the R² of the best function of the key, thus a ceiling of all modes of k-token contexts together.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from susceptometer.errors import DataError
from susceptometer.estimate.estimate import jackknife

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]

BLOCKS = 16
"""Blocks of rows that are left out one by one for an error, at most."""


@dataclass(frozen=True)
class Recurrence:
    """Share of the variance that the key decides.

    Args:
        value: ``[targets]``; noise can make it negative.
        error: Jackknife error over blocks of rows ``[targets]``.
        coverage: Part of the tokens whose key recurs in another row.
    """

    value: Floats
    error: Floats
    coverage: float


def recurrence(values: Floats, keys: Ints, rows: Ints) -> Recurrence:
    """The share above of every target.

    Args:
        values: ``[tokens, targets]``.
        keys: Number of every token's key ``[tokens]``, see `context_keys`.
        rows: Row of every token ``[tokens]``.

    Raises:
        DataError: No key occurs in two rows.
    """
    covered = recurs(keys, rows)
    if not covered.any():
        raise DataError(
            "no key recurs",
            where="recurrence",
            value=len(keys),
            why="a share needs equal keys in different rows",
            do="read more tokens, or take shorter contexts",
        )
    centred = values - values[covered].mean(0)
    names = np.unique(rows)
    block = np.searchsorted(names, rows) % min(BLOCKS, len(names))
    left = [_share(centred[block != b], keys[block != b], rows[block != b]) for b in range(block.max() + 1)]
    value, error = jackknife(_share(centred, keys, rows), np.array(left))
    return Recurrence(value, error, float(covered.mean()))


def recurs(keys: Ints, rows: Ints) -> NDArray[np.bool_]:
    """Whether the key of each token is also in another row, ``[tokens]``."""
    names, where = np.unique(np.stack([keys, rows], 1), axis=0, return_inverse=True)
    distinct = np.bincount(names[:, 0])
    return (distinct[names[:, 0]] > 1)[where.ravel()]


def context_keys(rows: Ints, row: Ints, position: Ints, tokens: int) -> Ints:
    """Number of the last ``tokens`` tokens, the target included, of every target ``[targets]``.

    Args:
        rows: Token rows ``[rows, K]``.
        row: Row of every target.
        position: Place of every target among the K - 1 targets of its row.
        tokens: 1: the target alone, 2: with its predecessor, ...
    """
    place = position[:, None] + 1 - np.arange(tokens)
    seen = np.where(place >= 0, rows[row[:, None], place.clip(min=0)], -1)
    return np.unique(seen, axis=0, return_inverse=True)[1].ravel()


def _share(values: Floats, keys: Ints, rows: Ints) -> Floats:
    cells, where = np.unique(np.stack([keys, rows], 1), axis=0, return_inverse=True)
    by_cell, by_key = _adder(where.ravel(), len(cells)), _adder(cells[:, 0], int(keys.max()) + 1)
    in_cell, size = by_cell @ values, np.bincount(where.ravel())
    number = by_key @ size
    pairs = number**2 - by_key @ size**2
    seen = pairs > 0
    products = (by_key @ in_cell) ** 2 - by_key @ in_cell**2
    weight = number[seen] / pairs[seen]
    return (weight[:, None] * products[seen]).sum(0) / (by_key @ (by_cell @ values**2))[seen].sum(0)


def _adder(place: Ints, size: int) -> sparse.csr_array:
    """Matrix ``[size, len(place)]`` that sums entries of one place."""
    return sparse.csr_array((np.ones(len(place)), (place, np.arange(len(place)))), shape=(size, len(place)))
