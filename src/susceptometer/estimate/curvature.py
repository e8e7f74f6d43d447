"""Curvature of the loss on a component: Lanczos on Hessian products of the restricted loss."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from susceptometer.posterior.local import LocalPosterior
from susceptometer.posterior.stages import Minibatch
from susceptometer.rng import stream
from susceptometer.types import Batch, Carry, rows_of, take

NUDGE = 1e-2
"""Length of the displacement behind a Hessian product by central differences, weight units."""

DENSE = 64
"""Up to this many weights the whole Hessian is formed instead."""

HESSIAN_ROWS = 32
"""Data rows whose mean loss stands for L in Hessian products."""

Function = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Ritz:
    """What Lanczos saw of a Hessian H from a start vector s: f(H) s = vectors.T (first f(nodes)), nearly.

    Args:
        nodes: Ritz values, ``[k]``, nats/weight^2.
        vectors: Ritz vectors, ``[k, d]``.
        first: Coordinates of s in them, ``[k]``.
    """

    nodes: np.ndarray
    vectors: Tensor
    first: np.ndarray

    def apply(self, function: Function) -> Tensor:
        """f(H) s, ``[d]``."""
        return torch.as_tensor(self.first * function(self.nodes)).to(self.vectors) @ self.vectors

    def form(self, function: Function) -> float:
        """s' f(H) s."""
        return float((self.first**2 * function(self.nodes)).sum())


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

    def trace(self, function: Function) -> float:
        """tr f(H) by stochastic Lanczos quadrature (ubaru2017); exact up to DENSE weights."""
        return float(self.size * (self.weights * function(self.nodes)).sum(1).mean())


def hessian_product(posterior: LocalPosterior, at: Tensor, directions: Tensor, carry: Carry) -> Tensor:
    """H v for unit ``directions`` ``[k, d]`` at ``at`` ``[d]``, by central differences.

    Args:
        posterior: Supplies the loss.
        at: Where.
        directions: Unit vectors.
        carry: Prefix of the rows whose mean loss is differentiated.

    Returns:
        ``[k, d]``, nats/weight^2 per unit direction; relative error about NUDGE^2.
    """
    points = torch.cat([at + NUDGE * directions, at - NUDGE * directions])
    plus, minus = mean_gradient(posterior, points, carry).chunk(2)
    return (plus - minus) / (2 * NUDGE)


def mean_gradient(posterior: LocalPosterior, points: Tensor, carry: Carry) -> Tensor:
    """Gradient of the mean loss over the rows of ``carry`` at ``points`` ``[k, d]``, same shape."""
    count = rows_of(carry)
    everyone = torch.arange(count).expand(len(points), -1)
    weights = torch.full((len(points), count), 1 / count, dtype=points.dtype, device=points.device)
    return posterior.weighted_gradient(points, carry, Minibatch(None, everyone, weights))[1]


def some_rows(posterior: LocalPosterior, batch: Batch | None = None) -> Carry:
    """Prefix of the first `HESSIAN_ROWS` rows of ``batch`` (default: the data)."""
    batch = posterior.subject.data if batch is None else batch
    return posterior.carry(take(batch, torch.arange(min(HESSIAN_ROWS, rows_of(batch)))))


def spectrum(
    posterior: LocalPosterior,
    *,
    seed: int,
    at: Tensor | None = None,
    starts: int = 2,
    iterations: int = 12,
) -> Spectrum:
    """Ritz values and weights of the Hessian of L from random start vectors.

    Up to ``DENSE`` weights: all eigenvalues, exactly.

    Args:
        posterior: Supplies loss and component.
        seed: Names the start vectors.
        at: Position ``[d]``; w* by default.
        starts: Random start vectors.
        iterations: Lanczos steps (at most d); extremes converge first.
    """
    center = posterior.center if at is None else at
    size, carry = len(center), some_rows(posterior)
    if size <= DENSE:
        values = dense_ritz(posterior, center, carry)[0][None]
        return Spectrum(values, np.full_like(values, 1 / size), size)
    found = [
        lanczos(posterior, start, carry, at=center, iterations=iterations)
        for start in random_starts(size, starts, seed)
    ]
    most = max(len(one.nodes) for one in found)
    nodes = np.stack([np.pad(one.nodes, (0, most - len(one.nodes)), "edge") for one in found])
    weights = np.stack([np.pad(one.first**2, (0, most - len(one.first))) for one in found])
    return Spectrum(nodes, weights, size)


def random_starts(size: int, count: int, seed: int) -> Tensor:
    """Random unit vectors ``[count, size]``."""
    draw = torch.randn(count, size, generator=stream(seed, "lanczos"), dtype=torch.float64)
    return draw / draw.norm(dim=1, keepdim=True)


def ritz(posterior: LocalPosterior, start: Tensor, carry: Carry, *, iterations: int = 12) -> Ritz:
    """Ritz pairs at w* from a start vector ``[d]`` of any length: exact up to ``DENSE`` weights, else Lanczos."""
    if len(start) > DENSE:
        return lanczos(posterior, start, carry, at=posterior.center, iterations=iterations)
    values, vectors = dense_ritz(posterior, posterior.center, carry)
    return Ritz(values, vectors, (vectors @ start.double().cpu()).numpy())


def dense_ritz(posterior: LocalPosterior, center: Tensor, carry: Carry) -> tuple[np.ndarray, Tensor]:
    """All eigenvalues ``[d]`` of the Hessian and its eigenvectors ``[d, d]`` (rows)."""
    matrix = hessian_product(posterior, center, torch.eye(len(center)).to(center), carry).double().cpu()
    values, vectors = np.linalg.eigh((matrix + matrix.T).numpy() / 2)
    return values, torch.as_tensor(vectors.T.copy())


def lanczos(posterior: LocalPosterior, start: Tensor, carry: Carry, *, at: Tensor, iterations: int) -> Ritz:
    """Lanczos from ``start`` ``[d]`` with full re-orthogonalisation; stops early in an invariant subspace."""
    length = float(start.norm())
    basis, alphas, betas = [start.double() / max(length, 1e-300)], [], []
    for _ in range(min(iterations, len(start))):
        now = basis[-1]
        image = hessian_product(posterior, at, now[None].to(at), carry)[0].double()
        alphas.append(float(image @ now))
        for _ in range(2):
            for old in basis:
                image = image - (image @ old) * old
        beta = float(image.norm())
        if beta < 1e-6 * (max(map(abs, alphas)) + 1e-12):
            break
        betas.append(beta)
        basis.append(image / beta)
    off = betas[: len(alphas) - 1]
    values, vectors = np.linalg.eigh(np.diag(alphas) + np.diag(off, 1) + np.diag(off, -1))
    rows = torch.as_tensor(vectors.T.copy()) @ torch.stack(basis[: len(alphas)])
    return Ritz(values, rows, length * vectors[0])
