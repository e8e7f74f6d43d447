"""The classifier of parentheses strings: a small causal transformer read at the end token, one or many at once.

Pre-norm blocks with GELU MLPs four times as wide, optional learned positions added to the stream, two class logits at
the end token (li2025 reads the first two vocabulary logits; the others have no gradient and are left out). Only the end
token of the last block is ever read, so the last block's queries and MLP are evaluated there alone: the
same function at about half the cost.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from susceptometer.errors import SubjectError
from susceptometer.rng import stream
from susceptometer.types import Batch, Params

VOCABULARY, CLASSES, NORM_FLOOR = 5, 2, 1e-5


@dataclass(frozen=True)
class ClassifierConfig:
    """Shape of the classifier.

    Args:
        layers: Blocks.
        width: Of the residual stream.
        heads: Of every block; they share the width equally.
        context: Longest string plus start and end.
        init: Standard deviation of every matrix at birth.
        positions: Learned positions (li2025). Without them the causal mask alone tells places apart, through the
            means that heads form over the past.

    Raises:
        SubjectError: ``width`` is not a multiple of ``heads``.
    """

    layers: int
    width: int
    heads: int
    context: int
    init: float = 0.02
    positions: bool = True

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise SubjectError(
                "width is not a multiple of heads",
                where="ClassifierConfig",
                value=(self.width, self.heads),
                why="the heads share the width equally",
                do="choose width as heads times d_head",
            )


def weight_shapes(config: ClassifierConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every weight, in the order of the forward pass."""
    d = config.width
    found: dict[str, tuple[int, ...]] = {"embed": (VOCABULARY, d)}
    if config.positions:
        found["position"] = (config.context, d)
    block = {
        "norm1.w": (d,), "norm1.b": (d,), "queries": (d, d), "keys_values": (d, 2 * d), "out": (d, d),
        "norm2.w": (d,), "norm2.b": (d,), "mlp.in": (d, 4 * d), "mlp.in_b": (4 * d,), "mlp.out": (4 * d, d),
        "mlp.out_b": (d,),
    }  # fmt: skip
    for layer in range(config.layers):
        found |= {f"blocks.{layer}.{name}": shape for name, shape in block.items()}
    return found | {"norm.w": (d,), "norm.b": (d,), "classes": (d, CLASSES)}


def fresh_classifier(config: ClassifierConfig, *, seed: int) -> Params:
    """Weights at birth: matrices normal with deviation ``config.init``, norms one, biases zero."""

    def initial(name: str, shape: tuple[int, ...]) -> Tensor:
        if len(shape) == 1:
            return torch.ones(shape) if name.endswith(".w") else torch.zeros(shape)
        return config.init * torch.randn(shape, generator=stream(seed, "parentheses", "init", name))

    return {name: initial(name, shape) for name, shape in weight_shapes(config).items()}


def class_logits(params: Params, batch: Batch, config: ClassifierConfig) -> Tensor:
    """Scores of FALSE and TRUE: tokens ``[rows, K]`` and places of the end ``[rows]`` -> ``[rows, 2]``.

    One model; ``torch.func.vmap`` makes it a stack. What stands after the end token has no influence.
    """
    tokens, end = batch["tokens"], batch["end"]
    x = F.embedding(tokens, params["embed"])
    if config.positions:
        x = x + params["position"][: tokens.shape[1]]
    for layer in range(config.layers):
        block = {n: params[f"blocks.{layer}.{n}"] for n in BLOCK}
        last = layer == config.layers - 1
        x = _end_block(block, x, end, config) if last else _block(block, x, config)
    return _norm(x, params["norm.w"], params["norm.b"]) @ params["classes"]


BLOCK = (
    "norm1.w", "norm1.b", "queries", "keys_values", "out", "norm2.w", "norm2.b", "mlp.in", "mlp.in_b", "mlp.out",
    "mlp.out_b",
)  # fmt: skip


def class_losses(params: Params, batch: Batch, config: ClassifierConfig) -> Tensor:
    """Cross-entropy of the label, nats ``[rows]``."""
    scores = (
        class_logits(params, batch, config).float()
        if params["classes"].dtype == torch.bfloat16
        else (class_logits(params, batch, config))
    )
    return scores.logsumexp(-1) - scores.gather(-1, batch["label"][:, None])[:, 0]


def _block(block: Params, x: Tensor, config: ClassifierConfig) -> Tensor:
    rows, K, d = x.shape
    flat = x.reshape(rows * K, d)
    normed = _norm(flat, block["norm1.w"], block["norm1.b"])
    queries = (normed @ block["queries"]).reshape(rows, K, config.heads, -1).transpose(1, 2)
    keys, values = _keys_values(block, normed, rows, config)
    future = torch.full((K, K), -math.inf, dtype=x.dtype, device=x.device).triu(1)
    mixed = _attended(queries, keys, values, future).transpose(1, 2).reshape(rows * K, d)
    return _with_mlp(block, flat + mixed @ block["out"]).reshape(rows, K, d)


def _end_block(block: Params, x: Tensor, end: Tensor, config: ClassifierConfig) -> Tensor:
    """The last block at the end token only: ``[rows, K, d]`` -> ``[rows, d]``."""
    rows, K, d = x.shape
    normed = _norm(x.reshape(rows * K, d), block["norm1.w"], block["norm1.b"])
    keys, values = _keys_values(block, normed, rows, config)
    at = end[:, None, None].expand(rows, 1, d)
    query = normed.reshape(rows, K, d).gather(1, at)[:, 0] @ block["queries"]
    future = torch.where(torch.arange(K, device=x.device) > end[:, None], -math.inf, 0.0).to(x.dtype)
    query = query.reshape(rows, config.heads, 1, -1)
    mixed = _attended(query, keys, values, future[:, None, None]).reshape(rows, d)
    return _with_mlp(block, x.gather(1, at)[:, 0] + mixed @ block["out"])


def _keys_values(block: Params, normed: Tensor, rows: int, config: ClassifierConfig) -> tuple[Tensor, Tensor]:
    """Each ``[rows, heads, K, d_head]``."""
    both = (normed @ block["keys_values"]).reshape(rows, -1, 2, config.heads, config.width // config.heads)
    return both[:, :, 0].transpose(1, 2), both[:, :, 1].transpose(1, 2)


def _attended(queries: Tensor, keys: Tensor, values: Tensor, future: Tensor) -> Tensor:
    scores = queries @ keys.transpose(-1, -2) / math.sqrt(queries.shape[-1]) + future
    return scores.softmax(-1) @ values


def _with_mlp(block: Params, x: Tensor) -> Tensor:
    normed = _norm(x, block["norm2.w"], block["norm2.b"])
    hidden = F.gelu(normed @ block["mlp.in"] + block["mlp.in_b"])
    return x + hidden @ block["mlp.out"] + block["mlp.out_b"]


def _norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], weight, bias, NORM_FLOOR)
