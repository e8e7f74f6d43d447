"""Measurements behind the claims on sequence modes: sampled coefficients of truncated laws, kept cell by cell."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from susceptometer.domains.sequence_net import (
    SignNet,
    derivatives,
    descend,
    flat_weights,
    minimised,
    mode_slopes,
    population_loss,
    unflat,
)
from susceptometer.domains.sequence_subject import LogLaw, law_subject
from susceptometer.estimate.llc import rise
from susceptometer.posterior.subject import Subject
from susceptometer.reproduce.setting import Arrays, Setting
from susceptometer.sampling.coupling import Coupling
from susceptometer.sampling.reading import read_here
from susceptometer.sampling.recipe import Recipe, Schedule
from susceptometer.sampling.sgld import LeimkuhlerMatthews
from susceptometer.structure.modes import modes, truncated
from susceptometer.structure.resolution import predicted_llc, visibility
from susceptometer.testbed.form import Array
from susceptometer.testbed.sequence_source import SequenceSource, spins
from susceptometer.testbed.sign_model import SignModel
from susceptometer.types import Params

ORACLE = SignModel((0.5, 0.2, 0.08, 0.03), 1)
COUPLINGS = (0.5, 0.2, 0.05)
GAMMA = 10.0
LEARNING_RATE = 0.5
STIFFNESS = 0.3
"""Step size times the largest precision: small enough that the Leimkuhler-Matthews bias is below 1 % everywhere."""

LENGTH = 24.0
"""Steps of a chain times step size times gamma: the slowest direction relaxes 12 times; a third is burn-in."""


@dataclass(frozen=True)
class Amount:
    """How much a scale measures."""

    groups: int
    n_betas: tuple[float, ...]
    seeds: tuple[int, ...]
    steps: tuple[int, ...]


AMOUNTS = {
    "smoke": Amount(8, (30.0,), (1,), (0, 300)),
    "cpu": Amount(32, (10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0), (1, 2, 3, 4), (0, 100, 300, 3000, 30_000)),
    "gpu": Amount(64, (10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0), (1, 2, 3, 4, 5, 6), (0, 100, 300, 3000, 30_000)),
}


def group_llcs(subject: Subject, recipe: Recipe, *, seed: int) -> Array:
    """lambda_hat of every group of the component ``full``, ``[groups]``; equal seeds share noise and batches."""
    reading = read_here(subject, {"full": subject.components["full"]}, recipe, seed=seed)
    return recipe.n_beta * rise(reading, reading.cell("full"))


def resolved_recipe(n_beta: float, largest: float, groups: int, *, gamma: float) -> Recipe:
    """Chains long enough for every direction at this temperature; the step shrinks as n_beta grows."""
    step_size = STIFFNESS / (n_beta * largest + gamma)
    steps = int(LENGTH / (step_size * gamma))
    thin = max(1, steps // 200)
    return Recipe(
        sampler=LeimkuhlerMatthews(step_size=step_size),
        schedule=Schedule(groups=groups, burn_in=steps // 3, draws=max(50, 2 * steps // (3 * thin)), thin=thin),
        n_beta=n_beta, gamma=gamma, coupling=Coupling(antithetic=True),
    )  # fmt: skip


def oracle(setting: Setting) -> Arrays:
    """E0: the four-spin model for losses that keep 1..4 spins: ``sampled`` [kept, groups] and ``exact`` [kept]."""
    source, n_beta = spins(ORACLE.couplings), 30.0
    found, groups = modes(source), AMOUNTS[setting.scale].groups
    recipe = Recipe(
        sampler=LeimkuhlerMatthews(step_size=STIFFNESS / (n_beta + 1)), n_beta=n_beta, gamma=1.0,
        schedule=Schedule(groups=groups, burn_in=60, draws=100, thin=6), coupling=Coupling(antithetic=True),
    )  # fmt: skip

    def make() -> Arrays:
        values = [
            group_llcs(
                law_subject("spins", ORACLE.center, ORACLE.log_law, truncated(source, found, kept + 1), source.weights),
                recipe, seed=setting.seed,
            )
            for kept in (1, 2, 3, 4)
        ]  # fmt: skip
        return {"sampled": np.array(values), "exact": np.array([ORACLE.llc(n_beta, 1.0, k) for k in (1, 2, 3, 4)])}

    return setting.kept("oracle", make)


def source_and_cut(drop: int = 1) -> tuple[SequenceSource, Array]:
    """The three-spin source and its law without the last ``drop`` modes ``[contexts, outputs]``."""
    source = spins(COUPLINGS)
    found = modes(source)
    return source, truncated(source, found, found.rank - drop)


def trained(setting: Setting, seed: int, *, whole: bool) -> dict[int, Params]:
    """Weights along gradient descent on the whole or the truncated law, step to weights."""
    source, cut = source_and_cut()
    net, steps = SignNet(len(COUPLINGS)), AMOUNTS[setting.scale].steps
    start = net.initial(seed)
    target = (source.conditional if whole else cut, source.weights)

    def make() -> Arrays:
        kept = descend(net, start, target, learning_rate=LEARNING_RATE, keep=steps)
        return {str(step): flat_weights(params).numpy() for step, params in kept.items()}

    stored = setting.kept(f"train/{'whole' if whole else 'cut'}-seed{seed}", make)
    return {int(step): unflat(torch.tensor(values), start) for step, values in stored.items()}


def same_weights(setting: Setting, seed: int, n_beta: float) -> Arrays:
    """E1: lambda_hat under both losses at the w* trained on the truncated law, paired; with the quadratic prediction.

    Returns:
        ``cut``, ``whole`` and ``same`` (null: a mode of amplitude zero dropped) ``[groups]``; ``predicted`` [2] (nan
        where the quadratic posterior does not exist); ``visibility`` of the dropped mode.
    """
    net, (source, cut) = SignNet(len(COUPLINGS)), source_and_cut()
    center = list(trained(setting, seed, whole=False).values())[-1]
    labels = {"cut": cut, "whole": source.conditional, "same": source_and_cut(0)[1]}

    def make() -> Arrays:
        curves = {name: _derivatives(net, center, table, source.weights) for name, table in labels.items()}
        largest = float(np.linalg.eigvalsh(curves["whole"][1])[-1])
        recipe = resolved_recipe(n_beta, largest, AMOUNTS[setting.scale].groups, gamma=GAMMA)
        slopes, bends = mode_slopes(net, center, source, modes(source))
        return {
            **{k: _sampled(net.log_law, center, (v, source.weights), recipe, setting.seed) for k, v in labels.items()},
            "predicted": np.array([_predicted(*curves[k], n_beta) for k in ("cut", "whole")]),
            "visibility": visibility(slopes, bends, n_beta=n_beta)[-1:],
        }

    return setting.kept(f"same/seed{seed}-n_beta{n_beta:g}", make)


def two_trainings(setting: Setting, seed: int, n_beta: float = 100.0) -> Arrays:
    """E2: lambda_hat along two trainings from the same start, each under its own loss, ``[steps, groups]`` each."""
    net, (source, cut) = SignNet(len(COUPLINGS)), source_and_cut()
    laws = {"cut": cut, "whole": source.conditional}
    runs = {name: (trained(setting, seed, whole=name == "whole"), law) for name, law in laws.items()}
    steps = AMOUNTS[setting.scale].steps

    def curve(path: Mapping[int, Params], labels: Array) -> Array:
        return np.array([_own(setting, net, path[step], (labels, source.weights), n_beta) for step in steps])

    def make() -> Arrays:
        return {"steps": np.array(steps), **{name: curve(*run) for name, run in runs.items()}}

    return setting.kept(f"two/seed{seed}", make)


def two_minima(setting: Setting, seed: int, n_beta: float = 100.0) -> Arrays:
    """The counter-example: both losses minimised to machine precision from the same start, ``[groups]`` each."""
    net, (source, cut) = SignNet(len(COUPLINGS)), source_and_cut()

    def make() -> Arrays:
        out = {}
        for name, labels in {"cut": cut, "whole": source.conditional}.items():
            target = (labels, source.weights)
            out[name] = _own(setting, net, minimised(net, net.initial(seed), target), target, n_beta)
        return out

    return setting.kept(f"minima/seed{seed}", make)


def departures() -> Array:
    """E3: n_beta where column r leaves column r - 1 by 0.1, exact and by the rule 0.2 h/(s c)², ``[spins, 2]``."""
    points = [(ORACLE.departure(i, 1.0, 0.1), 0.2 / ORACLE.couplings[i] ** 2) for i in range(1, 4)]
    return np.array(points)


def dial(n_betas: Array) -> Array:
    """Exact lambda_hat of the four-spin model for 1..4 kept spins, ``[n_betas, 4]``."""
    return np.array([[ORACLE.llc(float(n_beta), 1.0, kept) for kept in (1, 2, 3, 4)] for n_beta in n_betas])


def _own(setting: Setting, net: SignNet, center: Params, target: tuple[Array, Array], n_beta: float) -> Array:
    largest = float(np.linalg.eigvalsh(_derivatives(net, center, *target)[1])[-1])
    recipe = resolved_recipe(n_beta, largest, AMOUNTS[setting.scale].groups, gamma=GAMMA)
    return _sampled(net.log_law, center, target, recipe, setting.seed)


def _sampled(log_law: LogLaw, center: Params, target: tuple[Array, Array], recipe: Recipe, seed: int) -> Array:
    return group_llcs(law_subject("sign net", center, log_law, *target), recipe, seed=seed)


def _derivatives(net: SignNet, center: Params, labels: Array, weights: Array) -> tuple[Array, Array]:
    return derivatives(lambda params: population_loss(net.log_law(params), labels, weights), center)


def _predicted(gradient: Array, curvature: Array, n_beta: float) -> float:
    if np.linalg.eigvalsh(n_beta * curvature + GAMMA * np.eye(len(gradient)))[0] <= 0:
        return float("nan")
    return predicted_llc(gradient, curvature, n_beta=n_beta, gamma=GAMMA)
