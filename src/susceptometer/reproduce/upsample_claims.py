"""Claims about upsampling: how well chi is predicted from one forward pass, and what clusters of predictions are."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from susceptometer.domains.activations import auxiliary_inputs, probe_tokens
from susceptometer.domains.checkpoints import text_tokens
from susceptometer.domains.language import LanguageSource
from susceptometer.estimate.estimate import format_pm
from susceptometer.reproduce.claims import Claim
from susceptometer.reproduce.cluster_cells import Spectroscopy
from susceptometer.reproduce.cluster_claims import decided
from susceptometer.reproduce.feature_claims import FeaturePlan, natural_tokens
from susceptometer.reproduce.language_reading import ReadingPlan
from susceptometer.reproduce.setting import Arrays, Setting
from susceptometer.structure.cluster import cluster_points
from susceptometer.structure.stability import best_jaccard
from susceptometer.structure.upsample import (
    fit_upsampler,
    reliable_whitening,
    token_means,
    upsample_quality,
)

WIDE_CHARACTERS = 800_000
"""Text taken of each domain for the further rows."""


def upsample_claims(setting: Setting, world: Spectroscopy, plan: FeaturePlan, reading: ReadingPlan) -> list[Claim]:
    """Fit on held-out rows, neighbours, and clusters of measured and further tokens together."""
    kept = setting.kept("upsampled", lambda: _upsampled(setting, world, plan, reading))
    return [_fit_claim(kept), _neighbour_claim(kept), _cluster_claim(kept, world)]


def _fit_claim(kept: Arrays) -> Claim:
    r2, error, ceiling, token = (kept[name] for name in ("r2", "r2_error", "ceiling", "token_r2"))
    triples = list(zip(r2, error, ceiling, strict=True))[:6]
    told = "; ".join(f"pc {i + 1} {format_pm(a, b)} of {c:.2f}" for i, (a, b, c) in enumerate(triples))
    reached = float((r2 / ceiling).mean())
    better = bool((r2 > token + 2 * error).any())
    return Claim(
        "within-run: a network predicts whitened chi from one forward pass (R^2 on held-out rows)",
        "an auxiliary model raises 4.25M to 46M vectors; its fit is not published (Timaeus, April 2026)",
        f"{told}; mean {r2.mean():.2f} over {len(r2)} pcs = {reached:.0%} of what noise allows; "
        f"cosine {float(kept['cosine']):.2f}",
        "agrees" if reached > 0.5 else "partly" if better else "differs",
        null=f"mean of the next token over the training rows: {token.mean():.2f}",
    )


def _neighbour_claim(kept: Arrays) -> Claim:
    overlap, halves, chance = (float(kept[name]) for name in ("overlap", "overlap_halves", "overlap_chance"))
    return Claim(
        "within-run: predicted vectors have the neighbours of the measured ones",
        "not published (Timaeus, April 2026)",
        f"{overlap:.2f} of the {int(kept['k'])} nearest neighbours agree on held-out rows",
        "agrees" if overlap > 0.8 * halves else "partly" if overlap > 3 * chance else "differs",
        null=f"chance {chance:.3f}; two halves of the chains agree on {halves:.2f}",
    )


def _cluster_claim(kept: Arrays, world: Spectroscopy) -> Claim:
    one, again = world.found["within-run"], int(kept["again"])
    median = f"{np.median(kept['jaccard']):.2f}" if one.count else "none"
    more = float(kept["tokens"]) / len(one.labels)
    return Claim(
        "within-run: clusters of predicted vectors are the clusters of measured ones",
        "57,236 clusters from 46M upsampled vectors of Pythia-1.4B (Timaeus, April 2026)",
        f"{int(kept['clusters'])} clusters of {int(kept['tokens']):,} predicted vectors ({more:.1f} times the measured "
        f"tokens); {again} of {one.count} measured clusters overlap one by 0.5 or more on the measured tokens; "
        f"median overlap {median}",
        decided(one, "agrees" if again > 0.5 * one.count else "partly" if again else "differs"),
        null=f"overlap by chance {one.chance:.3f}; read this only beside the two rows above",
    )


def _upsampled(setting: Setting, world: Spectroscopy, plan: FeaturePlan, reading: ReadingPlan) -> Arrays:
    """Quality on held-out rows (every fourth), and clusters of the predictions of all rows and of further text."""
    setting.say("training the auxiliary network")
    chi, facts, seed = world.chi["within-run"], world.facts, setting.seed
    rows = np.unique(facts.row, return_inverse=True)[1]
    held = rows % 4 == 0
    inputs = auxiliary_inputs(world.subject, probe_tokens(world.subject))[torch.from_numpy(natural_tokens(world))]
    whitening = reliable_whitening(chi.of_tokens(~held))
    targets = whitening.map(chi.matrix().mean(0))
    model = fit_upsampler(inputs[torch.from_numpy(~held)], targets[~held], rows[~held], plan.auxiliary, seed=seed)
    measured = model(inputs)
    by_token = token_means(targets[~held], facts.ids[~held], facts.ids[held])
    quality = upsample_quality(measured[held], by_token, chi.of_tokens(held), whitening, k=plan.neighbours, seed=seed)
    wide = _wide_rows(setting, plan, reading)
    further = [model(auxiliary_inputs(world.subject, part)) for part in wide.split(64)]
    everything = np.concatenate([measured, *further])
    setting.say(f"clustering {len(everything):,} predicted vectors")
    labels = cluster_points(everything, world.settings, seed=seed).partition.labels
    jaccard = best_jaccard(world.found["within-run"].labels, labels[: len(measured)])
    single = ("cosine", "overlap", "overlap_halves", "overlap_chance", "k")
    return {
        **{name: getattr(quality, name) for name in ("r2", "r2_error", "ceiling", "token_r2")},
        **{name: np.array(getattr(quality, name)) for name in single},
        "clusters": np.array(labels.max() + 1), "tokens": np.array(len(everything)),
        "again": np.array((jaccard >= 0.5).sum()), "jaccard": jaccard,
    }  # fmt: skip


def _wide_rows(setting: Setting, plan: FeaturePlan, reading: ReadingPlan) -> Tensor:
    """Further rows of the same text, ``[rows, K]``; some of the measured rows are among them."""
    text = replace(reading.text, data_rows=plan.wide_rows)
    source = LanguageSource(reading.model, data=str(setting.text) if setting.text else None, plan=text)
    most = WIDE_CHARACTERS if reading.characters is None else reading.characters
    kept = setting.kept("text-wide", lambda: {"data": text_tokens(source, characters=most)["data"]})
    return torch.from_numpy(kept["data"].astype(np.int64))
