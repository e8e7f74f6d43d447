"""The parentheses experiment, what is asked: scales, and the data mixtures of every arm, planned and control."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from susceptometer.domains.parentheses import Task
from susceptometer.domains.parentheses_model import ClassifierConfig
from susceptometer.domains.parentheses_probes import PROPERTIES
from susceptometer.domains.parentheses_training import Dosing, Protocol
from susceptometer.errors import ChainError
from susceptometer.patterning.plan import plan
from susceptometer.patterning.response import Response
from susceptometer.rng import stream_seed
from susceptometer.train.adamw import AdamW
from susceptometer.train.loop import Training

Array = NDArray[np.float64]

TARGETS: Mapping[str, Mapping[str, float]] = {
    "fixed": {"fixed nested": -1.0, "fixed equal": 1.0},
    "total": {"total nested": -1.0, "total equal": 1.0},
    "log-odds": {"log-odds nested": 1.0},
}
"""Planned arms ``NAME+`` favour Nested by these targets, ``NAME-`` are the same with the sign flipped."""

FRESH = 500
"""Place of the first model of the arms that repeat ``replanned``."""

MEANING = {"replanned": "log-odds"}
"""Arms that ask for the target of another name."""

RELEASE = Dosing(0.75, 0.75)
"""Planned data for three quarters of training, the unchanged training set for the last quarter."""

VARIANTS: Mapping[str, tuple[float, Dosing]] = {
    "half": (0.5, RELEASE), "kept": (1.0, Dosing()), "early": (1.0, Dosing(0.3, 0.3)),
}  # fmt: skip
"""Further arms towards Nested: multiple of the primary size, and when the weights act. ``kept`` never lets go."""


@dataclass(frozen=True)
class Size:
    """What a scale does.

    Args:
        protocol: Task, model and training of every arm.
        seeds: Models of the base arm and of the primary planned arms.
        few: Models of every other arm, the first seeds of the same list.
        bank: Base models of another seed whose solutions are read too.
        anchors: Largest number of solutions of each kind that are read in the base arm, and in the bank.
        draws: Of every chain.
        targets: Names in `TARGETS`.
        variants: Names in `VARIANTS`.
        singles: Probes that are mixed in alone, both ways.
        random: Random directions.
        neutral: Random directions without their part along the response, so that no effect is predicted.
        total: Sum of |h_j| of every arm but ``half``.
    """

    protocol: Protocol
    seeds: int
    few: int
    bank: int
    anchors: int
    draws: int
    targets: tuple[str, ...]
    variants: tuple[str, ...]
    singles: tuple[str, ...]
    random: int
    neutral: int
    total: float


def protocol(steps: int, pool: int, test: int = 1000) -> Protocol:
    """The smallest model found whose solutions are crisp; see the first rows of the claim table for what differs."""
    task = Task(spread=9, pool=pool, test=test, seed=0)
    config = ClassifierConfig(2, 12, 1, task.width + 2, init=0.3, positions=False)
    training = Training(
        steps=steps, learning_rate=5e-3, warm_up=50, cool_down=steps // 3, optimizer=AdamW(clip=1.0), save_every=steps
    )
    return Protocol(task, config, training, batch=32, decay=0.003, half=False)


LARGE = ("starts_close", "never_negative", "deep_nested", "flat_nested")
"""Single probes: the four largest of every plan."""

TOTAL = 2.0
"""Sum of |h_j|, chosen with `RELEASE` on pilot seeds 100-115 before any model of seeds from 1000 on was trained.

The primary arms are ``log-odds+`` and ``log-odds-``, planned from solutions of the base arm. ``replanned+`` and
``replanned-`` were added after these had been seen at seed 1, where the base arm held three Nested models only: the
same plan from more solutions, those of a bank of base models of another seed included. The rest are controls and
variants.
"""

SIZES = {
    "smoke": Size(
        protocol(40, 2000, test=100), 3, 2, 0, 1, 5, ("fixed", "log-odds"), ("kept",), ("almost_equal",), 1, 1, TOTAL
    ),
    "cpu": Size(protocol(1000, 200_000), 40, 20, 20, 3, 40, tuple(TARGETS), (), LARGE, 5, 0, TOTAL),
    "gpu": Size(
        protocol(3000, 200_000), 60, 60, 60, 8, 200, tuple(TARGETS), tuple(VARIANTS), tuple(PROPERTIES), 5, 5, TOTAL
    ),
}


@dataclass(frozen=True, eq=False)
class Mix:
    """What one arm is trained on.

    Args:
        h: Mixing amounts of the probes ``[probes]``.
        models: How many.
        dosing: When the mixture acts.
        first: Place of the first model in the run's list of seeds.
    """

    h: Array
    models: int
    dosing: Dosing = RELEASE
    first: int = 0


def base(size: Size) -> Mix:
    """The unchanged training set."""
    return Mix(np.zeros(len(PROPERTIES)), size.seeds)


def planned(first: Response, every: Response, size: Size) -> dict[str, Mix]:
    """Both ways of every target, scaled to the size of the experiment; what `plan` refuses is left out.

    Args:
        first: Responses of the solutions of the base arm; ``log-odds`` is planned from it.
        every: Responses of these and of the bank's solutions; everything else is planned from it.
        size: Which targets and variants.
    """
    found = {name: every for name in size.targets if name != "log-odds"}
    found |= {"log-odds": first, "replanned": every} if "log-odds" in size.targets else {}
    arms = {}
    for name, response in found.items():
        with suppress(ChainError):
            h = scaled(plan(response, TARGETS[MEANING.get(name, name)]).shift, size.total)
            arms[f"{name}+"], arms[f"{name}-"] = Mix(h, size.seeds), Mix(-h, size.seeds)
            for variant in size.variants if name == "replanned" else ():
                factor, dosing = VARIANTS[variant]
                arms[f"{name}+{variant}"] = Mix(factor * h, size.few, dosing)
    return arms


def controls(found: Response, size: Size, seed: int) -> dict[str, Mix]:
    """Mixtures of equal size and timing: single probes, random directions, and random ones of no predicted effect."""
    arms = {}
    for probe in size.singles:
        one = size.total * (np.arange(len(PROPERTIES)) == list(PROPERTIES).index(probe))
        arms[f"{probe}+"], arms[f"{probe}-"] = Mix(one, size.few), Mix(-one, size.few)
    for number in range(size.random):
        arms[f"random-{number}"] = Mix(scaled(_normal(seed, "random", number), size.total), size.few)
    row = found.chi[found.observables.index("log-odds nested")]
    for number in range(size.neutral):
        h = _normal(seed, "neutral", number)
        arms[f"neutral-{number}"] = Mix(scaled(h - row * (row @ h) / (row @ row), size.total), size.few)
    return arms


def repeated(arms: Mapping[str, Mix], size: Size) -> dict[str, Mix]:
    """``replanned`` once more, beside a base of its own, on seeds that no arm had seen when it was planned."""
    if "replanned+" not in arms:
        return {}
    both = {f"repeat{sign}": replace(arms[f"replanned{sign}"], models=size.few, first=FRESH) for sign in "+-"}
    return {"repeat-base": Mix(np.zeros(len(PROPERTIES)), size.few, first=FRESH), **both}


def scaled(h: Array, total: float) -> Array:
    """The direction of h with sum |h_j| = total."""
    return total * h / np.abs(h).sum()


def _normal(seed: int, kind: str, number: int) -> Array:
    return np.random.default_rng(stream_seed(seed, "parentheses", kind, number)).normal(size=len(PROPERTIES))
