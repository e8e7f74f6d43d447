"""The plain path: any loss, all chains at once by vmap, or one by one where vmap cannot."""

from dataclasses import dataclass

import torch
from torch import Tensor

from susceptometer.posterior.component import Component
from susceptometer.types import Batch, Carry, LossFn, Params, take


@dataclass(frozen=True)
class PlainStages:
    """A subject without structure, seen through the seam of ``Stages``: the carry is the batch itself.

    Args:
        params: w*.
        loss: Unreduced loss ``[rows, *event]``.
        vmapped: Evaluate all chains in one vmapped call; False loops over chains.
        forward_dtype: Weights are cast to this type for the forward pass only; the chain's own state stays
            in full precision and losses return to float32.
    """

    params: Params
    loss: LossFn
    vmapped: bool = True
    forward_dtype: torch.dtype | None = None

    def serves(self, component: Component) -> bool:
        """Every component of every model."""
        return bool(len(component))

    def place(self, component: Component) -> str:
        """One place for all: nothing is known to be frozen."""
        del component
        return "all"

    def prefix(self, component: Component, batch: Batch) -> Carry:
        """Nothing is known to be frozen: the batch ``[rows, ...]`` unchanged."""
        del component
        return batch

    def losses(self, component: Component, weights: Tensor, carry: Carry, rows: Tensor | None) -> Tensor:
        """Losses ``[chains, m, *event]`` of chains at ``weights`` ``[chains, d]``; see ``Stages``."""
        if self.vmapped:
            over_rows = None if rows is None else 0
            return torch.func.vmap(lambda w, index: self._one(component, w, carry, index), in_dims=(0, over_rows))(
                weights, rows
            )
        picks = [None] * len(weights) if rows is None else list(rows)
        return torch.stack([self._one(component, w, carry, index) for w, index in zip(weights, picks, strict=True)])

    def _one(self, component: Component, weights: Tensor, carry: Carry, rows: Tensor | None) -> Tensor:
        params = component.scatter(self.params, weights)
        if self.forward_dtype is not None:
            params = {name: _cast(value, self.forward_dtype) for name, value in params.items()}
        out = self.loss(params, carry if rows is None else take(carry, rows))
        return out if out.dtype == torch.float64 else out.float()


def _cast(value: Tensor, dtype: torch.dtype) -> Tensor:
    return value.to(dtype) if value.is_floating_point() else value


def plain_stages(params: Params, loss: LossFn, component: Component, batch: Batch) -> PlainStages:
    """The vmapped plain path if this loss allows it on ``batch``, otherwise the loop over chains."""
    one = component.gather(params)[None].detach()
    trial = PlainStages(params, loss)
    small = take(batch, torch.zeros(1, dtype=torch.int64))
    try:
        with torch.enable_grad():
            leaf = one.clone().requires_grad_(True)
            each = trial.losses(component, leaf, small, torch.zeros(1, 1, dtype=torch.int64))
            torch.autograd.grad(each.sum(), leaf)
    except (RuntimeError, ValueError, NotImplementedError):
        return PlainStages(params, loss, vmapped=False)
    return trial
