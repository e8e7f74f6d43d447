r"""A model of the spin source whose learning coefficient is exact at every temperature and truncation.

Source: q(y|x) = 2^-m (1 + sum_i a_i x_i y_i), x uniform. Model: p(y|x) = prod_i (1 + tanh(w_i) x_i y_i)/2. The loss is
separable, L = const + sum_i (log cosh w_i - a_i w_i), and dropping the mode of spin i sets its a_i to zero (derived).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from susceptometer.errors import DataError
from susceptometer.testbed import quadrature
from susceptometer.testbed.form import Array
from susceptometer.testbed.sequence_source import sign_table
from susceptometer.types import Params

POINTS = 20_001


@dataclass(frozen=True)
class SignModel:
    """m spins of which some are learned.

    Args:
        couplings: a_i of the source, |a_i| < 1.
        learned: How many leading spins w* has learned, w*_i = atanh(a_i); the others are zero.

    Raises:
        DataError: A coupling of size one or more, or more learned spins than there are.
    """

    couplings: tuple[float, ...]
    learned: int

    def __post_init__(self) -> None:
        if max(map(abs, self.couplings)) >= 1 or not 0 <= self.learned <= len(self.couplings):
            raise DataError(
                "no such sign model",
                where="SignModel",
                value=(self.couplings, self.learned),
                why="w* = atanh(a) needs |a| < 1",
                do="give |a_i| < 1 and 0 <= learned <= number of spins",
            )

    @property
    def center(self) -> Params:
        """w* as ``{"w": [m]}``, float64."""
        known = np.arctanh(np.array(self.couplings))
        known[self.learned :] = 0
        return {"w": torch.tensor(known)}

    def log_law(self, params: Params) -> Tensor:
        """log p(y|x) ``[2^m contexts, 2^m outputs]`` in the order of ``sequence_source.spins``."""
        signs = torch.tensor(sign_table(len(self.couplings)), dtype=params["w"].dtype)
        agree = (signs[:, None, :] * signs[None, :, :] > 0).to(signs.dtype)
        return agree @ (2 * params["w"]) + torch.nn.functional.logsigmoid(-2 * params["w"]).sum()

    def excess(self, spin: int, weight: Array, *, kept: bool) -> Array:
        """D_i = log cosh w - a w minus its value at w*, nats; ``kept``: whether the loss holds this spin's mode."""
        pull = self.couplings[spin] if kept else 0.0
        center = float(self.center["w"][spin])
        return _log_cosh(weight) - pull * weight - float(_log_cosh(np.array(center)) - pull * center)

    def llc(self, n_beta: float, gamma: float, kept: int) -> float:
        """Exact coefficient when the loss holds the first ``kept`` spins: a sum of one-dimensional integrals."""
        return float(sum(self.spin_llc(i, n_beta, gamma, kept=i < kept) for i in range(len(self.couplings))))

    def spin_llc(self, spin: int, n_beta: float, gamma: float, *, kept: bool) -> float:
        """One spin's share of the coefficient."""
        center = float(self.center["w"][spin])
        reach = 12 / np.sqrt(gamma)
        nodes, weights = quadrature.trapezoid(center - reach, center + reach, POINTS)
        excess = self.excess(spin, nodes, kept=kept)
        grid = quadrature.Grid(nodes[:, None], np.log(weights))
        return float(n_beta * grid.probabilities(n_beta * excess + gamma / 2 * (nodes - center) ** 2) @ excess)

    def departure(self, spin: int, gamma: float, drop: float) -> float:
        """n_beta at which keeping an unlearned spin's mode lowers the coefficient by ``drop`` (bisection)."""
        low, high = 1e-2, 1e8
        for _ in range(80):
            middle = np.sqrt(low * high)
            gap = self.spin_llc(spin, middle, gamma, kept=False) - self.spin_llc(spin, middle, gamma, kept=True)
            low, high = (middle, high) if gap < drop else (low, middle)
        return float(np.sqrt(low * high))


def posterior_gap(model: SignModel, n_beta: float, gamma: float, kept: Sequence[int]) -> Array:
    """Exact coefficients for several truncations, ``[kept]``."""
    return np.array([model.llc(n_beta, gamma, count) for count in kept])


def _log_cosh(x: Array) -> Array:
    size = np.abs(x)
    return size + np.log1p(np.exp(-2 * size)) - np.log(2)
