"""A recipe: everything that fixes how a posterior is sampled."""

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from susceptometer.errors import RecipeError
from susceptometer.sampling.base import Sampler
from susceptometer.sampling.coupling import Coupling
from susceptometer.sampling.mala import MALA
from susceptometer.sampling.rmsprop import RMSpropSGLD
from susceptometer.sampling.sghmc import SGHMC
from susceptometer.sampling.sgld import SGLD, LeimkuhlerMatthews
from susceptometer.sampling.sgnht import SGNHT

SAMPLERS = {kind.__name__: kind for kind in (SGLD, LeimkuhlerMatthews, RMSpropSGLD, SGHMC, SGNHT, MALA)}
"""Every sampler by name (contract tests and stored recipes go through this table)."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long and how often.

    Args:
        groups: Independent replicates (chains, antithetic pairs or coupled quadruples); errors need >= 4.
        burn_in: Steps discarded first; never part of an estimate.
        draws: Recorded states per chain.
        thin: Steps between draws.
    """

    groups: int
    burn_in: int
    draws: int
    thin: int = 1

    def __post_init__(self) -> None:
        if self.groups < 1 or self.draws < 1 or self.burn_in < 0 or self.thin < 1:
            raise RecipeError(
                "groups, draws and thin must be >= 1 and burn_in >= 0",
                where="Schedule",
                value=(self.groups, self.burn_in, self.draws, self.thin),
                why="nothing would be recorded",
                do="use e.g. Schedule(groups=8, burn_in=50, draws=100)",
            )

    @property
    def steps(self) -> int:
        """Steps of one chain, burn-in included."""
        return self.burn_in + self.draws * self.thin


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a local posterior is sampled (no defaults for what decides the answer).

    Args:
        sampler: One of ``SAMPLERS``.
        schedule: Chains and steps.
        n_beta: Effective inverse temperature, 1/nats.
        gamma: Pull to w*, 1/weight^2.
        coupling: How chains share randomness.
        batch_rows: Data rows per step and group (drawn with replacement); None: all rows, in order.
        tilt_rows: Rows of the response's own batch m'; None: as ``batch_rows``.
        centered: Subtract each row's gradient at w* and add the mean (baker2019 control variate): the same
            drift in expectation with less mini-batch noise. Needs a table ``[data rows, d]``.
    """

    sampler: Sampler
    schedule: Schedule
    n_beta: float
    gamma: float
    coupling: Coupling = field(default_factory=lambda: Coupling(h=0.1))
    batch_rows: int | None = None
    tilt_rows: int | None = None
    centered: bool = False

    def __post_init__(self) -> None:
        if self.sampler.exact_gradient and self.batch_rows is not None:
            raise RecipeError(
                f"{type(self.sampler).__name__} needs the full batch",
                where="Recipe",
                value=self.batch_rows,
                why="accept/reject compares exact potentials",
                do="set batch_rows=None",
            )
        if self.sampler.exact_gradient and self.coupling.responds:
            raise RecipeError(
                "accept/reject chains cannot be coupled",
                where="Recipe",
                value=self.coupling,
                why="the arms accept different proposals and drift apart",
                do="use coupling=independent() or antithetic()",
            )
        if isinstance(self.sampler, RMSpropSGLD) and not self.sampler.settles and self.coupling.responds:
            raise RecipeError(
                "a moving preconditioner cannot be coupled",
                where="Recipe",
                value=self.sampler,
                why="each arm would carry its own, and its answer to n_beta would be measured too",
                do="set freeze_after, or use coupling=independent() or antithetic()",
            )
        if self.schedule.burn_in < self.sampler.warm_up:
            raise RecipeError(
                "burn_in is shorter than the sampler's warm-up",
                where="Recipe",
                value=(self.schedule.burn_in, self.sampler.warm_up),
                why="draws would come from a law that still changes",
                do="raise burn_in",
            )

    def of(self, component: str) -> "Recipe":
        """How a component of a reading runs: ``full``, which only supplies means, has no response arms."""
        if component != "full" or not self.coupling.responds:
            return self
        return replace(self, coupling=self.coupling.without_arms())

    def with_schedule(self, **changes: int) -> "Recipe":
        """The same recipe with some counts of the schedule changed."""
        return replace(self, schedule=replace(self.schedule, **changes))


def recipe_to_dict(recipe: Recipe) -> dict[str, object]:
    """Plain JSON-ready form; inverse of ``recipe_from_dict``."""
    flat = {f.name: getattr(recipe, f.name) for f in fields(recipe)}
    parts: dict[str, Any] = {"schedule": recipe.schedule, "coupling": recipe.coupling, "sampler": recipe.sampler}
    named = {name: asdict(part) for name, part in parts.items()}
    named["sampler"] = {"kind": type(recipe.sampler).__name__, **named["sampler"]}
    return {**flat, **named}


def recipe_from_dict(stored: dict[str, Any]) -> Recipe:
    """The recipe stored by ``recipe_to_dict``.

    Raises:
        RecipeError: The sampler is unknown.
    """
    sampler = dict(stored["sampler"])
    kind = sampler.pop("kind")
    if kind not in SAMPLERS:
        raise RecipeError("unknown sampler", where="stored recipe", value=kind, do=f"use {list(SAMPLERS)}")
    parts = {
        "sampler": SAMPLERS[kind](**sampler),
        "schedule": Schedule(**stored["schedule"]),
        "coupling": Coupling(**stored["coupling"]),
    }
    return Recipe(**{**stored, **parts})
