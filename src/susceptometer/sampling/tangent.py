"""The h -> 0 limit of coupled chains: carry a = dw/d(n_beta) beside every chain (conventions 7.3)."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from susceptometer.errors import RecipeError
from susceptometer.posterior.local import LocalPosterior
from susceptometer.rng import stream
from susceptometer.sampling.moments import probe_order
from susceptometer.sampling.noise import GroupNoise
from susceptometer.sampling.recipe import Recipe
from susceptometer.sampling.sgld import SGLD, LeimkuhlerMatthews
from susceptometer.types import rows_of, take


def tangent_cell(posterior: LocalPosterior, recipe: Recipe, *, seed: int, groups: Sequence[int]) -> xr.Dataset:
    r"""Sample chains with their tangents and return the response of every token's loss to n_beta.

        a_0 = 0,  a' = a - (eps/2) Hess U_m(w) a - (eps/2) grad L_m'(w),   d l/d n_beta = grad l(w) . a

    No finite-h bias and no rounding from small differences; about two gradients dearer per step than one arm
    of a pair, and forward-mode derivatives are needed (plain path). The result has the ``pair`` and
    ``loss`` of a coupled cell, so ``estimate.susceptibility.coupled_column`` reads it unchanged, and ``tangent`` = |a|
    at every step (heavy tails there mean that the error bar is not to be trusted, conventions 7.7).

    Args:
        posterior: What is sampled.
        recipe: SGLD or LeimkuhlerMatthews; the coupling's response arms must be off.
        seed: Names all random streams.
        groups: Absolute group numbers.

    Raises:
        RecipeError: Another sampler, or response arms.
    """
    _check(recipe)
    run = _Tangent(posterior, recipe, seed, groups)
    for step in range(recipe.schedule.steps):
        run.step(step)
        taken = step + 1 - recipe.schedule.burn_in
        if taken > 0 and taken % recipe.schedule.thin == 0:
            run.draw(taken // recipe.schedule.thin - 1)
    return run.dataset()


def _check(recipe: Recipe) -> None:
    if not isinstance(recipe.sampler, SGLD | LeimkuhlerMatthews):
        raise RecipeError(
            "the tangent recursion is written for SGLD and LeimkuhlerMatthews",
            where="tangent_cell",
            value=type(recipe.sampler).__name__,
            why="other samplers carry more state",
            do="use one of them, or coupled pairs",
        )
    if recipe.coupling.responds:
        raise RecipeError(
            "a tangent run has no response arms",
            where="tangent_cell",
            value=recipe.coupling,
            why="the tangent is the limit h -> 0 of the arms",
            do="use antithetic() or independent()",
        )


class _Tangent:
    """State and records of a tangent run; chains are ``[groups * signs]``."""

    def __init__(self, posterior: LocalPosterior, recipe: Recipe, seed: int, groups: Sequence[int]) -> None:
        self._posterior, self._recipe, self._groups = posterior, recipe, list(groups)
        self._signs = recipe.coupling.signs
        center = posterior.center
        self._noise = GroupNoise(seed, (posterior.component.name,), groups, recipe.coupling, center)
        self._orders = [stream(seed, "data", posterior.component.name, g) for g in groups]
        self._w = center.expand(len(groups) * self._signs, -1).clone()
        self._a = torch.zeros_like(self._w)
        averaged = isinstance(recipe.sampler, LeimkuhlerMatthews)
        self._previous = self._noise.normal().clone() if averaged else None
        self._record(recipe.schedule.steps, recipe.schedule.draws)

    def step(self, step: int) -> None:
        """One step of chains and tangents."""
        eps, gamma, n_beta = self._recipe.sampler.step_size, self._posterior.gamma, self._posterior.n_beta
        drift_rows, source_rows = self._rows()
        both = torch.func.vmap(
            lambda w, a, rows: torch.func.jvp(torch.func.grad(partial(self._mean, rows=rows)), (w,), (a,))[:2]
        )
        grad, curved = both(self._w, self._a, drift_rows)
        source = torch.func.vmap(torch.func.grad(self._mean))(self._w, source_rows)
        pull = gamma * (self._w - self._posterior.center)
        self._a = self._a - eps / 2 * (n_beta * curved + gamma * self._a + source)
        self._w = self._w - eps / 2 * (n_beta * grad + pull) + eps**0.5 * self._kick()
        norms = self._a.norm(dim=1).reshape(len(self._groups), self._signs)
        self._norms[:, :, step] = norms

    def draw(self, draw: int) -> None:
        """Losses and their derivatives along the tangents, at the same w."""
        values, slopes = zip(*[self._probe(name) for name in self._probes], strict=True)
        shape = (len(self._groups), self._signs, -1)
        value, slope = torch.cat(values, 1).double(), torch.cat(slopes, 1).double()
        rise = (value - self._center).reshape(shape)
        self._loss[:, :, draw] = rise[:, :, : self._base].mean(2)
        half = int(2 * draw >= self._recipe.schedule.draws)
        self._pair[:, half] += slope.reshape(shape).mean(1)

    def dataset(self) -> xr.Dataset:
        """The records under the names of a coupled cell."""
        healthy = torch.isfinite(self._loss).flatten(1).all(1).numpy()
        data = {
            "loss": (("group", "member", "draw"), self._loss.numpy()),
            "pair": (("group", "half", "token"), self._pair.numpy()),
            "tangent": (("group", "sign", "step"), self._norms.numpy()),
            "status": (("group",), np.where(healthy, 0, 1).astype(np.int8)),
            "failed_step": (("group",), np.where(healthy, -1, 0)),
            "center_loss": (("token",), self._center.numpy()),
        }
        return xr.Dataset(data, {"group": self._groups}, {"base_tokens": self._base})

    def _record(self, steps: int, draws: int) -> None:
        probes = self._posterior.subject.probes
        self._probes = probe_order(list(probes))
        losses = [self._posterior.subject.center_loss(probes[name]) for name in self._probes]
        self._center = torch.cat([loss.reshape(-1) for loss in losses]).double()
        self._base = losses[0].numel()
        groups = len(self._groups)
        self._pair = torch.zeros(groups, 2, len(self._center), dtype=torch.float64)
        self._loss = torch.full((groups, self._signs, draws), torch.nan, dtype=torch.float64)
        self._norms = torch.zeros(groups, self._signs, steps)

    def _mean(self, weights: Tensor, rows: Tensor) -> Tensor:
        batch = take(self._posterior.subject.data, rows)
        params = self._posterior.component.scatter(self._posterior.subject.params, weights)
        return self._posterior.subject.loss(params, batch).mean()

    def _probe(self, name: str) -> tuple[Tensor, Tensor]:
        batch = self._posterior.subject.probes[name]

        def losses(weights: Tensor) -> Tensor:
            params = self._posterior.component.scatter(self._posterior.subject.params, weights)
            return self._posterior.subject.loss(params, batch).reshape(-1)

        pushed = torch.func.vmap(lambda w, a: torch.func.jvp(losses, (w,), (a,))[:2])
        return pushed(self._w, self._a)

    def _rows(self) -> tuple[Tensor, Tensor]:
        count, size = rows_of(self._posterior.subject.data), self._recipe.batch_rows
        if size is None:
            whole = torch.arange(count).expand(len(self._w), -1)
            return whole, whole
        draws = [
            torch.stack([torch.randint(count, (rows,), generator=order) for order in self._orders])
            for rows in (size, self._recipe.tilt_rows or size)
        ]
        first, second = (draw.repeat_interleave(self._signs, 0) for draw in draws)
        return first, second

    def _kick(self) -> Tensor:
        fresh = self._noise.normal()
        if self._previous is None:
            return fresh
        kick, self._previous = (self._previous + fresh) / 2, fresh
        return kick
