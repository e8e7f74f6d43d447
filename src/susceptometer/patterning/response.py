"""The response matrix of named observables to named pieces of data, one replicate per chain group."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from susceptometer.errors import ChainError, DataError
from susceptometer.estimate.contraction import contraction
from susceptometer.estimate.estimate import Estimate, healthy_groups
from susceptometer.estimate.susceptibility import coupled_column, covariance_column
from susceptometer.sampling.reading import Reading

Array = NDArray[np.float64]

LEAST_GROUPS = 4
"""Chain groups below which neither halves nor errors mean anything."""


@dataclass(frozen=True, eq=False)
class Response:
    r"""How observables answer data: ``d mu_i = n_beta sum_j chi_ij dh_j`` (wang2026; conventions 6.1).

    ``dh_j`` moves the training distribution towards datum j: (1 - sum h) q + sum_j h_j delta_j. A datum is a token, a
    row, a probe, or any group of tokens. Data that are part of q hold a ``share`` of it; then the weight of datum j in
    the loss is ``1 - sum h + h_j / share_j``.

    Args:
        replicates: Unbiased chi of every chain group ``[groups, observables, data]`` (pseudo-values where the
            estimator pools chains); their mean is chi, their spread its error.
        observables: Names of the rows.
        n_beta: Inverse temperature of the chains, 1/nats.
        share: Share of the base distribution each datum holds ``[data]``; zero for data from outside.
        data: Coordinates over ``datum``: ``probe row position token_id`` where known.
        unit: Unit of chi; mu has this unit divided by nats.

    Raises:
        ChainError: Fewer than four groups.
        DataError: Shapes that do not agree, or values that are not finite.
    """

    replicates: Array
    observables: tuple[str, ...]
    n_beta: float
    share: Array
    data: xr.Dataset
    unit: str = "nats^2"

    def __post_init__(self) -> None:
        groups, rows, columns = self.replicates.shape
        if groups < LEAST_GROUPS:
            raise ChainError(
                "too few chain groups for a plan",
                where="Response",
                value=groups,
                why="the inverse is chosen by the agreement of disjoint halves, two groups each",
                do=f"read at least {LEAST_GROUPS} groups",
            )
        if (rows, columns, columns) != (len(self.observables), len(self.share), self.data.sizes["datum"]):
            raise DataError(
                "shapes do not agree",
                where="Response",
                value=(self.replicates.shape, len(self.observables), len(self.share), dict(self.data.sizes)),
                do="give replicates [groups, observables, data], one name per row, one share per datum",
            )
        if not np.isfinite(self.replicates).all():
            raise DataError("chi is not finite", where="Response", do="look at the chains with susceptometer.check")

    @property
    def groups(self) -> int:
        """Independent chain groups."""
        return len(self.replicates)

    @property
    def chi(self) -> Array:
        """The response matrix ``[observables, data]``, mean over groups."""
        return self.replicates.mean(0)

    @property
    def estimate(self) -> Estimate:
        """chi with its standard error, dims ``observable datum``."""
        error = self.replicates.std(0, ddof=1) / np.sqrt(self.groups)
        dims = ("observable", "datum")
        named = xr.Dataset({"value": (dims, self.chi), "error": (dims, error)}, {"observable": list(self.observables)})
        return Estimate("chi", named.assign_coords(self.data.coords), self.groups, self.unit)

    def rows(self, names: Sequence[str]) -> "Response":
        """Some observables, in the order given.

        Raises:
            DataError: An observable is not there.
        """
        missing = [name for name in names if name not in self.observables]
        if missing:
            raise DataError(
                "no such observable", where="Response.rows", value=missing, do=f"use {list(self.observables)[:20]}"
            )
        index = [self.observables.index(name) for name in names]
        return replace(self, replicates=self.replicates[:, index], observables=tuple(names))

    def combined(self, patterns: Mapping[str, ArrayLike]) -> "Response":
        """New observables as sums of the old: name -> coefficients ``[observables]``, e.g. a principal head pattern."""
        matrix = np.stack([np.asarray(pattern, dtype=float) for pattern in patterns.values()])
        return replace(self, replicates=matrix @ self.replicates, observables=tuple(patterns))

    def in_llc(self) -> "Response":
        """Rows times n_beta: observables are then learning coefficients n_beta E[g] and their targets have no unit."""
        return replace(self, replicates=self.n_beta * self.replicates, unit="nats")

    def centred(self) -> "Response":
        """Rows whose share-weighted mean over the data is exactly zero, so that no plan changes the total mass.

        Raises:
            DataError: The data are not the base distribution.
        """
        if abs(self.share.sum() - 1) > 1e-6:
            raise DataError(
                "only the whole base distribution can be centred",
                where="Response.centred",
                value=float(self.share.sum()),
                why="the mean of chi vanishes over the data that define L alone",
                do="use the probe 'base'",
            )
        mean = self.replicates @ self.share
        return replace(self, replicates=self.replicates - mean[..., None])

    def per(self, label: str | ArrayLike) -> "Response":
        """One datum per value of a label: chi of a set is the mean over its tokens (conventions 6.1).

        Args:
            label: A coordinate (``row``, ``probe``), or one label per datum ``[data]``.
        """
        labels = self.data[label].to_numpy() if isinstance(label, str) else np.asarray(label)
        names, index = np.unique(labels, return_inverse=True)
        member = np.zeros((len(labels), len(names)))
        member[np.arange(len(labels)), index] = 1.0
        coords = {label if isinstance(label, str) else "label": ("datum", names), "tokens": ("datum", member.sum(0))}
        return replace(
            self,
            replicates=self.replicates @ (member / member.sum(0)),
            share=self.share @ member,
            data=xr.Dataset(coords=coords),
        )

    def __repr__(self) -> str:
        size = " x ".join(map(str, self.replicates.shape[1:]))
        signal = np.nanmedian(np.abs(self.estimate.value) / self.estimate.error)
        return (
            f"response [{self.unit}] of {size} (observables x data), {self.groups} groups, n_beta {self.n_beta:g}, "
            f"median |chi|/error {signal:.2f}"
        )


def stacked(responses: Sequence[Response]) -> Response:
    """Observables of several readings of the same data under each other; group i of each is deleted together.

    Raises:
        DataError: They differ in groups, data or n_beta.
    """
    first = responses[0]
    same = all(r.replicates.shape[::2] == first.replicates.shape[::2] and r.n_beta == first.n_beta for r in responses)
    if not same:
        raise DataError(
            "responses do not fit together",
            where="stacked",
            value=[r.replicates.shape for r in responses],
            why="rows must share data, n_beta and the number of chain groups",
            do="read them with one recipe",
        )
    names = tuple(name for r in responses for name in r.observables)
    return replace(first, replicates=np.concatenate([r.replicates for r in responses], 1), observables=names)


def response(reading: Reading, *, probe: str | None = "base", drop_failed: bool = False) -> Response:
    r"""Response of every component's observable phi_C = L - L(w*) on its own posterior to tokens.

    Coupled chains where they respond and contract, else the within-run covariance, as `susceptibility` does.

    Args:
        reading: Chains.
        probe: Whose tokens are the data; ``base`` is (part of) the training data; None takes all probes.
        drop_failed: Leave failed groups out instead of refusing.

    Raises:
        ChainError: A chain failed, or fewer than four groups are left.
    """
    chosen = np.ones(reading.tokens.sizes["token"], bool) if probe is None else _of_probe(reading, probe)
    replicates = []
    for name in reading.components:
        cell = healthy_groups(reading.cell(name), name, drop_failed=drop_failed)
        replicates.append(group_replicates(reading, cell)[:, chosen])
    least = min(map(len, replicates))
    base = (reading.tokens["probe"] == "base").to_numpy()[chosen]
    share = base / base.sum() if base.any() else np.zeros(len(base))
    data = reading.tokens.isel(token=np.flatnonzero(chosen)).rename({"token": "datum"})
    stackable = np.stack([part[:least] for part in replicates], 1)
    return Response(stackable, tuple(reading.components), reading.recipe.n_beta, share, data)


def _of_probe(reading: Reading, probe: str) -> NDArray[np.bool_]:
    chosen = (reading.tokens["probe"] == probe).to_numpy()
    if not chosen.any():
        raise DataError(
            "no such probe was read",
            where=f"reading of {reading.subject}",
            value=probe,
            do=f"use one of {list(pd.unique(reading.tokens['probe'].to_numpy()))}",
        )
    return np.asarray(chosen)


def group_replicates(reading: Reading, cell: xr.Dataset) -> Array:
    """chi of every group ``[groups, tokens]``: pseudo-values of the estimator that the chains allow."""
    coupled = cell.sizes["half"] > 0 and contraction(cell, reading.recipe).valid  # a run of all weights has no arms
    column = coupled_column if coupled else covariance_column
    return pseudo_values(lambda part: column(part, reading.base)["value"], cell)


def pseudo_values(estimate: Callable[[xr.Dataset], Array], cell: xr.Dataset) -> Array:
    """G theta - (G - 1) theta without group g, for every group ``[groups, ...]`` (efron1982).

    For a mean over groups these are the groups' own values; in general their mean is the estimate without its bias
    of order 1/G, and their standard error is that of the delete-one jackknife.
    """
    groups = cell.sizes["group"]
    whole = estimate(cell)
    left = [estimate(cell.isel(group=np.delete(np.arange(groups), g))) for g in range(groups)]
    return groups * whole - (groups - 1) * np.stack(left)
