"""Learning coefficients: global, restricted, on a probe, by two temperatures; failures are never hidden."""

from functools import lru_cache

import numpy as np
import pytest
import torch

from exact_subject import K, read, recipe, score, subject, worst
from susceptometer.errors import ChainError
from susceptometer.estimate.estimate import Estimate
from susceptometer.estimate.llc import llc, llc_from_two_temperatures, wbic
from susceptometer.sampling.coupling import antithetic
from susceptometer.sampling.sgld import LeimkuhlerMatthews
from susceptometer.testbed import gaussian

SYSTEM = gaussian.random_quadratic(7, sizes=(4, 3), tokens=8, spread=0.4)
GAMMA = 20.0
PARTS = {"full": range(7), "block0": range(4), "block1": range(4, 7)}


def plan_at(n_beta, groups=128):
    return recipe(
        LeimkuhlerMatthews(step_size=1e-2), (n_beta, GAMMA), coupling=antithetic(), schedule=(groups, 40, 40, 3)
    )


@lru_cache(maxsize=4)
def reading(n_beta):
    probes = {"some": {"index": torch.tensor([0, 3])}}
    return read(subject(SYSTEM, probes=probes), plan_at(n_beta), 41, components=tuple(PARTS))


def rise(part, n_beta, form=None):
    small = SYSTEM.restrict(part)
    chosen = small.base if form is None else form(small)
    return float(chosen.mean(small.energy(n_beta, GAMMA).law) - chosen.constant)


def test_global_and_restricted():
    """n_beta (E_C[L] - L(w*)) for all weights and for each block."""
    exact = [20.0 * rise(part, 20.0) for part in PARTS.values()]
    found = llc(reading(20.0))
    assert worst(found, exact) < K
    assert float(found.data["ess"].min()) > 1000
    assert np.abs(np.diff(exact)).min() > 10 * float(found.error.max())


def test_refined_by_data():
    """On a probe: the rise of the probe's own mean loss, paired token by token."""
    exact = [20.0 * rise(part, 20.0, lambda s: s.tokens[[0, 3]].average()) for part in PARTS.values()]
    assert worst(llc(reading(20.0), probe="some"), exact) < K
    with pytest.raises(KeyError, match="no probe"):
        llc(reading(20.0), probe="absent")


def test_two_temperatures():
    """Slope of E[L] between two inverse temperatures, exactly as defined and without L(w*)."""
    found = llc_from_two_temperatures(reading(20.0), reading(40.0))
    exact = [(rise(part, 20.0) - rise(part, 40.0)) / (1 / 20 - 1 / 40) for part in PARTS.values()]
    assert worst(found, exact) < K


def test_wbic():
    """E[n L_n] at n_beta = n / log n."""
    n = 100
    n_beta = n / np.log(n)
    found = wbic(reading(n_beta), n)
    exact = [n * (SYSTEM.base.constant + rise(part, n_beta)) for part in PARTS.values()]
    assert worst(found, exact) < K
    assert found.data.attrs["n_beta"] == pytest.approx(found.data.attrs["watanabe"])


def test_negative_values_are_reported():
    """Where w* is no minimum the coefficient is negative and stays so."""
    steep = gaussian.random_quadratic(3, sizes=(4,), tokens=6, spread=2.0)
    found = llc(read(subject(steep), plan_at(20.0, 64), 5, components=("block0",)))
    exact = gaussian.llc(steep, gaussian.posterior(steep, 20.0, GAMMA), 20.0)
    assert exact < -1
    assert worst(found, exact) < K


def test_the_value_at_the_center_is_paired():
    """Adding any constant to each token's loss changes nothing: L(w*) is read on the draws' own tokens."""
    shifted = gaussian.Quadratic(SYSTEM.tokens - (SYSTEM.tokens - SYSTEM.tokens), SYSTEM.anchor, SYSTEM.parts)
    tokens = shifted.tokens
    lifted = gaussian.Quadratic(
        type(tokens)(tokens.hessian, tokens.slope, tokens.constant + np.arange(8.0)), SYSTEM.anchor, SYSTEM.parts
    )
    plan = plan_at(20.0, 8)
    one, other = (llc(read(subject(s), plan, 5, components=("block0",))) for s in (shifted, lifted))
    assert np.allclose(one.value, other.value, rtol=1e-9)


def test_failed_chains_refuse_and_can_be_dropped():
    """One failed group: no value; with ``drop_failed`` the rest, and the count shows it."""
    sick = read(subject(SYSTEM), plan_at(20.0, 8), 5, components=("block0",))
    cell = sick.cells["block0"]
    cell["status"].values[3], cell["failed_step"].values[3] = 2, 17
    cell["loss"].values[3] = np.nan
    with pytest.raises(ChainError, match="1 of 8 groups failed"):
        llc(sick)
    found = llc(sick, drop_failed=True)
    assert found.groups == 7
    assert np.isfinite(found.value).all()
    cell["status"].values[:7] = 1
    with pytest.raises(ChainError, match="fewer than two"):
        llc(sick, drop_failed=True)


def test_error_is_the_spread_of_groups():
    """The standard error predicts the scatter of repeated readings, and the interval uses t."""
    cell = reading(20.0).cells["block0"]
    per_group = 20.0 * cell["loss"].values.mean((1, 2))
    found = llc(reading(20.0)).sel(component="block0")
    assert float(found.error) == pytest.approx(per_group.std(ddof=1) / np.sqrt(128))
    assert abs(score(per_group, float(found.value))) < 1e-6
    four = Estimate("llc", found.data, 4)
    low, high = four.interval()
    assert float(high - low) == pytest.approx(2 * 3.182446 * float(found.error), rel=1e-6)
