"""Fast attention and cross-entropy for training: bfloat16 matrix products, worked off in
cache-sized blocks.

Ordinary first-order autograd only (no ``torch.func``): training needs speed, sampling has its own
path. Master weights stay float32; gradients come back in the dtype of the inputs.
"""

import math
from typing import Any

import torch
from torch import Tensor

BLOCK_ELEMENTS = 1 << 21
"""Entries of one score or logit block. 4 MB in bfloat16: about the second-level cache."""

QUERIES = 64
"""Queries of one attention tile."""


class CausalAttention(torch.autograd.Function):
    """Softmax attention over the past, in squares of `QUERIES` queries that skip the keys of the future."""

    @staticmethod
    def forward(ctx: Any, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """All ``[groups, positions, d_head]``; ``groups`` is rows x heads. Returns the same shape."""
        queries = queries * (1 / math.sqrt(queries.shape[-1]))
        out = torch.empty_like(values)
        kept = []
        for rows, asked, seen in tiles(*queries.shape[:2]):
            mask = causal_mask(asked, seen, queries.dtype)
            scores = torch.baddbmm(mask, queries[rows, asked], keys[rows, seen].transpose(1, 2))
            kept.append(torch.softmax(scores, -1))
            out[rows, asked] = torch.bmm(kept[-1], values[rows, seen])
        ctx.save_for_backward(queries, keys, values, *kept)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of queries, keys and values; shapes of `forward`."""
        queries, keys, values, *kept = ctx.saved_tensors
        d_queries = torch.empty_like(queries)
        d_keys, d_values = torch.zeros_like(keys), torch.zeros_like(values)
        for (rows, asked, seen), pattern in zip(tiles(*queries.shape[:2]), kept, strict=True):
            d_out = grad[rows, asked]
            d_values[rows, seen] += torch.bmm(pattern.transpose(1, 2), d_out)
            d_pattern = torch.bmm(d_out, values[rows, seen].transpose(1, 2))
            d_scores = torch._softmax_backward_data(  # noqa: SLF001 (no public name)
                d_pattern, pattern, -1, pattern.dtype
            )
            d_queries[rows, asked] = torch.bmm(d_scores, keys[rows, seen])
            d_keys[rows, seen] += torch.bmm(d_scores.transpose(1, 2), queries[rows, asked])
        return d_queries * (1 / math.sqrt(queries.shape[-1])), d_keys, d_values


class CrossEntropy(torch.autograd.Function):
    """Negative log probability of each target under a linear readout, worked off in blocks of tokens."""

    @staticmethod
    def forward(ctx: Any, stream: Tensor, readout: Tensor, targets: Tensor) -> Tensor:
        """``stream [tokens, d]``, ``readout [d, vocabulary]``, ``targets [tokens]`` -> nats
        ``[tokens]``, float32.
        """
        losses = torch.empty(len(stream), dtype=torch.float32)
        errors = stream.new_empty(len(stream), readout.shape[1])
        for block in blocks(len(stream), readout.shape[1]):
            torch.softmax(stream[block] @ readout, -1, out=errors[block])
            chosen = errors[block].gather(1, targets[block, None])
            losses[block] = -chosen.squeeze(1).float().log()
            errors[block].scatter_(1, targets[block, None], chosen - 1)
        ctx.save_for_backward(stream, readout, errors)
        return losses

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        """Gradients of stream and readout, from those of the losses ``[tokens]``."""
        stream, readout, errors = ctx.saved_tensors
        weight = grad[:, None].to(stream.dtype)
        d_stream = (errors @ readout.T).mul_(weight)
        return d_stream, (stream * weight).T @ errors, None


def causal_mask(asked: slice, seen: slice, dtype: torch.dtype) -> Tensor:
    """``[queries, keys]``: 0 where the key is not later than the query, minus infinity elsewhere."""
    shape = asked.stop - asked.start, seen.stop
    return torch.full(shape, -math.inf, dtype=dtype).triu(1 + asked.start)


def tiles(groups: int, positions: int) -> list[tuple[slice, slice, slice]]:
    """Groups, queries, and the keys these queries may see: together all of the causal triangle."""
    ends = [(start, min(start + QUERIES, positions)) for start in range(0, positions, QUERIES)]
    return [
        (rows, slice(start, stop), slice(0, stop)) for start, stop in ends for rows in blocks(groups, QUERIES * stop)
    ]


def blocks(length: int, width: int) -> list[slice]:
    """Slices that cut ``length`` items of ``width`` entries into blocks of about `BLOCK_ELEMENTS`."""
    size = max(1, BLOCK_ELEMENTS // width)
    return [slice(start, start + size) for start in range(0, length, size)]
