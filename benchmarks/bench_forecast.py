"""`read --dry-run` against the reading itself: seconds, bytes on disk and operations, predicted and measured.

    python benchmarks/bench_forecast.py [row ...]      # appends to benchmarks/results/forecast.json, writes forecast.md

Each row is a fresh process (one thread): the forecast with its 5-second probe, then the same reading into a new folder by the clock, then,
where that took under 3 s, once more under torch's FlopCounterMode. Seconds are those of the processor on both sides (the forecast
itself uses wall time), since the machine is shared; --wall takes wall time.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from pythia_shape import SHAPE
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from susceptometer.compute import pieces
from susceptometer.compute.options import ReadOptions
from susceptometer.compute.pieces import flop_counter
from susceptometer.compute.read import cost, read
from susceptometer.domains.hf import language_subject
from susceptometer.domains.language import load
from susceptometer.domains.token_text import TextPlan
from susceptometer.sampling.coupling import antithetic, coupled
from susceptometer.sampling.recipe import Recipe, Schedule
from susceptometer.sampling.sgld import LeimkuhlerMatthews

RESULTS = Path(__file__).parent / "results"


def recipe(groups, draws, **changes):
    plain = Recipe(
        sampler=LeimkuhlerMatthews(step_size=5e-4), schedule=Schedule(groups=groups, burn_in=10, draws=draws, thin=2),
        n_beta=30.0, gamma=300.0, coupling=coupled(), batch_rows=4,
    )  # fmt: skip
    return replace(plain, **changes)


def small():
    return load("pico-mini", plan=TextPlan(length=96, data_rows=64))


def pico():
    return load("pico", plan=TextPlan(length=128, data_rows=64))


def large():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = GPTNeoXForCausalLM(GPTNeoXConfig(**SHAPE))
    rows = torch.randint(50304, (16, 65), generator=torch.Generator().manual_seed(0))
    return language_subject(model, rows, {"base": rows[:2]}, name="14M shape")


ROWS = {
    "pico-mini, 8 heads": (small, "blocks.*.attn.head.*", recipe(4, 5)),
    "pico-mini, no stages, 2 heads": (lambda: replace(small(), stages=None), ["0:0", "1:1"], recipe(2, 4)),
    "pico-mini, 1 head, centred": (small, ["0:1"], recipe(4, 20, centered=True)),
    "pico-mini, all weights": (small, ["full"], recipe(2, 5)),
    "pico, 1 head, 2 groups": (pico, ["1:3"], recipe(2, 20)),
    "pico, 4 heads, 1 group": (pico, ["0:3", "0:4", "1:2", "1:3"], recipe(1, 5)),
    "pico, embed and unembed": (pico, ["embed", "unembed"], recipe(1, 5)),
    "pico, full batch, antithetic": (pico, ["1:0"], recipe(1, 5, batch_rows=None, coupling=antithetic())),
    "14M shape, first and last layer": (large, ["0:0", "5:0"], recipe(1, 4)),
    "14M shape, an MLP": (large, ["3:mlp"], recipe(1, 4)),
}


def measure(name):
    """One row, in this process."""
    torch.set_num_threads(1)
    make, parts, how = ROWS[name]
    options = ReadOptions(progress=False)
    clock = time.perf_counter if "--wall" in sys.argv else time.process_time
    pieces.CLOCK = clock
    begun = clock()
    expected = cost(make(), parts, recipe=how, seed=0, options=options)
    probe = clock() - begun
    found = {"name": name, "probe": probe, "seconds": expected.seconds, "bytes": expected.bytes, "flop": expected.flop}
    with tempfile.TemporaryDirectory() as folder:
        subject = make()
        begun = clock()
        read(subject, parts, recipe=how, seed=0, into=folder, options=options)
        found["took"] = clock() - begun
        found["stored"] = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
    if found["took"] < 3:
        with tempfile.TemporaryDirectory() as folder, flop_counter() as counter:
            read(subject, parts, recipe=how, seed=0, into=folder, options=options)
        found["counted"] = counter.get_total_flops()
    return {**found, "load": os.getloadavg()[0]}


def table(rows):
    lines = [
        "| reading | predicted, s | took, s | ratio | predicted, kB | stored, kB | ratio | predicted, GFLOP | counted | ratio | load |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        counted = row.get("counted")
        flop = "| |" if counted is None else f"{counted / 1e9:.1f} | {row['flop'] / counted:.2f} |"
        lines.append(
            f"| {row['name']} | {row['seconds']:.1f} | {row['took']:.1f} | {row['seconds'] / row['took']:.2f} | "
            f"{row['bytes'] / 1e3:.0f} | {row['stored'] / 1e3:.0f} | {row['bytes'] / row['stored']:.2f} | "
            f"{row['flop'] / 1e9:.1f} | {flop} {row['load']:.1f} |"
        )
    return "\n".join(lines)


def main():
    wall = ["--wall"] * ("--wall" in sys.argv)
    chosen = [word for word in sys.argv[1:] if word != "--wall"] or list(ROWS)
    if chosen[0] == "--one":
        print(json.dumps(measure(chosen[1])))
        return
    file, rows = RESULTS / "forecast.json", {}
    if file.exists():
        rows = {row["name"]: row for row in json.loads(file.read_text())}
    for name in chosen:
        done = subprocess.run(
            [sys.executable, __file__, "--one", name, *wall], capture_output=True, text=True, check=True
        )
        rows[name] = json.loads(done.stdout.splitlines()[-1])
        file.write_text(json.dumps(list(rows.values()), indent=1))
        ordered = [rows[name] for name in ROWS if name in rows]
        text = "# Forecast against reading\n\n`python benchmarks/bench_forecast.py`; one thread, processor seconds; load: 1-minute load average\n\n"
        (RESULTS / "forecast.md").write_text(text + table(ordered) + "\n")
        print(table([rows[name]]).splitlines()[-1], flush=True)


if __name__ == "__main__":
    main()
