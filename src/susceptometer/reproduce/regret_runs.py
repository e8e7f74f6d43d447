"""Measurements behind the claims on regret: training runs, their exact regret, and coefficients along them."""

from dataclasses import dataclass

import numpy as np
import torch

from susceptometer.develop.course import Course
from susceptometer.domains.gridworld import GridWorld
from susceptometer.domains.regret import (
    PolicyNet,
    ScoreTraining,
    episode_subject,
    regret_subject,
    rollouts,
    train_exact,
    train_sampled,
)
from susceptometer.estimate.checkpoints import llc_over
from susceptometer.estimate.llc import llc
from susceptometer.posterior.subject import Subject
from susceptometer.reproduce.setting import Arrays, Setting
from susceptometer.rng import stream
from susceptometer.sampling.coupling import Coupling
from susceptometer.sampling.reading import read_here
from susceptometer.sampling.recipe import Recipe, Schedule
from susceptometer.sampling.sgld import SGLD
from susceptometer.testbed.form import Array
from susceptometer.types import Params

NET = PolicyNet(GridWorld(5))
LEARNING_RATE = 0.1
TEMPERS = {"warm": (100.0, 1.0, 3e-3), "cool": (30.0, 10.0, 1e-3), "tight": (1000.0, 1000.0, 1e-4)}
"""Name to (n_beta, gamma, step size); ``warm`` is the main one, ``tight`` keeps episode ratios near one."""


BUFFERS = 6
EPISODES = (32_768, 8192)
"""Episodes that drive a chain and those on which its rise is read."""


@dataclass(frozen=True)
class RegretAmount:
    """How much a scale measures."""

    mixes: tuple[float, ...]
    seeds: int
    last: int
    read: tuple[int, ...]
    schedule: tuple[int, int, int]


READ = (0, 100, 200, 400, 1000, 3000, 6000, 8000, 12_000)
AMOUNTS = {
    "smoke": RegretAmount((0.4,), 2, 200, (0, 50, 200), (4, 30, 30)),
    "cpu": RegretAmount((0.05, 0.1, 0.2), 4, 12_000, READ, (4, 250, 250)),
    "gpu": RegretAmount((0.02, 0.05, 0.1, 0.2, 0.4, 1.0), 5, 60_000, (*READ, 20_000, 60_000), (12, 400, 800)),
}


def mixes(setting: Setting) -> tuple[float, ...]:
    """Level mixes of the scale."""
    return AMOUNTS[setting.scale].mixes


def steps_of(setting: Setting) -> list[int]:
    """Checkpoints of the regret course: every 10 steps to 400, then every 100."""
    last = AMOUNTS[setting.scale].last
    return sorted({*range(0, min(400, last) + 1, 10), *range(400, last + 1, 100), *AMOUNTS[setting.scale].read})


def training(setting: Setting, mix: float) -> Arrays:
    """All seeds of a level mix by exact gradient descent.

    Returns:
        ``steps`` [T]; ``regret``, ``corner``, ``anywhere`` [seeds, T]: G on the training levels, on corner levels and
        on uniform ones; ``weights-SEED-STEP`` [d] at the checkpoints that are read.
    """
    amount, steps = AMOUNTS[setting.scale], steps_of(setting)

    def make() -> Arrays:
        starts = [NET.initial(setting.seed * 1000 + seed) for seed in range(amount.seeds)]
        paths = train_exact(NET, starts, NET.world.law(mix), learning_rate=LEARNING_RATE, keep=steps)
        laws = {"regret": NET.world.law(mix), "corner": NET.world.law(0.0), "anywhere": NET.world.law(1.0)}
        out: Arrays = {"steps": np.array(steps)}
        for name, law in laws.items():
            out[name] = np.array([[_regret(path[step], law) for step in steps] for path in paths])
        for seed, path in enumerate(paths):
            out |= {f"weights-{seed}-{step}": _flat(path[step]) for step in amount.read}
        return out

    return setting.kept(f"train/mix{mix:g}", make)


def regret_course(setting: Setting, mix: float, seed: int, *, of: str = "regret") -> Course:
    """One exact regret along training."""
    found = training(setting, mix)
    return Course(of, found["steps"], found[of][seed], np.zeros(len(found["steps"])), "return")


def weights(setting: Setting, mix: float, seed: int, step: int) -> Params:
    """Weights of a run at a checkpoint that is read."""
    flat = torch.tensor(training(setting, mix)[f"weights-{seed}-{step}"])
    like = NET.initial(0)
    parts = flat.split([value.numel() for value in like.values()])
    return {name: part.view(value.shape) for part, (name, value) in zip(parts, like.items(), strict=True)}


