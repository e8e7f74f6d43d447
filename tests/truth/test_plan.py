"""A plan on quadratics, where chi and the answer to any weights are known in closed form."""

from functools import lru_cache

import numpy as np
import pytest
import xarray as xr
from scipy.optimize import minimize

from susceptometer.errors import ChainError, DataError, RecipeError
from susceptometer.patterning.inverse import PSEUDO_INVERSE, Inversion, directions
from susceptometer.patterning.limits import Limits, within
from susceptometer.patterning.plan import along, plan
from susceptometer.patterning.response import Response, stacked
from susceptometer.patterning.surface import surface
from susceptometer.patterning.weighting import Clip, realised, weights_of
from susceptometer.testbed import gaussian
from susceptometer.testbed.form import Energy, Form

TOKENS, GAMMA = 40, 30.0
BLOCKS = (range(3), range(3, 7), range(7, 9))
NAMES = ("a", "b", "c")
TARGET = np.array([1e-3, -2e-3, 5e-4])


@lru_cache(maxsize=1)
def blocks():
    """Three blocks of a random quadratic with forty tokens."""
    system = gaussian.random_quadratic(3, sizes=(3, 4, 2), tokens=TOKENS, spread=0.6)
    return [system.restrict(part) for part in BLOCKS]


def exact_chi(n_beta):
    laws = [gaussian.posterior(block, n_beta, GAMMA) for block in blocks()]
    return np.stack([gaussian.susceptibility(b, law) for b, law in zip(blocks(), laws, strict=True)])


