"""The one training loop: any unreduced loss, weights per example or token, several models at once,
resumable.

Everything the next step needs is in three things: the weights, the optimiser's moments and the step
number. Data and randomness are functions of the step (``source(step)``), so a run that was killed
at any moment and started again gives bit for bit the weights of a run that was not.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from susceptometer.errors import RunError
from susceptometer.train.adamw import AdamW, Moments, adamw_step, zero_moments
from susceptometer.train.checkpoint import read_tensors, write_tensors
from susceptometer.train.weights import weighted_mean
from susceptometer.types import Batch, Params

StackedLoss = Callable[[Params, Batch], Tensor]
"""``loss(params, batch) -> [models, rows, *event]`` for weights and batch with a leading axis of models."""

Source = Callable[[int], Batch]
"""``source(step) -> batch [models, rows, ...]``: a pure function of the step; may hold ``"weights"``."""

Measure = Callable[[int, Params], Mapping[str, object]]
"""``measure(step, params) -> values``: what the log keeps at a step; values must be JSON."""


@dataclass(frozen=True)
class Training:
    """Settings of a run. ``keep`` and ``measure_at`` list the steps whose weights and scores are stored.

    The learning rate rises linearly over ``warm_up`` steps, stays, and falls linearly to zero over the last
    ``cool_down``. ``save_every`` is the number of steps between states to resume from.
    """

    steps: int
    learning_rate: float
    warm_up: int = 0
    cool_down: int = 0
    optimizer: AdamW = field(default_factory=AdamW)
    save_every: int = 200
    keep: tuple[int, ...] = ()
    measure_at: tuple[int, ...] = ()

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of the move from ``step`` to ``step + 1``."""
        rise = (step + 1) / self.warm_up if self.warm_up else 1.0
        fall = (self.steps - step) / self.cool_down if self.cool_down else 1.0
        return self.learning_rate * min(rise, fall, 1.0)


@dataclass
class State:
    """Weights ``[models, ...]`` and moments after ``step`` steps."""

    step: int
    params: Params
    moments: Moments


def stack(models: list[Params]) -> Params:
    """Several models of one shape as one: every weight gets a leading axis ``[models, ...]``."""
    return {name: torch.stack([model[name] for model in models]) for name in models[0]}


def unstack(params: Params) -> list[Params]:
    """The models of a stack, one by one."""
    count = len(next(iter(params.values())))
    return [{name: w[i].detach().clone() for name, w in params.items()} for i in range(count)]


def stacked(loss: Callable[[Params, Batch], Tensor]) -> StackedLoss:
    """A loss of one model, ``[rows, *event]``, as a loss of a stack (``torch.func.vmap``)."""
    return torch.func.vmap(loss)


def train(
    loss: StackedLoss,
    params: Params,
    source: Source,
    *,
    settings: Training,
    into: Path,
    measure: Measure | None = None,
) -> Params:
    """Train a stack of models, from the state found in ``into`` or else from ``params``.

    Args:
        loss: Unreduced loss of the stack, nats.
        params: Starting weights, ``[models, ...]``.
        source: Batch of each step; ``batch["weights"]``, if there, weighs examples or tokens.
        settings: Length, learning rate, optimiser, what to keep.
        into: Folder of the run: ``state.safetensors``, ``step########.safetensors``, ``log.jsonl``.
        measure: Values for the log at the steps ``settings.measure_at``.

    Returns:
        The weights after the last step.

    Raises:
        RunError: ``into`` holds a run of other settings, or the loss became NaN.
    """
    into.mkdir(parents=True, exist_ok=True)
    state = resumed(into, settings) or State(0, fresh(params), zero_moments(params))
    trim_log(into / "log.jsonl", state.step)
    while True:
        record(state, settings, into, measure)
        if state.step >= settings.steps:
            return {name: w.detach() for name, w in state.params.items()}
        advance(state, loss, source(state.step), settings)


def fresh(params: Params) -> Params:
    """Copies of ``params`` that collect gradients."""
    return {name: w.detach().clone().requires_grad_() for name, w in params.items()}


def advance(state: State, loss: StackedLoss, batch: Batch, settings: Training) -> None:
    """One optimiser step, in place."""
    per_model = weighted_mean(loss(state.params, batch), batch.get("weights"))
    if not torch.isfinite(per_model).all():
        raise RunError(
            "the training loss is not finite",
            where=f"step {state.step}",
            value=per_model.tolist(),
            why="every later weight would be NaN",
            do="lower the learning rate or clip the gradient; the run resumes from its last state",
        )
    for w in state.params.values():
        w.grad = None
    per_model.sum().backward()
    state.step += 1
    rate = settings.learning_rate_at(state.step - 1)
    adamw_step(settings.optimizer, state.params, state.moments, step=state.step, learning_rate=rate)


def record(state: State, settings: Training, into: Path, measure: Measure | None) -> None:
    """Store what is due at this step: scores, then weights, then the state to resume from."""
    step, last = state.step, state.step == settings.steps
    weights = {name: w.detach() for name, w in state.params.items()}
    if measure and (last or step in settings.measure_at):
        with (into / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps({"step": step, **measure(step, weights)}) + "\n")
    if last or step in settings.keep:
        write_tensors(into / f"step{step:08d}.safetensors", weights, {"step": str(step)})
    if last or (step and step % settings.save_every == 0):
        save(state, settings, into)


def save(state: State, settings: Training, into: Path) -> None:
    """Write the state to resume from, atomically."""
    groups = {"w": state.params, "m": state.moments.first, "v": state.moments.second}
    flat = {f"{key}/{n}": t.detach() for key, group in groups.items() for n, t in group.items()}
    about = {"step": str(state.step), "settings": fingerprint(settings)}
    write_tensors(into / "state.safetensors", flat, about)


def fingerprint(settings: Training) -> str:
    """The settings that every step depends on; length and cool-down may change when a run goes on."""
    kept = (settings.learning_rate, settings.warm_up, settings.optimizer)
    return repr(kept)


def resumed(into: Path, settings: Training) -> State | None:
    """The state stored in ``into``, or None where there is none."""
    path = into / "state.safetensors"
    if not path.exists():
        return None
    flat, about = read_tensors(path)
    if about.get("settings") != fingerprint(settings):
        raise RunError(
            "the stored run has other settings",
            where=str(path),
            value=about.get("settings"),
            why=f"going on with {fingerprint(settings)} would give weights of neither",
            do="give the settings it was begun with, or another folder",
        )
    groups = {key: group(flat, key) for key in "wmv"}
    return State(int(about["step"]), fresh(groups["w"]), Moments(groups["m"], groups["v"]))


def group(flat: Params, key: str) -> Params:
    """The tensors stored under ``key/``."""
    return {n.removeprefix(f"{key}/"): t for n, t in flat.items() if n.startswith(f"{key}/")}


def trim_log(path: Path, step: int) -> None:
    """Drop the lines a killed run wrote at or after the step it resumes from; they are written again."""
    if path.exists():
        lines = path.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if complete(line) and json.loads(line)["step"] < step]
        path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")


def complete(line: str) -> bool:
    """Whether a log line was written to its end before the run was killed."""
    return line.startswith("{") and line.endswith("}")
