"""R-hat and effective sample size of the loss traces, by arviz-stats (vehtari2021)."""

import arviz_stats
import numpy as np
import xarray as xr
from scipy import stats


def trace_health(cell: xr.Dataset) -> tuple[float, float]:
    """Effective draws and rank-normalised split R-hat of the member-averaged loss trace of all groups.

    Members of a group share noise, so their mean is one chain. Returns ``(nan, nan)`` for fewer than four
    draws, and R-hat 1 with full ESS for a constant trace.
    """
    trace = cell["loss"].mean("member").values
    if trace.shape[1] < 4 or not np.isfinite(trace).all():
        return float("nan"), float("nan")
    if np.ptp(trace) == 0:
        return float(trace.size), 1.0
    array = arviz_stats.base.array_stats
    return float(array.ess(trace)), float(array.rhat(trace))


def normal_score(values: np.ndarray) -> float:
    """How far the mean of independent values ``[groups]`` lies from 0, as a standard normal score.

    The t value is mapped through its own law with ``groups - 1`` degrees, so that a limit of 3 means the same
    false-alarm rate (0.3 %) for 4 groups as for 32. 0 for fewer than two groups or a vanishing mean.
    """
    groups = len(values)
    if groups < 2 or not values.any():
        return 0.0
    t = values.mean() / max(values.std(ddof=1) / np.sqrt(groups), 1e-300)
    return float(np.sign(t) * stats.norm.isf(stats.t.sf(abs(t), groups - 1)))
