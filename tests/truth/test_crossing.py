"""Normal crossings: every printed value, and each routine against another route."""

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.integrate import dblquad, quad
from scipy.special import k0e
from scipy.stats import gamma as gamma_law

from susceptometer.errors import RecipeError
from susceptometer.testbed import crossing, quadrature
from susceptometer.testbed.crossing import Crossing, TwoPoints

LINE_TABLE = {  # power: (t, gamma) -> printed value
    1: {(50, 2): 0.490196, (50, 20): 0.416667, (500, 2): 0.499002, (500, 20): 0.490196,
        (5e4, 2): 0.499990, (5e4, 20): 0.499900},
    2: {(50, 2): 0.227405, (50, 20): 0.105199, (500, 2): 0.242576, (500, 20): 0.186420,
        (5e4, 2): 0.249246, (5e4, 20): 0.242576},
    3: {(50, 2): 0.140223, (50, 20): 0.032150, (500, 2): 0.153818, (500, 20): 0.075445,
        (5e4, 2): 0.163810, (5e4, 20): 0.140223},
    4: {(50, 2): 0.098473, (50, 20): 0.011658, (500, 2): 0.109356, (500, 20): 0.032172,
        (5e4, 2): 0.119841, (5e4, 20): 0.081624},
}  # fmt: skip
PLANE_TABLE = {  # powers: (lambda, m, values at t = 50, 500, 5e4 with gamma 2)
    (1, 2): (Fraction(1, 4), 1, (0.164764, 0.200371, 0.234049)),
    (2, 2): (Fraction(1, 4), 2, (0.107287, 0.135615, 0.172312)),
    (1, 3): (Fraction(1, 6), 1, (0.108499, 0.130993, 0.154810)),
}
BOX_TABLE = {  # powers: values at t = 50, 500, 5e4, 5e8, leading form at 5e8
    (1, 1): (0.32980, 0.37772, 0.42177, 0.45453, 0.45453),
    (1, 1, 1): (0.20218, 0.27225, 0.34813, 0.40998, 0.40906),
    (2, 2): (0.12714, 0.15423, 0.18354, 0.20878, 0.20878),
    (2, 1): (0.19369, 0.22117, 0.24155, 0.24918, 0.25),
    (3, 1): (0.13513, 0.15273, 0.16376, 0.16653, 0.16667),
}


def line_by_quadrature(power: int, t: float, gamma: float) -> float:
    """Adaptive quadrature of E[tK], cut where the density bends."""
    reach = 38 / math.sqrt(gamma)
    peak = min((power * 2 * t / 700) ** (-1 / (2 * power)), reach)
    cuts = sorted({0.0, peak / 8, peak / 2, peak, reach})

    def integral(order: int) -> float:
        def integrand(w: float) -> float:
            energy = t * w ** (2 * power)
            return energy**order * math.exp(-energy - gamma * w * w / 2)

        return sum(quad(integrand, a, b, epsrel=1e-12)[0] for a, b in pairwise(cuts))

    return integral(1) / integral(0)


@pytest.mark.parametrize("power", LINE_TABLE)
def test_line_table_and_quadrature(power: int) -> None:
    for (t, gamma), expected in LINE_TABLE[power].items():
        value = Crossing((power,)).llc(t, gamma)
        assert abs(value - expected) <= 5.01e-7
        assert np.isclose(value, line_by_quadrature(power, t, gamma), rtol=1e-10)


def test_line_without_localisation_and_first_correction() -> None:
    for power in (1, 2, 3, 4):
        assert Crossing((power,)).llc(123.0, 0.0) == 1 / (2 * power)
        small = [Crossing((power,)).llc(500.0, g) - 1 / (2 * power) for g in (2e-3, 1e-3)]
        series = crossing.power_series_llc(power, 500.0, 1e-3) - 1 / (2 * power)
        assert np.isclose(2 * small[1] - small[0] / 2, series, rtol=1e-3)
        assert np.isclose(small[1], series, rtol=1e-2)
    assert np.isclose(Crossing((1,)).llc(50.0, 7.0), 50 / (2 * 50 + 7), rtol=1e-12)


def plane_by_grid(powers: tuple[int, int], t: float, gamma: float) -> float:
    """Direct sum on a two-dimensional grid in (log x, log y)."""
    axis, weights = quadrature.trapezoid(-35.0, math.log(12 / math.sqrt(gamma)), 900)
    w = np.exp(axis)
    loss = np.outer(w ** (2 * powers[0]), w ** (2 * powers[1]))
    square = w[:, None] ** 2 + w[None, :] ** 2
    density = np.outer(w * weights, w * weights) * np.exp(-t * loss - gamma / 2 * square)
    return float((density * t * loss).sum() / density.sum())


