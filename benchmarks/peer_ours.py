"""Runs susceptometer on one JSON job of the peer benchmark, in a process of its own.

Usage: ``python peer_ours.py JOB.json``; the mirror image of ``peer_worker.py``: same jobs, same reports, and per-token
losses in the same order, so that the tables compare like with like.
"""

import itertools
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

START = time.process_time(), time.perf_counter()

import numpy as np  # noqa: E402
import torch  # noqa: E402
import xarray as xr  # noqa: E402
from peer_clock import peak_megabytes  # noqa: E402
from peer_subjects import language, toy  # noqa: E402

from susceptometer.compute.options import ReadOptions  # noqa: E402
from susceptometer.compute.read import read  # noqa: E402
from susceptometer.posterior.local import LocalPosterior  # noqa: E402
from susceptometer.posterior.subject import Subject  # noqa: E402
from susceptometer.sampling import run  # noqa: E402
from susceptometer.sampling.coupling import antithetic, coupled, independent  # noqa: E402
from susceptometer.sampling.noise import GroupBatches  # noqa: E402
from susceptometer.sampling.recipe import Recipe, Schedule  # noqa: E402
from susceptometer.sampling.run import Keep  # noqa: E402
from susceptometer.sampling.sgld import SGLD  # noqa: E402

IMPORTED = time.process_time()
COUPLINGS = {"independent": independent, "antithetic": antithetic, "coupled": coupled}


def recipe_of(job: dict, component: str) -> Recipe:
    """devinterp's settings as a recipe; its chains are our groups. Response arms are for heads only."""
    name = job.get("coupling", "independent")
    coupling = COUPLINGS["antithetic" if (name, component) == ("coupled", "full") else name]()
    return Recipe(
        sampler=SGLD(step_size=job["step_size"]),
        n_beta=job["n_beta"],
        gamma=job["gamma"],
        schedule=Schedule(groups=job["chains"], burn_in=job["burn_in"], draws=job["draws"], thin=job["thin"]),
        coupling=coupling,
        batch_rows=None if job.get("full_batch") else job.get("batch_rows"),
    )


class StepClock:
    """Process CPU time after every step, through the progress option of ``susceptometer.read``."""

    def __init__(self) -> None:
        self.begin, self.wall = time.process_time(), time.perf_counter()
        self.stamps: list[float] = []

    def __call__(self, standing: object) -> None:
        del standing
        self.stamps.append(time.process_time())

    def summary(self, recipe: Recipe) -> dict:
        """The keys of ``peer_clock.summary``; times per chain-step and per chain's observable pass."""
        end, wall = time.process_time(), time.perf_counter() - self.wall
        schedule, chains = recipe.schedule, recipe.schedule.groups * recipe.coupling.members
        spent = np.diff(self.stamps[: schedule.steps])
        number = np.arange(2, schedule.steps + 1) - schedule.burn_in
        drawing = (number > 0) & (number % schedule.thin == 0)
        plain = statistics.median(spent[~drawing])
        reading = statistics.median(spent[drawing]) - plain
        steps, draws = schedule.steps * plain, schedule.draws * reading
        return {
            "cpu_s": {
                "burn_in": schedule.burn_in * plain,
                "sampling": steps - schedule.burn_in * plain,
                "observables": draws,
                "other": end - self.begin - steps - draws,
                "total": end - self.begin,
            },
            "wall_s": wall,
            "cpu_s_per_step": plain / chains,
            "cpu_s_per_observable_pass": reading / chains,
            "steps": schedule.steps * chains,
            "draws": schedule.draws * chains,
        }


def run_component(subject: Subject, job: dict, component: str) -> tuple[xr.Dataset, dict]:
    """One component read through the public door; its cell and cost report."""
    recipe = recipe_of(job, component)
    chosen = subject.components["all" if component == "full" else component]
    clock = StepClock()
    with tempfile.TemporaryDirectory() as folder:
        reading = read(
            subject,
            {component: chosen},
            recipe=recipe,
            seed=job["seed"],
            into=folder,
            options=ReadOptions(progress=clock, block=job["chains"], keep=Keep(tokens=bool(job.get("keep_tokens")))),
        )
        cell = reading.cell(component).load()
    cost = clock.summary(recipe)
    g = cell["loss"].mean(("member", "draw")).values * job["n_beta"]
    return cell, {
        "weights": len(chosen),
        "cost": cost,
        "peak_rss_mb_so_far": peak_megabytes(),
        "llc": {"draws_per_chain": g.tolist(), "own_definition": float(g.mean())},
        "status": cell["status"].values.tolist(),
    }


class ReplayedShuffle(GroupBatches):
    """devinterp's order of the data instead of ours: one permutation per chain, cut into batches, again and again."""

    def _draw(self, size: int) -> torch.Tensor:
        if "cycle" not in self.__dict__:
            each = [torch.randperm(self._count, generator=order) for order in self._orders]
            self.__dict__["cycle"] = itertools.cycle(torch.stack(each).split(size, dim=1))
        return next(self.__dict__["cycle"])


def run_language(job: dict) -> dict:
    """All components of a language job; writes traces of loss rises where asked."""
    begin = time.process_time()
    if job.get("cycles"):
        run.GroupBatches = ReplayedShuffle
    subject = language(job)
    report = {"cpu_s": {"model_load": time.process_time() - begin}, "components": {}}
    arrays: dict[str, np.ndarray] = {}
    for component in job["components"]:
        cell, report["components"][component] = run_component(subject, job, component)
        arrays["center"] = cell["center_loss"].values
        if job.get("keep_tokens"):
            arrays[component] = cell["kept_tokens"].values
    report["center_loss"] = float(arrays["center"].mean())
    np.savez(job["traces"], **arrays)
    return report


def run_toy(job: dict) -> dict:
    """The toy potential, all chains together, by the bare loop; CPU seconds per chain-step and the LLC."""
    subject, recipe = toy(job["weights"]), recipe_of(job, "all")
    posterior = LocalPosterior(subject, subject.components["all"], recipe.n_beta, recipe.gamma)
    begin, wall = time.process_time(), time.perf_counter()
    cell = run.run_cell(posterior, recipe, seed=job["seed"], groups=range(job["chains"]))
    cpu, steps = time.process_time() - begin, recipe.schedule.steps * job["chains"]
    values = job["n_beta"] * cell["loss"].mean(("member", "draw")).values
    return {
        "llc": float(values.mean()),
        "llc_se": float(values.std(ddof=1) / len(values) ** 0.5),
        "cpu_s_per_step": cpu / steps,
        "steps": steps,
        "cost": {"cpu_s": {"total": cpu}, "wall_s": time.perf_counter() - wall},
    }


def main(path: str) -> None:
    """Run the job and write ``job['report']`` (JSON)."""
    job = json.loads(Path(path).read_text())
    torch.set_num_threads(1)
    report = run_toy(job) if job["kind"] == "toy" else run_language(job)
    report.setdefault("cpu_s", {})["import"] = IMPORTED
    report["cpu_s"]["process"] = time.process_time()
    report["wall_s"] = time.perf_counter() - START[1]
    report["peak_rss_mb"] = peak_megabytes()
    report["torch"] = torch.__version__
    Path(job["report"]).write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main(sys.argv[1])
