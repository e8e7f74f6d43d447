"""Exact laws of linear samplers: closed forms, brute force, and simulation of the written update."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from susceptometer.errors import RecipeError
from susceptometer.testbed import gaussian, lyapunov, minibatch
from susceptometer.testbed.form import Array, Energy, Form

CHAINS, K = 32, 5.0  # |t_31| > 5 has probability 2e-5


def printed(value: float, expected: float, digits: int) -> bool:
    exponent = math.floor(math.log10(abs(expected)))
    return abs(value - expected) <= 0.5001 * 10.0 ** (exponent - digits + 1)


def scalar(precision: float, slope: float = 0.0, noise: float = 0.0) -> Energy:
    return Energy(np.array([[precision]]), np.array([slope]), np.array([[noise]]))


def variance(chain: lyapunov.LinearChain) -> float:
    return float(chain.law().covariance[0, 0])


@pytest.fixture
def system() -> gaussian.Quadratic:
    return gaussian.random_quadratic(3, sizes=(2, 2), tokens=6, spread=0.7)


BUILDERS: dict[str, Callable[[Energy, float], lyapunov.LinearChain]] = {
    "sgld": lyapunov.sgld,
    "leimkuhler_matthews": lyapunov.leimkuhler_matthews,
    "sghmc": lambda energy, eps: lyapunov.sghmc(energy, eps, 0.3),
    "sgnht": lambda energy, eps: lyapunov.sgnht(energy, math.sqrt(eps), 1.3, diffusion=1.1),
}


# --- the Lyapunov route itself -------------------------------------------------------------------


@pytest.mark.parametrize("name", BUILDERS)
def test_stationary_law_by_two_other_routes(name: str, system: gaussian.Quadratic) -> None:
    """Kronecker solve, and plain iteration of the recursion from w*."""
    noise = minibatch.gradient_noise(system, 2)
    chain = BUILDERS[name](system.energy(20.0, 5.0, noise), 4e-3)
    size = chain.drift.size
    solved = np.linalg.solve(
        np.eye(size**2) - np.kron(chain.transition, chain.transition), chain.noise.ravel()
    ).reshape(size, size)
    state = chain.state_law()
    assert np.allclose(state.covariance, solved, rtol=1e-9, atol=1e-12)
    late = chain.law_at(4000)
    assert np.allclose(late.covariance, chain.law().covariance, rtol=1e-7, atol=1e-10)
    assert np.allclose(late.mean, gaussian.posterior(system, 20.0, 5.0).mean, rtol=1e-7, atol=1e-9)


def test_sgld_closed_forms(system: gaussian.Quadratic) -> None:
    energy, eps = system.energy(20.0, 5.0), 4e-3
    chain, precision = lyapunov.sgld(energy, eps), energy.precision
    expected = np.linalg.inv(precision - eps / 4 * precision @ precision)
    assert np.allclose(chain.law().covariance, expected, rtol=1e-12)
    step = np.linalg.matrix_power(np.eye(4) - eps / 2 * precision, 2 * 13)
    assert np.allclose(chain.law_at(13).covariance, expected @ (np.eye(4) - step), rtol=1e-11)


def test_printed_values_at_precision_60() -> None:
    assert printed(60 * variance(lyapunov.sgld(scalar(60), 2e-3)), 1.0309278, 8)
    assert printed(60 * variance(lyapunov.sghmc(scalar(60), 1e-3, 0.1)), 1.0160428, 8)
    assert printed(60 * variance(lyapunov.sghmc(scalar(60), 1e-3, 0.5)), 1.0204082, 8)


@pytest.mark.parametrize("precision", [1.0, 60.0, 900.0])
@pytest.mark.parametrize("friction", [0.05, 0.5, 1.0])
def test_sghmc_and_sgnht_closed_forms(precision: float, friction: float) -> None:
    eps = 2e-3
    expected = 1 / (1 - eps * precision / (2 * (2 - friction)))
    assert np.isclose(precision * variance(lyapunov.sghmc(scalar(precision), eps, friction)), expected)
    h = math.sqrt(eps)
    frozen = lyapunov.sgnht(scalar(precision), h, friction / h, diffusion=0.8 * friction / h)
    assert np.isclose(precision * variance(frozen), 0.8 * expected)


def test_first_step_from_the_center() -> None:
    """Variance after one step: fresh noise, first half-noise, momentum at rest, unit momentum."""
    eps, h = 0.2, math.sqrt(0.2)
    expected = {
        "sgld": eps,
        "leimkuhler_matthews": eps / 2,
        "sghmc": 2 * 0.3 * eps,
        "sgnht": h**2 * ((1 - 1.3 * h) ** 2 + 2 * 1.1 * h),
    }
    for name, value in expected.items():
        first = BUILDERS[name](scalar(3.0, slope=0.7), eps).law_at(1)
        assert np.isclose(first.covariance[0, 0], value, rtol=1e-12)
        step = eps if name in ("sghmc", "sgnht") else eps / 2
        assert np.isclose(first.mean[0], -step * 0.7, rtol=1e-12)


def test_stability_limits() -> None:
    assert variance(lyapunov.sgld(scalar(3.99), 1.0)) > 50
    assert variance(lyapunov.sghmc(scalar(2 * 1.7 - 0.01), 1.0, 0.3)) > 50
    for chain in (
        lyapunov.sgld(scalar(4.0), 1.0),
        lyapunov.leimkuhler_matthews(scalar(4.01), 1.0),
        lyapunov.sghmc(scalar(2 * 1.7 + 0.01), 1.0, 0.3),
        lyapunov.sgld(scalar(-0.1), 1.0),
    ):
        with pytest.raises(RecipeError, match="unstable"):
            chain.law()


# --- the Leimkuhler-Matthews scheme --------------------------------------------------------------


@pytest.mark.parametrize("step_size", [1e-3, 0.5, 2.0, 3.9])
def test_leimkuhler_matthews_is_exact_at_every_stable_step(step_size: float) -> None:
    precision = np.array([[1.0, 0.1], [0.1, 0.3]])
    energy = Energy(precision, np.array([0.4, -1.0]), np.zeros((2, 2)))
    law = lyapunov.leimkuhler_matthews(energy, step_size / 1.02).law()
    assert np.allclose(law.covariance, energy.law.covariance, rtol=1e-9)
    assert np.allclose(law.mean, energy.law.mean, rtol=1e-9)


def test_leimkuhler_matthews_with_noise_and_lag() -> None:
    eps, p, noise = 0.3, 1.7, 2.0
    contraction = 1 - eps * p / 2
    chain = lyapunov.leimkuhler_matthews(scalar(p, noise=noise), eps)
    expected = 1 / p + eps**2 / 4 * noise / (1 - contraction**2)
    assert np.isclose(variance(chain), expected, rtol=1e-12)
    assert np.isclose(chain.lagged(1)[0, 0], contraction * expected + eps / 4, rtol=1e-12)
    ratio = chain.lagged(5)[0, 0] / chain.lagged(4)[0, 0]
    assert np.isclose(ratio, contraction, rtol=1e-12)


# --- simulation of the updates as they are written -----------------------------------------------

Update = Callable[[np.random.Generator, int], tuple[Array, Array]]
P, EPS, FRICTION = 3.0, 0.2, 0.3


def walk_sgld(rng: np.random.Generator, steps: int) -> Array:
    w, path = np.zeros(CHAINS), np.empty((steps, CHAINS))
    for t in range(steps):
        w = w - EPS / 2 * P * w + math.sqrt(EPS) * rng.standard_normal(CHAINS)
        path[t] = w
    return path


def walk_leimkuhler_matthews(rng: np.random.Generator, steps: int) -> Array:
    w, old, path = np.zeros(CHAINS), rng.standard_normal(CHAINS), np.empty((steps, CHAINS))
    for t in range(steps):
        new = rng.standard_normal(CHAINS)
        w, old = w - EPS / 2 * P * w + math.sqrt(EPS) * (old + new) / 2, new
        path[t] = w
    return path


def walk_sghmc(rng: np.random.Generator, steps: int) -> Array:
    w, p, path = np.zeros(CHAINS), np.zeros(CHAINS), np.empty((steps, CHAINS))
    for t in range(steps):
        kick = math.sqrt(2 * FRICTION * EPS) * rng.standard_normal(CHAINS)
        p = (1 - FRICTION) * p - EPS * P * w + kick
        w = w + p
        path[t] = w
    return path


def walk_sgnht(rng: np.random.Generator, steps: int) -> Array:
    w, p, path, h = np.zeros(CHAINS), np.zeros(CHAINS), np.empty((steps, CHAINS)), math.sqrt(EPS)
    for t in range(steps):
        p = p - h * P * w - h * 1.3 * p + math.sqrt(2 * 1.1 * h) * rng.standard_normal(CHAINS)
        w = w + h * p
        path[t] = w
    return path


@pytest.mark.parametrize(
    ("name", "walk"),
    [
        ("sgld", walk_sgld),
        ("leimkuhler_matthews", walk_leimkuhler_matthews),
        ("sghmc", walk_sghmc),
        ("sgnht", walk_sgnht),
    ],
)
def test_simulated_walks_have_the_exact_law(name: str, walk: Callable[..., Array]) -> None:
    """Variance and two lagged covariances within k standard errors between chains."""
    path = walk(np.random.default_rng(11), 3000)[200:]
    chain = BUILDERS[name](scalar(P), EPS)
    for lag in (0, 1, 4):
        value = (path[lag:] * path[: len(path) - lag]).mean(0)
        z = (value.mean() - chain.lagged(lag)[0, 0]) / (value.std(ddof=1) / math.sqrt(CHAINS))
        assert abs(z) < K
        assert value.std() < 0.2 * variance(chain), "too short to see a 10 % error"


def test_error_of_the_mean_is_honest() -> None:
    """Spread of 400 simulated means of w + w² against the exact standard error."""
    form = Form(np.array([[2.0]]), np.array([1.0]), np.array(0.0))
    chain = lyapunov.sgld(scalar(P), EPS)
    path = np.concatenate([walk_sgld(np.random.default_rng(seed), 140)[40:] for seed in range(20)], axis=1)
    spread = (path + path**2).mean(0).std(ddof=1)
    exact = chain.mean_error(form, chains=1, draws=100)
    assert abs(spread / exact - 1) < 5 / math.sqrt(2 * path.shape[1])
    single = math.sqrt(chain.autocovariance(form, 1)[0] / 100)
    assert spread > 1.3 * single, "the independent-draw error must be visibly wrong here"
