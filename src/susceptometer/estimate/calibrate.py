"""A recipe that fits a posterior: step size, burn-in and draws from curvature, noise and a pilot run."""

from dataclasses import dataclass, replace
from math import ceil

import numpy as np
import xarray as xr

from susceptometer.errors import RecipeError
from susceptometer.estimate.calibration import Aim, Calibration
from susceptometer.estimate.contraction import Contraction, contraction, h_dependence
from susceptometer.estimate.convergence import autocorrelation, mixing_time, skewness
from susceptometer.estimate.curvature import DENSE, Spectrum, spectrum
from susceptometer.estimate.diagnostics import drift_z
from susceptometer.estimate.gaussian_law import gaussian_law, noise_level, row_residuals
from susceptometer.estimate.step_bias import Levels, OnPairedNoise, levels
from susceptometer.estimate.surroundings import Surroundings, surroundings
from susceptometer.posterior.local import CACHE_BYTES, LocalPosterior
from susceptometer.posterior.subject import Subject
from susceptometer.sampling.recipe import Recipe, Schedule
from susceptometer.sampling.run import run_cell
from susceptometer.sampling.sgld import SGLD, LeimkuhlerMatthews
from susceptometer.types import rows_of

__all__ = ["Aim", "Calibration", "calibrate"]

REACH: dict[type, float] = {SGLD: 0.1, LeimkuhlerMatthews: 0.5}
"""eps P_max / 2 aimed at: a first-order step bias of 5 % in the stiffest direction, or a second-order one."""

HEATING = 0.1
"""Largest accepted eps n_beta^2 G / 4: mini-batch noise against the sampler's own."""

TRIALS = 20
"""Short runs allowed while looking for a step that fits."""

PILOT_TOKENS, PILOT_GROUPS, PILOT_DRAWS = 1e7, (4, 16), 40
"""Forward tokens that the pilot's runs may cost together (a gradient counts 3), bounds of its groups, least draws."""

SKEW = 0.75
"""Skewness aimed at for a group's mean at four groups. t intervals hold 93 % at skewness 1 and 90 % at 1.5 (measured on
gamma laws); neighbouring draws are alike in more than their correlation, which makes the mean skewer than planned."""

LEAST_DRAWS, MOST_DRAWS, MOST_THIN = 30, 5000, 8


def calibrate(subject: Subject, component: str, aim: Aim, *, seed: int) -> Calibration:
    """Choose step size, burn-in, thinning and draws for a component and say why (learning-coefficient 9).

    Order: curvature at w*, gamma, step size from the stiffest direction and from mini-batch noise, both also at draws
    of a short run (singular losses are stiffer away from w*), burn-in from the softest; then a pilot walked at eps and at
    eps/2 on the same noise (and at h/2), read on the base probe alone. Thinning is what costs least per effective draw,
    counted in tokens. Draws reach the aimed error, and are enough for a group's mean to be nearly normal, so that t
    intervals of few groups are honest.

    Args:
        subject: What is sampled.
        component: Name of one of its components.
        aim: What for.
        seed: Names the pilot's random streams.

    Raises:
        RecipeError: gamma leaves a direction unconfined (the message gives the least gamma), or no step keeps the
            chains near w*.
    """
    lean = replace(subject, probes={"base": subject.probes["base"]})
    posterior = LocalPosterior(lean, subject.components[component], aim.n_beta, aim.gamma or 1.0)
    found = spectrum(posterior, seed=seed)
    gamma = _gamma(aim, found, component)
    if gamma != posterior.gamma:
        posterior = replace(posterior, gamma=gamma)
    pilot = _Pilot(posterior, aim, found, seed)
    near, both = pilot.run()
    probe_rows = sum(rows_of(batch) for batch in subject.probes.values())
    return _report(pilot, near, both, probe_tokens=probe_rows * posterior.events)


def _gamma(aim: Aim, found: Spectrum, component: str) -> float:
    least = max(0.0, -aim.n_beta * found.smallest)
    if aim.gamma is None:
        return max(2 * least, 0.1 * aim.n_beta * max(found.largest, 1e-6))
    if aim.gamma <= least:
        raise RecipeError(
            "gamma leaves a direction of negative curvature unconfined",
            where=component,
            value=aim.gamma,
            why=f"n_beta * lambda_min = {-least:.4g}; chains would leave w*",
            do=f"raise gamma above {2 * least:.4g} or lower n_beta",
        )
    return aim.gamma


