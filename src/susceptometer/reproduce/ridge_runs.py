"""Measurements behind the claims on transient ridge: one batched training, distances, outputs and coefficients."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from susceptometer.develop.course import Course
from susceptometer.domains.in_context import RegressionWorld, discrete, distance, ridge
from susceptometer.domains.in_context_net import (
    RegressionNet,
    RegressionTraining,
    regression_subject,
    train_runs,
)
from susceptometer.estimate.checkpoints import llc_over
from susceptometer.posterior.subject import Subject
from susceptometer.reproduce.setting import Arrays, Setting
from susceptometer.rng import stream
from susceptometer.sampling.coupling import Coupling
from susceptometer.sampling.recipe import Recipe, Schedule
from susceptometer.sampling.sgld import SGLD
from susceptometer.testbed.form import Array
from susceptometer.types import Params

INFINITE = 0
"""Stands for a new normal task per sequence."""

N_BETAS = (60.0, 600.0)
"""hoogland2024's (a draw's loss rises by more than what parts the predictors), and a tenth of its temperature."""

STEP = 0.018
"""eps n_beta; gamma equals n_beta, so every temperature takes the same relative steps."""


@dataclass(frozen=True)
class RidgeAmount:
    """How much a scale measures."""

    diversities: tuple[int, ...]
    seeds: int
    last: int
    read: tuple[int, ...]
    rows: int
    schedule: tuple[int, int, int]
    settle: int


AMOUNTS = {
    "smoke": RidgeAmount((3, INFINITE), 1, 60, (0, 60), 128, (2, 4, 4), 10),
    "cpu": RidgeAmount((3, 8, 32, INFINITE), 3, 6000, (1000, 6000), 1024, (4, 160, 60), 1000),
    "gpu": RidgeAmount(
        (1, 3, 4, 6, 8, 11, 16, 32, 64, 128, INFINITE), 3, 60_000, (200, 600, 1500, 4000, 12_000, 60_000), 8192,
        (8, 700, 500), 4000,
    ),
}  # fmt: skip
WORLD = RegressionWorld(2, 8, seed=0)
NET = RegressionNet(WORLD)
PROBE_ROWS = 64


def amount_of(setting: Setting) -> RidgeAmount:
    """The amounts of a scale."""
    return AMOUNTS[setting.scale]


def runs_of(setting: Setting) -> list[tuple[int, int]]:
    """(diversity, seed) of every run, in the order of the batched training."""
    amount = amount_of(setting)
    return [(m, seed) for m in amount.diversities for seed in range(amount.seeds)]


def steps_of(setting: Setting) -> list[int]:
    """Checkpoints: about 12 per decade, and the ones that are read."""
    last = amount_of(setting).last
    dense = np.unique(np.geomspace(10, last, int(12 * np.log10(last / 10)) + 2).round().astype(int))
    return sorted({0, *dense.tolist(), *amount_of(setting).read, last})


def tasks_of(diversity: int) -> Tensor | None:
    """The task set; None for new normal tasks."""
    return None if diversity == INFINITE else WORLD.tasks(diversity)


def best(diversity: int, x: Tensor, y: Tensor) -> Tensor:
    """Bayes predictions for the training tasks of a diversity."""
    tasks = tasks_of(diversity)
    return ridge(x, y, WORLD.variance) if tasks is None else discrete(x, y, tasks, WORLD.variance)


def evaluation(setting: Setting, diversity: int) -> tuple[Tensor, Tensor]:
    """Fixed sequences of a diversity (``INFINITE``: out of distribution), the same at all checkpoints."""
    generator = stream(setting.seed, "evaluation", diversity)
    return WORLD.sequences(amount_of(setting).rows, tasks_of(diversity), generator)


def root_probe(setting: Setting) -> tuple[Tensor, Tensor]:
    """Sequences of the root task, which all task sets hold: the probe of the joint PCA."""
    return WORLD.sequences(PROBE_ROWS, WORLD.tasks(1), stream(setting.seed, "root probe"))


def ideal_losses(setting: Setting) -> Arrays:
    """Loss and its error of dMMSE and ridge in and out of distribution, ``value`` and ``error`` [diversities, 2, 2]."""

    def row(m: int) -> list:
        batches = [evaluation(setting, m), evaluation(setting, INFINITE)]
        own = [_mean((best(m, x, y) - y) ** 2) for x, y in batches]
        return [own, [_mean((ridge(x, y, WORLD.variance) - y) ** 2) for x, y in batches]]

    def make() -> Arrays:
        found = np.array([row(m) for m in amount_of(setting).diversities])
        return {"value": found[..., 0], "error": found[..., 1]}

    return setting.kept("ideal", make)


def training(setting: Setting) -> Arrays:
    """All runs in one batched model.

    Returns:
        ``steps`` [T]; ``inside``, ``outside``: losses in and out of distribution; ``inside_best``, ``inside_ridge``,
        ``outside_best``, ``outside_ridge``: mean squared distances to the two predictors, all ``[runs, T]``;
        ``outputs`` [runs, T, probe outputs]; ``weights-RUN-STEP`` at the checkpoints that are read.
    """
    runs, steps = runs_of(setting), steps_of(setting)
    sets = {m: [evaluation(setting, m), evaluation(setting, INFINITE)] for m in amount_of(setting).diversities}
    goals = {m: [(best(m, x, y), ridge(x, y, WORLD.variance)) for x, y in batches] for m, batches in sets.items()}
    probe, rows = root_probe(setting), []
    out: Arrays = {}

    def watch(step: int, now: dict[str, Tensor]) -> None:
        row = []
        for number, (m, _) in enumerate(runs):
            params = {name: value[number] for name, value in now.items()}
            row.append([*_measures(params, sets[m], goals[m]), NET.predictions(params, *probe).numpy().ravel()])
            if step in amount_of(setting).read:
                out[f"weights-{number}-{step}"] = torch.cat([v.reshape(-1) for v in params.values()]).numpy()
        rows.append(row)

    def make() -> Arrays:
        started = [(setting.seed * 1000 + seed, tasks_of(m)) for m, seed in runs]
        train_runs(NET, started, RegressionTraining(), keep=steps, watch=torch.no_grad()(watch))
        names = ("inside", "outside", "inside_best", "inside_ridge", "outside_best", "outside_ridge")
        found = {n: np.array([[one[i] for one in row] for row in rows]).T for i, n in enumerate(names)}
        outputs = np.array([[one[-1] for one in row] for row in rows]).swapaxes(0, 1).astype(np.float32)
        return {"steps": np.array(steps), **found, "outputs": outputs, **out}

    return setting.kept("training", make)


def course(setting: Setting, name: str, run: int) -> Course:
    """A measured curve of one run (errors: none, the evaluation set is fixed)."""
    found = training(setting)
    return Course(name, found["steps"], found[name][run], np.zeros(len(found["steps"])), "y²")


def weights(setting: Setting, run: int, step: int) -> Params:
    """Weights of a run at a checkpoint that is read."""
    return _shaped(training(setting)[f"weights-{run}-{step}"])


def _shaped(flat: Array) -> Params:
    shapes = NET.shapes()
    parts = torch.tensor(flat).split([int(np.prod(shape)) for shape in shapes.values()])
    return {name: part.view(shape) for part, (name, shape) in zip(parts, shapes.items(), strict=True)}


def settled(setting: Setting, step: int) -> Arrays:
    """Side branches of a checkpoint on which the learning rate falls to zero: coefficients belong to minima.

    Returns:
        ``flat`` [runs, weights] at the end of the branch; ``inside_best``, ``inside_ridge`` [runs]: distances there.
    """
    amount, runs, out = amount_of(setting), runs_of(setting), {}

    def watch(at: int, now: dict[str, Tensor]) -> None:
        out.update({name: value.detach() for name, value in now.items()})

    def make() -> Arrays:
        how = RegressionTraining(warm_up=amount.settle // 20, cool_down=amount.settle)
        started = [(setting.seed * 1000 + 500 + seed, tasks_of(m)) for m, seed in runs]
        starts = [weights(setting, number, step) for number in range(len(runs))]
        train_runs(NET, started, how, keep=[amount.settle], watch=watch, starts=starts)
        rows = [_settled_row(setting, {name: value[i] for name, value in out.items()}, i) for i in range(len(runs))]
        names = ("flat", "inside_best", "inside_ridge")
        return {name: np.array(part) for name, part in zip(names, zip(*rows, strict=True), strict=True)}

    return setting.kept(f"settled-{step}", make)


@torch.no_grad()
def _settled_row(setting: Setting, params: Params, run: int) -> tuple[Array, float, float]:
    m, _ = runs_of(setting)[run]
    x, y = evaluation(setting, m)
    guess = NET.predictions(params, x, y)
    flat = torch.cat([value.reshape(-1) for value in params.values()]).numpy()
    gaps = [float(distance(guess, goal).mean()) for goal in (best(m, x, y), ridge(x, y, WORLD.variance))]
    return flat, gaps[0], gaps[1]


def coefficients(setting: Setting, run: int, n_beta: float) -> Arrays:
    """lambda_hat on the run's own training distribution at the read checkpoints, settled, shared noise.

    Returns:
        ``value``, ``error`` [checkpoints], ``covariance`` of the errors.
    """
    amount, (m, seed) = amount_of(setting), runs_of(setting)[run]

    def make() -> Arrays:
        x, y = WORLD.sequences(4096, tasks_of(m), stream(setting.seed, "llc data", m, seed))
        subjects: dict[str | int, Subject] = {
            step: regression_subject(NET, _shaped(settled(setting, step)["flat"][run]), x, y, base_rows=512)
            for step in amount.read
        }
        found = llc_over(subjects, "full", recipe=_recipe(amount, n_beta), seed=setting.seed)
        return {"value": found.value.values, "error": found.error.values, "covariance": found.data["covariance"].values}

    return setting.kept(f"llc/run{run}-{n_beta:g}", make)


def _recipe(amount: RidgeAmount, n_beta: float) -> Recipe:
    groups, burn_in, draws = amount.schedule
    return Recipe(
        sampler=SGLD(step_size=STEP / n_beta), n_beta=n_beta, gamma=n_beta, coupling=Coupling(antithetic=False),
        schedule=Schedule(groups=groups, burn_in=burn_in, draws=draws), batch_rows=128,
    )  # fmt: skip


def _measures(params: Params, sets: list, goals: list) -> list[float]:
    guesses = [NET.predictions(params, x, y) for x, y in sets]
    losses = [float(((g - y) ** 2).mean()) for g, (_, y) in zip(guesses, sets, strict=True)]
    gaps = [float(distance(g, goal).mean()) for g, pair in zip(guesses, goals, strict=True) for goal in pair]
    return losses + gaps


def _mean(values: Tensor) -> tuple[float, float]:
    each: Array = values.mean(1).numpy()
    return float(each.mean()), float(each.std(ddof=1) / np.sqrt(len(each)))
