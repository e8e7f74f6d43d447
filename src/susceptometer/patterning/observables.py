"""Observables beyond component losses: the loss of a pattern, cluster or probe, and the LLC of named solutions."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from susceptometer.errors import DataError, RunError
from susceptometer.estimate.estimate import healthy_groups
from susceptometer.patterning.response import Response, group_replicates, pseudo_values, response
from susceptometer.sampling.reading import Reading

Array = NDArray[np.float64]
Meaning = Literal["observable", "total", "log-odds"]


def loss_response(
    reading: Reading, component: str, sets: Mapping[str, NDArray[np.bool_]], *, probe: str = "base"
) -> Response:
    r"""Response of mean losses over sets of tokens: phi_S = mean of l over S, chi = -Cov[phi_S, l_x - L] (kreer2025).

    A set is a token pattern, a cluster, or a whole evaluation probe; lowering its loss is a negative target, in nats.

    Args:
        reading: Read with ``Keep(tokens=True)``.
        component: Whose posterior; ``full`` for all weights.
        sets: Name -> which tokens of the reading belong ``[tokens]``.
        probe: Whose tokens are the data of the plan.

    Raises:
        RunError: Token losses were not kept.
        DataError: A set is empty or does not fit.
    """
    cell = healthy_groups(reading.cell(component), component)
    if "kept_tokens" not in cell:
        raise RunError(
            "token losses were not kept",
            where=f"reading of {reading.subject}, {component}",
            why="the loss of a set must be known at every draw",
            do="read with keep=Keep(tokens=True)",
        )
    masks = np.stack([_mask(name, mask, reading) for name, mask in sets.items()])
    chosen = (reading.tokens["probe"] == probe).to_numpy()

    def minus_covariance(part: xr.Dataset) -> Array:
        rise = _within_arms(part["kept_tokens"].to_numpy().astype(np.float64), cell.sizes["half"] > 0)
        phi = rise @ (masks / masks.sum(1, keepdims=True)).T
        f = rise[:, chosen] - rise[:, reading.base].mean(1, keepdims=True)
        return -(phi - phi.mean(0)).T @ f / len(rise)

    data = reading.tokens.isel(token=np.flatnonzero(chosen)).rename({"token": "datum"})
    base = data["probe"].to_numpy() == "base"
    share = base / max(1, base.sum())
    return Response(pseudo_values(minus_covariance, cell), tuple(sets), reading.recipe.n_beta, share, data)


def _mask(name: str, mask: NDArray[np.bool_], reading: Reading) -> Array:
    if mask.shape != (reading.tokens.sizes["token"],) or not mask.any():
        raise DataError(
            "a set of tokens is empty or does not fit",
            where="loss_response",
            value=f"{name}: {mask.shape}",
            why=f"the reading has {reading.tokens.sizes['token']} tokens",
            do="give a boolean per token, some true",
        )
    return mask.astype(np.float64)


def _within_arms(kept: Array, responds: bool) -> Array:
    """Losses ``[draws of all chains, tokens]``, measured from the mean of their response arm."""
    arms = 2 if responds else 1
    parts = [kept[:, arm::arms].reshape(-1, kept.shape[-1]) for arm in range(arms)]
    return np.concatenate([part - part.mean(0) for part in parts])


def solution_response(readings: Mapping[str, Reading], meaning: Meaning, *, component: str = "full") -> Response:
    r"""Response of named solutions to probes: three meanings of "change the LLC" (conventions of writing, section 3).

    With g = L - L(w_A), Delta_j = L_j - L and n = n_beta, per unit of dh_j (the plan multiplies rows by n):

        observable   lambda_A = n E_A[g]:             n chi_Aj,      chi_Aj = -Cov_A(g, Delta_j)
        total        lambda of the mixed loss:        n chi_Aj + E_A[Delta_j] - Delta_j(w_A)
        log-odds     log Z_A - log Z_B, two readings: E_B[Delta_j] - E_A[Delta_j]

    Where both losses are minimal at w_A and gamma = 0, ``total`` vanishes on a quadratic: lambda is d/2 whatever the
    mix. Log-odds are a difference of means and far less noisy than a covariance.

    Args:
        readings: One per solution, same probes and recipe; ``log-odds`` takes exactly two.
        meaning: One of the three.
        component: Which cell; usually ``full``.

    Returns:
        Rows: one per solution (``log-odds``: one, named ``A/B``); data: the probes, ``base`` with share one.

    Raises:
        DataError: Unknown meaning, or not two readings for log-odds.
    """
    first = next(iter(readings.values()))
    form = response(_only(first, component), probe=None).per("probe")
    means = {name: _means(reading, component) for name, reading in readings.items()}
    if meaning == "log-odds":
        if len(means) != 2:
            raise DataError("log-odds compare two solutions", where="solution_response", value=list(readings))
        (one, a), (other, b) = means.items()
        groups = min(len(a), len(b))
        rows, names = (b[:groups] - a[:groups])[:, None], (f"{one}/{other}",)
        return Response(rows, names, form.n_beta, form.share, form.data, "nats")
    if meaning not in {"observable", "total"}:
        raise DataError("unknown meaning", where="solution_response", value=meaning, do="observable, total, log-odds")
    found = []
    for name, reading in readings.items():
        cell = healthy_groups(reading.cell(component), component)
        rows = form.n_beta * _per_probe(reading, group_replicates(reading, cell))
        found.append(rows + (means[name] - _center(reading, component) if meaning == "total" else 0.0))
    groups = min(map(len, found))
    stack = np.stack([rows[:groups] for rows in found], 1)
    return Response(stack, tuple(readings), form.n_beta, form.share, form.data, "nats")


def _only(reading: Reading, component: str) -> Reading:
    return Reading(reading.subject, reading.recipe, {"solution": reading.cell(component)}, reading.tokens)


def _per_probe(reading: Reading, values: Array) -> Array:
    """Means over the tokens of each probe, in sorted order of their names: ``[..., tokens] -> [..., probes]``."""
    names, index = np.unique(reading.tokens["probe"].to_numpy(), return_inverse=True)
    return np.stack([values[..., index == i].mean(-1) for i in range(len(names))], -1)


def _center(reading: Reading, component: str) -> Array:
    """Delta_j(w_A) of every probe, nats ``[probes]``."""
    losses = reading.cell(component)["center_loss"].to_numpy()
    return _per_probe(reading, losses - losses[reading.base].mean())


def _means(reading: Reading, component: str) -> Array:
    """E_A[Delta_j] of every chain group, nats ``[groups, probes]``."""
    cell = healthy_groups(reading.cell(component), component)
    rise = cell["sum_l"].to_numpy() / (cell.sizes["member"] * cell.sizes["draw"])
    shift = rise - rise[:, reading.base].mean(1, keepdims=True)
    return _center(reading, component) + _per_probe(reading, shift)
