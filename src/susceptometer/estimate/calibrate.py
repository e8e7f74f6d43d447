"""A recipe that fits a posterior: step size, burn-in and draws from curvature, noise and a pilot run."""

from dataclasses import dataclass, replace
from math import ceil

import numpy as np
import xarray as xr

from susceptometer.errors import RecipeError
from susceptometer.estimate.convergence import trace_health
from susceptometer.estimate.curvature import Spectrum, spectrum
from susceptometer.estimate.diagnostics import drift_z
from susceptometer.posterior.local import CACHE_BYTES, LocalPosterior
from susceptometer.posterior.subject import Subject
from susceptometer.sampling.coupling import Coupling
from susceptometer.sampling.recipe import Recipe, Schedule
from susceptometer.sampling.run import Keep, run_cell
from susceptometer.sampling.sgld import SGLD, LeimkuhlerMatthews
from susceptometer.types import rows_of

REACH = {SGLD: 0.1, LeimkuhlerMatthews: 0.5}
"""eps P_max / 2 aimed at: a first-order step bias of 5 % in the stiffest direction, or a second-order one."""

HEATING = 0.1
"""Largest accepted eps n_beta^2 G / 4: mini-batch noise against the sampler's own."""


TRIALS = 20
"""Short runs allowed while looking for a step that fits."""


@dataclass(frozen=True, kw_only=True)
class Aim:
    """What the recipe is for.

    Args:
        n_beta: Effective inverse temperature; fixed by the question, never tuned.
        gamma: Pull to w*; None takes the smallest that keeps every seen direction confined.
        sampler: ``LeimkuhlerMatthews`` or ``SGLD``.
        coupling: How chains share randomness.
        groups: Independent groups.
        batch_rows: Rows per step; None for all.
        relative_error: Error aimed at, relative to the learning coefficient.
    """

    n_beta: float
    gamma: float | None
    sampler: type = LeimkuhlerMatthews
    coupling: Coupling = Coupling(h=0.1)
    groups: int = 8
    batch_rows: int | None = None
    relative_error: float = 0.05


@dataclass(frozen=True)
class Calibration:
    """A recipe and why.

    Args:
        recipe: Ready to run.
        component: What it was calibrated on.
        curvature: Largest and smallest Ritz value of the Hessian of L, over w* and pilot draws.
        gaussian_llc: Quadratic prediction of the learning coefficient, and at this step size.
        heating: eps n_beta^2 G/4 of the mini-batch noise, mean over weights (0 for full batches).
        mixing: Autocorrelation time of the loss, draws.
        step_bias: Relative step bias of the LLC: quadratic prediction, measured eps against eps/2, its error.
        drift: Second minus first half of the pilot's loss, in standard errors.
        llc: Pilot value and error.
    """

    recipe: Recipe
    component: str
    curvature: tuple[float, float]
    gaussian_llc: tuple[float, float]
    heating: float
    mixing: float
    step_bias: tuple[float, float, float]
    drift: float
    llc: tuple[float, float]

    def __repr__(self) -> str:
        r, (top, bottom) = self.recipe, self.curvature
        pull, push = r.gamma, r.n_beta * top
        ruler = "gamma dominates" if pull > push else "n_beta x curvature dominates"
        predicted, measured, error = self.step_bias
        return (
            f"{self.component}: {type(r.sampler).__name__} with step_size {r.sampler.step_size:.3g}, burn_in "
            f"{r.schedule.burn_in}, {r.schedule.draws} draws x {r.schedule.groups} groups. Curvature of L runs "
            f"from {bottom:.3g} to {top:.3g}, so U's stiffest direction is n_beta h + gamma = {push + pull:.4g} "
            f"({ruler}; eps P_max/2 = {r.sampler.step_size * (push + pull) / 2:.2f}) and its softest "
            f"{pull + r.n_beta * bottom:.4g}, which the burn-in forgets to 98 %. Step bias of the learning "
            f"coefficient: {predicted:+.1%} by the quadratic law, {measured:+.1%} ± {error:.1%} by eps against "
            f"eps/2. Mini-batch heating {self.heating:.1%}; mixing time {self.mixing:.1f} draws; drift "
            f"{self.drift:+.1f} errors; pilot LLC {self.llc[0]:.3g} ± {self.llc[1]:.2g} (quadratic "
            f"{self.gaussian_llc[0]:.3g})."
        )


