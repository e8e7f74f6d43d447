r"""Inverse temperature as a resolution dial: which modes of the data a learning coefficient sees (chen2025).

Near w* the excess loss is D = g'd + d'H d/2 (g need not vanish). With V = (n_beta H + gamma)^-1 (derived)

    lambda_hat = n_beta tr(H V)/2 - n_beta² g'V g + n_beta³ g'V H V g / 2.

A mode of the data that w* has not learned enters by its gradient: along a direction of curvature h it lowers
lambda_hat by rho = n_beta (s_a c_a)²/(2h), c_a = |grad <e_a, log p_w>|; below 0.01 it is invisible, above 0.1 resolved.
"""

from dataclasses import dataclass

import numpy as np

from susceptometer.errors import DataError
from susceptometer.structure.modes import Modes, mode_losses
from susceptometer.testbed.form import Array

INVISIBLE, RESOLVED = 0.01, 0.1


@dataclass(frozen=True, eq=False)
class ModeSensitivity:
    """How strongly every mode acts along a chain.

    Args:
        log_probability: n_beta times the standard deviation over draws of s_a D_a(w), ``[r]``; compare with 1.
        shift: Mean over draws of s_a D_a(w), nats ``[r]``.
        n_beta: Inverse temperature of the draws.
    """

    log_probability: Array
    shift: Array
    n_beta: float

    def gap(self, count: int) -> float:
        """First-order n_beta E[R] of keeping only ``count`` modes, R = -sum_{a > count} s_a D_a."""
        return float(-self.n_beta * self.shift[count:].sum())


def mode_sensitivity(
    log_p: Array, center_log_p: Array, outputs: Array, found: Modes, *, n_beta: float
) -> ModeSensitivity:
    """Response of every mode along a chain (chen2025's insensitivity assumption, measured).

    Args:
        log_p: log p_w(y'|x) at every draw on fixed probe pairs ``[draws, rows, V]``.
        center_log_p: The same at w* ``[rows, V]``.
        outputs: Observed y of the pairs ``[rows]``.
        found: Modes.
        n_beta: Inverse temperature of the chain.
    """
    change = np.array([mode_losses(draw - center_log_p, outputs, found).mean(0) for draw in log_p])
    return ModeSensitivity(n_beta * change.std(0, ddof=1), change.mean(0), n_beta)


def predicted_llc(gradient: Array, curvature: Array, *, n_beta: float, gamma: float) -> float:
    """Quadratic prediction of lambda_hat at any w*, from g ``[d]`` and H ``[d, d]``.

    Raises:
        DataError: n_beta H + gamma is not positive definite, so the quadratic posterior does not exist.
    """
    precision = n_beta * curvature + gamma * np.eye(len(gradient))
    least = float(np.linalg.eigvalsh(precision)[0])
    if least <= 0:
        raise DataError(
            "the quadratic posterior does not exist",
            where="predicted_llc",
            value=f"smallest eigenvalue {least:.3g}",
            why="a direction of negative curvature is not held by gamma",
            do=f"raise gamma above {gamma - least:.3g}, or lower n_beta",
        )
    pulled = np.linalg.solve(precision, gradient)
    trace = float(np.trace(np.linalg.solve(precision, curvature)))
    slope, bend = float(gradient @ pulled), float(pulled @ curvature @ pulled)
    return n_beta / 2 * trace - n_beta**2 * slope + n_beta**3 / 2 * bend


def visibility(slope: Array, curvature: Array, *, n_beta: float) -> Array:
    """rho_a = n_beta (s_a c_a)²/(2 h) from s_a c_a ``[r]`` and the curvature h along each gradient ``[r]``."""
    return n_beta * np.asarray(slope) ** 2 / (2 * np.asarray(curvature))


def departure_point(slope: float, curvature: float, *, drop: float, gamma: float) -> float:
    """n_beta at which an unlearned mode lowers lambda_hat by ``drop``: exact for one quadratic direction.

    Curved directions: 2 drop h/(s c)²; flat ones: sqrt(drop gamma)/(s c). The exact fall of one direction is
    (n_beta s c)² v (1 - n_beta h v/2) with v = 1/(n_beta h + gamma), which is solved here by bisection.
    """
    low, high = 1e-8, 1e12
    for _ in range(120):
        middle = np.sqrt(low * high)
        spread = 1 / (middle * curvature + gamma)
        fall = (middle * slope) ** 2 * spread * (1 - middle * curvature * spread / 2)
        low, high = (middle, high) if fall < drop else (low, middle)
    return float(np.sqrt(low * high))


def truncation_bound(largest: float, n_beta: float, mean_excess: float) -> float:
    """Bound on |lambda_hat - lambda_hat_truncated| when |R| <= ``largest`` on the sampled region (derived).

    n_beta eta + (exp(2 n_beta eta) - 1) n_beta E|D|, the mean under the truncated posterior. Loose; an inequality only.
    """
    return n_beta * largest + float(np.expm1(2 * n_beta * largest)) * n_beta * mean_excess
