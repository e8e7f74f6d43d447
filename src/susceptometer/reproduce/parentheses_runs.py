"""The parentheses experiment, what is done: arms of trained models with their course, and readings of solutions."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray

from susceptometer.domains.basin import Basin, from_arrays, meanings, pooled
from susceptometer.domains.parentheses import agreed, equal_count
from susceptometer.domains.parentheses_probes import (
    PROPERTIES,
    densities,
    mixture_weights,
    projected,
    realised,
)
from susceptometer.domains.parentheses_solutions import anchors, read_strings, solution_basin
from susceptometer.domains.parentheses_training import Behaviour, Protocol, behaviour, trained_arm
from susceptometer.patterning.response import Response
from susceptometer.reproduce.parentheses_arms import Mix, Size
from susceptometer.reproduce.setting import Arrays, Setting
from susceptometer.sampling.coupling import antithetic
from susceptometer.sampling.recipe import Recipe, Schedule
from susceptometer.sampling.sgld import LeimkuhlerMatthews
from susceptometer.train.loop import unstack
from susceptometer.types import Params

Array = NDArray[np.float64]

READ_ROWS, GROUPS = 512, 4

LOOKS = 20
"""Parts of training after each of which all models are looked at."""

COSTS = ("clipped", "lost", "effective")


def recipe(draws: int) -> Recipe:
    """Antithetic Langevin chains on batches of 64 strings at n_beta 1000, gamma 1000."""
    schedule = Schedule(groups=GROUPS, burn_in=min(100, 4 * draws), draws=draws, thin=4)
    sampler = LeimkuhlerMatthews(step_size=3e-4)
    return Recipe(sampler=sampler, schedule=schedule, n_beta=1000.0, gamma=1000.0, coupling=antithetic(), batch_rows=64)


@dataclass(frozen=True, eq=False)
class Course:
    """What the models of an arm did on the way, looked at before the step named.

    Args:
        steps: ``[looks]``.
        accuracy: In distribution ``[looks, models]``.
        nested_share: Share of disagreeing strings called FALSE ``[looks, models]``.
    """

    steps: NDArray[np.int64]
    accuracy: Array
    nested_share: Array


@dataclass(frozen=True, eq=False)
class Arm:
    """A finished arm.

    Args:
        name: Of the arm.
        mix: What was asked.
        realised: Mixing amounts ``[probes]`` that come nearest to the weights that were trained on (all clipped).
        found: What its models do.
        course: What they did on the way.
        cost: ``clipped``, ``lost``, ``effective``: see ``parentheses_probes.realised``.
        params: Weights of all its models (only the base arm's are kept), ``[models, ...]``.
    """

    name: str
    mix: Mix
    realised: Array
    found: Behaviour
    course: Course
    cost: Mapping[str, float]
    params: Params


def trained(setting: Setting, size: Size, name: str, mix: Mix) -> Arm:
    """Train one arm, or take it from disk. Starts and random numbers are those of every other arm."""
    stored = setting.kept(f"arm-{name}", lambda: _trained(setting, size, name, mix))
    found = Behaviour(stored["accuracy"], stored["nested_share"], stored["loss"])
    setting.say(f"  {name}: Nested {found.is_nested.sum()}, Equal-Count {found.is_equal_count.sum()} of {mix.models}")
    course = Course(stored["looks"], stored["looks_accuracy"], stored["looks_nested"])
    cost = {n: float(stored[n]) for n in COSTS}
    params = {n[2:]: torch.from_numpy(w) for n, w in stored.items() if n.startswith("w/")}
    return Arm(name, replace(mix, h=stored["h"]), stored["realised"], found, course, cost, params)


def _trained(setting: Setting, size: Size, name: str, mix: Mix) -> Arrays:
    strings = size.protocol.task.training()
    if not agreed(strings).all():
        raise AssertionError("a training string tells the rules apart")
    density = densities(strings)[1]
    weights, cost = realised(mixture_weights(density, mix.h), equal_count(strings))
    looks: dict[int, Behaviour] = {}

    def look(step: int, params: Params) -> Mapping[str, object]:
        looks[step] = behaviour(params, size.protocol)
        return {}

    with TemporaryDirectory() as folder:
        params = trained_arm(
            looked_at(size.protocol), weights if mix.h.any() else None, seeds(setting.seed, mix.models, mix.first),
            into=Path(folder), dosing=mix.dosing, measure=look,
        )  # fmt: skip
    return {
        "h": mix.h, "realised": projected(density, weights), **vars(looks[size.protocol.training.steps]),
        "looks": np.array(list(looks)), "looks_accuracy": np.stack([b.accuracy for b in looks.values()]),
        "looks_nested": np.stack([b.nested_share for b in looks.values()]),
        **{n: np.float64(v) for n, v in cost.items()},
        **({f"w/{n}": w.numpy() for n, w in params.items()} if name == "base" else {}),
    }  # fmt: skip


def seeds(seed: int, models: int, first: int = 0) -> range:
    """Seeds of the models of an arm of a run."""
    return range(1000 * seed + first, 1000 * seed + first + models)


def looked_at(protocol: Protocol) -> Protocol:
    """The same protocol, measured `LOOKS` times."""
    steps = protocol.training.steps
    every = max(steps // LOOKS, 1)
    return replace(protocol, training=replace(protocol.training, measure_at=tuple(range(every, steps, every))))


def kinds(found: Behaviour, most: int) -> dict[str, list[int]]:
    """Models that are read, by kind, equally many and at most ``most``; the extreme one where a kind is empty."""
    order = np.argsort(found.nested_share)
    nested = list(anchors(found.is_nested, found.accuracy, most)) or [int(order[-1])]
    equal = list(anchors(found.is_equal_count, found.accuracy, most)) or [int(order[0])]
    count = min(len(nested), len(equal))
    return {"nested": nested[:count], "equal": equal[:count]}


def banked(setting: Setting, size: Size) -> tuple[Behaviour, Params]:
    """Base models of another seed, which serve as solutions to read and nothing else: what they do, their weights."""

    def make() -> Arrays:
        with TemporaryDirectory() as folder:
            other = seeds(setting.seed - 1 if setting.seed else 1, size.bank)
            params = trained_arm(size.protocol, None, other, into=Path(folder))
        return {**vars(behaviour(params, size.protocol)), **{f"w/{n}": w.numpy() for n, w in params.items()}}

    stored = setting.kept("bank", make)
    found = Behaviour(stored["accuracy"], stored["nested_share"], stored["loss"])
    return found, {n[2:]: torch.from_numpy(w) for n, w in stored.items() if n.startswith("w/")}


Basins = Mapping[str, list[Basin]]
"""Readings of solutions, by kind."""


def read(setting: Setting, size: Size, base: Arm) -> tuple[Basins, Basins]:
    """Solutions of the base arm, and these with the bank's."""
    own = _read(setting, size, base.found, base.params, "basin")
    if not size.bank:
        return own, own
    more = _read(setting, size, *banked(setting, size), "bank-basin")
    return own, {kind: [*basins, *more[kind]] for kind, basins in own.items()}


def responses(basins: Basins) -> Response:
    """The three meanings for both kinds of solution."""
    return meanings({kind: joined_basins(each) for kind, each in basins.items()}, "equal", list(PROPERTIES))


def _read(setting: Setting, size: Size, found: Behaviour, params: Params, word: str) -> Basins:
    strings, models = read_strings(size.protocol.task, READ_ROWS), unstack(params)

    def one(number: int) -> Basin:
        def make() -> Arrays:
            setting.say(f"  reading model {number}")
            chains = recipe(size.draws)
            return solution_basin(models[number], size.protocol.config, strings, chains, seed=number).arrays

        return from_arrays(setting.kept(f"{word}-{number}", make))

    return {kind: [one(i) for i in numbers] for kind, numbers in kinds(found, size.anchors).items()}


def joined_basins(basins: list[Basin]) -> Basin:
    """Solutions of one kind together: from four on each is one replicate, fewer lend all their chain groups.

    With solutions as replicates errors hold the spread between solutions; with chain groups they do not.
    """
    if len(basins) >= GROUPS:
        return pooled(basins)
    parts = {n: np.concatenate([getattr(b, n) for b in basins]) for n in ("chi", "mean", "center", "llc")}
    return Basin(**parts, rhat=max(b.rhat for b in basins), n_beta=basins[0].n_beta)
