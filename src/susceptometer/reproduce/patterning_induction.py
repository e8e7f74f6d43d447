"""Patterning claims on induction: weights along the induction pair hasten or delay the circuit, beside controls."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from susceptometer.domains.induction import PATTERNS
from susceptometer.estimate.estimate import format_pm
from susceptometer.reproduce.claims import Claim
from susceptometer.reproduce.induction_arms import ArmName, Experiment, Size, quiet
from susceptometer.reproduce.induction_editing import editing_claim
from susceptometer.reproduce.induction_outcome import (
    BASELINE,
    CONTROLS,
    DOSES,
    LEVELS,
    SCRATCH,
    STRONG,
    Outcome,
    pm,
    verdict,
)
from susceptometer.reproduce.registry import Reproduction
from susceptometer.reproduce.setting import Setting

Array = NDArray[np.float64]

SIZES = {
    "smoke": Size(6, 4, 1, 1, 6, 12, 6, (0, 1), (BASELINE, DOSES[0], ArmName("permuted", 2.0)), 1, (0.5,), 3, (4, 1)),
    "cpu": Size(96, 8, 6, 8, 1500, 3500, 125, (0, 1, 2), (BASELINE, *DOSES, *CONTROLS, *SCRATCH), 20, (0.25, 1.0)),
}


def run(setting: Setting) -> Sequence[Claim]:
    """All claims of a scale, in the order in which they are argued."""
    quiet()
    cells = Experiment(setting, SIZES[setting.scale])
    arms = {arm: cells.arm(arm) for arm in cells.size.arms}
    table = Outcome(cells.size, {arm: kept["scores"] for arm, kept in arms.items()}, arms[BASELINE]["steps"])
    claims = [_pair(cells), *_local(cells), *(table.shift(level) for level in LEVELS), table.dose(), table.final()]
    claims += [table.versus(kind) for kind in ("permuted", "loss", "flag") if ArmName(kind, STRONG) in arms]
    claims += [table.side_effect(), table.earlier()]
    if SCRATCH[0] in arms:
        claims.append(table.scratch())
    return [*claims, _coefficients(cells), editing_claim(cells)]


def _pair(cells: Experiment) -> Claim:
    loads = dict(zip(cells.response.observables, cells.pattern, strict=True))
    ranks = sorted(loads, key=lambda name: -abs(loads[name]))
    roles = [str(name) for name in cells.measured["roles"]]
    places = [ranks.index(name) + 1 for name in roles]
    side = cells.plan.shift
    link = float(np.corrcoef(side, cells.flag)[0, 1])
    shuffled = np.random.default_rng(0)
    null = max(abs(float(np.corrcoef(side, shuffled.permutation(cells.flag))[0, 1])) for _ in range(200))
    agreed = float(np.nanmean(cells.plan.agreement))
    good = agreed >= 0.8 and max(places) <= 4 and link > null
    return Claim(
        "One principal pair of the finished model is the induction circuit: its heads and its tokens",
        "second principal component (second-hand on wang2026, wang2025)",
        f"induction head ranks {places[0]}, previous-token head {places[1]} of {len(ranks)} by loading; token side "
        f"correlates {link:.3f} with the induction flag; halves of the chains agree {agreed:.2f}; {cells.model!r}",
        verdict(good, link > null, cells.size),
        f"flag shuffled, largest of 200: {null:.3f}",
    )


def _local(cells: Experiment) -> list[Claim]:
    claims = []
    for deviation in cells.size.checks:
        kept = cells.check(deviation)
        value, error = kept["slope"]
        good = abs(value - 1) < 3 * error + 0.02
        bent = np.abs(kept["curvature value"]) / np.maximum(np.abs(kept["measured value"]), 1e-12)
        claims.append(
            Claim(
                f"Before training: the posterior under weights of deviation {deviation:g}, re-sampled, is as predicted",
                "1 to first order (exact on quadratics)",
                f"measured/predicted over {len(kept['z'])} heads {format_pm(value, error)}, largest |z| "
                f"{np.abs(kept['z']).max():.1f}; second order {np.median(bent):.0%} of the first (median head)",
                verdict(good, value > 3 * error, cells.size),
            )
        )
    return claims


def _coefficients(cells: Experiment) -> Claim:
    arms = [arm for arm in (BASELINE, *DOSES) if arm in cells.size.arms and arm.strength in {0.0, STRONG, -STRONG}]
    found = {arm: cells.coefficients(arm)["value"] for arm in arms}
    base = found[BASELINE]
    parts = [
        f"{arm.key}: " + ", ".join(pm(v[:, i] - base[:, i]) if arm.strength else pm(v[:, i]) for i in (0, 1))
        for arm, v in found.items()
    ]
    return Claim(
        "Learning coefficient of the attention of layer 0 and layer 1 at the end (arms: minus the baseline's)",
        "not published",
        "; ".join(parts),
        "open",
    )


def figures(setting: Setting) -> Mapping[str, Figure]:
    """Curves of the strongest arms and the dose-response curve, one dot per seed."""
    cells = Experiment(setting, SIZES[setting.scale])
    kept = {arm: cells.arm(arm) for arm in cells.size.arms}
    table = Outcome(cells.size, {arm: v["scores"] for arm, v in kept.items()}, kept[BASELINE]["steps"])
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for arm in table.present((BASELINE, *DOSES)):
        line = table.curve(arm, "prefix_matching").mean(1)
        left.plot(table.steps, line, label=f"{arm.strength:+g}")
    left.set(xlabel="step", ylabel="prefix matching (mean of seeds)")
    left.legend(title="strength")
    for kind, mark in {"plan": "o-", "permuted": "s:", "flag": "^:", "loss": "v:"}.items():
        arms = table.present([BASELINE, *(a for a in (*DOSES, *CONTROLS) if a.kind == kind)])
        means = np.stack([table.formed(arm) for arm in arms])
        spread = means.std(1, ddof=1) / np.sqrt(means.shape[1])
        right.errorbar([a.strength for a in arms], means.mean(1), spread, fmt=mark, label=kind, capsize=2)
    right.set(xlabel="strength (deviation of the weights)", ylabel="mean prefix matching after the fork")
    right.legend()
    return {"Prefix matching over training, and its dose-response curve beside the controls": figure}


REPRODUCTION = Reproduction(
    name="patterning-induction",
    about="Weights along the induction pair of pico-mini's response matrix, retraining, controls on the same seeds.",
    sources=("wang2026", "wang2026b", "wang2025"),
    run=run,
    cost={
        "smoke": "about 20 s on one core",
        "cpu": "about 36 core minutes: chi 2, check 3, scores 3, 13 arms of three seeds 1.5 each, LLC 2, edited text 6",
    },
    facts=lambda setting: {
        "seeds": str(SIZES[setting.scale].seeds),
        "text": setting.text.name if setting.text else "what each Python holds",
        "patterns": f"{len(PATTERNS)} surface rules",
    },
    figures=figures,
)
