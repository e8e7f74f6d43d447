"""A language model as a subject: loss, dropout, precision, loading, and one clear error per bad input."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import transformers as hf

from domains.hf_family import COMMON, FAMILIES, VOCABULARY, model, subject, tokens
from susceptometer.domains.hf import LanguageLoss, language_subject
from susceptometer.domains.hf_model import load_model, skeleton
from susceptometer.errors import DataError, SubjectError
from susceptometer.posterior.component_set import ComponentSet
from susceptometer.posterior.local import LocalPosterior


@pytest.mark.parametrize("family", FAMILIES)
def test_loss_is_the_models_own_loss_in_evaluation_mode(family):
    one, own = subject(family), skeleton(model(family))
    losses = one.loss(one.params, one.data)
    assert losses.shape == (5, 8) and losses.dtype == torch.float32
    logits = own(input_ids=tokens()).logits[:, :-1]
    expected = F.cross_entropy(logits.transpose(1, 2), tokens()[:, 1:], reduction="none")
    torch.testing.assert_close(losses, expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(losses, one.loss(one.params, one.data))


def test_dropout_of_the_users_model_never_acts():
    assert model("gpt2").training and model("gpt2").transformer.h[0].attn.attn_dropout.p > 0
    one = subject("gpt2")
    assert not one.loss.model.training
    assert torch.equal(*(one.loss(one.params, one.data) for _ in range(2)))


def test_a_random_loss_is_refused():
    twin = skeleton(model("gpt2")).train()
    with pytest.raises(SubjectError, match="two evaluations at w\\* differ"):
        type(subject("gpt2"))(
            "dropout on", subject("gpt2").params, LanguageLoss(twin),
            subject("gpt2").data, {"base": subject("gpt2").data}, subject("gpt2").components,
        )  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_models_get_a_float32_master_copy(dtype):
    half = hf.LlamaForCausalLM(hf.LlamaConfig(**COMMON)).to(dtype)
    one = language_subject(half, tokens(), {"base": tokens()[:1]})
    assert {value.dtype for value in one.params.values()} == {torch.float32}
    assert "held as float32" in one.meta["weights"]
    assert {value.dtype for value in half.parameters()} == {dtype}
    name = "model.layers.0.mlp.up_proj.weight"
    assert torch.equal(one.params[name], dict(half.named_parameters())[name].float())


def test_double_models_stay_double():
    wide = hf.LlamaForCausalLM(hf.LlamaConfig(**COMMON)).double()
    one = language_subject(wide, tokens(), {"base": tokens()[:1]})
    assert one.loss(one.params, one.data).dtype == torch.float64
    assert one.stages.serves(one.components["0:0"]), one.stages.refused


def test_loading_a_folder_and_a_half_precision_checkpoint(tmp_path):
    hf.LlamaForCausalLM(hf.LlamaConfig(**COMMON)).to(torch.bfloat16).save_pretrained(tmp_path)
    one = language_subject(tmp_path, tokens(), {"base": tokens()[:2]}, name="small")
    assert one.name == "small" and one.params["lm_head.weight"].dtype == torch.float32
    assert isinstance(one.components, ComponentSet)
    assert load_model(str(tmp_path)).dtype == torch.float32


def test_tied_weights_are_one_parameter_with_both_names():
    one = subject("gpt2")
    assert "lm_head.weight" not in one.params
    assert one.components["embed"] is one.components["unembed"]
    assert "one parameter" in one.meta["tied"]


def test_posterior_runs_on_it():
    one = subject("qwen2")
    posterior = LocalPosterior(one, one.components["0:1"], n_beta=10.0, gamma=100.0)
    assert posterior.stages is one.stages


def test_it_travels_to_a_worker():
    one = pickle.loads(pickle.dumps(subject("gpt_neox")))
    assert torch.equal(one.loss(one.params, one.data), subject("gpt_neox").loss(one.params, one.data))
    assert one.stages.serves(one.components["0:0"])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            torch.tensor([[1, 2], [3, VOCABULARY]]),
            r"outside the vocabulary in tokens\[1, 1\] \(got 61\)",
        ),
        (torch.tensor([[1, -2]]), r"outside the vocabulary in tokens\[0, 1\] \(got -2\)"),
        (torch.tensor([1, 2, 3]), "wrong shape"),
        (torch.tensor([[1.0, 2.0]]), "wrong shape or type"),
        (torch.tensor([[1]]), "wrong shape"),
        (torch.zeros(2, 70, dtype=torch.int64), "longer than the model's context"),
        ("missing.npy", "no such token file"),
    ],
)
def test_bad_tokens(rows, message):
    with pytest.raises(DataError, match=message):
        language_subject(model("llama"), rows, {"base": tokens()[:1]})


def test_bad_probe_names_the_probe():
    with pytest.raises(DataError, match="probe 'code'"):
        language_subject(model("llama"), tokens(), {"base": tokens(), "code": tokens() + 50})
    with pytest.raises(SubjectError, match="no probe named 'base'"):
        language_subject(model("llama"), tokens(), {"code": tokens()})


def test_token_files(tmp_path):
    np.save(tmp_path / "rows.npy", tokens().numpy())
    one = language_subject(model("llama"), tmp_path / "rows.npy", {"base": tokens()[:1]})
    assert torch.equal(one.data["tokens"], tokens())
    (tmp_path / "torn.npy").write_bytes((tmp_path / "rows.npy").read_bytes()[:40])
    with pytest.raises(DataError, match="cannot be read"):
        language_subject(model("llama"), tmp_path / "torn.npy", {"base": tokens()})


class Words:
    """A tokenizer with too many words."""

    def __len__(self):
        return VOCABULARY + 1


def test_foreign_tokenizer():
    with pytest.raises(DataError, match="tokenizer does not belong"):
        language_subject(model("llama"), tokens(), {"base": tokens()}, tokenizer=Words())


def test_missing_model_folder(tmp_path):
    with pytest.raises(DataError, match="no such model folder"):
        load_model(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no such model folder"):
        load_model(tmp_path)
    with pytest.raises(DataError, match="cannot be read"):
        load_model("nobody/no-such-model@step1")


def test_not_a_causal_language_model(tmp_path):
    with pytest.raises(SubjectError, match="not a causal language model"):
        load_model(torch.nn.Linear(2, 2))
    base = hf.LlamaModel(hf.LlamaConfig(**COMMON))
    with pytest.raises(SubjectError, match="not a causal language model"):
        load_model(base)
    hf.CLIPTextConfig().save_pretrained(tmp_path)
    with pytest.raises(SubjectError, match="not a causal language model"):
        load_model(tmp_path)


def test_nan_weights_are_refused():
    broken = hf.LlamaForCausalLM(hf.LlamaConfig(**COMMON))
    with torch.no_grad():
        broken.lm_head.weight[0, 0] = float("nan")
    with pytest.raises(SubjectError, match="not finite"):
        language_subject(broken, tokens(), {"base": tokens()})


def test_a_real_pretrained_model():
    folder = Path(os.environ.get("SUSCEPTOMETER_SHARED", "-")) / "data" / "models" / "stories260K"
    if not folder.is_dir():
        pytest.skip("set SUSCEPTOMETER_SHARED to a folder with data/models/stories260K")
    tokenizer = hf.AutoTokenizer.from_pretrained(folder)
    text = "Once upon a time, there was a little girl named Lily. She loved to play outside in the park."
    ids = torch.tensor([tokenizer(text)["input_ids"]])
    one = language_subject(folder, ids, {"base": ids}, tokenizer=tokenizer)
    assert float(one.center_loss(one.data).mean()) < 2.5
    assert one.stages.serves(one.components["4:7"]), one.stages.refused
    assert len(one.components.match("heads")) == 40


@pytest.mark.slow
def test_pythia_14m_shape_from_a_folder(tmp_path):
    shape = {**COMMON, "hidden_size": 128, "num_hidden_layers": 6, "intermediate_size": 512}
    config = hf.GPTNeoXConfig(**{**shape, "vocab_size": 50304, "max_position_embeddings": 2048})
    hf.GPTNeoXForCausalLM(config).save_pretrained(tmp_path)
    rows = torch.randint(50304, (4, 64), generator=torch.Generator().manual_seed(0))
    one = language_subject(tmp_path, rows, {"base": rows[:2]})
    assert one.components["all"].gather(one.params).numel() == 14_067_712
    assert len(one.components.match("embed | heads | mlps | unembed")) == 32
    head = one.components["3:2"]
    assert one.stages.serves(head), one.stages.refused
    assert one.stages.prefix(head, one.data)["hidden"].shape == (4, 63, 128)
