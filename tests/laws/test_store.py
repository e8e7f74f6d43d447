"""A run folder: what is written is what was sampled; damage, other schemas and full disks are said and repaired."""

import errno
import json
import shutil

import numpy as np
import pytest
import xarray as xr

from susceptometer.compute.opened import reading_at
from susceptometer.compute.options import ReadOptions
from susceptometer.compute.read import read
from susceptometer.errors import DataError, RunError
from susceptometer.estimate.llc import llc
from susceptometer.sampling.reading import read_here, token_table
from susceptometer.sampling.run import Keep
from toy_subject import HEADS, recipe, same_numbers, tiny

QUIET = ReadOptions(progress=False)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "tiny"
    read(tiny(), HEADS, recipe=recipe(), seed=3, into=path, options=QUIET)
    return path


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "copy")


def cells(path):
    return sorted((path / "cells").iterdir())


def test_a_stored_reading_holds_what_was_sampled(run):
    subject, stored = tiny(), reading_at(run)
    fresh = read_here(subject, dict(subject.components), recipe(), seed=3)
    assert list(stored.cells) == list(fresh.cells)
    for name in fresh.cells:
        for key in fresh.cell(name).data_vars:
            np.testing.assert_array_equal(stored.cell(name)[key].values, fresh.cell(name)[key].values)
    assert float(llc(stored).value[0]) == float(llc(fresh).value[0])


def test_token_coordinates_are_stored(run):
    expected, stored = token_table(tiny()), reading_at(run).tokens
    for key in expected.coords:
        np.testing.assert_array_equal(stored[key].values, expected[key].values)


def test_reading_again_repeats_nothing(run):
    before = {path.name: path.stat().st_mtime_ns for path in cells(run)}
    again = read(tiny(), HEADS, recipe=recipe(), seed=3, into=run, options=QUIET)
    assert {path.name: path.stat().st_mtime_ns for path in cells(run)} == before
    assert same_numbers(again, reading_at(run))


def test_components_load_only_when_asked_for(run):
    reading = reading_at(run)
    shutil.rmtree(run / "cells")
    with pytest.raises(RunError, match="truncated or altered"):
        reading.cell("blocks.0.attn.head.0")


@pytest.mark.parametrize("fault", ["truncate", "remove", "alter"])
def test_a_damaged_cell_is_reported_and_sampled_again(run, fault):
    whole = reading_at(run)
    expected = {name: whole.cell(name) for name in whole.cells}
    file = max((cells(run)[0] / "arrays.zarr").rglob("c/*"), key=lambda path: path.stat().st_size * path.is_file())
    damage(file, fault)
    bad = reading_at(run)
    with pytest.raises(RunError, match="truncated or altered") as caught:
        [bad.cell(name) for name in bad.cells]
    assert "sampled anew" in str(caught.value)
    assert cells(run)[0].name in str(caught.value)
    again = read(tiny(), HEADS, recipe=recipe(), seed=3, into=run, options=QUIET)
    assert all(again.cell(name).equals(cell) for name, cell in expected.items())


def damage(file, fault):
    data = file.read_bytes()
    if fault == "remove":
        file.unlink()
    elif fault == "truncate":
        file.write_bytes(data[: len(data) // 2])
    else:
        file.write_bytes(bytes([data[0] ^ 1]) + data[1:])


def test_every_unreadable_cell_card_is_named_in_one_message(run):
    for folder in cells(run):
        (folder / "cell.json").write_text("{")
    with pytest.raises(RunError, match="2 stored cells are truncated") as caught:
        reading_at(run)
    assert all(folder.name[:8] in str(caught.value) for folder in cells(run))


def test_an_interrupted_run_says_what_is_missing(run):
    shutil.rmtree(cells(run)[0])
    with pytest.raises(RunError, match="interrupted") as caught:
        reading_at(run)
    assert "1 cells of 1 components are missing" in str(caught.value)
    assert len(reading_at(run, partial=True).components) == 1


def test_another_schema_is_refused_in_one_message(run):
    card = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**card, "schema_version": 0}))
    with pytest.raises(RunError, match="another schema.*schema_version 0.*schema_version 1"):
        reading_at(run)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema_version": 1}'])
def test_an_unreadable_card_is_one_clear_error(run, text):
    (run / "run.json").write_text(text)
    with pytest.raises(RunError, match=r"run\.json cannot be read"):
        reading_at(run)


def test_a_missing_run_is_one_clear_error(tmp_path):
    with pytest.raises(RunError, match=r"there is no run.*run\.json is missing.*susceptometer read"):
        reading_at(tmp_path / "nowhere")


def test_a_full_disk_loses_nothing(run, monkeypatch):
    expected = reading_at(run)
    expected = {name: expected.cell(name) for name in expected.cells}
    kept = cells(run)[1]
    shutil.rmtree(cells(run)[0])
    with monkeypatch.context() as patch:
        patch.setattr(xr.Dataset, "to_zarr", full_disk)
        with pytest.raises(RunError, match="the disk is full.*every finished cell is kept.*free space"):
            read(tiny(), HEADS, recipe=recipe(), seed=3, into=run, options=QUIET)
    assert cells(run) == [kept]
    again = read(tiny(), HEADS, recipe=recipe(), seed=3, into=run, options=QUIET)
    assert all(again.cell(name).equals(cell) for name, cell in expected.items())


def full_disk(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_memory_is_flat_in_draws():
    subject = tiny()
    short, long = (read_here(subject, {"h": subject.components["0:0"]}, recipe(2, draws=n), seed=0) for n in (5, 50))
    sizes = [sum(r.cell("h")[k].nbytes for k in ("sum_l", "sum_gl", "pair")) for r in (short, long)]
    assert sizes[0] == sizes[1]


def test_kept_weights_are_the_draws(tmp_path):
    options = ReadOptions(progress=False, keep=Keep(weights=True))
    reading = read(tiny(), ["0:0"], recipe=recipe(), seed=3, into=tmp_path / "run", options=options)
    cell, center = reading.cell("blocks.0.attn.head.0"), tiny().components["0:0"].gather(tiny().params)
    far = ((cell["kept_weights"].values - center.numpy()) ** 2).sum(-1)
    np.testing.assert_allclose(far, cell["distance2"].values, rtol=1e-4)


def test_an_unknown_probe_is_named(tmp_path):
    options = ReadOptions(progress=False, probes=("nothing",))
    with pytest.raises(DataError, match="no such probe.*nothing.*base"):
        read(tiny(), HEADS, recipe=recipe(), seed=3, into=tmp_path, options=options)


def test_the_notebook_view_names_components_and_groups(run):
    view = reading_at(run)._repr_html_()
    assert "blocks.0.attn.head.0" in view and "4" in view and "<table" in view
