"""Embryology (wang2025): how the cloud of susceptibility vectors takes shape over training."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from susceptometer.domains.checkpoints import at_checkpoint
from susceptometer.domains.pico import available
from susceptometer.domains.token_text import TextPlan
from susceptometer.reproduce import body_claims as body
from susceptometer.reproduce import map_claims as maps
from susceptometer.reproduce.claims import Claim
from susceptometer.reproduce.language_reading import ReadingPlan, measured, text_facts, text_subject
from susceptometer.reproduce.language_tokens import TokenFacts, roles, token_facts
from susceptometer.reproduce.registry import Reproduction
from susceptometer.reproduce.setting import Scale, Setting
from susceptometer.structure.response import FORMS, Form
from susceptometer.view.embryo_figures import (
    fin_figure,
    map_figure,
    trajectories_figure,
    width_figure,
)

PLANS: dict[Scale, ReadingPlan] = {
    "smoke": ReadingPlan(
        name="rows65", model="pico-mini", text=TextPlan(length=65, data_rows=32, base_rows=4, probe_rows=2),
        domain_rows=2, made_rows={"arithmetic": 1, "brackets": 1, "repeats": 1, "white space": 2}, groups=6, draws=1,
        tilt_rows=2, batch_rows=1, full_draws=4, characters=30_000,
    ),
    "cpu": ReadingPlan(
        name="rows129", text=TextPlan(length=129, data_rows=256, base_rows=8, probe_rows=4), domain_rows=1,
        made_rows={"arithmetic": 1, "brackets": 1, "repeats": 1, "white space": 4}, groups=6, draws=2, tilt_rows=4,
    ),
    "gpu": ReadingPlan(
        name="rows257", text=TextPlan(length=257, data_rows=1024, base_rows=16, probe_rows=8), domain_rows=6,
        made_rows={"arithmetic": 2, "brackets": 2, "repeats": 2, "white space": 8}, groups=16, draws=12, tilt_rows=16,
        full_draws=32,
    ),
}  # fmt: skip
STEPS: dict[Scale, dict[int, tuple[int, ...]]] = {
    "smoke": {0: (0, 16_000)},
}
"""Training seed to checkpoints that are read; a scale that is not named reads all that are stored."""


def stages(setting: Setting) -> dict[int, list[body.Stage]]:
    """Every stored checkpoint of every training seed that is read at this scale, in order of steps."""
    plan = PLANS[setting.scale]
    subject = text_subject(setting, plan)
    stored: Mapping[int, Sequence[int]] = available(plan.model)
    wanted = STEPS.get(setting.scale, stored)
    found: dict[int, list[body.Stage]] = {}
    for trained, steps in wanted.items():
        for step in steps:
            at = at_checkpoint(subject, trained=trained, step=step)
            responses = measured(setting, plan, trained=trained, step=step)
            found.setdefault(trained, []).append(body.Stage(trained, step, responses, roles(at, plan.model)))
    return found


def tokens(setting: Setting) -> TokenFacts:
    """Facts of the tokens that are read at every checkpoint."""
    return token_facts(text_subject(setting, PLANS[setting.scale]))


def shapes(setting: Setting, form: Form) -> dict[int, list[body.Shape]]:
    """The cloud of every checkpoint in one form."""
    facts = tokens(setting)
    return {
        trained: [body.shape(one, facts, form, seed=setting.seed) for one in found]
        for trained, found in stages(setting).items()
    }


def run(setting: Setting) -> list[Claim]:
    """All claims, every one for both forms; maps from the cpu scale on."""
    facts, claims = tokens(setting), []
    for form in FORMS:
        found = shapes(setting, form)
        claims += body.body_claims(found[0], form)
        claims += body.width_claims(found, form)
        claims += [body.induction_claim(found, facts, form), *body.fin_claims(found[0], form)]
        claims += [body.universality_claim(found, form)]
        claims += [maps.recovery_claim(found[0][-1], facts, form, seed=setting.seed)]
        if setting.scale != "smoke":
            claims += maps.map_claims(setting, found[0][-1], facts, form)
    return claims


def facts_of(setting: Setting) -> dict[str, str]:
    """Text, hash, recipe and checkpoints."""
    plan = PLANS[setting.scale]
    recipe = plan.recipe()
    read = "; ".join(f"seed {s}: {', '.join(f'{one.step:,}' for one in found)}" for s, found in stages(setting).items())
    onset = body.onset_step(stages(setting)[0])
    return {
        **text_facts(setting, plan),
        "chains": f"{plan.model}, {recipe.schedule.groups} groups x {recipe.coupling.members} chains x "
        f"{recipe.schedule.draws} draws, n_beta {recipe.n_beta:g}, gamma {recipe.gamma:g}",
        "checkpoints": read,
        "onset of induction, seed 0": f"prefix matching crosses {body.ONSET} at step {onset:,.0f}",
    }


def figures(setting: Setting) -> dict[str, Figure]:
    """Width over training beside the onset, the fin, mean psi by head and pattern, and maps where they were made."""
    facts, out = tokens(setting), {}
    onset = body.onset_step(stages(setting)[0])
    for form in FORMS:
        found = shapes(setting, form)
        first = found[0]
        steps = [one.stage.step for one in first]
        bands = np.array([one.width.interval()[:, 1] for one in first])
        out[f"width over length of the body by step, {form} form; dashed: onset of induction"] = width_figure(
            steps, np.array([one.width.relative for one in first]), bands, onset
        )
        out[f"R² of the run length by step, {form} form"] = fin_figure(
            steps,
            np.array([one.fin.r2 if one.fin else np.nan for one in first]),
            np.array([one.fin.error if one.fin else np.nan for one in first]),
            np.array([one.fin.null[1] if one.fin else np.nan for one in first]),
        )
        tables = [body.pattern_means(one, facts, form) for one in first]
        out[f"mean psi by head and pattern over training, {form} form"] = trajectories_figure(steps, tables)
        if setting.scale != "smoke":
            kept = maps.maps_over_time(setting, first, facts, form)
            classes = facts.classes[kept["chosen"]]
            out[f"maps of the same tokens over training, {form} form"] = map_figure(steps, kept["maps"], classes)
    return out


REPRODUCTION = Reproduction(
    name="embryology",
    about="Embryology: the shape of the cloud of token susceptibilities over training, in numbers.",
    sources=("wang2025", "mcinnes2018", "venna2001"),
    run=run,
    cost={
        "smoke": "about 12 s on one core",
        "cpu": "about 45 minutes on one core, in cells of 1 to 2 minutes",
        "gpu": "about 20 minutes on one GPU (expected, not yet run)",
    },
    facts=facts_of,
    figures=figures,
)
