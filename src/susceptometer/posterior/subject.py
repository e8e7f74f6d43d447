"""A subject: everything a domain hands over so that its posterior can be sampled and read."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from susceptometer.errors import SubjectError
from susceptometer.posterior.component import Component
from susceptometer.posterior.moved import Memo, moved
from susceptometer.posterior.stages import Stages
from susceptometer.types import Batch, LossFn, Params, rows_of, take


@dataclass(frozen=True)
class Subject:
    """Trained weights w*, their unreduced loss, data, probes and named parts.

    Args:
        name: Short name, used in messages and files.
        params: w*, float32 or float64 tensors ``[*shape]`` (half precision is refused).
        loss: ``loss(params, batch) -> [rows, *event]``; unreduced, deterministic, nats for likelihoods.
        data: The rows that define L_n in the potential; named tensors ``[rows, ...]``.
        probes: Fixed named data read at every draw; the probe ``base`` defines Lbar and g.
        components: Name to component; a ``ComponentSet`` adds aliases and globs.
        stages: Optional structure for the fast engine.
        meta: What a page wants to show (token strings, model card, sources); never used in arithmetic.

    Raises:
        SubjectError: Half-precision weights, a reduced, non-finite or non-deterministic loss, no base probe.
    """

    name: str
    params: Params
    loss: LossFn
    data: Batch
    probes: Mapping[str, Batch]
    components: Mapping[str, Component]
    stages: Stages | None = None
    meta: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_precision(self)
        if "base" not in self.probes:
            raise SubjectError(
                "no probe named 'base'",
                where=f"subject {self.name}",
                value=sorted(self.probes),
                why="g = Lbar(w) - Lbar(w*) is read on the base probe",
                do="add probes={'base': a fixed part of the data, ...}",
            )
        _check_loss(self, self.probes)

    def with_params(self, params: Params) -> "Subject":
        """The same subject around other weights; stages are dropped, since they belong to the old ones."""
        return replace(self, params=params, stages=None)

    def with_data(self, data: Batch, probes: Mapping[str, Batch]) -> "Subject":
        """The same subject with other data and probes; only probes that are new here are checked.

        Args:
            data: Rows ``[rows, ...]`` of the same kind.
            probes: Named probes, among them ``base``.
        """
        other = copy.copy(self)
        object.__setattr__(other, "data", data)
        object.__setattr__(other, "probes", dict(probes))
        fresh = {name: batch for name, batch in probes.items() if self.probes.get(name) is not batch}
        _check_loss(other, fresh)
        return other

    def on(self, device: torch.device | str) -> "Subject":
        """The same subject computing on another device; itself where it is there already.

        Weights, data and probes are moved, and whatever tensors the loss and the stages hold (if they are modules,
        partials or dataclasses; a closure keeps its own).

        Raises:
            SubjectError: There is no such device.
        """
        device = torch.device(device)
        if device.type == "cuda" and not torch.cuda.is_available():
            raise SubjectError(
                "there is no CUDA device",
                where=f"subject {self.name}",
                value=str(device),
                why="PyTorch sees none (or was installed without CUDA)",
                do="use the device 'cpu'",
            )
        if all(value.device.type == device.type for value in self.params.values()):
            return self
        memo: Memo = {}
        other = copy.copy(self)  # checked already; moving changes no number but in its rounding
        for name in ("params", "data", "loss", "stages"):
            object.__setattr__(other, name, moved(getattr(self, name), device, memo))
        probes = {name: moved(dict(batch), device, memo) for name, batch in self.probes.items()}
        object.__setattr__(other, "probes", probes)
        return other

    @torch.no_grad()
    def center_loss(self, batch: Batch) -> Tensor:
        """Loss at w* ``[rows, *event]`` by the plain path."""
        return self.loss(self.params, batch)


def _check_precision(subject: Subject) -> None:
    for name, value in subject.params.items():
        if value.is_floating_point() and value.dtype not in (torch.float32, torch.float64):
            raise SubjectError(
                "weights are stored in half precision",
                where=f"{subject.name}:{name}",
                value=str(value.dtype),
                why="steps smaller than the rounding are lost and the learning coefficient comes out wrong",
                do="convert the weights to float32; bfloat16 products are chosen with the subject",
            )


def _check_loss(subject: Subject, probes: Mapping[str, Batch]) -> None:
    for probe, whole in probes.items():
        batch = take(whole, torch.arange(min(2, rows_of(whole))))
        first, second = subject.center_loss(batch), subject.center_loss(batch)
        where = f"loss of subject {subject.name} on probe {probe!r}"
        if first.ndim == 0 or first.shape[0] != rows_of(batch):
            raise SubjectError(
                "the loss is reduced",
                where=where,
                value=f"shape {tuple(first.shape)}",
                why="every reading needs one loss per row (and token)",
                do="return losses of shape [rows, *event]",
            )
        if not torch.isfinite(first).all():
            raise SubjectError(
                "the loss at w* is not finite",
                where=where,
                value=float(first.flatten()[0]),
                why="a posterior around this point cannot be sampled",
                do="check weights and data",
            )
        if not torch.equal(first, second):
            raise SubjectError(
                "two evaluations at w* differ",
                where=where,
                value=float((first - second).abs().max()),
                why="dropout, batch statistics or another randomness is on and would be read as structure",
                do="put the model in evaluation mode (model.eval()) and remove randomness from the loss",
            )
