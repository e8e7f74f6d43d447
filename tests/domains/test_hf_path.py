"""The way from a name to a page: folders, shards, revisions, tokenizers, streams, device maps; Pythia's exact shape."""

from dataclasses import replace

import datasets
import numpy as np
import pytest
import torch
import transformers as hf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from domains.hf_family import COMMON, tokens
from susceptometer.compute.options import ReadOptions
from susceptometer.compute.read import read
from susceptometer.domains.hf_data import token_texts
from susceptometer.domains import hf_model, hf_placed, language
from susceptometer.domains.hf import language_subject
from susceptometer.domains.hf_model import load_model, skeleton
from susceptometer.domains.stream_text import hub_rows, stream_documents
from susceptometer.domains.token_text import TextPlan
from susceptometer.errors import DataError, SubjectError
from susceptometer.estimate.llc import llc
from susceptometer.estimate.susceptibility import susceptibility
from susceptometer.posterior.subject import Subject
from susceptometer.sampling.coupling import coupled
from susceptometer.sampling.recipe import Recipe, Schedule
from susceptometer.sampling.sgld import SGLD
from susceptometer.view.report import report

TEXT = "The quick brown fox jumps over the lazy dog, and 17 + 5 = 22. " * 40
PLAN = TextPlan(length=17, data_rows=6, base_rows=2, probe_rows=1)


def save_tokenizer(folder):
    """A byte-level tokenizer trained on a few words."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator([TEXT], trainer)
    fast = hf.PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<|endoftext|>", eos_token="<|endoftext|>")
    fast.save_pretrained(folder)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A folder with a small Llama (sharded safetensors) and its tokenizer; the ``@`` in its name is no revision."""
    folder = tmp_path_factory.mktemp("models") / "small@home"
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = hf.LlamaForCausalLM(hf.LlamaConfig(**{**COMMON, "vocab_size": 320}))
    model.save_pretrained(folder, max_shard_size="30KB")
    save_tokenizer(folder)
    return folder


def same(one: Subject, other: Subject):
    return all(torch.equal(one.params[key], value) for key, value in other.params.items())


def test_a_folder_of_sharded_safetensors(small):
    assert len(list(small.glob("*.safetensors"))) > 2
    one = language.load(small, data=stories(), plan=PLAN)
    original = hf.AutoModelForCausalLM.from_pretrained(small)
    expected = original(input_ids=one.data["tokens"][:, :-1]).logits
    losses = torch.nn.functional.cross_entropy(expected.transpose(1, 2), one.data["tokens"][:, 1:], reduction="none")
    torch.testing.assert_close(one.center_loss(one.data), losses, rtol=1e-4, atol=1e-5)


def stories(count=30):
    """An iterator of texts."""
    return (TEXT[3 * number :] for number in range(count))


@pytest.fixture
def hub(monkeypatch, small):
    """A hub that holds the small model under every name; remembers what was asked."""
    asked = []

    def answer(kind):
        plain = kind.from_pretrained.__func__

        def from_pretrained(cls, name, **options):
            asked.append((cls.__name__, name, options.get("revision")))
            return plain(cls, small, **{key: value for key, value in options.items() if key != "revision"})

        return classmethod(from_pretrained)

    for kind in (hf.AutoModelForCausalLM, hf.AutoTokenizer):
        monkeypatch.setattr(kind, "from_pretrained", answer(kind))
    return asked


def test_a_hub_id_with_a_revision_goes_to_model_and_tokenizer(hub, small):
    one = language.load("EleutherAI/pythia-14m@step3000", data=stories(), plan=PLAN)
    assert hub == [
        ("AutoModelForCausalLM", "EleutherAI/pythia-14m", "step3000"),
        ("AutoTokenizer", "EleutherAI/pythia-14m", "step3000"),
    ]
    assert one.name == "EleutherAI/pythia-14m@step3000"
    assert same(one, language.load(small, data=stories(), plan=PLAN))


def test_a_hub_id_without_a_revision_means_main(hub):
    language.load("EleutherAI/pythia-14m", data=stories(), plan=PLAN)
    assert [revision for _, _, revision in hub] == ["main", None]


