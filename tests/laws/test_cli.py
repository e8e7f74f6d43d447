"""The command line end to end on a tiny Hugging Face model: every command, JSON with stable keys, exit codes."""

import json
from pathlib import Path

import pytest
import torch
import transformers

from susceptometer import cli
from susceptometer.domains.pico import assets
from susceptometer.view.arguments import seconds

READ = ["--components", "0:0", "0:1", "--groups", "4", "--burn-in", "4", "--draws", "6", "--thin", "1",
        "--batch-rows", "2", "--step-size", "1e-5", "--json"]  # fmt: skip


def said(capsys, *words, code=0):
    """Run a command; its JSON."""
    assert cli.main([str(word) for word in words]) == code
    return json.loads(capsys.readouterr().out)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A tiny GPT-NeoX folder with the tokenizer of pico."""
    path = tmp_path_factory.mktemp("model")
    config = transformers.GPTNeoXConfig(
        vocab_size=1536, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=256,
    )  # fmt: skip
    generator_state = torch.random.get_rng_state()
    torch.manual_seed(0)
    transformers.GPTNeoXForCausalLM(config).save_pretrained(path)
    torch.random.set_rng_state(generator_state)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(assets("pico") / "tokenizer.json"), bos_token="<|bos|>"
    )
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """A little text of two domains."""
    path = tmp_path_factory.mktemp("text") / "little.jsonl"
    words = [(word, n) for n in range(120) for word in ("cat", "dog")]
    lines = [{"text": f"the {word} of the house number {n}. ", "domain": word} for word, n in words]
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


@pytest.fixture(scope="module")
def run(model, text, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    assert cli.main(["read", str(model), "--data", str(text), "--into", str(path), "--keep-weights", *READ]) == 0
    return path


def test_components_are_listed(capsys, model):
    rows = said(capsys, "components", model, "heads", "--json")["components"]
    assert [row["name"] for row in rows] == ["blocks.0.attn.head.0", "blocks.0.attn.head.1"]
    assert set(rows[0]) == {"name", "aliases", "weights", "share", "params"}


def test_llc_chi_doctor_and_report(capsys, run):
    rows = said(capsys, "llc", run, "--json")["llc"]
    assert {"component", "value", "error", "ess", "rhat"} <= set(rows[0])
    found = said(capsys, "chi", run, "--json")
    assert len(found["value"]) == 2 and "cat" in found["probes"]
    assert said(capsys, "doctor", run, "--json", code=None or doctor_code(run))["components"]
    page = said(capsys, "report", run, "--json")["page"]
    assert "</html>" in Path(page).read_text(encoding="utf-8")


def doctor_code(run):
    from susceptometer.compute.opened import reading_at
    from susceptometer.estimate.diagnostics import check

    return 0 if check(reading_at(run)).healthy else cli.SICK


def test_spectrum_says_pairs_and_writes_scores(capsys, run, tmp_path):
    out = said(capsys, "spectrum", run, "--pcs", 2, "--out", tmp_path / "scores.csv", "--json")
    assert sum(out["share"]) == pytest.approx(1)
    assert len(out["loading"]) == len(out["loading"][0]) == 2
    head = (tmp_path / "scores.csv").read_text().splitlines()[0]
    assert {"text", "pattern", "pc1", "pc1_error", "pc2"} <= set(head.split(","))
    assert cli.main(["spectrum", str(run), "--form", "two-run", "--json"]) == 1  # the run has no chain of all weights


@pytest.mark.slow
def test_embed_says_how_faithful_its_map_is(capsys, run, tmp_path):
    out = said(capsys, "embed", run, "--neighbours", 15, "--out", tmp_path / "map.parquet", "--json")
    assert 0.5 < out["trustworthiness"] <= 1
    assert (tmp_path / "map.parquet").exists()


def test_new_text_is_evaluated_without_sampling(capsys, run, tmp_path):
    new = tmp_path / "fresh.txt"
    new.write_text("a fresh text that nobody has read before. " * 60)
    found = said(capsys, "chi", run, "--data", new, "--out", tmp_path / "chi.csv", "--json")
    assert "fresh" in found["probes"] and (tmp_path / "chi.csv").exists()


def test_a_run_is_extended(capsys, run):
    grown = said(capsys, "read", "--extend", run, "--groups", "8", "--components", "0:1", "--json")
    assert grown["groups"] == {"blocks.0.attn.head.0": 4, "blocks.0.attn.head.1": 8}


def test_a_dry_run_says_the_cost_and_writes_nothing(capsys, model, text, tmp_path):
    out = said(capsys, "read", model, "--data", text, "--into", tmp_path / "none", "--dry-run", *READ)
    assert {"cells", "seconds", "flop", "bytes", "weight_bytes"} <= set(out["forecast"])
    assert out["forecast"]["flop"] > 0 and not (tmp_path / "none").exists()


def test_a_run_of_another_precision_is_refused_and_a_reduced_one_goes_on(capsys, model, text, run, tmp_path):
    words = ["read", model, "--data", text, *READ, "--precision", "mixed"]
    assert "the matrix products" in said_wrong(capsys, *words, "--into", run, "--keep-weights")
    said(capsys, *words, "--into", tmp_path / "reduced", "--json")
    found = said(capsys, "read", "--extend", tmp_path / "reduced", "--groups", 8, "--json")
    assert set(found["groups"].values()) == {8}


def said_wrong(capsys, *words):
    assert cli.main([str(word) for word in words]) == 1
    return capsys.readouterr().err


def test_reproduce_lists(capsys):
    assert isinstance(said(capsys, "reproduce", "--json")["claims"], list)


@pytest.mark.parametrize(("word", "value"), [("90", 90), ("90s", 90), ("30m", 1800), ("2h", 7200)])
def test_budgets_are_times(word, value):
    assert seconds(word) == value


def test_wrong_usage_is_exit_code_two():
    with pytest.raises(SystemExit) as stopped:
        cli.main(["nonsense"])
    assert stopped.value.code == 2
