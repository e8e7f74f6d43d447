"""Nominal 95 % intervals of calibrated runs hold the exact value; wrong intervals are told from right ones.

The full table with 200 repetitions per cell is benchmarks/results/coverage.md (benchmarks/coverage.py).
"""

import importlib.util
import sys
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from exact_subject import band, t_quantile
from susceptometer.sampling.reading import read_here

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "coverage.py"
CELLS = (
    "quadratic, SGLD", "quadratic, mini-batch", "w^4", "x^2 y^2", "block, LLC", "block, chi covariance",
    "block, chi coupled",
)  # fmt: skip
GROUPS = 800


@lru_cache(maxsize=1)
def script():
    spec = importlib.util.spec_from_file_location("coverage_table", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@lru_cache(maxsize=8)
def sampled(name):
    """The cell, its calibration, and one batched reading of many independent groups."""
    case = next(c for c in script().cases(slow=False) if c.name == name)
    found = script().settings(case, groups=GROUPS)
    chosen = {case.component: case.subject.components[case.component]}
    return case, found, read_here(case.subject, chosen, found.recipe, seed=2)


def pairs_of(name, size):
    case, found, reading = sampled(name)
    return script().repetitions(case, reading, size, 200), case.target(found)


@pytest.mark.parametrize("groups", [4, 8, 32])
@pytest.mark.parametrize("name", CELLS)
def test_intervals_cover_the_exact_value(name, groups):
    """Coverage against the finite-step law (quadrature for singular cells) is that of the t interval."""
    pairs, target = pairs_of(name, groups)
    share = script().coverage(pairs, target, t_quantile(groups))
    few = name == "block, chi covariance" and groups == 4  # a jackknife of products of means: 0.87-0.90
    low, _ = band(0.9 if few else 0.94, len(pairs))
    assert share >= low


@pytest.mark.parametrize("name", ["quadratic, SGLD", "quadratic, mini-batch", "block, LLC"])
def test_the_reported_step_bias_leads_to_the_continuum(name):
    """The continuum value plus the bias that calibration reports is covered as well."""
    case, found, reading = sampled(name)
    pairs = script().repetitions(case, reading, 8, 200)
    assert script().coverage(pairs, case.continuum(found), t_quantile(8)) >= 0.85


def test_the_normal_quantile_at_four_groups_is_told_apart():
    """With 1.96 errors instead of t_3 coverage is about 0.84, outside the band."""
    pairs, target = pairs_of("quadratic, SGLD", 4)
    assert script().coverage(pairs, target, 1.96) < 0.9


def test_a_wrong_target_and_counted_burn_in_are_told_apart():
    """Ten errors of thirty-two groups away nothing is covered; a run that counts its start covers too little."""
    case, found, _ = sampled("quadratic, SGLD")
    pairs, target = pairs_of("quadratic, SGLD", 32)
    assert script().coverage(pairs, target * 1.5, t_quantile(32)) < 0.5
    plan = found.recipe.with_schedule(burn_in=0)
    chosen = {case.component: case.subject.components[case.component]}
    hasty = read_here(case.subject, chosen, plan, seed=3)
    pairs = script().repetitions(replace(case), hasty, 32, 200)
    assert script().coverage(pairs, target, t_quantile(32)) < 0.8
    assert np.mean(pairs[:, 0]) < target
