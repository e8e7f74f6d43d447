"""Whether coupled chains contract: the tests of conventions 7.7 on the recorded separations."""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from susceptometer.errors import ChainError
from susceptometer.estimate.convergence import normal_score
from susceptometer.sampling.recipe import Recipe

TAIL_SHARE, TAIL_PEAK = 0.20, 20.0


@dataclass(frozen=True)
class Contraction:
    """Verdict on the coupling of one component.

    Args:
        growth_z: Slope of log|w_+ - w_-| over the second half, in standard errors over groups; a normal score, so that
            few groups raise no more false alarms than many.
        saturation: Mean |w_+ - w_-| over the posterior radius (healthy: at most about 1.4 h).
        limit: Saturation above which the pair is no better than independent chains.
        tail_share: Share of the largest 1 % of separations in their sum.
        tail_peak: Largest separation over the median.
        enough: Whether there are the 500 contributions that the tail test needs.
    """

    growth_z: float
    saturation: float
    limit: float
    tail_share: float
    tail_peak: float
    enough: bool

    @property
    def faults(self) -> list[str]:
        """Names of the failed tests, with values; empty if the chains contract."""
        out = []
        if self.growth_z > 4:
            out.append(f"growth: log-separation rises by {self.growth_z:.1f} standard errors")
        if not self.saturation <= self.limit:
            out.append(f"saturation: separation is {self.saturation:.2f} of the posterior radius")
        if self.enough and (self.tail_share > TAIL_SHARE or self.tail_peak > TAIL_PEAK):
            out.append(f"tails: largest 1 % carry {self.tail_share:.0%}, peak {self.tail_peak:.0f} x median")
        return out

    @property
    def valid(self) -> bool:
        """Whether the coupled estimate may be used."""
        return not self.faults

    def require(self, component: str) -> None:
        """Refuse a coupled estimate from chains that do not contract.

        Raises:
            ChainError: With the failed tests.
        """
        if self.faults:
            raise ChainError(
                "coupled chains do not contract", where=component, value="; ".join(self.faults),
                why="the two arms forget each other and chi would be noise",
                do="raise gamma above -n_beta * lambda_min or lower n_beta; or use susceptibility_covariance",
            )


def contraction(cell: xr.Dataset, recipe: Recipe) -> Contraction:
    """Growth, saturation and tails of the separations of all groups and noise signs of a cell."""
    steps = recipe.schedule.burn_in + (np.arange(cell.sizes["draw"]) + 1) * recipe.schedule.thin - 1
    apart = cell["separation"].values.astype(float)
    gaps = apart.reshape(-1, cell.sizes["step"])
    kept = gaps[:, steps[steps < gaps.shape[1]]]
    step = recipe.coupling.h or 0.1
    middle = np.median(kept)
    top = np.sort(kept, axis=None)[::-1][: max(1, kept.size // 100)]
    return Contraction(
        growth_z=_growth(apart[:, :, recipe.schedule.burn_in :]),
        saturation=float(kept.mean() / max(cell.attrs["radius"], 1e-300)),
        limit=max(0.5, 2 * step),
        tail_share=float(top.sum() / max(kept.sum(), 1e-300)),
        tail_peak=float(kept.max() / max(middle, 1e-300)),
        enough=kept.size >= 500,
    )


def _growth(gaps: np.ndarray) -> float:
    """Slope of log-separation ``[group, sign, step]`` in the second half, as a normal score over groups.

    The mirrored pairs of a group share their noise and nearly their separations, so groups are the replicates.
    """
    late = np.log(np.maximum(gaps[..., gaps.shape[2] // 2 :], 1e-300)).mean(1)
    groups, steps = late.shape
    if steps < 8 or groups < 2 or np.ptp(gaps) == 0:
        return 0.0
    time = np.arange(steps) - (steps - 1) / 2
    return normal_score(late @ time / (time @ time))
