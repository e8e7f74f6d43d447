"""The commands cluster and sae on a tiny model: cards, tables that other programs open, comparison with another run."""

import json

import pyarrow.parquet
import pytest
import torch
import transformers

from susceptometer import cli
from susceptometer.domains.pico import assets
from susceptometer.structure.sae import SAE, save_sae

FEW = ["--neighbours", "12", "--phi-max", "0.3", "--json"]


def said(capsys, *words, code=0):
    """Run a command; its JSON and its words."""
    assert cli.main([str(word) for word in words]) == code
    got = capsys.readouterr()
    return json.loads(got.out), got.err


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Six heads of a random model on text of two kinds."""
    path = tmp_path_factory.mktemp("cluster commands")
    config = transformers.GPTNeoXConfig(
        vocab_size=1536, hidden_size=24, num_hidden_layers=1, num_attention_heads=6, intermediate_size=16,
        max_position_embeddings=256,
    )  # fmt: skip
    state = torch.random.get_rng_state()
    torch.manual_seed(0)
    transformers.GPTNeoXForCausalLM(config).save_pretrained(path / "model")
    torch.random.set_rng_state(state)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(assets("pico") / "tokenizer.json"), bos_token="<|bos|>"
    )
    tokenizer.save_pretrained(path / "model")
    lines = [{"text": f"the {w} of house {n}. ", "domain": w} for n in range(60) for w in ("cat", "dog")]
    (path / "text.jsonl").write_text("\n".join(map(json.dumps, lines)))
    words = ["read", path / "model", "--data", path / "text.jsonl", "--into", path / "run", "--groups", "2", "--burn-in", "1",
             "--draws", "1", "--thin", "1", "--batch-rows", "2", "--step-size", "1e-3", "--json"]  # fmt: skip
    assert cli.main([str(word) for word in words]) == 0
    return path / "run"


def test_cluster_tells_cards_and_writes_a_table(capsys, run, tmp_path):
    out, told = said(capsys, "cluster", run, "--out", tmp_path / "t.parquet", "--against", run, *FEW)
    assert out["clusters"] and {"cluster", "size", "conductance", "halves", "seeds", "label"} == set(out["clusters"][0])
    assert "clusters hold" in told and "tokens:" in told and "⟦" in told
    assert out["against"]["found_again"] == len(out["clusters"])
    table = pyarrow.parquet.read_table(tmp_path / "t.parquet")
    assert {"text", "x", "y", "cluster", "label"} <= set(table.column_names) and len(table) == out["tokens"]


def test_sae_names_clusters(capsys, run, tmp_path):
    draw = torch.Generator().manual_seed(0)
    decoder = torch.nn.functional.normalize(torch.randn(40, 24, generator=draw), dim=1)
    save_sae(SAE(decoder.T, torch.zeros(40), decoder, torch.zeros(24), k=4), tmp_path)
    out, told = said(capsys, "sae", run, "--features", tmp_path, "--stream", "1", "--place", "context", *FEW)
    assert len(out["matches"]) and 0 <= out["share"] <= 1 and out["null"] <= out["null_largest"]
    assert "named by a feature" in told
    other = tmp_path / "none"
    assert cli.main(["sae", str(run), "--features", str(other), "--json"]) == 1
