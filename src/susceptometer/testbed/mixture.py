r"""Gaussian mixtures that collapse onto N(0, 1): singular statistical models in two weights.

    equal weights         ½ N(b1, 1) + ½ N(b2, 1)        K ~ (b1 + b2)² + (b1² + b2²)²   lambda 3/4, m 1
    contaminated normal   (1 - a) N(0, 1) + a N(b, 1)    K ~ a² b²                       lambda 1/2, m 2

K is the Kullback-Leibler divergence from the truth N(0, 1), a sum over a grid in x. Near the truth
the potentials are the ones shown up to analytic equivalence (watanabe2009; first row derived).
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from susceptometer.testbed import quadrature
from susceptometer.testbed.form import Array
from susceptometer.types import Batch, Params, rows_of

REACH, SPACING = 9.0, 0.125  # of the grid in x; exact to 1e-9 while |b1 - b2| < 6
BOX = 3.0  # |b| of the exact values


@dataclass(frozen=True)
class EqualMixture:
    """½ N(b1, 1) + ½ N(b2, 1) against data from N(0, 1), w* = 0: lambda = 3/4, m = 1."""

    @property
    def center(self) -> Params:
        """w* = ``{"means": [0, 0]}``, float64."""
        return {"means": torch.zeros(2, dtype=torch.float64)}

    @property
    def data(self) -> Batch:
        """One row: the loss is a population loss."""
        return {"index": torch.zeros(1, dtype=torch.long)}

    def loss(self, params: Params, batch: Batch) -> Tensor:
        """Population loss K in nats by quadrature in x, once per row [rows]."""
        means = params["means"]
        x, weights = (torch.as_tensor(part).to(means) for part in _normal_grid())
        value = weights @ _equal_excess(means, x)
        return value.expand(rows_of(batch))

    def example_loss(self, params: Params, batch: Batch) -> Tensor:
        """Excess log loss -log p(x|w)/p(x|w*) of every example ``x`` [rows], in nats."""
        return _equal_excess(params["means"], batch["x"])

    def llc(self, n_beta: float, gamma: float) -> float:
        """Exact learning coefficient on |b1|, |b2| <= 3 at any temperature; gamma 0: flat prior."""
        grid, excess, square = _equal_grid()
        return _mean_excess(grid, excess, energy=n_beta * excess + gamma / 2 * square, n_beta=n_beta)


@dataclass(frozen=True)
class ContaminatedNormal:
    """(1 - a) N(0, 1) + a N(b, 1) against data from N(0, 1): lambda = 1/2, m = 2 at a = b = 0.

    Exact values only: a is confined to [0, 1], which unconstrained chains do not respect.
    """

    def excess(self, share: Array, mean: Array) -> Array:
        """K(a, b) in nats for arrays of shares a in [0, 1] and means b (same shape)."""
        x, weights = _normal_grid()
        ratio = np.expm1(mean[..., None] * x - mean[..., None] ** 2 / 2)
        return np.asarray(-np.log1p(share[..., None] * ratio) @ weights)

    def llc(self, n_beta: float, gamma: float) -> float:
        """Exact learning coefficient on 0 <= a <= 1, |b| <= 3 with w* = 0; gamma 0: flat prior."""
        grid, excess, square = _contaminated_grid()
        return _mean_excess(grid, excess, energy=n_beta * excess + gamma / 2 * square, n_beta=n_beta)


def _normal_grid() -> tuple[Array, Array]:
    """Nodes in x and the weights of N(0, 1) on them."""
    x = np.arange(-REACH, REACH + SPACING / 2, SPACING)
    return x, SPACING * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)


def _equal_excess(means: Tensor, x: Tensor) -> Tensor:
    """-log of ½ e^{b1 x - b1²/2} + ½ e^{b2 x - b2²/2} -> shape of x."""
    exponents = means[:, None] * x - means[:, None] ** 2 / 2
    return float(np.log(2.0)) - torch.logsumexp(exponents, dim=0)


def _mean_excess(grid: quadrature.Grid, excess: Array, *, energy: Array, n_beta: float) -> float:
    return n_beta * float(grid.probabilities(energy) @ excess)


def _geometric(top: float) -> tuple[Array, Array]:
    """Nodes and weights on (0, top), geometric towards 0."""
    logs, weights = quadrature.gauss(np.log(top) - 30.0, np.log(top), 16)
    return np.exp(logs), weights * np.exp(logs)


@lru_cache(maxsize=1)
def _equal_grid() -> tuple[quadrature.Grid, Array, Array]:
    """Grid over b1 + b2 = s >= 0, b1 - b2 = d >= 0 (K is even in both), K and b1² + b2² on it."""
    unit, weights = _geometric(1.0)
    difference = 2 * BOX * unit[None, :]
    total = unit[:, None] * (2 * BOX - difference)
    volume = np.outer(weights, weights) * (2 * BOX - difference)
    x, normal = _normal_grid()
    excess = np.empty(volume.shape)
    for column, d in enumerate(difference[0]):
        first, second = (total[:, column] + d) / 2, (total[:, column] - d) / 2
        exponents = [b[:, None] * x - b[:, None] ** 2 / 2 for b in (first, second)]
        excess[:, column] = (np.log(2) - np.logaddexp(*exponents)) @ normal
    square = (total**2 + difference**2) / 2
    nodes = np.stack([total.ravel(), np.broadcast_to(difference, total.shape).ravel()], axis=1)
    return quadrature.Grid(nodes, np.log(volume).ravel()), excess.ravel(), square.ravel()


@lru_cache(maxsize=1)
def _contaminated_grid() -> tuple[quadrature.Grid, Array, Array]:
    """Grid over 0 < a < 1 and 0 < b < 3 (K is even in b), K and a² + b² on it."""
    grid = quadrature.product(_geometric(1.0), _geometric(BOX))
    model = ContaminatedNormal()
    pieces = np.array_split(grid.nodes, 16)
    excess = np.concatenate([model.excess(piece[:, 0], piece[:, 1]) for piece in pieces])
    return grid, excess, np.sum(grid.nodes**2, axis=1)
