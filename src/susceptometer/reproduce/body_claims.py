"""Claims about the shape of the cloud of token vectors over training: its axis, width and fin."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from susceptometer.errors import DataError
from susceptometer.estimate.estimate import format_pm
from susceptometer.reproduce.claims import Claim, Verdict
from susceptometer.reproduce.language_tokens import Roles, TokenFacts, short
from susceptometer.structure.body import Fin, Width, body_width, fold_of_rows, spacing_fin
from susceptometer.structure.circuit import auroc_with_error
from susceptometer.structure.controls import held_out_r2
from susceptometer.structure.pattern_table import pattern_table
from susceptometer.structure.patterns import PATTERNS
from susceptometer.structure.response import Form, Response
from susceptometer.structure.spectrum import Spectrum, spectrum
from susceptometer.view.embryo_figures import PatternMeans

Floats = NDArray[np.floating]

ONSET = 0.2
"""Prefix matching of the strongest head that marks the onset of induction (pico ends near 0.5)."""


@dataclass(frozen=True)
class Stage:
    """One checkpoint.

    Args:
        trained: Training seed.
        step: Training step.
        responses: Both forms, all tokens.
        roles: Scores of its heads on random tokens.
    """

    trained: int
    step: int
    responses: Mapping[Form, Response]
    roles: Roles

    @property
    def prefix_matching(self) -> float:
        """Of the strongest head behind layer 0."""
        return float(self.roles.prefix_matching[1:].max())


@dataclass(frozen=True)
class Shape:
    """What a checkpoint's cloud looks like in one form: pairs of its natural tokens, width, fin (None: too few)."""

    stage: Stage
    pairs: Spectrum
    width: Width
    fin: Fin | None
    fin_of_three: float


def shape(stage: Stage, facts: TokenFacts, form: Form, *, seed: int) -> Shape:
    """The shape of one checkpoint's cloud; pairs and width on natural tokens, the fin on all spacing tokens."""
    whole = stage.responses[form]
    natural = whole.of_tokens(facts.natural)
    pairs = spectrum(natural, "columns", seed=seed)
    fin, three = _fin(whole, pairs, facts, seed=seed)
    return Shape(stage, pairs, body_width(natural, seed=seed), fin, three)


def _fin(whole: Response, pairs: Spectrum, facts: TokenFacts, *, seed: int) -> tuple[Fin | None, float]:
    chosen = facts.flag("spacing")
    matrix = whole.matrix().mean(0)[chosen]
    vectors, scores = pairs.map(matrix), pairs.scores(matrix)
    kinds = (facts.ids[chosen][:, None] == np.unique(facts.ids[chosen])).astype(float)
    baseline = np.c_[kinds, np.log1p(facts.position[chosen])]
    try:
        fin = spacing_fin(vectors, facts.run[chosen], facts.row[chosen], seed=seed, pairs=scores, baseline=baseline)
    except DataError:
        return None, float("nan")
    folds = fold_of_rows(facts.row[chosen], np.random.default_rng(seed))
    return fin, held_out_r2(scores[:, :3], np.log1p(facts.run[chosen].astype(float)), folds)


def onset_step(stages: Sequence[Stage]) -> float:
    """Step at which the strongest prefix matching crosses `ONSET`, interpolated in log(1 + step); NaN if never."""
    steps = np.array([one.step for one in stages], dtype=float)
    return crossing(steps, np.array([one.prefix_matching for one in stages]), ONSET)


def crossing(steps: Floats, values: Floats, level: float) -> float:
    """First step at which ``values`` reach ``level``, interpolated in log(1 + step); NaN if they never do."""
    above = np.flatnonzero(values >= level)
    if not len(above):
        return float("nan")
    k = above[0]
    if k == 0:
        return float(steps[0])
    part = (level - values[k - 1]) / (values[k] - values[k - 1])
    low, high = np.log1p(steps[[k - 1, k]])
    return float(np.expm1(low + part * (high - low)))


def series(values: Sequence[float], stages: Sequence[Stage]) -> str:
    """``step value`` pairs in words."""
    return ", ".join(f"{one.step:,}: {value:.2f}" for one, value in zip(stages, values, strict=True))


