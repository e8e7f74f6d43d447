"""How a decoder layer is wired, measured with gradients instead of read off names.

Every linear module of the layer gets its output replaced by random numbers that start a gradient. What the
input of a linear module depends on is then a fact of the graph: modules that read the residual stream,
modules that write to it, which output rows feed which input columns, and whether positions mix.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from susceptometer.rng import stream

POSITIONS = 3
"""Tokens of the measuring sequence: enough to tell the present from the past."""


@dataclass
class Wiring:
    """One recorded pass through a layer; every key is a module path relative to the layer.

    Args:
        reads: Input of each linear module, ``[POSITIONS, in]``, before anything was cut.
        writes: Output of each linear module, ``[POSITIONS, out]``: a leaf, cut from its input.
        norms: Input and output of each other module with weights (passed through unchanged).
        entry: Residual stream entering the layer: a leaf.
        exit: Residual stream leaving the layer.
    """

    reads: dict[str, Tensor] = field(default_factory=dict)
    writes: dict[str, Tensor] = field(default_factory=dict)
    norms: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    entry: Tensor = field(default_factory=lambda: torch.zeros(()))
    exit: Tensor = field(default_factory=lambda: torch.zeros(()))


def linear_modules(module: nn.Module) -> dict[str, nn.Module]:
    """Linear modules (``nn.Linear`` and the transposed ``Conv1D`` of GPT-2) below ``module``."""
    return {n: m for n, m in module.named_modules() if isinstance(m, nn.Linear | Conv1D)}


def layer_paths(model: nn.Module) -> list[str]:
    """Paths of the decoder layers: the module list that holds most weights; empty if there is none."""
    lists = [
        (sum(p.numel() for p in module.parameters()), name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and all(linear_modules(child) for child in module)
    ]
    if not lists:
        return []
    _, name, module = max(lists, key=lambda entry: entry[0])
    return [f"{name}.{i}" for i in range(len(module))]


def record(model: nn.Module, layer: str, vocabulary: int) -> Wiring:
    """Run ``model`` (evaluation mode, eager attention) once with ``layer`` cut open; see `Wiring`."""
    wiring = Wiring()
    tokens = torch.randint(vocabulary, (1, POSITIONS), generator=stream(0, "walk")).to(model.device)
    with _cut_open(model.get_submodule(layer), wiring), torch.enable_grad():
        model(input_ids=tokens, use_cache=False)
    return wiring


@contextmanager
def _cut_open(layer: nn.Module, wiring: Wiring) -> Iterator[None]:
    linears = linear_modules(layer)
    others = {
        name: module for name, module in layer.named_modules() if name and name not in linears and _is_norm(module)
    }
    with ExitStack() as stack:
        keep = [layer.register_forward_pre_hook(_enter(wiring), with_kwargs=True)]
        keep += [layer.register_forward_hook(_leave(wiring))]
        keep += [module.register_forward_hook(_cut(wiring, name)) for name, module in linears.items()]
        keep += [module.register_forward_hook(_pass(wiring, name)) for name, module in others.items()]
        for handle in keep:
            stack.callback(handle.remove)
        yield


def _is_norm(module: nn.Module) -> bool:
    """Only vectors as weights of its own: a norm or a scale."""
    own = list(module.parameters(recurse=False))
    return bool(own) and all(value.ndim == 1 for value in own)


def _enter(wiring: Wiring) -> Callable:
    def hook(_module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        hidden = args[0] if args else kwargs["hidden_states"]
        wiring.entry = _random(hidden, "entry").requires_grad_()
        if args:
            return (wiring.entry, *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": wiring.entry}

    return hook


def _leave(wiring: Wiring) -> Callable:
    def hook(_module: nn.Module, _args: tuple, output: object) -> None:
        wiring.exit = output if isinstance(output, Tensor) else output[0]

    return hook


def _cut(wiring: Wiring, name: str) -> Callable:
    def hook(_module: nn.Module, args: tuple, output: Tensor) -> Tensor:
        leaf = _random(output, name).abs() + 0.1  # > 0: no dead ReLU
        wiring.reads[name] = args[0].reshape(POSITIONS, -1)
        wiring.writes[name] = leaf.requires_grad_()
        return leaf.clone()

    return hook


def _pass(wiring: Wiring, name: str) -> Callable:
    def hook(_module: nn.Module, args: tuple, output: object) -> object:
        if not (args and isinstance(args[0], Tensor) and isinstance(output, Tensor)):
            return output
        if args[0].shape != output.shape or not args[0].requires_grad:
            return output
        through = args[0].clone()
        wiring.norms[name] = (args[0], through)
        return through

    return hook


def _random(like: Tensor, name: str) -> Tensor:
    value = torch.randn(like.shape, generator=stream(0, "walk", name), dtype=like.dtype)
    return value.to(like.device)


def depends(value: Tensor, on: list[Tensor]) -> list[bool]:
    """Whether ``value`` is computed from each tensor of ``on`` (a path in the graph exists)."""
    if not value.requires_grad:
        return [False] * len(on)
    grads = torch.autograd.grad(value.sum(), on, retain_graph=True, allow_unused=True)
    return [grad is not None for grad in grads]


def sensitivity(wiring: Wiring, writer: str, sources: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    """Which source rows move which input columns of ``writer`` at the last position.

    Returns:
        Two boolean matrices ``[columns, rows]`` (rows of all sources one after another): moved by the row at
        the same position, moved by the row at an earlier position.
    """
    target = wiring.reads[writer][-1]
    leaves = [wiring.writes[name] for name in sources]
    chosen = torch.eye(len(target), dtype=target.dtype, device=target.device)
    same, past = [], []
    for block in chosen.split(64):
        grads = torch.autograd.grad(target, leaves, block, retain_graph=True, is_grads_batched=True, allow_unused=True)
        moved = [_moved(grad, leaf, len(block)) for grad, leaf in zip(grads, leaves, strict=True)]
        whole = torch.cat(moved, -1)
        same.append(whole[:, -1])
        past.append(whole[:, :-1].any(1))
    return torch.cat(same).cpu(), torch.cat(past).cpu()


def _moved(grad: Tensor | None, leaf: Tensor, columns: int) -> Tensor:
    if grad is None:
        return torch.zeros(columns, POSITIONS, leaf.shape[-1], dtype=torch.bool, device=leaf.device)
    return grad.reshape(columns, POSITIONS, -1) != 0


def mixes_positions(wiring: Wiring, writer: str, sources: tuple[str, ...]) -> bool:
    """Whether the last position of the writer's input depends on earlier positions of its sources."""
    leaves = [wiring.writes[name] for name in sources]
    target = wiring.reads[writer][-1].sum()
    grads = torch.autograd.grad(target, leaves, retain_graph=True, allow_unused=True)
    return any(g is not None and bool(g.reshape(POSITIONS, -1)[:-1].any()) for g in grads)