def calibrate(subject: Subject, component: str, aim: Aim, *, seed: int) -> Calibration:
    """Choose step size, burn-in and draws for a component and say why (learning-coefficient 9).

    Order: curvature at w*, gamma, step size from the stiffest direction and from mini-batch noise, burn-in from
    the softest, pilot, curvature again at pilot draws (singular losses are stiffer away from w*), check run at half the step.

    Args:
        subject: What is sampled.
        component: Name of one of its components.
        aim: What for.
        seed: Names the pilot's random streams.

    Raises:
        RecipeError: gamma leaves a direction unconfined (the message gives the least gamma).
    """
    part = subject.components[component]
    plain = LocalPosterior(subject, part, aim.n_beta, 1.0)
    found = spectrum(plain, seed=seed)
    gamma = _gamma(aim, found, component)
    posterior = LocalPosterior(subject, part, aim.n_beta, gamma)
    found, recipe = _settled(posterior, aim, found, seed=seed)
    pilot = run_cell(posterior, recipe, seed=seed, groups=range(aim.groups))
    return _report(posterior, aim, found, recipe=recipe, pilot=pilot, seed=seed)


def _gamma(aim: Aim, found: Spectrum, component: str) -> float:
    least = max(0.0, -aim.n_beta * found.smallest)
    if aim.gamma is None:
        return max(2 * least, 0.1 * aim.n_beta * max(found.largest, 1e-6))
    if aim.gamma <= least:
        raise RecipeError(
            "gamma leaves a direction of negative curvature unconfined", where=component, value=aim.gamma,
            why=f"n_beta * lambda_min = {-least:.4g}; chains would leave w*",
            do=f"raise gamma above {2 * least:.4g} or lower n_beta",
        )
    return aim.gamma


def _recipe(posterior: LocalPosterior, aim: Aim, found: Spectrum) -> Recipe:
    gamma = posterior.gamma
    stiff, soft = aim.n_beta * found.largest + gamma, gamma + aim.n_beta * min(0.0, found.smallest)
    step = 2 * REACH[aim.sampler] / stiff
    noise = row_noise(posterior) / aim.batch_rows if aim.batch_rows else 0.0
    if noise:
        step = min(step, 4 * HEATING / (aim.n_beta**2 * noise))
    forget = 6.0 if aim.coupling.responds else 4.0
    burn_in = ceil(forget / (step * soft))
    table = rows_of(posterior.subject.data) * len(posterior.component) * 4
    return Recipe(
        sampler=aim.sampler(step_size=step),
        schedule=Schedule(groups=aim.groups, burn_in=burn_in, draws=max(100, 4 * burn_in)),
        n_beta=aim.n_beta, gamma=gamma, coupling=aim.coupling, batch_rows=aim.batch_rows,
        centered=aim.batch_rows is not None and table <= CACHE_BYTES,
    )


def row_noise(posterior: LocalPosterior) -> float:
    """Variance over data rows of one row's gradient at w*, mean over weights, (nats/weight)^2."""
    table = posterior.row_gradients()
    return float(table.var(0, unbiased=True).mean()) if len(table) > 1 else 0.0


def _settled(posterior: LocalPosterior, aim: Aim, found: Spectrum, *, seed: int) -> tuple[Spectrum, Recipe]:
    """A recipe whose step fits the curvature where its own chains go, and the spectrum with that curvature.

    Singular losses are flat at w* and stiff away from it, so the first step may be far too long; it shrinks
    tenfold while chains fail, and follows the curvature seen at their draws otherwise.
    """
    seen, recipe = found, _recipe(posterior, aim, found)
    for _ in range(TRIALS):
        stiffest = _stiffest(posterior, recipe, found, seed=seed)
        if stiffest is None:
            push = max(seen.largest, posterior.gamma / max(aim.n_beta, 1e-300))
            seen = _with_stiffest(found, 10 * push)
        elif recipe.sampler.step_size * (aim.n_beta * stiffest + posterior.gamma) / 2 > 1.5 * REACH[aim.sampler]:
            seen = _with_stiffest(found, stiffest)
        else:
            return seen, recipe
        recipe = _recipe(posterior, aim, seen)
    raise RecipeError(
        "no step size keeps the chains near w*", where=posterior.component.name,
        value=recipe.sampler.step_size, why="the loss stiffens without bound where the chains go",
        do="raise gamma or lower n_beta",
    )


