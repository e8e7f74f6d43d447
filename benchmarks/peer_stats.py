"""Plain NumPy statistics of token losses, the same formulas for both tools of the peer benchmark.

A trace is ``rises [groups, members, draws, tokens]``: loss minus its value at w*, nats, at every recorded state. A
group is one independent replicate: a devinterp chain, or susceptometer's chains that share randomness. All
tokens are base tokens, so Lbar is the mean over the last axis. Nothing here imports either tool.
"""

from collections.abc import Callable

import numpy as np

Moments = dict[str, np.ndarray]


def moments(rises: np.ndarray, *, tilt: float = 0.0) -> Moments:
    """Means per group from which every estimator of conventions 6.3 follows.

    Args:
        rises: ``[groups, members, draws, tokens]`` nats.
        tilt: h n_beta of response arms (members in the order +, -, +, -), 1/nats; 0: none.

    Returns:
        ``g``, ``gg`` ``[groups]``; ``l``, ``gl`` and, with a tilt, ``response`` ``[groups, tokens]``.
    """
    rises = np.asarray(rises, dtype=np.float64)
    g = rises.mean(-1)
    out = {
        "g": g.mean((1, 2)),
        "gg": (g * g).mean((1, 2)),
        "l": rises.mean((1, 2)),
        "gl": np.einsum("gmd,gmdt->gt", g, rises) / (rises.shape[1] * rises.shape[2]),
    }
    if tilt:
        out["response"] = (rises[:, 0::2] - rises[:, 1::2]).mean((1, 2)) / (2 * tilt)
    return out


def within_run(part: Moments) -> np.ndarray:
    """chi_w ``[tokens]``, nats^2: the coupled response where there is one, else the pooled covariance."""
    if "response" in part:
        return centred(part["response"].mean(0))
    return covariance(part)


def covariance(part: Moments) -> np.ndarray:
    """-Cov(g, f) ``[tokens]``, nats^2, pooled over groups of equal length (conventions 6.3)."""
    g, f = part["g"].mean(), part["l"].mean(0) - part["g"].mean()
    return -(part["gl"].mean(0) - part["gg"].mean() - g * f)


def two_run(part: Moments, full: Moments) -> np.ndarray:
    """chi_2 = chi_w - E_C[g] (E_C[f] - E_F[f]), ``[tokens]``, nats^2 (conventions 6.3)."""
    f, reference = (run["l"].mean(0) - run["g"].mean() for run in (part, full))
    return within_run(part) - part["g"].mean() * (f - reference)


def centred(values: np.ndarray) -> np.ndarray:
    """``values [..., tokens]`` minus their mean over tokens (psi)."""
    return values - values.mean(-1, keepdims=True)


def jackknife(estimate: Callable[[Moments], np.ndarray], run: Moments) -> np.ndarray:
    """Delete-one-group standard error of the column-centred ``estimate(run)``, ``[tokens]``."""
    count = len(run["g"])
    left = np.stack(
        [centred(estimate({name: np.delete(value, i, axis=0) for name, value in run.items()})) for i in range(count)]
    )
    return np.sqrt((count - 1) / count * ((left - left.mean(0)) ** 2).sum(0))


def two_run_errors(part: Moments, full: Moments) -> dict[str, np.ndarray]:
    """Standard error ``[tokens]`` of centred chi_2 from the restricted run, from the full run, and of both."""
    own = jackknife(lambda run: two_run(run, full), part)
    reference = jackknife(lambda run: two_run(part, run), full)
    return {"part": own, "full": reference, "total": np.hypot(own, reference)}


def llc(part: Moments, *, n_beta: float) -> tuple[float, float]:
    """Learning coefficient n_beta E[g] and its standard error over groups."""
    values = n_beta * part["g"]
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


def rms(values: np.ndarray) -> float:
    """Root mean square of all entries."""
    return float(np.sqrt(np.mean(np.square(values))))


def agreement(ours: np.ndarray, theirs: np.ndarray, error: np.ndarray) -> dict[str, float]:
    """How two profiles ``[tokens]`` compare: z-scores against ``error``, slope and correlation."""
    z = (ours - theirs) / error
    return {
        "z_rms": rms(z),
        "share_beyond_3": float((np.abs(z) > 3).mean()),
        "slope": float((ours * theirs).sum() / (theirs * theirs).sum()),
        "correlation": float(np.corrcoef(ours, theirs)[0, 1]),
    }


def length_check(part: np.ndarray, full: np.ndarray, *, tilt: float = 0.0) -> dict[str, object]:
    """rms error of centred chi_2 at a quarter, half and all of the draws, and the exponent of its fall.

    Args:
        part: Restricted trace ``[groups, members, draws, tokens]``, nats.
        full: Unrestricted trace.
        tilt: h n_beta of the restricted run.
    """
    draws = part.shape[2]
    lengths = [draws // 4, draws // 2, draws]
    errors = [
        {
            name: rms(value)
            for name, value in two_run_errors(moments(part[:, :, :n], tilt=tilt), moments(full[:, :, :n])).items()
        }
        for n in lengths
    ]
    fall = np.polyfit(np.log(lengths), np.log([error["total"] for error in errors]), 1)[0]
    return {"draws": lengths, "errors": errors, "exponent": float(fall)}


def seconds_to_error(part: tuple[float, float], full: tuple[float, float], *, target: float, heads: int) -> float:
    """CPU seconds until every head's chi_2 has the error ``target``, draws split at best between the runs.

    Args:
        part: (CPU seconds per draw, error of one draw: SE times the root of the number of draws).
        full: The same of the full run, which all heads share.
        target: rms standard error, nats^2.
        heads: Heads that are read.

    Notes:
        Minimum of heads c_p n_p + c_F n_F under e_p^2/n_p + e_F^2/n_F = target^2.
    """
    (cost, error), (full_cost, full_error) = part, full
    return float(((heads * cost) ** 0.5 * error + full_cost**0.5 * full_error) ** 2 / target**2)
