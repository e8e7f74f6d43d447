"""Claims on regret at smoke scale, and how a passage to seeking is recognised."""

import numpy as np
import pytest

from susceptometer.reproduce import regret_runs, regret_staircase
from susceptometer.reproduce.registry import page, reproduce
from susceptometer.reproduce.setting import Setting


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    return Setting("smoke", 0, tmp_path_factory.mktemp("regret"), say=str)


def test_claims_at_smoke_scale(setting):
    table = reproduce("regret-staircase", setting)
    assert table.counts()["differs"] == 0
    assert any(
        row.text.startswith("The coefficient from stored episodes") and row.verdict == "agrees" for row in table.claims
    )
    assert page(table, setting).count("<figure>") == 2


def test_a_policy_far_from_any_minimum_has_a_negative_coefficient(setting):
    course = regret_runs.llc_course(setting, 0.4, 0)
    assert course.values[0] < -20


def test_seeking_is_found_in_planted_curves_and_only_there(setting, monkeypatch):
    steps = np.array([0, 10, 100, 1000, 2000, 3000, 10_000])
    planted = {
        "steps": steps,
        "regret": np.array([[0.6, 0.2, 0.06, 0.05, 0.01, 0.002, 0.001], [0.6, 0.2, 0.06, 0.05, 0.05, 0.05, 0.05]]),
        "corner": np.tile([0.6, 0.1, 0.005, 0.001, 0.001, 0.001, 0.001], (2, 1)),
        "anywhere": np.array([[0.6, 0.6, 0.6, 0.5, 0.2, 0.01, 0.001], [0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6]]),
    }
    monkeypatch.setattr(regret_runs, "training", lambda setting, mix: planted)
    ((mix, seed, step),) = regret_staircase.seeking(setting)
    assert (mix, seed) == (0.4, 0)
    assert 1000 < step.step < 2000
    assert step.before.level == pytest.approx(0.055, abs=0.006)
    assert step.after.level == pytest.approx(0.0015, abs=0.0006)
