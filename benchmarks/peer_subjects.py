"""The benchmark's files as susceptometer subjects."""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from susceptometer.domains.hf import language_subject
from susceptometer.domains.transformer import TransformerConfig, loss
from susceptometer.domains.transformer_components import transformer_components
from susceptometer.domains.transformer_stages import TransformerStages
from susceptometer.posterior.component import Component, whole_component
from susceptometer.posterior.stages import Minibatch
from susceptometer.posterior.subject import Subject
from susceptometer.types import Batch, Carry


@dataclass(frozen=True)
class ToyStages:
    """The toy's loss for all chains at once; implements ``Stages``."""

    def serves(self, component: Component) -> bool:
        """There is only one component."""
        return bool(len(component))

    def prefix(self, component: Component, batch: Batch) -> Carry:
        """The batch itself."""
        del component
        return batch

    def losses(self, component: Component, weights: Tensor, carry: Carry, rows: Tensor | None) -> Tensor:
        """``[chains, 1]`` at ``weights [chains, d]``."""
        del component, carry, rows
        return (weights * weights).sum(1, keepdim=True) / 2

    def weighted_gradient(
        self, component: Component, weights: Tensor, carry: Carry, batch: Minibatch
    ) -> tuple[Tensor, Tensor]:
        """Value ``[chains]`` and gradient ``[chains, d]`` in closed form (``SlopedStages``)."""
        del component, carry
        grad = weights * batch.weights
        return (grad * weights).sum(1) / 2, grad


def toy(weights: int) -> Subject:
    """L(w) = |w|^2 / 2 on ``weights`` weights around w* = 0, one data row."""

    def potential(params: dict[str, Tensor], batch: dict[str, Tensor]) -> Tensor:
        value = (params["w"] * params["w"]).sum() / 2
        return value.expand(batch["row"].shape[0])

    params = {"w": torch.zeros(weights)}
    row = {"row": torch.zeros(1)}
    return Subject(
        name="toy",
        params=params,
        loss=potential,
        data=row,
        probes={"base": row},
        components={"all": whole_component("all", params)},
        stages=ToyStages(),
    )


def attention_only(folder: Path, tokens: Tensor, probe: Tensor, precision: str) -> Subject:
    """The attention-only net of ``peer_models.attention_only``."""
    config = TransformerConfig(**json.loads((folder / "config.json").read_text()))
    params = load_file(folder / "model.safetensors")
    return Subject(
        name="attention-only",
        params=params,
        loss=partial(loss, config=config),
        data={"tokens": tokens},
        probes={"base": {"tokens": probe}},
        components=transformer_components(params),
        stages=TransformerStages(params, config, precision),
    )


def language(job: dict) -> Subject:
    """The subject of a language job."""
    tokens, probe = (torch.from_numpy(np.load(job[key])) for key in ("tokens", "probe"))
    precision = job.get("precision", "float32")
    if job["architecture"] == "attention_only":
        return attention_only(Path(job["model"]), tokens, probe, precision)
    return language_subject(job["model"], tokens, {"base": probe}, precision=precision)
