"""Predictions of the parentheses experiment beside their outcomes: random directions, single probes, three meanings."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from susceptometer.domains.parentheses_probes import PROPERTIES
from susceptometer.estimate.estimate import format_pm
from susceptometer.reproduce.claims import Claim
from susceptometer.reproduce.parentheses_arms import RELEASE
from susceptometer.reproduce.parentheses_claims import Results
from susceptometer.reproduce.parentheses_runs import Arm

Array = NDArray[np.float64]

MEANINGS = {"fixed": -1.0, "total": -1.0, "log-odds": 1.0}
"""Row prefix and the sign with which its Nested row predicts a rise of P(Nested)."""


def rises(results: Results, kind: str) -> Array:
    """Predicted rise of Nested over Equal-Count per unit h, of every replicate ``[replicates, probes]``.

    Up to one positive factor: the n_beta of training is not known.
    """
    found, sign = results.response, MEANINGS[kind]
    rise = sign * found.replicates[:, found.observables.index(f"{kind} nested")]
    equal = f"{kind} equal"
    return rise - sign * found.replicates[:, found.observables.index(equal)] if equal in found.observables else rise


def moved(results: Results, name: str) -> tuple[float, float]:
    """Change of the mean share called FALSE against the base models of the same seeds, and its standard error."""
    share = results.arms[name].found.nested_share
    gaps = share - results.arms["base"].found.nested_share[: len(share)]
    return float(gaps.mean()), float(gaps.std(ddof=1) / np.sqrt(len(gaps)))


def compared(results: Results) -> list[str]:
    """The arms whose outcomes are compared: the planned ones and all controls with the primary timing."""
    return [name for name, arm in results.arms.items() if name != "base" and arm.mix.dosing == RELEASE]


def directions(arms: Sequence[Arm]) -> int:
    """Number of directions of h that are no multiples of each other."""
    found: list[Array] = []
    for arm in arms:
        unit = arm.mix.h / np.linalg.norm(arm.mix.h)
        if all(abs(unit @ other) < 1 - 1e-9 for other in found):
            found.append(unit)
    return len(found)


def prediction_claims(results: Results) -> list[Claim]:
    """Random directions and single probes as tests of the prediction, then the three meanings."""
    random, singles = results.starting("random", "neutral"), [n for n in results.arms if n[:-1] in PROPERTIES]
    return [
        arms_claim(results, random, "Random directions of equal size; of the neutral ones no effect is predicted"),
        arms_claim(results, singles, "Single probes of equal size (wang2026: Almost Equal answers unexpectedly)"),
        meaning_claim(results),
    ]


def arms_claim(results: Results, names: Sequence[str], text: str) -> Claim:
    """Outcome of every arm beside its predicted effect, in units of the planned arm's."""
    row = rises(results, "log-odds").mean(0)
    whole = float(np.linalg.norm(row))
    parts, right, resolved = [], 0, 0
    for name in names:
        arm, (value, error) = results.arms[name], moved(results, name)
        size = np.linalg.norm(arm.mix.h)
        asked, got = row @ arm.mix.h / (whole * size), row @ arm.realised / (whole * size)
        far = abs(value) > 2 * error
        resolved += far
        right += bool(far and np.sign(asked) == np.sign(value))
        parts.append(
            f"{name}: predicted {asked:+.2f} (as realised {got:+.2f}), Nested {results.nested(name)}, "
            f"Equal-Count {results.equal(name)}, share called FALSE {'+' * (value >= 0)}{format_pm(value, error)}"
        )
    return Claim(
        text, "log-odds response of the solutions; cosine of h with it",
        "; ".join(parts) + f". Moved beyond two errors: {resolved}, of these as predicted in sign: {right}"
        if parts else "none at this scale",
        "open" if resolved < 3 else "agrees" if right == resolved else "partly" if right > resolved / 2 else "differs",
        null=f"base {results.nested('base')}, Equal-Count {results.equal('base')}",
    )  # fmt: skip


def meaning_claim(results: Results) -> Claim:
    """Correlation of each meaning's prediction with the outcome over all arms, planned h and realised h."""
    names = compared(results)
    arms = [results.arms[name] for name in names]
    outcome = np.array([moved(results, name) for name in names])
    count = directions(arms)
    texts, best = [], {}
    for kind in MEANINGS:
        asked, got = (correlation(rises(results, kind), h, outcome[:, 0]) for h in (
            np.array([a.mix.h for a in arms]), np.array([a.realised for a in arms])))  # fmt: skip
        best[kind] = got
        texts.append(
            f"{kind}: correlation {format_pm(*asked)} (realised h {format_pm(*got)}), sign right in "
            f"{_signs(rises(results, kind).mean(0), arms, outcome)} arms that moved beyond two errors, "
            f"{_entries(results, kind)} of {len(PROPERTIES)} entries of its Nested row beyond three errors"
        )
    first, error = best["log-odds"]
    null = 1 / np.sqrt(max(count - 1, 1))
    return Claim(
        "Which meaning of 'change the learning coefficient' predicts the outcome (mean share called FALSE, all arms of "
        "one timing)",
        "unknown", "; ".join(texts), "agrees" if count > 3 and first - 2 * error > 2 * null else "partly"
        if count > 3 and first > 2 * null else "open",
        null=f"correlation of {count} unrelated pairs, as many as there are directions: 0 ± {null:.2f}; "
        "errors of the correlations come from the replicates of the response",
    )  # fmt: skip


def correlation(rows: Array, h: Array, outcome: Array) -> tuple[float, float]:
    """Correlation over arms of ``rows.mean(0) @ h`` with the outcome, and its jackknife error over replicates.

    Args:
        rows: ``[replicates, probes]``.
        h: ``[arms, probes]``.
        outcome: ``[arms]``.
    """
    if len(h) < 3 or outcome.std() == 0:
        return float("nan"), float("nan")
    n = len(rows)
    each = [_r(np.delete(rows, g, 0).mean(0) @ h.T, outcome) for g in range(n)]
    return _r(rows.mean(0) @ h.T, outcome), float(np.sqrt((n - 1) * np.var(each)))


def _r(expected: Array, outcome: Array) -> float:
    return float(np.corrcoef(expected, outcome)[0, 1]) if expected.std() > 0 else 0.0


def _signs(row: Array, arms: Sequence[Arm], outcome: Array) -> str:
    far = np.abs(outcome[:, 0]) > 2 * outcome[:, 1]
    right = [np.sign(row @ arm.mix.h) == np.sign(value) for arm, value in zip(arms, outcome[:, 0], strict=True)]
    return f"{int((np.array(right) & far).sum())} of {int(far.sum())}"


def _entries(results: Results, kind: str) -> int:
    j = results.response.observables.index(f"{kind} nested")
    return int((np.abs(results.response.chi[j]) > 3 * results.response.estimate.error.to_numpy()[j]).sum())
