"""Mean susceptibility over the tokens of a pattern, with an error that knows tokens share their chains."""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from susceptometer.errors import DataError
from susceptometer.estimate.contraction import contraction
from susceptometer.estimate.estimate import Estimate, healthy_groups
from susceptometer.estimate.susceptibility import coupled_column, covariance_column
from susceptometer.sampling.reading import Reading
from susceptometer.structure.response import Response


def pattern_psi(reading: Reading, names: list[str], flags: NDArray[np.bool_], *, drop_failed: bool = False) -> Estimate:
    r"""Mean psi of every component over the tokens of every pattern.

        psi_P = mean over tokens of P of chi  -  mean over all tokens of chi

    Token errors are not independent (all tokens are read on the same chains), so the mean is taken inside
    every chain group and the error comes from the spread between groups, by the estimator that
    `susceptibility` uses for the component.

    Args:
        reading: Chains.
        names: Names of the patterns.
        flags: Which tokens belong ``[patterns, tokens]``; a pattern without tokens gives NaN.
        drop_failed: Leave failed groups out instead of refusing.

    Shapes:
        returns     component pattern, nats^2

    Raises:
        DataError: ``flags`` does not fit names and tokens.
        ChainError: A chain failed (and ``drop_failed`` is False), or fewer than two groups are left.
    """
    tokens = reading.tokens.sizes["token"]
    if flags.shape != (len(names), tokens):
        raise DataError(
            "pattern flags do not fit the reading",
            where="pattern_psi",
            value=f"{flags.shape} for {len(names)} patterns and {tokens} tokens",
            why="a row is a pattern and a column a token of the reading",
            do="make flags with token_patterns on the reading's own tokens",
        )
    weights, columns, least = _weights(flags, reading.base), [], np.inf
    for name in reading.components:
        cell = healthy_groups(reading.cell(name), name, drop_failed=drop_failed)
        columns.append(_column(reading, cell, weights))
        least = min(least, cell.sizes["group"])
    value, error = (np.stack([pair[k] for pair in columns]) for k in (0, 1))
    dims = ("component", "pattern")
    data = xr.Dataset(
        {"value": (dims, value), "error": (dims, error)},
        {"component": reading.components, "pattern": names},
    )
    return Estimate("psi", data, int(least), "nats^2")


def pattern_table(response: Response, names: list[str], flags: NDArray[np.bool_]) -> Estimate:
    r"""The expression/suppression table: mean psi of every component over every pattern, from a response matrix.

        psi_P = mean over tokens of P of chi  -  mean over all tokens of chi        negative: expressed (baker2025)

    Taken inside every group, so the error knows that tokens share chains; works for both forms.

    Args:
        response: chi with its replicates.
        names: Names of the patterns.
        flags: Which tokens belong ``[patterns, tokens]``; a pattern without tokens gives NaN.

    Shapes:
        returns     component pattern, nats^2

    Raises:
        DataError: ``flags`` does not fit names and tokens.
    """
    groups, _, tokens = response.replicates.shape
    if flags.shape != (len(names), tokens):
        raise DataError(
            "pattern flags do not fit the response",
            where="pattern_table",
            value=f"{flags.shape} for {len(names)} patterns and {tokens} tokens",
            why="a row is a pattern and a column a token",
            do="make flags with token_patterns on the same tokens",
        )
    count = flags.sum(1, keepdims=True)
    means = np.divide(flags, count, out=np.full(flags.shape, np.nan), where=count > 0) - 1.0 / tokens
    each = response.replicates.values @ means.T
    dims = ("component", "pattern")
    data = xr.Dataset(
        {"value": (dims, each.mean(0)), "error": (dims, each.std(0, ddof=1) / np.sqrt(groups))},
        {"component": response.components, "pattern": names},
    )
    return Estimate("psi", data, groups, "nats^2")


def _weights(flags: NDArray[np.bool_], base: slice) -> NDArray[np.float64]:
    """Columns ``[tokens, 1 + patterns]``: base mean; then pattern mean - mean over all + base mean.

    The estimators subtract the base mean from every column, which leaves pattern mean - mean over all.
    """
    tokens = flags.shape[1]
    lbar = np.zeros(tokens)
    lbar[base] = 1.0 / len(range(tokens)[base])
    count = flags.sum(1, keepdims=True)
    means = np.divide(flags, count, out=np.full(flags.shape, np.nan), where=count > 0)
    return np.vstack([lbar, means - 1.0 / tokens + lbar]).T


def _column(reading: Reading, cell: xr.Dataset, weights: NDArray[np.float64]) -> tuple:
    """Value and error of one component, ``[patterns]`` each."""
    narrow = xr.Dataset(
        {
            **{name: cell[name] for name in ("loss",)},
            **{
                name: ((*cell[name].dims[:-1], "column"), cell[name].values @ weights)
                for name in ("sum_l", "sum_gl", "pair")
            },
        }
    )
    coupled = cell.sizes["half"] > 0 and contraction(cell, reading.recipe).valid
    column = (coupled_column if coupled else covariance_column)(narrow, slice(0, 1))
    return column["value"][1:], column["error"][1:]
