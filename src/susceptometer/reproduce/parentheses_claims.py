"""Claims of the parentheses experiment: solutions, coefficients, steered arms against controls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from susceptometer.domains.basin import Basin
from susceptometer.domains.parentheses_probes import PROPERTIES
from susceptometer.domains.parentheses_training import NESTED_FROM
from susceptometer.estimate.estimate import format_pm
from susceptometer.patterning.response import Response
from susceptometer.reproduce.claims import Claim
from susceptometer.reproduce.parentheses_arms import Size
from susceptometer.reproduce.parentheses_runs import Arm
from susceptometer.reproduce.shares import Share, apart, fisher, share

Array = NDArray[np.float64]

SWING, RISE = 0.40, 0.20
"""Wanted differences of P(Nested): between the two planned arms, and between the one towards Nested and the base."""

AFTERWARDS = {"replanned": "; planned again from more solutions after the arms log-odds had been seen at seed 1"}
"""What must be said of an arm that was not fixed beforehand."""

LOST_ACCURACY = 0.001
"""Accuracy in distribution counts as unchanged down to the base arm's less this."""


@dataclass(frozen=True, eq=False)
class Results:
    """Everything that was measured."""

    size: Size
    basins: Mapping[str, Sequence[Basin]]
    response: Response
    arms: Mapping[str, Arm]
    again: Mapping[str, Arm] = field(default_factory=dict)

    def nested(self, name: str) -> Share:
        """P(Nested) of an arm."""
        return share(self.arms[name].found.is_nested)

    def equal(self, name: str) -> Share:
        """P(Equal-Count) of an arm."""
        return share(self.arms[name].found.is_equal_count)

    def accuracy(self, name: str) -> float:
        """Mean accuracy in distribution of an arm."""
        return float(self.arms[name].found.accuracy.mean())

    def starting(self, *kinds: str) -> list[str]:
        """Names of the arms that begin with one of these words."""
        return [name for name in self.arms if name.startswith(kinds)]

    @property
    def pairs(self) -> list[str]:
        """Meanings whose plan was resolved and trained both ways."""
        return [name for name in ("log-odds", "replanned", "fixed", "total") if f"{name}+" in self.arms]


def all_claims(results: Results) -> list[Claim]:
    """All rows but those that compare predictions with outcomes."""
    found = [protocol_claim(results), baseline_claim(results), llc_claim(results), response_claim(results)]
    found += [refused_claim(results), *(steer_claim(results, name) for name in results.pairs)]
    found += [repeat_claim(results)] if results.again else []
    return [*found, release_claim(results), dose_claim(results), accuracy_claim(results), clip_claim(results)]


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


def steer_claim(results: Results, name: str) -> Claim:
    """Both planned arms of one meaning against base, random and neutral arms."""
    plus, minus = f"{name}+", f"{name}-"
    arm = results.arms[plus]
    up, down, start = (results.nested(one) for one in (plus, minus, "base"))
    others = results.starting("random", "neutral")
    beside = [one for one in others if not apart(up, results.nested(one))]
    swing, rise = up.value - down.value, up.value - start.value
    moved = swing >= SWING and rise >= RISE and apart(up, down) and apart(up, start)
    level = results.accuracy("base") - LOST_ACCURACY
    fair = min(map(results.accuracy, (plus, minus))) >= level
    h = ", ".join(f"{p} {v:+.2f}" for p, v in zip(PROPERTIES, arm.mix.h, strict=True))
    return Claim(
        f"Planned arms move P(Nested); '{name}', sum |h| {np.abs(arm.mix.h).sum():.2f}, weights on for the first "
        f"{arm.mix.dosing.full:.0%} of training, then the unchanged training set{AFTERWARDS.get(name, '')}",
        "wang2026: patterning selects the algorithm; shares unknown",
        f"towards Nested {up}, base {start}, towards Equal-Count {down}; difference {100 * swing:+.0f} points "
        f"(Fisher p {fisher(up, down):.1g}), against base {100 * rise:+.0f} (p {fisher(up, start):.1g}; towards "
        f"Equal-Count against base p {fisher(down, start):.1g}); Equal-Count "
        f"{results.equal(plus)} against {results.equal('base')} and {results.equal(minus)}; accuracy "
        f"{results.accuracy(plus):.4f} and {results.accuracy(minus):.4f}. h: {h}",
        "agrees" if moved and fair and not beside else "partly" if moved or (swing > 0 and fisher(up, down) < 0.05)
        else "differs" if swing < 0 else "open",
        null=(", ".join(f"{one} {results.nested(one)}" for one in others) or "none at this scale")
        + f"; intervals that touch the arm towards Nested: {beside or 'none'}",
    )  # fmt: skip


