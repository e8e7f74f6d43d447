"""Mini-batch gradient noise: enumeration of all batches, and exact second moments of SGLD."""

import itertools

import numpy as np
import pytest

from susceptometer.errors import RecipeError
from susceptometer.testbed import gaussian, lyapunov, minibatch


@pytest.fixture
def system() -> gaussian.Quadratic:
    return gaussian.random_quadratic(3, sizes=(2, 2), tokens=6, spread=0.7)


@pytest.fixture
def plain() -> gaussian.Quadratic:
    return gaussian.random_quadratic(4, sizes=(3,), tokens=6, spread=0.7, equal_curvature=True)


@pytest.mark.parametrize("replace", [True, False])
def test_gradient_noise_by_enumeration(system: gaussian.Quadratic, replace: bool) -> None:
    v = np.array([0.2, -0.1, 0.4, 0.3])
    gradients = system.tokens.gradient(v)
    pairs = list(itertools.product(range(6), repeat=2))
    batches = np.array([gradients[list(p)].mean(0) for p in pairs if replace or p[0] != p[1]])
    expected = np.cov(batches.T, bias=True)
    value = minibatch.gradient_noise(system, 2, v, replace=replace)
    assert np.allclose(value, expected, rtol=1e-12)


def test_minibatch_law_by_enumerated_recursion(system: gaussian.Quadratic) -> None:
    """Iterate the first two moments with the average over the tokens of a batch of one."""
    n_beta, gamma, eps = 4.0, 5.0, 2e-2
    law = minibatch.minibatch_law(system, n_beta, gamma, step_size=eps, rows=1)
    contraction = np.eye(4) - eps / 2 * (n_beta * system.tokens.hessian + gamma * np.eye(4))
    push = -eps / 2 * n_beta * system.tokens.slope
    mean, second = np.zeros(4), np.zeros((4, 4))
    for _ in range(1500):
        cross = np.einsum("xij,j,xk->ik", contraction, mean, push) / 6
        second = (
            np.einsum("xij,jk,xlk->il", contraction, second, contraction) / 6
            + cross
            + cross.T
            + push.T @ push / 6
            + eps * np.eye(4)
        )
        mean = contraction.mean(0) @ mean + push.mean(0)
    assert np.allclose(law.mean, mean, rtol=1e-8)
    assert np.allclose(law.covariance + np.outer(mean, mean), second, rtol=1e-8)
    frozen = lyapunov.sgld(system.energy(n_beta, gamma, minibatch.gradient_noise(system, 1)), eps).law()
    assert np.trace(law.covariance) > 1.001 * np.trace(frozen.covariance)


def test_minibatch_law_is_self_consistent(system: gaussian.Quadratic) -> None:
    law = minibatch.minibatch_law(system, 4.0, 5.0, step_size=2e-2, rows=3)
    noise = minibatch.mean_gradient_noise(system, 3, law)
    again = lyapunov.sgld(system.energy(4.0, 5.0, noise), 2e-2).law()
    assert np.allclose(again.covariance, law.covariance, rtol=1e-10)


def test_equal_curvature_noise_is_constant(plain: gaussian.Quadratic) -> None:
    at_center = minibatch.gradient_noise(plain, 2)
    assert np.allclose(at_center, minibatch.gradient_noise(plain, 2, np.ones(3)), atol=1e-13)
    law = minibatch.minibatch_law(plain, 20.0, 5.0, step_size=4e-3, rows=2)
    chain = lyapunov.sgld(plain.energy(20.0, 5.0, at_center), 4e-3)
    assert np.allclose(law.covariance, chain.law().covariance, rtol=1e-9)


def test_minibatch_law_refuses_growth(system: gaussian.Quadratic) -> None:
    with pytest.raises(RecipeError, match="no stationary variance"):
        minibatch.minibatch_law(system, 20.0, 5.0, step_size=0.3, rows=1)


def test_control_variates_leave_the_loss_and_remove_the_noise_at_the_center(
    system: gaussian.Quadratic,
) -> None:
    quiet, v = minibatch.control_variate_system(system), np.array([0.2, -0.1, 0.4, 0.3])
    assert np.allclose(quiet.base.gradient(v), system.base.gradient(v), rtol=1e-12)
    assert np.isclose(float(quiet.loss(quiet.center, quiet.data).mean()), system.base.constant)
    assert np.abs(minibatch.gradient_noise(quiet, 1)).max() < 1e-25
    assert np.abs(minibatch.gradient_noise(quiet, 1, v)).max() > 1e-3
    settings = {"step_size": 2e-2, "rows": 1}
    calm = minibatch.minibatch_law(quiet, 4.0, 5.0, **settings)
    noisy = minibatch.minibatch_law(system, 4.0, 5.0, **settings)
    assert np.trace(calm.covariance) < np.trace(noisy.covariance)
