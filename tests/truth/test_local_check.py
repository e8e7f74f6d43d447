"""The posterior under planned weights, re-sampled with common noise: on quadratics (exact) and a tiny transformer."""

import numpy as np
import pytest
import torch

from exact_subject import read, recipe, subject
from susceptometer.errors import DataError, RunError
from susceptometer.patterning.inverse import Inversion
from susceptometer.patterning.local_check import local_check, reweighted
from susceptometer.patterning.observables import loss_response, solution_response
from susceptometer.patterning.plan import plan
from susceptometer.patterning.response import response
from susceptometer.posterior.local import LocalPosterior
from susceptometer.posterior.stages import Minibatch
from susceptometer.sampling.coupling import coupled, independent
from susceptometer.sampling.run import Keep
from susceptometer.sampling.sgld import LeimkuhlerMatthews
from susceptometer.testbed import gaussian
from susceptometer.testbed.form import Energy, Form
from susceptometer.train.weighted_data import DataWeights

BLOCKS = ("block0", "block1")
K = 5.0


def system():
    return gaussian.random_quadratic(5, sizes=(3, 4), tokens=12, spread=0.6)


def sampled(model, n_beta, *, draws=30, groups=32, coupling=None, components=BLOCKS, keep=None):
    settings = recipe(
        LeimkuhlerMatthews(step_size=0.6 / (30 + 4 * n_beta)), (n_beta, 30.0), coupling=coupling or coupled(0.1),
        schedule=(groups, 20, draws, 4),
    )  # fmt: skip
    return read(model, settings, 11, components=components, keep=keep), settings


@pytest.mark.parametrize("n_beta", [3.0, 30.0])
def test_ten_times_n_beta_and_the_resampled_posterior_still_agrees(n_beta):
    model = subject(system())
    reading, settings = sampled(model, n_beta)
    found = response(reading)
    size = 0.05 * np.linalg.norm(found.chi, axis=1) * n_beta / np.sqrt(12)
    made = plan(found, size * [1.0, -1.0], how=Inversion(ridge=0.0))
    check = local_check(made, model, settings, seed=3)
    value, error = check.slope()
    assert error < 0.1
    assert abs(value - 1) < 4 * error + 0.02, check
    assert abs(check.measured.value.to_numpy() / made.target - 1).max() < 0.3
    assert "measured/predicted" in repr(check)


def test_a_prediction_without_n_beta_is_seen_to_be_wrong():
    model = subject(system())
    reading, settings = sampled(model, 10.0, draws=20, groups=16)
    made = plan(response(reading), [2e-3, -2e-3])
    value, error = local_check(made, model, settings, seed=3).slope()
    assert abs(value * 10 - 1) > 20 * error and abs(value / 10 - 1) > 20 * error
    assert value > 10 * error, "and the sign is right"


@pytest.mark.parametrize("per_token", [True, False])
def test_weights_enter_the_potential_by_both_paths(per_token):
    from toy_subject import tiny

    plain = tiny()
    head = plain.components["blocks.0.attn.head.0"]
    shape = (6, 8) if per_token else (6,)
    values = np.random.default_rng(0).uniform(0, 2, shape)
    weighted = reweighted(plain, DataWeights(values))
    where = head.gather(plain.params)[None] + 0.1
    batch = Minibatch(None, None, torch.full((1, 6), 1 / 6))
    slope = LocalPosterior(weighted, head, 10.0, 50.0).slope(where, batch)
    losses = plain.loss(head.scatter(plain.params, where[0]), plain.data)
    spread = torch.from_numpy(values).float().reshape(6, -1)
    torch.testing.assert_close(slope.value[0], (spread * losses).mean(), rtol=1e-5, atol=1e-6)
    base = weighted.center_loss(weighted.probes["base"])
    assert torch.equal(base, plain.center_loss(plain.probes["base"])), "probes are never weighted"
    with pytest.raises(DataError, match="differ in rows"):
        reweighted(plain, DataWeights(values[:3]))


