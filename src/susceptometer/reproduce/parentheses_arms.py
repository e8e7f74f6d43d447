"""The parentheses experiment: scales, how solutions are read, how data are planned, and arms of retrained models."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray

from susceptometer.domains.basin import Basin, from_arrays, meanings
from susceptometer.domains.parentheses import Strings, Task, agreed, equal_count
from susceptometer.domains.parentheses_model import ClassifierConfig
from susceptometer.domains.parentheses_probes import (
    PROPERTIES,
    densities,
    mixture_weights,
    realised,
)
from susceptometer.domains.parentheses_solutions import anchors, read_strings, solution_basin
from susceptometer.domains.parentheses_training import Behaviour, Protocol, behaviour, trained_arm
from susceptometer.errors import ChainError
from susceptometer.patterning.plan import plan
from susceptometer.patterning.response import Response
from susceptometer.reproduce.setting import Arrays, Setting
from susceptometer.rng import stream_seed
from susceptometer.sampling.coupling import antithetic
from susceptometer.sampling.recipe import Recipe, Schedule
from susceptometer.sampling.sgld import LeimkuhlerMatthews
from susceptometer.train.adamw import AdamW
from susceptometer.train.loop import Training, unstack
from susceptometer.types import Params

Array = NDArray[np.float64]

TARGETS: Mapping[str, Mapping[str, float]] = {
    "fixed": {"fixed nested": -1.0, "fixed equal": 1.0},
    "total": {"total nested": -1.0, "total equal": 1.0},
    "log-odds": {"log-odds nested": 1.0},
}
"""Planned arms ``NAME+`` favour Nested by these targets, ``NAME-`` are the same with the sign flipped."""


@dataclass(frozen=True)
class Size:
    """What a scale does.

    Args:
        protocol: Task, model and training of every arm.
        seeds: Models per arm.
        anchors: Largest number of solutions of each kind that are read.
        draws: Of every chain.
        targets: Names in `TARGETS`.
        singles: Probes that are mixed in alone, both ways.
        random: Random directions of equal size.
        total: Sum of |h_j| of every arm.
        strong: Multiple of it in further planned arms, see `STRONG`; 0: none.
    """

    protocol: Protocol
    seeds: int
    anchors: int
    draws: int
    targets: tuple[str, ...]
    singles: tuple[str, ...]
    random: int
    total: float
    strong: float = 0.0


def protocol(steps: int, pool: int) -> Protocol:
    """The smallest model found whose solutions are crisp; see the first rows of the claim table for what differs."""
    task = Task(spread=9, pool=pool, test=1000, seed=0)
    config = ClassifierConfig(2, 12, 1, task.width + 2, init=0.3, positions=False)
    training = Training(
        steps=steps, learning_rate=5e-3, warm_up=50, cool_down=steps // 3, optimizer=AdamW(clip=1.0), save_every=steps
    )
    return Protocol(task, config, training, batch=32, decay=0.003, half=False)


SIZES = {
    "smoke": Size(protocol(60, 2000), 3, 1, 8, ("fixed",), (), 0, 0.8),
    "cpu": Size(protocol(1000, 200_000), 20, 3, 40, tuple(TARGETS), (), 2, 0.8, 1.6),
    "gpu": Size(protocol(3000, 200_000), 60, 8, 200, tuple(TARGETS), tuple(PROPERTIES), 5, 0.8),
}
READ_ROWS, GROUPS = 512, 4
STRONG = ("strong", "floored")
FLOOR = 0.1
"""Least weight of a training string in the arms ``floored``, which are otherwise the arms ``strong``."""


def recipe(draws: int) -> Recipe:
    """Antithetic Langevin chains on batches of 64 strings at n_beta 1000, gamma 1000."""
    schedule = Schedule(groups=GROUPS, burn_in=min(100, 4 * draws), draws=draws, thin=4)
    sampler = LeimkuhlerMatthews(step_size=3e-4)
    return Recipe(
        sampler=sampler, schedule=schedule, n_beta=1000.0, gamma=1000.0, coupling=antithetic(), batch_rows=64
    )


@dataclass(frozen=True, eq=False)
class Arm:
    """A finished arm.

    Args:
        name: Of the arm.
        h: Mixing amounts of the probes ``[probes]``, as planned.
        found: What its models do.
        cost: ``clipped``, ``lost``, ``effective``: see ``parentheses_probes.realised``.
        params: Weights of all its models (only the base arm's are kept), ``[models, ...]``.
    """

    name: str
    h: Array
    found: Behaviour
    cost: Mapping[str, float]
    params: Params


def trained(setting: Setting, size: Size, name: str, h: Array) -> Arm:
    """Train one arm, or take it from disk. Starts and random numbers are those of every other arm."""

    def make() -> Arrays:
        strings = size.protocol.task.training()
        floor = FLOOR if name.endswith("floored") else 0.0
        if not agreed(strings).all():
            raise AssertionError("a training string tells the rules apart")
        weights, cost = realised(mixture_weights(densities(strings)[1], h), equal_count(strings), floor)
        with TemporaryDirectory() as folder:
            params = trained_arm(
                size.protocol, weights if h.any() else None, _seeds(setting, size), into=Path(folder)
            )
        found = behaviour(params, size.protocol)
        kept = {f"w/{n}": w.numpy() for n, w in params.items()} if name == "base" else {}
        return {"h": h, **vars(found), **{n: np.float64(v) for n, v in cost.items()}, **kept}

    stored = setting.kept(f"arm-{name}", make)
    found = Behaviour(stored["accuracy"], stored["nested_share"], stored["loss"])
    setting.say(f"  {name}: Nested {found.is_nested.sum()}, Equal-Count {found.is_equal_count.sum()} of {size.seeds}")
    cost = {n: float(stored[n]) for n in ("clipped", "lost", "effective")}
    params = {n[2:]: torch.from_numpy(w) for n, w in stored.items() if n.startswith("w/")}
    return Arm(name, stored["h"], found, cost, params)


def _seeds(setting: Setting, size: Size) -> range:
    return range(1000 * setting.seed, 1000 * setting.seed + size.seeds)


def kinds(base: Arm, size: Size) -> dict[str, list[int]]:
    """Models of the base arm that are read, by kind, equally many; the most extreme ones where a kind is empty."""
    found, order = base.found, np.argsort(base.found.nested_share)
    nested = list(anchors(found.is_nested, found.accuracy, size.anchors)) or [int(order[-1])]
    equal = list(anchors(found.is_equal_count, found.accuracy, size.anchors)) or [int(order[0])]
    count = min(len(nested), len(equal))
    return {"nested": nested[:count], "equal": equal[:count]}


def read(setting: Setting, size: Size, base: Arm) -> tuple[dict[str, list[Basin]], Response]:
    """Basins of both kinds and their answers; each chain group of each model is one replicate."""
    strings = read_strings(size.protocol.task, READ_ROWS)
    models = unstack(base.params)
    found: dict[str, list[Basin]] = {}
    for kind, numbers in kinds(base, size).items():
        found[kind] = [_one(setting, size, models[i], i, strings) for i in numbers]
    joined = {kind: joined_basins(basins) for kind, basins in found.items()}
    return found, meanings(joined, "equal", list(PROPERTIES))


def _one(setting: Setting, size: Size, params: Params, number: int, strings: Strings) -> Basin:
    def make() -> Arrays:
        setting.say(f"  reading model {number}")
        return solution_basin(params, size.protocol.config, strings, recipe(size.draws), seed=number).arrays

    return from_arrays(setting.kept(f"basin-{number}", make))


def joined_basins(basins: list[Basin]) -> Basin:
    """All chain groups of several solutions of one kind side by side."""
    parts = {n: np.concatenate([getattr(b, n) for b in basins]) for n in ("chi", "mean", "center", "llc")}
    return Basin(**parts, rhat=max(b.rhat for b in basins), n_beta=basins[0].n_beta)


def planned(found: Response, size: Size) -> dict[str, Array]:
    """h ``[probes]`` of every planned arm, scaled to the size of the experiment; what `plan` refuses is left out."""
    arms = {}
    for name in size.targets:
        with suppress(ChainError):
            shift = plan(found, TARGETS[name]).shift
            unit = size.total * shift / np.abs(shift).sum()
            arms[f"{name}+"], arms[f"{name}-"] = unit, -unit
            for dose in STRONG if size.strong else ():
                arms[f"{name}+{dose}"], arms[f"{name}-{dose}"] = size.strong * unit, -size.strong * unit
    return arms


def controls(setting: Setting, size: Size) -> dict[str, Array]:
    """h of single probes and random directions: the first one as large as the planned arms, the rest as the strong."""
    names, arms = list(PROPERTIES), {}
    for probe in size.singles:
        one = size.total * (np.arange(len(names)) == names.index(probe))
        arms[f"{probe}+"], arms[f"{probe}-"] = one, -one
    for number in range(size.random):
        rng = np.random.default_rng(stream_seed(setting.seed, "parentheses", "random", number))
        h = rng.normal(size=len(names))
        factor = (size.strong or 1.0) if number else 1.0
        arms[f"random-{number}"] = factor * size.total * h / np.abs(h).sum()
    return arms
