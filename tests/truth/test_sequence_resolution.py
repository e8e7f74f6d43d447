"""Learning coefficients of truncated laws: quadrature, the quadratic prediction, bounds, and the samplers."""

import numpy as np
import pytest
import torch
from scipy import integrate

from exact_subject import recipe
from susceptometer.domains.sequence_subject import law_subject
from susceptometer.errors import DataError
from susceptometer.estimate.llc import llc
from susceptometer.sampling.coupling import independent
from susceptometer.sampling.reading import read_here
from susceptometer.sampling.sgld import LeimkuhlerMatthews
from susceptometer.structure.modes import modes, truncated
from susceptometer.structure.resolution import departure_point, mode_sensitivity, predicted_llc, truncation_bound
from susceptometer.testbed import quadrature
from susceptometer.testbed.sequence_source import spins
from susceptometer.testbed.sign_model import SignModel

A9 = SignModel((0.6, 0.02), 1)
S = SignModel((0.5, 0.2, 0.08, 0.03), 1)

A9_TABLE = {
    1: (0.1816, 0.2400, 0.2401), 10: (0.4457, 0.4687, 0.4708), 30: (0.4855, 0.4851, 0.4911), 100: (0.4963, 0.4774, 0.4975),
    300: (0.4988, 0.4392, 0.4992), 1000: (0.4997, 0.2997, 0.4997), 3000: (0.4999, -0.1001, 0.4999), 10000: (0.5, -1.5002, 0.5),
}  # fmt: skip
S_TABLE = {
    1: (0.9210, 0.9026, 0.8997, 0.8993), 10: (1.8687, 1.6648, 1.6324, 1.6278), 30: (1.9614, 1.3564, 1.2602, 1.2466),
    100: (1.9891, -0.0247, -0.3451, -0.3901), 1000: (1.9989, -18.1366, -21.3400, -21.7901),
}  # fmt: skip


@pytest.mark.parametrize("n_beta", A9_TABLE)
def test_two_spins_by_quadrature(n_beta):
    found = [A9.spin_llc(0, n_beta, 1, kept=True), *(A9.spin_llc(1, n_beta, 1, kept=kept) for kept in (True, False))]
    assert found == pytest.approx(A9_TABLE[n_beta], abs=2e-4)


@pytest.mark.parametrize("n_beta", [1, 10, 100, 1000, 3000])
def test_the_gap_of_a_spin_follows_the_quadratic_formula(n_beta):
    spread = 1 / (n_beta + 1)
    gap = A9.spin_llc(1, n_beta, 1, kept=False) - A9.spin_llc(1, n_beta, 1, kept=True)
    assert gap == pytest.approx((n_beta * 0.02) ** 2 * spread * (1 - n_beta * spread / 2), abs=1e-3)


@pytest.mark.parametrize("n_beta", S_TABLE)
def test_four_spins_by_quadrature(n_beta):
    assert [S.llc(n_beta, 1, kept) for kept in (1, 2, 3, 4)] == pytest.approx(S_TABLE[n_beta], abs=2e-4)


def adaptive_llc(pull, n_beta):
    """One unlearned spin by adaptive quadrature: a second, independent rule."""

    def excess(w):
        return np.log(np.cosh(w)) - pull * w

    def density(w):
        return np.exp(-n_beta * excess(w) - w**2 / 2)

    total = integrate.quad(density, -9, 9)[0]
    return n_beta * integrate.quad(lambda w: excess(w) * density(w), -9, 9)[0] / total


@pytest.mark.parametrize(("spin", "quadratic", "exact"), [(1, 5.14, 4.774), (2, 31.28, 31.17), (3, 222.2, 222.2)])
def test_modes_enter_one_by_one(spin, quadratic, exact):
    """The quadratic prediction of the first departure is 8 % late: log cosh is softer than its curvature."""
    at, pull = S.departure(spin, 1, 0.1), S.couplings[spin]
    assert at == pytest.approx(exact, rel=1e-3)
    assert adaptive_llc(0, at) - adaptive_llc(pull, at) == pytest.approx(0.1, abs=1e-6)
    assert departure_point(pull, 1.0, drop=0.1, gamma=1) == pytest.approx(quadratic, rel=1e-3)
    assert at == pytest.approx(0.2 / pull**2, rel=0.1)


