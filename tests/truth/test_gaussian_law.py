"""Quadratic systems: printed fixtures, and every closed form against an independent route."""

import math

import numpy as np
import pytest
import torch

from susceptometer.errors import ComponentError, DataError, RecipeError
from susceptometer.testbed import gaussian, lyapunov, pathwise
from susceptometer.testbed.form import Form

N_BETA, GAMMA, EPS = 30.0, 300.0, 1e-3
BLOCK = [0]
K = 5.0  # standard errors: a false alarm about once in 5e4 assertions with 32 chains


def printed(value: float, expected: float, digits: int = 7) -> bool:
    """Agreement to the printed digits: half a unit in the last place."""
    exponent = math.floor(math.log10(abs(expected)))
    return abs(value - expected) <= 0.5001 * 10.0 ** (exponent - digits + 1)


@pytest.fixture
def full() -> gaussian.Quadratic:
    return gaussian.fixture()


@pytest.fixture
def block(full: gaussian.Quadratic) -> gaussian.Quadratic:
    return full.restrict(BLOCK)


@pytest.fixture
def random() -> gaussian.Quadratic:
    return gaussian.random_quadratic(3, sizes=(2, 3), tokens=9, spread=0.7)


# --- the printed fixture -------------------------------------------------------------------------


def test_fixture_block_law(block: gaussian.Quadratic) -> None:
    law = gaussian.posterior(block, N_BETA, GAMMA)
    assert block.energy(N_BETA, GAMMA).precision[0, 0] == 360
    assert printed(law.mean[0], -8.333333e-3)
    assert printed(law.covariance[0, 0], 2.777778e-3)


def test_fixture_means_and_llc(full: gaussian.Quadratic, block: gaussian.Quadratic) -> None:
    law, whole = gaussian.posterior(block, N_BETA, GAMMA), gaussian.posterior(full, N_BETA, GAMMA)
    assert printed(float(block.base.mean(law)), 2.013889e-3)
    assert printed(block.perturbations.mean(law)[0], 1.770833e-3)
    assert printed(full.perturbations.mean(whole)[0], 1.469015e-2)
    assert printed(gaussian.llc(block, law, N_BETA), 6.041667e-2)


def test_fixture_susceptibilities(full: gaussian.Quadratic, block: gaussian.Quadratic) -> None:
    law, whole = gaussian.posterior(block, N_BETA, GAMMA), gaussian.posterior(full, N_BETA, GAMMA)
    two_run = gaussian.two_run_susceptibility(full, whole, BLOCK, component_law=law)
    assert printed(gaussian.susceptibility(block, law)[0], -8.680556e-5)
    assert printed(two_run[0], -6.078749e-5)
    control = gaussian.posterior(block, 0.0, GAMMA)
    assert printed(gaussian.susceptibility(block, control)[0], -1.333333e-4)


@pytest.mark.parametrize(
    ("noise", "shared", "covariance", "pair"),
    [
        (0.0, False, -9.790652e-5, -8.657913e-5),
        (0.8, False, -1.214670e-4, -9.070504e-5),
        (0.8, True, -1.214670e-4, -3.575999e-5),
    ],
)
def test_fixture_finite_step(
    block: gaussian.Quadratic, noise: float, shared: bool, covariance: float, pair: float
) -> None:
    gradient_noise = np.array([[noise]])
    chain = lyapunov.sgld(block.energy(N_BETA, GAMMA, gradient_noise), EPS)
    assert printed(gaussian.susceptibility(block, chain.law())[0], covariance)
    tangent = pathwise.tangent_chain(block, N_BETA, GAMMA, step_size=EPS, gradient_noise=gradient_noise, shared=shared)
    assert printed(pathwise.pathwise_susceptibility(block, tangent)[0], pair)


