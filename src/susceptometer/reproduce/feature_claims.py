"""Claims beside the clusters: autoencoder features that name them, planted clumps."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from susceptometer.domains.activations import (
    Place,
    probe_tokens,
    residual_streams,
    target_activations,
)
from susceptometer.domains.dictionaries import bundled_dictionary, stream_of_rows, token_features
from susceptometer.reproduce.claims import Claim
from susceptometer.reproduce.cluster_cells import Spectroscopy
from susceptometer.reproduce.cluster_claims import FEWEST
from susceptometer.reproduce.setting import Arrays, Setting
from susceptometer.structure.cluster import ClusterSettings, cluster_points
from susceptometer.structure.match import LEVELS, Matching, match_clusters, wilson
from susceptometer.structure.sae import SAE
from susceptometer.structure.sae_training import SAEPlan, train_sae
from susceptometer.structure.stability import best_jaccard
from susceptometer.structure.upsample import UpsamplePlan
from susceptometer.testbed.clumps import ClumpPlan, clumped

PLACES: tuple[Place, ...] = ("context", "target")


@dataclass(frozen=True, kw_only=True)
class FeaturePlan:
    """How much is compared.

    Args:
        streams: Residual streams whose dictionaries are compared.
        dictionary: Bundled autoencoders are used where None, else one is trained so on the text's own data rows.
        permutations: Of the null.
        auxiliary: The auxiliary network.
        wide_rows: Rows of further text that get predicted vectors.
        neighbours: Of the overlap of measured and predicted vectors.
        planted: Planted clumps to find.
        clumps: Settings of that search.
    """

    streams: tuple[int, ...]
    dictionary: SAEPlan | None
    permutations: int
    auxiliary: UpsamplePlan
    wide_rows: int
    neighbours: int
    planted: ClumpPlan
    clumps: ClusterSettings


def match_claims(setting: Setting, world: Spectroscopy, plan: FeaturePlan, form: str) -> list[Claim]:
    """Every stream and place: share of clusters that a feature names, beside its null."""
    claims = []
    for stream in plan.streams:
        for place in PLACES:
            make = partial(_matched, setting, world, plan, form, (stream, place))
            kept = setting.kept(f"match-{form}-{stream}-{place}", make)
            claims.append(_match_claim(kept, form, f"residual stream {stream}, at the {place}"))
    return claims


def _matched(setting: Setting, world: Spectroscopy, plan: FeaturePlan, form: str, at: tuple[int, Place]) -> Arrays:
    stream, place = at
    setting.say(f"matching clusters to features of stream {stream} at the {place}")
    sae = _dictionary(world, plan, stream, seed=setting.seed)
    tokens = probe_tokens(world.subject)
    vectors = target_activations(residual_streams(world.subject, tokens[:, :-1])[stream], place)
    natural = torch.from_numpy(natural_tokens(world))
    vectors = vectors[natural]
    found = match_clusters(
        world.found[form].members, token_features(sae, vectors), world.facts.ids, world.facts.row,
        permutations=plan.permutations, seed=setting.seed,
    )  # fmt: skip
    union = np.array([match.union_f1 for match in found.matches])
    auroc = np.array([match.auroc for match in found.matches])
    explained = np.array(sae.explained(vectors[~vectors.isnan().any(1)]))
    return {
        "f1": found.f1, "null": found.null, "identity": found.identity, "union": union, "auroc": auroc,
        "explained": explained,
    }  # fmt: skip


def _match_claim(kept: Arrays, form: str, where: str) -> Claim:
    f1, null = kept["f1"], kept["null"]
    found = Matching((), null, kept["identity"])
    shares = {level: wilson(int((f1 >= level).sum()), len(f1)) for level in LEVELS}
    mean, largest = found.null_share(0.5) if len(f1) else (0.0, 0.0)
    share, low, high = shares[0.5]
    others = ", ".join(f"{shares[level][0]:.0%} at {level}" for level in LEVELS if level != 0.5)
    verdict = "open" if len(f1) < FEWEST else "agrees" if low > largest else "partly" if share > mean else "differs"
    return Claim(
        f"{form}: autoencoder features name clusters ({where})",
        "259 of 510 clusters (50.8 %) matched (gordon2026; criterion not published)",
        f"{int((f1 >= 0.5).sum())} of {len(f1)} = {share:.0%} at held-out F1 0.5 (95 % interval "
        f"{low:.0%} to {high:.0%}; {others}); "
        f"median AUROC {_median(kept['auroc'])}; union of up to five features "
        f"{(kept['union'] >= 0.5).mean() if len(f1) else 0:.0%}; "
        f"the dictionary explains {float(kept['explained']):.0%} of the variance",
        verdict,  # type: ignore[arg-type]
        null=f"labels permuted among equal next tokens: {mean:.0%}, at most {largest:.0%}; next tokens alone: "
        f"{(kept['identity'] >= 0.5).mean() if len(f1) else 0:.0%}",
    )


def _dictionary(world: Spectroscopy, plan: FeaturePlan, stream: int, *, seed: int) -> SAE:
    if plan.dictionary is None:
        return bundled_dictionary(stream)
    rows = world.subject.data["tokens"].numpy().astype(np.int16)
    return train_sae(stream_of_rows(world.subject, rows, [stream])[0], plan.dictionary, seed=seed)


def natural_tokens(world: Spectroscopy) -> NDArray[np.bool_]:
    """Natural tokens among all tokens of the probes."""
    from susceptometer.reproduce.language_tokens import token_facts

    return token_facts(world.subject).natural


def planted_claim(setting: Setting, plan: FeaturePlan) -> Claim:
    """What the same pipeline finds where the truth is known."""
    kept = setting.kept("planted", lambda: _planted(setting, plan))
    best, total = kept["best"], len(kept["best"])
    hits = int((best >= 0.9).sum())
    share, low, high = wilson(hits, total)
    return Claim(
        "the pipeline finds planted clumps in a heavy-tailed body, and nothing else",
        "none published; demanded here: 36 of 40 at Jaccard 0.9",
        f"{hits} of {total} (95 % interval {low:.0%} to {high:.0%}); {int(kept['false'])} clusters outside the clumps",
        "agrees" if share >= 0.9 and not kept["false"] else "partly" if share > 0.5 else "differs",
        null=f"body without clumps: {int(kept['null'])} clusters",
    )


def _planted(setting: Setting, plan: FeaturePlan) -> Arrays:
    setting.say("clustering planted clumps")
    cloud = clumped(plan.planted, seed=setting.seed)
    z = (cloud.points - cloud.points.mean(0)) / cloud.points.std(0)
    found = cluster_points(z - z.mean(1, keepdims=True), plan.clumps, seed=setting.seed).partition
    body = z[cloud.labels < 0]
    null = cluster_points(body - body.mean(1, keepdims=True), plan.clumps, seed=setting.seed).partition.count
    outside = sum((cloud.labels[m] < 0).mean() > 0.5 for m in found.members())
    return {
        "best": best_jaccard(cloud.labels, found.labels),
        "false": np.array(outside),
        "null": np.array(null),
    }


def _median(values: Sequence[float] | NDArray[np.float64]) -> str:
    return f"{np.median(values):.2f}" if len(values) else "none"
