"""Susceptibilities per token: three named estimators that return the same named arrays."""

from collections.abc import Callable

import numpy as np
import xarray as xr

from susceptometer.errors import ChainError, RecipeError
from susceptometer.estimate.contraction import contraction
from susceptometer.estimate.estimate import (
    Estimate,
    Shares,
    covariance_of_means,
    healthy_groups,
    summary,
)
from susceptometer.sampling.reading import Reading

Columns = dict[str, np.ndarray]
"""Parts of one component's column by name, ``[tokens]`` each; ``value`` and ``error`` always."""


def susceptibility(reading: Reading, *, drop_failed: bool = False) -> Estimate:
    """The best estimator the chains allow: coupled where they respond and contract, else covariance.

    A component whose coupled chains drift apart falls back to the within-run covariance of the same chains;
    the variable ``estimator`` names what was used for each component.

    Shapes:
        returns     component token, nats^2

    Raises:
        ChainError: A chain failed (and ``drop_failed`` is False), or fewer than two groups are left.
    """

    def best(name: str, cell: xr.Dataset) -> Columns:
        estimator, shares = _best(cell, reading)
        return {**summary(*shares), "estimator": np.array(estimator)}

    return _columns(reading, best, drop_failed)


def susceptibility_covariance(reading: Reading, *, drop_failed: bool = False) -> Estimate:
    r"""Within-run covariance on the restricted posterior (baker2025; conventions 6.3).

        chi_w[xy] = -( E_C[g f_xy] - E_C[g] E_C[f_xy] ),   f_xy = l_xy - Lbar

    Every chain is measured from the mean of its own response arm. With c_i the covariance inside group i about
    its own means a_i = mean g and b_i = mean f, and S the sample covariance of the a_i and b_i between groups,

        -chi_w = mean_i c_i + S = mean_i m_i(g f) - mean_{i != j} a_i b_j

    is a U-statistic: unbiased for stationary chains of any length, where the plug-in about pooled means misses
    Cov(a, b)/groups. Errors: see ``covariance_of_means``. On SGLD at step eps its law is
    -1/2 tr(H S B S) with the widened S (conventions 7.4): biased upwards by about eps p/2 per direction.

    Shapes:
        returns     component token, nats^2
    """
    return _columns(reading, lambda _, cell: covariance_column(cell, reading.base), drop_failed)


def susceptibility_two_run(reading: Reading, full: xr.Dataset | None = None, *, drop_failed: bool = False) -> Estimate:
    r"""The published two-run form, with its two parts apart (baker2025 app. C.4; conventions 6.3).

        chi_2 = chi_w - E_C[g] ( E_C[f_xy] - E_F[f_xy] )

    ``within`` is chi_w (coupled where available) and ``mean_term`` the rest; comparable between components
    only after column standardisation (unknown Z_F/Z_C). Both parts come from the same chains, so a group's
    shares of them are added before their spread is taken; the error of E_F, from other chains and common to all
    components, is added in quadrature and stored as ``full_error``. E_C[g] E_C[f] is averaged over pairs of different
    groups, so the value is unbiased.

    Args:
        reading: Restricted runs; its cell ``full`` is used if ``full`` is not given.
        full: Cell of the run in which all weights move, same tokens.
        drop_failed: Ignore failed groups instead of refusing.

    Shapes:
        returns     component token, nats^2 (value, error, within, mean_term, full_error)

    Raises:
        ChainError: No full run is there, or chains failed.
    """
    if full is None and "full" not in reading.cells:
        raise ChainError(
            "the two-run form needs the run in which all weights move",
            where=reading.subject,
            value=list(reading.cells)[:8],
            why="E_F[f] is a mean over that run",
            do="read the component 'full' too",
        )
    whole = healthy_groups(full if full is not None else reading.cell("full"), "full", drop_failed=drop_failed)
    shift, shift_error = _mean_shift(whole, reading.base)

    def two_run(name: str, cell: xr.Dataset) -> Columns:
        estimator, within = _best(cell, reading)
        term = _mean_term(cell, reading.base, shift)
        full_error = abs(_group_means(cell, reading.base)[0].mean()) * shift_error
        both = summary(within[0] + term[0], within[1] + term[1])
        return {
            "value": both["value"],
            "error": np.hypot(both["error"], full_error),
            "within": within[0],
            "mean_term": term[0],
            "full_error": full_error,
            "estimator": np.array(estimator),
        }

    return _columns(reading, two_run, drop_failed)


def susceptibility_coupled(reading: Reading, *, drop_failed: bool = False) -> Estimate:
    r"""Coupled chains at n_beta (1 +- h): the response itself, not a covariance (conventions 7.1-7.2).

        chi_w[xy] = d E_C[l_xy - L] / d n_beta  =  mean over draws of (f_xy(w_+) - f_xy(w_-)) / (2 h n_beta)

    One value per group (both noise signs averaged); errors from the spread of the groups. Bias: at most
    h^2/(1 - h^2) relative, and -(eps p/2)^2/4 per direction from SGLD's step (0 for Leimkuhler-Matthews).

    Shapes:
        returns     component token, nats^2 (value, error, first_half, second_half)

    Raises:
        RecipeError: The chains have no response arms.
        ChainError: A chain failed, or the arms do not contract (the message names the test).
    """
    if not reading.recipe.coupling.responds:
        raise RecipeError(
            "the chains have no response arms",
            where=f"reading of {reading.subject}",
            value=reading.recipe.coupling,
            why="the coupled estimator compares n_beta (1 + h) with (1 - h)",
            do="read with coupling=coupled(0.1), or use susceptibility_covariance",
        )

    def column(name: str, cell: xr.Dataset) -> Columns:
        contraction(cell, reading.recipe).require(name)
        return coupled_column(cell, reading.base)

    return _columns(reading, column, drop_failed)


