"""Curvature of the loss on a component: Lanczos on Hessian products of the restricted loss."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from susceptometer.posterior.local import LocalPosterior
from susceptometer.posterior.stages import Minibatch
from susceptometer.rng import stream
from susceptometer.types import rows_of

NUDGE = 1e-2
"""Length of the displacement behind a Hessian product by central differences, weight units."""

DENSE = 64
"""Up to this many weights the whole Hessian is formed instead."""


@dataclass(frozen=True)
class Spectrum:
    """What Lanczos saw of the Hessian of L on a component.

    Args:
        nodes: Ritz values of each start vector, ``[starts, k]``, nats/weight^2.
        weights: Their quadrature weights, ``[starts, k]``, rows sum to 1.
        size: Number of weights d.
    """

    nodes: np.ndarray
    weights: np.ndarray
    size: int

    @property
    def largest(self) -> float:
        """Largest Ritz value."""
        return float(self.nodes.max())

    @property
    def smallest(self) -> float:
        """Smallest Ritz value."""
        return float(self.nodes.min())

    def trace(self, function) -> float:  # noqa: ANN001
        """tr f(H) by stochastic Lanczos quadrature (ubaru2017); exact up to DENSE weights."""
        return float(self.size * (self.weights * function(self.nodes)).sum(1).mean())

    def gaussian_llc(self, n_beta: float, gamma: float, step_size: float = 0.0) -> float:
        """sum_i n_beta h/(2 p (1 - eps p/4)) over positive curvatures: the quadratic law at this step."""

        def term(h: np.ndarray) -> np.ndarray:
            p = n_beta * h + gamma
            return np.where(p > 0, n_beta * h / (2 * p * (1 - step_size * p / 4)), 0.0)

        return self.trace(term)


def hessian_product(
    posterior: LocalPosterior, at: Tensor, directions: Tensor, rows: Tensor
) -> Tensor:
    """H v for unit ``directions`` ``[k, d]`` at ``at`` ``[d]`` (or ``[k, d]``), by central differences.

    Args:
        posterior: Supplies the loss.
        at: Where.
        directions: Unit vectors.
        rows: Data rows that define L, int64 ``[m]``.

    Returns:
        ``[k, d]``, nats/weight^2 per unit direction; relative error about NUDGE^2.
    """
    points = torch.cat([at + NUDGE * directions, at - NUDGE * directions])
    weights = torch.full((len(points), len(rows)), 1 / len(rows), dtype=points.dtype)
    everyone = torch.arange(len(rows)).expand(len(points), -1)
    carry = posterior.data_carry(rows)
    _, grad = posterior.weighted_gradient(points, carry, Minibatch(rows, everyone, weights))
    plus, minus = grad.chunk(2)
    return (plus - minus) / (2 * NUDGE)


def spectrum(
    posterior: LocalPosterior, *, seed: int, at: Tensor | None = None, starts: int = 2,
    iterations: int = 12,
) -> Spectrum:
    """Ritz values and weights of the Hessian of L by Lanczos with full re-orthogonalisation.

    Up to ``DENSE`` weights: all eigenvalues, exactly.

    Args:
        posterior: Supplies loss and component.
        seed: Names the start vectors.
        at: Position ``[d]``; w* by default.
        starts: Random start vectors, run side by side as chains.
        iterations: Lanczos steps (at most d); extremes converge first.
    """
    center = posterior.center if at is None else at
    size = len(center)
    rows = torch.arange(min(64, rows_of(posterior.subject.data)))
    if size <= DENSE:
        return _dense(posterior, center, rows)
    draw = torch.randn(starts, size, generator=stream(seed, "lanczos"), dtype=torch.float64)
    basis = [draw / draw.norm(dim=1, keepdim=True)]
    alphas, betas = [], []
    for _ in range(min(iterations, size)):
        now = basis[-1]
        image = hessian_product(posterior, center, now.to(center), rows).double()
        alphas.append((image * now).sum(1))
        for _ in range(2):
            for old in basis:
                image = image - (image * old).sum(1, keepdim=True) * old
        length = image.norm(dim=1, keepdim=True)
        if float(length.min()) < 1e-6 * float(torch.stack(alphas).abs().max() + 1e-12):
            break
        betas.append(length[:, 0])
        basis.append(image / length)
    return _quadrature(torch.stack(alphas, 1), betas, size)


def _dense(posterior: LocalPosterior, center: Tensor, rows: Tensor) -> Spectrum:
    matrix = hessian_product(posterior, center, torch.eye(len(center)).to(center), rows).double()
    values = np.linalg.eigvalsh((matrix + matrix.T).numpy() / 2)[None]
    return Spectrum(values, np.full_like(values, 1 / len(center)), len(center))


def _quadrature(alphas: Tensor, betas: list[Tensor], size: int) -> Spectrum:
    starts, steps = alphas.shape
    nodes, weights = np.zeros((starts, steps)), np.zeros((starts, steps))
    for start in range(starts):
        off = [float(beta[start]) for beta in betas[: steps - 1]]
        matrix = np.diag(alphas[start].numpy()) + np.diag(off, 1) + np.diag(off, -1)
        values, vectors = np.linalg.eigh(matrix)
        nodes[start], weights[start] = values, vectors[0] ** 2
    return Spectrum(nodes, weights, size)
