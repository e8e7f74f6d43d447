"""Tiny models of every Hugging Face family the tests cover, built once, weights away from their starting values."""

from functools import lru_cache

import torch
import transformers as hf

from susceptometer.domains.hf import language_subject

VOCABULARY = 61
COMMON = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 64,
}
FALCON = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": VOCABULARY,
}
GROUPED = {**COMMON, "num_key_value_heads": 2}
OPT = {"ffn_dim": 48, "word_embed_proj_dim": 32, "dropout": 0.1}
GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": VOCABULARY, "n_positions": 64}

BUILDERS = {
    "gpt_neox": lambda: hf.GPTNeoXForCausalLM(hf.GPTNeoXConfig(**COMMON)),
    "gpt2": lambda: hf.GPT2LMHeadModel(hf.GPT2Config(**GPT2)),
    "llama": lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**GROUPED)),
    "qwen2": lambda: hf.Qwen2ForCausalLM(hf.Qwen2Config(**GROUPED)),
    "qwen3": lambda: hf.Qwen3ForCausalLM(hf.Qwen3Config(**GROUPED, head_dim=12)),
    "gemma2": lambda: hf.Gemma2ForCausalLM(hf.Gemma2Config(**GROUPED, head_dim=16)),
    "mistral": lambda: hf.MistralForCausalLM(hf.MistralConfig(**GROUPED)),
    "opt": lambda: hf.OPTForCausalLM(hf.OPTConfig(**COMMON, **OPT)),
    "phi": lambda: hf.PhiForCausalLM(hf.PhiConfig(**COMMON)),
    "falcon_new": lambda: hf.FalconForCausalLM(
        hf.FalconConfig(**FALCON, new_decoder_architecture=True, num_kv_heads=2)
    ),
    "falcon_multi_query": lambda: hf.FalconForCausalLM(hf.FalconConfig(**FALCON)),
    "falcon_sequential": lambda: hf.FalconForCausalLM(
        hf.FalconConfig(**FALCON, multi_query=False, parallel_attn=False, alibi=True, bias=True)
    ),
    # Families no line of the package was written for.
    "phi3": lambda: hf.Phi3ForCausalLM(hf.Phi3Config(**GROUPED, pad_token_id=0)),
    "olmo2": lambda: hf.Olmo2ForCausalLM(hf.Olmo2Config(**GROUPED)),
    "gpt_bigcode": lambda: hf.GPTBigCodeForCausalLM(hf.GPTBigCodeConfig(**GPT2)),
    "cohere": lambda: hf.CohereForCausalLM(hf.CohereConfig(**GROUPED, logit_scale=0.2)),
}
FAMILIES = list(BUILDERS)
KEY_VALUE_HEADS = {
    "llama": 2, "qwen2": 2, "qwen3": 2, "gemma2": 2, "mistral": 2, "falcon_new": 2,
    "falcon_multi_query": 1, "phi3": 2, "olmo2": 2, "gpt_bigcode": 1, "cohere": 2,
}  # fmt: skip
HEAD_WIDTH = {"qwen3": 12, "gemma2": 16}
TIED = {
    "gpt2",
    "gemma2",
    "opt",
    "falcon_new",
    "falcon_multi_query",
    "falcon_sequential",
    "gpt_bigcode",
    "cohere",
}


@lru_cache
def model(family):
    """The tiny model; every weight (norms and biases too) is moved a little."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        built = BUILDERS[family]()
        with torch.no_grad():
            for value in built.parameters():
                value.add_(torch.randn_like(value) * 0.05)
    return built


@lru_cache
def tokens():
    """Five rows of nine tokens."""
    return torch.randint(VOCABULARY, (5, 9), generator=torch.Generator().manual_seed(0))


@lru_cache
def subject(family):
    """The model as a subject with its five rows as data and the first two as base probe."""
    return language_subject(model(family), tokens(), {"base": tokens()[:2]})
