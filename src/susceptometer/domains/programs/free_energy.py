r"""Exact partition functions of M1 and M2: the posterior prefers the program with the lower learning coefficient.

    Z(n) = integral over the box of exp(-n f) or exp(-n f²),  f = alpha + slope r

Both losses are linear in one radial error r (the sum of two errors of one square, density r on (0, 1/2)), which is
integrated in closed form; the three remaining coordinates by Gauss-Legendre rules in their logarithms.

    M1: alpha = a1² + a1 a2 + a2 (1 - c2),  slope = 1 - a1 - a2,  r = b1 + b2,  third = c2 (density 1/2 - c2)
    M2: alpha = a1 (1 - a2) + a2 b,         slope = 1 - a1 - a2,  r = c1 + c2,  third = b1 + b2 (density b)
"""

from typing import Literal

import numpy as np
from scipy.special import erf
from scipy.special import gamma as gamma_function

from susceptometer.domains.programs.corner import BOX
from susceptometer.testbed import quadrature
from susceptometer.testbed.form import Array

Name = Literal["M1", "M2"]

PANELS, SPARE = 8, 12.0
"""Rules per logarithm, and e-folds below the smallest scale of the density (1/n for f, n^-1/2 for f²)."""

_M1 = np.sqrt(np.pi) * (1 - np.log(2)) / 4
ASYMPTOTE = {
    "f": (2 * _M1, 0.5),
    "H": (12 * _M1 * gamma_function(7 / 4) / gamma_function(7 / 2), 0.25),
}
"""Z1/Z2 ~ constant * n^power, from Z1 ~ _M1 n^-7/2 and Z2 ~ n^-4/2, and their Mellin transforms for f²."""


def partition(name: Name, n_beta: float, form: Literal["f", "H"] = "f") -> float:
    """Z(n_beta) of M1 or M2 over the box, uniform in eps (not normalised by its volume 1/512)."""
    depth = max(np.log(n_beta), 0.0) * (1 if form == "f" else 0.5) + SPARE
    u, u_weights = _logarithmic(depth)
    a1, share, third = BOX * u[:, None, None], u[None, :, None], BOX * u[None, None, :]
    a2 = (BOX - a1) * share
    weights = (BOX * u_weights)[:, None, None] * (BOX - a1) * u_weights[None, :, None] * BOX * u_weights
    slope = 1 - a1 - a2
    if name == "M1":
        alpha, density = a1**2 + a1 * a2 + a2 * (1 - third), BOX - third
    else:
        alpha, density = a1 * (1 - a2) + a2 * third, third
    radial = _linear(alpha, slope, n_beta) if form == "f" else _square(alpha, slope, n_beta)
    return float((weights * density * radial).sum())


def _logarithmic(depth: float) -> tuple[Array, Array]:
    """Nodes and weights on (e^-depth, 1), geometric towards 0."""
    logs, weights = quadrature.gauss(-depth, 0.0, PANELS)
    return np.exp(logs), weights * np.exp(logs)


def _linear(alpha: Array, slope: Array, n: float) -> Array:
    """Integral of r exp(-n (alpha + slope r)) over (0, 1/2)."""
    top = n * slope * BOX
    return np.exp(-n * alpha) * -(np.expm1(-top) + top * np.exp(-top)) / (n * slope) ** 2


def _square(alpha: Array, slope: Array, n: float) -> Array:
    """Integral of r exp(-n (alpha + slope r)²) over (0, 1/2)."""
    low, high = np.sqrt(n) * alpha, np.sqrt(n) * (alpha + slope * BOX)
    ends = (np.exp(-(low**2)) - np.exp(-(high**2))) / 2
    return (ends - low * np.sqrt(np.pi) / 2 * (erf(high) - erf(low))) / (n * slope**2)


def preference(n_beta: float, form: Literal["f", "H"] = "f") -> float:
    """Z1/Z2: how many times the posterior prefers M1 to M2, both of loss zero."""
    return partition("M1", n_beta, form) / partition("M2", n_beta, form)