@dataclass
class _Pilot:
    """The search for a step that fits, and the runs at it."""

    posterior: LocalPosterior
    aim: Aim
    found: Spectrum
    seed: int

    def __post_init__(self) -> None:
        self.stiffest, self.noise = self.found.largest, 0.0
        self.centered = self.aim.batch_rows is not None and self.posterior.row_gradient_bytes() <= CACHE_BYTES
        if self.aim.batch_rows is not None and not self.centered:
            here = row_residuals(self.posterior, self.posterior.center, centered=False)
            self.noise = noise_level(here, self.aim.batch_rows)
        self.recipe = self._recipe()

    def run(self) -> tuple[Surroundings, Levels]:
        """Surroundings and pilot cells of the first step whose own chains fit it.

        The step shrinks tenfold while chains fail, and follows the curvature and noise seen at their draws otherwise.
        """
        for _ in range(TRIALS):
            near = surroundings(self.posterior, self.recipe, seed=self.seed)
            if near is not None and self._fits(near):
                both = self._levels()
                if not (both.coarse["status"].any() or both.fine["status"].any()):
                    return near, both
                near = None
            if near is None:
                self.stiffest = 10 * max(self.stiffest, self.posterior.gamma / max(self.aim.n_beta, 1e-300))
            self.recipe = self._recipe()
        raise RecipeError(
            "no step size keeps the chains near w*",
            where=self.posterior.component.name,
            value=self.recipe.sampler.step_size,
            why="the loss stiffens without bound where the chains go",
            do="raise gamma or lower n_beta",
        )

    def dependence(self, both: Levels) -> dict[str, float]:
        """Test 4 of conventions 7.7 on the pilot: the same noise once more at h/2."""
        plan = replace(self._short(), sampler=OnPairedNoise(self.recipe.sampler), coupling=self.aim.coupling.halved())
        return h_dependence(both.coarse, run_cell(self.posterior, plan, seed=self.seed, groups=range(self._groups())))

    def _fits(self, near: Surroundings) -> bool:
        """Whether step and surroundings agree; if not, remember what was seen."""
        step, stiffest = self.recipe.sampler.step_size, max(self.found.largest, near.largest)
        if step * (self.aim.n_beta * stiffest + self.posterior.gamma) / 2 > 1.5 * REACH[self.aim.sampler]:
            self.stiffest = stiffest
            return False
        if step * self.aim.n_beta**2 * near.noise / 4 > 1.5 * HEATING:
            self.noise = near.noise
            return False
        return True

    def _recipe(self) -> Recipe:
        aim, gamma = self.aim, self.posterior.gamma
        stiff, soft = aim.n_beta * self.stiffest + gamma, gamma + aim.n_beta * self._softest()
        step = 2 * REACH[aim.sampler] / stiff
        if self.noise:
            step = min(step, 4 * HEATING / (aim.n_beta**2 * self.noise))
        forget = 6.0 if aim.coupling.responds else 4.0
        burn_in = ceil(forget / (step * soft))
        return Recipe(
            sampler=aim.sampler(step_size=step), n_beta=aim.n_beta, gamma=gamma, coupling=aim.coupling,
            schedule=Schedule(groups=aim.groups, burn_in=burn_in, draws=max(PILOT_DRAWS, 2 * burn_in)),
            batch_rows=aim.batch_rows, centered=self.centered,
        )  # fmt: skip

    def _softest(self) -> float:
        """Smallest curvature at w* if all are known; Lanczos does not see the smallest, so at most 0 otherwise."""
        known = self.found.size <= DENSE
        return self.found.smallest if known else min(0.0, self.found.smallest)

    def _short(self) -> Recipe:
        return self.recipe.with_schedule(groups=self._groups())

    def _groups(self) -> int:
        """As many groups as `PILOT_TOKENS` allow: one run at eps, one at eps/2 (two), one at h/2."""
        step, read = step_tokens(self.posterior, self.recipe), rows_of(self.posterior.subject.probes["base"])
        read *= self.posterior.events * self.recipe.coupling.members
        runs = 4 if self.aim.coupling.responds else 3
        return int(np.clip(PILOT_TOKENS / (runs * self.recipe.schedule.steps * (step + read)), *PILOT_GROUPS))

    def _levels(self) -> Levels:
        return levels(self.posterior, self._short(), seed=self.seed, groups=range(self._groups()))


def step_tokens(posterior: LocalPosterior, recipe: Recipe) -> int:
    """Forward tokens of one step of one group, a gradient counted as three."""
    rows = rows_of(posterior.subject.data)
    if recipe.batch_rows is not None:
        rows = recipe.batch_rows * recipe.coupling.arms
    return 3 * rows * posterior.events * recipe.coupling.members


