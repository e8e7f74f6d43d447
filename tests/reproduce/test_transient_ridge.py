"""Claims on transient ridge at smoke scale, and the transience index on planted curves."""

import numpy as np
import pytest

from susceptometer.reproduce import ridge_runs, transient_ridge
from susceptometer.reproduce.registry import page, reproduce
from susceptometer.reproduce.setting import Setting


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    return Setting("smoke", 0, tmp_path_factory.mktemp("ridge"), say=str)


@pytest.mark.filterwarnings("ignore:Degrees of freedom")
def test_claims_at_smoke_scale(setting):
    table = reproduce("transient-ridge", setting)
    assert table.counts()["differs"] == 0
    assert table.claims[-1].verdict == "agrees"
    assert page(table, setting).count("<figure>") == 3


def test_weights_are_those_of_the_training(setting):
    found = ridge_runs.training(setting)
    x, y = ridge_runs.evaluation(setting, 3)
    params = ridge_runs.weights(setting, 0, 60)
    loss = float(((ridge_runs.NET.predictions(params, x, y) - y) ** 2).mean())
    assert loss == pytest.approx(found["inside"][0, -1], rel=1e-5)


@pytest.mark.parametrize(("end", "index"), [(0.9, 0.5), (0.6, 0.0), (1.2, 1.0)])
def test_the_transience_index_of_planted_curves(setting, monkeypatch, end, index):
    steps = np.unique(np.geomspace(1, 10_000, 80).astype(int))
    fall = 2.0 - 1.4 / (1 + np.exp(-6 * (np.log(steps) - np.log(50))))
    rise = (end - 0.6) / (1 + np.exp(-6 * (np.log(steps) - np.log(3000))))
    planted = {"steps": steps, "outside": np.array([fall + rise]), "inside": np.array([2.0 - np.log(steps) / 10])}
    monkeypatch.setattr(ridge_runs, "training", lambda setting: planted)
    monkeypatch.setattr(ridge_runs, "ideal_losses", lambda setting: {"value": np.full((2, 2, 2), 1.2)})
    step, found, fell = transient_ridge.turning(setting, 0)
    assert found == pytest.approx(index, abs=0.03)
    assert fell >= 0
    assert step > 100