def response_from(replicates, n_beta=20.0, names=NAMES):
    count = replicates.shape[2]
    data = xr.Dataset(coords={"row": ("datum", np.arange(count) // 8), "token_id": ("datum", np.arange(count) % 5)})
    return Response(replicates, names, n_beta, np.full(count, 1 / count), data)


def exact(n_beta):
    """The response matrix without noise."""
    return response_from(np.repeat(exact_chi(n_beta)[None], 4, 0), n_beta)


def change(rho, n_beta):
    """Exact change of E[L] of every block when token j weighs rho_j in the potential."""
    found = []
    for block in blocks():
        tokens, w = block.tokens, rho / len(rho)
        loss = Form(np.einsum("x,xij->ij", w, tokens.hessian), w @ tokens.slope, float(w @ tokens.constant))
        size = loss.slope.size
        energy = Energy(n_beta * loss.hessian + GAMMA * np.eye(size), n_beta * loss.slope, np.zeros((size, size)))
        found.append(block.base.mean(energy.law) - block.base.mean(gaussian.posterior(block, n_beta, GAMMA)))
    return np.array(found)


@pytest.mark.parametrize("n_beta", [5.0, 50.0])
def test_the_planned_change_comes_to_first_order(n_beta):
    made = plan(exact(n_beta), TARGET)
    miss = [np.abs(change(made.rho(a, None), n_beta) / a - TARGET).max() for a in (0.4, 0.2, 0.1, 0.05)]
    ratios = np.array(miss[:-1]) / miss[1:]
    assert ratios == pytest.approx(2, abs=0.15), "the relative error must halve with the strength"
    assert miss[-1] < 0.01 * np.abs(TARGET).max()


@pytest.mark.parametrize("fault", ["n_beta dropped", "wrong sign", "n_beta squared"])
def test_planted_faults_do_not_deliver(fault):
    n_beta = 20.0
    made = plan(exact(n_beta), TARGET)
    factor = {"n_beta dropped": n_beta, "wrong sign": -1.0, "n_beta squared": 1 / n_beta}[fault]
    got = change(weights_of(0.02 * factor * made.shift, made.response.share, None), n_beta) / 0.02
    assert not np.allclose(got, TARGET, rtol=0.1)
    right = change(weights_of(0.02 * made.shift, made.response.share, None), n_beta) / 0.02
    assert np.allclose(right, TARGET, rtol=0.02)


def test_the_inverse_is_the_pseudo_inverse_where_there_is_no_noise():
    found = exact(20.0)
    made, published = plan(found, TARGET), plan(found, TARGET, how=PSEUDO_INVERSE)
    wanted = np.linalg.pinv(found.chi) @ TARGET / 20.0
    np.testing.assert_allclose(published.shift, wanted, rtol=1e-8, atol=1e-14)
    np.testing.assert_allclose(made.shift, wanted, rtol=1e-8, atol=1e-14)
    np.testing.assert_allclose(20.0 * found.chi @ made.shift, TARGET, rtol=1e-9)
    assert abs(made.shift.sum()) < 1e-12, "exact rows have mean zero, so no mass is moved in or out"
    assert made.agreement == pytest.approx([1, 1, 1])


def test_a_principal_pattern_asks_for_its_own_token_pattern():
    found = exact(20.0)
    left, size, right = np.linalg.svd(found.chi, full_matrices=False)
    made = plan(found, xr.DataArray(left[:, 1], dims="component", coords={"component": list(NAMES)}))
    np.testing.assert_allclose(made.shift, right[1] / (20.0 * size[1]), rtol=1e-6, atol=1e-12)


def noisy(seed, groups=8, noise=1.0):
    """Replicates of the exact chi with independent noise as large as chi's own entries."""
    chi = exact_chi(20.0)
    scatter = np.random.default_rng(seed).standard_normal((groups, *chi.shape))
    return response_from(chi + noise * chi.std(1, keepdims=True) * scatter), chi


def delivered(made, chi):
    """Exact first-order change of a plan, along its target in units of the target."""
    change = made.response.n_beta * chi @ realised(made.shift, made.response.share, None)
    return float(change @ made.target / (made.target @ made.target))


def test_noise_makes_the_published_inverse_fall_short_and_not_ours():
    rows = [noisy(seed, noise=1.5) for seed in range(60)]
    ours = np.array([delivered(plan(r, TARGET, how=Inversion(ridge=0.0, resolved_at=0)), chi) for r, chi in rows])
    published = np.array([delivered(plan(r, TARGET, how=PSEUDO_INVERSE), chi) for r, chi in rows])
    assert published.mean() < 0.85
    assert abs(ours.mean() - 1) < 5 * ours.std() / np.sqrt(len(ours)) + 0.03


def test_the_prediction_is_honest_about_its_noise():
    scores, flattered = [], []
    for seed in range(60):
        found, chi = noisy(seed, noise=1.5)
        made = plan(found, TARGET, how=PSEUDO_INVERSE)
        predicted = made.predicted(1.0, None)
        value, error = along(predicted, made.target)
        truth = delivered(made, chi)
        scores.append((value - truth) / error)
        flattered.append(float(predicted.data["in_sample"].to_numpy() @ TARGET / (TARGET @ TARGET)) - truth)
    assert abs(np.mean(scores)) < 0.6
    assert np.mean(np.abs(scores) < 2.4) > 0.85
    assert np.mean(flattered) > 0.15, "the prediction from the chains that made the plan must be seen to flatter"


def test_directions_lost_in_noise_are_not_inverted():
    generator = np.random.default_rng(1)
    chi = np.outer([1.0, 1.0], generator.standard_normal(200))  # the difference of the two answers nothing
    found = response_from(chi + 0.3 * generator.standard_normal((8, 2, 200)), names=("a", "b"))
    used = directions(found.replicates, Inversion())
    assert used.inverted.tolist() == [True, False]
    made = plan(found, [1.0, -1.0])
    assert np.abs(made.rho(1.0, None) - 1).max() < 0.05 * np.abs(plan(found, [1.0, 1.0]).rho(1.0, None) - 1).max()
    assert "1 of 2 directions" in repr(made)


def test_the_ridge_is_chosen_where_halves_disagree():
    generator = np.random.default_rng(2)
    left = np.linalg.qr(generator.standard_normal((3, 3)))[0]
    chi = left @ np.diag([10.0, 1.0, 0.5]) @ np.linalg.qr(generator.standard_normal((60, 3)))[0].T
    found = response_from(chi + 0.15 * generator.standard_normal((8, 3, 60)))
    free = plan(found, left @ [1.0, 1.0, 1.0], how=Inversion(ridge=0.0, resolved_at=-1e9))
    made = plan(found, left @ [1.0, 1.0, 1.0], how=Inversion(resolved_at=-1e9))
    assert made.how.ridge > 0
    assert made.agreement.mean() > free.agreement.mean() + 0.1


PROGRAMS = [Limits(lowest=0.8, highest=1.3), Limits(budget=0.02), Limits(lowest=1.0, highest=9.0, mass=False)]


@pytest.mark.parametrize("limits", PROGRAMS)
def test_the_convex_program_is_solved(limits):
    chi, share = exact_chi(20.0)[:, :16], np.full(16, 1 / 16)
    wanted = chi @ np.linspace(-0.03, 0.03, 16)
    found = within(chi, wanted, share, limits)
    kappa = np.linalg.eigvalsh(chi @ chi.T)[-1]

    def cost(z):  # in units in which the answer is of order one
        h = z / 32
        return 1e4 * (0.5 * h @ h + ((chi @ h - wanted) ** 2).sum() / (2 * limits.slack * kappa))

    rules = [{"type": "eq", "fun": lambda z: z.sum()}] if limits.mass else []
    how = {"method": "SLSQP", "options": {"maxiter": 5000, "ftol": 1e-16}}
    if limits.budget is None:
        box = [(2 * (limits.lowest - 1), 2 * (limits.highest - 1))] * 16
        reference = minimize(cost, np.zeros(16), bounds=box, constraints=rules, **how).x
    else:  # split in positive and negative parts, so that the size is linear
        rules = [{"type": "eq", "fun": lambda z: z[:16].sum() - z[16:].sum()},
                 {"type": "ineq", "fun": lambda z: 64 * limits.budget - z.sum()}]  # fmt: skip
        start, box = np.full(32, 0.01), [(0, 40)] * 32
        answer = minimize(lambda z: cost(z[:16] - z[16:]), start, bounds=box, constraints=rules, **how)
        reference = answer.x[:16] - answer.x[16:]
        assert np.abs(found).sum() <= 2 * limits.budget * (1 + 1e-4)
    reference, cost = reference / 32, lambda h, free=cost: free(32 * h)
    assert cost(found) <= cost(reference) * (1 + 1e-3) + 1e-9
    np.testing.assert_allclose(found, reference, atol=2e-3 * np.abs(reference).max())
    assert (1 + 16 * found).min() > limits.lowest - 1e-9 and (1 + 16 * found).max() < limits.highest + 1e-9


def test_a_plan_within_limits_needs_no_clipping():
    made = plan(exact(20.0), 2 * TARGET, limits=Limits(lowest=0.5, highest=1.8))
    rho = made.rho(1.0, None)
    assert rho.min() > 0.499 and rho.max() < 1.801 and rho.mean() == pytest.approx(1)
    assert made.predicted(1.0, None).value.to_numpy() == pytest.approx(2 * TARGET, rel=0.01)
    linear = plan(exact(20.0), 2 * TARGET).rho(1.0, None)
    assert linear.min() < 0.5 or linear.max() > 1.8


# --- weights ----------------------------------------------------------------------------------------


def test_weights_have_mean_one_and_report_what_clipping_took():
    made = plan(exact(20.0), TARGET)
    strong = 12.0
    assert made.rho(strong, None).min() < 0
    rho = made.rho(strong)
    assert rho.min() >= 0 and rho.mean() == pytest.approx(1)
    table = made.sweep((0.5, strong))
    assert table["clipped"][0] == 0 and table["clipped"][1] > 0.02
    assert table["predicted"][0] == pytest.approx(0.5) and table["unclipped"][1] == pytest.approx(strong)
    assert table["predicted"][1] < 0.98 * strong
    assert table["effective size"][1] < table["effective size"][0] < 1
    moved = realised(strong * made.shift, made.response.share, Clip())
    np.testing.assert_allclose(1 + moved * TOKENS, rho)


def test_a_mixture_gives_shares_of_outside_data():
    share = np.array([1.0, 0.0, 0.0])
    weights = weights_of(np.array([0.0, 0.3, -0.2]), share, Clip())
    assert weights.tolist() == pytest.approx([0.7, 0.3, 0.0])
    assert realised(np.array([0.0, 0.3, -0.2]), share, Clip()).sum() == pytest.approx(0)
    assert weights_of(np.array([0.0, 2.0, 2.0]), share, Clip()).tolist() == pytest.approx([0.0, 0.5, 0.5])


def test_rows_and_labels_average_their_tokens():
    found = exact(20.0)
    rows = found.per("row")
    np.testing.assert_allclose(rows.chi, found.chi.reshape(3, 5, 8).mean(2), rtol=1e-12)
    made = plan(rows, TARGET)
    rho = np.repeat(made.rho(0.01, None), 8)
    np.testing.assert_allclose(change(rho, 20.0) / 0.01, TARGET, rtol=0.02)
    assert rows.share == pytest.approx(np.full(5, 0.2))
    both = found.per(np.arange(TOKENS) % 2)
    assert both.chi.shape == (3, 2) and both.data["tokens"].to_numpy().tolist() == [20, 20]


def test_clamped_data_keep_their_weight_and_the_target_is_still_met():
    keep = np.arange(TOKENS) < 10
    made = plan(exact(20.0), TARGET).clamp(keep)
    np.testing.assert_allclose(made.rho(1.0, None)[keep], made.rho(1.0, None)[0])
    gap = made.rho(1.0, None) - 1
    assert np.abs(gap[keep]).max() < 0.2 * np.abs(gap[~keep]).max()
    assert made.predicted(1.0, None).value.to_numpy() == pytest.approx(TARGET, rel=1e-6)
    with pytest.raises(DataError, match="some of the data"):
        made.clamp(np.ones(TOKENS, bool))


def test_a_surface_feature_that_explains_the_weights_is_found():
    generator = np.random.default_rng(3)
    feature = generator.standard_normal(400)
    chi = np.stack([feature + 0.1 * generator.standard_normal(400)])
    found = response_from(chi + 0.05 * generator.standard_normal((8, 1, 400)), names=("a",)).centred()
    made = plan(found, [0.002])
    table = surface(made, {"planted": feature, "noise": generator.standard_normal(400)}).set_index("feature")
    assert table.index[0] == "planted"
    assert table["correlation"]["planted"] > 0.95 and abs(table["correlation"]["noise"]) < 0.2
    assert table["baseline"]["planted"] > 0.95 * table["plan"]["planted"] and abs(table["baseline"]["noise"]) < 0.3
    assert table["explained"]["planted"] > 0.9 and table["explained"]["noise"] < 0.15


def test_what_does_not_fit_is_named():
    found = exact(20.0)
    with pytest.raises(DataError, match="target does not fit"):
        plan(found, [1.0, 2.0])
    with pytest.raises(DataError, match=r"no such observable.*got \['z'\]"):
        plan(found, {"z": 1.0})
    with pytest.raises(RecipeError, match="target is zero"):
        plan(found, np.zeros(3))
    noise = np.random.default_rng(0).standard_normal((8, 1, TOKENS))
    with pytest.raises(ChainError, match="stands out of its error"):
        plan(response_from(noise, names=("a",)), [1.0], how=Inversion(resolved_at=6))
    with pytest.raises(ChainError, match="too few chain groups"):
        response_from(found.replicates[:3])
    with pytest.raises(RecipeError, match="allow the weight one"):
        Limits(lowest=1.5)
    with pytest.raises(RecipeError, match="enclose the weight one"):
        Clip(0.0, 0.5)
    with pytest.raises(DataError, match="do not fit together"):
        stacked([found, exact(30.0)])
    assert stacked([found, found]).chi.shape == (6, TOKENS)


def test_free_observables_are_left_free_and_combinations_are_observables():
    found = exact(20.0)
    one = plan(found, {"b": -2e-3})
    assert one.response.observables == ("b",)
    assert np.linalg.norm(one.shift) < np.linalg.norm(plan(found, [0.0, -2e-3, 0.0]).shift)
    total = found.combined({"sum": [1, 1, 1]})
    np.testing.assert_allclose(total.chi[0], found.chi.sum(0))
    assert plan(total, [1e-3]).predicted(1.0, None).value.to_numpy() == pytest.approx([1e-3])
    np.testing.assert_allclose(plan(found.in_llc(), 20.0 * TARGET).shift, plan(found, TARGET).shift, rtol=1e-9)


def test_a_plan_shows_itself():
    made = plan(exact(20.0), TARGET)
    assert "3 of 3 directions" in repr(made) and "along the target" in repr(made)
    assert made._repr_html_().count("<table") == 3 and "<svg" in made._repr_html_()
    table = made.extremes(3, strings=list("abcde"))
    assert len(table) == 6 and table["dh"].is_monotonic_increasing and table["text"][0][0] == "'"
