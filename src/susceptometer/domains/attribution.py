"""What the heads of the small transformer do at each token, seen in activations: outputs, logits, attention."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from susceptometer.domains.transformer import (
    NORM_FLOOR,
    TransformerConfig,
    block_weights,
    layer_norm,
    patterns,
    streams,
)

CHUNK = 8
"""Rows handled together."""


@dataclass(frozen=True)
class HeadActivity:
    """Per head and target token, ``[layers * heads, rows, K - 1]`` each (K tokens a row, layer by layer).

    Args:
        output_size: Norm of what the head adds to the stream where the target is predicted.
        direct_logits: Direct logit attribution: its part of the target's logit less the mean over the vocabulary,
            the scale of the final norm held fixed.
        copying: Attention from the predicting position to tokens that followed an earlier copy of its own token:
            prefix matching on this text.
        previous: Attention to the position before.
    """

    output_size: Tensor
    direct_logits: Tensor
    copying: Tensor
    previous: Tensor


@torch.no_grad()
def head_activity(params: Mapping[str, Tensor], tokens: Tensor, config: TransformerConfig) -> HeadActivity:
    """The activity of every head on rows of tokens ``[rows, K]``."""
    parts = [_activity(dict(params), chunk, config) for chunk in tokens.split(CHUNK)]
    return HeadActivity(*(torch.cat(pieces, 1) for pieces in zip(*parts, strict=True)))


def _activity(params: dict[str, Tensor], tokens: Tensor, config: TransformerConfig) -> tuple[Tensor, ...]:
    seen, targets = tokens[:, :-1], tokens[:, 1:]
    position = params["pos_embed.W_pos"][: seen.shape[1]]
    flow = streams(params, seen, config)
    final = flow[-1]
    scale = (final.var(-1, unbiased=False, keepdim=True) + NORM_FLOOR).rsqrt()
    toward = params["unembed.W_U"] - params["unembed.W_U"].mean(1, keepdim=True)
    wanted = params["ln_final.w"] * toward.T[targets]  # [rows, K - 1, d_model]
    copies = follows_a_copy(seen)
    sizes, logits, copying, previous = [], [], [], []
    for layer, x in enumerate(flow[:-1]):
        block = block_weights(params, layer)
        normed = layer_norm(x, block["ln1.w"], block["ln1.b"])
        attention = patterns(block, normed, position)
        out = attention @ (normed.unsqueeze(-3) @ block["attn.W_V"]) @ block["attn.W_O"]
        centred = out - out.mean(-1, keepdim=True)
        sizes.append(out.norm(dim=-1))
        logits.append((centred * (scale * wanted)[:, None]).sum(-1))
        copying.append((attention * copies[:, None]).sum(-1))
        previous.append(torch.nn.functional.pad(attention.diagonal(-1, -2, -1), (1, 0)))
    return tuple(torch.cat(each, 1).transpose(0, 1) for each in (sizes, logits, copying, previous))


def follows_a_copy(tokens: Tensor) -> Tensor:
    """Whether key j <= t follows an earlier copy of query t's token: ``[rows, K] -> [rows, K query, K key]`` bool."""
    before = torch.nn.functional.pad(tokens[:, :-1], (1, 0), value=-1)
    same = tokens[:, :, None] == before[:, None, :]
    return same & torch.ones(same.shape[-2:], dtype=torch.bool).tril()
