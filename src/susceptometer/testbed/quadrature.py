"""Exact means of low-dimensional Gibbs laws: grids on which the posterior is a sum."""

from dataclasses import dataclass

import numpy as np

from susceptometer.errors import RecipeError
from susceptometer.testbed.form import Array


@dataclass(frozen=True, eq=False)
class Grid:
    """Nodes and positive weights; log weights so that e^-700 does not vanish.

    Shapes:
        nodes        node dim
        log_weights  node
    """

    nodes: Array
    log_weights: Array

    def probabilities(self, energy: Array) -> Array:
        """exp(-energy) on the nodes, normalised to one [node].

        Raises:
            RecipeError: The energy is not finite anywhere.
        """
        exponent = self.log_weights - energy
        top = float(np.max(exponent))
        if not np.isfinite(top):
            raise RecipeError(
                "the density cannot be normalised",
                where="quadrature.Grid",
                value=top,
                why="the energy is infinite or undefined on the whole grid",
                do="check n_beta, gamma and the limits of the grid",
            )
        density = np.exp(exponent - top)
        return density / density.sum()


def trapezoid(low: float, high: float, points: int) -> tuple[Array, Array]:
    """Equally spaced nodes [points] and their weights; spectrally accurate for decaying integrands."""
    nodes = np.linspace(low, high, points)
    return nodes, np.full(points, nodes[1] - nodes[0])


def gauss(low: float, high: float, panels: int) -> tuple[Array, Array]:
    """Composite 16-point Gauss-Legendre nodes and weights, for integrands that do not decay."""
    nodes, weights = np.polynomial.legendre.leggauss(16)
    half = (high - low) / (2 * panels)
    middles = low + half * (2 * np.arange(panels) + 1)
    return (middles[:, None] + half * nodes).ravel(), np.tile(half * weights, panels)


def product(first: tuple[Array, Array], second: tuple[Array, Array]) -> Grid:
    """Two-dimensional grid from two one-dimensional rules (nodes, weights)."""
    x, y = np.meshgrid(first[0], second[0], indexing="ij")
    weights = np.outer(first[1], second[1]).ravel()
    return Grid(np.stack([x.ravel(), y.ravel()], axis=1), np.log(weights))
