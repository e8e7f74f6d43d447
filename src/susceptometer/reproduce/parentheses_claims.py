"""Claims of the parentheses experiment: solutions, coefficients, steered arms against controls, three meanings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from susceptometer.domains.basin import Basin
from susceptometer.domains.parentheses_probes import PROPERTIES
from susceptometer.estimate.estimate import format_pm
from susceptometer.patterning.response import Response
from susceptometer.reproduce.claims import Claim
from susceptometer.reproduce.parentheses_arms import STRONG, Arm, Size
from susceptometer.reproduce.shares import Share, apart, fisher, share

Array = NDArray[np.float64]

MEANINGS = {"fixed": -1.0, "total": -1.0, "log-odds": 1.0}
"""Row prefix and the sign with which its Nested row predicts a rise of P(Nested)."""

SWING = 0.40
"""The wanted difference of P(Nested) between the two planned arms."""


@dataclass(frozen=True, eq=False)
class Results:
    """Everything that was measured."""

    size: Size
    basins: Mapping[str, Sequence[Basin]]
    response: Response
    arms: Mapping[str, Arm]

    def nested(self, name: str) -> Share:
        """P(Nested) of an arm."""
        return share(self.arms[name].found.is_nested)

    def equal(self, name: str) -> Share:
        """P(Equal-Count) of an arm."""
        return share(self.arms[name].found.is_equal_count)

    def row(self, kind: str) -> Array:
        """Predicted rise of Nested over Equal-Count per unit h ``[probes]``, up to one positive factor."""
        found, sign = self.response, MEANINGS[kind]
        rise = sign * found.chi[found.observables.index(f"{kind} nested")]
        equal = f"{kind} equal"
        return rise - sign * found.chi[found.observables.index(equal)] if equal in found.observables else rise

    def accuracy(self, name: str) -> float:
        """Mean accuracy in distribution of an arm."""
        return float(self.arms[name].found.accuracy.mean())

    def doses(self, name: str) -> list[str]:
        """Suffixes of the planned arms of one meaning, weakest first."""
        return ["", *(dose for dose in STRONG if f"{name}+{dose}" in self.arms)]

    @property
    def random(self) -> list[str]:
        """Names of the random arms."""
        return [name for name in self.arms if name.startswith("random")]

    @property
    def pairs(self) -> list[str]:
        """Meanings whose plan was resolved and trained both ways."""
        return [name for name in MEANINGS if f"{name}+" in self.arms]


def all_claims(results: Results) -> list[Claim]:
    """The whole table."""
    found = [protocol_claim(results), baseline_claim(results), llc_claim(results), response_claim(results)]
    found += [refused_claim(results)]
    found += [steer_claim(results, name, dose) for name in results.pairs for dose in results.doses(name)]
    return [*found, singles_claim(results), accuracy_claim(results), meaning_claim(results), clip_claim(results)]


def protocol_claim(results: Results) -> Claim:
    """What differs from the published protocol."""
    p = results.size.protocol
    ours = (
        f"{p.config.layers} layers, {p.config.heads} head, width {p.config.width}, positions: {p.config.positions}, "
        f"init {p.config.init}, strings of 2-{p.task.width} characters drawn with replacement from {p.task.pool:,}, "
        f"{p.training.steps} steps of {p.batch}, rate {p.training.learning_rate}, |w|^2 penalty {p.decay}"
    )
    return Claim(
        "Protocol",
        "li2025, wang2026: 2-3 layers, 4 heads, width 64, learned positions, 2-40 characters, 31,250 steps of 32",
        ours + ". Smaller, and without positions: with them first and last characters give mixtures", "partly",
    )  # fmt: skip


def baseline_claim(results: Results) -> Claim:
    """Distribution of solutions over seeds."""
    found = results.arms["base"].found
    counts, _ = np.histogram(found.nested_share, [-0.01, 0.1, 0.25, 0.5, 0.75, 0.899, 1.01])
    good = bool(found.is_nested.any() and found.is_equal_count.any() and found.accuracy.mean() > 0.999)
    outer = counts[0] + counts[-1]
    return Claim(
        "With unchanged data seeds differ: some learn Nested, some Equal-Count",
        "li2025: both occur; histogram not published here",
        f"Nested {results.nested('base')}, Equal-Count {results.equal('base')}; disagreeing strings called "
        f"FALSE, by share in [0, .1, .25, .5, .75, .9, 1]: {counts.tolist()}; accuracy {found.accuracy.mean():.4f}",
        "agrees" if good and outer > counts[1:-1].sum() else "partly" if good else "open",
    )  # fmt: skip


def llc_claim(results: Results) -> Claim:
    """Learning coefficients of both solutions."""
    parts, values = [], []
    for kind, basins in results.basins.items():
        each = np.array([one.llc.mean() for one in basins])
        within = float(np.sqrt(np.mean([one.llc.var(ddof=1) / len(one.llc) for one in basins])))
        spread = float(each.std(ddof=1) / np.sqrt(len(each))) if len(each) > 1 else within
        values.append((float(each.mean()), max(spread, within)))
        rhat = max(one.rhat for one in basins)
        parts.append(f"{kind} {format_pm(*values[-1])} ({len(each)} models, R-hat {rhat:.2f})")
    n_beta = results.response.n_beta
    return Claim(
        "Learning coefficients of the solutions", "wang2026: values not known to us",
        f"n_beta {n_beta:g}, gamma 1000, batches of 64 (hot: E[L] - L(w*) = {values[0][0] / n_beta:.2f} nats, "
        f"so these are coefficients of a wide neighbourhood): " + ", ".join(parts), "open",
    )  # fmt: skip


def response_claim(results: Results) -> Claim:
    """chi of both solutions on every probe, and what is resolved."""
    found, texts = results.response, []
    error = found.estimate.error.to_numpy()
    for name in ("fixed nested", "fixed equal", "total nested", "total equal", "log-odds nested"):
        j = found.observables.index(name)
        pairs = zip(PROPERTIES, found.chi[j], error[j], strict=True)
        texts.append(f"{name}: " + ", ".join(f"{p} {format_pm(v, e)}" for p, v, e in pairs if abs(v) > 2 * e))
    return Claim(
        "Answers of both solutions to the probes (entries beyond two errors, per unit n_beta)",
        "wang2026: values not known to us", "; ".join(texts) or "none", "open",
        null=f"{0.05 * len(PROPERTIES):.1f} of {len(PROPERTIES)} entries in a row would pass by chance",
    )  # fmt: skip


def refused_claim(results: Results) -> Claim:
    """Targets that the plan refused because nothing stood out of its error."""
    refused = [name for name in results.size.targets if name not in results.pairs]
    return Claim(
        "Plans are made only from responses that stand out of their error", "own rule",
        f"planned: {results.pairs}; refused: {refused}", "open",
    )  # fmt: skip


def steer_claim(results: Results, name: str, dose: str) -> Claim:
    """Both planned arms of one meaning and dose against base and random arms."""
    plus, minus = f"{name}+{dose}", f"{name}-{dose}"
    up, down, base = (results.nested(arm) for arm in (plus, minus, "base"))
    size = float(np.abs(results.arms[plus].h).sum())
    h = ", ".join(f"{p} {v:+.2f}" for p, v in zip(PROPERTIES, results.arms[plus].h, strict=True))
    randoms = [results.nested(arm) for arm in results.random]
    clear = all(apart(up, one) for one in randoms)
    swing = up.value - down.value
    good = swing >= SWING and apart(up, down)
    return Claim(
        f"Planned arms move P(Nested); '{name}', sum |h| {size:.2f}{', least weight 0.1' * (dose == 'floored')}",
        "wang2026: patterning selects the algorithm; shares unknown",
        f"towards Nested {up}, base {base}, towards Equal-Count {down}; difference {100 * swing:+.0f} points "
        f"(Fisher p {fisher(up, down):.1g}; towards Nested against base {fisher(up, base):.1g}); Equal-Count "
        f"{results.equal(plus)} and {results.equal(minus)}; accuracy {results.accuracy(plus):.3f} and "
        f"{results.accuracy(minus):.3f}. h: {h}",
        "agrees" if good and clear and min(map(results.accuracy, (plus, minus))) > 0.995
        else "partly" if good or (swing > 0 and fisher(up, down) < 0.05) else "differs" if swing < 0 else "open",
        null="random h (sum |h|): " + (", ".join(
            f"{results.nested(arm)} ({np.abs(results.arms[arm].h).sum():.2f})" for arm in results.random
        ) or "none at this scale"),
    )  # fmt: skip


def singles_claim(results: Results) -> Claim:
    """Arms of one probe alone."""
    names = [n for n in results.arms if n[:-1] in PROPERTIES]
    ours = "; ".join(f"{n}: Nested {results.nested(n)}, Equal-Count {results.equal(n)}" for n in names)
    return Claim(
        f"Single probes, sum |h| {results.size.total:g}", "wang2026: one probe answers unexpectedly",
        ours or "none at this scale", "open",
    )  # fmt: skip


def accuracy_claim(results: Results) -> Claim:
    """Accuracy on the unchanged training distribution in every arm."""
    each = {name: arm.found.accuracy for name, arm in results.arms.items()}
    worst = min(each, key=lambda name: each[name].mean())
    text = ", ".join(f"{name} {value.mean():.4f}" for name, value in each.items())
    return Claim(
        "Accuracy in distribution is unchanged", "about 100 % in every arm",
        f"mean over models: {text}; least single model {min(v.min() for v in each.values()):.3f}",
        "agrees" if each[worst].mean() > 0.995 else "partly", null=f"base {each['base'].mean():.4f}",
    )  # fmt: skip


def meaning_claim(results: Results) -> Claim:
    """Rank and linear correlation of each meaning's prediction with the outcome over all arms."""
    arms = [name for name in results.arms if name != "base"]
    base = results.arms["base"].found.nested_share.mean()
    moved = np.array([results.arms[name].found.nested_share.mean() - base for name in arms])
    texts, best, error = [], {}, results.response.estimate.error.to_numpy()
    for kind in MEANINGS:
        j = results.response.observables.index(f"{kind} nested")
        resolved = int((np.abs(results.response.chi[j]) > 3 * error[j]).sum())
        expected = np.array([results.row(kind) @ results.arms[name].h for name in arms])
        defined = len(arms) > 3 and expected.std() > 0 and moved.std() > 0
        r = float(np.corrcoef(expected, moved)[0, 1]) if defined else float("nan")
        right = int((np.sign(expected) == np.sign(moved)).sum())
        best[kind] = r
        texts.append(
            f"{kind}: correlation {r:.2f}, sign right in {right} of {len(arms)} arms, {resolved} of {len(PROPERTIES)} "
            "entries of its Nested row beyond three errors"
        )
    return Claim(
        "Which meaning of 'change the learning coefficient' predicts the outcome (mean share called FALSE, all arms)",
        "unknown", "; ".join(texts), "agrees" if len(arms) > 3 and best["log-odds"] > 0.5 else "open",
        null=f"correlation of {len(arms)} unrelated pairs: 0 ± {1 / np.sqrt(max(len(arms) - 1, 1)):.2f}",
    )  # fmt: skip


def clip_claim(results: Results) -> Claim:
    """How faithfully the planned mixtures were realised."""
    rows = [
        f"{name}: clipped {a.cost['clipped']:.0%}, lost {a.cost['lost']:.0%}, effective {a.cost['effective']:.0%}"
        for name, a in results.arms.items() if name != "base"
    ]  # fmt: skip
    most = max((a.cost["lost"] for a in results.arms.values()), default=0.0)
    return Claim(
        "Planned mixtures are realised by weights >= 0 on the training strings",
        "derived: exact while no weight is clipped", "; ".join(rows) or "every plan was refused",
        "agrees" if most < 0.1 else "partly",
    )  # fmt: skip
