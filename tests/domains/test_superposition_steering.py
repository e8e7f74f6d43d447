"""Responses of the polygons: exact symmetries, leading order, agreement with a shifted posterior, and what is refused."""

import numpy as np
import pytest
import torch

from susceptometer.domains import superposition_steering as steering
from susceptometer.domains.basin import from_arrays, meanings, pooled
from susceptometer.domains.superposition import every_feature, feature_losses, fresh_toys, toy_subject
from susceptometer.patterning.plan import plan
from susceptometer.posterior.subject import Subject
from susceptometer.sampling.coupling import antithetic
from susceptometer.sampling.reading import read_here
from susceptometer.sampling.recipe import Recipe, Schedule
from susceptometer.sampling.sgld import LeimkuhlerMatthews
from susceptometer.train.loop import Training

N_BETA, GAMMA = 300.0, 10.0
RECIPE = Recipe(
    sampler=LeimkuhlerMatthews(step_size=1 / (3 * N_BETA + GAMMA)),
    n_beta=N_BETA,
    gamma=GAMMA,
    schedule=Schedule(groups=8, burn_in=60, draws=200),
    coupling=antithetic(),
)


@pytest.fixture(scope="module")
def basins():
    return [steering.sampled(steering.anchor(k), RECIPE, name=k, seed=0) for k in ("6", "5")]


@pytest.fixture(scope="module")
def found(basins):
    return steering.responses(*basins)


def row(found, name):
    return found.chi[found.observables.index(name)]


def test_anchors_are_minima_and_relabelling_moves_the_dropped_feature():
    for k, dropped in (("6", 0), ("5", 0), ("5", 4)):
        params = steering.anchor(k, dropped)
        leaves = {n: w.clone().requires_grad_() for n, w in params.items()}
        grads = torch.autograd.grad(feature_losses(leaves, every_feature()).mean(), list(leaves.values()))
        assert max(float(g.abs().max()) for g in grads) < 1e-5
        if k == "5":
            assert int(feature_losses(params, every_feature()).argmax()) == dropped


def test_rows_sum_to_zero(found):
    np.testing.assert_allclose(found.chi.sum(1), 0, atol=1e-12)


def test_relabelled_rows_are_relabelled(found):
    np.testing.assert_allclose(np.roll(row(found, "fixed 5-0"), 3), row(found, "fixed 5-3"), atol=1e-12)


def test_six_is_symmetric_within_errors(found):
    error = found.estimate.error.sel(observable="fixed 6").to_numpy()
    assert np.abs(row(found, "fixed 6")).max() < 6 * error.max()


def test_log_odds_are_the_loss_difference_to_leading_order(found):
    exact = 0.0618 - 0.2569
    assert abs(row(found, "log-odds 5-0")[0] - exact) < 0.15 * abs(exact)


def reweighted(subject, h):
    """The subject under the mixture (1 - h) uniform + h feature 0."""
    share = torch.tensor([1 - h + 6 * h, *[1 - h] * 5], dtype=torch.float64)

    def loss(params, batch):
        return share[batch["feature"]] * feature_losses(params, batch)

    return Subject(subject.name, subject.params, loss, subject.data, subject.probes, subject.components)


def test_total_response_is_the_change_of_the_learning_coefficient():
    """Sample the shifted posteriors with common noise: (lambda_{+h} - lambda_{-h}) / 2h against n_beta (total row)."""
    h, subject = 0.03, toy_subject(steering.anchor("5"), name="5")
    recipe = Recipe(
        **{
            **vars(RECIPE),
            "n_beta": 30.0,
            "sampler": LeimkuhlerMatthews(step_size=1 / 100),
            "schedule": Schedule(groups=16, burn_in=60, draws=300),
        }
    )
    lam = []
    for sign in (1, -1):
        reading = read_here(reweighted(subject, sign * h), {"whole": subject.components["full"]}, recipe, seed=0)
        lam.append(30.0 * reading.cell("whole")["loss"].mean(("member", "draw")).to_numpy())
    measured = (lam[0] - lam[1]) / (2 * h)
    one = steering.sampled(steering.anchor("5"), recipe, name="5", seed=0)
    total = 30.0 * (30.0 * one.chi + one.mean - one.center)[:, 0]
    gap = measured.mean() - total.mean()
    assert abs(gap) < 4 * np.hypot(measured.std(ddof=1), total.std(ddof=1)) / 4 + 0.1 * abs(total.mean())
    fixed = (30.0**2 * one.chi)[:, 0]
    assert fixed.mean() > 0 > total.mean()  # the two meanings differ in sign here


def test_plan_lowers_the_probability_of_the_feature_to_drop(found):
    dh = plan(found, {"log-odds 5-0": 1.0}).shift
    assert dh[0] < 0 and abs(dh.sum()) < 0.05 * np.abs(dh).sum()
    assert np.argmin(plan(found, {"log-odds 5-3": 1.0}).shift) == 3
    assert abs(N_BETA * row(found, "log-odds 5-0") @ dh - 1) < 0.1


def test_a_plan_with_the_wrong_sign_is_caught(found, basins):
    """Planted: E_A - E_B instead of E_B - E_A."""
    wrong = meanings({"6": basins[0], "5-0": basins[1]}, "5-0", range(6))
    assert wrong.chi[wrong.observables.index("log-odds 6")][0] > 0 > row(found, "log-odds 5-0")[0]


def test_pooled_basins_have_one_group_each(basins):
    both = pooled([basins[0], basins[0], basins[1], basins[1]])
    np.testing.assert_allclose(both.chi[0], basins[0].chi.mean(0))
    assert both.llc.shape == (4,) and both.center.shape == (4, 6)
    again = from_arrays(both.arrays)
    np.testing.assert_array_equal(again.mean, both.mean)
    assert again.n_beta == N_BETA and again.rhat == both.rhat


def test_shifted_probabilities():
    dh = np.array([-0.1, 0.02, 0.02, 0.02, 0.02, 0.02])
    np.testing.assert_allclose(steering.shifted(dh), 1 / 6 + dh)
    assert steering.shifted(np.array([-0.5, 0.1, 0.1, 0.1, 0.1, 0.1])).min() == 0
    assert np.isclose(steering.shifted(3 * dh).sum(), 1)


def test_runs_depend_on_the_data_and_on_nothing_else(tmp_path):
    settings = Training(steps=60, learning_rate=0.02)
    arms = []
    for place, p0 in enumerate((1 / 6, 1 / 6, 0.05)):
        p = np.array([p0, *[(1 - p0) / 5] * 5])
        arms.append(steering.trained_runs(p, 4, seed=1, into=tmp_path / str(place), settings=settings)[0])
    assert torch.equal(arms[0]["W"], arms[1]["W"]) and not torch.equal(arms[0]["W"], arms[2]["W"])
    assert fresh_toys(4, seed=1)["W"].shape == arms[0]["W"].shape