def test_what_names_a_run_loads_it_again(small, tmp_path):
    (tmp_path / "text.txt").write_text(TEXT)
    one = language.load(small, data=tmp_path / "text.txt", plan=PLAN)
    again = language.load_source(language.source_from_dict(one.meta["source"]))
    assert same(one, again) and torch.equal(one.data["tokens"], again.data["tokens"])
    assert same(one, one.meta["rebuild"]())


def test_token_rows_need_no_tokenizer(small, tmp_path):
    np.save(tmp_path / "rows.npy", tokens().numpy())
    one = language.load(small, data=tmp_path / "rows.npy", plan=PLAN)
    assert torch.equal(one.data["tokens"], tokens()) and "token_strings" not in one.meta


def test_a_streaming_data_set_is_read_only_as_far_as_needed(small):
    seen = []

    def rows():
        for number in range(10_000):
            seen.append(number)
            yield {"text": TEXT[number % 60 :][:400], "meta": {"pile_set_name": f"set {number % 2}"}}

    stream = datasets.IterableDataset.from_generator(rows)
    one = language.load(small, data=stream, plan=PLAN)
    assert len(seen) < 20
    assert {"set 0", "set 1"} < set(one.probes)
    assert one.data["tokens"].shape == (6, 17)
    assert "source" not in one.meta


def test_a_data_set_by_its_name(small, tmp_path):
    data = datasets.Dataset.from_dict({"text": list(stories()), "domain": ["fox"] * 30})
    data.to_json(tmp_path / "train.jsonl")
    one = language.load(small, data=f"hub:{tmp_path}", plan=PLAN)
    assert one.meta["source"]["data"] == f"hub:{tmp_path}"
    assert "fox" in one.probes
    assert torch.equal(one.data["tokens"], language.load(small, data=data, plan=PLAN).data["tokens"])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "there is no text"),
        (["", " "], "there is no text"),
        ([{"title": "x"}], r"row of the stream has no text in here, row 0.*title"),
        (["short", 5], "row of the stream has no text in here, row 1"),
    ],
)
def test_bad_streams(rows, message):
    with pytest.raises(DataError, match=message):
        stream_documents(iter(rows), PLAN, where="here")


def test_a_missing_data_set_is_one_error(tmp_path):
    with pytest.raises(DataError, match="data set cannot be read in hub:.*check the name"):
        hub_rows(f"hub:{tmp_path / 'nowhere'}")


def test_a_device_map_of_one_device(small):
    mapped = hf.AutoModelForCausalLM.from_pretrained(small, device_map={"": "cpu"})
    one = language_subject(mapped, tokens(), {"base": tokens()[:2]})
    plain = language_subject(small, tokens(), {"base": tokens()[:2]})
    assert same(one, plain) and one.stages.serves(one.components["0:0"])


def hooked(small):
    """A model whose modules carry accelerate's hooks."""
    from accelerate import dispatch_model

    model = hf.AutoModelForCausalLM.from_pretrained(small)
    layers = {f"model.layers.{number}": "cpu" for number in range(2)}
    rest = dict.fromkeys(("model.embed_tokens", "model.norm", "model.rotary_emb", "lm_head"), "cpu")
    return dispatch_model(model, {**layers, **rest}, main_device="cpu", force_hooks=True)


def test_hooks_of_a_device_map_are_left_out_of_the_copy(small):
    model = hooked(small)
    assert any(hasattr(module, "_hf_hook") for module in model.modules())
    twin = skeleton(model)
    assert not any("forward" in module.__dict__ or "_hf_hook" in module.__dict__ for module in twin.modules())
    assert any(hasattr(module, "_hf_hook") for module in model.modules())
    torch.testing.assert_close(twin(input_ids=tokens()).logits, model(input_ids=tokens()).logits)


