"""What a local posterior would be if the losses were quadratic about w*: mean, widths and learning coefficient."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from susceptometer.estimate.curvature import (
    DENSE,
    dense_ritz,
    hessian_product,
    lanczos,
    mean_gradient,
    random_starts,
    ritz,
    some_rows,
)
from susceptometer.posterior.local import LocalPosterior
from susceptometer.posterior.stages import Minibatch
from susceptometer.rng import stream
from susceptometer.sampling.base import Sampler
from susceptometer.sampling.moments import ProbeReader
from susceptometer.sampling.sgld import SGLD
from susceptometer.types import Carry, rows_of

NOISE_ROWS = 256
"""Data rows from which the scatter of row gradients is taken."""


@dataclass(frozen=True)
class GaussianLaw:
    r"""Quadratic prediction for one component (conventions 9.1 and 9.2; slopes and heating derived there).

    With P = n_beta H + gamma and r = grad L(w*), the posterior is N(mu, P^-1) about w*, mu = -n_beta P^-1 r. The base
    probe may be other text than the data, so its own loss L_b is what is averaged:

        n_beta ( E[L_b] - L_b(w*) ) = n_beta ( L_b(w* + mu) - L_b(w*) + 1/2 tr(H_b S) )

    On the data themselves the first part is -n_beta^2 sum_i r_i^2 (p_i + gamma)/(2 p_i^2): never positive. S is the
    sampler's covariance: P^-1 for Leimkuhler-Matthews and in the continuum, 1/(p (1 - eps p/4)) per direction for
    SGLD, both plus mini-batch heating (eps n_beta^2/4) G/(p (1 - eps p/4)).

    Args:
        temper: n_beta and gamma.
        mean: mu, ``[d]``.
        shift: L_b(w* + mu) - L_b(w*), nats.
        widths: Nodes and weights ``[k]`` with sum weight f(node) = tr(H_b f(H)).
        heat: Nodes and weights with sum weight f(node) = tr(H f(H) G), G of one mini-batch; empty for full batches.
    """

    temper: tuple[float, float]
    mean: Tensor
    shift: float
    widths: tuple[np.ndarray, np.ndarray]
    heat: tuple[np.ndarray, np.ndarray]

    def llc(self, sampler: Sampler | None = None) -> float:
        """Learning coefficient in the continuum, or under a sampler's finite step."""
        (n_beta, gamma), euler = self.temper, isinstance(sampler, SGLD)
        step_size = sampler.step_size if sampler is not None else 0.0

        def inverse(h: np.ndarray, *, damped: bool) -> np.ndarray:
            p = n_beta * h + gamma
            stable = (p > 0) & (step_size * p < 4)
            safe = np.where(stable, p, 1.0)
            return np.where(stable, 1 / (safe * (1 - step_size * safe / 4 * damped)), 0.0)

        nodes, weights = self.widths
        inner = self.shift + 0.5 * float((weights * inverse(nodes, damped=euler)).sum())
        nodes, weights = self.heat
        kick = step_size * n_beta**2 / 4
        return n_beta * (inner + 0.5 * kick * float((weights * inverse(nodes, damped=True)).sum()))


def gaussian_law(
    posterior: LocalPosterior, *, seed: int, noise: Tensor | None = None, batch_rows: int | None = None
) -> GaussianLaw:
    """The quadratic prediction, from Hessian products and the gradient of all data at w*.

    Args:
        posterior: Supplies losses, n_beta and gamma.
        seed: Names the random start vectors.
        noise: Row gradients less their mean ``[rows, d]`` (see ``row_residuals``), for mini-batch heating.
        batch_rows: Rows per step; None: full batches.
    """
    carry, n_beta, gamma = some_rows(posterior), posterior.n_beta, posterior.gamma

    def pull(h: np.ndarray) -> np.ndarray:
        p = n_beta * h + gamma
        return np.where(p > 0, -n_beta / np.where(p > 0, p, 1.0), 0.0)

    mean = ritz(posterior, data_slope(posterior), carry).apply(pull).to(posterior.center)
    return GaussianLaw(
        (n_beta, gamma), mean, _rise(posterior, mean), _widths(posterior, carry, seed),
        _heat(posterior, carry, noise, batch_rows or 0, seed),
    )  # fmt: skip


