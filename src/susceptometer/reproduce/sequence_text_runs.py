"""Measurements on real text: modes of its n-grams and of a model, and the model's coefficient on truncated labels."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from susceptometer.compute.identity import tensors_hash
from susceptometer.domains.checkpoints import text_tokens
from susceptometer.domains.language import LanguageSource
from susceptometer.domains.pico import available, load_weights, making_of, tokenizer_of
from susceptometer.domains.sequence_text import mode_rises, model_modes, rotated, truncated_subject
from susceptometer.domains.token_text import TextPlan
from susceptometer.domains.transformer import loss
from susceptometer.posterior.component import whole_component
from susceptometer.posterior.local import LocalPosterior
from susceptometer.posterior.subject import Subject
from susceptometer.reproduce.sequence_runs import group_llcs
from susceptometer.reproduce.setting import Arrays, Scale, Setting
from susceptometer.sampling.coupling import Coupling
from susceptometer.sampling.recipe import Recipe, Schedule
from susceptometer.sampling.run import Keep, run_cell
from susceptometer.sampling.sgld import LeimkuhlerMatthews
from susceptometer.structure.counts import CountTable, count_table, modes_of_counts
from susceptometer.structure.modes import Modes
from susceptometer.testbed.form import Array

MODEL = "pico-mini"
GAMMA = 300.0
STEP = 0.3
"""Step size times (n_beta times the curvature scale + gamma)."""

CURVATURE = 5.0
"""Curvature scale of the model's loss, nats/weight², by which the step shrinks as n_beta grows."""

FREQUENT = 20
"""A trigram context seen less often backs off to its last token."""


@dataclass(frozen=True)
class TextAmount:
    """How much a scale measures on text; truncations are sampled on their own at the cells ``sampled``."""

    rows: int
    counts: tuple[int, ...]
    n_betas: tuple[float, ...]
    steps: tuple[int, ...]
    groups: int
    draws: int
    sampled: Mapping[int, tuple[float, ...]]
    """Checkpoint to temperatures; the null is sampled at the last checkpoint."""


TEMPERATURES = (10.0, 30.0, 100.0, 300.0, 1000.0)

TEXT_AMOUNTS = {
    "smoke": TextAmount(64, (64,), (30.0,), (-1,), 2, 3, {-1: (30.0,)}),
    "cpu": TextAmount(
        4096, (64, 256), TEMPERATURES[:4], (0, 1, 2, 3, -1), 6, 12, {1: TEMPERATURES[:2], -1: TEMPERATURES[:4]}
    ),
    "gpu": TextAmount(
        4096,
        (1, 8, 32, 64, 128, 256),
        TEMPERATURES,
        (0, 1, 2, 3, -1),
        16,
        200,
        dict.fromkeys((0, 1, 2, 3, -1), TEMPERATURES),
    ),
}


CHARACTERS: dict[Scale, int | None] = {"smoke": 40_000, "cpu": None, "gpu": None}
"""Text taken of each domain, at most."""


def text_rows(setting: Setting) -> tuple[Tensor, Tensor]:
    """Token rows of the text, to be counted ``[rows, K]`` and to be read ``[16, K]``."""

    def make() -> Arrays:
        length = making_of(MODEL).config.context
        plan = TextPlan(length=length, data_rows=TEXT_AMOUNTS[setting.scale].rows, base_rows=16)
        text = None if setting.text is None else str(setting.text)
        rows = text_tokens(LanguageSource(MODEL, data=text, plan=plan), characters=CHARACTERS[setting.scale])
        return {"data": rows["data"], "base": rows["probe base"]}

    stored = setting.kept("text/rows", make)
    return torch.tensor(stored["data"]).long(), torch.tensor(stored["base"]).long()


def loaded(setting: Setting, step: int) -> Subject:
    """The bundled small model at the ``step``-th stored checkpoint, with the text of the setting."""
    config = making_of(MODEL).config
    data, base = ({"tokens": rows} for rows in text_rows(setting))
    at = available(MODEL)[0][step]
    params = load_weights(MODEL, step=at)
    return Subject(
        f"{MODEL}, step {at:,}", params, partial(loss, config=config), data, {"base": base},
        {"full": whole_component("full", params)},
    )  # fmt: skip


def step_of(number: int) -> int:
    """Training step of the ``number``-th stored checkpoint."""
    return available(MODEL)[0][number]


def text_hash(setting: Setting) -> str:
    """Hash of the token rows that were counted, 32 hex digits."""
    return tensors_hash(loaded(setting, -1).data)


def tables(subject: Subject) -> dict[str, CountTable]:
    """Bigram and backed-off trigram counts of the subject's data."""
    rows, vocabulary = subject.data["tokens"].numpy(), making_of(MODEL).config.vocabulary
    return {
        "bigram": count_table(rows, vocabulary, context=1),
        "trigram": count_table(rows, vocabulary, context=2, least=FREQUENT),
    }


