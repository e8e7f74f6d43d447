"""Whatever computes, moved to another device: tensors, modules, and the dataclasses and partials that hold them."""

import copy
import functools
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

Memo = dict[object, Any]
"""What was moved already: weights that several holders share stay shared."""


def moved(thing: Any, device: torch.device | str, memo: Memo | None = None) -> Any:
    """``thing`` with every tensor it holds on ``device``; unchanged where it holds none.

    Dataclasses are made anew from their public fields, so that what they keep privately is measured again.

    Args:
        thing: Tensor, module, mapping, partial, dataclass, or anything else (returned as it is).
        device: Where to.
        memo: What was moved before; give the same one to keep weights shared between several calls.
    """
    memo = {} if memo is None else memo
    if isinstance(thing, nn.Module):
        return _module(thing, device, memo)
    if isinstance(thing, Tensor):
        return _tensor(thing, device, memo)
    if isinstance(thing, Mapping):
        return {key: moved(value, device, memo) for key, value in thing.items()}
    if isinstance(thing, functools.partial):
        args = [moved(value, device, memo) for value in thing.args]
        named = {key: moved(value, device, memo) for key, value in thing.keywords.items()}
        return functools.partial(moved(thing.func, device, memo), *args, **named)
    if is_dataclass(thing) and not isinstance(thing, type):
        public = [field.name for field in fields(thing) if field.init and not field.name.startswith("_")]
        return type(thing)(**{name: moved(getattr(thing, name), device, memo) for name in public})
    return thing


def _tensor(value: Tensor, device: torch.device | str, memo: Memo) -> Tensor:
    key = (value.untyped_storage()._cdata, value.storage_offset(), value.dtype, tuple(value.shape), value.stride())  # noqa: SLF001
    if key not in memo:
        memo[key] = value.detach().to(device)
    return memo[key]


def _module(module: nn.Module, device: torch.device | str, memo: Memo) -> nn.Module:
    if id(module) not in memo:
        held: dict[int, object] = {
            id(value): nn.Parameter(_tensor(value, device, memo), requires_grad=value.requires_grad)
            for value in module.parameters()
        }
        held |= {id(value): _tensor(value, device, memo) for value in module.buffers()}
        memo[id(module)] = copy.deepcopy(module, held)
    return memo[id(module)]
