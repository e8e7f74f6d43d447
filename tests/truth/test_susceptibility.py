"""Susceptibilities on quadratics and a logistic block: every estimator against its own exact law."""

from functools import lru_cache

import numpy as np
import pytest

from exact_subject import K, noisy_subject, read, recipe, score, subject, worst
from susceptometer.estimate.influence import influence
from susceptometer.estimate.susceptibility import (
    susceptibility,
    susceptibility_coupled,
    susceptibility_covariance,
    susceptibility_two_run,
)
from susceptometer.sampling.coupling import Coupling, antithetic, coupled
from susceptometer.sampling.run import Keep
from susceptometer.sampling.sghmc import SGHMC
from susceptometer.sampling.sgld import SGLD, LeimkuhlerMatthews
from susceptometer.testbed import gaussian, logistic, lyapunov, pathwise

TEMPER = (20.0, 20.0)
FIXTURE = (30.0, 300.0)


@lru_cache(maxsize=1)
def block():
    """A random restricted block of seven weights, ten tokens with their own curvatures and slopes."""
    system = gaussian.random_quadratic(11, sizes=(7, 3), tokens=10, spread=0.6)
    return system, system.restrict(range(7))


def pair_law(system, temper, h, law):
    """Pair value at n_beta (1 +- h) when a chain at one of the two potentials has ``law(energy)``."""
    offset = h * temper[0]
    plus, minus = pathwise.pair_energies(system, *temper, offset=offset)
    return pathwise.pair_susceptibility(system, law(plus), law(minus), offset=offset)


def covariance_law(system, temper, law):
    return gaussian.susceptibility(system, law(system.energy(*temper)))


# --- item 1 of conventions 7.8: full batch ----------------------------------------------------------


def test_fixture_full_batch():
    """Section 9.3: covariance and pair at eps 1e-3 return their own, different, printed values."""
    model = subject(gaussian.fixture())
    plan = recipe(SGLD(step_size=1e-3), FIXTURE, coupling=coupled(0.2), schedule=(1024, 30, 60, 3))
    pair = susceptibility_coupled(read(model, plan, 1, components=("first",))).sel(component="first")
    apart = recipe(SGLD(step_size=1e-3), FIXTURE, coupling=antithetic(), schedule=(2048, 30, 60, 3))
    within = susceptibility_covariance(read(model, apart, 2, components=("first",)))
    within = within.sel(component="first")
    assert abs(float(pair.z([-8.670791e-5, 8.670791e-5])[0])) < K
    assert abs(float(within.z([-9.790652e-5, 9.790652e-5])[0])) < K
    assert float(within.z([-8.680556e-5, 8.680556e-5])[0]) < -K, "the step bias must be visible"


SAMPLERS = {
    "sgld": (SGLD(step_size=8e-3), lambda e: lyapunov.sgld(e, 8e-3).law()),
    "leimkuhler_matthews": (LeimkuhlerMatthews(step_size=2e-2), lambda e: e.law),
    "sghmc": (SGHMC(step_size=4e-3, alpha=0.4), lambda e: lyapunov.sghmc(e, 4e-3, 0.4).law()),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_random_block_full_batch(name):
    """Pair and covariance on a restricted block agree with the sampler's finite-step laws, token by token."""
    system, small = block()
    sampler, law = SAMPLERS[name]
    plan = recipe(sampler, TEMPER, coupling=coupled(0.2), schedule=(512, 60, 40, 4))
    reading = read(subject(system), plan, 3, components=("block0",))
    assert worst(susceptibility_coupled(reading), pair_law(small, TEMPER, 0.2, law)) < K
    plain = recipe(sampler, TEMPER, coupling=antithetic(), schedule=(1024, 60, 40, 4))
    reading = read(subject(system), plain, 4, components=("block0",))
    assert worst(susceptibility_covariance(reading), covariance_law(small, TEMPER, law)) < K


def test_covariance_of_coupled_chains_is_taken_within_each_arm():
    """Arms at n_beta (1 +- h) have different means; pooling them would add h^2 Var(n_beta L) times chi."""
    system = gaussian.random_quadratic(1, sizes=(60,), tokens=4, spread=0.3)
    temper, h = (60.0, 20.0), 0.3
    plan = recipe(LeimkuhlerMatthews(step_size=1e-2), temper, coupling=coupled(h), schedule=(512, 40, 40, 2))
    reading = read(subject(system), plan, 1, components=("block0",), keep=Keep(tokens=True))
    arms = [covariance_law(system, (temper[0] * (1 + s * h), temper[1]), lambda e: e.law) for s in (1, -1)]
    exact = np.mean(arms, axis=0)
    assert worst(susceptibility_covariance(reading), exact) < K
    tokens = np.arange(4)
    pooled = influence(reading, "block0", sources=tokens, targets=tokens)
    laws = [system.energy(temper[0] * (1 + s * h), temper[1]).law for s in (1, -1)]
    assert worst(pooled, np.mean([gaussian.influence(system, law, system.tokens) for law in laws], 0)) < K


# --- item 2: mini-batches ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("coupling", "exact"),
    [
        (Coupling(h=0.05), -9.070504e-5),
        (Coupling(h=0.05, shared_batch=True), -3.575999e-5),
        (antithetic(), -1.214670e-4),
    ],
    ids=["independent", "shared", "covariance"],
)
def test_fixture_minibatch(coupling, exact):
    """Section 9.3 with G = 0.8: an independent response batch is unbiased, a shared one is off by the heating."""
    noise = np.diag([0.8, 0.3])
    model = noisy_subject(gaussian.fixture(), noise)
    groups = 1024 if coupling.responds else 2048
    plan = recipe(SGLD(step_size=1e-3), FIXTURE, coupling=coupling, batch_rows=1, schedule=(groups, 30, 60, 3))
    reading = read(model, plan, 5, components=("first",))
    found = susceptibility_coupled(reading) if coupling.responds else susceptibility_covariance(reading)
    assert abs(float(found.z(exact)[0, 0])) < K
    shift = 5.5e-5 if coupling.responds else 3e-5
    assert min(abs(float(found.z(exact + s * shift)[0, 0])) for s in (1, -1)) > K


