"""How far a step size moves the answers: the same Brownian path walked in steps eps and in steps eps/2."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, cast

import numpy as np
import xarray as xr
from torch import Tensor

from susceptometer.estimate.estimate import covariance_of_means
from susceptometer.posterior.local import LocalPosterior
from susceptometer.sampling.base import Info, Noise, Sampler, SlopeFn, State
from susceptometer.sampling.recipe import Recipe
from susceptometer.sampling.run import run_cell
from susceptometer.sampling.sgld import LeimkuhlerMatthews


class PairedNoise(NamedTuple):
    """Normals of a step twice as long: (xi_2k + xi_2k+1)/sqrt 2, the increment of the same Brownian path."""

    fine: Noise

    def normal(self) -> Tensor:
        """Standard normal ``[chains, d]`` from two of the fine ones."""
        return self.fine.normal().add(self.fine.normal()).mul_(0.5**0.5)

    def uniform(self) -> Tensor:
        """Uniform ``[chains]``."""
        return self.fine.uniform()


@dataclass(frozen=True)
class OnPairedNoise:
    """A sampler that reads two of the stream's normals for each of its own (giles2008: coupled levels)."""

    inner: Sampler

    @property
    def step_size(self) -> float:
        """The inner sampler's."""
        return self.inner.step_size

    @property
    def exact_gradient(self) -> bool:
        """The inner sampler's."""
        return self.inner.exact_gradient

    @property
    def warm_up(self) -> int:
        """The inner sampler's."""
        return self.inner.warm_up

    def init(self, position: Tensor, noise: Noise) -> State:
        """The inner start."""
        return self.inner.init(position, PairedNoise(noise))

    def step(self, state: State, slope: SlopeFn, noise: Noise) -> tuple[State, Info]:
        """One inner step."""
        return self.inner.step(state, slope, PairedNoise(noise))


@dataclass(frozen=True)
class Levels:
    """Cells of the same groups at eps and at eps/2 on the same noise, and what they say about eps -> 0.

    With a bias of order k in eps, bias(eps) = (value(eps) - value(eps/2))/(1 - 2^-k), reported relative to the value at
    eps less that bias.

    Args:
        coarse: Cell at the recipe's step.
        fine: Cell at half of it, twice the steps.
        order: k: 1 for SGLD and for mini-batch heating, 2 for full-batch Leimkuhler-Matthews.
    """

    coarse: xr.Dataset
    fine: xr.Dataset
    order: int

    def loss_bias(self) -> tuple[float, float]:
        """Relative step bias of E[L] - L(w*) (so of the learning coefficient), and its standard error."""
        sides = [cell["loss"].mean(("member", "draw")).values for cell in (self.coarse, self.fine)]
        return self._relative(*sides)

    def response_bias(self) -> tuple[float, float]:
        """Relative step bias of susceptibilities, and its standard error.

        With response arms: slope of the column at eps on that of the limit, over the base tokens. Without: of Var(L), which
        is minus the susceptibility of the loss itself (conventions 8.5) and stands for those of the tokens.
        """
        if not self.coarse.sizes["half"]:
            return self._relative(_variance_shares(self.coarse), _variance_shares(self.fine))
        sides = [cell["pair"].values.sum(1) / cell.sizes["draw"] for cell in (self.coarse, self.fine)]
        base = slice(0, self.coarse.attrs["base_tokens"])
        coarse, fine = (side[:, base] - side[:, base].mean(1, keepdims=True) for side in sides)
        rest = (fine.sum(0) - fine) / (len(fine) - 1)  # the column of the other groups: no group is its own yardstick
        return self._relative((coarse * rest).sum(1), (fine * rest).sum(1))

    def _relative(self, coarse: np.ndarray, fine: np.ndarray) -> tuple[float, float]:
        """Bias of the coarse groups' mean over their unbiased mean, by ratio of means over groups."""
        factor = 1 / (1 - 0.5**self.order)
        gap = factor * (coarse - fine)
        limit = coarse.mean() - gap.mean()
        if limit == 0:
            return float("nan"), float("nan")
        ratio = gap.mean() / limit
        spread = (gap - ratio * (coarse - gap)).std(ddof=1) / np.sqrt(len(gap))
        return float(ratio), float(spread / abs(limit))


def _variance_shares(cell: xr.Dataset) -> np.ndarray:
    """Every group's share of Var(L), ``[groups]``, with the unbiased variance as their mean."""
    loss = cell["loss"].values
    mean = loss.mean((1, 2))
    inside = (loss**2).mean((1, 2)) - mean**2
    between, shares = covariance_of_means(mean, mean)
    shares = inside + shares
    return shares - shares.mean() + inside.mean() + between


def levels(posterior: LocalPosterior, recipe: Recipe, *, seed: int, groups: Sequence[int]) -> Levels:
    """Run the same groups at the recipe's step and at half of it, on one Brownian path each.

    Args:
        posterior: What is sampled.
        recipe: Its schedule counts steps at the full step size; thinning is kept.
        seed: Names the random streams.
        groups: Absolute group numbers.
    """
    schedule, sampler = recipe.schedule, cast("Any", recipe.sampler)
    wide = replace(recipe, sampler=OnPairedNoise(sampler))
    half = replace(
        recipe, sampler=replace(sampler, step_size=sampler.step_size / 2),
        schedule=replace(schedule, burn_in=2 * schedule.burn_in, draws=2 * schedule.draws),
    )  # fmt: skip
    second = isinstance(sampler, LeimkuhlerMatthews) and recipe.batch_rows is None
    return Levels(
        run_cell(posterior, wide, seed=seed, groups=groups),
        run_cell(posterior, half, seed=seed, groups=groups),
        2 if second else 1,
    )
