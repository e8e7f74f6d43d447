"""Which polygon forms: basins of the polygons, their answers to the feature probabilities, and runs under them."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from susceptometer.domains.basin import Basin, basin, meanings
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
from susceptometer.patterning.response import Response
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
    solver = torch.optim.LBFGS(list(leaves.values()), max_iter=500, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        solver.zero_grad()
        value = feature_losses(leaves, every_feature()).mean()
        value.backward()
        return value

    solver.step(loss)
    return {name: w.detach() for name, w in leaves.items()}


def anchor(name: str, dropped: int = 0) -> Params:
    """The minimum of a polygon of `STARTS`; a dropped feature other than 0 is a relabelling."""
    k, norm, bias, dead = STARTS[name]
    found = minimum(polygon(k, norm, bias, dead_bias=dead))
    order = [(i - dropped) % FEATURES for i in range(FEATURES)]
    return {"W": found["W"][:, order], "b": found["b"][order]}


def sampled(params: Params, recipe: Recipe, *, name: str, seed: int) -> Basin:
    """Sample one configuration's local posterior under uniform probabilities; probe i is feature i alone."""
    subject = toy_subject(params, name=name)
    features = params["b"].shape[0]
    reading = read_here(subject, {"whole": subject.components["full"]}, recipe, seed=seed)
    return basin(reading, features * np.eye(features))


def dropping(five: Basin, feature: int) -> Basin:
    """The 5-gon that drops ``feature``, from the one that drops feature 0: exact by symmetry of uniform data."""
    features = five.chi.shape[1]
    return five.relabelled((np.arange(features) - feature) % features)


def responses(six: Basin, five: Basin) -> Response:
    """Rows of the 6-gon ``6`` (the reference) and of all 5-gons (``5-i`` drops i); columns are the features."""
    features = range(six.chi.shape[1])
    return meanings({"6": six, **{f"5-{i}": dropping(five, i) for i in features}}, "6", list(features))


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
