"""Cells on Ray: 1 and 2 workers on this machine, and a schedule of 1 to 1,024 workers simulated from measured cells.

    python benchmarks/bench_ray.py [--cells 32] [--draws 40] [--parts ...]   # writes benchmarks/results/ray.md

Measured: wall time of the same reading (pico-mini) by the local engine and by 1 and 2 Ray workers (start of Ray and import
of torch apart), CPU seconds of every cell, and the sender's own seconds per cell. Simulated: cells handed out one after another,
each with a measured time; stragglers (a share of cells takes several times as long) and lost workers (the cell is made
again, the worker is replaced after its start-up time).
"""

import argparse
import heapq
import json
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from susceptometer.compute.cells import run_work
from susceptometer.compute.options import ReadOptions
from susceptometer.compute.ray_engine import LATE, RayEngine, ray_library
from susceptometer.compute.read import read
from susceptometer.domains.language import load
from susceptometer.domains.token_text import TextPlan
from susceptometer.sampling.coupling import coupled
from susceptometer.sampling.recipe import Recipe, Schedule
from susceptometer.sampling.sgld import LeimkuhlerMatthews

OUT = Path(__file__).parent / "results" / "ray.md"
WORKERS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]
SCALE, CELLS = 60.0, 8192
"""Simulated cells: this many, this many times as long as the measured ones."""

STRAGGLERS, SLOW = 0.02, 5.0
"""Share of cells that take this many times as long."""

LIFE = 2 * 3600.0
"""Mean seconds until a worker is lost (pre-emptible machines)."""


