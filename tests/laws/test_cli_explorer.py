"""The command explore: from a model folder and text files to the page, checkpoints, clusters from a file, its errors."""

import json
import shutil

import numpy as np
import pytest
import torch
import transformers
from pyarrow import parquet

from susceptometer import cli
from susceptometer.compute import forecast
from susceptometer.compute.opened import reading_at
from susceptometer.domains.pico import assets
from susceptometer.errors import DataError, RunError
from susceptometer.view.explorer_reading import stored_clusters


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with two checkpoints of a tiny Hugging Face model and a folder of text files of two domains."""
    path = tmp_path_factory.mktemp("own model")
    config = transformers.GPTNeoXConfig(
        vocab_size=1536, hidden_size=24, num_hidden_layers=1, num_attention_heads=6, intermediate_size=16,
        max_position_embeddings=256,
    )  # fmt: skip
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(assets("pico") / "tokenizer.json"), bos_token="<|bos|>"
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for name in ("step1000", "step2000"):
            transformers.GPTNeoXForCausalLM(config).save_pretrained(path / name)
            tokenizer.save_pretrained(path / name)
    (path / "texts").mkdir()
    for word in ("cats", "dogs"):
        lines = [f"the {word} of house {k} said </script> to the {word}. " for k in range(90)]
        (path / "texts" / f"{word}.txt").write_text("".join(lines))
    return path


READ = ["--groups", "2", "--burn-in", "1", "--draws", "1", "--thin", "1", "--batch-rows", "2", "--step-size", "1e-3",
        "--components", "0:0", "0:1", "0:2", "--json"]  # fmt: skip


def said(capsys, *words, code=0):
    """Run a command; its JSON."""
    assert cli.main([str(word) for word in words]) == code
    return json.loads(capsys.readouterr().out)


@pytest.fixture(scope="module")
def explored(place):
    """One command from a model folder and text files to the page; a second checkpoint for the slider."""
    words = ["explore", place / "step2000", "--runs", place / "step1000", "--data", place / "texts", "--rows", 3,
             "--into", place / "runs", "--clusters", "none", "--parquet", place / "tokens.parquet", *READ]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forecast, "PROBE_SECONDS", 0.1)  # the forecast's own test is elsewhere
        assert cli.main([str(word) for word in words]) == 0
    shutil.copy(place / "runs" / "step2000" / "explorer.html", place / "first.html")
    return place / "runs"


def test_one_command_from_model_and_text_to_the_page(explored, place):
    page = (place / "first.html").read_text(encoding="utf-8")
    stored = json.loads(page.split('id="payload">')[1].split("</script>")[0])
    assert [frame["label"] for frame in stored["frames"]] == ["step 1,000", "step 2,000"]
    assert stored["components"] == [f"blocks.0.attn.head.{k}" for k in range(3)]
    assert {"base", "cats", "dogs"} <= set(stored["tokens"]["probes"])
    assert stored["frames"][0]["psi"]["bytes"] != stored["frames"][1]["psi"]["bytes"]
    reading = reading_at(explored / "step2000")
    assert len(parquet.read_table(place / "tokens.parquet")) == reading.tokens.sizes["token"]
    assert int((reading.tokens["probe"] == "cats").sum()) == 3 * 127


def test_the_same_command_goes_on_from_what_is_read(capsys, explored, place):
    out = said(capsys, "explore", explored / "step2000", "--runs", explored / "step1000", "--clusters", "none",
               "--out", place / "again.html", "--json")  # fmt: skip
    assert out["frames"] == ["step 1,000", "step 2,000"] and out["clusters"] == 0
    first = (place / "first.html").read_text(encoding="utf-8")
    again = (place / "again.html").read_text(encoding="utf-8")
    assert again == first
    same = ["explore", explored / "step2000", "--runs", explored / "step1000", "--steps", 7, 7, "--json"]
    assert "steps do not name the runs" in said(capsys, *same, code=1)["error"]["what"]


def test_clusters_come_from_the_file_that_cluster_writes(capsys, explored, place):
    run = explored / "step2000"
    few = ["--neighbours", "12", "--phi-max", "0.4", "--json"]
    made = said(capsys, "cluster", run, "--out", place / "clusters.parquet", *few)
    out = said(capsys, "explore", run, "--clusters", place / "clusters.parquet", "--json")
    assert out["clusters"] == len(made["clusters"]) > 0
    found = stored_clusters(place / "clusters.parquet", reading_at(run).tokens)
    assert found.conductance.tolist() == [row["conductance"] for row in made["clusters"]]
    assert found.names == tuple(row["label"] for row in made["clusters"])
    assert np.bincount(found.labels + 1)[1:].tolist() == [row["size"] for row in made["clusters"]]
    table = parquet.read_table(place / "clusters.parquet")
    parquet.write_table(table.replace_schema_metadata(None), place / "bare.parquet")
    assert np.isnan(stored_clusters(place / "bare.parquet", reading_at(run).tokens).conductance).all()
    with pytest.raises(RunError, match="clusters are of other tokens"):
        stored_clusters(place / "clusters.parquet", reading_at(run).tokens.isel(token=slice(50)))
    with pytest.raises(DataError, match="clusters cannot be read"):
        stored_clusters(place / "texts" / "cats.txt", reading_at(run).tokens)


def test_what_is_no_run_and_no_model_is_said(capsys, explored, place):
    error = said(capsys, "explore", place / "texts", "--json", code=1)["error"]
    assert error["what"] == "this folder is neither a run nor a model" and "no run.json" in error["value"]


def test_a_dry_run_says_the_cost_and_reads_nothing(capsys, monkeypatch, explored, place):
    monkeypatch.setattr(forecast, "PROBE_SECONDS", 0.1)
    out = said(
        capsys, "explore", place / "step1000", "--data", place / "texts", "--into", place / "none", "--dry-run", *READ
    )
    assert out["forecast"][0]["forecast"]["seconds"] > 0 and not (place / "none").exists()


def test_too_few_tokens_for_clusters_are_a_remark(capsys, explored, place):
    out = said(capsys, "explore", explored / "step2000", "--neighbours", 2000, "--out", place / "few.html", "--json")
    assert out["clusters"] == 0 and "No clusters: too few tokens to cluster" in out["notes"][-1]
