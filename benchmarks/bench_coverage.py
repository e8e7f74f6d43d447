"""Do nominal 95 % intervals cover the exact value? Table in benchmarks/results/coverage.md.

Every repetition is a user's run: a recipe from `calibrate` and nothing else, then chains. Ten calibrations per cell
and number of groups, twenty runs with each of them side by side; a susceptibility counts all its tokens.
`python benchmarks/bench_coverage.py [ROWS.json [calibrations [runs of each]]]`: finished rows are kept in the JSON file.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from susceptometer.estimate.calibrate import Aim, Calibration, calibrate
from susceptometer.estimate.estimate import Estimate
from susceptometer.estimate.llc import llc
from susceptometer.estimate.susceptibility import (
    susceptibility_coupled,
    susceptibility_covariance,
    susceptibility_two_run,
)
from susceptometer.posterior.component import whole_component
from susceptometer.posterior.subject import Subject
from susceptometer.sampling.coupling import antithetic, coupled
from susceptometer.sampling.mala import MALA
from susceptometer.sampling.reading import Reading, read_here
from susceptometer.sampling.recipe import Recipe, Schedule
from susceptometer.sampling.sgld import SGLD
from susceptometer.testbed import crossing, gaussian, lyapunov
from susceptometer.testbed.form import Form, Law
from susceptometer.testbed.linear import LinearNetwork

RESULTS = Path(__file__).parent / "results" / "coverage.md"
TEMPER = (20.0, 20.0)
SLOW = "linear network 3,3,3, LLC"
TITLE = """# Coverage of nominal 95 % intervals

Made by `python benchmarks/bench_coverage.py` on one CPU core. Every run uses a recipe from `calibrate` and nothing else. The
continuum column takes out the step bias that calibration measured (eps against eps/2 on one path), with its error."""


@dataclass(frozen=True)
class Case:
    """A system, what is estimated, and its exact values ``[tokens]``.

    Args:
        name: Row of the table.
        subject: The system.
        component: What moves.
        aim: Goes to `calibrate` with the number of groups.
        estimate: From a reading.
        target: Exact value under the recipe's sampler at its step (and at its h); None where no law is known.
        continuum: Exact value for step 0 and h 0.
        also: Further components that the estimate reads.
    """

    name: str
    subject: Subject
    component: str
    aim: Aim
    estimate: Callable[[Reading], Estimate]
    target: Callable[[Recipe], np.ndarray] | None
    continuum: np.ndarray | float
    also: tuple[str, ...] = field(default=())


def subject_of(system, loss=None, data=None, base=None) -> Subject:
    center = system.center
    parts = {name: whole_component(name, center, only=(name,)) for name in center}
    parts["full"] = whole_component("full", center)
    return Subject("cell", center, loss or system.loss, data or system.data, {"base": base or system.data}, parts)


def noisy(system, noise: float, rows: int = 1024) -> Subject:
    """Data rows whose gradients scatter by ``noise`` per weight, everywhere; their mean loss is L."""
    size = system.anchor.size
    half = np.random.default_rng(5).standard_normal((rows // 2, size))
    tilts = np.concatenate([half, -half])
    tilts = tilts @ np.linalg.inv(np.linalg.cholesky(tilts.T @ tilts / rows)).T * noise**0.5
    anchor = torch.as_tensor(system.anchor)

    def loss(params, batch):
        shift = torch.cat([params[name] for name in system.center]) - anchor
        return system.loss(params, batch) + batch["tilt"] @ shift

    tokens = len(system.tokens.constant)
    data = {"index": torch.arange(rows) % tokens, "tilt": torch.as_tensor(tilts)}
    base = {"index": torch.arange(tokens), "tilt": torch.zeros(tokens, size, dtype=torch.float64)}
    return subject_of(system, loss, data, base)


def valley(curvatures) -> gaussian.Quadratic:
    h = np.asarray(curvatures, dtype=np.float64)
    return gaussian.Quadratic(Form(np.diag(h)[None], 0 * h[None], np.zeros(1)), 0 * h, (("w", len(h)),))


def chain_law(system, recipe: Recipe, factor: float = 1.0) -> Law:
    """Stationary law of the recipe's sampler at n_beta times ``factor``, full batches (or exact control variates)."""
    kind = lyapunov.sgld if isinstance(recipe.sampler, SGLD) else lyapunov.leimkuhler_matthews
    return kind(system.energy(recipe.n_beta * factor, recipe.gamma), recipe.sampler.step_size).law()


