"""The covariance estimator is unbiased for any number of groups and draws, and its error is the spread it claims."""

from functools import lru_cache

import numpy as np
import pytest

from exact_subject import K, read, recipe, split, subject
from susceptometer.estimate.estimate import covariance_of_means, jackknife, summary
from susceptometer.estimate.influence import influence
from susceptometer.estimate.susceptibility import susceptibility_covariance, susceptibility_two_run
from susceptometer.sampling.coupling import antithetic, coupled
from susceptometer.sampling.run import Keep
from susceptometer.sampling.sgld import LeimkuhlerMatthews
from susceptometer.testbed import gaussian

TEMPER = (20.0, 20.0)
SYSTEM = gaussian.random_quadratic(6, sizes=(4, 2), tokens=4, spread=0.5)


@lru_cache(maxsize=2)
def short(coupling):
    """Sets of four groups with six correlated draws each: what a plug-in about pooled means gets wrong."""
    parts = ("block0",) if coupling.responds else ("block0", "full")
    plan = recipe(LeimkuhlerMatthews(step_size=5e-3), TEMPER, coupling=coupling, schedule=(1600, 60, 6))
    return read(subject(SYSTEM), plan, 4, components=parts, keep=Keep(tokens=True))


def plug_in(reading):
    """-Cov about the means pooled over groups."""
    cell = reading.cells["block0"]
    n = cell.sizes["group"] * cell.sizes["member"] * cell.sizes["draw"]
    g, gg = float(cell["loss"].sum()) / n, float((cell["loss"] ** 2).sum()) / n
    f = cell["sum_l"].values.sum(0) / n - g
    return -(cell["sum_gl"].values.sum(0) / n - gg - g * f)


def scores(pairs, exact):
    values = np.array([value for value, _ in pairs])
    return (values.mean(0) - exact) / (values.std(0, ddof=1) / np.sqrt(len(values)))


@pytest.mark.parametrize("arms", [False, True])
def test_unbiased_at_four_groups_of_six_draws(arms):
    """Mean over 400 sets against the exact covariance; the plug-in's bias Cov(mean g, mean f) is seen at once."""
    reading, small = short(coupled(0.1) if arms else antithetic()), SYSTEM.restrict(range(4))
    factors = (1.1, 0.9) if arms else (1.0,)
    laws = [small.energy(TEMPER[0] * factor, TEMPER[1]).law for factor in factors]
    exact = np.mean([gaussian.susceptibility(small, law) for law in laws], 0)
    found = [susceptibility_covariance(part) for part in split(reading, 4)]
    pairs = [(one.value.values[0], one.error.values[0]) for one in found]
    assert np.abs(scores(pairs, exact)).max() < K
    missed = [plug_in(part) - pair[0] for part, pair in zip(split(reading, 4), pairs, strict=True)]
    assert np.abs(scores([(gap, 0) for gap in missed], 0.0)).max() > K


def test_errors_are_the_spread_of_sets_of_four():
    """Mean squared error bar over variance of the values is 1 within the noise of 400 sets."""
    found = [susceptibility_covariance(part) for part in split(short(antithetic()), 4)]
    values = np.array([one.value.values[0] for one in found])
    claimed = np.array([one.error.values[0] ** 2 for one in found]).mean(0)
    assert np.abs(claimed / values.var(0, ddof=1) - 1).max() < 0.25


def test_influence_is_the_same_estimator():
    """Influence of tokens, averaged with weights 1/X on one side, minus that of L: the covariance with g."""
    reading, tokens = short(antithetic()), np.arange(4)
    part = next(split(reading, 4))
    values = influence(part, "block0", sources=tokens, targets=tokens).value.values
    chi = susceptibility_covariance(part).value.values[0]
    assert np.allclose(values.mean(0) - values.mean(), chi, rtol=0, atol=1e-5 * np.abs(values).max())


@pytest.mark.parametrize("groups", [3, 4, 8])
def test_variance_of_the_between_group_part(groups):
    """The shares' spread is an unbiased variance of S for normal means; the jackknife's is 1.5 times it at four."""
    draw = np.random.default_rng(0).standard_normal((40000, groups, 2))
    a, b = draw[..., 0], 0.6 * draw[..., 0] + 0.8 * draw[..., 1]
    value, shares = covariance_of_means(a.T, b.T)
    claimed = (summary(value, shares)["error"] ** 2).mean()
    assert abs(value.mean() - 0.6) < 0.02
    assert abs(claimed / value.var() - 1) < 0.05
    if groups == 4:
        left = np.stack([covariance_of_means(*np.delete((a.T, b.T), i, 1))[0] for i in range(4)])
        assert 1.4 < (jackknife(value, left)[1] ** 2).mean() / value.var() < 1.6


def test_two_run_errors_count_the_common_chains_once():
    """Both parts of the two-run value come from the same chains: their joint spread is the true one."""
    small = SYSTEM.restrict(range(4))
    laws = [system.energy(*TEMPER).law for system in (SYSTEM, small)]
    exact = gaussian.two_run_susceptibility(SYSTEM, laws[0], list(range(4)), component_law=laws[1])
    found = [susceptibility_two_run(part) for part in split(short(antithetic()), 4)]
    values = np.array([one.value.values[0] for one in found])
    claimed = np.array([one.error.values[0] ** 2 for one in found]).mean(0)
    assert np.abs(scores([(v, 0) for v in values], exact)).max() < K
    assert np.abs(claimed / values.var(0, ddof=1) - 1).max() < 0.25
