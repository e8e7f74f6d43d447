"""Local learning coefficients: global, weight-restricted, on other probes, and by two temperatures (WBIC)."""

import numpy as np
import xarray as xr

from susceptometer.estimate.convergence import trace_health
from susceptometer.estimate.estimate import Estimate, healthy_groups
from susceptometer.sampling.reading import Reading


def llc(reading: Reading, *, probe: str = "base", drop_failed: bool = False) -> Estimate:
    r"""Learning coefficient of every component, with its error (lau2023; refined: wang2024).

        lambda_hat_C = n_beta ( E_C[L] - L(w*) )

    L is the mean loss on ``probe``, paired: w_t and w* on the same tokens. Draws only, never burn-in. With
    response arms the chains sit at n_beta (1 +- h); their mean is off by at most the relative h^2.
    Negative values mean that w* is no minimum for this component; they are reported, not clipped.

    Shapes:
        returns     component (value, error, ess, rhat, groups: those that are left)

    Raises:
        ChainError: A chain failed (and ``drop_failed`` is False), or fewer than two groups are left.
    """
    rows = [_one(reading, name, probe, drop_failed) for name in reading.cells]
    data = xr.concat(rows, xr.DataArray(list(reading.cells), dims="component", name="component"))
    data.attrs |= {"n_beta": reading.recipe.n_beta, "gamma": reading.recipe.gamma, "probe": probe}
    data.attrs["relative_bias_bound"] = reading.recipe.coupling.h**2
    return Estimate("llc", data, int(data["groups"].min()), "1")


def _one(reading: Reading, name: str, probe: str, drop_failed: bool) -> xr.Dataset:
    cell = healthy_groups(reading.cell(name), name, drop_failed=drop_failed)
    per_group = reading.recipe.n_beta * rise(reading, cell, probe)
    groups = len(per_group)
    ess, rhat = trace_health(cell)
    return xr.Dataset(
        {
            "value": float(per_group.mean()),
            "error": float(per_group.std(ddof=1) / np.sqrt(groups)),
            "ess": ess,
            "rhat": rhat,
            "groups": groups,
        }
    )


def rise(reading: Reading, cell: xr.Dataset, probe: str = "base") -> np.ndarray:
    """E[L] - L(w*) on a probe for every group, ``[groups]`` nats."""
    if probe == "base":
        return cell["loss"].mean(("member", "draw")).values
    chosen = (reading.tokens["probe"] == probe).values
    if not chosen.any():
        raise KeyError(f"no probe {probe!r}; present: {sorted(set(reading.tokens['probe'].values))}")
    draws = cell.sizes["member"] * cell.sizes["draw"]
    return cell["sum_l"].values[:, chosen].mean(1) / draws


def llc_from_two_temperatures(first: Reading, second: Reading) -> Estimate:
    r"""Learning coefficient without L(w*): slope of E[L] between two temperatures (watanabe2013).

        lambda = (E_1[L] - E_2[L]) / (1/nb_1 - 1/nb_2)        (n L with 1/beta = n/nb)

    Works off the minimum too, but pays the noise of two runs.

    Shapes:
        returns     component
    """
    inverse = 1 / first.recipe.n_beta - 1 / second.recipe.n_beta
    names = [name for name in first.cells if name in second.cells]
    value, error, least = [], [], np.inf
    for name in names:
        sides = [rise(run, healthy_groups(run.cell(name), name)) for run in (first, second)]
        value.append((sides[0].mean() - sides[1].mean()) / inverse)
        variance = sum(side.var(ddof=1) / len(side) for side in sides)
        error.append(np.sqrt(variance) / abs(inverse))
        least = min(least, *map(len, sides))
    data = xr.Dataset({"value": ("component", value), "error": ("component", error)}, {"component": names})
    return Estimate("llc_from_two_temperatures", data, int(least), "1")


def wbic(reading: Reading, examples: int) -> Estimate:
    r"""Watanabe's criterion E[n L_n] from chains at n_beta = n/log n (watanabe2013).

    Args:
        reading: Chains; n_beta should be examples/log(examples) (stored in the attributes).
        examples: n.

    Shapes:
        returns     component, nats
    """
    base = float(reading.center_loss().mean())
    names, value, error = list(reading.cells), [], []
    for name in names:
        per_group = examples * (base + rise(reading, healthy_groups(reading.cell(name), name)))
        value.append(per_group.mean())
        error.append(per_group.std(ddof=1) / np.sqrt(len(per_group)))
    data = xr.Dataset({"value": ("component", value), "error": ("component", error)}, {"component": names})
    data.attrs |= {"n_beta": reading.recipe.n_beta, "watanabe": examples / np.log(examples)}
    return Estimate("wbic", data, reading.recipe.schedule.groups, "nats")
