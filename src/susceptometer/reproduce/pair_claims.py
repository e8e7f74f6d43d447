"""Claims about principal pairs: their shares, the common sign of the first, the circuit and patterns on the others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from susceptometer.estimate.estimate import format_pm
from susceptometer.reproduce.claims import Claim, Verdict
from susceptometer.reproduce.language_tokens import Roles, TokenFacts, short
from susceptometer.structure.circuit import Separation, auroc_with_error, separation
from susceptometer.structure.response import Form, Response
from susceptometer.structure.spectrum import Spectrum, spectrum
from susceptometer.structure.standardise import Kind

UP, DOWN = ("word end", "induction", "right delimiter"), ("word start", "spacing")
"""Patterns at the two ends of the published first pair."""


@dataclass(frozen=True)
class SeedReading:
    """One training seed at the last checkpoint: responses on natural tokens in both forms, their facts, the roles."""

    trained: int
    responses: Mapping[Form, Response]
    facts: TokenFacts
    roles: Roles
    made: dict[tuple, Spectrum] = field(default_factory=dict, repr=False, compare=False)

    def spectrum(self, form: Form, kind: Kind, *, seed: int, layer: int | None = None) -> Spectrum:
        """Principal pairs of all heads or of one layer."""
        key = form, kind, seed, layer
        if key not in self.made:
            whole = self.responses[form]
            names = [n for n in whole.components if layer is None or n.startswith(f"blocks.{layer}.")]
            self.made[key] = spectrum(whole.of_components(names), kind, seed=seed)
        return self.made[key]


def share_claims(reading: SeedReading, form: Form, *, seed: int) -> list[Claim]:
    """Explained variance of the leading pairs, per layer and joint."""
    published: dict[int | None, tuple[float, ...]] = {0: (95.34, 1.83, 0.73), 1: (99.14, 0.39, 0.11)}
    return [_share_claim(reading, form, layer, published.get(layer, ()), seed=seed) for layer in (0, 1, None)]


def _share_claim(
    reading: SeedReading, form: Form, layer: int | None, published: Sequence[float], *, seed: int
) -> Claim:
    found = reading.spectrum(form, "columns", seed=seed, layer=layer).data
    share, error = 100 * found["share"].values, 100 * found["share_error"].values
    ours = " / ".join(format_pm(v, e) for v, e in zip(share[:3], error[:3], strict=True))
    where = "both layers" if layer is None else f"layer {layer}"
    count = int(found["significant"].sum())
    verdict: Verdict = "open"
    if published:
        near = abs(share[0] - published[0]) <= max(5.0, 2 * error[0])
        verdict = "agrees" if near else "partly" if share[0] > 80 else "differs"
    return Claim(
        f"{form}: explained variance of the first three pairs, {where}",
        " / ".join(f"{p:.2f}" for p in published) + " % (baker2025)" if published else "not given",
        f"{ours} %; significant pairs: {count} of {len(share)}",
        verdict,
        null=f"first pair of independent columns: {100 * _independent_share(reading, form, layer, seed):.1f} %",
    )


def _independent_share(reading: SeedReading, form: Form, layer: int | None, seed: int) -> float:
    """Share of the first pair when every column's tokens are permuted on their own."""
    whole = reading.responses[form]
    names = [n for n in whole.components if layer is None or n.startswith(f"blocks.{layer}.")]
    matrix = whole.of_components(names).matrix().mean(0)
    mixed = np.random.default_rng(seed).permuted(matrix, axis=0)
    values = np.linalg.eigvalsh(np.corrcoef(mixed, rowvar=False))
    return float(values[-1] / values.sum())


def first_pair_claims(reading: SeedReading, form: Form, *, seed: int) -> list[Claim]:
    """Whether all heads have one sign on the first pair, and which tokens lie at its ends."""
    found = reading.spectrum(form, "columns", seed=seed)
    loading, error = found.data["loading"].values[0], found.data["loading_error"].values[0]
    sure = (loading > 2 * error).sum()
    heads = len(loading)
    one_sign = Claim(
        f"{form}: all heads have one sign on the first pair",
        f"{16} of 16 heads (baker2025)",
        f"{int((loading > 0).sum())} of {heads} positive, {sure} beyond two errors; smallest "
        f"{format_pm(float(loading.min()), float(error[loading.argmin()]))}, even share {1 / np.sqrt(heads):.2f}",
        "agrees" if sure == heads else "partly" if (loading > 0).mean() > 0.9 else "differs",
        null="half of the heads by chance",
    )
    return [one_sign, _ends_claim(reading, found, form)]