def coupled_column(cell: xr.Dataset, base: slice) -> Columns:
    """Response of f = l - Lbar to n_beta for one component: value, error and the two halves, ``[tokens]``."""
    response = _response(cell, base)
    first = (cell.sizes["draw"] + 1) // 2
    second = cell.sizes["draw"] - first
    return {
        **summary(*_coupled_shares(cell, base)),
        "first_half": response[:, 0].mean(0) / first,
        "second_half": response[:, 1].mean(0) / max(1, second),
    }


def covariance_column(cell: xr.Dataset, base: slice) -> Columns:
    """-Cov(g, f) within each response arm for one component: unbiased value and error, ``[tokens]``."""
    return summary(*_covariance_shares(cell, base))


def _response(cell: xr.Dataset, base: slice) -> np.ndarray:
    """Sum over draws of the response of f, ``[groups, half, tokens]``."""
    return cell["pair"].values - cell["pair"].values[..., base].mean(-1, keepdims=True)


def _coupled_shares(cell: xr.Dataset, base: slice) -> Shares:
    """The mean response and every group's own."""
    per_group = _response(cell, base).sum(1) / cell.sizes["draw"]
    return per_group.mean(0), per_group


def _covariance_shares(cell: xr.Dataset, base: slice) -> Shares:
    """-Cov(g, f) and every group's share, from sums within groups and products of means between groups."""
    count = cell.sizes["member"] * cell.sizes["draw"]
    g, f = _group_means(cell, base)
    sum_gg = (cell["loss"] ** 2).sum(("member", "draw")).values
    mean_gf = (cell["sum_gl"].values - sum_gg[:, None]) / count
    gap_g, gap_l = _arm_gaps(cell, base)
    gap_f = (gap_l - gap_g[:, None]) / count
    inside = mean_gf - g[:, None] * f - gap_g[:, None] / count * gap_f
    means, arms = covariance_of_means(g[:, None], f), covariance_of_means(gap_g[:, None] / count, gap_f)
    return -(inside.mean(0) + means[0] + arms[0]), -(inside + means[1] + arms[1])


def _arm_gaps(cell: xr.Dataset, base: slice) -> tuple[np.ndarray, np.ndarray]:
    """Sums over draws of g ``[groups]`` and l ``[groups, tokens]`` in the upper arms minus the lower; 0 without arms.

    Arms at n_beta (1 +- h) have different means, whose product is no covariance: left in, it would multiply chi
    by 1 + h^2 Var(n_beta L), which grows with the number of weights. ``pair`` holds the gaps of all tokens up to
    one factor, and the base tokens tell that factor, since their mean is g.
    """
    nothing = np.zeros(cell.sizes["group"]), np.zeros_like(cell["sum_l"].values)
    if not cell.sizes["half"]:
        return nothing
    loss = cell["loss"].sum("draw").values
    gap_g = loss[:, 0::2].sum(1) - loss[:, 1::2].sum(1)
    pair = cell["pair"].values.sum(1)
    known = pair[:, base].mean(1)
    scale = float(gap_g @ known) / max(float(known @ known), 1e-300)
    return gap_g, scale * pair


def _columns(reading: Reading, column: Callable[[str, xr.Dataset], Columns], drop_failed: bool) -> Estimate:
    names, parts, least = reading.components, [], np.inf
    for name in names:
        cell = healthy_groups(reading.cell(name), name, drop_failed=drop_failed)
        parts.append(column(name, cell))
        least = min(least, cell.sizes["group"])
    data = {
        key: (("component", "token") if parts[0][key].ndim else ("component",), np.stack([p[key] for p in parts]))
        for key in parts[0]
        if all(key in part for part in parts)
    }
    out = xr.Dataset(data, {"component": names}).assign_coords(reading.tokens.coords)
    out.attrs |= {"n_beta": reading.recipe.n_beta, "gamma": reading.recipe.gamma, "standardised": "no"}
    return Estimate("chi", out, int(least), "nats^2")


def _group_means(cell: xr.Dataset, base: slice) -> tuple[np.ndarray, np.ndarray]:
    """Means of g ``[groups]`` and of f - f(w*) ``[groups, tokens]``."""
    count = cell.sizes["member"] * cell.sizes["draw"]
    mean_l = cell["sum_l"].values / count
    g = mean_l[:, base].mean(1)
    return g, mean_l - g[:, None]


def _mean_shift(cell: xr.Dataset, base: slice) -> tuple[np.ndarray, np.ndarray]:
    """E_F[f] - f(w*) and its standard error, ``[tokens]``."""
    _, f = _group_means(cell, base)
    found = summary(f.mean(0), f)
    return found["value"], found["error"]


def _mean_term(cell: xr.Dataset, base: slice, shift: np.ndarray) -> Shares:
    """-E_C[g] (E_C[f] - E_F[f]) and every group's share, to first order."""
    g, f = _group_means(cell, base)
    between, _ = covariance_of_means(g[:, None], f)
    off = f.mean(0) - shift
    value = -(g.mean() * off - between / len(g))
    return value, -(g[:, None] * off + g.mean() * (f - f.mean(0)))


def _best(cell: xr.Dataset, reading: Reading) -> tuple[str, Shares]:
    """Name and shares of the estimator that these chains allow."""
    if cell.sizes["half"] > 0 and contraction(cell, reading.recipe).valid:
        return "coupled", _coupled_shares(cell, reading.base)
    return "covariance", _covariance_shares(cell, reading.base)


def psi(chi: Estimate) -> xr.DataArray:
    """Column-centred chi: negative = the component expresses the token (conventions 6.2)."""
    return chi.value - chi.value.mean("token")