@pytest.mark.parametrize("powers", PLANE_TABLE)
def test_plane_table_and_grid(powers: tuple[int, int]) -> None:
    rate, multiplicity, values = PLANE_TABLE[powers]
    assert Crossing(powers).asymptotic == (rate, multiplicity)
    for t, expected in zip((50, 500, 5e4), values, strict=True):
        value = Crossing(powers).llc(t, 2.0)
        assert abs(value - expected) <= 5.01e-7
        assert np.isclose(value, plane_by_grid(powers, t, 2.0), rtol=1e-9)
        swapped = Crossing(powers[::-1]).llc(t, 2.0)
        assert np.isclose(value, swapped, rtol=1e-12)


def test_square_product_closed_form() -> None:
    printed = {(50, 2): 0.2982467, (500, 2): 0.3586252, (5e4, 2): 0.4140170, (500, 20): 0.1940023}
    for (t, gamma), expected in printed.items():
        value = crossing.square_product_llc(t, gamma)
        assert abs(value - expected) <= 5.01e-8
        assert np.isclose(value, Crossing((1, 1)).llc(t, gamma), rtol=1e-12)
        assert np.isclose(value, plane_by_grid((1, 1), t, gamma), rtol=1e-10)
    small = 0.5 - 1 / (math.log(16 * 1e12 / 4) - 0.5772157)
    assert np.isclose(crossing.square_product_llc(1e12, 2.0), small, rtol=1e-8)


def test_three_weights_by_conditioning() -> None:
    """x² y² z²: given z the loss is x² y² at temperature t z²; integrate over z by hand."""
    t, gamma = 50.0, 2.0

    def mass(z: float) -> float:  # integral over x and y, up to a constant: s^-1/2 e^s' K0(s')
        scaled = gamma**2 / (8 * t * z * z)
        return float(k0e(scaled) / z * math.exp(-gamma * z * z / 2))

    logs = np.linspace(-40.0, math.log(12.0), 6000)
    z = np.exp(logs)
    weight = np.array([mass(value) * value for value in z])
    inner = np.array([crossing.square_product_llc(t * value**2, gamma) for value in z])
    assert np.isclose(Crossing((1, 1, 1)).llc(t, gamma), np.sum(weight * inner) / weight.sum(), rtol=1e-8)


@pytest.mark.parametrize("powers", BOX_TABLE)
def test_box_table(powers: tuple[int, ...]) -> None:
    rates = [1 / (2 * k) for k in powers]
    *values, leading = BOX_TABLE[powers]
    for t, expected in zip((50, 500, 5e4, 5e8), values, strict=True):
        assert abs(Crossing(powers).box_llc(t) - expected) <= 5.01e-6
    assert abs(crossing.leading_box_llc(rates, 5e8) - leading) <= 5.01e-6


def test_box_by_plain_quadrature() -> None:
    """Two-dimensional adaptive quadrature over the box itself, distinct and mixed rates."""
    t = 5.0
    norm, mean = (
        dblquad(lambda y, x, p=p: (t * x**4 * y**2) ** p * math.exp(-t * x**4 * y**2), 0, 1, 0, 1)[0] for p in (0, 1)
    )
    assert np.isclose(Crossing((2, 1)).box_llc(t), mean / norm, rtol=1e-8)
    nodes, weights = quadrature.gauss(0.0, 1.0, 4)
    x, y, z = np.meshgrid(nodes, nodes, nodes, indexing="ij")
    cube = weights[:, None, None] * weights[:, None] * weights
    loss = x**2 * y**2 * z**4  # two equal rates and one other
    density = cube * np.exp(-t * loss)
    expected = (density * t * loss).sum() / density.sum()
    assert np.isclose(Crossing((1, 1, 2)).box_llc(t), expected, rtol=1e-8)


def test_sum_density_equal_rates_is_gamma() -> None:
    depth = np.linspace(0.1, 20, 50)
    values = crossing._sum_density([0.5, 0.5, 0.5], depth)
    expected = gamma_law.pdf(depth, 3, scale=2.0)
    assert np.allclose(values / values[0], expected / expected[0], rtol=1e-12)


