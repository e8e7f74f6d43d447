"""Courses, their plateaus and transitions, and pairs of opposing steps, on planted staircases."""

import numpy as np
import pytest

from susceptometer.develop.course import Course
from susceptometer.develop.stages import StageRule, onset, paired, plateaus, transitions
from susceptometer.errors import DataError

STEPS = np.unique(np.geomspace(1, 20_000, 120).astype(int))


def staircase(levels, places, sharpness=12.0):
    """Levels joined by logistic steps in log step at the given places."""
    clock = np.log(STEPS + 1)
    value = np.full(len(STEPS), float(levels[0]))
    for low, high, place in zip(levels[:-1], levels[1:], places, strict=True):
        value += (high - low) / (1 + np.exp(-sharpness * (clock - np.log(place + 1))))
    return value


def course(values, error=0.0, name="regret"):
    return Course(name, STEPS, values, np.full(len(STEPS), error))


def test_planted_transitions_are_found_where_they_are():
    found = transitions(course(staircase([0.6, 0.1, 0.01], [40, 2000])), seed=0)
    assert len(found) == 2
    assert [t.step for t in found] == pytest.approx([40, 2000], rel=0.02)
    assert [t.change for t in found] == pytest.approx([-0.5, -0.09], rel=0.05)
    assert all(t.error == 0 for t in found)


def test_their_errors_are_the_spread_of_repeated_measurements(seed):
    draw, exact = np.random.default_rng(seed), staircase([1.0, 0.0], [300], sharpness=6.0)
    places, errors = [], []
    for _ in range(60):
        noisy = course(exact + 0.02 * draw.standard_normal(len(STEPS)), 0.02)
        (found,) = transitions(noisy, StageRule(width=0.25, least=0.3, resamples=60), seed=1)
        places.append(found.step)
        errors.append(found.error)
        assert found.support == 1.0
    assert np.mean(places) == pytest.approx(300, rel=0.03)
    assert 0.6 < np.mean(errors) / np.std(places, ddof=1) < 2.2


def test_noise_alone_has_no_transition(seed):
    draw = np.random.default_rng(seed)
    flat = course(1.0 + 0.001 * draw.standard_normal(len(STEPS)) + staircase([1, 0], [5]), 0.001)
    assert len(transitions(flat, seed=0)) <= 1


def test_a_steady_slope_has_no_plateau():
    assert plateaus(course(-np.log(STEPS + 1.0)), StageRule()) == []


def test_opposing_and_parallel_quantities_are_told_apart():
    falling = course(staircase([0.6, 0.1], [200]))
    (step,) = transitions(falling, seed=0)
    rising = Course("llc", STEPS, staircase([2.0, 7.0], [200]), np.full(len(STEPS), 0.4))
    assert paired(step, rising).opposing
    assert paired(step, rising).change == pytest.approx(5, rel=0.02)
    with_it = Course("llc", STEPS, staircase([7.0, 2.0], [200]), np.full(len(STEPS), 0.4))
    assert paired(step, with_it).significant
    assert not paired(step, with_it).opposing
    still = Course("llc", STEPS, np.full(len(STEPS), 3.0), np.full(len(STEPS), 0.4))
    assert not paired(step, still).significant


def test_a_sparse_second_course_is_read_between_its_checkpoints():
    (step,) = transitions(course(staircase([0.6, 0.1], [200])), seed=0)
    sparse = Course("llc", np.array([0, 30, 9000]), np.array([1.0, 2.0, 7.0]), np.array([0.1, 0.1, 0.1]))
    assert paired(step, sparse).opposing


def test_onset_is_interpolated_and_nan_where_there_is_none():
    falling = course(staircase([1.0, 0.0], [300]))
    assert onset(falling, 0.5) == pytest.approx(300, rel=0.02)
    assert np.isnan(onset(falling, -1))


def test_smoothing_keeps_constants_and_shrinks_errors():
    smooth = course(np.full(len(STEPS), 2.0), 0.1).smoothed(0.3)
    assert smooth.values == pytest.approx(np.full(len(STEPS), 2.0))
    assert smooth.errors.max() < 0.1


def test_bad_courses_are_refused():
    with pytest.raises(DataError, match="increasing"):
        Course("x", np.array([0, 2, 1]), np.zeros(3), np.zeros(3))
    with pytest.raises(DataError, match="not finite"):
        Course("x", np.array([0, 1, 2]), np.array([0, np.nan, 1]), np.zeros(3))
