"""A two-weight logistic block: grid answers against adaptive quadrature, slopes and coupled chains."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.integrate import dblquad

from susceptometer.errors import DataError
from susceptometer.testbed import logistic

N_BETA, GAMMA = 60.0, 2.0


@pytest.fixture
def model() -> logistic.Logistic:
    return logistic.random_logistic(0, tokens=60, scale=1.0)


def test_llc_by_adaptive_quadrature() -> None:
    small = logistic.random_logistic(1, tokens=8, scale=1.5)

    def integral(power: int) -> float:
        def integrand(y: float, x: float) -> float:
            v = np.array([x, y])
            excess = N_BETA * float(np.mean(small.losses(small.anchor + v) - small.losses(small.anchor)))
            return excess**power * math.exp(-excess - GAMMA / 2 * (x * x + y * y))

        return dblquad(integrand, -6, 6, -6, 6, epsrel=1e-6)[0]

    assert np.isclose(small.posterior(N_BETA, GAMMA).llc, integral(1) / integral(0), rtol=1e-5)


def test_answers_do_not_depend_on_the_grid(model: logistic.Logistic, monkeypatch: pytest.MonkeyPatch) -> None:
    law = model.posterior(N_BETA, GAMMA)
    monkeypatch.setattr(logistic, "POINTS", 101)
    monkeypatch.setattr(logistic, "SPAN", 4.3)
    again = model.posterior(N_BETA, GAMMA)
    assert np.isclose(law.llc, again.llc, rtol=1e-11)
    assert np.allclose(law.susceptibility, again.susceptibility, rtol=1e-9, atol=1e-15)


def test_susceptibility_is_the_slope_of_the_mean(model: logistic.Logistic) -> None:
    """chi = d E[l_x - L] / d n_beta; the finite-h error is O(h²)."""
    chi = model.posterior(N_BETA, GAMMA).susceptibility
    errors = []
    for h in (0.04, 0.02):
        pair = logistic.pair_susceptibility(model, N_BETA, GAMMA, offset=h * N_BETA)
        errors.append(np.abs(pair - chi).max())
    assert errors[1] < 1e-3 * np.abs(chi).max()
    assert 3.8 < errors[0] / errors[1] < 4.2


def test_identities(model: logistic.Logistic) -> None:
    law = model.posterior(N_BETA, GAMMA)
    assert abs(law.susceptibility.mean()) < 1e-16
    assert np.allclose(law.influence, law.influence.T, atol=1e-17)
    assert np.linalg.eigvalsh(-law.influence)[0] > -1e-12
    # phi = L, G = L: minus the variance of L
    total = law.losses.mean(1)
    mean = law.probabilities @ total
    variance = law.probabilities @ (total - mean) ** 2
    assert np.isclose(law.influence.mean(), -variance, rtol=1e-10)


def test_influence_is_the_slope_under_an_upweighted_token(model: logistic.Logistic) -> None:
    """-Cov[l_i, l_j] = d E[l_j] / d(weight of l_i in the energy)."""
    law, small = model.posterior(N_BETA, GAMMA), 1e-3
    for i in (0, 17):
        means = []
        for sign in (1, -1):
            tilted = law.probabilities * np.exp(-sign * small * law.losses[:, i])
            means.append(tilted @ law.losses / tilted.sum())
        assert np.allclose((means[0] - means[1]) / (2 * small), law.influence[i], rtol=1e-5, atol=1e-12)


def test_not_normal(model: logistic.Logistic) -> None:
    """The block is far enough from a quadratic for its Laplace value to be visibly wrong."""
    sharp = logistic.random_logistic(0, tokens=60, scale=3.0)
    law = sharp.posterior(N_BETA, GAMMA)
    mean = law.probabilities @ law.nodes
    covariance = (law.nodes - mean).T @ ((law.nodes - mean) * law.probabilities[:, None])
    mode, curvature = logistic._mode(sharp, N_BETA, GAMMA)
    assert np.abs(covariance / np.linalg.inv(curvature) - 1).max() > 0.02
    assert np.abs(mode - mean).max() > 1e-3


def test_coupled_chains_find_chi(model: logistic.Logistic) -> None:
    """Antithetic pairs at n_beta (1 +- 0.1), eps 2e-3: slope 1 and correlation 1 with the grid."""
    chi = logistic.pair_susceptibility(model, N_BETA, GAMMA, offset=0.1 * N_BETA)
    rng, pairs, eps, draws = np.random.default_rng(0), 192, 2e-3, 0
    factors = N_BETA * np.array([1.1, 0.9])[:, None, None, None]
    w = np.broadcast_to(model.anchor, (2, 2, pairs, 2)).copy()  # factor, sign of noise, pair
    signed = model.labels[:, None] * model.features / len(model.labels)
    value = np.zeros((pairs, 60))
    for t in range(2200):
        wrong = 1 / (1 + np.exp(model.labels * (model.offsets + w @ model.features.T)))
        drift = -factors * (wrong @ signed) + GAMMA * (w - model.anchor)
        xi = rng.standard_normal((pairs, 2))
        w = w - eps / 2 * drift + math.sqrt(eps) * np.stack([xi, -xi])
        if t >= 600 and t % 8 == 0:
            losses = model.losses(w).mean(1)
            value += (losses[0] - losses[1]) / (2 * 0.1 * N_BETA)
            draws += 1
    value /= draws
    value -= value.mean(1, keepdims=True)
    slopes = value @ chi / (chi @ chi)  # one replicate per antithetic pair
    error = slopes.std(ddof=1) / math.sqrt(pairs)
    assert np.corrcoef(value.mean(0), chi)[0, 1] > 0.999
    assert abs(slopes.mean() - 1) < 5 * error
    assert error < 0.01


def test_loss(model: logistic.Logistic) -> None:
    weights = np.array([0.4, -2.0])
    index = torch.tensor([[0, 59], [5, 5]])
    values = model.loss({"w": torch.tensor(weights)}, {"index": index})
    assert np.allclose(values.numpy(), model.losses(weights)[index.numpy()], rtol=1e-12)
    chance = 1 / (1 + np.exp(-model.labels * (model.offsets + model.features @ weights)))
    assert np.allclose(model.losses(weights), -np.log(chance))
    chains = {"w": torch.stack([model.center["w"], torch.tensor(weights)])}
    everything = {"index": torch.arange(60)}
    gradient = torch.func.vmap(torch.func.grad(lambda p: model.loss(p, everything).mean()))(chains)["w"]
    step = 1e-6 * np.eye(2)
    expected = [(model.losses(weights + e) - model.losses(weights - e)).mean() / 2e-6 for e in step]
    assert np.allclose(gradient[1].numpy(), expected, rtol=1e-6)


def test_mode_is_stationary(model: logistic.Logistic) -> None:
    mode, curvature = logistic._mode(model, N_BETA, GAMMA)
    step = 1e-5 * np.eye(2)

    def energy(w: np.ndarray) -> float:
        return float(N_BETA * model.losses(w).mean() + GAMMA / 2 * ((w - model.anchor) ** 2).sum())

    assert max(abs(energy(mode + e) - energy(mode - e)) for e in step) / 2e-5 < 1e-6
    second = (energy(mode + step[0]) - 2 * energy(mode) + energy(mode - step[0])) / 1e-10
    assert second == pytest.approx(curvature[0, 0], rel=1e-3)


def test_refusal(model: logistic.Logistic) -> None:
    with pytest.raises(DataError, match="not a logistic block"):
        replace(model, labels=np.zeros(60))
