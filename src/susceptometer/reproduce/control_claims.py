"""Claims about what chi is not: dataset values, ablation, logits, gradients, a Gaussian around w*; and what it adds."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from susceptometer.domains.attribution import head_activity
from susceptometer.domains.pico import making_of
from susceptometer.estimate.estimate import format_pm, jackknife
from susceptometer.posterior.component_set import ComponentSet
from susceptometer.posterior.subject import Subject
from susceptometer.reproduce.claims import Claim
from susceptometer.reproduce.language_reading import HEADS
from susceptometer.reproduce.language_tokens import TokenFacts, short
from susceptometer.reproduce.pair_claims import SeedReading
from susceptometer.reproduce.setting import Arrays
from susceptometer.structure.controls import (
    first_order,
    gradient_size,
    zero_ablation,
)
from susceptometer.structure.dataset import dataset_agreement
from susceptometer.structure.response import Form, Response
from susceptometer.structure.spectrum import matched, spectrum

Floats = NDArray[np.floating]

MEASURES = ("zero ablation", "direct logits", "output size", "gradient size", "first order")
"""Measures of head and token that need no chain; ``[heads, tokens]`` each."""


def other_measures(subject: Subject, facts: TokenFacts, model: str, *, seed: int) -> Arrays:
    """`MEASURES` of all heads, and ``copying`` attention, on all tokens; ``loss`` of the tokens ``[tokens]``."""
    import torch

    components = subject.components
    assert isinstance(components, ComponentSet)
    heads = dict(components.match(HEADS))
    rows = torch.from_numpy(facts.rows)
    seen = head_activity(subject.params, rows, making_of(model).config)
    flat = {name: getattr(seen, name).flatten(1).numpy() for name in ("direct_logits", "output_size", "copying")}
    return {
        "zero ablation": zero_ablation(subject, heads),
        "direct logits": flat["direct_logits"], "output size": flat["output_size"], "copying": flat["copying"],
        "gradient size": gradient_size(subject, heads, seed=seed, directions=8),
        "first order": first_order(subject, heads),
        "loss": subject.center_loss({"tokens": rows}).flatten().numpy(),
    }  # fmt: skip


def dataset_claim(reading: SeedReading, form: Form, *, rate: float = 0.1) -> Claim:
    """Dataset-level chi by the published mixing against the mean over the probe's tokens."""
    found = dataset_agreement(reading.responses[form], reading.facts.probe, rate=rate)
    near = abs(found.slope - 1 / rate) < max(0.5, 3 * found.error)
    return Claim(
        f"{form}: the dataset value times 1/dh is the mean over the probe's tokens",
        f"slope 9.794, Pearson 0.958 on github (baker2025; {1 / rate:.0f} expected)",
        f"slope {format_pm(found.slope, found.error)} (independent halves of the groups), Pearson over heads "
        f"{np.median(found.pearson):.3f} (median of {len(found.pearson)} domains, least {found.pearson.min():.3f})",
        "agrees" if near else "partly" if np.median(found.pearson) > 0.8 else "differs",
        null=f"domains paired wrongly: Pearson {np.median(found.shuffled):.3f}",
    )


