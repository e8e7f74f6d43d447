r"""Normal crossings: singular minima whose learning coefficient is known at every temperature.

Near w* = 0 the excess loss is K = prod_i w_i^{2 k_i}. Asymptotically (n_beta -> infinity)
lambda = min_i (s_i + 1)/(2 k_i) with multiplicity m = number of minimisers (watanabe2009), but at
finite n_beta a correct sampler returns

    llc(n_beta) = n_beta E[K]  under  exp(-n_beta K - (gamma/2) |w|²)  =  lambda - (m-1)/log n_beta + ...

which for m > 1 is far below lambda at any practical temperature. All tests compare with the former.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import numpy as np
import torch
from scipy.signal import fftconvolve
from scipy.special import digamma, k0e, k1e
from scipy.special import gamma as gamma_function
from torch import Tensor

from susceptometer.errors import RecipeError
from susceptometer.testbed import quadrature
from susceptometer.testbed.form import Array
from susceptometer.types import Batch, Params, rows_of

SPACING = 0.08  # of the grid in log K; the rule converges as exp(-pi²/SPACING)
DEPTH = 45.0  # the grid reaches down to |w| = e^-45


@dataclass(frozen=True)
class Crossing:
    """K(w) = prod_i w_i^{2 k_i} with w* = 0.

    Args:
        powers: k_i, positive integers, one per weight.

    Raises:
        RecipeError: No powers, or one below 1.
    """

    powers: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.powers or min(self.powers) < 1:
            raise RecipeError(
                "not a crossing",
                where="crossing.Crossing",
                value=self.powers,
                why="K = prod w_i^(2 k_i) needs at least one k_i and all k_i >= 1",
                do="leave out weights on which K does not depend",
            )

    @property
    def center(self) -> Params:
        """w* = 0 as ``{"w": [D]}``, float64."""
        return {"w": torch.zeros(len(self.powers), dtype=torch.float64)}

    @property
    def data(self) -> Batch:
        """One row: the loss is a population loss."""
        return {"index": torch.zeros(1, dtype=torch.long)}

    def loss(self, params: Params, batch: Batch) -> Tensor:
        """K(w) in nats, once per row [rows]; a tensor ``noise`` [rows, D] tilts the rows.

        ``K(w) + noise . w``: with rows of mean zero this is the gradient noise of a mini-batch.
        """
        weights = params["w"]
        value = torch.stack([weights[i] ** (2 * k) for i, k in enumerate(self.powers)]).prod(0)
        if "noise" in batch:
            return value + batch["noise"] @ weights
        return value.expand(rows_of(batch))

    @property
    def asymptotic(self) -> tuple[Fraction, int]:
        """Learning coefficient lambda and multiplicity m of the origin (watanabe2009)."""
        return asymptotic(self.powers)

    def llc(self, n_beta: float, gamma: float) -> float:
        """Exact learning coefficient with localisation, any number of weights.

        log K is a sum of independent terms 2 k_i log|w_i|, w_i ~ N(0, 1/gamma); their densities are
        convolved on a grid and ``E[tK e^{-tK}]/E[e^{-tK}]``, t = n_beta, is summed.

        Raises:
            RecipeError: gamma is not positive and K has several factors (no normalisable density).
        """
        if gamma <= 0:
            return self._unconfined()
        depth, density = _log_density(self.powers, gamma)
        scaled = n_beta * np.exp(depth)
        weight = density * np.exp(-scaled)
        return float(np.sum(weight * scaled) / np.sum(weight))

    def box_llc(self, n_beta: float) -> float:
        """Exact learning coefficient on the box |w_i| <= 1 with a flat prior, no localisation."""
        return box_llc([1 / (2 * k) for k in self.powers], n_beta)

    def _unconfined(self) -> float:
        """One weight without localisation: 1/(2k) at every temperature, by homogeneity."""
        if len(self.powers) == 1:
            return 1 / (2 * self.powers[0])
        raise RecipeError(
            "the local posterior does not exist",
            where="crossing.Crossing.llc",
            value=self.powers,
            why="with gamma = 0 the density is constant along the axes K = 0",
            do="give gamma > 0, or use box_llc",
        )


def asymptotic(powers: Sequence[int], prior_powers: Sequence[float] | None = None) -> tuple[Fraction, int]:
    """lambda = min (s_i + 1)/(2 k_i) and its multiplicity, prior density prod |w_i|^{s_i}.

    (watanabe2009, resolution of singularities.) A weight with k_i = 0 takes no part.
    """
    priors = [0] * len(powers) if prior_powers is None else prior_powers
    rates = [Fraction(s + 1) / (2 * k) for k, s in zip(powers, priors, strict=True) if k > 0]
    return min(rates), rates.count(min(rates))


def square_product_llc(n_beta: float, gamma: float) -> float:
    """Exact learning coefficient of K = x² y² with localisation, in closed form.

    ``1/2 + z - z K_1(z)/K_0(z)`` with z = gamma²/(8 n_beta), K_0 and K_1 modified Bessel functions
    (derived: Z = integral of exp(-gamma (x² + y²)/2 - n_beta x² y²) is proportional to
    n_beta^{-1/2} e^z K_0(z)).
    """
    z = gamma**2 / (8 * n_beta)
    if z > 1e3:  # the two large terms cancel; expansion of the Bessel ratio
        return 1 / (8 * z) - 1 / (8 * z**2) + 25 / (128 * z**3)
    return float(0.5 + z - z * k1e(z) / k0e(z))


def power_series_llc(power: int, n_beta: float, gamma: float) -> float:
    """K = w^{2k} to first order in gamma, ``1/(2k) - gamma/(2k) Gamma(3/2k)/Gamma(1/2k) t^{-1/k}``."""
    ratio = gamma_function(3 / (2 * power)) / gamma_function(1 / (2 * power))
    return float((1 - gamma * ratio * n_beta ** (-1 / power)) / (2 * power))


def box_llc(rates: Sequence[float], n_beta: float) -> float:
    """Exact learning coefficient on the unit box from the rates lambda_i = 1/(2 k_i).

    -log K is a sum of independent exponentials of these rates; the mean of tK under e^{-tK}
    (t = n_beta) is then a one-dimensional integral in any dimension (derived).
    """
    reach = max(math.log(n_beta), 0.0) + DEPTH / min(rates)
    depth, weights = quadrature.gauss(0.0, reach, 200)
    scaled = n_beta * np.exp(-depth)
    density = weights * _sum_density(rates, depth) * np.exp(-scaled)
    return float(np.sum(density * scaled) / np.sum(density))


def leading_box_llc(rates: Sequence[float], n_beta: float) -> float:
    """``lambda - (m-1)/(log t - psi(lambda))``: the box value for m equal rates at large t."""
    smallest = min(rates)
    ties = sum(np.isclose(rate, smallest) for rate in rates)
    return float(smallest - (ties - 1) / (np.log(n_beta) - digamma(smallest)))


@dataclass(frozen=True)
class TwoPoints:
    """K = (w1 - 1)² (w1² + w2²)⁴: lambda 1/4 at the origin, 1/2 on the line w1 = 1.

    The two-component test of lau2023. At fixed gamma the coefficient tends to 1/4 from
    EITHER start as n_beta grows, since the Gaussian is then an ordinary prior.

    Args:
        start: w*, on the zero set: (0, 0) or (1, any).
    """

    start: tuple[float, float]

    @property
    def center(self) -> Params:
        """w* as ``{"w": [2]}``, float64."""
        return {"w": torch.tensor(self.start, dtype=torch.float64)}

    @property
    def data(self) -> Batch:
        """One row: the loss is a population loss."""
        return {"index": torch.zeros(1, dtype=torch.long)}

    def loss(self, params: Params, batch: Batch) -> Tensor:
        """K(w) in nats, once per row [rows]; ``noise`` [rows, 2] adds ``noise . (w - w*)``."""
        weights = params["w"]
        value = (weights[0] - 1) ** 2 * (weights[0] ** 2 + weights[1] ** 2) ** 4
        if "noise" in batch:
            return value + batch["noise"] @ (weights - self.center["w"].to(weights))
        return value.expand(rows_of(batch))

    def llc(self, n_beta: float, gamma: float) -> float:
        """Exact learning coefficient by two-dimensional quadrature, gamma > 0."""
        total, excess = self._sums(n_beta, gamma)
        return n_beta * excess / total

    def _sums(self, n_beta: float, gamma: float) -> tuple[float, float]:
        """Integrals of the density and of K times it, on a grid fine near both singular sets."""
        reach = 12.0 / math.sqrt(gamma)
        first, first_weights = _clustered((0.0, 1.0), reach, 24)
        second, second_weights = _clustered((0.0,), reach + abs(self.start[1]), 24)
        x, y = first[:, None], second[None, :]
        excess = (x - 1) ** 2 * (x**2 + y**2) ** 4
        pull = (x - self.start[0]) ** 2 + (y - self.start[1]) ** 2
        density = np.exp(-n_beta * excess - gamma / 2 * pull)
        density *= first_weights[:, None] * second_weights
        return float(density.sum()), float((density * excess).sum())


def _clustered(points: Sequence[float], reach: float, panels: int) -> tuple[Array, Array]:
    """Nodes on both sides of every point, geometric towards it, out to ``reach`` from the ends."""
    cuts = [(a + b) / 2 for a, b in pairwise(points)]
    low, high = [points[0] - reach, *cuts], [*cuts, points[-1] + reach]
    pieces = []
    for point, left, right in zip(points, low, high, strict=True):
        pieces += [_geometric(point, left, panels), _geometric(point, right, panels)]
    return np.concatenate([p[0] for p in pieces]), np.concatenate([p[1] for p in pieces])


def _geometric(point: float, end: float, panels: int) -> tuple[Array, Array]:
    """Gauss-Legendre in log distance from e^-30 to the end of the interval."""
    top = math.log(abs(end - point))
    logs, weights = quadrature.gauss(top - 30.0, top, panels)
    return point + np.sign(end - point) * np.exp(logs), weights * np.exp(logs)


def _log_density(powers: Sequence[int], gamma: float) -> tuple[Array, Array]:
    """Grid of log K and the density of log K when every w_i ~ N(0, 1/gamma)."""
    start, density = 0.0, np.ones(1, dtype=np.float64)
    for k in powers:
        top = 2 * k * math.log(14 / math.sqrt(gamma))
        count = int(2 * k * DEPTH / SPACING)
        grid = top - SPACING * np.arange(count)[::-1]
        log_weight = grid / (2 * k)
        density = fftconvolve(density, np.exp(log_weight - gamma / 2 * np.exp(2 * log_weight)))
        start += float(grid[0])
    return np.asarray(start + SPACING * np.arange(density.size)), density


def _sum_density(rates: Sequence[float], depth: Array) -> Array:
    """Density [node] of a sum of independent exponentials, up to a constant.

    The divided difference of ``exp(-l u)`` over the sorted rates (sign dropped); where rates tie it
    is the derivative ``u^j e^{-l u} / j!``.
    """
    rates = sorted(rates)
    table = [np.exp(-rate * depth) for rate in rates]
    for order in range(1, len(rates)):
        gaps = [rates[i + order] - rates[i] for i in range(len(rates) - order)]
        table = [
            (table[i] - table[i + 1]) / gap
            if gap > 0
            else depth**order * np.exp(-rates[i] * depth) / math.factorial(order)
            for i, gap in enumerate(gaps)
        ]
    return table[0]
