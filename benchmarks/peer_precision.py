"""Do both tools agree, and how much CPU time does each need for a given error of the two-run chi?

Per tool and run (each head, and ``full``): traces of all token losses give chi and its error by
the same formulas (``peer_stats``); short timing runs, the tools alternating, give CPU seconds per step and per draw.
The **engine factor** compares independent chains on both sides; the **coupling factor** compares susceptometer's
own couplings with its independent chains.
"""

import numpy as np
import peer_stats as stats
from peer_cost import timings

RUNS = {
    "devinterp": {},
    "independent": {"coupling": "independent"},
    "antithetic": {"coupling": "antithetic"},
    "coupled": {"coupling": "coupled"},
}
"""How each estimator's chains run; the last three are susceptometer's."""

REDUCED = {"bfloat16": {"coupling": "independent", "precision": "bfloat16"}}
"""Timed only: independent chains with bfloat16 products."""

H = 0.1
"""Response step of the coupled runs."""


def compare(bench, job: dict, *, label: str, heads: int) -> dict:
    """All estimators on one job: agreement, error curves, costs, seconds to the same error."""
    found: dict[str, dict] = {}
    for name in RUNS:
        found[name] = run(bench, job, name, label=label, shared=found.get("antithetic"))
    times = timings(bench, job, RUNS | REDUCED, label=label)
    names = [name for name in job["components"] if name != "full"]
    rows = {head: compare_head(found, times, job, head=head, heads=heads) for head in names}
    return {
        "job": {k: v for k, v in job.items() if k not in ("model", "tokens", "probe")},
        "center_loss": {name: result["report"]["center_loss"] for name, result in found.items()},
        "peak_rss_mb": {name: t["peak_rss_mb"] for name, t in times.items()},
        "cost": {name: t["components"] for name, t in times.items()},
        "heads": rows,
        "llc_full": llcs(found, "full", job),
        "speed_up": {
            kind: float(np.exp(np.mean([np.log(row["speed_up"][kind]) for row in rows.values()])))
            for kind in rows[names[0]]["speed_up"]
        },
    }


def run(bench, job: dict, name: str, *, label: str, shared: dict | None) -> dict:
    """One estimator's report and rises by component ``[groups, members, draws, tokens]``.

    The coupled estimator takes the antithetic one's full run (``shared``): response arms serve heads only.
    """
    side = "devinterp" if name == "devinterp" else "ours"
    reuse = name == "coupled" and shared is not None
    parts = [part for part in job["components"] if part != "full" or not reuse]
    changes = RUNS[name] | {"keep_tokens": True, "components": parts}
    report = bench.run(side, job | changes, label=f"{label}-{name}")
    stored = np.load(report["traces"])
    rises = {"full": shared["rises"]["full"]} if reuse else {}
    for component in parts:
        trace = stored[component].astype(np.float64)
        if name == "devinterp":
            trace = (trace - stored["center"]).reshape(*trace.shape[:2], -1)[:, None]
        rises[component] = trace
    return {"report": report, "rises": rises, "stored": stored}


def tilt_of(name: str, job: dict) -> float:
    """h n_beta of an estimator's restricted runs, 1/nats."""
    return H * job["n_beta"] if name == "coupled" else 0.0


def mean_and_error(values: list[float]) -> tuple[float, float]:
    """Mean of independent groups and its standard error."""
    each = np.asarray(values)
    return float(each.mean()), float(each.std(ddof=1) / len(each) ** 0.5)


def llcs(found: dict, component: str, job: dict) -> dict:
    """LLC of a component by every estimator with its error, and z of the independent chains."""
    out = {
        name: stats.llc(stats.moments(result["rises"][component]), n_beta=job["n_beta"])
        for name, result in found.items()
    }
    (ours, error), (theirs, other) = out["independent"], out["devinterp"]
    return out | {"z": (ours - theirs) / float(np.hypot(error, other))}