def body_claims(shapes: Sequence[Shape], form: Form) -> list[Claim]:
    """Young cloud and mature body, its axis and sign."""
    young, old = shapes[0], shapes[-1]
    stages = [one.stage for one in shapes]
    share = [(float(s.pairs.data["share"][0]), float(s.pairs.data["share_error"][0])) for s in (young, old)]
    same = [
        int((s.pairs.data["loading"].values[0] > 2 * s.pairs.data["loading_error"].values[0]).sum()) for s in shapes
    ]
    heads = len(old.pairs.components)
    longer = share[1][0] - share[0][0]
    error = float(np.hypot(share[0][1], share[1][1]))
    thin = [float(s.width.relative) for s in shapes]
    return [
        Claim(
            f"{form}: a shapeless cloud when young, one long thin body when mature",
            "picture (wang2025)",
            f"share of the first pair {format_pm(*share[0])} at step {young.stage.step:,}, {format_pm(*share[1])} at "
            f"{old.stage.step:,}; width over length by step {series(thin, stages)}",
            _longer(longer, error, share[1][0]),
            null=f"independent columns: share {1 / heads:.2f}, width over length about 1",
        ),
        Claim(
            f"{form}: the long axis is the first pair, on which all heads express at one end and suppress at the other",
            "all heads one sign (wang2025)",
            f"heads with a positive loading beyond two errors, of {heads}, by step "
            + ", ".join(f"{one.step:,}: {n}" for one, n in zip(stages, same, strict=True)),
            "agrees" if same[-1] == heads else "partly" if same[-1] >= 0.8 * heads else "differs",
            null="half of the heads",
        ),
    ]


def _longer(gain: float, error: float, old: float) -> Verdict:
    if gain > 2 * error and old > 0.8:
        return "agrees"
    return "partly" if gain > 2 * error or old > 0.5 else "differs"


def width_claims(seeds: Mapping[int, Sequence[Shape]], form: Form) -> list[Claim]:
    """Growth of the width along the second pair at the onset of induction, by training seed."""
    texts, grown, shrunk = [], 0, 0
    for trained, shapes in seeds.items():
        before, after = around_onset(shapes)
        if before is None or after is None:
            texts.append(f"seed {trained}: no onset among its checkpoints")
            continue
        gain = after.width.relative - before.width.relative
        error = float(np.hypot(before.width.error[1], after.width.error[1]))
        grown, shrunk = grown + (gain > 2 * error), shrunk + (gain < -2 * error)
        first, second = (format_pm(s.width.relative, float(s.width.error[1])) for s in (before, after))
        texts.append(
            f"seed {trained}: {first} at step {before.stage.step:,} to {second} at {after.stage.step:,} "
            f"(change {gain / error:+.1f} standard errors)"
        )
    count = len(seeds)
    verdict: Verdict = "agrees" if grown == count else "partly" if grown else "differs" if shrunk else "open"
    return [
        Claim(
            f"{form}: the body thickens along the second pair while the induction circuit forms",
            "picture (wang2025)",
            f"width over length, chain noise removed: {'; '.join(texts)}; grown in {grown} of {count} seeds",
            verdict,
            null="no change; errors from the bootstrap over chain groups",
        )
    ]


def around_onset(shapes: Sequence[Shape]) -> tuple[Shape | None, Shape | None]:
    """Last checkpoint with prefix matching below a quarter of `ONSET`, first one with at least `ONSET`."""
    before = [s for s in shapes if s.stage.prefix_matching < ONSET / 4]
    after = [s for s in shapes if s.stage.prefix_matching >= ONSET]
    return (before[-1] if before else None), (after[0] if after else None)


def induction_claim(seeds: Mapping[int, Sequence[Shape]], facts: TokenFacts, form: Form) -> Claim:
    """Whether induction tokens move to one side of the second pair."""
    natural = facts.of(facts.natural)
    texts, good = [], 0
    for trained, shapes in seeds.items():
        before, after = around_onset(shapes)
        if before is None or after is None:
            continue
        values = []
        for one in (before, shapes[-1]):
            value, error = auroc_with_error(one.pairs.data["score"].values[1], natural.flag("induction"), natural.row)
            values.append((abs(value - 0.5), error))
        moved = values[1][0] - values[0][0]
        good += moved > 2 * np.hypot(values[0][1], values[1][1])
        texts.append(f"seed {trained}: {format_pm(*values[0])} before onset, {format_pm(*values[1])} at the end")
    return Claim(
        f"{form}: induction tokens move to one side of the second pair as the circuit forms",
        "picture (wang2025)",
        f"|AUROC - 0.5| on pair 2: {'; '.join(texts) or 'no onset among the checkpoints'}",
        "agrees" if texts and good == len(texts) else "partly" if good else "differs" if texts else "open",
        null="0; jackknife over blocks of rows",
    )


