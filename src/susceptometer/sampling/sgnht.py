"""Stochastic gradient Nose-Hoover thermostat: friction that adapts until the kinetic energy is right."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from susceptometer.sampling.base import Info, Noise, SlopeFn


class SGNHTState(NamedTuple):
    """Position and momentum ``[chains, d]``, thermostat ``[chains]``."""

    position: Tensor
    momentum: Tensor
    thermostat: Tensor


@dataclass(frozen=True, kw_only=True)
class SGNHT:
    r"""Nose-Hoover thermostat (ding2014).

        p' = p - s grad U(w) - s z p + sqrt(2 A s) xi,   w' = w + s p',   z' = z + s (mean(p'^2) - 1)

    with time step s, z_0 = A, p_0 ~ N(0, I). z absorbs mini-batch noise. Checked by equipartition:
    P Var(w) = 1 and mean(p^2) = 1 on a quadratic.

    Args:
        step_size: s, in weight units of time (its square compares with SGLD's eps/2).
        diffusion: A.
    """

    step_size: float
    diffusion: float = 1.0
    exact_gradient: ClassVar[bool] = False
    warm_up: ClassVar[int] = 0

    def init(self, position: Tensor, noise: Noise) -> SGNHTState:
        """All chains at ``position`` with unit-temperature momenta and the thermostat at A."""
        heat = position.new_full((len(position),), self.diffusion)
        return SGNHTState(position.clone(), noise.normal().clone(), heat)

    def step(self, state: SGNHTState, slope: SlopeFn, noise: Noise) -> tuple[SGNHTState, Info]:
        """One step of every chain."""
        here, s = slope(state.position), self.step_size
        friction = 1 - s * state.thermostat[:, None]
        kick = (2 * self.diffusion * s) ** 0.5 * noise.normal()
        momentum = friction * state.momentum - s * here.total + kick
        heat = state.thermostat + s * (momentum.square().mean(-1) - 1)
        return SGNHTState(state.position + s * momentum, momentum, heat), Info()


def kinetic_temperature(state: SGNHTState) -> Tensor:
    """Mean squared momentum of each chain ``[chains]``; 1 when the thermostat works."""
    return torch.mean(state.momentum.square(), dim=-1)