def repeat_claim(results: Results) -> Claim:
    """The replanned pair on fresh seeds, fixed before any of them was trained."""
    shares = {name: share(arm.found.is_nested) for name, arm in results.again.items()}
    accuracy = {name: float(arm.found.accuracy.mean()) for name, arm in results.again.items()}
    up, down, start = (shares[f"repeat{one}"] for one in ("+", "-", "-base"))
    touching = [n for n in results.starting("random", "neutral") if not apart(up, results.nested(n))]
    moved = up.value - down.value >= SWING and up.value - start.value >= RISE and apart(up, down) and apart(up, start)
    fair = min(accuracy.values()) >= accuracy["repeat-base"] - LOST_ACCURACY
    first = next(iter(results.again.values())).mix.first
    return Claim(
        f"'replanned' repeated on seeds from place {first} on, everything fixed before they were trained",
        "wang2026: patterning selects the algorithm; shares unknown",
        f"towards Nested {up}, base {start}, towards Equal-Count {down}; Fisher p {fisher(up, down):.1g} "
        f"between the two, {fisher(up, start):.1g} against base; accuracy "
        + ", ".join(f"{name} {value:.4f}" for name, value in accuracy.items()),
        "agrees" if moved and fair and not touching else "partly" if fisher(up, down) < 0.05 and up.value > down.value
        else "open",
        null=f"random directions above; intervals that touch the arm towards Nested: {touching or 'none'}",
    )  # fmt: skip


def release_claim(results: Results) -> Claim:
    """Whether the selected algorithm outlives its data: shares at the release and at the end, by time of release."""
    texts = [_course(results, name) for name in ("base", *results.starting("log-odds", "replanned"))]
    name = next((n for n in ("replanned+", "log-odds+") if n in results.arms), "base")
    held, left = _survivors(results.arms[name])
    return Claim(
        "The selected algorithm outlives the planned data", "unknown",
        "P(Nested) by share of training done (accuracy in distribution): " + "; ".join(texts)
        + f". Of {held} models of {name} that were Nested at the release {left} are Nested at the end",
        "open" if name == "base" or held < 5 else "agrees" if left >= 0.8 * held else "partly" if left else "differs",
        null="the base arm never changes its data and moves too",
    )  # fmt: skip


def _course(results: Results, name: str) -> str:
    course = results.arms[name].course
    done = course.steps / course.steps[-1]
    full = results.arms[name].mix.dosing.full
    rows = sorted({int(np.argmin(np.abs(done - at))) for at in (0.3, 0.5, 0.75, min(full, 0.75), 0.85, 1.0)})
    nested = (course.nested_share >= NESTED_FROM).mean(1)
    parts = [f"{done[i]:.0%} {nested[i]:.0%} ({course.accuracy[i].mean():.3f})" for i in rows]
    when = "" if name == "base" else " (never released)" if full == 1 else f" (released at {full:.0%})"
    return f"{name}{when}: " + ", ".join(parts)


def _survivors(arm: Arm) -> tuple[int, int]:
    """Models that were Nested at the release, and how many of them are at the end."""
    course = arm.course
    at = int(np.argmin(np.abs(course.steps / course.steps[-1] - arm.mix.dosing.full)))
    held = course.nested_share[at] >= NESTED_FROM
    return int(held.sum()), int((held & arm.found.is_nested).sum())


def dose_claim(results: Results) -> Claim:
    """Half the size, and weights that are never released or released early, beside the planned arm."""
    names = [n for n in results.starting("replanned") if n[-1] not in "+-"]
    ours = "; ".join(
        f"{n}: Nested {results.nested(n)}, Equal-Count {results.equal(n)}, accuracy {results.accuracy(n):.4f}"
        for n in names
    )
    return Claim(
        "Half the size, no release, and an early release", "unknown", ours or "none at this scale", "open",
        null=f"base {results.nested('base')}",
    )  # fmt: skip


def accuracy_claim(results: Results) -> Claim:
    """Accuracy on the unchanged training distribution in every arm that was released."""
    each = {n: a.found.accuracy for n, a in results.arms.items() if not n.endswith("kept")}
    worst = min(each, key=lambda name: each[name].mean())
    text = ", ".join(f"{name} {value.mean():.4f}" for name, value in each.items())
    return Claim(
        "Accuracy in distribution is unchanged (all arms but those never released)", "about 100 % in every arm",
        f"mean over models: {text}; least single model {min(v.min() for v in each.values()):.3f}",
        "agrees" if each[worst].mean() >= each["base"].mean() - LOST_ACCURACY else "partly",
        null=f"base {each['base'].mean():.4f}",
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
