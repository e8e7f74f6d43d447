"""Measurements beside chi: how much of each principal pair the bigram and trigram modes of the text explain."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from susceptometer.domains.attribution import head_activity
from susceptometer.domains.checkpoints import at_checkpoint, text_tokens
from susceptometer.domains.language import LanguageSource
from susceptometer.domains.pico import making_of
from susceptometer.domains.token_text import TextPlan
from susceptometer.reproduce import structural_inference as inference
from susceptometer.reproduce.language_reading import text_subject
from susceptometer.reproduce.language_tokens import TokenFacts, token_facts
from susceptometer.reproduce.pair_claims import SeedReading, separated
from susceptometer.reproduce.setting import Arrays, Scale, Setting
from susceptometer.rng import stream_seed
from susceptometer.structure.counts import CountTable, count_table, mode_values, modes_of_counts
from susceptometer.structure.mode_regression import (
    canonical_correlations,
    explained,
    held_out_fit,
    within_rows,
)
from susceptometer.structure.recurrence import context_keys, recurrence, recurs
from susceptometer.structure.response import FORMS
from susceptometer.testbed.form import Array

PAIRS = 8
"""Principal pairs that are explained, of both forms and every training seed."""

FREQUENT = 20
"""A trigram context seen less often backs off to its last token."""


@dataclass(frozen=True)
class PairAmount:
    """How much a scale counts and fits."""

    rows: int
    counts: tuple[int, ...]


PAIR_AMOUNTS: dict[Scale, PairAmount] = {
    "smoke": PairAmount(512, (1, 4, 16, 64)),
    "cpu": PairAmount(16_384, (1, 2, 4, 8, 16, 32, 64, 128, 256)),
    "gpu": PairAmount(16_384, (1, 2, 4, 8, 16, 32, 64, 128, 256)),
}

SETS = ("bigram", "trigram", "both", "expansion", "identity", "pairs", "permuted", "loss", "copying", "all")
"""Feature sets: propensities of bigram modes, of trigram modes, of both in turn; the products u_a(x) v_b(y) of the
first bigram modes; random functions of the token's identity; random products over the pair; both with the tokens of
each row permuted; the token's loss at w*; the copying attention of the induction heads; both, loss and copying."""


def reading_setting(setting: Setting) -> Setting:
    """Where the chains of the reading are kept: a folder inside, with the cell names of ``structural-inference``."""
    return replace(setting, folder=setting.folder / "reading")


def counting_rows(setting: Setting) -> Array:
    """Token rows of the same text and tokenizer ``[rows, K]``, without the rows that are read."""
    plan, inside = inference.PLANS[setting.scale], reading_setting(setting)

    def make() -> Arrays:
        text = TextPlan(length=plan.text.length, data_rows=PAIR_AMOUNTS[setting.scale].rows, base_rows=1, probe_rows=1)
        source = LanguageSource(plan.model, data=str(setting.text) if setting.text else None, plan=text)
        rows = text_tokens(source, characters=plan.characters)["data"].astype(np.int32)
        read = {row.tobytes() for row in token_facts(text_subject(inside, plan)).rows.astype(np.int32)}
        kept = [row.tobytes() not in read for row in rows]
        return {"rows": rows[kept].astype(np.uint16)}

    return setting.kept("pairs/rows", make)["rows"].astype(np.int64)


def tables(setting: Setting) -> dict[str, CountTable]:
    """Bigram and backed-off trigram counts."""
    rows = counting_rows(setting)
    vocabulary = making_of(inference.PLANS[setting.scale].model).config.vocabulary
    return {
        "bigram": count_table(rows, vocabulary, context=1),
        "trigram": count_table(rows, vocabulary, context=2, least=FREQUENT),
    }


def contexts_of(facts: TokenFacts) -> Array:
    """The last two tokens before every target ``[tokens, 2]``, -1 before the start of a row; in reading order."""
    rows = facts.rows
    before = np.concatenate([np.full((len(rows), 1), -1), rows[:, :-2]], axis=1)
    pairs = np.stack([before, rows[:, :-1]], axis=-1)
    return pairs[facts.row, facts.position]


