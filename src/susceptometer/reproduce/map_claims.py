"""Claims about maps of token vectors: their faithfulness, what shows at every setting, and patterns without a map."""

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from susceptometer.reproduce.body_claims import Shape
from susceptometer.reproduce.claims import Claim
from susceptometer.reproduce.language_tokens import TokenFacts
from susceptometer.reproduce.setting import Arrays, Setting
from susceptometer.structure.body import fold_of_rows
from susceptometer.structure.embed import (
    GRID,
    MapSetting,
    embed,
    embed_over_time,
    map_quality,
    purity,
)
from susceptometer.structure.response import Form

Floats = NDArray[np.floating]

MOST_TOKENS = 1500
STATES = 3


def token_sample(facts: TokenFacts, seed: int) -> NDArray[np.intp]:
    """Tokens that are mapped, in order: all up to `MOST_TOKENS`, else a random choice; ``[tokens]``."""
    count = len(facts.ids)
    rng = np.random.default_rng(seed)
    return np.sort(rng.choice(count, min(count, MOST_TOKENS), replace=False))


def maps_over_time(setting: Setting, shapes: Sequence[Shape], facts: TokenFacts, form: Form) -> Arrays:
    """Maps of the same tokens at every checkpoint ``[checkpoints, tokens, 2]``, ``chosen`` tokens and ``steps``."""
    chosen = token_sample(facts, setting.seed)

    def make() -> Arrays:
        clouds = [standardised(one, form)[chosen] for one in shapes]
        setting.say(f"maps of {len(clouds)} checkpoints, {form}")
        return {"maps": np.array(embed_over_time(clouds, seed=setting.seed)), "chosen": chosen}

    return setting.kept(f"maps-{form}-{len(shapes)}", make)


def grid_quality(setting: Setting, last: Shape, facts: TokenFacts, form: Form) -> Arrays:
    """Quality of the last checkpoint's map at all settings and random states: one row per map.

    Columns: trustworthiness, continuity, purity of vectors and of the map, |rank correlation| of the map's long axis
    with the first pair, share of the run length's rank that the map's two coordinates tell for spacing tokens.
    """
    chosen = token_sample(facts, setting.seed)

    def make() -> Arrays:
        cloud, score = (
            standardised(last, form)[chosen],
            last.pairs.scores(last.stage.responses[form].matrix().mean(0))[chosen, 0],
        )
        rows = []
        cases = [
            *product(GRID, (setting.seed,)),
            *product((MapSetting(),), range(setting.seed + 1, setting.seed + STATES)),
        ]
        for case, state in cases:
            points = embed(cloud, case, seed=state)
            quality = map_quality(cloud, points, facts.classes[chosen], metric=case.metric)
            rows.append([quality.trustworthiness, quality.continuity, *quality.purity, axis_correlation(points, score)])
        setting.say(f"{len(cases)} maps, {form}")
        return {"rows": np.array(rows)}

    return setting.kept(f"map-grid-{form}", make)


def standardised(one: Shape, form: Form) -> Floats:
    """Token vectors of a checkpoint, column z-scores, ``[tokens, heads]``."""
    return one.pairs.map(one.stage.responses[form].matrix().mean(0))


def axis_correlation(points: Floats, score: Floats) -> float:
    """|Spearman correlation| between the map's principal axis and a score of its tokens."""
    centred = points - points.mean(0)
    axis = np.linalg.svd(centred, full_matrices=False)[2][0]
    return float(abs(spearmanr(centred @ axis, score).statistic))


def map_claims(setting: Setting, last: Shape, facts: TokenFacts, form: Form) -> list[Claim]:
    """Faithfulness of the maps and whether their long axis is the first pair at all settings."""
    rows = grid_quality(setting, last, facts, form)["rows"]
    chosen = token_sample(facts, setting.seed)
    mixed = np.random.default_rng(setting.seed).permutation(facts.classes[chosen])
    low, middle, high = np.quantile(rows, [0, 0.5, 1], axis=0)
    span = [f"{m:.3f} [{a:.3f}, {b:.3f}]" for a, m, b in zip(low, middle, high, strict=True)]
    cloud = standardised(last, form)[chosen]
    return [
        Claim(
            f"{form}: the long axis of the map is the first pair",
            "all heads express at one end (wang2025)",
            f"|rank correlation| over {len(rows)} maps (settings and random states): median [range] {span[4]}",
            "agrees" if low[4] > 0.8 else "partly" if middle[4] > 0.6 else "differs",
            null="0",
        ),
        Claim(
            f"{form}: patterns lie in layers of the body",
            "picture (wang2025)",
            f"share of 15 neighbours of the same pattern: vectors {span[2]}, map {span[3]}; trustworthiness {span[0]}, "
            f"continuity {span[1]}",
            "agrees" if low[3] > 1.5 * purity(cloud, mixed) else "differs",
            null=f"classes permuted: {purity(cloud, mixed):.3f}",
        ),
    ]


def recovery_claim(last: Shape, facts: TokenFacts, form: Form, *, seed: int) -> Claim:
    """Pattern classes from token vectors by multinomial regression, rows held out, beside token identity."""
    common = [k for k in np.unique(facts.classes) if (facts.classes == k).sum() >= 20]
    used = np.isin(facts.classes, common) & facts.natural
    classes, rows = facts.classes[used], facts.row[used]
    folds = fold_of_rows(rows, np.random.default_rng(seed))
    cloud = standardised(last, form)[used]
    identity = majority_of_token(facts.ids[used], classes, folds)
    mixed = np.random.default_rng(seed).permutation(classes)
    alone = balanced(identity, classes)
    ours, null = (balanced(held_out_classes(cloud, y, folds), y) for y in (classes, mixed))
    return Claim(
        f"{form}: a token's pattern can be read off its vector",
        "picture (wang2025)",
        f"balanced accuracy {ours:.3f} over {len(common)} patterns, rows held out; from the token's identity alone "
        f"{alone:.3f}",
        "agrees" if ours > max(alone, 2 * null) else "partly" if ours > 2 * null else "differs",
        null=f"classes permuted: {null:.3f}",
    )


def held_out_classes(features: Floats, classes: NDArray[np.integer], folds: NDArray[np.integer]) -> NDArray[np.integer]:
    """Classes predicted for every fold from the others by multinomial logistic regression, balanced weights."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    guess = np.empty_like(classes)
    for fold in np.unique(folds):
        out = folds == fold
        model = make_pipeline(
            StandardScaler(), LogisticRegression(C=1.0, class_weight="balanced", max_iter=200, tol=1e-2)
        )
        guess[out] = model.fit(features[~out], classes[~out]).predict(features[out])
    return guess


def majority_of_token(
    ids: NDArray[np.integer], classes: NDArray[np.integer], folds: NDArray[np.integer]
) -> NDArray[np.integer]:
    """Each token's most frequent class in the other folds; the overall one where the token is new."""
    guess = np.empty_like(classes)
    for fold in np.unique(folds):
        out = folds == fold
        table = np.zeros((int(ids.max()) + 1, int(classes.max()) + 1), dtype=np.int64)
        np.add.at(table, (ids[~out], classes[~out]), 1)
        best = np.where(table.any(1), table.argmax(1), table.sum(0).argmax())
        guess[out] = best[ids[out]]
    return guess


def balanced(guess: NDArray[np.integer], classes: NDArray[np.integer]) -> float:
    """Mean over classes of the share guessed right."""
    return float(np.mean([(guess[classes == k] == k).mean() for k in np.unique(classes)]))
