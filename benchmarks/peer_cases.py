"""The comparisons: what each case runs on both tools, and what it keeps."""

from pathlib import Path
from statistics import median

import numpy as np
import peer_models
import peer_precision

SETTINGS = {"n_beta": 30.0, "gamma": 300.0, "step_size": 1e-3, "seed": 100}
"""Common to all language cases; units of conventions 1. Memory lasts about 13 steps."""


def language_job(model: Path, architecture: str, tokens: Path, **changes: object) -> dict:
    """A job whose sampling data and probe are the same rows, so that U, g and f use one data set."""
    job = SETTINGS | {
        "kind": "language",
        "architecture": architecture,
        "model": str(model),
        "tokens": str(tokens),
        "probe": str(tokens),
        "components": ["l0h0"],
        "chains": 1,
        "draws": 2,
        "thin": 3,
        "burn_in": 1,
        "batch_rows": 8,
    }
    return job | changes


def costs(reports: list[dict], component: str) -> dict[str, float]:
    """Medians over repeats: CPU seconds of a chain-step and of one draw's observables, memory."""
    each = [report["components"][component]["cost"] for report in reports]
    return {
        "cpu_s_per_step": median(cost["cpu_s_per_step"] for cost in each),
        "cpu_s_per_observable_pass": median(cost["cpu_s_per_observable_pass"] for cost in each),
        "cpu_s_import": median(report["cpu_s"]["import"] for report in reports),
        "wall_over_cpu": median(cost["wall_s"] / cost["cpu_s"]["total"] for cost in each),
        "peak_rss_mb": median(report["peak_rss_mb"] for report in reports),
        "repeats": len(reports),
    }


def toy(bench) -> dict:
    """Toy potential |w|^2/2 on 20 weights, 10 chains; exact LLC of the discretised chain."""
    job = {
        "kind": "toy",
        "weights": 20,
        "n_beta": 30.0,
        "gamma": 10.0,
        "step_size": 1e-3,
        "chains": 10,
        "draws": 200,
        "thin": 10,
        "burn_in": 100,
        "seed": 0,
    }
    sides = {
        side: {
            "cpu_s_per_step": median(r["cpu_s_per_step"] for r in kept),
            "cpu_s_per_step_all": [r["cpu_s_per_step"] for r in kept],
            "peak_rss_mb": median(r["peak_rss_mb"] for r in kept),
            "llc": float(np.mean([r["llc"] for r in kept])),
            "llc_se": float(np.sqrt(np.sum([r["llc_se"] ** 2 for r in kept])) / len(kept)),
        }
        for side, kept in bench.both(job, label="toy").items()
    }
    ours, theirs = sides["ours"], sides["devinterp"]
    z = (ours["llc"] - theirs["llc"]) / np.hypot(ours["llc_se"], theirs["llc_se"])
    stiff = job["n_beta"] + job["gamma"]
    spread = 1 / (stiff * (1 - job["step_size"] * stiff / 4))
    exact = job["n_beta"] * job["weights"] / 2 * spread
    for found in sides.values():
        found["z_exact"] = (found["llc"] - exact) / found["llc_se"]
    return {"job": job, "sides": sides, "llc_z": float(z), "llc_exact": exact}


def cost(bench) -> dict:
    """Pythia-14M shape: CPU seconds per chain-step and per draw (64 x 64 observable), memory."""
    model, tokens = pythia_files(bench, rows=64)
    rows = {}
    for component, batch_rows in (("l0h0", 8), ("l5h0", 8), ("full", 8), ("l0h0", 32), ("l5h0", 32)):
        label = f"{component} {batch_rows}x64"
        job = language_job(model, "huggingface", tokens, components=[component], batch_rows=batch_rows)
        reports = bench.both(job, label=label.replace(" ", "-"))
        rows[label] = {side: costs(kept, component) for side, kept in reports.items()}
        if batch_rows == 8:
            for precision in ("mixed", "bfloat16"):
                kept = [
                    bench.run("ours", job | {"precision": precision}, label=f"{component}-{precision}-{turn}")
                    for turn in range(bench.repeats)
                ]
                rows[label][f"ours, {precision}"] = costs(kept, component)
    job = language_job(model, "huggingface", tokens, loss="cross_entropy")
    fused = [bench.run("devinterp", job, label=f"user-loss-{turn}") for turn in range(bench.repeats)]
    rows["l0h0 8x64"]["devinterp, user's own fused loss"] = costs(fused, "l0h0")
    return {"rows": rows}


