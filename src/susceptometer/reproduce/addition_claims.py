"""Claims about what chi adds to measures that need no chain, for tokens and for whole heads."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from susceptometer.estimate.estimate import format_pm, jackknife
from susceptometer.reproduce.claims import Claim, Verdict
from susceptometer.reproduce.control_claims import MEASURES
from susceptometer.reproduce.language_tokens import TokenFacts
from susceptometer.reproduce.pair_claims import SeedReading
from susceptometer.structure.body import fold_of_rows
from susceptometer.structure.circuit import auroc
from susceptometer.structure.controls import added_r2, held_out_prediction
from susceptometer.structure.response import Form

Floats = NDArray[np.floating]
Measures = Mapping[str, Floats]

BASELINES = {"ablation and logits": MEASURES[:2], "ablation, logits, activations and gradients": MEASURES}
"""The controls of the papers, and all of ours; the token's loss is always among them."""


def token_claims(reading: SeedReading, form: Form, measures: Measures, *, seed: int) -> list[Claim]:
    """What chi adds in predicting the copying attention of the induction heads, token by token."""
    names = reading.responses[form].components
    heads = [names.index(name) for name in reading.roles.induction]
    if not heads:
        return []
    target, chi = measures["copying"][heads].mean(0), reading.responses[form].matrix().mean(0)
    folds = fold_of_rows(reading.facts.row, np.random.default_rng(seed))
    flags = reading.facts.flag("induction")
    claims = []
    for title, kept in BASELINES.items():
        base = np.concatenate([*(measures[name].T for name in kept), measures["loss"][:, None]], 1)
        found, error, null = _added(target, base, chi, folds, seed)
        sets = (base, chi, np.c_[base, chi])
        areas = [auroc(held_out_prediction(x, flags.astype(float), folds), flags) for x in sets]
        claims.append(
            Claim(
                f"{form}: chi tells which tokens the induction heads copy, beyond {title}",
                "no number",
                f"held-out R² of copying attention: they {found['base']:.3f}, chi {found['extra']:.3f}, both "
                f"{found['both']:.3f}; partial R² of chi {format_pm(found['partial'], error)}; AUROC of induction "
                f"tokens: they {areas[0]:.3f}, chi {areas[1]:.3f}, both {areas[2]:.3f}",
                _verdict(found, error),
                null=f"tokens of chi permuted: partial R² {null:.4f}",
            )
        )
    return claims


def head_claim(readings: Sequence[SeedReading], measures: Sequence[Measures], form: Form) -> Claim:
    """Prefix matching of the heads of all seeds from pattern means of chi, beyond those of the other measures."""
    chi, base, target, fold = [], [], [], []
    for one, other in zip(readings, measures, strict=True):
        chi.append(_pattern_means(one.responses[form].matrix().mean(0).T, one.facts))
        base.append(np.concatenate([_pattern_means(other[name], one.facts) for name in MEASURES], 1))
        target.append(np.log(one.roles.prefix_matching.ravel()))
        fold.append(np.full(len(chi[-1]), one.trained))
    y, folds = np.concatenate(target), np.concatenate(fold)
    found, error, null = _added(y, np.concatenate(base), np.concatenate(chi), folds, 0)
    return Claim(
        f"{form}: chi of a head on ordinary text tells its prefix matching on random tokens, beyond all other measures",
        "no number",
        f"held-out R² of the log score over {len(y)} heads of {len(readings)} seeds: they {found['base']:.3f}, chi "
        f"{found['extra']:.3f}, both {found['both']:.3f}; partial R² of chi {format_pm(found['partial'], error)}",
        _verdict(found, error),
        null=f"heads of chi permuted: partial R² {null:.3f}",
    )


def _added(
    target: Floats, base: Floats, chi: Floats, folds: NDArray[np.integer], seed: int
) -> tuple[dict[str, float], float, float]:
    """`added_r2`, the jackknife error of the partial value over folds, and the value for permuted samples of chi."""
    found = added_r2(target, base, chi, folds)
    rest = [folds != fold for fold in np.unique(folds)]
    left = np.array([added_r2(target[r], base[r], chi[r], folds[r])["partial"] for r in rest])
    mixed = np.random.default_rng(seed).permutation(len(chi))
    null = added_r2(target, base, chi[mixed], folds)["partial"]
    return found, float(jackknife(np.array(found["partial"]), left)[1]), null


def _verdict(found: Mapping[str, float], error: float) -> Verdict:
    if found["partial"] <= 2 * error:
        return "differs"
    return "agrees" if found["extra"] > found["base"] else "partly"


def _pattern_means(values: Floats, facts: TokenFacts) -> Floats:
    """Mean of ``values [heads, tokens]``, standardised within heads, on every pattern: ``[heads, patterns]``."""
    scaled = (values - values.mean(1, keepdims=True)) / np.maximum(values.std(1, keepdims=True), 1e-300)
    weights = facts.flags / np.maximum(facts.flags.sum(1, keepdims=True), 1)
    return scaled @ weights.T
