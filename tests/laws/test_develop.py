"""Coefficients over training: from readings, and on the command line from runs and a user's own checkpoint folders."""

import json

import numpy as np
import pytest
import torch
import transformers

from exact_subject import recipe, subject
from susceptometer import cli
from susceptometer.develop.coefficients import development
from susceptometer.domains.pico import assets
from susceptometer.errors import DataError
from susceptometer.sampling.reading import read_here
from susceptometer.sampling.sgld import LeimkuhlerMatthews
from susceptometer.testbed.crossing import Crossing
from susceptometer.view.course_figure import courses_figure, courses_page

PLAN = recipe(LeimkuhlerMatthews(step_size=0.01), (20.0, 1.0), schedule=(8, 60, 60, 4))


def readings(powers, seed=0):
    """One reading per 'checkpoint': crossings of falling singularity, so lambda rises from 1/6 to 1/2."""
    found = {}
    for step, power in powers.items():
        model = subject(Crossing((power,)))
        found[step] = read_here(model, {"w": model.components["w"]}, PLAN, seed=seed)
    return found


def test_coefficients_and_changes_over_steps():
    found = development(readings({1000: 1, 10: 3, 100: 2}), seed=0)
    table = found.table()
    assert table["step"].tolist() == [10, 100, 1000]
    exact = [Crossing((power,)).llc(20.0, 1.0) for power in (3, 2, 1)]
    assert np.abs((table["value"] - exact) / table["error"]).max() < 5
    assert np.isnan(table["change"][0])
    assert (table["change"][1:] > 0).all()
    assert "step     1,000" in repr(found)


def test_the_page_holds_the_table_and_a_figure(tmp_path):
    found = development(readings({0: 2, 5: 1}), seed=0)
    assert len(courses_figure(found).axes[0].containers) == 1
    courses_page(found, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert "change from the step before" in text
    assert "data:image/svg+xml" in text


def test_different_recipes_and_single_checkpoints_are_refused():
    found = readings({0: 1, 1: 1})
    with pytest.raises(DataError, match="at least two checkpoints"):
        development({0: found[0]}, seed=0)
    model = subject(Crossing((1,)))
    warm = recipe(LeimkuhlerMatthews(step_size=0.01), (40.0, 1.0), schedule=(8, 60, 60, 4))
    other = read_here(model, {"w": model.components["w"]}, warm, seed=0)
    with pytest.raises(DataError, match="different recipes"):
        development({0: found[0], 1: other}, seed=0)


READ = (
    "--components", "0:0", "--groups", "2", "--draws", "2", "--burn-in", "1", "--thin", "1", "--batch-rows", "2",
    "--step-size", "1e-5",
)  # fmt: skip


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Two checkpoint folders of a tiny model with pico's tokenizer, as a training script would leave them."""
    root = tmp_path_factory.mktemp("training")
    config = transformers.GPTNeoXConfig(
        vocab_size=1536, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=256,
    )  # fmt: skip
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(assets("pico") / "tokenizer.json"), bos_token="<|bos|>"
    )
    for step in (100, 200):
        with torch.random.fork_rng():
            torch.manual_seed(step)
            transformers.GPTNeoXForCausalLM(config).save_pretrained(root / f"checkpoint-{step}")
        tokenizer.save_pretrained(root / f"checkpoint-{step}")
    return root


def test_a_users_checkpoint_folders_on_the_command_line(checkpoints, tmp_path, capsys):
    text = tmp_path / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog. " * 400)
    folders = [str(checkpoints / f"checkpoint-{step}") for step in (100, 200)]
    assert cli.main(["develop", *folders, "--data", str(text), "--into", str(tmp_path / "runs"), *READ]) == 0
    assert "step       200" in capsys.readouterr().out
    runs = [str(tmp_path / "runs" / f"checkpoint-{step}") for step in (100, 200)]
    page = tmp_path / "page.html"
    words = ["develop", *runs, "--out", str(tmp_path / "table.csv"), "--page", str(page), "--json"]
    assert cli.main(words) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == [100, 200]
    assert len((tmp_path / "table.csv").read_text().splitlines()) == 3
    assert page.exists()
    assert cli.main(["develop", *folders]) == 1
    assert "give --into" in capsys.readouterr().err
    assert cli.main(["develop", *runs, "--steps", "5", "5"]) == 1
