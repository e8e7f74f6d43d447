r"""Which polygon forms: responses of the polygons' free energies to the feature probabilities, and runs under them.

A configuration A answers a shift of the data towards feature i in three ways (one for each reading of "change the
learning coefficient"), written here as rows of a response matrix, d mu = n_beta chi dh:

    fixed      mu = n_beta E_A[L - L(w_A)], observable held fixed      n_beta chi_Ai
    total      the same of the shifted loss                            n_beta chi_Ai + E_A[D_i] - D_i(w_A)
    log-odds   mu = log Z_A/Z_B against a reference configuration B    E_B[D_i] - E_A[D_i]          D_i = L_i - L

Derived from log Z = log int exp(-n_beta L - (gamma/2)|w - w_A|^2) and the covariance form of chi (baker2025).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from susceptometer.domains.superposition import (
    FEATURES,
    TRAINING,
    Configuration,
    configurations,
    every_feature,
    feature_losses,
    fresh_toys,
    polygon,
    toy_subject,
)
from susceptometer.estimate.convergence import trace_health
from susceptometer.patterning.response import Response, response
from susceptometer.sampling.reading import read_here
from susceptometer.sampling.recipe import Recipe
from susceptometer.train.loop import Training, stacked, train
from susceptometer.types import Batch, Params

Array = NDArray[np.float64]

STARTS = {"6": (6, 1.321, -0.618, 0.0), "5": (5, 1.170, -0.282, 0.083)}
"""Sides, norm, bias and dead bias near the two best minima; ``5`` drops feature 0."""


def minimum(params: Params) -> Params:
    """The nearest minimum of the uniform loss (L-BFGS, float64)."""
    leaves = {name: w.clone().requires_grad_() for name, w in params.items()}
    solver = torch.optim.LBFGS(
        list(leaves.values()), max_iter=500, tolerance_grad=1e-12, line_search_fn="strong_wolfe"
    )

    def loss() -> torch.Tensor:
        solver.zero_grad()
        value = feature_losses(leaves, every_feature()).mean()
        value.backward()
        return value

    solver.step(loss)  # type: ignore[arg-type]
    return {name: w.detach() for name, w in leaves.items()}


def anchor(name: str, dropped: int = 0) -> Params:
    """The minimum of a polygon of `STARTS`; a dropped feature other than 0 is a relabelling."""
    k, norm, bias, dead = STARTS[name]
    found = minimum(polygon(k, norm, bias, dead_bias=dead))
    order = [(i - dropped) % FEATURES for i in range(FEATURES)]
    return {"W": found["W"][:, order], "b": found["b"][order]}


@dataclass(frozen=True, eq=False)
class Anchor:
    """Moments around one configuration.

    chi: -Cov[L, D_i] of every chain group ``[groups, features]``.
    mean: E_A[D_i] of every group ``[groups, features]``, nats.
    center: D_i(w_A) ``[features]``.
    llc: n_beta (E_A[L] - L(w_A)) of every group ``[groups]``.
    rhat: R-hat of the loss over groups.
    n_beta: Inverse temperature of the chains, 1/nats.
    """

    chi: Array
    mean: Array
    center: Array
    llc: Array
    rhat: float
    n_beta: float


def sampled(params: Params, recipe: Recipe, *, name: str, seed: int) -> Anchor:
    """Sample one configuration's local posterior under uniform feature probabilities."""
    subject = toy_subject(params, name=name)
    reading = read_here(subject, {"whole": subject.components["full"]}, recipe, seed=seed)
    cell = reading.cell("whole")
    count = cell.sizes["member"] * cell.sizes["draw"]
    center = cell["center_loss"].to_numpy()
    losses = cell["sum_l"].to_numpy() / count + center
    return Anchor(
        chi=response(reading).replicates[:, 0],
        mean=losses - losses.mean(1, keepdims=True),
        center=center - center.mean(),
        llc=recipe.n_beta * cell["loss"].mean(("member", "draw")).to_numpy(),
        rhat=trace_health(cell)[1],
        n_beta=recipe.n_beta,
    )


def relabelled(found: Anchor, shift: int) -> Anchor:
    """The same anchor with feature i renamed i + shift: exact by the symmetry of the uniform task."""
    rolled = {n: np.roll(getattr(found, n), shift, axis=-1) for n in ("chi", "mean", "center")}
    return replace(found, **rolled)


def responses(anchors: Mapping[str, Anchor], reference: str) -> Response:
    """Rows ``fixed A``, ``total A`` and ``log-odds A`` of every anchor; columns are the six features.

    Group g of one anchor is paired with group g of the reference.
    """
    rows: dict[str, Array] = {}
    n_beta = anchors[reference].n_beta
    for name, one in anchors.items():
        rows[f"fixed {name}"] = n_beta * one.chi
        rows[f"total {name}"] = n_beta * one.chi + one.mean - one.center
        if name != reference:
            rows[f"log-odds {name}"] = anchors[reference].mean - one.mean
    features = next(iter(rows.values())).shape[1]
    data = xr.Dataset(coords={"feature": ("datum", np.arange(features))})
    share = np.full(features, 1 / features)
    return Response(np.stack(list(rows.values()), 1), tuple(rows), n_beta, share, data, unit="1")


def shifted(dh: Array) -> Array:
    """Feature probabilities ``[c]`` after a shift: (1 - sum h)/c + h_i, clipped at zero and normalised."""
    kept = np.maximum((1 - dh.sum()) / len(dh) + dh, 0.0)
    return kept / kept.sum()


def trained_runs(
    probabilities: Array, runs: int, *, seed: int, into: Path, settings: Training = TRAINING
) -> tuple[Params, Configuration]:
    """What ``runs`` starts become under feature probabilities ``[c]``; starts depend on the seed alone.

    Returns:
        Weights ``[runs, ...]`` and the polygons in them.
    """
    weights = torch.from_numpy(len(probabilities) * probabilities).expand(runs, -1)
    rows = every_feature(len(probabilities))["feature"].expand(runs, -1)

    def source(_: int) -> Batch:
        return {"feature": rows, "weights": weights}

    starts = fresh_toys(runs, seed=seed)
    params = train(stacked(feature_losses), starts, source, settings=settings, into=into)
    return params, configurations(params)
