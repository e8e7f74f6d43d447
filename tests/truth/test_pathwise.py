"""Coupled chains on quadratics: closed forms, the limit of the pair, transients, simulation."""

import math

import numpy as np
import pytest

from susceptometer.testbed import gaussian, lyapunov, minibatch, pathwise
from susceptometer.testbed.form import Form

K = 5.0  # standard errors


@pytest.fixture
def system() -> gaussian.Quadratic:
    return gaussian.random_quadratic(3, sizes=(2, 2), tokens=6, spread=0.7)


@pytest.fixture
def plain() -> gaussian.Quadratic:
    return gaussian.random_quadratic(4, sizes=(3,), tokens=6, spread=0.7, equal_curvature=True)


def test_leimkuhler_matthews_pair_is_the_continuum_pair(system: gaussian.Quadratic) -> None:
    plus, minus = pathwise.pair_energies(system, 20.0, 5.0, offset=4.0)
    exact = pathwise.pair_susceptibility(system, plus.law, minus.law, offset=4.0)
    for step_size in (1e-3, 2e-2):
        laws = [lyapunov.leimkuhler_matthews(e, step_size).law() for e in (plus, minus)]
        assert np.allclose(pathwise.pair_susceptibility(system, *laws, offset=4.0), exact, rtol=1e-8)
        crude = [lyapunov.sgld(e, step_size).law() for e in (plus, minus)]
        biased = pathwise.pair_susceptibility(system, *crude, offset=4.0)
        assert np.abs(biased / exact - 1).max() > 1e-5


@pytest.mark.parametrize("shared", [False, True])
def test_tangent_is_the_limit_of_the_pair(system: gaussian.Quadratic, shared: bool) -> None:
    noise, eps, offset = minibatch.gradient_noise(system, 2), 4e-3, 1e-3
    tangent = pathwise.tangent_chain(system, 20.0, 5.0, step_size=eps, gradient_noise=noise, shared=shared)
    energies = pathwise.pair_energies(system, 20.0, 5.0, offset=offset, gradient_noise=noise, shared=shared)
    laws = [lyapunov.sgld(energy, eps).law() for energy in energies]
    pair = pathwise.pair_susceptibility(system, *laws, offset=offset)
    limit = pathwise.pathwise_susceptibility(system, tangent)
    assert np.allclose(pair, limit, rtol=1e-5, atol=1e-9)


def test_tangent_closed_form(system: gaussian.Quadratic) -> None:
    """-½ tr(B S [H - (eps/4)(HP + PH)] S) - (H mu + r)' P⁻¹ (B mu + q), full batch."""
    eps, energy, base, f = 4e-3, system.energy(20.0, 5.0), system.base, system.perturbations
    law, precision = lyapunov.sgld(energy, eps).law(), energy.precision
    middle = base.hessian - eps / 4 * (base.hessian @ precision + precision @ base.hessian)
    inner = law.covariance @ middle @ law.covariance
    tilt = np.linalg.solve(precision, base.gradient(law.mean))
    expected = -0.5 * np.einsum("xij,ji->x", f.hessian, inner) - f.gradient(law.mean) @ tilt
    chain = pathwise.tangent_chain(system, 20.0, 5.0, step_size=eps)
    assert np.allclose(pathwise.pathwise_susceptibility(system, chain), expected, rtol=1e-10)
    assert np.allclose(tilt, 5.0 * np.linalg.solve(precision, base.slope) @ np.linalg.inv(precision))


def test_spread_of_the_tangent_from_its_own_batches() -> None:
    """No curvature: a' = M a - (eps/2) zeta, so Var(a) = (eps²/4) G / (1 - M²)."""
    flat = gaussian.Quadratic(Form(np.zeros((1, 1, 1)), np.zeros((1, 1)), np.zeros(1)), np.zeros(1), (("w", 1),))
    eps, noise = 4e-3, np.array([[0.8]])
    chain = pathwise.tangent_chain(flat, 20.0, 5.0, step_size=eps, gradient_noise=noise)
    expected = eps**2 / 4 * 0.8 / (1 - (1 - eps * 5.0 / 2) ** 2)
    assert np.isclose(chain.law().covariance[1, 1], expected, rtol=1e-10)


def test_offset_form_at_zero_n_beta(system: gaussian.Quadratic) -> None:
    """The Gaussian control: +-d around zero; odd in d, so the error is d²."""
    exact = gaussian.susceptibility(system, gaussian.posterior(system, 0.0, 5.0))
    errors = []
    for offset in (0.1, 0.05):
        plus, minus = pathwise.pair_energies(system, 0.0, 5.0, offset=offset)
        value = pathwise.pair_susceptibility(system, plus.law, minus.law, offset=offset)
        errors.append(np.abs(value - exact).max())
    assert 3.5 < errors[0] / errors[1] < 4.5


