"""The fast engine for Hugging Face models: frozen layers once per row, the rest with chains folded in.

For a component that first acts in layer k, `HFStages.prefix` runs the embedding and the layers before k
once per row. `HFStages.losses` runs layers k and later on ``chains * rows`` sequences at once with the
model's own code; earlier layers pass through, and only modules that hold weights of the component get a
forward function in which every chain has its own values (``hf_patch``). Logits are never stored
(``posterior.kernel``); attention runs fused where that gives the model's own logits (``hf_hook``).

Nothing is taken on trust: `HFStages.serves` compares losses with the plain path on a small example before
a component is served, so a model that does not fit this scheme falls back to the plain path.

Pythia-14M shape, 32 x 64 tokens, one thread (``benchmarks/bench_hf_stages.py``), in units of PyTorch's own
forward and backward pass (1.98 s) and of its forward pass with F.cross_entropy (0.87 s):

| component | step float32 | step bfloat16 | observable float32 | observable bfloat16 |
|---|---|---|---|---|
| head in layer 0 | 0.28 | 0.19 | 0.35 | 0.23 |
| head in layer 5 | 0.21 | 0.12 | 0.27 | 0.15 |
| unembedding | 0.36 | 0.29 | 0.23 | 0.13 |
| all weights | 0.56 | 0.44 | 0.34 | 0.23 |
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from transformers import PreTrainedModel

from susceptometer.domains.hf_hook import (
    BEFORE,
    attending,
    best_attention,
    catch_input,
    catch_output,
    owners,
    pass_through,
    places,
    replace_input,
    replace_output,
)
from susceptometer.domains.hf_patch import Change, chained, spread_all, standing_in
from susceptometer.domains.hf_readout import Head, measured_head
from susceptometer.domains.hf_walk import layer_paths
from susceptometer.posterior.component import Component, Piece
from susceptometer.rng import stream
from susceptometer.types import Batch, Carry


@dataclass(frozen=True)
class Plan:
    """How a component is run.

    Args:
        first: Number of the first layer that sees it; -1: the embedding; ``layers``: after the last layer.
        patched: Module path -> ``(weight or bias, which piece)`` for every module that holds some of it.
        readout: The same for the output layer.
    """

    first: int
    patched: dict[str, list[tuple[str, int]]]
    readout: list[tuple[str, int]]


@dataclass
class HFStages:
    """Stages of a causal language model; implements ``posterior.stages.Stages``.

    Args:
        model: A skeleton (``hf_model.skeleton``), never the user's own model.
        precision: Of the matrix products: ``float32``, ``mixed`` or ``bfloat16`` (``posterior.products``). Here only
            the output layer's follow it; `LocalPosterior` runs the rest under it.
        refused: Filled as components are refused: name -> why.
    """

    model: PreTrainedModel
    precision: str = "float32"
    refused: dict[str, str] = field(default_factory=dict, repr=False)
    _plans: dict[tuple, Plan | None] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.layers = [self.model.get_submodule(path) for path in layer_paths(self.model)]
        self.head: Head | None = measured_head(self.model, self.precision) if self.layers else None
        self.owners = owners(self.model)
        self.places, self.tupled = places(self.model, self.layers)
        self.attention = best_attention(self.model)

    def serves(self, component: Component) -> bool:
        """Whether the component runs in stages with the same losses as the plain path (checked once)."""
        return self._plan(component) is not None

    def place(self, component: Component) -> int:
        """The first layer that sees the component; what is before it is frozen."""
        plan = self._plan(component)
        return BEFORE if plan is None else plan.first

    @torch.no_grad()
    def prefix(self, component: Component, batch: Batch) -> Carry:
        """``tokens [rows, K]`` and, where the component leaves layers frozen, ``hidden [rows, K-1, d]``."""
        plan, tokens = self._plan(component), batch["tokens"]
        if plan is None or plan.first == BEFORE:
            return {"tokens": tokens}
        return {"tokens": tokens, "hidden": self._frozen(plan.first, tokens[:, :-1])}

    def losses(self, component: Component, weights: Tensor, carry: Carry, rows: Tensor | None) -> Tensor:
        """Losses ``[chains, m, K-1]`` at ``weights [chains, d]``; see ``Stages``."""
        plan = self._plan(component)
        assert plan is not None, f"{component.name} is not served in stages"
        return self._run(plan, component, weights, carry, rows)

    def _run(self, plan: Plan, component: Component, weights: Tensor, carry: Carry, rows: Tensor | None) -> Tensor:
        chains = len(weights)
        folded = {key: _folded(value, chains, rows) for key, value in carry.items()}
        tokens = folded["tokens"].long()
        values = component.split(weights)
        forwards = {
            self.model.get_submodule(path): chained(
                self.model.get_submodule(path),
                _changes(found, component, values),
                (chains, len(tokens)),
            )
            for path, found in plan.patched.items()
        }
        final = self._suffix(plan, folded, forwards)
        targets = tokens[:, 1:].reshape(chains, -1)
        changes = _changes(plan.readout, component, values)
        changed = spread_all(self.head.module, changes) if changes else {}
        out = self.head.losses(final.reshape(chains, -1, final.shape[-1]), targets, changed)
        return out.view(chains, -1, tokens.shape[1] - 1)

    def _suffix(self, plan: Plan, folded: Carry, forwards: dict[nn.Module, Callable]) -> Tensor:
        """Last hidden state ``[chains * m, K-1, d]``."""
        if plan.first > len(self.layers):
            return folded["hidden"]
        with self._entering(plan.first, folded.get("hidden")), standing_in(forwards):
            return self._base(folded["tokens"][:, :-1])

    def _frozen(self, first: int, inputs: Tensor) -> Tensor:
        """What enters layer ``first`` (or leaves the last layer, or the whole base model)."""
        if first > len(self.layers):
            return self._base(inputs)
        caught: list[Tensor] = []
        with ExitStack() as stack:
            if first < len(self.layers):
                stack.enter_context(standing_in(self._passing(range(first, len(self.layers)))))
                handle = self.layers[first].register_forward_pre_hook(catch_input(caught), with_kwargs=True)
            else:
                handle = self.layers[-1].register_forward_hook(catch_output(caught))
            stack.callback(handle.remove)
            self._base(inputs)
        return caught[0]

    @contextmanager
    def _entering(self, first: int, hidden: Tensor | None) -> Iterator[None]:
        """Inside: layers before ``first`` pass through and ``hidden`` enters there."""
        if hidden is None:
            yield
            return
        with standing_in(self._passing(range(first))), ExitStack() as stack:
            if first < len(self.layers):
                hook = replace_input(hidden)
                handle = self.layers[first].register_forward_pre_hook(hook, with_kwargs=True)
            else:
                handle = self.layers[-1].register_forward_hook(replace_output(hidden))
            stack.callback(handle.remove)
            yield

    def _passing(self, numbers: range) -> dict[nn.Module, Callable]:
        return {self.layers[number]: pass_through(self.tupled) for number in numbers}

    def _base(self, inputs: Tensor) -> Tensor:
        with attending(self.model, self.attention):
            return self.model.base_model(input_ids=inputs, use_cache=False)[0]

    def _plan(self, component: Component) -> Plan | None:
        key = _signature(component)
        if key not in self._plans:
            plan = self._made(component)
            self._plans[key] = plan if plan and self._agrees(plan, component) else None
        return self._plans[key]

    def _made(self, component: Component) -> Plan | None:
        if self.head is None:
            return None
        patched: dict[str, list[tuple[str, int]]] = {}
        readout: list[tuple[str, int]] = []
        first = len(self.layers) + 1
        for number, piece in enumerate(component.pieces):
            for path, kind in self.owners[piece.param]:
                if self.model.get_submodule(path) is self.head.module:
                    readout.append((kind, number))
                elif path in self.places:
                    patched.setdefault(path, []).append((kind, number))
                    first = min(first, self.places[path])
                else:
                    self.refused[component.name] = f"{path} is not run as a module of its own"
                    return None
        return Plan(first, patched, readout)

    def _agrees(self, plan: Plan, component: Component) -> bool:
        """Staged and plain losses of two chains on two rows of five tokens, away from w*."""
        try:
            staged, plain = self._trial(plan, component)
        except (RuntimeError, ValueError, TypeError, IndexError, KeyError) as error:
            self.refused[component.name] = f"{type(error).__name__}: {error}"
            return False
        error = float((staged - plain).abs().max())
        if not error <= 1e-3 * max(1.0, float(plain.abs().max())):
            self.refused[component.name] = f"losses differ by {error:.2g} nats"
        return component.name not in self.refused

    @torch.no_grad()
    def _trial(self, plan: Plan, component: Component) -> tuple[Tensor, Tensor]:
        generator = stream(0, "stages", component.name)
        size = len(self.head.module.weight)
        tokens = torch.randint(size, (2, 5), generator=generator).to(self.model.device)
        params = {key: value.detach() for key, value in self.model.named_parameters()}
        center = component.gather(params)
        kick = torch.randn((2, len(center)), generator=generator, dtype=center.dtype)
        weights = center + 0.02 * kick.to(center.device)
        carry = {"tokens": tokens}
        if plan.first != BEFORE:
            carry["hidden"] = self._frozen(plan.first, tokens[:, :-1])
        exact = copy.copy(self)  # with full precision, whatever the user chose
        exact.head = replace(self.head, precision="float32")
        staged = exact._run(plan, component, weights, carry, None)  # noqa: SLF001 - a copy of itself
        plain = [_plain(self.model, component.scatter(params, w), tokens) for w in weights]
        return staged, torch.stack(plain)


def _plain(model: PreTrainedModel, params: dict[str, Tensor], tokens: Tensor) -> Tensor:
    inputs = {"input_ids": tokens[:, :-1], "use_cache": False}
    logits = functional_call(model, params, args=(), kwargs=inputs).logits
    return F.cross_entropy(logits.transpose(1, 2), tokens[:, 1:], reduction="none")


def _folded(value: Tensor, chains: int, rows: Tensor | None) -> Tensor:
    """``[unique, ...] -> [chains * m, ...]``, chain by chain."""
    if rows is not None:
        return value[rows.reshape(-1)]
    return value.expand(chains, *value.shape).flatten(0, 1)


def _changes(found: list[tuple[str, int]], component: Component, values: list[Tensor]) -> list[Change]:
    return [(kind, component.pieces[number], values[number]) for kind, number in found]


def _signature(component: Component) -> tuple:
    def one(piece: Piece) -> tuple:
        if piece.entries is not None:
            return (piece.param, hash(tuple(piece.entries.tolist())))
        return (piece.param, *((part.start, part.stop) for part in piece.box))

    return tuple(map(one, component.pieces))