def spectra(setting: Setting) -> Arrays:
    """Amplitudes with floors, coverage and split-half overlap of the n-grams; amplitudes of the model's own law."""

    def make() -> Arrays:
        subject = loaded(setting, -1)
        out: Arrays = {}
        rows = subject.data["tokens"]
        halves = [tables(replace(subject, data={"tokens": rows[part::2]})) for part in (0, 1)]
        for name, table in tables(subject).items():
            found = modes_of_counts(table, 256, seed=setting.seed)
            first, second = (modes_of_counts(half[name], 64, seed=setting.seed) for half in halves)
            blocks = [slice(a, a + 1) for a in range(min(24, first.rank, second.rank))]
            out |= {
                f"{name}_amplitude": found.amplitude, f"{name}_floor": np.array([found.floor]),
                f"{name}_coverage": np.array([table.coverage(2), table.coverage(FREQUENT)]),
                f"{name}_halves": np.array([first.overlap(second, block) for block in blocks]),
                f"{name}_vectors": found.vectors[:, :24], f"{name}_contexts": np.array([len(table.contexts)]),
            }  # fmt: skip
        return out | {"model_amplitude": own_modes(setting, -1).amplitude}

    return setting.kept("text/spectra", make)


def own_modes(setting: Setting, step: int) -> Modes:
    """All modes of the model's own law at a checkpoint, over 256 rows of the text."""
    subject = loaded(setting, step)
    rows = subject.data["tokens"][:256]
    config = making_of(MODEL).config
    return model_modes(subject.params, rows, config)


def cut_llc(setting: Setting, step: int, count: int, n_beta: float, *, null: bool = False) -> Array:
    """lambda_hat of all weights when ``count`` modes of the model's own law are kept (0: the whole loss), ``[groups]``.

    ``null`` keeps random output vectors instead, the first mode excepted.
    """

    def make() -> Arrays:
        amount, subject = TEXT_AMOUNTS[setting.scale], loaded(setting, step)
        few = replace(subject, data={"tokens": subject.data["tokens"][:256]})
        config = making_of(MODEL).config
        found = own_modes(setting, step)
        if null:
            found = rotated(found, count, seed=setting.seed)
        cut = truncated_subject(few, config, found, count or found.rank)  # all modes: the cross-entropy itself
        return {"llc": group_llcs(cut if count else few, _recipe(amount, n_beta), seed=setting.seed)}

    kind = "null" if null else "modes"
    return setting.kept(f"text/step{step}-{kind}{count}-n_beta{n_beta:g}", make)["llc"]


def sensitivity(setting: Setting, step: int, n_beta: float) -> Arrays:
    """What every number of kept modes makes of the coefficient, from one run under the whole loss (derived; 4.1).

        lambda_K = n_beta E[D_K] + n_beta² Cov(D_K, D - D_K) + ...,    D_K = -sum_{a <= K} s_a D_a along the chain

    Returns:
        ``kept`` [K]; ``llc`` [groups] of the whole loss; ``cut`` [groups, K] lambda_K; ``spread`` [K]: n_beta times the
        standard deviation of D - D_K, which must stay below about 1 for the expansion to hold; ``amplitude`` [r].
    """

    def make() -> Arrays:
        amount, subject = TEXT_AMOUNTS[setting.scale], loaded(setting, step)
        few = replace(subject, data={"tokens": subject.data["tokens"][:256]})
        found, config = own_modes(setting, step), making_of(MODEL).config
        posterior = LocalPosterior(few, few.components["full"], n_beta, GAMMA)
        groups, keep = range(amount.groups), Keep(weights=True)
        cell = run_cell(posterior, _recipe(amount, n_beta), seed=setting.seed, groups=groups, keep=keep)
        kept = np.unique(np.geomspace(1, found.rank, 60).astype(int))
        draws = cell["kept_weights"].values.reshape(amount.groups, -1, cell.sizes["weight"])
        parts, whole = mode_rises(few, config, found, draws, kept)
        left = whole[..., None] - parts
        mixed = (n_beta**2) * ((parts - parts.mean(1, keepdims=True)) * (left - left.mean(1, keepdims=True))).mean(1)
        return {
            "kept": kept, "llc": n_beta * whole.mean(1), "cut": n_beta * parts.mean(1) + mixed,
            "spread": n_beta * left.std((0, 1)), "amplitude": found.amplitude,
        }  # fmt: skip

    return setting.kept(f"text/sensitivity-step{step}-n_beta{n_beta:g}", make)


def mode_words(setting: Setting, strings: list[str], mode: int, top: int = 6) -> tuple[list[str], list[str]]:
    """Top tokens of either sign of a bigram mode's output vector."""
    vector = spectra(setting)["bigram_vectors"][:, mode]
    order = np.argsort(vector)
    return [strings[i] for i in order[::-1][:top]], [strings[i] for i in order[:top]]


def strings_of() -> list[str]:
    """Text of every token of the model."""
    tokenizer = tokenizer_of(MODEL)
    return [tokenizer.decode([i], skip_special_tokens=False) for i in range(tokenizer.get_vocab_size())]


def _recipe(amount: TextAmount, n_beta: float) -> Recipe:
    return Recipe(
        sampler=LeimkuhlerMatthews(step_size=STEP / (n_beta * CURVATURE + GAMMA)), n_beta=n_beta, gamma=GAMMA,
        schedule=Schedule(groups=amount.groups, burn_in=2 * amount.draws, draws=amount.draws, thin=2),
        coupling=Coupling(antithetic=True), batch_rows=4,
    )  # fmt: skip


def finite_groups(values: Array) -> bool:
    """Whether every group has a finite coefficient (signed labels can send a chain away)."""
    return bool(torch.isfinite(torch.as_tensor(values)).all())
