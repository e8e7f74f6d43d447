"""Claims of elliott2026b: regret falls in stages while its learning coefficient rises."""

from collections.abc import Mapping, Sequence

import numpy as np

from susceptometer.develop.stages import (
    Paired,
    Plateau,
    StageRule,
    Transition,
    onset,
    paired,
    transitions,
)
from susceptometer.estimate.estimate import format_pm
from susceptometer.reproduce import regret_runs as runs
from susceptometer.reproduce.claims import Claim, Verdict
from susceptometer.reproduce.registry import Reproduction
from susceptometer.reproduce.regret_figures import regret_figures
from susceptometer.reproduce.setting import Setting

RULE = StageRule(flat=0.15, factor=2.0, width=0.15, least=0.02)
SEEKS = 0.1
"""A run seeks the cheese once its regret on uniform levels is below this; it stays with the corner above 0.4."""


def run(setting: Setting) -> Sequence[Claim]:
    """All claims."""
    claims = [stages_claim(setting), opposing_claim(setting, "warm")]
    if setting.scale != "smoke":
        claims += [opposing_claim(setting, "cool"), order_claim(setting), corner_claim(setting)]
        claims += [subset_claim(setting)]
    return [*claims, sampled_claim(setting), score_claim(setting)]


def seeking(setting: Setting) -> list[tuple[float, int, Transition]]:
    """Runs that pass from the corner plateau to seeking the cheese: mix, seed and the transition of G.

    The passage is bounded by measured onsets: corner regret below 0.01 with uniform regret above 0.4 before, uniform
    regret below 0.02 (or the end of training) after.
    """
    found = []
    for mix in runs.mixes(setting):
        for seed in range(runs.AMOUNTS[setting.scale].seeds):
            anywhere, whole = (runs.regret_course(setting, mix, seed, of=name) for name in ("anywhere", "regret"))
            corner = runs.regret_course(setting, mix, seed, of="corner")
            start, leave, arrive = onset(corner, 0.01), onset(anywhere, 0.4), onset(anywhere, 0.02)
            if not (np.isfinite([start, leave, arrive]).all() and start < leave):
                continue
            before, after = _mean(whole, (start, leave)), _mean(whole, (arrive, float(whole.steps[-1])))
            middle = onset(whole, (before.level + after.level) / 2)
            found.append((mix, seed, Transition(before, after, middle, 0.0, 1.0)))
    return found


def stages_claim(setting: Setting) -> Claim:
    """Plateaus found without being told where."""
    lines, staged, total = [], 0, 0
    for mix in runs.mixes(setting):
        courses = [runs.regret_course(setting, mix, seed) for seed in _seeds(setting)]
        counts = [len(transitions(course, RULE, seed=setting.seed)) for course in courses]
        lines.append(f"mix {mix:g}: transitions {counts}")
        if mix in {0.1, 0.2}:
            staged, total = staged + sum(count >= 1 for count in counts), total + len(counts)
    verdict: Verdict = "open" if not total else "agrees" if staged >= 0.6 * total else "partly" if staged else "differs"
    return Claim(
        "Regret falls in stages with plateaus", "stages (elliott2026b); at least 3 of 5 seeds at mix 0.1 or 0.2",
        "; ".join(lines) + (f"; staged {staged} of {total}" if total else ""), verdict,
        "a steady slope in log step has no plateau (tested)",
    )  # fmt: skip


