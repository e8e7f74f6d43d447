"""Stochastic gradient Hamiltonian Monte Carlo: Langevin with momentum."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from susceptometer.errors import RecipeError
from susceptometer.sampling.base import Info, Noise, SlopeFn


class SGHMCState(NamedTuple):
    """Position and momentum ``[chains, d]``."""

    position: Tensor
    momentum: Tensor


@dataclass(frozen=True, kw_only=True)
class SGHMC:
    r"""Stochastic gradient Hamiltonian Monte Carlo with friction ``alpha`` (chen2014).

        p' = (1 - alpha) p - eps grad U(w) + sqrt(2 alpha eps) xi,    w' = w + p'

    On U = P w^2/2: P Var(w) = 1/(1 - eps P/(2 (2 - alpha))); stable while eps P < 2 (2 - alpha).

    Args:
        step_size: eps, weight^2.
        alpha: Friction per step, in (0, 1).
    """

    step_size: float
    alpha: float = 0.1
    exact_gradient: ClassVar[bool] = False
    warm_up: ClassVar[int] = 0

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise RecipeError(
                "friction alpha must lie in (0, 1)",
                where="SGHMC",
                value=self.alpha,
                why="outside it the momentum never forgets or changes sign",
                do="use alpha=0.1",
            )

    def init(self, position: Tensor, noise: Noise) -> SGHMCState:
        """All chains at ``position``, at rest."""
        del noise
        return SGHMCState(position.clone(), torch.zeros_like(position))

    def step(self, state: SGHMCState, slope: SlopeFn, noise: Noise) -> tuple[SGHMCState, Info]:
        """One step of every chain."""
        here = slope(state.position)
        kick = (2 * self.alpha * self.step_size) ** 0.5 * noise.normal()
        momentum = (1 - self.alpha) * state.momentum - self.step_size * here.total + kick
        return SGHMCState(state.position + momentum, momentum), Info()
