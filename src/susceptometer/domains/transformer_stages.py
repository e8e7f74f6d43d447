"""The small transformer in stages: frozen prefix once per row, chains folded, only the component batched."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from susceptometer.domains.transformer import NORM_FLOOR, TransformerConfig
from susceptometer.posterior.component import Component
from susceptometer.posterior.kernel import linear_cross_entropy
from susceptometer.types import Batch, Carry, Params

LETTERS = "QKVO"


@dataclass(frozen=True)
class TransformerStages:
    """``Stages`` of ``domains.transformer``; every component of it is served.

    Shapes inside: C chains, m rows, K positions, n = m K, H touched heads. A weight is frozen (its own
    shape) or carries a leading chain axis; products with frozen weights are one large matrix product.

    Args:
        params: w*, names of ``domains.transformer``.
        config: Its shape.
        precision: Of the matrix products (``posterior.products``). Here only the output layer's follow it;
            `LocalPosterior` runs the rest under it.
    """

    params: Params
    config: TransformerConfig
    precision: str = "float32"
    _kept: dict[str, Tensor] = field(default_factory=dict, repr=False, compare=False)

    def serves(self, component: Component) -> bool:
        """Whether all of the component's parameters belong to this model."""
        return all(name in self.params for name in component.params)

    def entry(self, component: Component) -> int:
        """First layer that depends on the component; ``layers`` for the final norm and the unembedding."""
        return min(_layer_of(name, self.config.layers) for name in component.params)

    def place(self, component: Component) -> tuple:
        """First touched layer, and its touched heads: the untouched ones are part of the prefix."""
        return self.entry(component), tuple(touched_heads(component) or ())

    def prefix(self, component: Component, batch: Batch) -> Carry:
        """Targets, and the stream entering the first touched layer ``[rows, K, d_model]``.

        For a component made of heads of one layer also the normed stream and the sum of that layer's
        untouched heads; for one that touches the embeddings the tokens instead.
        """
        tokens = batch["tokens"]
        carry = {"targets": tokens[:, 1:]}
        layer = self.entry(component)
        if layer < 0:
            return carry | {"tokens": tokens[:, :-1]}
        x = self._stream(tokens[:, :-1], layer)
        heads = touched_heads(component)
        if heads is None:
            return carry | {"x": x}
        normed = self._norm(x, self.params, f"blocks.{layer}.ln1")
        rest = [h for h in range(self.config.heads) if h not in heads]
        others = self._heads(normed[None], self.params, layer, rest)[0] if rest else torch.zeros_like(x)
        return carry | {"normed": normed, "x": x + others}

    def losses(self, component: Component, weights: Tensor, carry: Carry, rows: Tensor | None) -> Tensor:
        """Losses ``[chains, m, K]`` of the targets; see ``posterior.stages.Stages``."""
        chains, layer, heads = len(weights), self.entry(component), touched_heads(component)
        seen = {name: _seen(value, rows, chains) for name, value in carry.items()}
        params = {**self.params, **self._chained(component, weights, heads)}
        if layer < 0:
            x = _embedded(seen["tokens"], params["embed.W_E"])
        elif heads is not None:
            x = seen["x"] + self._heads(seen["normed"], params, layer, heads)
            x = self._mlp(x, params, layer)
        else:
            x = seen["x"]
        for later in range(max(layer, 0) + (heads is not None), self.config.layers):
            normed = self._norm(x, params, f"blocks.{later}.ln1")
            x = x + self._heads(normed, params, later, list(range(self.config.heads)))
            x = self._mlp(x, params, later)
        return self._readout(self._norm(x, params, "ln_final"), params, seen["targets"])

    def _stream(self, tokens: Tensor, layer: int) -> Tensor:
        """The residual stream entering a layer at w*, ``[rows, K, d_model]``."""
        x = F.embedding(tokens, self.params["embed.W_E"])[None]
        for before in range(layer):
            normed = self._norm(x, self.params, f"blocks.{before}.ln1")
            x = x + self._heads(normed, self.params, before, list(range(self.config.heads)))
            x = self._mlp(x, self.params, before)
        return x[0]

    def _heads(self, normed: Tensor, params: Mapping[str, Tensor], layer: int, heads: list[int]) -> Tensor:
        """Sum of some heads' outputs, ``normed [C, m, K, d] -> [C, m, K, d]``."""
        chains, rows, length, width = normed.shape
        position = params["pos_embed.W_pos"][..., :length, :]
        placed = normed + (position if position.ndim == 2 else position[:, None])
        q, k, v = (
            self._split(
                source.reshape(chains, rows * length, width) @ self._inward(params, layer, letter, heads),
                rows,
                len(heads),
            )
            for letter, source in zip("QKV", (placed, placed, normed), strict=True)
        )
        z = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        z = z.transpose(1, 2).reshape(chains, rows * length, -1)
        return (z @ self._outward(params, layer, heads)).reshape(chains, rows, length, width)

    def _split(self, flat: Tensor, rows: int, heads: int) -> Tensor:
        """``[C, m K, H d_head] -> [C m, H, K, d_head]``."""
        chains, both = flat.shape[:2]
        return flat.reshape(chains * rows, both // rows, heads, -1).transpose(1, 2)

    def _inward(self, params: Mapping[str, Tensor], layer: int, letter: str, heads: list[int]) -> Tensor:
        """W_Q, W_K or W_V of some heads side by side: ``[(C,) d_model, H d_head]``."""
        weight = _of_heads(params[f"blocks.{layer}.attn.W_{letter}"], heads)
        return weight.transpose(-3, -2).flatten(-2)

    def _outward(self, params: Mapping[str, Tensor], layer: int, heads: list[int]) -> Tensor:
        """W_O of some heads on top of each other: ``[(C,) H d_head, d_model]``."""
        return _of_heads(params[f"blocks.{layer}.attn.W_O"], heads).flatten(-3, -2)

    def _mlp(self, x: Tensor, params: Mapping[str, Tensor], layer: int) -> Tensor:
        if not self.config.d_mlp:
            return x
        name = f"blocks.{layer}"
        flat = self._norm(x, params, f"{name}.ln2").flatten(1, 2)
        inner = F.gelu(flat @ params[f"{name}.mlp.W_in"] + _row(params[f"{name}.mlp.b_in"]))
        out = inner @ params[f"{name}.mlp.W_out"] + _row(params[f"{name}.mlp.b_out"])
        return x + out.reshape(x.shape)

    def _norm(self, x: Tensor, params: Mapping[str, Tensor], name: str) -> Tensor:
        weight, bias = params[f"{name}.w"], params[f"{name}.b"]
        if weight.ndim == 1 and bias.ndim == 1:
            return F.layer_norm(x, x.shape[-1:], weight, bias, NORM_FLOOR)
        plain = F.layer_norm(x, x.shape[-1:], None, None, NORM_FLOOR)
        return plain * _row(weight)[..., None, :] + _row(bias)[..., None, :]

    def _readout(self, final: Tensor, params: Mapping[str, Tensor], targets: Tensor) -> Tensor:
        """Losses ``[C, m, K]`` from normed final streams and targets ``[C, m, K]``."""
        weight = params["unembed.W_U"]
        if weight.ndim == 2:
            flat = linear_cross_entropy(
                final.flatten(0, 2), self._vocabulary_first(), targets.flatten(), precision=self.precision
            )
            return flat.reshape(targets.shape)
        each = [
            linear_cross_entropy(h.flatten(0, 1), w.T, t.flatten())
            for h, w, t in zip(final, weight, targets, strict=True)
        ]
        return torch.stack(each).reshape(targets.shape)

    def _vocabulary_first(self) -> Tensor:
        if "W_U" not in self._kept:
            self._kept["W_U"] = self.params["unembed.W_U"].T.contiguous()
        return self._kept["W_U"]

    def _chained(self, component: Component, weights: Tensor, heads: list[int] | None) -> Params:
        """The touched parameters with a leading chain axis; of head parameters only the touched heads."""
        out: Params = {}
        for piece, block in zip(component.pieces, component.split(weights), strict=True):
            value = out.get(piece.param)
            if heads is not None and len(heads) == 1:
                out[piece.param] = block
                continue
            if value is None:
                value = self.params[piece.param].expand(len(weights), *piece.shape)
            if piece.whole:
                out[piece.param] = block
            else:
                entries = piece.flat_entries().to(weights.device)
                flat = value.flatten(1).index_copy(1, entries, block.flatten(1))
                out[piece.param] = flat.reshape(len(weights), *piece.shape)
        return out


def touched_heads(component: Component) -> list[int] | None:
    """The heads of one layer whose complete matrices make up the component; None for anything else."""
    layers, heads = set(), set()
    for piece in component.pieces:
        parts = piece.param.split(".")
        complete = piece.entries is None and piece.block_shape[1:] == tuple(piece.shape[1:])
        if len(parts) != 4 or parts[2] != "attn" or not complete:
            return None
        layers.add(parts[1])
        heads |= set(range(piece.box[0].start, piece.box[0].stop))
    return sorted(heads) if len(layers) == 1 else None


def _layer_of(name: str, layers: int) -> int:
    if name.startswith(("embed", "pos_embed")):
        return -1
    return int(name.split(".")[1]) if name.startswith("blocks.") else layers


def _seen(value: Tensor, rows: Tensor | None, chains: int) -> Tensor:
    """``[unique, ...] -> [chains, m, ...]``: each chain's rows, or all rows for every chain."""
    return value.expand(chains, *value.shape) if rows is None else value[rows]


def _embedded(tokens: Tensor, weight: Tensor) -> Tensor:
    """Embeddings ``[C, m, K, d]`` of ``tokens [C, m, K]`` under ``[V, d]`` or ``[C, V, d]``."""
    if weight.ndim == 2:
        return F.embedding(tokens, weight)
    chains, vocabulary, width = weight.shape
    shifted = tokens + vocabulary * torch.arange(chains, device=tokens.device)[:, None, None]
    return F.embedding(shifted, weight.reshape(chains * vocabulary, width))


def _of_heads(weight: Tensor, heads: list[int]) -> Tensor:
    """``[(C,) heads, a, b]`` restricted to some heads; already restricted tensors pass unchanged."""
    if weight.shape[-3] == len(heads):
        return weight
    return weight[..., heads, :, :]


def _row(vector: Tensor) -> Tensor:
    """``[e] -> [e]`` and ``[C, e] -> [C, 1, e]``, to broadcast over rows."""
    return vector if vector.ndim == 1 else vector[:, None]