def test_the_departure_of_the_faint_mode():
    assert A9.departure(1, 1, 0.1) == pytest.approx(500.0, rel=0.01)


@pytest.mark.parametrize(("n_beta", "h", "exact"), [(10, 1, 0.442149), (100, 1, 0.370062), (100, 0, -25.0)])
def test_quadratic_prediction_in_one_dimension(n_beta, h, exact):
    found = predicted_llc(np.array([0.05]), np.array([[float(h)]]), n_beta=n_beta, gamma=1)
    assert found == pytest.approx(exact, abs=1e-6)


@pytest.mark.parametrize(("n_beta", "gamma", "exact"), [(20, 1, 0.6887041), (200, 2, -0.4035829)])
def test_quadratic_prediction_in_two_dimensions(n_beta, gamma, exact):
    curvature = np.array([[1, 0.3], [0.3, 0.2]])
    assert predicted_llc(np.array([0.05, -0.02]), curvature, n_beta=n_beta, gamma=gamma) == pytest.approx(
        exact, abs=1e-6
    )


def test_a_saddle_that_gamma_does_not_hold_is_refused():
    with pytest.raises(DataError, match="smallest eigenvalue -9"):
        predicted_llc(np.zeros(2), np.diag([1.0, -1.0]), n_beta=10, gamma=1)


def test_the_bound_holds_on_a_grid():
    source = spins((0.6, 0.02))
    line = quadrature.trapezoid(-6, 6, 241)
    grid = quadrature.product(line, line)
    first, second = grid.nodes.T
    for n_beta in (1, 10, 100, 1000, 3000):
        excess = A9.excess(0, first, kept=True) + A9.excess(1, second, kept=False)
        dropped = -0.02 * second
        pull = 0.5 * ((first - np.arctanh(0.6)) ** 2 + second**2)
        law = grid.probabilities(n_beta * excess + pull)
        full = grid.probabilities(n_beta * (excess + dropped) + pull)
        region = law + full > 1e-12
        gap = n_beta * abs(full @ (excess + dropped) - law @ excess)
        bound = truncation_bound(float(np.abs(dropped[region]).max()), n_beta, float(law @ np.abs(excess)))
        assert gap <= bound
    assert modes(source).amplitude == pytest.approx([0.5, 0.3, 0.01])


def spin_subject(kept):
    """S with the loss that holds the first ``kept`` spins (one mode more than spins: the constant one)."""
    source = spins(S.couplings)
    labels = truncated(source, modes(source), kept + 1)
    return law_subject(f"spins {kept}", S.center, S.log_law, labels, source.weights)


def test_the_subject_has_the_closed_form_loss():
    model = spin_subject(2)
    moved = {"w": torch.tensor([0.3, -0.2, 0.5, 0.1], dtype=torch.float64)}
    rise = (model.loss(moved, model.data) - model.center_loss(model.data)).mean()
    exact = sum(float(S.excess(i, moved["w"].numpy()[i], kept=i < 2)) for i in range(4))
    assert float(rise) == pytest.approx(exact, abs=1e-12)


def test_the_sampler_sees_the_exact_coefficients():
    plan = recipe(LeimkuhlerMatthews(step_size=0.3 / 31), (30.0, 1.0), coupling=independent(), schedule=(48, 60, 80, 8))
    values = []
    for kept in (1, 2, 3, 4):
        model = spin_subject(kept)
        reading = read_here(model, {"full": model.components["full"]}, plan, seed=1)
        found = llc(reading)
        # the Leimkuhler-Matthews bias of the mean loss is of second order in the step: 1 % of the stiffness here
        assert abs(float(found.z(S.llc(30, 1, kept))[0])) < 4.5
        assert float(found.error[0]) < 0.05
        values.append(float(found.value[0]))
    assert np.diff(values) == pytest.approx(np.diff(S_TABLE[30]), abs=0.02), "paired seeds share their noise"


