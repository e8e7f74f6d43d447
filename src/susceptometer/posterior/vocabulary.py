"""The loss over a vocabulary as fused attention: one kernel that never stores logits, and well kept by PyTorch.

With hidden states h as queries and the rows W_v of the output matrix as keys and values (scale 1, no mask), attention
returns sum_v softmax(h W^T)_v W_v and the log-sum-exp of the logits, so that

    loss = logsumexp(h W^T) - h W_y ,      d loss / d h = attention(h, W, W) - W_y .

Both come from one pass of the flash (bfloat16) or memory-efficient (float32) kernel of scaled dot-product attention. A
bias enters as one more coordinate with a constant 1 in the queries. The keys are cut into parts that serve as separate
heads, so that few tokens fill a GPU too; parts are joined by their log-sum-exp.

It serves where the width fits these kernels (at most 256) and there is no soft cap. On CPUs the tiles of
`posterior.kernel` are faster; the same equation is tested there with PyTorch's own CPU kernel.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

WIDTH = 256
"""Largest head width of PyTorch's fused attention kernels."""

ALIGNED = 8
"""Widths are filled up to a multiple of this."""

PARTS = (16, 12, 8, 6, 4, 3, 2, 1)
"""Into how many parts the vocabulary may be cut: the first that divides it."""

FILL_TOKENS = 32_768
"""Tokens x parts that fill a GPU; more parts than needed for that only cost memory."""


def serves(width: int, *, bias: bool, capped: bool) -> bool:
    """Whether fused attention can compute this loss."""
    return not capped and _aligned(width + bias) <= WIDTH


def attended(hidden: Tensor, weight: Tensor, bias: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Log-sum-exp of the logits and mean output row under the softmax.

    Args:
        hidden: ``[n, d]``, float32 or bfloat16.
        weight: ``[V, d]``, same dtype.
        bias: ``[V]`` or None.

    Returns:
        ``[n]`` float32 nats, and ``[n, d]`` in the dtype of ``hidden``.
    """
    count, width = hidden.shape
    parts = parts_of(len(weight), count)
    queries = hidden if bias is None else torch.cat([hidden, torch.ones_like(hidden[:, :1])], 1)
    keys = weight if bias is None else torch.cat([weight, bias[:, None]], 1)
    wide = _aligned(keys.shape[1])
    queries, keys, values = (F.pad(x, (0, wide - x.shape[1])) for x in (queries, keys, weight))
    split = (parts, -1, wide)
    out, each = _attention(queries.expand(parts, count, wide)[None], keys.view(split)[None], values.view(split)[None])
    out, each = out[0, :, :, :width], each[0, :, :count].float()
    whole = each.logsumexp(0)
    share = (each - whole).exp()[:, :, None].to(out.dtype)
    return whole, (share * out).sum(0)


def parts_of(words: int, tokens: int) -> int:
    """Parts of the vocabulary that run side by side."""
    wanted = max(1, FILL_TOKENS // max(1, tokens))
    return next(parts for parts in PARTS if words % parts == 0 and parts <= wanted)


def _aligned(width: int) -> int:
    return -(-width // ALIGNED) * ALIGNED


def _attention(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Attention ``[1, heads, n, d]`` with scale 1 and its log-sum-exp ``[1, heads, >= n]``; PyTorch's own kernels."""
    q, k, v = (x.contiguous() for x in (q, k, v))
    aten = torch.ops.aten
    if not q.is_cuda:
        return aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, False, scale=1.0)  # noqa: SLF001
    if q.dtype is torch.float32:
        found = aten._scaled_dot_product_efficient_attention(q, k, v, None, True, 0.0, False, scale=1.0)  # noqa: SLF001
    else:
        found = aten._scaled_dot_product_flash_attention(q, k, v, 0.0, False, False, scale=1.0)  # noqa: SLF001
    return found[0], found[1]