def test_centered_gradients_have_the_full_batch_law():
    """Control variates remove noise that is constant in the weights: the chain is the full-batch chain."""
    noise = np.diag([0.8, 0.3])
    settings = {"coupling": coupled(0.1), "schedule": (64, 30, 60)}
    model, sampler = noisy_subject(gaussian.fixture(), noise), SGLD(step_size=1e-3)
    centred = recipe(sampler, FIXTURE, batch_rows=2, centered=True, **settings)
    whole = recipe(sampler, FIXTURE, **settings)
    hot = recipe(sampler, FIXTURE, batch_rows=2, **settings)
    losses = [read(model, p, 6, components=("first",)).cells["first"]["loss"] for p in (centred, whole, hot)]
    assert np.allclose(losses[0], losses[1], rtol=1e-7, atol=1e-12)
    assert not np.allclose(losses[2], losses[1], rtol=1e-2)


# --- items 3, 5, 6 ----------------------------------------------------------------------------------


def test_logistic_block_by_quadrature():
    """Item 3: on a non-Gaussian block the pair agrees with quadrature: correlation > 0.999 and slope 1."""
    model = logistic.random_logistic(3, tokens=60, scale=1.0)
    plan = recipe(LeimkuhlerMatthews(step_size=2e-2), (60.0, 2.0), coupling=coupled(0.1), schedule=(256, 60, 60, 3))
    reading = read(subject(model), plan, 7, components=("w",))
    found = susceptibility_coupled(reading).sel(component="w")
    exact = logistic.pair_susceptibility(model, 60.0, 2.0, offset=6.0)
    assert np.corrcoef(found.value, exact)[0, 1] > 0.999
    responses = reading.cells["w"]["pair"].values.sum(1) / plan.schedule.draws
    slopes = (responses - responses.mean(1, keepdims=True)) @ exact / (exact @ exact)
    assert abs(score(slopes, 1.0)) < K
    assert slopes.std() / 16 < 0.02


def test_finite_h_is_second_order():
    """Item 5: at every h the exact finite-h law, and with common noise a bias that grows as h^2."""
    system = gaussian.Quadratic(gaussian.fixture().tokens, np.zeros(2), (("first", 1), ("second", 1)))
    small, temper = system.restrict([0]), (30.0, 20.0)
    steps = (0.025, 0.05, 0.1, 0.2, 0.4)
    values = []
    for h in steps:
        plan = recipe(LeimkuhlerMatthews(step_size=1e-2), temper, coupling=coupled(h), schedule=(512, 60, 40, 2))
        cell = read(subject(system), plan, 8, components=("first",)).cells["first"]
        pair = cell["pair"].values.sum(1) / 40
        values.append(pair[:, 0] - pair.mean(1))
    exact = [pair_law(small, temper, h, lambda e: e.law)[0] for h in steps]
    assert max(abs(score(v, e)) for v, e in zip(values, exact, strict=True)) < K
    shifts = [score(v - values[0], e - exact[0]) for v, e in zip(values[1:], exact[1:], strict=True)]
    assert max(map(abs, shifts)) < K
    measured = [np.mean(v - values[0]) for v in values[3:]]
    assert 3.5 < measured[1] / measured[0] < 6.5  # 4 and a little h^4
    assert abs(score(values[4] - values[0], 0.0)) > K


