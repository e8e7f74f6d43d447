"""The smoke scale of embryology runs and its figures are drawn; small parts by hand."""

import numpy as np
import pytest

from susceptometer.reproduce.body_claims import canonical, crossing
from susceptometer.reproduce.embryology import figures
from susceptometer.reproduce.map_claims import axis_correlation, balanced, held_out_classes, majority_of_token
from susceptometer.reproduce.registry import reproduce
from susceptometer.reproduce.setting import Setting


def test_smoke_says_every_claim_in_both_forms(tmp_path):
    setting = Setting("smoke", 0, tmp_path, say=lambda _: None)
    table = reproduce("embryology", setting)
    texts = [row.text for row in table.claims]
    within = {text.removeprefix("within-run") for text in texts if text.startswith("within-run")}
    assert within == {text.removeprefix("two-run") for text in texts if text.startswith("two-run")}
    assert "data hash" in " ".join(table.provenance.values())
    drawn = figures(setting)
    assert len(drawn) == 6
    assert all(figure.axes for figure in drawn.values())


def test_crossing_is_interpolated_in_log_steps():
    steps = np.array([0.0, 9.0, 99.0])
    assert crossing(steps, np.array([0.0, 0.1, 0.3]), 0.2) == pytest.approx(10**1.5 - 1)
    assert crossing(steps, np.array([0.5, 0.6, 0.7]), 0.2) == 0
    assert np.isnan(crossing(steps, np.array([0.0, 0.0, 0.1]), 0.2))


def test_canonical_correlations_find_a_shared_direction(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((2, 4000, 3))
    b[:, 0] = a @ [1, 2, -1]
    assert canonical(a, b) == pytest.approx([1, 0, 0], abs=0.08)


def test_token_identity_baseline_knows_other_folds_only():
    ids, classes = np.array([1, 1, 2, 2, 3]), np.array([0, 0, 1, 1, 1])
    folds = np.array([0, 1, 0, 1, 0])
    assert majority_of_token(ids, classes, folds).tolist() == [0, 0, 1, 1, 0]  # token 3 is new: ties go to class 0


def test_classes_are_read_off_separable_vectors(seed):
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, 3, 300)
    vectors = 5 * np.eye(3)[classes] + rng.standard_normal((300, 3))
    assert balanced(held_out_classes(vectors, classes, np.arange(300) % 5), classes) > 0.95


def test_axis_correlation_of_a_line(seed):
    score = np.random.default_rng(seed).standard_normal(200)
    assert axis_correlation(np.c_[score * 3, 0.1 * np.cos(score)], -score) > 0.99