def setting(cells, draws):
    """pico-mini, heads of both layers, one group per cell."""
    subject = load("pico-mini", plan=TextPlan(length=96, data_rows=64, base_rows=8))
    recipe = Recipe(
        sampler=LeimkuhlerMatthews(step_size=5e-4),
        schedule=Schedule(groups=cells // 8, burn_in=10, draws=draws, thin=2),
        n_beta=30.0, gamma=300.0, coupling=coupled(), batch_rows=4,
    )  # fmt: skip
    return subject, recipe


def timed_here(order, works, watch):
    """The local engine, noting CPU seconds of every cell."""
    for work in works:
        begun = time.process_time()
        data = run_work(order, work)
        SPENT.append(time.process_time() - begun)
        watch.done(work, data)


SPENT = []


def wall(subject, recipe, engine):
    with tempfile.TemporaryDirectory() as folder:
        options = ReadOptions(progress=False, block=1, engine=engine)
        begun = time.perf_counter()
        read(subject, "blocks.*.attn.head.*", recipe=recipe, seed=0, into=folder, options=options)
        return time.perf_counter() - begun


def with_workers(subject, recipe, count):
    """Wall seconds by Ray workers that are already warm, and seconds of the start."""
    engine, ray = RayEngine(workers=count), ray_library()
    begun = time.perf_counter()
    wall(subject, recipe.with_schedule(groups=1, draws=1, burn_in=0), engine)
    start = time.perf_counter() - begun
    seconds = wall(subject, recipe, engine)
    ray.shutdown()
    return seconds, start


def nothing():
    """A cell without work."""


def sender_seconds(count=300):
    """Seconds of the sender per cell: handing out and taking in, with nothing to do between."""
    ray = ray_library()
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    task = ray.remote(num_cpus=1)(nothing)
    ray.get([task.remote() for _ in range(20)])
    begun = time.perf_counter()
    running = [task.remote() for _ in range(count)]
    while running:
        ready, running = ray.wait(running, num_returns=1)
        ray.get(ready)
    seconds = (time.perf_counter() - begun) / count
    ray.shutdown()
    return seconds


def makespan(cells, workers, *, sender, start, life, generator, usual=None):
    """Seconds until the last of ``cells`` (seconds each) is made by ``workers``, cells in order, losses made again.

    ``usual``: at the end a cell later than `LATE` times this is made again by an idle worker, in the usual time.
    """
    free = [(0.0, worker) for worker in range(workers)]
    waiting, clock, ends = list(reversed(cells)), 0.0, []
    dies = generator.exponential(life, workers) if life else np.full(workers, np.inf)
    while waiting:
        now, worker = heapq.heappop(free)
        clock = max(clock, now) + sender
        seconds = waiting.pop()
        end = clock + seconds
        if end > dies[worker]:
            waiting.append(seconds)
            back = max(clock, dies[worker]) + start
            dies[worker] = back + generator.exponential(life)
            heapq.heappush(free, (back, worker))
            continue
        ends.append((clock, end))
        heapq.heappush(free, (end, worker))
    idle = [now for now, _ in sorted(free)]
    finish = max(end for _, end in ends)
    if usual is not None:
        late = [(max(begun + LATE * usual, clock), end) for begun, end in ends if end > begun + LATE * usual]
        copies = zip(sorted(late, key=lambda cell: -cell[1]), idle, strict=False)
        copied = {cell: min(cell[1], max(cell[0], now) + usual) for cell, now in copies}
        spared = [copied.get((max(b + LATE * usual, clock), e), e) for b, e in ends]
        finish = max(spared)
    return finish


def simulated(spent, sender, start):
    """Rows of the table: makespan and efficiency, without and with stragglers and losses."""
    generator = np.random.default_rng(0)
    plain = SCALE * generator.choice(spent, CELLS)
    typical = float(np.median(plain))
    slow = plain * np.where(generator.random(CELLS) < STRAGGLERS, SLOW, 1.0)
    rows = []
    for workers in WORKERS:
        settings = {"sender": sender, "start": start, "generator": generator}
        times = [
            makespan(cells.tolist(), workers, life=life, usual=usual, **settings)
            for cells, life, usual in ((plain, 0.0, None), (slow, 0.0, None), (slow, LIFE, None), (slow, LIFE, typical))
        ]
        share = [cells.sum() / workers / t for cells, t in zip((plain, slow, slow, slow), times, strict=True)]
        rows.append((workers, times, share))
    return rows


def measured(part, given):
    """One part of what is measured: ``local``, ``1`` or ``2`` workers, or the sender's own time."""
    torch.set_num_threads(1)
    if part == "sender":
        return {"seconds": sender_seconds(), "load": os.getloadavg()[0]}
    subject, recipe = setting(given.cells, given.draws)
    if part == "local":
        return {"seconds": wall(subject, recipe, timed_here), "cells": SPENT, "load": os.getloadavg()[0]}
    seconds, start = with_workers(subject, recipe, int(part))
    return {"seconds": seconds, "start": start, "load": os.getloadavg()[0]}


def table(found):
    spent, here = np.array(found["local"]["cells"]), found["local"]["seconds"]
    start, sender = found["2"]["start"], found["sender"]["seconds"]
    lines = [
        (f"{len(spent)} cells of pico-mini, CPU seconds per cell: mean {spent.mean():.2f}, sd {spent.std():.2f}, "
         f"largest {spent.max():.2f}; {os.cpu_count()} cores."),
        "", "| engine | wall, s | cells per s | against local | first start, s | load average |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for part in ("local", "1", "2"):
        row, name = found[part], part if part == "local" else f"ray, workers: {part}"
        first = f"{row['start']:.1f}" if "start" in row else ""
        lines.append(
            f"| {name} | {row['seconds']:.1f} | {len(spent) / row['seconds']:.2f} | {here / row['seconds']:.2f}x | {first} | {row['load']:.1f} |"
        )
    lines += [
        "", f"Sender per cell: {1000 * sender:.1f} ms.", "",
        (f"Simulated: {CELLS:,} cells of {SCALE * spent.mean():.0f} s on average ({SCALE * spent.mean() * CELLS / 3600:.0f} core-hours). "
         f"Stragglers: {STRAGGLERS:.0%} of the cells take {SLOW:g} times as long. Losses: a worker lives {LIFE / 3600:g} h on average, "
         f"its cell is made again, its successor needs {start:.0f} s to start. Efficiency: cell seconds / (workers x time). "
         "Copied: with losses, and a late cell made a second time by an idle worker, as the engine does."),
        "", "| workers | time, min | efficiency | with stragglers | efficiency | and losses | efficiency | and copies | efficiency |",
        "|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for workers, times, share in simulated(spent, sender, start):
        pairs = " | ".join(f"{t / 60:,.1f} | {s:.1%}" for t, s in zip(times, share, strict=True))
        lines.append(f"| {workers:,} | {pairs} |")
    return "\n".join(lines)


PARTS = ("local", "1", "2", "sender")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cells", type=int, default=32)
    parser.add_argument("--draws", type=int, default=40)
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    given = parser.parse_args()
    file = OUT.with_suffix(".json")
    found = json.loads(file.read_text()) if file.exists() else {}
    for part in given.parts:
        found[part] = measured(part, given)
        file.write_text(json.dumps(found, indent=1))
    if set(PARTS) <= set(found):
        OUT.write_text("# Cells on Ray\n\n`python benchmarks/bench_ray.py`\n\n" + table(found) + "\n", encoding="utf-8")
        print(OUT.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
