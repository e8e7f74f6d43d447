"""Nominal 95 % intervals of calibrated runs hold the exact value; wrong intervals are told from right ones.

The full table, 200 runs per row, is benchmarks/results/coverage.md (benchmarks/bench_coverage.py).
"""

import importlib.util
import sys
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from exact_subject import band
from susceptometer.estimate.calibrate import calibrate

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "bench_coverage.py"
CELLS = (
    "quadratic, LLC, SGLD, mini-batch", "w^4, LLC", "block off the minimum, LLC", "chi covariance", "chi coupled",
    "chi two-run, coupled",
)  # fmt: skip
EACH = 50


@lru_cache(maxsize=1)
def script():
    spec = importlib.util.spec_from_file_location("coverage_table", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def case(name):
    return next(one for one in script().cases() if one.name == name)


@lru_cache(maxsize=1)
def four():
    """A cell with step bias, its calibration for four groups, and many runs with it."""
    one = case("quadratic, LLC, SGLD")
    found = calibrate(one.subject, "w", replace(one.aim, groups=4, relative_error=0.05), seed=1)
    return one, found, script().runs(one, found, count=200, seed=2)


@pytest.mark.parametrize("name", CELLS)
def test_intervals_of_four_groups_hold_the_exact_value(name):
    """Two calibrations for four groups, 50 runs each: the finite-step law, and the continuum less the reported bias."""
    found = script().row(case(name), 4, calibrations=2, each=EACH)
    print(name, found)
    low, _ = band(0.93, 2 * EACH)
    assert np.isnan(found["law"]) or found["law"] >= low
    assert found["continuum"] >= low


def test_the_normal_quantile_at_four_groups_is_told_apart():
    """With 1.96 errors instead of t_3 coverage is about 0.84, outside the band."""
    one, found, runs = four()
    target = one.target(found.recipe)
    assert np.mean([script().held(run, target, "w") for run in runs]) > 0.9
    assert np.mean([abs(float(run.z(target)[0])) < 1.96 for run in runs]) < 0.9


def test_a_bias_that_is_not_taken_out_is_told_apart():
    """The step bias of SGLD, 3.5 %, is five errors of a long run: covered once corrected, never as it is."""
    one, found, _ = four()
    long = replace(found, recipe=found.recipe.with_schedule(groups=32, draws=400))
    runs = script().runs(one, long, count=25, seed=3)
    plain = np.mean([script().held(run, one.continuum, "w") for run in runs])
    corrected = np.mean([script().held(found.without_step_bias(run), one.continuum, "w") for run in runs])
    assert plain < 0.6
    assert corrected > 0.8


def test_counted_burn_in_is_told_apart():
    """A run that counts its start lies low and covers too little."""
    one, found, _ = four()
    plan = found.recipe.with_schedule(burn_in=0, draws=max(8, found.recipe.schedule.draws // 8), thin=1, groups=32)
    runs = script().runs(one, replace(found, recipe=plan), count=50, seed=4)
    target = one.target(plan)
    assert np.mean([script().held(run, target, "w") for run in runs]) < 0.8
    assert np.mean([float(run.value[0]) for run in runs]) < target
