"""SGLD in a valley: the printed worked case, and agreement with the Lyapunov route."""

import math

import numpy as np
import pytest

from susceptometer.errors import RecipeError
from susceptometer.testbed import gaussian, lyapunov, transient
from susceptometer.testbed.form import Form


def printed(value: float, expected: float, digits: int = 7) -> bool:
    """Agreement to the printed digits: half a unit in the last place."""
    exponent = math.floor(math.log10(abs(expected)))
    return abs(value - expected) <= 0.5001 * 10.0 ** (exponent - digits + 1)


VALLEY = {"curvatures": np.array([4, 1, 0.25, 0]), "n_beta": 40.0, "gamma": 20.0, "step_size": 2e-3}


def test_valley_table() -> None:
    run = transient.ValleyRun(**VALLEY)
    noisy = transient.ValleyRun(**VALLEY, gradient_noise=VALLEY["curvatures"] / 8)
    assert printed(run.posterior_llc, 0.9444444)
    assert printed(run.llc, 1.0012478, 8)
    for share, expected in zip(run.shares, (0.4884005, 0.3436426, 0.1692047), strict=False):
        assert printed(share, expected)
    assert run.shares[3] == 0
    assert printed(noisy.llc, 1.2352024, 8)
    assert printed(run.window_llc(burn_in=0, draws=200), 0.9697235)
    assert printed(run.window_llc(burn_in=200, draws=200), 1.0012478, 8)
    assert printed(run.window_llc(burn_in=0, draws=400), 0.9854856)
    assert printed(run.draw_sd, 0.8778, 4)
    assert printed(run.mean_error(chains=4, draws=2000), 0.03189, 4)
    assert printed(run.draw_sd / math.sqrt(8000), 0.00981, 3)


def valley_system() -> gaussian.Quadratic:
    """The valley as a one-token quadratic system."""
    hessian = np.diag(VALLEY["curvatures"])[None]
    return gaussian.Quadratic(Form(hessian, np.zeros((1, 4)), np.zeros(1)), np.zeros(4), (("w", 4),))


def test_valley_agrees_with_lyapunov() -> None:
    system, run = valley_system(), transient.ValleyRun(**VALLEY)
    chain = lyapunov.sgld(system.energy(40.0, 20.0), 2e-3)
    base = system.base
    assert np.isclose(gaussian.llc(system, chain.law(), 40.0), run.llc, rtol=1e-12)
    assert np.isclose(gaussian.llc(system, chain.law_at(17), 40.0), run.llc_at(17), rtol=1e-12)
    window = 40.0 * chain.window_mean(base, burn_in=30, draws=50)
    assert np.isclose(window, run.window_llc(burn_in=30, draws=50), rtol=1e-12)
    values = 40.0**2 * chain.autocovariance(base, 4)
    assert np.isclose(math.sqrt(values[0]), run.draw_sd, rtol=1e-12)
    assert np.isclose(values[3] / values[0], run.autocorrelation(3), rtol=1e-12)
    # The closed form is the limit of long runs: it exceeds the exact finite-T error by O(1/T).
    exact = 40.0 * chain.mean_error(base, chains=4, draws=2000)
    assert 0 < run.mean_error(chains=4, draws=2000) / exact - 1 < 0.02


def test_valley_with_noise_agrees_with_lyapunov() -> None:
    noise = VALLEY["curvatures"] / 8
    run = transient.ValleyRun(**VALLEY, gradient_noise=noise)
    chain = lyapunov.sgld(valley_system().energy(40.0, 20.0, np.diag(noise)), 2e-3)
    assert np.allclose(np.diag(chain.law().covariance), run.variances, rtol=1e-12)


def test_four_curvatures() -> None:
    run = transient.ValleyRun(curvatures=np.array([0.5, 1, 2, 5]), n_beta=30.0, gamma=10.0, step_size=2e-3)
    assert (round(run.posterior_llc, 3), round(run.llc, 3)) == (1.572, 1.640)


def test_settings_outside_the_stable_range() -> None:
    for step_size, gamma in ((0.0225, 20.0), (2e-3, 0.0)):
        settings = VALLEY | {"step_size": step_size, "gamma": gamma}
        with pytest.raises(RecipeError, match="SGLD is unstable"):
            transient.ValleyRun(**settings)


def test_three_biases_have_their_signs() -> None:
    base = {"curvatures": np.array([4.0]), "n_beta": 40.0, "gamma": 20.0, "step_size": 1e-3}
    run = transient.ValleyRun(**base)
    assert run.posterior_llc < 0.5, "gamma lowers"
    assert run.llc > run.posterior_llc, "a finite step raises"
    assert transient.ValleyRun(**base, gradient_noise=np.array([1.0])).llc > run.llc, "noise raises"