def test_fixture_finite_h(block: gaussian.Quadratic) -> None:
    offset = 0.2 * N_BETA
    plus, minus = pathwise.pair_energies(block, N_BETA, GAMMA, offset=offset)
    laws = lyapunov.sgld(plus, EPS).law(), lyapunov.sgld(minus, EPS).law()
    value = pathwise.pair_susceptibility(block, *laws, offset=offset)[0]
    continuum = pathwise.pair_susceptibility(block, plus.law, minus.law, offset=offset)[0]
    assert printed(value, -8.670791e-5)
    assert printed(continuum, -8.693434e-5)


# --- independent routes in the continuum ---------------------------------------------------------


def test_susceptibility_is_the_slope_of_the_mean(random: gaussian.Quadratic) -> None:
    """chi = d E[f] / d n_beta, by central difference of the exact mean (Plummer 2026)."""
    step = 1e-3
    means = [random.perturbations.mean(gaussian.posterior(random, 20 + s * step, 5.0)) for s in (1, -1)]
    chi = gaussian.susceptibility(random, gaussian.posterior(random, 20.0, 5.0))
    assert np.allclose((means[0] - means[1]) / (2 * step), chi, rtol=1e-6, atol=1e-10)


def test_susceptibility_is_the_slope_under_a_data_shift(random: gaussian.Quadratic) -> None:
    """chi = (1/n_beta) d<phi>/dh for L + h f, with phi an unrelated quadratic."""
    phi, n_beta, gamma, h = random.tokens[4], 20.0, 5.0, 1e-4
    law = gaussian.posterior(random, n_beta, gamma)
    chi = gaussian.susceptibility(random, law, phi)
    for token in (0, 7):
        f, means = random.perturbations[token], []
        for sign in (h, -h):
            shifted = Form(
                (random.base.hessian + sign * f.hessian)[None],
                (random.base.slope + sign * f.slope)[None],
                np.zeros(1),
            )
            tilted = gaussian.Quadratic(shifted, random.anchor, random.parts)
            means.append(float(phi.mean(gaussian.posterior(tilted, n_beta, gamma))))
        assert np.isclose((means[0] - means[1]) / (2 * h * n_beta), chi[token], rtol=1e-5)


def test_form_covariance_by_gauss_hermite(random: gaussian.Quadratic) -> None:
    """Gaussian moments of quadratics against a product Gauss-Hermite rule, exact for degree 4."""
    block = random.restrict([1, 4])
    law = gaussian.posterior(block, 12.0, 3.0)
    x, weight = np.polynomial.hermite_e.hermegauss(5)
    grid = np.stack(np.meshgrid(x, x, indexing="ij"), -1).reshape(-1, 2)
    weights = np.outer(weight, weight).ravel() / (2 * np.pi)
    points = law.mean + grid @ np.linalg.cholesky(law.covariance).T
    values = np.stack([block.tokens(v) for v in points])
    mean = weights @ values
    covariance = (values - mean).T @ ((values - mean) * weights[:, None])
    assert np.allclose(block.tokens.mean(law), mean, rtol=1e-10)
    assert np.allclose(block.tokens.covariance(block.tokens, law), covariance, rtol=1e-9, atol=1e-14)


def test_component_susceptibility_by_quadrature(full: gaussian.Quadratic) -> None:
    """-Cov[delta(u) g, f] under the full posterior, by brute-force grid sums."""
    n_beta, gamma, chi = 3.0, 4.0, None
    chi = gaussian.component_susceptibility(full, BLOCK, n_beta, gamma=gamma)
    axis = np.linspace(-6, 6, 401)
    spacing = axis[1] - axis[0]
    v = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1)
    base = full.base
    energy = n_beta * (v @ base.slope + 0.5 * np.einsum("abi,ij,abj->ab", v, base.hessian, v))
    density = np.exp(-energy - gamma / 2 * (v**2).sum(-1))
    density /= density.sum() * spacing**2
    token = full.perturbations[0]
    f = v @ token.slope + 0.5 * np.einsum("abi,ij,abj->ab", v, token.hessian, v)
    middle = 200  # the slice u = 0
    on_slice = density[:, middle]
    g = base.slope[0] * axis + 0.5 * base.hessian[0, 0] * axis**2
    expected = np.sum(on_slice * g * f[:, middle]) * spacing
    expected -= np.sum(on_slice * g) * spacing * np.sum(density * f) * spacing**2
    assert np.isclose(chi[0], -expected, rtol=1e-9)


