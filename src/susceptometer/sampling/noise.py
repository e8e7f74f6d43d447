"""Noise and mini-batches of chain groups: one generator per group, so batching never changes a chain."""

from collections.abc import Sequence

import torch
from torch import Tensor

from susceptometer.posterior.local import LocalPosterior
from susceptometer.posterior.stages import Minibatch
from susceptometer.rng import stream
from susceptometer.sampling.coupling import Coupling
from susceptometer.sampling.recipe import Recipe
from susceptometer.types import rows_of

BLOCK_NUMBERS = 1 << 14
"""Normals drawn ahead per group and refill; depends on nothing but the number of weights."""


class GroupNoise:
    """Normals and uniforms for all chains of some groups, mirrored by the coupling's noise signs.

    Args:
        seed: Seed of the reading.
        names: Names that tell this posterior from others (component, purpose).
        groups: Absolute numbers of the groups.
        coupling: Supplies the noise sign of each member.
        center: Position of one chain ``[d]``; fixes size and precision.
    """

    def __init__(
        self,
        seed: int,
        names: Sequence[object],
        groups: Sequence[int],
        coupling: Coupling,
        center: Tensor,
    ) -> None:
        self._normals = [stream(seed, "noise", *names, group) for group in groups]
        self._uniforms = [stream(seed, "uniform", *names, group) for group in groups]
        self._signs = coupling.noise_signs().to(center)
        self._members, self._center = coupling.members, center
        self._block = max(1, BLOCK_NUMBERS // len(center))
        self._ahead: list[Tensor] = []
        self._next = self._block

    def normal(self) -> Tensor:
        """Standard normals ``[groups * members, d]``."""
        if self._next == self._block:
            shape, dtype = (self._block, len(self._center)), self._center.dtype
            each = [torch.randn(shape, generator=g, dtype=dtype) for g in self._normals]
            plain = torch.stack(each, 1).to(self._center.device)
            mirrored = plain[:, :, None] * self._signs[:, None]
            self._ahead = list(mirrored.flatten(1, 2))
            self._next = 0
        self._next += 1
        return self._ahead[self._next - 1]

    def uniform(self) -> Tensor:
        """Uniforms ``[groups * members]``, the same for the members of a group."""
        dtype = self._center.dtype
        each = torch.cat([torch.rand(1, generator=g, dtype=dtype) for g in self._uniforms])
        return each.repeat_interleave(self._members).to(self._center.device)


class GroupBatches:
    """Mini-batches of the posterior's data for every group, with the drift's and the tilt's weights.

    Each group has its own data order, so the spread between groups includes data noise. Rows are drawn
    with replacement; the tilt has its own independent rows m' (conventions 7.2).

    Args:
        posterior: Supplies data and n_beta.
        recipe: Batch sizes, coupling and centering.
        seed: Seed of the reading.
        groups: Absolute numbers of the groups.
    """

    def __init__(self, posterior: LocalPosterior, recipe: Recipe, *, seed: int, groups: Sequence[int]) -> None:
        self._posterior, self._coupling = posterior, recipe.coupling
        self._count, self._rows = rows_of(posterior.subject.data), recipe.batch_rows
        self._tilt_rows = recipe.tilt_rows or recipe.batch_rows or 0
        names = ("data", posterior.component.name)
        self._orders = [stream(seed, *names, group) for group in groups]
        self._arms = recipe.coupling.arm_signs().repeat(len(groups)).to(posterior.center)
        self._fixed: dict[float, Minibatch] = {}
        self._centered = recipe.centered and self._rows is not None

    def next(self, tilt: float) -> tuple[Minibatch, Tensor | None]:
        """The step's mini-batch and, if centered, what to add to the gradient ``[chains, d]``."""
        if self._rows is None:
            return self._full(tilt), None
        base = self._draw(self._rows)
        shared = self._coupling.shared_batch or not self._coupling.responds
        extra = base[:, :0] if shared else self._draw(self._tilt_rows)
        batch = self._split(torch.cat([base, extra], 1), base.shape[1], tilt)
        return batch, self._correction(base, base if shared else extra, tilt)

    def _draw(self, size: int) -> Tensor:
        picks = [torch.randint(self._count, (size,), generator=order) for order in self._orders]
        return torch.stack(picks)

    def _full(self, tilt: float) -> Minibatch:
        if tilt not in self._fixed:
            per_chain = (self._posterior.n_beta + tilt * self._arms) / self._count
            self._fixed[tilt] = Minibatch(None, None, per_chain[:, None].expand(-1, self._count))
        return self._fixed[tilt]

    def _split(self, rows: Tensor, base: int, tilt: float) -> Minibatch:
        groups, seen = rows.shape
        members = self._coupling.members
        index = torch.arange(groups * seen, device=self._arms.device).reshape(groups, seen)
        index = index.repeat_interleave(members, 0)
        n_beta, arms = self._posterior.n_beta, self._arms[:, None]
        if seen == base:
            weights = ((n_beta + tilt * arms) / base).expand(-1, base)
        else:
            drift = arms.new_full((len(arms), base), n_beta / base)
            weights = torch.cat([drift, (tilt * arms / (seen - base)).expand(-1, seen - base)], 1)
        return Minibatch(rows.reshape(-1).to(arms.device), index, weights)

    def _correction(self, base: Tensor, extra: Tensor, tilt: float) -> Tensor | None:
        if not self._centered:
            return None
        table = self._posterior.row_gradients()
        mean, members = table.mean(0), self._coupling.members
        drift = mean - table[base].mean(1)
        response = mean - table[extra].mean(1)
        both = self._posterior.n_beta * drift.repeat_interleave(members, 0)
        return both + tilt * self._arms[:, None] * response.repeat_interleave(members, 0)
