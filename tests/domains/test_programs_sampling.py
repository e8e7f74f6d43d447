"""Sampled learning coefficients on the corner against the exact ones, by two samplers and by the toolkit itself."""

from functools import cache

import numpy as np
import pytest

from susceptometer.domains.programs import free_energy, library
from susceptometer.domains.programs.corner import Region, Sweeps, corrected, mala, metropolis
from susceptometer.domains.programs.ideal import exact_coefficient
from susceptometer.domains.programs.potential import Potential
from susceptometer.domains.programs.subject import subject
from susceptometer.errors import RecipeError
from susceptometer.estimate.llc import llc
from susceptometer.sampling.coupling import independent
from susceptometer.sampling.mala import MALA
from susceptometer.sampling.reading import read_here
from susceptometer.sampling.recipe import Recipe, Schedule
from susceptometer.sampling.sgld import SGLD

SHORT = Sweeps(chains=320, sweeps=300)


def z_score(estimate, exact, systematic=0.0):
    """(value - exact) in standard errors, a systematic error of finite n added in quadrature."""
    return float(estimate.value - exact) / float(np.hypot(estimate.error, systematic))


MACHINES = {  # name: machine, problem, n_beta, remainder of the expansion at that n
    "M1": (library.m1(), library.reaches("a", 2), 1e7, 0.0),
    "M2": (library.m2(), library.reaches("a", 2), 1e7, 0.0),
    "re-reader 3": (library.re_reader(), library.reaches("a", 3), 1e8, 0.003),
    "202": (library.clockwork("202"), library.reaches("2", 5), 1e8, 0.02),
    "122": (library.clockwork("122"), library.reaches("2", 5), 1e8, 0.02),
    "221": (library.clockwork("221"), library.reaches("2", 5), 1e8, 0.02),
    "120": (library.clockwork("120"), library.reaches("2", 5), 1e8, 0.02),
}


@cache
def reading_of(name):
    """One run per machine, shared by the tests that look at it."""
    machine, question, n_beta, _ = MACHINES[name]
    return metropolis(Potential(machine, question), n_beta, SHORT, seed=7)


FEW = ("M1", "M2", "re-reader 3", "202", "120")


@pytest.mark.parametrize("name", [*FEW, *(pytest.param(n, marks=pytest.mark.slow) for n in MACHINES if n not in FEW)])
def test_sampled_against_exact(name):
    machine, question, n_beta, systematic = MACHINES[name]
    exact = exact_coefficient(machine, question, max(question.steps))
    reading = reading_of(name)
    target = corrected(exact.lambda_f, exact.multiplicity, n_beta)
    assert abs(z_score(reading.llc, target, systematic)) < 4.5
    drift = reading.llc.data
    assert abs(float(drift["drift"] / drift["drift_error"])) < 4.5
    assert 0.2 < reading.acceptance < 0.8


@pytest.mark.parametrize("name", ["M1", "M2"])
def test_squares_have_half_the_coefficient(name, seed):
    machine, question, n_beta, _ = MACHINES[name]
    exact = exact_coefficient(machine, question, 2)
    reading = metropolis(Potential(machine, question, "H"), n_beta**2, SHORT, seed=seed)
    assert abs(z_score(reading.llc, exact.lambda_H)) < 4.5


def test_the_pair_is_told_apart_and_the_other_value_refused():
    """Planted fault: with M2's exact value M1 fails by many errors."""
    assert z_score(reading_of("M1").llc, 4.0) < -10


def test_logarithm_of_a_higher_multiplicity(seed):
    """m = 3: the sampled value follows lambda - 2/log n, far below lambda."""
    machine, question = library.clockwork("222"), library.reaches("2", 3)
    exact = exact_coefficient(machine, question, 3)
    assert exact.multiplicity == 3
    for n_beta, printed in ((1e4, 3.116), (1e8, 3.225)):
        reading = metropolis(Potential(machine, question), n_beta, SHORT, seed=seed)
        assert corrected(exact.lambda_f, 3, n_beta) == pytest.approx(printed, abs=1e-3)
        assert abs(z_score(reading.llc, printed, systematic=0.02)) < 4.5
        assert z_score(reading.llc, exact.lambda_f) < -5


@pytest.mark.slow  # the smoke scale of the claims samples the same
def test_noiseless_log_loss_has_twice_the_coefficient_of_the_smoothed_one(seed):
    machine, question, n_beta, _ = MACHINES["M2"]
    plain = metropolis(Potential(machine, question, "K0"), n_beta, SHORT, seed=seed)
    smooth = metropolis(Potential(machine, question, "Keta"), n_beta, SHORT, seed=seed)
    assert abs(z_score(plain.llc, 4.0)) < 4.5
    assert abs(z_score(smooth.llc, 2.0, systematic=0.005)) < 4.5


def test_own_mala_agrees_with_coordinate_metropolis(seed):
    for name in ("M2",):
        machine, question, n_beta, _ = MACHINES[name]
        first = reading_of(name).llc
        second = mala(Potential(machine, question), n_beta, Sweeps(100, 300), step_size=0.7, seed=seed).llc
        gap = float(first.value - second.value) / float(np.hypot(first.error, second.error))
        assert abs(gap) < 4.5


