"""The superposition demonstration: what is sampled and trained at each scale, and what the runs become."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from susceptometer.domains.basin import Basin, from_arrays
from susceptometer.domains.superposition import FEATURES, TRAINING
from susceptometer.domains.superposition_steering import (
    anchor,
    responses,
    sampled,
    shifted,
    trained_runs,
)
from susceptometer.patterning.response import Response
from susceptometer.reproduce.setting import Arrays, Setting
from susceptometer.reproduce.shares import Share, share
from susceptometer.rng import stream_seed
from susceptometer.sampling.coupling import antithetic
from susceptometer.sampling.recipe import Recipe, Schedule
from susceptometer.sampling.sgld import LeimkuhlerMatthews

Array = NDArray[np.float64]

TARGET, OTHER = 0, 3
"""The feature that the plan drops or keeps, and the one of the relabelled control."""


@dataclass(frozen=True)
class Size:
    """What a scale does: runs per arm, total shifts |h|, random arms, temperatures, chain groups and draws."""

    runs: int
    doses: tuple[float, ...]
    random: int
    n_betas: tuple[float, ...]
    groups: int
    draws: int


SIZES = {
    "smoke": Size(60, (0.1, 0.2), 1, (300.0,), 8, 80),
    "cpu": Size(500, (0.05, 0.1, 0.2), 5, (30.0, 100.0, 300.0, 1000.0), 16, 800),
    "gpu": Size(5000, (0.05, 0.1, 0.2), 5, (30.0, 100.0, 300.0, 1000.0), 16, 800),
}
READ_AT, GAMMA = 300.0, 10.0


def recipe(n_beta: float, size: Size) -> Recipe:
    """Antithetic Langevin chains; the step is a third of the stable one for curvatures up to 3 n_beta."""
    schedule = Schedule(groups=size.groups, burn_in=200, draws=size.draws, thin=2)
    sampler = LeimkuhlerMatthews(step_size=1.0 / (3 * n_beta + GAMMA))
    return Recipe(sampler=sampler, schedule=schedule, n_beta=n_beta, gamma=GAMMA, coupling=antithetic())


@dataclass(frozen=True, eq=False)
class Readings:
    """Both anchors at one inverse temperature; every 5-gon is a relabelling of the one that drops feature 0."""

    six: Basin
    five: Basin

    @property
    def response(self) -> Response:
        """Rows of the 6-gon and of all six 5-gons."""
        return responses(self.six, self.five)


def read(setting: Setting, n_beta: float, size: Size) -> Readings:
    """Sample both anchors (seconds each), or take them from disk."""

    def make(sides: str) -> Arrays:
        return sampled(anchor(sides), recipe(n_beta, size), name=f"{sides}-gon", seed=setting.seed).arrays

    def one(sides: str) -> Basin:
        return from_arrays(setting.kept(f"anchor-{sides}-{n_beta:g}", lambda: make(sides)))

    return Readings(one("6"), one("5"))


def arm(setting: Setting, name: str, dh: Array, size: Size) -> Arrays:
    """What the runs of one arm become, stored: ``kept [runs, features]``, ``loss``, ``columns [runs, 2, features]``."""

    def make() -> Arrays:
        with TemporaryDirectory() as folder:
            params, found = trained_runs(
                shifted(dh), size.runs, seed=setting.seed, into=Path(folder), settings=TRAINING
            )
        columns = params["W"].numpy()
        return {"kept": found.kept.numpy(), "loss": found.loss.numpy(), "columns": columns, "dh": dh}

    return setting.kept(f"arm-{name}", make)


def drops(found: Arrays, feature: int) -> NDArray[np.bool_]:
    """Runs that keep every feature but one, ``[runs]``."""
    return ~found["kept"][:, feature] & (found["kept"].sum(1) == FEATURES - 1)


def scaled(direction: Array, total: float) -> Array:
    """The direction with sum |h| = total."""
    return total * direction / np.abs(direction).sum()


def random_direction(seed: int, number: int) -> Array:
    """A normal direction without change of mass."""
    h = np.random.default_rng(stream_seed(seed, "superposition", "random", number)).normal(size=FEATURES)
    return np.asarray(h - h.mean())


@dataclass(frozen=True, eq=False)
class Outcome:
    """All arms by name, and the shifts they had."""

    arms: dict[str, Arrays]
    size: Size

    def share(self, name: str, feature: int = TARGET) -> Share:
        """Share of an arm's runs that drop ``feature`` and keep the rest."""
        return share(drops(self.arms[name], feature))

    def preference(self, name: str) -> Share:
        """Among the runs that drop exactly one feature, the share that drops the target."""
        one = self.arms[name]["kept"].sum(1) == FEATURES - 1
        return share(drops(self.arms[name], TARGET)[one])


def trained(setting: Setting, direction: Array, size: Size) -> Outcome:
    """Base arm, planned arms of every dose in both directions, the relabelled plan, random directions."""
    shifts = {"base": np.zeros(FEATURES)}
    for total in size.doses:
        shifts[f"drop-{total:g}"], shifts[f"keep-{total:g}"] = scaled(direction, total), -scaled(direction, total)
    shifts["relabelled"] = np.roll(scaled(direction, size.doses[-1]), OTHER - TARGET)
    for number in range(size.random):
        shifts[f"random-{number}"] = scaled(random_direction(setting.seed, number), size.doses[-1])
    arms = {}
    for name, dh in shifts.items():
        arms[name] = arm(setting, name, dh, size)
        setting.say(f"  {name}: {Outcome(arms, size).share(name)} drop feature {TARGET}")
    return Outcome(arms, size)


def preference_row(found: Response) -> Array:
    """d log odds (drop 0 against drop another) / dh ``[features]``, per unit n_beta."""
    rows = [found.chi[found.observables.index(f"log-odds 5-{i}")] for i in range(FEATURES)]
    return np.asarray(rows[TARGET] - np.mean(rows[1:], axis=0))


def effective_n_beta(outcome: Outcome, row: Array, dose: str) -> tuple[float, float]:
    """The n_beta at which the linear prediction equals the shift measured in one arm, with its error."""
    moved = outcome.preference(dose).logit - outcome.preference("base").logit
    error = np.hypot(outcome.preference(dose).logit_error, outcome.preference("base").logit_error)
    slope = float(row @ outcome.arms[dose]["dh"])
    return moved / slope, float(abs(error / slope))