def test_halves_agree():
    """Item 6: the first and the second half of the draws give the same values."""
    system, _ = block()
    plan = recipe(LeimkuhlerMatthews(step_size=2e-2), TEMPER, coupling=coupled(), schedule=(256, 60, 40, 2))
    pair = read(subject(system), plan, 9, components=("block0",)).cells["block0"]["pair"].values
    assert abs(score(pair[:, 0] - pair[:, 1], 0.0)) < K
    early = recipe(LeimkuhlerMatthews(step_size=2e-2), TEMPER, coupling=coupled(), schedule=(256, 0, 12))
    pair = read(subject(system), early, 9, components=("block0",)).cells["block0"]["pair"].values
    assert abs(score(pair[:, 0] - pair[:, 1], 0.0)) > K, "a transient must be seen"


# --- section 8: identities and the two-run form -----------------------------------------------------


@lru_cache(maxsize=1)
def both_runs():
    system, _ = block()
    probes = {"some": {"index": np.array([1, 4, 4, 7])}}
    probes = {name: {"index": system.data["index"][batch["index"]]} for name, batch in probes.items()}
    plan = recipe(LeimkuhlerMatthews(step_size=2e-2), TEMPER, coupling=coupled(0.1), schedule=(256, 60, 40, 2))
    return system, read(subject(system, probes=probes), plan, 10, components=("block0", "full"))


@pytest.mark.parametrize("estimator", [susceptibility_covariance, susceptibility_coupled, susceptibility_two_run])
def test_base_mean_is_zero_and_a_probe_is_the_mean_of_its_tokens(estimator):
    """Identities 8.1 and 8.2, to rounding."""
    system, reading = both_runs()
    value = estimator(reading).value.sel(component="block0").values
    scale = np.abs(value).max()
    assert abs(value[:10].mean()) < 1e-12 * scale
    assert np.allclose(value[10:], value[[1, 4, 4, 7]], rtol=0, atol=1e-12 * scale)


def test_two_run_form_and_its_parts():
    """chi_2 = chi_w - E_C[g] (E_C[f] - E_F[f]) to rounding, and within errors of the exact two-run value."""
    system, reading = both_runs()
    found = susceptibility_two_run(reading).sel(component="block0")
    assert np.allclose(found.value, found.data["within"] + found.data["mean_term"], rtol=1e-12)
    small = system.restrict(range(7))
    arms = [small.energy(n, TEMPER[1]).law for n in (22.0, 18.0)]
    g = np.mean([small.base.mean(one) for one in arms])
    f = np.mean([small.perturbations.mean(one) for one in arms], 0)
    shift = system.perturbations.mean(system.energy(*TEMPER).law)  # the run of all weights has no arms
    exact = pair_law(small, TEMPER, 0.1, lambda e: e.law) - (g - small.base.constant) * (f - shift)
    assert np.abs(found.z(exact[np.r_[0:10, 1, 4, 4, 7]])).max() < K
    assert np.abs(found.data["mean_term"]).max() > np.abs(found.data["within"]).max() / 20


def test_response_of_the_loss_itself_is_minus_its_variance():
    """Identity 8.5: d E[L]/d n_beta = -Var(L) < 0, from the mean over the base tokens of the pair."""
    _, small = block()
    _, reading = both_runs()
    pair = reading.cells["block0"]["pair"].values[..., :10].mean(-1).sum(1) / 40
    offset = 0.1 * TEMPER[0]
    means = [small.base.mean(small.energy(TEMPER[0] + s * offset, TEMPER[1]).law) for s in (1, -1)]
    assert abs(score(pair, (means[0] - means[1]) / (2 * offset))) < K
    assert score(pair, 0.0) < -K


def test_zero_n_beta_with_an_offset():
    """Identity 8.7: at n_beta = 0 chi = -tr(HB)/(2 gamma^2) - r'q/gamma, read with an absolute offset."""
    model = subject(gaussian.fixture())
    plan = recipe(
        LeimkuhlerMatthews(step_size=2e-3), (0.0, 300.0), coupling=Coupling(offset=3.0),
        schedule=(1024, 30, 40, 2),
    )  # fmt: skip
    found = susceptibility_coupled(read(model, plan, 12, components=("first",)))
    small = gaussian.fixture().restrict([0])
    plus, minus = (small.energy(s * 3.0, 300.0).law for s in (1, -1))
    exact = pathwise.pair_susceptibility(small, plus, minus, offset=3.0)
    assert abs(exact[0] / -1.333333e-4 - 1) < 1e-3
    assert worst(found, exact) < K


def test_the_default_is_the_pair_and_says_so():
    """``susceptibility`` uses the coupled value where chains contract and names it."""
    _, reading = both_runs()
    best, pair = susceptibility(reading), susceptibility_coupled(reading)
    assert best.data["estimator"].values.tolist() == ["coupled"]
    assert np.array_equal(best.value, pair.value)