def test_sensitivities_of_a_known_cloud(seed):
    """Draws of w_2 alone move the mode of spin 2 by a_2 (d log p along it), whatever the other modes do."""
    source, draw = spins(S.couplings), np.random.default_rng(seed)
    rows, outputs = source.sample(4000, draw)
    center = S.log_law(S.center).numpy()
    clouds = []
    for value in 0.1 * draw.standard_normal(200):
        moved = S.center["w"].clone()
        moved[1] = value
        clouds.append(S.log_law({"w": moved}).numpy()[rows])
    found = mode_sensitivity(np.array(clouds), center[rows], outputs, modes(source), n_beta=30.0)
    assert found.log_probability.argmax() in {0, 2}  # the constant mode sees log cosh, the spin's own mode sees w
    assert found.log_probability[2] == pytest.approx(30 * 0.2 * 0.1, rel=0.4)
    assert found.log_probability[3:5].max() < 0.25 * found.log_probability[2]


def test_dropping_the_faint_mode_drops_a_linear_term(seed):
    """A9, chi = 2: R = L - L_cut = -B w_2 exactly, and L = const + sum_i (log cosh w_i - a_i w_i)."""
    source = spins((0.6, 0.02))
    found = modes(source)
    w = np.random.default_rng(seed).normal(size=(20, 2))
    whole, cut = (
        np.array([-(source.weights[:, None] * table * A9.log_law({"w": torch.tensor(at)}).numpy()).sum() for at in w])
        for table in (source.conditional, truncated(source, found, 2))
    )
    assert whole - cut == pytest.approx(-0.02 * w[:, 1], abs=1e-12)
    shape = np.log(np.cosh(w)).sum(1) - w @ [0.6, 0.02]
    assert whole - shape == pytest.approx(np.full(20, (whole - shape)[0]), abs=1e-12)


def test_where_the_faint_mode_shows_and_where_its_coefficient_is_zero():
    """A9: a drop of 0.02 at n_beta = 0.04/B² = 100; zero near 1/B² = 2500."""
    drop = A9.spin_llc(1, 100, 1, kept=False) - A9.spin_llc(1, 100, 1, kept=True)
    assert drop == pytest.approx(0.02, rel=0.05)
    assert A9.spin_llc(1, 2500, 1, kept=True) == pytest.approx(0, abs=2e-3)


def test_thresholds_of_curved_and_flat_directions():
    """n_beta = 2 drop h/(s c)² where n_beta h >> gamma, sqrt(drop gamma)/(s c) where n_beta h << gamma."""
    assert departure_point(1e-3, 2.0, drop=0.1, gamma=1) == pytest.approx(2 * 0.1 * 2.0 / 1e-6, rel=1e-4)
    assert departure_point(0.5, 1e-9, drop=0.1, gamma=30.0) == pytest.approx(np.sqrt(0.1 * 30.0) / 0.5, rel=1e-6)


def tilted_llc(drop, n_beta):
    """lambda_hat of log cosh w - (0.6 - drop) w around atanh 0.6, and the first-order gap to drop = 0 from that run."""
    center = np.arctanh(0.6)
    nodes, weights = quadrature.gauss(center - 9, center + 9, 80)
    cut = np.log(np.cosh(nodes)) - (0.6 - drop) * nodes
    cut, left = cut - np.log(np.cosh(center)) + (0.6 - drop) * center, -drop * (nodes - center)
    law = weights * np.exp(-n_beta * cut - (nodes - center) ** 2 / 2)
    law /= law.sum()
    covariance = law @ (cut * left) - (law @ cut) * (law @ left)
    return n_beta * (law @ cut), n_beta * (law @ left) - n_beta**2 * covariance


@pytest.mark.parametrize("n_beta", [3, 30, 100])
def test_first_order_of_the_gap_from_one_run(n_beta):
    """lambda - lambda_cut = n E[R] - n² Cov(D_cut, R) + O((n R)²) under the truncated posterior."""
    whole = tilted_llc(0.0, n_beta)[0]
    told = np.array([tilted_llc(drop, n_beta) for drop in (2e-3, 1e-3)])
    rest, wrong = whole - told[:, 0] - told[:, 1], whole - told[:, 0] + told[:, 1]
    assert rest[0] / rest[1] == pytest.approx(4, rel=0.05)  # what is left is of second order
    assert abs(wrong[0] / wrong[1] - 4) > 0.1  # planted: the other sign leaves the first order
