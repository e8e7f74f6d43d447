"""The closed-form loss against quadrature and Monte Carlo, its gradient, its polygons, and what runs become."""

import numpy as np
import pytest
import torch
from scipy import integrate

from susceptometer.domains import superposition as toy

PAIRS = [(s, b, d) for s in (-1.3, -0.2, 0.0, 0.4, 1.0, 2.1) for b in (-0.7, -0.1, 0.0, 0.3) for d in (0.0, 1.0)]


def J(s, b, d):
    s, b, d = (torch.tensor(value, dtype=torch.float64) for value in (s, b, d))
    return float(toy.line_loss(s, b, d))


def residual(z, s, b, d):
    return (d * z - max(s * z + b, 0.0)) ** 2


@pytest.mark.parametrize(("s", "b", "d"), PAIRS)
def test_line_loss_against_quadrature(s, b, d):
    corner = [-b / s] if s and 0 < -b / s < 1 else None
    exact, _ = integrate.quad(residual, 0, 1, args=(s, b, d), points=corner, epsabs=1e-12)
    assert abs(J(s, b, d) - exact) < 1e-9


def test_a_loss_without_the_corner_is_caught(monkeypatch):
    """Planted: the line taken as active on all of [0, 1]."""
    monkeypatch.setattr(toy, "active_part", lambda s, b: (torch.zeros_like(s), torch.ones_like(s)))
    exact, _ = integrate.quad(residual, 0, 1, args=(1.3, -0.6, 1.0), points=[0.6 / 1.3])
    assert abs(J(1.3, -0.6, 1.0) - exact) > 1e-3


def test_population_loss_against_monte_carlo(seed):
    params = {n: w[0] for n, w in toy.fresh_toys(1, seed=seed).items()}
    rng = np.random.default_rng(seed)
    W, b = params["W"].numpy(), params["b"].numpy()
    z, losses = rng.random(200_000), toy.feature_losses(params, toy.every_feature()).numpy()
    for i in range(toy.FEATURES):
        x = np.zeros((len(z), toy.FEATURES))
        x[:, i] = z
        each = ((x - np.maximum(x @ W.T @ W + b, 0)) ** 2).sum(1)
        assert abs(each.mean() - losses[i]) < 5 * each.std() / np.sqrt(len(z))


def test_gradient_against_finite_differences(seed):
    params = {n: w[0] for n, w in toy.fresh_toys(1, seed=seed).items()}
    flat, sizes = torch.cat([w.flatten() for w in params.values()]), (12, 6)

    def loss(v):
        W, b = v.split(sizes)
        return toy.feature_losses({"W": W.reshape(2, 6), "b": b}, toy.every_feature()).sum()

    leaf = flat.clone().requires_grad_()
    (exact,) = torch.autograd.grad(loss(leaf), leaf)
    steps = 1e-6 * torch.eye(18, dtype=torch.float64)
    numeric = torch.stack([(loss(flat + e) - loss(flat - e)) / 2e-6 for e in steps])
    torch.testing.assert_close(exact, numeric, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(
    ("k", "norm", "bias", "dead", "loss"),
    [(6, 1.321, -0.618, 0.0, 0.0482), (5, 1.170, -0.282, 0.083, 0.0618), (5, 1.170, -0.282, -1.0, 0.0687)],
)
def test_polygons_have_their_known_losses(k, norm, bias, dead, loss):
    each = toy.feature_losses(toy.polygon(k, norm, bias, dead_bias=dead), toy.every_feature())
    assert abs(float(each.mean()) - loss) < 6e-5
    if dead > 0:
        assert abs(float(each[0]) - 0.2569) < 6e-4 and abs(float(each[1:].mean()) - 0.0228) < 2e-4


def test_configurations_are_read_off_the_weights():
    stack = {n: torch.stack([toy.polygon(k, 1.2, -0.3)[n] for k in (6, 5, 4)]) for n in ("W", "b")}
    found = toy.configurations(stack)
    assert found.sides.tolist() == [6, 5, 4]
    assert found.dropped(0).tolist() == [False, True, False]
    assert found.dropped(3).tolist() == [False, False, False]