def quadratic_llc(system, aim: Aim) -> dict:
    """Exact learning coefficients of a quadratic."""
    return {
        "target": lambda recipe: gaussian.llc(system, chain_law(system, recipe), recipe.n_beta),
        "continuum": gaussian.llc(system, system.energy(aim.n_beta, aim.gamma).law, aim.n_beta),
    }


def chi_values(system, aim: Aim) -> dict:
    """Exact susceptibilities of a quadratic: covariance under the sampler's law, or the pair's at finite h."""

    def target(recipe: Recipe) -> np.ndarray:
        h = recipe.coupling.h
        if not h:
            return gaussian.susceptibility(system, chain_law(system, recipe))
        f = [system.perturbations.mean(chain_law(system, recipe, 1 + s * h)) for s in (1, -1)]
        return (f[0] - f[1]) / (2 * h * recipe.n_beta)

    law = system.energy(aim.n_beta, aim.gamma).law
    return {"target": target, "continuum": gaussian.susceptibility(system, law)}


def two_run_values(system, weights: int, aim: Aim) -> dict:
    """The same for the two-run form; with arms the restricted means are those of both arms."""
    small = system.restrict(range(weights))

    def term(recipe: Recipe) -> np.ndarray:
        arms = (1 + recipe.coupling.h, 1 - recipe.coupling.h)
        inner = [chain_law(small, recipe, arm) for arm in arms]
        g = np.mean([small.base.mean(law) for law in inner]) - small.base.constant
        shift = system.perturbations.mean(chain_law(system, recipe))
        return -g * (np.mean([small.perturbations.mean(law) for law in inner], 0) - shift)

    within = chi_values(small, aim)
    laws = [s.energy(aim.n_beta, aim.gamma).law for s in (system, small)]
    exact = gaussian.two_run_susceptibility(system, laws[0], list(range(weights)), component_law=laws[1])
    return {"target": lambda recipe: within["target"](recipe) + term(recipe), "continuum": exact}


def linear_network() -> Case:
    """A 3,3,3 network of rank 1 with its coefficient from long full-batch MALA chains."""
    model = subject_of(LinearNetwork((3, 3, 3), 1))
    aim = Aim(n_beta=200.0, gamma=20.0, coupling=antithetic(), relative_error=0.1)
    plan = Recipe(
        sampler=MALA(step_size=3e-3), schedule=Schedule(groups=128, burn_in=300, draws=1000, thin=3),
        n_beta=aim.n_beta, gamma=aim.gamma, coupling=antithetic(),
    )  # fmt: skip
    reference = llc(read_here(model, {"full": model.components["full"]}, plan, seed=99))
    print(reference, float(reference.data["rhat"][0]), flush=True)
    return Case(SLOW, model, "full", aim, llc, None, float(reference.value[0]))


def cases() -> list[Case]:
    """All cells of the table but `SLOW`, whose reference is sampled."""
    hills, block = valley([4.0, 1.0, 0.25, 0.1]), gaussian.random_quadratic(6, sizes=(4, 2), tokens=4, spread=0.5)
    small, flat = block.restrict(range(4)), valley([2.0, 1.0, 0.5])
    aim = Aim(n_beta=TEMPER[0], gamma=TEMPER[1], coupling=antithetic(), relative_error=0.2)
    crude, mirrored = replace(aim, sampler=SGLD), replace(aim, n_beta=1000.0, gamma=60.0)
    batches, arms = replace(crude, batch_rows=2), replace(aim, coupling=coupled(0.1))
    quartic, product = crossing.Crossing((2,)), crossing.Crossing((1, 1))
    model = subject_of(block)
    chi, both = (chi_values(small, aim), two_run_values(block, 4, aim))
    return [
        Case("quadratic, LLC, SGLD", subject_of(hills), "w", crude, llc, **quadratic_llc(hills, crude)),
        Case("quadratic, LLC, SGLD, mini-batch", noisy(flat, 0.4), "w", batches, llc, **quadratic_llc(flat, batches)),
        Case("w^4, LLC", subject_of(quartic), "w", mirrored, llc, None, quartic.llc(1000.0, 60.0)),
        Case("x^2 y^2, LLC", subject_of(product), "w", mirrored, llc, None, product.llc(1000.0, 60.0)),
        Case("block off the minimum, LLC", model, "block0", aim, llc, **quadratic_llc(small, aim)),
        Case("chi covariance, SGLD", model, "block0", crude, susceptibility_covariance, **chi),
        Case("chi covariance", model, "block0", aim, susceptibility_covariance, **chi),
        Case("chi coupled", model, "block0", arms, susceptibility_coupled, **chi),
        Case("chi two-run, covariance", model, "block0", aim, susceptibility_two_run, **both, also=("full",)),
        Case("chi two-run, coupled", model, "block0", arms, susceptibility_two_run, **both, also=("full",)),
    ]  # fmt: skip


