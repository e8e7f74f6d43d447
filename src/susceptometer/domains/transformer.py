"""A small transformer as a pure function of a flat dictionary of weights, with TransformerLens-like names.

Attention only (``d_mlp=0``) or with an MLP in every block. Positions are "shortformer": a learned
vector per position is added to the inputs of queries and keys, never to the residual stream or the
values (the published 3M-parameter model, timaeus-research/devinterp). LayerNorm before each block
and at the end; embedding and unembedding untied.

Every function works under ``torch.func`` (``vmap``, ``grad``, ``jvp``) and says its shapes.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from susceptometer.errors import DataError, SubjectError
from susceptometer.rng import stream
from susceptometer.types import Params

NORM_FLOOR = 1e-5
"""Added to the variance inside LayerNorm."""


@dataclass(frozen=True)
class TransformerConfig:
    """Shape of a transformer. ``d_mlp=0`` leaves the MLPs out; ``d_head`` is ``d_model // heads``."""

    layers: int
    d_model: int
    heads: int
    context: int
    vocabulary: int
    d_mlp: int = 0

    def __post_init__(self) -> None:
        if self.d_model % self.heads:
            raise SubjectError(
                "d_model is not a multiple of heads",
                where="TransformerConfig",
                value=f"d_model={self.d_model}, heads={self.heads}",
                why="the heads share the width equally",
                do="choose d_model as heads times d_head",
            )

    @property
    def d_head(self) -> int:
        """Width of one head's queries, keys and values."""
        return self.d_model // self.heads


