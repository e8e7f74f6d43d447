"""Every error of the command line says what, where, the value and what to do, with exit code 1."""

import json
import shutil

import numpy as np
import pytest
import torch

from susceptometer import cli
from susceptometer.compute.options import ReadOptions
from susceptometer.compute.read import read
from susceptometer.domains.hf_data import check_vocabulary
from susceptometer.errors import ComponentError, DataError, SubjectError
from susceptometer.posterior.component import Component, component_from_masks
from susceptometer.posterior.subject import Subject
from toy_subject import HEADS, recipe, tiny


def refused(capsys, *words):
    """Run a command that fails; the error's fields."""
    assert cli.main([*map(str, words), "--json"]) == 1
    streams = capsys.readouterr()
    error = json.loads(streams.out)["error"]
    assert error["what"] in streams.err
    return error


@pytest.fixture
def run(tmp_path):
    options = ReadOptions(progress=False)
    read(tiny(), HEADS, recipe=recipe(2, draws=2), seed=1, into=tmp_path / "run", options=options)
    return tmp_path / "run"


def complete(error, *, value, do):
    assert error["where"] and value in str(error["value"]) and do in error["do"]


def test_missing_run(capsys, tmp_path):
    error = refused(capsys, "llc", tmp_path / "none")
    assert error["kind"] == "RunError"
    complete(error, value="run.json is missing", do="check the path")


@pytest.mark.parametrize("command", ["llc", "chi", "report", "doctor"])
def test_unreadable_run(capsys, run, command):
    (run / "run.json").write_text("{")
    complete(refused(capsys, command, run), value="Expecting", do="restore")


@pytest.mark.parametrize("command", ["llc", "chi", "report", "doctor"])
def test_truncated_run(capsys, run, command):
    file = max((run / "cells").rglob("c/*"), key=lambda path: path.stat().st_size * path.is_file())
    file.write_bytes(file.read_bytes()[:3])
    error = refused(capsys, command, run)
    assert "truncated or altered" in error["what"]
    complete(error, value="bytes", do="sampled anew")


def test_interrupted_run(capsys, run):
    shutil.rmtree(next((run / "cells").iterdir()))
    error = refused(capsys, "llc", run)
    assert "interrupted" in error["what"]
    complete(error, value="1 cells of 1 components are missing", do="finish it")


def test_old_schema(capsys, run):
    card = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**card, "schema_version": 0}))
    complete(refused(capsys, "llc", run), value="schema_version 0", do="read again")


def test_a_run_without_source_cannot_take_text(capsys, run, tmp_path):
    (tmp_path / "new.txt").write_text("text")
    complete(refused(capsys, "chi", run, "--data", tmp_path / "new.txt"), value="no source", do="Python")


def test_missing_model_folder(capsys):
    complete(refused(capsys, "components", "./no/such/model"), value="no/such/model", do="config.json")


def test_missing_text(capsys):
    error = refused(capsys, "components", "pico", "--data", "no-such.txt")
    complete(error, value="no-such.txt", do="check the path")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("bad.jsonl", '{"text": "fine"}\n{broken\n', "line 2"),
        ("none.jsonl", '{"words": "no text"}\n', "no text among"),
        ("empty.txt", "  \n", "0 documents"),
        ("short.txt", "three short words", "row length"),
    ],
)
def test_bad_text(capsys, tmp_path, name, text, value):
    (tmp_path / name).write_text(text)
    error = refused(capsys, "components", "pico", "--data", tmp_path / name)
    assert error["kind"] == "DataError"
    complete(error, value=value, do="")


@pytest.mark.parametrize(
    ("rows", "value"),
    [(np.full((4, 9), 5000), "5000"), (np.full((4, 9), -1), "-1"), (np.arange(9), "(9,)"), (np.ones((4, 9)), "float")],
    ids=["token beyond the vocabulary", "negative token", "wrong shape", "wrong type"],
)
def test_bad_token_rows(capsys, tmp_path, rows, value):
    np.save(tmp_path / "rows.npy", rows)
    error = refused(capsys, "components", "pico", "--data", tmp_path / "rows.npy")
    assert error["kind"] == "DataError"
    complete(error, value=value, do="")


def test_unknown_component_names_near_matches(capsys):
    error = refused(capsys, "components", "pico", "blocks.0.attn.hed.3")
    complete(error, value="blocks.0.attn.hed.3", do="blocks.0.attn.head.3")


def test_empty_component():
    with pytest.raises(ComponentError, match=r"selects no weights in nothing.*susceptometer components MODEL"):
        Component("nothing", ())
    with pytest.raises(ComponentError, match="selects no weights"):
        component_from_masks("none", {"w": torch.zeros(3, dtype=torch.bool)})


def test_vocabulary_mismatch():
    with pytest.raises(DataError, match="does not belong to the model.*tokenizer 90, model 50.*saved with the model"):
        check_vocabulary(90, 50)


def subject_with(loss):
    params, batch = {"w": torch.ones(40)}, {"x": torch.ones(4, 40)}
    return Subject("toy", params, loss, batch, {"base": batch}, {})


def test_nan_loss():
    with pytest.raises(SubjectError, match=r"not finite in loss of subject toy.*nan.*check weights"):
        subject_with(lambda params, batch: (batch["x"] @ params["w"]) * torch.nan)


def test_dropout_on():
    def noisy(params, batch):
        return torch.nn.functional.dropout(batch["x"]) @ params["w"]

    with torch.random.fork_rng():
        torch.manual_seed(1)
        with pytest.raises(SubjectError, match=r"evaluations at w\* differ.*dropout.*model\.eval"):
            subject_with(noisy)


def test_unreadable_recipe(capsys, tmp_path):
    (tmp_path / "recipe.json").write_text("{}")
    error = refused(capsys, "read", "pico", "--recipe", tmp_path / "recipe.json", "--into", tmp_path / "run")
    complete(error, value="sampler", do="calibrate")


def test_interruption_is_said(capsys, monkeypatch):
    def stopped(_):
        raise KeyboardInterrupt

    monkeypatch.setitem(cli.COMMANDS, "doctor", stopped)
    assert cli.main(["doctor", "run"]) == cli.INTERRUPTED
    assert "finished cells are kept" in capsys.readouterr().err
