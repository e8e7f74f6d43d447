"""Linear layer and cross-entropy in one pass: logits exist only in cache-sized tiles, never as a whole.

With z_v the logits of a token, y its target and s = sum_v exp(z_v - z_y), the loss is log s, and its slope along
the hidden state is (1/s) sum_v exp(z_v - z_y) W_v - W_y. Both sums run over tiles of the vocabulary, so one
sweep gives loss and slope, and the backward pass is a scaling of rows. Shifting by the target's own logit needs no
search for the maximum; rows where that overflows (losses beyond about 70 nats) are redone in the usual way.

Measured by ``benchmarks/bench_kernel.py`` on one core of a busy CPU with AMX: 2,016 tokens, 128 -> 50,304
logits of deviation 2.8, mean loss 7.39 nats, errors of the loss against float64:

| precision | loss only | loss + slope | rms error, nats | max error | error of the slope |
|---|---|---|---|---|---|
| PyTorch float32, logits kept | 0.55 s | 1.12 s | 3e-6 | 2e-5 | 4e-6 |
| ``float32`` | 0.20 s | 0.36 s | 3e-6 | 1.5e-5 | 5e-7 |
| ``mixed``: loss in float32, slope in bfloat16 | 0.20 s | 0.30 s | 3e-6 | 1.5e-5 | 1.6e-3 |
| ``bfloat16``: products in bfloat16, sums in float32 | 0.11 s | 0.19 s | 7.5e-3 | 3.7e-2 | 2.5e-3 |

Splitting hidden states and weights into two bfloat16 halves each (three products) has an rms error of 1e-5
nats, but its loss takes as long as in float32 here, so ``mixed`` covers that ground.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from susceptometer.errors import SubjectError
from susceptometer.posterior import vocabulary
from susceptometer.posterior.products import bfloat16_products, checked

TILE = (504, 512)
"""Tokens and vocabulary entries of one tile: 1 MB of float32 logits, half of a second-level cache."""

GPU_TILE = (4096, 8192)
"""The same on a GPU, where a tile must fill the machine."""


@dataclass(frozen=True)
class Readout:
    """The output layer: logits = softcap(hidden @ weight.T + bias).

    Args:
        weight: ``[V, d]``.
        bias: ``[V]`` or None.
        softcap: c of c tanh(z / c), or None.
        precision: One of `products.PRECISIONS`.

    Raises:
        RecipeError: Unknown precision.
    """

    weight: Tensor
    bias: Tensor | None = None
    softcap: float | None = None
    precision: str = "float32"

    def __post_init__(self) -> None:
        checked(self.precision)

    def logits(self, hidden: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        """Logits ``[n, stop - start]`` of ``hidden`` ``[n, d]``, plain PyTorch."""
        part = slice(start, stop)
        return self.cap(self._raw(hidden, part))

    def cap(self, raw: Tensor) -> Tensor:
        """The soft cap applied to raw logits."""
        return raw if self.softcap is None else self.softcap * torch.tanh(raw / self.softcap)

    def target_logits(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Logit ``[n]`` of each row's target."""
        parts = zip(*(x.split(_tile(hidden)[0]) for x in (hidden, targets)), strict=True)
        raw = torch.cat([(part * self.weight[chosen]).sum(-1) for part, chosen in parts])
        return self.cap(raw if self.bias is None else raw + self.bias[targets])

    def _raw(self, hidden: Tensor, part: slice) -> Tensor:
        raw = hidden @ self.weight[part].T
        return raw if self.bias is None else raw + self.bias[part]


def linear_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    *,
    bias: Tensor | None = None,
    softcap: float | None = None,
    precision: str = "float32",
) -> Tensor:
    """Loss of every token under a linear output layer: ``F.cross_entropy(softcap(h W^T + b))``.

    Args:
        hidden: Final hidden states, ``[n, d]``, float32 or float64.
        weight: Output matrix, ``[V, d]``, same dtype. Its gradient is formed only where it is required.
        targets: Token ids, int64 ``[n]``, in ``0..V-1``.
        bias: ``[V]`` or None.
        softcap: Logits are capped to ``c tanh(z / c)``; None: not.
        precision: ``float32``, ``mixed`` or ``bfloat16``; see the table of this module.

    Returns:
        Nats ``[n]``, differentiable once in hidden, weight and bias.

    Raises:
        SubjectError: Shapes or dtypes do not fit.
        RecipeError: Unknown precision.
    """
    _check(hidden, weight, targets)
    readout = Readout(weight, bias, softcap, precision)
    if not torch.is_grad_enabled():
        return token_losses(hidden, readout, targets)
    return _LinearCrossEntropy.apply(hidden, weight, bias, targets, softcap, precision)


