"""The smoke scale of spectroscopy runs, says every cluster claim in both forms with its null, goes on from kept cells."""

import numpy as np
import pytest

from susceptometer.reproduce.registry import reproduce
from susceptometer.reproduce.setting import Setting
from susceptometer.reproduce.spectroscopy import figures, world_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("spectroscopy")


def setting(folder):
    return Setting("smoke", 0, folder, say=lambda _: None)


def test_smoke_says_every_claim_with_its_null(folder):
    table = reproduce("spectroscopy", setting(folder))
    texts = [row.text for row in table.claims]
    two = {text.removeprefix("two-run") for text in texts if text.startswith("two-run")}
    assert two < {text.removeprefix("within-run") for text in texts if text.startswith("within-run")}
    assert len(texts) == 22 and all(row.null for row in table.claims)
    assert "data hash" in " ".join(table.provenance.values())
    again = reproduce("spectroscopy", setting(folder))
    assert again.claims == table.claims


def test_shuffled_columns_have_hardly_a_cluster_and_figures_are_drawn(folder):
    world = world_of(setting(folder))
    assert world.found["shuffled"].count <= 1
    for one in world.found.values():
        assert sum(map(len, one.members)) == (one.labels >= 0).sum() and np.isfinite(one.conductance).all()
    assert len(figures(setting(folder))) == 1