def test_the_answer_of_a_set_of_losses_is_the_exact_covariance():
    model, exact = subject(system()), system()
    reading, settings = sampled(
        model, 10.0, draws=200, coupling=independent(), components=("full",), keep=Keep(tokens=True)
    )
    law = gaussian.posterior(exact, 10.0, 30.0)
    first = np.arange(12) < 4
    found = loss_response(reading, "full", {"first": first, "all": np.ones(12, bool)})
    tokens = exact.tokens
    mean = Form(tokens.hessian[:4].mean(0), tokens.slope[:4].mean(0), tokens.constant[:4].mean(0))
    z = found.estimate.sel(observable="first").z(gaussian.susceptibility(exact, law, mean))
    assert float(abs(z).max()) < K
    z = found.estimate.sel(observable="all").z(gaussian.susceptibility(exact, law))
    assert float(abs(z).max()) < K
    apart, _ = sampled(model, 10.0, components=("full",), keep=Keep(tokens=True))
    same = loss_response(apart, "full", {"first": first})
    gap = same.chi[0] - gaussian.susceptibility(exact, law, mean)
    assert float(np.abs(gap / same.estimate.error.to_numpy()[0]).max()) < K, "response arms must not leak into it"
    with pytest.raises(RunError, match="not kept"):
        loss_response(sampled(model, 10.0, draws=3, components=("full",))[0], "full", {"first": first})
    with pytest.raises(DataError, match="empty or does not fit"):
        loss_response(apart, "full", {"none": np.zeros(12, bool)})


def solutions():
    """Two systems as two solutions, each with a probe that holds tokens 0 to 3."""
    for number in (5, 6):
        exact = gaussian.random_quadratic(number, sizes=(3, 4), tokens=12, spread=0.6)
        yield exact, subject(exact, probes={"early": {"index": torch.arange(4)}})


def early(exact):
    """Delta of the probe: its mean loss minus the base loss."""
    tokens = exact.tokens
    return Form(tokens.hessian[:4].mean(0), tokens.slope[:4].mean(0), tokens.constant[:4].mean(0)) - exact.base


def test_three_meanings_of_a_changed_llc():
    readings, laws, systems = {}, {}, {}
    for name, (exact, model) in zip("AB", solutions(), strict=True):
        readings[name], _ = sampled(model, 10.0, draws=100, components=("full",))
        laws[name], systems[name] = gaussian.posterior(exact, 10.0, 30.0), exact
    chi = {n: -systems[n].base.covariance(early(systems[n]), laws[n]) for n in "AB"}
    means = {n: early(systems[n]).mean(laws[n]) for n in "AB"}
    here = {n: early(systems[n]).constant for n in "AB"}
    found = solution_response(readings, "observable").estimate.sel(datum=1)
    assert np.abs(found.z([10 * chi["A"], 10 * chi["B"]])).max() < K
    total = solution_response(readings, "total").estimate.sel(datum=1)
    assert np.abs(total.z([10 * chi[n] + means[n] - here[n] for n in "AB"])).max() < K
    odds = solution_response(readings, "log-odds")
    assert odds.observables == ("A/B",) and odds.share == pytest.approx([1.0, 0.0])
    assert np.abs(odds.estimate.sel(datum=1).z(means["B"] - means["A"])).max() < K
    with pytest.raises(DataError, match="two solutions"):
        solution_response({"A": readings["A"]}, "log-odds")


def test_the_total_llc_of_a_regular_valley_answers_nothing():
    """Both losses minimal at w*, no pull: lambda is d/2 whatever the mix (conventions of writing, section 3)."""
    plain = system()
    flat = gaussian.Quadratic(
        Form(plain.tokens.hessian + 1.5 * np.eye(7), 0 * plain.tokens.slope, plain.tokens.constant),
        plain.anchor,
        plain.parts,
    )
    n_beta, delta = 10.0, early(flat)
    law = Energy(n_beta * flat.base.hessian, 0 * flat.base.slope, np.zeros((7, 7))).law
    total = n_beta * -flat.base.covariance(delta, law) + delta.mean(law) - delta.constant
    assert abs(float(total)) < 1e-12
    assert abs(n_beta * float(flat.base.covariance(delta, law))) > 1e-3
