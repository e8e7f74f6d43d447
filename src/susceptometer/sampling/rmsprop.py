"""RMSprop-preconditioned SGLD, adaptive or frozen after warm-up, with or without the divergence term."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from susceptometer.errors import RecipeError
from susceptometer.posterior.local import Slope
from susceptometer.sampling.base import Info, Noise, SlopeFn


class RMSpropState(NamedTuple):
    """Position, running second moment of the loss gradient ``[chains, d]``, steps taken."""

    position: Tensor
    second: Tensor
    taken: int


@dataclass(frozen=True, kw_only=True)
class RMSpropSGLD:
    r"""SGLD with the step of each weight scaled by its running gradient size (li2016; wang2026practice).

        v <- a v + (1-a) g^2,   vhat = v/(1 - a^(t+1)),   e = step_size/(sqrt(vhat) + floor)
        w' = w - (e/2) grad U + sqrt(e) xi  [+ (1/2) de/dw with ``divergence``]

    g is the gradient of the loss alone (never the pull). An ever-adapting e makes the stationary law differ
    from exp(-U) (measured: 10-20 % on 20 directions); ``freeze_after`` steps fixes e, after which the law is
    that of SGLD with a constant metric. The divergence term is that of li2016 eq. 9 with the mini-batch
    gradient: d e_i/d w_i = -e_i^2/step_size * (1-a) g_i H_ii/(sqrt(vhat)(1 - a^(t+1))), H_ii by one
    Hutchinson probe of finite differences; it repairs the dependence on the current gradient only.

    Args:
        step_size: eps, weight^2 per unit of 1/(sqrt(v) + floor).
        decay: a.
        floor: Added to sqrt(vhat), nats/weight.
        freeze_after: Steps after which the preconditioner stays fixed; None adapts for ever.
        divergence: Add the divergence term while adapting.
    """

    step_size: float
    decay: float = 0.99
    floor: float = 0.1
    freeze_after: int | None = 100
    divergence: bool = False
    exact_gradient: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0 < self.decay < 1 or self.floor <= 0:
            raise RecipeError(
                "decay must lie in (0, 1) and floor above 0",
                where="RMSpropSGLD",
                value=(self.decay, self.floor),
                why="the preconditioner would not be defined",
                do="use decay=0.99, floor=0.1",
            )

    @property
    def settles(self) -> bool:
        """Whether the preconditioner becomes fixed."""
        return self.freeze_after is not None

    @property
    def warm_up(self) -> int:
        """Steps in which the preconditioner still moves (0 if it always does)."""
        return self.freeze_after or 0

    def init(self, position: Tensor, noise: Noise) -> RMSpropState:
        """All chains at ``position``, second moments zero."""
        del noise
        return RMSpropState(position.clone(), torch.zeros_like(position), 0)

    def step(self, state: RMSpropState, slope: SlopeFn, noise: Noise) -> tuple[RMSpropState, Info]:
        """One step of every chain."""
        here = slope(state.position)
        frozen = self.freeze_after is not None and state.taken >= self.freeze_after
        second = state.second if frozen else self._updated(state.second, here)
        count = self.freeze_after if frozen else state.taken + 1
        scale = self._scale(second, count)
        drift = -0.5 * scale * here.total
        if self.divergence and not frozen:
            drift = drift + self._divergence(state, here, slope, noise.normal().sign())
        moved = state.position + drift + scale.sqrt() * noise.normal()
        return RMSpropState(moved, second, state.taken + 1), Info()

    def _updated(self, second: Tensor, here: Slope) -> Tensor:
        gradient = here.likelihood / here.n_beta if here.n_beta else torch.zeros_like(second)
        return self.decay * second + (1 - self.decay) * gradient**2

    def _scale(self, second: Tensor, count: int | None) -> Tensor:
        corrected = second / (1 - self.decay ** max(1, count or 1))
        return self.step_size / (corrected.sqrt() + self.floor)

    def _divergence(self, state: RMSpropState, here: Slope, slope: SlopeFn, signs: Tensor) -> Tensor:
        """Half the derivative of each weight's step by that weight, ``[chains, d]``; 0 at n_beta = 0.

        The diagonal curvature is one Hutchinson probe: ``signs`` x (change of gradient along ``signs``).
        """
        if here.n_beta == 0:
            return torch.zeros_like(signs)
        gradient, nudge = here.likelihood / here.n_beta, 1e-3 * signs
        ahead = slope(state.position + nudge).likelihood / here.n_beta
        curvature = (ahead - gradient) / nudge
        bias = 1 - self.decay ** (state.taken + 1)
        second = self._updated(state.second, here)
        root, scale = (second / bias).sqrt() + 1e-12, self._scale(second, state.taken + 1)
        change = scale / (root + self.floor) * (1 - self.decay) * gradient * curvature
        return -0.5 * change / (root * bias)
