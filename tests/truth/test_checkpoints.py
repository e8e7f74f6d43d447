"""Learning coefficients over checkpoints: right values, and differences whose error is that of matched groups."""

from functools import lru_cache

import numpy as np
import pytest

from exact_subject import K, band, read, recipe, split, subject, t_quantile
from susceptometer.errors import ChainError
from susceptometer.estimate.checkpoints import compare_llc, llc_differences, llc_over
from susceptometer.sampling.coupling import antithetic
from susceptometer.sampling.sgld import LeimkuhlerMatthews
from susceptometer.testbed import gaussian
from susceptometer.testbed.form import Form

TEMPER = (20.0, 20.0)
PLAN = recipe(LeimkuhlerMatthews(step_size=1e-2), TEMPER, coupling=antithetic(), schedule=(800, 40, 20, 2))


def checkpoint(scale):
    """A quadratic whose curvatures grow with training by ``scale``."""
    h = scale * np.array([3.0, 1.0, 0.3])
    return gaussian.Quadratic(Form(np.diag(h)[None], np.zeros((1, 3)), np.zeros(1)), np.zeros(3), (("w", 3),))


SYSTEMS = {0: checkpoint(1.0), 100: checkpoint(1.2)}


def exact(system):
    return gaussian.llc(system, system.energy(*TEMPER).law, TEMPER[0])


@lru_cache(maxsize=2)
def readings(seed):
    return {step: read(subject(system), PLAN, seed if seed else 7 + step, components=("w",))
            for step, system in SYSTEMS.items()}  # fmt: skip


def test_values_and_their_differences_are_exact():
    """Every checkpoint and the difference within errors; the difference is known several times better than the values."""
    found = llc_over({step: subject(s) for step, s in SYSTEMS.items()}, "w", recipe=PLAN, seed=5)
    truth = np.array([exact(system) for system in SYSTEMS.values()])
    assert np.abs(found.z(truth)).max() < K
    step = llc_differences(found).sel(checkpoint=100, other=0)
    assert abs(float(step.z(truth[1] - truth[0]))) < K
    assert float(step.error) < 0.3 * float(found.error.max())
    again = compare_llc(readings(5), "w")
    assert np.allclose(found.value, again.value)


@pytest.mark.parametrize("seed", [5, 0])
def test_differences_of_four_groups_are_covered(seed):
    """t intervals of the difference hold the exact one, on shared noise (seed 5) and on other noise (0)."""
    truth, hits = exact(SYSTEMS[100]) - exact(SYSTEMS[0]), []
    for pair in zip(*(split(reading, 4) for reading in readings(seed).values()), strict=True):
        step = llc_differences(compare_llc(dict(zip(SYSTEMS, pair, strict=True)), "w")).sel(checkpoint=100, other=0)
        hits.append(abs(float(step.value) - truth) <= t_quantile(4) * float(step.error))
    low, high = band(0.94, len(hits))
    assert low <= np.mean(hits) <= high


def test_readings_without_common_groups_are_refused():
    """Groups 0-3 of one checkpoint and 4-7 of another tell nothing about their difference."""
    first, second = readings(5).values()
    apart = {0: next(split(first, 4)), 100: list(split(second, 4))[1]}
    with pytest.raises(ChainError, match="common"):
        compare_llc(apart, "w")
