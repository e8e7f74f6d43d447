"""The chains that the language reproductions share: every head of a bundled model on one text, kept in both forms."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from susceptometer.compute.identity import tensors_hash
from susceptometer.compute.options import ReadOptions
from susceptometer.compute.read import read
from susceptometer.domains.checkpoints import at_checkpoint, text_tokens, with_text
from susceptometer.domains.language import LanguageSource
from susceptometer.domains.token_text import TextPlan
from susceptometer.errors import ChainError
from susceptometer.estimate.contraction import contraction
from susceptometer.posterior.subject import Subject
from susceptometer.reproduce.setting import Arrays, Setting
from susceptometer.sampling.coupling import Coupling, antithetic, coupled
from susceptometer.sampling.reading import Reading, token_table
from susceptometer.sampling.recipe import Recipe, Schedule
from susceptometer.sampling.sgld import LeimkuhlerMatthews
from susceptometer.structure.response import FORMS, Form, Response, response, response_of

HEADS = "blocks.*.attn.head.*"
N_BETA, GAMMA = 30.0, 300.0
STEP, FULL_STEP = 4e-3, 2e-3


@dataclass(frozen=True, kw_only=True)
class ReadingPlan:
    """How much is read.

    Args:
        name: Part of the names of kept cells.
        text: Rows of data and probes.
        domain_rows: Rows of each domain of the text, out of ``text.probe_rows``.
        made_rows: Rows of each generated probe, likewise.
        groups: Independent groups of four coupled chains.
        draws: Recorded states per chain.
        model: Bundled model.
        tilt_rows: Data rows of the response's own batch; its noise is what limits the coupled value.
        batch_rows: Data rows of the drift's batch.
        characters: Text taken of each domain, at most; None: all of it.
        full_draws: Recorded states per chain of the run in which all weights move.
    """

    name: str
    text: TextPlan
    domain_rows: int
    made_rows: Mapping[str, int]
    groups: int
    draws: int
    model: str = "pico"
    tilt_rows: int = 8
    batch_rows: int = 2
    characters: int | None = None
    full_draws: int = 8

    def recipe(self) -> Recipe:
        """Coupled chains of one head: centred gradients; at eps gamma = 1.2 burn-in and thinning are short."""
        schedule = Schedule(groups=self.groups, burn_in=5, draws=self.draws, thin=2)
        return Recipe(
            sampler=LeimkuhlerMatthews(step_size=STEP), schedule=schedule, n_beta=N_BETA, gamma=GAMMA,
            coupling=coupled(0.1), batch_rows=self.batch_rows, tilt_rows=self.tilt_rows, centered=True,
        )  # fmt: skip

    def control(self) -> Recipe:
        """The same around a Gaussian: n_beta = 0, so the weights scatter without hearing the loss."""
        once = self.recipe().with_schedule(draws=max(1, self.draws // 2))
        return replace(once, n_beta=0.0, coupling=Coupling(offset=0.1 * N_BETA))

    def full_recipe(self, n_beta: float) -> Recipe:
        """All weights at once: stiffer, so shorter steps; only means are needed, so no response arms."""
        schedule = Schedule(groups=self.groups, burn_in=16, draws=self.full_draws, thin=4)
        return Recipe(
            sampler=LeimkuhlerMatthews(step_size=FULL_STEP), schedule=schedule, n_beta=n_beta, gamma=GAMMA,
            coupling=antithetic(), batch_rows=self.batch_rows,
        )  # fmt: skip


def text_subject(setting: Setting, plan: ReadingPlan) -> Subject:
    """The final weights on the setting's text, encoded once per folder."""
    source = LanguageSource(plan.model, data=str(setting.text) if setting.text else None, plan=plan.text)
    subject = with_text(
        source, setting.kept(f"text-{plan.name}", lambda: text_tokens(source, characters=plan.characters))
    )
    wanted = {**dict.fromkeys(subject.probes, plan.domain_rows), **plan.made_rows, "base": plan.text.base_rows}
    probes = {name: {"tokens": batch["tokens"][: wanted[name]]} for name, batch in subject.probes.items()}
    return replace(subject, probes=probes)


def text_facts(setting: Setting, plan: ReadingPlan) -> dict[str, str]:
    """Which text a table stands on, and its hash."""
    subject = text_subject(setting, plan)
    name = setting.text.name if setting.text else "files of every Python installation"
    digest = tensors_hash({"data": subject.data["tokens"], **{k: v["tokens"] for k, v in subject.probes.items()}})
    tokens = token_table(subject).sizes["token"]
    return {f"text ({plan.name})": f"{name}, {tokens:,} tokens of {len(subject.probes)} probes, data hash {digest}"}


def measured(
    setting: Setting, plan: ReadingPlan, *, trained: int = 0, step: int = -1, control: bool = False
) -> dict[Form, Response]:
    """Response matrices of one checkpoint in both forms; read once, then kept.

    Args:
        setting: Seed, folder, text.
        plan: How much.
        trained: Training seed of the model.
        step: Training step; negative counts from the last.
        control: n_beta = 0.

    Raises:
        ChainError: The coupled chains of a head do not contract.
    """
    subject = at_checkpoint(text_subject(setting, plan), trained=trained, step=step)
    at = subject.meta["source"]["step"]  # type: ignore[index]
    key = f"chi-{plan.name}-seed{trained}-step{at:05d}" + ("-control" if control else "")
    kept = setting.kept(key, lambda: _read(setting, plan, subject, key, control=control))
    table = token_table(subject)
    names = kept["components"].astype(str).tolist()
    return {form: response_of(kept[form].astype(np.float64), names, table.coords, form) for form in FORMS}


def _read(setting: Setting, plan: ReadingPlan, subject: Subject, key: str, *, control: bool) -> Arrays:
    recipe = plan.control() if control else plan.recipe()
    full = plan.full_recipe(recipe.n_beta)
    folder = setting.folder / "runs" / key
    options = ReadOptions(progress=False)
    setting.say(f"reading {subject.name}{' at n_beta = 0' if control else ''}")
    heads = read(subject, HEADS, recipe=recipe, seed=setting.seed, into=folder, options=options)
    whole = read(subject, "full", recipe=full, seed=setting.seed, into=f"{folder}-full", options=options)
    _require_contraction(heads)
    return _arrays(heads, whole.cell("full"))


def _arrays(heads: Reading, full: xr.Dataset) -> Arrays:
    found: Arrays = {form: response(heads, form, full=full).replicates.values.astype(np.float32) for form in FORMS}
    return {**found, "components": np.array(heads.components)}


def _require_contraction(heads: Reading) -> None:
    bad = {name: faults for name, cell in heads if (faults := contraction(cell, heads.recipe).faults)}
    if bad:
        raise ChainError(
            "coupled chains do not contract",
            where=heads.subject,
            value=bad,
            why="the table would mix estimators",
            do="raise gamma or shorten the step of this plan",
        )