def fin_claims(shapes: Sequence[Shape], form: Form) -> list[Claim]:
    """The spacing fin: R^2 of the run length, when it appears, and which pairs carry it."""
    known = [s for s in shapes if s.fin is not None]
    if not known:
        return [
            Claim(
                f"{form}: spacing tokens are ordered by run length",
                "picture (wang2025)",
                "too few spacing tokens",
                "open",
            )
        ]
    last = known[-1].fin
    assert last is not None
    clear = [s for s in known if s.fin and s.fin.r2 > max(s.fin.null[1], 0) + 2 * s.fin.error]
    first = f"from step {clear[0].stage.step:,}" if clear else "at no checkpoint"
    values = [s.fin.r2 if s.fin else float("nan") for s in known]
    top = np.argsort(last.pairs)[::-1][:3]
    carried = ", ".join(f"pc {k + 1} {last.pairs[k]:.2f}" for k in top)
    stages = [s.stage for s in known]
    fin = Claim(
        f"{form}: spacing tokens are ordered by the length of the run before them (spacing fin)",
        "picture (wang2025)",
        f"held-out R² of log(1 + run) from {len(known[-1].pairs.components)} heads {format_pm(last.r2, last.error)} "
        f"at the end ({last.tokens} tokens), beyond null {first}; by step {series(values, stages)}; beyond token "
        "identity and position "
        f"(R² {last.baseline:.2f}) partial R² {last.partial:.2f}",
        "agrees" if last.r2 > 2 * last.error and last.partial > 0.1 else "partly" if clear else "differs",
        null=f"run lengths permuted: mean {last.null[0]:.2f}, 95 % {last.null[1]:.2f}",
    )
    three = known[-1].fin_of_three
    hidden = Claim(
        f"{form}: the fin is not visible in the first three pairs",
        "seen by UMAP only (wang2025)",
        f"R² from pairs 1-3 {three:.2f}, from all {last.r2:.2f}; alone: {carried}",
        "agrees" if three < 0.1 and last.r2 > 0.2 else "partly" if three < 0.5 * last.r2 else "differs",
        null=f"run lengths permuted: 95 % {last.null[1]:.2f}",
    )
    return [fin, hidden]


def universality_claim(seeds: Mapping[int, Sequence[Shape]], form: Form, *, pcs: int = 4) -> Claim:
    """Canonical correlations of the token scores of two training seeds at the last checkpoint."""
    last = {trained: shapes[-1].pairs.data["score"].values[:pcs].T for trained, shapes in seeds.items()}
    names = list(last)
    found = np.array([canonical(last[a], last[b]) for i, a in enumerate(names) for b in names[i + 1 :]])
    mixed = np.random.default_rng(0).permutation(len(last[names[0]]))
    null = canonical(last[names[0]][mixed], last[names[-1]])
    if len(names) < 2:
        return Claim(f"{form}: the same body in all seeds", "4 seeds (wang2025)", "one seed was read", "open")
    mean = found.mean(0)
    return Claim(
        f"{form}: the same body in all seeds",
        "4 seeds, picture (wang2025)",
        f"canonical correlations of the first {pcs} pairs between {len(names)} seeds: "
        + ", ".join(f"{m:.2f} (least {w:.2f})" for m, w in zip(mean, found.min(0), strict=True)),
        "agrees" if found[:, :2].min() > 0.8 else "partly" if mean[0] > 0.8 else "differs",
        null="tokens permuted: " + ", ".join(f"{value:.2f}" for value in null),
    )


def canonical(a: Floats, b: Floats) -> Floats:
    """Canonical correlations of two sets of scores ``[tokens, pcs]``, largest first."""
    left, right = (np.linalg.qr(x - x.mean(0))[0] for x in (a, b))
    return np.linalg.svd(left.T @ right, compute_uv=False).clip(0, 1)


def pattern_means(one: Shape, facts: TokenFacts, form: Form) -> PatternMeans:
    """Mean psi of every head over every pattern at one checkpoint, in units of the head's spread over tokens."""
    natural = one.stage.responses[form].of_tokens(facts.natural)
    table = pattern_table(natural, list(PATTERNS), facts.of(facts.natural).flags)
    scale = natural.matrix().mean(0).std(0)[:, None]
    names = [short(name) for name in natural.components]
    return PatternMeans(names, list(PATTERNS), table.value.values / scale, table.error.values / scale)