def test_base_mean_of_susceptibility_is_zero(random: gaussian.Quadratic) -> None:
    law, component = gaussian.posterior(random, 20.0, 5.0), [0, 3]
    block = random.restrict(component)
    block_law = gaussian.posterior(block, 20.0, 5.0)
    within = gaussian.susceptibility(block, block_law)
    two_run = gaussian.two_run_susceptibility(random, law, component, component_law=block_law)
    assert abs(within.mean()) < 1e-15
    assert abs(two_run.mean()) < 1e-15
    assert np.ptp(two_run) > 1e-4
    shift = block.perturbations.mean(block_law) - random.perturbations.mean(law)
    assert np.allclose(two_run - within, -gaussian.llc(block, block_law, 20.0) / 20.0 * shift)


def test_across_blocks(random: gaussian.Quadratic) -> None:
    """Block observables plus the cross term add up to L, so their answers add up to chi of L."""
    law = gaussian.posterior(random, 20.0, 5.0)
    first = gaussian.component_loss(random, [0, 1])
    second = gaussian.component_loss(random, [2, 3, 4])
    cross = random.base - first - second
    total = sum(gaussian.susceptibility(random, law, phi) for phi in (first, second, cross))
    assert np.allclose(total, gaussian.susceptibility(random, law), atol=1e-15)
    # With the rest of the system frozen in place the block observable is the restricted base loss.
    v = np.array([0.3, -0.2, 5.0, 6.0, 7.0])
    assert np.isclose(first(v), random.restrict([0, 1]).base(v[:2]))


def test_influence_is_susceptibility_plus_base(random: gaussian.Quadratic) -> None:
    law = gaussian.posterior(random, 20.0, 5.0)
    matrix = gaussian.influence(random, law, random.tokens)
    assert matrix.shape == (9, 9)
    assert np.allclose(matrix, matrix.T)
    column = gaussian.susceptibility(random, law, random.tokens[2])
    base = -random.base.covariance(random.tokens[2], law)
    assert np.allclose(matrix[:, 2], column + base)


def test_small_n_beta_limit(block: gaussian.Quadratic) -> None:
    law = gaussian.posterior(block, 1e-9, GAMMA)
    base, f = block.base, block.perturbations[0]
    expected = -np.trace(base.hessian @ f.hessian) / (2 * GAMMA**2) - base.slope @ f.slope / GAMMA
    assert np.isclose(gaussian.susceptibility(block, law)[0], expected, rtol=1e-6)


def test_own_variance(random: gaussian.Quadratic) -> None:
    """d E[L] / d n_beta = -Var(L) < 0."""
    law = gaussian.posterior(random, 20.0, 5.0)
    variance = float(random.base.covariance(random.base, law))
    slope = np.diff([float(random.base.mean(gaussian.posterior(random, n, 5.0))) for n in (19.99, 20.01)])
    assert variance > 0
    assert np.isclose(slope[0] / 0.02, -variance, rtol=1e-5)


# --- the torch loss ------------------------------------------------------------------------------


def test_loss_equals_the_forms(random: gaussian.Quadratic) -> None:
    generator = torch.Generator().manual_seed(0)
    moved = {
        name: value + 0.3 * torch.randn(value.shape, generator=generator, dtype=torch.float64)
        for name, value in random.center.items()
    }
    v = torch.cat(list(moved.values())).numpy() - random.anchor
    index = torch.tensor([[0, 3], [8, 8], [1, 2]])
    losses = random.loss(moved, {"index": index})
    assert losses.shape == (3, 2)
    assert np.allclose(losses.numpy(), random.tokens(v)[index.numpy()], rtol=1e-12)


