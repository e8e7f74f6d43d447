"""An attention-only transformer for devinterp's side of the comparison: the same function as ``pico``.

Weights are read from a safetensors file with TransformerLens-like names; the module's parameter names are
those names, so devinterp's explicit masks address them directly.
"""

import re
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import layer_norm, scaled_dot_product_attention


class Weights(nn.Module):
    """A bag of parameters addressed by short names."""

    def __init__(self, **values: Tensor) -> None:
        super().__init__()
        for name, value in values.items():
            self.register_parameter(name, nn.Parameter(value.clone()))


class AttentionOnly(nn.Module):
    """Causal attention-only transformer; positions are added to query and key inputs only.

    Args:
        weights: ``embed.W_E [V, d]``, ``pos_embed.W_pos [context, d]``,
            ``blocks.{l}.ln1.w|b [d]``, ``blocks.{l}.attn.W_Q|W_K|W_V [heads, d, d_head]``,
            ``blocks.{l}.attn.W_O [heads, d_head, d]``, ``ln_final.w|b [d]``, ``unembed.W_U [d, V]``.
    """

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        for folder in sorted({name.rpartition(".")[0] for name in weights}):
            self._place(
                folder,
                {
                    name.rpartition(".")[2]: value
                    for name, value in weights.items()
                    if name.rpartition(".")[0] == folder
                },
            )
        self.layers = 1 + max(int(m[1]) for n in weights if (m := re.match(r"blocks\.(\d+)\.", n)))

    def _place(self, folder: str, values: dict[str, Tensor]) -> None:
        """Hang ``Weights(**values)`` under the dotted path ``folder``."""
        *parents, last = folder.split(".")
        here: nn.Module = self
        for parent in parents:
            if not hasattr(here, parent):
                here.add_module(parent, nn.Module())
            here = getattr(here, parent)
        here.add_module(last, Weights(**values))

    @classmethod
    def load(cls, folder: str) -> "AttentionOnly":
        """Read ``model.safetensors`` of a folder, in float32."""
        weights = load_file(Path(folder) / "model.safetensors")
        return cls({name: value.float() for name, value in weights.items()})

    def attend(self, layer: int, stream: Tensor) -> Tensor:
        """Output ``[batch, K, d]`` of attention layer ``layer`` on the residual stream."""
        block = getattr(self.blocks, str(layer))
        normed = layer_norm(stream, stream.shape[-1:], block.ln1.w, block.ln1.b)
        placed = normed + self.pos_embed.W_pos[: stream.shape[1]]
        query, key, value = (
            torch.einsum("bkd,hde->bhke", source, matrix)
            for source, matrix in ((placed, block.attn.W_Q), (placed, block.attn.W_K), (normed, block.attn.W_V))
        )
        mixed = scaled_dot_product_attention(query, key, value, is_causal=True)
        return torch.einsum("bhke,hed->bkd", mixed, block.attn.W_O)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits ``[batch, K, V]`` of token ids ``[batch, K]``."""
        stream = self.embed.W_E[tokens]
        for layer in range(self.layers):
            stream = stream + self.attend(layer, stream)
        normed = layer_norm(stream, stream.shape[-1:], self.ln_final.w, self.ln_final.b)
        return normed @ self.unembed.W_U


def head_masks(model: AttentionOnly, component: str) -> dict[str, Tensor]:
    """devinterp's explicit masks for head ``l{layer}h{head}`` of an ``AttentionOnly`` net."""
    match = re.fullmatch(r"l(\d+)h(\d+)", component)
    if match is None:
        raise ValueError(f"unknown component {component!r}: use 'full' or like 'l0h3'")
    masks = {}
    for name in ("W_Q", "W_K", "W_V", "W_O"):
        full_name = f"blocks.{match[1]}.attn.{name}"
        mask = torch.zeros(model.get_parameter(full_name).shape, dtype=torch.bool)
        mask[int(match[2])] = True
        masks[full_name] = mask
    return masks