def test_metropolis_on_a_torch_device_agrees(seed):
    machine, question, n_beta, _ = MACHINES["M1"]
    reading = metropolis(Potential(machine, question), n_beta, Sweeps(300, 300), device="cpu", seed=seed)
    assert abs(z_score(reading.llc, 3.5)) < 4.5
    assert "3." in repr(reading.llc)


def test_a_renamed_machine_samples_the_same_value(seed):
    """The null of the comparison: same algorithm, other names, other seed stream."""
    machine = library.clockwork("212", names="xyz", name="renamed M1")
    first = metropolis(Potential(machine, library.reaches("z", 2)), 1e7, SHORT, seed=seed).llc
    second = reading_of("M1").llc
    assert float(first.value) != float(second.value)
    assert abs(float(first.value - second.value)) < 4.5 * float(np.hypot(first.error, second.error))


@pytest.mark.slow
def test_the_toolkit_reads_a_machine_as_it_reads_a_network(seed):
    """MALA and SGLD on w with eps = |w|, Gaussian pull, against Metropolis in log eps under the same law."""
    machine, question = library.m2(), library.reaches("a", 2)
    pulled = Region(box=10.0, gamma=100.0)
    truth = metropolis(Potential(machine, question), 100.0, SHORT, region=pulled, seed=seed).llc
    whole = subject(machine, question)
    assert len(whole.components) == 1 + 3 and len(whole.components["_,r:st"]) == 2
    for sampler, bias in ((MALA(step_size=2e-4), 0.0), (SGLD(step_size=1e-5), 0.05)):
        schedule = Schedule(groups=32, burn_in=300, draws=60, thin=5)
        recipe = Recipe(sampler=sampler, schedule=schedule, n_beta=100.0, gamma=100.0, coupling=independent())
        found = llc(read_here(whole, {"all": whole.components["all"]}, recipe, seed=seed)).sel(component="all")
        error = np.hypot(float(found.error), np.hypot(float(truth.error), bias))
        assert abs(float(found.value - truth.value)) < 4.5 * error
        assert float(found.value) < 3.8  # and below lambda = 4: n = 100 is not yet the asymptote


def test_the_full_neighbourhood_is_another_germ(seed):
    """H of M2 without the corner: the square of one function with a gradient, lambda = 1/2, not 2."""
    machine, question = library.m2(), library.reaches("a", 2)
    whole = subject(machine, question, "H", folded=False)
    schedule = Schedule(groups=48, burn_in=200, draws=100, thin=2)
    recipe = Recipe(sampler=MALA(step_size=3e-5), schedule=schedule, n_beta=1e4, gamma=1e3, coupling=independent())
    found = llc(read_here(whole, {"all": whole.components["all"]}, recipe, seed=seed)).sel(component="all")
    assert abs(z_score(found, 0.5, systematic=0.05)) < 4.5


def test_too_short_chains_are_refused():
    with pytest.raises(RecipeError, match="too few chains"):
        Sweeps(chains=1, sweeps=100)


PREFERENCE = {
    "f": {10.0: 0.9750, 1e2: 2.3414, 1e3: 8.410, 1e4: 27.17},
    "H": {1e2: 1.1332, 1e4: 4.2242, 1e6: 14.181, 1e8: 45.15},
}


@pytest.mark.parametrize("form", PREFERENCE)
def test_posterior_prefers_the_lower_coefficient(form):
    for n_beta, printed in PREFERENCE[form].items():
        assert free_energy.preference(n_beta, form) == pytest.approx(printed, rel=1e-4)
    constant, power = free_energy.ASYMPTOTE[form]
    assert constant == pytest.approx({"f": 0.27194, "H": 0.45123}[form], abs=6e-6)


@pytest.mark.parametrize(("form", "n_beta"), [("f", 1e8), pytest.param("H", 1e14, marks=pytest.mark.slow)])
def test_preference_tends_to_its_asymptote(form, n_beta):
    constant, power = free_energy.ASYMPTOTE[form]
    assert free_energy.preference(n_beta, form) / (constant * n_beta**power) == pytest.approx(1, rel=3e-3)


def test_partition_function_by_plain_averaging(seed):
    """The closed radial integral and the logarithmic rules against points drawn uniformly in the box."""
    draw = np.random.default_rng(seed)
    pairs = 0.5 * np.sort(draw.random((3, 2, 200_000)), axis=1)
    eps = np.concatenate([np.stack([pair[0], pair[1] - pair[0]]) for pair in pairs])
    for name, machine in (("M1", library.m1()), ("M2", library.m2())):
        loss = Potential(machine, library.reaches("a", 2))(eps)
        weights = np.exp(-10 * loss) / 512
        error = weights.std() / np.sqrt(weights.size)
        assert abs(weights.mean() - free_energy.partition(name, 10.0)) < 4.5 * error


def test_the_slope_of_the_exact_free_energy_is_the_learning_coefficient():
    for name, value in (("M1", 3.5), ("M2", 4.0)):
        ends = [np.log(free_energy.partition(name, n)) for n in (1e7, 1e8)]
        assert (ends[0] - ends[1]) / np.log(10) == pytest.approx(value, abs=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("variant", "value"), [(0, 10.0), (1, 9.5)])
def test_detect_a_sampled_in_thirty_dimensions(variant, value, seed):
    potential = Potential(library.detect_a(variant), library.contains_a(3, 4), "f", "staged")
    reading = metropolis(potential, 1e6, Sweeps(200, 480), seed=seed)
    assert abs(z_score(reading.llc, value, systematic=0.02)) < 4.5
