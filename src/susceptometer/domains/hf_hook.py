"""Hooks on a language model: which module holds what, where it acts, and how hidden states are swapped."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

BEFORE = -1
"""The place before the first layer."""


@contextmanager
def attending(model: PreTrainedModel, kind: str) -> Iterator[None]:
    """Inside: the model's attention runs by ``kind``: ``eager`` (any derivative) or ``sdpa`` (fused, first only)."""
    config = model.config
    before = config._attn_implementation  # noqa: SLF001 - the setter of the configuration
    config._attn_implementation = kind  # noqa: SLF001
    try:
        yield
    finally:
        config._attn_implementation = before  # noqa: SLF001


@torch.no_grad()
def best_attention(model: PreTrainedModel) -> str:
    """``sdpa`` where the fused kernel gives the model's own logits on 2 x 24 tokens, else ``eager``.

    Models that cap their attention scores stay eager: the fused kernel has no cap, and small scores hide that.
    """
    capped = getattr(model.config, "attn_logit_softcapping", None) is not None
    if capped or not model._supports_sdpa:  # noqa: SLF001 - transformers has no public name for it
        return "eager"
    size = int(model.config.get_text_config().vocab_size)
    tokens = (torch.arange(48, device=model.device) * 31 % size).view(2, 24)
    found = []
    for kind in ("eager", "sdpa"):
        with attending(model, kind):
            found.append(model(input_ids=tokens, use_cache=False).logits)
    scale, gap = float(found[0].abs().max()), float((found[0] - found[1]).abs().max())
    return "sdpa" if gap <= 1e-5 * max(scale, 1.0) else "eager"  # NaN: eager, and refused later in clear words


def owners(model: nn.Module) -> dict[str, list[tuple[str, str]]]:
    """Parameter name -> every ``(module path, attribute)`` that holds it (tied weights have two)."""
    names = {id(value): name for name, value in model.named_parameters()}
    owners: dict[str, list[tuple[str, str]]] = {name: [] for name in names.values()}
    for path, module in model.named_modules():
        for kind, value in module._parameters.items():  # noqa: SLF001 - tied weights must not be skipped
            if value is not None:
                owners[names[id(value)]].append((path, kind))
    return owners


@torch.no_grad()
def places(model: PreTrainedModel, layers: list[nn.Module]) -> tuple[dict[str, int], bool]:
    """Where each module with weights is first used: -1 before the layers, k in layer k, ``layers`` after."""
    places: dict[str, int] = {}
    now, tupled = [BEFORE], [False]
    handles = []

    def entering(number: int) -> Callable:
        return lambda *_: now.__setitem__(0, number)

    def leaving(_module: nn.Module, _args: tuple, output: object) -> None:
        now[0], tupled[0] = now[0] + 1, isinstance(output, tuple)

    def noting(path: str) -> Callable:
        return lambda *_: None if path in places else places.__setitem__(path, now[0])

    for number, layer in enumerate(layers):
        handles.append(layer.register_forward_pre_hook(entering(number)))
        handles.append(layer.register_forward_hook(leaving))
    for path, module in model.named_modules():
        if module._parameters:  # noqa: SLF001
            handles.append(module.register_forward_pre_hook(noting(path)))
    try:
        model(input_ids=torch.zeros(1, 2, dtype=torch.int64, device=model.device), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return places, tupled[0]


def pass_through(tupled: bool) -> Callable:
    """A layer that returns what it gets, in the form the model expects."""

    def forward(hidden_states: Tensor, *_args: object, **_options: object) -> object:
        return (hidden_states, None) if tupled else hidden_states

    return forward


def catch_input(caught: list[Tensor]) -> Callable:
    """A pre-hook (with keyword arguments) that appends the hidden states entering a layer."""

    def hook(_module: nn.Module, args: tuple, options: dict) -> None:
        caught.append(args[0] if args else options["hidden_states"])

    return hook


def catch_output(caught: list[Tensor]) -> Callable:
    """A hook that appends the hidden states leaving a layer."""
    return lambda _module, _args, out: caught.append(out[0] if isinstance(out, tuple) else out)


def replace_input(hidden: Tensor) -> Callable:
    """A pre-hook (with keyword arguments) that lets ``hidden`` enter a layer instead."""

    def hook(_module: nn.Module, args: tuple, options: dict) -> tuple[tuple, dict]:
        if args:
            return (hidden, *args[1:]), options
        return args, {**options, "hidden_states": hidden}

    return hook


def replace_output(hidden: Tensor) -> Callable:
    """A hook that lets ``hidden`` leave a layer instead."""
    return lambda _module, _args, out: (hidden, *out[1:]) if isinstance(out, tuple) else hidden
