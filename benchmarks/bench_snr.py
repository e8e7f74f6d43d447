"""Signal to noise of the susceptibility estimators per forward token (conventions 7.6, 7.8 item 8).

python benchmarks/bench_snr.py [MODEL] [--heads NAME ...] [--into FILE.json]

MODEL is a bundled name or a local Hugging Face folder. Antithetic chains on both sides. Noise N: mean over tokens of
the variance of one group's column-centred value; signal S: variance over tokens of the most precise estimator's value,
less its own noise. Cost of a group: 3 per gradient token, 1 per probe token, burn-in included. The slope on the most
precise estimator (error by leaving out groups, whose tokens err together) tells whether all measure the same thing.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from susceptometer.domains import language
from susceptometer.domains.token_text import TextPlan
from susceptometer.estimate.estimate import jackknife
from susceptometer.estimate.susceptibility import susceptibility_coupled, susceptibility_covariance
from susceptometer.sampling.coupling import antithetic, coupled
from susceptometer.sampling.reading import read_here
from susceptometer.sampling.recipe import Recipe, Schedule
from susceptometer.sampling.sgld import SGLD, LeimkuhlerMatthews

PLAN = TextPlan(length=129, data_rows=16, base_rows=16)
PICO_HEADS = [f"blocks.{layer}.attn.head.{head}" for layer in (0, 1) for head in (0, 3, 4, 7)]
OTHER_HEADS = [
    f"blocks.{layer}.attn.head.{head}"
    for layer, head in ((0, 1), (0, 6), (1, 2), (2, 4), (2, 7), (3, 2), (4, 1), (4, 6))
]
SLOW, FAST = SGLD(step_size=1e-3), LeimkuhlerMatthews(step_size=4e-3)
REFERENCE = "coupled, LM, centred, 4 + 4"


def recipe(sampler, coupling, rows, *, centered=False):
    """n_beta 30, gamma 300; burn-in 36 SGLD steps or 9 longer ones; 40 draws, 8 groups."""
    schedule = Schedule(groups=8, burn_in=36 if sampler is SLOW else 9, draws=40)
    return Recipe(
        sampler=sampler, schedule=schedule, n_beta=30.0, gamma=300.0, coupling=coupling,
        batch_rows=rows, centered=centered,
    )  # fmt: skip


CASES = {
    "covariance, SGLD, 8": (recipe(SLOW, antithetic(), 8), susceptibility_covariance),
    "covariance, LM, centred, 8": (
        recipe(FAST, antithetic(), 8, centered=True),
        susceptibility_covariance,
    ),
    "coupled, SGLD, 4 + 4": (recipe(SLOW, coupled(0.1), 4), susceptibility_coupled),
    "coupled, SGLD, centred, 4 + 4": (
        recipe(SLOW, coupled(0.1), 4, centered=True),
        susceptibility_coupled,
    ),
    REFERENCE: (recipe(FAST, coupled(0.1), 4, centered=True), susceptibility_coupled),
}


def subject_of(model):
    """The model with U, g and f on the same 16 rows of 128 targets: else the covariance reads another loss than U."""
    whole = language.load(model, plan=PLAN)
    return replace(whole, probes={"base": whole.data})


def tokens_per_group(plan, targets):
    """Forward-token equivalents of one group."""
    rows = plan.batch_rows * (2 if plan.coupling.responds else 1)
    gradients = 3 * plan.schedule.steps * rows * (PLAN.length - 1)
    return plan.coupling.members * (gradients + plan.schedule.draws * targets)


def measured(subject, head):
    """Centred values, noise, cost and CPU seconds of every case for one head."""
    found = {}
    for name, (plan, estimator) in CASES.items():
        start = time.process_time()
        reading = read_here(subject, {head: subject.components[head]}, plan, seed=1)
        column = estimator(reading).data.isel(component=0)
        noise = plan.schedule.groups * float((column["error"].values ** 2).mean())
        left = [centred(estimator(without(reading, i))) for i in range(plan.schedule.groups)]
        value = centred(estimator(reading))
        cost = tokens_per_group(plan, value.size)
        found[name] = (value, noise, cost, time.process_time() - start, np.stack(left))
    return found


def centred(chi):
    """The column less its mean over tokens, ``[tokens]``."""
    value = chi.value.isel(component=0).values
    return value - value.mean()


def without(reading, group):
    """The reading with one group left out."""
    cells = {name: cell.drop_isel(group=group) for name, cell in reading.cells.items()}
    return replace(reading, cells=cells)


def rows_of_table(head, found):
    """One row per case: signal/noise per group and per million forward tokens, gain, slope on the reference."""
    best, noise, *_ = found[REFERENCE]
    signal = best.var() - noise / 8
    per_token = {name: signal / n / cost * 1e6 for name, (_, n, cost, *_) in found.items()}
    first = per_token["covariance, SGLD, 8"]
    for name, (value, n, _, cpu, left) in found.items():
        slope, error = jackknife(value @ best / (best @ best), left @ best / (best @ best))
        yield {
            "head": head, "estimator": name, "snr_per_group": signal / n, "snr_per_mtoken": per_token[name],
            "gain": per_token[name] / first, "slope": float(slope), "slope_error": float(error), "cpu_s": cpu,
        }  # fmt: skip


def summary(rows):
    """Markdown: every head's gains, then their medians."""
    names = list(CASES)
    lines = ["| head | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    heads = list(dict.fromkeys(row["head"] for row in rows))
    gain = {(row["head"], row["estimator"]): row for row in rows}
    for head in heads:
        cells = [
            f"{gain[head, n]['gain']:.1f}x (slope {gain[head, n]['slope']:.2f} ± {gain[head, n]['slope_error']:.2f})"
            for n in names
        ]
        lines.append(f"| {head} | " + " | ".join(cells) + " |")
    medians = [np.median([gain[head, n]["gain"] for head in heads]) for n in names]
    lines.append("| **median** | " + " | ".join(f"**{m:.1f}x**" for m in medians) + " |")
    return "\n".join(lines)


def main():
    """Measure all heads, print the table, keep the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", nargs="?", default="pico")
    parser.add_argument("--heads", nargs="+")
    parser.add_argument("--into", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    subject, rows = subject_of(given.model), []
    for head in given.heads or (PICO_HEADS if given.model == "pico" else OTHER_HEADS):
        rows += rows_of_table(head, measured(subject, head))
        if given.into:
            given.into.write_text(json.dumps(rows, indent=1))
        print(summary(rows), flush=True)


if __name__ == "__main__":
    main()