def test_box_values_at_three_temperatures() -> None:
    printed = {(1, 1): (0.348, 0.387, 0.411), (2, 2): (0.137, 0.160, 0.176)}
    for powers, values in printed.items():
        found = [Crossing(powers).box_llc(t) for t in (1e2, 1e3, 1e4)]
        assert np.allclose(found, values, atol=5.01e-4, rtol=0)


def test_textbook_lambda_is_not_the_answer() -> None:
    """At practical temperatures the exact value of x² y² is far below lambda = 1/2."""
    assert 0.36 < Crossing((1, 1)).box_llc(500.0) < 0.38
    assert abs(crossing.square_product_llc(500.0, 2.0) - 0.5) > 0.13


@pytest.mark.parametrize("potential", [Crossing((1, 2)), TwoPoints((1.0, 0.0))])
def test_mean_and_slope_by_direct_sums(potential: Crossing | TwoPoints) -> None:
    """t E[K] on a grid in (x, y), and d llc / dt = E[K] - t Var K (llc = -d log Z / d log t)."""
    t, gamma, start = 40.0, 2.0, potential.center["w"].numpy()
    tau, y = np.linspace(-9.9, 9.9, 3001), np.linspace(-9.0, 9.0, 1001)
    x = (1 + 1e-3 * np.sinh(tau))[:, None]  # fine near the line x = 1
    weight = np.cosh(tau)[:, None] * np.exp(-gamma / 2 * ((x - start[0]) ** 2 + (y - start[1]) ** 2))
    value = (x - 1) ** 2 * (x**2 + y**2) ** 4 if isinstance(potential, TwoPoints) else x**2 * y**4
    density = weight * np.exp(-t * value)
    density /= density.sum()
    mean = float((density * value).sum())
    variance = float((density * value**2).sum()) - mean**2
    assert np.isclose(potential.llc(t, gamma), t * mean, rtol=1e-5)
    slope = (potential.llc(t + 0.05, gamma) - potential.llc(t - 0.05, gamma)) / 0.1
    assert np.isclose(slope, mean - t * variance, rtol=1e-4)


def test_two_points_forget_their_start() -> None:
    """At gamma fixed the coefficient tends to 1/4 from either start; at gamma ~ t it stays local."""
    for start in ((0.0, 0.0), (1.0, 0.0)):
        assert abs(TwoPoints(start).llc(1e12, 2.0) - 0.25) < 1e-3
    assert TwoPoints((1.0, 0.0)).llc(1e6, 2e3) == pytest.approx(0.5, abs=2e-3)
    assert TwoPoints((0.0, 0.0)).llc(1e20, 2e3) == pytest.approx(0.25, abs=1e-2)


def test_asymptotic_rule_with_priors() -> None:
    assert crossing.asymptotic([1, 1, 2]) == (Fraction(1, 4), 1)
    assert crossing.asymptotic([2, 2, 0]) == (Fraction(1, 4), 2)
    assert crossing.asymptotic([2, 1], [1, 0]) == (Fraction(1, 2), 2)


@pytest.mark.parametrize("potential", [Crossing((1, 2)), TwoPoints((0.0, 0.0)), TwoPoints((1.0, 0.5))])
def test_torch_loss(potential: Crossing | TwoPoints) -> None:
    x, y = 0.7, -1.3
    expected = (x - 1) ** 2 * (x**2 + y**2) ** 4 if isinstance(potential, TwoPoints) else x**2 * y**4
    params = {"w": torch.tensor([[x, y], [0.0, 0.0]], dtype=torch.float64)}
    batch = {"index": torch.arange(3)}
    values = torch.func.vmap(lambda p: potential.loss(p, batch))(params)
    assert values.shape == (2, 3)
    assert torch.allclose(values[0], torch.full((3,), expected, dtype=torch.float64))
    assert torch.equal(potential.loss(potential.center, batch), torch.zeros(3, dtype=torch.float64))
    noise = torch.tensor([[1.0, 2.0], [-1.0, 0.5]], dtype=torch.float64)
    gradient = torch.func.jacrev(lambda p: potential.loss(p, {"noise": noise}))(potential.center)["w"]
    assert torch.equal(gradient, noise)
    tilted = potential.loss(potential.center, {"noise": noise})
    assert torch.equal(tilted, torch.zeros(2, dtype=torch.float64))


def test_refusals() -> None:
    with pytest.raises(RecipeError, match="not a crossing"):
        Crossing((1, 0))
    with pytest.raises(RecipeError, match="constant along the axes"):
        Crossing((1, 1)).llc(50.0, 0.0)