def data_slope(posterior: LocalPosterior) -> Tensor:
    """Gradient r of the mean loss of all data rows at w*, ``[d]``."""
    count, total = rows_of(posterior.subject.data), torch.zeros_like(posterior.center)
    for start in range(0, count, 64):
        rows = torch.arange(start, min(start + 64, count))
        part = mean_gradient(posterior, posterior.center[None], posterior.data_carry(rows))[0]
        total += part * (len(rows) / count)
    return total


def row_residuals(posterior: LocalPosterior, at: Tensor, *, centered: bool) -> Tensor:
    """Gradients of up to `NOISE_ROWS` data rows at ``at`` less their mean, ``[rows, d]``.

    With ``centered`` each row's gradient at w* is subtracted first, as the control variate does.
    """
    count = rows_of(posterior.subject.data)
    chosen = torch.linspace(0, count - 1, min(count, NOISE_ROWS)).round().long()
    found = _row_gradients(posterior, at, chosen)
    if centered:
        found = found - _row_gradients(posterior, posterior.center, chosen)
    return found - found.mean(0)


def noise_level(residuals: Tensor, batch_rows: int | None) -> float:
    """Variance of a mini-batch's mean gradient, mean over weights, (nats/weight)^2; 0 for full batches."""
    if batch_rows is None or len(residuals) < 2:
        return 0.0
    return float(residuals.square().sum(0).mean() / (len(residuals) - 1)) / batch_rows


def _row_gradients(posterior: LocalPosterior, at: Tensor, chosen: Tensor) -> Tensor:
    out = []
    for rows in chosen.split(64):
        each = torch.arange(len(rows))[:, None]
        batch = Minibatch(rows, each, torch.ones(len(rows), 1, dtype=at.dtype))
        points = at.expand(len(rows), -1)
        out.append(posterior.weighted_gradient(points, posterior.data_carry(rows), batch)[1])
    return torch.cat(out)


def _rise(posterior: LocalPosterior, mean: Tensor) -> float:
    """L_b(w* + mu) - L_b(w*) on the base probe."""
    points = torch.stack([posterior.center, posterior.center + mean])
    reader = ProbeReader(posterior, 2)
    tokens = rows_of(posterior.subject.probes["base"]) * posterior.events
    losses = torch.cat(list(reader.read(points)), 1)[:, :tokens].double().mean(1)
    return float(losses[1] - losses[0])


def _widths(posterior: LocalPosterior, carry: Carry, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of tr(H_b f(H)): eigenpairs, or Lanczos from random unit vectors."""
    probe, center = some_rows(posterior, posterior.subject.probes["base"]), posterior.center
    size = len(center)
    if size <= DENSE:
        nodes, vectors = dense_ritz(posterior, center, carry)
        images = hessian_product(posterior, center, vectors.to(center), probe).double().cpu()
        return nodes, (images * vectors).sum(1).numpy()
    starts = random_starts(size, 2, seed)
    found = [lanczos(posterior, start, carry, at=center, iterations=12) for start in starts]
    images = hessian_product(posterior, center, starts.to(center), probe).double()
    weights = [
        size / len(starts) * one.first * (one.vectors @ image).cpu().numpy()
        for one, image in zip(found, images, strict=True)
    ]
    return np.concatenate([one.nodes for one in found]), np.concatenate(weights)


def _heat(
    posterior: LocalPosterior, carry: Carry, noise: Tensor | None, batch_rows: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of tr(H f(H) G), G = noise' noise / (rows - 1) / batch_rows (random signs beyond `DENSE`)."""
    if noise is None or not batch_rows or len(noise) < 2:
        return np.zeros(0), np.zeros(0)
    if noise.shape[1] <= DENSE:
        nodes, vectors = dense_ritz(posterior, posterior.center, carry)
        scatter = (noise.double().cpu() @ vectors.T).square().sum(0).numpy()
        return nodes, scatter * nodes / ((len(noise) - 1) * batch_rows)
    signs = torch.randn(2, len(noise), generator=stream(seed, "rows"), dtype=torch.float64).sign().to(noise)
    starts = signs @ noise / (len(noise) - 1) ** 0.5
    found = [ritz(posterior, start, carry) for start in starts]
    nodes = np.concatenate([one.nodes for one in found])
    weights = np.concatenate([one.first**2 for one in found])
    return nodes, weights * nodes / (len(found) * batch_rows)