def compare_head(found: dict, times: dict, job: dict, *, head: str, heads: int) -> dict:
    """One head: LLC and chi of all estimators, errors, seconds to devinterp's error."""
    runs = {}
    for name, result in found.items():
        part, full = result["rises"][head], result["rises"]["full"]
        mine = stats.moments(part, tilt=tilt_of(name, job))
        reference = stats.moments(full)
        runs[name] = {
            "chi": stats.centred(stats.two_run(mine, reference)),
            "errors": stats.two_run_errors(mine, reference),
            "length": stats.length_check(part, full, tilt=tilt_of(name, job)),
            "within": (stats.centred(stats.within_run(mine)), stats.jackknife(stats.within_run, mine)),
            "states": {"part": np.prod(part.shape[:3]), "full": np.prod(full.shape[:3])},
        }
    target = stats.rms(runs["devinterp"]["errors"]["total"])
    seconds = {
        name: seconds_for(one, times[name]["components"], head=head, heads=heads, target=target)
        for name, one in runs.items()
    }
    return {
        "llc": llcs(found, head, job),
        "agreement": agreements(runs),
        "own_function_gap": own_gap(found["devinterp"], head=head),
        "chi_rms": {name: stats.rms(one["chi"]) for name, one in runs.items()},
        "within_rms": {name: stats.rms(one["within"][0]) for name, one in runs.items()},
        "within_error": {name: stats.rms(one["within"][1]) for name, one in runs.items()},
        "length": {name: one["length"] for name, one in runs.items()},
        "cpu_s_to_devinterp_error": seconds,
        "speed_up": speed_ups(seconds, runs, times, head=head),
    }


def agreements(runs: dict) -> dict:
    """Every estimator's chi_2 and chi_w against devinterp's."""
    theirs = runs["devinterp"]
    out = {}
    for name, one in runs.items():
        if name != "devinterp":
            error = np.hypot(one["errors"]["total"], theirs["errors"]["total"])
            within = np.hypot(one["within"][1], theirs["within"][1])
            out[name] = {
                "two_run": stats.agreement(one["chi"], theirs["chi"], error),
                "within": stats.agreement(one["within"][0], theirs["within"][0], within),
            }
    return out


def seconds_for(one: dict, components: dict, *, head: str, heads: int, target: float) -> float:
    """CPU seconds (burn-in, sampling, observables) to the error ``target`` for ``heads`` such heads."""
    part, full = (
        (components[name]["cpu_s_per_state"], stats.rms(one["errors"][run]) * one["states"][run] ** 0.5)
        for name, run in ((head, "part"), ("full", "full"))
    )
    return stats.seconds_to_error(part, full, target=target, heads=heads)


def speed_ups(seconds: dict, runs: dict, times: dict, *, head: str) -> dict[str, float]:
    """Engine, coupling and total factors on chi_2, and the coupling factor on chi_w alone."""
    best = min(seconds[name] for name in ("antithetic", "coupled"))
    cost = {name: times[name]["components"][head]["cpu_s_per_state"] for name in runs}

    def price(name: str) -> float:
        return cost[name] * runs[name]["states"]["part"] * stats.rms(runs[name]["within"][1]) ** 2

    return {
        "engine": seconds["devinterp"] / seconds["independent"],
        "coupling": seconds["independent"] / best,
        "total": seconds["devinterp"] / best,
        "within_total": price("devinterp") / price("coupled"),
        "within_coupling": price("independent") / price("coupled"),
        "within_engine": price("devinterp") / price("independent"),
    }


def own_gap(found: dict, *, head: str) -> float:
    """Relative rms gap between devinterp's own chi and conventions 6.3 on the same draws, centred.

    devinterp measures g from its initial loss, a batch mean; the shift k changes chi_2 by -k (E_C - E_F)[f].
    """
    report, stored = found["report"], found["stored"]
    shift = report["center_loss"] - report["components"]["full"]["llc"]["init_loss"]
    part, full = stats.moments(found["rises"][head]), stats.moments(found["rises"]["full"])
    own = stats.centred(stored[f"own_chi_{head}"].astype(np.float64).reshape(-1))
    drift = stats.centred(part["l"].mean(0) - full["l"].mean(0))
    formula = stats.centred(stats.two_run(part, full)) - shift * drift
    return stats.rms(own - formula) / stats.rms(formula)
