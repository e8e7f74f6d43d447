"""The response matrix on quadratics: replicates, both forms, dataset values and the slope 1/dh."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch

from exact_subject import K, read, recipe, subject
from susceptometer.errors import ChainError, DataError
from susceptometer.estimate.susceptibility import (
    susceptibility_coupled,
    susceptibility_covariance,
    susceptibility_two_run,
)
from susceptometer.sampling.coupling import antithetic, coupled
from susceptometer.sampling.sgld import LeimkuhlerMatthews
from susceptometer.structure.dataset import dataset_agreement, dataset_chi
from susceptometer.structure.pattern_table import pattern_psi, pattern_table
from susceptometer.structure.response import Response, response, response_of
from susceptometer.testbed import gaussian
from susceptometer.testbed.form import Form

TEMPER = (20.0, 20.0)


@lru_cache(maxsize=1)
def system():
    return gaussian.random_quadratic(11, sizes=(7, 3), tokens=10, spread=0.6)


@lru_cache(maxsize=2)
def reading(coupling):
    places = {"low": range(4), "high": range(4, 10), "odd": range(1, 10, 2)}
    probes = {name: {"index": torch.tensor(list(place))} for name, place in places.items()}
    plan = recipe(LeimkuhlerMatthews(step_size=2e-2), TEMPER, coupling=coupling, schedule=(64, 30, 40, 3))
    return read(subject(system(), probes=probes), plan, 3, components=("block0", "block1", "full"))


def laws():
    whole = system()
    small = whole.restrict(range(7))
    return whole, gaussian.posterior(whole, *TEMPER), small, gaussian.posterior(small, *TEMPER)


def test_replicates_are_the_coupled_estimate_and_its_error():
    chi, direct = response(reading(coupled(0.1))).estimate(), susceptibility_coupled(reading(coupled(0.1)))
    np.testing.assert_allclose(chi.value, direct.value, rtol=1e-10, atol=1e-15)
    np.testing.assert_allclose(chi.error, direct.error, rtol=1e-10)


def test_pseudo_values_carry_the_jackknife_error_of_a_covariance():
    one = reading(antithetic())
    chi, direct = response(one).estimate(), susceptibility_covariance(one)
    np.testing.assert_allclose(chi.error, direct.error, rtol=1e-3)
    assert (np.abs(chi.value - direct.value) < 0.2 * direct.error + 1e-15).all()


def test_two_run_replicates_hit_the_exact_value():
    whole, law, _, small_law = laws()
    exact = gaussian.two_run_susceptibility(whole, law, range(7), component_law=small_law)
    chi = response(reading(coupled(0.1)), "two-run").of_tokens(range(10)).estimate().sel(component="block0")
    assert float(np.abs(chi.z(exact)).max()) < K
    direct = susceptibility_two_run(reading(coupled(0.1))).sel(component="block0", token=slice(0, 10))
    assert (np.abs(chi.value - direct.value) < 0.2 * direct.error).all()
    within = response(reading(coupled(0.1))).of_tokens(range(10)).estimate().sel(component="block0")
    assert float(np.abs(within.z(exact)).max()) > K, "the two forms must differ here"


def test_the_two_run_form_needs_the_full_run():
    one = reading(coupled(0.1))
    cells = {name: cell for name, cell in one.cells.items() if name != "full"}
    with pytest.raises(ChainError, match="all weights move"):
        response(replace(one, cells=cells), "two-run")
    apart = response(replace(one, cells=cells), "two-run", full=one.cell("full"))
    np.testing.assert_array_equal(apart.replicates, response(one, "two-run").replicates)


def test_dataset_value_is_the_derivative_along_the_mixture():
    """Exact: d<L>/dh under (1 - h) L + h L' equals n_beta times the mean token chi; dh times it is the dataset value."""
    _, _, small, law = laws()
    probe = slice(0, 3)
    chi = gaussian.susceptibility(small, law)
    moved = []
    for h in (1e-4, -1e-4):
        far = small.tokens[probe].average()
        mixed = Form(*(a + h * (b - a) for a, b in zip(vars(small.base).values(), vars(far).values(), strict=True)))
        size = len(mixed.slope)
        tilted = gaussian.Energy(TEMPER[0] * mixed.hessian + TEMPER[1] * np.eye(size), TEMPER[0] * mixed.slope, 0)
        moved.append(small.base.mean(tilted.law))
    derivative = (moved[0] - moved[1]) / 2e-4 / TEMPER[0]
    np.testing.assert_allclose(derivative, chi[probe].mean(), rtol=1e-5)
    exact = response_of(np.stack([chi[None]] * 2), ["block0"], {}, "within-run")
    names = np.array(["probe"] * 3 + ["base"] * 7)
    _, value = dataset_chi(exact, names, rate=0.1)
    np.testing.assert_allclose(value[0, 0, 0], 0.1 * (chi[:3].mean() - chi[3:].mean()), rtol=1e-12)


def test_slope_of_token_means_on_dataset_values_is_one_over_dh():
    one = reading(coupled(0.1))
    for rate in (0.05, 0.1, 0.3):
        found = dataset_agreement(response(one), one.tokens["probe"].values, rate=rate)
        assert abs(found.slope * rate - 1) < 0.05
        assert found.pearson.min() > 0.9


def test_a_mixture_needs_a_base(seed):
    chi = response_of(np.random.default_rng(seed).random((2, 1, 3)), ["h"], {}, "within-run")
    with pytest.raises(DataError, match="base and probe"):
        dataset_chi(chi, np.array(["a", "a", "b"]), rate=0.1)


def test_pattern_table_is_that_of_the_reading():
    one = reading(coupled(0.1))
    flags = np.zeros((2, one.tokens.sizes["token"]), dtype=bool)
    flags[0, :4], flags[1, 2:9] = True, True
    ours, direct = pattern_table(response(one), ["a", "b"], flags), pattern_psi(one, ["a", "b"], flags)
    np.testing.assert_allclose(ours.value, direct.value, atol=1e-15)
    np.testing.assert_allclose(ours.error, direct.error, rtol=1e-9)


def test_one_group_is_no_response():
    with pytest.raises(DataError, match="at least two groups"):
        response_of(np.zeros((1, 2, 3)), ["a", "b"], {}, "within-run")


def test_tokens_and_components_can_be_chosen(seed):
    chi = np.random.default_rng(seed).random((3, 2, 4))
    one = response_of(chi, ["a", "b"], {"row": ("token", np.arange(4))}, "two-run")
    part = one.of_components(["b"]).of_tokens(np.array([True, False, True, False]))
    assert isinstance(part, Response)
    np.testing.assert_array_equal(part.replicates.values, chi[:, 1:, ::2])
    assert part.replicates["row"].values.tolist() == [0, 2]
