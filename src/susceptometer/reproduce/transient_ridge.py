"""Claims of carroll2025: between memorising and generalising lie task diversities for which ridge is transient."""

from collections.abc import Mapping, Sequence

import numpy as np

from susceptometer.develop.joint import joint_pca, share_errors, shuffled_shares
from susceptometer.estimate.estimate import format_pm
from susceptometer.reproduce import ridge_runs as runs
from susceptometer.reproduce.claims import Claim, Verdict
from susceptometer.reproduce.registry import Reproduction
from susceptometer.reproduce.ridge_figures import ridge_figures
from susceptometer.reproduce.setting import Setting
from susceptometer.testbed.form import Array

WIDTH = 0.05
"""Smoothing of curves in log step."""


def run(setting: Setting) -> Sequence[Claim]:
    """All claims of the scale."""
    return [
        regimes_claim(setting), distances_claim(setting), trajectory_claim(setting), plane_claim(setting),
        *llc_claims(setting), identity_claim(setting),
    ]  # fmt: skip


def turning(setting: Setting, run_number: int) -> tuple[float, float, float]:
    """t_crit, the transience index I and the fall of the ID loss after t_crit, of one run.

    I = (l_OOD(end) - l_OOD(t_crit)) / (l_OOD(dMMSE) - l_OOD(t_crit)): 0 without a rise, 1 when it ends at dMMSE's loss.
    """
    outside = runs.course(setting, "outside", run_number).smoothed(WIDTH)
    inside = runs.course(setting, "inside", run_number).smoothed(WIDTH)
    m, _ = runs.runs_of(setting)[run_number]
    place = runs.amount_of(setting).diversities.index(m)
    low = int(outside.values.argmin())
    span = runs.ideal_losses(setting)["value"][place, 0, 1] - outside.values[low]
    index = (outside.values[-1] - outside.values[low]) / span if span > 0.02 else 0.0
    return float(outside.steps[low]), float(index), float(inside.values[low] - inside.values[-1])


def regimes_claim(setting: Setting) -> Claim:
    """Three regimes by the transience index."""
    lines, table = [], {}
    for m in runs.amount_of(setting).diversities:
        found = np.array([turning(setting, number) for number in _runs(setting, m)])
        nearest = np.array([_nearest(setting, number) for number in _runs(setting, m)])
        table[m] = (found, nearest)
        lines.append(f"M {_m(m)}: index {_pm(found[:, 1])}, OOD minimum at step {found[:, 0].mean():.0f}")
    verdict: Verdict = "open"
    if {3, 8, 32} <= set(table):
        rises = table[8][0][:, 1]
        transient = rises.mean() > 3 * _error(rises) and (table[8][0][:, 2] > 0).all()
        straight = (table[3][1] > 3 * table[8][1].mean()).all()
        stays = table[32][0][:, 1].mean() < rises.mean()
        verdict = "agrees" if transient and straight and stays else "partly" if transient else "differs"
    return Claim(
        "Few tasks are memorised at once, many stay with ridge, and between them ridge is transient: OOD loss falls, "
        "then rises while ID loss still falls",
        "M <= 5, 16-128 and >= 362 at D 8 (carroll2025); expected here M 3, 8, 32",
        "; ".join(lines), verdict, f"new tasks for every sequence: index {_null(table)}",
    )  # fmt: skip


def distances_claim(setting: Setting) -> Claim:
    """Which predictor the model is nearest to at the end and at t_crit."""
    found, steps, lines, good = runs.training(setting), runs.training(setting)["steps"], [], []
    for m in runs.amount_of(setting).diversities:
        if m == runs.INFINITE:
            continue
        numbers = _runs(setting, m)
        ends = [[found[f"inside_{kind}"][n, -1] for n in numbers] for kind in ("best", "ridge")]
        early = [
            [found[f"inside_{kind}"][n, np.searchsorted(steps, turning(setting, n)[0])] for n in numbers]
            for kind in ("best", "ridge")
        ]
        lines.append(f"M {_m(m)}: end {_pm(ends[0])} / {_pm(ends[1])}, t_crit {_pm(early[0])} / {_pm(early[1])}")
        good.append(np.mean(ends[0]) < np.mean(ends[1]))
    verdict: Verdict = "agrees" if good[0] and not good[-1] else "partly" if good[0] else "differs"
    return Claim(
        "At the end small M is nearest dMMSE and large M nearest ridge; at the OOD minimum the intermediate one is "
        "nearest ridge", "crossing of the two distances (carroll2025)",
        "ID distance to dMMSE / ridge: " + "; ".join(lines), verdict if len(good) >= 3 else "open",
        "distance of the two predictors themselves on the same sequences, in the ideal losses",
    )  # fmt: skip


