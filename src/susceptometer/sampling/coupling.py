"""How the chains of a group share randomness: independent, antithetic, or coupled at n_beta (1 +- h)."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from susceptometer.errors import RecipeError


@dataclass(frozen=True, kw_only=True)
class Coupling:
    r"""The members of one group. A group is one independent replicate; its members share all randomness.

    Members are noise sign x response arm, in the order (+,+) (+,-) (-,+) (-,-): the noise is ``sign * xi`` and
    the potential is tilted to n_beta L_m + arm * tilt * L_m' with an independent batch m' (conventions 7.2).

    Args:
        antithetic: Add the members with noise -xi (same batches).
        h: Relative response step; 0 for no response arms.
        offset: Absolute tilt in 1/nats, used instead of h n_beta (needed at n_beta = 0).
        shared_batch: m' = m. Biased under mini-batch noise (7.2); here to be measured, not used.
    """

    antithetic: bool = True
    h: float = 0.0
    offset: float = 0.0
    shared_batch: bool = False

    def __post_init__(self) -> None:
        if self.h < 0 or self.h >= 1 or self.offset < 0 or (self.h and self.offset):
            raise RecipeError(
                "h must lie in [0, 1), offset >= 0, and only one may be set",
                where="Coupling",
                value=(self.h, self.offset),
                why="the two arms are n_beta (1 +- h), or n_beta +- offset",
                do="use Coupling(h=0.1)",
            )

    @property
    def responds(self) -> bool:
        """Whether there are response arms."""
        return self.h > 0 or self.offset > 0

    @property
    def signs(self) -> int:
        """Noise signs per group: 2 if antithetic, else 1."""
        return 2 if self.antithetic else 1

    @property
    def arms(self) -> int:
        """Response arms per group: 2 or 1."""
        return 2 if self.responds else 1

    @property
    def members(self) -> int:
        """Chains per group."""
        return self.signs * self.arms

    def tilt(self, n_beta: float) -> float:
        """Half the difference of the two arms' inverse temperatures, 1/nats."""
        tilt = self.offset if self.offset else self.h * n_beta
        if self.responds and tilt == 0:
            raise RecipeError(
                "h has no effect at n_beta = 0",
                where="Coupling",
                value=self.h,
                why="n_beta (1 + h) = n_beta (1 - h) = 0",
                do="use Coupling(offset=1.0)",
            )
        return tilt

    def halved(self) -> "Coupling":
        """The same with half the response step."""
        return replace(self, h=self.h / 2, offset=self.offset / 2)

    def without_arms(self) -> "Coupling":
        """The same without response arms."""
        return replace(self, h=0.0, offset=0.0)

    def noise_signs(self) -> Tensor:
        """Sign of the noise of each member, ``[members]``."""
        signs = torch.tensor([1.0, -1.0][: self.signs])
        return signs.repeat_interleave(self.arms)

    def arm_signs(self) -> Tensor:
        """Sign of the tilt of each member, ``[members]``; zeros without response arms."""
        arms = torch.tensor([1.0, -1.0]) if self.responds else torch.zeros(1)
        return arms.repeat(self.signs)


def independent() -> Coupling:
    """One chain per group."""
    return Coupling(antithetic=False)


def antithetic() -> Coupling:
    """Two chains per group with mirrored noise."""
    return Coupling()


def coupled(h: float = 0.1) -> Coupling:
    """Four chains per group: mirrored noise x n_beta (1 +- h); the default reading."""
    return Coupling(h=h)
