"""The models and tokens of the peer benchmark, written as files that both tools read."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, GPTNeoXConfig, GPTNeoXForCausalLM

from susceptometer.domains.pico import load_weights, pico_config, tokenizer_of
from susceptometer.domains.standard_text import standard_documents

CONTEXT = 64
"""Tokens per row of every benchmark array."""


def pythia_shape(folder: Path) -> Path:
    """Pythia-14M's shape with random weights (seed 0), 14,067,712 parameters; returns its folder."""
    path = folder / "pythia-14m-shape"
    if not path.exists():
        with torch.random.fork_rng():
            torch.manual_seed(0)
            config = GPTNeoXConfig(
                hidden_size=128,
                num_hidden_layers=6,
                num_attention_heads=4,
                intermediate_size=512,
                vocab_size=50304,
                tie_word_embeddings=False,
                max_position_embeddings=2048,
                use_cache=False,
            )
            GPTNeoXForCausalLM(config).save_pretrained(path)
    return path


def attention_only(folder: Path, params: dict[str, torch.Tensor], config: dict) -> Path:
    """Write an attention-only net (the names of ``peer_nets``) and its config; returns the folder."""
    path = folder / "attention-only"
    path.mkdir(parents=True, exist_ok=True)
    save_file({n: v.detach().float().contiguous() for n, v in params.items()}, path / "model.safetensors")
    (path / "config.json").write_text(json.dumps(config))
    return path


def pico(folder: Path, *, rows: int) -> tuple[Path, np.ndarray]:
    """The bundled pico (last stored step) as files, and real text for it: ids ``[rows, CONTEXT]``."""
    tokenizer, documents = tokenizer_of("pico"), standard_documents()
    each = -(-rows // len(documents))
    ids = [tokenizer.encode(" ".join(texts[:20])[: 40 * CONTEXT * each]).ids for texts in documents.values()]
    cut = [np.array(one[: each * CONTEXT]).reshape(each, CONTEXT) for one in ids]
    path = attention_only(folder, load_weights("pico"), asdict(pico_config()))
    return path, np.concatenate(cut)[:rows]


def zipf_tokens(rows: int, vocabulary: int, *, seed: int, context: int = CONTEXT) -> np.ndarray:
    """Random token ids ``[rows, context]`` with probability proportional to 1 / (rank + 10)."""
    weight = 1 / (np.arange(vocabulary) + 10.0)
    generator = np.random.default_rng(seed)
    return generator.choice(vocabulary, size=(rows, context), p=weight / weight.sum())


def own_text(model_folder: Path, rows: int, *, seed: int, context: int = CONTEXT) -> np.ndarray:
    """Token ids ``[rows, context]`` that a causal LM writes itself (temperature 1 from its bos)."""
    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32).eval()
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.full((rows, 1), model.config.bos_token_id)
    with torch.no_grad():
        while tokens.shape[1] < context:
            logits = model(tokens).logits[:, -1]
            drawn = torch.multinomial(logits.softmax(-1), 1, generator=generator)
            tokens = torch.cat([tokens, drawn], 1)
    return tokens.numpy()


def save_tokens(path: Path, tokens: np.ndarray) -> Path:
    """Write int64 token ids and return the path."""
    np.save(path, tokens.astype(np.int64))
    return path
