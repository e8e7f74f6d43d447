"""Spectroscopy (gordon2026): conductance clusters of tokens, their stability and nulls, autoencoders, upsampling."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from susceptometer.reproduce import cluster_claims as clusters
from susceptometer.reproduce import feature_claims as features
from susceptometer.reproduce import upsample_claims as upsampling
from susceptometer.reproduce.claims import Claim
from susceptometer.reproduce.cluster_cells import Spectroscopy, spectroscopy_of
from susceptometer.reproduce.feature_claims import FeaturePlan
from susceptometer.reproduce.language_reading import text_facts
from susceptometer.reproduce.registry import Reproduction
from susceptometer.reproduce.setting import Scale, Setting
from susceptometer.reproduce.structural_inference import PLANS
from susceptometer.structure.cluster import ClusterSettings
from susceptometer.structure.push import Walk
from susceptometer.structure.response import FORMS
from susceptometer.structure.sae_training import SAEPlan
from susceptometer.structure.search import Effort
from susceptometer.structure.upsample import UpsamplePlan
from susceptometer.testbed.clumps import ClumpPlan

SMALL = ClusterSettings(
    k=10,
    walk=Walk(tolerance=5e-4, min_size=8, min_degree=2.5, body_share=0.1),
    effort=Effort(patience=100),
)
PUBLISHED = ClusterSettings(k=45, effort=Effort(patience=500))

SEEDS: dict[Scale, tuple[int, ...]] = {"smoke": (0,), "cpu": (0, 1, 2, 3), "gpu": (0, 1, 2, 3)}
"""Training seeds of the model."""

SETTINGS: dict[Scale, ClusterSettings] = {"smoke": SMALL, "cpu": PUBLISHED, "gpu": PUBLISHED}

FEATURES: dict[Scale, FeaturePlan] = {
    "smoke": FeaturePlan(
        streams=(1,), dictionary=SAEPlan(features=128, k=8, steps=60, batch=512), permutations=5,
        auxiliary=UpsamplePlan(hidden=64, epochs=6),
        wide_rows=32, neighbours=15,
        planted=ClumpPlan(points=2000, dims=16, clumps=5, smallest=30, largest=60),
        clumps=ClusterSettings(
            k=20, walk=Walk(tolerance=2e-4, min_degree=5.0, body_share=0.1), effort=Effort(patience=100)
        ),
    ),
    "cpu": FeaturePlan(
        streams=(1, 2), dictionary=None, permutations=20, auxiliary=UpsamplePlan(),
        wide_rows=960, neighbours=45,
        planted=ClumpPlan(), clumps=ClusterSettings(walk=Walk(min_degree=45 / 4), effort=Effort(patience=500)),
    ),
}  # fmt: skip
FEATURES["gpu"] = FEATURES["cpu"]


def world_of(setting: Setting) -> Spectroscopy:
    """Readings and clusterings of a scale."""
    return spectroscopy_of(setting, PLANS[setting.scale], SETTINGS[setting.scale], SEEDS[setting.scale])


def run(setting: Setting) -> list[Claim]:
    """All claims; those about clusters for both forms of chi."""
    world, plan, seed = world_of(setting), FEATURES[setting.scale], setting.seed
    claims: list[Claim] = []
    for form in FORMS:
        claims += [
            clusters.count_claim(world, form), clusters.body_claim(world, form),
            clusters.stability_claim(world, form, seed=seed), clusters.gaussian_claim(world, form, seed=seed),
            clusters.identity_claim(world, form), clusters.activation_claim(world, form, seed=seed),
            clusters.kinds_claim(world, form), *features.match_claims(setting, world, plan, form),
        ]  # fmt: skip
    if len(SEEDS[setting.scale]) > 1:
        claims.append(clusters.training_claim(world, seed=seed))
    return [
        *claims,
        *upsampling.upsample_claims(setting, world, plan, PLANS[setting.scale]),
        features.planted_claim(setting, plan),
    ]


def facts_of(setting: Setting) -> dict[str, str]:
    """Text, hash, recipe, settings of the clustering."""
    plan, settings = PLANS[setting.scale], SETTINGS[setting.scale]
    recipe = plan.recipe()
    chains = (
        f"{plan.model}, {recipe.schedule.groups} groups x {recipe.coupling.members} chains x "
        f"{recipe.schedule.draws} draws, "
        f"n_beta {recipe.n_beta:g}, gamma {recipe.gamma:g}"
    )
    how = (
        f"{settings.graph} graph, k = {settings.k}, {settings.standardise} standardised, threshold "
        f"by the {settings.null} null, "
        "natural text only"
    )
    return {
        **text_facts(setting, plan),
        "chains": chains,
        "clustering": how,
        "training seeds": str(SEEDS[setting.scale]),
    }


def figures(setting: Setting) -> Mapping[str, Figure]:
    """Sizes and conductances of the clusters of the posterior and of the Gaussian control."""
    world = world_of(setting)
    drawn = Figure(figsize=(7, 3.2), layout="constrained")
    left, right = drawn.subplots(1, 2)
    for name in ("within-run", "two-run", "n_beta = 0"):
        one = world.found[name]
        left.scatter(one.conductance, [len(m) for m in one.members], s=12, label=f"{name} ({one.count})")
        right.ecdf(one.halves) if one.count else None
    left.set(xlabel="conductance", ylabel="tokens", yscale="log")
    right.set(xlabel="overlap between chain halves", ylabel="share of clusters", xlim=(0, 1))
    left.legend(frameon=False, fontsize=8)
    return {"clusters by conductance, size and stability over chain halves": drawn}


REPRODUCTION = Reproduction(
    name="spectroscopy",
    about="Spectroscopy: conductance clusters of tokens by susceptibility, with nulls, autoencoders and upsampling.",
    sources=("gordon2026", "andersen2006", "gao2024"),
    run=run,
    cost={
        "smoke": "20 seconds on one core",
        "cpu": "one to two hours on one core, most of it the readings of four training seeds and of the control",
        "gpu": "25 minutes on one GPU",
    },
    facts=facts_of,
    figures=figures,
)