def trajectory_claim(setting: Setting) -> Claim:
    """Approach to ridge in full function space."""
    lines, away = [], {}
    for m in runs.amount_of(setting).diversities:
        values = np.array([runs.course(setting, "outside_ridge", n).smoothed(WIDTH).values for n in _runs(setting, m)])
        away[m] = values[:, -1] - values.min(1)
        lines.append(f"M {_m(m)}: nearest {_pm(values.min(1))}, end {_pm(values[:, -1])}")
    verdict: Verdict = "open"
    if 8 in away:
        clear = away[8].mean() > 3 * _error(away[8]) > 0
        verdict = "agrees" if clear else "partly" if (away[8] > 0).all() else "differs"
    return Claim(
        "Trajectories of intermediate M are deflected towards ridge and then leave it",
        "closest approach, then departure (carroll2025)", "OOD distance to ridge: " + "; ".join(lines), verdict,
        f"new tasks: departure {_pm(away[runs.INFINITE])}" if runs.INFINITE in away else "",
    )  # fmt: skip


def plane_claim(setting: Setting) -> Claim:
    """Joint trajectory PCA."""
    outputs = runs.training(setting)["outputs"]
    plane = joint_pca(outputs, 2)
    blocks = np.repeat(np.arange(runs.PROBE_ROWS), runs.WORLD.length)
    error = share_errors(outputs, 2, blocks, resamples=20, seed=setting.seed)
    null = shuffled_shares(outputs, 2, resamples=10, seed=setting.seed)
    x, y = runs.root_probe(setting)
    axis = runs.ridge(x, y, runs.WORLD.variance) - runs.best(runs.amount_of(setting).diversities[0], x, y)
    oriented = plane.oriented(axis.numpy().ravel())
    found = runs.training(setting)
    late = found["steps"] > min(100, found["steps"][-1] // 2)
    outside = np.log(found["outside"][:, late]).ravel()
    corr = [abs(np.corrcoef(oriented.curves[:, late, k].ravel(), outside)[0, 1]) for k in (0, 1)]
    return Claim(
        "Two joint axes of all trajectories hold much of their variance; one of them follows the OOD loss",
        "27.5 % by two axes at D 8; PC2 with OOD loss (carroll2025)",
        f"{100 * plane.share[0]:.1f} ± {100 * error[0]:.1f} % and {100 * plane.share[1]:.1f} ± {100 * error[1]:.1f} %; "
        f"|correlation| with log OOD loss after step 100: PC1 {corr[0]:.2f}, PC2 {corr[1]:.2f}",
        "open" if setting.scale == "smoke" else "agrees" if max(corr) > 0.8 else "partly",
        f"increments in random order: {100 * null[:, 0].mean():.1f} % and {100 * null[:, 1].mean():.1f} %",
    )  # fmt: skip


def llc_claims(setting: Setting) -> list[Claim]:
    """The coefficient while ridge comes and goes, at two temperatures."""
    return [claim for n_beta in runs.N_BETAS for claim in (change_claim(setting, n_beta), order_claim(setting, n_beta))]


def change_claim(setting: Setting, n_beta: float) -> Claim:
    """lambda_hat of settled side branches, from the ridge phase to the end."""
    lines, change = [], {}
    for m in runs.amount_of(setting).diversities:
        table = _coefficients(setting, m, n_beta)
        change[m] = table[:, -1] - table[:, 0]
        lines.append(f"M {_m(m)}: " + ", ".join(_pm(column) for column in table.T) + f", change {_pm(change[m])}")
    verdict: Verdict = "open"
    if 8 in change:
        score = change[8].mean() / max(_error(change[8]), 1e-12)
        verdict = "agrees" if score > 3 else "differs" if score < -3 else "partly"
    read = runs.amount_of(setting).read
    return Claim(
        f"The move from ridge to dMMSE is accompanied by a rise of the learning coefficient (n_beta {n_beta:g})",
        "lambda(dMMSE) > lambda(ridge) where ridge is transient (carroll2025); no LLC over time is printed there",
        f"after {runs.amount_of(setting).settle} steps with a learning rate that falls to zero, from steps "
        f"{', '.join(map(str, read))}: {'; '.join(lines)}; {_settled_at(setting, 8)}",
        verdict, "new tasks for every sequence: no second phase",
    )  # fmt: skip


def _settled_at(setting: Setting, m: int) -> str:
    if not (numbers := _runs(setting, m)):
        return f"M {m} was not run"
    found = {step: runs.settled(setting, step) for step in runs.amount_of(setting).read}
    shown = [
        f"{_pm(one['inside_best'][numbers])} / {_pm(one['inside_ridge'][numbers])} from {s}" for s, one in found.items()
    ]
    return f"ID distance of M {m} to dMMSE / ridge there: {', '.join(shown)}"


def order_claim(setting: Setting, n_beta: float) -> Claim:
    """At the end the coefficient against diversity, beside that of new tasks (the ridge level)."""
    ends = {m: _coefficients(setting, m, n_beta)[:, -1] for m in runs.amount_of(setting).diversities}
    level, lines, verdict = ends[runs.INFINITE], [f"M {_m(m)}: {_pm(found)}" for m, found in ends.items()], "open"
    if 8 in ends:
        z = {m: (found.mean() - level.mean()) / np.hypot(_error(found), _error(level)) for m, found in ends.items()}
        verdict = "agrees" if z[3] < -3 and z[8] > 3 else "differs" if z[8] < -3 else "partly"
    return Claim(
        f"At the end the coefficient rises with M, past the ridge level where ridge is transient (n_beta {n_beta:g})",
        "order and crossing, M 6-16 at D 8 (carroll2025)", "; ".join(lines), verdict,  # type: ignore[arg-type]
        f"level of new tasks {_pm(level)}",
    )  # fmt: skip


def _coefficients(setting: Setting, m: int, n_beta: float) -> Array:
    return np.array([runs.coefficients(setting, number, n_beta)["value"] for number in _runs(setting, m)])


def identity_claim(setting: Setting) -> Claim:
    """Running check: ID loss minus ID distance to dMMSE is dMMSE's own loss, at every checkpoint."""
    found, ideal = runs.training(setting), runs.ideal_losses(setting)
    places = [runs.amount_of(setting).diversities.index(m) for m, _ in runs.runs_of(setting)]
    gap = found["inside"] - found["inside_best"] - ideal["value"][places, 0, 0][:, None]
    size = np.abs(gap) / np.maximum(ideal["error"][places, 0, 0][:, None], 1e-12)
    return Claim(
        "Loss in distribution = loss of dMMSE + distance to dMMSE, for every model", "exact identity (derived)",
        f"largest |difference| {np.abs(gap).max():.4f}, {size.max():.1f} errors of the ideal loss",
        "agrees" if size.max() < 6 else "differs", "sampling error of the fixed evaluation set",
    )  # fmt: skip


def facts(setting: Setting) -> Mapping[str, str]:
    """Provenance: sizes, schedule, ideal losses."""
    value = runs.ideal_losses(setting)["value"]
    rows = zip(runs.amount_of(setting).diversities, value, strict=True)
    shown = [f"M {_m(m)}: {v[0, 0]:.3f}/{v[1, 0]:.3f}, {v[0, 1]:.3f}/{v[1, 1]:.3f}" for m, v in rows]
    return {
        "configuration": "D 2, K 8, noise 0.125, packed tokens, 2 layers, width 64, 4 heads, output projection, no "
        "double residual; batch 128, Adam 3e-3, 500 steps of warm-up, then constant",
        "losses of dMMSE/ridge, ID then OOD": "; ".join(shown),
        "n_beta, gamma, step": f"{runs.N_BETAS} on the squared error, gamma = n_beta, eps n_beta = {runs.STEP:g}",
        "task stream": f"named stream {runs.WORLD.seed}, the same for all runs",
        "training seeds": f"{runs.amount_of(setting).seeds} from {setting.seed * 1000} on",
    }  # fmt: skip


def _runs(setting: Setting, m: int) -> list[int]:
    return [i for i, (diversity, _) in enumerate(runs.runs_of(setting)) if diversity == m]


def _nearest(setting: Setting, number: int) -> float:
    return float(runs.course(setting, "outside_ridge", number).values.min())


def _null(table: dict) -> str:
    return _pm(table[runs.INFINITE][0][:, 1]) if runs.INFINITE in table else "not run"


def _m(m: int) -> str:
    return "infinite" if m == runs.INFINITE else str(m)


def _error(values: Array) -> float:
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("inf")


def _pm(values: Sequence[float] | Array) -> str:
    found = np.asarray(values, dtype=float)
    return f"{found.mean():.3g}" if len(found) < 2 else format_pm(float(found.mean()), _error(found))


REPRODUCTION = Reproduction(
    name="transient-ridge",
    about="In-context linear regression: the general solution comes first and is then forgotten.",
    sources=["carroll2025", "raventos2023", "hoogland2024"],
    run=run,
    cost={
        "smoke": "15 s on one core",
        "cpu": "about 30 minutes on one core (12 runs of 6,000 steps in one batched model, 48 coefficients)",
        "gpu": "about 20 minutes on one GPU (33 runs of 60,000 steps)",
    },
    facts=facts,
    figures=ridge_figures,
)