def opposing_claim(setting: Setting, temper: str) -> Claim:
    """Opposing staircases across the passage to seeking."""
    n_beta, gamma, _ = runs.TEMPERS[temper]
    steps, lines = seeking(setting), []
    results = [paired(step, runs.llc_course(setting, mix, seed, temper=temper)) for mix, seed, step in steps]
    for (mix, seed, step), result in zip(steps, results, strict=True):
        ratio = step.before.level / max(step.after.level, 1e-12)
        lines.append(f"mix {mix:g} seed {seed}: G /{ratio:.0f} at step {step.step:.0f}, LLC {_signed(result)}")
    good = [r.opposing and s[2].before.level > 5 * s[2].after.level for r, s in zip(results, steps, strict=True)]
    verdict: Verdict = "open" if not good else "agrees" if all(good) else "partly" if any(good) else "differs"
    return Claim(
        f"When regret steps down its learning coefficient steps up (n_beta {n_beta:g}, gamma {gamma:g})",
        "opposing staircases (elliott2026b); beyond 3 combined errors in every run that switches",
        f"{sum(good)} of {len(good)} switching runs: {'; '.join(lines)}" if lines else "no run switches at this scale",
        verdict, "the coefficient on corner levels alone, below",
    )  # fmt: skip


def order_claim(setting: Setting) -> Claim:
    """Simple and high in regret before complex and low."""
    rows = seeking(setting)
    good = 0
    for mix, seed, step in rows:
        course = runs.llc_course(setting, mix, seed)
        low, high = (_mean(course, (p.start, p.end)) for p in (step.before, step.after))
        good += step.before.level > step.after.level and low.level < high.level
    verdict: Verdict = "open" if not rows else "agrees" if good == len(rows) else "partly" if good else "differs"
    return Claim(
        "The order of plateaus by regret is the reverse of their order by learning coefficient",
        "simple, high-regret policies before complex, low-regret ones (elliott2026b)", f"{good} of {len(rows)} runs",
        verdict, "random order: half",
    )  # fmt: skip


def corner_claim(setting: Setting) -> Claim:
    """Goal misgeneralisation: few other levels, no second stage."""
    last = {mix: runs.training(setting, mix)["anywhere"][:, -1] for mix in runs.mixes(setting)}
    final = {
        mix: np.array([runs.llc_course(setting, mix, seed).values[-1] for seed in _seeds(setting)])
        for mix in (0.05, 0.1)
    }
    stays, moves = (last[0.05] > 0.4).sum(), (last[0.1] < SEEKS).sum()
    seek = final[0.1][last[0.1] < SEEKS]
    lower = len(seek) > 0 and final[0.05].mean() < seek.mean()
    return Claim(
        "With few other levels the agent stays with the corner, at a lower coefficient (goal misgeneralisation)",
        "mix <= 0.05: uniform regret above 0.4 to the end of training",
        f"mix 0.05: {stays} of {len(last[0.05])} stay, LLC {_spread(final[0.05])}; mix 0.1: {moves} of "
        f"{len(last[0.1])} switch, LLC of those {_spread(seek)}",
        "agrees" if stays == len(last[0.05]) and lower else "partly", "mix 0.1 on the same seeds",
    )  # fmt: skip


def subset_claim(setting: Setting) -> Claim:
    """Does the coefficient on levels of equal regret see the transition?"""
    rows = seeking(setting)
    results = [paired(step, runs.llc_course(setting, mix, seed, corner=True)) for mix, seed, step in rows]
    corners = [runs.regret_course(setting, mix, seed, of="corner") for mix, seed, _ in rows]
    regrets = [_mean(one, (s.after.start, s.after.end)) for one, (_, _, s) in zip(corners, rows, strict=True)]
    lines = [f"mix {mix:g} seed {seed}: {_signed(r)}" for (mix, seed, _), r in zip(rows, results, strict=True)]
    moved = [r.significant for r in results]
    verdict: Verdict = "open" if not moved else "agrees" if all(moved) else "differs" if not any(moved) else "partly"
    worst = max((p.level for p in regrets), default=float("nan"))
    return Claim(
        "On the subset of levels where both policies have equal regret (cheese in the corner) the coefficient sees the "
        "transition too",
        "in the abstract of the first version of elliott2026b, no longer in that of the second; reported either way",
        f"change of LLC on corner levels: {'; '.join(lines)}; {sum(moved)} of {len(moved)} beyond 3 errors "
        f"(corner regret stays below {worst:.1e})",
        verdict, "all training levels: see the opposing staircases",
    )  # fmt: skip


