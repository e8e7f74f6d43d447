"""Metropolis-adjusted Langevin algorithm: the exact referee for full-batch problems."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from susceptometer.posterior.local import Slope
from susceptometer.sampling.base import Info, Noise, SlopeFn


class MALAState(NamedTuple):
    """Position ``[chains, d]`` and, after the first step, the slope there."""

    position: Tensor
    slope: Slope | None


@dataclass(frozen=True, kw_only=True)
class MALA:
    r"""Metropolis-adjusted Langevin (roberts1996): SGLD proposals, accepted so that exp(-U) is exact.

        w' ~ q(.|w) = N(w - (eps/2) grad U(w), eps I);  accept with min(1, e^{U(w) - U(w')} q(w|w')/q(w'|w))

    Full-batch potentials only. No step bias at any eps; acceptance near 1 means SGLD at this eps is close.

    Args:
        step_size: eps, weight^2.
    """

    step_size: float
    exact_gradient: ClassVar[bool] = True
    warm_up: ClassVar[int] = 0

    def init(self, position: Tensor, noise: Noise) -> MALAState:
        """All chains at ``position``."""
        del noise
        return MALAState(position.clone(), None)

    def step(self, state: MALAState, slope: SlopeFn, noise: Noise) -> tuple[MALAState, Info]:
        """One proposal and one decision per chain."""
        here = state.slope or slope(state.position)
        ahead = self._mean(state.position, here) + self.step_size**0.5 * noise.normal()
        there = slope(ahead)
        log_ratio = here.potential - there.potential
        log_ratio = log_ratio + self._log_q(state.position, ahead, there)
        log_ratio = log_ratio - self._log_q(ahead, state.position, here)
        accepted = noise.uniform().log() < log_ratio
        kept = _choose(accepted, there, here)
        position = torch.where(accepted[:, None], ahead, state.position)
        return MALAState(position, kept), Info(accepted.to(position.dtype))

    def _mean(self, position: Tensor, slope: Slope) -> Tensor:
        return position - self.step_size / 2 * slope.total

    def _log_q(self, target: Tensor, source: Tensor, slope: Slope) -> Tensor:
        gap = target - self._mean(source, slope)
        return -gap.square().sum(-1) / (2 * self.step_size)


def _choose(accepted: Tensor, yes: Slope, no: Slope) -> Slope:
    wide = accepted[:, None]
    return Slope(
        torch.where(accepted, yes.value, no.value),
        torch.where(wide, yes.likelihood, no.likelihood),
        torch.where(wide, yes.pull, no.pull),
        yes.n_beta,
        yes.gamma,
    )
