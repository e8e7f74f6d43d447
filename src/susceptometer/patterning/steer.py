"""Training under planned weights, always beside its controls and on the same seeds: what was predicted, what came."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from susceptometer.errors import RunError
from susceptometer.estimate.estimate import Estimate
from susceptometer.train.checkpoint import read_tensors
from susceptometer.train.loop import Measure, Source, StackedLoss, Training, train
from susceptometer.types import Batch, Params

Array = NDArray[np.float64]

WeightRule = Callable[[int, Batch], Tensor]
"""``rule(step, batch) -> weights [models, rows(, event)]``: a pure function, so that a killed run resumes exactly."""

STATE = "state.safetensors"


@dataclass(frozen=True)
class Course:
    """What is trained and measured, the same for every arm; models of a stack are seeds.

    Args:
        loss: Unreduced loss of the stack.
        source: Batch of every step; the same data for all arms.
        settings: Length, learning rate, what is kept and when it is measured.
        measure: Scores of the log.
        from_step: First step with weights.
    """

    loss: StackedLoss
    source: Source
    settings: Training
    measure: Measure
    from_step: int = 0


@dataclass(frozen=True)
class Arm:
    """One way of weighting; ``rule=None`` is the baseline.

    Args:
        rule: Weights of every batch.
        replan: ``replan(step, params) -> rule``: measure again and plan again at ``from_step`` and every ``every``
            steps after it; must depend on its arguments only.
        every: Steps between two plans.
    """

    rule: WeightRule | None = None
    replan: Callable[[int, Params], WeightRule] | None = None
    every: int = 0


@dataclass(frozen=True, eq=False)
class Steered:
    """Logs and final weights of all arms.

    Args:
        logs: Arm -> lines of its log, ``{"step": ..., **measure}``.
        final: Arm -> weights after the last step ``[seeds, ...]``.
    """

    logs: Mapping[str, Sequence[Mapping[str, object]]]
    final: Mapping[str, Params]


def steer(course: Course, arms: Mapping[str, Arm], *, start: Params | Path, into: Path) -> Steered:
    """Train every arm from the same start on the same data; finished arms are read, unfinished ones go on.

    Args:
        course: What is trained.
        arms: Name -> arm. Give the controls of `patterning.controls` beside the plan.
        start: Weights ``[seeds, ...]`` at step 0, or the folder of a run whose state (weights, moments, step) every arm
            takes over: a fork.
        into: One folder per arm is made in it.

    Raises:
        RunError: The start has no state, or lies behind the course's ``from_step``.
    """
    final = {name: _trained(course, arm, start, into / name) for name, arm in arms.items()}
    return Steered({name: log_lines(into / name) for name in arms}, final)


def _trained(course: Course, arm: Arm, start: Params | Path, into: Path) -> Params:
    if isinstance(start, Path):
        fork(start, into, latest=course.from_step)
    params = {} if isinstance(start, Path) else start
    marks = _marks(course, arm)
    kept = tuple(sorted({*course.settings.keep, *marks}))
    for begin, stop in zip([None, *marks[:-1]], marks, strict=True):
        done = into / f"step{stop:08d}.safetensors"
        if done.exists():
            params = read_tensors(done)[0]
            continue
        rule = arm.rule if begin is None or arm.replan is None else arm.replan(begin, params)
        params = train(
            course.loss, params, weighted(course.source, rule, course.from_step),
            settings=replace(course.settings, steps=stop, keep=kept), into=into, measure=course.measure,
        )  # fmt: skip
    return params


def _marks(course: Course, arm: Arm) -> list[int]:
    """Steps at which a segment of one rule ends; the last is the end of training."""
    last = course.settings.steps
    if arm.replan is None:
        return [last]
    return [*range(course.from_step, last, arm.every), last]


def fork(trunk: Path, into: Path, *, latest: int) -> None:
    """Give a new run the state of another (weights, moments, step), unless it has one already.

    Raises:
        RunError: The trunk has no state, or one after step ``latest``.
    """
    if (into / STATE).exists():
        return
    if not (trunk / STATE).exists():
        raise RunError("there is no state to fork from", where=str(trunk), do="train the trunk first")
    step = int(read_tensors(trunk / STATE)[1]["step"])
    if step > latest:
        raise RunError(
            "the trunk has gone too far",
            where=str(trunk),
            value=step,
            why=f"weights act from step {latest}",
            do="fork from an earlier state",
        )
    into.mkdir(parents=True, exist_ok=True)
    part = into / f".{STATE}.part"
    shutil.copyfile(trunk / STATE, part)
    part.replace(into / STATE)


def weighted(source: Source, rule: WeightRule | None, from_step: int) -> Source:
    """The source with ``weights`` in every batch from a step on."""
    if rule is None:
        return source

    def batch(step: int) -> Batch:
        plain = source(step)
        return plain if step < from_step else {**plain, "weights": rule(step, plain)}

    return batch


def log_lines(run: Path) -> list[dict[str, object]]:
    """The lines of a run's log in order of steps."""
    text = (run / "log.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines() if line]


def onset(steps: ArrayLike, scores: ArrayLike, level: float) -> float:
    """First step at which a score reaches ``level``, interpolated between measurements; infinite if it never does."""
    before: tuple[float, float] | None = None
    for step, score in zip(np.asarray(steps, float), np.asarray(scores, float), strict=True):
        if score >= level:
            if before is None:
                return float(step)
            share = (level - before[1]) / (score - before[1])
            return float(before[0] + share * (step - before[0]))
        before = float(step), float(score)
    return float("inf")


def observed_change(arm: Array, baseline: Array, observables: Sequence[str], unit: str = "nats") -> Estimate:
    """Paired change of observables between an arm and the baseline, with the error between seeds.

    Shapes:
        arm, baseline    seeds observables
        returns          observable
    """
    change = arm - baseline
    error = change.std(0, ddof=1) / np.sqrt(len(change))
    data = xr.Dataset(
        {"value": ("observable", change.mean(0)), "error": ("observable", error)}, {"observable": list(observables)}
    )
    return Estimate("observed change", data, len(change), unit)


def beside(predicted: Mapping[str, Estimate], observed: Mapping[str, Estimate]) -> pd.DataFrame:
    """Predicted and observed change of every arm and observable, with errors and the gap in joint standard errors.

    The prediction is that of the local posterior at the measured model; a retrained model has another w*, so that a gap
    is a finding about linear response, not an error of the estimate (`local_check` tests that).
    """
    rows = []
    for arm, seen in observed.items():
        for name in seen.data["observable"].to_numpy():
            parts = [side.sel(observable=name) for side in (predicted[arm], seen)]
            (p, dp), (o, do) = ((float(part.value), float(part.error)) for part in parts)
            rows.append({
                "arm": arm, "observable": str(name), "predicted": p, "predicted error": dp, "observed": o,
                "observed error": do, "gap": (o - p) / float(np.hypot(dp, do)),
            })  # fmt: skip
    return pd.DataFrame(rows)