def sampled_claim(setting: Setting) -> Claim:
    """Exact values against stored episodes."""
    mix = 0.1 if 0.1 in runs.mixes(setting) else runs.mixes(setting)[0]
    read = runs.AMOUNTS[setting.scale].read
    steps = read[-1:] if setting.scale == "smoke" else (400, 3000, 12_000)
    lines, scores = [], []
    for step in steps:
        exact, sampled = (make(setting, mix, 0, step)["groups"] for make in (runs.exact_llc, runs.episode_llc))
        gap = sampled - exact
        scores.append(gap.mean() / (gap.std(ddof=1) / np.sqrt(len(gap))))
        lines.append(f"step {step}: {_spread(exact)} exact, {_spread(sampled)} from episodes")
    return Claim(
        "The coefficient from stored episodes agrees with the exact one", "within 2 combined errors at 3 checkpoints",
        "; ".join(lines) + f"; z of the paired difference {', '.join(f'{z:.1f}' for z in scores)}",
        "agrees" if max(map(abs, scores)) < 3 else "differs", "the same noise on both sides",
    )  # fmt: skip


def score_claim(setting: Setting) -> Claim:
    """Policy-gradient training from sampled episodes passes the same stages."""
    mix = 0.4 if setting.scale == "smoke" else 0.2
    found = runs.sampled_training(setting, mix)
    first, last = found["regret"][0], found["regret"][-1]
    seeks = found["anywhere"][-1] < SEEKS
    return Claim(
        "Sampled policy gradients (64 episodes a step) go through the same stages", "corner first, then the cheese",
        f"mix {mix:g}: regret {first:.3f} to {last:.4f} in {found['steps'][-1]} steps, corner "
        f"{found['corner'][-1]:.4f}, uniform {found['anywhere'][-1]:.3f}",
        "open" if setting.scale == "smoke" else "agrees" if seeks else "partly", "exact gradient descent, above",
    )  # fmt: skip


def facts(setting: Setting) -> Mapping[str, str]:
    """Provenance: seeds, discount, units."""
    amount = runs.AMOUNTS[setting.scale]
    return {
        "world": f"{runs.NET.world.width} x {runs.NET.world.width} grid, discount {runs.NET.world.discount}, level "
        f"mixes {', '.join(f'{m:g}' for m in amount.mixes)}; network 20-32-32-4, scale {runs.NET.scale}",
        "seeds": f"{amount.seeds} trainings per mix, numbers {setting.seed * 1000}.. on",
        "unit of n_beta": "1/return; it counts levels (exact values) or episodes",
    }  # fmt: skip


def _seeds(setting: Setting) -> range:
    return range(runs.AMOUNTS[setting.scale].seeds)


def _mean(course: runs.Course, span: tuple[float, float]) -> Plateau:
    inside = (course.steps >= span[0]) & (course.steps <= span[1])
    if not inside.any():
        return Plateau(*span, *course.at(float(np.sqrt(span[0] * span[1]))))
    error = float(np.sqrt((course.errors[inside] ** 2).sum()) / inside.sum())
    return Plateau(*span, float(course.values[inside].mean()), error)


def _signed(result: Paired) -> str:
    return f"{'+' if result.change > 0 else ''}{format_pm(result.change, result.error)}"


def _spread(values: np.ndarray) -> str:
    if len(values) < 2:
        return ", ".join(f"{v:.2f}" for v in values) or "none"
    return format_pm(float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(len(values))))


REPRODUCTION = Reproduction(
    name="regret-staircase",
    about="Reinforcement learning: regret as loss, its stages, and the learning coefficient that rises when it falls.",
    sources=["elliott2026b"],
    run=run,
    cost={
        "smoke": "15 s on one core",
        "cpu": "about 15 minutes on one core (3 level mixes, 4 seeds, 12,000 steps); every cell is kept",
        "gpu": "about 3 hours on one core (the networks are too small for a GPU)",
    },
    facts=facts,
    figures=regret_figures,
)
