"""The few words every room shares: parameters, batches, losses and one estimate with its error."""

from collections.abc import Callable, Mapping

from torch import Tensor

Params = dict[str, Tensor]
"""All weights of a model by name, each ``[*shape]`` float32 or float64."""

Batch = Mapping[str, Tensor]
"""Named tensors that share their leading axis: ``[rows, ...]``."""

Carry = Mapping[str, Tensor]
"""What the frozen prefix of a model hands on for a batch: named tensors ``[rows, ...]``."""

LossFn = Callable[[Params, Batch], Tensor]
"""``loss(params, batch) -> [rows, *event]``: unreduced, deterministic, differentiable."""


def rows_of(batch: Batch) -> int:
    """Number of rows of a batch (the common leading size)."""
    return next(iter(batch.values())).shape[0]


def take(batch: Batch, rows: Tensor) -> dict[str, Tensor]:
    """The rows ``rows`` (any index shape ``[...]``) of every tensor: ``[..., *rest]``."""
    return {name: value[rows] for name, value in batch.items()}