def test_offloaded_weights_are_refused(small, tmp_path):
    with torch.device("meta"):
        empty = hf.LlamaForCausalLM(hf.LlamaConfig(**COMMON))
    with pytest.raises(SubjectError, match="offloaded.*meta.*device_map that says disk"):
        language_subject(empty, tokens(), {"base": tokens()[:2]})
    where = {"model.embed_tokens": "cpu", "model.layers.0": "disk", "model.layers.1": "cpu", "model.norm": "cpu",
             "model.rotary_emb": "cpu", "lm_head": "cpu"}  # fmt: skip
    spread = hf.AutoModelForCausalLM.from_pretrained(small, device_map=where, offload_folder=tmp_path)
    with pytest.raises(SubjectError, match="offloaded.*'model.layers.0': 'disk'"):
        language_subject(spread, tokens(), {"base": tokens()[:2]})


def test_a_split_model_is_refused_unless_gathered(small, monkeypatch):
    """Two devices are played: this machine has one."""
    model = load_model(small)
    two = {torch.device("cuda:0"), torch.device("cuda:1")}
    monkeypatch.setattr(hf_placed, "devices_of", lambda model: two)
    with pytest.raises(SubjectError, match=r"split over several devices.*cuda:0, cuda:1.*skeleton\(model, 'cuda:0'\)"):
        language_subject(model, tokens(), {"base": tokens()[:2]})
    gathered = hf_model.skeleton(model, "cpu")
    monkeypatch.undo()
    assert same(
        language_subject(gathered, tokens(), {"base": tokens()[:2]}),
        language_subject(model, tokens(), {"base": tokens()}),
    )


PYTHIA_14M = {
    "hidden_size": 128, "num_hidden_layers": 6, "num_attention_heads": 4, "intermediate_size": 512,
    "vocab_size": 50304, "max_position_embeddings": 2048, "rotary_pct": 0.25, "rotary_emb_base": 10000,
    "use_parallel_residual": True, "layer_norm_eps": 1e-5, "hidden_act": "gelu", "tie_word_embeddings": False,
    "bos_token_id": 0, "eos_token_id": 0, "initializer_range": 0.02, "attention_bias": True,
}  # fmt: skip


def test_pythia_14m_from_a_folder_to_the_page(tmp_path):
    """Random weights in Pythia-14M's exact shape: from_pretrained, tokenizer, stages, cells, estimates, page."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        hf.GPTNeoXForCausalLM(hf.GPTNeoXConfig(**PYTHIA_14M)).save_pretrained(tmp_path / "model")
    save_tokenizer(tmp_path / "model")
    plan = TextPlan(length=17, data_rows=4, base_rows=1, probe_rows=1)
    subject = language.load(tmp_path / "model", data=stories(), plan=plan)
    assert sum(value.numel() for value in subject.params.values()) == 14_067_712
    assert len(subject.components.match("embed | heads | mlps | unembed")) == 32
    assert subject.stages.serves(subject.components["5:3"]), subject.stages.refused
    recipe = Recipe(
        sampler=SGLD(step_size=1e-4), schedule=Schedule(groups=4, burn_in=1, draws=2), n_beta=10.0, gamma=100.0,
        coupling=coupled(), batch_rows=1,
    )  # fmt: skip
    options = ReadOptions(progress=False)
    reading = read(subject, ["5:3", "5:mlp"], recipe=recipe, seed=0, into=tmp_path / "run", options=options)
    coefficients, chi = llc(reading), susceptibility(reading)
    assert np.isfinite(coefficients.value).all() and np.isfinite(chi.value).all()
    assert chi.value.shape == (2, reading.tokens.sizes["token"])
    page = report(reading, tmp_path / "page.html")
    assert "blocks.5.attn.head.3" in page.read_text(encoding="utf-8")
    again = replace(options, progress=False)
    assert read(subject, ["5:3", "5:mlp"], recipe=recipe, seed=0, into=tmp_path / "run", options=again).components


def test_a_word_start_keeps_its_space_in_a_sentencepiece_vocabulary():
    """Decoded alone, Llama's token for " the" reads "the": indistinguishable from a word part."""
    words = {"<unk>": 0, "▁the": 1, "the": 2, "n": 3, "▁": 4, "<0x0A>": 5, ".": 6}
    made = Tokenizer(models.BPE(vocab=words, merges=[], unk_token="<unk>", byte_fallback=True))
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(content=" ", left=1)]
    )
    fast = hf.PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>")
    assert fast.decode([1]) == "the"
    assert token_texts(fast)[1:] == [" the", "the", "n", " ", "\n", "."]
