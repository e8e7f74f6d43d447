"""Weights as files, samplers and loaders; negative weights; the weighted loss of a Hugging Face trainer."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from susceptometer.errors import DataError
from susceptometer.train.weighted_data import DataWeights, load_weights


def tokens_of(seed, shape=(6, 5)):
    return DataWeights(np.random.default_rng(seed).uniform(0.1, 3, shape), {"strength": 0.5, "from": "test"})


@pytest.mark.parametrize("suffix", ["parquet", "npy"])
@pytest.mark.parametrize("shape", [(6,), (6, 5)])
def test_files_come_back(tmp_path, suffix, shape):
    weights = tokens_of(1, shape)
    found = load_weights(weights.save(tmp_path / f"weights.{suffix}"))
    assert np.array_equal(found.values, weights.values)
    if suffix == "parquet":
        assert found.about == weights.about


def test_parquet_is_a_plain_table_for_other_tools(tmp_path):
    pd = pytest.importorskip("pandas")
    weights = tokens_of(2)
    table = pd.read_parquet(weights.save(tmp_path / "w.parquet"))
    assert list(table.columns) == ["row", "event", "weight"] and len(table) == 30
    row = table[(table["row"] == 4) & (table["event"] == 2)]
    assert float(row["weight"].iloc[0]) == weights.values[4, 2]


def test_broken_files_and_shapes_are_named(tmp_path):
    path = tokens_of(3).save(tmp_path / "w.parquet")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="cannot be read"):
        load_weights(path)
    with pytest.raises(DataError, match="unknown kind of weight file"):
        tokens_of(3).save(tmp_path / "w.csv")
    with pytest.raises(DataError, match="must be finite"):
        DataWeights(np.array([1.0, np.nan]))
    with pytest.raises(DataError, match="differ in number"):
        tokens_of(3).dataset({"tokens": torch.zeros(5, 6)})


def test_a_file_with_a_missing_row_is_refused(tmp_path):
    pd = pytest.importorskip("pandas")
    path = tokens_of(4).save(tmp_path / "w.parquet")
    pd.read_parquet(path).drop(index=7).to_parquet(path)
    with pytest.raises(DataError, match="finite"):
        load_weights(path)


def test_negative_weights_are_never_silent():
    weights = DataWeights(np.array([2.0, -1.0, 0.5, 0.5]))
    with pytest.raises(DataError, match=r"some weights are negative.*25.0%.*no floor"):
        weights.without_negative("refuse")
    clipped, negative = weights.without_negative("clip")
    assert negative.tolist() == [False, True, False, False]
    assert clipped.values.mean() == pytest.approx(1) and clipped.values[1] == 0
    assert weights.without_negative("signed")[0].values[1] == -1
    assert weights.without_negative("swap")[0].values[1] == 1
    with pytest.raises(DataError, match="unknown treatment"):
        weights.without_negative("forget")
    with pytest.raises(DataError, match="no"):
        weights.sampler(seed=0)
    with pytest.raises(DataError, match="mean one"):
        DataWeights(np.array([-1.0, 0.5])).normalised()


def test_rows_are_drawn_in_proportion_and_every_pass_is_new():
    weights = DataWeights(np.array([1.0, 0.0, 3.0]))
    sampler = weights.sampler(seed=5, draws=40_000)
    state = torch.get_rng_state()
    first, second = list(sampler), list(sampler)
    assert torch.equal(state, torch.get_rng_state())
    share = np.bincount(first, minlength=3) / len(first)
    assert share[1] == 0 and abs(share[2] - 0.75) < 5 * np.sqrt(0.75 * 0.25 / 40_000)
    assert first != second and first == list(weights.sampler(seed=5, draws=40_000))
    assert len(sampler) == 40_000


def test_a_loader_keeps_weights_beside_their_rows():
    weights = tokens_of(6)
    rows = {"tokens": torch.arange(36).reshape(6, 6)}
    seen = {}
    for batch in weights.loader(rows, batch_rows=4, seed=1):
        for row, own in zip(batch["tokens"], batch["weights"], strict=True):
            seen[int(row[0]) // 6] = own
    assert len(seen) == 6
    for row, own in seen.items():
        torch.testing.assert_close(own, weights.tensor()[row])


# --- Hugging Face -----------------------------------------------------------------------------------


def tiny_llama():
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=23, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
                max_position_embeddings=16,
            )
        )  # fmt: skip


def batch_of(seed, rows=8, length=6):
    ids = torch.randint(23, (rows, length), generator=torch.Generator().manual_seed(seed))
    return {"input_ids": ids, "labels": ids}


def trained(tmp_path, weights, *, accumulate):
    from transformers import TrainingArguments

    from susceptometer.train.hf_trainer import WeightedTrainer

    model = tiny_llama()
    arguments = TrainingArguments(
        output_dir=str(tmp_path), per_device_train_batch_size=8 // accumulate, gradient_accumulation_steps=accumulate,
        max_steps=2, learning_rate=0.01, remove_unused_columns=False, report_to=[], save_strategy="no", seed=3,
        logging_strategy="no", disable_tqdm=True, use_cpu=True, max_grad_norm=0.0, optim="sgd", lr_scheduler_type="constant",
    )  # fmt: skip
    with torch.random.fork_rng():
        trainer = WeightedTrainer(model=model, args=arguments, train_dataset=weights.dataset(batch_of(1)))
        trainer.train()
    return model


def by_hand(weights):
    """Two steps of gradient descent on the weighted mean loss of the same eight rows."""
    model, batch = tiny_llama(), batch_of(1)
    for _ in range(2):
        model.zero_grad()
        logits = model(input_ids=batch["input_ids"]).logits[:, :-1]
        losses = F.cross_entropy(logits.transpose(1, 2), batch["labels"][:, 1:], reduction="none")
        own = torch.from_numpy(weights).float()
        (own.reshape(*own.shape, *[1] * (2 - own.ndim)) * losses).mean().backward()
        with torch.no_grad():
            for w in model.parameters():
                w.sub_(0.01 * w.grad)
    return model


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("shape", [(8, 5), (8,)])
def test_the_trainer_takes_the_steps_of_the_weighted_loss(tmp_path, accumulate, shape):
    weights = DataWeights(np.random.default_rng(2).uniform(0, 3, shape))
    found, wanted = trained(tmp_path, weights, accumulate=accumulate), by_hand(weights.values)
    plain = by_hand(np.ones(8))
    start = tiny_llama()
    for (name, w), v, p, s in zip(
        found.named_parameters(), wanted.parameters(), plain.parameters(), start.parameters(), strict=True
    ):
        move = (v - s).norm()
        assert (w - v).norm() < 0.02 * move, name
        assert (p - v).norm() > 0.1 * move, name


def test_weights_that_do_not_fit_labels_are_named():
    from susceptometer.train.hf_trainer import weighted_next_token_loss

    logits, labels = torch.zeros(2, 4, 7), torch.zeros(2, 4, dtype=torch.int64)
    with pytest.raises(DataError, match="do not fit the labels"):
        weighted_next_token_loss(logits, labels, torch.ones(2, 4))
    labels[0, 2:] = -100
    loss = weighted_next_token_loss(logits, labels, torch.tensor([2.0, 1.0]))
    assert float(loss) == pytest.approx((2 * 1 + 3) / 4 * np.log(7), rel=1e-6)