def mode_features(setting: Setting, facts: TokenFacts) -> Arrays:
    """Feature sets that stand on counts or on chance, ``[tokens, features]`` each."""
    most, contexts, out = max(PAIR_AMOUNTS[setting.scale].counts), contexts_of(facts), {}
    for name, table in tables(setting).items():
        found = modes_of_counts(table, most, seed=setting.seed)
        asked = contexts[:, -table.contexts.shape[1] :]
        out[name] = mode_values(table, found, asked, facts.ids)
        if name == "bigram":
            side = int(np.sqrt(most))
            left, right = found.factors(side)
            law = np.concatenate([table.counts.toarray() / table.context_totals[:, None], table.output_law[None]])
            x = (law @ right)[table.places(asked)]
            products = x[:, :, None] * left[facts.ids][:, None, :]
            order = np.argsort(np.add.outer(np.arange(side), np.arange(side)).ravel(), kind="stable")
            out["expansion"] = products.reshape(len(x), -1)[:, order]
    draw = np.random.default_rng(stream_seed(setting.seed, "random functions of tokens"))
    vocabulary = making_of(inference.PLANS[setting.scale].model).config.vocabulary
    random = [draw.standard_normal((vocabulary + 1, most)) for _ in range(3)]
    out["identity"] = random[0][facts.ids]
    out["pairs"] = random[1][facts.ids] * random[2][contexts[:, -1]]
    turns = [out[name][:, k] for k in range(most) for name in ("bigram", "trigram") if k < out[name].shape[1]]
    out["both"] = np.stack(turns, 1)
    out["permuted"] = out["both"][within_rows(facts.row, seed=setting.seed)]
    return out


def pair_scores(setting: Setting) -> tuple[Arrays, TokenFacts, list[SeedReading]]:
    """Scores of the pairs ``[tokens, targets]`` with seed, form, pair, share, reliability of every target."""
    readings = inference.readings(reading_setting(setting))
    rows: dict[str, list] = {k: [] for k in ("score", "seed", "form", "pc", "share", "reliability", "induction")}
    for one in readings:
        for number, form in enumerate(FORMS):
            found = one.spectrum(form, "columns", seed=setting.seed)
            chosen = separated(one, form, "columns", seed=setting.seed, alone=True)[0].pc if one.roles.induction else 0
            for k in range(min(PAIRS, found.data.sizes["pc"])):
                rows["score"].append(found.data["score"].values[k])
                half = max(0.0, float(found.data["reliability"][k]))
                share, both = float(found.data["share"][k]), 2 * half / (1 + half)
                values = (one.trained, number, k + 1, share, both, chosen == k + 1)
                for name, value in zip(list(rows)[1:], values, strict=True):
                    rows[name].append(value)
    arrays = {name: np.array(values) for name, values in rows.items()}
    arrays["score"] = arrays["score"].T
    return arrays, readings[0].facts, readings


def pair_fits(setting: Setting) -> Arrays:
    """R² of every pair by every feature set: kept cell of the claim and its figures.

    Returns:
        ``R2 SET`` and ``error SET`` [counts, targets]; ``repeats SET`` [bootstraps, targets] for all features; the
        targets' ``seed``, ``form``, ``pc``, ``share``, ``reliability`` (of all groups), ``induction`` (whether the
        pair separates the induction heads); ``canonical`` [seeds x forms, PAIRS] held-out canonical correlations of
        the pairs with both kinds of modes; ``floor``, ``amplitude`` of either kind.
    """

    def make() -> Arrays:
        targets, facts, readings = pair_scores(setting)
        features = mode_features(setting, facts)
        out = {name: values for name, values in targets.items() if name != "score"}
        for name in ("bigram", "trigram", "expansion", "identity", "pairs", "both", "permuted"):
            out |= _fit(setting, name, features[name], targets["score"], facts.row)
        for k, one in enumerate(readings):
            mine = np.flatnonzero(targets["seed"] == one.trained)
            for name, values in _own_features(setting, one).items():
                wide = np.concatenate([features["both"], values], 1) if name == "all" else values
                found = _fit(setting, name, wide, targets["score"][:, mine], facts.row, last=True)
                out |= {key: value if k == 0 else np.concatenate([out[key], value], -1) for key, value in found.items()}
        guess = held_out_fit(features["both"], targets["score"], facts.row, seed=setting.seed)
        blocks = [(targets["seed"] == s) & (targets["form"] == f) for s in np.unique(targets["seed"]) for f in (0, 1)]
        out["canonical"] = np.array([canonical_correlations(guess[:, b], targets["score"][:, b]) for b in blocks])
        for name, table in tables(setting).items():
            kept = modes_of_counts(table, max(PAIR_AMOUNTS[setting.scale].counts), seed=setting.seed)
            out |= {f"amplitude {name}": kept.amplitude, f"floor {name}": np.array([kept.floor])}
            out[f"seen {name}"] = np.array([table.total, len(table.contexts), table.coverage(FREQUENT)])
        return out

    return setting.kept("pairs/fits", make)


