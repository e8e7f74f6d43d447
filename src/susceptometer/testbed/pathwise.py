r"""What coupled chains must return on a quadratic: the pair at n_beta (1 +- h) and the tangent.

Both rest on d/d(n_beta) E[G] = -Cov(L, G) (plummer2026): the change of E[l_x - L] with n_beta is
the within-run susceptibility. Expectations of a pair need only the law of each of its chains, so
the value of any linear sampler is a difference of two means:

    plus, minus = pair_energies(system, n_beta, gamma, offset=h * n_beta)
    continuum     pair_susceptibility(system, plus.law, minus.law, offset=h * n_beta)
    SGLD          ... sgld(plus, step_size).law(), sgld(minus, step_size).law() ...

The Leimkuhler-Matthews sampler samples a quadratic exactly, so with full-batch gradients its pair
returns the continuum finite-h value at every stable step, where SGLD is off by -(eps p)²/16.
"""

import math

import numpy as np

from susceptometer.testbed.form import Array, Energy, Form, Law
from susceptometer.testbed.gaussian import Quadratic
from susceptometer.testbed.lyapunov import LinearChain


def pair_energies(
    system: Quadratic,
    n_beta: float,
    gamma: float,
    *,
    offset: float,
    gradient_noise: Array | None = None,
    shared: bool = False,
) -> tuple[Energy, Energy]:
    """The two potentials U + d L and U - d L that a pair of coupled chains samples.

    With two independent batches per step the noise of the gradient is ``(n_beta² + d²) G`` in both
    chains and cancels from the difference; with one ``shared`` batch it is ``(n_beta +- d)² G``,
    and the pair then also measures the answer of the heating (derived).

    Args:
        system: The (restricted) quadratic system.
        n_beta: 1/nats; may be zero.
        gamma: 1/weight².
        offset: d, in 1/nats: h n_beta for the factor 1 +- h; any d > 0 at n_beta = 0.
        gradient_noise: G [D, D], covariance of grad L_m of one batch.
        shared: The perturbation is computed on the batch of the drift.
    """
    size = system.anchor.size
    noise = np.zeros((size, size)) if gradient_noise is None else np.asarray(gradient_noise)
    plus, minus = (system.energy(n_beta + d, gamma, noise) for d in (offset, -offset))
    if shared:
        return plus, minus
    heat = (n_beta**2 + offset**2) * noise
    return (
        Energy(plus.precision, plus.slope, heat),
        Energy(minus.precision, minus.slope, heat),
    )


def pair_susceptibility(system: Quadratic, plus: Law, minus: Law, *, offset: float) -> Array:
    """Pair value ``(E_+[f_x] - E_-[f_x]) / (2 d)`` of every token [X], in nats²."""
    perturbations = system.perturbations
    return (perturbations.mean(plus) - perturbations.mean(minus)) / (2 * offset)


def tangent_chain(
    system: Quadratic,
    n_beta: float,
    gamma: float,
    *,
    step_size: float,
    gradient_noise: Array | None = None,
    shared: bool = False,
) -> LinearChain:
    """SGLD together with its derivative a = dv/d(n_beta) at fixed noise, from w*.

    ``a' = a - (eps/2) Hess U a - (eps/2) grad L_m'(v)``. The state (v, a) is again a linear chain
    of 2D entries, so stationary values, transients and errors of the tangent estimator all follow
    from ``LinearChain`` with ``tangent_form`` as the quadratic. Curvatures equal over tokens.
    """
    energy = system.energy(n_beta, gamma, gradient_noise)
    size = energy.slope.size
    one, none = np.eye(size), np.zeros((size, size))
    noise = none if gradient_noise is None else np.asarray(gradient_noise).reshape(size, size)
    contraction, half = one - step_size / 2 * energy.precision, step_size / 2
    cross = half**2 * n_beta * noise if shared else none
    return LinearChain(
        transition=np.block([[contraction, none], [-half * system.base.hessian, contraction]]),
        drift=-half * np.concatenate([energy.slope, system.base.slope]),
        noise=np.block([[step_size * one + half**2 * energy.noise, cross], [cross, half**2 * noise]]),
        start=np.zeros((2 * size, 2 * size)),
        weights=2 * size,
    )


def tangent_form(system: Quadratic) -> Form:
    """``grad f_x(v) . a`` as a quadratic of (v, a), one per token [X]; nats² when averaged."""
    pieces = system.perturbations
    curve, none = pieces.hessian, np.zeros_like(pieces.hessian)
    hessian = np.block([[none, curve], [curve, none]])
    slope = np.concatenate([np.zeros_like(pieces.slope), pieces.slope], axis=-1)
    return Form(hessian, slope, np.zeros_like(pieces.constant))


def pathwise_susceptibility(system: Quadratic, chain: LinearChain) -> Array:
    """Stationary tangent value of every token [X] in nats²: the pair's limit h -> 0.

    Full batch: ``-½ tr(B S [H - (eps/4)(HP + PH)] S) - (H mu + r)' P⁻¹ (B mu + q)`` with S the
    stationary covariance of SGLD (derived).
    """
    return tangent_form(system).mean(chain.law())


def response_fraction(elapsed: float) -> float:
    """Share ``1 - e^{-s} (1 + s)`` of the stationary response reached s = eps p t after w*.

    For a curvature response along a direction of precision p, r = 0, small eps p (derived).
    """
    return -math.expm1(-elapsed) - elapsed * math.exp(-elapsed)


def window_response_fraction(elapsed: float) -> float:
    """Share ``1 - (2 - e^{-S} (2 + S)) / S`` when all draws 1..T are averaged, S = eps p T."""
    return 1 - (2 - math.exp(-elapsed) * (2 + elapsed)) / elapsed
