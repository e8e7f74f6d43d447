"""The examples run as they stand on a tiny local model; what the first writes, the second trains with."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from susceptometer.domains.pico import assets
from susceptometer.train.weighted_data import load_weights

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def lines_of_code(path):
    """Lines that do something: neither blank, nor comment, nor import, nor docstring."""
    body = path.read_text().split('"""', 2)[2]
    kept = [line for line in body.splitlines() if line.strip() and not line.startswith(("import ", "from ", "#"))]
    return len(kept)


@pytest.fixture
def ran(monkeypatch, capsys):
    """Run an example as a script; what it printed."""

    def run(name, *words):
        monkeypatch.setattr(sys, "argv", [name, *map(str, words)])
        with torch.random.fork_rng():
            runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return run


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A tiny Llama with the tokenizer of pico."""
    path = tmp_path_factory.mktemp("model")
    config = transformers.LlamaConfig(
        vocab_size=1536, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=128,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.LlamaForCausalLM(config).save_pretrained(path)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(assets("pico") / "tokenizer.json"), bos_token="<|bos|>"
    )
    tokenizer.save_pretrained(path)
    return path


def test_ten_lines_plan_the_data_of_a_users_model_and_a_trainer_uses_it(model, tmp_path, ran):
    assert lines_of_code(EXAMPLES / "plan_for_your_model.py") <= 10
    text = tmp_path / "text.jsonl"
    lines = [{"text": f"the cat of the house number {n} saw the dog of the house number {n + 1}. "} for n in range(400)]
    text.write_text("\n".join(map(json.dumps, lines)))
    weights = tmp_path / "weights.parquet"
    said = ran("plan_for_your_model.py", model, text, "0:1", weights)
    assert "1 of 1 directions inverted" in said and "local check at strength 1" in said
    found = load_weights(weights)
    assert found.values.shape == (8, 63) and found.values.mean() == pytest.approx(1)
    rows = tmp_path / "rows.npy"
    np.save(rows, np.random.default_rng(0).integers(0, 1536, (8, 64)))
    said = ran("train_with_weights.py", model, rows, weights, tmp_path / "trained")
    assert "0.0% of the weights were negative" in said and "TrainOutput(global_step=20" in said
    before, after = (transformers.AutoModelForCausalLM.from_pretrained(p) for p in (model, tmp_path / "trained"))
    assert not torch.equal(before.lm_head.weight, after.lm_head.weight)
