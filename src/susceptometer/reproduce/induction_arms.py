"""Cells of the induction experiment: chi and its plan, scores of every training batch, arms, learning coefficients."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from susceptometer.domains.induction import PATTERNS, Scored, circuit_measure, rule, training_loss
from susceptometer.domains.induction_plan import (
    head_roles,
    induction_pair,
    plan_for_pair,
    reader,
    recipe,
    response_of,
    subject_on,
)
from susceptometer.domains.induction_text import (
    InductionText,
    induction_text,
    joined,
    packed_text,
    scored_steps,
)
from susceptometer.domains.making import repeat_scores
from susceptometer.domains.pico import making_of
from susceptometer.domains.transformer import init_params
from susceptometer.domains.transformer_stages import TransformerStages
from susceptometer.estimate.llc import llc
from susceptometer.patterning.local_check import LocalCheck, local_check
from susceptometer.patterning.plan import Plan
from susceptometer.patterning.response import Response, response
from susceptometer.patterning.steer import Arm, Course, log_lines, steer
from susceptometer.patterning.weight_model import WeightModel, fit_weights
from susceptometer.reproduce.setting import Arrays, Setting
from susceptometer.sampling.coupling import antithetic
from susceptometer.sampling.reading import read_here
from susceptometer.train.checkpoint import read_tensors
from susceptometer.train.loop import Source, stack, train, unstack

Array = NDArray[np.float64]
SCORES = ("prefix_matching", "previous_token", "in_context", "loss", "repeat_gain")
LLC_PARTS = ("blocks.0.attn", "blocks.1.attn")
BLOCK = 500


@dataclass(frozen=True)
class ArmName:
    """An arm by its kind (``plan``, ``permuted``, ``loss``, ``flag``; ``baseline`` has strength 0) and strength.

    ``scratch``: weighted from step 0 and not only from the fork on.
    """

    kind: str
    strength: float
    scratch: bool = False

    @property
    def key(self) -> str:
        """File name of the cell."""
        sign = f"{self.strength:+g}" if self.strength else ""
        return self.kind + sign + ("-scratch" if self.scratch else "")


@dataclass(frozen=True)
class Size:
    """What a scale runs: rows and chains of chi, steps, seeds, arms; rows and seeds of the spacing fin."""

    rows: int
    groups: int
    draws: int
    batch_rows: int
    fork: int
    steps: int
    every: int
    seeds: tuple[int, ...]
    arms: tuple[ArmName, ...]
    llc_draws: int
    checks: tuple[float, ...]
    documents: int | None = None
    white: tuple[int, int] = (32, 3)


@dataclass(frozen=True, eq=False)
class Experiment:
    """All cells of one setting, each made when first asked for and kept."""

    setting: Setting
    size: Size

    @cached_property
    def text(self) -> InductionText:
        """Training and validation rows."""
        return induction_text(self.setting.kept("rows", partial(packed_text, self.setting.text, self.size.documents)))

    @cached_property
    def measured(self) -> Arrays:
        """``replicates [groups, heads, tokens]``, ``ids [rows, K]``, ``heads``, ``roles`` of the finished model."""

        def make() -> Arrays:
            ids = self.text.probe(self.size.rows, seed=self.setting.seed)
            subject = subject_on(ids)
            heads = {name: c for name, c in subject.components.items() if ".attn.head." in name}
            chains = recipe(self.size.groups, self.size.draws, self.size.batch_rows)
            found = response(read_here(subject, heads, chains, seed=self.setting.seed))
            prefix, previous, _ = repeat_scores(subject.params, making_of("pico-mini").config)
            roles = head_roles(prefix, previous)
            return {
                "replicates": found.replicates, "ids": ids, "heads": np.array(found.observables),
                "roles": np.array([roles["induction"], roles["previous token"]]),
            }  # fmt: skip

        return self.setting.kept("chi", make)

    @cached_property
    def plan(self) -> Plan:
        """The plan along the induction pair, weights of deviation one at strength one."""
        return plan_for_pair(self.response, self.pattern)

    @cached_property
    def response(self) -> Response:
        """The response matrix of all heads."""
        return response_of(self.measured, self.measured["heads"].tolist())

    @cached_property
    def flag(self) -> NDArray[np.bool_]:
        """Induction flag of every measured token."""
        flags = reader().flags(self.measured["ids"])
        return flags[PATTERNS.index("induction")].reshape(-1)

    @cached_property
    def pattern(self) -> Array:
        """Head pattern of the induction pair, signed for more induction tokens ``[heads]``."""
        return induction_pair(self.response, self.flag)[1]

    @cached_property
    def model(self) -> WeightModel:
        """Carries the plan over to tokens that were not measured."""
        ids = self.measured["ids"]
        table, _, _ = reader().features(ids)
        rows = np.repeat(np.arange(len(ids)), ids.shape[1] - 1)
        ceiling = float(np.nanmean(self.plan.agreement))
        flat = table.reshape(-1, table.shape[-1])
        return fit_weights(flat, self.plan.shift, rows, ceiling=ceiling, seed=self.setting.seed)

    def scored(self, seed: int, begin: int) -> Scored:
        """Standardised dh, late loss and induction flag of every batch of a seed from step ``begin`` on."""
        source, blocks = self.text.source((seed,)), []
        for start in range(begin // BLOCK * BLOCK, self.size.steps, BLOCK):
            steps = range(start, min(start + BLOCK, self.size.steps))
            key = f"scores-seed{seed}-{start:05d}"
            blocks.append(self.setting.kept(key, partial(self._scores, source, steps)))
        return joined(blocks, begin // BLOCK * BLOCK)

    def _scores(self, source: Source, steps: range) -> Arrays:
        return scored_steps(reader(), self.model, source, steps, self.setting.say)

    def course(self, *, from_step: int, steps: int) -> Course:
        """Loss, data and scores, the same for every arm."""
        making = making_of("pico-mini")
        when = tuple(range(0, self.size.steps + 1, self.size.every))
        settings = replace(making.training, steps=steps, measure_at=when, keep=(), save_every=250)
        return Course(
            training_loss(making.config), self.text.source(self.size.seeds), settings,
            circuit_measure(making.config, self.text.validation), from_step,
        )  # fmt: skip

    def trunk(self) -> Path:
        """Folder of the common first steps of all forked arms."""
        into = self.setting.folder / "trunk"
        course = self.course(from_step=0, steps=self.size.fork)
        start = stack([init_params(making_of("pico-mini").config, seed=seed) for seed in self.size.seeds])
        if not (into / f"step{self.size.fork:08d}.safetensors").exists():
            train(course.loss, start, course.source, settings=course.settings, into=into, measure=course.measure)
        return into

    def arm(self, name: ArmName) -> Arrays:
        """``steps [T]`` and ``scores [T, seeds, SCORES]`` of an arm."""

        def make() -> Arrays:
            weights, begin = None, 0 if name.scratch else self.size.fork
            if name.strength:
                scored = [self.scored(seed, begin) for seed in self.size.seeds]
                weights = rule(name.kind, name.strength, scored, seed=self.setting.seed)
            start = stack([init_params(making_of("pico-mini").config, seed=seed) for seed in self.size.seeds])
            course, into = self.course(from_step=begin, steps=self.size.steps), self.setting.folder / "arms"
            steer(course, {name.key: Arm(weights)}, start=start if name.scratch else self.trunk(), into=into)
            self.setting.say(f"arm {name.key} is done")
            early = [] if name.scratch else log_lines(self.trunk())[:-1]
            return curves([*early, *log_lines(into / name.key)])

        return self.setting.kept(f"arm-{name.key}", make)

    def check(self, deviation: float) -> Arrays:
        """The local check at weights of this deviation: ``predicted measured errors curvature``."""

        def make() -> Arrays:
            subject = subject_on(self.measured["ids"])
            chains = recipe(self.size.groups, self.size.draws, self.size.batch_rows)
            found: LocalCheck = local_check(
                self.plan, subject, chains, seed=self.setting.seed + 1, strength=deviation
            )  # fmt: skip
            parts = {"predicted": found.predicted, "measured": found.measured, "curvature": found.curvature}
            out = {f"{name} {w}": part.data[w].to_numpy() for name, part in parts.items() for w in ("value", "error")}
            return {**out, "slope": np.array(found.slope()), "z": found.z}

        return self.setting.kept(f"check-{deviation:g}", make)

    def coefficients(self, name: ArmName) -> Arrays:
        """Learning coefficient of the attention of both layers at the end of an arm: ``value error [seeds, 2]``."""

        def make() -> Arrays:
            last = self.setting.folder / "arms" / name.key / f"step{self.size.steps:08d}.safetensors"
            rows = subject_on(self.text.validation[:16].numpy())
            chains = replace(recipe(4, self.size.llc_draws, self.size.batch_rows), coupling=antithetic())
            found = []
            for params in unstack(read_tensors(last)[0]):
                stages = TransformerStages(params, making_of("pico-mini").config)
                subject = replace(rows, params=params, stages=stages)
                parts = {part: subject.components[part] for part in LLC_PARTS}
                found.append(llc(read_here(subject, parts, chains, seed=self.setting.seed)))
            return {w: np.stack([f.data[w].to_numpy() for f in found]) for w in ("value", "error")}

        return self.setting.kept(f"llc-{name.key}", make)


def curves(lines: Sequence[Mapping[str, object]]) -> Arrays:
    """Log lines as arrays: ``steps [T]``, ``scores [T, seeds, SCORES]``."""
    models: list[list[Mapping[str, float]]] = [line["models"] for line in lines]  # type: ignore[misc]
    values = [[[model[name] for name in SCORES] for model in each] for each in models]
    return {"steps": np.array([line["step"] for line in lines]), "scores": np.array(values)}


def quiet() -> None:
    """One thread: the products are small."""
    torch.set_num_threads(1)
