"""A sampler's step recorded once and replayed: on a GPU one launch per step, and nothing that waits for the host.

Where it can be: the sampler's state is all tensors, the law is fixed from the first step, and random numbers are drawn
by counting (`counter`). What changes from step to step without the graph's doing, the rows of the mini-batch, is copied
into tensors whose addresses the graph knows.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from susceptometer.posterior.local import LocalPosterior, Slope
from susceptometer.posterior.stages import Minibatch
from susceptometer.sampling.base import Noise, SlopeFn, State
from susceptometer.sampling.counter import CounterNoise
from susceptometer.sampling.coupling import Coupling
from susceptometer.sampling.noise import GroupBatches, GroupNoise
from susceptometer.sampling.recipe import Recipe

Replay = Callable[[], None]
Record = Callable[[Callable[[], None], Sequence[Tensor]], Replay]
"""Records a function without arguments that works on fixed tensors; tensors it changes are as before afterwards."""

WARM_UP = 3
"""Runs before recording, so that libraries have chosen their kernels and reserved their memory."""

Advance = Callable[[float], Any]
"""One step of all chains at a tilt; returns the state."""


def advancing(
    posterior: LocalPosterior, recipe: Recipe, batches: GroupBatches, *, noise: Noise, chains: int
) -> Advance:
    """The function that makes a step: recorded where that is possible, else the sampler's own."""
    state = recipe.sampler.init(posterior.center.expand(chains, -1), noise)
    record = recorder_for(posterior.center)
    if record is not None and isinstance(noise, CounterNoise) and recordable(recipe, state):
        return Captured(posterior, recipe, batches, state=state, noise=noise, record=record)
    return Plain(posterior, recipe, batches, state=state, noise=noise)


def noise_for(
    seed: int, names: Sequence[object], groups: Sequence[int], *, coupling: Coupling, center: Tensor
) -> Noise:
    """Noise of some groups: drawn one after another on a CPU (fastest there), by counting on a GPU."""
    kind = CounterNoise if counts_on(center) else GroupNoise
    return kind(seed, names, groups, coupling, center)


def counts_on(center: Tensor) -> bool:
    """Whether noise is drawn by counting on this tensor's device."""
    return center.is_cuda


def recorder_for(center: Tensor) -> Record | None:
    """How steps of chains on this tensor's device are recorded; None: not at all."""
    return record_on_cuda if center.is_cuda else None


def recordable(recipe: Recipe, state: State) -> bool:
    """Whether every step does the same to tensors alone."""
    tensors = all(isinstance(part, Tensor) for part in state)  # type: ignore[attr-defined]
    return tensors and recipe.sampler.warm_up == 0


def slope_on(posterior: LocalPosterior, batch: Minibatch, correction: Tensor | None) -> SlopeFn:
    """The slope of U on this step's mini-batch; ``correction`` ``[chains, d]`` is added to the likelihood's part."""

    def slope(position: Tensor) -> Slope:
        here = posterior.slope(position, batch)
        return here if correction is None else here._replace(likelihood=here.likelihood + correction)

    return slope


class Plain:
    """The sampler's own step."""

    def __init__(
        self, posterior: LocalPosterior, recipe: Recipe, batches: GroupBatches, *, state: State, noise: Noise
    ) -> None:
        self._posterior, self._sampler, self._batches = posterior, recipe.sampler, batches
        self._state, self._noise = state, noise

    def __call__(self, tilt: float) -> State:
        """One step of all chains."""
        slope = slope_on(self._posterior, *self._batches.next(tilt))
        self._state, _ = self._sampler.step(self._state, slope, self._noise)
        return self._state


class Captured:
    """The sampler's step as a recorded graph over fixed tensors.

    Args:
        posterior: What is sampled.
        recipe: How; see `recordable`.
        batches: Mini-batches.
        state: Start of all chains.
        noise: Counting noise.
        record: Records the graph.
    """

    def __init__(
        self, posterior: LocalPosterior, recipe: Recipe, batches: GroupBatches, *,
        state: State, noise: CounterNoise, record: Record,
    ) -> None:  # fmt: skip
        self._posterior, self._sampler, self._batches, self._noise = posterior, recipe.sampler, batches, noise
        self._state: Any = type(state)(*(part.clone() for part in state))  # type: ignore[attr-defined]
        self._record = record
        self._replay: Replay | None = None
        self._fixed: list[Any] = []

    def __call__(self, tilt: float) -> State:
        """One step of all chains; the state's position is a copy that later steps leave alone."""
        batch, correction = self._batches.next(tilt)
        fresh: list[Any] = [*batch, correction]
        if self._replay is None:
            self._fixed = [None if part is None else part.clone() for part in fresh]
            self._replay = self._record(self._step, [*self._state, self._noise.step])
        for fixed, part in zip(self._fixed, fresh, strict=True):
            if fixed is not None:
                fixed.copy_(part, non_blocking=True)
        self._replay()
        return self._state._replace(position=self._state.position.clone())

    def _step(self) -> None:
        rows, index, weights, correction = self._fixed
        slope = slope_on(self._posterior, Minibatch(rows, index, weights), correction)
        found, _ = self._sampler.step(self._state, slope, self._noise)
        for held, fresh in zip(self._state, found, strict=True):
            held.copy_(fresh)


def record_on_cuda(body: Callable[[], None], changed: Sequence[Tensor]) -> Replay:
    """A CUDA graph of ``body``; ``changed`` holds afterwards what it held before."""
    before = [value.clone() for value in changed]
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            body()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        body()
    for value, old in zip(changed, before, strict=True):
        value.copy_(old)
    return graph.replay
