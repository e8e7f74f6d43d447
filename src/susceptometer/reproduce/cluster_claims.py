"""Claims about the clusters themselves: how many, how stable, beside their nulls and controls."""

import numpy as np
from numpy.typing import NDArray

from susceptometer.estimate.estimate import format_pm
from susceptometer.reproduce.claims import Claim, Verdict
from susceptometer.reproduce.cluster_cells import Cluster, Spectroscopy
from susceptometer.rng import stream_seed
from susceptometer.structure.cards import Card
from susceptometer.structure.match import wilson
from susceptometer.structure.stability import best_jaccard

STABLE = 0.5
"""Jaccard overlap from which a cluster counts as found again."""

FEWEST = 10
"""With fewer clusters nothing is decided about their shares."""


def count_claim(world: Spectroscopy, form: str) -> Claim:
    """How many clusters, with every null."""
    one, null, noise = world.found[form], world.found["shuffled"], world.found["n_beta = 0"]
    verdict: Verdict = "partly" if one.count > 2 * null.count else "differs"
    return Claim(
        f"{form}: tokens fall into conductance clusters",
        "510 clusters, Pythia-14m, about 780,000 tokens (gordon2026); the count belongs to the pipeline",
        f"{_counted(one)}; conductance at most {one.phi_max:.3f}, median {_median(one.conductance)}",
        verdict,
        null=f"columns shuffled: {null.count} clusters; n_beta = 0: {_counted(noise)}",
    )


def body_claim(world: Spectroscopy, form: str) -> Claim:
    """How much of the text is in no cluster."""
    one, noise = world.found[form], world.found["n_beta = 0"]
    low, high = wilson(int((one.labels < 0).sum()), len(one.labels))[1:]
    return Claim(
        f"{form}: most tokens belong to a main body, not to a cluster",
        "764,945 of about 780,000 tokens in an early run (gordon2026 code)",
        f"{1 - one.inside:.1%} of tokens (95 % interval {low:.1%} to {high:.1%})",
        "agrees" if low > 0.9 else "partly" if low > 0.5 else "differs",
        null=f"n_beta = 0: {1 - noise.inside:.1%}",
    )


def stability_claim(world: Spectroscopy, form: str, *, seed: int) -> Claim:
    """Whether clusters come back from disjoint halves of the chains."""
    one, noise = world.found[form], world.found["n_beta = 0"]
    again = int((one.halves >= STABLE).sum())
    share = wilson(again, one.count)
    return Claim(
        f"{form}: clusters come back from disjoint halves of the chains",
        "not reported (gordon2026)",
        f"{again} of {one.count} at Jaccard {STABLE} or more (95 % interval {share[1]:.0%} to "
        f"{share[2]:.0%}); median overlap "
        f"{median_pm(one.halves, seed=seed)}; over random seeds {median_pm(one.seeds, seed=seed)}",
        decided(one, "agrees" if share[1] > 0.5 else "partly" if again else "differs"),
        null=f"by chance {one.chance:.3f}; n_beta = 0: {int((noise.halves >= STABLE).sum())} of {noise.count}, "
        f"median {median_pm(noise.halves, seed=seed)}",
    )


def gaussian_claim(world: Spectroscopy, form: str, *, seed: int) -> Claim:
    """Whether the posterior's clusters are those of a Gaussian scatter of the weights."""
    one, noise = world.found[form], world.found["n_beta = 0"]
    overlap = best_jaccard(one.labels, noise.labels)
    shared = int((overlap >= STABLE).sum())
    return Claim(
        f"{form}: the clusters differ from those at n_beta = 0 (Gaussian scatter, no loss gradient)",
        "clusters at n_beta = 0 are interpretable too (gordon2026)",
        f"{shared} of {one.count} clusters overlap one at n_beta = 0 by {STABLE} or more; median "
        f"{median_pm(overlap, seed=seed)}",
        decided(one, "agrees" if shared < one.count / 2 else "partly") if noise.count else "open",
        null=f"overlap of the same clusters between chain halves: {median_pm(one.halves, seed=seed)}",
    )


def training_claim(world: Spectroscopy, *, seed: int) -> Claim:
    """Whether independently trained models cluster the same tokens."""
    one = world.found["within-run"]
    others = {name: c for name, c in world.found.items() if name.startswith("training seed")}
    overlaps = {name: best_jaccard(one.labels, c.labels) for name, c in others.items()}
    told = "; ".join(
        f"{name}: {others[name].count} clusters, {int((o >= STABLE).sum())} of {one.count} found again, median "
        f"{median_pm(o, seed=seed)}"
        for name, o in overlaps.items()
    )
    share = np.mean([(o >= STABLE).mean() for o in overlaps.values()]) if one.count else 0.0
    return Claim(
        "within-run: models trained from other seeds cluster the same tokens",
        "not reported for clusters (universality is claimed for the body plan, wang2025)",
        told,
        decided(one, "agrees" if share > 0.5 else "partly" if share > 0.1 else "differs"),
        null=f"by chance {one.chance:.3f}",
    )