def _with_stiffest(found: Spectrum, value: float) -> Spectrum:
    """The spectrum with one more node of no weight: it sets the step, not the quadratic prediction."""
    node = np.full((len(found.nodes), 1), value)
    return replace(found, nodes=np.append(found.nodes, node, 1), weights=np.append(found.weights, 0 * node, 1))


def _stiffest(posterior: LocalPosterior, recipe: Recipe, found: Spectrum, *, seed: int) -> float | None:
    """Largest curvature at w* and at up to three draws of a short run; None if its chains failed."""
    short = recipe.with_schedule(groups=3, draws=1)
    cell = run_cell(posterior, short, seed=seed + 1, groups=range(3), keep=Keep(weights=True))
    if (cell["status"] != 0).any():
        return None
    drawn = posterior.center.new_tensor(cell["kept_weights"].values[:, 0].reshape(3, -1))
    away = [spectrum(posterior, seed=seed, at=at, starts=1, iterations=8).largest for at in drawn]
    return max(found.largest, *away)


def _report(
    posterior: LocalPosterior, aim: Aim, found: Spectrum, *, recipe: Recipe, pilot: xr.Dataset, seed: int,
) -> Calibration:
    n_beta, gamma, step = aim.n_beta, posterior.gamma, recipe.sampler.step_size
    value, error, mixing = _pilot_llc(pilot, n_beta)
    half = replace(
        recipe, sampler=replace(recipe.sampler, step_size=step / 2),
        schedule=replace(recipe.schedule, burn_in=2 * recipe.schedule.burn_in, thin=2),
    )
    check = run_cell(posterior, half, seed=seed + 2, groups=range(aim.groups))
    finer, finer_error, _ = _pilot_llc(check, n_beta)
    order = 2.0 if aim.sampler is SGLD else 4 / 3
    scale = max(abs(finer), 1e-300)
    exact = found.gaussian_llc(n_beta, gamma)
    at_step = found.gaussian_llc(n_beta, gamma, step) if aim.sampler is SGLD else exact
    heating = row_noise(posterior) / aim.batch_rows if aim.batch_rows else 0.0
    measured = (order * (value - finer) / scale, order * float(np.hypot(error, finer_error)) / scale)
    return Calibration(
        recipe=_with_draws(recipe, aim, value=value, error=error), component=posterior.component.name,
        curvature=(found.largest, found.smallest), gaussian_llc=(exact, at_step),
        heating=step * n_beta**2 * heating / 4, mixing=mixing,
        step_bias=(at_step / exact - 1 if exact else 0.0, *measured), drift=drift_z(pilot),
        llc=(value, error),
    )


def _with_draws(recipe: Recipe, aim: Aim, *, value: float, error: float) -> Recipe:
    want = max(aim.relative_error * abs(value), 1e-300)
    factor = float(np.clip((error / want) ** 2, 0.25, 50.0))
    return recipe.with_schedule(draws=max(50, ceil(recipe.schedule.draws * factor)))


def _pilot_llc(cell: xr.Dataset, n_beta: float) -> tuple[float, float, float]:
    """Pilot LLC, its error, and the autocorrelation time of the loss in draws."""
    trace = cell["loss"].mean("member").values
    per_group = n_beta * trace.mean(1)
    ess, _ = trace_health(cell)
    error = float(per_group.std(ddof=1) / np.sqrt(len(per_group)))
    return float(per_group.mean()), error, float(max(1.0, trace.size / ess)) if ess else float("nan")