def correlation_claims(reading: SeedReading, form: Form, measures: Mapping[str, Floats]) -> list[Claim]:
    """Correlation over tokens of chi with ablation and with direct logits, head by head."""
    published = {
        "zero ablation": "r within 0.01 of 0 (two heads, two domains; baker2025)",
        "direct logits": "no correlation (baker2025, no number)",
    }
    chi = reading.responses[form].matrix().mean(0).T
    out = []
    for name in MEASURES:
        r = np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(chi, measures[name], strict=True)])
        shift = np.array(
            [np.corrcoef(a, np.roll(b, len(b) // 3))[0, 1] for a, b in zip(chi, measures[name], strict=True)]
        )
        far = int(np.abs(r).argmax())
        small = np.median(np.abs(r)) < 0.1
        out.append(
            Claim(
                f"{form}: chi of a head does not go with its {name} over tokens",
                published.get(name, "not given"),
                f"median |r| {np.median(np.abs(r)):.3f}, median r {np.median(r):+.3f}; largest {r[far]:+.3f} "
                f"(head {short(reading.responses[form].components[far])})",
                "agrees" if small and np.abs(r[far]) < 0.2 else "partly" if small else "differs",
                null=f"tokens shifted: median |r| {np.median(np.abs(shift)):.3f}",
            )
        )
    return out


def loss_claim(reading: SeedReading, form: Form, measures: Mapping[str, Floats], *, seed: int) -> Claim:
    """Whether the first pair is more than how badly a token is predicted at w*, a number that needs no chain."""
    score = reading.spectrum(form, "columns", seed=seed).data["score"].values[0]
    loss = measures["loss"]
    r, rank = np.corrcoef(score, loss)[0, 1], spearmanr(score, loss).statistic
    names = list(dict.fromkeys(reading.facts.probe.tolist()))
    left = np.array([np.corrcoef(score[k], loss[k])[0, 1] for k in (reading.facts.probe != name for name in names)])
    return Claim(
        f"{form}: the first pair is more than the token's loss at w*",
        "not tested (a control of ours)",
        f"correlation of pair-1 scores with the loss {format_pm(float(r), float(jackknife(r, left)[1]))}, "
        f"of ranks {rank:+.3f}",
        "agrees" if abs(rank) < 0.5 else "partly" if abs(rank) < 0.8 else "differs",
        null="0 if they had nothing to do with each other; errors by leaving out domains",
    )


def position_claim(reading: SeedReading, form: Form) -> Claim:
    """Whether chi of the multigram heads grows with position."""
    psi = reading.responses[form].matrix().mean(0)
    psi = np.abs(psi - psi.mean(0))
    place = reading.facts.position
    late, early = place >= place.max() // 4, place < 10
    ratio = psi[late].mean(0) / psi[early].mean(0)
    names = reading.responses[form].components
    others = [names.index(n) for n in reading.roles.others]
    rest = [i for i in range(len(names)) if i not in others]
    gap = np.log(ratio[others]).mean() - np.log(ratio[rest]).mean()
    spread = np.sqrt(np.log(ratio[others]).var(ddof=1) / len(others) + np.log(ratio[rest]).var(ddof=1) / len(rest))
    return Claim(
        f"{form}: |psi| grows with position, most in the multigram heads of layer 1",
        "heads 1:0-1:5 grow most, from position about 10 (baker2025)",
        f"late over early |psi|: layer-1 others {np.exp(np.log(ratio[others]).mean()):.2f}, remaining heads "
        f"{np.exp(np.log(ratio[rest]).mean()):.2f}; log gap {format_pm(float(gap), float(spread))}",
        "agrees" if gap > max(0.1, 2 * spread) else "differs" if gap < -2 * spread else "open",
        null="log gap 0",
    )


def gaussian_claim(reading: SeedReading, control: Mapping[Form, Response], form: Form, *, seed: int) -> Claim:
    """How much of chi and of its pairs is already there at n_beta = 0."""
    chi, null = (r.matrix().mean(0) for r in (reading.responses[form], control[form]))
    r = np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(chi.T, null.T, strict=True)])
    ours = reading.spectrum(form, "columns", seed=seed).data["loading"].values
    theirs = spectrum(control[form], "columns", seed=seed).data["loading"].values
    overlap = np.abs(ours @ theirs.T)
    partner = matched(overlap)
    same = ", ".join(f"{overlap[k, partner[k]]:.3f}" for k in range(3))
    return Claim(
        f"{form}: what is read is the loss landscape, not a Gaussian around w* (n_beta = 0)",
        "clusters of the control are interpretable too (gordon2026)",
        f"correlation over tokens with the control: median {np.median(r):.3f}, least {r.min():.3f}; |cosine| of "
        f"the first three pairs with the control's: {same}",
        "differs" if np.median(r) > 0.95 else "partly" if np.median(r) > 0.7 else "agrees",
        null="correlation 1 if n_beta did not matter",
    )
