"""Signal to noise of the susceptibility estimators per forward token (conventions 7.6, 7.8 item 8).

python benchmarks/bench_snr.py [MODEL] [--data FOLDER] [--heads NAME ...] [--into FILE.json]

MODEL is a bundled name or a local Hugging Face folder; --data is a text folder (the beginnings of its documents are
read). Heads already in FILE.json are kept. Antithetic chains on both sides. Noise N: mean over tokens of
the variance of one group's column-centred value; signal S: variance over tokens of the most precise estimator's value,
less its own noise. Cost of a group: 3 per gradient token, 1 per probe token, burn-in included. The slope on the most
precise estimator (error by leaving out groups, whose tokens err together) tells whether all measure the same thing.
"""

import argparse
import json
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from susceptometer.domains import language
from susceptometer.domains.token_text import TextPlan, domain_rows
from susceptometer.domains.user_text import text_documents
from susceptometer.estimate.estimate import jackknife
from susceptometer.estimate.susceptibility import susceptibility_coupled, susceptibility_covariance
from susceptometer.sampling.coupling import antithetic, coupled
from susceptometer.sampling.reading import read_here
from susceptometer.sampling.recipe import Recipe, Schedule
from susceptometer.sampling.sgld import SGLD, LeimkuhlerMatthews


@dataclass(frozen=True)
class Size:
    """What is read: rows of ``length`` tokens that define U, g and f, and mini-batch rows of one arm (covariance: twice).

    ``gamma`` must make the posterior contract: text that a model was not trained on has directions of negative
    curvature, on stories260K with the mini-Pile to -48 where the posterior of gamma 300 lives (n_beta 30).
    """

    length: int
    rows: int
    batch: int
    draws: int
    gamma: float


PICO_SIZE, OTHER_SIZE = Size(129, 16, 4, 40, 300.0), Size(33, 16, 2, 20, 1000.0)
PICO_HEADS = [f"blocks.{layer}.attn.head.{head}" for layer in (0, 1) for head in (0, 3, 4, 7)]
OTHER_HEADS = [
    f"blocks.{layer}.attn.head.{head}"
    for layer, head in ((0, 1), (0, 6), (1, 2), (2, 4), (2, 7), (3, 2), (4, 1), (4, 6))
]
FIRST, REFERENCE = "covariance, SGLD", "coupled, LM, centred"
GROUPS = 8


def recipe(kind, coupling, rows, size, *, centered=False):
    """n_beta 30; gamma eps 0.3 and burn-in 36 for SGLD, 1.2 and 9 for Leimkuhler-Matthews."""
    reach, burn_in = (0.3, 36) if kind is SGLD else (1.2, 9)
    return Recipe(
        sampler=kind(step_size=reach / size.gamma), n_beta=30.0, gamma=size.gamma, coupling=coupling,
        schedule=Schedule(groups=GROUPS, burn_in=burn_in, draws=size.draws),
        batch_rows=rows, centered=centered,
    )  # fmt: skip


def cases(size):
    """Estimator to recipe and formula."""
    one, two, pair, best = size.batch, 2 * size.batch, coupled(0.1), LeimkuhlerMatthews
    plain, response = susceptibility_covariance, susceptibility_coupled
    return {
        FIRST: (recipe(SGLD, antithetic(), two, size), plain),
        "covariance, LM, centred": (recipe(best, antithetic(), two, size, centered=True), plain),
        "coupled, SGLD": (recipe(SGLD, pair, one, size), response),
        "coupled, SGLD, centred": (recipe(SGLD, pair, one, size, centered=True), response),
        REFERENCE: (recipe(best, pair, one, size, centered=True), response),
    }


def subject_of(model, size, data=None):
    """The model with U, g and f on the same rows: else the covariance reads another loss than U."""
    plan = TextPlan(length=size.length, data_rows=size.rows, base_rows=size.rows)
    if data is None:
        whole = language.load(model, plan=plan)
        return replace(whole, probes={"base": whole.data})
    documents = {name: [text[:4000] for text in texts[:4]] for name, texts in text_documents(data).items()}
    encoder = language.encoder_of(str(model))
    with tempfile.TemporaryDirectory() as folder:
        rows = torch.cat(list(domain_rows(documents, encoder, size.length).values()))
        np.save(Path(folder) / "rows.npy", rows.numpy())
        return language.load(model, data=Path(folder) / "rows.npy", plan=plan)


def tokens_per_group(plan, targets, length):
    """Forward-token equivalents of one group."""
    rows = plan.batch_rows * (2 if plan.coupling.responds else 1)
    gradients = 3 * plan.schedule.steps * rows * (length - 1)
    return plan.coupling.members * (gradients + plan.schedule.draws * targets)


def measured(subject, head, size):
    """Centred values, noise, cost and CPU seconds of every case for one head."""
    found = {}
    for name, (plan, estimator) in cases(size).items():
        start = time.process_time()
        reading = read_here(subject, {head: subject.components[head]}, plan, seed=1)
        column = estimator(reading).data.isel(component=0)
        noise = plan.schedule.groups * float((column["error"].values ** 2).mean())
        left = [centred(estimator(without(reading, i))) for i in range(plan.schedule.groups)]
        value = centred(estimator(reading))
        cost = tokens_per_group(plan, value.size, size.length)
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
    signal = best.var() - noise / GROUPS
    per_token = {name: signal / n / cost * 1e6 for name, (_, n, cost, *_) in found.items()}
    first = per_token[FIRST]
    for name, (value, n, _, cpu, left) in found.items():
        slope, error = jackknife(value @ best / (best @ best), left @ best / (best @ best))
        yield {
            "head": head, "estimator": name, "snr_per_group": signal / n, "snr_per_mtoken": per_token[name],
            "gain": per_token[name] / first, "slope": float(slope), "slope_error": float(error), "cpu_s": cpu,
        }  # fmt: skip


def summary(rows):
    """Markdown: every head's gains, then their medians."""
    names = list(dict.fromkeys(row["estimator"] for row in rows))
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
    parser.add_argument("--data", type=Path)
    parser.add_argument("--heads", nargs="+")
    parser.add_argument("--into", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    pico = given.model == "pico"
    size = PICO_SIZE if pico else OTHER_SIZE
    subject = subject_of(given.model, size, given.data)
    rows = json.loads(given.into.read_text()) if given.into and given.into.exists() else []
    for head in given.heads or (PICO_HEADS if pico else OTHER_HEADS):
        if head not in {row["head"] for row in rows}:
            rows += rows_of_table(head, measured(subject, head, size))
        if given.into:
            given.into.write_text(json.dumps(rows, indent=1))
        print(summary(rows), flush=True)


if __name__ == "__main__":
    main()
