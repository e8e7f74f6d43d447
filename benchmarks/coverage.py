"""Do nominal 95 % intervals cover the exact value? Table in benchmarks/results/coverage.md.

One calibration per cell, then independent repetitions: all chain groups of a cell run side by side and are cut
into repetitions of 4, 8 and 32 groups. `python benchmarks/coverage.py [repetitions of 32 groups]`.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy import stats
from susceptometer.estimate.calibrate import Aim, Calibration, calibrate
from susceptometer.estimate.llc import llc
from susceptometer.estimate.susceptibility import susceptibility_coupled, susceptibility_covariance
from susceptometer.posterior.component import whole_component
from susceptometer.posterior.subject import Subject
from susceptometer.sampling.coupling import antithetic, coupled
from susceptometer.sampling.mala import MALA
from susceptometer.sampling.reading import Reading, read_here
from susceptometer.sampling.sgld import SGLD, LeimkuhlerMatthews
from susceptometer.testbed import crossing, gaussian, lyapunov, pathwise
from susceptometer.testbed.form import Form
from susceptometer.testbed.linear import LinearNetwork

RESULTS = Path(__file__).parent / "results" / "coverage.md"
TEMPER = (20.0, 20.0)


@dataclass(frozen=True)
class Case:
    """A system, what is estimated, and its exact value under the sampler's finite step and in the continuum."""

    name: str
    subject: Subject
    component: str
    aim: Aim
    estimate: Callable[[Reading], tuple[float, float]]
    target: Callable[[Calibration], float]
    continuum: Callable[[Calibration], float] | None = None


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


def llc_pair(reading: Reading) -> tuple[float, float]:
    found = llc(reading)
    return float(found.value[0]), float(found.error[0])


def chi_pair(estimator) -> Callable[[Reading], tuple[float, float]]:
    def first(reading: Reading) -> tuple[float, float]:
        found = estimator(reading)
        return float(found.value[0, 0]), float(found.error[0, 0])

    return first


def chain_law(system, recipe, factor: float = 1.0, noise: float = 0.0):
    """Stationary law of the recipe's sampler at n_beta times ``factor``."""
    spread = noise / recipe.batch_rows * np.eye(system.anchor.size) if recipe.batch_rows else None
    energy = system.energy(recipe.n_beta * factor, recipe.gamma, spread)
    kind = lyapunov.sgld if isinstance(recipe.sampler, SGLD) else lyapunov.leimkuhler_matthews
    return kind(energy, recipe.sampler.step_size).law()


def quadratic_llc(system, noise: float = 0.0) -> dict:
    def target(found):
        return gaussian.llc(system, chain_law(system, found.recipe, noise=noise), found.recipe.n_beta)

    def continuum(found):
        exact = gaussian.llc(system, system.energy(found.recipe.n_beta, found.recipe.gamma).law, found.recipe.n_beta)
        return exact * (1 + found.step_bias[0])

    return {"target": target, "continuum": continuum}


def chi_target(system, *, pair: bool) -> Callable[[Calibration], float]:
    def target(found):
        recipe = found.recipe
        if not pair:
            return float(gaussian.susceptibility(system, chain_law(system, recipe))[0])
        h = recipe.coupling.h
        laws = [chain_law(system, recipe, 1 + s * h) for s in (1, -1)]
        return float(pathwise.pair_susceptibility(system, *laws, offset=h * recipe.n_beta)[0])

    return target


