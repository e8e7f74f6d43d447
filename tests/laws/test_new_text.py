"""New text for chains that were already sampled: stored weights and replay by seed give the numbers of a fresh run."""

from dataclasses import replace

import pytest

from susceptometer.compute import replay
from susceptometer.compute.options import ReadOptions
from susceptometer.compute.read import extend, read
from susceptometer.errors import RunError
from susceptometer.estimate.susceptibility import susceptibility
from susceptometer.sampling.run import Keep
from toy_subject import HEADS, recipe, rows, tiny

NEW = {"new": rows("new", 5)}


def options(*, weights):
    return ReadOptions(progress=False, keep=Keep(weights=weights))


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    path = tmp_path_factory.mktemp("fresh")
    subject = replace(tiny(), probes={**tiny().probes, **NEW})
    return read(subject, HEADS, recipe=recipe(), seed=2, into=path, options=options(weights=False))


@pytest.mark.parametrize("weights", [True, False], ids=["stored weights", "replay by seed"])
def test_new_text_gives_the_numbers_of_a_fresh_run(tmp_path, fresh, weights):
    how = options(weights=weights)
    read(tiny(), HEADS, recipe=recipe(), seed=2, into=tmp_path, options=how)
    later = extend(tmp_path, tiny(), probes=NEW, options=how)
    assert later.tokens["probe"].values.tolist() == fresh.tokens["probe"].values.tolist()
    for name in fresh.components:
        for key in ("sum_l", "sum_gl", "pair", "center_loss", "loss"):
            assert (later.cell(name)[key].values == fresh.cell(name)[key].values).all()
    assert susceptibility(later).data.equals(susceptibility(fresh).data)


def test_stored_weights_are_not_sampled_again(tmp_path, monkeypatch):
    read(tiny(), HEADS, recipe=recipe(), seed=2, into=tmp_path, options=options(weights=True))

    def sampled(*_, **__):
        raise AssertionError

    monkeypatch.setattr("susceptometer.compute.cells.run_cell", sampled)
    extend(tmp_path, tiny(), probes=NEW, options=options(weights=True))


def test_a_replay_that_walks_elsewhere_is_refused(tmp_path, monkeypatch):
    read(tiny(), HEADS, recipe=recipe(), seed=2, into=tmp_path, options=options(weights=False))
    monkeypatch.setattr(replay, "REPLAY_TOLERANCE", -1.0)
    with pytest.raises(RunError, match=r"not the stored chain.*losses differ by.*Keep\(weights=True\)"):
        extend(tmp_path, tiny(), probes=NEW, options=options(weights=False))


def test_new_text_twice_is_evaluated_once(tmp_path):
    how = options(weights=True)
    read(tiny(), HEADS, recipe=recipe(), seed=2, into=tmp_path, options=how)
    extend(tmp_path, tiny(), probes=NEW, options=how)
    before = sorted(path.name for path in (tmp_path / "cells").iterdir())
    extend(tmp_path, tiny(), probes=NEW, options=how)
    assert sorted(path.name for path in (tmp_path / "cells").iterdir()) == before