def runs(case: Case, found: Calibration, *, count: int, seed: int) -> list[Estimate]:
    """``count`` independent runs with a calibrated recipe, side by side."""
    size = found.recipe.schedule.groups
    names = (case.component, *case.also)
    plan = found.recipe.with_schedule(groups=size * count)
    reading = read_here(case.subject, {name: case.subject.components[name] for name in names}, plan, seed=seed)
    return [case.estimate(part) for part in parts(replace(reading, recipe=found.recipe), size)]


def parts(reading: Reading, size: int) -> list[Reading]:
    """Disjoint readings of ``size`` groups each."""
    count = next(iter(reading.cells.values())).sizes["group"] // size
    return [
        replace(
            reading, cells={k: cell.isel(group=slice(i * size, (i + 1) * size)) for k, cell in reading.cells.items()}
        )
        for i in range(count)
    ]


def held(estimate: Estimate, exact: object, component: str) -> np.ndarray:
    """Which of an estimate's 95 % intervals hold the exact values, ``[tokens]``."""
    low, high = (side.sel(component=component).values for side in estimate.interval())
    return np.atleast_1d((low <= exact) & (exact <= high))


def row(case: Case, size: int, *, calibrations: int, each: int) -> dict[str, float]:
    """One row of the table: shares of intervals that hold the law's and the continuum's value, and error against sd."""
    law, limit, normal, scores = [], [], [], []
    for seed in range(calibrations):
        found = calibrate(case.subject, case.component, replace(case.aim, groups=size), seed=seed)
        target = case.target(found.recipe) if case.target else None
        for one in runs(case, found, count=each, seed=1000 + seed):
            corrected = found.without_step_bias(one)
            limit.append(held(corrected, case.continuum, case.component))
            reference = case.continuum if target is None else target
            used = corrected if target is None else one
            scores.append(np.atleast_1d(used.sel(component=case.component).z(reference).values))
            normal.append(np.abs(scores[-1]) < 1.96)
            if target is not None:
                law.append(held(one, target, case.component))
    schedule = found.recipe.schedule
    return {
        "runs": len(limit), "draws": schedule.draws, "thin": schedule.thin, "law": float(np.mean(law or np.nan)),
        "continuum": float(np.mean(limit)), "normal": float(np.mean(normal)), "mean z": float(np.mean(scores)),
    }  # fmt: skip


def table(*, calibrations: int, each: int, kept: Path) -> dict[str, Mapping[str, float]]:
    """All rows by "cell, groups"; rows already in the JSON file ``kept`` are not made again."""
    rows = json.loads(kept.read_text()) if kept.exists() else {}
    todo = [(name, size) for name in [*names(), SLOW] for size in (4, 8, 32) if f"{name}, {size}" not in rows]
    ready = {}
    for name, size in todo:
        if name not in ready:
            ready = {case.name: case for case in ([linear_network()] if name == SLOW else cases())}
        start = time.process_time()
        rows[f"{name}, {size}"] = row(ready[name], size, calibrations=calibrations, each=each)
        kept.write_text(json.dumps(rows))
        print(name, size, rows[f"{name}, {size}"], f"{time.process_time() - start:.1f} CPU s", flush=True)
    return rows


def names() -> list[str]:
    """The cells whose exact value is closed or a quadrature."""
    return [case.name for case in cases()]


def main(rows_file: str = "coverage.json", calibrations: str = "10", each: str = "20") -> None:
    """Make the rows that are missing and write the table."""
    rows = table(calibrations=int(calibrations), each=int(each), kept=Path(rows_file))
    head = (
        "| cell | groups | runs | draws x thin of the last recipe | finite-step law | continuum, less the reported bias |"
        " with 1.96 instead of t | mean z |"
    )
    lines = [
        f"| {name.rpartition(', ')[0]} | {name.rpartition(', ')[2]} | {r['runs']} | {r['draws']} x {r['thin']} | "
        + " | ".join("–" if np.isnan(r[key]) else f"{r[key]:.3f}" for key in ("law", "continuum", "normal"))
        + f" | {r['mean z']:+.2f} |"
        for name, r in rows.items()
    ]
    text = "\n".join([TITLE, "", head, "|" + "---|" * 8, *lines, ""])
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(text)
    print(text)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*sys.argv[1:])
