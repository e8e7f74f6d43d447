"""Deep linear networks: the table, two formulas on thousands of networks, the loss and its gradient."""

import random
from fractions import Fraction

import pytest
import torch

from susceptometer.errors import RecipeError
from susceptometer.testbed import deep_linear, rank

TABLE = [  # widths, r, lambda, m, accepted S, l, a, d/2
    ((3, 3, 3), 1, "4", 1, (2, 2, 2), 2, 2, "9"),
    ((12, 9, 12), 4, "57", 2, (5, 8, 8), 2, 1, "108"),
    ((6, 4, 5, 7), 1, "11.5", 1, (3, 4, 5, 6), 3, 3, "39.5"),
    ((6, 6, 6, 6), 2, "15.5", 3, (4, 4, 4, 4), 3, 1, "54"),
    ((8, 8, 8, 8), 4, "29.5", 3, (4, 4, 4, 4), 3, 1, "96"),
    ((3, 3, 3, 3, 3), 0, "3", 4, (3,) * 5, 4, 3, "18"),
    ((9, 5, 7, 5, 8), 2, "19.5", 2, (3, 3, 5), 2, 1, "77.5"),
    ((2, 10, 10, 2), 1, "2", 1, (1, 1), 1, 1, "70"),
    ((30, 20, 10, 20, 30), 6, "188", 1, (4, 14, 14), 2, 2, "800"),
    ((16,) * 7, 3, "93", 6, (13,) * 7, 6, 1, "768"),
]


@pytest.mark.parametrize("row", TABLE)
def test_table(row: tuple) -> None:
    widths, r, value, multiplicity, chosen, layers, remainder, half = row
    assert deep_linear.llc(widths, r) == (Fraction(value), multiplicity)
    assert deep_linear.accepted(widths, r) == (chosen, layers, remainder)
    assert deep_linear.half_codimension(widths, r) == Fraction(value)
    assert Fraction(deep_linear.network(widths, r).size, 2) == Fraction(half)


def test_two_formulas_on_three_thousand_networks() -> None:
    source, depths = random.Random(0), set()
    for _ in range(3000):
        widths = [source.randint(1, 9) for _ in range(source.randint(3, 8))]
        depths.add(len(widths) - 1)
        for r in range(min(widths) + 1):
            value, multiplicity = deep_linear.llc(widths, r)
            assert value == deep_linear.half_codimension(widths, r), (widths, r)
            assert 2 * value <= deep_linear.network(widths, r).size
            assert multiplicity >= 1
    assert depths == {2, 3, 4, 5, 6, 7}


def test_hidden_widths_may_be_permuted() -> None:
    """The formula sorts the widths; the recursion does not, so this is a property of it."""
    source = random.Random(1)
    for _ in range(100):
        first, *hidden, last = [source.randint(1, 8) for _ in range(6)]
        r = source.randint(0, min(first, last, *hidden))
        expected = deep_linear.half_codimension([first, *hidden, last], r)
        source.shuffle(hidden)
        assert deep_linear.half_codimension([last, *hidden, first], r) == expected


def test_two_layers_are_reduced_rank_regression() -> None:
    for n, h, m in ((6, 2, 7), (3, 4, 3), (9, 3, 3), (2, 9, 4), (5, 5, 5)):
        for r in range(min(n, h, m) + 1):
            assert deep_linear.llc((n, h, m), r) == rank.llc(n, h, m, rank=r)


def test_full_rank_square_layers_are_regular_along_the_product() -> None:
    """r = d everywhere: the fibre is smooth and lambda = d²/2 at any depth."""
    for depth in range(2, 6):
        assert deep_linear.llc((4,) * (depth + 1), 4) == (Fraction(8), 1)


def test_extra_width_at_the_end_costs_the_rank() -> None:
    """A further output beyond the bottleneck adds r/2 for the teacher plus what the rest can use."""
    wide, wider = deep_linear.llc((9, 2, 30), 2)[0], deep_linear.llc((9, 2, 31), 2)[0]
    assert wider - wide == Fraction(2, 2)


# --- the system ----------------------------------------------------------------------------------


def _moved(system: deep_linear.LinearNetwork, seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: value + 0.5 * torch.randn(value.shape, generator=generator, dtype=torch.float64)
        for name, value in system.center.items()
    }


@pytest.mark.parametrize(("widths", "r"), [((3, 2, 4, 2), 1), ((2, 3, 3, 2, 4), 2), ((3, 3, 3), 0)])
def test_loss_center_and_gradient(widths: tuple[int, ...], r: int) -> None:
    system, batch = deep_linear.network(widths, r), {"index": torch.arange(3)}
    assert torch.equal(system.loss(system.center, batch), torch.zeros(3, dtype=torch.float64))
    assert int(torch.linalg.matrix_rank(system.teacher)) == r
    for layer in system.center.values():
        assert int(torch.linalg.matrix_rank(layer)) == r, "balanced"
    moved = _moved(system, 0)
    automatic = torch.func.grad(lambda p: system.loss(p, batch).mean())(moved)
    exact = system.gradient(moved)
    assert list(exact) == list(moved)
    for name, value in exact.items():
        assert torch.allclose(value, automatic[name], rtol=1e-11, atol=1e-13)


def test_half_the_hessian_rank_is_a_lower_bound() -> None:
    for widths, r in (((3, 3, 3), 1), ((6, 4, 5, 7), 1), ((4, 4, 4, 4), 4), ((2, 5, 5, 2), 2)):
        system = deep_linear.network(widths, r)
        shapes = [value.shape for value in system.center.values()]
        flat = torch.cat([value.reshape(-1) for value in system.center.values()])

        def loss(vector: torch.Tensor, system=system, shapes=shapes) -> torch.Tensor:
            pieces = vector.split([shape.numel() for shape in shapes])
            layers = [piece.reshape(s) for piece, s in zip(pieces, shapes, strict=True)]
            params = {f"layer{i}": layer for i, layer in enumerate(layers, 1)}
            return system.loss(params, {"index": torch.zeros(1)})[0]

        curvature = int(torch.linalg.matrix_rank(torch.func.hessian(loss)(flat), atol=1e-9))
        value = deep_linear.llc(widths, r)[0]
        assert Fraction(curvature, 2) <= value
        if r == min(widths[0], widths[-1]):  # the fibre is smooth at this center
            assert Fraction(curvature, 2) == value


def test_random_networks_follow_their_ranges() -> None:
    systems = [deep_linear.random_network(s, depth=(2, 5), width=(5, 9)) for s in range(60)]
    assert {len(s.widths) - 1 for s in systems} == {2, 3, 4, 5}
    assert {width for s in systems for width in s.widths} == set(range(5, 10))
    assert len({s.rank for s in systems}) > 3
    assert systems[0] == deep_linear.random_network(0, depth=(2, 5), width=(5, 9))


def test_a_single_layer_is_a_network_too() -> None:
    """Linear regression: K = ½ |W - W*|², a regular minimum with lambda = d/2."""
    system = deep_linear.LinearNetwork((3, 2), 1)
    moved = _moved(system, 3)
    assert torch.allclose(system.gradient(moved)["layer1"], moved["layer1"] - system.teacher)
    with pytest.raises(RecipeError, match="not a linear network"):
        deep_linear.LinearNetwork((3,), 1)


def test_refusals() -> None:
    with pytest.raises(RecipeError, match="not a deep linear network"):
        deep_linear.llc((3, 4), 1)
    with pytest.raises(RecipeError, match="fits through every layer"):
        deep_linear.llc((3, 4, 2), 3)
