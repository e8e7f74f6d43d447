"""Reduced-rank regression: the table, an independent oracle, finite-temperature integrals, the loss."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import torch

from susceptometer.errors import RecipeError
from susceptometer.testbed import crossing, rank
from susceptometer.testbed.linear import LinearNetwork

TABLE = [  # N, H, M, r, case, lambda, m, d/2
    (6, 2, 7, 0, 1, "6", 2, "13"),
    (6, 4, 7, 1, 1, "13", 1, "26"),
    (6, 6, 6, 2, 1, "16", 1, "36"),
    (6, 6, 7, 2, 1, "18", 2, "39"),
    (3, 4, 3, 1, 1, "4.5", 2, "12"),
    (7, 7, 7, 7, 1, "24.5", 1, "49"),
    (9, 2, 3, 0, 3, "3", 1, "12"),
    (9, 3, 3, 1, 3, "7.5", 1, "18"),
    (2, 9, 4, 1, 4, "4", 1, "27"),
    (4, 7, 3, 2, 4, "6", 1, "24.5"),
    (4, 8, 3, 0, 4, "6", 1, "28"),
    (2, 3, 9, 0, 2, "3", 1, "16.5"),
]
SIZES = [(n, h, m, r) for n, h, m in product(range(1, 8), repeat=3) for r in range(min(n, h, m) + 1)]


@pytest.mark.parametrize("row", TABLE)
def test_table(row: tuple) -> None:
    inputs, hidden, outputs, r, case, value, multiplicity, half = row
    assert rank.case(inputs, hidden, outputs, rank=r) == case
    assert rank.llc(inputs, hidden, outputs, rank=r) == (Fraction(value), multiplicity)
    assert Fraction(rank.network(inputs, hidden, outputs, rank=r).size, 2) == Fraction(half)


def test_all_sizes_up_to_seven_against_the_codimension() -> None:
    assert len(SIZES) == 1127
    for n, h, m, r in SIZES:
        value, multiplicity = rank.llc(n, h, m, rank=r)
        assert value == rank.half_codimension(n, h, m, rank=r)
        assert value <= Fraction(h * (n + m), 2)
        assert multiplicity in (1, 2)
        assert (value, multiplicity) == rank.llc(m, h, n, rank=r), "transposition symmetry"


@pytest.mark.parametrize(
    ("sizes", "t", "tolerance"),
    [
        ((2, 2, 2), 1e10, 1e-4),
        ((9, 2, 3), 1e8, 1e-5),
        ((2, 9, 4), 1e8, 1e-5),
        ((2, 3, 9), 1e8, 1e-4),
    ],
)
def test_exact_integral_tends_to_lambda(sizes: tuple[int, int, int], t: float, tolerance: float) -> None:
    """Rank 0 with one or two eigenvalues: an integral that knows nothing of the formula."""
    value, multiplicity = rank.llc(*sizes, rank=0)
    assert multiplicity == 1
    assert abs(rank.zero_teacher_llc(*sizes, n_beta=t, gamma=1.0) - value) < tolerance


def test_exact_integral_with_multiplicity_two() -> None:
    """(6, 2, 7; 0): llc(t) = lambda - 1/(log t + c) + ..., so 1/(lambda - llc) grows by log 10^4."""
    gaps = [1 / (6 - rank.zero_teacher_llc(6, 2, 7, n_beta=t, gamma=1.0)) for t in (1e8, 1e12)]
    assert (gaps[1] - gaps[0]) / np.log(1e4) == pytest.approx(1.0, abs=1e-3)


def test_exact_integral_is_the_crossing_for_one_weight_each() -> None:
    """1-1-1 has K = ½ x² y²: the closed form of the crossing at half the temperature."""
    for t, gamma in ((50.0, 2.0), (5e4, 2.0), (500.0, 20.0)):
        expected = crossing.square_product_llc(t / 2, gamma)
        value = rank.zero_teacher_llc(1, 1, 1, n_beta=t, gamma=gamma)
        assert np.isclose(value, expected, rtol=1e-9)


def test_exact_integral_by_sampling_the_prior() -> None:
    """E_prior[tK e^{-tK}] / E_prior[e^{-tK}] with 2e5 normal draws of both matrices."""
    t, gamma, rng = 3.0, 2.0, np.random.default_rng(0)
    first = rng.standard_normal((200_000, 2, 3)) / np.sqrt(gamma)
    second = rng.standard_normal((200_000, 2, 2)) / np.sqrt(gamma)
    energy = t / 2 * ((second @ first) ** 2).sum((1, 2))
    batches = [np.sum(part * np.exp(-part)) / np.exp(-part).sum() for part in np.split(energy, 40)]
    error = np.std(batches, ddof=1) / np.sqrt(40)
    exact = rank.zero_teacher_llc(3, 2, 2, n_beta=t, gamma=gamma)
    assert error < 0.005 * exact
    assert abs(np.mean(batches) - exact) < 5 * error


E11, E22 = np.diag([1.0, 0.0]), np.diag([0.0, 1.0])


@pytest.mark.parametrize(
    ("first", "second", "value", "multiplicity"),
    [
        (np.eye(2), np.zeros((2, 2)), "2", 1),
        (np.zeros((2, 2)), np.zeros((2, 2)), "1.5", 1),
        (E11, np.zeros((2, 2)), "1.5", 1),
        (E11, E22, "1.5", 1),
        (E11, E11, "2", 2),
    ],
)
def test_local_values(first: np.ndarray, second: np.ndarray, value: str, multiplicity: int) -> None:
    assert rank.local_llc(first, second) == (Fraction(value), multiplicity)


def test_local_value_at_the_balanced_center_is_the_formula() -> None:
    for n, h, m, r in SIZES[::7]:
        center = rank.network(n, h, m, rank=r).center
        assert rank.local_llc(center["layer1"], center["layer2"]) == rank.llc(n, h, m, rank=r)


def test_local_value_never_below_the_fibre_and_invariant() -> None:
    rng = np.random.default_rng(1)
    for _ in range(300):
        n, h, m = (int(x) for x in rng.integers(1, 6, 3))
        first, second = _random_factor(rng, h, n), _random_factor(rng, m, h)
        r = int(np.linalg.matrix_rank(second @ first))
        value, multiplicity = rank.local_llc(first, second)
        assert value >= rank.llc(n, h, m, rank=r)[0]
        mix = rng.standard_normal((h, h))
        assert rank.local_llc(mix @ first, second @ np.linalg.inv(mix)) == (value, multiplicity)
        assert rank.local_llc(second.T, first.T)[0] == value


def _random_factor(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    inner = int(rng.integers(0, min(rows, columns) + 1))
    return rng.integers(-3, 4, (rows, inner)) @ rng.integers(-3, 4, (inner, columns)).astype(float)


@pytest.mark.parametrize(("first", "second"), [(np.eye(2), np.zeros((2, 2))), (E11, E22), (E11, E11)])
def test_local_value_at_least_half_the_rank_of_the_hessian(first: np.ndarray, second: np.ndarray) -> None:
    """Morse-Bott: equality where the fibre is smooth (nothing singular is left over)."""
    target = torch.tensor(second @ first)

    def loss(flat: torch.Tensor) -> torch.Tensor:
        return 0.5 * ((flat[4:].reshape(2, 2) @ flat[:4].reshape(2, 2) - target) ** 2).sum()

    point = torch.tensor(np.concatenate([first.ravel(), second.ravel()]))
    curvature = torch.linalg.matrix_rank(torch.func.hessian(loss)(point), atol=1e-9)
    value = rank.local_llc(first, second)[0]
    assert value >= Fraction(int(curvature), 2)
    if not np.array_equal(first, second):
        assert value == Fraction(int(curvature), 2)


# --- the system ----------------------------------------------------------------------------------


@pytest.fixture
def network() -> LinearNetwork:
    return rank.network(3, 4, 2, rank=1)


def _moved(system: LinearNetwork, seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: value + torch.randn(value.shape, generator=generator, dtype=torch.float64)
        for name, value in system.center.items()
    }


def test_loss_and_exact_gradient(network: LinearNetwork) -> None:
    moved, batch = _moved(network, 0), {"index": torch.arange(5)}
    assert torch.equal(network.loss(network.center, batch), torch.zeros(5, dtype=torch.float64))
    difference = moved["layer2"] @ moved["layer1"]
    difference[0, 0] -= 1
    assert torch.allclose(network.loss(moved, batch), (0.5 * (difference**2).sum()).expand(5))
    automatic = torch.func.grad(lambda p: network.loss(p, batch).mean())(moved)
    for name, value in network.gradient(moved).items():
        assert torch.allclose(value, automatic[name], rtol=1e-12)


def test_example_loss_averages_to_the_population_loss(network: LinearNetwork) -> None:
    moved = _moved(network, 1)
    values = network.example_loss(moved, network.examples(0, 40_000))
    exact = network.loss(moved, {"index": torch.arange(1)})[0]
    error = values.std() / 200
    assert error < 0.03 * exact
    assert abs(values.mean() - exact) < 5 * error
    at_center = network.example_loss(network.center, network.examples(0, 7))
    assert torch.equal(at_center, torch.zeros(7, dtype=torch.float64))


def test_loss_under_vmap(network: LinearNetwork) -> None:
    moved = [_moved(network, seed) for seed in (0, 1, 2)]
    stacked = {name: torch.stack([m[name] for m in moved]) for name in moved[0]}
    batch = {"index": torch.arange(4)}
    values = torch.func.vmap(lambda p: network.loss(p, batch))(stacked)
    assert values.shape == (3, 4)
    assert torch.allclose(values[2], network.loss(moved[2], batch))


def test_refusals() -> None:
    with pytest.raises(RecipeError, match="does not fit"):
        rank.llc(3, 2, 4, rank=3)
    with pytest.raises(RecipeError, match="not a linear network"):
        rank.network(3, 2, 4, rank=3)
    with pytest.raises(RecipeError, match="no closed quadrature"):
        rank.zero_teacher_llc(3, 3, 3, n_beta=10.0, gamma=1.0)
