"""The seam of the structure-aware engine: a frozen prefix once per row, the rest with chains folded."""

from collections.abc import Hashable
from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor

from susceptometer.posterior.component import Component
from susceptometer.types import Batch, Carry


@runtime_checkable
class Stages(Protocol):
    """A subject's knowledge of its own structure, used to do frozen work only once.

    For a component that first acts in some stage, everything before that stage does not depend on the
    chain. ``prefix`` computes it once per row; ``losses`` does the rest for all chains together, with the
    frozen weights in one large product and only the component's own blocks batched per chain.
    Must equal the subject's plain loss to float tolerance (tested for every implementation).
    """

    def serves(self, component: Component) -> bool:
        """Whether this component can be run in stages (otherwise the plain path is taken)."""
        ...

    def prefix(self, component: Component, batch: Batch) -> Carry:
        """What does not depend on the component: named tensors ``[rows, ...]``; run without gradient.

        Carries what ``losses`` needs of the batch too (for example the targets). Rows are independent, so
        carries may be computed once for a whole data set, cached, and indexed by row.
        """
        ...

    def losses(self, component: Component, weights: Tensor, carry: Carry, rows: Tensor | None) -> Tensor:
        """Loss of each chain on its rows.

        Args:
            component: The component whose weights differ between chains.
            weights: Flat component weights of every chain, ``[chains, d]`` (may require gradient).
            carry: Result of ``prefix`` for unique rows ``[unique, ...]``.
            rows: Which unique rows each chain sees, int64 ``[chains, m]``; None: every chain sees all.

        Returns:
            Unreduced losses ``[chains, m, *event]``, differentiable in ``weights``.
        """
        ...


@runtime_checkable
class PlacedStages(Stages, Protocol):
    """Stages that can say which components share a prefix, so that it is made once for all of them."""

    def place(self, component: Component) -> Hashable:
        """Where the component first acts: components of equal places have equal prefixes."""
        ...


@runtime_checkable
class SlopedStages(Stages, Protocol):
    """Stages that know their gradient in closed form (toy potentials, exact worlds)."""

    def weighted_gradient(
        self, component: Component, weights: Tensor, carry: Carry, batch: "Minibatch"
    ) -> tuple[Tensor, Tensor]:
        """Value and gradient of the weighted sum of row losses, all chains at once.

        Args:
            component: The component that moves.
            weights: ``[chains, d]``.
            carry: Result of ``prefix``.
            batch: Rows of each chain and their weights.

        Returns:
            Sum over rows of weight x mean loss ``[chains]`` and its gradient ``[chains, d]``.
        """
        ...


class Minibatch(NamedTuple):
    """Rows of the data each chain sees in one step, and their weights in the potential.

    rows: Unique data rows used, int64 ``[unique]``; None for the whole data in order.
    index: Positions into ``rows`` of each chain, ``[chains, m]``; None: every chain sees all of them.
    weights: Weight of each seen row's mean loss in U, ``[chains, m]`` (n_beta/m on the drift's rows).
    """

    rows: Tensor | None
    index: Tensor | None  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    weights: Tensor
