"""Fast attention and cross-entropy for training: bfloat16 matrix products, worked off in cache-sized blocks.

Ordinary first-order autograd only (no ``torch.func``): training needs speed, sampling has its own path. Master
weights stay float32; gradients come back in the dtype of the inputs.
"""

import math

import torch
from torch import Tensor

BLOCK_ELEMENTS = 1 << 21
"""Entries of one score or logit block. 4 MB in bfloat16: about the second-level cache."""


class CausalAttention(torch.autograd.Function):
    """Softmax attention over the past; forward keeps the patterns, backward walks them block by block."""

    @staticmethod
    def forward(ctx, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """All ``[groups, positions, d_head]``; ``groups`` is rows x heads. Returns the same shape."""
        groups, positions, width = queries.shape
        queries = queries * (1 / math.sqrt(width))
        mask = causal_mask(positions, queries.dtype)
        patterns = queries.new_empty(groups, positions, positions)
        out = torch.empty_like(values)
        for block in blocks(groups, positions * positions):
            scores = torch.baddbmm(mask, queries[block], keys[block].transpose(1, 2))
            torch.softmax(scores, -1, out=patterns[block])
            torch.bmm(patterns[block], values[block], out=out[block])
        ctx.save_for_backward(queries, keys, values, patterns)
        return out

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        queries, keys, values, patterns = ctx.saved_tensors
        groups, positions, width = queries.shape
        d_queries, d_keys, d_values = map(torch.empty_like, (queries, keys, values))
        for block in blocks(groups, positions * positions):
            pattern = patterns[block]
            d_pattern = torch.bmm(grad[block], values[block].transpose(1, 2))
            d_scores = torch._softmax_backward_data(d_pattern, pattern, -1, pattern.dtype)
            torch.bmm(pattern.transpose(1, 2), grad[block], out=d_values[block])
            torch.bmm(d_scores, keys[block], out=d_queries[block])
            torch.bmm(d_scores.transpose(1, 2), queries[block], out=d_keys[block])
        return d_queries * (1 / math.sqrt(width)), d_keys, d_values


class CrossEntropy(torch.autograd.Function):
    """Negative log probability of each target under a linear readout; the logits are never kept whole."""

    @staticmethod
    def forward(ctx, stream: Tensor, readout: Tensor, targets: Tensor) -> Tensor:
        """``stream [tokens, d]``, ``readout [d, vocabulary]``, ``targets [tokens]`` -> nats ``[tokens]``, float32."""
        losses = torch.empty(len(stream), dtype=torch.float32)
        probabilities = stream.new_empty(len(stream), readout.shape[1])
        for block in blocks(len(stream), readout.shape[1]):
            logits = stream[block] @ readout
            torch.softmax(logits, -1, out=probabilities[block])
            # log p = logit - logsumexp, read off the largest entry, where bfloat16 is most exact
            top = logits.max(-1, keepdim=True)
            log_sum = top.values.float() - probabilities[block].gather(1, top.indices).float().log()
            losses[block] = (log_sum - logits.gather(1, targets[block, None]).float()).squeeze(1)
        ctx.save_for_backward(stream, readout, targets, probabilities)
        return losses

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        stream, readout, targets, probabilities = ctx.saved_tensors
        d_stream = torch.empty_like(stream)
        d_readout = torch.zeros_like(readout, dtype=torch.float32)
        for block in blocks(len(stream), readout.shape[1]):
            scale = grad[block, None].to(stream.dtype)
            d_logits = probabilities[block] * scale
            d_logits.scatter_add_(1, targets[block, None], -scale)
            torch.mm(d_logits, readout.T, out=d_stream[block])
            d_readout += stream[block].T @ d_logits
        return d_stream, d_readout.to(readout.dtype), None


def causal_mask(positions: int, dtype: torch.dtype) -> Tensor:
    """``[positions, positions]``: 0 on and below the diagonal, minus infinity above it."""
    return torch.full((positions, positions), -math.inf, dtype=dtype).triu(1)


def blocks(length: int, width: int) -> list[slice]:
    """Slices that cut ``length`` items of ``width`` entries into blocks of about `BLOCK_ELEMENTS`."""
    size = max(1, BLOCK_ELEMENTS // width)
    return [slice(start, start + size) for start in range(0, length, size)]