def linear_network(draws: int = 3000):
    """A 3,3,3 network of rank 1 with its coefficient from long full-batch MALA chains."""
    system, temper = LinearNetwork((3, 3, 3), 1), (200.0, 20.0)
    model = subject_of(system)

    def target(found):
        plan = replace(found.recipe, sampler=MALA(step_size=3e-3), coupling=antithetic())
        plan = plan.with_schedule(groups=128, burn_in=200, draws=draws // 3, thin=3)
        return llc_pair(read_here(model, {"full": model.components["full"]}, plan, seed=99))[0]

    aim = Aim(n_beta=temper[0], gamma=temper[1], coupling=antithetic(), relative_error=0.1)
    return Case("linear network 3,3,3", model, "full", aim, llc_pair, target)


def cases(*, slow: bool) -> list[Case]:
    hills, block = valley([4.0, 1.0, 0.25, 0.1]), gaussian.random_quadratic(6, sizes=(4, 2), tokens=4, spread=0.5)
    small, flat = block.restrict(range(4)), valley([2.0, 1.0, 0.5])
    aim = Aim(n_beta=TEMPER[0], gamma=TEMPER[1], coupling=antithetic(), relative_error=0.2)
    crude, mirrored = replace(aim, sampler=SGLD), replace(aim, n_beta=1000.0, gamma=60.0)
    batches, arms = replace(crude, batch_rows=2), replace(aim, coupling=coupled(0.1))
    quartic, product = crossing.Crossing((2,)), crossing.Crossing((1, 1))
    found = [
        Case("quadratic, SGLD", subject_of(hills), "w", crude, llc_pair, **quadratic_llc(hills)),
        Case("quadratic, mini-batch", noisy(flat, 0.4), "w", batches, llc_pair, **quadratic_llc(flat)),
        Case("w^4", subject_of(quartic), "w", mirrored, llc_pair, lambda f: quartic.llc(1000.0, 60.0)),
        Case("x^2 y^2", subject_of(product), "w", mirrored, llc_pair, lambda f: product.llc(1000.0, 60.0)),
        Case("block, LLC", subject_of(block), "block0", aim, llc_pair, **quadratic_llc(small)),
        Case("block, chi covariance", subject_of(block), "block0", crude,
             chi_pair(susceptibility_covariance), chi_target(small, pair=False)),
        Case("block, chi coupled", subject_of(block), "block0", arms,
             chi_pair(susceptibility_coupled), chi_target(small, pair=True)),
    ]  # fmt: skip
    return [*found, linear_network()] if slow else found


def settings(case: Case, *, groups: int) -> Calibration:
    """The calibrated recipe for many groups; singular cells take a quarter of the step (their bias is not exact)."""
    found = calibrate(case.subject, case.component, case.aim, seed=1)
    recipe = found.recipe
    if case.continuum is None and case.estimate is llc_pair:
        fine = replace(recipe.sampler, step_size=recipe.sampler.step_size / 4)
        recipe = replace(recipe, sampler=fine).with_schedule(burn_in=4 * recipe.schedule.burn_in, thin=4)
    draws = int(np.clip(recipe.schedule.draws, 40, 60))
    return replace(found, recipe=recipe.with_schedule(groups=groups, draws=draws))


def repetitions(case: Case, reading: Reading, size: int, limit: int) -> np.ndarray:
    """Value and error of up to ``limit`` disjoint sets of ``size`` groups, ``[repetition, 2]``."""
    cell = reading.cells[case.component]
    count = min(limit, cell.sizes["group"] // size)
    parts = (cell.isel(group=slice(i * size, (i + 1) * size)) for i in range(count))
    return np.array([case.estimate(replace(reading, cells={case.component: part})) for part in parts])


def coverage(pairs: np.ndarray, target: float, half: float) -> float:
    """Share of intervals value +- half x error that hold the target."""
    return float(np.mean(np.abs(pairs[:, 0] - target) <= half * pairs[:, 1]))


def table(*, most: int, slow: bool, limit: int = 400) -> list[list]:
    """Rows: cell, groups, repetitions, coverage, against the continuum, with the normal quantile, sd/error."""
    rows = []
    for case in cases(slow=slow):
        start, found = time.process_time(), settings(case, groups=most)
        target = case.target(found)
        chosen = {case.component: case.subject.components[case.component]}
        reading = read_here(case.subject, chosen, found.recipe, seed=2)
        for size in (4, 8, 32):
            pairs = repetitions(case, reading, size, limit)
            half = stats.t.ppf(0.975, size - 1)
            beyond = coverage(pairs, case.continuum(found), half) if case.continuum else float("nan")
            ratio = pairs[:, 0].std(ddof=1) / np.sqrt((pairs[:, 1] ** 2).mean())
            rows.append([case.name, size, len(pairs), coverage(pairs, target, half), beyond,
                         coverage(pairs, target, 1.96), ratio])  # fmt: skip
            print(rows[-1], f"{time.process_time() - start:.1f} CPU s", flush=True)
    return rows


def main() -> None:
    most = 32 * int(sys.argv[1]) if len(sys.argv) > 1 else 32 * 200
    rows = table(most=most, slow=True)
    head = "| cell | groups | repetitions | coverage | against the continuum + reported bias | normal quantile | sd / error |"
    lines = [f"| {r[0]} | {r[1]} | {r[2]} | " + " | ".join(f"{v:.3f}" for v in r[3:]) + " |" for r in rows]
    text = "\n".join(["# Coverage of nominal 95 % intervals", "", head, "|" + "---|" * 7, *lines, ""])
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(text)
    print(text)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
