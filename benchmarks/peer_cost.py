"""Short timing runs of both tools side by side, and what a recorded state costs."""

from statistics import median

KEYS = ("cpu_s_per_step", "cpu_s_per_observable_pass")


def timings(bench, job: dict, runs: dict[str, dict], *, label: str) -> dict[str, dict]:
    """Medians over ``bench.repeats`` short runs of every estimator, one after the other in each repeat.

    Args:
        bench: Runs jobs (``peer_devinterp.Bench``).
        job: The job whose states are priced.
        runs: Estimator to changes of the job; ``devinterp`` is the other tool.
        label: Name of the job's files.

    Returns:
        Per estimator ``peak_rss_mb`` and per component CPU seconds per chain-step, per observable pass and
        per recorded state (burn-in shared over the draws).
    """
    short = job | {"chains": job.get("timing_chains", 4), "draws": 3, "burn_in": 2, "thin": 3}
    reports: dict[str, list[dict]] = {name: [] for name in runs}
    for turn in range(bench.repeats):
        for name, changes in runs.items():
            side = "devinterp" if name == "devinterp" else "ours"
            one = short | changes
            reports[name].append(bench.run(side, one, label=f"{label}-{name}-timing{turn}"))
    return {
        name: {
            "peak_rss_mb": median(report["peak_rss_mb"] for report in kept),
            "components": {part: prices(kept, part, job) for part in job["components"]},
        }
        for name, kept in reports.items()
    }


def prices(reports: list[dict], component: str, job: dict) -> dict[str, float]:
    """Median CPU seconds of a step, an observable pass and a recorded state of one chain."""
    each = [report["components"][component]["cost"] for report in reports]
    step, reading = (median(cost[key] for cost in each) for key in KEYS)
    steps = job["thin"] + job["burn_in"] / job["draws"]
    return dict(zip(KEYS, (step, reading), strict=True)) | {"cpu_s_per_state": steps * step + reading}
