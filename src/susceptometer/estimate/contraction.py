"""Whether coupled chains contract: the tests of conventions 7.7 on the recorded separations."""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from susceptometer.errors import ChainError
from susceptometer.estimate.convergence import normal_score
from susceptometer.sampling.recipe import Recipe

TAIL_SHARE, TAIL_PEAK = 0.20, 20.0

H_SHARE, H_SCORE = 0.10, 3.0
"""Difference of the values at h and h/2 that is too large: share of the column's sd, and its normal score."""

EXTRA = ("h_share", "h_score", "softest", "speed")
"""Attributes of a cell that hold the results of the tests needing more runs."""

FASTEST = 4.0
"""eps P at which a step of Langevin dynamics is no longer stable."""


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
        h_share: RMS difference of the values at h and at h/2 over the column's sd; 0 where it was not measured.
        h_score: How sure that difference is, as a normal score.
        softest: Softest curvature of U in the upper arm, mean over draws; infinite where it was not measured.
        speed: eps P of the stiffest direction seen.
    """

    growth_z: float
    saturation: float
    limit: float
    tail_share: float
    tail_peak: float
    enough: bool
    h_share: float = 0.0
    h_score: float = 0.0
    softest: float = float("inf")
    speed: float = 0.0

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
        if self.h_share > H_SHARE and self.h_score > H_SCORE:
            out.append(f"h: values at h and h/2 differ by {self.h_share:.0%} of the column ({self.h_score:.1f} errors)")
        if self.softest <= 0:
            out.append(f"curvature: the softest direction of U is {self.softest:.3g} where the chains go")
        if self.speed >= FASTEST:
            out.append(f"curvature: eps P reaches {self.speed:.2g}, unstable from 4 on")
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
                "coupled chains do not contract",
                where=component,
                value="; ".join(self.faults),
                why="the two arms forget each other and chi would be noise",
                do="raise gamma above -n_beta * lambda_min or lower n_beta; or use susceptibility_covariance",
            )


def contraction(cell: xr.Dataset, recipe: Recipe) -> Contraction:
    """Growth, saturation and tails of the separations of all groups and noise signs of a cell.

    The tests that need more runs (h against h/2, curvature) are in the cell's attributes once ``examine`` or
    ``calibrate`` has made them.
    """
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
        **{name: float(cell.attrs[name]) for name in EXTRA if name in cell.attrs},
    )


def h_dependence(whole: xr.Dataset, half: xr.Dataset) -> dict[str, float]:
    """``h_share`` and ``h_score`` from cells of the same groups and noise at h and at h/2, on their base tokens.

    With d_i the difference of group i's columns, the mean square of the true difference is estimated without bias by
    products of different groups, Q = mean_{i != j} d_i . d_j / tokens; its score comes from each group's product with
    the mean of the others (every pair counts twice, which inflates the error by sqrt(2 (G - 1)/(G - 2))).
    """
    base = slice(0, half.attrs["base_tokens"])
    sides = [cell["pair"].values[..., base].sum(1) / cell.sizes["draw"] for cell in (whole, half)]
    column, other = (side - side.mean(1, keepdims=True) for side in sides)
    gaps = column - other
    groups, tokens = gaps.shape
    products = (gaps * (gaps.sum(0) - gaps)).sum(1) / (groups - 1)
    spread = max(float(column.mean(0).std()), 1e-300)
    inflation = (2 * (groups - 1) / max(groups - 2, 1)) ** 0.5
    return {
        "h_share": float(np.sqrt(max(products.mean(), 0.0) / tokens) / spread),
        "h_score": normal_score(products, inflation),
    }


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
