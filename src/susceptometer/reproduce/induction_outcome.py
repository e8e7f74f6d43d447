"""What the arms of the induction experiment say: onsets, dose and response, controls, costs."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from susceptometer.estimate.estimate import format_pm
from susceptometer.patterning.steer import onset
from susceptometer.reproduce.claims import Claim, Verdict
from susceptometer.reproduce.induction_arms import SCORES, ArmName, Size

Array = NDArray[np.float64]

STRONG = 2.0
BASELINE = ArmName("baseline", 0.0)
DOSES = tuple(ArmName("plan", a) for a in (STRONG, -STRONG, STRONG / 2, -STRONG / 2))
CONTROLS = tuple(ArmName(kind, a) for a in (STRONG, -STRONG) for kind in ("permuted", "flag", "loss"))
SCRATCH = (ArmName("plan", STRONG, scratch=True), ArmName("plan", -STRONG, scratch=True))
LEVELS = (0.25, 0.5)


class Outcome:
    """Scores of all arms and what they say.

    Args:
        size: The scale.
        scores: Arm -> ``[T, seeds, SCORES]``.
        steps: ``[T]``.
    """

    def __init__(self, size: Size, scores: Mapping[ArmName, Array], steps: NDArray[np.int64]) -> None:
        self.size, self.scores, self.steps = size, scores, steps

    def curve(self, arm: ArmName, score: str) -> Array:
        """One score of an arm ``[T, seeds]``."""
        return self.scores[arm][:, :, SCORES.index(score)]

    @property
    def reference(self) -> float:
        """Final prefix-matching score of the baseline, median over seeds."""
        return float(np.median(self.curve(BASELINE, "prefix_matching")[-1]))

    def onsets(self, arm: ArmName, level: float) -> Array:
        """First step at a share of the reference, per seed; the last step where it never comes (a lower bound)."""
        found = [onset(self.steps, one, level * self.reference) for one in self.curve(arm, "prefix_matching").T]
        return np.minimum(np.array(found), self.steps[-1])

    def late(self, arm: ArmName, level: float) -> int:
        """Seeds whose onset did not come."""
        return int((self.curve(arm, "prefix_matching").max(0) < level * self.reference).sum())

    def delays(self, arm: ArmName, level: float) -> Array:
        """Onset minus the baseline's of the same seed, steps ``[seeds]``."""
        return self.onsets(arm, level) - self.onsets(BASELINE, level)

    def shown(self, arm: ArmName, level: float) -> str:
        """Delay in steps and per cent, and how many seeds never got there."""
        delay = self.delays(arm, level)
        percent = 100 * delay / np.maximum(self.onsets(BASELINE, level), 1)
        never = self.late(arm, level)
        text = f"{arm.kind} {arm.strength:+g}: {pm(delay)} steps ({pm(percent)} %)"
        return text + (f", {never} of {len(delay)} seeds not by step {self.steps[-1]:,}" if never else "")

    def present(self, arms: Sequence[ArmName]) -> list[ArmName]:
        """Those that this scale runs, weakest to strongest."""
        return sorted((arm for arm in arms if arm in self.scores), key=lambda arm: arm.strength)

    def shift(self, level: float) -> Claim:
        """Delay and acceleration of all doses."""
        arms = self.present(DOSES)
        up, down = [a for a in arms if a.strength > 0], [a for a in arms if a.strength < 0]
        sooner = all(self.delays(a, level).mean() < 0 for a in up)
        later = all(self.delays(a, level).mean() > 0 for a in down)
        base = f"baseline onset at {', '.join(f'{v:,.0f}' for v in self.onsets(BASELINE, level))}"
        return Claim(
            f"Weights along the induction pair move the onset (prefix matching at {level:.0%} of the baseline's final)",
            "down: the circuit does not form; up: earlier and stronger (second-hand on wang2026; sizes unknown)",
            f"{base}; " + "; ".join(self.shown(a, level) for a in arms),
            verdict(bool(up) and sooner and bool(down) and later, sooner or later, self.size),
            "; ".join(self.shown(a, level) for a in self.present(CONTROLS)),
        )

    def formed(self, arm: ArmName) -> Array:
        """Mean prefix-matching score from the fork to the end, per seed: an onset time that is never censored."""
        return self.curve(arm, "prefix_matching")[self.steps >= self.size.fork].mean(0)

    def dose(self) -> Claim:
        """Slope of the mean score on strength, and whether the curve is monotone."""
        arms = self.present((*DOSES, BASELINE))
        means = np.stack([self.formed(arm) for arm in arms])
        doses = np.array([arm.strength for arm in arms])
        slopes = np.array([np.polyfit(doses, one, 1)[0] for one in means.T]) if len(arms) > 1 else np.zeros(2)
        steps_up = int((np.diff(means.mean(1)) > 0).sum())
        order = "; ".join(f"{a:+g}: {pm(row)}" for a, row in zip(doses, means, strict=True))
        null = "; ".join(f"{arm.kind} {arm.strength:+g}: {pm(self.formed(arm))}" for arm in self.present(CONTROLS))
        monotone = steps_up == len(arms) - 1
        return Claim(
            "Dose and response: mean prefix-matching score after the fork rises with the strength",
            "monotone in both directions (wang2026 shows two directions; dose list is ours)",
            f"slope {pm(slopes)} per unit, {steps_up} of {len(arms) - 1} steps up; {order}",
            verdict(monotone and len(arms) > 2, slopes.mean() > 0, self.size),
            null,
        )

    def versus(self, kind: str) -> Claim:
        """Effect of the strongest weights, beside that of a control at the same strengths (those that were run)."""
        signs = [a for a in (STRONG, -STRONG) if ArmName(kind, a) in self.scores]

        def moved(of: str) -> Array:
            return np.mean([np.sign(a) * (self.formed(ArmName(of, a)) - self.formed(BASELINE)) for a in signs], axis=0)

        ours, theirs = moved("plan"), moved(kind)
        text = {
            "permuted": "any re-weighting with this histogram",
            "loss": "weights by the finished model's loss alone",
            "flag": "the surface rule `induction` alone, same deviation",
        }[kind]
        gap = ours - theirs
        clear = gap.mean() > 2 * standard_error(gap)
        return Claim(
            f"The plan moves the circuit more than {text}",
            "controls of our protocol; none published",
            f"mean score in the asked direction, minus the baseline's, at {', '.join(f'{a:+g}' for a in signs)}: "
            f"plan {pm(ours)}, {kind} {pm(theirs)}, gap {pm(gap)}",
            verdict(bool(clear), gap.mean() > 0, self.size),
        )

    def final(self) -> Claim:
        """Score at the end."""
        arms = self.present((*DOSES, BASELINE, *CONTROLS))
        last = {arm: self.curve(arm, "prefix_matching")[-1] for arm in arms}
        strongest, weakest = ArmName("plan", STRONG), ArmName("plan", -STRONG)
        gain = last[strongest] - last[BASELINE]
        up = bool(gain.mean() > 2 * standard_error(gain) + 0.01)
        down = weakest in last and bool(last[weakest].mean() < last[BASELINE].mean() / 2)
        return Claim(
            f"At step {self.steps[-1]:,} the circuit is stronger, or absent",
            "up: stronger; down: does not form (second-hand)",
            "; ".join(f"{a.key}: {pm(v)}" for a, v in last.items() if a.kind in {"plan", "baseline"}),
            verdict(up and down, up or down, self.size),
            "; ".join(f"{a.key}: {pm(v)}" for a, v in last.items() if a.kind not in {"plan", "baseline"}),
        )

    def side_effect(self) -> Claim:
        """What it costs on unweighted text, and learning in context."""
        parts = []
        for arm in self.present((*DOSES, *CONTROLS)):
            loss, context = (self.curve(arm, s)[-1] - self.curve(BASELINE, s)[-1] for s in ("loss", "in_context"))
            parts.append(f"{arm.key}: loss {pm(loss)}, in-context {pm(context)}")
        return Claim(
            "Cost: loss on unweighted validation text and in-context score at the end, minus the baseline's, nats",
            "not published",
            "; ".join(parts),
            "open",
        )

    def earlier(self) -> Claim:
        """The previous-token head, which the induction head builds on."""
        base = self.curve(BASELINE, "previous_token")
        window = self.steps >= self.size.fork
        parts = [
            f"{arm.key}: {pm((self.curve(arm, 'previous_token') - base)[window].mean(0))}"
            for arm in self.present((*DOSES, *CONTROLS))
        ]
        arms = self.present(DOSES)
        ends = [(self.curve(arm, "previous_token") - base)[window].mean() * np.sign(arm.strength) for arm in arms]
        return Claim(
            "The previous-token head moves with it: mean score after the fork minus the baseline's",
            "not published",
            "; ".join(parts),
            verdict(min(ends) > 0, max(ends) > 0, self.size),
        )

    def scratch(self) -> Claim:
        """Weights from step 0."""
        ours = [self.shown(arm, 0.5) for arm in SCRATCH]
        signs = [np.sign(arm.strength) * self.delays(arm, 0.5).mean() for arm in SCRATCH]
        return Claim(
            "The same from scratch: weights on from step 0",
            "earlier and stronger, or never (second-hand)",
            "; ".join(ours),
            verdict(max(signs) < 0, min(signs) < 0, self.size),
        )


def standard_error(values: Array) -> float:
    """Of the mean over seeds."""
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def pm(values: Array) -> str:
    """Mean and standard error over seeds."""
    values = np.asarray(values, dtype=float)
    return format_pm(float(values.mean()), standard_error(values))


def verdict(full: bool, part: bool, size: Size) -> Verdict:
    """Smoke decides nothing: its arms are a few steps long."""
    if size.steps < 1000:
        return "open"
    return "agrees" if full else "partly" if part else "differs"
