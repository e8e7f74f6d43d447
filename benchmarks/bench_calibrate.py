"""Calibration on heads of pico: its cost, its recipe against a long run, and the price of other steps.

python benchmarks/bench_calibrate.py calibrate [HEAD ...]   CPU seconds, the paragraph, LLC and chi against eps/4
python benchmarks/bench_calibrate.py steps [HEAD]           signal to noise of chi per CPU second for samplers and steps
"""

import sys
import time
from dataclasses import replace

import numpy as np
import torch

from susceptometer.domains import language
from susceptometer.estimate.calibrate import Aim, calibrate
from susceptometer.estimate.llc import llc
from susceptometer.estimate.susceptibility import susceptibility_coupled
from susceptometer.sampling.coupling import coupled
from susceptometer.sampling.reading import read_here
from susceptometer.sampling.recipe import Recipe, Schedule
from susceptometer.sampling.sgld import SGLD, LeimkuhlerMatthews

AIM = Aim(n_beta=30, gamma=300, batch_rows=4)
STEPS = [
    (SGLD, 0.1, 4),
    *((LeimkuhlerMatthews, reach, 4) for reach in (0.25, 0.5, 1.0, 1.5)),
    *((LeimkuhlerMatthews, 1.0, rows) for rows in (1, 2, 8)),
]
"""Sampler, eps P_max / 2, rows of a mini-batch."""


def lean():
    """Pico with the base probe only."""
    subject = language.load("pico")
    return replace(subject, probes={"base": subject.probes["base"]})


def timed(make):
    """CPU seconds and result."""
    start = time.process_time()
    out = make()
    return time.process_time() - start, out


def long_run(recipe: Recipe) -> Recipe:
    """The same posterior at a quarter of the step, as many draws four times as far apart, its own seed."""
    fine = replace(recipe.sampler, step_size=recipe.sampler.step_size / 4)
    schedule = replace(recipe.schedule, burn_in=4 * recipe.schedule.burn_in, thin=4 * recipe.schedule.thin)
    return replace(recipe, sampler=fine, schedule=schedule)


def against_a_long_run(subject, head: str) -> None:
    """Calibrate, run the recipe, run the long one, compare."""
    seconds, found = timed(lambda: calibrate(subject, head, AIM, seed=0))
    print(f"{seconds:.1f} CPU s: {found}", flush=True)
    small, parts = lean(), {head: subject.components[head]}
    plans = (found.recipe, long_run(found.recipe))
    (cost, short), (much, long) = (
        timed(lambda plan=plan, seed=seed: read_here(small, parts, plan, seed=seed))
        for seed, plan in enumerate(plans, 1)
    )
    values = [llc(reading) for reading in (short, long)]
    columns = [centred(reading) for reading in (short, long)]
    slope, error = slope_of(*columns)
    print(
        f"{head}: recipe {cost:.0f} CPU s, LLC {values[0].value[0]:.2f} ± {values[0].error[0]:.2f}; eps/4 {much:.0f} CPU s, "
        f"LLC {values[1].value[0]:.2f} ± {values[1].error[0]:.2f}; chi slope {slope:.3f} ± {error:.3f}, "
        f"correlation {np.corrcoef(columns[0].mean(0), columns[1].mean(0))[0, 1]:.4f}",
        flush=True,
    )


def centred(reading) -> np.ndarray:
    """Centred coupled columns of every group ``[groups, tokens]``."""
    cell = next(iter(reading.cells.values()))
    columns = cell["pair"].values.sum(1) / cell.sizes["draw"]
    return columns - columns.mean(1, keepdims=True)


def slope_of(columns: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """Slope of the groups' columns on the mean of others, with the error over groups of both."""
    best = reference.mean(0)
    own = columns @ best / (best @ best)
    rest = (reference.sum(0) - reference) / (len(reference) - 1)
    other = (reference * rest).sum(1) / (rest * best).sum(1)
    spread = [side.std(ddof=1) / np.sqrt(len(side)) for side in (own, other)]
    return float(own.mean()), float(np.hypot(*spread))


def step_table(subject, head: str) -> None:
    """Signal to noise per group of the centred column over CPU seconds, burn-in included."""
    found = calibrate(subject, head, AIM, seed=0)
    top, small = 30 * found.curvature[0] + 300, lean()
    for kind, reach, rows in STEPS:
        step = 2 * reach / top
        plan = Recipe(
            sampler=kind(step_size=step), n_beta=30.0, gamma=300.0, coupling=coupled(0.1), batch_rows=rows, centered=True,
            schedule=Schedule(groups=6, burn_in=int(np.ceil(6 / (300 * step))), draws=24),
        )  # fmt: skip
        seconds, reading = timed(lambda plan=plan: read_here(small, {head: small.components[head]}, plan, seed=3))
        columns = centred(reading)
        noise = columns.var(0, ddof=1).mean()
        signal = columns.mean(0).var() - noise / len(columns)
        value = llc(reading)
        print(
            f"{kind.__name__} eps P/2 = {reach}, {rows} rows: burn-in {plan.schedule.burn_in}, {seconds:.0f} CPU s, SNR per group "
            f"{signal / noise:.2f}, per CPU second {signal / noise / seconds:.3f}; LLC {value.value[0]:.2f} ± "
            f"{value.error[0]:.2f}, |z| of chi {np.median(np.abs(susceptibility_coupled(reading).z(0))):.1f}",
            flush=True,
        )


if __name__ == "__main__":
    torch.set_num_threads(1)
    command, *heads = sys.argv[1:] or ["calibrate"]
    pico = language.load("pico")
    for name in heads or ["blocks.1.attn.head.7"]:
        (against_a_long_run if command == "calibrate" else step_table)(pico, name)
