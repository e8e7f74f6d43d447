"""A sequence law and a model of it as a subject: the loss is exact over all contexts, labels may be truncated."""

from collections.abc import Callable

import torch
from torch import Tensor

from susceptometer.posterior.component import whole_component
from susceptometer.posterior.subject import Subject
from susceptometer.testbed.form import Array
from susceptometer.types import Batch, Params

LogLaw = Callable[[Params], Tensor]
"""Weights to log p(y|x) ``[contexts, outputs]``."""


def law_subject(name: str, center: Params, log_law: LogLaw, labels: Array, weights: Array) -> Subject:
    """The population loss L(w) = -sum_x q(x) sum_y C(x)_y log p_w(y|x) with one row per context.

    Args:
        name: Short name.
        center: w*.
        log_law: The model.
        labels: C(x)_y ``[contexts, outputs]``: the law, or its truncation (signed entries allowed).
        weights: q(x) ``[contexts]``.

    Returns:
        A subject with the component ``full``; row x has the loss scaled by q(x) times the number of contexts, so that
        the mean over rows is L.
    """
    scaled = torch.as_tensor(labels * (weights * len(weights))[:, None]).to(next(iter(center.values())).dtype)

    def loss(params: Params, batch: Batch) -> Tensor:
        return -(scaled * log_law(params)).sum(-1)[batch["context"]]

    data = {"context": torch.arange(len(weights))}
    return Subject(name, center, loss, data, {"base": data}, {"full": whole_component("full", center)})