@torch.no_grad()
def token_losses(hidden: Tensor, readout: Readout, targets: Tensor) -> Tensor:
    """Losses ``[n]`` without anything for a gradient; arguments as in `linear_cross_entropy`."""
    return _sweep(hidden, readout, targets, sloped=False)[0]


@torch.no_grad()
def losses_and_slopes(hidden: Tensor, readout: Readout, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Losses ``[n]`` and their slopes along the hidden states ``[n, d]``, e.g. for forward-mode derivatives."""
    return _sweep(hidden, readout, targets, sloped=True)


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        softcap: float | None,
        precision: str,
    ) -> Tensor:
        readout = Readout(weight, bias, softcap, precision)
        ctx.fixed = not (weight.requires_grad or (bias is not None and bias.requires_grad))
        sloped = ctx.fixed and hidden.requires_grad
        losses, slopes = _sweep(hidden, readout, targets, sloped=sloped)
        kept = (slopes,) if ctx.fixed else (hidden, weight, bias, targets, losses)
        ctx.save_for_backward(*kept)
        ctx.settings = (softcap, precision)
        return losses

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.fixed:
            (slopes,) = ctx.saved_tensors
            return grad[:, None] * slopes, None, None, None, None, None
        hidden, weight, bias, targets, losses = ctx.saved_tensors
        readout = Readout(weight, bias, *ctx.settings)
        return (*_full_backward(readout, hidden, targets, losses, grad), None, None, None)


def _sweep(hidden: Tensor, readout: Readout, targets: Tensor, *, sloped: bool) -> tuple[Tensor, Tensor]:
    """One pass over all tiles: losses ``[n]`` and, if ``sloped``, slopes ``[n, d]``."""
    gpu, own_logits = on_gpu(hidden), readout.target_logits(hidden, targets)[:, None]
    if gpu and vocabulary.serves(hidden.shape[1], bias=readout.bias is not None, capped=readout.softcap is not None):
        return _attended(hidden, readout, targets)
    shift = _largest_logits(hidden, readout) if gpu else own_logits
    total = hidden.new_zeros(len(hidden))
    slopes = hidden.new_zeros(hidden.shape if sloped else (0, hidden.shape[1]))
    for rows, entries, odds, steep in _tiles(hidden, readout, shift):
        total[rows] += odds.sum(1)
        if sloped:
            half = readout.precision != "float32"
            _product(_times(odds, steep), readout.weight[entries], slopes[rows], half=half, add=True)
    if sloped:
        for rows in _slices(len(hidden), _tile(hidden)[0]):
            own = _times(readout.weight[targets[rows]], _steepness(readout, own_logits[rows]))
            slopes[rows].div_(total[rows, None]).sub_(own)
    losses = total.log()
    if gpu:
        return losses.add_((shift - own_logits).squeeze(1)), slopes
    _redo_overflow(hidden, readout, targets, losses, slopes)
    return losses, slopes


def on_gpu(hidden: Tensor) -> bool:
    """Whether the way without any look at values from the host is taken: fused attention, or the maximum first."""
    return hidden.is_cuda


def _attended(hidden: Tensor, readout: Readout, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Losses ``[n]`` and slopes ``[n, d]`` by fused attention over the vocabulary."""
    dtype = torch.bfloat16 if readout.precision == "bfloat16" and hidden.is_cuda else hidden.dtype
    weight, bias = readout.weight.to(dtype), None if readout.bias is None else readout.bias.to(dtype)
    whole, mean = vocabulary.attended(hidden.to(dtype), weight, bias)
    losses = whole.to(hidden.dtype) - readout.target_logits(hidden, targets)
    return losses, mean.to(hidden.dtype) - readout.weight[targets]


def _largest_logits(hidden: Tensor, readout: Readout) -> Tensor:
    """The largest logit ``[n, 1]`` of every row."""
    tokens, words = _tile(hidden)
    buffer = hidden.new_empty(min(tokens, len(hidden)) * words)
    largest = hidden.new_full((len(hidden),), -torch.inf)
    for entries in _slices(len(readout.weight), words):
        for rows in _slices(len(hidden), tokens):
            z = _tile_logits(readout, hidden[rows], entries, buffer)
            torch.maximum(largest[rows], z.amax(1), out=largest[rows])
    return largest[:, None]


def _tiles(hidden: Tensor, readout: Readout, shift: Tensor) -> Iterator[tuple[slice, slice, Tensor, Tensor | None]]:
    """Every tile: its rows, its vocabulary entries, exp(z - shift) there, and the slope of the cap."""
    tokens, words = _tile(hidden)
    buffer = hidden.new_empty(min(tokens, len(hidden)) * words)
    for entries in _slices(len(readout.weight), words):
        for rows in _slices(len(hidden), tokens):
            z = _tile_logits(readout, hidden[rows], entries, buffer)
            steep = _steepness(readout, z)
            yield rows, entries, z.sub_(shift[rows]).exp_(), steep


def _tile_logits(readout: Readout, hidden: Tensor, entries: slice, buffer: Tensor) -> Tensor:
    """Logits ``[rows, entries]`` written into ``buffer``."""
    part = readout.weight[entries]
    z = buffer[: len(hidden) * len(part)].view(len(hidden), len(part))
    _product(hidden, part.T, z, half=readout.precision == "bfloat16")
    if readout.bias is not None:
        z += readout.bias[entries]
    return z if readout.softcap is None else z.div_(readout.softcap).tanh_().mul_(readout.softcap)


def _steepness(readout: Readout, capped: Tensor) -> Tensor | None:
    """Derivative 1 - (z/c)^2 of the soft cap where its value is ``capped``; None without a cap."""
    return None if readout.softcap is None else 1 - (capped / readout.softcap).square()


def _times(value: Tensor, factor: Tensor | None) -> Tensor:
    return value if factor is None else value * factor


def _redo_overflow(hidden: Tensor, readout: Readout, targets: Tensor, losses: Tensor, slopes: Tensor) -> None:
    """Overwrite rows whose odds left the range of float32, with the maximum as the shift."""
    lost = (~(losses < 69.0)).nonzero().reshape(-1)
    for rows in lost.split(64):
        z = readout.logits(hidden[rows])
        chosen = targets[rows, None]
        losses[rows] = z.logsumexp(1) - z.gather(1, chosen).squeeze(1)
        if len(slopes):
            pull = z.softmax(1).scatter_add_(1, chosen, -torch.ones_like(z[:, :1]))
            slopes[rows] = _times(pull, _steepness(readout, z)) @ readout.weight


def _full_backward(
    readout: Readout, hidden: Tensor, targets: Tensor, losses: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Gradients of hidden, weight and bias; the tiles are computed again instead of stored."""
    own = readout.target_logits(hidden, targets)[:, None]
    d_hidden, d_weight = torch.zeros_like(hidden), torch.zeros_like(readout.weight)
    d_bias = None if readout.bias is None else torch.zeros_like(readout.bias)
    for rows, entries, share, steep in _tiles(hidden, readout, own + losses[:, None]):
        slope = _times(share.mul_(grad[rows, None]), steep)
        d_hidden[rows].addmm_(slope, readout.weight[entries])
        d_weight[entries].addmm_(slope.T, hidden[rows])
        if d_bias is not None:
            d_bias[entries] += slope.sum(0)
    pull = _times(grad[:, None], _steepness(readout, own))
    d_hidden -= pull * readout.weight[targets]
    d_weight.index_add_(0, targets, pull * hidden, alpha=-1)
    if d_bias is not None:
        d_bias.index_add_(0, targets, pull.squeeze(1), alpha=-1)
    return d_hidden, d_weight, d_bias


def _product(a: Tensor, b: Tensor, into: Tensor, *, half: bool, add: bool = False) -> None:
    """``into = a @ b`` (or ``+=``) in float32; with ``half``, factors in bfloat16 and sums in float32."""
    if half and a.is_cuda:
        found = torch.mm(a.bfloat16(), b.bfloat16(), out_dtype=into.dtype)
        into.add_(found) if add else into.copy_(found)
        return
    with bfloat16_products() if half else nullcontext():
        into.addmm_(a, b) if add else torch.mm(a, b, out=into)


def _tile(hidden: Tensor) -> tuple[int, int]:
    return GPU_TILE if hidden.is_cuda else TILE


def _slices(length: int, step: int) -> list[slice]:
    return [slice(start, min(start + step, length)) for start in range(0, length, step)]


def _check(hidden: Tensor, weight: Tensor, targets: Tensor) -> None:
    fits = hidden.ndim == 2 and weight.ndim == 2 and hidden.shape[1] == weight.shape[1]
    if not fits or targets.shape != hidden.shape[:1] or hidden.dtype != weight.dtype:
        given = {"hidden": hidden, "weight": weight, "targets": targets}
        shown = ", ".join(f"{name} {x.dtype} {tuple(x.shape)}".replace("torch.", "") for name, x in given.items())
        raise SubjectError(
            "shapes or types do not fit", where="linear_cross_entropy", value=shown,
            do="pass hidden [n, d] and weight [V, d] of one dtype and targets [n]",
        )  # fmt: skip