def pythia_files(bench, *, rows: int) -> tuple[Path, Path]:
    """Folder of the random 14M model and its random tokens ``[rows, 64]``."""
    tokens = peer_models.zipf_tokens(rows, 50304, seed=1)
    path = peer_models.save_tokens(bench.folder / f"pythia-{rows}.npy", tokens)
    return peer_models.pythia_shape(bench.folder), path


def pythia(bench) -> dict:
    """Pythia-14M shape, head l0h0: agreement and time to a given error."""
    model, tokens = pythia_files(bench, rows=16)
    job = language_job(
        model,
        "huggingface",
        tokens,
        components=["full", "l0h0"],
        chains=6,
        draws=8,
        thin=2,
        burn_in=6,
        batch_rows=4,
        timing_chains=1,
    )
    return peer_precision.compare(bench, job, label="pythia", heads=1)


def pico(bench) -> dict:
    """The project's own pico, four heads: agreement and time to a given error."""
    model, rows = peer_models.pico(bench.folder, rows=32)
    tokens = peer_models.save_tokens(bench.folder / "pico-tokens.npy", rows)
    job = language_job(
        model, "attention_only", tokens, components=["full", *PICO_HEADS], chains=12, draws=16, thin=3, burn_in=20
    )
    return peer_precision.compare(bench, job, label="pico", heads=len(PICO_HEADS))


PICO_HEADS = ("l0h0", "l0h5", "l1h2", "l1h6")


def stories(bench) -> dict | None:
    """stories260K, two heads with grouped queries: agreement and time to a given error."""
    if bench.stories is None:
        print("  skipped: no --stories folder")
        return None
    rows = peer_models.own_text(bench.stories, 32, seed=0)
    tokens = peer_models.save_tokens(bench.folder / "stories-tokens.npy", rows)
    job = language_job(
        bench.stories,
        "huggingface",
        tokens,
        components=["full", "l0h0", "l3h2"],
        chains=8,
        draws=16,
        thin=3,
        burn_in=20,
    )
    return peer_precision.compare(bench, job, label="stories", heads=2)


def order(bench) -> dict | None:
    """Does the order of the data explain different LLCs? stories260K, all rows at every step and 8 rows."""
    if bench.stories is None:
        print("  skipped: no --stories folder")
        return None
    tokens = peer_models.save_tokens(bench.folder / "order-tokens.npy", peer_models.own_text(bench.stories, 32, seed=0))
    job = language_job(
        bench.stories, "huggingface", tokens, components=["l0h0", "l3h2"], chains=12, draws=16, thin=2, burn_in=16
    )
    runs = {
        "devinterp, all rows": ("devinterp", {"batch_rows": 32}),
        "ours, all rows": ("ours", {"full_batch": True, "coupling": "antithetic"}),
        "devinterp, 8 rows, one shuffle replayed": ("devinterp", {}),
        "ours, 8 rows, one shuffle replayed": ("ours", {"cycles": True, "coupling": "antithetic"}),
        "ours, 8 rows, with replacement": ("ours", {"coupling": "antithetic"}),
    }
    each: dict[str, dict[str, list[float]]] = {}
    for number, (name, (side, changes)) in enumerate(runs.items()):
        report = bench.run(side, job | changes, label=f"order-{number}")
        each[name] = {head: one["llc"]["draws_per_chain"] for head, one in report["components"].items()}
    ours = {name: values for name, values in each.items() if name.startswith("ours")}
    pairs = {
        f"{name} - ours, all rows": {
            head: peer_precision.mean_and_error(np.subtract(values[head], ours["ours, all rows"][head]))
            for head in values
        }
        for name, values in ours.items()
        if name != "ours, all rows"
    }
    rows = {
        name: {head: peer_precision.mean_and_error(values) for head, values in heads.items()}
        for name, heads in each.items()
    }
    return {"rows": rows, "same noise": pairs}


CASES = {"toy": toy, "cost": cost, "pico": pico, "stories": stories, "order": order, "pythia": pythia}
