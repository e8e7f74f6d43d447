"""Stochastic gradient Langevin dynamics: plain, and its Leimkuhler-Matthews form."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from torch import Tensor

from susceptometer.sampling.base import Info, Noise, SlopeFn


class SGLDState(NamedTuple):
    """Position ``[chains, d]``."""

    position: Tensor


@dataclass(frozen=True, kw_only=True)
class SGLD:
    r"""Euler-Maruyama steps of the Langevin diffusion of exp(-U) (welling2011; local form lau2023).

        w' = w - (eps/2) grad U(w) + sqrt(eps) xi,    xi ~ N(0, I)

    Unadjusted. On U = p w^2/2 the stationary variance is 1/(p (1 - eps p/4)); stable while eps p < 4.

    Args:
        step_size: eps, weight^2.
    """

    step_size: float
    exact_gradient: ClassVar[bool] = False
    warm_up: ClassVar[int] = 0

    def init(self, position: Tensor, noise: Noise) -> SGLDState:
        """All chains at ``position`` ``[chains, d]``."""
        del noise
        return SGLDState(position.clone())

    def step(self, state: SGLDState, slope: SlopeFn, noise: Noise) -> tuple[SGLDState, Info]:
        """One step of every chain; the update is one fused sum in the state's own precision."""
        here = slope(state.position)
        moved = state.position.add(here.likelihood.add_(here.pull), alpha=-self.step_size / 2)
        moved.add_(noise.normal(), alpha=self.step_size**0.5)
        return SGLDState(moved), Info()


class LeimkuhlerMatthewsState(NamedTuple):
    """Position and the previous step's noise, ``[chains, d]`` each."""

    position: Tensor
    previous: Tensor


@dataclass(frozen=True, kw_only=True)
class LeimkuhlerMatthews:
    r"""Langevin steps with averaged noise (leimkuhler2013): second-order, exact on every quadratic.

        w' = w - (eps/2) grad U(w) + sqrt(eps) (xi_t + xi_{t+1})/2

    On U = p w^2/2 the stationary variance is exactly 1/p for every eps p < 4, so the learning coefficient
    and the coupled response carry no step bias there; the position forgets its past by 1 - eps p/2 per
    step, so eps = 2/p gives nearly fresh draws. Cost: one gradient, as SGLD.

    Args:
        step_size: eps, weight^2.
    """

    step_size: float
    exact_gradient: ClassVar[bool] = False
    warm_up: ClassVar[int] = 0

    def init(self, position: Tensor, noise: Noise) -> LeimkuhlerMatthewsState:
        """All chains at ``position`` ``[chains, d]``, with a first noise."""
        return LeimkuhlerMatthewsState(position.clone(), noise.normal().clone())

    def step(
        self, state: LeimkuhlerMatthewsState, slope: SlopeFn, noise: Noise
    ) -> tuple[LeimkuhlerMatthewsState, Info]:
        """One step of every chain."""
        here, fresh = slope(state.position), noise.normal()
        moved = state.position.add(here.likelihood.add_(here.pull), alpha=-self.step_size / 2)
        moved.add_(state.previous.add(fresh), alpha=self.step_size**0.5 / 2)
        return LeimkuhlerMatthewsState(moved, fresh), Info()