def llc_course(setting: Setting, mix: float, seed: int, *, temper: str = "warm", corner: bool = False) -> Course:
    """lambda_hat of the regret at the read checkpoints, on all training levels or on corner levels only."""
    amount = AMOUNTS[setting.scale]

    def make() -> Arrays:
        law = NET.world.law(0.0 if corner else mix)
        subjects: dict[str | int, Subject] = {
            step: regret_subject(NET, weights(setting, mix, seed, step), law) for step in amount.read
        }
        found = llc_over(subjects, "full", recipe=recipe(setting, temper), seed=setting.seed)
        return {"value": found.value.values, "error": found.error.values}

    kept = setting.kept(f"llc/mix{mix:g}-seed{seed}-{temper}{'-corner' if corner else ''}", make)
    return Course("llc", np.array(amount.read), kept["value"], kept["error"], "1")


def episode_llc(setting: Setting, mix: float, seed: int, step: int) -> Arrays:
    """lambda_hat from stored episodes, ``groups`` [BUFFERS]: one buffer each, so that errors hold the episodes too."""

    def make() -> Arrays:
        center, law = weights(setting, mix, seed, step), NET.world.law(mix)
        policy, values = NET.policy(center).detach(), []
        for number in range(BUFFERS):
            generator = stream(setting.seed, "episodes", mix, seed, step, number)
            seen, judged = (
                rollouts(NET.world, policy, law, count=count, horizon=60, generator=generator) for count in EPISODES
            )
            values.append(_one_llc(episode_subject(NET, center, seen, judged), setting, number, rows=1024))
        return {"groups": np.array(values)}

    return setting.kept(f"episodes/mix{mix:g}-seed{seed}-step{step}", make)


def exact_llc(setting: Setting, mix: float, seed: int, step: int) -> Arrays:
    """The same chains (same noise) on the exact regret, ``groups`` [BUFFERS]."""

    def make() -> Arrays:
        subject = regret_subject(NET, weights(setting, mix, seed, step), NET.world.law(mix))
        return {"groups": np.array([_one_llc(subject, setting, number) for number in range(BUFFERS)])}

    return setting.kept(f"exact/mix{mix:g}-seed{seed}-step{step}", make)


def sampled_training(setting: Setting, mix: float) -> Arrays:
    """One run by the on-policy score gradient: ``steps`` and exact ``regret``, ``anywhere`` along it."""
    last = 40 if setting.scale == "smoke" else 20_000
    steps = sorted({*range(0, last + 1, max(10, last // 100))})

    def make() -> Arrays:
        how = ScoreTraining(episodes=64, horizon=40)
        start = NET.initial(setting.seed * 1000)
        path = train_sampled(NET, start, NET.world.law(mix), how, keep=steps, seed=setting.seed)
        laws = {"regret": NET.world.law(mix), "corner": NET.world.law(0.0), "anywhere": NET.world.law(1.0)}
        curves = {name: np.array([_regret(path[step], law) for step in steps]) for name, law in laws.items()}
        return {"steps": np.array(steps), **curves}

    return setting.kept(f"score/mix{mix:g}", make)


def recipe(setting: Setting, temper: str) -> Recipe:
    """Chains of the scale at a temper."""
    n_beta, gamma, step_size = TEMPERS[temper]
    groups, burn_in, draws = AMOUNTS[setting.scale].schedule
    return Recipe(
        sampler=SGLD(step_size=step_size), n_beta=n_beta, gamma=gamma, coupling=Coupling(antithetic=False),
        schedule=Schedule(groups=groups, burn_in=burn_in, draws=draws),
    )  # fmt: skip


def _one_llc(subject: Subject, setting: Setting, number: int, rows: int | None = None) -> float:
    """lambda_hat of two groups at the tight temper; ``rows`` per step (None: all)."""
    n_beta, gamma, step_size = TEMPERS["tight"]
    short = Recipe(
        sampler=SGLD(step_size=step_size), n_beta=n_beta, gamma=gamma, coupling=Coupling(antithetic=False),
        schedule=Schedule(groups=2, burn_in=60, draws=25, thin=8), batch_rows=rows,
    )  # fmt: skip
    reading = read_here(subject, {"full": subject.components["full"]}, short, seed=setting.seed * 100 + number)
    return float(llc(reading).value.values[0])


def _regret(params: Params, law: torch.Tensor) -> float:
    with torch.no_grad():
        return float(NET.regret(params, law))


def _flat(params: Params) -> Array:
    return torch.cat([value.reshape(-1) for value in params.values()]).numpy()