def shapes(config: TransformerConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every weight, in the order of the forward pass."""
    wide = (config.d_model,)
    found: dict[str, tuple[int, ...]] = {
        "embed.W_E": (config.vocabulary, config.d_model),
        "pos_embed.W_pos": (config.context, config.d_model),
    }
    for layer in range(config.layers):
        found |= {f"blocks.{layer}.{name}": shape for name, shape in block_shapes(config).items()}
    return found | {
        "ln_final.w": wide,
        "ln_final.b": wide,
        "unembed.W_U": (config.d_model, config.vocabulary),
    }


def block_shapes(config: TransformerConfig) -> dict[str, tuple[int, ...]]:
    """Name (without ``blocks.{l}.``) and shape of the weights of one block."""
    wide, inward = (config.d_model,), (config.heads, config.d_model, config.d_head)
    found: dict[str, tuple[int, ...]] = {"ln1.w": wide, "ln1.b": wide}
    found |= {f"attn.W_{letter}": inward for letter in "QKV"}
    found["attn.W_O"] = (config.heads, config.d_head, config.d_model)
    if config.d_mlp:
        found |= {"ln2.w": wide, "ln2.b": wide}
        found |= {"mlp.W_in": (config.d_model, config.d_mlp), "mlp.b_in": (config.d_mlp,)}
        found |= {"mlp.W_out": (config.d_mlp, config.d_model), "mlp.b_out": wide}
    return found


def init_params(config: TransformerConfig, *, seed: int) -> Params:
    """Fresh weights: normal with deviation ``0.8 / sqrt(d_model)``; norms at one and zero, biases at zero.

    Each weight has its own random stream, so equal names and shapes get equal values in every config.
    """
    return {name: initial(name, shape, config, seed=seed) for name, shape in shapes(config).items()}


def initial(name: str, shape: tuple[int, ...], config: TransformerConfig, *, seed: int) -> Tensor:
    """The starting value of one weight."""
    if name.endswith(".w"):
        return torch.ones(shape)
    if name.endswith((".b", ".b_in", ".b_out")):
        return torch.zeros(shape)
    if name == "pos_embed.W_pos":
        return sinusoids(*shape)
    deviation = 0.8 / math.sqrt(config.d_model)
    return deviation * torch.randn(shape, generator=stream(seed, "init", name))


def sinusoids(positions: int, width: int) -> Tensor:
    """``[positions, width]`` of mean square one: sines and cosines of wavelengths 4 to twice the context.

    Where learned positions start. One bilinear form then means "one to the left" at every position, so a
    previous-token head need not learn each position apart; from white noise it forms many times later.
    """
    wavelength = 4 * (positions / 2) ** torch.linspace(0, 1, width // 2)
    angle = 2 * math.pi * torch.arange(positions)[:, None] / wavelength
    return math.sqrt(2) * torch.cat([angle.sin(), angle.cos()], dim=1)


def check_tokens(tokens: Tensor, config: TransformerConfig) -> None:
    """Raise where ``tokens`` cannot enter the model.

    Not called by the forward functions, which must stay free of data-dependent branches for ``torch.func``.

    Raises:
        DataError: Tokens outside the vocabulary, or rows longer than the context.
    """
    low, high = int(tokens.min()), int(tokens.max())
    if low < 0 or high >= config.vocabulary:
        raise DataError(
            "a token is outside the vocabulary",
            where="tokens",
            value=low if low < 0 else high,
            why=f"the embedding has {config.vocabulary} rows",
            do="encode the text with the tokenizer that belongs to this model",
        )
    if tokens.shape[-1] > config.context + 1:
        raise DataError(
            "a row is longer than the context",
            where="tokens",
            value=tokens.shape[-1],
            why=f"the model has {config.context} positions (and one more target)",
            do="cut the text into shorter rows",
        )


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """``[..., d_model]`` with mean 0 and variance 1 over the last axis, then scaled and shifted."""
    return F.layer_norm(x, x.shape[-1:], weight, bias, NORM_FLOOR)


def block_weights(params: Mapping[str, Tensor], layer: int) -> Params:
    """The weights of one block under their names without ``blocks.{l}.``."""
    prefix = f"blocks.{layer}."
    return {name.removeprefix(prefix): w for name, w in params.items() if name.startswith(prefix)}


def patterns(block: Mapping[str, Tensor], normed: Tensor, position: Tensor) -> Tensor:
    """Attention of one block: ``normed [rows, K, d_model]``, ``position [K, d_model]`` -> ``[rows,
    heads, K, K]``.
    """
    placed = (normed + position).unsqueeze(-3)
    queries, keys = placed @ block["attn.W_Q"], placed @ block["attn.W_K"]
    scores = queries @ keys.transpose(-1, -2) / math.sqrt(queries.shape[-1])
    future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
    return scores.masked_fill(future, -math.inf).softmax(-1)


def attention(block: Mapping[str, Tensor], normed: Tensor, position: Tensor) -> Tensor:
    """What the heads of one block add to the stream: ``[rows, K, d_model]``, the sum of all heads."""
    values = normed.unsqueeze(-3) @ block["attn.W_V"]
    return (patterns(block, normed, position) @ values @ block["attn.W_O"]).sum(-3)


def mlp(block: Mapping[str, Tensor], normed: Tensor) -> Tensor:
    """What the MLP of one block adds to the stream: ``[rows, K, d_model]``."""
    hidden = F.gelu(normed @ block["mlp.W_in"] + block["mlp.b_in"])
    return hidden @ block["mlp.W_out"] + block["mlp.b_out"]


def after_block(block: Mapping[str, Tensor], x: Tensor, position: Tensor) -> Tensor:
    """The residual stream ``[rows, K, d_model]`` after one block."""
    x = x + attention(block, layer_norm(x, block["ln1.w"], block["ln1.b"]), position)
    if "mlp.W_in" in block:
        x = x + mlp(block, layer_norm(x, block["ln2.w"], block["ln2.b"]))
    return x


def streams(params: Params, tokens: Tensor, config: TransformerConfig) -> list[Tensor]:
    """The residual stream before each block and after the last one: ``layers + 1`` of ``[rows, K,
    d_model]``.
    """
    position = params["pos_embed.W_pos"][: tokens.shape[-1]]
    found = [F.embedding(tokens, params["embed.W_E"])]
    for layer in range(config.layers):
        found.append(after_block(block_weights(params, layer), found[-1], position))
    return found


def residual(params: Params, tokens: Tensor, config: TransformerConfig) -> Tensor:
    """The residual stream after the last block: tokens ``[rows, K]`` -> ``[rows, K, d_model]``."""
    return streams(params, tokens, config)[-1]


def logits(params: Params, tokens: Tensor, config: TransformerConfig) -> Tensor:
    """Scores of the next token: tokens ``[rows, K]`` -> ``[rows, K, vocabulary]``."""
    final = layer_norm(residual(params, tokens, config), params["ln_final.w"], params["ln_final.b"])
    return final @ params["unembed.W_U"]


def loss(params: Params, batch: Mapping[str, Tensor], config: TransformerConfig) -> Tensor:
    """Unreduced next-token loss: ``batch["tokens"] [rows, K]`` -> nats ``[rows, K - 1]``, one per
    target.
    """
    tokens = batch["tokens"]
    scores = logits(params, tokens[..., :-1], config)
    chosen = scores.gather(-1, tokens[..., 1:].unsqueeze(-1)).squeeze(-1)
    return scores.logsumexp(-1) - chosen


def attention_patterns(params: Params, tokens: Tensor, config: TransformerConfig) -> Tensor:
    """Where every head looks: tokens ``[rows, K]`` -> ``[rows, layers, heads, K, K]``, query before key."""
    position = params["pos_embed.W_pos"][: tokens.shape[-1]]
    found = []
    for layer, x in enumerate(streams(params, tokens, config)[:-1]):
        block = block_weights(params, layer)
        found.append(patterns(block, layer_norm(x, block["ln1.w"], block["ln1.b"]), position))
    return torch.stack(found, dim=-4)
