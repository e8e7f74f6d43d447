"""The response matrix: chi of every component for every token, one replicate per chain group, in both forms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from susceptometer.errors import ChainError, ComponentError, DataError
from susceptometer.estimate.contraction import contraction
from susceptometer.estimate.estimate import Estimate, healthy_groups
from susceptometer.estimate.susceptibility import covariance_column
from susceptometer.sampling.reading import Reading

Form = Literal["within-run", "two-run"]
FORMS: tuple[Form, ...] = ("within-run", "two-run")

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Response:
    """chi as a matrix with its replicates.

    Args:
        form: ``within-run`` (-Cov_C, here the coupled response) or ``two-run`` (the published form).
        replicates: Dims ``group component token``, nats^2; the mean over ``group`` is chi, its spread the error.
            Token coordinates as in `Reading.tokens`.
    """

    form: Form
    replicates: xr.DataArray

    def __post_init__(self) -> None:
        if self.replicates.dims != ("group", "component", "token") or self.replicates.sizes["group"] < 2:
            raise DataError(
                "a response needs replicates over group, component and token",
                where="Response",
                value=dict(self.replicates.sizes),
                why="errors come from at least two groups",
                do="make it with response(reading), or pass an array with these dims",
            )

    @property
    def components(self) -> list[str]:
        """Names of the columns."""
        return self.replicates["component"].values.tolist()

    def estimate(self) -> Estimate:
        """chi with its error, dims component x token, nats^2."""
        groups = self.replicates.sizes["group"]
        value = self.replicates.mean("group")
        error = self.replicates.std("group", ddof=1) / np.sqrt(groups)
        data = xr.Dataset({"value": value, "error": error}, attrs={"form": self.form})
        return Estimate("chi", data, groups, "nats^2")

    def matrix(self) -> Floats:
        """Replicates as ``[groups, tokens, components]`` float64: rows are tokens, columns components."""
        return np.ascontiguousarray(self.replicates.values.transpose(0, 2, 1), dtype=np.float64)

    def of_tokens(self, chosen: NDArray[np.bool_] | Sequence[int]) -> "Response":
        """The same response on some tokens (mask ``[tokens]`` or indices)."""
        places = np.flatnonzero(chosen) if np.asarray(chosen).dtype == bool else np.asarray(chosen)
        return Response(self.form, self.replicates.isel(token=places))

    def of_components(self, names: Sequence[str]) -> "Response":
        """The same response of some components, in the order given.

        Raises:
            ComponentError: One of them was not read.
        """
        missing = [name for name in names if name not in self.components]
        if missing:
            raise ComponentError(
                "component was not read",
                where=f"{self.form} response",
                value=missing,
                why="it has no column",
                do=f"use some of {self.components[:20]}",
            )
        return Response(self.form, self.replicates.sel(component=list(names)))


def response(
    reading: Reading, form: Form = "within-run", *, full: xr.Dataset | None = None, drop_failed: bool = False
) -> Response:
    r"""The response matrix of a reading (baker2025; conventions 6.3 and 7.1).

        within-run   chi_w = d E_C[l_xy - Lbar] / d n_beta = -Cov_C[g, f_xy]
        two-run      chi_2 = chi_w - E_C[g] ( E_C[f_xy] - E_F[f_xy] )

    Coupled chains give one independent value per group; where they do not contract, and for the product of means,
    the replicates are jackknife pseudo-values G theta - (G - 1) theta_without_i (efron1982), whose mean and spread
    are the estimate (its first-order bias removed) and the jackknife error.

    Args:
        reading: Restricted runs; for ``two-run`` its cell ``full`` is used if ``full`` is not given.
        form: Which estimator.
        full: Cell of the run in which all weights move, same tokens.
        drop_failed: Leave failed groups out instead of refusing.

    Raises:
        ChainError: A chain failed, fewer than two groups are left, or the two-run form has no full run.
    """
    cells = {name: healthy_groups(reading.cell(name), name, drop_failed=drop_failed) for name in reading.components}
    groups = min(cell.sizes["group"] for cell in cells.values())
    whole = _whole(reading, full, drop_failed=drop_failed) if form == "two-run" else None
    groups = groups if whole is None else min(groups, whole.sizes["group"])
    columns = []
    for cell in cells.values():
        cut = cell.isel(group=slice(groups))
        column = _within(cut, reading)
        if whole is not None:
            column += _mean_term(cut, whole.isel(group=slice(groups)), reading.base)
        columns.append(column)
    return response_of(np.stack(columns, 1), list(cells), reading.tokens.coords, form)


def response_of(replicates: Floats, components: Sequence[str], tokens: Mapping[Any, Any], form: Form) -> Response:
    """A response from bare arrays.

    Args:
        replicates: ``[groups, components, tokens]``, nats^2.
        components: Names of the columns.
        tokens: Coordinates over ``token``, e.g. ``Reading.tokens.coords`` or ``{"row": ("token", rows)}``.
        form: What the numbers are.
    """
    dims = ("group", "component", "token")
    named = xr.DataArray(replicates, dims=dims, coords={"component": list(components)}, name="chi")
    return Response(form, named.assign_coords(tokens))


def _within(cell: xr.Dataset, reading: Reading) -> Floats:
    """Replicates of chi_w of one component, ``[groups, tokens]``."""
    if cell.sizes["half"] > 0 and contraction(cell, reading.recipe).valid:
        gap = cell["pair"].values - cell["pair"].values[..., reading.base].mean(-1, keepdims=True)
        return gap.sum(1) / cell.sizes["draw"]
    left = [_chi_without(cell, i, reading.base) for i in range(cell.sizes["group"])]
    return pseudo_values(covariance_column(cell, reading.base)["value"], np.stack(left))


def _chi_without(cell: xr.Dataset, group: int, base: slice) -> Floats:
    rest = cell.isel(group=np.delete(np.arange(cell.sizes["group"]), group))
    return covariance_column(rest, base)["value"]


def _mean_term(cell: xr.Dataset, whole: xr.Dataset, base: slice) -> Floats:
    """Replicates of -E_C[g] (E_C[f] - E_F[f]), ``[groups, tokens]``."""
    g, f = _means(cell, base)
    _, full = _means(whole, base)
    gap = f - full
    groups = len(g)
    left = [-np.delete(g, i).mean() * np.delete(gap, i, 0).mean(0) for i in range(groups)]
    return pseudo_values(-g.mean() * gap.mean(0), np.stack(left))


def _means(cell: xr.Dataset, base: slice) -> tuple[Floats, Floats]:
    """Means of g ``[groups]`` and of f - f(w*) ``[groups, tokens]``."""
    mean_l = cell["sum_l"].values / (cell.sizes["member"] * cell.sizes["draw"])
    g = mean_l[:, base].mean(1)
    return g, mean_l - g[:, None]


def pseudo_values(total: Floats, without: Floats) -> Floats:
    """G theta - (G - 1) theta_i: ``total [...]``, ``without [groups, ...]`` -> ``[groups, ...]`` (efron1982)."""
    groups = len(without)
    return groups * total - (groups - 1) * without


def _whole(reading: Reading, full: xr.Dataset | None, *, drop_failed: bool) -> xr.Dataset:
    if full is None and "full" not in reading.cells:
        raise ChainError(
            "the two-run form needs the run in which all weights move",
            where=reading.subject,
            value=list(reading.cells)[:8],
            why="E_F[f] is a mean over that run",
            do="read the component 'full' too (ReadOptions(full=True), --full)",
        )
    return healthy_groups(full if full is not None else reading.cell("full"), "full", drop_failed=drop_failed)