@pytest.mark.parametrize(("x", "y"), [(0.05, 0.0), (0.165, 0.0), (0.1, 0.3)])
def test_bias_factors_per_direction(x: float, y: float) -> None:
    """Covariance (1+y)²/(1-x/2)²; pair (1+y)(1-x)/(1-x/2)², minus the heating term if shared."""
    h, curve, n_beta, gamma = 1.0, 3.0, 30.0, 300.0
    p = n_beta * h + gamma
    eps, noise = 2 * x / p, np.array([[4 * y / (2 * x / p * n_beta**2)]])
    token = Form(np.array([[[curve]], [[2 * h - curve]]]), np.zeros((2, 1)), np.zeros(2))
    line = gaussian.Quadratic(token, np.zeros(1), (("w", 1),))
    exact = gaussian.susceptibility(line, gaussian.posterior(line, n_beta, gamma))[0]
    law = lyapunov.sgld(line.energy(n_beta, gamma, noise), eps).law()
    factor = (1 + y) * (1 - x) / (1 - x / 2) ** 2
    heating = eps * n_beta * noise[0, 0] * p / (2 * h) / (1 - x / 2)
    assert np.isclose(gaussian.susceptibility(line, law)[0] / exact, (1 + y) ** 2 / (1 - x / 2) ** 2)
    for shared, expected in ((False, factor), (True, factor - heating)):
        chain = pathwise.tangent_chain(line, n_beta, gamma, step_size=eps, gradient_noise=noise, shared=shared)
        value = pathwise.pathwise_susceptibility(line, chain)[0]
        assert np.isclose(value / exact, expected)


def test_transient_fractions() -> None:
    printed_values = {0.5: 0.03, 1.2: 0.14, 3: 0.42, 6: 0.67, 12: 0.83}
    for elapsed, expected in printed_values.items():
        assert abs(pathwise.window_response_fraction(elapsed) - expected) <= 0.005
    assert pathwise.response_fraction(6.0) == pytest.approx(0.98, abs=0.005)
    # The window is the average of the instantaneous share.
    grid = np.linspace(0, 3, 3001)
    share = np.mean([pathwise.response_fraction(s) for s in (grid[1:] + grid[:-1]) / 2])
    assert share == pytest.approx(pathwise.window_response_fraction(3.0), rel=1e-6)


def test_transient_fraction_is_the_small_step_limit() -> None:
    token = Form(np.array([[[3.0]], [[-1.0]]]), np.zeros((2, 1)), np.zeros(2))
    line = gaussian.Quadratic(token, np.zeros(1), (("w", 1),))
    chain = pathwise.tangent_chain(line, 30.0, 300.0, step_size=1e-5)
    form = pathwise.tangent_form(line)[0]
    stationary = form.mean(chain.law())
    steps = round(1.2 / (330 * 1e-5))
    at = form.mean(chain.law_at(steps)) / stationary
    window = chain.window_mean(form, burn_in=0, draws=steps) / stationary
    assert at == pytest.approx(pathwise.response_fraction(1.2), rel=5e-3)
    assert window == pytest.approx(pathwise.window_response_fraction(1.2), rel=1e-2)


@pytest.mark.parametrize("shared", [False, True])
def test_simulated_pairs_with_batches(plain: gaussian.Quadratic, shared: bool) -> None:
    """Coupled chains on real token batches: mean of chi against the exact finite-h, finite-eps value."""
    n_beta, gamma, eps, h, rows = 6.0, 5.0, 4e-2, 0.2, 2
    probe = gaussian.random_quadratic(9, sizes=(3,), tokens=6, spread=1.5).perturbations[0]
    rng, pairs = np.random.default_rng(5), 200
    value = np.zeros(pairs)
    v = np.zeros((2, pairs, 3))
    sign = np.array([1.0, -1.0])[:, None, None]
    hessian, slopes = plain.base.hessian, plain.tokens.slope
    for t in range(1600):
        drift = slopes[rng.integers(0, 6, (pairs, rows))].mean(1)
        source = drift if shared else slopes[rng.integers(0, 6, (pairs, rows))].mean(1)
        pull = n_beta * (v @ hessian + drift) + sign * h * n_beta * (v @ hessian + source)
        v = v - eps / 2 * (pull + gamma * v) + math.sqrt(eps) * rng.standard_normal((pairs, 3))
        if t >= 200:
            f = v @ probe.slope + 0.5 * np.einsum("spi,ij,spj->sp", v, probe.hessian, v)
            value += (f[0] - f[1]) / (2 * h * n_beta) / 1400
    noise = minibatch.gradient_noise(plain, rows)
    energies = pathwise.pair_energies(plain, n_beta, gamma, offset=h * n_beta, gradient_noise=noise, shared=shared)
    plus, minus = (lyapunov.sgld(energy, eps).law() for energy in energies)
    exact = float(probe.mean(plus) - probe.mean(minus)) / (2 * h * n_beta)
    error = value.std(ddof=1) / math.sqrt(pairs)
    assert abs(value.mean() - exact) < K * error
    assert error < 0.1 * abs(exact), "too noisy to tell shared from independent batches"
