"""R-hat and effective sample size of the loss traces, by arviz-stats (vehtari2021)."""

import arviz_stats
import numpy as np
import xarray as xr


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