def _report(pilot: _Pilot, near: Surroundings, both: Levels, *, probe_tokens: int) -> Calibration:
    aim, recipe, posterior = pilot.aim, pilot.recipe, pilot.posterior
    verdict = _verdict(pilot, near, both) if aim.coupling.responds else None
    if verdict is not None and not verdict.valid:
        recipe = replace(recipe, coupling=aim.coupling.without_arms())
    law = gaussian_law(posterior, seed=pilot.seed, noise=near.residuals, batch_rows=aim.batch_rows)
    exact, step = law.llc(), recipe.sampler.step_size
    at_step = law.llc(recipe.sampler)
    bias = both.loss_bias()
    per_group = aim.n_beta * both.coarse["loss"].mean(("member", "draw")).values
    plan = _sized(recipe, aim, both.coarse, costs=(step_tokens(posterior, recipe), probe_tokens))
    return Calibration(
        recipe=plan.recipe, component=posterior.component.name,
        curvature=(max(pilot.found.largest, near.largest), pilot.found.smallest), gaussian_llc=(exact, at_step),
        heating=step * aim.n_beta**2 * near.noise / 4, mixing=plan.mixing,
        step_bias=(at_step / exact - 1 if exact else 0.0, *bias), response_bias=both.response_bias(),
        drift=drift_z(both.coarse), llc=(float(per_group.mean()), _error(per_group)), pilot_groups=len(per_group),
        expected_error=plan.error, expected_noise=plan.noise, contraction=verdict,
    )  # fmt: skip


def _error(per_group: np.ndarray) -> float:
    return float(per_group.std(ddof=1) / np.sqrt(len(per_group)))


def _verdict(pilot: _Pilot, near: Surroundings, both: Levels) -> Contraction:
    """All five tests of conventions 7.7 on the pilot."""
    measured = pilot.dependence(both) | near.tests(pilot.recipe)
    return contraction(both.coarse.assign_attrs(measured), pilot.recipe)


@dataclass(frozen=True)
class _Plan:
    """A sized recipe, its mixing time in kept draws, its error of the LLC and its noise of a response (see there)."""

    recipe: Recipe
    mixing: float
    error: float
    noise: float


def _sized(recipe: Recipe, aim: Aim, cell: xr.Dataset, *, costs: tuple[int, int]) -> _Plan:
    """The recipe with thinning and draws.

    Args:
        recipe: With its final coupling.
        aim: Error aimed at.
        cell: Pilot cell.
        costs: Tokens of a step, and of reading one draw of one chain.
    """
    loss, per_draw = cell["loss"].values, costs[1] * recipe.coupling.members
    trace, square = loss.mean(1), (loss.mean(1) - loss.mean()) ** 2
    read = loss[:, 0::2].mean(1) - loss[:, 1::2].mean(1) if recipe.coupling.responds else square
    seen = [autocorrelation(part) for part in (trace, read)]

    def price(thin: int) -> float:
        return (thin * costs[0] + per_draw) * max(mixing_time(rho, thin) for rho in seen)

    thin = min(range(1, MOST_THIN + 1), key=price)
    mixing, reading = (mixing_time(rho, thin) for rho in seen)
    variance, limit = mixing * trace.var() / aim.groups, SKEW * (aim.groups / 4) ** 0.25
    want = max(aim.relative_error * abs(trace.mean()), 1e-300)
    steep = skewness(read) if recipe.coupling.responds else max(skewness(read), 8**0.5)
    normal = [mixing * (skewness(trace) / limit) ** 2, reading * (steep / limit) ** 2]
    least = max(LEAST_DRAWS, recipe.schedule.burn_in / thin, *normal)
    draws = int(np.clip(ceil(max(variance / want**2, least)), 1, MOST_DRAWS))
    longer = draws / reading / (cell.sizes["draw"] / mixing_time(seen[1]))
    return _Plan(
        recipe.with_schedule(draws=draws, thin=thin), mixing, aim.n_beta * float(np.sqrt(variance / draws)),
        _response_noise(cell, longer * aim.groups) if recipe.coupling.responds else float("nan"),
    )  # fmt: skip


def _response_noise(cell: xr.Dataset, more: float) -> float:
    """RMS error of a base token's response over the sd of the column, from ``more`` times one pilot group."""
    columns = cell["pair"].values.sum(1) / cell.sizes["draw"]
    columns = columns - columns.mean(1, keepdims=True)
    noise = float(columns.var(0, ddof=1).mean())
    signal = float(columns.mean(0).var()) - noise / len(columns)
    return float(np.sqrt(noise / more / signal)) if signal > 0 else float("inf")
