r"""The noise of mini-batch gradients on a quadratic system, and the law of SGLD under it.

A batch of m tokens drawn with replacement has grad L_m = grad L + zeta with covariance
G(v) = (1/m) Var_x[t_x + A_x v]. With equal curvatures (A_x = H) G does not depend on v; otherwise
it grows away from w*, and then SGLD heats itself more than G(0) says.
"""

import numpy as np
from numpy.typing import ArrayLike

from susceptometer.errors import RecipeError
from susceptometer.testbed.form import Array, Form, Law
from susceptometer.testbed.gaussian import Quadratic


def gradient_noise(
    system: Quadratic, rows: int, displacement: ArrayLike | None = None, *, replace: bool = True
) -> Array:
    """Covariance G [D, D] of the mean gradient of ``rows`` tokens, (nats/weight)².

    ``G = Var_x[t_x + A_x v] / m``, times (X - m)/(X - 1) when a batch has no repeats (survey
    sampling). At w* unless a ``displacement`` v [D] is given.
    """
    v = np.zeros(system.anchor.size) if displacement is None else np.asarray(displacement)
    gradients = system.perturbations.gradient(v)
    tokens = gradients.shape[0]
    correction = 1.0 if replace else (tokens - rows) / (tokens - 1)
    return gradients.T @ gradients / tokens * correction / rows


def mean_gradient_noise(system: Quadratic, rows: int, law: Law) -> Array:
    """Average of G(v) over a law of the weights: ``(1/m) E_x[B Sigma B + (B mu + q)(B mu + q)']``."""
    pieces = system.perturbations.hessian
    curved = np.einsum("xij,jk,xlk->il", pieces, law.covariance, pieces) / pieces.shape[0]
    return gradient_noise(system, rows, law.mean) + curved / rows


def control_variate_system(system: Quadratic) -> Quadratic:
    """The system whose mini-batch noise is that of control variates at w* (baker2019).

    Each token's gradient at w* is replaced by the mean one, t_x := r; the base loss is unchanged,
    and what noise is left, ``Var_x[A_x v] / m``, vanishes at w*.
    """
    tokens = system.tokens
    slopes = np.tile(system.base.slope, (len(tokens.slope), 1))
    return Quadratic(Form(tokens.hessian, slopes, tokens.constant), system.anchor, system.parts)


def minibatch_law(system: Quadratic, n_beta: float, gamma: float, *, step_size: float, rows: int) -> Law:
    """Exact stationary mean and covariance of mini-batch SGLD, state-dependent noise included.

    ``Sigma = M Sigma M + eps I + (eps²/4) n_beta² E[G(v)]`` with M = I - (eps/2) P (derived): the
    equation is linear in Sigma, because E[G] is. The stationary law is not normal unless the
    curvatures are equal, so take means of quadratics from it (learning coefficient, E[f]), not
    covariances.

    Raises:
        RecipeError: The second moment grows without bound at this step size.
    """
    energy = system.energy(n_beta, gamma)
    mean, size = energy.law.mean, system.anchor.size
    pieces = system.perturbations.hessian
    kick = step_size**2 * n_beta**2 / 4
    contraction = np.eye(size) - step_size / 2 * energy.precision
    heating = np.einsum("xij,xkl->ikjl", pieces, pieces) / pieces.shape[0] / rows
    growth = np.kron(contraction, contraction) + kick * heating.reshape(size**2, size**2)
    _refuse_growth(growth, step_size)
    source = step_size * np.eye(size) + kick * gradient_noise(system, rows, mean)
    solution = np.linalg.solve(np.eye(size**2) - growth, source.reshape(-1))
    return Law(mean, solution.reshape(size, size))


def _refuse_growth(growth: Array, step_size: float) -> None:
    """Raise where the second moment of a linear stochastic recursion has no fixed point."""
    radius = float(np.abs(np.linalg.eigvals(growth)).max())
    if radius >= 1:
        raise RecipeError(
            "SGLD has no stationary variance",
            where="minibatch.minibatch_law",
            value=radius,
            why=f"the second moment grows by this factor per step at step_size {step_size}",
            do="lower step_size or raise rows",
        )
