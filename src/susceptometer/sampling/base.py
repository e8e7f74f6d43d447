"""What a sampler is: a frozen dataclass with ``init`` and ``step`` on flat positions of all chains."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from torch import Tensor

from susceptometer.posterior.local import Slope

SlopeFn = Callable[[Tensor], Slope]
"""Position ``[chains, d]`` to the slope of U on the step's mini-batch."""


class Noise(Protocol):
    """Random numbers of one step, already arranged by the coupling (shared or mirrored within a group)."""

    def normal(self) -> Tensor:
        """Standard normal ``[chains, d]``."""
        ...

    def uniform(self) -> Tensor:
        """Uniform on (0, 1) ``[chains]``; shared by the chains of a group."""
        ...


class Info(NamedTuple):
    """What only an observer needs of a step: acceptance (0 or 1) ``[chains]`` where there is any."""

    accepted: Tensor | None = None


class State(Protocol):
    """What the next step needs; every sampler's state has the position ``[chains, d]``."""

    @property
    def position(self) -> Tensor:
        """Weights of all chains, ``[chains, d]``, float32 or wider."""
        ...


class Sampler(Protocol):
    """Protocol of all samplers (contract tests: tests/laws/test_samplers.py).

    step_size: In the convention of the sampler's own equation.
    exact_gradient: Needs full-batch potentials (accept/reject).
    warm_up: Steps before the sampler's law is fixed; no response arm and no draw before that.
    """

    @property
    def exact_gradient(self) -> bool: ...

    @property
    def step_size(self) -> float: ...

    @property
    def warm_up(self) -> int: ...

    def init(self, position: Tensor, noise: Noise) -> State: ...

    def step(self, state: Any, slope: SlopeFn, noise: Noise) -> tuple[Any, Info]: ...
