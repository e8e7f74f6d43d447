"""R-hat and effective sample size of the loss traces, by arviz-stats (vehtari2021)."""

import arviz_stats
import numpy as np
import xarray as xr
from scipy import stats


def trace_health(cell: xr.Dataset) -> tuple[float, float]:
    """Effective draws and rank-normalised split R-hat of the member-averaged loss trace of all groups.

    Members of a group share noise, so their mean is one chain. Returns ``(nan, nan)`` for fewer than four
    draws and for a trace that is constant: chains that never move have no effective draws to count.
    """
    trace = cell["loss"].mean("member").values
    if trace.shape[1] < 4 or not np.isfinite(trace).all():
        return float("nan"), float("nan")
    if np.ptp(trace) == 0:
        return float("nan"), float("nan")
    array = arviz_stats.base.array_stats
    return float(array.ess(trace)), float(array.rhat(trace))


def motionless(cell: xr.Dataset) -> np.ndarray:
    """Which groups never move: a member's loss is the same number at every draw, ``[groups]`` of bool."""
    trace = cell["loss"].transpose("group", "member", "draw").values
    if trace.shape[2] < 2:
        return np.zeros(len(trace), bool)
    return (trace == trace[..., :1]).all(2).any(1)


def autocorrelation(trace: np.ndarray) -> np.ndarray:
    """Autocorrelation of a trace ``[groups, draws]`` at lags 0 .. draws/2, about the mean of all groups, ``[lags]``."""
    off = trace - trace.mean()
    draws = off.shape[1]
    lags = [float((off[:, : draws - k] * off[:, k:]).mean()) for k in range(max(1, draws // 2))]
    return np.array(lags) / max(lags[0], 1e-300)


def mixing_time(correlation: np.ndarray, thin: int = 1) -> float:
    """1 + 2 sum_k rho(k thin) in kept draws, summed over pairs of lags while these are positive (geyer1992)."""
    kept = correlation[::thin]
    pairs = kept[: len(kept) // 2 * 2].reshape(-1, 2).sum(1)
    if not len(pairs):
        return 1.0
    end = int(np.argmax(pairs <= 0)) if (pairs <= 0).any() else len(pairs)
    return max(0.5, 2 * float(pairs[:end].sum()) - 1)


def skewness(values: np.ndarray) -> float:
    """Third standardised moment of all values; 0 if they do not vary."""
    return float(np.nan_to_num(stats.skew(values, axis=None))) if np.ptp(values) else 0.0


def normal_score(values: np.ndarray, inflation: float = 1.0) -> float:
    """How far the mean of independent values ``[groups]`` lies from 0, as a standard normal score.

    The t value is mapped through its own law with ``groups - 1`` degrees, so that a limit of 3 means the same
    false-alarm rate (0.3 %) for 4 groups as for 32. 0 for fewer than two groups or a vanishing mean.

    Args:
        values: One per group.
        inflation: Factor by which their common standard error exceeds that of independent values.
    """
    groups = len(values)
    if groups < 2 or not values.any():
        return 0.0
    t = values.mean() / max(inflation * values.std(ddof=1) / np.sqrt(groups), 1e-300)
    return float(np.sign(t) * stats.norm.isf(stats.t.sf(abs(t), groups - 1)))