LAST = (1, 2, 3, 4)
"""Numbers of last tokens, the target included, whose functions are compared."""


def pair_recurrence(setting: Setting) -> Arrays:
    """Share of every pair's variance that any function of the last k tokens can carry (`structure.recurrence`).

    Returns:
        ``share``, ``error`` [k, targets] and ``coverage`` [k]; ``fixed`` and ``fixed error``: the same on the tokens
        whose three last tokens recur, so that levels are compared on the same tokens (k <= 3); ``null``: tokens
        permuted within rows.
    """

    def make() -> Arrays:
        targets, facts, _ = pair_scores(setting)
        scores, mixed = targets["score"], within_rows(facts.row, seed=setting.seed)
        keys = [context_keys(facts.rows, facts.row, facts.position, k) for k in LAST]
        every = [recurrence(scores, key, facts.row) for key in keys]
        null = [recurrence(scores[mixed], key, facts.row) for key in keys]
        common = recurs(keys[2], facts.row)
        fixed = [recurrence(scores[common], key[common], facts.row[common]) for key in keys[:3]]
        return {
            "share": np.array([one.value for one in every]), "error": np.array([one.error for one in every]),
            "coverage": np.array([one.coverage for one in every]), "null": np.array([one.value for one in null]),
            "null error": np.array([one.error for one in null]),
            "fixed": np.array([one.value for one in fixed]), "fixed error": np.array([one.error for one in fixed]),
        }  # fmt: skip

    return setting.kept("pairs/recurrence", make)


def pair_surprisal(setting: Setting) -> Arrays:
    """R² of every pair by -log q(y|x) of the counted bigrams and trigrams: one number each instead of many modes."""

    def make() -> Arrays:
        targets, facts, _ = pair_scores(setting)
        features = np.stack([surprisal(table, contexts_of(facts), facts.ids) for table in tables(setting).values()], 1)
        return _fit(setting, "surprisal", features, targets["score"], facts.row, last=True)

    return setting.kept("pairs/surprisal", make)


def surprisal(table: CountTable, contexts: Array, outputs: Array) -> Array:
    """-log q(y|x) of counts with one pseudo-count of the unigram law (itself one count per output up), nats."""
    place = table.places(contexts[:, -table.contexts.shape[1] :])
    law = (table.counts.sum(0) + 1) / (table.total + table.counts.shape[1])
    seen = np.where(place >= 0, table.counts[place, outputs], 0.0)
    total = np.where(place >= 0, table.context_totals[place], 0.0)
    return -np.log((seen + law[outputs]) / (total + 1))


def _own_features(setting: Setting, one: SeedReading) -> Arrays:
    """What needs the model itself: loss at w* and copying attention of the induction heads, ``[tokens, features]``."""
    plan = inference.PLANS[setting.scale]
    subject = at_checkpoint(text_subject(reading_setting(setting), plan), trained=one.trained)
    every = token_facts(subject)
    rows, config = torch.from_numpy(every.rows), making_of(plan.model).config
    loss = subject.center_loss({"tokens": rows}).flatten().numpy()[every.natural]
    copying = head_activity(subject.params, rows, config).copying.flatten(1).numpy()[:, every.natural]
    heads = [one.responses["within-run"].components.index(name) for name in one.roles.induction] or [0]
    out = {"loss": loss[:, None], "copying": copying[heads].T}
    return {name: value.astype(float) for name, value in {**out, "all": np.concatenate([*out.values()], 1)}.items()}


def _fit(setting: Setting, name: str, features: Array, scores: Array, rows: Array, *, last: bool = False) -> Arrays:
    width = features.shape[1]
    counts = [width] if last else [c for c in PAIR_AMOUNTS[setting.scale].counts if c < width]
    if not last:
        counts.append(width)
    found = explained(features, scores, rows, counts, seed=setting.seed)
    return {
        f"R2 {name}": found.value, f"error {name}": found.error, f"repeats {name}": found.repeats[:, -1],
        f"counts {name}": found.counts,
    }  # fmt: skip
