"""The transformer's loss for training: several seeds in one stacked model, bfloat16 products,
float32 weights.

The same function as `transformer.loss` up to bfloat16 rounding, for weights with a leading seed
axis. It serves ordinary autograd; sampling and everything under ``torch.func`` use
`transformer.loss`.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from susceptometer.domains.transformer import NORM_FLOOR, TransformerConfig, block_weights
from susceptometer.train.kernels import CausalAttention, CrossEntropy
from susceptometer.types import Params


def stacked_loss(
    params: Params,
    batch: Mapping[str, Tensor],
    config: TransformerConfig,
    *,
    dtype: torch.dtype = torch.bfloat16,
) -> Tensor:
    """Next-token loss of every seed: weights ``[seeds, ...]``, tokens ``[seeds, rows, K]`` ->
    ``[seeds, rows, K-1]``.

    Units: nats per target token. ``dtype`` is that of the matrix products; the result is float32.
    """
    tokens = batch["tokens"]
    cast = {name: value.to(dtype) for name, value in params.items()}
    seeds, rows, positions = tokens[..., :-1].shape
    x = embedded(cast["embed.W_E"], tokens[..., :-1]).flatten(1, 2)
    for layer in range(config.layers):
        block = block_weights(cast, layer)
        place = cast["pos_embed.W_pos"][:, :positions]
        x = x + heads_output(block, normed(x), place)
        if config.d_mlp:
            x = x + mlp_output(block, normed(x))
    targets = tokens[..., 1:].flatten(1)
    final = normed(x) * cast["ln_final.w"][:, None] + cast["ln_final.b"][:, None]
    losses = map(CrossEntropy.apply, final, cast["unembed.W_U"], targets)
    return torch.stack(list(losses)).view(seeds, rows, positions)


def embedded(table: Tensor, tokens: Tensor) -> Tensor:
    """Rows of each seed's table ``[seeds, vocabulary, d]``: tokens ``[seeds, ...]`` -> ``[seeds,
    ..., d]``.
    """
    return torch.stack([F.embedding(rows, own) for rows, own in zip(tokens, table, strict=True)])


def normed(x: Tensor) -> Tensor:
    """LayerNorm without scale and shift, which `scaled` moves into the matrices that read it."""
    return F.layer_norm(x, x.shape[-1:], eps=NORM_FLOOR)


def scaled(scale: Tensor, weight: Tensor) -> Tensor:
    """LayerNorm's scale ``[seeds, d]`` times the matrix ``[seeds, d, width]`` that reads the stream."""
    return scale[..., None] * weight


def heads_output(block: Mapping[str, Tensor], x: Tensor, place: Tensor) -> Tensor:
    """What the heads add: ``x [seeds, rows*K, d]`` (bare norm), ``place [seeds, K, d]`` ->
    ``[seeds, rows*K, d]``.
    """
    seeds, heads, width, d_head = block["attn.W_Q"].shape
    positions = place.shape[1]
    inward = [block[f"attn.W_{letter}"].transpose(1, 2).flatten(2) for letter in "QKV"]
    shift = block["ln1.b"][:, None]
    constant = [(place + shift) @ m for m in inward[:2]] + [(shift @ inward[2]).expand_as(place)]
    found = x @ scaled(block["ln1.w"], torch.cat(inward, -1))
    found = found.view(seeds, -1, positions, 3 * width) + torch.cat(constant, -1)[:, None]
    found = found.view(seeds, -1, positions, 3, heads, d_head).permute(3, 0, 1, 4, 2, 5)
    out = CausalAttention.apply(*found.reshape(3, -1, positions, d_head).unbind(0))
    out = out.view(seeds, -1, heads, positions, d_head).transpose(2, 3)
    return out.reshape(seeds, -1, width) @ block["attn.W_O"].flatten(1, 2)


def mlp_output(block: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """What the MLP adds to the stream: ``[seeds, tokens, d]``."""
    bias = block["ln2.b"][:, None] @ block["mlp.W_in"] + block["mlp.b_in"][:, None]
    hidden = F.gelu(x @ scaled(block["ln2.w"], block["mlp.W_in"]) + bias)
    return hidden @ block["mlp.W_out"] + block["mlp.b_out"][:, None]
