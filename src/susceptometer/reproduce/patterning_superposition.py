"""Toy models of superposition: data chosen by linear response decide which polygon forms (wang2026; chen2023)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from susceptometer.domains.superposition import FEATURES
from susceptometer.domains.superposition_steering import shifted
from susceptometer.estimate.estimate import format_pm
from susceptometer.patterning.plan import Plan, plan
from susceptometer.patterning.response import Response
from susceptometer.reproduce.claims import Claim, Verdict
from susceptometer.reproduce.registry import Reproduction
from susceptometer.reproduce.setting import Setting
from susceptometer.reproduce.shares import apart
from susceptometer.reproduce.superposition_arms import (
    GAMMA,
    OTHER,
    READ_AT,
    SIZES,
    TARGET,
    Outcome,
    Readings,
    effective_n_beta,
    preference_row,
    read,
    trained,
)
from susceptometer.reproduce.superposition_figure import Dose, Panel, drawn

Array = NDArray[np.float64]


def run(setting: Setting) -> Sequence[Claim]:
    """All claims; writes ``superposition.png`` beside the cells."""
    size = SIZES[setting.scale]
    readings = {n_beta: read(setting, n_beta, size) for n_beta in size.n_betas}
    found = readings[READ_AT].response
    made = plan(found, {f"log-odds 5-{TARGET}": 1.0})
    outcome = trained(setting, made.shift, size)
    figure(outcome, preference_row(found), setting.folder / "superposition.png")
    return [
        loss_claim(outcome), llc_claim(readings[max(size.n_betas)], max(size.n_betas)), slope_claim(found),
        steer_claim(outcome), relabel_claim(outcome), dose_claim(outcome, preference_row(found)),
        meaning_claim(readings), refusal_claim(found, made),
    ]  # fmt: skip


def verdict(*conditions: bool) -> Verdict:
    """``agrees`` if all hold, ``partly`` if the first does, else ``differs``."""
    return "agrees" if all(conditions) else "partly" if conditions[0] else "differs"


def loss_claim(outcome: Outcome) -> Claim:
    """Losses at which the base runs end."""
    found = outcome.arms["base"]
    sides = found["kept"].sum(1)
    ours = {k: sorted({round(float(v), 4) for v in found["loss"][sides == k]}) for k in (6, 5)}
    counts = ", ".join(f"{k}: {int((sides == k).sum())}" for k in range(6, 1, -1))
    good = set(ours[6]) <= {0.0482} and set(ours[5]) <= {0.0618, 0.0687}
    return Claim(
        "Runs end in regular polygons with known losses", "6-gon 0.0482; 5-gons 0.0618 and 0.0687 (exact)",
        f"6-gon {ours[6]}; 5-gons {ours[5]}; runs by number of kept features: {counts}", verdict(good),
    )  # fmt: skip


def llc_claim(found: Readings, n_beta: float) -> Claim:
    """Learning coefficients of both polygons."""
    values = []
    for one in (found.six, found.five):
        value, error = float(one.llc.mean()), float(one.llc.std(ddof=1) / np.sqrt(len(one.llc)))
        values.append((value, error, f"{format_pm(value, error)} (R-hat {one.rhat:.2f})"))
    near = abs(values[0][0] - 8.5) < 4 * values[0][1] + 0.5
    return Claim(
        "Learning coefficients order the polygons",
        "chen2023: 6-gon (18 weights - 1 rotation)/2 = 8.5 as n_beta grows",
        f"n_beta {n_beta:g}, gamma {GAMMA:g}: 6-gon {values[0][2]}, 5-gon {values[1][2]}", verdict(near),
        null="gamma pulls below 8.5: 17/2 needs n_beta times every curvature far above gamma",
    )  # fmt: skip


def slope_claim(found: Response) -> Claim:
    """The response of the log-odds against first-order free energies."""
    j = found.observables.index(f"log-odds 5-{TARGET}")
    value, error = found.chi[j, TARGET], float(found.estimate.error.to_numpy()[j, TARGET])
    exact = 0.0618 - 0.2569
    return Claim(
        "Response of log Z(5-gon)/Z(6-gon) to the probability of the dropped feature, per unit n_beta",
        f"{exact:.3f} to leading order in 1/n_beta (losses of the two minima)",
        f"{format_pm(value, error)} at n_beta {READ_AT:g}", verdict(value < 0, abs(value - exact) < 0.15 * abs(exact)),
        null=f"the five kept features: {found.chi[j, 1:].mean():.3f}",
    )  # fmt: skip


def steer_claim(outcome: Outcome) -> Claim:
    """P(drop 0) of the strongest planned arms against base and random arms."""
    last = f"{outcome.size.doses[-1]:g}"
    up, down, base = (outcome.share(name) for name in (f"drop-{last}", f"keep-{last}", "base"))
    others = [outcome.share(name) for name in outcome.arms if name.startswith("random")]
    clear = all(apart(up, one) for one in others)
    return Claim(
        "Data planned from local posteriors decide which polygon forms",
        "wang2026 and later work: yes; numbers unknown",
        f"runs that drop feature {TARGET}: planned drop {up}; base {base}; planned keep {down}",
        verdict(up.value > base.value > down.value, apart(up, base), apart(down, base), clear),
        null="random directions of equal norm: " + ", ".join(map(str, others)),
    )  # fmt: skip


def relabel_claim(outcome: Outcome) -> Claim:
    """The relabelled plan drops the other feature."""
    moved, same = outcome.share("relabelled", OTHER), outcome.share("relabelled", TARGET)
    wanted = outcome.share(f"drop-{outcome.size.doses[-1]:g}")
    return Claim(
        f"The plan with features relabelled drops feature {OTHER} instead", "symmetry of the task (exact in law)",
        f"drop {OTHER}: {moved}; drop {TARGET}: {same}", verdict(apart(moved, same), not apart(moved, wanted)),
        null=f"the plan itself drops {TARGET} in {wanted}",
    )  # fmt: skip


def dose_claim(outcome: Outcome, row: Array) -> Claim:
    """Linear prediction of the log-odds with one scale, fitted on the middle dose, against the other arms."""
    doses = outcome.size.doses
    anchor_dose = f"drop-{doses[-2]:g}"
    scale, error = effective_n_beta(outcome, row, anchor_dose)
    rows, zs = [], []
    for name in outcome.arms:
        if name in {"base", anchor_dose, "relabelled"}:
            continue
        moved = outcome.preference(name).logit - outcome.preference("base").logit
        spread = np.hypot(outcome.preference(name).logit_error, outcome.preference("base").logit_error)
        expected = scale * float(row @ outcome.arms[name]["dh"])
        zs.append((moved - expected) / np.hypot(spread, error * abs(expected / scale)))
        rows.append(f"{name} {format_pm(moved, float(spread))} ({expected:.2f})")
    return Claim(
        f"Log-odds of dropping {TARGET} rather than another feature answer linearly (one scale from {anchor_dose})",
        "linear response; the effective n_beta of training is not known beforehand",
        f"effective n_beta {format_pm(scale, error)}; measured (predicted): " + "; ".join(rows)
        + f"; |z| mean {np.abs(zs).mean():.1f}, largest {np.abs(zs).max():.1f}",
        verdict(float(np.abs(zs).mean()) < 2, float(np.abs(zs).max()) < 3),
        null="random arms are in the list",
    )  # fmt: skip


def meaning_claim(readings: dict[float, Readings]) -> Claim:
    """Sign and strength of the three meanings at every temperature, for feature 0 and the 5-gon that drops it."""
    parts, right = [], {"fixed": [], "total": [], "log-odds": []}  # type: tuple[list[str], dict[str, list[bool]]]
    for n_beta, one in readings.items():
        found = one.response
        error, shown = found.estimate.error.to_numpy(), []
        for kind, sign in (("fixed", 1.0), ("total", 1.0), ("log-odds", -1.0)):
            j = found.observables.index(f"{kind} 5-{TARGET}")
            value, spread = found.chi[j, TARGET], error[j, TARGET]
            right[kind].append(bool(sign * value > 3 * spread))
            shown.append(f"{kind} {format_pm(value, spread)}")
        parts.append(f"n_beta {n_beta:g}: " + ", ".join(shown))
    best = [kind for kind, hits in right.items() if all(hits)]
    return Claim(
        "Which meaning of 'change the learning coefficient' predicts the outcome",
        "unknown; a fall of feature 0's probability favours its loss, so fixed and total must be > 0, log-odds < 0",
        "; ".join(parts) + f". Right and resolved at every n_beta: {best or 'none'}", verdict("log-odds" in best),
    )  # fmt: skip


def refusal_claim(found: Response, made: Plan) -> Claim:
    """Fewer features kept, whichever: outside the image by symmetry, so the plan must not invent a direction."""
    everyone = plan(found, {f"log-odds 5-{i}": 1.0 for i in range(FEATURES)})
    vectors = everyone.used.vectors[:, everyone.used.inverted]
    kept = float(np.linalg.norm(vectors.T @ everyone.target) / np.linalg.norm(everyone.target))
    size = float(np.abs(everyone.shift).sum() / np.abs(made.shift).sum())
    return Claim(
        "Any 5-gon against the 6-gon cannot be steered by feature probabilities to first order",
        "exact: the six responses sum to zero over relabellings",
        f"{int(everyone.used.inverted.sum())} of 6 directions resolved; {kept:.1%} of the target lies in them; "
        f"|dh| is {size:.1%} of that of the plan for one feature", verdict(kept < 0.2),
    )  # fmt: skip


def figure(outcome: Outcome, row: Array, path: Path) -> None:
    """Polygons of the strongest arms and the dose-response curve."""
    doses = outcome.size.doses
    last = f"{doses[-1]:g}"
    titles = {
        f"keep-{last}": "planned: keep feature 0", "base": "uniform data", f"drop-{last}": "planned: drop feature 0"
    }  # fmt: skip
    panels = [Panel(f"{text}\n{outcome.share(n)}", outcome.arms[n]["columns"]) for n, text in titles.items()]
    names = [*[f"keep-{d:g}" for d in reversed(doses)], "base", *[f"drop-{d:g}" for d in doses]]
    h0 = np.array([shifted(outcome.arms[n]["dh"])[TARGET] - 1 / FEATURES for n in names])
    scale, _ = effective_n_beta(outcome, row, f"drop-{doses[-2]:g}")
    one = outcome.share("base").count / max(outcome.preference("base").runs, 1)
    moved = np.array([scale * float(row @ outcome.arms[n]["dh"]) for n in names])
    odds = one / (1 - one) * np.exp(moved)
    single = np.array([outcome.preference(n).runs / outcome.size.runs for n in names])
    random = [
        (float(shifted(a["dh"])[TARGET] - 1 / FEATURES), outcome.share(n))
        for n, a in outcome.arms.items() if n.startswith("random")
    ]  # fmt: skip
    drawn(panels, Dose(h0, [outcome.share(n) for n in names], single * odds / (1 + odds), random), path)


REPRODUCTION = Reproduction(
    name="patterning-superposition",
    about="Toy models of superposition: which polygon forms is decided by planned feature probabilities.",
    sources=("wang2026", "chen2023", "elhage2022"),
    run=run,
    cost={
        "smoke": "about 15 s on one core",
        "cpu": "about 1 minute on one core",
        "gpu": "5,000 runs per arm; about 10 minutes on one core, no GPU is used",
    },
)
