"""Collapsing mixtures: printed values, brute-force sums, and the torch losses."""

import math

import numpy as np
import pytest
import torch

from susceptometer.testbed.mixture import ContaminatedNormal, EqualMixture

TEMPERATURES = (50.0, 500.0, 5e3, 5e4)
INDEX = {"index": torch.arange(1)}


def test_equal_mixture_table() -> None:
    flat = [EqualMixture().llc(t, 0.0) for t in TEMPERATURES]
    local = [EqualMixture().llc(t, 2.0) for t in TEMPERATURES]
    assert np.allclose(flat, (0.8181, 0.7716, 0.7570, 0.7523), atol=5.01e-5, rtol=0)
    assert np.allclose(local, (0.6570, 0.7341, 0.7467, 0.7492), atol=5.01e-5, rtol=0)
    assert abs(EqualMixture().llc(1e8, 0.0) - 0.75) < 1e-4


def test_equal_mixture_by_uniform_grid() -> None:
    """Midpoint sums in (b1, b2) with Gauss-Hermite in x, flat and localised."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    weights = weights / weights.sum()
    axis = 3 * (2 * np.arange(300) + 1) / 300 - 3
    first, second = np.meshgrid(axis, axis, indexing="ij")
    loss = np.zeros_like(first)
    for x, weight in zip(nodes, weights, strict=True):
        exponents = first * x - first**2 / 2, second * x - second**2 / 2
        loss -= weight * (np.logaddexp(*exponents) - math.log(2))
    for t, gamma in ((20.0, 0.0), (50.0, 2.0)):
        density = np.exp(-t * loss - gamma / 2 * (first**2 + second**2))
        expected = t * (density * loss).sum() / density.sum()
        assert np.isclose(EqualMixture().llc(t, gamma), expected, rtol=2e-4)


def test_contaminated_normal_values() -> None:
    """Brute-force midpoint sums at low t, and the slow m = 2 approach to 1/2.

    Adaptive quadrature (scipy dblquad, 481 nodes in x) gave 0.4013118 at t = 50 and 0.4051295 at 500.
    """
    model = ContaminatedNormal()
    values = [model.llc(t, 0.0) for t in TEMPERATURES]
    assert np.allclose(values[:2], (0.4013118, 0.4051295), atol=5.01e-8, rtol=0)
    middles = (np.arange(150) + 0.5) / 150
    share, mean = np.meshgrid(middles, 3 * middles)
    loss = model.excess(share, mean)
    density = np.exp(-50 * loss)
    assert np.isclose(values[0], 50 * (density * loss).sum() / density.sum(), rtol=1e-4)
    gaps = 1 / (0.5 - np.array([model.llc(t, 0.0) for t in (1e8, 1e10)]))
    assert (gaps[1] - gaps[0]) / math.log(100) == pytest.approx(1.0, abs=0.02)


def test_contaminated_normal_excess() -> None:
    """Leading term a² (e^{b²} - 1)/2 for small shares; b²/2 when everything is contamination."""
    model, b = ContaminatedNormal(), np.array([0.3, 1.0, 2.0])
    small = model.excess(np.full(3, 1e-7), b)
    assert np.allclose(small, 1e-14 * np.expm1(b**2) / 2, rtol=3e-3)
    assert np.allclose(model.excess(np.ones(3), b), b**2 / 2, rtol=1e-10)
    assert model.excess(np.array(0.7), np.array(0.0)) == pytest.approx(0.0, abs=1e-15)


def test_localised_contaminated_normal() -> None:
    model = ContaminatedNormal()
    assert model.llc(500.0, 2.0) < model.llc(500.0, 0.0)


def test_equal_mixture_loss_near_the_truth() -> None:
    """K = s²/8 at first order in s = b1 + b2, and d⁴/256 on the line s = 0 (d = b1 - b2)."""
    model, s, d = EqualMixture(), 1e-3, 1e-1
    line = model.loss({"means": torch.tensor([s, 0.0], dtype=torch.float64)}, INDEX)
    cross = model.loss({"means": torch.tensor([d / 2, -d / 2], dtype=torch.float64)}, INDEX)
    assert float(line) == pytest.approx(s**2 / 8, rel=1e-4)
    # E[log cosh] route: K = b²/2 - E log cosh(b x) with b = d/2, = b⁴/4 + O(b⁶)
    b = d / 2
    x = np.linspace(-10, 10, 4001)
    normal = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi) * (x[1] - x[0])
    expected = b**2 / 2 - normal @ np.log(np.cosh(b * x))
    assert float(cross) == pytest.approx(expected, rel=1e-8)
    assert float(cross) == pytest.approx(b**4 / 4, rel=2e-2)


def test_equal_mixture_loss_is_a_system() -> None:
    model = EqualMixture()
    assert float(model.loss(model.center, INDEX).abs().max()) < 1e-15
    chains = {"means": torch.tensor([[0.5, -1.0], [2.0, 2.0], [0.0, 0.0]], dtype=torch.float64)}
    batch = {"index": torch.arange(4)}
    values = torch.func.vmap(lambda p: model.loss(p, batch))(chains)
    assert values.shape == (3, 4)
    assert torch.allclose(values[1], torch.full((4,), 2.0, dtype=torch.float64)), "KL of N(2, 1)"
    gradient = torch.func.vmap(torch.func.grad(lambda p: model.loss(p, batch).mean()))(chains)
    assert torch.allclose(gradient["means"][1], torch.ones(2, dtype=torch.float64))
    single = {"means": torch.tensor([0.5, -1.0])}
    assert model.loss(single, batch).dtype == torch.float32


def test_example_loss_averages_to_the_population_loss() -> None:
    model, generator = EqualMixture(), torch.Generator().manual_seed(0)
    x = torch.randn(40_000, generator=generator, dtype=torch.float64)
    params = {"means": torch.tensor([0.5, -1.0], dtype=torch.float64)}
    values = model.example_loss(params, {"x": x})
    exact = float(model.loss(params, INDEX))
    error = float(values.std()) / 200
    assert error < 0.1 * exact
    assert abs(float(values.mean()) - exact) < 5 * error