def test_data_holds_every_token_once(random: gaussian.Quadratic) -> None:
    losses = random.loss(random.center, random.data)
    assert np.isclose(float(losses.mean()), float(random.base.constant))


def test_gradient_through_vmap(random: gaussian.Quadratic) -> None:
    chains = {name: torch.stack([value, value + 0.1]) for name, value in random.center.items()}
    everything = {"index": torch.arange(9)}
    gradient = torch.func.vmap(torch.func.grad(lambda p: random.loss(p, everything).mean()))(chains)
    stacked = torch.cat([gradient["block0"], gradient["block1"]], dim=-1).numpy()
    assert np.allclose(stacked[0], random.base.slope, atol=1e-13)
    assert np.allclose(stacked[1], random.base.gradient(np.full(5, 0.1)), atol=1e-13)


def test_a_gradient_after_inference_mode() -> None:
    """The token tables are kept between calls; the first call must not poison later gradients."""
    system = gaussian.random_quadratic(7, sizes=(2,), tokens=3, spread=0.7)
    with torch.inference_mode():
        system.loss(system.center, system.data)
    params = {name: value.requires_grad_() for name, value in system.center.items()}
    system.loss(params, system.data).mean().backward()
    assert np.allclose(params["block0"].grad.numpy(), system.base.slope)


def test_float32_loss(random: gaussian.Quadratic) -> None:
    params = {name: value.float() for name, value in random.center.items()}
    losses = random.loss(params, {"index": torch.arange(9)})
    assert losses.dtype == torch.float32
    assert np.allclose(losses.numpy(), random.tokens.constant, rtol=1e-6)


def test_random_system_is_what_it_says() -> None:
    system = gaussian.random_quadratic(5, sizes=(4, 2), tokens=12, spread=0.5, equal_curvature=True)
    spectrum = np.linalg.eigvalsh(system.base.hessian)
    assert 0.05 <= spectrum[0] <= spectrum[-1] <= 4
    scattered = gaussian.random_quadratic(5, sizes=(4, 2), tokens=12, spread=0.5)
    assert np.allclose(np.linalg.eigvalsh(scattered.base.hessian), spectrum, rtol=1e-10)
    assert np.allclose(scattered.tokens.hessian, np.swapaxes(scattered.tokens.hessian, 1, 2))
    assert np.abs(scattered.perturbations.hessian).max() > 0.1
    assert np.abs(system.perturbations.hessian).max() < 1e-14
    assert np.abs(system.perturbations.slope).max() > 0.1
    again = gaussian.random_quadratic(5, sizes=(4, 2), tokens=12, spread=0.5, equal_curvature=True)
    assert np.array_equal(system.tokens.slope, again.tokens.slope)


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("component", [[], [0, 0], [2], [-1]])
def test_bad_components(full: gaussian.Quadratic, component: list[int]) -> None:
    with pytest.raises(ComponentError, match="not a set of weights"):
        full.restrict(component)


def test_no_posterior_without_confinement() -> None:
    form = Form(-np.eye(2)[None], np.zeros((1, 2)), np.zeros(1))
    saddle = gaussian.Quadratic(form, np.zeros(2), (("w", 2),))
    assert gaussian.posterior(saddle, 1.0, 1.5).covariance[0, 0] == pytest.approx(2.0)
    with pytest.raises(RecipeError, match="raise gamma"):
        gaussian.posterior(saddle, 1.0, 1.0)


def test_sizes_must_agree(full: gaussian.Quadratic) -> None:
    with pytest.raises(DataError, match="sizes do not agree"):
        gaussian.Quadratic(full.tokens, np.zeros(3), full.parts)
