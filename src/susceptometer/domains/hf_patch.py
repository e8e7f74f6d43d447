"""One module, many chains: forward passes in which each chain has its own values for a few weights.

Activations carry the chains folded into their first axis, chain by chain: ``[chains * m, ...]``. A linear module
does one large product with its frozen matrix and adds ``x[..., columns] (W_c - W*)[rows, columns]^T`` for the boxes
that differ; a linear module that differs as a whole is one batched product. Any other module runs once per
chain. Nothing is written into the model: a patch stands in for ``module.forward`` while it is active.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from transformers.pytorch_utils import Conv1D

from susceptometer.posterior.component import Piece

Change = tuple[str, Piece, Tensor]
"""``weight`` or ``bias``, the piece of it that differs, and its values ``[chains, *block_shape]``."""


@contextmanager
def standing_in(forwards: dict[nn.Module, Callable]) -> Iterator[None]:
    """Use other forward functions for some modules inside the block; the modules are as before after it."""
    with ExitStack() as stack:
        for module, forward in forwards.items():
            stack.callback(_restore, module, module.__dict__.get("forward"))
            module.__dict__["forward"] = forward
        yield


def _restore(module: nn.Module, before: Callable | None) -> None:
    if before is None:
        module.__dict__.pop("forward", None)
    else:
        module.__dict__["forward"] = before


def chained(module: nn.Module, changes: list[Change], sizes: tuple[int, int]) -> Callable:
    """A forward function of ``module`` in which chain c sees its own values of the changed weights.

    Args:
        module: Any module that owns the changed weights itself.
        changes: What differs; blocks of one weight do not overlap.
        sizes: Number of chains, and number of sequences ``chains * m`` (first axis of activations).
    """
    if _product_like(module):
        return _linear(module, changes, sizes[0])
    return _each_chain(module, changes, sizes)


def _product_like(module: nn.Module) -> bool:
    """``Conv1D`` and subclasses of ``nn.Linear`` that spell the same product differently."""
    return isinstance(module, nn.Linear | Conv1D)


def _linear(module: nn.Module, changes: list[Change], chains: int) -> Callable:
    weight = module.weight.T if isinstance(module, Conv1D) else module.weight
    boxes = [_oriented(module, change) for change in changes]
    whole = next((c for c in boxes if c[0] == "weight" and c[1].whole), None)

    def forward(x: Tensor) -> Tensor:
        rows = x.reshape(chains, -1, x.shape[-1])
        if whole is None:
            out = F.linear(x, weight, module.bias).view(chains, -1, len(weight))
        else:
            out = torch.bmm(rows, whole[2].transpose(1, 2))
            out = out if module.bias is None else out.add_(module.bias)
        for kind, piece, value in boxes:
            if kind == "bias":
                out[..., piece.box[0]] += (value - module.bias[piece.box])[:, None]
            elif not piece.whole:
                difference = value - weight[piece.box]
                out[..., piece.box[0]] += torch.bmm(rows[..., piece.box[1]], difference.mT)
        return out.view(*x.shape[:-1], len(weight))

    return forward


def _oriented(module: nn.Module, change: Change) -> Change:
    """The change of a product as ``[out, in]``, loose entries spread to whole weights."""
    kind, piece, value = change
    if piece.entries is not None:
        value = spread(getattr(module, kind), piece, value)
        piece = Piece(piece.param, piece.shape, tuple(slice(0, size) for size in piece.shape))
    if kind == "weight" and isinstance(module, Conv1D):
        return kind, Piece(piece.param, piece.shape[::-1], piece.box[::-1]), value.mT
    return kind, piece, value


def spread(center: Tensor, piece: Piece, value: Tensor) -> Tensor:
    """Whole weights ``[chains, *shape]``: ``center`` with the piece replaced by ``value``."""
    if piece.whole:
        return value
    flat = center.reshape(1, -1).expand(len(value), -1)
    entries = piece.flat_entries().to(flat.device)
    return flat.index_copy(1, entries, value.flatten(1)).view(len(value), *center.shape)


def spread_all(module: nn.Module, changes: list[Change]) -> dict[str, Tensor]:
    """Every changed weight of ``module``, whole: name -> ``[chains, *shape]``."""
    whole: dict[str, Tensor] = {}
    for kind, piece, value in changes:
        if kind not in whole:
            whole[kind] = spread(getattr(module, kind), piece, value)
        else:
            entries = piece.flat_entries().to(value.device)
            flat = whole[kind].flatten(1).index_copy(1, entries, value.flatten(1))
            whole[kind] = flat.view_as(whole[kind])
    return whole


def _each_chain(module: nn.Module, changes: list[Change], sizes: tuple[int, int]) -> Callable:
    whole, (chains, folded) = spread_all(module, changes), sizes
    plain = type(module).forward.__get__(module)

    def forward(*args: object, **options: object) -> object:
        out = []
        for chain in range(chains):
            mine = {kind: value[chain] for kind, value in whole.items()}
            part = _unfolded(args, options, chain, sizes)
            with standing_in({module: plain}):
                out.append(functional_call(module, mine, *part))
        if any(_is_folded(value, folded) for value in (*args, *options.values())):
            return _joined(out)
        # The input is shared by all sequences, as in learned positions.
        return torch.cat([value.expand(folded // chains, *value.shape[1:]) for value in out])

    return forward


def _joined(out: list) -> object:
    """Outputs of all chains, one after another; tuples (a router's) member by member."""
    if isinstance(out[0], tuple):
        return tuple(torch.cat(parts) for parts in zip(*out, strict=True))
    return torch.cat(out)


def _unfolded(args: tuple, options: dict, chain: int, sizes: tuple[int, int]) -> tuple[tuple, dict]:
    """The arguments of one chain: tensors whose first axis is folded are cut, others are shared."""
    chains, folded = sizes

    def mine(value: object) -> object:
        if not _is_folded(value, folded):
            return value
        share = len(value) // chains
        return value[chain * share : (chain + 1) * share]

    return tuple(map(mine, args)), {key: mine(value) for key, value in options.items()}


def _is_folded(value: object, folded: int) -> bool:
    """Whether the first axis holds all sequences (or all their tokens: OPT flattens both axes)."""
    return isinstance(value, Tensor) and value.ndim > 0 and len(value) % folded == 0