def identity_claim(world: Spectroscopy, form: str) -> Claim:
    """Whether clusters are more than next tokens."""
    one, ids = world.found[form], world.facts.ids
    purity = np.array([np.bincount(ids[m]).max() / len(m) for m in one.members])
    f1 = np.array([identity_f1(np.isin(np.arange(len(ids)), m), ids) for m in one.members])
    by_role = int((f1 < STABLE).sum())
    split = sum(count > 1 for count in _clusters_per_token(one, ids).values())
    return Claim(
        f"{form}: clusters are roles, not next tokens: one token splits over clusters, different tokens share one",
        "one token splits over several clusters by role; different tokens share one (gordon2026 code)",
        f"{by_role} of {one.count} clusters are not named by any set of next tokens (F1 below {STABLE}); "
        f"{split} tokens are the commonest of more than one cluster; median share of the commonest "
        f"token {_median(purity)}",
        decided(
            one,
            "agrees" if by_role > one.count / 2 else "partly" if by_role or split else "differs",
        ),
        null="token identity alone: F1 1 for every cluster that is a set of next tokens",
    )


def activation_claim(world: Spectroscopy, form: str, *, seed: int) -> Claim:
    """Whether clustering activations would have given the same."""
    one, other = world.found[form], world.found["activations"]
    overlap = best_jaccard(one.labels, other.labels)
    return Claim(
        f"{form}: clusters are not those of the residual stream",
        "not reported (gordon2026)",
        f"{int((overlap >= STABLE).sum())} of {one.count} clusters overlap one of {other.count} "
        f"activation clusters by {STABLE} or "
        f"more; median {median_pm(overlap, seed=seed)}",
        decided(one, "agrees" if (overlap < STABLE).mean() > 0.5 else "differs") if other.count else "open",
        null=f"by chance {one.chance:.3f}; activation clusters hold {other.inside:.1%} of tokens",
    )


def kinds_claim(world: Spectroscopy, form: str, most: int = 12) -> Claim:
    """What the stable clusters are, by the automatic labels."""
    one = world.found[form]
    stable, named = _named(world, form)
    noise_stable, noise_named = _named(world, "n_beta = 0")
    shown = sorted(named, key=lambda card: -card.size)[:most]
    return Claim(
        f"{form}: clusters are interpretable: grammar, code, mathematical notation",
        "categories grammar, code and maths notation (gordon2026)",
        f"{len(named)} of {len(stable)} stable clusters get a name by rule; largest: "
        + ("; ".join(f"{card.label} ({card.size})" for card in shown) or "none"),
        decided(one, "agrees" if len(named) > len(stable) / 2 else "partly" if named else "differs"),
        null=f"n_beta = 0: {len(noise_named)} of {len(noise_stable)} stable clusters get a name by the same rules",
    )


def _named(world: Spectroscopy, name: str) -> tuple[list[Card], list[Card]]:
    """Stable clusters, and those of them that have a name."""
    stable = [card for card in world.clusters(name).cards(world.strings, contexts=1) if card.halves >= STABLE]
    return stable, [card for card in stable if not card.label.startswith("mixed")]


def decided(one: Cluster, verdict: Verdict) -> Verdict:
    """The verdict, or ``open`` where there are too few clusters."""
    return verdict if one.count >= FEWEST else "open"


def identity_f1(inside: NDArray[np.bool_], ids: NDArray[np.integer]) -> float:
    """Largest F1 of a set of next tokens in naming a cluster (tokens added by their share inside)."""
    every = np.bincount(ids)
    within = np.bincount(ids, weights=inside, minlength=len(every))
    order = np.argsort(-within / np.maximum(every, 1), kind="stable")
    f1 = 2 * np.cumsum(within[order]) / np.maximum(np.cumsum(every[order]) + inside.sum(), 1)
    return float(f1.max())


def median_pm(values: NDArray[np.float64], *, seed: int) -> str:
    """Median with its bootstrap error over clusters; ``none`` where there is nothing."""
    values = values[np.isfinite(values)]
    if len(values) < 3:
        return f"{np.median(values):.2f} (of {len(values)})" if len(values) else "none"
    draw = np.random.default_rng(stream_seed(seed, "median bootstrap"))
    again = np.median(values[draw.integers(0, len(values), (500, len(values)))], axis=1)
    return format_pm(float(np.median(values)), float(max(again.std(), 1e-3)))


def _counted(one: Cluster) -> str:
    return f"{one.count} clusters hold {one.inside:.1%} of {len(one.labels):,} tokens"


def _median(values: NDArray[np.float64]) -> str:
    return f"{np.median(values):.2f}" if len(values) else "none"


def _clusters_per_token(one: Cluster, ids: NDArray[np.integer]) -> dict[int, int]:
    """How many clusters each token is the commonest of."""
    found: dict[int, int] = {}
    for members in one.members:
        top = int(np.bincount(ids[members]).argmax())
        found[top] = found.get(top, 0) + 1
    return found
