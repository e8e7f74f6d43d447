"""One estimate: values, their Monte-Carlo standard errors and how many independent groups support them."""

import warnings
from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy import stats

from susceptometer.errors import ChainError
from susceptometer.estimate.convergence import motionless


@dataclass(frozen=True)
class Estimate:
    """Named values with errors; never a bare number.

    Args:
        name: What is estimated, e.g. ``llc`` or ``chi``.
        data: Dataset with ``value`` and ``error`` (one standard error, same dims and unit), and possibly
            ``ess``, ``rhat`` and parts named by the estimator.
        groups: Independent groups behind every value; intervals use t with ``groups - 1`` degrees.
        unit: Unit of value and error.
    """

    name: str
    data: xr.Dataset
    groups: int
    unit: str = ""

    @property
    def value(self) -> xr.DataArray:
        """Point estimates."""
        return self.data["value"]

    @property
    def error(self) -> xr.DataArray:
        """Standard errors, same dims as ``value``."""
        return self.data["error"]

    def interval(self, level: float = 0.95) -> tuple[xr.DataArray, xr.DataArray]:
        """Lower and upper end of the central t interval."""
        half = stats.t.ppf(0.5 + level / 2, self.groups - 1) * self.error
        return self.value - half, self.value + half

    def z(self, exact: xr.DataArray | np.ndarray | float) -> xr.DataArray:
        """(value - exact)/error."""
        return (self.value - exact) / self.error

    def sel(self, **indexers: object) -> "Estimate":
        """The estimate at some labels, e.g. ``sel(component="blocks.0.attn.head.3")``."""
        return Estimate(self.name, self.data.sel(indexers), self.groups, self.unit)

    def __repr__(self) -> str:
        head = f"{self.name} [{self.unit}] from {self.groups} groups"
        if self.value.size > 40:
            sizes = dict(self.value.sizes)
            return f"{head}: {sizes}, median |value|/error {self._signal():.2f}"
        if not self.value.dims:
            return f"{head}\n  {format_pm(float(self.value), float(self.error))}"
        rows = self.data[["value", "error"]].to_dataframe().reset_index()
        labels = rows[list(self.value.dims)].astype(str).agg(" ".join, axis=1)
        lines = [
            f"  {label:<32} {format_pm(v, e)}" for label, v, e in zip(labels, rows["value"], rows["error"], strict=True)
        ]
        return "\n".join([head, *lines])

    def _repr_html_(self) -> str:
        return f"<pre>{self!r}</pre>{self.data._repr_html_()}"

    def _signal(self) -> float:
        return float(np.nanmedian(np.abs(self.value) / self.error))


def format_pm(value: float, error: float) -> str:
    """``value ± error`` with the error at two significant digits."""
    if not np.isfinite(error) or error == 0:
        return f"{value:.6g} ± {error:.2g}"
    places = max(0, 1 - int(np.floor(np.log10(error))))
    if places > 6:
        return f"{value:.4g} ± {error:.2g}"
    return f"{value:.{places}f} ± {error:.{places}f}"


def jackknife(total: np.ndarray, leave_out: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pooled value and delete-one-group standard error.

    Args:
        total: Estimate from all groups, ``[...]``.
        leave_out: Estimates with group i left out, ``[groups, ...]``.

    Returns:
        ``total`` and sqrt((G-1)/G sum_i (theta_i - mean theta)^2), ``[...]`` (efron1982).
    """
    groups = len(leave_out)
    spread = ((leave_out - leave_out.mean(0)) ** 2).sum(0)
    return total, np.sqrt((groups - 1) / groups * spread)


Shares = tuple[np.ndarray, np.ndarray]
"""A value ``[...]`` and every group's share of it ``[groups, ...]``, whose spread gives its error."""


def summary(value: np.ndarray, shares: np.ndarray) -> dict[str, np.ndarray]:
    """``value`` and ``error`` = sd(shares)/sqrt(groups), ``[...]`` each, from ``Shares``."""
    return {"value": value, "error": shares.std(0, ddof=1) / np.sqrt(len(shares))}


def covariance_of_means(first: np.ndarray, second: np.ndarray) -> Shares:
    r"""Unbiased covariance S of group means a_i, b_i and every group's share of it (derived).

    With alpha_i, beta_i the deviations from the means over groups, S = sum_i alpha_i beta_i/(G - 1). The share is
    k alpha_i beta_i with k = G/sqrt((G - 1)(G - 2)): since alpha and beta of different groups are correlated by
    -1/(G - 1), the spread of the products over groups is expected to be (1 + rho^2)(G - 2)/G, while
    Var S = (1 + rho^2)/(G - 1) (unit variances, correlation rho, normal means); this k makes
    sd(shares)^2/G unbiased. The delete-one jackknife has k = G/(G - 2), 1.5 times its variance at G = 4.

    Args:
        first: a, ``[groups, ...]``; at least two groups.
        second: b, broadcastable against ``first``.
    """
    groups = len(first)
    products = (first - first.mean(0)) * (second - second.mean(0))
    factor = groups / np.sqrt((groups - 1) * max(groups - 2, 1))
    return products.sum(0) / (groups - 1), factor * products


def healthy_groups(cell: xr.Dataset, component: str, *, drop_failed: bool = False) -> xr.Dataset:
    """The groups whose chains are healthy.

    Raises:
        ChainError: A chain failed and ``drop_failed`` is False, or fewer than 2 groups are left.
    """
    bad = cell["status"].values != 0
    if bad.any() and not drop_failed:
        which = cell["group"].values[bad].tolist()
        raise ChainError(
            f"{bad.sum()} of {len(bad)} groups failed",
            where=component,
            value=f"groups {which[:8]} at steps {cell['failed_step'].values[bad].tolist()[:8]}",
            why="an average over the survivors is biased towards where chains do not escape",
            do="lower step_size or raise gamma; pass drop_failed=True to look at the rest all the same",
        )
    kept = cell.isel(group=np.flatnonzero(~bad))
    if kept.sizes["group"] < 2:
        raise ChainError(
            "fewer than two healthy groups",
            where=component,
            value=kept.sizes["group"],
            why="one replicate gives no error bar",
            do="run more groups (at least 4)",
        )
    still = int(motionless(kept).sum())
    if still:
        warnings.warn(
            f"{component}: {still} of {kept.sizes['group']} groups never moved (the same loss at every draw), so a value "
            "and error of 0 say nothing: raise step_size, or the loss does not depend on this component",
            RuntimeWarning,
            stacklevel=2,
        )
    return kept
