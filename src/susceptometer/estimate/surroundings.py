"""Where the chains go: curvature and gradient noise at draws of a short run, not only at w*."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from susceptometer.estimate.curvature import spectrum
from susceptometer.estimate.gaussian_law import noise_level, row_residuals
from susceptometer.posterior.local import LocalPosterior
from susceptometer.sampling.coupling import independent
from susceptometer.sampling.recipe import Recipe
from susceptometer.sampling.run import OK, Keep, run_cell

DRAWS = 3
"""Chains of the short run; one draw of each is looked at."""


@dataclass(frozen=True)
class Surroundings:
    """What the loss looks like at a few draws.

    Args:
        largest: Largest curvature of L seen at a draw, nats/weight^2.
        smallest: Smallest curvature, mean over draws.
        noise: Variance of a mini-batch's gradient, mean over weights, (nats/weight)^2; 0 for full batches.
        residuals: Row gradients less their mean at one draw ``[rows, d]``; None for full batches.
    """

    largest: float
    smallest: float
    noise: float
    residuals: Tensor | None

    def tests(self, recipe: Recipe) -> dict[str, float]:
        """``softest`` and ``speed`` of conventions 7.7 test 5, for the arm at n_beta (1 + h)."""
        n_beta = recipe.n_beta + recipe.coupling.tilt(recipe.n_beta)
        return {
            "softest": recipe.gamma + n_beta * self.smallest,
            "speed": recipe.sampler.step_size * (n_beta * self.largest + recipe.gamma),
        }


def surroundings(posterior: LocalPosterior, recipe: Recipe, *, seed: int) -> Surroundings | None:
    """Curvature and gradient noise at one draw of each of three single chains; None if a chain failed."""
    short = replace(recipe, coupling=independent()).with_schedule(groups=DRAWS, draws=1, thin=1)
    cell = run_cell(posterior, short, seed=seed + 1, groups=range(DRAWS), keep=Keep(weights=True))
    if (cell["status"] != OK).any():
        return None
    places = torch.as_tensor(cell["kept_weights"].values[:, 0, 0]).to(posterior.center)
    found = [spectrum(posterior, seed=seed, at=at, starts=1, iterations=8) for at in places]
    noise = row_residuals(posterior, places[0], centered=recipe.centered) if recipe.batch_rows else None
    return Surroundings(
        largest=max(one.largest for one in found),
        smallest=sum(one.smallest for one in found) / len(found),
        noise=noise_level(noise, recipe.batch_rows) if noise is not None else 0.0,
        residuals=noise,
    )