def _ends_claim(reading: SeedReading, found: Spectrum, form: Form) -> Claim:
    """Whether the two published groups of patterns lie at opposite ends of the first pair, and which is expressed."""
    score = found.data["score"].values[0]
    parts = {name: auroc_with_error(-score, reading.facts.flag(name), reading.facts.row) for name in (*UP, *DOWN)}
    sides = {name: np.sign(value - 0.5) * (abs(value - 0.5) > 2 * error) for name, (value, error) in parts.items()}
    right = sum(sides[name] for name in UP) - sum(sides[name] for name in DOWN)
    text = ", ".join(f"{name} {format_pm(*parts[name])}" for name in parts)
    end = "expressed" if right > 0 else "suppressed"
    return Claim(
        f"{form}: word ends, induction and right delimiters lie at one end of the first pair, word starts and spaces "
        "at the other",
        "so in all seeds (baker2025, no number)",
        f"AUROC towards the expressed end: {text}; the first group lies at the {end} end",
        "agrees" if abs(right) == 5 else "partly" if abs(right) >= 3 else "differs",
        null="0.5",
    )


def circuit_claims(
    readings: Sequence[SeedReading], form: Form, kind: Kind, *, seed: int, alone: bool = False
) -> list[Claim]:
    """Which pair separates the induction circuit (``alone``: its induction heads) from the multigram heads, by seed."""
    found = [separated(one, form, kind, seed=seed, alone=alone) for one in readings]
    clear = [s for s, _ in found if s.p <= 0.05 and s.best[0] > 2 * s.best[1]]
    second = [s for s, _ in found if s.p_each[1] <= 0.05 and abs(s.contrast[1]) > 2 * s.error[1]]
    need = max(1, (3 * len(found) + 3) // 4)
    text = "; ".join(
        f"seed {one.trained}: pc {s.pc}, {format_pm(*s.best)} (p {s.p:.3f}, {s.right_side:.0%} of heads on their side; "
        f"pc 2 alone {format_pm(abs(s.contrast[1]), s.error[1])}, p {s.p_each[1]:.3f})"
        for one, (s, _) in zip(readings, found, strict=True)
    )
    worst: Verdict = "differs" if len(found) > 1 else "open"
    who = "the induction heads" if alone else "induction and previous-token heads"
    heads = Claim(
        f"{form}, standardised by {kind}: the second pair separates {who} from the other layer-1 heads",
        "PC2 in 4 of 4 seeds (baker2025)",
        f"|correlation of loading with membership| {text}; some pair in {len(clear)} of {len(found)} seeds, pc 2 in "
        f"{len(second)}",
        "agrees" if len(second) >= need else "partly" if len(clear) >= need else worst,
        null="best pair over all choices of as many heads of the same layers (p)",
    )
    return [heads, _token_claim(readings, found, form, (kind, who))]


def _token_claim(
    readings: Sequence[SeedReading], found: Sequence[tuple[Separation, Spectrum]], form: Form, of: tuple[Kind, str]
) -> Claim:
    """Whether induction tokens lie to one side on that pair; expressed by the circuit is above 0.5."""
    parts, far = [], 0
    for one, (s, pairs) in zip(readings, found, strict=True):
        side, score = np.sign(s.contrast[s.pc - 1]), pairs.data["score"].values[s.pc - 1]
        value, error = auroc_with_error(-side * score, one.facts.flag("induction"), one.facts.row)
        far += abs(value - 0.5) > max(0.1, 2 * error)
        parts.append(f"seed {one.trained}: {format_pm(value, error)}")
    return Claim(
        f"{form}, standardised by {of[0]}: induction tokens lie to one side on the pair of {of[1]}",
        "induction tokens load on PC2 (baker2025)",
        f"AUROC towards what the circuit expresses: {'; '.join(parts)}",
        "agrees" if far == len(parts) else "partly" if far else "differs",
        null="0.5; at least 0.1 away counts",
    )


def separated(
    reading: SeedReading, form: Form, kind: Kind, *, seed: int, alone: bool = False
) -> tuple[Separation, Spectrum]:
    """The separating pair of one seed and the spectrum it belongs to; the common mode counts as a pair too."""
    pairs = reading.spectrum(form, kind, seed=seed)
    circuit = [*([] if alone else reading.roles.previous), *reading.roles.induction]
    return separation(pairs, circuit, reading.roles.others), pairs


def third_pair_claim(reading: SeedReading, form: Form, *, seed: int) -> Claim:
    """Whether the third pair is about right delimiters."""
    pairs = reading.spectrum(form, "columns", seed=seed).data
    value = {
        int(pc): auroc_with_error(pairs["score"].values[k], reading.facts.flag("right delimiter"), reading.facts.row)
        for k, pc in enumerate(pairs["pc"].values)
    }
    far = max(value, key=lambda pc: abs(value[pc][0] - 0.5))
    loading = pairs["loading"].values[2]
    heads = [short(pairs["component"].values[i]) for i in np.abs(loading).argsort()[::-1][:3]]
    return Claim(
        f"{form}: the third pair is about right delimiters",
        "PC3, heads 0:7, 1:3, 1:5 (baker2025)",
        f"AUROC of right delimiters on pc 3 {format_pm(*value[3])} (heads {', '.join(heads)}); farthest from 0.5 on "
        f"pc {far}: "
        f"{format_pm(*value[far])}",
        "agrees" if far == 3 else "partly" if abs(value[3][0] - 0.5) > 0.2 else "differs",
        null="0.5",
    )
