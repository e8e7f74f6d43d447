"""The local Gibbs posterior U(w) = n_beta L_n(w) + (gamma/2) |w - w*|^2 of one component, all chains at once."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from susceptometer.errors import RecipeError
from susceptometer.posterior.component import Component
from susceptometer.posterior.plain import plain_stages
from susceptometer.posterior.prefix import PrefixStore, carry_bytes
from susceptometer.posterior.products import reduced_products
from susceptometer.posterior.room import events_in_room, meter_for
from susceptometer.posterior.stages import Minibatch, PlacedStages, SlopedStages, Stages
from susceptometer.posterior.subject import Subject
from susceptometer.types import Batch, Carry, rows_of, take

CACHE_BYTES = 1 << 30
"""A table of row gradients is kept up to this size."""

PASS_EVENTS, OBSERVED_EVENTS = 8192, 1 << 15
"""Chains x rows x events of one pass with and without gradient on a CPU; on a GPU they follow free memory."""

TRIAL = 4
"""Chains and rows of the pass whose memory is measured on a GPU."""


class Slope(NamedTuple):
    """Gradient of U in its two parts, for every chain.

    value: n_beta L_m (+ tilt) on the batch, ``[chains]``.
    likelihood: Its gradient, ``[chains, d]``; the caller may overwrite it.
    pull: gamma (w - w*), ``[chains, d]``.
    n_beta: The factor inside ``likelihood``.
    gamma: The factor inside ``pull``.
    """

    value: Tensor
    likelihood: Tensor
    pull: Tensor
    n_beta: float
    gamma: float

    @property
    def total(self) -> Tensor:
        """grad U ``[chains, d]``."""
        return self.likelihood + self.pull

    @property
    def potential(self) -> Tensor:
        """U on the batch, ``[chains]``."""
        if self.gamma == 0:
            return self.value
        return self.value + self.pull.square().sum(-1) / (2 * self.gamma)


@dataclass(frozen=True)
class LocalPosterior:
    """U on the weights of one component, all other weights held at w* (conventions 3; lau2023).

    Args:
        subject: Supplies w*, loss and data.
        component: The weights that move; flat coordinates ``[d]``.
        n_beta: Effective inverse temperature, 1/nats.
        gamma: Strength of the pull to w*, 1/weight^2.
        structured: Use the subject's stages where they serve the component.
        prefixes: Holds prefixes of data and probes; the posteriors of a run share one.

    Raises:
        RecipeError: n_beta or gamma negative, or both zero.
    """

    subject: Subject
    component: Component
    n_beta: float
    gamma: float
    structured: bool = True
    prefixes: PrefixStore = field(default_factory=PrefixStore, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.n_beta < 0 or self.gamma < 0 or self.n_beta + self.gamma == 0:
            raise RecipeError(
                "n_beta and gamma must be >= 0 and not both 0",
                where=self.component.name,
                value=(self.n_beta, self.gamma),
                why="otherwise exp(-U) is no probability",
                do="fix n_beta by the question and gamma as small as chains stay local",
            )

    @cached_property
    def center(self) -> Tensor:
        """The component's weights at w*, ``[d]``, float32 or wider."""
        return self.component.gather(self.subject.params).detach()

    @cached_property
    def stages(self) -> Stages:
        """The subject's stages where they serve this component, else the plain path."""
        own = self.subject.stages
        if self.structured and own is not None and own.serves(self.component):
            return own
        return plain_stages(self.subject.params, self.subject.loss, self.component, self.subject.data)

    @cached_property
    def precision(self) -> str:
        """Of matrix products (`products.PRECISIONS`): the stages' choice; the plain path is in full precision."""
        return getattr(self.stages, "precision", "float32")

    @cached_property
    def events(self) -> int:
        """Losses per row (tokens of a sequence; 1 for a plain regression)."""
        first = take(self.subject.data, torch.zeros(1, dtype=torch.int64))
        return max(1, self.subject.center_loss(first).numel())

    def losses(self, weights: Tensor, carry: Carry, rows: Tensor | None = None) -> Tensor:
        """Losses ``[chains, m, *event]`` without gradient, all chains in one pass."""
        with torch.no_grad(), reduced_products(self.precision):
            return self.stages.losses(self.component, weights, carry, rows)

    def slope(self, weights: Tensor, batch: Minibatch) -> Slope:
        """Potential and gradient of every chain on its mini-batch.

        Args:
            weights: ``[chains, d]``.
            batch: Which data rows each chain sees and with which weight.
        """
        pull = (weights - self.center).mul_(self.gamma)
        if self.n_beta == 0 and not batch.weights.any():
            zero = torch.zeros_like(pull)
            return Slope(zero[:, 0], zero, pull, self.n_beta, self.gamma)
        carry = self.data_carry(batch.rows)
        value, grad = self.weighted_gradient(weights, carry, batch)
        return Slope(value, grad, pull, self.n_beta, self.gamma)

    def weighted_gradient(self, weights: Tensor, carry: Carry, batch: Minibatch) -> tuple[Tensor, Tensor]:
        """Sum over rows of weight x mean row loss, ``[chains]``, and its gradient ``[chains, d]``."""
        if self._sloped is not None:
            return self._sloped.weighted_gradient(self.component, weights, carry, batch)
        seen = rows_of(carry) if batch.index is None else batch.index.shape[1]
        size = max(1, self.pass_events // max(1, seen * self.events))
        picks = [None] * len(weights) if batch.index is None else batch.index.split(size)
        passes = zip(weights.split(size), picks, batch.weights.split(size), strict=False)
        found = [self._one_pass(w, carry, Minibatch(batch.rows, pick, share)) for w, pick, share in passes]
        values, grads = zip(*found, strict=True)
        return torch.cat(values), torch.cat(grads)

    def _one_pass(self, weights: Tensor, carry: Carry, batch: Minibatch) -> tuple[Tensor, Tensor]:
        """As `weighted_gradient`, of as many chains as one pass holds."""
        leaf = weights.detach().requires_grad_(True)
        with torch.enable_grad(), reduced_products(self.precision):
            loss = self.stages.losses(self.component, leaf, carry, batch.index)
            per_row = loss.flatten(2).mean(2) if loss.ndim > 2 else loss
            value = (batch.weights * per_row).sum(1)
            return value.detach(), torch.autograd.grad(value.sum(), leaf)[0]

    @cached_property
    def pass_events(self) -> int:
        """Chains x rows x events of one differentiated pass; larger work is cut into blocks of chains."""
        meter = meter_for(self.center)
        rows = torch.arange(min(TRIAL, rows_of(self.subject.data)))
        carry = {} if meter is None else self.data_carry(rows)
        weights = self.center.expand(TRIAL, -1)
        batch = Minibatch(rows, None, weights.new_ones(TRIAL, len(rows)))
        events = TRIAL * len(rows) * self.events
        return events_in_room(PASS_EVENTS, lambda: self._one_pass(weights, carry, batch), events, meter)

    @cached_property
    def observed_events(self) -> int:
        """Chains x rows x events of one pass without gradient."""
        meter = meter_for(self.center)
        rows = torch.arange(min(TRIAL, rows_of(self.subject.data)))
        carry = {} if meter is None else self.data_carry(rows)
        weights, events = self.center.expand(TRIAL, -1), TRIAL * len(rows) * self.events
        return events_in_room(OBSERVED_EVENTS, lambda: self.losses(weights, carry), events, meter)

    def data_carry(self, rows: Tensor | None) -> Carry:
        """Prefix of the chosen data rows ``[unique, ...]``; cached for the whole data where it fits."""
        whole = self._whole_carry
        if whole is not None:
            return whole if rows is None else take(whole, rows)
        data = self.subject.data
        return self.carry(data if rows is None else take(data, rows))

    def carry(self, batch: Batch) -> Carry:
        """Prefix of a batch, without gradient."""
        with torch.no_grad():
            return self.stages.prefix(self.component, batch)

    def row_gradients(self) -> Tensor:
        """Gradient of every data row's mean loss at w*, ``[rows, d]`` (kept; see ``CACHE_BYTES``).

        Raises:
            RecipeError: The table would exceed ``CACHE_BYTES``.
        """
        return self._row_gradients

    def row_gradient_bytes(self) -> int:
        """Bytes of the table of ``row_gradients``."""
        return rows_of(self.subject.data) * len(self.component) * self.center.element_size()

    @cached_property
    def _sloped(self) -> SlopedStages | None:
        return self.stages if isinstance(self.stages, SlopedStages) else None

    @cached_property
    def _row_gradients(self) -> Tensor:
        if self.row_gradient_bytes() > CACHE_BYTES:
            raise RecipeError(
                "the table of row gradients does not fit",
                where=self.component.name,
                value=f"{self.row_gradient_bytes() / 2**30:.1f} GiB",
                why="centered gradients subtract each row's gradient at w*",
                do="use fewer data rows or centered=False",
            )
        count, out = rows_of(self.subject.data), []
        for start in range(0, count, 64):
            rows = torch.arange(start, min(start + 64, count))
            each = torch.arange(len(rows))[:, None]
            weights = self.center.expand(len(rows), -1)
            batch = Minibatch(rows, each, torch.ones(len(rows), 1, dtype=self.center.dtype))
            out.append(self.weighted_gradient(weights, self.data_carry(rows), batch)[1])
        return torch.cat(out)

    def carries(self, what: Hashable, batches: Sequence[Batch]) -> Iterable[Carry]:
        """Prefixes of fixed batches, made once for all components that act from the same place on.

        Args:
            what: Names the batches: equal names mean equal batches.
            batches: Chunks ``[rows, ...]``.
        """
        return self.prefixes.carries((what, self._place), batches, self.carry)

    @cached_property
    def _place(self) -> Hashable:
        stages = self.stages
        place = stages.place(self.component) if isinstance(stages, PlacedStages) else self.component.name
        return type(stages).__name__, place

    @cached_property
    def _whole_carry(self) -> Carry | None:
        data = self.subject.data
        one = self.carry(take(data, torch.zeros(1, dtype=torch.int64)))
        key = ("data", self._place)
        if self.prefixes.where(key) != "memory" and not self.prefixes.fits(key, carry_bytes(one, rows_of(data))):
            return None
        return next(iter(self.prefixes.carries(key, [data], self._in_parts)))

    def _in_parts(self, data: Batch) -> Carry:
        """The prefix of all rows, 32 at a time."""
        parts = [self.carry(take(data, rows)) for rows in torch.arange(rows_of(data)).split(32)]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
